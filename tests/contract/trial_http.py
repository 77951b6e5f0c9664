"""Samples of the conformance suite for the http connector: on a small ledger that an OpenAPI document describes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from counterfoil.connectors import openapi, signature
from counterfoil.connectors.conformance import OperationSample, Samples
from counterfoil.connectors.sdk import Connector, Request, SystemConfig
from tests.contract.ledger_server import DOCUMENT, TOKEN, Ledger, running_ledger

HOOK_SECRET = "whsec_bGVkZ2VyLWhvb2stc2VjcmV0LTAx"

SETTINGS: dict[str, Any] = {
    "openapi": YAML(typ="safe", pure=True).load(DOCUMENT),
    "loopback": True,
    "auth": {"scheme": "bearer"},
    "operations": {
        "erp.invoice.post": {
            "operationId": "createInvoice",
            "repeat": "key",
            "horizon": 60,
            "retention": 86400,
            "key_header": "Idempotency-Key",
            "body": {"customer": "$input.customer.id", "amount": "$input.total", "reference": "$key"},
            "result": {"invoice": "/id", "number": "/number"},
            "find": {
                "operationId": "listInvoices",
                "parameters": {"reference": "$key", "size": 3},
                "items": "/data",
                "match": {"/reference": "$key"},
                "cursor": "page",
                "next": "/next",
            },
        },
        "erp.payment.post": {
            "operationId": "createPayment",
            "repeat": "unique",
            "horizon": 60,
            "key_field": "reference",
            "body": {"amount": "$input.amount"},
            "result": {"payment": "/id"},
            "find": {
                "operationId": "getPayment",
                "parameters": {"reference": "$key"},
                "one": True,
                "match": {"/reference": "$key"},
            },
            "errors": [
                {"status": 409, "pointer": "/error/code", "contains": "duplicate", "class": "already_done"}
            ],
        },
        "erp.invoice.void": {
            "operationId": "voidInvoice",
            "repeat": "state",
            "horizon": 60,
            "parameters": {"id": "$input.invoice"},
            "result": {"invoice": "/id"},
            "find": {
                "operationId": "getInvoice",
                "parameters": {"id": "$input.invoice"},
                "one": True,
                "match": {"/id": "$input.invoice"},
                "state": {"/status": "void"},
            },
        },
        "erp.note.add": {
            "operationId": "createNote",
            "repeat": "blind",
            "body": {"text": "$input.text", "tags": "$input.tags?", "about": {"invoice": "$input.invoice?"}},
            "result": {"note": "/id"},
        },
        "erp.invoice.get": {"operationId": "getInvoice", "repeat": "read", "parameters": {"id": "$input.id"}},
        "erp.invoice.list": {"operationId": "listInvoices", "repeat": "read"},
    },
    "feeds": {
        "changes": {
            "operationId": "listChanges",
            "cursor": "after",
            "limit": "size",
            "next_item": "/sequence",
            "id": "/invoice/id",
            "version": "/sequence",
            "type": "/kind",
            "occurred_at": "/at",
        },
    },
    "listings": {
        "changes": {
            "operationId": "listChanges",
            "cursor": "after",
            "limit": "size",
            "next_item": "/sequence",
            "id": "/invoice/id",
            "version": "/sequence",
            "type": "/kind",
            "occurred_at": "/at",
        },
        "invoices": {
            "operationId": "listInvoices",
            "offset": "page",
            "limit": "size",
            "size": 50,
            "items": "/data",
            "id": "/id",
            "version": "/status",
            "type": "invoice",
        },
    },
    "webhook": {
        "scheme": "standard-webhooks-v1",
        "id": "header:webhook-id",
        "type": "/kind",
        "identity": ["/invoice/id", "/invoice/version"],
    },
}


def config_of(ledger: Ledger, **changed: Any) -> SystemConfig:
    secrets = {"token": TOKEN, "hook_secret": HOOK_SECRET}
    return SystemConfig("ledger", ledger.url, settings={**SETTINGS, **changed}, secrets=secrets)


def callback(now: datetime) -> tuple[dict[str, str], bytes, datetime]:
    body = json.dumps({"kind": "invoice.paid", "invoice": {"id": "inv1", "version": 3}}).encode()
    return signature.sign("standard-webhooks-v1", HOOK_SECRET, body, now, "evt_1"), body, now


def always(**fields: object) -> Callable[[], Awaitable[bytes]]:
    async def body() -> bytes:
        return json.dumps(fields).encode()

    return body


@asynccontextmanager
async def http_ledger(folder: Path) -> AsyncIterator[tuple[Connector, Samples]]:
    with running_ledger() as ledger:

        def counting(rows: list[dict[str, Any]]) -> Callable[[Request], Awaitable[int]]:
            async def count(request: Request) -> int:
                return sum(row.get("reference") == request.key for row in rows)

            return count

        async def open_invoice() -> bytes:
            name = f"inv{len(ledger.invoices) + 1}"
            ledger.invoices.append({"id": name, "status": "open"})
            return json.dumps({"invoice": name}).encode()

        async def count_voids(request: Request) -> int:
            return ledger.voids.count(json.loads(request.body)["invoice"])

        async def touch() -> None:
            ledger.change("invoice.touched", {"id": "inv1", "version": 2})

        operations = {
            "erp.invoice.post": OperationSample(
                always(customer={"id": "cus_1"}, total=120),
                always(customer={"id": "cus_1"}, total=-1),
                ("invoice", "number"),
                counting(ledger.invoices),
            ),
            "erp.payment.post": OperationSample(
                always(amount=5), always(amount="five"), ("payment",), counting(ledger.payments)
            ),
            "erp.invoice.void": OperationSample(
                open_invoice, always(invoice="inv0"), ("invoice",), count_voids
            ),
            "erp.note.add": OperationSample(
                always(text="hello", tags=["a", "b"]), always(tags=["a"]), ("note",)
            ),
        }
        samples = Samples(
            openapi.connect,
            config_of(ledger),
            operations,
            reads=[("erp.invoice.list", {})],
            delivery=callback(datetime.now(UTC)),
            signed="webhook-signature",
            touch=touch,
        )
        yield openapi.connect(samples.config), samples
