"""The http connector on a small ledger over real HTTP: what settings can say, and what answers come to mean."""

from __future__ import annotations

import copy
import hmac
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from counterfoil.connectors import openapi, signature
from counterfoil.connectors.openapi.connector import HttpSystem
from counterfoil.connectors.sdk import Absent, Accepted, Confirmed, Rejected, Request, SystemConfig, Unknown
from counterfoil.core.errors import ErrorClass, Misconfigured, Refused, TryAgain
from tests.contract.ledger_server import DOCUMENT, TOKEN, Ledger, running_ledger
from tests.contract.trial_http import HOOK_SECRET, SETTINGS, config_of


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with running_ledger() as ledger:
        yield ledger


@asynccontextmanager
async def connected(ledger: Ledger, **changed: Any) -> AsyncIterator[HttpSystem]:
    connector = openapi.connect(config_of(ledger, **changed))
    try:
        yield connector
    finally:
        await connector.close()


def payment(key: str = "cf1", body: bytes = b'{"amount": 5}') -> Request:
    return Request("erp.payment.post", key, body)


def invoice(key: str = "cf1", total: str = "120.10", customer: str = "cus_1") -> Request:
    return Request(
        "erp.invoice.post",
        key,
        b'{"customer": {"id": "%s"}, "total": %s}' % (customer.encode(), total.encode()),
    )


def changed(*path: str, value: Any) -> dict[str, Any]:
    """The ledger's settings with one place changed; None takes it away."""
    settings = copy.deepcopy({name: part for name, part in SETTINGS.items() if name != "openapi"})
    settings["openapi"] = SETTINGS["openapi"]
    inner: dict[str, Any] = settings
    for step in path[:-1]:
        inner = inner[step]
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return settings


INVOICE = ("operations", "erp.invoice.post")
PAYMENT = ("operations", "erp.payment.post")
HMAC_HOOK = {
    "scheme": "hmac",
    "hmac": {"header": "X-Sig"},
    "id": "/invoice/id",
    "type": "/kind",
    "identity": ["/kind"],
}
BOOK = ("listings", "invoices")

WRONG: list[tuple[tuple[str, ...], Any, str]] = [
    (("colour",), "red", "colour: unknown setting `colour`; remove it"),
    (("auth",), None, "`auth` is missing; add `auth:`"),
    (("auth", "scheme"), "basic", "the secret `username` is missing"),
    (
        (*INVOICE, "operationId"),
        "createInvoise",
        "no operation `createInvoise`; did you mean `createInvoice`",
    ),
    ((*INVOICE, "operationId"), "listInvoices", "listInvoices is a GET, which changes nothing"),
    ((*INVOICE, "repeat"), "often", "`repeat`: expected"),
    ((*INVOICE, "key_header"), None, "createInvoice requires Idempotency-Key"),
    ((*INVOICE, "retention"), 30, "repeat key needs a retention longer than the horizon"),
    ((*INVOICE, "body", "colour"), "red", "createInvoice has no property colour"),
    ((*INVOICE, "body", "amount"), None, "createInvoice requires amount"),
    ((*INVOICE, "body", "amount"), "$inputs.total", r"\$inputs.total is neither"),
    ((*INVOICE, "result", "number"), "/numbre", "there is no 'numbre'"),
    ((*INVOICE, "result"), None, "a write needs pointers to the ids"),
    ((*INVOICE, "find"), None, "repeat key needs a look-up"),
    ((*INVOICE, "find", "operationId"), "findInvoices", "no operation `findInvoices`"),
    ((*INVOICE, "find", "parameters"), {"ref": "$key"}, "listInvoices has no parameter ref"),
    ((*INVOICE, "find", "items"), "/rows", "/rows does not exist"),
    ((*INVOICE, "find", "match"), {"/customer": "cus_1"}, None),
    ((*INVOICE, "find", "match"), {"/ref": "$key"}, "there is no 'ref'"),
    ((*INVOICE, "find", "match"), {}, "the look-up compares nothing"),
    ((*INVOICE, "find", "next"), None, "cursor needs exactly one of next"),
    ((*INVOICE, "find", "one"), True, "listInvoices returns a list at '/data'"),
    ((*PAYMENT, "find", "one"), False, "getPayment returns one object"),
    ((*PAYMENT, "find", "parameters"), {}, "getPayment requires reference"),
    ((*PAYMENT, "key_field"), None, "needs the key in key_header"),
    ((*PAYMENT, "errors"), [{"status": 409, "class": "odd"}], "`class`: expected"),
    ((*PAYMENT, "proofs"), [99], "greater than or equal to 100"),
    (
        ("operations", "erp.note.add", "find"),
        SETTINGS["operations"]["erp.payment.post"]["find"],
        "repeat blind has no look-up",
    ),
    (("operations", "erp.invoice.get", "horizon"), 5, "horizon: a read must not have it"),
    (("operations", "erp.invoice.get", "parameters"), {}, "getInvoice requires id"),
    (("feeds", "changes", "cursor"), "since", "listChanges has no parameter since"),
    (("feeds", "changes", "id"), "/invoice/key", "there is no 'key'"),
    (("feeds", "changes", "next_item"), None, "exactly one of next and next_item"),
    ((*BOOK, "operationId"), "listInvoice", "no operation `listInvoice`"),
    ((*BOOK, "offset"), "skip", "listInvoices has no parameter skip"),
    ((*BOOK, "page"), "reference", "one of cursor, page and offset"),
    ((*BOOK, "offset"), None, None),
    ((*BOOK, "limit"), None, "pages by number or offset need their size"),
    ((*BOOK, "next"), "/next", "exactly one of next and next_item"),
    ((*BOOK, "items"), "/rows", "/rows does not exist"),
    ((*BOOK, "id"), "/key", "there is no 'key'"),
    ((*BOOK, "size"), 0, "`size`: expected"),
    ((*BOOK, "pages"), "page", "unknown setting `pages`"),
    (("webhook", "scheme"), "rot13", "no signature scheme `rot13`; one of "),
    (("webhook", "scheme"), "hmac", "belong together"),
    (("webhook", "hmac"), {"header": "X-Sig"}, "belong together"),
    (
        ("webhook",),
        HMAC_HOOK | {"hmac": {"header": "X-Sig", "signed": "{url}"}},
        "hmac.signed: `{url}` is not",
    ),
    (("webhook",), HMAC_HOOK | {"hmac": {"header": "X-Sig", "digest": "md5"}}, "hmac.digest"),
    (("webhook",), HMAC_HOOK | {"id": "header:X-Id"}, "the signature does not cover the header `X-Id`"),
    (("webhook",), HMAC_HOOK, None),
    (("webhook", "id"), "webhook-id", "neither a pointer nor header:NAME"),
    (("check",), {"operationId": "getInvoice"}, "check.parameters: getInvoice requires id"),
    (("openapi",), "nowhere.yaml", "`nowhere.yaml` cannot be read"),
    (("openapi",), {"swagger": "2.0"}, "not an OpenAPI 3 document"),
]


@pytest.mark.parametrize(("path", "value", "finding"), WRONG)
def test_what_cannot_work_is_found_when_the_connector_is_built(
    path: tuple[str, ...], value: Any, finding: str | None
) -> None:
    secrets = {"token": TOKEN, "hook_secret": HOOK_SECRET}
    config = SystemConfig(
        "ledger", "http://127.0.0.1:1", settings=changed(*path, value=value), secrets=secrets
    )
    if finding is None:
        openapi.connect(config)
        return
    with pytest.raises(Misconfigured, match=finding):
        openapi.connect(config)


def test_all_findings_come_in_one_error() -> None:
    settings = changed(*INVOICE, "operationId", value="createInvoise")
    settings["feeds"]["changes"]["cursor"] = "since"
    settings["webhook"]["scheme"] = "rot13"
    with pytest.raises(Misconfigured) as raised:
        openapi.connect(SystemConfig("ledger", "ledger.example.com", settings=settings))
    lines = str(raised.value).splitlines()
    for part in ("createInvoise", "since", "rot13", "the secret `token`", "not an http or https address"):
        assert sum(part in line for line in lines) == 1, (part, lines)


@pytest.mark.parametrize("kind", ["yaml", "json"])
def test_the_document_may_be_a_file(kind: str, tmp_path: Path) -> None:
    path = DOCUMENT
    if kind == "json":
        path = tmp_path / "ledger.json"
        path.write_text(json.dumps(SETTINGS["openapi"]))
    settings = {**SETTINGS, "openapi": str(path)}
    secrets = {"token": TOKEN, "hook_secret": HOOK_SECRET}
    connector = openapi.connect(
        SystemConfig("ledger", "http://127.0.0.1:1", settings=settings, secrets=secrets)
    )
    assert connector.operations["erp.invoice.post"].retention == 86400


@pytest.mark.parametrize("signer", ["new", "old"])
def test_declared_signature_is_verified_with_both_secrets(signer: str) -> None:
    """The header is built by hand, as the vendor would."""
    settings = changed("webhook", value=HMAC_HOOK | {"hmac": {
        "header": "X-Sig", "prefix": "h1=", "separator": ";", "signed": "{timestamp}:{body}",
        "timestamp": "X-Sig", "timestamp_prefix": "ts=", "unit": "milliseconds",
    }})  # fmt: skip
    secrets = {"token": TOKEN, "hook_secret": "new", "hook_secret_old": "old"}
    connector = openapi.connect(
        SystemConfig("ledger", "http://127.0.0.1:1", settings=settings, secrets=secrets)
    )
    body = b'{"kind": "invoice.paid", "invoice": {"id": "inv1"}}'
    now = datetime(2026, 1, 2, tzinfo=UTC)
    stamp = int(now.timestamp() * 1000)
    mac = hmac.digest(signer.encode(), f"{stamp}:".encode() + body, "sha256").hex()
    delivery = connector.receive({"x-sig": f"ts={stamp};h1={mac}"}, body, now)
    assert (delivery.ext_id, delivery.type) == ("inv1", "invoice.paid")
    with pytest.raises(signature.SignatureRefused):
        connector.receive({"x-sig": f"ts={stamp + 1};h1={mac}"}, body, now)


async def test_decimals_travel_digit_by_digit(ledger: Ledger) -> None:
    async with connected(ledger) as connector:
        outcome = await connector.send(invoice(total="90071992547409931.10"), 5)
        assert isinstance(outcome, Confirmed)
        sent = ledger.bodies[-1]
    assert b'"amount":90071992547409931.10' in sent.replace(b" ", b"")


async def test_same_key_with_other_content_is_refused_by_the_system(ledger: Ledger) -> None:
    async with connected(ledger) as connector:
        assert isinstance(await connector.send(invoice("cf1", "1"), 5), Confirmed)
        outcome = await connector.send(invoice("cf1", "2"), 5)
    assert isinstance(outcome, Rejected)
    assert outcome.error_class is ErrorClass.INVALID
    assert len(ledger.invoices) == 1


async def test_a_look_up_turns_pages_until_the_exact_key(ledger: Ledger) -> None:
    async with connected(ledger) as connector:
        for number in range(8):
            await connector.send(invoice(f"cf{number}"), 5)
        found = await connector.find(invoice("cf6"), 5)
        assert found == Confirmed({"invoice": "inv7", "number": "2026-0007"})
        assert await connector.find(invoice("cf"), 5) == Absent()


ANSWERS: list[tuple[tuple[int, dict[str, str], bytes], ErrorClass | None]] = [
    ((400, {}, b""), ErrorClass.INVALID),
    ((401, {}, b""), ErrorClass.UNAUTHORIZED),
    ((403, {}, b""), ErrorClass.UNAUTHORIZED),
    ((404, {}, b""), ErrorClass.NOT_FOUND),
    ((412, {}, b""), ErrorClass.CONFLICT),
    ((422, {}, b"{}"), ErrorClass.INVALID),
    ((409, {}, b'{"error": {"code": "DUPLICATE_REFERENCE"}}'), ErrorClass.ALREADY_DONE),
    ((409, {}, b'{"error": {"code": "in_progress"}}'), None),
    ((409, {}, b"duplicate"), None),
    ((408, {}, b""), None),
    ((500, {}, b""), None),
    ((503, {"Retry-After": "5"}, b""), None),
    ((200, {}, b'{"id": null}'), None),
    ((200, {}, b""), None),
    ((301, {"Location": "/elsewhere"}, b""), None),
]


@pytest.mark.parametrize(("answer", "expected"), ANSWERS)
async def test_only_listed_answers_prove_that_nothing_was_done(
    ledger: Ledger, answer: tuple[int, dict[str, str], bytes], expected: ErrorClass | None
) -> None:
    ledger.mood.append(answer)
    async with connected(ledger) as connector:
        outcome = await connector.send(payment(), 5)
    if expected is None:
        assert isinstance(outcome, Unknown)
    else:
        assert isinstance(outcome, Rejected)
        assert outcome.error_class is expected


async def test_a_throttled_call_says_when_to_come_again(ledger: Ledger) -> None:
    ledger.mood += [(429, {"Retry-After": "7"}, b"slow down"), (429, {"Retry-After": "3"}, b"")]
    async with connected(ledger) as connector:
        assert await connector.send(payment(), 5) == Rejected(ErrorClass.THROTTLED, "slow down", "429", 7.0)
        with pytest.raises(TryAgain) as raised:
            await connector.read("erp.invoice.get", {"id": "inv1"}, 5)
    assert raised.value.after == 3.0


async def test_a_rule_can_read_a_refusal_out_of_a_good_status(ledger: Ledger) -> None:
    rules = [
        {"status": 200, "pointer": "/ok", "contains": "false", "class": "period_closed"},
        {"status": 503, "contains": "could not obtain lock", "class": "transient"},
    ]
    ledger.mood += [
        (200, {}, b'{"ok": false, "id": "x"}'),
        (503, {}, b"Could not obtain lock on row"),
        (503, {}, b""),
    ]
    async with connected(ledger, **changed(*PAYMENT, "errors", value=rules)) as connector:
        closed, locked, other = [await connector.send(payment(), 5) for _ in range(3)]
    assert isinstance(closed, Rejected)
    assert closed.error_class is ErrorClass.PERIOD_CLOSED
    assert isinstance(locked, Rejected)
    assert locked.error_class is ErrorClass.TRANSIENT
    assert isinstance(other, Unknown)


async def test_a_job_that_took_the_request_is_neither_done_nor_refused(ledger: Ledger) -> None:
    ledger.mood.append((202, {}, b'{"job": "j-1"}'))
    async with connected(ledger, **changed(*PAYMENT, "job", value="/job")) as connector:
        assert await connector.send(payment(), 5) == Accepted("j-1")


async def test_forms_are_sent_as_forms_without_what_is_optional_and_missing(ledger: Ledger) -> None:
    async with connected(ledger) as connector:
        note = b'{"text": "a&b", "invoice": "inv1", "tags": ["x", "y z"]}'
        assert isinstance(await connector.send(Request("erp.note.add", "k", note), 5), Confirmed)
        assert isinstance(await connector.send(Request("erp.note.add", "k", b'{"text": "1"}'), 5), Confirmed)
    assert ledger.notes[0] == [
        ("text", "a&b"),
        ("tags[0]", "x"),
        ("tags[1]", "y z"),
        ("about[invoice]", "inv1"),
    ]
    assert ledger.notes[1] == [("text", "1")]


@pytest.mark.parametrize("name", ["../payments", "..", "inv1/../../x", "inv1?a=b", "inv 1", "{id}"])
async def test_an_input_cannot_leave_its_place_in_the_address(ledger: Ledger, name: str) -> None:
    async with connected(ledger) as connector:
        await connector.send(invoice(), 5)
        with pytest.raises(Refused):
            await connector.read("erp.invoice.get", {"id": name}, 5)
        assert (await connector.read("erp.invoice.get", {"id": "inv1"}, 5))["number"] == "2026-0001"


async def test_a_feed_goes_on_where_it_ended_and_names_versions(ledger: Ledger) -> None:
    async with connected(ledger) as connector:
        for number in range(5):
            await connector.send(invoice(f"cf{number}"), 5)
        first = await connector.poll("changes", None, 4, 5)
        second = await connector.poll("changes", first.cursor, 4, 5)
        ledger.change("invoice.paid", {"id": "inv2", "version": 2})
        third = await connector.poll("changes", second.cursor, 4, 5)
    assert [len(page.deliveries) for page in (first, second, third)] == [4, 1, 1]
    assert (first.more, second.more) == (True, False)
    paid = third.deliveries[0]
    assert (paid.ext_id, paid.type, paid.body["invoice"]["id"]) == ("changes/inv2/6", "invoice.paid", "inv2")
    assert paid.occurred_at == datetime(2026, 3, 31, 12, 0, 5, tzinfo=UTC)


async def test_a_feed_by_page_tokens_shows_what_is_added_behind_its_end(ledger: Ledger) -> None:
    feed = {
        "operationId": "listInvoices",
        "cursor": "page",
        "next": "/next",
        "limit": "size",
        "items": "/data",
        "id": "/id",
        "version": "/version",
        "type": "invoice",
    }
    async with connected(ledger, **changed("feeds", "invoices", value=feed)) as connector:
        for number in range(5):
            await connector.send(invoice(f"cf{number}"), 5)
        first = await connector.poll("invoices", None, 3, 5)
        second = await connector.poll("invoices", first.cursor, 3, 5)
        await connector.send(invoice("cf9"), 5)
        third = await connector.poll("invoices", second.cursor, 3, 5)
    assert (first.more, second.more) == (True, False)
    assert [d.ext_id for d in third.deliveries] == ["invoices/inv4/1", "invoices/inv5/1", "invoices/inv6/1"]


async def test_a_feed_whose_cursor_cannot_move_says_so_instead_of_losing_changes(ledger: Ledger) -> None:
    async with connected(
        ledger, **changed("feeds", "changes", "next_item", value="/invoice/version")
    ) as connector:
        for number in range(5):
            await connector.send(invoice(f"cf{number}"), 5)
        page = await connector.poll("changes", None, 2, 5)
        with pytest.raises(Misconfigured, match="have the cursor '1'"):
            await connector.poll("changes", page.cursor, 2, 5)


async def test_a_feed_of_an_unexpected_shape_is_misconfigured(ledger: Ledger) -> None:
    ledger.mood += [(200, {}, b'{"rows": []}'), (200, {}, b'[{"sequence": 1}]'), (403, {}, b"")]
    async with connected(ledger) as connector:
        for _ in range(3):
            with pytest.raises(Misconfigured, match="the feed changes cannot be read"):
                await connector.poll("changes", None, 2, 5)


async def test_a_wrong_token_is_reported_by_check_and_send(ledger: Ledger) -> None:
    config = config_of(ledger)
    secrets = {"token": "stale", "hook_secret": HOOK_SECRET}
    connector = openapi.connect(SystemConfig("ledger", config.url, settings=config.settings, secrets=secrets))
    with pytest.raises(Misconfigured):
        await connector.check(5)
    outcome = await connector.send(payment(), 5)
    await connector.close()
    assert isinstance(outcome, Rejected)
    assert outcome.error_class is ErrorClass.UNAUTHORIZED


async def test_an_address_that_may_not_be_called_is_refused_without_a_call(ledger: Ledger) -> None:
    async with connected(ledger, loopback=False) as connector:
        outcome = await connector.send(payment(), 5)
        assert isinstance(outcome, Rejected)
        assert outcome.error_class is ErrorClass.UNAUTHORIZED
        assert isinstance(await connector.find(payment(), 5), Unknown)
        with pytest.raises(Misconfigured):
            await connector.check(5)
    assert ledger.bodies == []


@pytest.mark.parametrize("body", [b'{"kind": "x"}', b'{"invoice": {"id": "1", "version": 1}}', b"[]", b"{"])
async def test_a_signed_delivery_of_another_shape_is_invalid(ledger: Ledger, body: bytes) -> None:
    now = datetime.now(UTC)
    headers = signature.sign("standard-webhooks-v1", HOOK_SECRET, body, now)
    async with connected(ledger) as connector:
        with pytest.raises(Refused) as raised:
            connector.receive(headers, body, now)
    assert raised.value.error_class is ErrorClass.INVALID


async def test_identity_leaves_the_volatile_parts_out(ledger: Ledger) -> None:
    now = datetime.now(UTC)
    bodies = [
        json.dumps({"kind": "k", "invoice": {"id": "i", "version": 1}, "sent": n}).encode() for n in (1, 2)
    ]
    async with connected(ledger) as connector:
        first, second = (
            connector.receive(
                signature.sign("standard-webhooks-v1", HOOK_SECRET, body, now, "evt"), body, now
            )
            for body in bodies
        )
    assert (first.ext_id, first.identity) == (second.ext_id, second.identity) == ("evt", b"i\n1")
