"""Events of the Stripe twin have types that its version of the vendor's API has, and endpoints ask for no other."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from typing import Any

import pytest
import stripe

from counterfoil.demo.company import HOOK_EVENTS
from counterfoil.twins.stripe.event_types import ENABLED_EVENTS, EVENT_TYPES
from tests.contract.stripe_money import HOUR, advance, paid, types
from tests.contract.stripe_twin_process import Twin, running_twin
from tests.source import PACKAGE, Module, modules, planted

URL = "http://127.0.0.1:9/hook"


def emitted(module: Module) -> Iterator[tuple[str, str]]:
    """Yield the place and the type of every event that a module of the twin sends."""
    for node in ast.walk(module.tree):
        called = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
        if called not in ("emit", "publish") or module.path.stem == "account":
            continue
        assert isinstance(node, ast.Call)
        for type in constants(module, node.args[0]):
            yield module.at(node, called), type


def constants(module: Module, node: ast.expr) -> list[str]:
    """Return the values that an expression can have: a constant, a choice of two, or an entry of a table."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.IfExp):
        return constants(module, node.body) + constants(module, node.orelse)
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        return list(getattr(importlib.import_module(f"{PACKAGE}.{module.name}"), node.value.id).values())
    raise AssertionError(module.at(node, "the type of an event is not readable; name it in full"))


TWIN = [module for module in modules() if module.name.startswith("twins.stripe.")]


def test_every_event_that_the_twin_sends_has_a_type_of_the_vendor() -> None:
    sent = [one for module in TWIN for one in emitted(module)]
    assert len({type for _, type in sent}) > 60
    assert {"payout.canceled", "billing.meter.reactivated", "charge.failed"} <= {type for _, type in sent}
    assert [(place, type) for place, type in sent if type not in EVENT_TYPES] == []


def test_an_event_whose_type_is_not_readable_is_seen() -> None:
    text = "def end(account, payout):\n    account.emit(f'payout.{payout}', payout)\n"
    with pytest.raises(AssertionError, match="not readable"):
        list(emitted(planted("twins/stripe/payouts.py", text)))


def test_the_company_of_the_demo_asks_for_types_that_exist() -> None:
    assert {"invoice.finalized", "customer.subscription.deleted", "credit_note.created"} <= set(HOOK_EVENTS)
    assert set(HOOK_EVENTS) <= set(EVENT_TYPES)


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    with running_twin(tmp_path_factory.mktemp("twin") / "twin.sqlite") as running:
        running.control("POST", "clock", {"stop": True})
        yield running


@pytest.fixture
def api(twin: Twin) -> Any:
    return twin.client().v1


@pytest.mark.parametrize("card", ["refundFail", "pendingRefund"])
def test_a_refund_that_ends_later_is_an_update(twin: Twin, api: Any, card: str) -> None:
    before = len(types(api, "refund.", "charge.refund."))
    refund = api.refunds.create({"charge": paid(api, f"pm_card_{card}").id})
    advance(twin, HOUR)
    assert api.refunds.retrieve(refund.id).status == ("failed" if card == "refundFail" else "succeeded")
    assert types(api, "refund.", "charge.refund.")[before:] == [
        "refund.created", "charge.refund.updated", "refund.updated"]  # fmt: skip


def test_an_endpoint_is_enabled_for_every_type_and_for_all(api: Any) -> None:
    for names in (["*"], list(EVENT_TYPES)):
        endpoint = api.webhook_endpoints.create({"url": URL, "enabled_events": names})
        assert endpoint.enabled_events == names


@pytest.mark.parametrize("name", ["nothing", "refund.failed", "customer.*", "Customer.created", "**", ""])
def test_a_type_that_does_not_exist_is_refused(api: Any, name: str) -> None:
    endpoint = api.webhook_endpoints.create({"url": URL, "enabled_events": ["customer.created"]})
    count = len(api.webhook_endpoints.list({"limit": 100}).data)
    wrong = {"enabled_events": ["customer.created", name]}
    for call in (
        lambda: api.webhook_endpoints.create({"url": URL, **wrong}),
        lambda: api.webhook_endpoints.update(endpoint.id, wrong),
    ):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            call()
        error = caught.value.error
        assert error is not None
        assert (caught.value.http_status, error.type) == (400, "invalid_request_error")
        assert (error.param, error.code) == ("enabled_events[1]", None)
        words = f"{', '.join(ENABLED_EVENTS[:-1])} or {ENABLED_EVENTS[-1]}"
        assert error.message == f"Invalid enabled_events[1]: must be one of {words}"
    assert len(api.webhook_endpoints.list({"limit": 100}).data) == count
    assert api.webhook_endpoints.retrieve(endpoint.id).enabled_events == ["customer.created"]


def test_an_endpoint_without_a_type_is_refused(api: Any) -> None:
    endpoint = api.webhook_endpoints.create({"url": URL, "enabled_events": ["customer.created"]})
    for call in (
        lambda: api.webhook_endpoints.create({"url": URL, "enabled_events": ""}),
        lambda: api.webhook_endpoints.update(endpoint.id, {"enabled_events": ""}),
    ):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            call()
        assert (caught.value.code, caught.value.param) == ("parameter_missing", "enabled_events")
