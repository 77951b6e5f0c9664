"""Every lint rule finds its planted fault at its place, and contracts without a fault have no findings."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from counterfoil.contracts.lint import form_of, lint
from counterfoil.contracts.lint.places import places
from counterfoil.contracts.lint.rules import RULES
from counterfoil.model import read

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "lint.md"

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "https://acme.example/invoice/v1",
    "title": "Invoice",
    "description": "What billing finalized.",
    "type": "object",
    "properties": {
        "invoice_id": {"type": "string"},
        "total": {"type": "integer"},
        "currency": {"type": "string"},
        "issued_on": {"type": "string", "format": "date"},
        "contact": {"type": "object", "properties": {"email": {"type": "string", "x-pii": True}}},
        "status": {"enum": ["open", "paid_up"]},
        "lines": {"type": "array", "items": {"type": "object", "properties": {"net": {"type": "integer"}}}},
        "envelope": {
            "type": "object",
            "required": ["id", "source", "specversion", "type"],
            "properties": {
                "specversion": {"const": "1.0"},
                "time": {"type": "string", "format": "date-time"},
            },
        },
    },
}
OPENAPI: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {
        "title": "Billing", "version": "1.2.0", "description": "Invoices.", "contact": {"name": "billing"},
    },
    "security": [{"key": []}],
    "paths": {
        "/v1/invoices": {
            "post": {
                "operationId": "createInvoice",
                "summary": "Finalize an invoice",
                "parameters": [{"$ref": "#/components/parameters/Key"}],
                "responses": {"200": {"description": "Done."}, "default": {"description": "A problem."}},
            },
            "get": {
                "operationId": "listInvoices",
                "summary": "List them",
                "deprecated": True,
                "x-sunset": "2027-01-31",
                "responses": {"200": {"description": "Some."}, "4XX": {"description": "A problem."}},
            },
        }
    },
    "components": {
        "parameters": {"Key": {"name": "Idempotency-Key", "in": "header"}},
        "schemas": {
            "Invoice": {"type": "object", "properties": {"invoiceId": {"type": "string"}}},
            "CreditNote": {"type": "object", "properties": {"creditId": {"type": "string"}}},
        },
    },
}  # fmt: skip
ASYNCAPI: dict[str, Any] = {
    "asyncapi": "3.0.0",
    "info": {"title": "Facts", "version": "2.0.0", "description": "Ours.", "contact": {"name": "billing"}},
    "defaultContentType": "application/cloudevents+json",
    "components": {"messages": {"Finalized": {"payload": {"type": "object"}}}},
}
EVENT: dict[str, Any] = {
    "kind": "event",
    "name": "invoice.finalized.v1",
    "data": {
        "invoice_id": "id",
        "total": "money",
        "finalized_at": "timestamp",
        "document_date": "date",
        "email?": {"type": "string", "pii": True},
        "lines": {"type": "list", "items": {"fields": {"net": "money"}}},
    },
}
WORKFLOW: dict[str, Any] = {
    "kind": "workflow",
    "name": "invoice-to-erp",
    "owner": "finance",
    "doc": "Posts what billing finalized.",
    "steps": [{"call": "erp.invoice.post", "becomes": "posted"}],
}
CLEAN = {"schema": SCHEMA, "openapi": OPENAPI, "asyncapi": ASYNCAPI, "event": EVENT, "workflow": WORKFLOW}

_POST = ("paths", "/v1/invoices", "post")
_GET = ("paths", "/v1/invoices", "get")
_BODY = ("components", "schemas", "Invoice", "properties")
REMOVED = object()

PLANTED: list[tuple[str, str, tuple[Any, ...], Any, tuple[Any, ...]]] = [
    ("name-convention", "schema", ("properties", "taxRate"), {"type": "integer"}, ("properties", "taxRate")),
    ("name-component", "openapi", ("components", "schemas", "tax_rate"), {}, ("components", "schemas", "tax_rate")),
    ("name-operation", "openapi", (*_POST, "operationId"), REMOVED, _POST),
    ("name-operation", "openapi", (*_GET, "operationId"), "createInvoice", (*_GET, "operationId")),
    ("name-operation", "openapi", (*_GET, "operationId"), "List_invoices", None),
    ("name-path", "openapi", ("paths", "/v1/invoices/"), {}, ("paths", "/v1/invoices/")),
    ("name-path", "openapi", ("paths", "/v1/Credits"), {}, ("paths", "/v1/Credits")),
    ("name-path", "openapi", ("paths", "/v1/get-credits"), {}, ("paths", "/v1/get-credits")),
    ("name-value", "schema", ("properties", "status", "enum"), ["open", "PAID"], ("properties", "status")),
    ("name-event", "event", ("name",), "invoice.finalized", ("name",)),
    ("name-event", "event", ("name",), "invoice.finalize.v1", ("name",)),
    ("name-event", "event", ("name",), "finalized.v1", ("name",)),
    ("name-state", "workflow", ("steps", 0, "becomes"), "Posted", ("steps", 0, "becomes")),
    ("version-described", "openapi", ("info", "version"), "latest", ("info", "version")),
    ("version-described", "asyncapi", ("info", "version"), REMOVED, ("info",)),
    ("version-schema", "schema", ("$schema",), REMOVED, ()),
    ("version-schema", "schema", ("$id",), "https://acme.example/invoice", ("$id",)),
    ("version-lifecycle", "openapi", (*_GET, "x-sunset"), REMOVED, (*_GET, "deprecated")),
    ("version-lifecycle", "openapi", (*_GET, "x-sunset"), "soon", (*_GET, "x-sunset")),
    ("version-lifecycle", "openapi", (*_GET, "deprecated"), REMOVED, (*_GET, "x-sunset")),
    ("metadata-described", "openapi", ("info", "contact"), REMOVED, ("info",)),
    ("metadata-described", "asyncapi", ("info", "description"), "", ("info",)),
    ("metadata-operation", "openapi", (*_POST, "summary"), REMOVED, _POST),
    ("metadata-errors", "openapi", (*_POST, "responses", "default"), REMOVED, (*_POST, "responses")),
    ("metadata-security", "openapi", ("security",), REMOVED, None),
    ("metadata-schema", "schema", ("title",), REMOVED, ()),
    ("metadata-workflow", "workflow", ("owner",), REMOVED, ("name",)),
    ("metadata-workflow", "workflow", ("doc",), REMOVED, ("name",)),
    ("envelope-repeated", "event", ("data", "occurred_at?"), "timestamp", ("data", "occurred_at?")),
    ("envelope-whole", "schema", ("properties", "envelope", "required"), ["id"], ("properties", "envelope")),
    ("envelope-whole", "schema", ("properties", "envelope", "properties", "time"), REMOVED, ("properties", "envelope")),
    ("envelope-message", "asyncapi", ("defaultContentType",), "application/json",
     ("components", "messages", "Finalized")),
    ("envelope-retry", "openapi", (*_POST, "parameters"), REMOVED, _POST),
    ("money-exact", "schema", ("properties", "total", "type"), "number", ("properties", "total")),
    ("money-exact", "schema", ("properties", "total", "type"), "string", ("properties", "total")),
    ("money-exact", "event", ("data", "total"), "decimal", ("data", "total")),
    ("money-exact", "event", ("data", "lines", "items", "fields", "net"), {"type": "int"},
     ("data", "lines", "items", "fields", "net")),
    ("money-currency", "openapi", (*_BODY, "amount"), {"type": "integer"}, (*_BODY, "amount")),
    ("date-form", "schema", ("properties", "issued_on", "format"), REMOVED, ("properties", "issued_on")),
    ("date-form", "schema", ("properties", "issued_on", "type"), "integer", ("properties", "issued_on")),
    ("date-form", "event", ("data", "finalized_at"), "date", ("data", "finalized_at")),
    ("date-form", "event", ("data", "document_date"), "string", ("data", "document_date")),
    ("pii-mark", "schema", ("properties", "contact", "properties", "email", "x-pii"), REMOVED,
     ("properties", "contact", "properties", "email")),
    ("pii-mark", "event", ("data", "phone?"), "string", ("data", "phone?")),
    ("pii-mark", "openapi", (*_BODY, "firstName"), {"type": "string"}, (*_BODY, "firstName")),
]  # fmt: skip


def changed(name: str, path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    data = copy.deepcopy(CLEAN[name])
    node: Any = data
    for part in path[:-1]:
        node = node[part]
    if value is REMOVED:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return data


@pytest.mark.parametrize("name", CLEAN)
def test_a_good_contract_is_silent(name: str) -> None:
    assert lint(CLEAN[name]) == []


@pytest.mark.parametrize("planted", PLANTED, ids=lambda p: f"{p[0]}: {'/'.join(map(str, p[2]))}")
def test_a_planted_fault_is_found_at_its_place_and_nothing_else(planted: Any) -> None:
    rule, name, path, value, where = planted
    findings = lint(changed(name, path, value))
    assert {each.rule for each in findings} == {rule}
    if where is not None:
        assert [each.path for each in findings] == [where]
    assert all(each.message and each.fix for each in findings)


def test_every_rule_has_been_seen_to_find_something() -> None:
    assert {rule.name for rule in RULES} == {planted[0] for planted in PLANTED}


def test_what_is_marked_as_telling_of_nobody_is_not_told_again() -> None:
    assert lint(changed("event", ("data", "phone?"), {"type": "string", "pii": False})) == []


def test_a_field_that_is_called_properties_is_a_field() -> None:
    data = changed(
        "schema", ("properties", "properties"), {"type": "object", "properties": {"fee": {"type": "number"}}}
    )
    assert {each.path for each in lint(data)} == {("properties", "properties", "properties", "fee")}


def test_instances_in_a_schema_are_not_read_as_schemas() -> None:
    example = {"properties": {"taxRate": {"type": "number"}}}
    assert lint(changed("schema", ("examples",), [example])) == []


def test_the_form_is_told_by_the_marks() -> None:
    assert [form_of(data) for data in CLEAN.values()] == [
        "jsonschema",
        "openapi",
        "asyncapi",
        "event",
        "workflow",
    ]
    assert form_of({"swagger": "2.0"}) == "openapi"
    assert form_of({"kind": "table"}) is None
    assert form_of(["kind"]) is None
    with pytest.raises(ValueError, match="neither"):
        lint({"a": 1})


def test_places_are_those_of_the_text() -> None:
    text = '{\n  "paths": {\n    "/a": {"get": {}}\n  },\n  "tags": [1,\n   {"x": 2}]\n}'
    paths = [("paths", "/a", "get"), ("tags", 1, "x"), ("tags", 1, "gone"), ()]
    assert places(text, paths) == {paths[0]: (3, 12), paths[1]: (6, 5), paths[2]: (6, 4), (): (1, 1)}
    assert places("{", paths) == {}


def test_the_reference_tells_each_rule_in_its_own_words() -> None:
    page = REFERENCE.read_text("utf-8")
    rows = [f"| `{rule.name}` | {', '.join(rule.forms)} | {rule.summary} |" for rule in RULES]
    assert [row for row in rows if row not in page] == []


def test_the_example_and_the_starter_keep_the_rules() -> None:
    root = Path(__file__).parents[3]
    for folder in ("examples/acme", "src/counterfoil/model/starter"):
        model, _ = read(root / folder, checks=False)
        documents = [document.data for document in model.documents if form_of(document.data)]
        assert len(documents) > 2
        assert [(d["name"], each) for d in documents for each in lint(d)] == []
