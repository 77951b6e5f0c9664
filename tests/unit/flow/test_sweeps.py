"""Sweeps find what events missed, in both directions, wherever they are interrupted."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from counterfoil.connectors import sdk
from counterfoil.core.case import Choice
from counterfoil.core.errors import Misconfigured, TryAgain
from counterfoil.core.matching import FoilState
from counterfoil.core.people import Person
from counterfoil.core.sweep import Sweep, SweepState
from counterfoil.flow.worker import sweeps
from counterfoil.flow.worker.sweep_requests import request_of
from counterfoil.store.port.people import PutPerson, Resolve
from counterfoil.store.port.stalled import StallLimits
from counterfoil.store.port.sweeps import ClaimSweep, ReceiveSweepPage
from tests.unit.flow.swept_company import ENTRIES, MODEL, TIME, Company, books

# ------------------------------------------------------------------ what events missed


async def test_records_that_no_event_brought_are_admitted_and_matched(company: Company) -> None:
    await books(company)
    for number, entry in enumerate(ENTRIES):
        await company.deliver(company.bills, entry.replace("E", "I"))
        if number % 3:
            await company.deliver(company.ledger, entry)
    before = await company.foils()
    assert list(before.values()).count(FoilState.OPEN) == 3
    ended = await company.sweep(company.ledger)
    assert (ended.state, ended.pages, ended.listed, ended.fresh, ended.missing) == (
        SweepState.DONE,
        4,
        7,
        3,
        0,
    )
    assert set((await company.foils()).values()) == {FoilState.MATCHED}
    assert not await company.cases()
    again = await company.sweep(company.ledger)
    assert (again.listed, again.fresh, again.missing) == (7, 0, 0)
    assert {sweep for sweep, _ in (await company.store.dump()).swept} == {again.id}


async def test_both_sides_of_a_reconciliation_are_swept(company: Company) -> None:
    await books(company)
    assert (await company.sweep(company.bills)).fresh == 7
    assert set((await company.foils()).values()) == {FoilState.OPEN}
    assert (await company.sweep(company.ledger)).fresh == 7
    assert set((await company.foils()).values()) == {FoilState.MATCHED}


async def test_a_change_that_was_missed_is_a_new_version(company: Company) -> None:
    await books(company)
    await company.sweep(company.bills)
    await company.sweep(company.ledger)
    company.ledger.put("E3", total=400)
    ended = await company.sweep(company.ledger)
    assert (ended.fresh, ended.missing) == (1, 0)
    assert (await company.foils())["I3"] is FoilState.BROKEN


async def test_a_fact_that_another_delivery_told_is_no_second_one(company: Company) -> None:
    """Webhooks have ids of their own, so every listed record is a new delivery; its facts are not."""
    await books(company)
    for entry in ENTRIES[:5]:
        await company.deliver(company.ledger, entry, name=f"hook-{entry}")
    events = len((await company.store.dump()).events)
    ended = await company.sweep(company.ledger)
    assert (ended.fresh, ended.missing) == (7, 0)
    dump = await company.store.dump()
    assert len(dump.events) == events + 2
    assert len(dump.observations) == 7
    again = await company.sweep(company.ledger)
    assert (again.fresh, again.missing) == (0, 0)


async def test_a_known_fact_whose_record_has_changed_since_is_no_clash(company: Company) -> None:
    """A listed record shows the present, also in facts that were told when it showed something else."""
    await books(company)
    await company.deliver(company.ledger, "E1", name="hook-E1")
    company.ledger.records["E1"]["total"] = 400
    await company.sweep(company.ledger)
    dump = await company.store.dump()
    assert not dump.cases
    (shown,) = [o for o in dump.observations if o.document == "E1"]
    assert [money.minor for money in shown.money] == [500]


# ------------------------------------------------------------------ what the book does not list


async def test_a_document_that_the_book_does_not_list_is_a_case_until_it_is_listed_again(
    company: Company,
) -> None:
    await books(company)
    await company.sweep(company.bills)
    await company.sweep(company.ledger)
    removed = company.ledger.records.pop("E4")
    for _ in range(2):
        assert (await company.sweep(company.ledger)).missing == 1
        (case,) = await company.cases()
    assert "does not list entry E4" in case.message
    assert (case.owner, case.observation is not None, case.choices) == ("finance", True, (Choice.DISMISS,))
    assert (await company.foils())["I4"] is FoilState.MATCHED
    company.ledger.records["E4"] = removed
    assert (await company.sweep(company.ledger)).missing == 0
    assert not await company.cases()
    (settled,) = await company.cases("resolved")
    assert settled.note == "the book lists it again"
    del company.ledger.records["E4"]
    await company.sweep(company.ledger)
    assert len(await company.cases()) == 1


async def test_what_a_person_dismissed_is_not_asked_again(company: Company) -> None:
    await books(company)
    await company.sweep(company.ledger)
    del company.ledger.records["E4"]
    await company.sweep(company.ledger)
    (case,) = await company.cases()
    at = await company.store.now()
    ann = Person(id="ann", name="Ann", email="ann@example.com", roles=("finance",))
    await company.store.apply(PutPerson(person=ann, at=at, actor="test"))
    await company.store.apply(
        Resolve(case=case.id, choice=Choice.DISMISS, note="archived", person="ann", at=at, override=True)
    )
    assert (await company.sweep(company.ledger)).missing == 1
    assert not await company.cases()


async def test_a_book_is_not_read_faster_than_it_is_admitted(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps, "MAX_WAITING_DELIVERIES", 3)
    await books(company)
    await company.store.apply(request_of("ledger", "entries", "ann", await company.store.now()))
    reading = asyncio.create_task(company.reader().sweep_once())
    while len(company.ledger.pages) < 2:
        await asyncio.sleep(0.001)
    for _ in range(50):
        await asyncio.sleep(0.001)
    assert company.ledger.pages == [None, "E2"]
    while not reading.done():
        await company.admit()
        await asyncio.sleep(0)
    assert company.ledger.pages == [None, "E2", "E4", "E6"]


async def test_a_withdrawn_document_and_one_of_another_book_are_not_missed(company: Company) -> None:
    await books(company)
    await company.sweep(company.bills)
    await company.sweep(company.ledger)
    company.ledger.put("E4", status="cancelled")
    await company.deliver(company.ledger, "E4")
    del company.ledger.records["E4"]
    assert (await company.sweep(company.ledger)).missing == 0
    company.ledger.listings = {"periods": ["period"]}
    company.ledger.records = {}
    assert (await company.sweep(company.ledger)).missing == 0
    assert not await company.cases()


async def test_a_document_of_a_second_book_is_not_missed_in_the_first(company: Company) -> None:
    """Both books bring documents of one object; each answers for its own deliveries."""
    await books(company)
    company.ledger.listings = {"old-entries": ["entry.old"]}
    await company.deliver(company.ledger, "E7")
    del company.ledger.records["E7"]
    company.ledger.listings = {"entries": ["entry"]}
    assert (await company.sweep(company.ledger)).missing == 0
    assert not await company.cases()


async def test_what_is_known_only_since_the_sweep_began_is_not_missed(company: Company) -> None:
    await books(company)
    reader = company.reader()
    late = company.ledger.records.pop("E1")
    asked = await company.store.apply(request_of("ledger", "entries", "ann", await company.store.now()))
    company.ledger.records["E1"] = late
    company.ledger.records["E0"] = {**late, "id": "E0"}
    await company.deliver(company.ledger, "E0")
    del company.ledger.records["E0"]
    reading = asyncio.create_task(reader.sweep_once())
    while not reading.done():
        await company.admit()
        await asyncio.sleep(0)
    assert (await company.store.sweep(asked.id)).missing == 0


async def test_no_sweep_opens_more_cases_than_people_can_read(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps, "MAX_CASES", 3)
    monkeypatch.setattr(sweeps, "_BATCH_ROWS", 2)
    await books(company)
    await company.sweep(company.ledger)
    company.ledger.records.clear()
    for cases in (3, 6, 7):
        assert (await company.sweep(company.ledger)).missing == 7
        assert len(await company.cases()) == cases


# ------------------------------------------------------------------ interruptions


@pytest.mark.parametrize("page", range(1, 5))
async def test_a_sweep_goes_on_where_it_was_killed(company: Company, page: int) -> None:
    await books(company)
    await company.deliver(company.ledger, "E2")
    asked = await company.store.apply(request_of("ledger", "entries", "ann", await company.store.now()))
    apply, count = company.store.apply, 0

    async def killed(transition: Any) -> Any:
        nonlocal count
        answer = await apply(transition)
        count += isinstance(transition, ReceiveSweepPage)
        if count == page:
            raise asyncio.CancelledError
        return answer

    company.store.apply = killed
    with pytest.raises(asyncio.CancelledError):
        await company.reader("w/1").sweep_once()
    company.store.apply = apply
    assert await company.reader("w/2").sweep_once() == 0, "its lease has not ended"
    await _end_lease(company, asked)
    reading = asyncio.create_task(company.reader("w/2").sweep_once())
    while not reading.done():
        await company.admit()
        await asyncio.sleep(0)
    ended = await company.store.sweep(asked.id)
    assert (ended.state, ended.worker, ended.listed, ended.fresh, ended.missing) == (
        SweepState.DONE, "w/2", 7, 6, 0,
    )  # fmt: skip
    assert company.ledger.pages[:4] == [None, "E2", "E4", "E6"]
    assert len((await company.store.dump()).observations) == 7


async def _end_lease(company: Company, sweep: Sweep) -> None:
    """Have the lease of a sweep's worker end now."""
    now = await company.store.now()
    claim = ClaimSweep(worker="w/0", systems=("ledger",), lease_until=now, at=now + timedelta(hours=1))
    assert (await company.store.apply(claim)).id == sweep.id


async def test_one_worker_reads_a_sweep_and_a_late_one_writes_nothing(company: Company) -> None:
    await books(company)
    await company.store.apply(request_of("ledger", "entries", "ann", await company.store.now()))
    list_book, first, second = company.ledger.list_book, company.reader("w/1"), company.reader("w/2")

    async def overtaken(*words: Any) -> sdk.Page:
        page = await list_book(*words)
        if len(company.ledger.pages) == 2:
            (sweep,) = await company.store.latest_sweeps()
            await _end_lease(company, sweep)
            company.ledger.list_book = list_book  # type: ignore[method-assign]
            assert await second.sweep_once() == 1
        return page

    company.ledger.list_book = overtaken  # type: ignore[method-assign]
    reading = asyncio.create_task(first.sweep_once())
    while not reading.done():
        await company.admit()
        await asyncio.sleep(0)
    (ended,) = await company.store.latest_sweeps()
    assert (ended.worker, ended.state, ended.listed, ended.fresh) == ("w/2", SweepState.DONE, 7, 7)


async def test_one_sweep_of_a_book_is_under_way(company: Company) -> None:
    first = await company.store.apply(request_of("ledger", "entries", "ann", await company.store.now()))
    second = await company.store.apply(request_of("ledger", "entries", "bob", await company.store.now()))
    other = await company.store.apply(request_of("bills", "invoices", "bob", await company.store.now()))
    assert (second.id, second.requested_by, other.id != first.id) == (first.id, "ann", True)


# ------------------------------------------------------------------ failures and schedule


async def test_a_system_that_is_away_for_a_while_delays_and_one_that_refuses_ends_the_sweep(
    company: Company,
) -> None:
    await books(company)
    company.ledger.failures = [TryAgain("away")] * (sweeps.MAX_FAILURES - 1)
    assert (await company.sweep(company.ledger)).state is SweepState.DONE
    company.ledger.failures = [TryAgain("away")] * sweeps.MAX_FAILURES
    ended = await company.sweep(company.ledger)
    assert (ended.state, ended.error) == (SweepState.FAILED, "away")
    company.ledger.failures = [Misconfigured("no such book")]
    ended = await company.sweep(company.ledger)
    assert (ended.state, ended.error, ended.missing) == (SweepState.FAILED, "no such book", 0)
    assert not await company.cases()


@pytest.mark.parametrize("company", ["memory"], indirect=True)
async def test_the_store_being_away_is_no_failure_of_the_system(company: Company) -> None:
    await books(company)
    asked = await company.store.apply(request_of("ledger", "entries", "ann", await company.store.now()))
    apply = company.store.apply

    async def away(transition: Any) -> Any:
        if isinstance(transition, ReceiveSweepPage):
            raise TryAgain("the store is away")
        return await apply(transition)

    company.store.apply = away
    for _ in range(sweeps.MAX_FAILURES + 2):
        with pytest.raises(TryAgain, match="the store is away"):
            await company.reader().sweep_once()
        TIME[0] += sweeps.LEASE
    company.store.apply = apply
    assert (await company.store.sweep(asked.id)).state is SweepState.READING
    ended = await company.sweep(company.ledger)
    assert (ended.id, ended.state, ended.fresh) == (asked.id, SweepState.DONE, 7)


@pytest.mark.parametrize("company", ["memory"], indirect=True)
async def test_one_worker_counts_the_failures_of_a_system_however_long_they_last(company: Company) -> None:
    await books(company)
    asked = await company.store.apply(request_of("ledger", "entries", "ann", await company.store.now()))
    company.ledger.failures = [TryAgain("away")] * sweeps.MAX_FAILURES
    reader, other = company.reader("w/1"), company.reader("w/2")

    async def pause(_: float) -> None:
        TIME[0] += sweeps.LEASE / 2
        assert await other.sweep_once() == 0

    reader._pause = pause  # type: ignore[method-assign]
    assert await reader.sweep_once() == 1
    ended = await company.store.sweep(asked.id)
    assert (ended.state, ended.error, ended.worker) == (SweepState.FAILED, "away", "w/1")


@pytest.mark.parametrize("company", ["memory"], indirect=True)
@pytest.mark.parametrize("leaves", ["system", "book"])
async def test_a_sweep_whose_book_leaves_the_release_ends_with_its_reason(
    company: Company, leaves: str
) -> None:
    await books(company)
    asked = await company.store.apply(request_of("ledger", "entries", "ann", await company.store.now()))
    if leaves == "system":
        del company.connectors["ledger"]
    else:
        company.ledger.listings = {"others": ["entry"]}
    if leaves == "system":
        assert await company.reader().sweep_once() == 0, "this worker may not follow the newest Release yet"
        TIME[0] += sweeps.FOLLOW_TIME
    assert await company.reader().sweep_once() == 1
    ended = await company.store.sweep(asked.id)
    assert ended.state is SweepState.FAILED
    assert ended.error == "The Release has no book entries of ledger any more"


async def test_a_book_that_leaves_the_release_under_its_sweep_ends_it(company: Company) -> None:
    await books(company)
    asked = await company.store.apply(request_of("ledger", "entries", "ann", await company.store.now()))
    list_book = company.ledger.list_book

    async def once(*arguments: Any) -> sdk.Page:
        del company.connectors["ledger"]
        return await list_book(*arguments)

    company.ledger.list_book = once  # type: ignore[method-assign]
    assert await company.reader().sweep_once() == 1
    ended = await company.store.sweep(asked.id)
    assert (ended.state, ended.pages, ended.missing) == (SweepState.FAILED, 1, 0)


async def test_a_sweep_that_waits_for_another_one_is_not_stalled(company: Company) -> None:
    now = await company.store.now()
    for book in ("entries", "others"):
        await company.store.apply(request_of("ledger", book, "ann", now))
    later = now + timedelta(hours=2)
    claim = ClaimSweep(
        worker="w/1", systems=("ledger",), lease_until=later + sweeps.LEASE, at=now + timedelta(minutes=1)
    )
    assert await company.store.apply(claim) is not None
    waiting = await company.store.stalled_work(later, StallLimits())
    assert "sweep_waiting" not in {group.kind for group in waiting}
    _, stalled = await company.store.stalled_work(later + timedelta(hours=1), StallLimits())
    assert (stalled.kind, stalled.about, stalled.count) == ("sweep_waiting", "ledger", 2)


@pytest.mark.parametrize("company", ["memory"], indirect=True)
async def test_a_declared_sweep_is_asked_for_when_it_is_due(company: Company) -> None:
    await books(company)
    reader = company.reader()

    async def look() -> tuple[int, list[str]]:
        reading = asyncio.create_task(reader.sweep_once())
        while not reading.done():
            await company.admit()
            await asyncio.sleep(0)
        return reading.result(), [sweep.requested_by for sweep in await company.store.latest_sweeps()]

    assert await look() == (1, ["schedule"])
    assert await look() == (0, ["schedule"])
    TIME[0] += timedelta(hours=23)
    assert await look() == (0, ["schedule"])
    TIME[0] += timedelta(hours=2)
    assert await look() == (1, ["schedule"])
    assert len((await company.store.dump()).sweeps) == 2


def test_the_objects_of_a_book_are_those_of_the_events_that_its_deliveries_bring() -> None:
    assert MODEL.objects_of_deliveries("ledger", ["entry"]) == ["entry"]
    assert MODEL.objects_of_deliveries("ledger", ["entry.old", "period"]) == ["entry", "period"]
    assert MODEL.objects_of_deliveries("bills", ["entry"]) == []
