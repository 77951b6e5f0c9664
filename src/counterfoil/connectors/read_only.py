"""Systems that are only read: they take no calls and send no deliveries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from counterfoil.connectors.sdk import (
    Delivery,
    Finding,
    Json,
    OperationSpec,
    Outcome,
    Page,
    Rejected,
    Request,
    Unknown,
)
from counterfoil.connectors.signature import SignatureRefused
from counterfoil.core.errors import ErrorClass, Misconfigured


class ReadOnlySystem:
    """Part of a connector without operations and webhooks."""

    operations: Mapping[str, OperationSpec] = {}
    feeds: Sequence[str] = ()

    def __init__(self, name: str) -> None:
        self._name = name

    def receive(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery:
        raise SignatureRefused(f"system {self._name} sends no deliveries", "missing")

    async def send(self, request: Request, timeout: float) -> Outcome:
        return Rejected(ErrorClass.INVALID, f"{self._name} has no operation {request.operation}")

    async def find(self, request: Request, timeout: float) -> Finding:
        return Unknown(f"{request.operation} has no look-up")

    async def read(self, operation: str, arguments: Mapping[str, Json], timeout: float) -> Json:
        raise Misconfigured(f"{self._name} has no read operation {operation}")

    async def poll(self, feed: str, cursor: str | None, limit: int, timeout: float) -> Page:
        raise Misconfigured(f"{self._name} has no feed {feed}")
