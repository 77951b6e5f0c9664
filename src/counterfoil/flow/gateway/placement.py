"""Placement of a consumer's call: the checks before anything is stored, and the claim of its idempotency key."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec

from counterfoil.contracts import versions
from counterfoil.core import ids
from counterfoil.core.call import DOOR, CallRate, OperationCall
from counterfoil.core.canonical import CanonicalEvent, Receipt
from counterfoil.core.clock import micros
from counterfoil.flow.context.lookups import Lookups
from counterfoil.flow.gateway.calls import CallRefused, Grants, OperationRequest
from counterfoil.flow.gateway.entities import entity_of_call
from counterfoil.flow.gateway.system_reads import CONNECTOR_GRACE_SECONDS
from counterfoil.flow.runs.snapshot import run_start
from counterfoil.model import Model, kinds
from counterfoil.rules import routing
from counterfoil.rules.acceptance import REQUESTED_BY, trespasses_of_call
from counterfoil.rules.amount_signs import negative_amounts
from counterfoil.rules.contract import SchemaViolation, faults
from counterfoil.rules.json_values import typed
from counterfoil.rules.lookup import lookup_in
from counterfoil.rules.routing import RoutedStart
from counterfoil.rules.templates import FAULTS
from counterfoil.rules.versions import CastFailed, ServingOperation, operation_version, serve, upcast_input
from counterfoil.store.port.calls import PlaceCall, PlaceCallResult
from counterfoil.store.port.store import Store

SELF = "counterfoil"
"""The system of a call's event. The consumer asserts nothing by it."""
MAX_BUSINESS_KEY_CHARS = 500
"""A key stands in indexes and on pages."""
STORE_GRACE_SECONDS = 10.0
"""Time after its work in which the holder of a call may store the answer."""
UNKNOWN = (
    "You may call no operation of this name. See /v1/operations/openapi.json for the operations offered."
)


def claim(request: OperationRequest, digest: str, now: datetime, seconds: float) -> PlaceCall:
    """Return the claim of a key for an answer that takes `seconds` at most."""
    call = OperationCall(
        consumer=request.consumer,
        operation=request.family,
        version=versions.number(request.operation),
        key=request.key,
        digest=digest,
        correlation=request.correlation,
        holder=secrets.token_hex(12),
        until=now + timedelta(seconds=seconds + CONNECTOR_GRACE_SECONDS + STORE_GRACE_SECONDS),
        at=now,
    )
    receipt = Receipt(
        system=SELF,
        ext_id=ids.derive("call", request.consumer, request.family, request.key),
        type=request.operation,
        identity=digest,
        sha256=hashlib.sha256(request.body).hexdigest(),
        door=DOOR,
        headers=request.headers,
        body=request.body,
        received_at=now,
        sender=request.consumer,
    )
    return PlaceCall(call=call, receipt=receipt, at=now, actor=f"person:{request.consumer}")


async def add_start(
    store: Store,
    model: Model,
    served: ServingOperation,
    request: OperationRequest,
    value: dict[str, Any],
    place: PlaceCall,
) -> PlaceCall:
    """Return the claim together with the Run that the call starts and its event. Raises CallRefused."""
    exposed = model.operations[served.by].exposes
    assert isinstance(exposed, dict)
    entity = await entity_of_call(store, model, value, request.scope)
    event = _event(request, served, value, entity, place.at)
    start = await _start(store, model, exposed["starts"], value, event, place.at)
    _check_signs(model, served, value)
    names = {"input": value, "event": start.names["event"] | {"key": start.key, "subject": start.key}}
    start = msgspec.structs.replace(start, names=names)
    return msgspec.structs.replace(
        place,
        call=msgspec.structs.replace(place.call, run=start.run),
        event=msgspec.structs.replace(event, key=start.key),
        start=run_start(model, start, event.id, only_birth=True),
    )


async def _start(
    store: Store, model: Model, workflow: str, value: dict[str, Any], event: CanonicalEvent, now: datetime
) -> RoutedStart:
    definition, lookups = model.workflow(workflow), Lookups(store, model, now)
    lookup = lookup_in(lookups.answers)
    try:
        start = await lookups.complete(partial(routing.start_of_call, definition, value, event, lookup))
    except FAULTS as error:
        raise CallRefused("not-taken", f"{workflow} cannot start with this input: {error}") from error
    if start is None:
        raise CallRefused("not-taken", f"{workflow} does not accept this input: its `start.when` is false.")
    if len(start.key) > MAX_BUSINESS_KEY_CHARS or not start.key.isprintable():
        message = f"A business key is 1 to {MAX_BUSINESS_KEY_CHARS} printable characters."
        raise CallRefused("not-taken", message)
    return start


def _check_signs(model: Model, served: ServingOperation, value: dict[str, Any]) -> None:
    """Raise CallRefused for a negative amount that the operation does not allow."""
    negative = list(negative_amounts(value, model.schema_of_operation(served.by, "input")))
    if negative and not model.operations[served.by].negative:
        message = (
            f"{served.by} allows no negative amount here. Send a positive amount, or use another operation."
        )
        violations = [
            SchemaViolation("#/" + "/".join(path), f"{amount} is negative") for path, amount in negative
        ]
        raise CallRefused("contract", message, faults=violations)


def _event(
    request: OperationRequest, served: ServingOperation, value: dict[str, Any], entity: str, now: datetime
) -> CanonicalEvent:
    """Return the call as the event that starts the Run."""
    return CanonicalEvent(
        id=ids.derive("evt", DOOR, request.consumer, request.family, request.key),
        type=f"{served.by}.called",
        system=SELF,
        object="",
        key=request.key,
        version=micros(now),
        data={**value, REQUESTED_BY: request.consumer},
        legal_entity=entity,
        occurred_at=now,
        effective_at=now,
        received_at=now,
        correlation=request.correlation,
        senders=(request.consumer,),
    )


# ------------------------------------------------------------------ checks


def served_version(model: Model, name: str) -> ServingOperation:
    """Return the exposed operation that serves a name. Raises CallRefused `unknown`.

    An operation that is not declared and one that is not exposed look alike to the caller.
    """
    declared = operation_version(model, name, None)
    served = serve(model, declared) if declared is not None else None
    if served is None:
        raise CallRefused("unknown", UNKNOWN)
    return served


def check_input(
    model: Model, served: ServingOperation, grants: Grants, request: OperationRequest
) -> dict[str, Any]:
    """Return the input in the version of the serving operation. Raises CallRefused."""
    schema = model.schema_of_operation(served.requested, "input")
    value = typed(request.input, schema)
    violations = faults(value, schema)
    if violations:
        message = f"The input breaks the contract of {served.requested}."
        raise CallRefused("contract", message, faults=violations)
    foreign = trespasses_of_call(model, served.requested, grants.speaks, set(value))
    if value.get(REQUESTED_BY, request.consumer) != request.consumer:
        foreign.append(f"{REQUESTED_BY} must be you, {request.consumer}")
    if foreign:
        raise CallRefused("ownership", f"You may not set this by {served.requested}: {'; '.join(foreign)}.")
    try:
        return upcast_input(served, value)
    except CastFailed as error:
        message = f"The input of {served.requested} cannot be converted to {served.by}: {error}"
        raise CallRefused("not-taken", message) from error


def rate_of(model: Model, served: ServingOperation) -> CallRate:
    """Return the rate of the serving operation; the default rate where it names none."""
    policy = model.policies.get(model.operations[served.by].rate or "")
    rate = policy.rate if policy is not None and policy.rate is not None else kinds.Rate()
    return CallRate(
        at_most=rate.at_most,
        every=kinds.seconds(rate.every),
        burst=rate.burst if rate.burst is not None else rate.at_most,
    )


def max_seconds(model: Model, request: OperationRequest) -> float:
    """Return how long a call that another process left may take."""
    operation = model.operations.get(request.operation)
    return max(request.seconds, kinds.seconds(operation.timeout) if operation is not None else 0.0)


def refusal(
    placed: PlaceCallResult, request: OperationRequest, rate: CallRate | None, now: datetime
) -> CallRefused:
    """Return the refusal for a verdict of the store."""
    call = placed.call
    match placed.verdict:
        case "changed":
            message = f"The key {request.key} belongs to another call of {request.operation}. Use a new key."
            return CallRefused("changed", message)
        case "busy":
            left = (call.until - now).total_seconds() if call is not None else 1.0
            message = "The first call with this key is still in progress."
            return CallRefused("busy", message, after=min(max(left, 1.0), 2.0))
        case "limited":
            message = f"You have exceeded the rate of {request.operation}."
            after = placed.left.wait if placed.left is not None else 1.0
            return CallRefused("limited", message, after=after, rate=rate, left=placed.left)
    return CallRefused("exists", "Another call has started this already. A new key does not start it again.")
