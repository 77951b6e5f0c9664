"""Limits on connections: a deadline for every head, idle connection and slow reader, and bounds on their number.

A connection waits while its client has to send something: the rest of a request, or the next one. At a bound, a new
connection takes the place of the one that has waited longest. So slow clients displace each other, and a client that
sends its request at once is served. A request that has arrived is never given up.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from counterfoil.web.http.problems import PROBLEM_JSON, Problem
from counterfoil.web.http.proxies import PublicAddress

log = logging.getLogger("counterfoil.web")


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Seconds and numbers that bound the connections of one process."""

    head_seconds: float = 15.0
    """From a connection's start, or from the first byte of a further request, to the end of the request's head."""
    idle_seconds: int = 20
    """Between a response and the first byte of the next request."""
    flush_seconds: float = 120.0
    """For a client to read a response that is complete here."""
    connections: int = 800
    per_address: int = 600
    public: PublicAddress = field(default_factory=PublicAddress)
    """Its trusted proxies are bound by `connections` alone: they connect for many clients."""


class Connections:
    """The open connections of one server, those that wait in the order in which they began to."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._addresses: dict[BoundedConnection, str] = {}
        self._per_address: Counter[str] = Counter()
        self._waiting: dict[BoundedConnection, None] = {}

    def admit(self, connection: BoundedConnection, address: str) -> bool:
        """Add a connection. At a bound, close the one that waits longest; return False if none waits."""
        many = self._per_address[address] >= self.limits.per_address
        if many and not self.limits.public.trusts(address):
            oldest = next((other for other in self._waiting if self._addresses[other] == address), None)
        elif len(self._addresses) >= self.limits.connections:
            oldest = next(iter(self._waiting), None)
        else:
            return self._add(connection, address)
        if oldest is None:
            return False
        self.remove(oldest)
        oldest.abort()
        return self._add(connection, address)

    def _add(self, connection: BoundedConnection, address: str) -> bool:
        self._addresses[connection] = address
        self._per_address[address] += 1
        self._waiting[connection] = None
        return True

    def remove(self, connection: BoundedConnection) -> None:
        self._waiting.pop(connection, None)
        address = self._addresses.pop(connection, None)
        if address is not None:
            self._per_address[address] -= 1
            if not self._per_address[address]:
                del self._per_address[address]

    def waits(self, connection: BoundedConnection) -> None:
        """Record that the client of a connection has to send something. A repeat does not change its place."""
        if connection in self._addresses:
            self._waiting.setdefault(connection, None)

    def works(self, connection: BoundedConnection) -> None:
        """Record that a connection's request has arrived and is answered now."""
        self._waiting.pop(connection, None)


class BoundedConnection(H11Protocol):
    """One connection within the limits. uvicorn itself bounds only the idle time before a request's first byte."""

    def __init__(self, open_connections: Connections, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._open = open_connections
        self._limits = open_connections.limits
        self._head: asyncio.TimerHandle | None = None
        self._flush: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if not self._open.admit(self, self.client[0] if self.client else ""):
            self._refuse()
            return
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._between_requests and self._head is None:
            self._expect_head()
        super().data_received(data)
        self._settle()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._flush is None and self.transport.get_write_buffer_size():
            self._flush = self.loop.call_later(self._limits.flush_seconds, self._end_unread)
        self._settle()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        if self._flush is None:
            self._flush = self.loop.call_later(self._limits.flush_seconds, self._end_unread)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.remove(self)
        for timer in (self._head, self._flush):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def abort(self) -> None:
        """Close at once: what the client did not read is discarded."""
        self.transport.abort()

    @property
    def _between_requests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _settle(self) -> None:
        """Note whether the client or the server acts next."""
        if not self._between_requests and self._head is not None:
            self._head.cancel()
            self._head = None
        if self._between_requests or self.cycle.more_body:
            self._open.waits(self)
        else:
            self._open.works(self)

    def _expect_head(self) -> None:
        self._head = self.loop.call_later(self._limits.head_seconds, self.abort)

    def _end_unread(self) -> None:
        self._flush = None
        if self.transport.is_closing() or self.transport.get_write_buffer_size():
            self.abort()

    def _refuse(self) -> None:
        problem = Problem(503, "Too many requests are in progress. Send the request again.")
        body = problem.body("/")
        head = (
            f"HTTP/1.1 503 Service Unavailable\r\ncontent-type: {PROBLEM_JSON}\r\ncontent-length: {len(body)}\r\n"
            "retry-after: 1\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()


def bounded(limits: ConnectionLimits) -> Callable[..., BoundedConnection]:
    """Return the factory of the connections of one server."""
    return partial(BoundedConnection, Connections(limits))
