"""Records that the evidence query of a control reads, with the names and types for its formula."""

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
_RENAMED = {"key": "bkey"}  # of a Run


def word_of(of: str) -> str:
    """Return the name of one such record in a formula."""
    return of.removesuffix("s")


def schema_of(of: str) -> dict[str, Schema]:
    """Return the names and schemas that a formula over these records may read."""
    return {
        word_of(of): {"type": "object", "properties": _FIELDS[word_of(of)], "additionalProperties": False}
    }


def names_of(of: str, record: Record, approvers: Sequence[str] = ()) -> Mapping[str, Any]:
    """Return the values of one record for a formula; a missing value is null."""
    values: dict[str, Any] = {}
    for name in _FIELDS[word_of(of)]:
        if name == "approvers":
            values[name] = list(approvers)
            continue
        value = getattr(record, _RENAMED.get(name, name) if of == "runs" else name)
        values[name] = list(value) if isinstance(value, tuple) else str(value) if _is_word(value) else value
    return {word_of(of): values}


def _is_word(value: Any) -> bool:
    """Return True for an enumeration value such as a state: formulas have text only."""
    return isinstance(value, str) and type(value) is not str
