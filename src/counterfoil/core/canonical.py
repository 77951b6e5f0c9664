"""Receipts, canonical events and heads: what systems sent, the facts in it, and the resulting state of each object."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from counterfoil.core.clock import micros


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """Exact copy of one delivery from a system. Never changed."""

    system: str
    ext_id: str
    type: str
    identity: str
    """SHA-256 of the source's identity fields: separates a repeat from a clash. After a dot, the digest of the content,
    if the source has volatile parts around it: separates a true repeat from one with other content."""
    sha256: str
    """Of the raw bytes."""
    door: str
    """`webhook`, `poll`, `events`, `fetch`, `file`, `operation`."""
    headers: dict[str, str]
    body: bytes
    received_at: datetime
    sender: str = ""
    """Id of the person whose token sent it; empty for what a system delivered."""
    no: int = 0
    """Number assigned by the store."""

    @property
    def senders(self) -> tuple[str, ...]:
        return (self.sender,) if self.sender else ()

    @property
    def leaf_body(self) -> dict[str, str]:
        """Body of the leaf of a receipt: its origin, and the digest of its body."""
        names = {"system": self.system, "ext_id": self.ext_id, "sha256": self.sha256}
        return {**names, "sender": self.sender} if self.sender else names

    def as_repeat(self) -> Receipt:
        """Return this delivery under an id of its own: it repeats a receipt with other content."""
        return replace(self, ext_id=f"{self.ext_id}#{_content(self.identity)}")

    @property
    def repeats(self) -> str | None:
        """External id of the receipt that this one repeats with other content, if it does."""
        content = _content(self.identity)
        first = self.ext_id.removesuffix(f"#{content}")
        return first if content and first != self.ext_id else None


def compare_identity(stored: str, identity: str) -> Literal["same", "changed", "clash"]:
    """Return how a delivery repeats a receipt: the same, the same with other content, or another fact."""
    if stored.partition(".")[0] != identity.partition(".")[0]:
        return "clash"
    contents = {_content(stored), _content(identity)} - {""}
    return "changed" if len(contents) > 1 else "same"


def _content(identity: str) -> str:
    return identity.partition(".")[2]


class CanonicalEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One fact, typed and versioned, e.g. `invoice.finalized.v1`."""

    id: str
    type: str
    system: str
    object: str
    key: str
    version: int
    """Orders the facts of one object key: the vendor's version or time in microseconds."""
    data: dict[str, Any]
    """Values as expressions see them: Money, Decimal, date, datetime."""
    legal_entity: str = ""
    occurred_at: datetime
    effective_at: datetime
    received_at: datetime
    receipt: int | None = None
    cause: str = ""
    """Id of the event or effect that caused it."""
    correlation: str = ""
    senders: tuple[str, ...] = ()
    """Ids of the persons who sent it, or what caused it; empty for what systems delivered."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """Current state of an object in Counterfoil. `state` holds values as expressions see them."""

    object: str
    key: str
    version: int
    state: dict[str, Any]
    system: str
    effective_at: datetime
    recorded_at: datetime
    event: str = ""
    entity: str = ""
    """Legal entity of its newest fact that names one."""
    versions: dict[str, int] = {}
    """Newest version of each system that sends parts of the object: each system orders its own facts. The key
    `system/field` holds the version of the fact that set the field, if newer facts of the system left it out. With `#`
    appended, either key holds that fact's rank. `system/field?` holds the version in which the field is contested."""


NAME_FIELDS = ("number", "legal_name", "name", "title")
"""Fields by which people know an object, in order of preference."""
MAX_SEARCHED_CHARS = 200


def searched_texts(state: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts by which people search an object, by field: its names, and the ids of the objects it names.

    They are in lower case. A longer text is no name.
    """
    fields = {name: value for name, value in state.items() if name in NAME_FIELDS or name.endswith("_id")}
    return {
        name: value.lower()
        for name, value in fields.items()
        if isinstance(value, str) and 0 < len(value) <= MAX_SEARCHED_CHARS
    }


_FINAL_BITS = 1 << 62
_READ_BITS = 1 << 61


def rank_key(key: str) -> str:
    """Return the key of a rank in `Head.versions`."""
    return f"{key}#"


def rank(event: str, final: bool, read: datetime | None) -> int:
    """Return the rank of a fact among the facts of one version.

    A final state comes last: it never goes back. Then what was read from the system of record, by the time at which the
    read ended. The rest has an arbitrary order that does not depend on arrival.
    """
    order = (
        _READ_BITS | micros(read)
        if read is not None
        else int.from_bytes(sha256(event.encode()).digest()[:6], "big")
    )
    return order | (_FINAL_BITS if final else 0)


def is_ordered(a: int, b: int) -> bool:
    """Return True if two ranks show which fact is newer; False if their order is arbitrary."""
    return bool(a & _READ_BITS and b & _READ_BITS) or a & (_FINAL_BITS | _READ_BITS) != b & (
        _FINAL_BITS | _READ_BITS
    )


def read_at(rank: int) -> int:
    """Return the microsecond at which a fact was read from the system of record; 0 if it was not."""
    return rank & (_READ_BITS - 1) if rank & _READ_BITS else 0


class HeadState(NamedTuple):
    """A state of an object, and when it became effective. Not to be changed: it may be shared."""

    effective_at: datetime
    state: Mapping[str, Any]
