"""receive: raw bytes become a Receipt before anybody is told that they arrived.

Doors are webhooks, polled feeds and the CloudEvents endpoint. Nothing is interpreted here beyond what the
connector needs to verify a signature and to tell a repeat from a clash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from counterfoil.connectors.sdk import Connector, Delivery
from counterfoil.contracts.versions import number
from counterfoil.core import ids, wire
from counterfoil.core.canonical import Receipt
from counterfoil.core.case import Case
from counterfoil.core.cases import open_case
from counterfoil.core.errors import ErrorClass, Refused
from counterfoil.core.event import Event, render
from counterfoil.model import Model
from counterfoil.store.port.intake import Receive, ReceiveResult
from counterfoil.store.port.store import (
    Store,
)

KEPT_HEADERS = ("content-type", "user-agent", "webhook-id", "webhook-timestamp", "date")
"""Headers kept with a receipt; signatures and credentials are not."""


class ReceiptStore(Protocol):
    """What keeps deliveries: a store, or the intake before one."""

    async def apply(self, transition: Receive, /) -> ReceiveResult: ...


class ReceiveAnswer(msgspec.Struct, frozen=True):
    """`new`, `same` or `clash`, and the number of the receipt that stands."""

    verdict: str
    receipt: int
    type: str = ""
    """The delivery's type."""


async def receive_webhook(
    store: ReceiptStore,
    model: Model,
    connector: Connector,
    system: str,
    headers: Mapping[str, str],
    body: bytes,
    now: datetime,
) -> ReceiveAnswer:
    """Verify, identify, keep. Raises what the connector raises for a delivery that it refuses."""
    lower = {name.lower(): value for name, value in headers.items()}
    delivery = connector.receive(lower, body, now)
    kept = {name: lower[name] for name in KEPT_HEADERS if name in lower}
    receipt = _receipt(system, delivery, "webhook", kept, body, now)
    received = await _keep(store, model, [receipt], now, system)
    return ReceiveAnswer(received.verdicts[0], received.numbers[0], delivery.type)


async def receive_events(
    store: ReceiptStore, model: Model, events: Sequence[Event], now: datetime
) -> list[ReceiveAnswer]:
    """Keep CloudEvents of declared systems, by source. All or none of a batch."""
    receipts = []
    for event in events:
        system = event.source.removeprefix("/").split("/")[0]
        if system not in model.systems:
            known = ", ".join(sorted(model.systems))
            raise Refused(
                f"event {event.id}: no system {event.source!r}; a source begins with one of {known}",
                ErrorClass.NOT_FOUND,
            )
        body = render(event)
        identity = wire.digest(
            {"id": event.id, "source": event.source, "type": event.type, "body": body.decode()}
        )
        # One fact told in two versions is kept as it came, twice; its id makes one event of it.
        version = number(event.type)
        told = f":v{version}" if version > 1 else ""
        delivery = Delivery(
            ext_id=f"ce:{event.source}:{event.id}{told}",
            type=event.type,
            identity=identity.encode(),
            body=None,
        )
        receipts.append(_receipt(system, delivery, "events", {}, body, now))
    if not receipts:
        return []
    received = await _keep(store, model, receipts, now, "events")
    return [ReceiveAnswer(v, n) for v, n in zip(received.verdicts, received.numbers, strict=True)]


async def receive_page(
    store: Store,
    model: Model,
    system: str,
    feed: str,
    deliveries: Sequence[Delivery],
    cursor: str,
    now: datetime,
) -> ReceiveResult:
    """Keep a page of a polled feed and move the feed's cursor in the same transaction."""
    receipts = [_receipt(system, d, "poll", {}, wire.write_json(d.body), now) for d in deliveries]
    return await _keep(store, model, receipts, now, f"{system}.{feed}", (system, feed, cursor))


async def keep_fetched(
    store: Store, model: Model, system: str, name: str, body: wire.Json, now: datetime
) -> int:
    """Keep what an admission fetched: a receipt that asks for nothing."""
    raw = wire.write_json(body)
    delivery = Delivery(ext_id=f"fetch:{name}:{wire.digest(raw)}", type=name, identity=raw, body=body)
    received = await _keep(store, model, [_receipt(system, delivery, "fetch", {}, raw, now)], now, system)
    return received.numbers[0]


def _receipt(
    system: str, delivery: Delivery, door: str, headers: dict[str, str], body: bytes, now: datetime
) -> Receipt:
    return Receipt(
        system=system,
        ext_id=delivery.ext_id,
        type=delivery.type,
        identity=hashlib.sha256(delivery.identity).hexdigest(),
        sha256=hashlib.sha256(body).hexdigest(),
        door=door,
        headers=headers,
        body=body,
        received_at=now,
    )


async def _keep(
    store: ReceiptStore,
    model: Model,
    receipts: Sequence[Receipt],
    now: datetime,
    actor: str,
    cursor: tuple[str, str, str] | None = None,
) -> ReceiveResult:
    clashes = tuple(_clash(model, r, now) for r in receipts)
    return await store.apply(
        Receive(receipts=tuple(receipts), clashes=clashes, cursor=cursor, at=now, actor=f"system:{actor}")
    )


def _clash(model: Model, receipt: Receipt, now: datetime) -> Case:
    owners = model.owners_of(model.systems[receipt.system])
    return open_case(
        "clash",
        id=ids.derive("case", "clash", receipt.system, receipt.ext_id, receipt.identity),
        message=(
            f"{receipt.system} sent {receipt.ext_id} again with another content; the first one stands, "
            f"the second has SHA-256 {receipt.sha256}"
        ),
        owners=owners,
        at=now,
    )
