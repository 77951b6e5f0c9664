"""What becomes of calls: answers, refusals, silence, and what look-ups find of the outside's truth."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec

from counterfoil.core.effect import Effect, EffectState
from counterfoil.core.errors import REFUSAL_CLASSES, ErrorClass
from counterfoil.core.money import Money
from counterfoil.model import definition as d
from counterfoil.model.fields import is_money
from counterfoil.prove.candidates import DEFAULT_MINOR
from counterfoil.prove.input_values import plain_value
from counterfoil.prove.move import Move
from counterfoil.prove.timing import MAX_TICKS, Timing
from counterfoil.prove.world import ProofContext, World
from counterfoil.rules.workflow.apply import drop_stale
from counterfoil.rules.workflow.context import blocks_of

_E = EffectState


class PossibleOutcomes:
    """Tells of the outcomes of one workflow's calls."""

    def __init__(self, context: ProofContext, timing: Timing) -> None:
        self.context = context
        self.timing = timing
        self.definition = context.definition
        self.steps = {s.path: s for block in blocks_of(self.definition).values() for s in block.steps}
        self._classes: dict[str, tuple[ErrorClass, ...]] = {}

    def sent(self, w: World, e: Effect, faulty: bool) -> Iterator[Move]:
        operation = self.definition.operations[e.operation]
        what = f"{e.operation}{_money(w, e)}"
        if operation.executor == "external":
            yield Move("", e.system, f"{what}: another integration takes it", partial(self._accept, w, e))
        else:
            yield Move("", e.system, f"{what}: done", partial(self.confirm, w, e, True))
            if not operation.writes and self._tells_money(e):
                text = f"{what}: answered with twice the amount"
                yield Move("", e.system, text, partial(self.confirm, w, e, True, 2))
            for error in self._refusals(e) if faulty else ():
                text = f"{what}: refused as {error}"
                yield Move("refused", e.system, text, partial(self._refuse, w, e, error))
                if self._retried(e, error):
                    text = f"{what}: refused as {error} at every try"
                    yield Move("refused", e.system, text, partial(self._refuse_for_good, w, e, error))
            if faulty and operation.writes:
                yield Move(
                    "unknown", e.system, f"{what}: done, but no answer comes (it takes effect late, or the worker dies after the call)",
                    partial(self._unknown, w, e, done=True),
                )  # fmt: skip
                yield Move(
                    "unknown", e.system, f"{what}: not done, and no answer comes (or the worker dies before the call)",
                    partial(self._unknown, w, e, done=False),
                )  # fmt: skip
        if faulty and any(a.id in e.approvals and not a.automatic for a in w.approvals):
            text = f"{what}: not sent, its approval holds no more (who granted it is active no more)"
            yield Move("stale", "approvals", text, partial(self._fallen, w, e))

    def _step_of(self, e: Effect) -> d.Step | None:
        return self.steps.get(e.path.split("~")[0].removesuffix("/undo"))

    def _refusals(self, e: Effect) -> tuple[ErrorClass, ...]:
        """One class for each reaction that there is."""
        known = self._classes.get(e.path)
        if known is not None:
            return known
        step = self._step_of(e)
        found: dict[Any, ErrorClass] = {}
        if e.undoes is not None or not isinstance(step, d.Call):
            found = {0: ErrorClass.TRANSIENT, 1: ErrorClass.REFUSED}
        else:
            for error in (ErrorClass.REFUSED, *REFUSAL_CLASSES):
                own = step.outcomes.get(error)
                reaction = own if own is not None else self.definition.failure.reactions[error]
                found.setdefault(id(reaction) if isinstance(reaction, d.Block) else reaction, error)
        self._classes[e.path] = tuple(found.values())
        return self._classes[e.path]

    def _retried(self, e: Effect, error: ErrorClass) -> bool:
        step = self._step_of(e)
        if e.undoes is not None or not isinstance(step, d.Call):
            return error is ErrorClass.TRANSIENT
        own = step.outcomes.get(error)
        reaction = own if own is not None else self.definition.failure.reactions[error]
        return isinstance(reaction, d.Verb) and reaction.name == "retry"

    def _tells_money(self, e: Effect) -> bool:
        """Does a read that the run makes on its way answer with amounts of its own?"""
        if e.path.startswith("fact:"):
            return False  # what facts say belongs to how the Run begins
        known = self.context.model.operations.get(e.operation)
        return known is not None and any(is_money(spec) for spec in known.output.values())

    def confirm(self, w: World, e: Effect, now: bool, times: int = 1) -> World:
        """The outcome is that it was done; `now`: it is done by this very call; `times`: what amounts are of those
        that are asked for."""
        if now:
            w = does(w, e)
        return self.context.concluded(w, e, _E.CONFIRMED, result=self.result(w, e, times))

    def _accept(self, w: World, e: Effect) -> World:
        return self.context.concluded(w, e, _E.ACCEPTED, error="job")

    def _refuse(self, w: World, e: Effect, error: ErrorClass) -> World:
        return self.context.concluded(w, e, _E.REFUSED, error_class=error, error="as planned by the proof")

    def _refuse_for_good(self, w: World, e: Effect, error: ErrorClass) -> World:
        for _ in range(MAX_TICKS):
            w = self._refuse(w, e, error)
            st = next((s for s in w.state.steps.values() if s.effect == e.id), None)
            if st is None or st.phase != "backoff" or st.retry_at is None:
                break
            w = self.timing.tick(w, st.retry_at)
            again = next((x for x in w.effects if x.state is _E.PLANNED), None)
            if again is None:
                break
            e = again
        return w

    def _unknown(self, w: World, e: Effect, done: bool) -> World:
        if done:
            w = does(w, e)
        return self.context.concluded(w, e, _E.UNKNOWN, error="no answer")

    def _fallen(self, w: World, e: Effect) -> World:
        rows = drop_stale(w.rows, e.id, w.now)
        w = msgspec.structs.replace(w, effects=rows.effects, foils=rows.foils)
        return self.context.turn(w, ("stale", e.id, {"effect": e.id, "path": e.path}))

    def result(self, w: World, e: Effect, times: int) -> Any:
        """What a system answers: what it was given where the names agree, else plain values."""
        if e.operation not in self.context.model.operations:
            return {}
        beginning = self.context.reads.get((w.beginning, e.operation))
        if beginning is not None:
            return beginning
        schema = self.context.model.schema_of_operation(e.operation, "output")
        given = w.state.inputs.get(e.id)
        given = given if isinstance(given, dict) else {}
        amount = next((v for v in given.values() if isinstance(v, Money)), None)
        if amount is None:
            begun = w.state.names.get("event", {}).get("data", {})
            amount = next((v for v in begun.values() if isinstance(v, Money)), Money(DEFAULT_MINOR, "USD"))
        result = {}
        for name, of in schema.get("properties", {}).items():
            value = plain_value(of, name, amount.currency, amount.minor * times)
            if name in given and type(given[name]) is type(value):
                value = given[name]
            result[name] = f"{e.operation}/{value}" if isinstance(value, str) and name not in given else value
        return result

    # ------------------------------------------------------------------ look-ups

    def looked_up(self, w: World, e: Effect, faulty: bool) -> Iterator[Move]:
        if e.repeat == "blind":
            return
        if w.done.get(e.id):
            yield Move(
                "", e.system, f"a look-up finds {e.operation} done", partial(self.confirm, w, e, False)
            )
            return
        if e.repeat in ("key", "unique"):
            text = f"a look-up finds no {e.operation}; it is sent again under the same key: done"
            yield Move("", e.system, text, partial(self.confirm, w, e, True))
            if faulty:
                text = f"a look-up finds no {e.operation}; it is sent again under the same key: refused"
                yield Move("refused", e.system, text, partial(self._refuse, w, e, ErrorClass.REFUSED))
        else:
            text = f"past its horizon a look-up finds no {e.operation}: it was not done"
            yield Move("", e.system, text, partial(self._absent, w, e))

    def _absent(self, w: World, e: Effect) -> World:
        horizon = timedelta(seconds=self.definition.operations[e.operation].horizon)
        w = self.timing.tick(w, max(w.now, e.created_at + horizon))
        held = next(x for x in w.effects if x.id == e.id)
        return self.context.concluded(w, held, _E.ABSENT)


def does(w: World, e: Effect) -> World:
    """The outside does it: once only, where the system sees that it has done it already."""
    before = w.done.get(e.id, 0)
    after = 1 if e.repeat in ("key", "unique", "read") else before + 1
    return msgspec.structs.replace(w, done={**w.done, e.id: after})


def _money(w: World, e: Effect) -> str:
    given = w.state.inputs.get(e.id)
    amounts = [str(v) for v in given.values() if isinstance(v, Money)] if isinstance(given, dict) else []
    return f" over {', '.join(amounts)}" if amounts else ""
