"""The tables of the SQL stores: which column holds which field of a record."""

from __future__ import annotations

from typing import Any

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
from counterfoil.store.sql.columns import (
    BOOL,
    BYTES,
    HEADERS,
    INT,
    LEGS,
    MONEY,
    MONEYS,
    TEXT,
    TEXTS,
    TIME,
    VALUES,
    ColumnType,
    SqlTable,
    enum_column,
    json_column,
)

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
        "status": enum_column(LinkStatus),
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
    "status": enum_column(RunStatus),
    "direction": enum_column(Direction),
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
    "inbox", InboxItem, {"run": TEXT, "seq": INT, "kind": TEXT, "ref": TEXT, "at": TIME, "body": BYTES}
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
        "state": enum_column(EffectState),
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
        "error_class": enum_column(ErrorClass),
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
        "state": enum_column(FoilState),
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
    "reservation", dict, {"scope": TEXT, "key": TEXT, "run": TEXT, "path": TEXT, "amount": INT, "live": BOOL}
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
        "state": enum_column(ApprovalState),
        "expires": TIME,
        "created_at": TIME,
        "automatic": BOOL,
    },
)
VOTE = SqlTable(
    "vote", Vote, {"approval": TEXT, "person": TEXT, "approve": BOOL, "comment": TEXT, "at": TIME}
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
        "choices": json_column(tuple[Choice, ...]),
        "state": enum_column(CaseState),
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
        "choice": enum_column(Choice),
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
    "state": enum_column(PlanState),
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
    "quota", Quota, {"account": TEXT, "worker": TEXT, "n": INT, "wanted": INT, "cap": INT, "until": TIME}
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
