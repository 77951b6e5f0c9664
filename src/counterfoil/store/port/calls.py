"""Calls of Operations: the transitions that place and answer one, and their results."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from counterfoil.core import wire
from counterfoil.core.call import CallRate, OperationCall, RateAllowance
from counterfoil.core.canonical import CanonicalEvent, Receipt
from counterfoil.core.case import Case
from counterfoil.store.port.records import RunStart
from counterfoil.store.port.transition import Transition, wake_set
from counterfoil.store.port.wake import WakeKind

KeyVerdict: TypeAlias = Literal["changed", "answered", "busy", "taken"]
CallVerdict: TypeAlias = Literal["new", "limited", "exists", "outdated", KeyVerdict]


class PlaceCallResult(msgspec.Struct, frozen=True, kw_only=True):
    verdict: CallVerdict
    call: OperationCall | None = None
    """The call with this key."""
    left: RateAllowance | None = None
    """The rest of the rate limit, where one was given."""


class PlaceCall(Transition[PlaceCallResult], frozen=True, kw_only=True):
    """Claim a consumer's idempotency key, once, with all that follows from the call.

    The key exists -> `changed` when its digest is another one, `answered` with the stored answer, `busy` while its
    holder has time, and else `taken`: this caller must answer now (leaf). The key is new -> one call is taken from the
    rate limit, or `limited`; then the request is stored as a receipt with its event and its Run: `new` (leaf). Where
    that Run exists -> `exists`, and only the rate is written.
    """

    call: OperationCall
    receipt: Receipt
    event: CanonicalEvent | None = None
    """The event that starts the Run, where the operation starts one. The store sets its receipt's number."""
    start: RunStart | None = None
    rate: CallRate | None = None
    release: str = ""
    """The Release that a new call is judged by; with another one active -> `outdated`, nothing written."""
    at: datetime
    actor: str

    def keys(self) -> frozenset[str]:
        call = self.call
        return frozenset(
            [
                f"call/{call.consumer}/{call.operation}/{call.key}",
                f"rate/{call.consumer}/{call.operation}",
                *([self.start.run] if self.start is not None else ()),
            ]
        )

    def take_over(self, call: OperationCall) -> OperationCall:
        """Return the call with the new caller as its holder."""
        return replace(call, holder=self.call.holder, until=self.call.until)

    def leaf_body(self, call: OperationCall, verdict: Literal["new", "taken"]) -> bytes:
        return wire.dumps(
            {
                "operation": call.operation,
                "version": call.version,
                "key": call.key,
                "digest": call.digest,
                "sha256": self.receipt.sha256,
                "run": call.run,
                "correlation": call.correlation,
                "verdict": verdict,
            }
        )

    def wakes(self, answer: PlaceCallResult) -> frozenset[WakeKind]:
        return wake_set(turn=self.start is not None and answer.verdict == "new")


class AnswerCall(Transition[bool], frozen=True, kw_only=True):
    """Store the answer of a call, permanently.

    Guarded by `holder` and by the absence of an answer, else `False` and nothing written. Without a status the key is
    free for another try: nothing was done. Cases open with it; leaf.
    """

    consumer: str
    operation: str
    key: str
    holder: str
    status: int | None
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    body: bytes = b""
    cases: tuple[Case, ...] = ()
    at: datetime
    actor: str

    def keys(self) -> frozenset[str]:
        return frozenset([f"call/{self.consumer}/{self.operation}/{self.key}"])

    def leaf_body(self, receipt: int) -> bytes:
        about = {"operation": self.operation, "key": self.key, "receipt": receipt}
        return wire.dumps({**about, "status": self.status, "sha256": wire.digest(self.body)})


def verdict_on_key(call: OperationCall, place: PlaceCall) -> KeyVerdict:
    if call.digest != place.call.digest:
        return "changed"
    if call.status is not None:
        return "answered"
    return "busy" if place.at < call.until else "taken"
