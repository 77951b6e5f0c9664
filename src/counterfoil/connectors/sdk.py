"""What a connector is: the one contract between Counterfoil and an outside system.

A connector speaks one vendor's language: it sends rendered requests, looks up what became of them, reads,
polls and verifies deliveries. It decides nothing, stores nothing and knows no workflow. All vendor names,
error texts and quirks end here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, TypeAlias, runtime_checkable

from counterfoil.core.errors import ErrorClass

Json: TypeAlias = Any
"""A JSON value read exactly: numbers are int or Decimal, never float."""


class Repeat(StrEnum):
    """How a system protects a write against being sent twice."""

    KEY = "key"  # dedupes by idempotency key, for `retention`
    UNIQUE = "unique"  # refuses a second object with our external id
    FIND = "find"  # only a look-up can tell
    BLIND = "blind"  # nothing can tell
    READ = "read"  # not a write


@dataclass(frozen=True, slots=True)
class OperationSpec:
    """One canonical operation as this connector implements it. Durations are seconds."""

    name: str
    repeat: Repeat
    horizon: float = 0.0
    """Latest moment after sending at which the write may still take effect."""
    retention: float = 0.0
    """How long the vendor remembers an idempotency key (`Repeat.KEY` only)."""
    timeout: float = 30.0
    doc: str = ""
    bulk: int = 1
    """The most requests of this operation that one `send_many` takes; more than 1 needs a `BulkConnector`."""


@dataclass(frozen=True, slots=True)
class Request:
    """One rendered call: what the intent stores and what recovery sends again, byte for byte.

    `body` is canonical JSON of the vendor-shaped input that the mapping produced; `key` is the idempotency
    key and external id, derived from run, step path, item and generation.
    """

    operation: str
    key: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The system did it. `result` is the connector's documented output of the operation."""

    result: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Rejected:
    """Proof that it was not done: only answers on the connector's list of proofs may become this.

    On writes, 5xx, resets, time-outs and unreadable answers are `Unknown`, never this.
    `retry_after` is seconds, from the vendor.
    """

    error_class: ErrorClass
    message: str
    code: str = ""
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """An asynchronous job took it: neither done nor refused; an observation decides."""

    job: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """It may have been done. Only a look-up may tell."""

    message: str


@dataclass(frozen=True, slots=True)
class Absent:
    """A look-up's answer: the system shows nothing for this request now."""


Outcome: TypeAlias = Confirmed | Rejected | Accepted | Unknown
Finding: TypeAlias = Confirmed | Absent | Rejected | Unknown
"""What `find` answers. `Confirmed`: done. `Absent`: nothing there (the caller knows whether the horizon has
passed). `Rejected` with TRANSIENT: begun but not finished; sending the same bytes again finishes it.
`Unknown`: the look-up itself failed."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a door hands in, identified. `identity` are the bytes whose digest tells a repeat from a clash:
    the source's identity fields only, without volatile envelope parts."""

    ext_id: str
    type: str
    identity: bytes
    body: Json
    occurred_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a polled feed, oldest first. `cursor` is opaque and is stored with the receipts."""

    deliveries: Sequence[Delivery]
    cursor: str
    more: bool = False


@dataclass(frozen=True, slots=True)
class SystemConfig:
    """What a connector is built from: the governance file of its system with secrets resolved."""

    name: str
    url: str
    account: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


class Connector(Protocol):
    """An outside system. Every method may be called concurrently; none retries by itself."""

    operations: Mapping[str, OperationSpec]
    feeds: Sequence[str]

    def receive(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery:
        """Verify the signature over the raw bytes and identify the delivery.

        Header names are lower case. Raises `signature.SignatureRefused` when the signature is not good and
        `Refused(INVALID)` when the body cannot be read.
        """
        ...

    async def send(self, request: Request, timeout: float) -> Outcome:
        """Make the call once. Never raises for anything the system or the network did."""
        ...

    async def find(self, request: Request, timeout: float) -> Finding:
        """Look up what became of a request, by its key; never changes anything."""
        ...

    async def read(self, operation: str, arguments: Mapping[str, Json], timeout: float) -> Json:
        """A read operation's answer. Raises TryAgain, Refused or Misconfigured."""
        ...

    async def poll(self, feed: str, cursor: str | None, limit: int, timeout: float) -> Page:
        """What changed in a feed since `cursor`; None is the beginning. Raises TryAgain or Misconfigured."""
        ...

    async def check(self, timeout: float) -> None:
        """Can the system be reached with these credentials? Raises TryAgain or Misconfigured."""
        ...

    async def close(self) -> None: ...


@runtime_checkable
class BulkConnector(Protocol):
    """What a connector adds when its system takes several writes in one call. Each stays a request of its own: it
    has its key, its outcome and its look-up, and may be sent singly next time."""

    async def send_many(self, requests: Sequence[Request], timeout: float) -> Sequence[Outcome]:
        """Carry out at most `bulk` requests of one operation within one timeout: one outcome each, in order.

        Never raises for anything the system or the network did. The rules of `send` hold for each request alone:
        `Rejected` only by a proof that this one was not done, `Unknown` for every one that a lost or unreadable
        answer concerns. A request that the system refuses does not take others down with it.
        """
        ...


class Connect(Protocol):
    """An entry point of the group `counterfoil.connectors`: builds a connector from its configuration."""

    def __call__(self, config: SystemConfig) -> Connector: ...
