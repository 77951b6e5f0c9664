"""The routes of the Stripe twin that move money accept no parameter and no word that the vendor's description lacks."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from counterfoil.twins.stripe.forms import Shape
from counterfoil.twins.stripe.routes import ROUTES, Route
from tests.contract.test_stripe_twin_shapes import DESCRIPTION

MONEY = re.compile(
    r"/v1/(payment_intents|charges|refunds|disputes|balance|balance_transactions|payouts)(/|$)"
)


def path_of(route: Route) -> str:
    return route.pattern.pattern.removesuffix(r"/?\Z").replace("([^/]+)", "{}")


ROUTES_OF_MONEY = [route for route in ROUTES if MONEY.match(path_of(route))]


@pytest.fixture(scope="module")
def operations() -> Mapping[tuple[str, str], Any]:
    """The vendor's operations on these paths, by method and path."""
    if not DESCRIPTION.exists():
        pytest.skip("the vendor's OpenAPI description is not beside this checkout")
    text = gzip.decompress(DESCRIPTION.read_bytes()).decode()
    operations = {}
    for part in re.split(r"\n(?=  [\"']?/v1/)", text[text.index("\npaths:\n") :]):
        name = part.strip().partition(":")[0].strip("\"'")
        if not MONEY.match(name):
            continue
        (path, methods), *_ = yaml.safe_load(part).items()
        for method, operation in methods.items():
            operations[method.upper(), re.sub(r"\{[^}]*\}", "{}", path)] = operation
    return operations


def parameters(operation: Any) -> dict[str, Any]:
    """Return the schemas of the query and of the form of an operation."""
    query = {one["name"]: one["schema"] for one in operation.get("parameters", []) if one["in"] == "query"}
    for content in operation.get("requestBody", {}).get("content", {}).values():
        query |= content["schema"].get("properties", {})
    return query


def beyond(shape: Shape, schemas: Mapping[str, Any], place: str) -> Iterator[str]:
    """Yield the parameters and words of a shape that the vendor's schemas lack."""
    for name, kind in shape.items():
        name = name.rstrip("!")
        if name not in schemas:
            yield f"{place} {name}"
            continue
        choices = [schemas[name], *schemas[name].get("anyOf", [])]
        if isinstance(kind, Mapping):
            inner = {key: value for one in choices for key, value in one.get("properties", {}).items()}
            yield from beyond(kind, inner, f"{place} {name}")
        words = {word for one in choices for word in one.get("enum", [])}
        if isinstance(kind, tuple) and words:
            yield from (f"{place} {name}={word}" for word in sorted(set(kind) - words))


@pytest.mark.parametrize("route", ROUTES_OF_MONEY, ids=lambda route: f"{route.method} {path_of(route)}")
def test_parameters_are_the_vendors(operations: Mapping[tuple[str, str], Any], route: Route) -> None:
    operation = operations[route.method, path_of(route)]
    assert list(beyond(route.shape, parameters(operation), "")) == []


def test_parameters_that_are_not_the_vendors_are_seen(operations: Mapping[tuple[str, str], Any]) -> None:
    schemas = parameters(operations["POST", "/v1/payouts"])
    assert list(beyond({"amount": "int", "colour": "str"}, schemas, "")) == [" colour"]
    assert list(beyond({"method": ("standard", "slow")}, schemas, "")) == [" method=slow"]
    assert len(ROUTES_OF_MONEY) > 20
