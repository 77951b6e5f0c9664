"""OpenAPI and AsyncAPI documents of the Release in force: they are well formed and true of the responses."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from counterfoil.store.memory import MemoryStore
from counterfoil.web.api import asyncapi, operations_openapi
from tests.companies.base import acme_model
from tests.companies.gateway import Offering, model, offering, payment
from tests.patching import replace_attribute

OPERATION = re.compile(r"^(get|post)$")


@pytest.fixture
async def company() -> AsyncIterator[Offering]:
    async with offering(MemoryStore()) as running:
        yield running


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def at(document: Any, reference: str) -> Any:
    """Return the target of a reference within a document. Raises KeyError if there is none."""
    value = document
    for part in reference.removeprefix("#/").split("/"):
        value = value[part.replace("~1", "/").replace("~0", "~")]
    return value


def validator(document: Any, schema: Any) -> Any:
    """Return a validator of one schema of the document, with its references."""
    return jsonschema_rs.validator_for({**schema, "components": document["components"]})


def models() -> list[Any]:
    acme = acme_model()
    return [model(), acme]


async def test_openapi_describes_exactly_the_exposed_operations(company: Offering) -> None:
    answer = await company.http.get("/v1/operations/openapi.json")
    document = answer.json()
    assert set(document["paths"]) == {
        "/v1/operations/erp.invoice.get",
        "/v1/operations/erp.invoice.get.v2",
        "/v1/operations/erp.invoice.list",
        "/v1/operations/erp.note.ask",
        "/v1/operations/erp.note.ask/runs/{run_id}",
        "/v1/operations/erp.payment.post",
        "/v1/operations/erp.payment.post/runs/{run_id}",
    }
    assert "erp.note.add" not in answer.text, "an operation that is not exposed is not described"
    assert document["paths"]["/v1/operations/erp.invoice.get"]["post"]["deprecated"] is True
    whole = (await company.http.get("/openapi.json")).json()
    assert set(document["paths"]) < set(whole["paths"])
    assert "/v1/receipts/{system}" in whole["paths"]


@pytest.mark.parametrize("which", [0, 1], ids=["trial", "acme"])
def test_openapi_is_well_formed(which: int) -> None:
    document = operations_openapi.document(models()[which])
    assert document["openapi"] == "3.1.0"
    assert {"title", "version"} <= set(document["info"])
    for reference in references(document):
        at(document, reference)
    for name, schema in document["components"]["schemas"].items():
        jsonschema_rs.meta.validate({**schema, "$schema": document["jsonSchemaDialect"]})
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
    ids = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert OPERATION.match(method)
            ids.append(operation["operationId"])
            wanted = set(re.findall(r"\{(\w+)\}", path))
            assert wanted == {p["name"] for p in operation["parameters"] if p.get("in") == "path"}
            assert {"200", "401", "404"} <= set(operation["responses"])
            for status, answer in operation["responses"].items():
                response = at(document, answer["$ref"]) if "$ref" in answer else answer
                assert re.fullmatch(r"[1-5]\d\d", status)
                assert response["description"]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("which", [0, 1], ids=["trial", "acme"])
def test_examples_keep_their_contracts(which: int) -> None:
    model_ = models()[which]
    document = operations_openapi.document(model_)
    for methods in document["paths"].values():
        for operation in methods.values():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            bodies = [content] if content else []
            answer = operation["responses"]["200"]["content"]["application/json"]
            for body in (*bodies, *([answer] if "example" in answer else [])):
                validator(document, body["schema"]).validate(body["example"])
    events = asyncapi.document(model_)
    for message in events["components"]["messages"].values():
        payload = at(events, message["payload"]["$ref"])
        jsonschema_rs.validator_for(payload).validate(message["examples"][0]["payload"])


def test_every_form_of_money_that_a_call_may_send_is_described() -> None:
    document = operations_openapi.document(model())
    schema = document["components"]["schemas"]["erp.payment.post.input"]["properties"]["amount"]
    valid = jsonschema_rs.validator_for(schema).is_valid
    shown = {"amount": "-50.00", "currency": "USD", "minor": -5000}
    assert all(valid({k: v for k, v in shown.items() if k != out}) for out in ("", "amount", "minor"))
    assert not any(valid(bad) for bad in ({"currency": "USD"}, shown | {"amount": 50}, shown | {"x": 1}))


async def test_responses_match_the_description(company: Offering) -> None:
    company.ledger.invoices.append({"id": "inv7", "number": "n", "customer": "c"})
    document = (await company.http.get("/openapi.json")).json()
    calls = [
        ("erp.payment.post", payment("p-1")),
        ("erp.payment.post", payment("p-2", 50_000)),
        ("erp.payment.post", {"colour": "red"}),
        ("erp.invoice.get", {"id": "inv7"}),
        ("erp.invoice.get.v2", {"invoice": "inv7"}),
        ("erp.invoice.get.v2", {"invoice": "inv404"}),
        ("erp.note.ask", {"note_id": "n"}),
    ]
    statuses = set()
    for name, body in calls:
        operation = document["paths"][f"/v1/operations/{name}"]["post"]
        answer = await company.call(name, body)
        statuses.add(answer.status_code)
        described = operation["responses"][str(answer.status_code)]
        described = at(document, described["$ref"]) if "$ref" in described else described
        media = answer.headers["content-type"]
        validator(document, described["content"][media]["schema"]).validate(answer.json())
        for head in described["headers"]:
            if head not in ("Idempotency-Replayed", "Retry-After", "RateLimit", "RateLimit-Policy"):
                assert head.lower() in answer.headers, (name, answer.status_code, head)
    assert statuses == {200, 202, 404, 422, 502}


async def test_asyncapi_describes_every_event_with_its_producers(company: Offering) -> None:
    document = (await company.http.get("/asyncapi.json")).json()
    assert document["asyncapi"] == "3.0.0"
    assert set(document["channels"]) == {"ping.sent.v1"}
    assert document["operations"]["receive.ping.sent.v1"]["action"] == "receive"
    heads = document["components"]["messages"]["ping.sent.v1"]["headers"]
    assert set(heads["required"]) == {"ce-specversion", "ce-id", "ce-source", "ce-type"}
    jsonschema_rs.meta.validate({**heads, "$schema": "https://json-schema.org/draft/2020-12/schema"})


async def test_an_event_sent_as_described_is_stored(company: Offering) -> None:
    message = (await company.http.get("/asyncapi.json")).json()["components"]["messages"]["ping.sent.v1"]
    heads = dict.fromkeys(message["headers"]["required"], "desk")
    heads |= {n: p["const"] for n, p in message["headers"]["properties"].items() if "const" in p}
    answer = await company.http.post(
        "/v1/events",
        json=message["examples"][0]["payload"],
        headers=heads | {"authorization": f"Bearer {company.tokens['fin']}"},
    )
    assert (answer.status_code, answer.json()["items"][0]["verdict"]) == (202, "new"), answer.text


def test_asyncapi_of_the_example_is_well_formed() -> None:
    acme = models()[1]
    document = asyncapi.document(acme)
    assert set(document) == {
        "asyncapi",
        "info",
        "defaultContentType",
        "channels",
        "operations",
        "components",
        "x-release",
    }
    for reference in references(document):
        at(document, reference)
    assert set(document["channels"]) == set(acme.events)
    for name, channel in document["channels"].items():
        assert (channel["address"], list(channel["messages"])) == (name, [name])
    finalized = document["channels"]["invoice.finalized.v1"]
    assert finalized["x-producers"]["systems"] == ["billing"]
    assert finalized["x-object"] == "invoice"
    for operation in document["operations"].values():
        assert operation["action"] in ("receive", "send")
        channel = at(document, operation["channel"]["$ref"])
        assert at(document, operation["messages"][0]["$ref"]) in channel["messages"].values()
    json.dumps(document)


async def test_descriptions_follow_the_release_in_force(company: Offering, tmp_path: Path) -> None:
    acme = acme_model()
    replace_attribute(company.app.releases, "present", acme)
    document = (await company.http.get("/asyncapi.json")).json()
    assert document["x-release"] == acme.digest
    assert "invoice.finalized.v1" in document["channels"]
