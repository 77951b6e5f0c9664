"""Subscription schedules: phases that the clock turns into changes of one subscription.

A schedule starts its subscription, replaces the items at each phase, and after the last phase releases or cancels it.
Phases start now or later; the twin does not backdate. Source: docs.stripe.com/billing/subscriptions/subscription-schedules.
"""

from __future__ import annotations

from counterfoil.twins.stripe import subscriptions
from counterfoil.twins.stripe.account import DAY_SECONDS, StripeAccount
from counterfoil.twins.stripe.errors import Obj, StripeError, invalid, refusal
from counterfoil.twins.stripe.forms import Shape, merge
from counterfoil.twins.stripe.invoices import COLLECTION, collect
from counterfoil.twins.stripe.lines import create_item
from counterfoil.twins.stripe.listing import PAGING, page, range_conditions
from counterfoil.twins.stripe.phases import NEW_PHASE, PHASE, as_items, build, change_subscription
from counterfoil.twins.stripe.subscription_items import PRORATION

SETTINGS: Shape = {
    "billing_cycle_anchor": ("automatic", "phase_start"), "collection_method": COLLECTION, "description": "str",
    "default_payment_method": "str", "invoice_settings": {"days_until_due": "uint"},
}  # fmt: skip
CREATE: Shape = {
    "customer": "str", "from_subscription": "str", "phases": [NEW_PHASE], "start_date": "any", "metadata": "meta",
    "end_behavior": ("cancel", "release"), "default_settings": SETTINGS,
}  # fmt: skip
UPDATE: Shape = {
    "phases": [PHASE], "metadata": "meta", "end_behavior": ("cancel", "release"), "default_settings": SETTINGS,
    "proration_behavior": PRORATION,
}  # fmt: skip
CANCEL: Shape = {"invoice_now": "bool", "prorate": "bool"}
RELEASE: Shape = {"preserve_cancel_date": "bool"}
LIST: Shape = {
    **PAGING, "customer": "str", "scheduled": "bool", "canceled_at": "range", "completed_at": "range",
    "released_at": "range",
}  # fmt: skip
EXPIRING_SECONDS = 7 * DAY_SECONDS
"""Time before the end of the last phase at which the vendor warns."""


def create(account: StripeAccount, params: Obj) -> Obj:
    if params.get("from_subscription"):
        if set(params) - {"from_subscription", "metadata"}:
            message = "You cannot set other parameters together with `from_subscription`."
            raise invalid(message, "from_subscription")
        return _take_over(account, params)
    if not params.get("customer") or not params.get("phases"):
        message = "You must pass `customer` and `phases`, or `from_subscription`."
        raise invalid(message, "customer" if not params.get("customer") else "phases", "parameter_missing")
    customer = account.get("customer", params["customer"], "customer")
    settings = _settings(params.get("default_settings") or {}, _DEFAULTS)
    phases = build(account, params["phases"], _start(account, params.get("start_date")), settings)
    schedule = _new(account, customer["id"], phases, settings, params)
    if phases[0]["start_date"] <= account.now:
        _start_first(account, schedule)
    account.publish("subscription_schedule.created", schedule)
    return schedule


_DEFAULTS: Obj = {
    "application_fee_percent": None, "automatic_tax": {"enabled": False}, "billing_cycle_anchor": "automatic",
    "billing_thresholds": None, "collection_method": "charge_automatically", "default_payment_method": None,
    "description": None, "invoice_settings": None, "on_behalf_of": None, "transfer_data": None,
}  # fmt: skip


def _settings(params: Obj, current: Obj) -> Obj:
    settings = {**current, **{name: value for name, value in params.items() if value is not None}}
    days = (settings["invoice_settings"] or {}).get("days_until_due")
    if settings["collection_method"] == "send_invoice" and days is None:
        message = "You must pass `days_until_due` when `collection_method` is `send_invoice`."
        raise invalid(message, "default_settings[invoice_settings][days_until_due]", "parameter_missing")
    return settings


def _start(account: StripeAccount, value: object) -> int:
    """Return the start of the first phase: now, or a later time."""
    if value in (None, "", "now"):
        return account.now
    if not isinstance(value, str) or not value.isdigit():
        raise invalid("Invalid start_date: must be a timestamp or `now`.", "start_date")
    if int(value) < account.now:
        raise refusal("The start date of a schedule cannot be in the past.", "start_date")
    return int(value)


def _new(account: StripeAccount, customer: str, phases: list[Obj], settings: Obj, params: Obj) -> Obj:
    return account.create("subscription_schedule", {
        "application": None, "canceled_at": None, "completed_at": None, "current_phase": None, "customer": customer,
        "default_settings": settings, "end_behavior": params.get("end_behavior") or "release",
        "metadata": merge({}, params.get("metadata") or {}), "phases": phases, "released_at": None,
        "released_subscription": None, "status": "not_started", "subscription": None, "test_clock": None,
        "_warned": False,
    })  # fmt: skip


def _take_over(account: StripeAccount, params: Obj) -> Obj:
    """Create the schedule of an existing subscription, with its current period as the only phase."""
    id = params["from_subscription"]
    subscription = account.get("subscription", id, "from_subscription")
    if subscription["status"] not in ("active", "past_due", "trialing"):
        raise refusal(
            f"You cannot migrate a subscription that is {subscription['status']}.", "from_subscription"
        )
    if subscription["schedule"]:
        raise refusal("This subscription is already attached to a schedule.", "from_subscription")
    start, end = subscription["current_period_start"], subscription["current_period_end"]
    days = subscription["days_until_due"]
    settings = _settings({
        "collection_method": subscription["collection_method"], "invoice_settings": {"days_until_due": days},
        "default_payment_method": subscription["default_payment_method"],
    }, _DEFAULTS)  # fmt: skip
    phase = {
        "items": as_items(account.of("subscription_item", id)), "end_date": str(end),
        "default_tax_rates": [rate["id"] for rate in subscription["default_tax_rates"]],
        "metadata": subscription["metadata"], "description": subscription["description"],
    }  # fmt: skip
    phases = build(account, [phase], start, settings)
    schedule = _new(account, subscription["customer"], phases, settings, params)
    before = account.view(subscription)
    _enter(schedule, phases[0], id)
    subscription["schedule"] = schedule["id"]
    account.publish("customer.subscription.updated", subscription, before)
    account.publish("subscription_schedule.created", schedule)
    return schedule


def _enter(schedule: Obj, phase: Obj, subscription: str) -> None:
    schedule.update(
        status="active", subscription=subscription,
        current_phase={"start_date": phase["start_date"], "end_date": phase["end_date"]},
    )  # fmt: skip


def _start_first(account: StripeAccount, schedule: Obj) -> None:
    """Create the subscription of the first phase, and try to collect its first invoice."""
    phase, settings = schedule["phases"][0], schedule["default_settings"]
    for once in phase["add_invoice_items"]:
        create_item(account, {"customer": schedule["customer"], **as_items([once])[0]})
    days = (phase["invoice_settings"] or settings["invoice_settings"] or {}).get("days_until_due")
    method = phase["collection_method"] or settings["collection_method"]
    subscription = subscriptions.create(account, {
        "customer": schedule["customer"], "items": as_items(phase["items"]), "collection_method": method,
        "days_until_due": days, "metadata": phase["metadata"], "description": phase["description"],
        "default_payment_method": phase["default_payment_method"] or settings["default_payment_method"],
        "default_tax_rates": [rate["id"] for rate in phase["default_tax_rates"]],
        "trial_end": None if phase["trial_end"] is None else str(phase["trial_end"]),
        "payment_behavior": "default_incomplete", "_schedule": schedule["id"],
    })  # fmt: skip
    _enter(schedule, phase, subscription["id"])
    account.save(schedule)
    if subscription["status"] == "incomplete":
        collect(account, account.get("invoice", subscription["latest_invoice"]))


def update(account: StripeAccount, params: Obj, id: str) -> Obj:
    schedule = _running(account, id, "update")
    before = account.view(schedule)
    if "metadata" in params:
        schedule["metadata"] = merge(schedule["metadata"], params["metadata"])
    if params.get("end_behavior"):
        schedule["end_behavior"] = params["end_behavior"]
    if params.get("default_settings"):
        schedule["default_settings"] = _settings(params["default_settings"], schedule["default_settings"])
    if params.get("phases"):
        _replace_phases(account, schedule, params)
    account.publish("subscription_schedule.updated", schedule, before)
    return schedule


def _replace_phases(account: StripeAccount, schedule: Obj, params: Obj) -> None:
    """Replace the current and the later phases; the first one in the parameters is the current one."""
    current = schedule["current_phase"]
    old = schedule["phases"]
    past = [phase for phase in old if current and phase["start_date"] < current["start_date"]]
    start = (current or old[0])["start_date"]
    first_start = params["phases"][0].get("start_date")
    if first_start not in (None, "", "now", str(start)) or (first_start == "now" and current):
        if current:
            raise refusal(
                "The first phase must be the current phase, with its start date.", "phases[0][start_date]"
            )
        start = _start(account, first_start)
    new = build(account, params["phases"], start, schedule["default_settings"])
    schedule.update(phases=[*past, *new], _warned=False)
    if current:
        subscription = account.get("subscription", schedule["subscription"])
        _enter(schedule, new[0], subscription["id"])
        behavior = params.get("proration_behavior") or "create_prorations"
        change_subscription(account, subscription, new[0], behavior)


def _running(account: StripeAccount, id: str, verb: str) -> Obj:
    schedule = account.get("subscription_schedule", id)
    if schedule["status"] not in ("not_started", "active"):
        raise refusal(f"You cannot {verb} a subscription schedule that is {schedule['status']}.", "id")
    return schedule


def release(account: StripeAccount, params: Obj, id: str) -> Obj:
    schedule = _running(account, id, "release")
    before = account.view(schedule)
    _let_go(account, schedule)
    schedule.update(status="released", released_at=account.now)
    account.publish("subscription_schedule.released", schedule, before)
    return schedule


def _let_go(account: StripeAccount, schedule: Obj) -> None:
    """Detach the subscription, which goes on without the schedule."""
    if id := schedule["subscription"]:
        subscription = account.get("subscription", id)
        before = account.view(subscription)
        subscription["schedule"] = None
        account.publish("customer.subscription.updated", subscription, before)
    schedule.update(released_subscription=id, subscription=None, current_phase=None)


def cancel(account: StripeAccount, params: Obj, id: str) -> Obj:
    """Cancel the schedule and its subscription at once, by default with a final invoice."""
    schedule = _running(account, id, "cancel")
    before = account.view(schedule)
    schedule.update(status="canceled", canceled_at=account.now, current_phase=None)
    account.save(schedule)
    if schedule["subscription"]:
        ending = {"invoice_now": params.get("invoice_now", True), "prorate": params.get("prorate", True)}
        subscriptions.cancel(account, ending, schedule["subscription"])
    account.emit("subscription_schedule.canceled", schedule, before)
    return schedule


def list_all(account: StripeAccount, params: Obj) -> Obj:
    conditions, values = range_conditions(params, "canceled_at", "completed_at", "released_at")
    if params.get("customer"):
        conditions, values = [*conditions, "customer = ?"], [*values, params["customer"]]
    if params.get("scheduled"):
        conditions.append("json_extract(body, '$.status') = 'not_started'")
    return page(account, "subscription_schedule", params, "/v1/subscription_schedules", conditions, values)


# -- the clock


def due(schedule: Obj) -> int | None:
    """Return the time of the next start, change, warning or end."""
    if schedule["status"] == "not_started":
        return int(schedule["phases"][0]["start_date"])
    if schedule["status"] != "active":
        return None
    end = int(schedule["current_phase"]["end_date"])
    warning = int(schedule["phases"][-1]["end_date"]) - EXPIRING_SECONDS
    return end if schedule["_warned"] else min(end, warning)


def advance(account: StripeAccount) -> bool:
    """Start, change and end the schedules that are due; return true if there were any."""
    due_schedules = account.where("subscription_schedule", "due <= ?", (account.now,), order="due, seq")
    for schedule in due_schedules:
        before = account.view(schedule)
        if schedule["status"] == "not_started" or schedule["current_phase"]["end_date"] <= account.now:
            _change_or_abort(account, schedule, before)
        else:
            schedule["_warned"] = True
            account.publish("subscription_schedule.expiring", schedule)
    return bool(due_schedules)


def _change_or_abort(account: StripeAccount, schedule: Obj, before: Obj) -> None:
    """Start or change the subscription; a schedule whose change the API would refuse is aborted."""
    original = dict(schedule)
    try:
        with account.transaction():
            if schedule["status"] == "active":
                _next(account, schedule, before)
                return
            _start_first(account, schedule)
            account.publish("subscription_schedule.updated", schedule, before)
    except StripeError:
        _let_go(account, original)
        original.update(status="canceled", canceled_at=account.now)
        account.publish("subscription_schedule.aborted", original, before)


def _next(account: StripeAccount, schedule: Obj, before: Obj) -> None:
    subscription = account.get("subscription", schedule["subscription"])
    following = [
        phase for phase in schedule["phases"] if phase["start_date"] >= schedule["current_phase"]["end_date"]
    ]
    if following:
        _enter(schedule, following[0], subscription["id"])
        account.publish("subscription_schedule.updated", schedule, before)
        change_subscription(account, subscription, following[0], following[0]["proration_behavior"])
        return
    if schedule["end_behavior"] == "release":
        _let_go(account, schedule)
    schedule.update(status="completed", completed_at=account.now, current_phase=None)
    account.publish("subscription_schedule.completed", schedule, before)
    if schedule["subscription"]:
        subscriptions.end(account, subscription)
