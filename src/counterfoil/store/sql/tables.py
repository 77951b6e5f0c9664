"""The tables of the SQL stores. The fields of a record and their types give the columns of its table."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Any, Final, TypeVar

import msgspec

from counterfoil.core.approval import Approval, ApprovalState, Vote
from counterfoil.core.audit import Checkpoint, Leaf
from counterfoil.core.book_checkpoint import BookCheckpoint
from counterfoil.core.call import OperationCall
from counterfoil.core.canonical import CanonicalEvent, Head, Receipt
from counterfoil.core.case import Case
from counterfoil.core.case_edits import CaseComment
from counterfoil.core.delegation import Delegation
from counterfoil.core.delivery import NoticeDelivery
from counterfoil.core.effect import IN_FLIGHT, UNFINISHED, UNSETTLED, Effect, EffectState
from counterfoil.core.foil import UNFINISHED_FOILS, Allocation, Foil, Observation, Pairing, Waiver
from counterfoil.core.link import Link
from counterfoil.core.money import Money
from counterfoil.core.notice import Notice
from counterfoil.core.notice_preferences import NoticePreferences
from counterfoil.core.people import Person, Token
from counterfoil.core.quota import Quota, SystemAccount, WorkerHeartbeat
from counterfoil.core.release import Plan, ReleaseStep
from counterfoil.core.run import TERMINAL, InboxItem, Run, RunStatus
from counterfoil.core.sweep import Sweep
from counterfoil.store.port.matches import DocumentVersion
from counterfoil.store.port.versions import UseCount
from counterfoil.store.sql.columns import (
    BOOL,
    BYTES,
    HEADERS,
    INT,
    TEXT,
    TIME,
    ColumnType,
    SqlTable,
    columns_of,
    json_column,
)

RESIDUAL = json_column(dict[str, int])
R = TypeVar("R", bound=msgspec.Struct)


def _table(name: str, record: type[R], *without: str) -> SqlTable[R]:
    """Return the table with a column for each field of a record, except for those in `without`."""
    return SqlTable(name, record, columns_of(record, *without))


def _rows(name: str, **columns: ColumnType) -> SqlTable[Any]:
    """Return a table that is written and read as plain rows."""
    return SqlTable(name, dict, columns)


RECEIPT = _table("receipt", Receipt, "no", "headers", "body")
RECEIPT_BODY = _rows("receipt_body", no=INT, headers=HEADERS, body=BYTES)
TODO = _rows("todo", kind=TEXT, ref=TEXT, parked=BOOL, wake_topic=TEXT)
EVENT = _table("event", CanonicalEvent)
EVENT_REPEAT = _rows("event_repeat", event=TEXT, receipt=INT)
HEAD = _table("head", Head)
HEAD_HISTORY = _table("head_history", Head)
HEAD_TEXT = _rows("head_text", object=TEXT, key=TEXT, field=TEXT, value=TEXT)
HEAD_WORD = _rows("head_word", object=TEXT, key=TEXT, word=TEXT)
WORD_VARIANT = _rows("word_variant", variant=TEXT, word=TEXT)
LINK = _table("link", Link)
LINK_CONFIRMED = "status = 'confirmed' and status <> 'superseded'"
"""The second condition is implied, but without it SQLite does not use the partial index `link_active`."""
RUN_BIRTH = _table("run", Run, "arrival")
"""What a new Run brings; its arrival is numbered by the store."""
RUN = _table("run", Run)
INBOX = _table("inbox", InboxItem)
WAIT = _rows("wait", topic=TEXT, run=TEXT, since=TIME)
POST = _rows("post", topic=TEXT, event=TEXT, at=TIME, body=BYTES)
HOLD = _rows("hold", serial=TEXT, run=TEXT)
SERIAL_WAIT = _rows("serial_wait", serial=TEXT, run=TEXT, arrival=INT)
EFFECT = _table("effect", Effect)
MATCH_ROW = _rows("match_row", rule=TEXT, key=TEXT)
MATCH_USER = _rows("match_user", rule=TEXT, key=TEXT, user_rule=TEXT, document=TEXT)
"""Documents whose versions use, or once used, up the total of a match."""
FOIL: SqlTable[Foil] = SqlTable(
    "foil",
    lambda *, amount_minor, **fields: Foil(**fields),
    {
        {"left": "left_system", "right": "right_system"}.get(field, field): column
        for field, column in {**columns_of(Foil), "residual": RESIDUAL, "excess": RESIDUAL}.items()
    }
    | {"amount_minor": INT},
    left_system="left",
    right_system="right",
)
OBSERVATION: SqlTable[Observation] = SqlTable(
    "observation",
    lambda *, amount_minor, **fields: Observation(**fields),
    {**columns_of(Observation), "state": TEXT, "amount_minor": INT},
)
UNACCOUNTED = """
state in ('unmatched', 'over') and ((state = 'over' and foil is null) or (state = 'unmatched' and not exists (
  select 1 from observation other
  where other.event = observation.event and other.rule <> observation.rule
    and (other.state <> 'unmatched' or other.rule < observation.rule)
)))
"""
"""Surplus that no foil bears, and unmatched items. A document that several reconciliations read is unmatched where none of
them has its other half, and listed once; several documents of one event in one reconciliation are each listed. The states
are named first because an index has rows of these alone."""
VERSION = _table("document_version", DocumentVersion)
PAIRING = _table("pairing", Pairing)
WAIVER = SqlTable("waiver", Waiver, {**columns_of(Waiver), "residual": RESIDUAL})
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
GUARD = _rows("guard", scope=TEXT, key=TEXT, used=INT, most=INT)
RESERVATION = _rows("reservation", scope=TEXT, key=TEXT, run=TEXT, path=TEXT, amount=INT, live=BOOL)
APPROVAL = _table("approval", Approval)
VOTE = _table("vote", Vote)
CASE = _table("case_", Case)
CASE_COMMENT = _table("case_comment", CaseComment)
DELIVERY = _table("delivery", NoticeDelivery)
NOTICE = _table("notice", Notice)
NOTICE_PREFERENCE = _table("notice_preference", NoticePreferences)
DELEGATION = _table("delegation", Delegation)
PERSON = _table("person", Person)
TOKEN = _table("token", Token)
RELEASE = _rows("release", digest=TEXT, body=BYTES, at=TIME)
PLAN = _table("plan", Plan)
PLAN_WITH_MODEL: SqlTable[Any] = SqlTable("plan", dict, {**PLAN.columns, "model": BYTES})
RELEASE_STEP = _table("release_step", ReleaseStep)
LEAF = _table("leaf", Leaf)
PENDING = _rows("pending", leaf=TEXT, hash=BYTES)
TREE = _rows("tree", idx=INT, leaf=TEXT, hash=BYTES)
CHECKPOINT = _table("checkpoint", Checkpoint)
BOOK_CHECKPOINT = _table("book_checkpoint", BookCheckpoint)
SWEEP = _table("sweep", Sweep)
SWEPT = _rows("swept", sweep=TEXT, receipt=INT)
WORKER = _table("worker", WorkerHeartbeat)
ACCOUNT = _table("account", SystemAccount)
QUOTA = _table("quota", Quota)
CALL = _table("call", OperationCall)
RATE = _rows("rate", consumer=TEXT, operation=TEXT, spent=INT)
USAGE = _rows(
    "usage_event",
    source=TEXT,
    id=TEXT,
    type=TEXT,
    subscription=TEXT,
    meter=TEXT,
    at=INT,
    batch=TEXT,
    body=BYTES,
)
QUARANTINE = _rows(
    "usage_quarantine",
    id=TEXT,
    batch=TEXT,
    at=INT,
    reason=TEXT,
    message=TEXT,
    source=TEXT,
    event=TEXT,
    body=BYTES,
)
STUCK = _rows(
    "stuck",
    kind=TEXT,
    about=TEXT,
    count=INT,
    since=INT,
    subjects=TEXT,
    owner=TEXT,
    first_at=INT,
    seen_at=INT,
    case_=TEXT,
)
VERSION_USE = _table("version_use", UseCount)
WAITED = _rows("waited", release=TEXT, type=TEXT, field=TEXT)


def sql_list(states: Collection[StrEnum]) -> str:
    """Return `('a', 'b')` in order of declaration.

    The order is part of the contract: SQLite uses a partial index only where a query repeats its condition literally.
    """
    order = list(type(next(iter(states))))
    return f"({', '.join(repr(str(state)) for state in sorted(states, key=order.index))})"


RUN_ENDED: Final = sql_list(TERMINAL)
RUN_ACTIVE: Final = sql_list(set(RunStatus) - TERMINAL)
EFFECT_IN_FLIGHT: Final = sql_list(IN_FLIGHT)
EFFECT_UNSETTLED: Final = sql_list(UNSETTLED)
EFFECT_UNFINISHED: Final = sql_list(UNFINISHED)
EFFECT_MAY_EXIST: Final = sql_list(IN_FLIGHT | {EffectState.CONFIRMED})
FOIL_WAITING: Final = sql_list(UNFINISHED_FOILS)
APPROVAL_VALID: Final = sql_list({ApprovalState.OPEN, ApprovalState.GRANTED})
