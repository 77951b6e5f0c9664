"""Personal data over HTTP: every route and page, for every role, with planted values of two legal entities.

Without the permission no value stands in any body or header. With it the values do, so that the walk can fail.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, quote_plus

import httpx2
import pytest
import pytest_asyncio

from counterfoil.core.people import Person
from counterfoil.core.permissions import Permission, personal_read
from counterfoil.core.personal_texts import MASKED
from counterfoil.model import Model, read
from counterfoil.store.port.people import PutPerson, PutToken
from counterfoil.store.sql.sqlite import SqliteStore
from counterfoil.web.http import server
from counterfoil.web.http.identity import new_token
from tests.companies.personal import AMOUNT, GERMAN_SUBJECT, HOME_SUBJECT, Subject, fault_of, plant
from tests.companies.web import TrialApp, cheap_passwords, people
from tests.companies.web_matches import foil_of, item_of
from tests.companies.web_rows import GERMAN, fill, seal
from tests.contract.test_entity_walk import model_with_entities

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("personal-walk")]
SUBJECTS = (HOME_SUBJECT, GERMAN_SUBJECT)
OBJECTS = ("customer", "payment", "bank_line")
READS = sorted(str(p) for p in Permission if str(p).endswith(":read"))
ROLES = f"""
---
kind: role
name: reader
may: {json.dumps([*READS, "cases:own:resolve"])}
---
kind: role
name: german-privacy
entities: [{GERMAN}]
may: {json.dumps([*READS, *map(personal_read, OBJECTS)])}
---
kind: role
name: privacy
may: {json.dumps([*READS, *map(personal_read, OBJECTS)])}
"""
MIXED = "reader+german-privacy"


class FailingApp(TrialApp):
    """The company while a system answers with an error that quotes a person."""

    async def health(self) -> dict[str, Any]:
        health = await super().health()
        health["feeds"]["billing.events"]["error"] = fault_of(HOME_SUBJECT)
        return health


class Walked(NamedTuple):
    """The company with a token for each role, and for a person who reads everything but personal data of one entity."""

    app: TrialApp
    model: Model
    http: httpx2.AsyncClient
    tokens: dict[str, str]

    async def get(self, person: str, path: str) -> httpx2.Response:
        return await self.http.get(path, headers=self.bearer(person))

    def bearer(self, person: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.tokens[person]}", "accept": "text/html, application/json"}

    def hidden(self, person: str) -> list[str]:
        """Return the values that a person may not read, by the permissions of the roles alone."""
        hidden = []
        for subject in SUBJECTS:
            may = {
                name
                for role in map(self.model.roles.__getitem__, person.split("+"))
                for name in role.may
                if not role.entities or subject.entity in role.entities
            }
            bound = all(self.model.roles[role].entities for role in person.split("+"))
            sees = not bound or subject.entity == GERMAN
            hidden += [
                value
                for value, objects in zip(subject.values, (("customer",), ("payment",), OBJECTS), strict=True)
                if not sees or not all(personal_read(object_) in may for object_ in objects)
            ]
        return hidden


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def company(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Walked]:
    folder = tmp_path_factory.mktemp("personal")
    model = _model(folder / "acme")
    store = await SqliteStore.open(folder / "company.db")
    try:
        await people(store, cheap_passwords())
        await fill(store)
        for subject in SUBJECTS:
            await plant(store, subject)
        await seal(store)
        now, tokens = await store.now(), {}
        for name in [*sorted(model.roles), MIXED]:
            id_ = f"p-{name.replace('+', '-')}"
            person = Person(id=id_, name=name, email=f"{id_}@acme.example", roles=tuple(name.split("+")))
            await store.apply(PutPerson(person=person, at=now, actor="test"))
            tokens[name], token = new_token(id_, now.replace(year=now.year + 1))
            await store.apply(PutToken(token=token, at=now))
        app = FailingApp(store, model)
        transport = httpx2.ASGITransport(server.build(app))  # type: ignore[arg-type]
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as http:
            yield Walked(app, model, http, tokens)
    finally:
        await store.close()


def _model(folder: Path) -> Model:
    model_with_entities(folder)
    roles = folder / "roles" / "roles.yaml"
    roles.write_text(roles.read_text("utf-8") + ROLES.removeprefix("\n"), "utf-8")
    model, findings = read(folder)
    assert [str(f) for f in findings if f.severity == "error"] == []
    return model


def _paths(app: TrialApp, subject: Subject) -> Iterator[str]:
    """Yield every address that answers GET, with the ids of the rows of one customer."""
    values = {
        "run_id": [subject.run], "approval_id": [subject.approval], "checkpoint_id": ["none"],
        "foil_id": [foil_of(subject.invoice)], "item_id": [item_of(f"BILL-{subject.prefix}")],
        "case_id": [subject.case(about) for about in ("refused", "delivery", "event", "away")],
        "kind": ["object"], "name": ["customer"], "system": ["erp"], "digest": ["d" * 64], "path": ["x"],
        "customer_id": [subject.customer],
    }  # fmt: skip
    routes = server.routes(app).routes  # type: ignore[arg-type]
    for path in sorted({route.path_format for route in routes if "GET" in getattr(route, "methods", ())}):
        names = re.findall(r"{(\w+)}", path)
        assert set(names) <= values.keys(), f"{path}: say what its parameters name"
        most = max([len(values[name]) for name in names], default=1)
        for n in range(most):
            yield path.format_map({name: quote(values[name][n % len(values[name])]) for name in names})
    for text in (subject.number, subject.key, subject.customer):
        for path in (
            "/v1/runs",
            "/v1/foils",
            "/v1/unmatched",
            "/v1/cases",
            "/v1/events",
            "/runs",
            "/foils",
            "/unmatched",
        ):
            yield f"{path}?key={quote(text)}"
    for text in (subject.number, subject.run, "817.33 USD", subject.customer, subject.approval):
        yield f"/v1/search?q={quote(text)}"
        yield f"/search?q={quote(text)}"
    yield f"/v1/cases?run={subject.run}"
    yield f"/v1/foils?run={subject.run}"
    yield f"/v1/approvals?run={subject.run}"
    yield from ("/cases?group=cause", "/v1/cases?tag=walk", "/v1/cases?limit=200", "/v1/events?limit=200")
    yield from (
        "/v1/audit?limit=200",
        "/v1/foils?as_of=2099-01-01T00:00:00Z",
        "/v1/unmatched?effective_by=2099-01-01",
    )


def _forms(value: str) -> set[str]:
    """Return a value as an answer may write it: plain, in markup, in JSON, in an address."""
    forms = {value, html.escape(value), str(html.escape(value, quote=False)), json.dumps(value)[1:-1]}
    return {form.casefold() for form in (*forms, quote(value), quote_plus(value))}


def _stands_in(answer: httpx2.Response, value: str) -> bool:
    text = f"{answer.text}\n{answer.headers}".casefold()
    return any(form in text for form in _forms(value))


# ------------------------------------------------------------------ the walk


async def test_no_role_reads_personal_data_without_its_permission_on_any_route(company: Walked) -> None:
    present: dict[str, set[str]] = {person: set() for person in company.tokens}
    masked = dict.fromkeys(company.tokens, 0)
    for subject in SUBJECTS:
        paths = list(_paths(company.app, subject))
        assert len(paths) > 80
        for person in company.tokens:
            hidden = company.hidden(person)
            for path in paths:
                answer = await company.get(person, path)
                assert answer.status_code < 500, (person, path, answer.text[:300])
                leaked = [value for value in hidden if _stands_in(answer, value)]
                assert not leaked, (person, path, leaked)
                masked[person] += MASKED in answer.text
                present[person] |= {v for s in SUBJECTS for v in s.values if _stands_in(answer, v)}
    everything = {value for subject in SUBJECTS for value in subject.values}
    for person in ("privacy", "controller", "administrator"):
        assert present[person] == everything, person
    assert present["german-privacy"] == set(GERMAN_SUBJECT.values)
    assert present["support-lead"] == {subject.name for subject in SUBJECTS}
    assert GERMAN_SUBJECT.name in present[MIXED]
    for person in ("reader", "architect", "auditor"):
        assert not present[person], person
        assert masked[person] > 10, person


async def test_each_kind_of_answer_shows_the_value_with_the_permission_and_the_mask_without(
    company: Walked,
) -> None:
    subject = HOME_SUBJECT
    case = subject.case("refused")
    for path in (
        "/v1/runs?limit=200", f"/v1/runs/{subject.run}", f"/runs/{subject.run}", "/v1/cases?limit=200", f"/v1/cases/{case}",
        f"/cases/{case}", f"/v1/cases/{case}/comments", "/cases?group=cause", "/v1/approvals?limit=200",
        f"/approvals/{subject.approval}", f"/v1/foils/{foil_of(subject.invoice)}", f"/v1/search?q={subject.number}",
        f"/search?q={subject.number}",
    ):  # fmt: skip
        whole, masked = await company.get("privacy", path), await company.get("reader", path)
        assert (whole.status_code, masked.status_code) == (200, 200), path
        assert _stands_in(whole, subject.name), path
        assert MASKED in masked.text, path
        assert not _stands_in(masked, subject.name), path


async def test_a_failing_system_is_named_with_its_status_and_without_its_answer(company: Walked) -> None:
    for path in ("/v1/health", "/", f"/v1/cases/{HOME_SUBJECT.case('away')}"):
        whole, masked = await company.get("privacy", path), await company.get("reader", path)
        assert _stands_in(whole, HOME_SUBJECT.mail), path
        assert "answered 503: (masked)" in masked.text, path


# ------------------------------------------------------------------ search


def _comparable(answer: httpx2.Response, text: str) -> str:
    """Return an answer without its time and without the text that was searched, however it is written."""
    body = answer.text
    for form in sorted(
        {text, html.escape(text), json.dumps(text)[1:-1], quote(text), quote_plus(text)}, key=len
    ):
        body = body.replace(form, "QUERY")
    return re.sub(r"\d{4}-\d\d-\d\d[T ][0-9:.]+Z?|\d\d:\d\d:\d\d(?:\.\d+)?|[0-9a-f]{64}", "TIME", body)


@pytest.mark.parametrize("shape", ["{}", "#{}", " {}", "{} 817.33 USD"])
async def test_a_search_by_a_hidden_name_answers_as_for_a_name_that_is_not_there(
    company: Walked, shape: str
) -> None:
    name = HOME_SUBJECT.name
    for text, other in (
        (name, "Zinnfrosch & Neighbours"), (name.lower(), "zinnfrosch & neighbours"), (name.split()[0], "Zinnfrosch"),
        (name[:6], "Zinnfr"), (HOME_SUBJECT.payer, "Zacharias Zinnfrosch"), (HOME_SUBJECT.mail, "z@zinnfrosch.example"),
    ):  # fmt: skip
        for path in ("/v1/search", "/search"):
            answers = []
            for words in (text, other):
                query = shape.format(words)
                answer = await company.http.get(path, params={"q": query}, headers=company.bearer("reader"))
                assert answer.status_code == 200
                answers.append(_comparable(answer, query.strip().removeprefix("#")))
            assert answers[0] == answers[1], (path, text)
    query = shape.format(name)
    answer = await company.http.get("/v1/search", params={"q": query}, headers=company.bearer("privacy"))
    assert answer.json()["total"] > 0, "a person with the permission searches by the name"


async def test_no_near_name_is_suggested_from_a_hidden_name(company: Walked) -> None:
    for person, suggestion in (("reader", ""), ("privacy", "quastenfloss")):
        typo = await company.get(person, "/v1/search?q=quastenfluss")
        assert typo.json()["suggestion"] == suggestion, person


async def test_a_hit_by_a_document_number_shows_the_mask(company: Walked) -> None:
    path = f"/v1/search?q={HOME_SUBJECT.number}"
    whole, masked = (await company.get("privacy", path)).json(), (await company.get("reader", path)).json()
    for answer, name in ((whole, HOME_SUBJECT.name), (masked, MASKED)):
        hits = {group["kind"]: group["hits"] for group in answer["groups"]}
        assert HOME_SUBJECT.run in [hit["id"] for hit in hits["runs"]]
        assert {hit["customer"] for hit in hits["foils"]} == {name}
    for person, name in (("privacy", HOME_SUBJECT.name), ("reader", MASKED)):
        answer = (await company.get(person, f"/v1/search?q={HOME_SUBJECT.account}")).json()
        ((customer,),) = [group["hits"] for group in answer["groups"] if group["kind"] == "customers"]
        assert (customer["id"], customer["name"]) == (HOME_SUBJECT.customer, name)
    assert customer["page"] == f"/customers/{HOME_SUBJECT.customer}"


async def test_words_beside_an_amount_do_not_select_by_a_hidden_name(company: Walked) -> None:
    path = "/v1/search?q=quastenfloss+817.33"
    assert (await company.get("reader", path)).json()["total"] == 0
    assert (await company.get("privacy", path)).json()["total"] > 0
    assert AMOUNT.minor == 81_733


async def test_a_person_of_one_entity_searches_by_the_names_of_that_entity(company: Walked) -> None:
    for name, own in ((GERMAN_SUBJECT.name, True), (HOME_SUBJECT.name, False)):
        for person in ("german-privacy", MIXED):
            answer = await company.http.get("/v1/search", params={"q": name}, headers=company.bearer(person))
            assert (answer.json()["total"] > 0) is own, (person, name)


async def test_lists_select_by_name_for_persons_with_the_permission_alone(company: Walked) -> None:
    for route in ("/v1/runs", "/v1/foils"):
        for person, visible in (
            ("reader", False),
            ("architect", False),
            ("privacy", True),
            ("support-lead", True),
        ):
            answer = await company.http.get(
                route, params={"key": HOME_SUBJECT.name}, headers=company.bearer(person)
            )
            if answer.status_code == 200:
                assert bool(answer.json()["items"]) is visible, (route, person)


# ------------------------------------------------------------------ decisions and refusals


async def test_what_a_person_writes_is_stored_and_repeated_whole(company: Walked) -> None:
    """A mask in an own text would tell that the customer has this name, and a form would store the mask."""
    path = f"/v1/cases/{HOME_SUBJECT.case('refused')}/comments"
    for text in (HOME_SUBJECT.name, f"Is it {HOME_SUBJECT.name}?"):
        answer = await company.http.post(path, json={"text": text}, headers=company.bearer("reader"))
        assert answer.status_code == 200, answer.text
        texts = [comment["text"] for comment in answer.json()["items"]]
        assert text in texts
        assert f"Called {MASKED}, they pay tomorrow" in texts
    stored = [comment.text for comment in await company.app.store.case_comments(HOME_SUBJECT.case("refused"))]
    assert f"Is it {HOME_SUBJECT.name}?" in stored


async def test_a_refusal_names_no_customer(company: Walked) -> None:
    case = HOME_SUBJECT.case("refused")
    for path, body in (
        (f"/v1/cases/{case}/assignment", {"assignee": "nil"}),
        (f"/v1/cases/{case}/resolve", {"choice": "dismiss", "note": "x"}),
        (f"/v1/cases/{case}/snooze", {"until": "2001-01-01T00:00:00Z", "reason": "x"}),
        (f"/v1/approvals/{HOME_SUBJECT.approval}/decide", {"approve": True, "subject": "1" * 64}),
        ("/v1/search", {}),
    ):
        answer = await company.http.post(path, json=body, headers=company.bearer("reader"))
        assert answer.status_code >= 400, path
        for value in HOME_SUBJECT.values:
            assert not _stands_in(answer, value), path
