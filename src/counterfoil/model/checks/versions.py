"""Versions that are active at the same time: missing casts and deprecation."""

from __future__ import annotations

from collections.abc import Iterator

from counterfoil.core.finding import Finding
from counterfoil.model import kinds
from counterfoil.model.checks.contracts import consumed_events, emitted_by_workflows
from counterfoil.model.checks.references import references
from counterfoil.model.checks.registry import rule
from counterfoil.model.compile.mapping import events_of
from counterfoil.model.document import Document
from counterfoil.model.model import Model
from counterfoil.model.source import Path


@rule("cast-missing")
def cast_missing(model: Model) -> Iterator[Finding]:
    """A consumer of one version of an event also receives the others: casts lead to it from every produced version, or a cast
    with `ignore` gives the reason why not. A deprecated operation that is not exposed, while another version is, has
    casts that lead there."""
    emitted = emitted_by_workflows(model)
    places = list(consumed_events(model))
    consumed = {(document.kind, document.name, name) for name, document, _ in places}
    reported: set[tuple[str, str, str]] = set()
    for name, document, path in places:
        kind, owner = document.kind, document.name
        for other in model.versions.of(name, "event") if name in model.events else ():
            if (kind, owner, other) in consumed or not _produced(model, other, emitted):
                continue
            reached = model.versions.path(other, name) is not None
            if reached or (other, name) in model.versions.without_cast or (owner, name, other) in reported:
                continue
            reported.add((owner, name, other))
            message = f"events sent as `{other}` do not reach this {kind}: no cast converts them to `{name}`"
            fix = f"add a mapping with `cast: {{from: {other}, to: {name}}}`"
            yield document.finding("cast-missing", message, path, fix=fix)
    for document, operation in model.documents_of(kinds.Operation):
        if operation.exposes != "none":
            continue
        others = model.versions.of(operation.name, "operation")
        served = [other for other in others if model.operations[other].exposes != "none"]
        if operation.deprecated is None or not served:
            continue
        if any((operation.name, other) in model.versions.without_cast for other in served):
            continue
        if all(model.versions.path(operation.name, other) is None for other in served):
            message = f"callers of `{operation.name}` cannot be served by `{served[-1]}`: no cast leads there"
            fix = f"add a mapping with `cast: {{from: {operation.name}, to: {served[-1]}}}`"
            yield document.finding("cast-missing", message, ("deprecated",), at_key=True, fix=fix)


def _produced(model: Model, event: str, emitted: set[str]) -> bool:
    declared = model.events[event].produced in ("http", "counterfoil")
    return declared or event in emitted or bool(model.producers(event))


@rule("cast-ambiguous")
def cast_ambiguous(model: Model) -> Iterator[Finding]:
    """There is one shortest path of casts from one version to another. With two paths the result would depend on the choice:
    add a direct cast."""
    for _, _, names in model.versions.families():
        for source in names:
            for target in names:
                paths = model.versions.shortest_paths(source, target)
                if len(paths) < 2:
                    continue
                through = " or ".join(sorted({path[0][1] for path in paths}))
                document = model.document("mapping", model.versions.casts[paths[0][0]].name)
                assert document is not None
                ends = f"from `{source}` to `{target}`"
                message = f"there are {len(paths)} shortest paths {ends}: through {through}"
                fix = f"add a mapping with `cast: {{from: {source}, to: {target}}}`"
                yield document.finding("cast-ambiguous", message, ("cast",), at_key=True, fix=fix)


@rule("continues")
def continues(model: Model) -> Iterator[Finding]:
    """Two mappings of one system that emit two versions of one event report the same facts. The mapping of the newer version
    names the other in `continues`, so that a fact has one id in both. Both belong to the same system."""
    for document, mapping in model.documents_of(kinds.Mapping):
        if mapping.from_ is None:
            continue
        if mapping.continues is not None:
            former = model.mappings.get(mapping.continues)
            system = former.from_.system if former is not None and former.from_ is not None else None
            if former is not None and (former is mapping or system != mapping.from_.system):
                message = f"`{mapping.continues}` is not another mapping of {mapping.from_.system}"
                yield document.finding("continues", message, ("continues",))
            continue
        for name in sorted(events_of(mapping)):
            for other in model.versions.of(name, "event"):
                earlier = _of_system(model, other, mapping) if _older(model, other, name) else None
                if earlier is not None:
                    message = f"`{earlier}` emits `{other}`: a fact reported by both would count twice"
                    yield document.finding("continues", message, ("name",), fix=f"add `continues: {earlier}`")


def _older(model: Model, other: str, name: str) -> bool:
    versions = model.versions.of(name, "event")
    return name in versions and versions.index(other) < versions.index(name)


def _of_system(model: Model, event: str, except_for: kinds.Mapping) -> str | None:
    assert except_for.from_ is not None
    for mapping in model.producers(event):
        of_system = mapping.from_ is not None and mapping.from_.system == except_for.from_.system
        if of_system and mapping is not except_for:
            return mapping.name
    return None


@rule("deprecated")
def deprecated(model: Model) -> Iterator[Finding]:
    """A deprecated version has a first day, a sunset and a successor: `sunset` is after `since`, `use` names another existing
    event or operation, and an owner answers for uses after the sunset."""
    for document in model.documents:
        value = document.value
        if not isinstance(value, kinds.Event | kinds.Operation) or value.deprecated is None:
            continue
        deprecation = value.deprecated
        place: Path = ("deprecated",)
        if not isinstance(deprecation, kinds.Deprecated):
            fix = "write `deprecated: {since: DAY, sunset: DAY, use: NAME, why: ...}`"
            message = "the deprecation has no dates"
            yield document.finding("deprecated", message, place, severity="warning", fix=fix)
            continue
        if deprecation.sunset is None:
            message = "the deprecation has no `sunset`"
            yield document.finding("deprecated", message, place, at_key=True, fix="add `sunset: DAY`")
        elif deprecation.sunset <= deprecation.since:
            message = f"the sunset {deprecation.sunset} is not after {deprecation.since}"
            yield document.finding("deprecated", message, (*place, "sunset"))
        use = deprecation.use
        if use is not None and (use == value.name or not model.has(document.kind, use)):
            message = f"`{use}` is not another {document.kind}"
            others = [name for name in model.versions.of(value.name) if name != value.name]
            fix = f"name its successor, such as {others[-1]}" if others else "declare it, or remove `use`"
            yield document.finding("deprecated", message, (*place, "use"), fix=fix)
        if not model.owners_of(value):
            message = f"`{value.name}` has no owner for uses after its sunset"
            yield document.finding("deprecated", message, place, at_key=True, fix="add `owner:` with a role")


@rule("deprecated-used")
def deprecated_used(model: Model) -> Iterator[Finding]:
    """A workflow, reconciliation or mapping that uses a deprecated version gets a warning with the day of the sunset."""
    for document in model.documents:
        for kind, name, path in references(document):
            if path[:1] == ("cast",) or not _uses(document):
                continue
            value = _versioned(model, kind, name)
            deprecation = value.deprecated if value is not None else None
            if deprecation is None:
                continue
            dated = deprecation if isinstance(deprecation, kinds.Deprecated) else None
            until = f", sunset {dated.sunset}" if dated and dated.sunset else ""
            since = f" since {dated.since}" if dated else f": {deprecation}"
            use = dated.use if dated else None
            message = f"`{name}` is deprecated{since}{until}"
            fix = f"use `{use}`" if use else "use its successor"
            yield document.finding("deprecated-used", message, path, severity="warning", fix=fix)


def _versioned(model: Model, kind: str, name: str) -> kinds.Event | kinds.Operation | None:
    if kind == "operation":
        return model.operations.get(name)
    return model.events.get(name) if kind == "event" else None


def _uses(document: Document) -> bool:
    value = document.value
    inbound = isinstance(value, kinds.Mapping) and value.from_ is not None
    return inbound or isinstance(value, kinds.Workflow | kinds.Reconciliation | kinds.Policy)


@rule("versions-apart")
def versions_apart(model: Model) -> Iterator[Finding]:
    """Two workflows that start with two versions of one event both start with each fact, because casts offer it in both
    versions. A warning: start only one of them with it, or add a cast with `ignore`."""
    starts: dict[str, list[tuple[Document, str]]] = {}
    for document, workflow in model.documents_of(kinds.Workflow):
        event = workflow.start.event or ""
        if event in model.events:
            starts.setdefault(model.versions.of(event, "event")[0], []).append((document, event))
    for workflows in starts.values():
        for document, event in workflows:
            for other, of in workflows:
                if of == event or model.versions.path(of, event) is None:
                    continue
                message = f"a fact sent as `{of}` starts both `{other.name}` and this workflow"
                yield document.finding("versions-apart", message, ("start", "event"), severity="warning")
                break
