"""Requests to the connector of Tryton, and the customers and documents that its tests need."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any

from counterfoil.connectors.conformance import OperationSample, Samples, conform, failures
from counterfoil.connectors.sdk import (
    Confirmed,
    Connector,
    Delivery,
    ListingConnector,
    Rejected,
    Request,
    SystemConfig,
)
from counterfoil.connectors.tryton import connect
from counterfoil.core.wire import write_json

TIMEOUT = 30.0
_numbers = itertools.count(1)


def fresh(kind: str) -> str:
    """A canonical id that no other test has used."""
    return f"{kind}_{next(_numbers):04d}"


def request(operation: str, key: str | None = None, **body: Any) -> Request:
    return Request(operation, key or fresh("key"), write_json(body))


async def done(connector: Connector, asked: Request) -> dict[str, Any]:
    outcome = await connector.send(asked, TIMEOUT)
    assert isinstance(outcome, Confirmed), outcome
    return dict(outcome.result)


async def refused(connector: Connector, asked: Request) -> Rejected:
    outcome = await connector.send(asked, TIMEOUT)
    assert isinstance(outcome, Rejected), outcome
    return outcome


async def customer(connector: Connector) -> int:
    party = await done(connector, request("erp.party.upsert", code=fresh("cus"), name="Globex", city="Utica"))
    return int(party["id"])


def document(party: int, amount: str, on: date, **changes: Any) -> dict[str, Any]:
    """An invoice of one line; with a negative amount a credit memo."""
    negative = amount.startswith("-")
    line = {
        "description": "Service credit" if negative else "Seats",
        "quantity": -1 if negative else 1,
        "unit_price": amount.lstrip("-"),
        "account": "4800" if negative else "4000",
    }
    return {
        "reference": fresh("credit" if negative else "inv"),
        "party": party,
        "currency": "USD",
        "invoice_date": on.isoformat(),
        "lines": [line],
    } | changes


async def invoice(connector: Connector, party: int, amount: str, on: date, **changes: Any) -> dict[str, Any]:
    operation = "erp.credit_memo.post" if amount.startswith("-") else "erp.invoice.post"
    return await done(connector, request(operation, **document(party, amount, on, **changes)))


async def changes(connector: Connector, feed: str, cursor: str | None) -> tuple[list[Delivery], str]:
    """Everything in a feed from `cursor` to its end, two at a time."""
    deliveries: list[Delivery] = []
    while True:
        page = await connector.poll(feed, cursor, 2, TIMEOUT)
        deliveries += page.deliveries
        cursor = page.cursor
        if not page.more:
            return deliveries, cursor


async def listed(connector: Connector, book: str, limit: int = 2) -> list[Delivery]:
    """Everything in a book, `limit` at a time."""
    assert isinstance(connector, ListingConnector)
    deliveries: list[Delivery] = []
    cursor, more = None, True
    while more:
        page = await connector.list_book(book, cursor, limit, TIMEOUT)
        deliveries += page.deliveries
        cursor, more = page.cursor, page.more
    return deliveries


async def conforms(
    connector: Connector,
    config: SystemConfig,
    count: Callable[[Request], Awaitable[int]],
    operation: str,
    samples: tuple[Callable[[], Any], Callable[[], Any]],
    same: tuple[str, ...],
) -> None:
    """The suite of all connectors, for one operation: each takes its time on a real ERP."""

    def sampler(body: Callable[[], Any]) -> Callable[[], Awaitable[bytes]]:
        async def written() -> bytes:
            return write_json(body())

        return written

    good, bad = samples
    connector.operations = {operation: connector.operations[operation]}
    connector.feeds = ()
    assert isinstance(connector, ListingConnector)
    connector.listings = {}
    sample = OperationSample(sampler(good), sampler(bad), same, count)
    assert failures(await conform(connector, Samples(connect, config, {operation: sample}))) == []
