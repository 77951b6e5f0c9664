"""Reconciliations compiled to the rules by which events show documents of both sides."""

from __future__ import annotations

from typing import Any, NamedTuple

from counterfoil.core.document import LegKind, LegRule
from counterfoil.core.terms import Terms
from counterfoil.model import kinds
from counterfoil.model.document_definition import (
    FoilDefinition,
    Ledgers,
    ObservationDefinition,
    WithinDefinition,
)
from counterfoil.model.envelope import EnvelopeRules
from counterfoil.model.kinds import seconds
from counterfoil.model.template import formula, optional


class Sides(NamedTuple):
    """The ledgers of both sides of a reconciliation."""

    left: Ledgers
    right: Ledgers


def compile_foils(
    rule: kinds.Reconciliation, owners: tuple[str, ...], envelope: EnvelopeRules, sides: Sides
) -> list[FoilDefinition]:
    """Return the entries of the left side."""
    return [
        FoilDefinition(
            **_document(rule, entry, owners, envelope),
            ledgers=sides.left,
            others=sides.right,
            document=formula(entry.document or _key(rule, entry)),
            operation=entry.operation,
            due=seconds(entry.due),
            within=tuple(
                WithinDefinition(rule=cap.reconciliation, key=formula(cap.key), negate=cap.negate)
                for cap in entry.within
            ),
        )
        for _, entry in rule.assertions
    ]


def compile_observations(
    rule: kinds.Reconciliation, owners: tuple[str, ...], envelope: EnvelopeRules, sides: Sides
) -> list[ObservationDefinition]:
    """Return the entries of the right side."""
    unmatched = rule.unmatched or kinds.Unmatched()
    mine = (unmatched.owner,) if unmatched.owner else owners
    return [
        ObservationDefinition(
            **_document(rule, entry, mine, envelope),
            ledgers=sides.right,
            others=sides.left,
            document=optional(entry.document),
            grace=seconds(unmatched.grace),
        )
        for _, entry in rule.observations
    ]


def _document(
    rule: kinds.Reconciliation, entry: kinds.DocumentRule, owners: tuple[str, ...], envelope: EnvelopeRules
) -> dict[str, Any]:
    return {
        "name": rule.name,
        "object": rule.object,
        "left": rule.left,
        "right": rule.right,
        "event": entry.event,
        "each": optional(entry.each),
        "when": optional(entry.when),
        "key": formula(_key(rule, entry)),
        "legs": {name: formula(text) for name, text in entry.legs.items()},
        "stands": optional(entry.stands),
        "reverses": optional(entry.reverses),
        "document_names": optional(entry.names),
        "entity": optional(entry.entity or _own_entity(entry, envelope.default)),
        "effective": optional(entry.effective),
        "number": optional(entry.number),
        "terms": terms_of(rule),
        "owners": owners,
        "envelope": envelope,
    }


def _own_entity(entry: kinds.DocumentRule, default: str) -> str | None:
    """Return the formula of the legal entity of a document whose entry names none: that of its event or Run.

    Events and Runs from before entities were declared belong to the default one.
    """
    own = "event.legal_entity" if entry.event else "run.legal_entity"
    return f"{own} == '' ? '{default}' : {own}" if default else None


def _key(rule: kinds.Reconciliation, entry: kinds.DocumentRule) -> str:
    return entry.key or rule.key or entry.document or "''"


def terms_of(rule: kinds.Reconciliation) -> Terms:
    """Return how the documents of both sides must agree."""
    legs = {
        name: LegRule(
            kind=LegKind(leg.kind),
            total=leg.total,
            tolerance=leg.tolerance,
            absorbs=leg.absorbs,
            absorbed_by=leg.absorbed_by or "",
            per=leg.per or "",
        )
        for name, leg in rule.legs.items()
    }
    window = None if rule.window is None else int(rule.window.removesuffix("d"))
    on_account = rule.rest == "on_account"
    return Terms(
        legs=legs, tolerance=rule.tolerance, shape=rule.shape, window=window, rest_on_account=on_account
    )
