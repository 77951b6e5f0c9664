"""Mappings: from a source payload to canonical events, and from canonical input to a system's own request.

Pure. LookupsNeeded names all missing look-ups at once; the caller answers them and applies the mapping again.
An unresolved Link is a third result: neither an event nor a failure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time
from typing import Any

import msgspec

from counterfoil.contracts.versions import first
from counterfoil.core import ids, wire
from counterfoil.core.clock import micros
from counterfoil.expr import ROW_LOOKUPS, EvaluationError, Expression, LookupNeeded, decides, missing_row
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
from counterfoil.rules.json_values import plain
from counterfoil.rules.lookup import Answers, LookupsNeeded, Question, qualified
from counterfoil.rules.templates import (
    FAULTS,
    LASTING_LOOKUPS,
    depends_on,
    fill,
    known_part,
    may_be_null_by,
    names_place,
    says_null,
    truth,
)
from counterfoil.rules.templates import key as key_of

FAILURES = (*FAULTS, ValueError, TypeError, AttributeError)


class UnresolvedLink(msgspec.Struct, frozen=True, kw_only=True):
    """A Link that does not exist yet. `id` is external for an inbound mapping and canonical for an outbound one."""

    object: str
    id: str
    system: str

    @property
    def message(self) -> str:
        """Message for an outbound mapping."""
        return f"{self.object} {self.id} has no id in {self.system}"


class MappingFailed(msgspec.Struct, frozen=True):
    """The mapping cannot be applied to this document; `message` is for a person."""

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


class MappedEvents(msgspec.Struct, frozen=True):
    events: tuple[MappedEvent, ...]


class MappedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A system's answer in canonical form, the Links that it establishes, and the fields that differ."""

    result: Any
    links: tuple[tuple[str, str, str], ...]
    """object, canonical id, external id."""
    differs: tuple[str, ...]


class _LookupRecorder:
    """Answers formulas and records the look-ups that have no answer yet."""

    def __init__(self, system: str, answers: Answers, required: bool = False) -> None:
        """With `required`, a field that stays empty because a table has no row is an error."""
        self.system = system
        self.required = required
        self.answers = answers
        self.missing: dict[Question, None] = {}
        self.unresolved: UnresolvedLink | None = None
        self.rowless: Question | None = None
        """The last look-up of the present formula that found no row."""
        self._rowless_lets: dict[str, Question] = {}

    def lookup(self, name: str, args: tuple[Any, ...]) -> Any:
        question = qualified(name, args, self.system)
        try:
            answer = self.answers[question]
        except KeyError:
            self.missing[question] = None
            raise LookupNeeded(*question) from None
        if answer is None and name in ("canon", "xref"):
            object_, id_, system = question[1]
            if self.unresolved is None:
                self.unresolved = UnresolvedLink(object=str(object_), id=str(id_), system=system)
            raise LookupNeeded(*question)
        if answer is None and name in ROW_LOOKUPS:
            self.rowless = question
        return answer

    def bind(self, let: Sequence[tuple[str, Expression]], names: dict[str, Any]) -> None:
        for name, expression in let:
            self.rowless = None
            names[name] = value = expression(names, self.lookup)
            if value is None and (self.rowless is not None or self._rowless_lets):
                question = self._rowless(expression, names)
                if question is not None:
                    self._rowless_lets[name] = question

    def _rowless(self, expression: Expression, names: Mapping[str, Any]) -> Question | None:
        """Return the look-up that left a formula without a value. None if the formula itself says `null`."""
        missed = self.rowless
        if says_null(expression, names, self.lookup):
            return None
        if missed is not None and decides(expression.ast, *missed):
            return missed
        return next((q for name, q in self._rowless_lets.items() if may_be_null_by(expression, name)), None)

    def value(self, expression: Expression, names: Mapping[str, Any]) -> Any:
        """Return its value, or None when an answer is missing."""
        try:
            return expression(names, self.lookup)
        except LookupNeeded:
            return None

    def part(self, template: Template, names: Mapping[str, Any]) -> Any:
        """Return its value, part by part, so that one missing answer does not hide the next."""
        if type(template) is Formula:
            return self.value(template.expression, names)
        match template:
            case Record(fields):
                return self._record(fields, names)
            case Items(items):
                return [self.part(inner, names) for inner in items]
            case Repeated(each, name, data, when):
                elements = self.part(each, names)
                if elements is None and self.incomplete:
                    return None
                inner = [{**names, name: element} for element in elements]
                return [self.part(data, n) for n in inner if when is None or self.value(when, n) is True]
        return fill(template, names)

    def _record(self, fields: Mapping[str, Template], names: Mapping[str, Any]) -> dict[str, Any]:
        """Fill a record. Formulas are evaluated without a call of `part`: most fields are formulas."""
        values: dict[str, Any] = {}
        lookup = self.lookup
        for name, inner in fields.items():
            if type(inner) is Formula:
                self.rowless = None
                try:
                    values[name] = value = inner.expression(names, lookup)
                except LookupNeeded:
                    values[name] = None
                    continue
                if value is None and self.required and (self.rowless is not None or self._rowless_lets):
                    self._require(name, inner.expression, names)
            else:
                values[name] = self.part(inner, names)
        return values

    def _require(self, field: str, expression: Expression, names: Mapping[str, Any]) -> None:
        question = self._rowless(expression, names)
        if question is not None:
            raise ValueError(f"{field}: {missing_row(*question)}")

    def fault_text(self, error: Exception) -> str:
        """Return the text of an error, after the row that a table lacks where the formula reads a let without a value."""
        if isinstance(error, EvaluationError):
            for name, question in self._rowless_lets.items():
                if names_place(error, name):
                    return f"{missing_row(*question)}: {error}"
        return str(error)

    @property
    def incomplete(self) -> bool:
        return bool(self.missing) or self.unresolved is not None

    def check(self) -> UnresolvedLink | None:
        """Return the Link that is not resolved, if any. Raises LookupsNeeded when answers are missing."""
        if self.missing:
            raise LookupsNeeded(tuple(self.missing))
        return self.unresolved


def needs_of_fetch(mapping: InboundMapping, body: Any, received: datetime) -> dict[str, Any] | None:
    """Return the input of the read that this mapping fetches with. None: the delivery itself is enough."""
    if mapping.fetch_operation is None or mapping.fetch_input is None:
        return None
    return dict(fill(mapping.fetch_input, {"body": body, "received": received}, None))


def takes(mapping: InboundMapping, body: Any, received: datetime) -> bool:
    """Return True if the mapping's `when` takes the delivery. A formula that fails does not take it."""
    try:
        return truth(mapping.when, {"body": body, "received": received, "fetched": None}, None)
    except FAULTS:
        return False


def apply_inbound(
    mapping: InboundMapping, body: Any, fetched: Any, received: datetime, answers: Answers
) -> MappedEvents | UnresolvedLink | MappingFailed:
    """Return the events of a delivery. Raises LookupsNeeded."""
    recorder = _LookupRecorder(mapping.system, answers, required=True)
    names: dict[str, Any] = {"body": body, "fetched": fetched, "received": received}
    try:
        recorder.bind(mapping.let, names)
        events = [e for emit in mapping.emits if (e := _emit(mapping, emit, names, recorder)) is not None]
    except LookupNeeded:
        return recorder.check() or MappingFailed("a look-up found nothing")
    except FAILURES as error:
        return MappingFailed(f"mapping {mapping.name}: {recorder.fault_text(error)}")
    return recorder.check() or MappedEvents(tuple(events))


def fields_of(
    mapping: InboundMapping, fields: Record, body: Any, fetched: Any, received: datetime, answers: Answers
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return selected fields of an event's data, and the names that they were read by.

    None where `apply_inbound` would give no event.
    """
    recorder = _LookupRecorder(mapping.system, answers)
    names: dict[str, Any] = {"body": body, "fetched": fetched, "received": received}
    try:
        recorder.bind(mapping.let, names)
        data = recorder.part(fields, names)
    except (LookupNeeded, *FAILURES):
        return None
    return None if recorder.incomplete else (names, data)


def _emit(
    mapping: InboundMapping, emit: EmitDefinition, names: Mapping[str, Any], recorder: _LookupRecorder
) -> MappedEvent | None:
    lookup = recorder.lookup
    if not truth(emit.when, names, lookup):
        return None
    type_ = str(fill(emit.type, names, lookup))
    key = key_of(emit.key, names, lookup)
    received = names["received"]
    version = None if emit.version is None else _version(emit.version(names, lookup))
    if emit.identity is not None:
        identity = key_of(emit.identity, names, lookup)
    else:
        identity = str(version) if version is not None else wire.digest(wire.write_json(names["body"]))
    data = recorder.part(emit.data, names)
    ext_ids = [(o, recorder.value(e, names)) for o, e in emit.links.items()]
    links = tuple((o, str(ext_id)) for o, ext_id in ext_ids if ext_id is not None)
    if recorder.incomplete:
        return None
    if mapping.assertion is not None and not truth(mapping.assertion, {**names, "data": data}, lookup):
        raise ValueError(f"its assertion does not hold: {mapping.assertion.text}")
    occurred = None if emit.occurred is None else _moment(emit.occurred(names, lookup))
    effective = None if emit.effective is None else _moment(emit.effective(names, lookup))
    entity = None if emit.legal_entity is None else emit.legal_entity(names, lookup)
    when = occurred or received
    return MappedEvent(
        id=ids.event_id(mapping.system, first(type_), key, identity, mapping.source_name or mapping.name),
        type=type_,
        key=key,
        version=version if version is not None else micros(received),
        occurred_at=when,
        effective_at=effective or when,
        legal_entity="" if entity is None else str(entity),
        data={k: v for k, v in data.items() if v is not None},
        links=links,
    )


def _version(value: Any) -> int:
    """Return the order key: a whole number as it is, a timestamp in microseconds.

    A vendor's seconds stay seconds: all mappings of one object use the same unit.
    """
    if isinstance(value, bool) or value is None:
        raise ValueError("the version is neither a number nor a moment")
    if isinstance(value, int):
        return value
    if isinstance(value, datetime):
        return micros(value)
    raise ValueError(f"the version {value!r} is neither a number nor a moment")


def _moment(value: Any) -> datetime | None:
    if value is None or isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime.combine(value, time(), tzinfo=UTC)
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return datetime.fromtimestamp(value, tz=UTC)
        except (OverflowError, OSError):
            raise ValueError(f"{value} seconds since 1970 is no moment") from None
    raise ValueError(f"{value!r} is not a moment")


def render(
    mapping: OutboundMapping | None,
    value: Any,
    dates: Mapping[str, Any],
    run: Mapping[str, Any],
    key: str,
    answers: Answers,
) -> bytes | UnresolvedLink | MappingFailed:
    """Return the request of an effect, from its canonical input, as the JSON that its intent stores.

    `run` are the names of `run_names`. Raises LookupsNeeded.
    """
    if mapping is None:
        return wire.write_json(plain(dict(value)))
    recorder = _LookupRecorder(mapping.system, answers, required=True)
    names: dict[str, Any] = {"input": value, "dates": dict(dates), "run": dict(run), "key": key}
    try:
        recorder.bind(mapping.let, names)
        body = recorder.part(mapping.input, names)
        unresolved = recorder.check()
        if unresolved is not None:
            return unresolved
        if mapping.assertion is not None and not truth(mapping.assertion, names, recorder.lookup):
            raise ValueError(f"its assertion does not hold: {mapping.assertion.text}")
        return wire.write_json(plain({k: v for k, v in body.items() if v is not None}))
    except LookupNeeded:
        return recorder.check() or MappingFailed("a look-up found nothing")
    except FAILURES as error:
        return MappingFailed(f"mapping {mapping.name}: {recorder.fault_text(error)}")


_MAPPING_PARTS: dict[tuple[int, frozenset[str], bool], tuple[OutboundMapping, OutboundMapping]] = {}
"""Known parts of mappings, each with the mapping that it is a part of."""
MAX_CACHED_PARTS = 1_024


def known_mapping(mapping: OutboundMapping, unknown: frozenset[str], links: bool) -> OutboundMapping:
    """Return the part of a mapping that can be rendered before some names have values.

    With `links`, every Link counts as known; otherwise what looks one up is left out.
    """
    key = (id(mapping), unknown, links)
    cached = _MAPPING_PARTS.get(key)
    if cached is None or cached[0] is not mapping:
        if len(_MAPPING_PARTS) > MAX_CACHED_PARTS:
            _MAPPING_PARTS.clear()
        cached = _MAPPING_PARTS[key] = (mapping, _known_mapping(mapping, set(unknown), links))
    return cached[1]


def _known_mapping(mapping: OutboundMapping, unknown: set[str], links: bool) -> OutboundMapping:
    lasting = LASTING_LOOKUPS | ({"xref", "canon"} if links else frozenset())
    lets = []
    for name, expression in mapping.let:
        if depends_on(expression, unknown, lasting):
            unknown.add(name)
        else:
            lets.append((name, expression))
    part = known_part(mapping.input, unknown, set(), lasting=lasting)
    test = mapping.assertion
    return replace(
        mapping,
        let=tuple(lets),
        input=part if isinstance(part, Record) else Record({}),
        assertion=None if test is None or depends_on(test, unknown, lasting) else test,
    )


def take_result(
    mapping: OutboundMapping | None, value: Any, result: Any, answers: Answers
) -> MappedAnswer | MappingFailed:
    """Return the canonical result of a confirmed call, its Links, and the fields that differ from the request.

    Raises LookupNeeded.
    """
    if mapping is None:
        return MappedAnswer(result=result, links=(), differs=())
    recorder = _LookupRecorder(mapping.system, answers)
    names = {"input": value, "result": result}
    try:
        canonical = result if mapping.result is None else fill(mapping.result, names, recorder.lookup)
        links, unlinked = [], []
        for object_, expression in mapping.links.items():
            ext_id = expression(names, recorder.lookup)
            own = value.get(f"{object_}_id") if isinstance(value, dict) else None
            if own is not None and ext_id is not None:
                links.append((object_, str(own), str(ext_id)))
            elif own is not None:
                unlinked.append(f"{object_} {own}: the answer names no id")
        differs = unlinked
        for field in mapping.compare if isinstance(value, dict) else ():
            if field in value and value[field] != canonical.get(field):
                differs.append(f"{field}: asked {_show(value[field])}, got {_show(canonical.get(field))}")
    except LookupNeeded:
        unresolved = recorder.check()
        if unresolved is None:
            raise
        what = f"{unresolved.object} {unresolved.id} has no Link to {unresolved.system}"
        return MappingFailed(f"mapping {mapping.name}, returns: {what}")
    except FAILURES as error:
        return MappingFailed(f"mapping {mapping.name}, returns: {error}")
    return MappedAnswer(result=canonical, links=tuple(links), differs=tuple(differs))


def _show(value: Any) -> str:
    return "nothing" if value is None else str(value)
