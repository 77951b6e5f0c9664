"""Usage: consumption in batches of CloudEvents, which are too many for a Receipt and a Run each.

This module reads a batch into rows and compares the content of events. `rules/usage.py` checks a batch against a Model;
a store transition stores it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

import msgspec

from counterfoil.core import ids
from counterfoil.core.event import BATCH, STRUCTURED, parse
from counterfoil.core.money import Money
from counterfoil.core.wire import FlatReader, WireRefused, read_json

MAX_BATCH_EVENTS = 10_000
NDJSON_TYPES = ("application/x-ndjson", "application/ndjson", "application/jsonl")
MAX_EXAMPLES = 5

UsageRow: TypeAlias = tuple[str, str, str, str, str, int, str, bytes]
"""source, id, type, subscription, meter, occurred at (microseconds since 1970 UTC), batch, and the event's bytes."""


class RefusedUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Event in quarantine, with its bytes as received."""

    reason: str
    """`usage_clash`, `usage_invalid`, ...: also the reason of its Case."""
    message: str
    source: str = ""
    id: str = ""
    meter: str = ""
    """Empty if the meter is not declared."""
    amounts: tuple[Money, ...] = ()
    """Money in its data."""
    body: bytes

    @property
    def key(self) -> str:
        """Id of its row. A repeat of the event with the same reason has the same row."""
        return ids.derive("refused", self.reason, hashlib.sha256(self.body).hexdigest())

    @property
    def group(self) -> UsageGroup:
        return UsageGroup(self.reason, self.source, self.meter)


class UsageGroup(NamedTuple):
    """Events in quarantine that share a Case for one day: with the same reason, system and meter."""

    reason: str
    source: str
    meter: str

    @property
    def system(self) -> str:
        """The declared system of the source; empty if it is not declared, because a sender chooses those names."""
        named = self.reason not in ("usage_unknown_source", "usage_unreadable")
        return self.source.removeprefix("/").partition("/")[0] if named else ""

    def case_id(self, at: datetime) -> str:
        return ids.derive("case", "usage", self.reason, self.system, self.meter, at.date().isoformat())


_RAW = msgspec.json.Decoder(list[msgspec.Raw])


def read_batch(body: bytes, content_type: str) -> tuple[list[UsageEvent | str], list[bytes]]:
    """Return the events of a batch, and the bytes of each. An unreadable event is replaced by the text of its problem.

    Raises WireRefused if the body as a whole is not a batch.
    """
    media = content_type.partition(";")[0].strip().lower()
    lines = None
    if media in NDJSON_TYPES:
        lines = [line for line in (line.strip() for line in body.split(b"\n")) if line]
        body = b"[" + b",".join(lines) + b"]"
    elif media == STRUCTURED:
        lines = [body.strip()]
        body = b"[" + body + b"]"
    elif media != BATCH:
        raise WireRefused(f"usage comes as {BATCH} or {NDJSON_TYPES[0]}, not {media[:80]!r}", "content-type")
    events: list[UsageEvent | str] | None = _read_plain(body)
    if events is None and type(read_json(body)) is not list:
        raise WireRefused("a batch is a JSON array of events", "$")
    bodies = [bytes(raw) for raw in _RAW.decode(body)]
    if lines is not None and len(lines) != len(bodies):
        raise WireRefused("each line is one JSON value", "$")
    if len(bodies) > MAX_BATCH_EVENTS:
        raise WireRefused(f"{len(bodies)} events; a batch has at most {MAX_BATCH_EVENTS}", "$")
    return ([_read_event(event) for event in bodies] if events is None else events), bodies


class UsageEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Usage CloudEvent: the attributes that are checked."""

    id: Annotated[str, msgspec.Meta(min_length=1)]
    source: Annotated[str, msgspec.Meta(min_length=1)]
    type: Annotated[str, msgspec.Meta(min_length=1)]
    time: Annotated[datetime, msgspec.Meta(tz=True)]
    specversion: Literal["1.0"]
    subject: str = ""
    datacontenttype: Literal["application/json", ""] = ""
    legalentity: str = ""
    data: dict[str, Any] | None = None


_PLAIN = FlatReader(UsageEvent)


def _read_plain(body: bytes) -> Any:
    """Read all events of a batch at once if they have the usual plain form, else return None.

    It accepts only events that `event.parse` accepts, but checks them per batch instead of one by one.
    """
    events = _PLAIN.read(body, _members)
    if not events:
        return events
    texts = "".join([f"{e.id}{e.subject}{e.legalentity}" for e in events])
    if not (texts.isascii() and texts.isprintable()):
        return None
    for attribute in {e.source for e in events} | {e.type for e in events}:
        if not _SOURCE.fullmatch(attribute):
            return None
    return events


_SOURCE = re.compile(r"[A-Za-z0-9\-._~:/]+")


def _members(events: list[UsageEvent]) -> int:
    """Return the least number of members of the objects. More in the bytes means a duplicate or an empty one: the slow
    path then reports it."""
    data_members = sum([1 + len(e.data) for e in events if e.data is not None])
    optional = sum([(e.subject != "") + (e.datacontenttype != "") + (e.legalentity != "") for e in events])
    return 5 * len(events) + data_members + optional


def _read_event(body: bytes) -> UsageEvent | str:
    """Read one event by all rules of CloudEvents. Return the text of the problem if it is not usage."""
    try:
        (full,) = parse(body, STRUCTURED)
    except WireRefused as error:
        return str(error)[:1000]
    if full.time is None:
        return "time is missing: usage needs the time at which it happened"
    data = full.data if type(full.data) is dict else None
    entity = str(full.extensions.get("legalentity", ""))
    return UsageEvent(full.id, full.source, full.type, full.time, "1.0", legalentity=entity, data=data)


def same_content(a: bytes, b: bytes) -> bool:
    """Return whether two events are equal, apart from the order of members and white space."""
    return a == b or bool(read_json(a) == read_json(b))


def digest(rows: Sequence[UsageRow]) -> str:
    """Return SHA-256 in hex over rows in order of source and id, for the leaf of the batch."""
    return hashlib.sha256(msgspec.msgpack.encode(rows)).hexdigest()


def examples(refused: Sequence[RefusedUsage]) -> str:
    """Return the count and the first few events as text, for a Case."""
    named = "; ".join(f"{r.source} {r.id}: {r.message}"[:300] for r in refused[:MAX_EXAMPLES])
    more = f"; and {len(refused) - MAX_EXAMPLES} more" if len(refused) > MAX_EXAMPLES else ""
    return f"{len(refused)} in quarantine: {named}{more}"
