"""Events and operations between documents: producers, mappings and start events."""

from __future__ import annotations

from collections.abc import Iterator

from counterfoil.core.finding import Finding
from counterfoil.model import kinds
from counterfoil.model.checks.references import references
from counterfoil.model.checks.registry import rule
from counterfoil.model.compile.mapping import emits_with_places, emitted_types
from counterfoil.model.document import Document
from counterfoil.model.fields import each_field
from counterfoil.model.model import Model
from counterfoil.model.source import Path
from counterfoil.model.walk import steps


def consumed_events(model: Model) -> Iterator[tuple[str, Document, Path]]:
    """Yield (event, document, place) wherever an event is consumed."""
    for document in model.documents:
        if isinstance(document.value, kinds.Workflow | kinds.Reconciliation | kinds.Policy):
            for kind, name, path in references(document):
                if kind == "event" and path[-1] != "emit":
                    yield name, document, path


def emitted_by_workflows(model: Model) -> set[str]:
    every = [place.step for workflow in model.workflows.values() for place in steps(workflow)]
    return {step.emit for step in every if isinstance(step, kinds.Emit)}


@rule("event-not-produced")
def event_not_produced(model: Model) -> Iterator[Finding]:
    """Every consumed event is produced: a mapping or a workflow emits it, or its declaration says that it comes over
    `http` or from `counterfoil` itself."""
    emitted = emitted_by_workflows(model)
    broken = model.has_broken("mapping")
    for name, document, path in consumed_events(model):
        event = model.events.get(name)
        if event is None or event.produced in ("http", "counterfoil") or broken:
            continue
        if not model.producers(name) and name not in emitted:
            fix = "write a mapping or a step that emits it, or set `produced: http` in the event"
            message = f"nothing produces the event `{name}`"
            yield document.finding("event-not-produced", message, path, fix=fix)


@rule("usage-fields")
def usage_fields(model: Model) -> Iterator[Finding]:
    """A usage event names required text fields of its data as subscription and meter, a number as quantity, and a text as
    the corrected event. The meters stand in an `enum`, a table or an object."""
    for document, event in model.documents_of(kinds.Event):
        usage = event.usage
        if usage is None:
            continue
        meter = _is_text if usage.meters is not None else _meters
        meters = "a required string or id" if usage.meters is not None else "a text with an `enum` of meters"
        parts = (
            ("subscription", usage.subscription, _is_text, "a required string or id"),
            ("meter", usage.meter, meter, meters),
            ("quantity", usage.quantity, _is_number, "a required int or decimal"),
            ("corrects", usage.corrects, _is_text, "a required string or id"),
        )
        for part, name, fits, needed in parts:
            if name is not None and not fits(event.data.get(name)):
                message = f"`{name}` must be a data field, {needed}"
                fix = f"add `{name}` to the data, or name another field"
                yield document.finding("usage-fields", message, ("usage", part), fix=fix)
        if usage.meters is not None and (usage.meters.table is None) == (usage.meters.object is None):
            message = "`meters` names a table or an object"
            yield document.finding("usage-fields", message, ("usage", "meters"), fix="name one of the two")


@rule("usage-subscriptions")
def usage_subscriptions(model: Model) -> Iterator[Finding]:
    """A usage event whose subscriptions are objects of the model says so, and names fields of that object by which a
    subscription is entitled. Otherwise usage of unknown subscriptions is counted."""
    for document, event in model.documents_of(kinds.Event):
        usage = event.usage
        if usage is None:
            continue
        candidate = usage.subscription.removesuffix("_id")
        if usage.object is None:
            if usage.active or usage.starts or usage.ends:
                message = "`active`, `starts` and `ends` are fields of `object`, which is missing"
                yield document.finding("usage-subscriptions", message, ("usage",), fix="name the object")
            elif candidate in model.objects:
                message = f"usage of an unknown {candidate} would be counted"
                fix = f"add `object: {candidate}`"
                yield document.finding(
                    "usage-subscriptions", message, ("usage",), fix=fix, severity="warning"
                )
            continue
        if usage.object not in model.objects:
            continue
        fields = {name: spec for name, _, spec in each_field(model.objects[usage.object].fields)}
        parts = [*(("active", name) for name in usage.active), ("starts", usage.starts), ("ends", usage.ends)]
        for part, name in parts:
            if name is None:
                continue
            fits = _is_listed if part == "active" else _is_moment
            if not fits(fields.get(name)):
                needed = "a text" if part == "active" else "a date or timestamp"
                message = f"`{name}` must be a field of {usage.object}, {needed}"
                yield document.finding("usage-subscriptions", message, ("usage", part))


def _type(spec: object) -> object:
    return spec.type if isinstance(spec, kinds.FieldSpec) else spec


def _is_text(spec: object) -> bool:
    return _type(spec) in ("string", "id")


def _is_listed(spec: object) -> bool:
    return _is_text(spec) or _meters(spec)


def _is_number(spec: object) -> bool:
    return _type(spec) in ("int", "decimal")


def _is_moment(spec: object) -> bool:
    return _type(spec) in ("date", "timestamp")


def _meters(spec: object) -> bool:
    """Return True for a text field with an enumeration of its values."""
    return isinstance(spec, kinds.FieldSpec) and bool(spec.enum) and spec.type in ("object", "string", "id")


@rule("event-producer")
def event_producer(model: Model) -> Iterator[Finding]:
    """An event is produced as declared: a mapping emits only events with `produced: mapping`, a workflow step only events
    with `produced: workflow`, and both may emit events with `produced: http`."""
    for document in model.documents:
        value = document.value
        emitted: list[tuple[str, Path]] = []
        if isinstance(value, kinds.Mapping):
            for emit, path in emits_with_places(value):
                emitted += [(name, (*path, "type")) for name in emitted_types(emit.type)]
        elif isinstance(value, kinds.Workflow):
            places = [(place.step, place.path) for place in steps(value)]
            emitted = [(s.emit, (*path, "emit")) for s, path in places if isinstance(s, kinds.Emit)]
        for name, path in emitted:
            event = model.events.get(name)
            if event is not None and event.produced not in (document.kind, "http"):
                message = f"`{name}` is declared `produced: {event.produced}`, but a {document.kind} emits it"
                fix = f"set `produced: {document.kind}`"
                yield document.finding("event-producer", message, path, fix=fix)


@rule("mapping-emits-nothing")
def mapping_emits_nothing(model: Model) -> Iterator[Finding]:
    """The text of a mapping shows the events that it emits: `type` is the name of an event, or a formula that selects one
    of several quoted names."""
    for document, mapping in model.documents_of(kinds.Mapping):
        for emit, path in emits_with_places(mapping):
            if not emitted_types(emit.type):
                yield document.finding("mapping-emits-nothing", "`type` names no event", (*path, "type"))


@rule("operation-not-mapped")
def operation_not_mapped(model: Model) -> Iterator[Finding]:
    """Every operation that a workflow calls has a mapping to its system, unless another integration
    executes it (`executor: external`) or the connector takes the canonical input unchanged (`executor: identity`)."""
    if model.has_broken("mapping"):
        return
    for document, _ in model.documents_of(kinds.Workflow):
        for kind, name, path in references(document):
            operation = model.operations.get(name) if kind == "operation" else None
            if operation is None or path[0] == "start" or operation.executor != "connector":
                continue
            if operation.repeat != "read" and model.mapping_to(name) is None:
                message = f"no mapping for `{name}` of {operation.system}"
                fix = f"add a mapping `to: {{operation: {name}}}`, or `executor: identity` to the operation"
                yield document.finding("operation-not-mapped", message, path, fix=fix)


@rule("mapping-conflict")
def mapping_conflict(model: Model) -> Iterator[Finding]:
    """One mapping leads to an operation, and it leads to the operation's own system."""
    first: dict[str, str] = {}
    for document, mapping in model.documents_of(kinds.Mapping):
        if mapping.to is None:
            continue
        name = mapping.to.operation
        operation = model.operations.get(name)
        if operation is not None and mapping.to.system not in (None, operation.system):
            message = f"`{name}` belongs to {operation.system}, not to {mapping.to.system}"
            yield document.finding("mapping-conflict", message, ("to", "system"))
        elif first.setdefault(name, document.name) != document.name:
            message = f"`{first[name]}` already maps `{name}`"
            yield document.finding("mapping-conflict", message, ("to", "operation"))


@rule("repeat-protection")
def repeat_protection(model: Model) -> Iterator[Finding]:
    """An operation with `repeat: key` declares how long the vendor remembers the key (`retention`). That is longer than a
    sent request may still take effect (`horizon`)."""
    for document, operation in model.documents_of(kinds.Operation):
        if operation.repeat != "key":
            continue
        if operation.retention is None:
            fix = "add `retention:`, the time for which the vendor remembers an idempotency key"
            message = "`repeat: key` needs `retention`"
            yield document.finding("repeat-protection", message, ("repeat",), fix=fix)
        elif kinds.seconds(operation.retention) <= kinds.seconds(operation.horizon):
            message = "the vendor forgets the key before the horizon, so a repeat could be executed twice"
            fix = "use `repeat: find`, or a shorter horizon"
            yield document.finding("repeat-protection", message, ("retention",), fix=fix)
