"""Reconciliations as compiled, immutable definitions: how events show documents of both sides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from counterfoil.core.terms import Terms
from counterfoil.expr import Expression
from counterfoil.model.envelope import NO_ENVELOPE_RULES, EnvelopeRules


@dataclass(frozen=True, slots=True)
class Ledgers:
    """Systems that stand for that of one side, by legal entity. Each has document numbers of its own."""

    system: str
    by_entity: Mapping[str, str] = field(default_factory=dict)

    def of(self, system: str, legal_entity: str) -> str:
        """Return the one that shows a fact, or that acts for its legal entity; empty for the system itself.

        `system` is the one that shows the fact; empty if none does.
        """
        if system == self.system or system in self.by_entity.values():
            return system if system != self.system else ""
        return self.by_entity.get(legal_entity, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentDefinition:
    """A compiled entry of one side of a reconciliation: how an event shows a document."""

    name: str
    """The reconciliation."""
    object: str
    left: str
    right: str
    ledgers: Ledgers
    """Of its own side."""
    others: Ledgers
    """Of the other side."""
    event: str | None
    each: Expression | None
    """The list of whose entries each is a document; None: the event shows one."""
    when: Expression | None
    key: Expression
    document: Expression | None
    """None: the event's object is the document."""
    legs: Mapping[str, Expression]
    stands: Expression | None
    reverses: Expression | None
    document_names: Expression | None
    entity: Expression | None
    effective: Expression | None
    number: Expression | None
    """The number in a series; only what books list has one."""
    terms: Terms
    owners: tuple[str, ...]
    envelope: EnvelopeRules = NO_ENVELOPE_RULES


@dataclass(frozen=True, slots=True, kw_only=True)
class WithinDefinition:
    """A compiled cap across matches: the match whose total this document uses up."""

    rule: str
    key: Expression
    negate: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FoilDefinition(DocumentDefinition):
    """A compiled entry of the left side.

    Formulas of an operation's foil read `input`, `event` and `run`. Those of an event's foil read `event`.
    """

    operation: str | None
    due: float
    """Seconds until the other side must show it."""
    within: tuple[WithinDefinition, ...] = ()
    """Matches whose totals cap it."""

    @property
    def owner(self) -> str:
        """The role that owns its foils; empty if there is none."""
        return next(iter(self.owners), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservationDefinition(DocumentDefinition):
    """A compiled entry of the right side. Its formulas read `event`."""

    grace: float
    """Seconds until an unmatched item needs a Case."""
