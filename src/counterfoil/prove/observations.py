"""Counterfoils in a proof: when the other system shows its half, and with which amount."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Protocol

import msgspec

from counterfoil.core.case import Case
from counterfoil.core.cases import case_of_break
from counterfoil.core.effect import Effect, EffectState
from counterfoil.core.foil import NEEDS_CASE, Foil, Observation
from counterfoil.core.matching import FoilState
from counterfoil.core.money import Money
from counterfoil.core.settle import MatchRows, settle
from counterfoil.model import definition as d
from counterfoil.model.blocks import blocks_of
from counterfoil.prove.world import Move, ProofContext, World

_E = EffectState


class ObservationDeadline(Protocol):
    @property
    def at(self) -> datetime: ...


class Observations:
    """Yields the observations of other systems. `confirm` records that an accepted call was done."""

    def __init__(self, context: ProofContext) -> None:
        self.context = context
        self.definition = context.definition
        self.confirm: Callable[[World, Effect], World] = lambda w, e: w
        family = context.model.family
        self._family = family
        self._rights = {family(op.system) for op in self.definition.operations.values() if op.writes}

    def of(self, w: World, deadlines: Sequence[ObservationDeadline], faulty: bool) -> Iterator[Move]:
        """Yield what the other system can show, as soon as the Run waits for it or its deadline is next."""
        showable = [
            f for f in w.foils if f.state in (FoilState.OPEN, FoilState.PARTLY) and self.showable(w, f)
        ]
        if not showable or not self._matters(w, deadlines):
            return
        first = showable[0]
        yield Move(
            "", first.right, f"shows {first.object} {first.key}: {first.rule} is matched",
            partial(self._show, w, first, agrees=True),
        )  # fmt: skip
        for foil in showable if faulty else ():
            yield Move(
                "late", foil.right, f"shows {foil.object} {foil.key} in another currency: {foil.rule} is broken",
                partial(self._show, w, foil, agrees=False),
            )  # fmt: skip

    def showable(self, w: World, f: Foil) -> bool:
        """Return True if the other system can show the foil: a call there was done, or the workflow never calls it."""
        if f.right not in self._rights:
            return True
        calls = [e for e in w.effects if self._family(e.system) == f.right]
        return any((w.done.get(e.id) and e.undoes is None) or e.state is _E.ACCEPTED for e in calls)

    def _matters(self, w: World, deadlines: Sequence[ObservationDeadline]) -> bool:
        if any(e.state is _E.ACCEPTED for e in w.effects):
            return True
        for frame in w.state.frames:
            block = blocks_of(self.definition)[frame.block]
            step = block.steps[frame.index] if frame.index < len(block.steps) else None
            if isinstance(step, d.Wait) and step.foils is not None:
                return True
        return bool(deadlines) and any(f.due <= min(x.at for x in deadlines) for f in w.foils)

    def _show(self, w: World, foil: Foil, *, agrees: bool) -> World:
        w = judged(w, foil, (_observation(foil, w.now, agrees=agrees),))
        state = next(f.state for f in w.foils if f.id == foil.id)
        if agrees:
            effect = next((e for e in w.effects if e.id == foil.effect and e.state is _E.ACCEPTED), None)
            if effect is not None:
                return self.confirm(w, effect)
        return self.context.turn(w, ("foil", f"{foil.id}:{state}", {"foil": foil.id, "state": str(state)}))

    def settle(self, w: World, case: Case) -> World:
        """Show the other half of the foil that a Case is about."""
        foil = next(f for f in w.foils if f.id == case.foil)
        return self._show(w, foil, agrees=True)


def _observation(foil: Foil, now: datetime, *, agrees: bool) -> Observation:
    """Return the other half of a foil: its legs, or the same amounts in another currency."""
    legs = foil.legs
    if not agrees:
        other = (
            "EUR" if all(not isinstance(m, Money) or m.currency != "EUR" for m in legs.values()) else "USD"
        )
        legs = {leg: Money(m.minor, other) if isinstance(m, Money) else m for leg, m in legs.items()}
    return Observation(
        id=f"obs:{foil.id}",
        rule=foil.rule,
        key=foil.key,
        document=f"{foil.right}:{foil.document}",
        version=1,
        system=foil.right,
        legs=legs,
        terms=foil.terms,
        entity=foil.entity,
        names=(foil.document,),
        event="",
        since=now,
        at=now,
    )


def judged(w: World, foil: Foil, observed: tuple[Observation, ...]) -> World:
    """Return the World after one foil was judged by what the other system shows of it."""
    changed = settle(MatchRows((foil,), observed), w.now).foils
    if not changed:
        return w
    after = changed[0]
    cases = tuple(k for k in w.cases if k.foil != foil.id)
    if after.state in NEEDS_CASE:
        cases = (*cases, case_of_break(after, w.now))
    foils = tuple(after if f.id == foil.id else f for f in w.foils)
    return msgspec.structs.replace(w, foils=foils, cases=cases)
