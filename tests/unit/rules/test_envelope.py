"""The common envelope of every event: complete in formulas and over HTTP, derived and never stored."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterfoil.canon.library import library
from counterfoil.core import wire
from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.money import Money
from counterfoil.core.run import RunStatus
from counterfoil.model import Model, read
from counterfoil.model.canonical import canonical_schema
from counterfoil.model.documents import Documents
from counterfoil.model.envelope import NO_ENVELOPE_RULES, EnvelopeRules
from counterfoil.model.scope import event_type
from counterfoil.prove.input_values import plain_value
from counterfoil.rules import routing
from counterfoil.rules.document_numbers import numbers_of
from counterfoil.rules.envelope import complete, entity_of_start, names_of_event, payload_hash
from counterfoil.rules.json_values import event_names, typed
from counterfoil.rules.lookup import lookup_in
from counterfoil.rules.matching import foil_of, observations_of, owed
from counterfoil.rules.workflow.state import load
from counterfoil.web.api.event_shapes import event_shape
from tests.companies.base import acme_model, documents, edited, model_of
from tests.companies.clean import COMPANY
from tests.companies.two_entities import TWO_ENTITIES
from tests.source import ROOT
from tests.unit.rules.company import ask, company

ACME = acme_model()
ENVELOPE = [
    "id",
    "source",
    "type",
    "subject",
    "time",
    "sequence",
    "legal_entity",
    "region",
    "schema_version",
    "occurred_at",
    "effective_at",
    "received_at",
    "correlation_id",
    "causation_id",
    "business_txn_id",
    "idempotency_key",
    "payload_hash",
]
"""The fields that every event carries."""
AT = datetime(2026, 3, 31, 22, 30, tzinfo=UTC)
PAGE = (
    (ROOT / "docs" / "reference" / "cloudevents.md").read_text("utf-8").partition("## The common envelope")[2]
)
HASHED = EnvelopeRules(hashes=True)


def documented() -> dict[str, str]:
    """Return when each field of the documented envelope is empty."""
    rows = re.findall(r"^\| (`[^|]+) \|[^|]*(?:\|[^|]*)*?\| ([^|]+) \|$", PAGE, re.M)
    return {name: empty for names, empty in rows for name in re.findall(r"`(\w+)`", names)}


def event(type_: str, data: dict[str, Any], **changes: Any) -> CanonicalEvent:
    fields: dict[str, Any] = {
        "id": "evt_1", "type": type_, "system": "shop", "object": "", "key": "K1", "version": 7, "data": data,
        "occurred_at": AT, "effective_at": AT, "received_at": AT, "correlation": "K1",
    }  # fmt: skip
    return CanonicalEvent(**fields | changes)


def every_event() -> Iterator[Any]:
    """Yield an event of each type of the example and of the canonical library, with data of its contract."""
    schemas = {name: ACME.schema_of_event(name) for name in ACME.events}
    for document in library().documents:
        if document.kind == "event":
            schemas[f"{document.name}.v{document.version}"] = canonical_schema(document)
    for name, schema in sorted(schemas.items()):
        yield pytest.param(event(name, typed(plain_value(schema, "", "USD", 10_000), schema)), id=name)


def test_the_page_documents_every_field_and_no_other() -> None:
    assert set(documented()) == set(ENVELOPE)


@pytest.mark.parametrize("fact", [*every_event()])
def test_every_event_has_each_field_or_the_page_says_when_it_is_empty(fact: CanonicalEvent) -> None:
    assert fact.data
    shape = event_shape(fact, NO_ENVELOPE_RULES)
    in_formulas = names_of_event(fact, HASHED)["event"]
    for name in ENVELOPE:
        value = getattr(shape, name)
        assert value or documented()[name] != "never", name
        assert in_formulas[name] == value
    assert shape.schema_version == re.split(r"\.v", fact.type)[-1]


def test_a_formula_may_read_every_field_of_the_envelope_that_an_event_has() -> None:
    for name in ACME.events:
        fields = event_type(ACME, name)["properties"]
        assert set(ENVELOPE) <= set(fields)
        assert set(fields) == set(names_of_event(event(name, {}), HASHED)["event"])


# ------------------------------------------------------------------ derived fields


def test_nothing_that_is_derived_is_stored() -> None:
    assert set(event_names(event("a.made.v1", {}))) & {
        "sequence", "region", "schema_version", "business_txn_id", "idempotency_key", "payload_hash",
    } == set()  # fmt: skip


def test_the_payload_hash_is_that_of_canonical_json() -> None:
    data = {
        "total": Money(1250, "USD"),
        "day": date(2026, 3, 2),
        "at": datetime(2026, 3, 2, 9, tzinfo=UTC),
        "rate": Decimal("1.50"),
        "name": "Zoë",
        "lines": [1, True, None],
    }
    text = (
        '{"at":"2026-03-02T09:00:00Z","day":"2026-03-02","lines":[1,true,null],"name":"Zoë","rate":1.50,'
        '"total":{"currency":"USD","minor":1250}}'
    )
    assert payload_hash(data) == hashlib.sha256(text.encode()).hexdigest()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=4), JSON, max_size=5), st.randoms())
def test_a_reader_computes_the_same_hash_whatever_the_order_of_keys(
    data: dict[str, Any], random: Any
) -> None:
    keys = list(data)
    random.shuffle(keys)
    canonical = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    ours = payload_hash({key: data[key] for key in keys})
    assert ours == payload_hash(wire.loads(wire.dumps(data)))
    assert ours == hashlib.sha256(wire.write_json(json.loads(canonical))).hexdigest()


@pytest.mark.parametrize(
    ("type_", "version"),
    [("a.made.v1", "1"), ("a.made.v12", "12"), ("erp.credit.post.called", "1"), ("a.v0", "1")],
)
def test_the_schema_version_is_that_of_the_type(type_: str, version: str) -> None:
    assert names_of_event(event(type_, {}), HASHED)["event"]["schema_version"] == version


@pytest.mark.parametrize(("correlation", "expected"), [("INV-1", "INV-1"), ("", "K1")])
def test_the_transaction_is_the_correlation_or_else_the_subject(correlation: str, expected: str) -> None:
    fact = event("a.made.v1", {}, correlation=correlation)
    assert event_shape(fact, NO_ENVELOPE_RULES).business_txn_id == expected


# ------------------------------------------------------------------ regions and entities

ENTITIES = (
    TWO_ENTITIES
    + """\
kind: table
name: region
owner: finance
key: [legal_entity]
value: region
valid_from: since
rows:
  - {legal_entity: us, region: americas}
  - {legal_entity: us, region: emea, since: 2026-04-01}
  - {legal_entity: de, region: dach}
"""
)


@pytest.mark.parametrize(
    ("entity", "at", "region"),
    [
        ("de", AT, "eu"),
        ("us", AT, "americas"),
        ("us", datetime(2026, 4, 1, tzinfo=UTC), "emea"),
        ("fr", AT, ""),
        ("", AT, "americas"),
    ],
)
def test_the_region_is_that_of_the_document_else_of_the_table_on_the_day(
    entity: str, at: datetime, region: str
) -> None:
    rules = Model.from_documents(model_of(documents(COMPANY, ENTITIES)).plain()).envelope
    assert event_shape(event("a.made.v1", {}, legal_entity=entity, occurred_at=at), rules).region == region


@pytest.mark.parametrize(
    ("names", "entity"),
    [
        ({"event": {"legal_entity": "de", "data": {"legal_entity": "us"}}}, "de"),
        ({"event": {"legal_entity": "", "data": {"legal_entity": "us"}}}, "us"),
        ({"object": {"legal_entity": "de"}}, "de"),
        ({"input": {"legal_entity": "us"}, "event": {"legal_entity": "", "data": {}}}, "us"),
        ({"event": None, "object": None}, ""),
        ({}, ""),
    ],
)
def test_the_entity_of_a_run_is_that_of_what_began_it(names: dict[str, Any], entity: str) -> None:
    assert entity_of_start(names) == entity


# ------------------------------------------------------------------ in formulas

READER = """\
kind: workflow
name: reader
owner: finance
failure: careful
start:
  event: credit.requested.v1
  when: event.sequence == '7' && entity.currency == 'EUR'
  key: event.idempotency_key + '/' + event.region
steps: [{emit: credit.settled.v1, data: {credit_id: =event.payload_hash}}]
"""


def reading(text: str = READER) -> Model:
    return model_of(documents(COMPANY, ENTITIES, text))


def requested(**changes: Any) -> CanonicalEvent:
    data = {"credit_id": "c", "customer_id": "k", "amount": Money(1, "USD"), "asked_on": date(2026, 1, 1)}
    return event("credit.requested.v1", data | {"requested_by": "ann", "reason": "outage"}, **changes)


def test_a_start_reads_the_envelope_and_the_entity_and_stores_neither() -> None:
    starts = routing.starts(reading(), requested(legal_entity="de"), None)
    (start,) = [start for start in starts if start.workflow == "reader"]
    assert start.key == "evt_1/eu"
    assert start.names == {"event": event_names(requested(legal_entity="de"))}
    others = routing.starts(reading(), requested(legal_entity="us"), None)
    assert [start for start in others if start.workflow == "reader"] == []


def test_the_payload_is_hashed_only_if_a_document_reads_its_hash() -> None:
    hashed = names_of_event(requested(), reading().envelope)["event"]
    assert hashed["payload_hash"] == payload_hash(requested().data)
    plain = reading(READER.replace("event.payload_hash", "event.id")).envelope
    assert "payload_hash" not in names_of_event(requested(), plain)["event"]


def test_a_workflow_is_pinned_to_the_entities_that_it_reads() -> None:
    model = reading()
    assert {d["name"] for d in model.closure("reader") if d["kind"] == "legal_entity"} == {"us", "de"}
    assert [d for d in model.closure("credit") if d["kind"] == "legal_entity"] == []


def test_a_folder_without_entities_has_no_name_entity_in_workflows(tmp_path: Any) -> None:
    (tmp_path / "company.yaml").write_text(documents(COMPANY, READER), "utf-8")
    assert {f.rule for f in read(tmp_path)[1]} == {"unknown-name"}


def test_a_stored_event_of_an_older_release_gets_the_whole_envelope() -> None:
    stored = wire.loads(wire.dumps(event_names(requested(legal_entity="de"))))
    del stored["senders"]
    rules = EnvelopeRules.of(Documents(reading().documents))
    assert set(ENVELOPE) <= set(complete(stored, rules))


FLOW = """\
steps:
  - id: pay
    wait:
      event: paid.v1
      where: event.data.id == start.data.id && event.schema_version == '1' && event.business_txn_id != start.sequence
      until: +2d
  - check: pay.idempotency_key == pay.id && pay.sequence == pay.version && pay.payload_hash != event.payload_hash
    outcomes: {failed: {stop: wrong}}
  - emit: told.v1
    data: {id: "=[entity.id, entity.currency, event.idempotency_key, pay.payload_hash].join('/')"}
"""


async def test_a_run_reads_the_envelope_of_its_events_and_its_entity_in_every_turn() -> None:
    """The Run's state is stored and read again between the start and the event that it waits for."""
    play = company(FLOW, ENTITIES)
    await ask(play)
    await play.event("paid.v1", id="a1", n=7)
    (asked, paid) = (e for e in play.store.tables.events.values() if e.type in ("asked.v1", "paid.v1"))
    (told,) = play.emitted("told.v1")
    assert told.data["id"] == f"us/USD/{asked.id}/{payload_hash(paid.data)}"
    assert (play.run().status, play.run().state) == (RunStatus.DONE, "started")
    stored = load(play.run().ctx).names
    assert set(stored["event"]) == set(event_names(asked))
    assert set(stored["pay"]) == set(event_names(paid))


async def test_a_run_of_an_entity_that_is_not_declared_says_so() -> None:
    flow = "steps: [{check: entity.currency == 'EUR', outcomes: {failed: {stop: wrong}}}]"
    play = company(flow, ENTITIES)
    await ask(play, legal_entity="fr")
    (case,) = play.cases()
    assert "No document declares the legal entity fr" in case.message


async def test_the_entity_of_a_run_is_that_of_its_event() -> None:
    play = company(
        "steps: [{check: entity.id == 'de' && entity.zone == 'Europe/Berlin', becomes: german}]", ENTITIES
    )
    await ask(play, legal_entity="de")
    assert (play.run().status, play.run().state) == (RunStatus.DONE, "german")


async def test_a_let_of_the_name_entity_hides_the_document() -> None:
    play = company("let: {entity: \"'mine'\"}\nsteps: [{check: entity == 'mine', becomes: own}]", ENTITIES)
    await ask(play)
    assert (play.run().status, play.run().state) == (RunStatus.DONE, "own")


OBSERVED = (
    "observe:\n  event: credit.posted.v1\n  key: event.data.credit_id\n  legs: {gross: event.data.amount}\n"
)
READ = """\
observe:
  - event: credit.posted.v1
    key: event.data.credit_id
    document: event.idempotency_key + '/' + event.region
    entity: entity.title
    legs: {gross: event.data.amount}
"""


def test_a_reconciliation_reads_the_envelope_and_the_entity_of_its_event() -> None:
    model = model_of(documents(edited(COMPANY, (OBSERVED, READ)), ENTITIES))
    (rule,) = (r for r in model.foils_by_observation("credit.posted.v1") if r.document is not None)
    fact = event("credit.posted.v1", {"credit_id": "c", "amount": Money(5, "EUR")}, legal_entity="de")
    (shown,) = observations_of(rule, fact, None)
    assert (shown.document, shown.entity) == ("evt_1/eu", "Acme GmbH")


# ------------------------------------------------------------------ the day of a document

DAYS = {"us": "2026-03-31", "de": "2026-04-01", "": "2026-03-31"}
"""Legal entity -> its day at AT. The last one is that of an event that names none."""
WAYS = {
    "the default": "",
    "a moment": "  effective: event.occurred_at\n",
    "a date": "  effective: date(event.occurred_at, entity.zone)\n",
}
DATED = """\
kind: reconciliation
name: dated
object: credit
left: bills
right: ledger
key: event.data.credit_id
legs: {{gross: {{total: true}}}}
assert:
- event: credit.requested.v1
  number: event.data.credit_id
  legs: {{gross: event.data.amount}}
{effective}observe:
- event: credit.posted.v1
  legs: {{gross: event.data.amount}}
{effective}"""


@pytest.mark.parametrize("entity", DAYS)
@pytest.mark.parametrize("way", WAYS)
def test_a_document_has_the_day_of_its_legal_entity(way: str, entity: str) -> None:
    model = model_of(documents(COMPANY, ENTITIES, DATED.format(effective=WAYS[way])))
    data = {"credit_id": "c", "customer_id": "k", "amount": Money(5, "EUR")}
    request, posting = (
        event(f"credit.{done}.v1", data, legal_entity=entity) for done in ("requested", "posted")
    )
    lookup = lookup_in({})
    rights = [rule for rule in model.foils_by_observation(posting.type) if rule.name == "dated"]
    (shown,) = observations_of(rights[0], posting, lookup)
    (due,) = owed(model.foils_by_event(request.type)[0], request, lookup)
    forms = routing.forms(model, request, ())
    (number,) = numbers_of(model, request, forms, lookup)
    assert (shown.effective, foil_of(due, None).effective, number.day) == (DAYS[entity],) * 3
