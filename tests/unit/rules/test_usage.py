"""Usage is counted for known, entitled subscriptions and declared meters only; every refusal has its reason."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from counterfoil.core.canonical import HeadState
from counterfoil.core.event import BATCH
from counterfoil.core.money import Money
from counterfoil.core.usage import UsageEvent, read_batch
from counterfoil.rules.usage import CheckedBatch, Meters, check_batch
from counterfoil.rules.usage_records import UsageRecords
from tests.unit.rules.driver import model_of

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
GOVERNANCE = """
{kind: role, name: sender, may: ["usage:any:send"]}
---
{kind: system, name: product, role: product, connector: external, owner: sender}
---
kind: object
name: plan
owner: sender
system: product
fields: {status: string, from: date, until?: timestamp}
---
{kind: table, name: meters, key: [meter], value: unit, rows: [{meter: calls, unit: piece}, {meter: "7", unit: piece}]}
---
kind: event
name: usage.counted.v1
produced: http
usage: USAGE
data: {plan_id: id, meter: METER, quantity: decimal, worth?: money}
"""
LISTED = "{enum: [calls, seats]}"


def meters(usage: str = "", meter: str = LISTED) -> Meters:
    usage = f"{{subscription: plan_id, meter: meter{usage and ', ' + usage}}}"
    return Meters(model_of(GOVERNANCE.replace("USAGE", usage).replace("METER", meter)))


def usage(n: int = 0, at: datetime = NOW, **data: Any) -> dict[str, Any]:
    values = {"plan_id": "p1", "meter": "calls", "quantity": 1.5} | data
    return {
        "specversion": "1.0", "id": f"u{n}", "source": "/product/eu", "type": "usage.counted.v1",
        "time": at.isoformat().replace("+00:00", "Z"), "data": values,
    }  # fmt: skip


def head(at: datetime, **state: Any) -> HeadState:
    return HeadState(at, state)


def checked(of: Meters, *events: dict[str, Any], records: UsageRecords | None = None) -> CheckedBatch:
    return check_batch(*read_batch(json.dumps(events).encode(), BATCH), of, "b1", NOW, records)


def reason(of: Meters, event: dict[str, Any], records: UsageRecords | None = None) -> str:
    batch = checked(of, event, records=records)
    assert len(batch.rows) + len(batch.refused) == 1
    return batch.refused[0][1].reason if batch.refused else ""


def events_of(*events: dict[str, Any]) -> list[Any]:
    return read_batch(json.dumps(events).encode(), BATCH)[0]


# ------------------------------------------------------------------ the quantity


@pytest.mark.parametrize("quantity", [-1, -0.001, -1e3, Decimal("-5")])
def test_a_negative_quantity_is_refused(quantity: Any) -> None:
    event = usage(quantity=float(quantity) if isinstance(quantity, Decimal) else quantity)
    assert reason(meters(), event) == "usage_negative"
    assert reason(meters("quantity: quantity"), event) == "usage_negative"


@pytest.mark.parametrize("quantity", [0, 0.0, -0.0, 1])
def test_zero_is_no_negative_quantity(quantity: float) -> None:
    assert reason(meters(), usage(quantity=quantity)) == ""


def test_a_correction_is_an_event_of_its_own_that_names_another_one() -> None:
    text = GOVERNANCE.replace("METER", LISTED).replace("worth?: money", "event_id?: string")
    of = Meters(model_of(text.replace("USAGE", "{subscription: plan_id, meter: meter, corrects: event_id}")))
    records = UsageRecords(events={("/product/eu", "u9"): ("p1", "calls")})
    assert of.corrected(events_of(usage(1, event_id="u9"), usage(2))) == {"/product/eu": {"u9"}}
    assert reason(of, usage(quantity=-1, event_id="u9"), records) == ""
    assert reason(of, usage(quantity=-1)) == "usage_negative"
    assert reason(of, usage(quantity=-1, event_id="")) == "usage_negative"


CORRECTIONS = [
    ([usage(1, event_id="u9")], []),
    ([usage(1, event_id="u9"), usage(2, event_id="u1")], []),
    ([usage(1, event_id="u2"), usage(2)], []),
    ([usage(1, event_id="u2"), usage(2, event_id="u9")], []),
    ([usage(1, event_id="nothing")], ["u1"]),
    ([usage(1, event_id="u1")], ["u1"]),
    ([usage(1, event_id="u2"), usage(2, event_id="u1")], ["u1", "u2"]),
    ([usage(1, event_id="u9", plan_id="p2")], ["u1"]),
    ([usage(1, event_id="u9", meter="seats")], ["u1"]),
    ([{**usage(1, event_id="u9"), "source": "/product/us"}], ["u1"]),
    ([usage(1, event_id="u2"), usage(2, quantity=-5)], ["u1", "u2"]),
    ([usage(1, event_id="u2"), usage(2, meter="bananas")], ["u1", "u2"]),
]


@pytest.mark.parametrize(("events", "refused"), CORRECTIONS)
@pytest.mark.parametrize("quantity", [-1, 1])
def test_a_correction_needs_a_counted_event_of_its_subscription_and_meter(
    events: list[dict[str, Any]], refused: list[str], quantity: int
) -> None:
    text = GOVERNANCE.replace("METER", LISTED).replace("worth?: money", "event_id?: string")
    of = Meters(model_of(text.replace("USAGE", "{subscription: plan_id, meter: meter, corrects: event_id}")))
    records = UsageRecords(events={("/product/eu", "u9"): ("p1", "calls")})
    for event in events:
        if "event_id" in event["data"]:
            event["data"]["quantity"] = quantity
    batch = checked(of, *events, records=records)
    assert [refusal.id for _, refusal in batch.refused] == refused
    assert len(batch.rows) == len(events) - len(refused)
    unfounded = {r.message for _, r in batch.refused if r.reason == "usage_unfounded"}
    assert all("that it corrects" in message for message in unfounded)
    assert bool(unfounded) == bool(refused)


def test_a_quantity_of_another_name_and_a_data_without_quantity() -> None:
    text = GOVERNANCE.replace("METER", LISTED).replace("quantity: decimal", "amount: int")
    plain = Meters(model_of(text.replace("USAGE", "{subscription: plan_id, meter: meter}")))
    named = Meters(model_of(text.replace("USAGE", "{subscription: plan_id, meter: meter, quantity: amount}")))
    event = usage(amount=-1)
    del event["data"]["quantity"]
    assert reason(plain, event) == "", "nothing says that it is a quantity"
    assert reason(named, event) == "usage_negative"


# ------------------------------------------------------------------ the subscription


def test_usage_of_an_unknown_subscription_is_refused() -> None:
    of = meters("object: plan")
    needed = of.needs(events_of(usage(), usage(1, plan_id="p2"), usage(2, plan_id=7), usage(3)))
    assert needed == ({"plan": {"p1", "p2"}}, {})
    records = UsageRecords(heads={"plan": {"p1"}})
    batch = checked(of, usage(), usage(1, plan_id="p2"), usage(2), records=records)
    assert [row[1] for row in batch.rows] == ["u0", "u2"]
    ((place, refused),) = batch.refused
    assert (place, refused.reason, refused.message) == (
        1,
        "usage_unknown_subscription",
        "no plan p2 is known",
    )
    assert (refused.source, refused.id, refused.meter) == ("/product/eu", "u1", "calls")
    assert reason(of, usage(plan_id=7), records) == "usage_invalid", "the contract comes first"


def test_without_an_object_any_subscription_is_counted_and_nothing_is_read() -> None:
    of = meters()
    assert of.needs(events_of(usage())) == ({}, {})
    assert reason(of, usage(plan_id="nobody")) == ""


HISTORY = [
    head(NOW - timedelta(days=20), status="trial"),
    head(NOW - timedelta(days=10), status="active"),
    head(NOW - timedelta(days=2), status="cancelled"),
]


@pytest.mark.parametrize(
    ("days", "expected"),
    [(21, "usage_not_entitled"), (20, "usage_not_entitled"), (10, ""), (3, ""), (2, "usage_not_entitled"), (0, "usage_not_entitled")],
)  # fmt: skip
def test_the_state_at_the_time_of_usage_decides(days: int, expected: str) -> None:
    of = meters("object: plan, active: {status: [active]}")
    assert of.needs(events_of(usage())) == ({}, {"plan": {"p1"}})
    records = UsageRecords(states={"plan": {"p1": HISTORY}})
    assert reason(of, usage(at=NOW - timedelta(days=days)), records) == expected
    assert reason(of, usage(plan_id="p2"), records) == "usage_unknown_subscription"


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC), "usage_not_entitled"),
        (datetime(2026, 3, 1, tzinfo=UTC), ""),
        (datetime(2026, 3, 9, 11, 59, 59, tzinfo=UTC), ""),
        (datetime(2026, 3, 9, 12, tzinfo=UTC), "usage_not_entitled"),
    ],
)
def test_the_interval_is_half_open_and_that_of_the_newest_state(at: datetime, expected: str) -> None:
    of = meters("object: plan, starts: from, ends: until")
    states = [
        head(NOW - timedelta(days=30), **{"from": date(2026, 1, 1)}),
        head(NOW, **{"from": date(2026, 3, 1), "until": datetime(2026, 3, 9, 12, tzinfo=UTC)}),
    ]
    assert reason(of, usage(at=at), UsageRecords(states={"plan": {"p1": states}})) == expected


def test_a_subscription_without_an_end_goes_on() -> None:
    of = meters("object: plan, starts: from, ends: until")
    states = {"plan": {"p1": [head(NOW - timedelta(days=30), **{"from": date(2026, 1, 1), "until": None})]}}
    assert reason(of, usage(), UsageRecords(states=states)) == ""


# ------------------------------------------------------------------ the meter


def test_meters_stand_in_a_table_or_an_object() -> None:
    table = meters("meters: {table: meters}", "string")
    assert [reason(table, usage(meter=m)) for m in ("calls", "7", "seats")] == ["", "", "usage_unknown_meter"]
    object_ = meters("meters: {object: plan}", "string")
    assert object_.needs(events_of(usage(meter="x"))) == ({"plan": {"x"}}, {})
    records = UsageRecords(heads={"plan": {"x"}})
    assert reason(object_, usage(meter="x"), records) == ""
    assert reason(object_, usage(meter="y"), records) == "usage_unknown_meter"


def test_the_group_of_an_unknown_meter_does_not_name_it() -> None:
    ((_, refused),) = checked(meters(), usage(meter="whatever")).refused
    assert refused.group == ("usage_unknown_meter", "/product/eu", "")
    assert refused.group.system == "product"


# ------------------------------------------------------------------ money


@pytest.mark.parametrize("left_out", ["", "amount", "minor"])
def test_money_is_accepted_in_each_form_and_stands_at_stake_where_it_is_refused(left_out: str) -> None:
    shown = {"amount": "12.30", "currency": "USD", "minor": 1230}
    worth = {name: part for name, part in shown.items() if name != left_out}
    assert reason(meters(), usage(worth=worth)) == ""
    ((_, refused),) = checked(meters(), usage(worth=worth, quantity=-1)).refused
    assert refused.amounts == (Money(1230, "USD"),)


def test_amounts_that_disagree_are_refused() -> None:
    worth = {"amount": "12.30", "currency": "USD", "minor": 1}
    ((_, refused),) = checked(meters(), usage(worth=worth)).refused
    assert refused.reason == "usage_invalid"
    assert "`amount` and `minor` differ" in refused.message


def test_one_refused_event_leaves_the_others_of_the_batch() -> None:
    batch = checked(
        meters(), usage(0), usage(1, quantity=-1), usage(2, at=NOW + timedelta(hours=1)), usage(3)
    )
    assert [row[1] for row in batch.rows] == ["u0", "u3"]
    assert [(place, r.reason, r.id) for place, r in batch.refused] == [
        (1, "usage_negative", "u1"), (2, "usage_future", "u2"),
    ]  # fmt: skip
    assert all(type(event) is UsageEvent for event in events_of(usage()))
