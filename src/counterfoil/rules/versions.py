"""Versions in use: casts of events, of an operation's input and answer, and deprecation notices.

Pure. The stored version is the one that was sent; a cast happens at use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from counterfoil.contracts import versions
from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.errors import CounterfoilError
from counterfoil.expr import LookupNeeded
from counterfoil.model import Model, kinds
from counterfoil.model.definition import CastDefinition, Record
from counterfoil.rules.contract import violations
from counterfoil.rules.templates import FAULTS, fill

_FAULTS = (*FAULTS, LookupNeeded, ValueError, TypeError, AttributeError)
CastPath = Sequence[CastDefinition]


class CastFailed(CounterfoilError):
    """A cast fails for this value; the message is for a person."""


class DeprecationNotice(msgspec.Struct, frozen=True, kw_only=True):
    """Notice of a deprecated version, for its callers."""

    name: str
    since: datetime
    sunset: datetime | None
    use: str | None
    """Its successor."""
    past_sunset: bool


def lifecycle(kind: kinds.Event | kinds.Operation, now: datetime) -> DeprecationNotice | None:
    """Return the notice of an event or operation; None if it is not deprecated by now, or has no date."""
    deprecated = kind.deprecated
    if not isinstance(deprecated, kinds.Deprecated) or deprecated.since_at > now:
        return None
    sunset = deprecated.sunset_at
    return DeprecationNotice(
        name=kind.name,
        since=deprecated.since_at,
        sunset=sunset,
        use=deprecated.use,
        past_sunset=sunset is not None and sunset <= now,
    )


def dated(model: Model, now: datetime) -> dict[str, DeprecationNotice]:
    """Return the notices of everything deprecated by now, by name."""
    every: list[kinds.Event | kinds.Operation] = [*model.events.values(), *model.operations.values()]
    return {kind.name: notice for kind in every if (notice := lifecycle(kind, now)) is not None}


# ------------------------------------------------------------------ events


def cast(path: CastPath, value: Mapping[str, Any]) -> dict[str, Any]:
    """Convert an event's data, or an operation's input, to another version. Raises CastFailed."""
    for step in path:
        value = _apply(step, step.fields, {step.root: value}, step.target)
        wrong = violations(value, step.schema)
        if wrong:
            raise CastFailed(f"{step.name} gives no {step.target}: {'; '.join(wrong)}")
    return dict(value)


def _apply(step: CastDefinition, template: Record, names: Mapping[str, Any], what: str) -> dict[str, Any]:
    scope = dict(names)
    try:
        for name, expression in step.let:
            scope[name] = expression(scope, None)
        filled = fill(template, scope, None)
    except _FAULTS as error:
        raise CastFailed(f"{step.name} gives no {what}: {error}") from error
    return {name: part for name, part in filled.items() if part is not None}


def same_fact(type_: str | None, other: str) -> bool:
    """Return True if two types are versions of one event."""
    return type_ == other or (type_ is not None and versions.family(type_) == versions.family(other))


def view(event: CanonicalEvent, path: CastPath) -> CanonicalEvent:
    """Return the event in another version: its id, key, order and times stay. Raises CastFailed."""
    if not path:
        return event
    return msgspec.structs.replace(event, type=path[-1].target, data=cast(path, event.data))


# ------------------------------------------------------------------ operations


class ServingOperation(msgspec.Struct, frozen=True):
    """The operation that serves a call, and the casts to it from the version that was called."""

    requested: str
    by: str
    path: tuple[CastDefinition, ...] = ()


def operation_version(model: Model, name: str, version: int | None) -> str | None:
    """Return the declared operation for a name and an optional version; None if there is none.

    Without any version it is version 1, or the oldest that is still declared.
    """
    if version is not None:
        operation = versions.operation(name, version)
        return operation if operation in model.operations else None
    if name in model.operations:
        return name
    declared = model.versions.of(name, "operation")
    return declared[0] if declared and versions.split(name) == (name, 1) else None


def serve(model: Model, name: str) -> ServingOperation | None:
    """Return the exposed operation that serves a call of `name`: itself, else the newest version that it casts to."""
    if name not in model.operations:
        return None
    if model.operations[name].exposes != "none":
        return ServingOperation(name, name)
    for other in reversed(model.versions.of(name, "operation")):
        path = model.versions.path(name, other)
        if model.operations[other].exposes != "none" and path is not None:
            return ServingOperation(name, other, path)
    return None


def upcast_input(served: ServingOperation, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the caller's input in the version of the serving operation. Raises CastFailed."""
    return cast(served.path, value)


def downcast_output(served: ServingOperation, value: Mapping[str, Any], result: Any) -> Any:
    """Return the answer in the version that the caller requested. Raises CastFailed."""
    inputs = [value]
    for step in served.path[:-1]:
        inputs.append(cast((step,), inputs[-1]))
    for step, step_input in zip(reversed(served.path), reversed(inputs), strict=True):
        if step.result is not None:
            result = _apply(step, step.result, {"input": step_input, "result": result}, step.source)
    return result
