"""Starts at a date of an object: the Run of the object as it is when the date comes."""

from __future__ import annotations

from datetime import UTC, date, datetime

from counterfoil.core.run import RunStatus
from tests.companies.base import COMPLETE_POLICY, documents
from tests.unit.rules.driver import Play, model_of

RENEWALS = documents(
    COMPLETE_POLICY,
    """\
{kind: role, name: finance, may: [runs:any:read]}
---
{kind: system, name: crm, role: crm, connector: external, owner: finance}
---
{kind: object, name: subscription, system: crm, fields: {ends: date, renews: bool, term: int}}
---
kind: workflow
name: renew
owner: finance
failure: careful
start:
  due: {object: subscription, at: object.ends - days(30)}
  when: object.renews
  key: object.id
  generation: object.term
steps: [{stop: renewed}]
""",
)
ENDS = date(2026, 3, 31)
AFTER = datetime(2026, 3, 2, tzinfo=UTC)


async def subscription(play: Play, *, renews: bool, term: int = 1, ends: date = ENDS) -> None:
    await play.head("subscription", "s1", ends=ends, renews=renews, term=term)


def ends_of(play: Play) -> list[tuple[int, RunStatus, str]]:
    return sorted((run.generation, run.status, run.state) for run in play.store.tables.runs.values())


async def test_a_condition_that_is_false_starts_nothing() -> None:
    play = Play(model_of(RENEWALS), datetime(2026, 1, 1, tzinfo=UTC))
    await subscription(play, renews=False)
    await play.until(AFTER)
    assert ends_of(play) == []
    await subscription(play, renews=True)
    assert ends_of(play) == [(1, RunStatus.DONE, "renewed")]


async def test_a_condition_counts_when_the_date_comes() -> None:
    play = Play(model_of(RENEWALS), datetime(2026, 1, 1, tzinfo=UTC))
    await subscription(play, renews=True)
    await subscription(play, renews=False)
    await subscription(play, renews=True)
    assert [status for _, status, _ in ends_of(play)] == [RunStatus.WAITING]
    await subscription(play, renews=False)
    await play.until(AFTER)
    assert ends_of(play) == [(1, RunStatus.DONE, "superseded")]


async def test_each_generation_of_an_object_has_its_own_run() -> None:
    play = Play(model_of(RENEWALS), datetime(2026, 1, 1, tzinfo=UTC))
    await subscription(play, renews=True)
    await play.until(AFTER)
    await subscription(play, renews=True, term=2, ends=date(2027, 3, 31))
    assert [(n, status) for n, status, _ in ends_of(play)] == [
        (1, RunStatus.DONE), (2, RunStatus.WAITING),
    ]  # fmt: skip
