"""Reconciliations compiled to foil rules."""

from __future__ import annotations

from counterfoil.model import definition as d
from counterfoil.model import kinds
from counterfoil.model.kinds import seconds
from counterfoil.model.template import formula, optional


def compile_foil(rule: kinds.Reconciliation, owners: tuple[str, ...]) -> d.FoilDefinition:
    foil, observe = rule.foil, rule.observe
    return d.FoilDefinition(
        name=rule.name,
        object=rule.object,
        left=rule.left,
        right=rule.right,
        event=foil.event,
        operation=foil.operation,
        when=optional(foil.when),
        key=formula(foil.key),
        legs={name: formula(text) for name, text in foil.legs.items()},
        due=seconds(foil.due),
        observe_event=observe.event,
        observe_when=optional(observe.when),
        observe_key=formula(observe.key),
        observe_legs={name: formula(text) for name, text in observe.legs.items()},
        tolerance=rule.tolerance,
        exact=rule.shape == "1:1",
        owners=owners,
    )
