"""Overlays over a model: those of an environment when the folder is read, those of a region or entity for each Run.

    kind: overlay
    name: germany
    owner: controller
    of: {legal_entity: acme-de}
    changes:
      - kind: policy
        name: service-credit
        set: {approval: {matrix: [{up_to: 50, automatic: true}, {roles: [controller]}]}}

`set` is merged into the document key by key; any value other than a mapping, also a list, replaces the old value.
Overlays apply in this order: environment, region, legal entity. The legal entity is known only when a Run starts. So a
region or legal entity may differ in tables and in policies of sort approval, limit and posting_date; all other
documents are the same for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from counterfoil.core.finding import Finding, did_you_mean
from counterfoil.model import kinds, tables
from counterfoil.model.compile.mapping import emits_of
from counterfoil.model.document import Data, Document, build
from counterfoil.model.documents import Documents
from counterfoil.model.envelope import REGION
from counterfoil.model.extends import extend
from counterfoil.model.source import Graft, Path, Source
from counterfoil.model.weakening import weakenings

D = TypeVar("D", bound=Documents)
BY_RUN = ("approval", "limit", "posting_date")
"""Sorts of policy that may differ between Runs."""
_NEVER = frozenset({"overlay", "pattern", "test"})


@dataclass(frozen=True, slots=True, order=True)
class Where:
    """A place that overlays distinguish; an empty text stands for any."""

    environment: str = ""
    region: str = ""
    legal_entity: str = ""

    def __str__(self) -> str:
        places = {"environment": self.environment, "region": self.region, "legal entity": self.legal_entity}
        return ", ".join(f"{what} {name}" for what, name in places.items() if name)


def applicable(overlays: Iterable[Document], where: Where) -> list[Document]:
    """Return the overlays that apply at a place, in order."""
    return in_order(document for document in overlays if _applies(_overlay(document).of, where))


def _applies(of: kinds.Place, where: Where) -> bool:
    return (
        (of.environment is None or of.environment == where.environment)
        and (of.region is None or of.region == where.region)
        and (of.legal_entity is None or where.legal_entity in of.entities)
    )


def in_order(overlays: Iterable[Document]) -> list[Document]:
    """Sort overlays: the less specific first, then by name."""

    def rank(document: Document) -> tuple[bool, bool, bool, str]:
        of = _overlay(document).of
        return (of.legal_entity is not None, of.region is not None, of.environment is not None, document.name)

    return sorted(overlays, key=rank)


def apply_overlays(documents: D, overlays: Iterable[Document]) -> tuple[D, list[Finding]]:
    """Return the model with these overlays applied in order, and findings about the result."""
    result = {(document.kind, document.name): document for document in documents.documents}
    broken = set(documents.broken)
    findings: list[Finding] = []
    for overlay in overlays:
        for position, change in enumerate(_overlay(overlay).changes):
            key = (change.kind, change.name)
            path: Path = ("changes", position)
            old = result.get(key)
            if old is None:
                continue  # reported once, by `faults`
            new, wrong = _apply_change(old, overlay, change, path)
            findings += wrong
            if new is None:
                result.pop(key)
                broken.add(key)
                continue
            result[key] = new
            if change.loosens is None:
                findings += _weaker_without_reason(old, new, overlay, path)
    return type(documents)(result.values(), broken), findings


def with_stand_ins(documents: D, stand_ins: Mapping[str, str]) -> D:
    """Return the model in which operations belong to the systems that stand for theirs."""
    result = [
        _on_system(document, stand_ins[document.value.system])
        if isinstance(document.value, kinds.Operation) and document.value.system in stand_ins
        else document
        for document in documents.documents
    ]
    return type(documents)(result, set(documents.broken))


def _on_system(operation: Document, system: str) -> Document:
    value = operation.value.model_copy(update={"system": system})
    return Document(value, {**operation.data, "system": system}, operation.source)


def _weaker_without_reason(old: Document, new: Document, overlay: Document, path: Path) -> Iterator[Finding]:
    for at, what in weakenings(old.value, new.value):
        fix = "add `loosens:` with the reason to this change, or require as much as elsewhere"
        message = f"the {new.kind} `{new.name}` is weaker here: {what}"
        yield overlay.finding("overlay-loosens", message, _deepest(overlay, (*path, "set"), at), fix=fix)


def _deepest(overlay: Document, path: Path, at: Path) -> Path:
    """Return the longest part of a path in the changed document that the overlay itself sets."""
    value: Any = overlay.data
    for part in path:
        value = value[part]
    for part in at:
        if not isinstance(value, dict) or part not in value:
            break
        value = value[part]
        path = (*path, part)
    return path


def _apply_change(
    old: Document, overlay: Document, change: kinds.OverlayChange, path: Path
) -> tuple[Document | None, list[Finding]]:
    source = old.source or Source(f"{old.kind}/{old.name}", old.data)
    overlay_source = overlay.source or Source(f"{overlay.kind}/{overlay.name}", overlay.data)
    grafts: dict[Path, Graft] = {(): Graft(source, ())}
    content = {key: value for key, value in change.set.items() if key not in ("kind", "name")}
    data = _merge(old.data, content, (), (*path, "set"), overlay_source, grafts)
    if old.kind == "table":
        # New rows replace old ones, also those of a file; files were read with the folder.
        data.pop("file" if "rows" in change.set else "rows" if "file" in change.set else "", None)
    changed = Source(source.file, data, grafts=grafts)
    contradictions = extend(
        [changed]
    )  # an overlay may contradict the library no more than the document itself
    new, findings = build(changed)
    findings += contradictions
    if new is not None and isinstance(new.value, kinds.Table) and "rows" in change.set:
        faults = tables.row_faults(new.value, new.value.rows or [])
        findings = [new.finding("table-row", text, ("rows", at)) for at, text in faults]
    return (None if findings else new), findings


def _merge(
    old: Any, new: Data, at: Path, there: Path, overlay: Source, grafts: dict[Path, Graft]
) -> dict[str, Any]:
    """Merge `new` into `old`; findings about parts of the overlay point at the overlay."""
    merged = dict(old)
    for key, value in new.items():
        place = (*at, key)
        if isinstance(value, dict) and isinstance(old.get(key), dict):
            merged[key] = _merge(old[key], value, place, (*there, key), overlay, grafts)
        else:
            merged[key] = value
            grafts[place] = Graft(overlay, (*there, key))
    return merged


# ------------------------------------------------------------------ faults of overlays


def faults(documents: Documents, overlays: Sequence[Document]) -> Iterator[Finding]:
    """Yield findings that need no place: names in overlays, documents that may not differ, and conflicts."""
    for document in overlays:
        overlay = _overlay(document)
        for position, change in enumerate(overlay.changes):
            yield from _target_faults(documents, document, overlay, change, ("changes", position))
        yield from _place_faults(documents, document, overlay)
    yield from _conflicts(overlays)


def _target_faults(
    documents: Documents, document: Document, overlay: kinds.Overlay, change: kinds.OverlayChange, path: Path
) -> Iterator[Finding]:
    if change.kind not in kinds.KINDS or change.kind in _NEVER:
        fix = did_you_mean(change.kind, kinds.KINDS.keys() - _NEVER)
        message = f"an overlay cannot change a document of kind `{change.kind}`"
        yield document.finding("overlay-form", message, (*path, "kind"), fix=fix)
        return
    if not documents.has(change.kind, change.name):
        names = [other.name for other in documents.documents if other.kind == change.kind]
        otherwise = "an overlay changes existing documents; it cannot add one"
        fix = did_you_mean(change.name, names, otherwise)
        message = f"there is no {change.kind} `{change.name}` to change"
        yield document.finding("overlay-form", message, (*path, "name"), fix=fix)
        return
    for key in ("kind", "name", "extends"):
        if key in change.set:
            message = f"an overlay cannot change the {key} of a document"
            yield document.finding("overlay-form", message, (*path, "set", key), at_key=True)
    if overlay.of.by_run:
        policy = documents.policies.get(change.name) if change.kind == "policy" else None
        late = policy is not None and any(getattr(policy, sort) is not None for sort in BY_RUN)
        if change.kind != "table" and not late and (change.kind, change.name) not in documents.broken:
            message = f"a {change.kind} must be the same in every region and legal entity"
            fix = f"use a table, a policy of sort {', '.join(BY_RUN)}, or an overlay of an environment"
            yield document.finding("overlay-form", message, (*path, "kind"), fix=fix)
        if (change.kind, change.name) == ("table", REGION):
            message = "the table of regions cannot differ between regions"
            yield document.finding("overlay-form", message, (*path, "name"))


def _place_faults(documents: Documents, document: Document, overlay: kinds.Overlay) -> Iterator[Finding]:
    if not overlay.of.by_run:
        return
    if overlay.of.region is not None:
        yield from _region_faults(documents, document, overlay.of.region)
    if not has_legal_entity(documents):
        message = "no fact has a legal entity, so this overlay never applies"
        fix = "set `legal_entity` in the `emit` of a mapping, or add it as a field of an event, object or operation"
        yield document.finding("overlay-form", message, ("of",), at_key=True, fix=fix)


def _region_faults(documents: Documents, document: Document, region: str) -> Iterator[Finding]:
    """Yield a finding if no legal entity is ever in a region."""
    declared = {entity.region for entity in documents.legal_entities.values() if entity.region is not None}
    if region in declared or documents.has_broken("legal_entity"):
        return
    table = documents.tables.get(REGION)
    if table is not None and len(table.table.key) == 1:
        by_table = {str(row[table.table.value]) for row in table.table.rows or []}
        if region not in by_table:
            where = "no document or row of the table" if declared else "the table"
            message = f"{where} `{REGION}` has no legal entity in {region}"
            fix = did_you_mean(region, declared | by_table)
            yield document.finding("overlay-form", message, ("of", "region"), fix=fix)
    elif declared:
        fix = did_you_mean(region, declared, f"add `region: {region}` to the legal entities that are in it")
        yield document.finding("overlay-form", f"no legal entity is in {region}", ("of", "region"), fix=fix)
    elif not documents.has("table", REGION) or table is not None:
        message = f"there is no table `{REGION}` with the legal entities of {region}"
        fix = "state `region` in documents of kind legal_entity, or add a table named region with key [legal_entity] and value region"
        yield document.finding("overlay-form", message, ("of", "region"), fix=fix)


def has_legal_entity(documents: Documents) -> bool:
    """Return True if an event, object or operation that starts a Run has a legal entity."""
    name = "legal_entity"
    if any(emit.legal_entity for mapping in documents.mappings.values() for emit in emits_of(mapping)):
        return True
    maps = [event.data for event in documents.events.values()]
    maps += [definition.fields for definition in documents.objects.values()]
    maps += [operation.input for operation in documents.operations.values()]
    # The envelope of an event over HTTP may name the legal entity.
    http = any(event.produced == "http" for event in documents.events.values())
    return http or any(name in fields or f"{name}?" in fields for fields in maps)


def _conflicts(overlays: Sequence[Document]) -> Iterator[Finding]:
    """Yield findings for two equally specific overlays that set the same value."""
    paths: dict[tuple[Any, ...], list[tuple[Path, Document]]] = {}
    for document in overlays:
        overlay = _overlay(document)
        for position, change in enumerate(overlay.changes):
            for at in _leaves(change.set, ()):
                for entity in overlay.of.entities or [""]:
                    key = (overlay.of.environment, overlay.of.region, entity, change.kind, change.name)
                    others = paths.setdefault(key, [])
                    conflict = next((d for path, d in others if path[: len(at)] == at[: len(path)]), None)
                    if conflict is not None and conflict is not document:
                        message = f"the overlay `{conflict.name}` sets the same value for the same place"
                        path: Path = ("changes", position, "set", *at)
                        fix = "remove one of them"
                        yield document.finding("overlay-form", message, path, at_key=True, fix=fix)
                        break
                    others.append((at, document))


def _leaves(value: Any, at: Path) -> Iterator[Path]:
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from _leaves(part, (*at, key))
    else:
        yield at


# ------------------------------------------------------------------ places


def places(documents: Documents, overlays: Iterable[Document], environment: str | None) -> list[Where]:
    """Return every place that the overlays distinguish, the general one first.

    With `environment` only places of that environment, with None places of all environments.
    """
    applies = [_overlay(document).of for document in overlays]
    environments = {of.environment or "" for of in applies} | {""} if environment is None else {environment}
    regions = {of.region for of in applies if of.region}
    pairs = {("", ""), *((region, "") for region in regions)}
    for entity in {entity for of in applies for entity in of.entities}:
        pairs |= {(region, entity) for region in _regions(documents, entity) & regions or {""}}
    return [Where(name, *pair) for name in sorted(environments) for pair in sorted(pairs)]


def _regions(documents: Documents, entity: str) -> set[str]:
    """Return all regions of a legal entity, on any day."""
    declared = documents.legal_entities.get(entity)
    if declared is not None and declared.region is not None:
        return {declared.region}
    table = documents.tables.get(REGION)
    if table is None or len(table.table.key) != 1:
        return set()
    key, value = table.table.key[0], table.table.value
    return {str(row[value]) for row in table.table.rows or [] if str(row[key]) == entity}


def _overlay(document: Document) -> kinds.Overlay:
    assert isinstance(document.value, kinds.Overlay)
    return document.value
