"""The billing routes of the Stripe twin accept no parameter and no word that the vendor's description lacks."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from counterfoil.twins.stripe.routes import ROUTES, Route
from tests.contract.test_stripe_twin_shapes import DESCRIPTION

BILLING = re.compile(
    r"/v1/(account|accounts|credit_notes|customers|invoiceitems|invoices|prices|products|quotes|subscription_items"
    r"|subscription_schedules|subscriptions|tax_rates)(/|$)"
)
YOUNGER = {
    "/v1/invoices/{}/add_lines": {" invoice_metadata", " lines"},
    "/v1/invoices/{}/remove_lines": {" invoice_metadata", " lines"},
    "/v1/prices": {" recurring meter"},
}
"""Parameters of later versions than that of the description, by path."""
OLDER = {
    "/v1/products": {" type"},
    "/v1/subscriptions": {" items plan"},
    "/v1/subscriptions/{}": {" items plan"},
}
"""Parameters of earlier versions, which the vendor's libraries still send."""


def path_of(route: Route) -> str:
    return route.pattern.pattern.removesuffix(r"/?\Z").replace("([^/]+)", "{}")


ROUTES_OF_BILLING = [route for route in ROUTES if BILLING.match(path_of(route))]


@pytest.fixture(scope="module")
def operations() -> Mapping[tuple[str, str], Any]:
    """The vendor's operations on these paths, by method and path."""
    if not DESCRIPTION.exists():
        pytest.skip("the vendor's OpenAPI description is not beside this checkout")
    text = gzip.decompress(DESCRIPTION.read_bytes()).decode()
    found = {}
    for part in re.split(r"\n(?=  [\"']?/v1/)", text[text.index("\npaths:\n") :]):
        name = part.strip().partition(":")[0].strip("\"'")
        if not BILLING.match(name):
            continue
        (path, methods), *_ = yaml.load(part, getattr(yaml, "CSafeLoader", yaml.SafeLoader)).items()
        for method, operation in methods.items():
            found[method.upper(), re.sub(r"\{[^}]*\}", "{}", path)] = operation
    return found


def parameters(operation: Any) -> dict[str, Any]:
    """Return the schemas of the query and of the form of an operation."""
    query = {one["name"]: one["schema"] for one in operation.get("parameters", []) if one["in"] == "query"}
    for content in operation.get("requestBody", {}).get("content", {}).values():
        query |= content["schema"].get("properties", {})
    return query


def beyond(kind: Any, schema: Any, place: str) -> Iterator[str]:
    """Yield the parameters and words of a kind that the vendor's schema lacks."""
    choices = [schema, *schema.get("anyOf", [])]
    if isinstance(kind, list):
        inside = [one["items"] for one in choices if "items" in one]
        if not inside:
            yield f"{place}[]"
        for one in inside:
            yield from beyond(kind[0], one, place)
    if isinstance(kind, Mapping):
        inner = {key: value for one in choices for key, value in one.get("properties", {}).items()}
        for name, below in kind.items():
            name = name.rstrip("!")
            if name in inner:
                yield from beyond(below, inner[name], f"{place} {name}")
            else:
                yield f"{place} {name}"
    words = {word for one in choices for word in one.get("enum", [])}
    if isinstance(kind, tuple) and words:
        yield from (f"{place}={word}" for word in sorted(set(kind) - words))


@pytest.mark.parametrize("route", ROUTES_OF_BILLING, ids=lambda route: f"{route.method} {path_of(route)}")
def test_parameters_are_the_vendors(operations: Mapping[tuple[str, str], Any], route: Route) -> None:
    path = path_of(route)
    operation = operations.get((route.method, path), {})
    assert operation or path in YOUNGER
    surplus = set(beyond(route.shape, {"properties": parameters(operation)}, ""))
    assert surplus - YOUNGER.get(path, set()) - OLDER.get(path, set()) == set()


def test_parameters_that_are_not_the_vendors_are_seen(operations: Mapping[tuple[str, str], Any]) -> None:
    schema = {"properties": parameters(operations["POST", "/v1/quotes"])}
    lines = {
        "line_items": [{"price": "str", "colour": "str"}],
        "invoice_settings": {"days_until_due": "uint"},
    }
    assert list(beyond(lines, schema, "")) == [" line_items colour"]
    assert list(beyond({"collection_method": ("send_invoice", "beg")}, schema, "")) == [
        " collection_method=beg"
    ]
    assert len(ROUTES_OF_BILLING) > 60
