"""What a control's evidence query reads: recorded things by the names and types that its formula knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from counterfoil.core.approval import Approval
from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.case import Case
from counterfoil.core.effect import Effect
from counterfoil.core.foil import Foil
from counterfoil.core.run import Run
from counterfoil.model.fields import ANY, BOOLEAN, INTEGER, MONEY, STRING, TIMESTAMP, Schema

Record: TypeAlias = Run | Effect | Approval | Foil | Case | CanonicalEvent

_STRINGS: Schema = {"type": "array", "items": STRING}
_FIELDS: dict[str, dict[str, Schema]] = {
    "run": {
        "id": STRING,
        "workflow": STRING,
        "key": STRING,
        "status": STRING,
        "direction": STRING,
        "state": STRING,
        "created_at": TIMESTAMP,
    },
    "effect": {
        "id": STRING,
        "operation": STRING,
        "system": STRING,
        "state": STRING,
        "attempt": INTEGER,
        "approvals": _STRINGS,
        "error_class": STRING,
        "created_at": TIMESTAMP,
        "ended_at": TIMESTAMP,
    },
    "approval": {
        "id": STRING,
        "policy": STRING,
        "state": STRING,
        "amount": MONEY,
        "roles": _STRINGS,
        "quorum": INTEGER,
        "requester": STRING,
        "approvers": _STRINGS,
        "automatic": BOOLEAN,
        "created_at": TIMESTAMP,
    },
    "foil": {
        "id": STRING,
        "rule": STRING,
        "key": STRING,
        "left": STRING,
        "right": STRING,
        "state": STRING,
        "due": TIMESTAMP,
        "created_at": TIMESTAMP,
        "settled_at": TIMESTAMP,
    },
    "case": {
        "id": STRING,
        "reason": STRING,
        "owner": STRING,
        "state": STRING,
        "choice": STRING,
        "resolved_by": STRING,
        "created_at": TIMESTAMP,
        "resolved_at": TIMESTAMP,
    },
    "event": {
        "id": STRING,
        "type": STRING,
        "system": STRING,
        "key": STRING,
        "legal_entity": STRING,
        "data": ANY,
        "received_at": TIMESTAMP,
    },
}
_RENAMED = {"key": "bkey"}  # a Run's


def word_of(of: str) -> str:
    """The name by which a formula reads one of these records."""
    return of.removesuffix("s")


def schema_of(of: str) -> dict[str, Schema]:
    """What a formula over these records may read."""
    return {
        word_of(of): {"type": "object", "properties": _FIELDS[word_of(of)], "additionalProperties": False}
    }


def names_of(of: str, record: Record, approvers: Sequence[str] = ()) -> Mapping[str, Any]:
    """One record as a formula reads it; what it does not have is null."""
    values: dict[str, Any] = {}
    for name in _FIELDS[word_of(of)]:
        if name == "approvers":
            values[name] = list(approvers)
            continue
        value = getattr(record, _RENAMED.get(name, name) if of == "runs" else name)
        values[name] = list(value) if isinstance(value, tuple) else str(value) if _is_word(value) else value
    return {word_of(of): values}


def _is_word(value: Any) -> bool:
    """A state or class: formulas know texts and no enumerations."""
    return isinstance(value, str) and type(value) is not str
