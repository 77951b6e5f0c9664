"""The doors for facts, for persons who are bound to a legal entity: every mode, role and entity, on both stores.

The company has the same rows for two entities. Nobody sends facts about the rows of an entity that they do not act for.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from msgspec.structs import replace

from counterfoil.core import wire
from counterfoil.core.document import in_ledger
from tests.companies.web_matches import admit, bill_item, foil_of
from tests.companies.web_rows import GERMAN, run_of
from tests.contract.store import samples as s
from tests.contract.test_entity_walk import HOME, Walked, entity_company

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("entity-walk")]
SYSTEMS = {HOME: "billing", GERMAN: "billing-de"}
PREFIXES = {HOME: "US-", GERMAN: "DE-"}
OTHER = {HOME: GERMAN, GERMAN: HOME}
BOUND = {HOME: "home", GERMAN: "german"}
MODES = ("structured", "batch", "binary")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "postgres"])
async def company(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Walked]:
    async with contextlib.AsyncExitStack() as stack:
        company = await entity_company(stack, request, tmp_path_factory.mktemp("doors"))
        for entity, prefix in PREFIXES.items():
            for object_ in ("invoice", "customer", "subscription"):
                await know(company, object_, f"{prefix}{object_}", entity)
        yield company


async def know(company: Walked, object_: str, key: str, entity: str) -> None:
    """Store a head of an entity, active since the beginning."""
    store = company.app.store
    receipt = s.receipt(f"know-{key}", f"know-{key}")
    no = (await store.apply(s.receive(receipt))).numbers[0]
    event = s.event(f"evt-{key}", key, object=object_, data={"status": "active"}, legal_entity=entity)
    head = replace(s.head(event), entity=entity, system=SYSTEMS[entity])
    link = s.link(key, f"cus_{PREFIXES[entity]}1", object=object_, system=SYSTEMS[entity])
    links = (link,) if object_ == "customer" else ()
    assert (await store.apply(s.admit(no, events=(event,), heads=(head,), links=links))).applied


def event_of(type_: str, entity: str, subject: str | None = None, **data: Any) -> dict[str, Any]:
    event = {
        "specversion": "1.0", "id": f"e-{wire.digest([type_, entity, subject, data])[:12]}",
        "source": f"/{SYSTEMS[entity]}", "type": type_, "legalentity": entity, "data": data,
    }  # fmt: skip
    return event if subject is None else event | {"subject": subject}


def foreign_events(entity: str) -> list[dict[str, Any]]:
    """Return events of an entity, each of which names an object of the other one in its own way."""
    other = PREFIXES[OTHER[entity]]
    rows = "DE-" if entity == HOME else ""
    return [
        event_of("invoice.changed.v1", entity, invoice_id=f"{other}invoice", status="paid"),
        event_of("invoice.voided.v1", entity, invoice_id=f"{other}invoice", status="void"),
        event_of("invoice.changed.v1", entity, f"{other}invoice", status="paid"),
        event_of("invoice.voided.v1", entity, invoice_id=f"{rows}INV-9", status="void"),
        event_of("ticket.changed.v1", entity, ticket_id="t-1", customer_id=f"{other}customer"),
        event_of("ticket.changed.v1", entity, ticket_id="t-1", customer_ref=f"cus_{other}1"),
        event_of("support.credit_requested.v1", entity, credit_id="c-1", invoice_id=f"{other}invoice"),
        event_of("support.credit_requested.v1", entity, credit_id="c-1", customer_id=f"{other}customer"),
        event_of("support.credit_requested.v1", entity, credit_id=f"{rows}CR-1003"),
        event_of("support.credit_requested.v1", entity, f"{rows}CR-1003", credit_id="c-1"),
        event_of("no.such.v1", entity, f"{other}customer"),
        event_of("no.such.v1", entity, lines=[{"of": {"first_invoice_id": f"{other}invoice"}}]),
        event_of("no.such.v1", entity, invoice_ids=["i-1", f"{other}invoice"]),
    ]


async def post(company: Walked, person: str, mode: str, *events: dict[str, Any]) -> httpx2.Response:
    headers = company.bearer(person)
    if mode == "binary":
        (event,) = events
        headers |= {f"ce-{name}": str(value) for name, value in event.items() if name != "data"}
        headers["content-type"] = "application/json"
        return await company.http.post("/v1/events", json=event["data"], headers=headers)
    if mode == "structured":
        headers["content-type"] = "application/cloudevents+json"
        return await company.http.post("/v1/events", json=events[0], headers=headers)
    headers["content-type"] = "application/cloudevents-batch+json"
    return await company.http.post("/v1/events", json=list(events), headers=headers)


def senders(company: Walked, permission: str, end: str) -> list[str]:
    """Return the persons with a binding whose role grants a permission."""
    roles = [name for name, role in company.app.model.roles.items() if permission in role.may]
    assert roles
    return [f"{role}.{end}" for role in roles]


async def receipts(company: Walked) -> int:
    dump, _ = await company.app.store.audited()
    return len(dump.receipts)


# ------------------------------------------------------------------ CloudEvents


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("entity", [HOME, GERMAN])
async def test_an_event_that_names_a_record_of_another_entity_is_refused_as_one_of_that_entity(
    company: Walked, entity: str, mode: str
) -> None:
    before = await receipts(company)
    for person in senders(company, "events:any:send", BOUND[entity]):
        of_other = event_of("invoice.voided.v1", OTHER[entity], invoice_id="i-1", status="void")
        known = await post(company, person, mode, of_other)
        for event in foreign_events(entity):
            for sent in (event, {k: v for k, v in event.items() if k != "legalentity"}):
                answer = await post(company, person, mode, sent)
                assert answer.status_code == 404, (person, sent, answer.text[:300])
                same = answer.json() | {"detail": answer.json()["detail"].replace(sent["id"], of_other["id"])}
                assert _told(same) == _told(known.json())
    assert await receipts(company) == before


def _told(problem: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in problem.items() if name in ("type", "title", "status", "detail")}


async def test_one_foreign_event_refuses_its_batch(company: Walked) -> None:
    own = event_of("invoice.changed.v1", GERMAN, invoice_id="DE-invoice", status="paid")
    before = await receipts(company)
    for foreign in foreign_events(GERMAN):
        answer = await post(company, "administrator.german", "batch", own, foreign)
        assert answer.status_code == 404
    assert await receipts(company) == before


async def test_events_about_own_and_unknown_records_are_taken(company: Walked) -> None:
    for person in ("administrator.german", "administrator.both", "administrator.free"):
        for n, event in enumerate((
            event_of("invoice.changed.v1", GERMAN, invoice_id="DE-invoice", status="paid"),
            event_of("invoice.changed.v1", GERMAN, invoice_id="new-invoice", status="paid"),
            event_of("invoice.changed.v1", GERMAN, invoice_id="DE-INV-9", status="paid"),
            event_of("ticket.changed.v1", GERMAN, ticket_id="t-2", customer_ref="cus_DE-1"),
            event_of("support.credit_requested.v1", GERMAN, credit_id="c-2", customer_id="DE-customer"),
        )):  # fmt: skip
            answer = await post(company, person, "structured", event | {"id": f"own-{person}-{n}"})
            assert answer.status_code == 202, (person, event, answer.text[:300])


async def test_a_person_of_both_entities_and_an_unbound_one_send_for_each(company: Walked) -> None:
    for person in ("administrator.both", "administrator.free"):
        for n, event in enumerate(foreign_events(HOME)):
            answer = await post(company, person, "structured", event | {"id": f"{person}-{n}"})
            assert answer.status_code == 202, (person, event, answer.text[:300])


async def test_a_document_that_only_the_other_side_of_another_entity_shows_hides_no_record(
    company: Walked,
) -> None:
    now = await company.app.store.now()
    item = replace(bill_item("DOOR-1", "DOOR-1", 5_000, now), entity=HOME)
    await admit(company.app.store, now, items=(item,))
    event = event_of("invoice.changed.v1", GERMAN, invoice_id="DOOR-1", status="paid")
    assert (await post(company, "administrator.german", "structured", event)).status_code == 202


async def test_the_rows_of_the_test_exist(company: Walked) -> None:
    for key in ("INV-9", "DE-INV-9"):
        assert await company.app.store.foil(foil_of(key)) is not None
    for key in ("CR-1003", "DE-CR-1003"):
        assert await company.app.store.load(run_of(key)) is not None


def posted(number: str) -> dict[str, Any]:
    """Return a German posting of an invoice that nobody knows, under a number of the ledger."""
    nothing = {"minor": 0, "currency": "EUR"}
    event = event_of(
        "erp.invoice_posted.v1", GERMAN, invoice_id="unknown", erp_number=number, erp_state="posted",
        posting_date="2026-11-21", taxes=[],
        **dict.fromkeys(("net", "tax", "total", "erp_open", "erp_applied"), nothing),
    )  # fmt: skip
    return event | {"source": "/erp-de"}


async def test_an_event_reaches_no_document_of_another_entity_by_a_formula(company: Walked) -> None:
    now = await company.app.store.now()
    # Documents of this ledger, one of which it showed for the other company; the fourth is of the other ledger.
    cases = (
        ("N-1", HOME, "erp-de", 404),
        ("N-2", GERMAN, "erp-de", 202),
        ("N-3", None, "", 202),
        ("N-4", HOME, "", 202),
    )
    for number, entity, ledger, status in cases:
        if entity is not None:
            item = replace(bill_item(in_ledger(ledger, number), f"key-{number}", 5_000, now), entity=entity)
            await admit(company.app.store, now, items=(item,))
        answer = await post(company, "administrator.german", "structured", posted(number))
        assert answer.status_code == status, (number, answer.text[:300])


# ------------------------------------------------------------------ usage


def usage(id_: str, source: str, subscription: str, **more: Any) -> dict[str, Any]:
    data = {"subscription_id": subscription, "meter": "api_calls", "quantity": 2.5} | more.pop("data", {})
    time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "specversion": "1.0", "id": id_, "source": source, "type": "usage.recorded.v1", "time": time, "data": data,
    } | more  # fmt: skip


async def send_usage(company: Walked, person: str, *events: dict[str, Any]) -> list[str]:
    """Send a batch, and return the reason of each event; empty for one that is counted."""
    headers = company.bearer(person) | {"content-type": "application/cloudevents-batch+json"}
    answer = await company.http.post("/v1/usage", content=json.dumps(events), headers=headers)
    assert answer.status_code == 202, answer.text[:300]
    reasons = {refused["index"]: refused["reason"] for refused in answer.json()["refused"]}
    return [reasons.get(place, "") for place in range(len(events))]


@pytest.mark.parametrize("entity", [HOME, GERMAN])
async def test_usage_of_another_entity_is_refused(company: Walked, entity: str) -> None:
    own, other = PREFIXES[entity], PREFIXES[OTHER[entity]]
    source, foreign = f"/{SYSTEMS[entity]}", f"/{SYSTEMS[OTHER[entity]]}"
    for person in senders(company, "usage:any:send", BOUND[entity]):
        events = {
            "own": (usage("", "/support", f"{own}subscription"), ""),
            "named": (usage("", "/support", f"{own}subscription", legalentity=entity), ""),
            "source": (usage("", source, f"{own}subscription"), ""),
            "other-named": (usage("", "/support", f"{own}subscription", legalentity=OTHER[entity]), "usage_unknown_entity"),
            "other-all": (usage("", foreign, f"{other}subscription", legalentity=OTHER[entity]), "usage_unknown_entity"),
            "unknown": (usage("", "/support", f"{own}subscription", legalentity="acme-fr"), "usage_unknown_entity"),
            "other-source": (usage("", foreign, f"{own}subscription"), "usage_unknown_entity"),
            "other-subscription": (usage("", "/support", f"{other}subscription"), "usage_unknown_subscription"),
            "other-subscription-named": (
                usage("", "/support", f"{other}subscription", legalentity=entity), "usage_unknown_subscription",
            ),
        }  # fmt: skip
        sent = [event | {"id": f"{person}-{name}"} for name, (event, _) in events.items()]
        assert await send_usage(company, person, *sent) == [reason for _, reason in events.values()]


async def test_usage_that_contradicts_the_entity_of_its_subscription_is_refused_to_everybody(
    company: Walked,
) -> None:
    for person in ("administrator.both", "administrator.free"):
        events = [
            (usage(f"{person}-1", "/billing-de", "DE-subscription"), ""),
            (usage(f"{person}-2", "/support", "DE-subscription"), ""),
            (usage(f"{person}-3", "/support", "DE-subscription", legalentity=GERMAN), ""),
            (usage(f"{person}-4", "/billing", "DE-subscription"), "usage_unknown_subscription"),
            (usage(f"{person}-5", "/support", "DE-subscription", legalentity=HOME), "usage_unknown_subscription"),
            (usage(f"{person}-6", "/billing", "DE-subscription", legalentity=GERMAN), "usage_unknown_entity"),
            (usage(f"{person}-7", "/support", "DE-subscription", legalentity="acme-fr"), "usage_unknown_entity"),
        ]  # fmt: skip
        reasons = await send_usage(company, person, *(event for event, _ in events))
        assert reasons == [reason for _, reason in events]


async def test_a_refused_event_of_another_entity_tells_no_more_than_one_of_an_unknown_subscription(
    company: Walked,
) -> None:
    headers = company.bearer("administrator.german") | {"content-type": "application/cloudevents-batch+json"}
    details = []
    for n, subscription in enumerate(("US-subscription", "ZZ-subscription")):
        batch = [usage(f"d-{n}", "/support", subscription, legalentity=GERMAN)]
        answer = await company.http.post("/v1/usage", content=json.dumps(batch), headers=headers)
        (refused,) = answer.json()["refused"]
        details.append((refused["reason"], refused["detail"].replace(subscription, "")))
    assert details[0] == details[1]
