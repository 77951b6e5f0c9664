"""Single rows by id, on all stores: reads of decisions and of pages about one row."""

from __future__ import annotations

from typing import Any

from counterfoil.store.port.views import CaseRow
from tests.contract.store import samples as s


async def test_an_approval_is_read_by_its_id_open_or_closed(store: Any) -> None:
    run = await s.born(store)
    await store.apply(s.turn(run, approvals=(s.approval("apr_1", run), s.approval("apr_2", run, path="b"))))
    await store.apply(s.put_person(s.person("ann")))
    assert (await store.approval("apr_2")) == s.approval("apr_2", run, path="b")
    await store.apply(s.vote("apr_2"))
    assert (await store.approval("apr_2")).state == "granted"
    assert await store.approval("apr_3") is None


async def test_votes_of_many_approvals_are_one_read_oldest_first(store: Any) -> None:
    run = await s.born(store)
    approvals = tuple(s.approval(f"apr_{i}", run, path=f"p{i}", quorum=3) for i in range(3))
    await store.apply(s.turn(run, approvals=approvals))
    for person in ("ann", "bob"):
        await store.apply(s.put_person(s.person(person)))
    await store.apply(s.vote("apr_0", "bob", at=s.at(1)))
    await store.apply(s.vote("apr_0", "ann", at=s.at(2)))
    await store.apply(s.vote("apr_1", "ann", at=s.at(3)))
    votes = await store.votes(["apr_0", "apr_1", "apr_2", "apr_none"])
    persons = {id_: [vote.person for vote in row] for id_, row in votes.items()}
    assert persons == {"apr_0": ["bob", "ann"], "apr_1": ["ann"], "apr_2": [], "apr_none": []}
    assert await store.votes([]) == {}


async def test_a_case_is_read_by_its_id_with_its_run_s_workflow_and_key(store: Any) -> None:
    run = await s.born(store, "k1")
    case = s.case("case_run", run=run)
    await store.apply(s.turn(run, cases=(case, s.case("case_alone"))))
    assert await store.case("case_run") == CaseRow(
        case=case, entity="", workflow="w1", bkey="k1", pin="release"
    )
    assert await store.case("case_alone") == CaseRow(case=s.case("case_alone"))
    assert await store.case("case_none") is None
    await store.apply(s.put_person(s.person("ann")))
    await store.apply(s.resolve("case_run"))
    assert (await store.case("case_run")).case.state == "resolved"


async def test_an_event_is_read_by_its_id(store: Any) -> None:
    await store.apply(s.receive(s.receipt("a")))
    await store.apply(s.admit(1, events=(s.event("evt_1"), s.event("evt_2", "k2"))))
    assert (await store.event("evt_2")).key == "k2"
    assert await store.event("evt_3") is None
