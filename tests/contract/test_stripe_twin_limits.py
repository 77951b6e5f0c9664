"""Every list and search of the Stripe twin refuses a `limit` outside of 1 to 100, as the vendor does."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from counterfoil.twins.stripe.routes import ROUTES, Route
from tests.contract.stripe_twin_process import Twin, running_twin

LISTS = [route for route in ROUTES if "limit" in route.shape]


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    with running_twin(tmp_path_factory.mktemp("twin") / "twin.sqlite") as running:
        yield running


def path_of(route: Route) -> str:
    return route.pattern.pattern.removesuffix(r"/?\Z").replace("([^/]+)", "none")


def test_lists_searches_and_computed_lists_are_among_them() -> None:
    paths = {path_of(route) for route in LISTS}
    assert len(paths) > 25
    assert {"/v1/accounts", "/v1/events", "/v1/invoices/search", "/v1/balance_transactions"} <= paths
    assert "/v1/billing/meters/none/event_summaries" in paths


@pytest.mark.parametrize("route", LISTS, ids=path_of)
def test_a_limit_is_from_1_to_100(twin: Twin, route: Route) -> None:
    for limit, word in ((0, "greater than or equal to 1"), (-1, "greater than or equal to 1"),
                        (101, "less than or equal to 100")):  # fmt: skip
        status, _, answer = twin.call("GET", f"{path_of(route)}?limit={limit}")
        error = json.loads(answer)["error"]
        assert (status, error["type"], error["param"]) == (400, "invalid_request_error", "limit")
        assert (error["code"], error["message"]) == (
            "parameter_invalid_integer", f"This value must be {word}.")  # fmt: skip


@pytest.mark.parametrize("limit", ["", "1", "100"])
def test_a_limit_within_its_bounds_is_taken(twin: Twin, limit: str) -> None:
    assert twin.json("GET", f"/v1/customers?limit={limit}")["data"] == []
