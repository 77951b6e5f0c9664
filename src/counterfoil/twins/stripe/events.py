"""Events and webhook endpoints, and the plan of deliveries of each event."""

from __future__ import annotations

import fnmatch
import ipaddress
import secrets
from urllib.parse import urlsplit

from counterfoil.twins.stripe.account import DAY_SECONDS, StripeAccount
from counterfoil.twins.stripe.errors import Obj, invalid, missing_parameter
from counterfoil.twins.stripe.event_types import ENABLED_EVENTS
from counterfoil.twins.stripe.faults import Faults
from counterfoil.twins.stripe.forms import Shape, merge
from counterfoil.twins.stripe.listing import PAGING, page

ENDPOINT: Shape = {
    "url!": "str", "enabled_events!": [ENABLED_EVENTS], "description": "str", "metadata": "meta", "api_version": "str",
    "connect": "bool",
}  # fmt: skip
ENDPOINT_UPDATE: Shape = {
    "url": "str", "enabled_events": [ENABLED_EVENTS], "description": "str", "metadata": "meta", "disabled": "bool",
}  # fmt: skip
LIST: Shape = {**PAGING, "type": "str", "types": ["str"], "delivery_success": "bool"}
LISTED_SECONDS = 30 * DAY_SECONDS
"""Period for which the vendor lists events."""


def view(account: StripeAccount, event: Obj) -> Obj:
    return {**event, "pending_webhooks": account.store.waiting_for(event["id"])}


def list_all(account: StripeAccount, params: Obj) -> Obj:
    conditions, values = ["created >= ?"], [account.now - LISTED_SECONDS]
    if params.get("type") and params.get("types"):
        raise invalid("You may not specify both type and types.", "types")
    if params.get("type"):
        conditions.append("json_extract(body, '$.type') glob ?")
        values.append(params["type"])
    if types := params.get("types"):
        conditions.append(f"json_extract(body, '$.type') in ({','.join('?' * len(types))})")
        values += types
    if params.get("delivery_success") is not None:
        late = "exists (select 1 from delivery d where d.event = object.id and d.state <> 'delivered')"
        conditions.append(f"not {late}" if params["delivery_success"] else late)
    return page(account, "event", params, "/v1/events", conditions, values)


def endpoint_view(account: StripeAccount, endpoint: Obj) -> Obj:
    """Return the endpoint; its secret is only in the response that creates it."""
    if endpoint.get("_shown"):
        return endpoint
    return {name: value for name, value in endpoint.items() if name != "secret"}


def create_endpoint(account: StripeAccount, params: Obj) -> Obj:
    new_endpoint = account.create("webhook_endpoint", {
        "api_version": params.get("api_version"), "application": None, "description": params.get("description"),
        "_connect": params.get("connect", False), "enabled_events": params["enabled_events"], "metadata": merge({}, params.get("metadata") or {}),
        "secret": "whsec_" + secrets.token_urlsafe(24), "status": "enabled", "url": _require_loopback(params["url"]),
    })  # fmt: skip
    return {**new_endpoint, "_shown": True}


def ensure_endpoint(account: StripeAccount, url: str, secret: str) -> None:
    """Create or update the endpoint of this URL with this secret and all events."""
    for endpoint in account.where("webhook_endpoint", "json_extract(body, '$.url') = ?", (url,)):
        account.save({**endpoint, "secret": secret, "status": "enabled", "enabled_events": ["*"]})
        return
    with account.transaction():
        new_endpoint = create_endpoint(account, {"url": url, "enabled_events": ["*"]})
        account.save({**new_endpoint, "secret": secret, "_shown": False})


def _require_loopback(url: str) -> str:
    """Return the URL, or reject it: the twin only connects to this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if parts.scheme != "http" or not local:
        message = f"Invalid URL: {url}. The twin delivers to http on loopback only."
        raise invalid(message, "url", "url_invalid")
    return url


def update_endpoint(account: StripeAccount, params: Obj, id: str) -> Obj:
    endpoint = account.get("webhook_endpoint", id)
    if params.get("enabled_events", "") is None:
        raise missing_parameter("enabled_events")
    for name, value in params.items():
        if name == "metadata":
            endpoint["metadata"] = merge(endpoint["metadata"], value)
        elif name == "disabled":
            endpoint["status"] = "disabled" if value else "enabled"
        else:
            endpoint[name] = _require_loopback(value) if name == "url" else value
    return account.save(endpoint)


def delete_endpoint(account: StripeAccount, params: Obj, id: str) -> Obj:
    account.get("webhook_endpoint", id)
    account.remove(id)
    account.store.drop_endpoint(id)
    return {"id": id, "object": "webhook_endpoint", "deleted": True}


def find_endpoint(account: StripeAccount, id: str) -> Obj | None:
    """Return an endpoint of the account, or of its platform."""
    endpoint = account.find("webhook_endpoint", id)
    if endpoint is None and account.platform:
        endpoint = account.platform.find("webhook_endpoint", id)
    return endpoint


def _endpoints(account: StripeAccount) -> list[Obj]:
    """Return the endpoints that may get an event: own ones, and those of the platform for connected accounts."""
    enabled = (
        "json_extract(body, '$.status') = 'enabled' and coalesce(json_extract(body, '$._connect'), 0) = ?"
    )
    endpoints = account.where("webhook_endpoint", enabled, (0,))
    return endpoints + (account.platform.where("webhook_endpoint", enabled, (1,)) if account.platform else [])


def plan(account: StripeAccount, faults: Faults, event: Obj) -> None:
    """Plan the deliveries of an event: shuffled by a seeded delay, sometimes twice, and as faults demand."""
    fault = faults.for_event(event["type"])
    if fault and fault["kind"] == "lose_webhook":
        return
    spread, repeated = float(account.setting("spread")), float(account.setting("repeated"))
    for endpoint in _endpoints(account):
        if not any(fnmatch.fnmatchcase(event["type"], pattern) for pattern in endpoint["enabled_events"]):
            continue
        copies = 1 + (account.random.random() < repeated)
        wait = 0.0
        if fault:
            copies = int(fault.get("copies", 2)) if fault["kind"] == "duplicate_webhook" else copies
            wait = float(fault.get("seconds", 0)) if fault["kind"] == "delay_webhook" else wait
        for _ in range(copies):
            due = account.exact_now + wait + account.random.random() * spread
            account.store.plan_delivery(event["id"], endpoint["id"], due)
