"""The possible outcomes of calls: answers, refusals, missing answers, and the results of look-ups."""

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
from counterfoil.model.blocks import blocks_of
from counterfoil.model.fields import is_money
from counterfoil.prove.candidates import DEFAULT_MINOR_UNITS
from counterfoil.prove.input_values import plain_value
from counterfoil.prove.timing import MAX_TICKS, Timing
from counterfoil.prove.world import Move, ProofContext, World
from counterfoil.rules.workflow.apply import drop_stale

_E = EffectState


class PossibleOutcomes:
    """Yields the outcomes of one workflow's calls."""

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
            yield Move("", e.system, f"{what}: another integration accepts it", partial(self._accept, w, e))
        else:
            yield Move("", e.system, f"{what}: done", partial(self.confirm, w, e, True))
            if not operation.writes and self._answers_money(e):
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
            text = f"{what}: not sent, because its approval is no longer valid (the approver is no longer active)"
            yield Move("stale", "approvals", text, partial(self._drop_stale, w, e))

    def _step_of(self, e: Effect) -> d.Step | None:
        return self.steps.get(e.path.split("~")[0].removesuffix("/undo"))

    def _refusals(self, e: Effect) -> tuple[ErrorClass, ...]:
        """Return one class of refusal for each different reaction."""
        cached = self._classes.get(e.path)
        if cached is not None:
            return cached
        step = self._step_of(e)
        by_reaction: dict[Any, ErrorClass] = {}
        if e.undoes is not None or not isinstance(step, d.Call):
            by_reaction = {0: ErrorClass.TRANSIENT, 1: ErrorClass.REFUSED}
        else:
            for error in (ErrorClass.REFUSED, *REFUSAL_CLASSES):
                reaction = self._reaction(step, error)
                by_reaction.setdefault(id(reaction) if isinstance(reaction, d.Block) else reaction, error)
        self._classes[e.path] = tuple(by_reaction.values())
        return self._classes[e.path]

    def _retried(self, e: Effect, error: ErrorClass) -> bool:
        step = self._step_of(e)
        if e.undoes is not None or not isinstance(step, d.Call):
            return error is ErrorClass.TRANSIENT
        reaction = self._reaction(step, error)
        return isinstance(reaction, d.Verb) and reaction.name == "retry"

    def _reaction(self, step: d.Call, error: ErrorClass) -> d.Reaction:
        reaction = step.outcomes.get(error)
        return reaction if reaction is not None else self.definition.failure.reactions[error]

    def _answers_money(self, e: Effect) -> bool:
        """Return True for a read, after the start, whose answer contains amounts."""
        if e.path.startswith("fact:"):
            return False  # facts are part of the start values
        operation = self.context.model.operations.get(e.operation)
        return operation is not None and any(is_money(spec) for spec in operation.output.values())

    def confirm(self, w: World, e: Effect, now: bool, times: int = 1) -> World:
        """Confirm a call.

        `now`: this call does it (else it was done before). `times`: factor on the amounts of the answer.
        """
        if now:
            w = mark_done(w, e)
        return self.context.conclude(w, e, _E.CONFIRMED, result=self.result(w, e, times))

    def _accept(self, w: World, e: Effect) -> World:
        return self.context.conclude(w, e, _E.ACCEPTED, error="job")

    def _refuse(self, w: World, e: Effect, error: ErrorClass) -> World:
        return self.context.conclude(w, e, _E.REFUSED, error_class=error, error="as planned by the proof")

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
            w = mark_done(w, e)
        return self.context.conclude(w, e, _E.UNKNOWN, error="no answer")

    def _drop_stale(self, w: World, e: Effect) -> World:
        rows = drop_stale(w.rows, e.id, w.now)
        w = msgspec.structs.replace(w, effects=rows.effects, foils=rows.foils)
        return self.context.turn(w, ("stale", e.id, {"effect": e.id, "path": e.path}))

    def result(self, w: World, e: Effect, times: int) -> Any:
        """Return the answer of a system: the input's values for fields of the same name, else plain values."""
        if e.operation not in self.context.model.operations:
            return {}
        start_answer = self.context.reads.get((w.beginning, e.operation))
        if start_answer is not None:
            return start_answer
        schema = self.context.model.schema_of_operation(e.operation, "output")
        inputs = w.state.inputs.get(e.id)
        inputs = inputs if isinstance(inputs, dict) else {}
        amount = next((v for v in inputs.values() if isinstance(v, Money)), None)
        if amount is None:
            data = w.state.names.get("event", {}).get("data", {})
            amount = next(
                (v for v in data.values() if isinstance(v, Money)), Money(DEFAULT_MINOR_UNITS, "USD")
            )
        result = {}
        for name, of in schema.get("properties", {}).items():
            value = plain_value(of, name, amount.currency, amount.minor * times)
            if name in inputs and type(inputs[name]) is type(value):
                value = inputs[name]
            result[name] = (
                f"{e.operation}/{value}" if isinstance(value, str) and name not in inputs else value
            )
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
        effect = next(x for x in w.effects if x.id == e.id)
        return self.context.conclude(w, effect, _E.ABSENT)


def mark_done(w: World, e: Effect) -> World:
    """Record that the other system did the call: only once if a repetition changes nothing there."""
    before = w.done.get(e.id, 0)
    after = 1 if e.repeat in ("key", "unique", "state", "read") else before + 1
    return msgspec.structs.replace(w, done={**w.done, e.id: after})


def _money(w: World, e: Effect) -> str:
    inputs = w.state.inputs.get(e.id)
    amounts = [str(v) for v in inputs.values() if isinstance(v, Money)] if isinstance(inputs, dict) else []
    return f" over {', '.join(amounts)}" if amounts else ""
