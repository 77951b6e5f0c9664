"""Documents of both sides: what an event asserts on the left, and what it shows on the right.

`core.matching` judges them. This module turns events into rows by the reconciliations of the governance files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from counterfoil.core import ids
from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.document import LegKind, Side, Within, has_ledger, in_ledger, number_of, part_leg
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.foil_versions import Split, Withdrawal
from counterfoil.core.matching import FoilState
from counterfoil.core.money import Money
from counterfoil.core.settle import settled_alone
from counterfoil.core.terms import Legs
from counterfoil.expr import BudgetExceeded, EvaluationError, Expression
from counterfoil.model import Model
from counterfoil.model.document_definition import DocumentDefinition, FoilDefinition, ObservationDefinition
from counterfoil.model.envelope import EnvelopeRules
from counterfoil.rules.envelope import names_of_event
from counterfoil.rules.templates import Lookup, UnusableValue, depends_on, names_with, row_not_found, truth
from counterfoil.rules.templates import key as key_of


def writers(model: Model, forms: Iterable[CanonicalEvent]) -> Iterator[tuple[FoilDefinition, CanonicalEvent]]:
    """Return the rules by which an event shows left documents, each with the version that it reads.

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


class DocumentFields(NamedTuple):
    """Values of an entry's formulas for one document."""

    document: str
    key: str
    legs: Legs
    stands: bool
    reverses: str
    names: tuple[str, ...]
    entity: str
    effective: str
    within: tuple[Within, ...] = ()


class OwedFoil(NamedTuple):
    """A foil that an event asserts by a rule, before it is a row of a Run."""

    rule: FoilDefinition
    event: CanonicalEvent
    fields: DocumentFields

    @property
    def key(self) -> str:
        return self.fields.key

    @property
    def legs(self) -> Legs:
        return self.fields.legs


class Origin(NamedTuple):
    """The system that shows a document, and the legal entity of the fact or Run. Both may be empty."""

    system: str
    legal_entity: str

    @classmethod
    def of(cls, event: CanonicalEvent) -> Origin:
        return cls(event.system, event.legal_entity)


def fields_of(
    rule: DocumentDefinition,
    names: Mapping[str, Any],
    lookup: Lookup | None,
    origin: Origin,
    default_document: str,
) -> DocumentFields:
    """Evaluate the formulas of an entry. Raises UnusableValue and the errors of formulas.

    The legs of a document that does not stand are not read. Two systems of which one stands for the other may give
    two documents one number: the name of a document, and each reference to one, has the system that stands in.
    """
    ledger = rule.ledgers.of(*origin)
    other = rule.others.of("", origin.legal_entity)
    document = default_document if rule.document is None else key_of(rule.document, names, lookup)
    key = key_of(rule.key, names, lookup)
    stands = truth(rule.stands, names, lookup)
    legs: Legs = {}
    for leg, expression in rule.legs.items() if stands else ():
        legs |= _legs(rule, leg, _value(rule, leg, expression, names, lookup))
    entity = _text(_value(rule, "entity", rule.entity, names, lookup))
    effective = _value(rule, "effective", rule.effective, names, lookup)
    named = () if rule.document_names is None else rule.document_names(names, lookup)
    reverses = _text(_value(rule, "reverses", rule.reverses, names, lookup))
    named = tuple(_text(n) for n in named) if isinstance(named, list | tuple) else (_text(named),)
    return DocumentFields(
        _name(ledger, document),
        key,
        legs,
        stands,
        _name(ledger, reverses),
        tuple(_name(other, text) for text in named),
        entity,
        day_text(effective, rule.envelope, origin.legal_entity),
        _within(rule, names, lookup) if stands and isinstance(rule, FoilDefinition) else (),
    )


def day_text(effective: Any, envelope: EnvelopeRules, legal_entity: str) -> str:
    """Return a document date as ISO 8601. Of a moment, the day in the zone of the legal entity counts."""
    day = envelope.day(legal_entity, effective) if isinstance(effective, datetime) else effective
    return day.isoformat() if isinstance(day, date) else _text(day)


def _name(ledger: str, document: str) -> str:
    """Return the name of a document of a system. Raises UnusableValue for a text that names a system as well."""
    if has_ledger(document):
        raise UnusableValue(f"{document!r} is no id of a document: it names a system as well")
    return in_ledger(ledger, document)


def try_fields(
    rule: FoilDefinition, names: Mapping[str, Any], lookup: Lookup | None, unknown: Collection[str]
) -> None:
    """Evaluate those formulas of an entry that read no unknown name. Raises what `fields_of` raises."""
    for text in filter(None, (rule.document, rule.key, *(cap.key for cap in rule.within))):
        if not depends_on(text, unknown):
            key_of(text, names, lookup)
    for expression in filter(None, (rule.reverses, rule.document_names, rule.entity, rule.effective)):
        if not depends_on(expression, unknown):
            expression(names, lookup)
    if rule.stands is None or (not depends_on(rule.stands, unknown) and truth(rule.stands, names, lookup)):
        for leg, expression in rule.legs.items():
            if not depends_on(expression, unknown):
                _legs(rule, leg, _value(rule, leg, expression, names, lookup))


def _value(
    rule: DocumentDefinition,
    place: str,
    expression: Expression | None,
    names: Mapping[str, Any],
    lookup: Lookup | None,
) -> Any:
    """Return the value of a leg or field. Raises UnusableValue if it is null for lack of a table's row."""
    value = None if expression is None else expression(names, lookup)
    if value is None and expression is not None and (missing := row_not_found(expression, names, lookup)):
        raise UnusableValue(f"{place} of {rule.name}: {missing}")
    return value


def _within(rule: FoilDefinition, names: Mapping[str, Any], lookup: Lookup | None) -> tuple[Within, ...]:
    """Return the matches whose totals a document uses up."""
    return tuple(Within(cap.rule, key_of(cap.key, names, lookup), cap.negate) for cap in rule.within)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _legs(rule: DocumentDefinition, leg: str, value: Any) -> Legs:
    """Return a leg by its name, or the legs of its parts; none where the value is null. The total is never null."""
    form = rule.terms.legs.get(leg)
    if value is None and form is not None and not form.total:
        return {}
    return _parts(rule, leg, form.per, value) if form and form.per else {leg: _leg(rule, leg, value)}


def _parts(rule: DocumentDefinition, leg: str, per: str, value: Any) -> Legs:
    """Return a leg for each amount of each part; entries of the same part add up. Without entries the leg itself is zero."""
    if not isinstance(value, list | tuple):
        raise UnusableValue(f"leg {leg} of {rule.name} is no list of parts per {per} but {value!r}")
    sums: dict[str, Money] = {}
    for entry in value:
        part = entry.get(per) if isinstance(entry, Mapping) else None
        if not isinstance(part, str) or not part:
            raise UnusableValue(f"leg {leg} of {rule.name}: {entry!r} has no text in {per}")
        amounts = {field: amount for field, amount in entry.items() if isinstance(amount, Money)}
        if not amounts:
            raise UnusableValue(f"leg {leg} of {rule.name}: {part} has no money")
        for field, amount in amounts.items():
            name = part_leg(leg, part, field)
            before = sums.get(name, Money(0, amount.currency))
            if before.currency != amount.currency:
                raise UnusableValue(f"leg {leg} of {rule.name}: {part} is in two currencies")
            sums[name] = before + amount
    return {**sums} or {leg: 0}


def _leg(rule: DocumentDefinition, leg: str, value: Any) -> Money | int | str:
    """Return the value of a leg. Text may stand in an `equal` leg, and in one that the reconciliation does not name."""
    if isinstance(value, bool) or not isinstance(value, Money | int | str):
        raise UnusableValue(
            f"leg {leg} of {rule.name} is neither money, a whole number nor text but {value!r}"
        )
    form = rule.terms.legs.get(leg)
    if isinstance(value, str) and form is not None and form.kind is not LegKind.EQUAL:
        raise UnusableValue(f"leg {leg} of {rule.name} is {form.kind}, so it is no text such as {value!r}")
    return value


def owed(rule: FoilDefinition, event: CanonicalEvent, lookup: Lookup | None) -> list[OwedFoil]:
    """Return what an event asserts by a rule; nothing if its `when` is false."""
    return [OwedFoil(rule, event, fields) for fields in _fields_of_elements(rule, event, lookup, event.key)]


def _fields_of_elements(
    rule: DocumentDefinition, event: CanonicalEvent, lookup: Lookup | None, default_document: str
) -> list[DocumentFields]:
    """Return the documents that an event shows by a rule, each once."""
    elements = elements_of(rule, names_of_event(event, rule.envelope), lookup)
    rows = [fields_of(rule, names, lookup, Origin.of(event), default_document) for names in elements]
    double = next((name for name, n in Counter(row.document for row in rows).items() if n > 1), None)
    if double is not None:
        raise UnusableValue(f"two entries of `each` of {rule.name} show one document, {number_of(double)}")
    return rows


def elements_of(
    rule: DocumentDefinition, names: Mapping[str, Any], lookup: Lookup | None
) -> Iterator[Mapping[str, Any]]:
    """Yield the names by which an entry is read for each document of an event: with `item` where it has `each`."""
    return (element for element in every_element(rule, names, lookup) if truth(rule.when, element, lookup))


def every_element(
    rule: DocumentDefinition, names: Mapping[str, Any], lookup: Lookup | None
) -> Iterator[Mapping[str, Any]]:
    """Yield the same names also for documents for which `when` is false."""
    if rule.each is None:
        yield names
        return
    items = rule.each(names, lookup)
    if items is not None and not isinstance(items, list | tuple):
        raise UnusableValue(f"`each` of {rule.name} is no list but {items!r}")
    yield from (names_with(names, {"item": item}) for item in items or ())


def withdrawals(model: Model, forms: Iterable[CanonicalEvent], lookup: Lookup | None) -> Iterator[Withdrawal]:
    """Return the documents that an event takes out, if they were shown before: a `when` became false for them.

    An entry without legs shows nothing, so it withdraws nothing; nor does an entry beside one that shows the document.
    """
    for form in forms:
        sides: tuple[tuple[Side, Sequence[DocumentDefinition]], ...] = (
            ("left", model.foils_by_event(form.type)),
            ("right", model.foils_by_observation(form.type)),
        )
        for side, rules in sides:
            if all(rule.when is None and rule.each is None for rule in rules):
                continue
            names = names_of_event(form, model.envelope)
            present: dict[tuple[str, str | None], None] = {}
            for rule in rules:
                for element in elements_of(rule, names, lookup):
                    present[rule.name, _document(rule, form, element, lookup)] = None
            former = [rule for rule in rules if rule.legs and rule.each is None and rule.when is not None]
            for name, document in dict.fromkeys((r.name, _document(r, form, names, lookup)) for r in former):
                if document is not None and (name, document) not in present:
                    yield Withdrawal(
                        side=side, rule=name, document=document, version=form.version, cause=form.id
                    )
            for name in dict.fromkeys(rule.name for rule in rules if rule.each is not None and rule.legs):
                documents = tuple(document or "" for of, document in present if of == name)
                yield _split(model, form, side, name, documents)


def _split(
    model: Model, form: CanonicalEvent, side: Side, rule: str, documents: tuple[str, ...]
) -> Withdrawal:
    """Return the withdrawal of what other versions of the object showed beside these documents."""
    types = (form.type, *model.versions.others(form.type))
    split = Split(object=form.object, key=form.key, types=types, documents=documents)
    return Withdrawal(side=side, rule=rule, document="", version=form.version, cause=form.id, split=split)


def _document(
    rule: DocumentDefinition, event: CanonicalEvent, names: Mapping[str, Any], lookup: Lookup | None
) -> str | None:
    """Return the document that an event is about; None if it names none."""
    ledger = rule.ledgers.of(*Origin.of(event))
    if rule.document is None:
        return in_ledger(ledger, f"{event.object}:{event.key}")
    try:
        return _name(ledger, key_of(rule.document, names, lookup))
    except (EvaluationError, BudgetExceeded, UnusableValue):
        return None


def foil_of(foil: OwedFoil, run: str | None) -> Foil:
    """Return the row of a foil, for the Run that belongs to it."""
    rule, event, fields = foil
    row = Foil(
        id=foil_id(rule.name, fields.document),
        rule=rule.name,
        key=fields.key,
        document=fields.document,
        version=event.version,
        object=rule.object,
        left=rule.left,
        right=rule.right,
        legs=fields.legs,
        terms=rule.terms,
        entity=fields.entity,
        effective=fields.effective or rule.envelope.day(event.legal_entity, event.effective_at).isoformat(),
        stands=fields.stands,
        stood=fields.stands,
        reverses=fields.reverses,
        names=fields.names,
        within=fields.within,
        due=event.received_at + timedelta(seconds=rule.due),
        state=FoilState.OPEN,
        run=run,
        cause=event.id,
        owner=rule.owner,
        created_at=event.received_at,
        known_from=event.received_at,
    )
    return settled_alone(row, event.received_at)


def foil_id(rule: str, document: str) -> str:
    """Return the id of a document's foil: intent, outcome and event of one document are one row."""
    return ids.derive("foil", rule, document)


def observation_id(rule: str, document: str) -> str:
    """Return the id of a document of a right system."""
    return ids.derive("obs", rule, document)


def observations_of(
    rule: ObservationDefinition, event: CanonicalEvent, lookup: Lookup | None
) -> list[Observation]:
    """Return what an event shows of documents of the right side; nothing if the `when` of the rule is false."""
    rows = _fields_of_elements(rule, event, lookup, f"{event.object}:{event.key}")
    return [_observation(rule, event, fields) for fields in rows]


def _observation(rule: ObservationDefinition, event: CanonicalEvent, fields: DocumentFields) -> Observation:
    return Observation(
        id=observation_id(rule.name, fields.document),
        rule=rule.name,
        key=fields.key,
        document=fields.document,
        version=event.version,
        system=rule.right,
        legs=fields.legs,
        terms=rule.terms,
        entity=fields.entity,
        effective=fields.effective or rule.envelope.day(event.legal_entity, event.effective_at).isoformat(),
        stands=fields.stands,
        stood=fields.stands,
        reverses=fields.reverses,
        names=fields.names,
        state="unmatched" if fields.stands else "gone",
        event=event.id,
        owner=rule.owners[0] if rule.owners else "",
        case_at=event.received_at + timedelta(seconds=rule.grace),
        since=event.received_at,
        at=event.received_at,
    )
