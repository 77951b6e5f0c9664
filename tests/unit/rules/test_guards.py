"""Facts and lets are computed when a formula uses them: a guard in front protects what comes after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterfoil.connectors.sdk import Rejected
from counterfoil.core.case import Choice
from counterfoil.core.effect import EffectState
from counterfoil.core.errors import ErrorClass, TryAgain
from counterfoil.core.money import Money
from counterfoil.core.run import Run, RunStatus
from counterfoil.rules.workflow import commands as c
from counterfoil.rules.workflow.decide import decide
from tests.unit.rules.company import ask, company, usd
from tests.unit.rules.driver import MONDAY, Play

EUR = Money.from_major(30, "EUR")
INVOICE = "facts: {inv: {head: invoice, of: event.data.invoice_id%s}}\n"
PARTS = "let: {open_part: 'min(event.data.amount, inv.open)', rest: event.data.amount - open_part}\n"
SAME = "inv.open.currency == event.data.amount.currency"
POST = "{call: ledger.post, with: {id: =event.data.id, amount: =rest}}"


async def in_two_currencies(steps: str, recheck: str = "") -> Play:
    """The invoice is in euros and the credit in dollars: `open_part` and `rest` have no value."""
    play = company((INVOICE % recheck) + PARTS + f"steps:\n{steps}")
    await play.head("invoice", "i1", status="open", open=EUR)
    await ask(play, amount=usd(50))
    return play


# ------------------------------------------------------------------ guards in front

CHECK = f'  - {{check: "{SAME}", outcomes: {{failed: {{stop: refused}}}}}}\n'
FALSE_GUARDS = {
    "check": (CHECK + f"  - {POST}", "refused"),
    "check of two lets": (CHECK + "  - {check: 'rest.minor > 0 && open_part.minor > 0'}", "refused"),
    "when": (
        f'  - {{when: "{SAME}", call: ledger.post, with: {{id: =event.data.id, amount: =rest}}}}',
        "started",
    ),
    "and": (f'  - {{check: "{SAME} && rest.minor > 0", outcomes: {{failed: {{stop: refused}}}}}}', "refused"),
    "and, the other way round": (
        f'  - {{check: "rest.minor > 0 && {SAME}", outcomes: {{failed: {{stop: refused}}}}}}',
        "refused",
    ),
    "or": (f'  - {{check: "!({SAME}) || rest.minor > 0", becomes: passed}}', "passed"),
    "ternary": (f'  - {{check: "({SAME} ? rest : event.data.amount).minor > 0", becomes: passed}}', "passed"),
    "choose": (
        f'  - choose: [{{when: "{SAME}", then: [{POST}]}}]\n    otherwise: [{{stop: refused}}]',
        "refused",
    ),
    "each": (
        f'  - {{each: "{SAME} ? [rest] : []", as: part, do: [{POST}], becomes: passed}}',
        "passed",
    ),
    "emit": (
        f'  - {{emit: told.v1, data: {{id: "={SAME} ? string(rest.minor) : event.data.id"}}, becomes: passed}}',
        "passed",
    ),
    "input of a call": (
        f'  - call: ledger.post\n    with: {{id: =event.data.id, amount: "={SAME} ? rest : event.data.amount"}}\n    becomes: passed',
        "passed",
    ),
    "requester and amount": (
        f'  - {{approve: review, amount: "{SAME} ? rest : event.data.amount", covers: [event.data.amount], becomes: passed}}',
        "passed",
    ),
}


@pytest.mark.parametrize("recheck", ["", ", recheck: each_effect"])
@pytest.mark.parametrize("name", FALSE_GUARDS)
async def test_a_false_guard_protects_what_comes_after_it(name: str, recheck: str) -> None:
    steps, state = FALSE_GUARDS[name]
    play = await in_two_currencies(steps, recheck)
    assert (play.run().status, play.run().state) == (RunStatus.DONE, state)
    assert not [case for case in play.cases() if case.run]


@pytest.mark.parametrize("name", FALSE_GUARDS)
async def test_a_true_guard_lets_the_value_be_used(name: str) -> None:
    play = company(INVOICE % "" + PARTS + f"steps:\n{FALSE_GUARDS[name][0]}")
    await play.head("invoice", "i1", status="open", open=usd(30))
    await ask(play, amount=usd(50))
    assert play.run().status is RunStatus.DONE
    assert not [case for case in play.cases() if case.run]
    assert play.run().state != "refused"


async def test_a_value_that_no_formula_uses_parks_nothing() -> None:
    play = await in_two_currencies("  - {check: 'true', becomes: passed}")
    assert (play.run().status, play.run().state) == (RunStatus.DONE, "passed")


async def test_a_record_that_is_not_there_is_missed_only_where_it_is_used() -> None:
    play = company(INVOICE % "" + "steps: [{when: 'has(event.data.note)', check: inv.status == 'open'}]")
    await ask(play)
    assert play.run().status is RunStatus.DONE


# ------------------------------------------------------------------ without a guard


async def test_a_first_step_without_its_facts_has_not_begun_and_a_person_retries_it() -> None:
    play = await in_two_currencies(f"  - {POST}")
    case = play.case("invalid")
    assert (case.path, Choice.CONTINUE in case.choices) == ("facts", False)
    assert "open_part has no value" in case.message
    await play.head("invoice", "i1", status="open", open=usd(20))
    await play.resolve(case, Choice.RETRY)
    assert [body["amount"]["minor"] for body in play.bodies("ledger.post")] == [3_000]


async def test_a_later_step_without_its_facts_is_a_case_that_cannot_be_skipped() -> None:
    play = await in_two_currencies(f"  - {{check: 'true', becomes: passed}}\n  - {POST}")
    case = play.case("invalid")
    assert (play.run().state, Choice.CONTINUE in case.choices) == ("passed", False)
    await play.head("invoice", "i1", status="open", open=usd(20))
    await play.resolve(case, Choice.RETRY)
    assert [body["amount"]["minor"] for body in play.bodies("ledger.post")] == [3_000]


async def test_a_let_that_reads_itself_is_a_case() -> None:
    play = company("let: {a: b + 1, b: a + 1}\nsteps: [{check: a > 0}]")
    await ask(play)
    assert "is defined by itself" in play.case("invalid").message


async def test_many_lets_on_each_other_are_computed() -> None:
    lets = ", ".join(f"l{n}: l{n - 1} + 1" for n in range(1, 120))
    play = company(f"let: {{l0: '0', {lets}}}\nsteps: [{{check: l119 == 119, becomes: counted}}]")
    await ask(play)
    assert play.run().state == "counted"


async def test_lets_on_each_other_without_end_are_a_case() -> None:
    lets = ", ".join(f"l{n}: l{n - 1} + 1" for n in range(1, 900))
    play = company(f"let: {{l0: '0', {lets}}}\nsteps: [{{check: l899 == 899, becomes: counted}}]")
    await ask(play)
    assert play.run().state == "counted" or play.case("invalid")


# ------------------------------------------------------------------ facts of other systems

RATE = "facts: {r: {read: ledger.rate, with: {id: =event.data.id}}}\nlet: {twice: r.rate * 2}\n"


def rated(steps: str) -> Play:
    play = company(f"{RATE}steps:\n{steps}")
    play.systems["ledger"].results["ledger.rate"] = lambda _: {"rate": 3}
    return play


@pytest.mark.parametrize(
    "step",
    [
        "{when: 'event.data.id == \"other\"', check: twice == 6}",
        "{check: 'event.data.id != \"a1\" && twice == 6', outcomes: {failed: {stop: refused}}}",
        "{check: 'event.data.id == \"a1\" || twice == 6'}",
        "{choose: [{when: 'event.data.id == \"other\" && twice == 6', then: [{stop: refused}]}]}",
    ],
)
async def test_a_system_is_not_asked_for_what_a_guard_protects(step: str) -> None:
    play = rated(f"  - {step}")
    await ask(play)
    assert play.run().status is RunStatus.DONE
    assert not play.bodies("ledger.rate")


READERS = {
    "check": "{check: twice == 6, becomes: read}",
    "when": "{when: twice == 6, check: 'true', becomes: read}",
    "choose": "{choose: [{when: twice == 6, then: [{check: 'true', becomes: read}]}]}",
    "each": "{each: '[twice, 1]', as: n, key: string(n + twice), until: twice == 7, do: [{check: twice == 6}], becomes: read}",
    "until": "{each: '[1, 2]', as: n, until: twice == 6, do: [{check: 'true'}], becomes: read}",
    "wait": "{wait: {until: run.started + days(twice - 6)}, becomes: read}",
    "emit": "{emit: told.v1, data: {id: =string(twice)}, becomes: read}",
    "amount": "{approve: review, amount: \"money(twice, 'USD')\", covers: [twice], becomes: read}",
    "requester": "{approve: review, amount: event.data.amount, covers: [event.data.id], requester: string(twice), becomes: read}",
    "call": "{call: ledger.tell, with: {id: =string(twice)}, becomes: read}",
}


@pytest.mark.parametrize("first", ["", "{check: 'true', becomes: begun}"])
@pytest.mark.parametrize("name", READERS)
async def test_a_system_is_asked_once_where_the_fact_is_used_first(name: str, first: str) -> None:
    play = rated("".join(f"  - {step}\n" for step in (first, READERS[name], "{check: twice == 6}") if step))
    await play.person("6", "agent")
    play.systems["ledger"].script["ledger.rate"] = [TryAgain("later")]
    await ask(play)
    await play.advance(days=1)
    assert (play.run().status, play.run().state) == (RunStatus.DONE, "read")
    assert len(play.bodies("ledger.rate")) == 2
    states = {e.path: e.state for e in play.effects("ledger.rate") if e.state is EffectState.CONFIRMED}
    assert set(states) == {"fact:r"}


async def test_an_until_that_needs_a_fact_leaves_the_list_after_a_wait() -> None:
    play = rated(
        "  - {each: '[1, 2]', as: n, until: 'run.state == \"paid\" && twice == 6', do: [{wait: {event: paid.v1}, becomes: paid},"
        " {emit: told.v1, data: {id: =event.data.id}}]}"
    )
    await ask(play)
    await play.event("paid.v1", id="a1")
    assert play.run().status is RunStatus.DONE
    assert not play.emitted("told.v1")


async def test_a_person_may_undo_while_a_fact_is_awaited_and_the_undo_reads_it() -> None:
    play = company(
        f"{RATE}steps:\n"
        "  - call: ledger.post\n"
        "    with: {id: =event.data.id}\n"
        "    undo: [{call: ledger.reverse, with: {id: =string(twice)}}]\n"
        "  - {id: pay, wait: {event: paid.v1}}\n"
        "  - {check: pay.data.id == 'a1' && twice == 6}\n"
    )
    ledger = play.systems["ledger"]
    ledger.results["ledger.rate"] = lambda _: {"rate": 3}
    ledger.script["ledger.rate"] = [TryAgain("later")] * 4
    await ask(play)
    await play.event("paid.v1", id="a1")
    await play.advance(minutes=10)
    await play.resolve(play.case("transient"), Choice.UNDO)
    await play.advance(minutes=10)
    assert play.run().status is RunStatus.UNDONE
    assert [body["id"] for body in play.bodies("ledger.reverse")] == ["6"]


# ------------------------------------------------------------------ before the first write

MEMO = "{call: bills.memo.issue, with: {id: =event.data.id, amount: =event.data.amount}}"


async def test_a_fact_that_is_used_only_after_the_first_write_is_that_of_before() -> None:
    """The Run's own writes change what it reads: the credit lowers the invoice."""
    play = company(
        INVOICE % "" + "let: {half: inv.open}\n"
        f"steps:\n  - {MEMO}\n  - {{id: pay, wait: {{event: paid.v1}}}}\n"
        "  - {call: ledger.post, with: {id: =pay.data.id, amount: =half}}\n"
    )
    await play.head("invoice", "i1", status="open", open=usd(80))
    await ask(play, amount=usd(50))
    await play.head("invoice", "i1", status="open", open=usd(30))
    await play.event("paid.v1", id="a1")
    assert [body["amount"]["minor"] for body in play.bodies("ledger.post")] == [8_000]


async def test_a_recheck_computes_the_lets_that_are_used_again_until_a_call_is_confirmed() -> None:
    play = company(
        INVOICE % ", recheck: each_effect" + "let: {part: inv.open}\n"
        "steps:\n  - {check: part.minor > 0}\n  - {wait: {until: +1d}}\n"
        "  - {call: bills.memo.issue, with: {id: =event.data.id, amount: =part}}\n"
        "  - {call: ledger.post, with: {id: =event.data.id, amount: =part}}\n"
    )
    await play.head("invoice", "i1", status="open", open=usd(80))
    await ask(play, amount=usd(50))
    await play.head("invoice", "i1", status="open", open=usd(70))
    play.systems["ledger"].script["ledger.post"] = [Rejected(ErrorClass.TRANSIENT, "later")]
    await play.advance(days=1)
    await play.head("invoice", "i1", status="open", open=usd(20))
    await play.advance(hours=1)
    amounts = [
        body["amount"]["minor"] for body in [*play.bodies("bills.memo.issue"), *play.bodies("ledger.post")]
    ]
    assert amounts == [7_000, 7_000, 7_000]


# ------------------------------------------------------------------ look-ups


class Recorded(Mapping[Any, Any]):
    """Answers every look-up with nothing, and remembers the question."""

    def __init__(self) -> None:
        self.questions: list[Any] = []

    def __contains__(self, question: object) -> bool:
        return True

    def __getitem__(self, question: Any) -> Any:
        self.questions.append(question)
        return None

    def __iter__(self) -> Iterator[Any]:
        return iter(self.questions)

    def __len__(self) -> int:
        return len(self.questions)


LETS = [f"l{n}" for n in range(5)]


@st.composite
def _protected(draw: st.DrawFn) -> str:
    """A formula that reads some lets, and fails or looks something up, whichever part of it is evaluated."""
    name = draw(st.sampled_from(LETS))
    return draw(
        st.sampled_from(
            [f"{name} == 1", f"{name} + 1 > 2", f"1 / {name} == 2", f"[{name}].exists(x, x == 1)"]
        )
    )


@given(
    lets=st.lists(
        st.sampled_from(
            ["inv.open.minor", "1 / 0", "head('invoice', 'x').n", "int('x')", "part + 1", "inv2.open.minor"]
        ),
        min_size=5,
        max_size=5,
    ),
    protected=_protected(),
    guard=st.sampled_from(
        [
            "false && ({p})",
            "true && false && ({p})",
            "!(true || ({p}))",
            "false ? ({p}) : false",
            "[1].exists(x, x == 2 && ({p}))",
        ]
    ),
    place=st.sampled_from(["check", "when", "choose", "call", "each"]),
)
def test_a_false_guard_never_evaluates_what_it_protects(
    lets: list[str], protected: str, guard: str, place: str
) -> None:
    formula = guard.format(p=protected)
    step = {
        "check": f'{{check: "!({formula})", becomes: passed}}',
        "when": f'{{when: "{formula}", check: "{protected}"}}',
        "choose": f'{{choose: [{{when: "{formula}", then: [{{check: "{protected}"}}]}}]}}',
        "call": f'{{when: "{formula}", call: ledger.post, with: {{id: "=string({protected})"}}}}',
        "each": f'{{each: "({formula}) ? [1] : []", as: n, do: [{{check: "{protected}"}}]}}',
    }[place]
    rows = ", ".join(f'{name}: "{text}"' for name, text in zip(LETS, lets, strict=True))
    play = company(
        "facts: {inv: {head: invoice, of: event.data.invoice_id}, inv2: {read: ledger.rate, with: {id: =event.data.id}}}\n"
        f"let: {{part: inv.open.minor, {rows}}}\nsteps: [{step}, {{call: ledger.tell, with: {{id: =event.data.id}}}}]"
    )
    definition = play.model.workflow("flow")
    run = Run(
        id="run_1", workflow="flow", bkey="a1", pin="", generation=0, arrival=1, created_at=MONDAY, due=MONDAY, state="started", inbox_n=1
    )  # fmt: skip
    names = {"event": {"type": "asked.v1", "data": {"id": "a1", "invoice_id": "i1"}}}
    answers = Recorded()
    start = c.Stimulus(kind="start", ref="e", seq=1, at=MONDAY, body=names)
    decision = decide(
        definition, run, [start], MONDAY + timedelta(seconds=1), c.LateBoundInput(answers=answers)
    )
    assert [type(x).__name__ for x in decision.commands] == ["PlanEffect"]
    assert decision.commands[0].operation == "ledger.tell"
    assert answers.questions == []
