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
from counterfoil.model.fields import (
    ANY,
    BOOLEAN,
    INTEGER,
    MONEY,
    STRING,
    TIMESTAMP,
    Schema,
    closed_object,
    list_of,
)

Record: TypeAlias = Run | Effect | Approval | Foil | Case | CanonicalEvent


def _fields(texts: str, times: str, **others: Schema) -> dict[str, Schema]:
    """Return the fields of a record by name: texts and times, separated by spaces, and fields of other types."""
    return dict.fromkeys(texts.split(), STRING) | dict.fromkeys(times.split(), TIMESTAMP) | others


_FIELDS: dict[str, dict[str, Schema]] = {
    "run": _fields("id workflow key status direction state", "created_at"),
    "effect": _fields(
        "id operation system state error_class",
        "created_at ended_at",
        attempt=INTEGER,
        approvals=list_of(STRING),
    ),
    "approval": _fields(
        "id policy state requester",
        "created_at",
        amount=MONEY,
        quorum=INTEGER,
        automatic=BOOLEAN,
        **dict.fromkeys(("roles", "senders", "approvers"), list_of(STRING)),
    ),
    "foil": _fields("id rule key left right state", "due created_at settled_at"),
    "case": _fields("id reason owner state choice resolved_by", "created_at resolved_at"),
    "event": _fields("id type system key legal_entity", "received_at", data=ANY),
}
_RENAMED = {"key": "bkey"}  # of a Run


def word_of(of: str) -> str:
    """Return the name of one such record in a formula."""
    return of.removesuffix("s")


def schema_of(of: str) -> dict[str, Schema]:
    """Return the names and schemas that a formula over these records may read."""
    return {word_of(of): closed_object(_FIELDS[word_of(of)])}


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
