"""The connector contract: the only interface between Counterfoil and an outside system.

A connector speaks one vendor's language: it sends rendered requests, looks up their outcomes, reads, polls and
verifies deliveries. It decides nothing, stores nothing and knows no workflow. All vendor names, error texts and
quirks end here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, TypeAlias, runtime_checkable

from counterfoil.core.errors import ErrorClass, Misconfigured, Refused, TryAgain

Json: TypeAlias = Any
"""A JSON value read exactly: numbers are int or Decimal, never float."""

DEFAULT_TIMEOUT_SECONDS = 30.0
"""Timeout of an operation whose connector states none."""


class Repeat(StrEnum):
    """Protection of a write against being sent twice."""

    KEY = "key"  # the system deduplicates by idempotency key, for `retention`
    UNIQUE = "unique"  # the system refuses a second object with our external id
    FIND = "find"  # only a look-up shows the outcome
    STATE = "state"  # the call sets a state, which a look-up shows; looked up before each sending too
    BLIND = "blind"  # nothing shows the outcome
    READ = "read"  # not a write


@dataclass(frozen=True, slots=True)
class RecordShape:
    """Fields of an object in the vendor's form, as far as its API describes them."""

    fields: Mapping[str, RecordShape | None] = field(default_factory=dict)
    """Shape of each field; None if nothing is known about its content."""
    required: frozenset[str] = frozenset()
    closed: bool = False
    """The object has no other fields."""


@dataclass(frozen=True, slots=True)
class OperationSpec:
    """One canonical operation as this connector implements it. Durations are seconds."""

    name: str
    repeat: Repeat
    horizon: float = 0.0
    """Longest time after sending in which the write may still take effect."""
    retention: float = 0.0
    """Time for which the vendor remembers an idempotency key (`Repeat.KEY` only)."""
    timeout: float = DEFAULT_TIMEOUT_SECONDS
    doc: str = ""
    bulk: int = 1
    """Maximum number of requests in one `send_many`. More than 1 needs a `BulkConnector`."""
    request: RecordShape | None = field(default=None, compare=False)
    """Shape of the input, for the check of mappings; None if it is not known."""
    result: RecordShape | None = field(default=None, compare=False)
    """Shape of the result; None if it is not known."""


@dataclass(frozen=True, slots=True)
class Request:
    """One rendered call: the intent stores it, and recovery sends the same bytes again.

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
    """Proof that it was not done. Only answers on the connector's list of proofs may become this.

    On writes, 5xx, resets, timeouts and unreadable answers are `Unknown`, never this.
    `retry_after` is in seconds, from the vendor.
    """

    error_class: ErrorClass
    message: str
    code: str = ""
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """An asynchronous job took it: neither done nor refused. An observation decides."""

    job: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """It may have been done. Only a look-up can show it."""

    message: str


@dataclass(frozen=True, slots=True)
class Absent:
    """Result of a look-up: the system shows nothing for this request now."""


Outcome: TypeAlias = Confirmed | Rejected | Accepted | Unknown
Finding: TypeAlias = Confirmed | Absent | Rejected | Unknown
"""Result of `find`. `Confirmed`: done. `Absent`: nothing there; the caller knows whether the horizon has passed.
`Rejected` with TRANSIENT: started but not finished; the same bytes sent again finish it. `Unknown`: the look-up failed."""


class EarlyOutcome(Exception):
    """Ends a write or look-up of several calls with its outcome, before its last step."""

    def __init__(self, outcome: Rejected | Unknown) -> None:
        super().__init__(outcome)
        self.outcome = outcome

    @classmethod
    def of_read(cls, error: TryAgain | Refused) -> EarlyOutcome:
        """Return the outcome after a failed read before the first write: nothing was written."""
        if isinstance(error, Refused):
            return cls(Rejected(error.error_class, str(error), error.code))
        kind = ErrorClass.TRANSIENT if error.after is None else ErrorClass.THROTTLED
        return cls(Rejected(kind, str(error), retry_after=error.after))


@dataclass(frozen=True, slots=True)
class Delivery:
    """Identified message from a system. `identity` is the bytes whose digest separates a repeat from a clash:
    the source's identity fields only, without volatile envelope parts."""

    ext_id: str
    type: str
    identity: bytes
    body: Json
    occurred_at: datetime | None = None
    content: bytes = b""
    """The bytes that must be equal in every delivery of this fact, without volatile parts. A repeat with other content is
    compared as mapped, and a difference opens a Case. Empty: the identity alone decides."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a polled feed, oldest first, or of a listing. `cursor` is opaque and is stored with the receipts."""

    deliveries: Sequence[Delivery]
    cursor: str
    more: bool = False


@dataclass(frozen=True, slots=True)
class SystemConfig:
    """Configuration of a connector: the governance file of its system with secrets resolved."""

    name: str
    url: str
    account: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    operations: Mapping[str, OperationSpec] = field(default_factory=dict)
    """The operations of the system as governance declares them."""


@dataclass(frozen=True, slots=True)
class SettingProblem:
    """One fault of a configuration, with its path in the document of the system: `("settings", "zone")`."""

    path: tuple[str | int, ...]
    message: str
    fix: str = ""

    def __str__(self) -> str:
        place = ".".join(map(str, self.path[1:] if self.path[0] == "settings" else self.path))
        return f"{place or 'settings'}: {self.message}" + (f"; {self.fix}" if self.fix else "")


class WrongConfiguration(Misconfigured):
    """All faults of one configuration, a line each."""

    def __init__(self, problems: Sequence[SettingProblem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


class Connector(Protocol):
    """An outside system. Every method may be called concurrently; none retries by itself."""

    operations: Mapping[str, OperationSpec]
    feeds: Sequence[str]

    def receive(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery:
        """Verify the signature over the raw bytes and identify the delivery.

        Header names are lower case. Raises `signature.SignatureRefused` if the signature is wrong and
        `Refused(INVALID)` if the body cannot be read.
        """
        ...

    async def send(self, request: Request, timeout: float) -> Outcome:
        """Make the call once. Never raises for an error of the system or the network."""
        ...

    async def find(self, request: Request, timeout: float) -> Finding:
        """Look up the outcome of a request, by its key. Never changes anything."""
        ...

    async def read(self, operation: str, arguments: Mapping[str, Json], timeout: float) -> Json:
        """Return the answer of a read operation. Raises TryAgain, Refused or Misconfigured."""
        ...

    async def poll(self, feed: str, cursor: str | None, limit: int, timeout: float) -> Page:
        """Return the changes of a feed since `cursor`; None is the beginning. Raises TryAgain or Misconfigured."""
        ...

    async def check(self, timeout: float) -> None:
        """Check that the system can be reached with these credentials. Raises TryAgain or Misconfigured."""
        ...

    async def close(self) -> None: ...


@runtime_checkable
class BulkConnector(Protocol):
    """Addition to a connector whose system takes several writes in one call.

    Each write stays a request of its own, with its key, its outcome and its look-up. It may be sent alone next time.
    """

    async def send_many(self, requests: Sequence[Request], timeout: float) -> Sequence[Outcome]:
        """Send at most `bulk` requests of one operation within one timeout. Return one outcome each, in order.

        Never raises for an error of the system or the network. The rules of `send` hold for each request: `Rejected`
        needs a proof that this request was not done; a lost or unreadable answer makes every request in it `Unknown`.
        A refused request does not make others fail.
        """
        ...


@runtime_checkable
class ListingConnector(Protocol):
    """Addition to a connector whose system lists its whole books. A sweep reads them to find what events did not show.

    A listing shows the records as they are now. It is not a feed: it has no history, and a sweep reads it from its beginning.
    """

    listings: Mapping[str, Sequence[str]]
    """The books by name, each with every type of delivery that brings its records; without types, no Case asks about documents
    that the book does not list. A listing with the name of a feed makes the same deliveries as that feed. May be empty."""

    async def list_book(self, listing: str, cursor: str | None, limit: int, timeout: float) -> Page:
        """Return the next records of a book, at most `limit` deliveries, within `timeout` seconds.

        None is the beginning; `cursor` of the returned page continues, also after a crash. A page without deliveries may have
        `more`. Each record is the delivery, or the deliveries, by which a webhook or a feed would bring about its present
        state: the same mappings accept them, and a fact that is known already changes nothing.

        The order is stable: records may be added, changed and deleted between two pages. Each record that is in the book
        during the whole sweep is returned, and once, unless it was changed meanwhile.

        Raises TryAgain or Misconfigured.
        """
        ...


class Connect(Protocol):
    """Entry point of the group `counterfoil.connectors`: builds a connector from its configuration.

    It checks the whole configuration, raises one WrongConfiguration with all faults, and opens nothing before the first call:
    `counterfoil check` builds connectors without network and with invented secrets.
    """

    def __call__(self, config: SystemConfig) -> Connector: ...
