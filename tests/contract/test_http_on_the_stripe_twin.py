"""The http connector drives a vendor's double without a line of code for that vendor: an OpenAPI document of two
operations, and settings."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from counterfoil.connectors import openapi
from counterfoil.connectors.conformance import OperationSample, Samples, conform, failures
from counterfoil.connectors.openapi.connector import HttpSystem
from counterfoil.connectors.sdk import Absent, Confirmed, Rejected, Request, SystemConfig, Unknown
from counterfoil.core.errors import ErrorClass
from tests.contract.stripe_twin_process import KEY, Twin, running_twin

OPERATION = "crm.customer.create"
CUSTOMER = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "name": {"type": "string"},
        "email": {"type": "string"},
        "metadata": {"type": "object"},
    },
}
DOCUMENT: dict[str, Any] = {
    "openapi": "3.0.0",
    "paths": {
        "/v1/customers": {
            "post": {
                "operationId": "PostCustomers",
                "requestBody": {"content": {"application/x-www-form-urlencoded": {"schema": CUSTOMER}}},
                "responses": {"200": {"content": {"application/json": {"schema": CUSTOMER}}}},
            },
            "get": {
                "operationId": "GetCustomers",
                "parameters": [{"name": name, "in": "query"} for name in ("limit", "starting_after")],
                "responses": {
                    "200": {
                        "content": {
                            "application/json": {
                                "schema": {
                                    "type": "object",
                                    "properties": {"data": {"type": "array", "items": CUSTOMER}},
                                }
                            }
                        }
                    }
                },
            },
        },
    },
}
SETTINGS: dict[str, Any] = {
    "openapi": DOCUMENT,
    "loopback": True,
    "auth": {"scheme": "bearer"},
    "operations": {
        OPERATION: {
            "operationId": "PostCustomers",
            "repeat": "key",
            "horizon": 60,
            "retention": 86400,
            "key_header": "Idempotency-Key",
            "body": {"name": "$input.name", "email": "$input.email?", "metadata": {"counterfoil": "$key"}},
            "result": {"customer": "/id"},
            "find": {
                "operationId": "GetCustomers",
                "parameters": {"limit": 2},
                "items": "/data",
                "match": {"/metadata/counterfoil": "$key"},
                "cursor": "starting_after",
                "next_item": "/id",
            },
            "errors": [
                {
                    "status": 400,
                    "pointer": "/error/type",
                    "contains": "idempotency_error",
                    "class": "conflict",
                }
            ],
        },
    },
    "check": {"operationId": "GetCustomers", "parameters": {"limit": 1}},
}


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    with running_twin(tmp_path_factory.mktemp("twin") / "twin.sqlite") as running:
        yield running


@pytest_asyncio.fixture
async def connector(twin: Twin) -> AsyncIterator[HttpSystem]:
    connector = openapi.connect(config_of(twin))
    yield connector
    await connector.close()


def config_of(twin: Twin) -> SystemConfig:
    return SystemConfig("billing", twin.url, settings=SETTINGS, secrets={"token": KEY})


def request(key: str, **fields: object) -> Request:
    return Request(OPERATION, key, json.dumps(fields).encode())


async def test_a_configured_vendor_conforms(twin: Twin, connector: HttpSystem) -> None:
    async def valid() -> bytes:
        return b'{"name": "Acme & Sons"}'

    async def invalid() -> bytes:
        return b'{"name": {"first": "Acme"}}'

    async def count(request: Request) -> int:
        customers = twin.json("GET", "/v1/customers?limit=100")["data"]
        return sum(customer["metadata"].get("counterfoil") == request.key for customer in customers)

    sample = OperationSample(valid, invalid, ("customer",), count)
    results = await conform(
        connector, Samples(openapi.connect, config_of(twin), {OPERATION: sample}, short=0.2)
    )
    assert failures(results) == []


async def test_a_key_with_other_content_is_the_conflict_that_the_settings_name(connector: HttpSystem) -> None:
    assert isinstance(await connector.send(request("cf-k1", name="One"), 10), Confirmed)
    outcome = await connector.send(request("cf-k1", name="Two"), 10)
    assert isinstance(outcome, Rejected)
    assert outcome.error_class is ErrorClass.CONFLICT


async def test_an_answer_dropped_after_the_commit_is_unknown_and_then_found(
    twin: Twin, connector: HttpSystem
) -> None:
    twin.fault("drop_after_commit")
    wanted = request("cf-k2", name="Dropped")
    assert isinstance(await connector.send(wanted, 10), Unknown)
    assert isinstance(await connector.find(wanted, 10), Confirmed)
    assert await connector.find(request("cf-k3", name="Never sent"), 10) == Absent()
