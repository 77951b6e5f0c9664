"""Receipts: raw bytes are stored before their arrival is acknowledged.

They come from webhooks, polled feeds and the CloudEvents endpoint. Nothing is interpreted beyond what the connector
needs to verify a signature and to distinguish a repeat from a clash.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec
from msgspec.structs import replace

from counterfoil.connectors.sdk import Connector, Delivery
from counterfoil.contracts.versions import number
from counterfoil.core import ids, wire
from counterfoil.core.canonical import Receipt
from counterfoil.core.case import Case
from counterfoil.core.cases import open_case
from counterfoil.core.errors import ErrorClass, Refused
from counterfoil.core.event import Event, render
from counterfoil.model import Model
from counterfoil.store.port.intake import Receive, ReceiveResult, ReceiveVerdict
from counterfoil.store.port.store import Store

SWEEP_DOOR = "sweep"
"""Door of the records of a listed book."""
STORED_HEADERS = ("content-type", "user-agent", "webhook-id", "webhook-timestamp", "date")
"""Headers stored with a receipt. Signatures and credentials are not stored."""


class ReceiptSink(Protocol):
    """A store, or the intake in front of one."""

    async def apply(self, transition: Receive, /) -> ReceiveResult: ...


class ReceiptAnswer(msgspec.Struct, frozen=True):
    """`new`, `same` or `clash`, and the number of the valid receipt."""

    verdict: ReceiveVerdict
    receipt: int
    type: str = ""
    """The delivery's type."""


async def receive_webhook(
    store: ReceiptSink,
    model: Model,
    connector: Connector,
    system: str,
    headers: Mapping[str, str],
    body: bytes,
    now: datetime,
) -> ReceiptAnswer:
    """Verify, identify and store a delivery. Raises what the connector raises for one that it refuses."""
    lower = {name.lower(): value for name, value in headers.items()}
    delivery = connector.receive(lower, body, now)
    stored = {name: lower[name] for name in STORED_HEADERS if name in lower}
    receipt = _receipt(system, delivery, "webhook", stored, body, now)
    received = await _store(store, model, [receipt], now, f"system:{system}")
    return ReceiptAnswer(received.verdicts[0], received.numbers[0], delivery.type)


def _system_of(event: Event) -> str:
    """Return the system that an event names first in its source."""
    return event.source.removeprefix("/").split("/")[0]


async def receive_events(
    store: ReceiptSink, model: Model, events: Sequence[Event], now: datetime, sender: str = ""
) -> list[ReceiptAnswer]:
    """Store CloudEvents of declared systems: all or none of a batch. Raises Refused for an unknown source.

    `sender` is the id of the person who sends them: whatever a source claims, they stand behind it.
    """
    return await store_sent(store, model, receipts_of(model, events, now, sender), now, sender)


def receipts_of(model: Model, events: Sequence[Event], now: datetime, sender: str = "") -> list[Receipt]:
    """Return the receipts of CloudEvents, which are not stored yet. Raises Refused for an unknown source."""
    receipts: list[Receipt] = []
    for event in events:
        system = _system_of(event)
        if system not in model.systems:
            systems = f"a source begins with one of {', '.join(sorted(model.systems))}"
            message = f"event {event.id}: unknown system {event.source!r}; {systems}"
            raise Refused(message, ErrorClass.NOT_FOUND)
        body = render(event)
        about = {"id": event.id, "source": event.source, "type": event.type}
        identity = wire.digest({**about, "body": body.decode()})
        # A fact that is sent in two versions is stored twice, as it came; its id makes one event of it.
        ext_id = _ext_id(event.source, event.id, number(event.type))
        delivery = Delivery(ext_id=ext_id, type=event.type, identity=identity.encode(), body=None)
        receipt = _receipt(system, delivery, "events", {}, body, _apart(now, len(receipts)))
        receipts.append(replace(receipt, sender=sender))
    return receipts


async def store_sent(
    store: ReceiptSink, model: Model, receipts: Sequence[Receipt], now: datetime, sender: str = ""
) -> list[ReceiptAnswer]:
    """Store the receipts of CloudEvents, all or none."""
    if not receipts:
        return []
    received = await _store(store, model, receipts, now, f"person:{sender}" if sender else "system:events")
    return [ReceiptAnswer(v, n) for v, n in zip(received.verdicts, received.numbers, strict=True)]


def _ext_id(source: str, id_: str, version: int) -> str:
    """Return one text for a source, an id and a version, and for no others.

    A source has no colon of its own in it. A version of 1 is written only where the id itself ends like a version.
    """
    suffix = f":v{version}" if version > 1 or _LIKE_A_VERSION.search(id_) else ""
    return f"ce:{source.replace('%', '%25').replace(':', '%3A')}:{id_}{suffix}"


_LIKE_A_VERSION = re.compile(r":v[0-9]+\Z")


async def receive_page(
    store: Store,
    model: Model,
    system: str,
    feed: str,
    deliveries: Sequence[Delivery],
    cursor: str,
    now: datetime,
) -> ReceiveResult:
    """Store a page of a polled feed and move the feed's cursor in the same transaction."""
    page = receipts_of_page(model, system, deliveries, "poll", now, f"system:{system}.{feed}")
    return await store.apply(replace(page, cursor=(system, feed, cursor)))


def receipts_of_page(
    model: Model, system: str, deliveries: Sequence[Delivery], door: str, now: datetime, actor: str
) -> Receive:
    """Return the transition that stores a page of deliveries."""
    receipts = [
        _receipt(system, d, door, {}, wire.write_json(d.body), _apart(now, place))
        for place, d in enumerate(deliveries)
    ]
    return _receive(model, receipts, now, actor)


async def store_fetched(
    store: Store, model: Model, system: str, name: str, body: wire.Json, now: datetime
) -> int:
    """Store the result of an admission's fetch as a receipt that is not admitted. Return its number."""
    raw = wire.write_json(body)
    delivery = Delivery(ext_id=f"fetch:{name}:{wire.digest(raw)}", type=name, identity=raw, body=body)
    received = await _store(
        store, model, [_receipt(system, delivery, "fetch", {}, raw, now)], now, f"system:{system}"
    )
    return received.numbers[0]


def _apart(now: datetime, place: int) -> datetime:
    """Return the receipt time of one of several deliveries. It orders facts without a version, so no two share it."""
    return now + timedelta(microseconds=place)


def _receipt(
    system: str, delivery: Delivery, door: str, headers: dict[str, str], body: bytes, now: datetime
) -> Receipt:
    content = f".{hashlib.sha256(delivery.content).hexdigest()[:16]}" if delivery.content else ""
    return Receipt(
        system=system,
        ext_id=delivery.ext_id,
        type=delivery.type,
        identity=hashlib.sha256(delivery.identity).hexdigest() + content,
        sha256=hashlib.sha256(body).hexdigest(),
        door=door,
        headers=headers,
        body=body,
        received_at=now,
    )


async def _store(
    store: ReceiptSink, model: Model, receipts: Sequence[Receipt], now: datetime, actor: str
) -> ReceiveResult:
    return await store.apply(_receive(model, receipts, now, actor))


def _receive(model: Model, receipts: Sequence[Receipt], now: datetime, actor: str) -> Receive:
    clashes = tuple(_clash(model, receipt, now) for receipt in receipts)
    return Receive(receipts=tuple(receipts), clashes=clashes, at=now, actor=actor)


def _clash(model: Model, receipt: Receipt, now: datetime) -> Case:
    return open_case(
        "clash",
        id=ids.derive("case", "clash", receipt.system, receipt.ext_id, receipt.identity),
        message=(
            f"{receipt.system} sent {receipt.ext_id} again with different content. The first delivery stays valid; "
            f"the second has SHA-256 {receipt.sha256}"
        ),
        owners=model.owners_of(model.systems[receipt.system]),
        at=now,
    )
