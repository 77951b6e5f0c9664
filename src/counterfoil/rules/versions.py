"""Versions in use: one fact in another version, an operation's input and answer in another, and what is on its way out.

Pure. What is kept is what was sent; a cast happens where something is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from counterfoil.contracts import versions
from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.errors import CounterfoilError
from counterfoil.expr import BudgetExceeded, EvaluationError, LookupNeeded
from counterfoil.model import Model, kinds
from counterfoil.model.definition import CastDefinition, Record
from counterfoil.rules.contract import violations
from counterfoil.rules.templates import UnusableValue, fill

_FAULTS = (
    EvaluationError,
    BudgetExceeded,
    LookupNeeded,
    UnusableValue,
    ValueError,
    TypeError,
    AttributeError,
)
CastPath = Sequence[CastDefinition]


class CastFailed(CounterfoilError):
    """A cast that does not give what it promises, for this value. A person reads why."""


class DeprecationNotice(msgspec.Struct, frozen=True, kw_only=True):
    """A version on its way out, as its callers are told."""

    name: str
    since: datetime
    sunset: datetime | None
    use: str | None
    """Its successor."""
    past_sunset: bool


def lifecycle(kind: kinds.Event | kinds.Operation, now: datetime) -> DeprecationNotice | None:
    """Where an event or operation is deprecated by now; None where it is not, or no date says since when."""
    found = kind.deprecated
    if not isinstance(found, kinds.Deprecated) or found.since_at > now:
        return None
    sunset = found.sunset_at
    return DeprecationNotice(
        name=kind.name,
        since=found.since_at,
        sunset=sunset,
        use=found.use,
        past_sunset=sunset is not None and sunset <= now,
    )


def dated(model: Model, now: datetime) -> dict[str, DeprecationNotice]:
    """Everything that is deprecated by now, by name."""
    every: list[kinds.Event | kinds.Operation] = [*model.events.values(), *model.operations.values()]
    return {kind.name: found for kind in every if (found := lifecycle(kind, now)) is not None}


# ------------------------------------------------------------------ events


def cast(path: CastPath, value: Mapping[str, Any]) -> dict[str, Any]:
    """An event's data, or an operation's input, in another version. Raises CastFailed."""
    for step in path:
        value = _apply(step, step.fields, {step.root: value}, step.target)
        wrong = violations(value, step.schema)
        if wrong:
            raise CastFailed(f"{step.name} gives no {step.target}: {'; '.join(wrong)}")
    return dict(value)


def _apply(step: CastDefinition, template: Record, names: Mapping[str, Any], what: str) -> dict[str, Any]:
    known = dict(names)
    try:
        for name, expression in step.let:
            known[name] = expression(known, None)
        filled = fill(template, known, None)
    except _FAULTS as error:
        raise CastFailed(f"{step.name} gives no {what}: {error}") from error
    return {name: part for name, part in filled.items() if part is not None}


def same_fact(one: str | None, other: str) -> bool:
    """Whether two types are versions of one event."""
    return one == other or (one is not None and versions.family(one) == versions.family(other))


def view(event: CanonicalEvent, path: CastPath) -> CanonicalEvent:
    """The same fact in another version: its id, key, order and times stay. Raises CastFailed."""
    if not path:
        return event
    return msgspec.structs.replace(event, type=path[-1].target, data=cast(path, event.data))


# ------------------------------------------------------------------ operations


class ServedVersion(msgspec.Struct, frozen=True):
    """How a call of an operation in one version is answered by another."""

    asked: str
    by: str
    path: tuple[CastDefinition, ...] = ()


def operation_version(model: Model, name: str, version: int | None) -> str | None:
    """The declared operation that a caller means by a name and perhaps a version; None where there is none.

    A name without a version, and no version beside it, is version 1, or the oldest that is still declared.
    """
    if version is not None:
        wanted = versions.operation(name, version)
        return wanted if wanted in model.operations else None
    if name in model.operations:
        return name
    known = model.versions.of(name, "operation")
    return known[0] if known and versions.split(name) == (name, 1) else None


def serve(model: Model, asked: str) -> ServedVersion | None:
    """Which exposed operation answers a call of `asked`: itself, else the newest version to which casts lead."""
    if asked not in model.operations:
        return None
    if model.operations[asked].exposes != "none":
        return ServedVersion(asked, asked)
    for other in reversed(model.versions.of(asked, "operation")):
        path = model.versions.path(asked, other)
        if model.operations[other].exposes != "none" and path is not None:
            return ServedVersion(asked, other, path)
    return None


def upcast_input(served: ServedVersion, given: Mapping[str, Any]) -> dict[str, Any]:
    """What the operation that answers is given for what the caller gave. Raises CastFailed."""
    return cast(served.path, given)


def downcast_output(served: ServedVersion, given: Mapping[str, Any], result: Any) -> Any:
    """The answer in the version that the caller asked for. Raises CastFailed."""
    inputs = [given]
    for step in served.path[:-1]:
        inputs.append(cast((step,), inputs[-1]))
    for step, known in zip(reversed(served.path), reversed(inputs), strict=True):
        if step.result is not None:
            result = _apply(step, step.result, {"input": known, "result": result}, step.source)
    return result
