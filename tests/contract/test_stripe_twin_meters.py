"""The Stripe twin counts meter events and bills what they add up to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import stripe

from tests.contract.stripe_twin_api import customer, refused
from tests.contract.stripe_twin_process import Twin, running_twin

MINUTE, HOUR, DAY = 60, 3600, 86_400


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


def clock(twin: Twin, advance: int = 0) -> int:
    return int(twin.control("POST", "clock", {"advance": advance})["clock"])


def meter(api: Any, formula: str = "sum", **more: Any) -> Any:
    fields = {
        "display_name": "Calls",
        "event_name": "calls",
        "default_aggregation": {"formula": formula},
        **more,
    }
    return api.billing.meters.create(fields)


def use(api: Any, who: str, value: int | str, **more: Any) -> Any:
    payload = {"stripe_customer_id": who, "value": str(value)}
    return api.billing.meter_events.create({"event_name": "calls", "payload": payload, **more})


def used(api: Any, id: str, who: str, start: int, end: int, **more: Any) -> list[tuple[int, float]]:
    """Start and sum of each summary."""
    rows = api.billing.meters.event_summaries.list(
        id, {"customer": who, "start_time": start, "end_time": end, **more}
    ).data
    return [(row.start_time, row.aggregated_value) for row in rows]


def metered(api: Any, id: str, unit_amount_decimal: str = "12.5", interval: str = "month") -> Any:
    product = api.products.create({"name": "Calls"}).id
    recurring = {"interval": interval, "usage_type": "metered", "meter": id}
    return api.prices.create({
        "product": product, "currency": "eur", "unit_amount_decimal": unit_amount_decimal, "recurring": recurring
    })  # fmt: skip


# -- meters and events


def test_a_meter_is_created_renamed_switched_off_and_on(api: Any) -> None:
    first = meter(api)
    assert (first.status, first.customer_mapping.event_payload_key, first.value_settings.event_payload_key) == (
        "active", "stripe_customer_id", "value")  # fmt: skip
    assert refused(meter, api).param == "event_name"
    assert api.billing.meters.update(first.id, {"display_name": "API calls"}).display_name == "API calls"
    stopped = api.billing.meters.deactivate(first.id)
    assert stopped.status_transitions.deactivated_at is not None
    assert refused(use, api, customer(api).id, 5).code == "archived_meter"
    assert refused(metered, api, first.id).param == "recurring[meter]"
    assert [one.id for one in api.billing.meters.list({"status": "inactive"}).data] == [first.id]
    second = meter(api)
    assert refused(api.billing.meters.reactivate, first.id).http_status == 400
    api.billing.meters.deactivate(second.id)
    assert api.billing.meters.reactivate(first.id).status == "active"
    types = [event.type for event in api.events.list({"type": "billing.meter.*"}).data]
    assert list(reversed(types)) == [
        "billing.meter.created", "billing.meter.updated", "billing.meter.deactivated", "billing.meter.created",
        "billing.meter.deactivated", "billing.meter.reactivated",
    ]  # fmt: skip


def test_an_event_may_be_35_days_old_and_5_minutes_early(twin: Twin, api: Any) -> None:
    meter(api)
    who, now = customer(api).id, clock(twin)
    for at in (now - 35 * DAY, now + 5 * MINUTE):
        assert use(api, who, 1, timestamp=at).timestamp == at
    assert refused(use, api, who, 1, timestamp=now - 35 * DAY - 1).code == "timestamp_too_far_in_past"
    assert refused(use, api, who, 1, timestamp=now + 5 * MINUTE + 1).code == "timestamp_in_future"
    assert use(api, who, 1).timestamp == now


def test_an_event_names_a_meter_a_customer_and_a_whole_number(api: Any) -> None:
    meter(api)
    who = customer(api).id
    gone = customer(api).id
    api.customers.delete(gone)
    assert refused(use, api, "cus_none", 1).code == "meter_event_customer_not_found"
    assert refused(use, api, gone, 1).code == "meter_event_customer_not_found"
    for value in ("1.5", "", "many"):
        assert refused(use, api, who, value).code == "meter_event_invalid_value"
    assert refused(use, api, who, "1" * 16).code == "meter_event_value_too_many_digits"
    create = api.billing.meter_events.create
    assert (
        refused(create, {"event_name": "calls", "payload": {"value": "1"}}).code
        == "meter_event_no_customer_defined"
    )
    none = {"event_name": "none", "payload": {"value": "1", "stripe_customer_id": who}}
    assert refused(create, none).code == "no_meter"


def test_an_identifier_counts_once_within_24_hours(twin: Twin, api: Any) -> None:
    id, who = meter(api).id, customer(api).id
    assert use(api, who, 3, identifier="one").identifier == "one"
    error = refused(use, api, who, 3, identifier="one")
    assert (error.http_status, error.code) == (400, "duplicate_meter_event")
    assert str(error.user_message) == "An event already exists with identifier one."
    now = clock(twin, DAY - 1)
    assert refused(use, api, who, 3, identifier="one").code == "duplicate_meter_event"
    now = clock(twin, 1)
    use(api, who, 4, identifier="one")
    minute = now // MINUTE * MINUTE
    assert used(api, id, who, minute - 2 * DAY, minute + MINUTE) == [(minute - 2 * DAY, 7)]


def test_a_cancelled_event_does_not_count(twin: Twin, api: Any) -> None:
    id, who = meter(api).id, customer(api).id
    for number in range(3):
        use(api, who, 10**number, identifier=f"n{number}")
    cancel = api.billing.meter_event_adjustments.create
    one = {"event_name": "calls", "type": "cancel", "cancel": {"identifier": "n1"}}
    done = cancel(one)
    assert (done.object, done.cancel.identifier, done.status) == (
        "billing.meter_event_adjustment",
        "n1",
        "complete",
    )
    assert refused(cancel, one).http_status == 400
    assert refused(cancel, {**one, "cancel": {"identifier": "none"}}).http_status == 404
    minute = clock(twin) // MINUTE * MINUTE
    assert used(api, id, who, minute, minute + MINUTE) == [(minute, 101)]
    clock(twin, DAY)
    assert "within 24 hours" in str(refused(cancel, {**one, "cancel": {"identifier": "n2"}}).user_message)


@pytest.mark.parametrize(
    ("formula", "window", "expected"),
    [("sum", None, 14), ("count", None, 4), ("last", None, 7), ("sum", "hour", 10), ("sum", "day", 2)],
)
def test_events_are_summed_counted_or_the_last_wins(
    twin: Twin, api: Any, formula: str, window: str | None, expected: int
) -> None:
    id = meter(api, formula, **({"event_time_window": window} if window else {})).id
    who = customer(api).id
    day = (clock(twin) // DAY - 1) * DAY
    # The last event by its own time is not the last that arrives, and two fall into one hour.
    for at, value in ((day, 1), (day + 5 * HOUR, 4), (day + 9 * HOUR, 7), (day + 5 * HOUR + 1, 2)):
        use(api, who, value, timestamp=at)
    use(api, customer(api).id, 1000, timestamp=day)
    assert used(api, id, who, day, day + DAY) == [(day, expected)]


def test_summaries_are_per_day_or_hour_and_paged(twin: Twin, api: Any) -> None:
    id, who = meter(api).id, customer(api).id
    start = (clock(twin) // DAY - 9) * DAY
    for day in range(4):
        for hour in (0, 5):
            use(api, who, day + 1, timestamp=start + day * DAY + hour * HOUR)
    days = used(api, id, who, start, start + 9 * DAY, value_grouping_window="day")
    assert days == [(start + day * DAY, 2 * day + 2) for day in (3, 2, 1, 0)]
    assert len(used(api, id, who, start, start + DAY, value_grouping_window="hour")) == 2
    asked = {"customer": who, "start_time": start, "end_time": start + 9 * DAY, "value_grouping_window": "day",
             "limit": 3}  # fmt: skip
    rows = list(api.billing.meters.event_summaries.list(id, asked).auto_paging_iter())
    assert [(row.start_time, row.aggregated_value) for row in rows] == days
    off = {**asked, "start_time": start + MINUTE}
    assert refused(api.billing.meters.event_summaries.list, id, off).param == "start_time"


# -- bills


def test_a_period_ends_with_the_bill_of_its_usage(twin: Twin, api: Any) -> None:
    vat = api.tax_rates.create({"display_name": "VAT", "inclusive": False, "percentage": 19}).id
    price, who = metered(api, meter(api).id), customer(api).id
    fixed = api.prices.create({
        "product": price.product, "currency": "eur", "unit_amount": 900, "recurring": {"interval": "month"}})  # fmt: skip
    made = api.subscriptions.create({
        "customer": who, "items": [{"price": price.id}, {"price": fixed.id, "quantity": 2}],
        "default_tax_rates": [vat]})  # fmt: skip
    assert price.recurring.meter is not None
    first = api.invoices.retrieve(made.latest_invoice)
    assert [(line.price.id, line.amount) for line in first.lines.data] == [(fixed.id, 1800)]
    end = made.current_period_end
    for hours in (1, 30, 300):
        clock(twin, hours * HOUR)
        use(api, who, 333)
    twin.control("POST", "clock", {"set": end + 1})
    use(api, who, 50)
    draft = api.invoices.list({"subscription": made.id, "limit": 1}).data[0]
    assert draft.status == "draft"
    use(api, who, 2, timestamp=end - 1)
    clock(twin, 2 * HOUR)
    final = api.invoices.retrieve(draft.id)
    lines = {line.price.id: line for line in final.lines.data}
    usage = lines[price.id]
    # 1001 calls at 0.125 EUR, rounded once.
    assert (usage.quantity, usage.amount, usage.period.end) == (1001, 12_513, end)
    assert (lines[fixed.id].amount, lines[fixed.id].period.start) == (1800, end)
    assert (final.status, final.subtotal, final.total) == ("paid", 14_313, 14_313 + 2377 + 342)
    use(api, who, 7, timestamp=end - 1)
    assert api.invoices.retrieve(draft.id).subtotal == 14_313


def test_a_metered_item_has_no_quantity_and_negative_usage_costs_nothing(twin: Twin, api: Any) -> None:
    price, who = metered(api, meter(api).id, interval="week"), customer(api).id
    items = [{"price": price.id, "quantity": 3}]
    assert "metered" in str(refused(api.subscriptions.create, {"customer": who, "items": items}).user_message)
    made = api.subscriptions.create({"customer": who, "items": [{"price": price.id}]})
    assert "quantity" not in made["items"].data[0]
    use(api, who, -30)
    clock(twin, 7 * DAY + 2 * HOUR)
    line = api.invoices.retrieve(api.subscriptions.retrieve(made.id).latest_invoice).lines.data[0]
    assert (line.quantity, line.amount) == (0, 0)


@pytest.mark.parametrize("way", ["at_period_end", "now", "now_without_invoice"])
def test_usage_is_billed_when_a_subscription_ends(twin: Twin, api: Any, way: str) -> None:
    price, who = metered(api, meter(api).id, "100"), customer(api).id
    made = api.subscriptions.create({"customer": who, "items": [{"price": price.id}]})
    clock(twin, HOUR)
    use(api, who, 9)
    clock(twin, HOUR)
    if way == "at_period_end":
        api.subscriptions.update(made.id, {"cancel_at_period_end": True})
        clock(twin, 40 * DAY)
    else:
        api.subscriptions.cancel(made.id, {"invoice_now": way == "now"})
    assert api.subscriptions.retrieve(made.id).status == "canceled"
    totals = [one.total for one in api.invoices.list({"subscription": made.id}).data]
    assert totals == ([0] if way == "now_without_invoice" else [900, 0])


def test_usage_is_billed_when_the_next_phase_of_a_schedule_has_no_meter(twin: Twin, api: Any) -> None:
    price, who = metered(api, meter(api).id, "100", "week"), customer(api).id
    fixed = api.prices.create({
        "product": price.product, "currency": "eur", "unit_amount": 900, "recurring": {"interval": "week"}})  # fmt: skip
    made = api.subscription_schedules.create(
        {"customer": who, "phases": [{"items": [{"price": one.id}]} for one in (price, fixed)]}
    )
    use(api, who, 7)
    clock(twin, 7 * DAY + HOUR // 2)
    use(api, who, 2, timestamp=made.current_phase.end_date - 1)
    use(api, who, 50)
    clock(twin, 10 * DAY)
    newest, second, first = api.invoices.list({"subscription": made.subscription}).data
    lines = [(line.price.id, line.quantity, line.amount) for line in second.lines.data]
    assert sorted(lines) == sorted([(price.id, 9, 900), (fixed.id, 1, 900)])
    assert (first.total, second.total, newest.total) == (0, 1800, 900)


def test_a_metered_price_names_a_meter_and_a_licensed_one_none(api: Any) -> None:
    id, product = meter(api).id, api.products.create({"name": "Calls"}).id
    fields = {"product": product, "currency": "eur", "unit_amount": 5}
    for recurring in ({"interval": "month", "usage_type": "metered"}, {"interval": "month", "meter": id}):
        assert refused(api.prices.create, {**fields, "recurring": recurring}).param == "recurring[meter]"


def fields(kind: Any) -> set[str]:
    """Fields that the vendor's library gives an object; the description of this version has no meters."""
    return {name for name in kind.__annotations__ if name.islower()} - {"deleted"}


def test_what_is_younger_than_the_description_has_the_fields_of_the_library(twin: Twin, api: Any) -> None:
    one, who = meter(api), customer(api).id
    event = use(api, who, 5, identifier="one")
    minute = clock(twin) // MINUTE * MINUTE
    asked = {"customer": who, "start_time": minute, "end_time": minute + MINUTE}
    sums = api.billing.meters.event_summaries.list(one.id, asked).data
    undo = {"event_name": "calls", "type": "cancel", "cancel": {"identifier": "one"}}
    kinds = stripe.billing
    for value, kind in (
        (one, kinds.Meter), (event, kinds.MeterEvent), (sums[0], kinds.MeterEventSummary),
        (api.billing.meter_event_adjustments.create(undo), kinds.MeterEventAdjustment),
        (one.customer_mapping, kinds.Meter.CustomerMapping), (one.value_settings, kinds.Meter.ValueSettings),
        (one.status_transitions, kinds.Meter.StatusTransitions),
        (one.default_aggregation, kinds.Meter.DefaultAggregation),
    ):  # fmt: skip
        assert set(value.to_dict()) == fields(kind)
        if "object" in fields(kind):
            assert value.object == kind.OBJECT_NAME
