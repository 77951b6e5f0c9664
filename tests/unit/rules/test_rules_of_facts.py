"""Mappings, foil rules, matching, posting dates, routing, ownership and contracts: one decision at a time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import pytest

from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.document import Within
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.link import event_topic
from counterfoil.core.money import Money
from counterfoil.core.settle import MatchRows, settle
from counterfoil.core.terms import Legs, Terms
from counterfoil.model import Model
from counterfoil.rules import mapping, matching, routing
from counterfoil.rules.acceptance import trespasses
from counterfoil.rules.approval_matrix import in_currency
from counterfoil.rules.contract import violations
from counterfoil.rules.json_values import plain, typed
from counterfoil.rules.lookup import LookupsNeeded
from counterfoil.rules.mapping import MappedAnswer, MappedEvents, MappingFailed, UnresolvedLink
from counterfoil.rules.posting_date import posting_date
from counterfoil.rules.templates import UnusableValue
from tests.companies.base import edited
from tests.unit.rules.company import BASE
from tests.unit.rules.driver import MONDAY, model_of

MAPPINGS = """\
kind: mapping
name: in
from: {system: bills, type: sale}
let: {s: body.sale}
emit:
  type: "=s.total < 0 ? 'paid.v1' : 'asked.v1'"
  key: =s.id
  version: =s.at
  effective: =s.day
  data:
    id: "=canon('invoice', s.id)"
    by: "=table('who', s.by)"
    items: {each: =s.lines, as: l, data: {code: "=table('code', l)"}}
  links: {invoice: =s.id}
assert: size(data.items) > 0
---
kind: mapping
name: out
to: {operation: ledger.partner}
with: {party: "=xref('partner', input.partner_id)", code: "=table('code', 'a')", ref: =key, day: =dates.posting}
returns:
  result: {party: =result.id, parent: "=has(result.parent) ? canon('partner', result.parent) : null"}
  links: {partner: =result.id}
  compare: [partner_id]
assert: input.partner_id != 'bad'
"""


@cache
def model() -> Model:
    return model_of(
        edited(BASE, ("kind: mapping\nname: ledger-partner", "kind: mapping\nname: former")), MAPPINGS
    )


def inbound(body: dict[str, Any], answers: Mapping[Any, Any] | None = None) -> Any:
    (rule,) = model().inbound("bills", "sale")
    sale = {"id": "x1", "by": "ann", "lines": ["a", "b"], "total": 1, "at": 17, "day": date(2026, 1, 2)}
    return mapping.apply_inbound(rule, {"sale": sale | body}, None, MONDAY, answers or {})


ANSWERS = {
    ("canon", ("invoice", "x1", "bills")): "inv_1",
    ("table", ("who", "ann")): "Ann",
    ("table", ("code", "a")): "A",
    ("table", ("code", "b")): "B",
}


# ------------------------------------------------------------------ mappings


def test_a_mapping_asks_for_all_that_it_lacks_at_once() -> None:
    with pytest.raises(LookupsNeeded) as needed:
        inbound({})
    assert set(needed.value.questions) == set(ANSWERS)


def test_a_mapping_with_its_answers_gives_the_event() -> None:
    mapped = inbound({}, ANSWERS)
    assert isinstance(mapped, MappedEvents)
    (event,) = mapped.events
    assert (event.type, event.key, event.version) == ("asked.v1", "x1", 17)
    assert event.data == {"id": "inv_1", "by": "Ann", "items": [{"code": "A"}, {"code": "B"}]}
    assert event.links == (("invoice", "x1"),)
    assert event.effective_at == datetime(2026, 1, 2, tzinfo=UTC)


def test_the_identity_of_a_fact_is_its_version_and_never_its_mapped_content() -> None:
    first, other = inbound({}, ANSWERS), inbound({}, ANSWERS | {("table", ("who", "ann")): "Anna"})
    later = inbound({"at": 18}, ANSWERS)
    assert first.events[0].id == other.events[0].id != later.events[0].id


def test_a_missing_link_is_neither_event_nor_failure() -> None:
    found = inbound({}, ANSWERS | {("canon", ("invoice", "x1", "bills")): None})
    assert found == UnresolvedLink(object="invoice", id="x1", system="bills")


def test_a_table_without_a_row_is_a_failure_that_names_table_and_values() -> None:
    failed = inbound({}, ANSWERS | {("table", ("who", "ann")): None})
    assert failed == MappingFailed("mapping in: by: the table who has no row for ann")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"lines": []}, "assertion"),
        ({"id": None}, "no key"),
        ({"at": None}, "version"),
        ({"at": True}, "version"),
        ({"lines": 3}, "cannot|iterable"),
        ({"day": 10**30}, "no moment"),
    ],
)
def test_what_cannot_be_mapped_says_why(body: dict[str, Any], says: str) -> None:
    found = inbound(body, ANSWERS | {("canon", ("invoice", None, "bills")): "inv_2"})
    assert isinstance(found, MappingFailed)
    assert any(word in found.message for word in says.split("|")), found.message


def outbound(partner: str, answers: Mapping[Any, Any]) -> Any:
    rule = next(m for m in (model().outbound("ledger.partner"),) if m is not None)
    value = {"partner_id": partner}
    return mapping.render(rule, value, {"posting": date(2026, 1, 2)}, {"id": "r"}, "eff_1", answers)


def test_a_request_is_rendered_in_two_phases_to_the_same_bytes() -> None:
    with pytest.raises(LookupsNeeded) as needed:
        outbound("p1", {})
    answers = {("xref", ("partner", "p1", "ledger")): "77", ("table", ("code", "a")): "A"}
    assert set(needed.value.questions) == set(answers)
    rendered = outbound("p1", answers)
    assert rendered == b'{"code":"A","day":"2026-01-02","party":"77","ref":"eff_1"}'
    unlinked = outbound("p1", answers | {("xref", ("partner", "p1", "ledger")): None})
    assert unlinked == UnresolvedLink(object="partner", id="p1", system="ledger")


def test_a_request_whose_assertion_fails_is_not_sent() -> None:
    answers = {("xref", ("partner", "bad", "ledger")): "77", ("table", ("code", "a")): "A"}
    assert isinstance(outbound("bad", answers), MappingFailed)


def test_a_result_gives_links_and_names_what_differs() -> None:
    rule = model().outbound("ledger.partner")
    taken = mapping.take_result(rule, {"partner_id": "p1"}, {"id": 77}, {})
    assert isinstance(taken, MappedAnswer)
    assert taken.result == {"party": 77, "parent": None}
    assert taken.links == (("partner", "p1", "77"),)
    assert taken.differs == ("partner_id: asked p1, got nothing",)
    nameless = mapping.take_result(rule, {"partner_id": "p1"}, {"id": None}, {})
    assert isinstance(nameless, MappedAnswer)
    assert nameless.links == ()
    assert "names no id" in nameless.differs[0]


def test_a_result_that_names_an_unlinked_object_is_unreadable_and_not_looked_up_again() -> None:
    rule = model().outbound("ledger.partner")
    question = ("canon", ("partner", 5, "ledger"))
    answer = {"id": 77, "parent": 5}
    with pytest.raises(LookupsNeeded) as needed:
        mapping.take_result(rule, {"partner_id": "p1"}, answer, {})
    assert needed.value.questions == (question,)
    failed = mapping.take_result(rule, {"partner_id": "p1"}, answer, {question: None})
    assert failed == MappingFailed("mapping out, returns: partner 5 has no Link to ledger")


# ------------------------------------------------------------------ foil rules


def event(type_: str, **data: Any) -> CanonicalEvent:
    n = 1
    return CanonicalEvent(
        id=f"evt_{n}",
        type=type_,
        system="bills",
        object="",
        key=str(n),
        version=n,
        data=data,
        occurred_at=MONDAY,
        effective_at=MONDAY,
        received_at=MONDAY + timedelta(microseconds=n),
    )


def test_an_event_shows_the_other_half_of_a_foil() -> None:
    (rule,) = model().foils_by_observation("posted.v1")
    (seen,) = matching.observations_of(rule, event("posted.v1", id="a1", amount=Money(5, "USD")), None)
    assert (seen.key, seen.legs, seen.document) == ("a1", {"gross": Money(5, "USD")}, ":1")
    with pytest.raises(UnusableValue, match="no key"):
        matching.observations_of(rule, event("posted.v1", id=None, amount=Money(5, "USD")), None)
    with pytest.raises(UnusableValue, match="neither money"):
        matching.observations_of(rule, event("posted.v1", id="a1", amount=[5]), None)


def test_an_event_opens_a_foil_that_is_due_from_its_receipt() -> None:
    from tests.unit.rules.acme import model as acme

    (rule,) = acme().foils_by_event("invoice.finalized.v1")
    amounts = {name: Money(n, "USD") for n, name in enumerate(("net", "tax", "total"))}
    (owed,) = matching.owed(
        rule,
        event("invoice.finalized.v1", invoice_id="i1", document_date=MONDAY.date(), taxes=[], **amounts),
        None,
    )
    foil = matching.foil_of(owed, "run_1")
    assert (foil.run, foil.key, set(foil.legs)) == ("run_1", "i1", {"net", "tax", "taxes", "gross"})
    assert foil.due == MONDAY + timedelta(days=2, microseconds=1)


APPLIED = """\
---
kind: reconciliation
name: application
object: invoice
left: bills
right: ledger
assert:
  - event: asked.v1
    key: event.data.id
    stands: event.data.by != 'nobody'
    legs: {gross: event.data.amount}
    within:
      - {reconciliation: credit, key: event.data.by}
      - {reconciliation: sale, key: event.data.by, negate: true}
observe: {event: posted.v1, key: event.data.id, legs: {gross: event.data.amount}}
"""


def test_an_event_names_the_matches_whose_totals_its_document_uses_up() -> None:
    (rule,) = [f for f in model_of(APPLIED).foils if f.name == "application"]
    (owed,) = matching.owed(rule, event("asked.v1", id="a1", by="c1", amount=Money(5, "USD")), None)
    caps = Within("credit", "c1"), Within("sale", "c1", negate=True)
    assert matching.foil_of(owed, None).within == caps
    (gone,) = matching.owed(rule, event("asked.v1", id="a1", by="nobody", amount=Money(5, "USD")), None)
    assert matching.foil_of(gone, None).within == ()


# ------------------------------------------------------------------ settling
# tests/matching judges the rules themselves; here are the rows that they become.


def foil(n: int, legs: Legs, **more: Any) -> Foil:
    values: dict[str, Any] = {"due": MONDAY + timedelta(days=n), "terms": Terms(shape="n:m")} | more
    return Foil(
        id=f"f{n}", rule="r", key="k", document=f"d{n}", object="o", left="a", right="b", legs=legs,
        created_at=MONDAY, known_from=MONDAY, **values,
    )  # fmt: skip


def seen(n: int, legs: Legs, **more: Any) -> Observation:
    at = MONDAY + timedelta(seconds=n)
    return Observation(
        id=f"o{n}",
        rule="r",
        key="k",
        document=f"s{n}",
        version=1,
        legs=legs,
        event="e",
        since=at,
        at=at,
        **more,
    )


def usd(minor: int) -> Legs:
    return {"gross": Money(minor, "USD")}


ONE = Terms(shape="1:1")


@pytest.mark.parametrize(
    ("foils", "observations", "states"),
    [
        ([foil(1, usd(10))], [], {"f1": "open"}),
        ([foil(1, usd(10))], [seen(1, usd(10))], {"f1": "matched"}),
        ([foil(1, usd(10))], [seen(1, usd(4))], {"f1": "partly"}),
        ([foil(1, usd(10), terms=ONE)], [seen(1, usd(4))], {"f1": "broken"}),
        ([foil(1, usd(10), terms=Terms(tolerance=6))], [seen(1, usd(4))], {"f1": "matched"}),
        ([foil(1, usd(10))], [seen(1, usd(12))], {"f1": "over"}),
        ([foil(1, usd(10), terms=Terms(tolerance=2))], [seen(1, usd(12))], {"f1": "matched"}),
        ([foil(1, usd(10)), foil(2, usd(5))], [seen(1, usd(12))], {"f1": "matched", "f2": "partly"}),
        ([foil(1, usd(10))], [seen(1, {"gross": Money(10, "EUR")})], {"f1": "broken"}),
        ([foil(0, usd(10))], [], {"f0": "broken"}),
        ([foil(1, usd(10), provisional=True)], [], {"f1": "provisional"}),
        ([foil(1, usd(10), provisional=True)], [seen(1, usd(10))], {"f1": "matched"}),
        ([foil(1, usd(10), stands=False)], [], {"f1": "reversed"}),
        ([foil(1, usd(10), stands=False, stood=False)], [], {"f1": "void"}),
        ([foil(1, usd(10), stands=False)], [seen(1, usd(10))], {"f1": "over"}),
        ([foil(1, usd(-10))], [seen(1, usd(-10))], {"f1": "matched"}),
        ([foil(1, usd(0))], [], {"f1": "matched"}),
    ],
)
def test_what_foils_become(
    foils: list[Foil], observations: list[Observation], states: dict[str, str]
) -> None:
    settled = settle(MatchRows(foils, observations), MONDAY).foils
    after = {f.id: f.state for f in foils} | {f.id: f.state for f in settled}
    assert after == states
    again = [next((g for g in settled if g.id == f.id), f) for f in foils]
    assert settle(MatchRows(again, observations), MONDAY).foils == ()


def test_the_rows_of_a_match_settle_once() -> None:
    """What is settled stays until a document or the time changes it."""
    rows = MatchRows([foil(1, usd(10))], [seen(1, usd(10)), seen(2, usd(10))])
    settled = settle(rows, MONDAY)
    assert [(o.id, o.state, o.foil) for o in settled.observations] == [
        ("o1", "paired", None),
        ("o2", "over", "f1"),
    ]
    again = settle(MatchRows(settled.foils, settled.observations), MONDAY + timedelta(hours=1))
    assert (again.foils, again.observations) == ((), ())


# ------------------------------------------------------------------ posting dates


def months(*states: str) -> list[dict[str, Any]]:
    days = (31, 28, 31, 30)
    return [
        {"name": f"m{n}", "start": date(2026, n, 1), "end": date(2026, n, days[n - 1]), "state": state}
        for n, state in enumerate(states, 1)
    ]


@pytest.mark.parametrize(
    ("rule", "states", "expected"),
    [
        ("reject", ("open", "open"), date(2026, 1, 5)),
        ("reject", ("closed", "open"), "m1"),
        ("hold_for_reopen", ("soft_locked", "open"), "m1"),
        ("hold_for_reopen", ("reopened", "open"), date(2026, 1, 5)),
        ("first_open", ("open", "open"), date(2026, 1, 5)),
        ("first_open", ("closed", "closed", "open", "open"), date(2026, 3, 1)),
        ("first_open", ("closed", "closed"), date(2026, 3, 1)),
        ("first_open", ("closed", "closed", "closed", "pending_close"), "m1"),
        ("accrue_and_true_up", ("closed", "open"), date(2026, 2, 1)),
        ("current", ("closed", "closed", "open"), date(2026, 3, 10)),
        ("current", ("open", "open", "closed"), "m3"),
        ("reject", (), date(2026, 1, 5)),
    ],
)
def test_the_posting_date_of_a_rule(rule: str, states: tuple[str, ...], expected: date | str) -> None:
    found = posting_date(rule, date(2026, 1, 5), date(2026, 3, 10), months(*states))
    assert (found.date or found.closed) == expected


# ------------------------------------------------------------------ routing, thresholds, ownership, contracts


def flow(start: str, more: str = "steps: [{check: 'true'}]") -> Model:
    return model_of(BASE, f"kind: workflow\nname: flow\nowner: finance\nfailure: careful\n{start}\n{more}")


def test_an_event_begins_the_runs_whose_when_takes_it() -> None:
    begun = flow(
        "start: {event: asked.v1, key: event.data.id, when: has(event.data.by), generation: event.data.n}"
    )
    assert routing.starts(begun, event("asked.v1", id="a"), None) == []
    (start,) = routing.starts(begun, event("asked.v1", id="a", by="ann", n=2), None)
    assert (start.workflow, start.key, start.generation) == ("flow", "a", 2)
    with pytest.raises(UnusableValue, match="whole number"):
        routing.starts(begun, event("asked.v1", id="a", by="ann", n="2"), None)
    with pytest.raises(UnusableValue, match="no key"):
        routing.starts(begun, event("asked.v1", id="", by="ann", n=2), None)


def test_posts_and_waits_agree_on_their_topics() -> None:
    waits = (
        "steps: [{wait: {event: paid.v1, where: event.data.id == start.data.id && event.data.n == 2}},"
        " {check: 'false', outcomes: {failed: {queue: {wake: opened.v1}}}}]\n"
        "signals: [{event: stopped.v1, do: [park]}]"
    )
    waiting = flow("start: {event: asked.v1, key: event.data.id}", waits)
    assert set(routing.topics(waiting, event("paid.v1", id="x", n=2))) == {
        "event:paid.v1",
        event_topic("paid.v1", "id", "x"),
    }
    assert routing.topics(waiting, event("opened.v1", id="x")) == ("event:opened.v1",)
    assert routing.topics(waiting, event("stopped.v1", id="x")) == ("event:stopped.v1",)
    assert routing.topics(waiting, event("posted.v1", id="x")) == ()
    assert event_topic("paid.v1", "n", Decimal("2.0")) is None


def test_a_threshold_is_not_slipped_under_by_rounding() -> None:
    def rates(name: str, args: tuple[Any, ...]) -> Any:
        return {"EUR/USD": Decimal("1.00001"), "CHF/USD": "1.08"}.get(args[1])

    assert in_currency(Money(10000, "EUR"), "USD", "fx", rates) == 10001
    assert in_currency(Money(10000, "CHF"), "USD", "fx", rates) == 10800
    assert in_currency(Money(100, "JPY"), "USD", "fx", rates) is None
    assert in_currency(Money(100, "EUR"), "USD", None, rates) is None


@pytest.mark.parametrize("wrong", ["much", [], "NaN", "0", "-1"])
def test_a_rate_that_is_no_number_above_zero_is_refused(wrong: Any) -> None:
    def rates(name: str, args: tuple[Any, ...]) -> Any:
        return wrong

    with pytest.raises(UnusableValue, match="the rate EUR/USD"):
        in_currency(Money(100, "EUR"), "USD", "fx", rates)


def test_a_system_asserts_only_what_it_owns() -> None:
    from tests.unit.rules.acme import model as acme

    assert trespasses(acme(), "invoice.changed.v1", "billing", {"status", "open"}) == []
    (foreign,) = trespasses(acme(), "invoice.changed.v1", "erp", {"status"})
    assert foreign == "invoice.status belongs to billing"
    assert trespasses(acme(), "erp.invoice_posted.v1", "erp", {"erp_state", "net"}) == []


def test_a_contract_names_each_place_that_breaks_it() -> None:
    schema = model().schema_of_event("posted.v1")
    assert violations({"id": "a", "amount": Money(1, "USD")}, schema) == []
    wrong = violations({"amount": {"minor": "1", "currency": "USD"}}, schema)
    assert len(wrong) >= 2
    assert any("id" in w for w in wrong)
    assert any(w.startswith("amount/minor:") for w in wrong)


def test_values_come_back_from_plain_json_as_they_were() -> None:
    schema = {
        "properties": {
            "amount": {"x-type": "money"},
            "day": {"x-type": "date"},
            "at": {"x-type": "timestamp"},
            "rate": {"x-type": "decimal"},
        }
    }
    value = {"amount": Money(1, "USD"), "day": date(2026, 1, 2), "at": MONDAY, "rate": Decimal("1.50")}
    assert typed(plain(value), schema) == value
    assert typed({"day": "soon", "amount": 3}, schema) == {"day": "soon", "amount": 3}


def test_what_two_models_in_use_wait_for_is_worked_out_once_for_each() -> None:
    flow = """\
kind: workflow
name: flow
owner: finance
failure: careful
start: {event: asked.v1, key: event.data.id}
steps: [{wait: {event: %s, where: event.data.id == start.data.id}}]
"""
    one, other = model_of(BASE, flow % "paid.v1"), model_of(BASE, flow % "stopped.v1")
    first, second = routing.waited_fields(one), routing.waited_fields(other)
    assert ("paid.v1" in first, "paid.v1" in second) == (True, False)
    assert routing.waited_fields(one) is first
    assert routing.waited_fields(other) is second
