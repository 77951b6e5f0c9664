"""Mappings: source payload to canonical events, canonical input to a system's own request.

Pure and two-phase: what an application lacks it asks for (`needs`), all at once; the caller answers in one
batch read and applies again. A missing Link is a third result, neither event nor failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Any

import msgspec

from counterfoil.contracts.versions import first
from counterfoil.core import ids, wire
from counterfoil.core.clock import micros
from counterfoil.expr import BudgetExceeded, EvaluationError, Expression, LookupNeeded
from counterfoil.model.definition import (
    EmitDefinition,
    Formula,
    InboundMapping,
    Items,
    OutboundMapping,
    Record,
    Repeated,
    Template,
)
from counterfoil.rules.templates import UnusableValue, fill, truth
from counterfoil.rules.templates import key as key_of
from counterfoil.rules.values import plain

Answers = Mapping[tuple[str, tuple[Any, ...]], Any]


FAILURES = (EvaluationError, BudgetExceeded, UnusableValue, ValueError, TypeError, AttributeError)


class LookupsNeeded(msgspec.Struct, frozen=True):
    """Look-ups to answer before the mapping can be applied."""

    looks: tuple[tuple[str, tuple[Any, ...]], ...]


class UnresolvedLink(msgspec.Struct, frozen=True, kw_only=True):
    """A Link that does not exist (yet). For an inbound mapping `id` is external, for an outbound canonical."""

    object: str
    id: str
    system: str


class MappingFailed(msgspec.Struct, frozen=True):
    """The mapping cannot say what this means; a person reads why."""

    message: str


class MappedEvent(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    type: str
    key: str
    version: int
    occurred_at: datetime
    effective_at: datetime
    legal_entity: str
    data: dict[str, Any]
    links: tuple[tuple[str, str], ...]
    """object, external id: for the data's `<object>_id`."""


class Mapped(msgspec.Struct, frozen=True):
    events: tuple[MappedEvent, ...]


class RenderedRequest(msgspec.Struct, frozen=True):
    """The vendor-shaped input as canonical JSON: what the intent stores."""

    body: bytes


class MappedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A system's answer in canonical words, the Links that it establishes, and what does not agree."""

    result: Any
    links: tuple[tuple[str, str, str], ...]
    """object, canonical id, external id."""
    differs: tuple[str, ...]


class _LookupRecorder:
    """Answers formulas from what is known and notes what is not."""

    def __init__(self, system: str, answers: Answers) -> None:
        self.system = system
        self.answers = answers
        self.missing: dict[tuple[str, tuple[Any, ...]], None] = {}
        self.unresolved: UnresolvedLink | None = None

    def lookup(self, name: str, args: tuple[Any, ...]) -> Any:
        if name in ("canon", "xref") and len(args) == 2:
            args = (*args, self.system)
        question = (name, tuple(args))
        if question not in self.answers:
            self.missing[question] = None
            raise LookupNeeded(name, tuple(args))
        answer = self.answers[question]
        if answer is None and name in ("canon", "xref"):
            self.unresolved = self.unresolved or UnresolvedLink(
                object=str(args[0]), id=str(args[1]), system=args[2]
            )
            raise LookupNeeded(name, tuple(args))
        return answer

    def value(self, expression: Expression, names: Mapping[str, Any]) -> Any:
        """Its value, or None when it lacks an answer (noted)."""
        try:
            return expression(names, self.lookup)
        except LookupNeeded:
            return None

    def part(self, template: Template, names: Mapping[str, Any]) -> Any:
        """Its value, part by part, so that one missing answer does not hide the next."""
        if type(template) is Formula:
            return self.value(template.expression, names)
        match template:
            case Record(fields):
                return self._record(fields, names)
            case Items(items):
                return [self.part(inner, names) for inner in items]
            case Repeated(each, name, data, when):
                return self._repeated(each, name, data, when, names)
        return fill(template, names)

    def _record(self, fields: Mapping[str, Template], names: Mapping[str, Any]) -> dict[str, Any]:
        """Field by field, without a call for each that is a formula: that is most of a mapping."""
        made: dict[str, Any] = {}
        lookup = self.lookup
        for name, inner in fields.items():
            if type(inner) is Formula:
                try:
                    made[name] = inner.expression(names, lookup)
                except LookupNeeded:
                    made[name] = None
            else:
                made[name] = self.part(inner, names)
        return made

    def _repeated(
        self, each: Template, name: str, data: Template, when: Expression | None, names: Mapping[str, Any]
    ) -> Any:
        elements = self.part(each, names)
        if elements is None and self.result() is not None:
            return None
        inner = [{**names, name: element} for element in elements]
        return [self.part(data, n) for n in inner if when is None or self.value(when, n) is True]

    def result(self) -> LookupsNeeded | UnresolvedLink | None:
        if self.missing:
            return LookupsNeeded(tuple(self.missing))
        return self.unresolved


def needs_of_fetch(mapping: InboundMapping, body: Any, received: datetime) -> dict[str, Any] | None:
    """The input of the read that this mapping fetches with, or None when the delivery itself is enough."""
    if mapping.fetch_operation is None or mapping.fetch_input is None:
        return None
    value = fill(mapping.fetch_input, {"body": body, "received": received}, None)
    return dict(value)


def takes(mapping: InboundMapping, body: Any, received: datetime) -> bool:
    """Does this mapping's `when` take the delivery? A formula that fails does not."""
    try:
        return truth(mapping.when, {"body": body, "received": received, "fetched": None}, None)
    except (EvaluationError, BudgetExceeded):
        return False


def apply_inbound(
    mapping: InboundMapping, body: Any, fetched: Any, received: datetime, answers: Answers
) -> Mapped | LookupsNeeded | UnresolvedLink | MappingFailed:
    """The events that a delivery means."""
    asking = _LookupRecorder(mapping.system, answers)
    names: dict[str, Any] = {"body": body, "fetched": fetched, "received": received}
    try:
        for name, expression in mapping.let:
            names[name] = expression(names, asking.lookup)
        events = [e for emit in mapping.emits if (e := _emit(mapping, emit, names, asking)) is not None]
    except LookupNeeded:
        return asking.result() or MappingFailed("a look-up found nothing")
    except FAILURES as error:
        return MappingFailed(f"mapping {mapping.name}: {error}")
    return asking.result() or Mapped(tuple(events))


def fields_of(
    mapping: InboundMapping, fields: Record, body: Any, fetched: Any, received: datetime, answers: Answers
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Some fields alone of the data of an event that a delivery means, and the names that they were read by. None where
    `apply_inbound` would have no event."""
    asking = _LookupRecorder(mapping.system, answers)
    names: dict[str, Any] = {"body": body, "fetched": fetched, "received": received}
    try:
        for name, expression in mapping.let:
            names[name] = expression(names, asking.lookup)
        data = asking.part(fields, names)
    except (LookupNeeded, *FAILURES):
        return None
    return None if asking.result() is not None else (names, data)


def _emit(
    mapping: InboundMapping, emit: EmitDefinition, names: Mapping[str, Any], asking: _LookupRecorder
) -> MappedEvent | None:
    if not truth(emit.when, names, asking.lookup):
        return None
    type_ = str(fill(emit.type, names, asking.lookup))
    key = key_of(emit.key, names, asking.lookup)
    received = names["received"]
    version = _version(emit.version, names, asking)
    if emit.identity is not None:
        identity = key_of(emit.identity, names, asking.lookup)
    else:
        identity = str(version) if version is not None else wire.digest(wire.write_json(names["body"]))
    data = asking.part(emit.data, names)
    ext_ids = [(o, asking.value(e, names)) for o, e in emit.links.items()]
    links = tuple((o, str(ext_id)) for o, ext_id in ext_ids if ext_id is not None)
    if asking.result() is not None:
        return None
    if mapping.assertion is not None and not truth(mapping.assertion, {**names, "data": data}, asking.lookup):
        raise ValueError(f"its assertion does not hold: {mapping.assertion.text}")
    occurred = _moment(emit.occurred, names, asking) or (received if version is None else None)
    when = occurred or received
    return MappedEvent(
        id=ids.event_id(mapping.system, first(type_), key, identity, mapping.tells_as or mapping.name),
        type=type_,
        key=key,
        version=version if version is not None else micros(received),
        occurred_at=when,
        effective_at=_moment(emit.effective, names, asking) or when,
        legal_entity=_text(emit.legal_entity, names, asking),
        data={k: v for k, v in data.items() if v is not None},
        links=links,
    )


def _text(expression: Expression | None, names: Mapping[str, Any], asking: _LookupRecorder) -> str:
    return "" if expression is None else str(expression(names, asking.lookup))


def _version(expression: Expression | None, names: Mapping[str, Any], asking: _LookupRecorder) -> int | None:
    """An order key: a whole number as it is, a moment in microseconds. Seconds of a vendor stay seconds:
    all facts of one object come through mappings that use the same measure."""
    if expression is None:
        return None
    value = expression(names, asking.lookup)
    if isinstance(value, bool) or value is None:
        raise ValueError("the version is neither a number nor a moment")
    if isinstance(value, int):
        return value
    if isinstance(value, datetime):
        return micros(value)
    raise ValueError(f"the version {value!r} is neither a number nor a moment")


def _moment(
    expression: Expression | None, names: Mapping[str, Any], asking: _LookupRecorder
) -> datetime | None:
    if expression is None:
        return None
    value = expression(names, asking.lookup)
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime.combine(value, time(), tzinfo=UTC)
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return datetime.fromtimestamp(value, tz=UTC)
        except (OverflowError, OSError):
            raise ValueError(f"{value} seconds since 1970 is no moment") from None
    if value is None:
        return None
    raise ValueError(f"{value!r} is not a moment")


def render(
    mapping: OutboundMapping,
    value: Any,
    dates: Mapping[str, Any],
    run: Mapping[str, Any],
    key: str,
    answers: Answers,
) -> RenderedRequest | LookupsNeeded | UnresolvedLink | MappingFailed:
    """The request of an effect, from its canonical input."""
    asking = _LookupRecorder(mapping.system, answers)
    names: dict[str, Any] = {"input": value, "dates": dict(dates), "run": dict(run), "key": key}
    try:
        for name, expression in mapping.let:
            names[name] = expression(names, asking.lookup)
        body = asking.part(mapping.input, names)
        open_question = asking.result()
        if open_question is not None:
            return open_question
        if mapping.assertion is not None and not truth(mapping.assertion, names, asking.lookup):
            return MappingFailed(
                f"mapping {mapping.name}: its assertion does not hold: {mapping.assertion.text}"
            )
        return RenderedRequest(wire.write_json(plain({k: v for k, v in body.items() if v is not None})))
    except LookupNeeded:
        return asking.result() or MappingFailed("a look-up found nothing")
    except FAILURES as error:
        return MappingFailed(f"mapping {mapping.name}: {error}")


def take_result(
    mapping: OutboundMapping | None, value: Any, result: Any, answers: Answers
) -> MappedAnswer | LookupsNeeded | MappingFailed:
    """What a confirmed call means: canonical result, Links, and fields that differ from what was asked."""
    if mapping is None:
        return MappedAnswer(result=result, links=(), differs=())
    asking = _LookupRecorder(mapping.system, answers)
    names = {"input": value, "result": result}
    try:
        canonical = result if mapping.result is None else fill(mapping.result, names, asking.lookup)
        links, unlinked = [], []
        for object_, expression in mapping.links.items():
            ext_id = expression(names, asking.lookup)
            own = value.get(f"{object_}_id") if isinstance(value, dict) else None
            if own is not None and ext_id is not None:
                links.append((object_, str(own), str(ext_id)))
            elif own is not None:
                unlinked.append(f"{object_} {own}: the answer names no id")
        differs = (
            *unlinked,
            *(
                f"{field}: asked {_show(value.get(field))}, got {_show(canonical.get(field))}"
                for field in mapping.compare
                if isinstance(value, dict) and field in value and value[field] != canonical.get(field)
            ),
        )
    except LookupNeeded as need:
        return LookupsNeeded(((need.name, tuple(need.args)),))
    except FAILURES as error:
        return MappingFailed(f"mapping {mapping.name}, returns: {error}")
    return MappedAnswer(result=canonical, links=tuple(links), differs=differs)


def _show(value: Any) -> str:
    return "nothing" if value is None else str(value)
