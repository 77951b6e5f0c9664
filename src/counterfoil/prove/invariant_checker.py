"""Checks a World after a move: yields each broken invariant with its step and a description."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from counterfoil.core import wire
from counterfoil.core.approval import ApprovalState
from counterfoil.core.effect import UNFINISHED, Effect, EffectState
from counterfoil.core.errors import REFUSAL_CLASSES
from counterfoil.core.money import Money
from counterfoil.core.run import RunStatus
from counterfoil.model import definition as d
from counterfoil.model.blocks import blocks_of
from counterfoil.prove.invariants import BAD, NOT_GRANTED
from counterfoil.prove.lookup_model import FORMULA_ERRORS
from counterfoil.prove.world import ProofContext, World
from counterfoil.rules.json_values import run_names
from counterfoil.rules.templates import names_with
from counterfoil.rules.workflow.state import StepState
from counterfoil.rules.workflow.steps import SETTLED_FOILS

_E = EffectState


class BrokenInvariant(NamedTuple):
    invariant: str
    step: str
    """Path of the step that it concerns. Empty: the whole workflow."""
    words: str


class InvariantChecker:
    """Checks Worlds of one workflow."""

    def __init__(self, context: ProofContext, own: tuple[d.Invariant, ...] = ()) -> None:
        self.context = context
        self.definition = context.definition
        self.own = own
        self._steps = {s.path: s for b in blocks_of(self.definition).values() for s in b.steps}
        main = blocks_of(self.definition)[""].steps
        self._later = {s.path: n for n, s in enumerate(main)}
        self._approves = [s for s in main if isinstance(s, d.Approve) and s.when is None]

    def broken(self, w: World, quiet: bool) -> Iterator[BrokenInvariant]:
        """Yield the broken invariants of a World. `quiet`: no fault-free move exists and no deadline is due."""
        if w.blame:
            invariant, step, words = w.blame.split(":", 2)
            yield BrokenInvariant(invariant, step, words)
        for check in _CHECKS:
            yield from check(self, w)
        if quiet and not w.over and not any(k.owner for k in w.cases):
            yield BrokenInvariant("stuck", self._place(w), "the run waits for something that never comes")
        yield from self._own_invariants(w)

    def _place(self, w: World) -> str:
        for frame in reversed(w.state.frames):
            block = blocks_of(self.definition)[frame.block]
            if frame.index < len(block.steps):
                return block.steps[frame.index].path
        return ""

    # ------------------------------------------------------------------ money and calls

    def _posts(self, e: Effect) -> bool:
        return self.context.posts.get(e.operation, False) and e.undoes is None

    def _is_undone(self, w: World, e: Effect) -> bool:
        return any(u.undoes == e.id and w.done.get(u.id) for u in w.effects)

    def _confirmed(self, w: World) -> list[Effect]:
        """Return the confirmed calls that moved money and were not undone."""
        return [
            e for e in w.effects
            if e.state is _E.CONFIRMED and self._posts(e) and not self._is_undone(w, e)
        ]  # fmt: skip

    def _posted_twice(self, w: World) -> Iterator[BrokenInvariant]:
        first: dict[tuple[str, str, bool], Effect] = {}
        for e in w.effects:
            times = w.done.get(e.id, 0)
            if not times or not self.context.posts.get(e.operation, False):
                continue
            path = e.path.split("~")[0]
            if times > 1:
                yield BrokenInvariant(
                    "posted-twice", _step(path), f"{e.operation} was done {times} times by one call"
                )
            if self._is_undone(w, e):
                continue
            item = "" if path.startswith("signal") else e.item
            other = first.setdefault((path, item, e.undoes is not None), e)
            if other is not e:
                yield BrokenInvariant(
                    "posted-twice",
                    _step(path),
                    f"{e.operation} was done for {_about(w, other)} and again for {_about(w, e)}",
                )

    def _unapproved(self, w: World) -> Iterator[BrokenInvariant]:
        for e in w.effects:
            if e.state is not _E.PLANNED or not self._posts(e):
                continue
            root = e.path.split("~")[0].split("/")[0]
            for step in self._approves:
                states = [st for key, st in w.state.steps.items() if _step(key) == step.path]
                st = states[-1] if states else None
                before = self._later.get(step.path, -1) < self._later.get(root, -1)
                if st is not None and st.phase == "done" and st.outcome in NOT_GRANTED and before:
                    yield BrokenInvariant(
                        "unapproved",
                        _step(e.path),
                        f"{e.operation} is made although {step.path} was {st.outcome}",
                    )
                if (
                    not before
                    and (st is None or st.phase != "done")
                    and root in self._later
                    and self._same_money(w, e, step)
                ):
                    yield BrokenInvariant(
                        "unapproved",
                        _step(e.path),
                        f"{e.operation} is made before {step.path}, which approves its amount",
                    )
            for a in w.approvals:
                if a.id in e.approvals and a.state is not ApprovalState.GRANTED:
                    yield BrokenInvariant(
                        "unapproved", _step(e.path), f"{e.operation} relies on {a.path}, which is {a.state}"
                    )

    def _same_money(self, w: World, e: Effect, step: d.Approve) -> bool:
        if step.amount is None:
            return False
        try:
            amount = step.amount(self.context.names(w), self.context.lookups(w).ask)
        except FORMULA_ERRORS:
            return False
        return amount in _moneys(w.state.inputs.get(e.id))

    def _more_than_approved(self, w: World) -> Iterator[BrokenInvariant]:
        for e in w.effects:
            if e.state is not _E.PLANNED or not e.approvals or not self._posts(e):
                continue
            approved: list[Money] = []
            for a in w.approvals:
                if a.id in e.approvals:
                    approved += _moneys(wire.loads(a.covers)) + ([a.amount] if a.amount is not None else [])
            for amount in _moneys(w.state.inputs.get(e.id)):
                most = [m.minor for m in approved if m.currency == amount.currency]
                if approved and (not most or abs(amount.minor) > max(map(abs, most))):
                    approved_text = ", ".join(sorted({str(m) for m in approved}))
                    yield BrokenInvariant(
                        "more-than-approved",
                        _step(e.path),
                        f"{e.operation} is made over {amount}, but {approved_text} was approved",
                    )

    # ------------------------------------------------------------------ ends

    def _halves(self, w: World) -> Iterator[BrokenInvariant]:
        if w.run.status is RunStatus.DONE:
            skipped = self._skipped_call(w)
            if skipped is not None:
                step, outcome = skipped
                yield BrokenInvariant(
                    "half-done",
                    step,
                    f"{self._operation(step)} was {outcome} and is skipped; the run ends as {w.run.state}",
                )
            elif self._failing(w) and not self._reached_end(w):
                for e in self._confirmed(w):
                    step_ = self._steps.get(e.path.split("~")[0])
                    if isinstance(step_, d.Call) and not step_.irreversible:
                        yield BrokenInvariant(
                            "half-undone", _step(e.path),
                            f"{e.operation} is not undone although {self._failing(w)}; the run ends as {w.run.state}",
                        )  # fmt: skip
        if w.run.status is RunStatus.UNDONE:
            by_hand = {c.effect for c in w.state.confirmed if f"undo:{c.key}" in w.accepted}
            for e in w.effects:
                is_effective = e.undoes is None and w.done.get(e.id) and not self._is_undone(w, e)
                step_ = self._steps.get(e.path.split("~")[0])
                writes = isinstance(step_, d.Call) and e.operation in self.context.posts
                if not (is_effective and writes) or e.id in by_hand:
                    continue
                if isinstance(step_, d.Call) and not step_.irreversible:
                    words = f"{e.operation} is not undone although the run is undone"
                    yield BrokenInvariant("half-undone", _step(e.path), words)
        for case in w.cases:
            if case.reason == "undo_no_undo":
                yield BrokenInvariant(
                    "no-way-back", _step((case.path or "").removeprefix("undo:")), case.message
                )

    def _reached_end(self, w: World) -> bool:
        last = blocks_of(self.definition)[""].steps[-1]
        states = [(key, st) for key, st in w.state.steps.items() if _step(key) == last.path]
        if not states:
            return False
        key, st = states[-1]
        outcome = st.outcome.partition(":")[2] or st.outcome
        return outcome not in BAD or key in w.accepted or self._continues(last, outcome)

    def _continues(self, step: d.Step, outcome: str) -> bool:
        reaction = step.outcomes.get(outcome) or self.definition.failure.reactions.get(outcome)
        verb = reaction.verb if isinstance(reaction, d.Block) else reaction
        if verb is not None and verb.name == "retry" and verb.retry is not None:
            return verb.retry.then == "continue"
        return verb is None or verb.name == "continue"

    def _operation(self, step: str) -> str:
        call = self._steps.get(step)
        return call.operation if isinstance(call, d.Call) else step

    def _skipped_call(self, w: World) -> tuple[str, str] | None:
        """Return the step and outcome of a call that moves money, was refused, and counts as complete."""
        for key, st in _latest(w):
            step = self._steps.get(_step(key))
            if not isinstance(step, d.Call) or st.phase != "done" or key in w.accepted:
                continue
            if not self.context.posts.get(step.operation):
                continue
            outcome = st.outcome.partition(":")[2] or st.outcome
            refused = outcome in REFUSAL_CLASSES and (self._continues(step, outcome) or "[" in key)
            effect = next((e for e in w.effects if e.id == st.effect), None)
            if refused and not (effect is not None and w.done.get(effect.id)):
                return step.path, "refused" if outcome == "refused" else f"refused as {outcome}"
        return None

    def _failing(self, w: World) -> str:
        """Describe the first bad outcome that no later round corrected; empty if there is none."""
        for key, st in _latest(w):
            outcome = st.outcome.partition(":")[2] or st.outcome
            if _step(key) in self._steps and outcome in BAD and key not in w.accepted:
                return f"{_step(key)} {'timed out' if outcome == 'timeout' else f'was {outcome}'}"
        return ""

    def _foils(self, w: World) -> Iterator[BrokenInvariant]:
        if w.run.status is not RunStatus.DONE:
            return
        steps = (self._steps.get(_step(key)) for key in w.accepted)
        waived = any(isinstance(step, d.Wait) and step.foils is not None for step in steps)
        for f in w.foils:
            has_case = any(k.foil == f.id for k in w.cases) or waived
            counts = f.effect is None or any(e.id == f.effect and e.state is _E.CONFIRMED for e in w.effects)
            if f.state not in SETTLED_FOILS and not has_case and counts and self._started(w):
                effect = next((e for e in w.effects if e.id == f.effect), None)
                yield BrokenInvariant(
                    "foil-unmatched",
                    _step(effect.path) if effect else "",
                    f"{f.rule} {f.key} is {f.state} at the end, as {w.run.state}",
                )

    def _started(self, w: World) -> bool:
        """Return True if the run has confirmed calls. A run that ends before has changed nothing."""
        return bool(w.state.confirmed)

    def _ends(self, w: World) -> Iterator[BrokenInvariant]:
        if w.over:
            for e in w.effects:
                if e.state in UNFINISHED:
                    yield BrokenInvariant("unfinished", _step(e.path), f"{e.operation} is {e.state}")
        if w.run.status is RunStatus.UNDONE and w.state.reserved:
            yield BrokenInvariant("limit-kept", "", ", ".join(sorted(w.state.reserved)))
        for case in w.cases:
            if not case.owner:
                yield BrokenInvariant("no-owner", _step(case.path or ""), case.message)

    def _limits(self, w: World) -> Iterator[BrokenInvariant]:
        for name, limit in self.definition.limits.items():
            reserved = sum(r.amount for r in w.state.reserved.values() if r.scope == name)
            if limit.at_most is not None and reserved > limit.at_most:
                yield BrokenInvariant(
                    "over-limit", "", f"{reserved} of {limit.at_most} of {name} are reserved"
                )

    def _emits(self, w: World) -> Iterator[BrokenInvariant]:
        for type_, digest in dict.fromkeys(w.emitted):
            if w.emitted.count((type_, digest)) > 1:
                step = next(
                    (s.path for s in self._steps.values() if isinstance(s, d.Emit) and s.type == type_), ""
                )
                yield BrokenInvariant(
                    "emitted-twice", step, f"{type_} was emitted {w.emitted.count((type_, digest))} times"
                )

    # ------------------------------------------------------------------ the workflow's own invariants

    def _own_invariants(self, w: World) -> Iterator[BrokenInvariant]:
        if not self.own:
            return
        names = names_of(self.context, w)
        ask = self.context.lookups(w).ask
        for invariant in self.own:
            if invariant.moment == "finally" and not w.over:
                continue
            try:
                holds = invariant.formula(names, ask)
            except FORMULA_ERRORS:
                continue
            if holds is (invariant.moment == "never"):
                yield BrokenInvariant(invariant.name, "", f"{invariant.moment}: {invariant.formula.text}")


def names_of(context: ProofContext, w: World) -> Mapping[str, Any]:
    """Return the names that a workflow's own invariants read."""
    run = {**run_names(w.run, w.run.state, w.run.direction), "status": str(w.run.status)}
    effects = [
        {
            "step": _step(e.path), "item": e.item, "operation": e.operation, "system": e.system,
            "state": str(e.state), "done": w.done.get(e.id, 0), "undo": e.undoes is not None,
            "input": w.state.inputs.get(e.id, {}), "approvals": len(e.approvals),
        }
        for e in w.effects
    ]  # fmt: skip
    foils = [{"rule": f.rule, "key": f.key, "state": str(f.state), "legs": dict(f.legs)} for f in w.foils]
    cases = [{"reason": k.reason, "owner": k.owner, "path": k.path or ""} for k in w.cases]
    approvals = [
        {"step": _step(a.path), "state": str(a.state), "amount": a.amount, "requester": a.requester}
        for a in w.approvals
    ]
    rows = {"run": run, "effects": effects, "foils": foils, "cases": cases, "approvals": approvals}
    return names_with(context.names(w), rows)


Check: TypeAlias = Callable[[InvariantChecker, World], Iterator[BrokenInvariant]]
_CHECKS: tuple[Check, ...] = (
    InvariantChecker._posted_twice, InvariantChecker._unapproved, InvariantChecker._more_than_approved, InvariantChecker._halves, InvariantChecker._foils, InvariantChecker._ends, InvariantChecker._limits,
    InvariantChecker._emits,
)  # fmt: skip


def _step(key: str) -> str:
    """Return the path of the step that a key or an effect's path belongs to."""
    return key.partition("~")[0].partition("[")[0].removesuffix("/undo")


def _latest(w: World) -> list[tuple[str, StepState]]:
    states = {(_step(key), key.partition("[")[2]): (key, st) for key, st in w.state.steps.items()}
    return list(states.values())


def _moneys(value: Any) -> list[Money]:
    if isinstance(value, Money):
        return [value]
    if isinstance(value, dict):
        return [m for v in value.values() for m in _moneys(v)]
    if isinstance(value, list):
        return [m for v in value for m in _moneys(v)]
    return []


def _about(w: World, e: Effect) -> str:
    amounts = ", ".join(map(str, _moneys(w.state.inputs.get(e.id))))
    return f"{amounts or 'one call'}" + (
        f" (round {e.path.split('~')[1].split('/')[0]})" if "~" in e.path else ""
    )
