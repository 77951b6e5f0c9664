"""Bugs to plant: small edits of the real code, each of which breaks one promise. The simulator must see every one.

An edit replaces one text in one function's source; when the code has moved on and the text is gone, planting fails, and
the bug must be rewritten.
"""

from __future__ import annotations
import __future__

import contextlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from counterfoil.core import claims, document
from counterfoil.core.approval import Approval
from counterfoil.flow.intake.admit import Admitter
from counterfoil.flow.runs import executor, person_decisions, snapshot
from counterfoil.flow.runs.effects import EffectSender
from counterfoil.flow.runs.reconciler import OutcomeReconciler
from counterfoil.flow.runs.snapshot import OverlayScope
from counterfoil.flow.runs.turn import TurnPlanner
from counterfoil.flow.runs.turn_rows import TurnRows
from counterfoil.rules import matching as documents
from counterfoil.rules.workflow import calls, records, steps, undo
from counterfoil.rules.workflow.context import DecisionContext
from counterfoil.store.memory import effects, foils, intake, runs, turns
from tests.simulate.plan import AtCommit, NewFact, Plan, Votes
from tests.simulate.plan import planned as planned_seed


@dataclass(frozen=True)
class Edit:
    where: Any
    """The class or module."""
    function: str
    old: str
    new: str


@dataclass(frozen=True)
class Bug:
    name: str
    first: int
    """The seed to begin with; a seed that is known to see it keeps the test short."""
    edits: tuple[Edit, ...]
    stopped: bool = False
    """Seen where a worker is stopped for long at one commit: each commit in turn is tried."""


def plans(bug: Bug, seeds: int) -> Iterator[Plan]:
    """Yield the plans that are played to see the bug."""
    for seed in range(bug.first, bug.first + seeds):
        plan = planned_seed(seed)
        if not bug.stopped:
            yield plan
            continue
        items = tuple(i for i in plan.items if isinstance(i[1], NewFact | Votes))
        for nth in range(15, 40):
            yield replace(plan, items=(*items, (len(plan.items), AtCommit(nth, "pause", True, 14.0))))


@contextlib.contextmanager
def planted(bug: Bug) -> Iterator[None]:
    """The code with the bug in it. Raises AssertionError when the text to replace is not there exactly once."""
    before = []
    try:
        for edit in bug.edits:
            real = edit.where.__dict__[edit.function]
            source = textwrap.dedent(inspect.getsource(real))
            source = source[re.search(r"^(?:async )?def ", source, re.M).start() :]  # type: ignore[union-attr]
            assert source.count(edit.old) == 1, (
                f"{bug.name}: {edit.function} says {edit.old!r} {source.count(edit.old)} times"
            )
            code = compile(
                source.replace(edit.old, edit.new),
                f"<{bug.name}>",
                "exec",
                __future__.annotations.compiler_flag,
            )
            namespace: dict[str, Any] = {}
            exec(code, real.__globals__, namespace)
            # The code is replaced in place: registries and other modules hold the function itself.
            before.append((real, real.__code__))
            real.__code__ = namespace[edit.function].__code__
        yield
    finally:
        for real, code in reversed(before):
            real.__code__ = code


def _bug(name: str, first: int, *edits: tuple[Any, str, str, str], stopped: bool = False) -> Bug:
    return Bug(name, first, tuple(Edit(*edit) for edit in edits), stopped)


BUGS = (
    _bug("absent is concluded before the horizon", 6, (
        OutcomeReconciler, "_is_final", "(effect.conclude_at is None or now >= effect.conclude_at)", "True")),
    _bug("what only a look-up protects is sent again", 0,
        (OutcomeReconciler, "look_up", "_is_deduplicated(effect, operation, now)", "True"),
        (effects, "resend", '("key", "unique", "read")', '("key", "unique", "read", "find")')),
    _bug("what nothing protects counts as absent", 13, (
        OutcomeReconciler, "look_up", "finding = await self._find(effect, operation)",
        'finding = await self._find(effect, operation) if operation.repeat != "blind" else Absent()')),
    _bug("an unknown call goes out under a new key", 0, (
        calls, "_unknown", "    if st.until is None:", (
            "    if st.until is None and operation.repeat != 'blind':\n"
            "        return _absent(context, step, st)\n    if st.until is None:"))),
    _bug("a turn does not look at the version", 40, (
        turns, "turn", "run is None or run.version != t.version", "run is None")),
    _bug("an append does not make the Run due", 0, (
        runs, "append", "run.due if run.status in TERMINAL else least(run.due, at)", "run.due")),
    _bug("an append does not count", 0, (runs, "append", "inbox_n=seq, due=due", "due=due")),
    _bug("bytes leave after send_by", 1, (
        EffectSender, "call", "if late or not self._limiter.holds(slot):", "if False:"), stopped=True),
    _bug("a serial is not given back", 0, (turns, "unhold", "db.drop(db.holds, serial)", "pass")),
    _bug("a serial has two holders", 1, (
        turns, "turn", "[s for s in t.hold if db.holds.get(s, t.run) != t.run]", "[]")),
    _bug("the queue of a serial is not woken", 1, (turns, "wake_next", "in waiting[:1]:", "in ():")),
    _bug("undo keeps its reservations", 93, (
        undo, "advance", "guards.give_back(context, list(context.state.reserved))", "pass")),
    _bug("a limit is passed", 6,
        (steps, "_ask", "if limit.at_most is not None and used + share > limit.at_most:", "if False:"),
        (turns, "reserve", "if r.limit is not None and planned_use[r.scope, r.key] > r.limit:", "if False:")),
    _bug("a reservation does not use up its guard", 0, (
        turns, "reserve", "(planned_use[r.scope, r.key], r.limit)", "(used[r.scope, r.key], r.limit)")),
    _bug("undo begins with the first", 1, (undo, "advance", "reversed(context.state.confirmed)", "context.state.confirmed")),
    _bug("the foil of a confirmed call is not opened", 3, (
        effects, "record", "after_effect(foil, t.state, at)", "foil")),
    _bug("a second delivery is kept too", 0, (intake, "receive", "if no is None:", "if True:")),
    _bug("a delivery is kept and never admitted", 0, (
        intake, "_insert", 'if receipt.door != "fetch":', "if False:")),
    _bug("an older version moves the head back", 3, (
        intake, "merge_head", "newest is None or newest <= order", "True")),
    _bug("a requester may approve", 20, (
        Approval, "part_of", "part_in_request(self.requester, self.senders, person)", "None")),
    _bug("a timer is lost", 0, (turns, "write_run", "else t.due", "else None")),
    _bug("a turn has no leaf", 0, (turns, "write_run", 'db.leaf("turned"', '(lambda *a, **k: None)("turned"')),
    _bug("a break has no Case", 7, (
        foils, "_follow", "if follows.case is not None and not quiet:", "if False:")),
    _bug("a call proven absent is planned under its old key", 0, (calls, "_absent", "st.gen += 1", "pass")),
    _bug("an outcome is not told to its Run", 0, (effects, "conclude", "append(db, stimulus, t.at)", "pass")),
    # The others only matter with two legal entities.
    _bug("a call is planned for the first entity's system", 0, (
        records, "effect_of", "system=operation.system,", 'system=operation.system.removesuffix("-de"),')),
    _bug("bytes go to the first entity's system", 0, (
        EffectSender, "_outcome", "self._connectors.get(effect.system)",
        'self._connectors.get(effect.system.removesuffix("-de"))')),
    _bug("a look-up asks the first entity's system", 7, (
        OutcomeReconciler, "_find", "self._connectors.get(effect.system)",
        'self._connectors.get(effect.system.removesuffix("-de"))')),
    _bug("a limit is summed over both entities", 6, (
        DecisionContext, "own_guard_key", 'if default and entity not in ("", default) else key', "if False else key")),
    _bug("a foil is matched across entities", 1,
        (document, "same_books", "left.entity == right.entity and (", "("),
        (claims, "other_books", "if right.entity != left.entity:", "if False:")),
    _bug("a foil that another entity's ledger shows is no break of its own", 1, (
        claims, "other_books", "if right.entity != left.entity:", "if False:")),
    _bug("matrices and tables are those of the first entity", 0, (
        OverlayScope, "active",
        'release.at(self.legal_entity or "", now.date()) if release.differs_by_entity else release', "release")),
    _bug("tables are those of the first entity", 0, (
        TurnPlanner, "decide", "Lookups(self._store, active, now)",
        "Lookups(self._store, self._releases.present, now)")),
    _bug("a Run belongs to the first entity", 0, (
        snapshot, "run_start", "entity_of_names(model, start.names)", "model.default_entity")),
    _bug("an approval has no entity", 0, (TurnRows, "approval", "self.run.entity", '""')),
    _bug("the foil of a call belongs to the first entity", 0, (
        records, "foil_of", "entity=f.entity", 'entity="us"')),
    _bug("a Case about a call of the second entity's ledger names no foil", 272, (
        TurnRows, "_foil", "self.model.family(self.definition.operations[operation].system)",
        "self.definition.operations[operation].system")),
    _bug("equal numbers of two ledgers are one document", 0, (
        documents, "_name", "return in_ledger(ledger, document)", "return document")),
    _bug("a minted Link has no entity", 0, (Admitter, "_events", "legal_entity=entities[0],", "")),
    _bug("a vote counts for an entity that the person does not act for", 0, (
        person_decisions, "decide_approval", "frozenset(voter.roles) - acting", "frozenset()")),
)  # fmt: skip
SNAPSHOT_BUG = _bug("the snapshot forgets why a call was refused", 0, (
    executor, "after_outcome", "error=outcome.error,", 'error="",'))  # fmt: skip
"""Changes no decision and no row: only the comparison of snapshots with rows sees it."""
