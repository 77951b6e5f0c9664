"""The classes of a change, which decide on its approvals.

A class names what is at risk. It follows from the kind of the document and the field that changed. A change may have
several classes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias, get_args

from counterfoil.model import kinds
from counterfoil.model.fields import each_field, is_money
from counterfoil.model.model import Model

Class: TypeAlias = Literal[
    "contract",  # data passed between systems: fields of objects, events and operations, and their names
    "money",  # how amounts are computed, where and when they are posted, and which amounts count as equal
    "approval",  # who decides, from which amount, and which values an approval covers
    "security",  # permissions, secrets, addresses and accounts of systems, operations open to the gateway
    "ownership",  # systems of record and owners
    "table",  # rows that finance owns
    "failure",  # retries, undo, deadlines, and reactions to refusals
    "workflow",  # steps, starts and signals
    "mapping",  # translation between a system's fields and ours
    "reconciliation",  # expected foils and what matches them
    "control",  # controls for auditors, and alerts
    "system",  # feeds and load limits of a system
    "text",  # descriptions that no running code reads
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
    "channel": "security",
    "alert": "control",
    "control": "control",
    "pattern": "text",
    "test": "text",
    "overlay": "workflow",
    "legal_entity": "ownership",
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
_ENTITY_CLASSES: dict[str, tuple[Class, ...]] = {
    "currency": ("money",),
    "zone": ("money",),  # the days on which documents count
    "region": ("money", "approval"),  # the overlays that apply: tables, limits and matrices
    "default": ("money", "security"),  # where facts belong that name no entity, and who sees them
}
_OPERATION_FAILURE = frozenset({"repeat", "horizon", "retention", "timeout", "undo", "irreversible"})
_MONEY_KEYS = frozenset({"amount", "dates", "legs", "tolerance", "let", "due"})
_FAILURE_KEYS = frozenset(
    {"outcomes", "failure", "deadline", "undo", "irreversible", "on_item", "again", "until"}
)
_APPROVAL_KEYS = frozenset({"approve", "covers", "requester", "reserve", "amount"})
# Formulas that turn an amount into a vendor's number, or that look up accounts.
_MONEY_FORMULA = re.compile(r"\b(major|minor|money|table)\(|\.minor\b")
SERVICE_LEVELS = frozenset(
    {"deadline", "until", "due", "case_within", "expires", "every", "timeout", "frequency", "past"}
)
"""Keys that set a time limit."""


def classes_of(
    value: kinds.Kind, path: tuple[str, ...], parts: tuple[Any, ...], money: frozenset[str]
) -> tuple[Class, ...]:
    """Return the classes of a change at a path of a document.

    `parts`: the value there before and after. `money`: names of the fields that hold money (`money_fields`).
    """
    if path[:1] in (("doc",), ("description",)) or path[-1:] == ("doc",):
        return ("text",)
    if path[:1] == ("owner",):
        return ("ownership",)
    result: set[Class] = {_BASE.get(value.kind, "workflow")}
    names = set(path) | {key for part in parts for key in _keys(part)}
    match value:
        case kinds.Policy():
            result = {c for part, classes in _OF_POLICY.items() if part in names for c in classes}
        case kinds.System():
            result = {"security"} if names & _SYSTEM_SECURITY else {"system"}
            if "currencies" in path:
                result = {"money"}
            if path == ("legal_entity",):
                result = {"security", "ownership"}
        case kinds.LegalEntity():
            result |= {c for key in path[:1] for c in _ENTITY_CLASSES.get(key, ())}
        case kinds.Operation():
            if names & _OPERATION_FAILURE:
                result = {"failure"}
            if "exposes" in names:
                result.add("security")
        case kinds.Object():
            if path[-1:] == ("system",) or "system" in path[1:] or path == ("system",):
                result.add("ownership")
        case kinds.Table():
            result.add("money")
        case kinds.Workflow():
            result |= _of_workflow(names, money)
        case kinds.Mapping():
            if names & {"let", "assert"} or names & money:
                result.add("money")
        case kinds.Reconciliation():
            result.add("money")
        case kinds.Overlay():
            result = _of_overlay(value, path, names)
    return tuple(c for c in CLASSES if c in result) or ("workflow",)


def _of_overlay(overlay: kinds.Overlay, path: tuple[str, ...], names: set[str]) -> set[Class]:
    """Return the classes of an overlay's change: of one document, or of all documents if its condition changed."""
    target = path[1] if path[:1] == ("changes",) and len(path) > 1 else None
    result: set[Class] = set()
    for change in overlay.changes:
        if target is None or target.split(" ")[0] == change.name:
            result |= {c for part, classes in _OF_POLICY.items() if part in change.set for c in classes}
            if change.kind != "policy":
                result.add(_BASE.get(change.kind, "workflow"))
            if change.kind == "table":
                result.add("money")
            if change.kind == "system" and _SYSTEM_SECURITY & change.set.keys():
                result.add("security")
            if "owner" in change.set:
                result.add("ownership")
    return result or {c for part, classes in _OF_POLICY.items() if part in names for c in classes}


def _of_workflow(names: set[str], money: frozenset[str]) -> set[Class]:
    result: set[Class] = set()
    if names & _APPROVAL_KEYS:
        result.add("approval")
    if names & _MONEY_KEYS or (names & {"with", "data"} and names & money):
        result.add("money")
    if names & _FAILURE_KEYS:
        result.add("failure")
    return result


def money_fields(model: Model) -> frozenset[str]:
    """Return the names of fields that hold money in operations and events, and in the systems' own requests."""
    maps = [event.data for event in model.events.values()]
    maps += [operation.input for operation in model.operations.values()]
    names = {name for fields in maps for name, _, spec in each_field(fields) if is_money(spec)}
    for mapping in model.mappings.values():
        names |= {key for key, text in _texts(mapping.with_ or {}) if _MONEY_FORMULA.search(text)}
    return frozenset(names)


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield each text of a template with the nearest key above it."""
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
