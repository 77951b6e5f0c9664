"""Foil rules: the counterfoils that an event opens, and its observations for others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple

from counterfoil.core import ids
from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.foil import Foil, FoilState, Legs, Observation
from counterfoil.core.money import Money
from counterfoil.model import Model
from counterfoil.model.definition import FoilDefinition
from counterfoil.rules.json_values import event_names
from counterfoil.rules.templates import Lookup, UnusableValue, truth
from counterfoil.rules.templates import key as key_of


def writers(model: Model, forms: Iterable[CanonicalEvent]) -> Iterator[tuple[FoilDefinition, CanonicalEvent]]:
    """Return the rules by which an event writes foils, each with the version that it reads.

    If there are rules for several versions between the same two systems, the one nearest to the sent version writes:
    one event writes one foil.
    """
    written: set[tuple[str, str, str]] = set()
    for form in forms:
        rules = model.foils_by_event(form.type)
        yield from ((rule, form) for rule in rules if _between(rule) not in written)
        written |= {_between(rule) for rule in rules}


def _between(rule: FoilDefinition) -> tuple[str, str, str]:
    return rule.object, rule.left, rule.right


class OwedFoil(NamedTuple):
    """A foil that an event opens by a rule, before it is a row of a Run."""

    rule: FoilDefinition
    event: CanonicalEvent
    key: str
    legs: Legs


def owed(rule: FoilDefinition, event: CanonicalEvent, lookup: Lookup | None) -> OwedFoil | None:
    """Return the foil that an event opens by a rule; None if its `when` is false."""
    names = {"event": event_names(event)}
    if not truth(rule.when, names, lookup):
        return None
    key = key_of(rule.key, names, lookup)
    return OwedFoil(
        rule, event, key, _legs(rule.name, {leg: e(names, lookup) for leg, e in rule.legs.items()})
    )


def foil_of(foil: OwedFoil, run: str | None) -> Foil:
    """Return the row of a foil, for the Run that belongs to it."""
    rule, event, key, legs = foil
    return Foil(
        id=ids.derive("foil", rule.name, key),
        rule=rule.name,
        key=key,
        object=rule.object,
        left=rule.left,
        right=rule.right,
        legs=legs,
        due=event.received_at + timedelta(seconds=rule.due),
        state=FoilState.OPEN,
        tolerance=rule.tolerance,
        exact=rule.exact,
        run=run,
        cause=event.id,
        owner=rule.owner,
        created_at=event.received_at,
    )


def observation_of(rule: FoilDefinition, event: CanonicalEvent, lookup: Lookup | None) -> Observation | None:
    """Return what an event shows of a foil's other half; None if it is about something else."""
    names = {"event": event_names(event)}
    if not truth(rule.observe_when, names, lookup):
        return None
    key = key_of(rule.observe_key, names, lookup)
    return Observation(
        id=ids.derive("obs", rule.name, key, event.id),
        rule=rule.name,
        key=key,
        subject=f"{event.system}:{event.object}:{event.key}",
        version=event.version,
        legs=_legs(rule.name, {leg: e(names, lookup) for leg, e in rule.observe_legs.items()}),
        event=event.id,
        at=event.received_at,
    )


def _legs(rule: str, legs: dict[str, Any]) -> Legs:
    for leg, value in legs.items():
        if not isinstance(value, Money):
            raise UnusableValue(f"leg {leg} of {rule} is not money but {value!r}")
    return legs
