"""A delivery that came again with other content: both values, and the money at stake."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from counterfoil.core import wire
from counterfoil.core.cases import open_case
from counterfoil.core.contradictions import case_of_start, clash_of_receipt
from counterfoil.core.run import Run

NOW = datetime(2026, 11, 20, tzinfo=UTC)
FORMS: dict[str, Any] = {
    "minor": lambda minor: {"minor": minor, "currency": "EUR"},
    "amount": lambda minor: {"amount": f"{minor / 100:.2f}", "currency": "EUR"},
    "both": lambda minor: {"amount": f"{minor / 100:.2f}", "minor": minor, "currency": "EUR"},
}


@pytest.mark.parametrize("first", FORMS)
@pytest.mark.parametrize("second", FORMS)
def test_money_in_any_form_is_compared_and_at_stake(first: str, second: str) -> None:
    def clash(minor: int) -> Any:
        bodies = [{"data": {"total": FORMS[f](m)}} for f, m in ((first, 1000), (second, minor))]
        case = open_case("clash", id="case_1", message="Again", owners=("finance",), at=NOW)
        return clash_of_receipt(case, 7, *(wire.write_json(body) for body in bodies))

    other = clash(9900)
    assert other.message == "Again. data.total was 10.00 EUR, now 99.00 EUR"
    assert [str(money) for money in other.exposure] == ["89.00 EUR"]
    assert clash(1000).exposure == ()


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("acme-us", "acme-us", None),
        ("", "acme-us", None),  # it came before the company declared its entities
        ("acme-us", "acme-de", "generation 0 of this key began for another legal entity than acme-de"),
    ],
)
def test_an_event_of_another_entity_starts_no_run_of_the_same_key(
    first: str, second: str, words: str | None
) -> None:
    run = Run(
        id="run_1", workflow="note", bkey="k1", generation=0, pin="p", arrival=1, created_at=NOW, entity=first
    )
    began, again = (
        wire.dumps({"event": {"type": "asked.v1", "legal_entity": entity, "data": {"id": "k1"}}})
        for entity in (first, second)
    )
    case = case_of_start(run, "evt_2", again, began, "finance", NOW)
    assert (None if case is None else case.message.rpartition(": ")[2]) == words
    # It is the entity of the event that sees it, and it says nothing of the other one.
    assert case is None or (case.run, case.event, "acme-us" in case.message) == (None, "evt_2", False)


@pytest.mark.parametrize(
    ("began", "version", "is_case"),
    [("head:customer:c1:7", "7", False), ("head:customer:c1:7", "6", False), ("head:customer:c1:7", "8", True), ("evt_1", "6", True)],
)  # fmt: skip
def test_a_run_that_began_with_the_state_of_an_object_has_its_older_events(
    began: str, version: str, is_case: bool
) -> None:
    """A system may deliver the change of an object before its creation; the state has both."""
    run = Run(id="run_1", workflow="sync", bkey="c1", generation=0, pin="p", arrival=1, created_at=NOW)
    first, again = (
        wire.dumps(
            {"event": {"type": "customer.changed.v1", "id": id_, "version": v, "data": {"revision": n}}}
        )
        for id_, v, n in ((began, "7", 7), ("evt_2", version, 0))
    )
    assert (case_of_start(run, "evt_2", again, first, "finance", NOW) is not None) == is_case
