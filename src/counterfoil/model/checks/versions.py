"""Versions that live at once: whom a cast is missing for, and what is on its way out."""

from __future__ import annotations

from collections.abc import Iterator

from counterfoil.core.finding import Finding
from counterfoil.model import kinds
from counterfoil.model.checks.contracts import consumed, emitted_by_workflows
from counterfoil.model.checks.references import references
from counterfoil.model.checks.registry import rule
from counterfoil.model.compile.mapping import emits_of
from counterfoil.model.document import Document
from counterfoil.model.emitted_types import emitted_types
from counterfoil.model.model import Model
from counterfoil.model.source import Path


@rule("cast-missing")
def cast_missing(model: Model) -> Iterator[Finding]:
    """Whoever takes one version of an event gets the others: casts lead to it from every version that is produced, or
    one says with `ignore` why that version is not offered. An operation that the gateway does not serve, while it serves
    another version, has casts that lead there."""
    emitted = emitted_by_workflows(model)
    taken: dict[tuple[str, str], set[str]] = {}
    places: list[tuple[str, str, str, Path]] = []
    for name, kind, owner, path in consumed(model):
        taken.setdefault((kind, owner), set()).add(name)
        places.append((name, kind, owner, path))
    told: set[tuple[str, str, str]] = set()
    for name, kind, owner, path in places:
        if name not in model.events:
            continue
        for other in model.versions.of(name, "event"):
            if other in taken[kind, owner] or not _produced(model, other, emitted):
                continue
            apart = (other, name) in model.versions.without_cast
            if apart or model.versions.path(other, name) is not None or (owner, name, other) in told:
                continue
            told.add((owner, name, other))
            document = model.document(kind, owner)
            assert document is not None
            yield document.finding(
                "cast-missing",
                f"`{other}` never comes here: no cast leads from it to `{name}`",
                path,
                fix=f"add a mapping with `cast: {{from: {other}, to: {name}}}`",
            )
    for document in model.documents:
        operation = document.value
        if not isinstance(operation, kinds.Operation) or operation.exposes != "none":
            continue
        served = [
            other
            for other in model.versions.of(operation.name, "operation")
            if model.operations[other].exposes != "none"
        ]
        if operation.deprecated is None or not served:
            continue
        if any((operation.name, other) in model.versions.without_cast for other in served):
            continue
        if all(model.versions.path(operation.name, other) is None for other in served):
            message = f"callers of `{operation.name}` are not served by `{served[-1]}`: no cast leads there"
            fix = f"add a mapping with `cast: {{from: {operation.name}, to: {served[-1]}}}`"
            yield document.finding("cast-missing", message, ("deprecated",), at_key=True, fix=fix)


def _produced(model: Model, event: str, emitted: set[str]) -> bool:
    said = model.events[event].produced in ("http", "counterfoil")
    return said or event in emitted or bool(model.producers(event))


@rule("cast-ambiguous")
def cast_ambiguous(model: Model) -> Iterator[Finding]:
    """There is one shortest way of casts from one version to another: with two of them, what a fact becomes would depend
    on which is gone. Add a cast that leads there at once."""
    for _, _, names in model.versions.families():
        for source in names:
            for target in names:
                ways = model.versions.shortest_paths(source, target)
                if len(ways) < 2:
                    continue
                through = " or ".join(sorted({way[0][1] for way in ways}))
                document = model.document("mapping", model.versions.casts[ways[0][0]].name)
                assert document is not None
                message = f"`{source}` becomes `{target}` in {len(ways)} ways: through {through}"
                fix = f"add a mapping with `cast: {{from: {source}, to: {target}}}`"
                yield document.finding("cast-ambiguous", message, ("cast",), at_key=True, fix=fix)


@rule("continues")
def continues(model: Model) -> Iterator[Finding]:
    """Two mappings of one system that emit two versions of one event tell the same facts: the one of the newer version
    says which it `continues`, so that a fact has one id in both. What it continues belongs to the same system."""
    for document in model.documents:
        mapping = document.value
        if not isinstance(mapping, kinds.Mapping) or mapping.from_ is None:
            continue
        if mapping.continues is not None:
            before = model.mappings.get(mapping.continues)
            wrong = before is not None and (
                before.from_ is None or before.from_.system != mapping.from_.system or before is mapping
            )
            if wrong:
                message = f"`{mapping.continues}` tells nothing of {mapping.from_.system}"
                yield document.finding("continues", message, ("continues",))
            continue
        mine = {name for emit in emits_of(mapping) for name in emitted_types(emit.type)}
        for name in sorted(mine):
            for other in model.versions.of(name, "event"):
                earlier = _of_system(model, other, mapping) if _older(model, other, name) else None
                if earlier is not None:
                    message = f"`{earlier}` emits `{other}`: a fact that both tell would count twice"
                    yield document.finding("continues", message, ("name",), fix=f"add `continues: {earlier}`")


def _older(model: Model, other: str, name: str) -> bool:
    known = model.versions.of(name, "event")
    return name in known and known.index(other) < known.index(name)


def _of_system(model: Model, event: str, beside: kinds.Mapping) -> str | None:
    assert beside.from_ is not None
    for mapping in model.producers(event):
        if (
            mapping is not beside
            and mapping.from_ is not None
            and mapping.from_.system == beside.from_.system
        ):
            return mapping.name
    return None


@rule("deprecated")
def deprecated(model: Model) -> Iterator[Finding]:
    """What is deprecated says since when, until when, and what takes its place: `sunset` comes after `since`, `use` names
    another event or operation that there is, and somebody owns what still uses it after the sunset."""
    for document in model.documents:
        value = document.value
        if not isinstance(value, kinds.Event | kinds.Operation) or value.deprecated is None:
            continue
        found = value.deprecated
        place: Path = ("deprecated",)
        if not isinstance(found, kinds.Deprecated):
            fix = "write `deprecated: {since: DAY, sunset: DAY, use: NAME, why: ...}`"
            yield document.finding("deprecated", "no day says until when", place, severity="warning", fix=fix)
            continue
        if found.sunset is None:
            message = "no `sunset` says until when it may be used"
            yield document.finding("deprecated", message, place, at_key=True, fix="add `sunset: DAY`")
        elif found.sunset <= found.since:
            message = f"the sunset {found.sunset} is not after {found.since}"
            yield document.finding("deprecated", message, (*place, "sunset"))
        if found.use is not None and (found.use == value.name or not model.has(document.kind, found.use)):
            message = f"`{found.use}` is no other {document.kind}"
            known = [name for name in model.versions.of(value.name) if name != value.name]
            fix = f"name its successor, such as {known[-1]}" if known else "declare it, or leave `use` out"
            yield document.finding("deprecated", message, (*place, "use"), fix=fix)
        if not model.owners_of(value):
            message = f"nobody owns what still uses `{value.name}` after its sunset"
            yield document.finding("deprecated", message, place, at_key=True, fix="add `owner:` with a role")


@rule("deprecated-used")
def deprecated_used(model: Model) -> Iterator[Finding]:
    """A workflow, reconciliation or mapping that takes or gives a deprecated version is told so, as a warning, with the day
    of its sunset."""
    for document in model.documents:
        for kind, name, path in references(document):
            if path[:1] == ("cast",) or not _uses(document):
                continue
            value = _versioned(model, kind, name)
            found = value.deprecated if value is not None else None
            if found is None:
                continue
            until = f", sunset {found.sunset}" if isinstance(found, kinds.Deprecated) and found.sunset else ""
            since = f" since {found.since}" if isinstance(found, kinds.Deprecated) else f": {found}"
            use = found.use if isinstance(found, kinds.Deprecated) else None
            yield document.finding(
                "deprecated-used",
                f"`{name}` is deprecated{since}{until}",
                path,
                severity="warning",
                fix=f"use `{use}`" if use else "use its successor",
            )


def _versioned(model: Model, kind: str, name: str) -> kinds.Event | kinds.Operation | None:
    if kind == "operation":
        return model.operations.get(name)
    return model.events.get(name) if kind == "event" else None


def _uses(document: Document) -> bool:
    value = document.value
    return isinstance(value, kinds.Workflow | kinds.Reconciliation | kinds.Policy) or (
        isinstance(value, kinds.Mapping) and value.from_ is not None
    )


@rule("versions-apart")
def versions_apart(model: Model) -> Iterator[Finding]:
    """Two workflows that begin with two versions of one event both begin with each fact, since casts offer it in both. A
    warning: let one of them begin with it, or say with `ignore` in a cast that one version is not offered as the other."""
    begun: dict[str, list[tuple[str, str]]] = {}
    for name, workflow in model.workflows.items():
        if workflow.start.event in model.events:
            event = workflow.start.event or ""
            base = model.versions.of(event, "event")[0]
            begun.setdefault(base, []).append((name, event))
    for found in begun.values():
        for name, event in found:
            for other, of in found:
                if of == event or (model.versions.path(of, event) is None):
                    continue
                document = model.document("workflow", name)
                assert document is not None
                message = f"a fact that is sent as `{of}` begins `{other}` and this workflow as well"
                yield document.finding("versions-apart", message, ("start", "event"), severity="warning")
                break
