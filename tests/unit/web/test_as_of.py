"""Match rows as they were known at a time, from the versions of their documents."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from msgspec.structs import replace

from counterfoil.core.foil import Foil, Observation, Pairing, Waiver
from counterfoil.core.foil_versions import waiver_of
from counterfoil.core.money import Money
from counterfoil.core.settle import pair_content, settled_alone
from counterfoil.store.port.as_of import AsOf, assemble, settle_as_of
from counterfoil.store.port.matches import DocumentVersion, version_of

T0 = datetime(2026, 11, 20, tzinfo=UTC)


def hour(number: int) -> datetime:
    return T0 + timedelta(hours=number)


FOIL = Foil(
    id="f1", rule="r", key="K", document="INV", object="invoice", left="billing", right="erp", version=1,
    legs={"gross": Money(100, "USD")}, due=hour(48), created_at=hour(1), known_from=hour(1),
)  # fmt: skip
ITEM = Observation(
    id="o1", rule="r", key="K", document="BILL", version=1, system="erp", legs={"gross": Money(90, "USD")},
    event="e", since=hour(2), at=hour(2), effective="2026-11-25",
)  # fmt: skip


def versions(*rows: Foil | Observation, until: dict[int, datetime] | None = None) -> list[DocumentVersion]:
    """Return the versions of rows, each known from its own time."""
    return [
        version_of(row, row.known_from if isinstance(row, Foil) else row.at, (until or {}).get(n))
        for n, row in enumerate(rows)
    ]


def state(
    rows: list[DocumentVersion],
    at: AsOf,
    pairings: tuple[Pairing, ...] = (),
    waivers: tuple[Waiver, ...] = (),
) -> list[tuple[str, str]]:
    """Return the states of all documents, by match."""
    matches = [settle_as_of(row, at) for row in assemble(rows, pairings, waivers, (), at.known)]
    return [
        (row.document, str(row.state)) for match in matches for row in (*match.foils, *match.observations)
    ]


def test_a_document_is_not_there_before_it_was_known() -> None:
    rows = versions(FOIL, ITEM)
    assert state(rows, AsOf(hour(0))) == []
    assert state(rows, AsOf(hour(1))) == [("INV", "open")]
    assert state(rows, AsOf(hour(2))) == [("INV", "broken"), ("BILL", "paired")]


def test_a_later_version_does_not_change_the_past() -> None:
    newer = replace(ITEM, version=2, legs=FOIL.legs, at=hour(5))
    rows = versions(FOIL, ITEM, newer, until={1: hour(5)})
    assert state(rows, AsOf(hour(4)))[0] == ("INV", "broken")
    assert state(rows, AsOf(hour(5)))[0] == ("INV", "matched")


def test_a_late_older_version_was_never_in_force() -> None:
    late = replace(ITEM, version=0, legs=FOIL.legs, at=hour(6))
    rows = versions(FOIL, ITEM, late, until={2: hour(6)})
    assert state(rows, AsOf(hour(7)))[0] == ("INV", "broken")


def test_a_document_that_moved_stood_on_its_former_match() -> None:
    moved = replace(FOIL, version=2, key="L", known_from=hour(5))
    rows = versions(FOIL, moved, ITEM, until={0: hour(5)})
    assert state(rows, AsOf(hour(4)))[0] == ("INV", "broken")
    assert state(rows, AsOf(hour(5))) == [("BILL", "unmatched"), ("INV", "open")]
    then = assemble(rows, (), (), [("r", "K")], hour(5))
    assert settle_as_of(then[0], AsOf(hour(5))).observations[0].state == "over"


def test_due_times_are_judged_at_that_time() -> None:
    assert state(versions(FOIL), AsOf(hour(47))) == [("INV", "open")]
    assert state(versions(FOIL), AsOf(hour(48))) == [("INV", "broken")]


def test_the_cut_off_leaves_out_later_documents() -> None:
    rows = versions(FOIL, ITEM)
    assert state(rows, AsOf(hour(3), date(2026, 11, 24))) == [("INV", "open")]
    assert state(rows, AsOf(hour(3), date(2026, 11, 25)))[0] == ("INV", "broken")
    assert state(rows, AsOf(hour(3), date(2026, 11, 19))) == []


def test_a_pair_holds_from_its_decision_to_its_end() -> None:
    item = replace(ITEM, key="X", legs=FOIL.legs)
    pair = Pairing(
        id="p", rule="r", foil="f1", observation="o1", legs=pair_content(FOIL, item), person="fay", note="",
        at=hour(5), ended_at=hour(8), ended_by="fay",
    )  # fmt: skip
    rows = versions(FOIL, item)
    for at, expected in ((4, "open"), (5, "matched"), (7, "matched"), (8, "open")):
        assert ("INV", expected) in state(rows, AsOf(hour(at)), (pair,))
    after = replace(item, key="K", own_key="X", version=2, at=hour(6))
    rows = versions(FOIL, item, after, until={1: hour(6)})
    assert ("BILL", "unmatched") in state(rows, AsOf(hour(9)), (pair,))


def test_a_waiver_holds_from_its_decision() -> None:
    broken = replace(settled_alone(FOIL, hour(49)), known_from=hour(1))
    waiver = waiver_of(broken, "fay", "", hour(50))
    rows = versions(FOIL)
    assert state(rows, AsOf(hour(49)), (), (waiver,)) == [("INV", "broken")]
    assert state(rows, AsOf(hour(50)), (), (waiver,)) == [("INV", "waived")]
