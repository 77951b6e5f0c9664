"""Numbers of documents in their series, as events show them: what a checkpoint looks for gaps and doubles in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.document import Side
from counterfoil.model import Model
from counterfoil.model.document_definition import DocumentDefinition
from counterfoil.rules.admission import routing_failed
from counterfoil.rules.envelope import names_of_event
from counterfoil.rules.matching import day_text, every_element
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
    version: int = 0


def newest_numbers(numbers: Iterable[DocumentNumber]) -> list[DocumentNumber]:
    """Return the number of each record by its newest version, dated by the first day on which the record had one."""
    newest: dict[tuple[str, str, tuple[str, str]], DocumentNumber] = {}
    first: dict[tuple[str, str, tuple[str, str]], str] = {}
    for number in numbers:
        record = (number.side, number.system, number.record)
        first[record] = min(first.get(record, number.day), number.day)
        former = newest.get(record)
        if former is None or (former.version, former.number) < (number.version, number.number):
            newest[record] = number
    return [number._replace(day=first[record]) for record, number in newest.items()]


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
                    for element in every_element(rule, names, lookup):
                        entry = _number(rule, side, event, element, lookup)
                        if entry is not None:
                            numbers[entry] = None
    except FAULTS as error:
        raise routing_failed(model, event, error) from error
    return list(numbers)


def _number(
    rule: DocumentDefinition, side: str, event: CanonicalEvent, names: Mapping[str, Any], lookup: Lookup
) -> DocumentNumber | None:
    number = None if rule.number is None else rule.number(names, lookup)
    if number is None or number == "":
        return None
    day = None if rule.effective is None else rule.effective(names, lookup)
    entity = "" if rule.entity is None else rule.entity(names, lookup)
    return DocumentNumber(
        side="left" if side == "left" else "right",
        system=rule.left if side == "left" else rule.right,
        entity=str(entity or ""),
        day=day_text(event.effective_at if day in (None, "") else day, rule.envelope, event.legal_entity),
        number=str(number),
        record=(event.object, event.key),
        version=event.version,
    )
