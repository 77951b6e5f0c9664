"""Calls of Operations in the port: the transitions that place and answer one, and what became of them."""

from __future__ import annotations

from datetime import datetime

import msgspec

from counterfoil.core import wire
from counterfoil.core.call import CallRate, OperationCall, RateAllowance
from counterfoil.core.canonical import CanonicalEvent, Receipt
from counterfoil.core.case import Case
from counterfoil.store.port.records import RunStart


class PlaceCall(msgspec.Struct, frozen=True, kw_only=True):
    """Claim a consumer's idempotency key, once, with all that follows from the call.

    The key is there already -> `changed` when the digest is another one, `answered` with the answer that was kept,
    `busy` while its holder has time, and else `taken`: this caller is to answer now (leaf). The key is new -> one call
    is taken of the rate, or `limited`; then the request is kept as a receipt, its event, its Run born: `new` (leaf).
    Where that Run exists already -> `exists`, and nothing is written but what the rate has lost.
    """

    call: OperationCall
    receipt: Receipt
    event: CanonicalEvent | None = None
    """What begins the Run, where the operation starts one. Its receipt's number is given by the store."""
    start: RunStart | None = None
    rate: CallRate | None = None
    release: str = ""
    """The Release that a new call is judged by; another one in force -> `outdated`, nothing written."""
    at: datetime
    actor: str


class CallPlaced(msgspec.Struct, frozen=True, kw_only=True):
    verdict: str
    """`new`, `taken`, `busy`, `answered`, `changed`, `limited`, `exists`, `outdated`."""
    call: OperationCall | None = None
    """The call that stands under this key."""
    left: RateAllowance | None = None
    """Of the rate, where it was asked."""


class AnswerCall(msgspec.Struct, frozen=True, kw_only=True):
    """Keep the answer of a call for ever. Guarded by `holder` and by there being none yet, else `False` and nothing
    written. Without a status the key is free for another try: nothing was done. Cases open with it; leaf."""

    consumer: str
    operation: str
    key: str
    holder: str
    status: int | None
    headers: dict[str, str] = {}
    body: bytes = b""
    cases: tuple[Case, ...] = ()
    at: datetime
    actor: str


def standing(held: OperationCall, asked: PlaceCall) -> str:
    """The verdict on a call whose key is there already."""
    if held.digest != asked.call.digest:
        return "changed"
    if held.status is not None:
        return "answered"
    return "busy" if asked.at < held.until else "taken"


def taken_over(held: OperationCall, asked: PlaceCall) -> OperationCall:
    return msgspec.structs.replace(held, holder=asked.call.holder, until=asked.call.until)


def placed_leaf(call: OperationCall, receipt: Receipt, verdict: str) -> bytes:
    """The body of the leaf of a call that is to be answered."""
    return wire.dumps(
        {
            "operation": call.operation,
            "version": call.version,
            "key": call.key,
            "digest": call.digest,
            "sha256": receipt.sha256,
            "run": call.run,
            "correlation": call.correlation,
            "verdict": verdict,
        }
    )


def answered_leaf(answer: AnswerCall, receipt: int) -> bytes:
    return wire.dumps(
        {
            "operation": answer.operation,
            "key": answer.key,
            "receipt": receipt,
            "status": answer.status,
            "sha256": wire.digest(answer.body),
        }
    )
