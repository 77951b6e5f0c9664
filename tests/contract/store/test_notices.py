"""Notices on all stores: written once for each mark, one for each person and cause, counted and marked as read."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from counterfoil.core.case import CaseState, Choice
from counterfoil.core.case_edits import AssignCase
from counterfoil.core.money import Money
from counterfoil.core.notice import NoticeKind
from counterfoil.store.check import check
from counterfoil.store.port.maintenance import OpenCases
from counterfoil.store.port.notices import ReadNotices, SettleNotices, WriteNotices
from tests.contract.store import samples as s

USD = (Money(1000, "USD"),)


async def open_cases(store: Any, number: int, **more: Any) -> list[str]:
    ids = [f"case_{n}" for n in range(1, number + 1)]
    cases = tuple(s.case(id_, **more) for id_ in ids)
    await store.apply(OpenCases(cases=cases, at=s.T0, actor="test"))
    return ids


async def write(store: Any, *ids: str, at: Any = s.T0, **more: Any) -> int:
    notices = tuple(s.new_notice(id_, **more) for id_ in ids)
    return int(await store.apply(WriteNotices(notices=notices, at=at)))


async def read(store: Any, until: Any, ids: tuple[str, ...] | None = None, person: str = "ann") -> int:
    return int(await store.apply(ReadNotices(person=person, ids=ids, until=until, at=s.at(60))))


async def rows(store: Any) -> list[Any]:
    assert await check(store, s.at(99)) == []
    return list((await store.dump()).notices)


async def unread(store: Any) -> dict[str, int]:
    return {person: n for person, _, _, n in (await store.dump()).notice_counts}


async def test_a_thousand_cases_of_one_cause_are_one_notice_with_their_sum(store: Any) -> None:
    ids = await open_cases(store, 1000)
    for start in range(0, 1000, 250):
        await write(store, *ids[start : start + 250], amounts=USD)
    (notice,) = await rows(store)
    assert (notice.count, notice.amounts) == (1000, (Money(1_000_000, "USD"),))
    assert await unread(store) == {"ann": 1}


async def test_two_workers_at_once_write_each_notice_once(store: Any) -> None:
    ids = await open_cases(store, 3)
    written = await asyncio.gather(*(write(store, *ids, persons=("ann", "bob")) for _ in range(4)))
    assert sorted(written) == [0, 0, 0, 2]
    assert [notice.count for notice in await rows(store)] == [3, 3]
    assert await unread(store) == {"ann": 1, "bob": 1}


async def test_another_cause_entity_or_kind_is_another_notice(store: Any) -> None:
    one, two, three = await open_cases(store, 3)
    await write(store, one)
    await write(store, two, cause="late")
    await write(store, three, entity="de")
    await write(store, one, kind=NoticeKind.DEADLINE)
    assert len(await rows(store)) == 4


async def test_what_was_read_comes_back_as_the_next_round_with_new_cases_alone(store: Any) -> None:
    one, two = await open_cases(store, 2)
    await write(store, one, amounts=USD)
    assert await read(store, s.at(1)) == 1
    assert await unread(store) == {"ann": 0}
    await write(store, two, amounts=USD, at=s.at(2))
    (notice,) = await rows(store)
    assert (notice.round, notice.count, notice.amounts, notice.read_at) == (2, 1, USD, None)
    assert await unread(store) == {"ann": 1}


async def test_what_stays_unread_is_delivered_again_after_a_day_and_no_sooner(store: Any) -> None:
    one, two, three = await open_cases(store, 3)
    for id_, hours, round_ in ((one, 0, 1), (two, 23, 1), (three, 24, 2)):
        await write(store, id_, at=s.T0 + timedelta(hours=hours))
        assert [notice.round for notice in await rows(store)] == [round_]


async def test_what_grew_after_the_person_looked_stays_unread(store: Any) -> None:
    one, two = await open_cases(store, 2)
    await write(store, one)
    await write(store, two, at=s.at(10))
    assert await read(store, s.at(5)) == 0
    assert await unread(store) == {"ann": 1}


async def test_a_person_marks_no_notice_of_another_person(store: Any) -> None:
    (one,) = await open_cases(store, 1)
    await write(store, one, persons=("bob",))
    (notice,) = await rows(store)
    assert await read(store, s.at(5), (notice.id,), "ann") == 0
    assert await read(store, s.at(5), None, "ann") == 0
    assert await unread(store) == {"bob": 1}
    assert await read(store, s.at(5), (notice.id,), "bob") == 1
    assert await read(store, s.at(5), (notice.id,), "bob") == 0, "the form was sent twice"


async def test_the_pass_reads_what_has_no_mark_and_near_deadlines_alone(store: Any) -> None:
    await open_cases(store, 1, deadline=s.T0 + timedelta(days=2))
    await store.apply(
        OpenCases(cases=(s.case("case_short", deadline=s.T0 + timedelta(hours=4)),), at=s.T0, actor="t")
    )
    found = await store.unnoticed(s.T0, 9)
    assert sorted(row.case.id for row in found.cases) == ["case_1", "case_short"]
    assert found.deadlines == []
    await write(store, "case_1", "case_short", persons=())
    assert (await store.unnoticed(s.T0, 9)).cases == []
    three_hours = s.T0 + timedelta(hours=3)
    assert [row.case.id for row in (await store.unnoticed(three_hours, 9)).deadlines] == ["case_short"]
    assert (await store.unnoticed(three_hours - timedelta(microseconds=1), 9)).deadlines == []
    await write(store, "case_short", kind=NoticeKind.DEADLINE)
    assert (await store.unnoticed(s.T0 + timedelta(hours=47), 9)).deadlines[0].case.id == "case_1"
    assert len(await rows(store)) == 1


async def test_an_assigned_case_brings_its_notice_in_the_same_transaction(store: Any) -> None:
    await store.apply(s.put_person(s.person("ann", ("finance",))))
    await store.apply(s.put_person(s.person("bob", ("finance",))))
    await open_cases(store, 1)
    notice = s.new_notice("case_1", kind=NoticeKind.ASSIGNED, cause="case_1", persons=("bob",))
    for verdict in ("done", "same"):
        result = await store.apply(s.edit_case(AssignCase("bob"), notice=notice))
        assert result.verdict == verdict
    refused = await store.apply(s.edit_case(AssignCase("ann", "zoe"), notice=notice))
    assert refused.verdict == "assignee"
    (row,) = await rows(store)
    assert (row.person, row.kind, row.count) == ("bob", "assigned", 1)


@pytest.mark.parametrize("state", [CaseState.OPEN, CaseState.RESOLVED])
async def test_a_mark_of_a_case_that_does_not_exist_writes_nothing(store: Any, state: CaseState) -> None:
    await open_cases(store, 1, state=state)
    assert await write(store, "case_other") == 0
    assert await rows(store) == []


async def settle(store: Any) -> int:
    return int(await store.apply(SettleNotices(at=s.at(30))))


async def test_a_notice_is_settled_once_no_case_of_its_cause_is_open(store: Any) -> None:
    await store.apply(s.put_person(s.person("ann", ("finance",))))
    one, two = await open_cases(store, 2, cause="refused/erp")
    await write(store, one, two, cause="refused/erp")
    for id_, settled in ((two, 0), (one, 1)):
        resolved = await store.apply(s.resolve(id_, choice=Choice.DISMISS))
        assert resolved.verdict == "resolved"
        assert await settle(store) == settled
    (notice,) = await rows(store)
    assert notice.read_at == s.at(30)
    assert await unread(store) == {"ann": 0}
    assert await settle(store) == 0


async def test_a_given_case_that_went_on_to_another_person_is_settled(store: Any) -> None:
    for id_ in ("ann", "bob", "cat"):
        await store.apply(s.put_person(s.person(id_, ("finance",))))
    await open_cases(store, 1)
    more = {"kind": NoticeKind.ASSIGNED, "cause": "case_1"}
    await store.apply(s.edit_case(AssignCase("bob"), notice=s.new_notice("case_1", persons=("bob",), **more)))
    assert await settle(store) == 0
    give = AssignCase("cat", "bob")
    await store.apply(s.edit_case(give, notice=s.new_notice("case_1", persons=("cat",), **more)))
    assert await settle(store) == 1
    assert await unread(store) == {"bob": 0, "cat": 1}


async def test_the_notice_of_an_approval_is_settled_once_it_is_decided(store: Any) -> None:
    await store.apply(s.put_person(s.person("ann", ("finance",))))
    run = await s.born(store)
    await store.apply(s.turn(run, approvals=(s.approval(),)))
    assert [approval.id for approval in (await store.unnoticed(s.T0, 9)).approvals] == ["apr_1"]
    assert await write(store, "apr_1", kind=NoticeKind.APPROVAL, cause="apr_1") == 1
    assert (await store.unnoticed(s.T0, 9)).approvals == []
    assert await settle(store) == 0
    assert (await store.apply(s.vote("apr_1", "ann"))).verdict == "granted"
    assert await settle(store) == 1
    assert await unread(store) == {"ann": 0}
