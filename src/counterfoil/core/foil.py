"""Foils: counterfoils that another system owes, and their matching with observations.

`settle` is pure. It runs inside the store's transaction, on one locked match row, for foils and for observations: so
neither can miss the other. Amounts are minor units of one currency per leg.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

import msgspec

from counterfoil.core.effect import EffectState
from counterfoil.core.money import Money


class FoilState(StrEnum):
    PROVISIONAL = "provisional"  # written with the intent of its call
    OPEN = "open"
    PARTLY = "partly"
    MATCHED = "matched"
    OVER = "over"  # more was observed than asserted
    BROKEN = "broken"  # past due, or in disagreement with the observations
    WAIVED = "waived"  # approved by a person
    REVERSED = "reversed"  # its cause was taken back
    VOID = "void"  # its cause never happened


_F = FoilState
FOIL_MOVES: dict[FoilState, frozenset[FoilState]] = {
    _F.PROVISIONAL: frozenset({_F.OPEN, _F.VOID, _F.MATCHED, _F.PARTLY, _F.OVER, _F.BROKEN}),
    _F.OPEN: frozenset({_F.PARTLY, _F.MATCHED, _F.OVER, _F.BROKEN, _F.REVERSED}),
    _F.PARTLY: frozenset({_F.OPEN, _F.MATCHED, _F.OVER, _F.BROKEN, _F.REVERSED}),
    _F.MATCHED: frozenset({_F.BROKEN, _F.REVERSED, _F.OVER, _F.PARTLY}),
    _F.OVER: frozenset({_F.MATCHED, _F.BROKEN, _F.WAIVED, _F.REVERSED, _F.PARTLY}),
    _F.BROKEN: frozenset({_F.MATCHED, _F.WAIVED, _F.OVER, _F.PARTLY, _F.REVERSED}),
    **dict.fromkeys((_F.WAIVED, _F.REVERSED, _F.VOID), frozenset()),
}
LIVE = frozenset({_F.PROVISIONAL, _F.OPEN, _F.PARTLY, _F.MATCHED, _F.OVER, _F.BROKEN, _F.WAIVED})
UNFINISHED_FOILS = frozenset({_F.PROVISIONAL, _F.OPEN, _F.PARTLY})
Legs = dict[str, Money]


class Foil(msgspec.Struct, frozen=True, kw_only=True):
    """Assertion that `right` will show what `left` shows, with amounts by leg and a due time."""

    id: str
    rule: str
    """The reconciliation that wrote it."""
    key: str
    """With `rule`, the match row."""
    object: str
    left: str
    right: str
    legs: Legs
    due: datetime
    state: FoilState
    tolerance: int = 0
    exact: bool = True
    """One to one: an observation that does not agree breaks it at once instead of filling it in part."""
    run: str | None = None
    effect: str | None = None
    cause: str = ""
    """Id of the event or effect that asserts it."""
    owner: str = ""
    reason: str = ""
    created_at: datetime
    settled_at: datetime | None = None


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """Amounts of one object in the other system at one version. A newer version replaces an older one."""

    id: str
    rule: str
    key: str
    subject: str
    """The observed object in its system."""
    version: int
    legs: Legs
    event: str
    at: datetime


class Allocation(msgspec.Struct, frozen=True, kw_only=True):
    """Amount of an observation that covers a leg of a foil."""

    foil: str
    observation: str
    leg: str
    amount: Money


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """Match row after matching: states and reasons by foil id, and the allocations."""

    states: dict[str, FoilState]
    reasons: dict[str, str]
    allocations: tuple[Allocation, ...]


class FoilMove(NamedTuple):
    state: FoilState
    reason: str


_AFTER_EFFECT = {
    EffectState.CONFIRMED: FoilMove(_F.OPEN, ""),
    EffectState.ABSENT: FoilMove(_F.VOID, "its effect did not happen"),
}
GIVEN_UP = "its effect was given up"
"""Reason of a void foil whose effect will not be sent."""
TAKEN_BACK = "its cause was taken back"
"""Reason of a reversed foil."""


def after_effect(state: EffectState) -> FoilMove | None:
    """Return the move of an effect's provisional foils after its outcome. None: they stay provisional."""
    return _AFTER_EFFECT.get(state)


def move(foil: Foil, state: FoilState, reason: str, at: datetime) -> Foil:
    """Return the foil in another state. The caller has checked that the move is allowed."""
    settled_at = None if state in UNFINISHED_FOILS else at
    return msgspec.structs.replace(foil, state=state, reason=reason, settled_at=settled_at)


def newest_versions(observations: Sequence[Observation]) -> list[Observation]:
    """Return the newest version of each observed subject, oldest subject first."""
    newest: dict[str, Observation] = {}
    for o in sorted(observations, key=lambda o: (o.version, o.id)):
        newest[o.subject] = o
    return sorted(newest.values(), key=lambda o: (o.at, o.id))


def settle(foils: Sequence[Foil], observations: Sequence[Observation], now: datetime) -> Settlement:
    """Match the foils of one match row with its observations.

    Observed amounts cover foils in order of due time, leg by leg, and never more than the foil asserts. A foil whose legs
    are all covered (within its tolerance) is matched. A rest after all foils are covered makes the last matched foil
    `over`. A leg in another currency breaks its foil. Void, reversed and waived foils take nothing.
    """
    newest = newest_versions(observations)
    rest: dict[str, Legs] = {o.id: dict(o.legs) for o in newest}
    states: dict[str, FoilState] = {}
    reasons: dict[str, str] = {}
    allocations: list[Allocation] = []
    takers = sorted((f for f in foils if f.state in LIVE - {_F.WAIVED}), key=lambda f: (f.due, f.id))
    for foil in takers:
        covered = _cover(foil, newest, rest, allocations)
        states[foil.id], reasons[foil.id] = _verdict(foil, covered, newest, now)
    if takers and all(states[foil.id] is _F.MATCHED for foil in takers):
        last = takers[-1]
        if any(abs(m.minor) > last.tolerance for legs in rest.values() for m in legs.values()):
            states[last.id] = _F.OVER
            reasons[last.id] = "more was observed than asserted"
    return Settlement(states=states, reasons=reasons, allocations=tuple(allocations))


def _cover(
    foil: Foil, newest: Sequence[Observation], rest: dict[str, Legs], allocations: list[Allocation]
) -> dict[str, int]:
    """Return the minor units that observations cover of each leg. A leg that no observation has is absent."""
    covered: dict[str, int] = {}
    for leg, want in foil.legs.items():
        for o in newest:
            have = rest[o.id].get(leg)
            if have is None or have.currency != want.currency:
                continue
            covered_units = covered.setdefault(leg, 0)
            need = want.minor - covered_units
            take = _toward(need, have.minor)
            if take:
                covered[leg] = covered_units + take
                rest[o.id][leg] = Money(have.minor - take, have.currency)
                amount = Money(take, want.currency)
                allocations.append(Allocation(foil=foil.id, observation=o.id, leg=leg, amount=amount))
    return covered


def _toward(need: int, have: int) -> int:
    """Return the part of `have` that fills `need`, if both have the same sign."""
    if (need > 0) != (have > 0):
        return 0
    return min(need, have) if need > 0 else max(need, have)


def _verdict(
    foil: Foil, covered: Mapping[str, int], newest: Sequence[Observation], now: datetime
) -> tuple[FoilState, str]:
    pairs = ((leg, want, o.legs[leg]) for leg, want in foil.legs.items() for o in newest if leg in o.legs)
    wrong = {
        f"{leg}: expected {want.currency}, observed {have.currency}"
        for leg, want, have in pairs
        if have.currency != want.currency
    }
    if wrong:
        return _F.BROKEN, "; ".join(sorted(wrong))
    short = {
        leg: want.minor - covered.get(leg, 0)
        for leg, want in foil.legs.items()
        if abs(want.minor - covered.get(leg, 0)) > foil.tolerance or (want.minor and leg not in covered)
    }
    if not short and newest:
        return _F.MATCHED, ""
    if any(covered.values()):
        reason = ", ".join(f"{leg} short by {by} minor units" for leg, by in sorted(short.items()))
        return _F.BROKEN if foil.exact or foil.due <= now else _F.PARTLY, reason
    if foil.state is _F.PROVISIONAL:
        return _F.PROVISIONAL, ""
    if foil.state in (_F.MATCHED, _F.OVER, _F.PARTLY):
        return _F.BROKEN, "the other system showed it before and no longer shows it"
    if foil.due <= now or foil.state is _F.BROKEN:
        return _F.BROKEN, "past due: the other system does not show it"
    return _F.OPEN, ""
