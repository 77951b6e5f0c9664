"""Checkpoints count both sides twice, need two persons, and notice what changes inside them afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from counterfoil.connectors import sdk
from counterfoil.core.book_checkpoint import BookCheckpoint, CheckpointState
from counterfoil.core.case import Choice
from counterfoil.core.entity_scope import EntityScope
from counterfoil.core.people import Person
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.intake.receive import receive_page
from counterfoil.flow.worker import book_listing
from counterfoil.flow.worker.book_listing import CheckpointRefused
from counterfoil.flow.worker.checkpoint_changes import COMMIT_LAG, CheckpointWatch
from counterfoil.flow.worker.rebuild import rebuild_documents
from counterfoil.store.port.documents import RebuildDocuments
from counterfoil.store.port.people import PutPerson, Resolve
from tests.companies.base import acme_model
from tests.unit.flow.swept_company import (
    MODEL,
    TIME,
    Company,
    books,
    company_on_sqlite,
    model_with,
    read_both,
    service,
)
from tests.unit.rules.driver import MONDAY

RULE = MODEL.reconciliations["invoice-in-ledger"]
AT = MONDAY.date()
ALL = EntityScope()


@pytest.fixture
def edits() -> tuple[tuple[str, str], ...]:
    """Edits of the governance text; a test may have its own."""
    return ()


@pytest.fixture
async def company(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edits: tuple[tuple[str, str], ...]
) -> AsyncIterator[Company]:
    """A company on SQLite under the clock of the tests."""
    async with company_on_sqlite(tmp_path / "store.db", monkeypatch, edits) as made:
        yield made


async def prepared(company: Company, at: date = AT, person: str = "ann") -> BookCheckpoint:
    rule = company.model.reconciliations[RULE.name]
    (checkpoint,) = await service(company).prepare(rule, at, None, ALL, person)
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
    with pytest.raises(CheckpointRefused, match="entries of ledger is being read now"):
        await prepared(company)


async def test_a_cut_off_in_the_future_is_refused(company: Company) -> None:
    await books(company)
    await read_both(company)
    with pytest.raises(CheckpointRefused, match="has not come yet"):
        await prepared(company, AT + timedelta(days=1))


@pytest.mark.parametrize(
    ("entity", "scope", "day"),
    [
        (None, ALL, date(2026, 12, 3)),
        ("acme-de", ALL, date(2026, 12, 3)),
        ("acme-us", ALL, date(2026, 12, 2)),
        (None, EntityScope(frozenset(["acme-us"]), "acme-us"), date(2026, 12, 2)),
    ],
)
async def test_a_cut_off_may_be_the_day_that_has_begun_where_the_books_are_kept(
    company: Company, entity: str | None, scope: EntityScope, day: date
) -> None:
    """At half past eleven in the evening of UTC it is tomorrow in Berlin, and afternoon in New York."""
    company.releases = Releases(company.store, acme_model())
    moment = datetime(2026, 12, 2, 23, 30, tzinfo=UTC)
    assert service(company).last_day(moment, entity, scope) == day


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


async def test_what_changed_while_a_book_was_read_is_no_defect(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    await books(company)
    await read_both(company)
    listing = company.ledger.list_book

    async def list_and_change(*arguments: Any) -> sdk.Page:
        page = await listing(*arguments)
        company.ledger.put("E2", total=400)
        await company.deliver(company.ledger, "E2")
        return page

    monkeypatch.setattr(company.ledger, "list_book", list_and_change)
    await company.sweep(company.ledger)
    checkpoint = await prepared(company)
    (line,) = checkpoint.body.lines
    assert (line.right_total, line.right_book, line.agrees) == (3400, 3400, True)
    assert (line.taken_over, line.late, checkpoint.body.obstacles) == (1, 0, ())


async def test_what_came_after_the_reading_asks_for_another_one(company: Company) -> None:
    await books(company)
    await read_both(company)
    company.ledger.put("E8")
    await company.deliver(company.ledger, "E8")
    checkpoint = await prepared(company)
    (line,) = checkpoint.body.lines
    assert (line.right_total, line.right_book, line.late, line.agrees) == (4000, 3500, 1, True)
    assert checkpoint.body.obstacles == (
        "USD: documents came after the books were read (1); read the books again",
    )
    assert not await cases(company, "checkpoint_defect")
    with pytest.raises(CheckpointRefused, match="read the books again"):
        await service(company).sign(checkpoint.id, "bob", "")
    await read_both(company)
    assert (await prepared(company)).body.obstacles == ()


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
    with pytest.raises(CheckpointRefused, match="Documents up to 2026-01-05 have changed"):
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
    assert "signed by bob: 1 document has changed since: E2" in case.message
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


# ------------------------------------------------------------------ readings and the cut-off

POSTED = "    stands: event.data.status == 'posted'\n"
OPEN = "    stands: event.data.status == 'open'\n"
REVERSES = (POSTED, "    reverses: \"event.data.entry_id == 'E9' ? 'E4' : null\"\n" + POSTED)


def counts(checkpoint: BookCheckpoint) -> list[tuple[Any, ...]]:
    lines = checkpoint.body.lines
    return [(x.left_total, x.left_book, x.right_total, x.right_book, x.differing) for x in lines]


async def test_a_book_that_was_read_before_the_cut_off_was_over_proves_nothing(company: Company) -> None:
    await books(company)
    await read_both(company)
    TIME[0] += timedelta(days=1)
    company.ledger.put("E20", total=9000)
    await company.deliver(company.ledger, "E20")
    del company.ledger.records["E20"]
    checkpoint = await prepared(company, AT + timedelta(days=1))
    assert checkpoint.body.stale == ("invoices of bills", "entries of ledger")
    with pytest.raises(CheckpointRefused, match="read too early for this cut-off"):
        await service(company).sign(checkpoint.id, "bob", "")
    assert (await prepared(company, AT)).body.stale == ("invoices of bills", "entries of ledger")
    await read_both(company)
    assert (await prepared(company, AT)).body.stale == ()


async def test_a_sweep_that_ends_meanwhile_does_not_cut_the_listing(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book_listing, "MAX_EVENT_ROWS", 2)
    await books(company)
    await read_both(company)
    listed_events, calls = company.store.listed_events, []

    async def reading(sweep: str, after: str, limit: int) -> Any:
        rows = await listed_events(sweep, after, limit)
        calls.append(after)
        if len(calls) == 1:
            await company.sweep(company.bills)
        return rows

    monkeypatch.setattr(company.store, "listed_events", reading)
    assert counts(await prepared(company)) == [(3500, 3500, 3500, 3500, 0)]


@pytest.mark.parametrize("edits", [(("document: event.data.entry_id", "document: event.data.invoice_id"),)])
async def test_the_same_number_on_both_sides_hides_no_defect(company: Company) -> None:
    await books(company)
    await read_both(company)
    TIME[0] += timedelta(minutes=5)
    del company.ledger.records["E4"]
    await read_both(company)
    company.bills.put("I4", status="open")
    await company.deliver(company.bills, "I4")
    (line,) = (await prepared(company)).body.lines
    assert (line.differing, line.right_book) == (1, 3000)


@pytest.mark.parametrize("edits", [(REVERSES,)])
async def test_what_is_reversed_by_a_document_still_stands_in_both_ways_of_counting(company: Company) -> None:
    await books(company)
    await read_both(company)
    company.ledger.put("E4", status="reversed")
    company.ledger.put("E9", total=-500)
    company.ledger.records["E9"]["of"] = "I4"
    await read_both(company)
    await read_both(company)
    assert counts(await prepared(company)) == [(3500, 3500, 3000, 3000, 0)]


@pytest.mark.parametrize("edits", [((POSTED, "    when: event.data.status == 'posted'\n"),)])
async def test_what_a_listed_version_withdraws_is_in_no_count(company: Company) -> None:
    await books(company)
    for entry in company.ledger.records:
        await company.deliver(company.ledger, entry)
    former = company.ledger.delivery("E4")
    company.ledger.put("E4", status="draft")
    company.ledger.extra = [former]
    await read_both(company)
    await read_both(company)
    assert counts(await prepared(company)) == [(3500, 3500, 3000, 3000, 0)]


@pytest.mark.parametrize("edits", [((POSTED, POSTED + "    effective: event.effective_at\n"),)])
async def test_of_a_moment_as_document_date_the_day_counts(company: Company) -> None:
    await books(company)
    await read_both(company)
    TIME[0] += timedelta(minutes=1)
    assert counts(await prepared(company)) == [(3500, 3500, 3500, 3500, 0)]


@pytest.mark.parametrize("edits", [(("number: event.data.invoice_id", "number: event.data.invoice_id + 1"),)])
async def test_a_number_that_cannot_be_read_stands_against_nothing(company: Company) -> None:
    await books(company)
    await read_both(company)
    body = (await prepared(company)).body
    assert (body.obstacles, body.held, body.series) == ((), 0, ())


async def test_a_book_of_unknown_types_is_a_book(company: Company) -> None:
    await books(company)
    await read_both(company)
    company.ledger.listings = {"entries": []}
    assert counts(await prepared(company)) == [(3500, 3500, 3500, 3500, 0)]


@pytest.mark.parametrize(
    "edits",
    [
        (
            (
                POSTED + "    legs: {gross: event.data.total}\n",
                POSTED
                + "    legs: {gross: event.data.total}\n  - event: period.seen.v1\n    key: event.data.period_id\n"
                "    document: event.data.period_id\n    legs: {gross: \"money(5, 'USD')\"}\n",
            ),
        )
    ],
)
async def test_documents_that_no_book_lists_count_as_ours(company: Company) -> None:
    await books(company)
    await read_both(company)
    period = sdk.Delivery("P1", "period", b"P1", {"id": "P1", "version": 1, "status": "closed"})
    await receive_page(
        company.store, company.model, "ledger", "feed", [period], "", await company.store.now()
    )
    await company.admit()
    (line,) = (await prepared(company)).body.lines
    assert (line.right_total, line.right_book, line.taken_over, line.differing) == (4000, 4000, 1, 0)
    del company.ledger.records["E4"]
    TIME[0] += timedelta(minutes=1)
    await read_both(company)
    (line,) = (await prepared(company)).body.lines
    assert (line.right_book, line.taken_over) == (4000, 2)


async def test_listed_records_that_a_person_dismissed_are_told(company: Company) -> None:
    await books(company)
    company.ledger.put("E9")
    company.ledger.records["E9"]["total"] = "seven"
    await read_both(company)
    checkpoint = await prepared(company)
    assert (checkpoint.body.held, len(checkpoint.body.obstacles)) == (1, 1)
    (case,) = [c for c in (await company.store.dump()).cases if c.receipt is not None]
    at = await company.store.now()
    ann = Person(id="ann", name="Ann", email="ann@example.com", roles=("finance",))
    await company.store.apply(PutPerson(person=ann, at=at, actor="test"))
    await company.store.apply(
        Resolve(case=case.id, choice=Choice.DISMISS, note="junk", person="ann", at=at, override=True)
    )
    await read_both(company)
    body = (await prepared(company)).body
    assert (body.held, body.dismissed, body.obstacles) == (0, 1, ())


# ------------------------------------------------------------------ changes


async def test_what_was_received_before_and_admitted_after_is_a_change(company: Company) -> None:
    await books(company)
    await read_both(company)
    company.ledger.put("E2", total=400)
    await company.receive(company.ledger, "E2")
    checkpoint = await prepared(company)
    await company.admit()
    with pytest.raises(CheckpointRefused, match="have changed since it was prepared"):
        await service(company).sign(checkpoint.id, "bob", "")


async def test_what_waits_long_for_its_admission_is_not_missed(company: Company) -> None:
    await books(company)
    await read_both(company)
    await signed(company)
    watch = CheckpointWatch(company.store, company.releases)
    company.ledger.put("E2", total=400)
    await company.receive(company.ledger, "E2")
    for expected in (0, 1, 0):
        TIME[0] += timedelta(minutes=1)
        assert await watch.look(await company.store.now()) == expected
        await company.admit()
        TIME[0] += timedelta(minutes=1)


async def test_a_release_that_reads_documents_otherwise_is_a_change(company: Company) -> None:
    await books(company)
    await read_both(company)
    checkpoint = await signed(company)
    await rebuild_documents(company.store, company.releases)
    TIME[0] += timedelta(minutes=5)
    legs = POSTED + "    legs: {gross: event.data.total}"
    other = model_with((legs, legs.replace("event.data.total", '"-event.data.total"')))
    company.releases = Releases(company.store, other)
    assert await rebuild_documents(company.store, company.releases) == 1
    assert await look(company) == 1
    assert len(await service(company).changes(checkpoint)) == 7


async def test_documents_that_get_a_legal_entity_leave_the_checkpoint(company: Company) -> None:
    await books(company)
    await read_both(company)
    checkpoint = await signed(company)
    TIME[0] += timedelta(minutes=5)
    keys = tuple((RULE.name, f"I{n}") for n in range(1, 8))
    await company.store.apply(RebuildDocuments(matches=keys, entity="acme", at=await company.store.now()))
    assert await look(company) == 1
    assert len(await service(company).changes(checkpoint)) == 14


async def test_a_dismissed_case_is_followed_by_one_about_the_next_change(company: Company) -> None:
    await books(company)
    await read_both(company)
    await signed(company)
    for number, entry in enumerate(("E2", "E3"), start=1):
        company.ledger.put(entry, total=400)
        await company.deliver(company.ledger, entry)
        assert await look(company) == 1
        (case,) = await cases(company, "checkpoint_changed")
        at = await company.store.now()
        ann = Person(id="ann", name="Ann", email="ann@example.com", roles=("finance",))
        await company.store.apply(PutPerson(person=ann, at=at, actor="test"))
        await company.store.apply(
            Resolve(case=case.id, choice=Choice.DISMISS, note="known", person="ann", at=at, override=True)
        )
        assert len(await cases(company, "checkpoint_changed", "resolved")) == number


async def test_a_change_in_a_signed_period_stands_against_the_next_signature(company: Company) -> None:
    await books(company)
    await read_both(company)
    await signed(company)
    TIME[0] += timedelta(hours=1)
    company.ledger.put("E2", total=400)
    await company.deliver(company.ledger, "E2")
    TIME[0] += timedelta(days=1)
    await read_both(company)
    (line,) = (later := await prepared(company, AT + timedelta(days=1))).body.lines
    assert (line.opening, line.signed_opening) == (100, 0)
    with pytest.raises(CheckpointRefused, match="earlier period has changed since it was signed"):
        await service(company).sign(later.id, "bob", "")
    await signed(company)
    assert (await prepared(company, AT + timedelta(days=1))).body.obstacles == ()


# ------------------------------------------------------------------ periods and persons


async def test_a_cut_off_that_was_signed_meanwhile_moves_the_period(company: Company) -> None:
    await books(company)
    await read_both(company)
    TIME[0] += timedelta(days=1)
    await read_both(company)
    later = await prepared(company, AT + timedelta(days=1))
    earlier = await prepared(company)
    await service(company).sign(earlier.id, "bob", "")
    with pytest.raises(CheckpointRefused, match="signed meanwhile, so its period begins later"):
        await service(company).sign(later.id, "bob", "")


async def test_two_accounts_of_one_person_are_one_person(company: Company) -> None:
    at = await company.store.now()
    other = Person(id="ann-admin", name="Ann", email="a@example.com", roles=(), aliases={"ledger": ("ann",)})
    await company.store.apply(PutPerson(person=other, at=at, actor="test"))
    await books(company)
    await read_both(company)
    checkpoint = await prepared(company, person="ann")
    with pytest.raises(CheckpointRefused, match="Another person signs"):
        await service(company).sign(checkpoint.id, "ann-admin", "")


async def test_a_legal_entity_that_nothing_is_of_is_refused(company: Company) -> None:
    await books(company)
    await read_both(company)
    with pytest.raises(CheckpointRefused, match="No document is of a legal entity nowhere"):
        await service(company).prepare(RULE, AT, "nowhere", ALL, "ann")


async def test_a_series_goes_on_where_the_former_period_ended(company: Company) -> None:
    await books(company)
    await read_both(company)
    await signed(company)
    TIME[0] += timedelta(days=1)
    company.bills.put("I1", status="paid")
    for number in (9, 10):
        company.bills.put(f"I{number}", status="open")
    await read_both(company)
    (series,) = (await prepared(company, AT + timedelta(days=1))).body.series
    numbers = series.numbers
    assert (numbers.first, numbers.last, numbers.documents) == ("I9", "I10", 2)
    assert (numbers.missing, numbers.gaps) == (1, ("I8",))
