"""What the conformance suite needs to try a connector, and what it finds.

A trial runs against a real, disposable system: a test account, a twin, a local installation.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from counterfoil.connectors import faults
from counterfoil.connectors.sdk import Connect, Request, SystemConfig


@dataclass(frozen=True, slots=True)
class Result:
    """One thing that was looked at. `where` names an operation or a feed, or is empty."""

    check: str
    where: str
    passed: bool
    message: str = ""

    def __str__(self) -> str:
        place = f" [{self.where}]" if self.where else ""
        return f"{'ok  ' if self.passed else 'FAIL'} {self.check}{place}{': ' if self.message else ''}{self.message}"


@dataclass(frozen=True, slots=True)
class OperationSample:
    """How to try one write operation.

    `valid` makes a request body that the system will accept, a new one at each call; `invalid` one that it
    will refuse, or None where nothing is ever refused. `same` are the result fields that name the made object.
    `count` asks the system itself, not through the connector, how many objects a request has made.
    """

    valid: Callable[[], Awaitable[bytes]]
    invalid: Callable[[], Awaitable[bytes]] | None
    same: Sequence[str]
    count: Callable[[Request], Awaitable[int]] | None = None


LoseAnswer = Callable[[str, int], AbstractAsyncContextManager[tuple[str, faults.RequestLog]]]
"""Given the system's url and n: a url behind which the answer of the n-th write is lost, and what was seen."""


@dataclass(frozen=True, slots=True)
class Samples:
    """What the suite needs to try a connector. `connect` and `config` build it anew towards bad servers.

    `reads` are (operation, arguments) pairs that answer. `delivery` is a good (headers, body, now) for `receive`, with
    `signed` naming the header that a forger would have to get right; None when the system sends nothing.
    `touch` changes something that each feed shows. `patience` is how many seconds an accepted job or a feed
    may take to show; `short` how many are given to a call that nobody will answer.
    """

    connect: Connect
    config: SystemConfig
    operations: Mapping[str, OperationSample]
    reads: Sequence[tuple[str, Mapping[str, Any]]] = ()
    delivery: tuple[Mapping[str, str], bytes, datetime] | None = None
    signed: str = ""
    touch: Callable[[], Awaitable[None]] | None = None
    lose_answer: LoseAnswer = faults.proxy_losing_answer
    patience: float = 10.0
    timeout: float = 20.0
    short: float = 0.6
    new_key: Callable[[], str] = field(default=lambda: "cf" + secrets.token_hex(12))
