"""Refused requests as leaves of the audit log: who asked, on which route, and why it was refused.

A person's refusals are limited in the store, for each route. Of senders that are no known person each process records a
few an hour and counts the rest, so that no flood of requests fills the store or hides in it.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import Any, Final

from counterfoil.connectors.signature import SignatureRefused
from counterfoil.core.errors import CounterfoilError, ErrorClass, Refused
from counterfoil.store.port.refusals import RecordRefusal, RefusedAttempt
from counterfoil.web.http.addresses import network_of
from counterfoil.web.http.identity import COOKIE, Connection, Identity
from counterfoil.web.http.problems import Problem

log = logging.getLogger("counterfoil.web")
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""
MAX_PATH_CHARS = 200
"""Longest path in the leaf of a refused request."""
FORGERIES = frozenset({"csrf", "origin"})
"""Kinds of problems of a request that a person's browser sent for another site."""


class StrangerLimit:
    """Limit of the leaves that senders without an identity cause in one process."""

    WINDOW_SECONDS: Final = 3600.0
    PER_ADDRESS: Final = 5
    ALL_ADDRESSES: Final = 60

    def __init__(self) -> None:
        self._since = -self.WINDOW_SECONDS
        self._leaves: Counter[str] = Counter()
        self._unrecorded = 0

    def admit(self, address: str, now: float) -> int | None:
        """Return how many refusals were left out since the last leaf; None to leave this one out as well.

        `now` is in seconds of a monotonic clock.
        """
        if now - self._since >= self.WINDOW_SECONDS:
            self._since, self._leaves = now, Counter()
        if self._leaves.total() >= self.ALL_ADDRESSES or self._leaves[address] >= self.PER_ADDRESS:
            self._unrecorded += 1
            return None
        self._leaves[address] += 1
        unrecorded, self._unrecorded = self._unrecorded, 0
        return unrecorded


async def record_error(error: Exception, scope: Any) -> None:
    """Record the refusal that ends a request, if it is one of those that leave a leaf."""
    connection = Connection(scope)
    identity: Identity | None = scope.get("user")
    verdict = _verdict(error, connection, identity)
    if verdict and "path_template" in scope:
        await record(connection, verdict)


def _verdict(error: Exception, connection: Connection, identity: Identity | None) -> str:
    """Return why a request was refused; empty if that leaves no leaf."""
    changes = changes_something(connection)
    if isinstance(error, SignatureRefused):
        return error.code.replace("_", "-")
    if isinstance(error, Refused):
        missing = error.error_class is ErrorClass.NOT_FOUND
        return "not-found" if missing and changes and identity is not None else ""
    if not isinstance(error, Problem):
        return ""
    if error.kind in FORGERIES:
        return error.kind
    if error.status == 404:
        return "not-found" if changes and identity is not None else ""
    if error.status != 401:
        return ""
    if connection.headers.get("authorization"):
        return "token"
    if not changes:
        return ""
    return "session" if COOKIE in connection.cookies else "no-credentials"


def changes_something(connection: Connection) -> bool:
    """Return true if the request has a method that may change something."""
    scope: Any = connection.scope
    return scope["method"] not in SAFE_METHODS


async def record(connection: Connection, verdict: str, **details: str) -> None:
    """Record a refused request. `path` is the one that the caller wrote. A store that fails changes no refusal."""
    scope: Any = connection.scope
    identity: Identity | None = scope.get("user")
    route = f"{scope['method']} {scope['path_template']}"
    more: dict[str, Any] = {**details, "path": connection.url.path[:MAX_PATH_CHARS]}
    address = ""
    if identity is None:
        address = network_of(connection.client.host if connection.client else "")
        unrecorded = connection.app.state.strangers.admit(address, time.monotonic())
        if unrecorded is None:
            return
        more["unrecorded"] = unrecorded
    app = connection.app.state.counterfoil
    try:
        attempt = RefusedAttempt(
            kind="request.refused",
            person="" if identity is None else identity.person.id,
            address=address,
            action=route,
            subject=route,
            verdict=verdict,
            at=await app.now(),
            details=more,
        )
        await app.store.apply(RecordRefusal(attempt=attempt))
    except CounterfoilError as failure:
        log.warning("a refused request left no leaf: %s", failure)
