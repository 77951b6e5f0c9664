"""Billing meters, meter events, and the usage that metered prices bill.

Meters are younger than API version 2023-08-16, whose description has none: their shapes are those that the vendor
documents at docs.stripe.com/api/billing/meter. The vendor checks events later and reports errors in thin events; the
twin refuses at once, with the codes of those reports. Usage of a period counts until its invoice is finalized.
"""

from __future__ import annotations

import hashlib
import re

from counterfoil.twins.stripe.account import DAY_SECONDS, StripeAccount
from counterfoil.twins.stripe.amounts import line_amount
from counterfoil.twins.stripe.catalog import filters
from counterfoil.twins.stripe.errors import Obj, StripeError, invalid, refusal
from counterfoil.twins.stripe.forms import Shape
from counterfoil.twins.stripe.listing import CURSORS, DEFAULT_PAGE_ROWS, page

METER: Shape = {
    "display_name!": "str", "event_name!": "str", "default_aggregation!": {"formula!": ("count", "last", "sum")},
    "event_time_window": ("day", "hour"), "customer_mapping": {"event_payload_key!": "str", "type!": ("by_id",)},
    "value_settings": {"event_payload_key!": "str"},
}  # fmt: skip
METER_UPDATE: Shape = {"display_name": "str"}
LIST: Shape = {**CURSORS, "status": ("active", "inactive")}
EVENT: Shape = {"event_name!": "str", "payload!": "meta", "identifier": "str", "timestamp": "time"}
ADJUSTMENT: Shape = {"event_name!": "str", "type!": ("cancel",), "cancel!": {"identifier!": "str"}}
SUMMARIES: Shape = {
    "customer!": "str", "start_time!": "time", "end_time!": "time", "value_grouping_window": ("day", "hour"),
    **CURSORS,
}  # fmt: skip
OLDEST_SECONDS, NEWEST_SECONDS = 35 * DAY_SECONDS, 300
"""Age and lead that the timestamp of an event may have."""
IDENTIFIER_SECONDS = CANCEL_SECONDS = DAY_SECONDS
"""Period in which an identifier is unique, and in which its event can be canceled."""
MAX_IDENTIFIER_CHARACTERS = 100
_WINDOW_SECONDS = {"day": DAY_SECONDS, "hour": 3600, None: 60}
_WHOLE = re.compile(r"-?\d+\Z")
_MAX_VALUE_DIGITS = 15
_EVENT_FIELDS = ("created", "event_name", "identifier", "livemode", "object", "payload", "timestamp")


def create(account: StripeAccount, params: Obj) -> Obj:
    name = params["event_name"]
    if account.where("billing.meter", *_of_event(name), limit=1):
        raise refusal(f"There is already an active meter with the event_name {name}.", "event_name")
    meter = account.create("billing.meter", {
        "customer_mapping": params.get("customer_mapping") or {
            "event_payload_key": "stripe_customer_id", "type": "by_id"},
        "default_aggregation": params["default_aggregation"], "display_name": params["display_name"],
        "event_name": name, "event_time_window": params.get("event_time_window"), "status": "active",
        "status_transitions": {"deactivated_at": None}, "updated": account.now,
        "value_settings": params.get("value_settings") or {"event_payload_key": "value"},
    })  # fmt: skip
    account.emit("billing.meter.created", meter)
    return meter


def _of_event(name: str) -> tuple[str, list[str]]:
    """Return the condition for the active meter of an event name."""
    active = "json_extract(body, '$.event_name') = ? and json_extract(body, '$.status') = 'active'"
    return active, [name]


def update(account: StripeAccount, params: Obj, id: str) -> Obj:
    meter = account.get("billing.meter", id)
    before = dict(meter)
    meter.update(display_name=params.get("display_name") or meter["display_name"], updated=account.now)
    account.publish("billing.meter.updated", meter, before)
    return meter


def deactivate(account: StripeAccount, params: Obj, id: str) -> Obj:
    return _switch(account, account.get("billing.meter", id), "inactive")


def reactivate(account: StripeAccount, params: Obj, id: str) -> Obj:
    return _switch(account, account.get("billing.meter", id), "active")


def _switch(account: StripeAccount, meter: Obj, status: str) -> Obj:
    if meter["status"] == status:
        raise refusal(f"The meter is already {status}.", "id")
    if status == "active" and account.where("billing.meter", *_of_event(meter["event_name"]), limit=1):
        raise refusal(f"There is already an active meter with the event_name {meter['event_name']}.", "id")
    before = dict(meter)
    stopped = account.now if status == "inactive" else None
    meter.update(status=status, status_transitions={"deactivated_at": stopped}, updated=account.now)
    account.publish("billing.meter.deactivated" if stopped else "billing.meter.reactivated", meter, before)
    return meter


def list_all(account: StripeAccount, params: Obj) -> Obj:
    return page(account, "billing.meter", params, "/v1/billing/meters", *filters(params, "status"))


# -- events


def event_view(account: StripeAccount, event: Obj) -> Obj:
    return {name: event[name] for name in _EVENT_FIELDS}


def record(account: StripeAccount, params: Obj) -> Obj:
    """Record one meter event. A repeat of its identifier within 24 hours is refused."""
    now = account.now
    at = now if params.get("timestamp") is None else params["timestamp"]
    if at < now - OLDEST_SECONDS:
        message = "The timestamp must be within the past 35 calendar days."
        raise invalid(message, "timestamp", "timestamp_too_far_in_past")
    if at > now + NEWEST_SECONDS:
        message = "The timestamp must not be more than 5 minutes in the future."
        raise invalid(message, "timestamp", "timestamp_in_future")
    meter = _meter_of(account, params["event_name"])
    payload = params["payload"]
    customer = payload.get(meter["customer_mapping"]["event_payload_key"])
    if not customer:
        message = f"The payload must name a customer in {meter['customer_mapping']['event_payload_key']}."
        raise refusal(message, "payload", "meter_event_no_customer_defined")
    if (account.find("customer", customer) or {"_deleted": True}).get("_deleted"):
        raise refusal(f"No such customer: '{customer}'", "payload", "meter_event_customer_not_found")
    value = _value(meter, payload)
    identifier = params.get("identifier") or account.new_id("billing.meter_event")
    if len(identifier) > MAX_IDENTIFIER_CHARACTERS:
        message = f"Invalid string: an identifier may have at most {MAX_IDENTIFIER_CHARACTERS} characters."
        raise invalid(message, "identifier")
    return account.create("billing.meter_event", {
        "event_name": params["event_name"], "identifier": identifier, "payload": payload, "timestamp": at,
        "customer": customer, "_value": value, "_canceled": False,
    }, parent=meter["id"], id=_free_id(account, identifier))  # fmt: skip


def _meter_of(account: StripeAccount, name: str) -> Obj:
    meters = account.where("billing.meter", "json_extract(body, '$.event_name') = ?", [name])
    active = [meter for meter in meters if meter["status"] == "active"]
    if active:
        return active[0]
    if meters:
        raise refusal(f"The meter with the event_name {name} is inactive.", "event_name", "archived_meter")
    raise refusal(f"No active meter found for the event_name {name}.", "event_name", "no_meter")


def _value(meter: Obj, payload: Obj) -> int:
    """Return the whole number that an event counts."""
    if meter["default_aggregation"]["formula"] == "count":
        return 1
    key = meter["value_settings"]["event_payload_key"]
    text = payload.get(key, "")
    if not _WHOLE.match(text):
        message = f"The value in {key} must be a whole number: '{text}'"
        raise refusal(message, "payload", "meter_event_invalid_value")
    if len(text.lstrip("-")) > _MAX_VALUE_DIGITS:
        message = f"The value in {key} may have at most {_MAX_VALUE_DIGITS} digits."
        raise refusal(message, "payload", "meter_event_value_too_many_digits")
    return int(text)


def _stored_id(identifier: str, use: int) -> str:
    return "mev_" + hashlib.sha256(f"{use}:{identifier}".encode()).hexdigest()[:24]


def _latest(account: StripeAccount, identifier: str) -> tuple[int, Obj | None]:
    """Return the number of uses of an identifier, and the event of the last."""
    use, event = 0, None
    while following := account.find("billing.meter_event", _stored_id(identifier, use)):
        use, event = use + 1, following
    return use, event


def _free_id(account: StripeAccount, identifier: str) -> str:
    use, event = _latest(account, identifier)
    if event is not None and event["created"] > account.now - IDENTIFIER_SECONDS:
        message = f"An event already exists with identifier {identifier}."
        raise refusal(message, "identifier", "duplicate_meter_event")
    return _stored_id(identifier, use)


def adjust(account: StripeAccount, params: Obj) -> Obj:
    """Cancel one event within 24 hours of its receipt."""
    identifier = params["cancel"]["identifier"]
    _, event = _latest(account, identifier)
    if event is None or event["event_name"] != params["event_name"]:
        message = f"No meter event found with identifier {identifier}."
        raise StripeError(404, message, code="resource_missing", param="cancel[identifier]")
    if event["created"] <= account.now - CANCEL_SECONDS:
        message = "You can only cancel events within 24 hours of receiving them."
        raise refusal(message, "cancel[identifier]")
    if event["_canceled"]:
        raise refusal(f"The event with identifier {identifier} is already canceled.", "cancel[identifier]")
    account.save({**event, "_canceled": True})
    return {
        "object": "billing.meter_event_adjustment", "cancel": {"identifier": identifier},
        "event_name": params["event_name"], "livemode": False, "status": "complete", "type": "cancel",
    }  # fmt: skip


# -- sums


def _events(account: StripeAccount, meter: Obj, customer: str, start: int, end: int) -> list[Obj]:
    """Return the events from `start` up to and without `end` by their timestamps, in order of receipt."""
    at = "json_extract(body, '$.timestamp')"
    condition = (
        f"customer = ? and parent = ? and {at} >= ? and {at} < ? and not json_extract(body, '$._canceled')"
    )
    return account.where("billing.meter_event", condition, (customer, meter["id"], start, end))


def _aggregate(meter: Obj, events: list[Obj]) -> int:
    """Return the usage of events in order of receipt. In a pre-aggregated window the newest replaces the others."""
    if window := meter["event_time_window"]:
        length = _WINDOW_SECONDS[window]
        events = list({event["timestamp"] // length: event for event in events}.values())
    if meter["default_aggregation"]["formula"] == "last":
        latest = max(reversed(events), key=lambda event: event["timestamp"], default=None)
        return latest["_value"] if latest else 0
    return sum(event["_value"] for event in events)


def summaries(account: StripeAccount, params: Obj, id: str) -> Obj:
    """Return the usage of a customer: one sum, or one per day or hour with events, newest first."""
    meter = account.get("billing.meter", id)
    customer = account.get("customer", params["customer"], "customer")["id"]
    window, start, end = params.get("value_grouping_window"), params["start_time"], params["end_time"]
    length = _WINDOW_SECONDS[window]
    for name in ("start_time", "end_time"):
        if params[name] % length:
            raise invalid(f"{name} must be aligned with {window or 'minute'} boundaries.", name)
    if start >= end:
        raise invalid("end_time must be after start_time.", "end_time")
    events = _events(account, meter, customer, start, end)
    groups = {start: events}
    if window:
        groups = {}
        for event in events:
            groups.setdefault(event["timestamp"] // length * length, []).append(event)
    rows = [
        _summary(account, meter, customer, begin, begin + length if window else end, groups[begin])
        for begin in sorted(groups, reverse=True)
    ]
    return _page(rows, params, f"/v1/billing/meters/{id}/event_summaries")


def _summary(
    account: StripeAccount, meter: Obj, customer: str, start: int, end: int, events: list[Obj]
) -> Obj:
    key = hashlib.sha256(f"{meter['id']}:{customer}:{start}:{end}".encode()).hexdigest()[:24]
    return {
        "id": f"mtrusg_{key}", "object": "billing.meter_event_summary", "aggregated_value": _aggregate(meter, events),
        "end_time": end, "livemode": False, "meter": meter["id"], "start_time": start,
    }  # fmt: skip


def _page(rows: list[Obj], params: Obj, url: str) -> Obj:
    """Return one page of rows that are computed, not stored."""
    limit = params.get("limit") or DEFAULT_PAGE_ROWS
    ids = [row["id"] for row in rows]
    first, last = 0, len(rows)
    if cursor := params.get("starting_after"):
        first = ids.index(cursor) + 1 if cursor in ids else len(rows)
    if cursor := params.get("ending_before"):
        last = ids.index(cursor) if cursor in ids else 0
        first = max(first, last - limit)
    part = rows[first:last]
    return {"object": "list", "data": part[:limit], "has_more": len(part) > limit, "url": url}


# -- bills


def is_metered(price: Obj) -> bool:
    recurring = price["recurring"]
    return recurring is not None and recurring["usage_type"] == "metered"


def update_usage(account: StripeAccount, customer: str, line: Obj) -> bool:
    """Set quantity and amount of a line of metered usage; return false for other lines. Usage below zero is zero."""
    price = line["price"]
    if line["type"] != "subscription" or price is None or not is_metered(price):
        return False
    meter = account.get("billing.meter", price["recurring"]["meter"])
    events = _events(account, meter, customer, line["period"]["start"], line["period"]["end"])
    quantity = max(0, _aggregate(meter, events))
    line.update(quantity=quantity, amount=line_amount(price["unit_amount_decimal"], quantity))
    return True
