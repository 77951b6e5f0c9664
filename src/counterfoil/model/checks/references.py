"""Names: references between documents, and the form of names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from counterfoil.core.finding import Finding, did_you_mean
from counterfoil.model import kinds
from counterfoil.model.checks.entity_names import entity_references
from counterfoil.model.checks.registry import rule
from counterfoil.model.compile.mapping import EVENT_NAME, emits_with_places, emitted_types
from counterfoil.model.compile.policy import POSTING_RULES
from counterfoil.model.document import Document
from counterfoil.model.fields import field_names
from counterfoil.model.model import Model
from counterfoil.model.source import Path
from counterfoil.model.walk import failure_steps, steps

_OPERATION_NAME = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*(\.v([2-9]|[1-9][0-9]+))?")
_LOOKUP = re.compile(r"\b(table|xref|canon|head)\(\s*(?:'([^'\\]*)'|\"([^\"\\]*)\")")
_PAST = re.compile(
    r".*(ed|sent|paid|made|won|lost|due|begun|met|done|put|set|held|given|taken|left|late|built|sold|bought|found|split|known|written|drawn|gone)"
)
_FACT_SOURCES = {"head": "object", "xref": "object", "limit": "policy", "read": "operation"}
Reference = tuple[str, str, Path]


@rule("unknown-reference")
def unknown_reference(model: Model) -> Iterator[Finding]:
    """A document names only documents that exist: a system, object, event, operation, policy, table, role,
    reconciliation or legal entity. Facts, overlays and calendars may name any entity while the folder declares none."""
    for document in model.documents:
        for kind, name, path in references(document):
            if (
                kind == "legal_entity"
                and not model.legal_entities
                and document.kind not in ("role", "system")
            ):
                continue
            cast = path[0] == "cast" and model.versions.kind_of(name) is not None
            if not model.has(kind, name) and not cast:
                yield _missing(model, document, kind, name, path)


def _missing(model: Model, document: Document, kind: str, name: str, path: Path) -> Finding:
    names = [other.name for other in model.documents if other.kind == kind]
    fix = did_you_mean(name, names, f"add a document of kind {kind} named {name}")
    return document.finding("unknown-reference", f"there is no {kind} `{name}`", path, fix=fix)


def references(document: Document) -> Iterator[Reference]:
    """Yield (kind, name, place) of every reference in a document."""
    value = document.value
    yield from _owners(value)
    match value:
        case kinds.System():
            if value.legal_entity:
                yield "legal_entity", value.legal_entity, ("legal_entity",)
        case kinds.Object():
            yield "system", value.system, ("system",)
            yield from _fields(value.fields, ("fields",))
            if value.sync:
                yield "workflow", value.sync, ("sync",)
        case kinds.Event():
            if value.object:
                yield "object", value.object, ("object",)
            yield from _usage(value)
        case kinds.Operation():
            yield "system", value.system, ("system",)
            for position, choice in enumerate(value.undo or []):
                yield "operation", choice.call, ("undo", position, "call")
            if isinstance(value.exposes, dict):
                yield "workflow", value.exposes["starts"], ("exposes", "starts")
            yield from _exposed(value)
        case kinds.Mapping():
            yield from _mapping(value)
        case kinds.Workflow():
            yield from _workflow(value)
        case kinds.Policy():
            yield from _policy(value)
        case kinds.Reconciliation():
            yield from _reconciliation(value)
        case kinds.StateMap():
            yield "object", value.object, ("object",)
            yield "system", value.system, ("system",)
        case kinds.Role():
            yield from (("operation", name, ("calls", position)) for position, name in enumerate(value.calls))
            yield from (("system", name, ("speaks", position)) for position, name in enumerate(value.speaks))
            for position, name in enumerate(value.entities or []):
                yield "legal_entity", name, ("entities", position)
        case kinds.Calendar():
            yield from _calendar(value)
        case kinds.Alert():
            yield from (("role", name, ("to", position)) for position, name in enumerate(value.to))
        case kinds.NoticeChannel():
            yield from (("role", name, ("roles", position)) for position, name in enumerate(value.roles))
            for position, name in enumerate(value.entities or ()):
                yield "legal_entity", name, ("entities", position)
    yield from entity_references(value)
    yield from _lookups(document)


def _calendar(value: kinds.Calendar) -> Iterator[Reference]:
    for position, entry in enumerate(value.changes):
        for at, name in enumerate(entry.systems):
            yield "system", name, ("changes", position, "systems", at)
        if entry.legal_entity:
            yield "legal_entity", entry.legal_entity, ("changes", position, "legal_entity")


def _usage(event: kinds.Event) -> Iterator[Reference]:
    if event.usage is not None and event.usage.object:
        yield "object", event.usage.object, ("usage", "object")
    if event.usage is not None and event.usage.meters is not None:
        for kind in ("table", "object"):
            name = getattr(event.usage.meters, kind)
            if name:
                yield kind, name, ("usage", "meters", kind)


def _owners(value: kinds.Kind) -> Iterator[Reference]:
    if isinstance(value.owner, dict):
        yield from (("role", name, ("owner", name)) for name in value.owner)
    elif value.owner:
        yield "role", value.owner, ("owner",)


def _exposed(value: kinds.Operation) -> Iterator[Reference]:
    if value.object:
        yield "object", value.object, ("object",)
    if value.rate:
        yield "policy", value.rate, ("rate",)
    yield from _fields(value.input, ("input",))


def _fields(fields: Any, path: Path) -> Iterator[Reference]:
    for name, spec in fields.items():
        if isinstance(spec, kinds.FieldSpec):
            if spec.system:
                yield "system", spec.system, (*path, name, "system")
            yield from _fields(spec.fields or {}, (*path, name, "fields"))


def _mapping(value: kinds.Mapping) -> Iterator[Reference]:
    if value.from_:
        yield "system", value.from_.system, ("from", "system")
    if value.to:
        yield "operation", value.to.operation, ("to", "operation")
        if value.to.system:
            yield "system", value.to.system, ("to", "system")
        if value.to.previews:
            yield "workflow", value.to.previews, ("to", "previews")
    if value.cast:
        kind = _cast_kind(value.cast)
        yield kind, value.cast.from_, ("cast", "from")
        yield kind, value.cast.to, ("cast", "to")
    if value.fetch:
        yield "operation", value.fetch.call, ("fetch", "call")
    for emit, path in emits_with_places(value):
        yield from (("event", name, (*path, "type")) for name in emitted_types(emit.type))
        yield from (("object", name, (*path, "links", name)) for name in emit.links)
    yield from (("object", name, ("returns", "links", name)) for name in value.returns.links)


def _cast_kind(cast: kinds.Cast) -> str:
    """Return `event` or `operation` for both sides of a cast, by their names.

    Only an operation has a name without a version; only an event has a verb in the past before the version.
    """
    names = (cast.from_, cast.to)
    facts = all(EVENT_NAME.fullmatch(name) and _PAST.fullmatch(name.rsplit(".", 2)[-2]) for name in names)
    return "event" if facts else "operation"


def _workflow(value: kinds.Workflow) -> Iterator[Reference]:
    start = value.start
    yield "policy", value.failure, ("failure",)
    if start.event:
        yield "event", start.event, ("start", "event")
    if start.due:
        yield "object", start.due.object, ("start", "due", "object")
    if start.operation:
        yield "operation", start.operation, ("start", "operation")
    if isinstance(start.generation, kinds.GenerationEvent):
        yield "event", start.generation.event, ("start", "generation", "event")
    for name, fact in value.facts.items():
        for source, kind in _FACT_SOURCES.items():
            target = getattr(fact, source)
            if target:
                yield kind, target, ("facts", name, source)
    for position, signal in enumerate(value.signals):
        yield "event", signal.event, ("signals", position, "event")
    for place in steps(value):
        yield from _step(place.step, place.path)


def _step(step: Any, path: Path) -> Iterator[Reference]:
    match step:
        case kinds.Call():
            yield "operation", step.call, (*path, "call")
            for position, choice in enumerate(step.undo or []):
                yield "operation", choice.call, (*path, "undo", position, "call")
            posting = step.dates.posting if step.dates else None
            if isinstance(posting, str) and not posting.startswith("=") and posting not in POSTING_RULES:
                yield "policy", posting, (*path, "dates", "posting")
        case kinds.Check():
            if step.reserve:
                yield "policy", step.reserve.limit, (*path, "reserve", "limit")
        case kinds.Approve():
            yield "policy", step.approve, (*path, "approve")
            if step.reserve:
                yield "policy", step.reserve, (*path, "reserve")
        case kinds.Wait():
            if step.wait.event:
                yield "event", step.wait.event, (*path, "wait", "event")
            if isinstance(step.wait.foils, list):
                for position, name in enumerate(step.wait.foils):
                    yield "reconciliation", name, (*path, "wait", "foils", position)
        case kinds.Emit():
            yield "event", step.emit, (*path, "emit")


def _policy(value: kinds.Policy) -> Iterator[Reference]:
    if value.failure:
        if value.failure.queue.wake:
            yield "event", value.failure.queue.wake, ("failure", "queue", "wake")
        for place in failure_steps(value.failure):
            yield from _step(place.step, place.path)
    if value.approval:
        path: Path = ("approval",)
        if value.approval.rates:
            yield "table", value.approval.rates, (*path, "rates")
        for position, role in enumerate(value.approval.requesters):
            yield "role", role, (*path, "requesters", position)
        for position, role in enumerate(value.approval.excludes):
            yield "role", role, (*path, "excludes", position)
        for position, tier in enumerate(value.approval.matrix):
            for at, role in enumerate(tier.roles):
                yield "role", role, (*path, "matrix", position, "roles", at)
    if value.posting_date:
        yield "object", value.posting_date.periods, ("posting_date", "periods")
    if value.degradation:
        yield "system", value.degradation.when_down, ("degradation", "when_down")
    if value.change:
        for position, name in enumerate(value.change.emergency):
            yield "role", name, ("change", "emergency", position)
        for position, change_rule in enumerate(value.change.approve):
            for at, role in enumerate(change_rule.roles):
                yield "role", role, ("change", "approve", position, "roles", at)


def _reconciliation(value: kinds.Reconciliation) -> Iterator[Reference]:
    yield "object", value.object, ("object",)
    yield "system", value.left, ("left",)
    yield "system", value.right, ("right",)
    for path, entry in value.entries:
        if entry.event:
            yield "event", entry.event, (*path, "event")
        if isinstance(entry, kinds.AssertRule) and entry.operation:
            yield "operation", entry.operation, (*path, "operation")
        if isinstance(entry, kinds.AssertRule):
            for n, cap in enumerate(entry.within):
                yield "reconciliation", cap.reconciliation, (*path, "within", n, "reconciliation")
    if value.unmatched is not None and value.unmatched.owner:
        yield "role", value.unmatched.owner, ("unmatched", "owner")
    if value.remember is not None:
        yield "table", value.remember.table, ("remember", "table")
    for name, leg in value.legs.items():
        if leg.absorbed_by is not None:
            yield "role", leg.absorbed_by, ("legs", name, "absorbed_by")
    for key, policy in (("waive", value.waive), ("pair", value.pair)):
        if policy is not None:
            yield "policy", policy, (key,)
    for name, account in value.control_accounts.items():
        for place, balance in account.balances:
            yield "operation", balance.read, ("control_accounts", name, *place, "read")
        for rule_ in account.documents:
            yield "reconciliation", rule_, ("control_accounts", name, "documents", rule_)


def _lookups(document: Document) -> Iterator[Reference]:
    """Yield the tables and objects that formulas look up by name."""
    for text, path in document.calls:
        for match in _LOOKUP.finditer(text):
            yield ("table" if match[1] == "table" else "object"), match[2] or match[3] or "", path


@rule("wrong-policy")
def wrong_policy(model: Model) -> Iterator[Finding]:
    """A workflow names policies of the right sort: `failure` needs a failure policy, `approve` an approval policy,
    `reserve` and a `limit` fact a limit policy, `dates.posting` a posting-date policy."""
    for document, workflow in model.documents_of(kinds.Workflow):
        expected: list[tuple[str, str, Path]] = [(workflow.failure, "failure", ("failure",))]
        for name, fact in workflow.facts.items():
            if fact.limit:
                expected.append((fact.limit, "limit", ("facts", name, "limit")))
        for place in steps(workflow):
            step = place.step
            if isinstance(step, kinds.Approve):
                expected.append((step.approve, "approval", (*place.path, "approve")))
                if step.reserve:
                    expected.append((step.reserve, "limit", (*place.path, "reserve")))
            elif isinstance(step, kinds.Check) and step.reserve:
                expected.append((step.reserve.limit, "limit", (*place.path, "reserve", "limit")))
            elif isinstance(step, kinds.Call) and step.dates and isinstance(step.dates.posting, str):
                expected.append((step.dates.posting, "posting_date", (*place.path, "dates", "posting")))
        for name, part, path in expected:
            policy = model.policies.get(name)
            if policy is not None and getattr(policy, part) is None:
                yield document.finding("wrong-policy", f"`{name}` is not a policy of sort {part}", path)


@rule("event-name")
def event_name(model: Model) -> Iterator[Finding]:
    """An event is named `noun.past_verb.vN`, such as `invoice.finalized.v1`: a fact, with the version of its contract."""
    for document, event in model.documents_of(kinds.Event):
        if not EVENT_NAME.fullmatch(event.name) or not _PAST.fullmatch(event.name.rsplit(".", 2)[-2]):
            message = f"`{event.name}` is not a fact with a version"
            fix = "name it noun.past_verb.vN, such as invoice.finalized.v1"
            yield document.finding("event-name", message, ("name",), fix=fix)


@rule("operation-name")
def operation_name(model: Model) -> Iterator[Finding]:
    """An operation is named `system.noun.verb`; its first word is its system's name or that system's role. A newer version
    of its contract is `system.noun.verb.v2`; the first has no number."""
    for document, operation in model.documents_of(kinds.Operation):
        system = model.systems.get(operation.system)
        allowed = {operation.system, system.role} if system else {operation.name.split(".")[0]}
        if not _OPERATION_NAME.fullmatch(operation.name):
            fix = "name it system.noun.verb, such as erp.invoice.post"
            message = f"`{operation.name}` is not system.noun.verb"
            yield document.finding("operation-name", message, ("name",), fix=fix)
        elif operation.name.split(".")[0] not in allowed:
            fix = f"begin its name with {' or '.join(sorted(allowed))}"
            message = f"`{operation.name}` is not named after its system `{operation.system}`"
            yield document.finding("operation-name", message, ("name",), fix=fix)


@rule("event-fields")
def event_fields(model: Model) -> Iterator[Finding]:
    """An event of an object has the field with the object's id, and `sets` names fields that both have."""
    for document, event in model.documents_of(kinds.Event):
        if not event.object:
            continue
        fields = field_names(event.data)
        key = event.key or f"{event.object}_id"
        if key not in fields:
            path: Path = ("key",) if event.key else ("object",)
            fix = "add it to `data`, or name the field in `key`"
            message = f"`data` has no field `{key}` with the id of the {event.object}"
            yield document.finding("event-fields", message, path, fix=fix)
        target = model.objects.get(event.object)
        of_object = field_names(target.fields) if target else None
        for position, name in enumerate(event.sets or []):
            if name not in fields or (of_object is not None and name not in of_object):
                where = "`data`" if name not in fields else f"the object `{event.object}`"
                yield document.finding("event-fields", f"{where} has no field `{name}`", ("sets", position))
