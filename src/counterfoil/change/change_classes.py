"""The classes of a change: what approvals of a change are asked by.

A class says what is at stake, from the kind of the document and the field that changed; a change may be of several.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias, get_args

from counterfoil.model import kinds
from counterfoil.model.fields import each_field, is_money
from counterfoil.model.model import Model

Class: TypeAlias = Literal[
    "contract",  # what is passed between systems: fields of objects, events and operations, and their names
    "money",  # what amounts are made of, where and when they are posted, what counts as equal
    "approval",  # who decides, from which amount, and what an approval holds fast
    "security",  # permissions, secrets, addresses and accounts of systems, what the gateway lets through
    "ownership",  # systems of record, and who answers for what
    "table",  # rows that finance owns
    "failure",  # retries, undo, deadlines, and what becomes of refusals
    "workflow",  # steps, and what begins and interrupts them
    "mapping",  # a system's words to ours and back
    "reconciliation",  # which half is owed and what matches it
    "control",  # what auditors are told, and who is alerted
    "system",  # feeds and load of a system
    "text",  # nothing that runs reads it
]
CLASSES: tuple[Class, ...] = get_args(Class)

_BASE: dict[str, Class] = {
    "system": "system",
    "object": "contract",
    "event": "contract",
    "operation": "contract",
    "mapping": "mapping",
    "table": "table",
    "state_map": "mapping",
    "calendar": "workflow",
    "workflow": "workflow",
    "reconciliation": "reconciliation",
    "role": "security",
    "alert": "control",
    "control": "control",
    "pattern": "text",
    "test": "text",
    "overlay": "workflow",
}
_OF_POLICY: dict[str, tuple[Class, ...]] = {
    "rate": ("security",),
    "failure": ("failure",),
    "approval": ("approval",),
    "limit": ("approval", "money"),
    "posting_date": ("money",),
    "degradation": ("failure",),
    "retention": ("security",),
    "change": ("security", "approval"),
}
_SYSTEM_SECURITY = frozenset({"url", "account", "connector", "secrets", "settings", "role"})
_OPERATION_FAILURE = frozenset({"repeat", "horizon", "retention", "timeout", "undo", "irreversible"})
_MONEY_KEYS = frozenset({"amount", "dates", "legs", "tolerance", "let", "due"})
_FAILURE_KEYS = frozenset(
    {"outcomes", "failure", "deadline", "undo", "irreversible", "on_item", "again", "until"}
)
_APPROVAL_KEYS = frozenset({"approve", "covers", "requester", "reserve", "amount"})
# What turns an amount into a vendor's number, and the accounts that it is posted to.
_MAJOR = re.compile(r"\b(major|minor|money|table)\(|\.minor\b")
SERVICE_LEVELS = frozenset(
    {"deadline", "until", "due", "case_within", "expires", "every", "timeout", "frequency", "past"}
)
"""Keys that say how long something may take."""


def classes_of(
    value: kinds.Kind, path: tuple[str, ...], said: tuple[Any, ...], money: frozenset[str]
) -> tuple[Class, ...]:
    """The classes of a change at a path of a document, given what it said before and says now, and the names of
    the fields that hold money (`money_fields`)."""
    if path[:1] in (("doc",), ("description",)) or path[-1:] == ("doc",):
        return ("text",)
    if path[:1] == ("owner",):
        return ("ownership",)
    found: set[Class] = {_BASE.get(value.kind, "workflow")}
    names = set(path) | {key for part in said for key in _keys(part)}
    match value:
        case kinds.Policy():
            found = {c for part, classes in _OF_POLICY.items() if part in names for c in classes}
        case kinds.System():
            found = {"security"} if names & _SYSTEM_SECURITY else {"system"}
        case kinds.Operation():
            if names & _OPERATION_FAILURE:
                found = {"failure"}
            if "exposes" in names:
                found.add("security")
        case kinds.Object():
            if path[-1:] == ("system",) or "system" in path[1:] or path == ("system",):
                found.add("ownership")
        case kinds.Table():
            found.add("money")
        case kinds.Workflow():
            found |= _of_workflow(names, money)
        case kinds.Mapping():
            if names & {"let", "assert"} or names & money:
                found.add("money")
        case kinds.Reconciliation():
            found.add("money")
        case kinds.Overlay():
            found = _of_overlay(value, path, names)
    return tuple(c for c in CLASSES if c in found) or ("workflow",)


def _of_overlay(overlay: kinds.Overlay, path: tuple[str, ...], names: set[str]) -> set[Class]:
    """The classes of what an overlay changes: of one document, or of all when it is where it counts that changed."""
    named = path[1] if path[:1] == ("changes",) and len(path) > 1 else None
    found: set[Class] = set()
    for change in overlay.changes:
        if named is None or named.split(" ")[0] == change.name:
            found |= {c for part, classes in _OF_POLICY.items() if part in change.set for c in classes}
            if change.kind != "policy":
                found.add(_BASE.get(change.kind, "workflow"))
            if change.kind == "table":
                found.add("money")
            if change.kind == "system" and _SYSTEM_SECURITY & change.set.keys():
                found.add("security")
            if "owner" in change.set:
                found.add("ownership")
    return found or {c for part, classes in _OF_POLICY.items() if part in names for c in classes}


def _of_workflow(names: set[str], money: frozenset[str]) -> set[Class]:
    found: set[Class] = set()
    if names & _APPROVAL_KEYS:
        found.add("approval")
    if names & _MONEY_KEYS or (names & {"with", "data"} and names & money):
        found.add("money")
    if names & _FAILURE_KEYS:
        found.add("failure")
    return found


def money_fields(model: Model) -> frozenset[str]:
    """Names of the fields that hold money in an operation or event, and of a system's own that they are put into."""
    maps = [event.data for event in model.events.values()]
    maps += [operation.input for operation in model.operations.values()]
    named = {name for fields in maps for name, _, spec in each_field(fields) if is_money(spec)}
    for mapping in model.mappings.values():
        named |= {key for key, text in _texts(mapping.with_ or {}) if _MAJOR.search(text)}
    return frozenset(named)


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Each text of a template with the nearest key above it."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _texts(part, str(name))
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part, key)
    elif isinstance(value, str):
        yield key, value


def _keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {str(key) for key in value} | {name for part in value.values() for name in _keys(part)}
    if isinstance(value, list):
        return {name for part in value for name in _keys(part)}
    return set()
