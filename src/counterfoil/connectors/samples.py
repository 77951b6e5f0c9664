"""Input and results of the conformance suite.

The suite runs against a real, disposable system: a test account, a twin, a local installation.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from counterfoil.connectors import faults
from counterfoil.connectors.sdk import Connect, Request, SystemConfig


@dataclass(frozen=True, slots=True)
class Result:
    """Result of one check. `where` names an operation or a feed, or is empty."""

    check: str
    where: str
    passed: bool
    message: str = ""

    def __str__(self) -> str:
        place = f" [{self.where}]" if self.where else ""
        return f"{'ok  ' if self.passed else 'FAIL'} {self.check}{place}{': ' if self.message else ''}{self.message}"


@dataclass(frozen=True, slots=True)
class OperationSample:
    """Samples for one write operation.

    `valid` returns a new request body that the system accepts. `invalid` returns one that it refuses; None if the
    operation refuses nothing. `same` are the result fields that identify the created object. `count` returns the number
    of objects that a request has created; it reads the system directly, without the connector.
    """

    valid: Callable[[], Awaitable[bytes]]
    invalid: Callable[[], Awaitable[bytes]] | None
    same: Sequence[str]
    count: Callable[[Request], Awaitable[int]] | None = None


LoseAnswer = Callable[[str, int], AbstractAsyncContextManager[tuple[str, faults.RequestLog]]]
"""From the system's url and n: yields a url that loses the answer of the n-th write, and the log of its requests."""


def on_host(config: SystemConfig, url: str) -> SystemConfig:
    """Return a configuration for another server, with the same path in its url."""
    base = urlsplit(config.url)
    return replace(config, url=urlunsplit(base._replace(scheme="http", netloc=urlsplit(url).netloc)))


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples for one connector. With `connect` and `config` the suite builds it again for bad servers; `moved` returns its
    configuration for the server at a url, at which a system of another kind is not reached either.

    `reads` are (operation, arguments) pairs that the system answers. `delivery` is a valid (headers, body, now) for
    `receive`, and `signed` is the name of its signature header; None if the system sends no deliveries. `touch` makes a
    change that each feed shows. `patience` is the time in seconds until an accepted job or a feed shows a change.
    `short` is the timeout in seconds of a call that gets no answer.
    """

    connect: Connect
    config: SystemConfig
    operations: Mapping[str, OperationSample]
    reads: Sequence[tuple[str, Mapping[str, Any]]] = ()
    delivery: tuple[Mapping[str, str], bytes, datetime] | None = None
    signed: str = ""
    touch: Callable[[], Awaitable[None]] | None = None
    lose_answer: LoseAnswer = faults.proxy_losing_answer
    moved: Callable[[SystemConfig, str], SystemConfig] = on_host
    patience: float = 10.0
    timeout: float = 20.0
    short: float = 0.6
    new_key: Callable[[], str] = field(default=lambda: "cf" + secrets.token_hex(12))
