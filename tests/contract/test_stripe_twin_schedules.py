"""Subscription schedules of the Stripe twin change their subscription at each phase, and end as they say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.stripe_twin_api import customer, refused
from tests.contract.stripe_twin_process import Twin, running_twin

DAY = 86_400
WEEK = 7 * DAY


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    with running_twin(tmp_path_factory.mktemp("twin") / "twin.sqlite") as running:
        yield running


@pytest.fixture
def twin(process: Twin) -> Twin:
    process.control("POST", "reset")
    process.control("POST", "clock", {"stop": True})
    return process


@pytest.fixture
def api(twin: Twin) -> Any:
    return twin.client().v1


def price(api: Any, amount: int, interval: str | None = "week") -> str:
    fields = {
        "product": api.products.create({"name": f"Plan {amount}"}).id,
        "currency": "eur",
        "unit_amount": amount,
    }
    return str(
        api.prices.create({**fields, **({"recurring": {"interval": interval}} if interval else {})}).id
    )


def move(twin: Twin, seconds: int) -> int:
    return int(twin.control("POST", "clock", {"advance": seconds})["clock"])


def items(api: Any, schedule: str) -> dict[str, int]:
    """Quantity by price of the subscription of a schedule."""
    subscription = api.subscription_schedules.retrieve(schedule).subscription
    return {one.price.id: one.quantity for one in api.subscriptions.retrieve(subscription)["items"].data}


def totals(api: Any, subscription: str) -> list[int]:
    return [
        one.total for one in reversed(api.invoices.list({"subscription": subscription, "limit": 100}).data)
    ]


def events(api: Any) -> list[str]:
    listed = api.events.list({"type": "subscription_schedule.*", "limit": 100}).data
    return [event.type.partition(".")[2] for event in reversed(listed)]


def test_phases_follow_one_another_without_prorations_at_the_end_of_a_period(twin: Twin, api: Any) -> None:
    low, high, setup = price(api, 1000), price(api, 3000), price(api, 500, None)
    made = api.subscription_schedules.create({
        "customer": customer(api).id, "start_date": "now", "metadata": {"deal": "7"}, "end_behavior": "release",
        "phases": [
            {"items": [{"price": low, "quantity": 2}], "iterations": 2, "add_invoice_items": [{"price": setup}]},
            {"items": [{"price": low, "quantity": 3}, {"price": high}], "iterations": 1, "metadata": {"step": "2"}},
        ],
    })  # fmt: skip
    start = made.current_phase.start_date
    assert (made.status, made.current_phase.end_date - start, made.phases[1].end_date - start) == (
        "active", 2 * WEEK, 3 * WEEK)  # fmt: skip
    assert items(api, made.id) == {low: 2}
    subscription = api.subscriptions.retrieve(made.subscription)
    assert (subscription.schedule, subscription.status) == (made.id, "active")
    assert totals(api, made.subscription) == [2500]
    move(twin, 2 * WEEK)
    assert items(api, made.id) == {low: 3, high: 1}
    assert api.subscriptions.retrieve(made.subscription).metadata.to_dict() == {"step": "2"}
    assert totals(api, made.subscription) == [2500, 2000, 6000]
    move(twin, WEEK)
    ended = api.subscription_schedules.retrieve(made.id)
    assert (ended.status, ended.subscription, ended.current_phase) == ("completed", None, None)
    assert (ended.completed_at, ended.released_subscription) == (start + 3 * WEEK, made.subscription)
    move(twin, WEEK)
    assert totals(api, made.subscription)[3:] == [6000, 6000]
    assert api.subscriptions.retrieve(made.subscription).schedule is None
    assert events(api) == ["created", "updated", "expiring", "completed"]


def test_the_end_may_cancel_the_subscription(twin: Twin, api: Any) -> None:
    made = api.subscription_schedules.create({
        "customer": customer(api).id, "end_behavior": "cancel", "phases": [{"items": [{"price": price(api, 1000)}]}]
    })  # fmt: skip
    move(twin, WEEK + DAY)
    gone = api.subscriptions.retrieve(made.subscription)
    assert (gone.status, gone.ended_at) == ("canceled", made.current_phase.end_date)
    assert totals(api, made.subscription) == [1000]
    ended = api.subscription_schedules.retrieve(made.id)
    assert (ended.status, ended.subscription) == ("completed", made.subscription)


def test_a_later_start_waits_and_a_warning_comes_a_week_before_the_end(twin: Twin, api: Any) -> None:
    start = move(twin, 0) + 5 * DAY
    made = api.subscription_schedules.create({
        "customer": customer(api).id, "start_date": start,
        "phases": [{"items": [{"price": price(api, 1000)}], "iterations": 3}]})  # fmt: skip
    assert (made.status, made.subscription, made.current_phase) == ("not_started", None, None)
    assert [one.id for one in api.subscription_schedules.list({"scheduled": True}).data] == [made.id]
    move(twin, 5 * DAY)
    begun = api.subscription_schedules.retrieve(made.id)
    assert (begun.status, begun.current_phase.start_date) == ("active", start)
    assert api.subscriptions.retrieve(begun.subscription).status == "active"
    move(twin, 2 * WEEK - 1)
    assert events(api) == ["created", "updated"]
    move(twin, 1)
    assert events(api) == ["created", "updated", "expiring"]
    assert refused(api.subscription_schedules.create, {
        "customer": customer(api).id, "start_date": start, "phases": [{"items": [{"price": price(api, 5)}]}],
    }).param == "start_date"  # fmt: skip


def test_a_phase_within_a_period_is_prorated_as_it_says(twin: Twin, api: Any) -> None:
    low, high = price(api, 700), price(api, 1400)
    now = move(twin, 0)
    for behavior, expected in (("none", []), ("create_prorations", [-400, 800]), ("always_invoice", [400])):
        made = api.subscription_schedules.create({
            "customer": customer(api).id,
            "phases": [{"items": [{"price": low}], "end_date": now + 3 * DAY},
                       {"items": [{"price": high}], "proration_behavior": behavior, "iterations": 4}],
        })  # fmt: skip
        move(twin, 3 * DAY)
        waiting = api.invoice_items.list({"customer": made.customer, "pending": True}).data
        amounts = sorted(one.amount for one in waiting)
        if behavior == "always_invoice":
            amounts = totals(api, made.subscription)[1:]
        assert amounts == expected
        now = move(twin, 0)


def test_another_interval_starts_a_new_period(twin: Twin, api: Any) -> None:
    made = api.subscription_schedules.create({
        "customer": customer(api).id,
        "phases": [{"items": [{"price": price(api, 700)}], "iterations": 2},
                   {"items": [{"price": price(api, 9000, "month")}], "iterations": 2}],
    })  # fmt: skip
    move(twin, 2 * WEEK)
    subscription = api.subscriptions.retrieve(made.subscription)
    start = made.current_phase.end_date
    assert (subscription.billing_cycle_anchor, subscription.current_period_start) == (start, start)
    assert subscription.current_period_end - start >= 28 * DAY
    assert totals(api, made.subscription) == [700, 700, 9000]


def test_an_existing_subscription_is_taken_over_changed_and_released(twin: Twin, api: Any) -> None:
    low, high = price(api, 1000), price(api, 3000)
    who = customer(api).id
    old = api.subscriptions.create({"customer": who, "items": [{"price": low, "quantity": 2}]})
    made = api.subscription_schedules.create({"from_subscription": old.id})
    assert (made.status, made.subscription, made.phases[0].end_date) == (
        "active", old.id, old.current_period_end)  # fmt: skip
    assert (
        refused(api.subscription_schedules.create, {"from_subscription": old.id}).param == "from_subscription"
    )
    current = {"items": [{"price": low, "quantity": 2}], "start_date": made.phases[0].start_date,
               "end_date": made.phases[0].end_date}  # fmt: skip
    changed = api.subscription_schedules.update(made.id, {
        "phases": [current, {"items": [{"price": high}]}], "end_behavior": "cancel", "metadata": {"a": "b"}})  # fmt: skip
    assert (len(changed.phases), changed.end_behavior, changed.metadata.to_dict()) == (
        2,
        "cancel",
        {"a": "b"},
    )
    move(twin, WEEK)
    assert items(api, made.id) == {high: 1}
    free = api.subscription_schedules.release(made.id)
    assert (free.status, free.subscription, free.released_subscription) == ("released", None, old.id)
    move(twin, 2 * WEEK)
    assert api.subscriptions.retrieve(old.id).status == "active"
    assert refused(api.subscription_schedules.release, made.id).http_status == 400
    assert refused(api.subscription_schedules.update, made.id, {"metadata": {}}).http_status == 400
    assert events(api)[-1] == "released"


def test_the_current_phase_is_changed_at_once(twin: Twin, api: Any) -> None:
    low = price(api, 700)
    made = api.subscription_schedules.create({
        "customer": customer(api).id, "phases": [{"items": [{"price": low}], "iterations": 2}]})  # fmt: skip
    move(twin, 3 * DAY)
    phase = {"items": [{"price": low, "quantity": 3}], "iterations": 2}
    api.subscription_schedules.update(made.id, {"phases": [phase], "proration_behavior": "always_invoice"})
    assert items(api, made.id) == {low: 3}
    assert totals(api, made.subscription) == [700, 800]
    wrong = {**phase, "start_date": made.current_phase.start_date + 5}
    assert refused(api.subscription_schedules.update, made.id, {"phases": [wrong]}).http_status == 400


def test_canceling_a_schedule_ends_its_subscription_and_the_other_way_round(twin: Twin, api: Any) -> None:
    fields = {"phases": [{"items": [{"price": price(api, 700)}], "iterations": 2}]}
    one, two = (api.subscription_schedules.create({"customer": customer(api).id, **fields}) for _ in range(2))
    later = api.subscription_schedules.create(
        {"customer": customer(api).id, "start_date": move(twin, 0) + WEEK, **fields}
    )
    assert api.subscription_schedules.cancel(one.id).status == "canceled"
    assert api.subscriptions.retrieve(one.subscription).status == "canceled"
    api.subscriptions.cancel(two.subscription)
    assert api.subscription_schedules.retrieve(two.id).status == "canceled"
    assert api.subscription_schedules.cancel(later.id).canceled_at is not None
    move(twin, 3 * WEEK)
    assert api.subscription_schedules.retrieve(later.id).subscription is None
    assert events(api).count("canceled") == 3


def test_a_schedule_that_nobody_pays_is_aborted(twin: Twin, api: Any) -> None:
    broke = customer(api, payment_method="pm_card_chargeCustomerFail",
                     invoice_settings={"default_payment_method": "pm_card_chargeCustomerFail"})  # fmt: skip
    made = api.subscription_schedules.create(
        {"customer": broke.id, "phases": [{"items": [{"price": price(api, 700)}], "iterations": 2}]}
    )
    assert api.subscriptions.retrieve(made.subscription).status == "incomplete"
    move(twin, DAY)
    assert api.subscriptions.retrieve(made.subscription).status == "incomplete_expired"
    assert api.subscription_schedules.retrieve(made.id).status == "canceled"
    gone = customer(api).id
    start = move(twin, 0) + WEEK
    later = api.subscription_schedules.create(
        {"customer": gone, "start_date": start, "phases": [{"items": [{"price": price(api, 700)}]}]}
    )
    api.customers.delete(gone)
    move(twin, WEEK)
    assert api.subscription_schedules.retrieve(later.id).status == "canceled"
    assert events(api) == ["created", "aborted", "created", "aborted"]


def test_an_archived_price_still_serves_the_phases_that_agreed_on_it(twin: Twin, api: Any) -> None:
    low, high = price(api, 700), price(api, 1400)
    later = move(twin, 0) + 3 * DAY
    phases = [{"items": [{"price": low}]}, {"items": [{"price": high}]}]
    made = [
        api.subscription_schedules.create({"customer": customer(api).id, "phases": phases, **start}).id
        for start in ({}, {"start_date": later})
    ]
    for id in (low, high):
        api.prices.update(id, {"active": False})
    move(twin, WEEK + 3 * DAY)
    assert [items(api, id) for id in made] == [{high: 1}, {high: 1}]
    assert refused(
        api.subscription_schedules.create, {"customer": customer(api).id, "phases": phases}
    ).http_status == 400  # fmt: skip


def test_a_start_that_the_api_would_refuse_aborts_the_schedule(twin: Twin, api: Any) -> None:
    who, start = customer(api).id, move(twin, 0) + 3 * DAY
    made = api.subscription_schedules.create(
        {"customer": who, "start_date": start, "phases": [{"items": [{"price": price(api, 700)}]}]}
    )
    api.customers.balance_transactions.create(who, {"amount": -100, "currency": "usd"})
    move(twin, 4 * DAY)
    ended = api.subscription_schedules.retrieve(made.id)
    assert (ended.status, ended.canceled_at, ended.subscription) == ("canceled", start, None)
    assert api.subscriptions.list({"customer": who, "status": "all"}).data == []
    assert events(api) == ["created", "aborted"]


def test_a_phase_that_sends_invoices_says_when_they_are_due(twin: Twin, api: Any) -> None:
    plan = {"items": [{"price": price(api, 700)}]}
    sent = {**plan, "collection_method": "send_invoice"}
    fields = {"customer": customer(api).id, "phases": [plan, sent]}
    assert "days_until_due" in str(refused(api.subscription_schedules.create, fields).user_message)
    sent["invoice_settings"] = {"days_until_due": 20}
    foreign = {**fields, "phases": [{**plan, "currency": "usd"}]}
    assert refused(api.subscription_schedules.create, foreign).param == "phases[0][currency]"
    made = api.subscription_schedules.create(fields)
    move(twin, WEEK + 2 * 3600)
    subscription = api.subscriptions.retrieve(made.subscription, {"expand": ["latest_invoice"]})
    assert (subscription.collection_method, subscription.latest_invoice.status) == ("send_invoice", "open")
    assert subscription.latest_invoice.due_date - subscription.latest_invoice.created == 20 * DAY


@pytest.mark.parametrize(("days", "warned"), [(10, 7), (2, 0)])
def test_the_end_of_a_trial_is_announced_three_days_before(
    twin: Twin, api: Any, days: int, warned: int
) -> None:
    made = api.subscriptions.create(
        {"customer": customer(api).id, "items": [{"price": price(api, 700)}], "trial_period_days": days}
    )
    move(twin, days * DAY)
    told = api.events.list({"type": "customer.subscription.trial_will_end"}).data
    assert [(event.data.object.id, event.data.object.status) for event in told] == [(made.id, "trialing")]
    assert warned * DAY <= told[0].created - made.created < warned * DAY + 2
    assert api.subscriptions.retrieve(made.id).status == "active"


def test_a_subscription_that_sends_invoices_needs_the_days_until_due(api: Any) -> None:
    made = api.subscriptions.create({"customer": customer(api).id, "items": [{"price": price(api, 700)}]})
    change = {"collection_method": "send_invoice"}
    assert refused(api.subscriptions.update, made.id, change).param == "days_until_due"
    assert api.subscriptions.update(made.id, {**change, "days_until_due": 9}).days_until_due == 9
