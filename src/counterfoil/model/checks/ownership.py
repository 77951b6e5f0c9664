"""Ownership: systems of record, fields that a mapping may assert, and owners of exceptions."""

from __future__ import annotations

from collections.abc import Iterator

from counterfoil.core.finding import Finding
from counterfoil.model import kinds
from counterfoil.model.checks.registry import rule
from counterfoil.model.compile.mapping import emits_with_places, emitted_types
from counterfoil.model.model import Model
from counterfoil.model.source import Path


@rule("system-of-record")
def system_of_record(model: Model) -> Iterator[Finding]:
    """Every object and field has one system of record. A field inside another field cannot name its own system, because the
    system of record applies to fields of the object. A field is declared once, either with `?` or without."""
    for document, definition in model.documents_of(kinds.Object):
        names: set[str] = set()
        for written, spec in definition.fields.items():
            name = written.removesuffix("?")
            if name in names:
                message = f"the field `{name}` is declared twice"
                yield document.finding("system-of-record", message, ("fields", written), at_key=True)
            names.add(name)
            if isinstance(spec, kinds.FieldSpec):
                for path in _inner_systems(spec, ("fields", written)):
                    fix = f"name the system of record at `{name}`"
                    message = "a field inside another field cannot have its own system"
                    yield document.finding("system-of-record", message, path, fix=fix)


def _inner_systems(spec: kinds.FieldSpec, path: Path) -> Iterator[Path]:
    inner = [((*path, "fields", name), part) for name, part in (spec.fields or {}).items()]
    if isinstance(spec.items, kinds.FieldSpec):
        inner.append(((*path, "items"), spec.items))
    for place, part in inner:
        if isinstance(part, kinds.FieldSpec):
            if part.system:
                yield (*place, "system")
            yield from _inner_systems(part, place)


@rule("not-owner")
def not_owner(model: Model) -> Iterator[Finding]:
    """A mapping asserts only fields that its system owns: every field of the object that an emitted fact sets has the system
    of the mapping as its system of record. Narrow the event's `sets`, or change the field's `system`."""
    for document, mapping in model.documents_of(kinds.Mapping):
        if mapping.from_ is None:
            continue
        for emit, path in emits_with_places(mapping):
            for name in emitted_types(emit.type):
                event = model.events.get(name)
                if event is None or event.object not in model.objects:
                    continue
                assert event.object is not None
                for field in model.asserted_by_event(event):
                    owner = model.system_of_record(event.object, field)
                    if field in emit.data and owner != mapping.from_.system:
                        message = (
                            f"`{event.object}.{field}` belongs to {owner}, not to {mapping.from_.system}"
                        )
                        fix = f"remove it from `sets` of {name}, or change the system of record of the field"
                        at = (*path, "data", field)
                        yield document.finding("not-owner", message, at, at_key=True, fix=fix)


_ANSWERING = (kinds.Workflow, kinds.System, kinds.Reconciliation, kinds.Table, kinds.Control)


@rule("no-owner")
def no_owner(model: Model) -> Iterator[Finding]:
    """Every exception has an owner: a workflow, a system, an inbound mapping, a table, a control and a reconciliation have an
    owner of their own, or that of their system or object."""
    for document in model.documents:
        value = document.value
        inbound = isinstance(value, kinds.Mapping) and value.from_ is not None
        answers = inbound or isinstance(value, _ANSWERING)
        # A broken system or object may have an owner.
        complete = not model.has_broken("system", "object")
        if answers and complete and not model.owners_of(value):
            message = f"the {document.kind} `{document.name}` has no owner for its exceptions"
            yield document.finding("no-owner", message, ("name",), fix="add `owner:` with a role")
