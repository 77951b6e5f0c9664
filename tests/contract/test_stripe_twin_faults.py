"""The Stripe twin's idempotency memory, limits, faults and webhooks, as the vendor's own library meets them."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import stripe

from counterfoil.twins.stripe.controls import CONTROLS
from counterfoil.twins.stripe.faults import KINDS
from tests.contract.stripe_twin_process import KEY, Hooks, Twin, receiving, running_twin
from tests.patience import PATIENCE_SECONDS

DAY = 86_400
NAME = "name=Acme"


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    with running_twin(tmp_path_factory.mktemp("twin") / "twin.sqlite") as running:
        yield running


@pytest.fixture
def twin(process: Twin) -> Twin:
    process.control("POST", "reset")
    return process


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    with receiving() as hooks:
        yield hooks


def names(twin: Twin) -> list[str]:
    return [one["name"] for one in twin.json("GET", "/v1/customers")["data"]]


def post(twin: Twin, key: str = "", body: str = NAME) -> tuple[int, dict[str, str], Any]:
    status, headers, answer = twin.call(
        "POST", "/v1/customers", body, {"idempotency-key": key} if key else {}
    )
    return status, headers, json.loads(answer)


def dropped(twin: Twin, key: str = "", body: str = NAME) -> None:
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        post(twin, key, body)


# -- idempotency


def test_the_same_key_is_answered_again_and_makes_one_object(twin: Twin) -> None:
    _, first_headers, first = post(twin, "k")
    status, headers, second = post(twin, "k")
    assert (status, second["id"]) == (200, first["id"])
    assert headers["idempotent-replayed"] == "true"
    assert headers["original-request"] == first_headers["request-id"]
    assert names(twin) == ["Acme"]


def test_the_same_key_with_other_parameters_is_refused(twin: Twin) -> None:
    post(twin, "k")
    with pytest.raises(stripe.IdempotencyError) as caught:
        twin.client().v1.customers.create({"name": "Other"}, {"idempotency_key": "k"})
    assert caught.value.http_status == 400
    status, _, answer = twin.call("POST", "/v1/products", NAME, {"idempotency-key": "k"})
    assert (status, json.loads(answer)["error"]["type"]) == (400, "idempotency_error")
    assert names(twin) == ["Acme"]


def test_a_key_is_forgotten_after_a_day_of_the_twins_clock(twin: Twin) -> None:
    first = post(twin, "k")[2]["id"]
    twin.control("POST", "clock", {"advance": DAY - 60})
    assert post(twin, "k")[2]["id"] == first
    twin.control("POST", "clock", {"advance": 120})
    assert post(twin, "k")[2]["id"] != first


def test_a_business_refusal_is_remembered_and_a_bad_parameter_is_not(twin: Twin) -> None:
    api: Any = twin.client().v1
    who = api.customers.create({"name": "Acme"})
    draft = api.invoices.create({"customer": who.id, "currency": "eur"})
    api.invoice_items.create({"customer": who.id, "invoice": draft.id, "amount": 100, "currency": "eur"})
    body, key = f"invoice={draft.id}&amount=50", {"idempotency-key": "k"}
    assert twin.call("POST", "/v1/credit_notes", body, key)[0] == 400
    api.invoices.finalize_invoice(draft.id)
    assert twin.call("POST", "/v1/credit_notes", body, key)[0] == 400  # still the remembered answer
    assert twin.call("POST", "/v1/credit_notes", body, {"idempotency-key": "k2"})[0] == 200
    assert post(twin, "k3", "colour=red")[0] == 400
    assert post(twin, "k3")[0] == 200


def test_a_stored_500_is_answered_again_though_nothing_is_wrong_any_more(twin: Twin) -> None:
    twin.fault("status", status=500, match={"method": "POST"})
    assert post(twin, "k")[0] == 500
    status, headers, answer = post(twin, "k")
    assert (status, headers["idempotent-replayed"], answer["error"]["type"]) == (500, "true", "api_error")
    assert names(twin) == []
    assert post(twin, "other")[0] == 200


def test_a_500_may_hide_that_it_was_done(twin: Twin) -> None:
    twin.fault("status", status=500, commit=True)
    assert post(twin, "k")[0] == 500
    assert names(twin) == ["Acme"]
    assert post(twin, "k")[0] == 500
    assert names(twin) == ["Acme"]


def test_a_second_call_with_a_key_in_flight_is_409(twin: Twin) -> None:
    twin.fault("late_commit", seconds=60)
    first = threading.Thread(target=dropped, args=(twin, "k"))
    first.start()
    while twin.control("GET", "state")["faults"]:
        time.sleep(0.01)
    status, _, answer = post(twin, "k")
    twin.control("POST", "release")
    first.join()
    assert (status, answer["error"]["code"]) == (409, "idempotency_key_in_use")
    assert post(twin, "k")[0] == 200
    assert names(twin) == ["Acme"]


# -- faults


def test_a_drop_after_commit_loses_the_answer_only(twin: Twin) -> None:
    twin.fault("drop_after_commit", match={"method": "POST", "path": "/v1/customers"})
    dropped(twin, "k")
    assert names(twin) == ["Acme"]
    assert post(twin, "k")[1]["idempotent-replayed"] == "true"
    assert names(twin) == ["Acme"]


def test_a_drop_before_commit_does_nothing(twin: Twin) -> None:
    twin.fault("drop_before_commit")
    dropped(twin, "k")
    assert names(twin) == []
    assert "idempotent-replayed" not in post(twin, "k")[1]


def test_the_library_meets_a_drop_as_a_connection_error(twin: Twin) -> None:
    twin.fault("drop_after_commit")
    with pytest.raises(stripe.APIConnectionError):
        twin.client().v1.customers.create({"name": "Acme"})
    assert names(twin) == ["Acme"]


def test_a_late_commit_shows_after_the_caller_has_gone(twin: Twin) -> None:
    twin.fault("late_commit", seconds=60)
    connection = http.client.HTTPConnection("127.0.0.1", twin.port, timeout=0.1)
    connection.request("POST", "/v1/customers", NAME, {"authorization": f"Bearer {KEY}"})
    with pytest.raises(TimeoutError):
        connection.getresponse()
    connection.close()
    assert names(twin) == []
    twin.control("POST", "release")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not names(twin):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert names(twin) == ["Acme"]


def test_a_late_commit_comes_by_itself(twin: Twin) -> None:
    twin.fault("late_commit", seconds=0.2)
    dropped(twin)
    assert names(twin) == ["Acme"]


def test_an_error_body_may_come_with_200_and_a_good_one_cut_short(twin: Twin) -> None:
    twin.fault("error_body_200")
    status, _, answer = post(twin)
    assert (status, answer["error"]["type"], names(twin)) == (200, "api_error", [])
    twin.fault("unreadable_200", match={"method": "POST"})
    status, _, raw = twin.call("POST", "/v1/customers", NAME)
    assert status == 200
    with pytest.raises(ValueError):
        json.loads(raw)
    assert names(twin) == ["Acme"]


def test_maintenance_limits_and_slowness(twin: Twin) -> None:
    twin.fault("maintenance", times=2)
    assert [post(twin)[0] for _ in range(3)] == [503, 503, 200]
    twin.fault("rate_limit", reason="resource-specific", retry_after=7)
    status, headers, answer = post(twin, "k")
    assert (status, headers["stripe-rate-limited-reason"], headers["retry-after"]) == (
        429,
        "resource-specific",
        "7",
    )
    assert answer["error"]["code"] == "rate_limit"
    assert post(twin, "k")[0] == 200  # a 429 is not remembered
    twin.fault("slow", seconds=0.2)
    started = time.monotonic()
    assert post(twin)[0] == 200
    assert time.monotonic() - started >= 0.2


def test_a_rate_may_be_set_for_the_account(twin: Twin) -> None:
    twin.control("POST", "config", {"rate": 3, "retry_after": 1})
    answers = Counter(twin.call("GET", "/v1/customers")[0] for _ in range(12))
    assert answers[429] >= 4
    assert answers[200] >= 3


def test_a_fault_waits_for_its_match_and_its_turn(twin: Twin) -> None:
    twin.fault("status", status=500, match={"method": "POST", "path": "/v1/cust*"}, skip=1, times=2)
    assert twin.call("POST", "/v1/products", NAME)[0] == 200
    assert [post(twin)[0] for _ in range(4)] == [200, 500, 500, 200]
    assert twin.control("GET", "state")["faults"] == []


def test_a_fault_that_is_none_is_refused(twin: Twin) -> None:
    for wrong in (
        {"kind": "explode"},
        {"kind": "slow", "times": 0},
        {"kind": "slow", "match": {"colour": "red"}},
        [],
    ):
        assert twin.call("POST", "/_twin/faults", json.dumps(wrong))[0] == 400
    assert twin.call("POST", "/_twin/clock", '{"set": 5}')[0] == 400
    assert twin.call("POST", "/_twin/config", '{"colour": 5}')[0] == 400
    assert twin.call("GET", "/_twin/nothing")[0] == 404


def test_every_documented_control_exists_and_no_other(twin: Twin) -> None:
    for control in CONTROLS:
        method, name = control.split()
        assert twin.call(method, f"/_twin/{name}", "" if method == "GET" else "{}")[0] in (200, 400)
    assert twin.call("POST", "/_twin/state")[0] == 404
    shown = twin.control("GET", "help")
    assert (shown["faults"], shown["controls"]) == (KINDS, CONTROLS)
    assert shown["cards"]["refundFail"]["number"] == "4000000000005126"


# -- webhooks


def listen(twin: Twin, hooks: Hooks, *types: str) -> Any:
    return twin.client().v1.webhook_endpoints.create(
        {"url": hooks.url, "enabled_events": list(types or ("*",))}
    )


def test_webhooks_are_signed_so_that_the_vendors_library_accepts_them(twin: Twin, hooks: Hooks) -> None:
    twin.control("POST", "config", {"repeated": 0})
    endpoint = listen(twin, hooks, "customer.created")
    made = twin.client().v1.customers.create({"name": "Acme"})
    headers, body = hooks.next()
    event: Any = stripe.Webhook.construct_event(  # type: ignore[no-untyped-call]
        body, headers["stripe-signature"], endpoint.secret
    )
    assert (event.type, event.data.object.id, event.api_version) == (
        "customer.created",
        made.id,
        "2023-08-16",
    )
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(  # type: ignore[no-untyped-call]
            body + b" ", headers["stripe-signature"], endpoint.secret
        )
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(  # type: ignore[no-untyped-call]
            body, headers["stripe-signature"], "whsec_other"
        )
    assert "secret" not in twin.json("GET", f"/v1/webhook_endpoints/{endpoint.id}")


def test_an_endpoint_given_at_the_start_is_there_once_with_its_secret(tmp_path: Path, hooks: Hooks) -> None:
    for secret in ("whsec_first", "whsec_second"):
        with running_twin(
            tmp_path / "twin.sqlite", "--hook", hooks.url, "--hook-secret", secret, "--repeated", "0"
        ) as twin:
            post(twin)
            headers, body = hooks.next()
            stripe.WebhookSignature.verify_header(  # type: ignore[no-untyped-call]
                body.decode(), headers["stripe-signature"], secret
            )
            assert len(twin.json("GET", "/v1/webhook_endpoints")["data"]) == 1
            assert "secret" not in twin.json("GET", "/v1/webhook_endpoints")["data"][0]


def test_an_endpoint_gets_what_it_asked_for(twin: Twin, hooks: Hooks) -> None:
    endpoint = listen(twin, hooks, "product.created")
    api = twin.client().v1
    api.customers.create({"name": "Acme"})
    api.products.create({"name": "Plan"})
    twin.wait_for_deliveries()
    assert {event["type"] for event in hooks.all()} == {"product.created"}
    api.webhook_endpoints.update(endpoint.id, {"disabled": True})
    api.products.create({"name": "Other"})
    api.webhook_endpoints.delete(endpoint.id)
    twin.wait_for_deliveries()
    assert hooks.all() == []


def test_webhooks_come_out_of_order_and_some_twice(twin: Twin, hooks: Hooks) -> None:
    twin.control("POST", "config", {"spread": 0.3, "repeated": 0.3})
    listen(twin, hooks)
    made = [post(twin, body=f"name={n}")[2]["id"] for n in range(40)]
    twin.wait_for_deliveries()
    came = [event["data"]["object"]["id"] for event in hooks.all()]
    assert set(came) == set(made)
    assert list(dict.fromkeys(came)) != made
    assert 45 <= len(came) <= 70


def test_failed_webhooks_are_retried_with_growing_waits_for_three_days(twin: Twin, hooks: Hooks) -> None:
    twin.control("POST", "config", {"repeated": 0, "spread": 0})
    twin.control("POST", "clock", {"stop": True})
    listen(twin, hooks)
    hooks.answers += [500] * 100
    post(twin)
    for _ in range(16):
        log = twin.wait_for_deliveries()
        if log[0]["state"] != "waiting":
            break
        twin.control("POST", "clock", {"set": int(log[0]["due"]) + 1})
    times = [attempt["at"] for attempt in log[0]["attempts"]]
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert log[0]["state"] == "failed"
    assert waits == sorted(waits)
    assert 2 * DAY < times[-1] - times[0] <= 3 * DAY
    assert twin.json("GET", "/v1/events?delivery_success=false")["data"][0]["pending_webhooks"] == 0


def test_a_standing_clock_does_not_hold_webhooks_back(twin: Twin, hooks: Hooks) -> None:
    twin.control("POST", "config", {"spread": 0.2, "repeated": 0})
    twin.control("POST", "clock", {"stop": True})
    listen(twin, hooks)
    post(twin)
    assert json.loads(hooks.next()[1])["type"] == "customer.created"


def test_a_retry_that_is_taken_ends_the_delivery(twin: Twin, hooks: Hooks) -> None:
    twin.control("POST", "config", {"repeated": 0})
    listen(twin, hooks)
    hooks.answers.append(503)
    post(twin)
    twin.wait_for_deliveries()
    assert twin.json("GET", "/v1/events")["data"][0]["pending_webhooks"] == 1
    twin.control("POST", "clock", {"advance": 120})
    log = twin.wait_for_deliveries()
    assert [attempt["status"] for attempt in log[0]["attempts"]] == [503, 202]
    assert [event["type"] for event in hooks.all()] == ["customer.created"] * 2


def test_webhooks_are_doubled_lost_and_delayed_on_request(twin: Twin, hooks: Hooks) -> None:
    twin.control("POST", "config", {"repeated": 0, "spread": 0})
    listen(twin, hooks)
    twin.fault("duplicate_webhook", copies=3, match={"type": "customer.*"})
    twin.fault("lose_webhook", match={"type": "product.created"})
    post(twin)
    twin.call("POST", "/v1/products", NAME)
    twin.wait_for_deliveries()
    assert [event["type"] for event in hooks.all()] == ["customer.created"] * 3
    assert twin.json("GET", "/v1/events?type=product.created")["data"] != []
    twin.fault("delay_webhook", seconds=3600)
    post(twin)
    twin.wait_for_deliveries()
    assert hooks.all() == []
    twin.control("POST", "clock", {"advance": 3601})
    twin.wait_for_deliveries()
    assert len(hooks.all()) == 1


def test_waiting_webhooks_survive_a_restart(tmp_path: Path, hooks: Hooks) -> None:
    state = tmp_path / "twin.sqlite"
    with running_twin(state, "--repeated", "0") as first:
        listen(first, hooks)
        first.fault("delay_webhook", seconds=1000)
        made = post(first)[2]
    with running_twin(state, "--repeated", "0") as second:
        second.control("POST", "clock", {"advance": 1001})
        second.wait_for_deliveries()
        assert [event["data"]["object"]["id"] for event in hooks.all()] == [made["id"]]
