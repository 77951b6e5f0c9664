"""Totality: whatever happens to a Run, in whatever order, decide answers, and what must hold holds.

Each example plays a workflow while its systems fail, its inbox is fed words that are late, repeated, of old
generations or of nothing at all, persons decide everything that is open or was, and the clock jumps.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from counterfoil.connectors.sdk import Rejected
from counterfoil.core import wire
from counterfoil.core.case import Case, Choice
from counterfoil.core.case_reasons import CONTRADICTIONS
from counterfoil.core.effect import EffectState
from counterfoil.core.errors import ErrorClass
from counterfoil.core.run import TERMINAL, Run
from counterfoil.rules.workflow.state import load
from counterfoil.store.memory.runs import append
from counterfoil.store.port.records import NewInboxItem
from tests.unit.rules import acme
from tests.unit.rules import test_language_workflows as language
from tests.unit.rules.driver import Play

Scenario = Callable[[], Awaitable[Play]]


async def invoice() -> Play:
    play = await acme.acme()
    await acme.finalized(play, settle=False)
    return play


async def large_invoice() -> Play:
    play = await acme.acme()
    await acme.finalized(play, 30_000, settle=False)
    return play


async def credit() -> Play:
    play = await acme.acme()
    await acme.finalized(play, 1000)
    await acme.requested(play, 300, settle=False)
    return play


async def language_credit() -> Play:
    return await language.credit(500, 1000, settle=False)


SCENARIOS: dict[str, tuple[Scenario, tuple[str, ...]]] = {
    "invoice": (invoice, ("invoice",)),
    "large invoice": (large_invoice, ("invoice",)),
    "credit": (credit, ("invoice", "ticket", "period")),
    "language credit": (language_credit, ("invoice", "period")),
    "usage window": (language.window, ("usage_window", "period")),
    "renewal": (language.renewal, ("renewal_group", "quote")),
}
BREAKS = st.one_of(
    st.sampled_from(["ok", "lost", "dark", "job"]),
    st.sampled_from(list(ErrorClass)).map(lambda e: Rejected(e, "spoilt")),
)
EXAMPLES = int(os.environ.get("COUNTERFOIL_TEST_EXAMPLES", "12"))
NUMBER = st.integers(0, 7)
ACTIONS = st.one_of(
    st.tuples(st.just("spoil"), NUMBER, st.lists(BREAKS, max_size=4)),
    st.tuples(st.just("blind"), NUMBER, st.booleans()),
    st.tuples(st.just("advance"), st.sampled_from([1, 45, 900, 8_000, 90_000, 900_000, 3_500_000])),
    st.tuples(st.just("vote"), NUMBER, st.booleans()),
    st.tuples(st.just("resolve"), NUMBER, st.sampled_from(list(Choice))),
    st.tuples(st.just("outcome"), NUMBER, st.sampled_from(list(EffectState)), st.integers(0, 3)),
    st.tuples(
        st.just("word"), st.sampled_from(["start", "foil", "stale", "approval", "case", "event", "?"]), NUMBER
    ),
    st.tuples(st.just("choice"), NUMBER, st.sampled_from(list(Choice))),
    st.tuples(st.just("event"), NUMBER),
    st.tuples(st.just("repeat"), NUMBER),
    st.tuples(st.just("head"), NUMBER, st.booleans()),
)


def nth(rows: list[Any], n: int) -> Any:
    return rows[n % len(rows)] if rows else None


async def act(play: Play, objects: tuple[str, ...], action: tuple[Any, ...]) -> None:
    kind, *rest = action
    run: Run | None = nth(play.runs(), rest[0]) if isinstance(rest[0], int) else nth(play.runs(), 0)
    match kind:
        case "spoil":
            operations = sorted(play.model.operations)
            name = operations[rest[0] * 3 % len(operations)]
            repeat = play.model.operations[name].repeat
            jobs = repeat in ("find", "blind")
            script = [b for b in rest[1] if repeat != "read" and (jobs or b != "job")]
            play.systems[play.model.operations[name].system].script[name] = script
        case "blind":
            nth([play.systems[k] for k in sorted(play.systems)], rest[0]).answers = rest[1]
        case "advance":
            await play.advance(seconds=rest[0])
        case "vote" if play.store.tables.approvals:
            persons = sorted(play.store.tables.persons)
            approval = nth(list(play.store.tables.approvals.values()), rest[0])
            for person in persons:
                await play.vote(approval, person, rest[1])
        case "resolve" if play.store.tables.cases:
            await play.resolve(nth(list(play.store.tables.cases.values()), rest[0]), rest[1])
        case "head":
            heads = [h for (o, _), h in sorted(play.store.tables.heads.items()) if o in objects]
            for head in heads[rest[0] % max(len(heads), 1) :][:1]:
                state = dict(head.state)
                if rest[1] and state:
                    state.pop(sorted(state)[rest[0] % len(state)])
                await play.head(head.object, head.key, **state)
        case "event":
            name = nth(sorted(e for e in play.model.events if not play.model.starts_by_event(e)), rest[0])
            await play.event(name)
    if run is not None:
        inject(play, run, kind, rest)
    await play.settle()


def inject(play: Play, run: Run, kind: str, rest: list[Any]) -> None:
    """A word in the inbox that nobody's transaction wrote."""
    play._n += 1
    effects = [e for e in play.store.tables.effects.values() if e.run == run.id]
    effect = nth(effects, rest[0]).id if effects and isinstance(rest[0], int) else "eff_nobody"
    body: dict[str, Any] = {}
    ref = f"{kind}{play._n}"
    match kind:
        case "outcome":
            body = {
                "effect": effect,
                "state": str(rest[1]),
                "attempt": rest[2],
                "class": "transient",
                "error": "",
                "retry_after": None,
                "result": None,
            }
        case "word":
            kind = rest[0]
            body = {"effect": effect, "state": "granted", "choice": "close", "type": "contract.amended.v1"}
            if kind == "start":
                body = {}
        case "choice":
            kind, body = "case", {"choice": str(rest[1])}
            ref = nth([*play.store.tables.cases, "case_nobody"], rest[0])
            if any(k.id == ref and k.state == "open" for k in play.store.tables.cases.values()):
                return  # only a person's transaction resolves an open Case
        case "repeat":
            items = [i for i in play.store.tables.inbox.values() if i.run == run.id]
            item = nth(items, rest[0])
            kind, body = item.kind, wire.loads(item.body)
            if kind == "case":
                ref = item.ref
        case _:
            return
    stimulus = NewInboxItem(run=run.id, kind=kind, ref=ref, body=wire.dumps(body))
    append(play.store.tables, stimulus, play.now)


async def story(scenario: Scenario, objects: tuple[str, ...], actions: list[tuple[Any, ...]]) -> None:
    play = await scenario()
    for action in actions:
        await act(play, objects, action)
    for system in play.systems.values():
        system.answers = True
        system.script = {}
    await play.advance(days=1)
    for run in play.runs():
        assert run.status in TERMINAL or run.due is not None
    assert [case.reason for case in play.cases() if left_alone(play, case)] == []


def left_alone(play: Play, case: Case) -> bool:
    """Report whether a Case asks for a decision that no step of its Run waits for."""
    if case.run is None or case.path is None or case.reason in CONTRADICTIONS:
        return False
    st = load(play.store.tables.runs[case.run].ctx).steps.get(case.path)
    return st is None or st.phase != "parked" or st.case != case.id


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_run_is_lost_whatever_happens(name: str) -> None:
    scenario, objects = SCENARIOS[name]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(st.lists(ACTIONS, min_size=3, max_size=12))
    def tell(actions: list[tuple[Any, ...]]) -> None:
        asyncio.run(story(scenario, objects, actions))

    tell()
