"""The OpenAPI document of the server: names of its components, and bodies of its routes."""

from __future__ import annotations

import re

import pytest

from counterfoil.web.api.description import description

SCHEMAS = description()["components"]["schemas"]


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_a_component_has_a_plain_name(name: str) -> None:
    assert re.fullmatch(r"[A-Z][A-Za-z]+", name)


@pytest.mark.parametrize(
    ("path", "component", "item"),
    [
        ("/v1/runs", "RunList", "RunShape"),
        ("/v1/foils", "FoilList", "FoilShape"),
        ("/v1/cases", "CaseList", "CaseShape"),
        ("/v1/approvals", "ApprovalList", "ApprovalShape"),
        ("/v1/events", "EventList", "EventShape"),
        ("/v1/catalog", "CatalogList", "CatalogRow"),
        ("/v1/contracts", "ContractList", "ContractShape"),
        ("/v1/controls", "ControlList", "ControlShape"),
        ("/v1/releases", "ReleaseList", "ReleaseShape"),
    ],
)
def test_a_list_names_its_items(path: str, component: str, item: str) -> None:
    response = description()["paths"][path]["get"]["responses"]["200"]
    schema = response["content"]["application/json"]["schema"]
    assert schema == {"$ref": f"#/components/schemas/{component}"}
    assert SCHEMAS[component]["properties"]["items"]["items"] == {"$ref": f"#/components/schemas/{item}"}


@pytest.mark.parametrize(
    ("path", "component"),
    [
        ("/v1/approvals/{approval_id}", "Decision"),
        ("/v1/cases/{case_id}", "Resolution"),
        ("/v1/releases", "Application"),
        ("/v1/migrations", "Migration"),
    ],
)
def test_a_request_body_is_described(path: str, component: str) -> None:
    body = description()["paths"][path]["post"]["requestBody"]
    assert body["required"] is True
    assert body["content"] == {"application/json": {"schema": {"$ref": f"#/components/schemas/{component}"}}}
    assert SCHEMAS[component]["title"] == component
