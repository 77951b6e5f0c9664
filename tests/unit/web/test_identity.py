"""Authentication: origins, forms, tokens, and the permissions of roles."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from counterfoil.core.people import Person
from counterfoil.model import Model
from counterfoil.web.http.identity import (
    Identity,
    Passwords,
    check_same_origin,
    csrf_of,
    digest,
    new_token,
    read_form,
)
from counterfoil.web.http.permissions import Permission, granted
from counterfoil.web.http.problems import Problem
from tests.companies.web import cheap_passwords

FORM = "application/x-www-form-urlencoded"
PERSON = Person(id="fay", name="Fay", email="fay@acme.example", roles=("admin", "gone"))
SESSION = Identity(PERSON, frozenset(), csrf_of("cfs_secret"))


def roles(*may: str) -> Model:
    return Model.from_documents([{"kind": "role", "name": "admin", "may": list(may)}])


def test_a_token_is_stored_as_a_digest_only() -> None:
    secret, token = new_token("fay", datetime(2030, 1, 1, tzinfo=UTC))
    assert token.digest == digest(secret)
    assert secret not in str(token)


def test_two_tokens_are_never_equal() -> None:
    until = datetime(2030, 1, 1, tzinfo=UTC)
    assert len({new_token("fay", until)[0] for _ in range(100)}) == 100


def test_permissions_come_from_every_role_that_exists() -> None:
    assert granted(PERSON, roles("runs:any:read", "made:up:word")) == {Permission.RUNS_ANY_READ}


def test_resolving_any_case_includes_resolving_own_ones() -> None:
    permissions = granted(PERSON, roles("cases:any:resolve"))
    assert permissions == {Permission.CASES_ANY_RESOLVE, Permission.CASES_OWN_RESOLVE}


@pytest.mark.parametrize(
    ("headers", "form"),
    [
        ({"host": "a", "origin": "https://b"}, {"csrf": SESSION.csrf}),
        ({"host": "a", "origin": "null"}, {"csrf": SESSION.csrf}),
        ({"host": "a", "sec-fetch-site": "same-site"}, {"csrf": SESSION.csrf}),
        ({"host": "a"}, {}),
        ({"host": "a"}, {"csrf": csrf_of("cfs_other")}),
        ({"host": "a"}, {"csrf": "\u00e9"}),
    ],
)
def test_a_foreign_form_is_refused(headers: dict[str, str], form: dict[str, str]) -> None:
    with pytest.raises(Problem) as refused:
        check_same_origin(headers, form, SESSION)
    assert refused.value.status == 403


@pytest.mark.parametrize(
    "headers", [{"host": "a"}, {"host": "a", "origin": "http://a"}, {"host": "a", "sec-fetch-site": "none"}]
)
def test_our_own_form_passes(headers: dict[str, str]) -> None:
    check_same_origin(headers, {"csrf": SESSION.csrf}, SESSION)
    check_same_origin(headers | {"x-csrf-token": SESSION.csrf}, {}, SESSION)


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"a=1", "text/plain", 415),
        (b"a=\xff", FORM, 400),
        (b"a=%FF", FORM, 400),
        (b"&".join(b"a=1" for _ in range(60)), FORM, 400),
        (b"a" * 70_000, FORM, 413),
    ],
)
def test_an_invalid_form_is_refused(body: bytes, content_type: str, status: int) -> None:
    with pytest.raises(Problem) as refused:
        read_form(body, content_type)
    assert refused.value.status == status


def test_a_browser_form_is_read() -> None:
    assert read_form(b"a=x+y&b=%C3%A9&c=", FORM + "; charset=utf-8") == {"a": "x y", "b": "é", "c": ""}


def test_a_text_that_is_no_hash_verifies_nothing() -> None:
    assert not Passwords()._verify("", "x")
    assert not Passwords()._verify("plain text", "plain text")


def test_the_first_sign_in_costs_the_same_for_every_e_mail() -> None:
    """The hash for unknown e-mails is made by the first sign-in, not by the first one with an unknown e-mail."""
    for secret in (cheap_passwords().hash("x"), ""):
        passwords = cheap_passwords()
        assert "_dummy_hash" not in vars(passwords)
        assert passwords._verify(secret, "x") is bool(secret)
        assert "_dummy_hash" in vars(passwords)
