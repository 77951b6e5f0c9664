"""Usage: what was consumed, as batches of CloudEvents that are too many to be Receipts and Runs one by one.

Reading a batch, the rows that are kept of it, and what tells a repeat from a clash. Judging a batch by a Model
is `rules/usage.py`; keeping it is a store's transition.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from counterfoil.core import ids
from counterfoil.core.event import BATCH, STRUCTURED, parse
from counterfoil.core.wire import FlatReader, WireRefused, read_json

MOST = 10_000
"""Events of one batch."""
LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl")
EXAMPLES = 5

UsageRow: TypeAlias = tuple[str, str, str, str, str, int, str, bytes]
"""source, id, type, subscription, meter, occurred at (microseconds since 1970 UTC), batch, and the event's bytes."""


class RefusedUsage(msgspec.Struct, frozen=True, kw_only=True):
    """An event that is set aside in quarantine, as it was sent."""

    reason: str
    """`usage_clash`, `usage_invalid`, ...: also the reason of the Case that tells of it."""
    message: str
    source: str = ""
    id: str = ""
    body: bytes

    @property
    def key(self) -> str:
        """The same event refused for the same reason again is the same row."""
        return ids.derive("refused", self.reason, hashlib.sha256(self.body).hexdigest())


_RAW = msgspec.json.Decoder(list[msgspec.Raw])


def read_batch(body: bytes, content_type: str) -> tuple[list[UsageEvent | str], list[bytes]]:
    """The events of a batch, and the bytes of each. Raises WireRefused for what is no batch as a whole; in the place
    of what is no event stands why."""
    media = content_type.partition(";")[0].strip().lower()
    lines = None
    if media in LINES:
        lines = [line for line in (each.strip() for each in body.split(b"\n")) if line]
        body = b"[" + b",".join(lines) + b"]"
    elif media == STRUCTURED:
        lines = [body.strip()]
        body = b"[" + body + b"]"
    elif media != BATCH:
        raise WireRefused(f"usage comes as {BATCH} or {LINES[0]}, not {media[:80]!r}", "content-type")
    events: list[UsageEvent | str] | None = _plain(body)
    if events is None and type(read_json(body)) is not list:
        raise WireRefused("a batch is a JSON array of events", "$")
    bodies = [bytes(raw) for raw in _RAW.decode(body)]
    if lines is not None and len(lines) != len(bodies):
        raise WireRefused("each line is one JSON value", "$")
    if len(bodies) > MOST:
        raise WireRefused(f"{len(bodies)} events; a batch has at most {MOST}", "$")
    return ([_one(each) for each in bodies] if events is None else events), bodies


class UsageEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A CloudEvent that tells usage, as far as that is judged."""

    id: Annotated[str, msgspec.Meta(min_length=1)]
    source: Annotated[str, msgspec.Meta(min_length=1)]
    type: Annotated[str, msgspec.Meta(min_length=1)]
    time: Annotated[datetime, msgspec.Meta(tz=True)]
    specversion: Literal["1.0"]
    subject: str = ""
    datacontenttype: Literal["application/json", ""] = ""
    data: dict[str, Any] | None = None


_PLAIN = FlatReader(UsageEvent)


def _plain(body: bytes) -> Any:
    """All events of a batch at once, when they are of the plain kind that most are; else None. What is accepted here
    is what `event.parse` accepts, judged by the batch."""
    events = _PLAIN.read(body, _members)
    if not events:
        return events
    texts = "".join([f"{e.id}{e.subject}" for e in events])
    if not (texts.isascii() and texts.isprintable()):
        return None
    for attribute in {e.source for e in events} | {e.type for e in events}:
        if not _SOURCE.fullmatch(attribute):
            return None
    return events


_SOURCE = re.compile(r"[A-Za-z0-9\-._~:/]+")


def _members(events: list[UsageEvent]) -> int:
    """How many members the objects have at least: one more in the bytes is one twice, or an empty one, and then the
    slow way says which."""
    said = sum([1 + len(e.data) for e in events if e.data is not None])
    optional = sum([(e.subject != "") + (e.datacontenttype != "") for e in events])
    return 5 * len(events) + said + optional


def _one(body: bytes) -> UsageEvent | str:
    """One event, read in full by the rules of CloudEvents; or why it is none that tells usage."""
    try:
        (full,) = parse(body, STRUCTURED)
    except WireRefused as error:
        return str(error)[:1000]
    if full.time is None:
        return "usage says when it happened: time is missing"
    data = full.data if type(full.data) is dict else None
    return UsageEvent(full.id, full.source, full.type, full.time, "1.0", data=data)


def same_content(a: bytes, b: bytes) -> bool:
    """Whether two events say the same, whatever the order of their members and their white space."""
    return a == b or bool(read_json(a) == read_json(b))


def digest(rows: Sequence[UsageRow]) -> str:
    """SHA-256, in hex, over rows in order of source and id: what a batch's leaf says of what was kept."""
    return hashlib.sha256(msgspec.msgpack.encode(rows)).hexdigest()


def examples(refused: Sequence[RefusedUsage]) -> str:
    """How many there are, and the first of them in words, for a Case."""
    named = "; ".join(f"{r.source} {r.id}: {r.message}"[:300] for r in refused[:EXAMPLES])
    more = f"; and {len(refused) - EXAMPLES} more" if len(refused) > EXAMPLES else ""
    return f"{len(refused)} in quarantine: {named}{more}"
