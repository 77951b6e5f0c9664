"""offered: what a consumer asks of an exposed Operation, and what may become of it. Values alone.

How an outcome looks to its caller is said by whoever offers the operation; here nothing knows HTTP.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeAlias

import msgspec

from counterfoil.contracts import versions
from counterfoil.core.call import Left, Rate
from counterfoil.core.case import Case
from counterfoil.core.errors import CounterfoilError
from counterfoil.model import Model
from counterfoil.rules.contract import SchemaViolation
from counterfoil.rules.versions import ServedVersion

DEFAULT_WAIT = 10.0
"""Seconds for which an answer waits for its Run where the caller says nothing."""
LONGEST_WAIT = 60.0


class OperationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One call as it came, once it could be read."""

    consumer: str
    """The person whose token it came with."""
    roles: tuple[str, ...]
    operation: str
    """As named, in the version that was named with it."""
    key: str
    """The idempotency key."""
    input: Any
    """Its JSON, exactly."""
    body: bytes
    headers: dict[str, str]
    """Kept with the receipt."""
    correlation: str
    wait: float | None = None
    """Seconds for which the caller wants to wait; None: until it is clear that a person must decide."""

    @property
    def family(self) -> str:
        """The operation without its version: keys and rates are its."""
        return versions.family(self.operation)

    @property
    def seconds(self) -> float:
        return DEFAULT_WAIT if self.wait is None else min(self.wait, LONGEST_WAIT)


class Grants(msgspec.Struct, frozen=True, kw_only=True):
    """What a consumer's roles let it ask for."""

    calls: frozenset[str]
    speaks: frozenset[str]

    @classmethod
    def of(cls, model: Model, roles: tuple[str, ...]) -> Grants:
        held = [model.roles[name] for name in roles if name in model.roles]
        return cls(
            calls=frozenset(name for role in held for name in role.calls),
            speaks=frozenset(name for role in held for name in role.speaks),
        )

    def reach(self, served: ServedVersion) -> bool:
        """A role that calls the operation which answers calls it in any version."""
        return served.by in self.calls or served.asked in self.calls


class PendingAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A call that is being answered: by which operation, of which model, and what was given."""

    model: Model
    served: ServedVersion
    given: Any
    """The input as the asked version's contract types it."""
    receipt: int
    at: datetime


# ------------------------------------------------------------------ outcomes


class RunEnded(msgspec.Struct, frozen=True, kw_only=True):
    """The Run that a call began has ended. `output` is None where it was stopped, undone or closed."""

    run: str
    status: str
    state: str
    output: Any = None


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """It goes on. `waiting_for` is `approval`, `system`, `event` or `work`."""

    run: str
    status: str
    state: str
    waiting_for: str


class SystemAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a system answered, in canonical words."""

    output: Any


class Unanswerable(msgspec.Struct, frozen=True, kw_only=True):
    """There is an answer and it is not good: `absent` (the system knows no such thing), `system-refused`, or
    `bad-output`, which does not keep the contract and has a Case."""

    kind: str
    detail: str
    run: str = ""
    cases: tuple[Case, ...] = ()


Outcome: TypeAlias = RunEnded | Pending | SystemAnswer | Unanswerable


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """An answer as it is kept and repeated."""

    status: int
    headers: dict[str, str]
    body: bytes


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    reply: Reply
    repeated: bool = False
    rate: Rate | None = None
    left: Left | None = None


Render = Callable[[Outcome], Reply]


class CallRefused(CounterfoilError):
    """Nothing was begun. `kind` says why: `unknown`, `contract`, `ownership`, `changed`, `busy`, `limited`, `exists`,
    `not-taken`."""

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        faults: list[SchemaViolation] | None = None,
        after: float | None = None,
        rate: Rate | None = None,
        left: Left | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.faults = faults or []
        self.after = after
        self.rate = rate
        self.left = left
