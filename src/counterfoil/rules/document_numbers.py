"""Numbers of documents in their series, as events show them: what a checkpoint looks for gaps and doubles in."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.document import Side
from counterfoil.model import Model
from counterfoil.rules.admission import routing_failed
from counterfoil.rules.envelope import names_of_event
from counterfoil.rules.routing import Forms
from counterfoil.rules.templates import FAULTS, Lookup


class DocumentNumber(NamedTuple):
    side: Side
    system: str
    """The system of the side, also for documents of one that stands for it."""
    entity: str
    day: str
    """Document date, ISO 8601."""
    number: str
    record: tuple[str, str]
    """Object and key of the event: two documents with one number are two records."""


def numbers_of(model: Model, event: CanonicalEvent, forms: Forms, lookup: Lookup) -> list[DocumentNumber]:
    """Return the numbers that an event shows, each once. Raises HeldDelivery, LookupNeeded."""
    numbers: dict[DocumentNumber, None] = {}
    try:
        for form in forms.values():
            for side, rules in (
                ("left", model.foils_by_event(form.type)),
                ("right", model.foils_by_observation(form.type)),
            ):
                for rule in rules:
                    if rule.number is None:
                        continue
                    names = names_of_event(form, rule.envelope)
                    number = rule.number(names, lookup)
                    if number is None or number == "":
                        continue
                    day = None if rule.effective is None else rule.effective(names, lookup)
                    entity = "" if rule.entity is None else rule.entity(names, lookup)
                    entry = DocumentNumber(
                        side="left" if side == "left" else "right",
                        system=rule.left if side == "left" else rule.right,
                        entity=str(entity or ""),
                        day=_day(day) or event.effective_at.date().isoformat(),
                        number=str(number),
                        record=(event.object, event.key),
                    )
                    numbers[entry] = None
    except FAULTS as error:
        raise routing_failed(model, event, error) from error
    return list(numbers)


def _day(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else str(value or "")
