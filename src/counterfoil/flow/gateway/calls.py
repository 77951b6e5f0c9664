"""A consumer's call of an exposed Operation and its possible outcomes: values alone.

The layer that offers the operation renders an outcome; nothing here knows HTTP.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar, Literal, TypeAlias

import msgspec

from counterfoil.contracts import versions
from counterfoil.core.call import CallRate, RateAllowance
from counterfoil.core.case import Case
from counterfoil.core.entity_scope import EntityScope
from counterfoil.core.errors import CounterfoilError
from counterfoil.model import Model
from counterfoil.rules.contract import SchemaViolation
from counterfoil.rules.versions import ServingOperation

DEFAULT_WAIT_SECONDS = 10.0
"""Wait for the Run's end where the caller names no wait."""
MAX_WAIT_SECONDS = 60.0


class OperationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One call as it came, after parsing."""

    consumer: str
    """The person that the token belongs to."""
    roles: tuple[str, ...]
    operation: str
    """As named, in the version that was named with it."""
    key: str
    """The idempotency key."""
    input: Any
    """Its JSON, exactly."""
    body: bytes
    headers: dict[str, str]
    """Stored with the receipt."""
    correlation: str
    wait: float | None = None
    """Seconds that the caller wants to wait. None: until the Run waits for an approval."""
    scope: EntityScope = EntityScope()
    """Legal entities that the caller acts for."""

    @property
    def family(self) -> str:
        """The operation without its version; keys and rates belong to it."""
        return versions.family(self.operation)

    @property
    def seconds(self) -> float:
        return DEFAULT_WAIT_SECONDS if self.wait is None else min(self.wait, MAX_WAIT_SECONDS)


class Grants(msgspec.Struct, frozen=True, kw_only=True):
    """Operations that a consumer's roles may call, and systems that they may speak for."""

    calls: frozenset[str]
    speaks: frozenset[str]

    @classmethod
    def of(cls, model: Model, roles: tuple[str, ...]) -> Grants:
        declared = [model.roles[name] for name in roles if name in model.roles]
        return cls(
            calls=frozenset(name for role in declared for name in role.calls),
            speaks=frozenset(name for role in declared for name in role.speaks),
        )

    def allow(self, served: ServingOperation) -> bool:
        """Return True if a role calls the operation. A grant of the serving version covers every version."""
        return served.by in self.calls or served.requested in self.calls


class CallInProgress(msgspec.Struct, frozen=True, kw_only=True):
    """A call in progress: the serving operation, its model and the caller's input."""

    model: Model
    served: ServingOperation
    input: Any
    """The input, typed by the contract of the requested version."""
    receipt: int
    at: datetime


# ------------------------------------------------------------------ outcomes


class RunEnded(msgspec.Struct, frozen=True, kw_only=True):
    """The Run that a call started has ended. `output` is None if it was stopped, undone or closed."""

    word: ClassVar[str] = "ended"
    run: str
    status: str
    state: str
    output: Any = None


WaitingFor: TypeAlias = Literal["approval", "system", "event", "work"]


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """The Run is in progress."""

    word: ClassVar[str] = "pending"
    run: str
    status: str
    state: str
    waiting_for: WaitingFor


class ReadAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A system's answer to a read, in canonical form."""

    word: ClassVar[str] = "told"
    output: Any


UnanswerableKind: TypeAlias = Literal["absent", "system-refused", "bad-output"]


class Unanswerable(msgspec.Struct, frozen=True, kw_only=True):
    """The call has no valid answer.

    `absent`: the system has no such object. `bad-output`: the answer breaks its contract and has a Case.
    """

    kind: UnanswerableKind
    detail: str
    run: str = ""
    cases: tuple[Case, ...] = ()

    @property
    def word(self) -> str:
        return self.kind


Outcome: TypeAlias = RunEnded | Pending | ReadAnswer | Unanswerable
"""`word` names an outcome in metrics."""


def cases_of(outcome: Outcome) -> tuple[Case, ...]:
    """Return the Cases that the outcome opens."""
    return outcome.cases if isinstance(outcome, Unanswerable) else ()


class StoredReply(msgspec.Struct, frozen=True, kw_only=True):
    """An answer as it is stored and repeated."""

    status: int
    headers: dict[str, str]
    body: bytes


class CallResponse(msgspec.Struct, frozen=True, kw_only=True):
    reply: StoredReply
    repeated: bool = False
    rate: CallRate | None = None
    left: RateAllowance | None = None


Render = Callable[[Outcome], StoredReply]


RefusalKind: TypeAlias = Literal[
    "absent", "unknown", "contract", "ownership", "changed", "busy", "limited", "exists", "not-taken"
]


class CallRefused(CounterfoilError):
    """A call that started nothing."""

    def __init__(
        self,
        kind: RefusalKind,
        message: str,
        *,
        faults: list[SchemaViolation] | None = None,
        after: float | None = None,
        rate: CallRate | None = None,
        left: RateAllowance | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.faults = faults or []
        self.after = after
        self.rate = rate
        self.left = left
