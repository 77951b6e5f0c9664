"""The roles that must review a change: owners of the fields, exceptions and service levels that it touches.

Derived, never listed by hand. Reviewers are the document's owners, the owner of a field's system of record, the roles
responsible for exceptions and deadlines, and the owners of documents that the change breaks. If ownership itself
changes, old and new owners review.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from counterfoil.change.difference import ChangeDetail, DocumentChange
from counterfoil.model import kinds
from counterfoil.model.model import Model

DEFINITION, EXCEPTIONS, SERVICE_LEVEL = "definition", "exceptions", "service_level"


@dataclass(frozen=True, slots=True, order=True)
class Review:
    """A role that must review a change, with one reason for each thing it owns that the change touches."""

    role: str
    because: tuple[str, ...]


def reviewers(old: Model, new: Model, differences: Iterable[DocumentChange]) -> list[Review]:
    """Return the roles that must review these differences, sorted. A change of a description is reviewed by the owner
    of its document."""
    reasons: dict[str, dict[str, None]] = {}
    for change in differences:
        for role, because in _of(old, new, change):
            reasons.setdefault(role, {})[because] = None
    return [Review(role, tuple(reasons[role])) for role in sorted(reasons)]


def unreviewed(old: Model, new: Model, differences: Iterable[DocumentChange]) -> list[DocumentChange]:
    """Return the differences that no role owns."""
    return [change for change in differences if next(_of(old, new, change), None) is None]


def _of(old: Model, new: Model, change: DocumentChange) -> Iterator[tuple[str, str]]:
    what = f"the {change.kind} `{change.name}`"
    sides = _sides(old, new, change.kind, change.name)
    for model, value in sides:
        for role in model.owners_of(value, DEFINITION):
            yield role, f"owns {what}"
        if isinstance(value, kinds.Overlay):
            yield from _under(model, value, what)
        # A new or removed workflow or reconciliation also changes which exceptions people must handle.
        whole = change.change != "changed" and isinstance(value, kinds.Workflow | kinds.Reconciliation)
        if whole or any("failure" in detail.classes for detail in change.details):
            for role in model.owners_of(value, EXCEPTIONS):
                yield role, f"is responsible for the exceptions of {what}"
        if any(detail.is_service_level for detail in change.details):
            for role in _service_level(model, value):
                yield role, f"is responsible for the deadlines in {what}"
        for detail in change.details:
            for role in _of_field(model, value, detail):
                yield role, f"owns the system of record of `{change.name}.{_field(detail)}`"
    if any(detail.path.split("/")[0] == "owner" for detail in change.details):
        for _, value in sides:
            for role in _all_owners(value):
                yield role, f"is an owner of {what}, whose owners change"
    for user in change.affects:
        if user.broken:
            for model, value in _sides(old, new, user.kind, user.name):
                for role in model.owners_of(value, DEFINITION):
                    yield role, f"owns the {user.kind} `{user.name}`, which {user.how} of {what}"


def _under(model: Model, overlay: kinds.Overlay, what: str) -> Iterator[tuple[str, str]]:
    """Yield the owners of the documents that an overlay changes."""
    for change in overlay.changes:
        document = model.document(change.kind, change.name)
        for role in model.owners_of(document.value, DEFINITION) if document else ():
            yield role, f"owns the {change.kind} `{change.name}`, which {what} changes"


def _sides(old: Model, new: Model, kind: str, name: str) -> list[tuple[Model, kinds.Kind]]:
    documents = ((model, model.document(kind, name)) for model in (old, new))
    return [(model, document.value) for model, document in documents if document is not None]


def _service_level(model: Model, value: kinds.Kind) -> list[str]:
    if isinstance(value.owner, dict):
        roles = [role for role, part in value.owner.items() if part.rstrip("s") == SERVICE_LEVEL]
        if roles:
            return roles
    return model.owners_of(value, EXCEPTIONS)


def _all_owners(value: kinds.Kind) -> list[str]:
    if isinstance(value.owner, dict):
        return list(value.owner)
    return [value.owner] if value.owner else []


def _field(detail: ChangeDetail) -> str:
    return ".".join(detail.path.split("/")[1:])


def _of_field(model: Model, value: kinds.Kind, detail: ChangeDetail) -> list[str]:
    """Return the owners of the system of record of the field that a detail is about."""
    parts = detail.path.split("/")
    if len(parts) < 2 or parts[0] not in ("data", "fields", "emit", "sets"):
        return []
    field = parts[1].removesuffix("?")
    if isinstance(value, kinds.Object):
        name = value.name
    elif isinstance(value, kinds.Event) and value.object:
        name = value.object
    else:
        return []
    if name not in model.objects:
        return []
    system = model.systems.get(model.system_of_record(name, field))
    return model.owners_of(system, DEFINITION) if system is not None else []
