"""Checkpoints count both sides twice, need two persons, and notice what changes inside them afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from counterfoil.core.book_checkpoint import BookCheckpoint, CheckpointState
from counterfoil.core.entity_scope import EntityScope
from counterfoil.flow.worker import sweeps
from counterfoil.flow.worker.book_checkpoints import BookCheckpoints, CheckpointRefused
from counterfoil.flow.worker.checkpoint_changes import COMMIT_LAG, CheckpointWatch
from counterfoil.store.sql.sqlite import SqliteStore
from tests.unit.flow.swept_company import MODEL, TIME, Company, books, now
from tests.unit.rules.driver import MONDAY

RULE = MODEL.reconciliations["invoice-in-ledger"]
AT = MONDAY.date()
ALL = EntityScope()


@pytest.fixture
async def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Company]:
    """A company on SQLite under the clock of the tests."""
    monkeypatch.setattr(sweeps, "ADMIT_SECONDS", 0.0)
    TIME[0] = MONDAY
    store = await SqliteStore.open(tmp_path / "store.db")

    async def read_clock() -> datetime:
        return now()

    monkeypatch.setattr(store, "now", read_clock)
    made = Company(store)
    await made.releases.publish(now(), "test")
    yield made
    await store.close()


def service(company: Company) -> BookCheckpoints:
    return BookCheckpoints(company.store, company.store, company.releases, company.connectors)


async def read_both(company: Company) -> None:
    await company.sweep(company.bills)
    await company.sweep(company.ledger)


async def prepared(company: Company, at: date = AT, person: str = "ann") -> BookCheckpoint:
    (checkpoint,) = await service(company).prepare(RULE, at, None, ALL, person)
    return checkpoint


async def signed(company: Company, at: date = AT) -> BookCheckpoint:
    return await service(company).sign((await prepared(company, at)).id, "bob", "")


async def cases(company: Company, reason: str, state: str = "open") -> list[Any]:
    dump = await company.store.dump()
    return [case for case in dump.cases if (case.reason, case.state) == (reason, state)]


async def look(company: Company) -> int:
    """Look for changes, late enough for everything to be committed."""
    TIME[0] += COMMIT_LAG
    return await CheckpointWatch(company.store, company.releases).look(await company.store.now())


async def test_both_ways_of_counting_agree_after_the_books_were_read(company: Company) -> None:
    await books(company)
    company.ledger.put("E2", total=400)
    company.ledger.put("E9")
    await read_both(company)
    checkpoint = await prepared(company)
    (line,) = checkpoint.body.lines
    assert (line.opening, line.asserted, line.observed, line.closing) == (0, 3500, 3900, -400)
    assert (line.left_total, line.left_book, line.right_total, line.right_book) == (3500, 3500, 3900, 3900)
    assert {name: units for name, units in line.columns.items() if units} == {"broken": 100, "unmatched": 500}
    assert line.agrees
    assert checkpoint.body.obstacles == ()
    assert [(r.system, r.book, r.listed) for r in checkpoint.body.readings] == [
        ("bills", "invoices", 7),
        ("ledger", "entries", 8),
    ]
    assert not await cases(company, "checkpoint_defect")


async def test_without_a_reading_of_each_book_nothing_is_prepared(company: Company) -> None:
    await books(company)
    await company.sweep(company.bills)
    with pytest.raises(CheckpointRefused, match="entries of ledger was never read to its end"):
        await prepared(company)


async def test_a_cut_off_in_the_future_is_refused(company: Company) -> None:
    await books(company)
    await read_both(company)
    with pytest.raises(CheckpointRefused, match="has not come yet"):
        await prepared(company, AT + timedelta(days=1))


async def test_a_document_that_the_book_no_longer_lists_is_a_defect_that_nobody_can_sign(
    company: Company,
) -> None:
    await books(company)
    await read_both(company)
    del company.ledger.records["E4"]
    await company.sweep(company.ledger)
    checkpoint = await prepared(company)
    (line,) = checkpoint.body.lines
    (difference,) = line.differences
    assert (difference.side, difference.document, difference.ours, difference.book) == (
        "right",
        "E4",
        500,
        None,
    )
    assert (line.right_total, line.right_book, line.differing, line.agrees) == (3500, 3000, 1, False)
    (case,) = await cases(company, "checkpoint_defect")
    assert (case.owner, checkpoint.id in case.next_action) == ("finance", True)
    with pytest.raises(CheckpointRefused, match="1 documents count otherwise"):
        await service(company).sign(checkpoint.id, "bob", "")
    company.ledger.put("E4")
    await company.sweep(company.ledger)
    assert (await prepared(company)).body.obstacles == ()
    assert not await cases(company, "checkpoint_defect")


async def test_what_changed_after_the_reading_is_no_defect(company: Company) -> None:
    await books(company)
    await read_both(company)
    company.ledger.put("E2", total=400)
    await company.deliver(company.ledger, "E2")
    checkpoint = await prepared(company)
    (line,) = checkpoint.body.lines
    assert (line.right_total, line.right_book, line.agrees) == (3400, 3400, True)


async def test_who_prepared_it_cannot_sign_it(company: Company) -> None:
    await books(company)
    await read_both(company)
    checkpoint = await prepared(company)
    with pytest.raises(CheckpointRefused, match="Another person signs"):
        await service(company).sign(checkpoint.id, "ann", "")
    again = await service(company).sign(checkpoint.id, "bob", "agreed")
    assert (again.state, again.signed_by, again.note) == (CheckpointState.SIGNED, "bob", "agreed")
    with pytest.raises(CheckpointRefused, match="not prepared any more"):
        await service(company).sign(checkpoint.id, "carl", "")
    leaves = [leaf for _, leaf in (await company.store.dump()).leaves if leaf.subject == checkpoint.id]
    assert [leaf.kind for leaf in leaves] == ["book_checkpoint.prepared", "book_checkpoint.signed"]
    assert checkpoint.digest.encode() in leaves[1].body


async def test_what_has_changed_since_it_was_prepared_is_not_signed(company: Company) -> None:
    await books(company)
    await read_both(company)
    checkpoint = await prepared(company)
    company.ledger.put("E2", total=400)
    await company.deliver(company.ledger, "E2")
    with pytest.raises(CheckpointRefused, match="1 documents up to 2026-01-05 have changed"):
        await service(company).sign(checkpoint.id, "bob", "")


async def test_what_committed_late_is_not_signed(company: Company) -> None:
    """A transaction has the time of its beginning, and may commit after the rows were counted."""
    await books(company)
    await read_both(company)
    TIME[0] += timedelta(seconds=10)
    checkpoint = await prepared(company)
    TIME[0] -= timedelta(seconds=5)
    company.ledger.put("E2", total=400)
    await company.deliver(company.ledger, "E2")
    TIME[0] += timedelta(minutes=1)
    with pytest.raises(CheckpointRefused, match="being written while it was prepared"):
        await service(company).sign(checkpoint.id, "bob", "")


async def test_a_new_preparation_takes_the_place_of_the_former_one(company: Company) -> None:
    await books(company)
    await read_both(company)
    former, newer = await prepared(company), await prepared(company, person="bob")
    with pytest.raises(CheckpointRefused, match="not prepared any more"):
        await service(company).sign(former.id, "carl", "")
    assert [row.id for row in await service(company).all_of(RULE.name, ALL)] == [newer.id]


async def test_a_change_inside_a_signed_checkpoint_is_one_case_until_it_is_signed_again(
    company: Company,
) -> None:
    await books(company)
    await read_both(company)
    checkpoint = await signed(company)
    assert await look(company) == 0
    company.ledger.put("E2", total=400)
    await company.deliver(company.ledger, "E2")
    assert await look(company) == 1
    assert await look(company) == 0
    company.ledger.put("E3", total=450)
    await company.deliver(company.ledger, "E3")
    await look(company)
    (case,) = await cases(company, "checkpoint_changed")
    assert "signed by bob: 1 documents have changed since: E2" in case.message
    changes = await service(company).changes(checkpoint)
    assert sorted((c.side, c.present.number) for c in changes) == [("right", "E2"), ("right", "E3")]
    await read_both(company)
    again = await signed(company)
    assert not await cases(company, "checkpoint_changed")
    assert await service(company).changes(again) == []
    assert (await company.store.book_checkpoint(checkpoint.id)).state is CheckpointState.SUPERSEDED


async def test_what_comes_after_the_cut_off_changes_nothing_in_it(company: Company) -> None:
    await books(company)
    await read_both(company)
    await signed(company)
    TIME[0] += timedelta(days=1)
    company.ledger.put("E8")
    await company.deliver(company.ledger, "E8")
    assert await look(company) == 0
    # A newer version is dated on its own day: the document leaves the signed period.
    company.ledger.put("E1", status="posted")
    await company.deliver(company.ledger, "E1")
    assert await look(company) == 1


async def test_the_next_period_opens_with_what_the_signed_one_closed_with(company: Company) -> None:
    await books(company)
    company.ledger.put("E9")
    await read_both(company)
    first = await signed(company)
    TIME[0] += timedelta(days=1)
    company.ledger.put("E10", total=70)
    await company.sweep(company.ledger)
    second = await prepared(company, AT + timedelta(days=1))
    (before,), (line,) = first.body.lines, second.body.lines
    assert second.body.since == AT + timedelta(days=1)
    assert (line.opening, line.asserted, line.observed, line.closing) == (before.closing, 0, 70, -570)
    assert (line.right_total, line.right_book) == (4070, 4070)


async def test_numbers_that_are_missing_in_a_series_are_named(company: Company) -> None:
    await books(company)
    del company.bills.records["I3"], company.bills.records["I4"], company.bills.records["I6"]
    await read_both(company)
    (series,) = (await prepared(company)).body.series
    assert series.side == "left"
    numbers = series.numbers
    assert (numbers.series, numbers.first, numbers.last, numbers.documents) == ("I#", "I1", "I7", 4)
    assert (numbers.missing, numbers.gaps, numbers.doubles) == (3, ("I3 - I4", "I6"), ())
