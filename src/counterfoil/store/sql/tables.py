"""Tables and the records they hold: which column keeps which field, and how a value becomes a column and back.

The SQL stores read and write whole records by these; nothing here knows a transition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from operator import attrgetter
from typing import Any, Generic, TypeVar

import msgspec

from counterfoil.core import wire
from counterfoil.core.approval import Approval, ApprovalState, Vote
from counterfoil.core.audit import Checkpoint, Leaf
from counterfoil.core.call import OperationCall
from counterfoil.core.canonical import CanonicalEvent, Head, Receipt
from counterfoil.core.case import Case, CaseState, Choice
from counterfoil.core.effect import Effect, EffectState
from counterfoil.core.errors import ErrorClass
from counterfoil.core.foil import Allocation, Foil, FoilState, Observation
from counterfoil.core.link import Link, LinkStatus
from counterfoil.core.money import Money
from counterfoil.core.people import Person, Token
from counterfoil.core.quota import Quota, SystemAccount, WorkerHeartbeat
from counterfoil.core.release import Plan, PlanState, ReleaseStep
from counterfoil.core.run import Direction, InboxItem, Run, RunStatus

R = TypeVar("R")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def micros(at: datetime) -> int:
    """Microseconds since 1970 UTC, exactly: how every time is kept."""
    return (at - EPOCH) // _MICROSECOND


def micros_or_none(at: datetime | None) -> int | None:
    return None if at is None else (at - EPOCH) // _MICROSECOND


def moment(value: int) -> datetime:
    return EPOCH + timedelta(microseconds=value)


def _same(value: Any) -> Any:
    return value


class ColumnType:
    """How one kind of value is kept: the type of its column, the way in and the way out."""

    __slots__ = ("load", "save", "type")

    def __init__(
        self, type_: str, save: Callable[[Any], Any] = _same, load: Callable[[Any], Any] = _same
    ) -> None:
        self.type = type_
        self.save = save
        self.load = load


def _json(of: Any) -> ColumnType:
    decoder = msgspec.json.Decoder(of)
    return ColumnType("text", lambda value: msgspec.json.encode(value).decode(), decoder.decode)


def _enum(of: type[StrEnum]) -> ColumnType:
    return ColumnType("text", str, {str(member): member for member in of}.__getitem__)


TEXT = ColumnType("text")
INT = ColumnType("bigint")
BYTES = ColumnType("bytea")
BOOL = ColumnType("boolean", load=bool)
TIME = ColumnType("bigint", micros, moment)
VALUES = ColumnType("bytea", wire.dumps, wire.loads)
TEXTS = _json(tuple[str, ...])
MONEY = _json(Money)
MONEYS = _json(tuple[Money, ...])
LEGS = _json(dict[str, Money])
HEADERS = _json(dict[str, str])


KEYS = {
    "receipt": ("system", "ext_id"),
    "head": ("object", "key"),
    "post": ("topic", "event"),
    "hold": ("serial",),
    "match_row": ("rule", "key"),
    "vote": ("approval", "person"),
    "release": ("digest",),
    "plan": ("digest",),
    "release_step": ("no",),
    "account": ("account",),
    "quota": ("account", "worker"),
    "call": ("consumer", "operation", "key"),
    "rate": ("consumer", "operation"),
}
"""The columns that tell rows of a table apart where that is not `id`."""


class SqlTable(Generic[R]):
    """One table. `columns` maps a column to its kind; a column named otherwise than its field is in `fields`."""

    def __init__(
        self, name: str, record: Callable[..., R], columns: dict[str, ColumnType], **fields: str
    ) -> None:
        self.name = name
        self.record = record
        self.columns = columns
        self.key = KEYS.get(name, ("id",))
        self.fields = tuple(fields.get(column, column) for column in columns)
        self.names = ", ".join(columns)
        self.types = tuple(kind.type for kind in columns.values())
        self._values = attrgetter(*self.fields)
        self._saved = [(n, kind.save) for n, kind in enumerate(columns.values()) if kind.save is not _same]
        self._load = tuple(
            (field, kind.load) for field, kind in zip(self.fields, columns.values(), strict=True)
        )

    def row(self, record: R) -> tuple[Any, ...]:
        values = list(self._values(record))
        for n, save in self._saved:
            if values[n] is not None:
                values[n] = save(values[n])
        return tuple(values)

    def read(self, row: Sequence[Any], **more: Any) -> R:
        """The record of a row that has this table's columns first."""
        for (field, load), value in zip(self._load, row, strict=False):
            more[field] = value if load is _same or value is None else load(value)
        return self.record(**more)

    def of(self, alias: str) -> str:
        """The columns, said of an alias."""
        return ", ".join(f"{alias}.{column}" for column in self.columns)


RECEIPT = SqlTable(
    "receipt",
    Receipt,
    {
        "system": TEXT,
        "ext_id": TEXT,
        "type": TEXT,
        "identity": TEXT,
        "sha256": TEXT,
        "door": TEXT,
        "received_at": TIME,
    },
)
RECEIPT_BODY: SqlTable[Any] = SqlTable("receipt_body", dict, {"no": INT, "headers": HEADERS, "body": BYTES})
TODO: SqlTable[Any] = SqlTable("todo", dict, {"kind": TEXT, "ref": TEXT, "parked": BOOL, "wake_topic": TEXT})
EVENT = SqlTable(
    "event",
    CanonicalEvent,
    {
        "id": TEXT,
        "type": TEXT,
        "system": TEXT,
        "object": TEXT,
        "key": TEXT,
        "version": INT,
        "data": VALUES,
        "legal_entity": TEXT,
        "occurred_at": TIME,
        "effective_at": TIME,
        "received_at": TIME,
        "receipt": INT,
        "cause": TEXT,
        "correlation": TEXT,
    },
)
_HEAD: dict[str, ColumnType] = {
    "object": TEXT,
    "key": TEXT,
    "version": INT,
    "state": VALUES,
    "system": TEXT,
    "effective_at": TIME,
    "recorded_at": TIME,
    "event": TEXT,
    "versions": VALUES,
}
HEAD = SqlTable("head", Head, _HEAD)
HEAD_HISTORY = SqlTable("head_history", Head, _HEAD)
LINK = SqlTable(
    "link",
    Link,
    {
        "object": TEXT,
        "canonical": TEXT,
        "system": TEXT,
        "account": TEXT,
        "ext_id": TEXT,
        "ext_type": TEXT,
        "legal_entity": TEXT,
        "status": _enum(LinkStatus),
        "established_by": TEXT,
        "valid_from": TIME,
        "valid_to": TIME,
    },
)
RUN_COLUMNS: dict[str, ColumnType] = {
    "id": TEXT,
    "workflow": TEXT,
    "bkey": TEXT,
    "generation": INT,
    "pin": TEXT,
    "created_at": TIME,
    "status": _enum(RunStatus),
    "direction": _enum(Direction),
    "state": TEXT,
    "version": INT,
    "inbox_n": INT,
    "consumed": INT,
    "due": TIME,
    "owner": TEXT,
    "lease_until": TIME,
    "now": TIME,
    "ctx": BYTES,
    "lane": INT,
}
RUN_BIRTH: SqlTable[Any] = SqlTable("run", Run, RUN_COLUMNS)
"""What a new Run brings; its arrival is numbered by the store."""
RUN = SqlTable("run", Run, {**RUN_COLUMNS, "arrival": INT})
INBOX = SqlTable(
    "inbox",
    InboxItem,
    {"run": TEXT, "seq": INT, "kind": TEXT, "ref": TEXT, "at": TIME, "body": BYTES},
)
WAIT: SqlTable[Any] = SqlTable("wait", dict, {"topic": TEXT, "run": TEXT, "since": TIME})
POST: SqlTable[Any] = SqlTable("post", dict, {"topic": TEXT, "event": TEXT, "at": TIME, "body": BYTES})
HOLD: SqlTable[Any] = SqlTable("hold", dict, {"serial": TEXT, "run": TEXT})
SERIAL_WAIT: SqlTable[Any] = SqlTable("serial_wait", dict, {"serial": TEXT, "run": TEXT, "arrival": INT})
EFFECT = SqlTable(
    "effect",
    Effect,
    {
        "id": TEXT,
        "run": TEXT,
        "path": TEXT,
        "item": TEXT,
        "gen": INT,
        "undoes": TEXT,
        "operation": TEXT,
        "system": TEXT,
        "repeat": TEXT,
        "state": _enum(EffectState),
        "attempt": INT,
        "worker": TEXT,
        "send_by": TIME,
        "call_until": TIME,
        "conclude_at": TIME,
        "look_at": TIME,
        "looks": INT,
        "request": BYTES,
        "input": BYTES,
        "approvals": TEXTS,
        "result": BYTES,
        "error_class": _enum(ErrorClass),
        "error": TEXT,
        "created_at": TIME,
        "ended_at": TIME,
        "lane": INT,
    },
)
MATCH_ROW: SqlTable[Any] = SqlTable("match_row", dict, {"rule": TEXT, "key": TEXT})
FOIL = SqlTable(
    "foil",
    Foil,
    {
        "id": TEXT,
        "rule": TEXT,
        "key": TEXT,
        "object": TEXT,
        "left_system": TEXT,
        "right_system": TEXT,
        "legs": LEGS,
        "due": TIME,
        "state": _enum(FoilState),
        "tolerance": INT,
        "exact": BOOL,
        "run": TEXT,
        "effect": TEXT,
        "cause": TEXT,
        "owner": TEXT,
        "reason": TEXT,
        "created_at": TIME,
        "settled_at": TIME,
    },
    left_system="left",
    right_system="right",
)
OBSERVATION = SqlTable(
    "observation",
    Observation,
    {
        "id": TEXT,
        "rule": TEXT,
        "key": TEXT,
        "subject": TEXT,
        "version": INT,
        "legs": LEGS,
        "event": TEXT,
        "at": TIME,
    },
)
ALLOCATION: SqlTable[Any] = SqlTable(
    "allocation",
    lambda *, foil, observation, leg, minor, currency, **_: Allocation(
        foil=foil, observation=observation, leg=leg, amount=Money(minor, currency)
    ),
    {
        "rule": TEXT,
        "key": TEXT,
        "foil": TEXT,
        "observation": TEXT,
        "leg": TEXT,
        "minor": INT,
        "currency": TEXT,
    },
)
GUARD: SqlTable[Any] = SqlTable("guard", dict, {"scope": TEXT, "key": TEXT, "used": INT, "most": INT})
RESERVATION: SqlTable[Any] = SqlTable(
    "reservation",
    dict,
    {"scope": TEXT, "key": TEXT, "run": TEXT, "path": TEXT, "amount": INT, "live": BOOL},
)
APPROVAL = SqlTable(
    "approval",
    Approval,
    {
        "id": TEXT,
        "run": TEXT,
        "path": TEXT,
        "policy": TEXT,
        "subject": TEXT,
        "covers": BYTES,
        "amount": MONEY,
        "roles": TEXTS,
        "quorum": INT,
        "requester": TEXT,
        "state": _enum(ApprovalState),
        "expires": TIME,
        "created_at": TIME,
        "automatic": BOOL,
    },
)
VOTE = SqlTable(
    "vote",
    Vote,
    {"approval": TEXT, "person": TEXT, "approve": BOOL, "comment": TEXT, "at": TIME},
)
CASE = SqlTable(
    "case_",
    Case,
    {
        "id": TEXT,
        "reason": TEXT,
        "message": TEXT,
        "owner": TEXT,
        "deadline": TIME,
        "next_action": TEXT,
        "choices": _json(tuple[Choice, ...]),
        "state": _enum(CaseState),
        "run": TEXT,
        "path": TEXT,
        "receipt": INT,
        "event": TEXT,
        "effect": TEXT,
        "foil": TEXT,
        "exposure": MONEYS,
        "created_at": TIME,
        "resolved_at": TIME,
        "resolved_by": TEXT,
        "choice": _enum(Choice),
        "note": TEXT,
    },
)
PERSON = SqlTable(
    "person",
    Person,
    {"id": TEXT, "name": TEXT, "email": TEXT, "roles": TEXTS, "secret": TEXT, "active": BOOL},
)
TOKEN = SqlTable("token", Token, {"digest": TEXT, "person": TEXT, "kind": TEXT, "expires": TIME})
RELEASE: SqlTable[Any] = SqlTable("release", dict, {"digest": TEXT, "body": BYTES, "at": TIME})
_PLAN: dict[str, ColumnType] = {
    "digest": TEXT,
    "base": TEXT,
    "revision": TEXT,
    "requester": TEXT,
    "approvals": TEXTS,
    "round": INT,
    "state": _enum(PlanState),
    "body": BYTES,
    "created_at": TIME,
    "expires": TIME,
}
PLAN = SqlTable("plan", Plan, _PLAN)
PLAN_WITH_MODEL: SqlTable[Any] = SqlTable("plan", dict, {**_PLAN, "model": BYTES})
RELEASE_STEP = SqlTable(
    "release_step",
    ReleaseStep,
    {
        "no": INT,
        "digest": TEXT,
        "base": TEXT,
        "plan": TEXT,
        "at": TIME,
        "requester": TEXT,
        "applied_by": TEXT,
        "approvers": TEXTS,
        "reason": TEXT,
        "emergency": BOOL,
    },
)
LEAF = SqlTable(
    "leaf",
    Leaf,
    {
        "id": TEXT,
        "kind": TEXT,
        "subject": TEXT,
        "run": TEXT,
        "version": INT,
        "actor": TEXT,
        "at": TIME,
        "body": BYTES,
    },
)
PENDING: SqlTable[Any] = SqlTable("pending", dict, {"leaf": TEXT, "hash": BYTES})
TREE: SqlTable[Any] = SqlTable("tree", dict, {"idx": INT, "leaf": TEXT})
CHECKPOINT = SqlTable("checkpoint", Checkpoint, {"size": INT, "root": BYTES, "at": TIME, "text": TEXT})
WORKER = SqlTable("worker", WorkerHeartbeat, {"id": TEXT, "until": TIME, "at": TIME})
ACCOUNT = SqlTable("account", SystemAccount, {"account": TEXT, "cap": INT, "aim": INT, "tuned_at": TIME})
QUOTA = SqlTable(
    "quota",
    Quota,
    {"account": TEXT, "worker": TEXT, "n": INT, "wanted": INT, "cap": INT, "until": TIME},
)
CALL = SqlTable(
    "call",
    OperationCall,
    {
        "consumer": TEXT,
        "operation": TEXT,
        "version": INT,
        "key": TEXT,
        "digest": TEXT,
        "correlation": TEXT,
        "run": TEXT,
        "receipt": INT,
        "holder": TEXT,
        "until": TIME,
        "at": TIME,
        "status": INT,
        "headers": HEADERS,
        "body": BYTES,
        "answered_at": TIME,
    },
)
RATE: SqlTable[Any] = SqlTable("rate", dict, {"consumer": TEXT, "operation": TEXT, "spent": INT})
USAGE: SqlTable[Any] = SqlTable(
    "usage_event",
    dict,
    {
        "source": TEXT,
        "id": TEXT,
        "type": TEXT,
        "subscription": TEXT,
        "meter": TEXT,
        "at": INT,
        "batch": TEXT,
        "body": BYTES,
    },
)
QUARANTINE: SqlTable[Any] = SqlTable(
    "usage_quarantine",
    dict,
    {
        "id": TEXT,
        "batch": TEXT,
        "at": INT,
        "reason": TEXT,
        "message": TEXT,
        "source": TEXT,
        "event": TEXT,
        "body": BYTES,
    },
)
STUCK: SqlTable[Any] = SqlTable(
    "stuck",
    dict,
    {
        "kind": TEXT,
        "about": TEXT,
        "count": INT,
        "since": INT,
        "subjects": TEXT,
        "owner": TEXT,
        "first_at": INT,
        "seen_at": INT,
        "case_": TEXT,
    },
)
WAITED: SqlTable[Any] = SqlTable("waited", dict, {"release": TEXT, "type": TEXT, "field": TEXT})
