"""Events and webhook endpoints, and the plan of who is told what."""

from __future__ import annotations

import fnmatch
import ipaddress
import secrets
from urllib.parse import urlsplit

from counterfoil.twins.stripe.account import DAY, Account
from counterfoil.twins.stripe.faults import Faults
from counterfoil.twins.stripe.forms import Shape, merged
from counterfoil.twins.stripe.listing import PAGING, page
from counterfoil.twins.stripe.refusal import Obj, bad_parameter

ENDPOINT: Shape = {
    "url!": "str", "enabled_events!": ["str"], "description": "str", "metadata": "meta", "api_version": "str",
    "connect": "bool",
}  # fmt: skip
ENDPOINT_UPDATE: Shape = {
    "url": "str", "enabled_events": ["str"], "description": "str", "metadata": "meta", "disabled": "bool",
}  # fmt: skip
LIST: Shape = {**PAGING, "type": "str", "types": ["str"], "delivery_success": "bool"}
KEPT = 30 * DAY
"""How long the vendor lists events."""


def view(account: Account, event: Obj) -> Obj:
    return {**event, "pending_webhooks": account.store.waiting_for(event["id"])}


def get(account: Account, given: Obj, id: str) -> Obj:
    return account.get("event", id)


def list_all(account: Account, given: Obj) -> Obj:
    conditions, values = ["created >= ?"], [account.now - KEPT]
    if given.get("type") and given.get("types"):
        raise bad_parameter("You may not specify both type and types.", "parameter_invalid", "types")
    if given.get("type"):
        conditions.append("json_extract(body, '$.type') glob ?")
        values.append(given["type"])
    if types := given.get("types"):
        conditions.append(f"json_extract(body, '$.type') in ({','.join('?' * len(types))})")
        values += types
    if given.get("delivery_success") is not None:
        late = "exists (select 1 from delivery d where d.event = object.id and d.state <> 'delivered')"
        conditions.append(f"not {late}" if given["delivery_success"] else late)
    return page(account, "event", given, "/v1/events", conditions, values)


def endpoint_view(account: Account, endpoint: Obj) -> Obj:
    """The secret is shown once, by the answer that creates it."""
    if endpoint.get("_shown"):
        return endpoint
    return {name: value for name, value in endpoint.items() if name != "secret"}


def create_endpoint(account: Account, given: Obj) -> Obj:
    made = account.create("webhook_endpoint", {
        "api_version": given.get("api_version"), "application": None, "description": given.get("description"),
        "enabled_events": given["enabled_events"], "metadata": merged({}, given.get("metadata") or {}),
        "secret": "whsec_" + secrets.token_urlsafe(24), "status": "enabled", "url": _loopback(given["url"]),
    })  # fmt: skip
    return {**made, "_shown": True}


def keep_endpoint(account: Account, url: str, secret: str) -> None:
    """Have one endpoint of this url, with this secret and every event, whether or not it was there before."""
    for endpoint in account.where("webhook_endpoint", "json_extract(body, '$.url') = ?", (url,)):
        account.save({**endpoint, "secret": secret, "status": "enabled", "enabled_events": ["*"]})
        return
    with account.transaction():
        made = create_endpoint(account, {"url": url, "enabled_events": ["*"]})
        account.save({**made, "secret": secret, "_shown": False})


def _loopback(url: str) -> str:
    """The twin never talks to anything but this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        near = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        near = False
    if parts.scheme != "http" or not near:
        raise bad_parameter(
            f"Invalid URL: {url}. The twin delivers to http on loopback only.", "url_invalid", "url"
        )
    return url


def get_endpoint(account: Account, given: Obj, id: str) -> Obj:
    return account.get("webhook_endpoint", id)


def list_endpoints(account: Account, given: Obj) -> Obj:
    return page(account, "webhook_endpoint", given, "/v1/webhook_endpoints")


def update_endpoint(account: Account, given: Obj, id: str) -> Obj:
    endpoint = account.get("webhook_endpoint", id)
    for name, value in given.items():
        if name == "metadata":
            endpoint["metadata"] = merged(endpoint["metadata"], value)
        elif name == "disabled":
            endpoint["status"] = "disabled" if value else "enabled"
        else:
            endpoint[name] = _loopback(value) if name == "url" else value
    return account.save(endpoint)


def delete_endpoint(account: Account, given: Obj, id: str) -> Obj:
    account.get("webhook_endpoint", id)
    account.remove(id)
    account.store.drop_endpoint(id)
    return {"id": id, "object": "webhook_endpoint", "deleted": True}


def plan(account: Account, faults: Faults, event: Obj) -> None:
    """Plan an event's deliveries: shuffled by a seeded delay, sometimes twice, and as faults say."""
    fault = faults.for_event(event["type"])
    if fault and fault["kind"] == "lose_webhook":
        return
    spread, repeated = float(account.setting("spread")), float(account.setting("repeated"))
    for endpoint in account.where("webhook_endpoint", "json_extract(body, '$.status') = 'enabled'"):
        if not any(fnmatch.fnmatchcase(event["type"], wanted) for wanted in endpoint["enabled_events"]):
            continue
        copies = 1 + (account.random.random() < repeated)
        wait = 0.0
        if fault:
            copies = int(fault.get("copies", 2)) if fault["kind"] == "duplicate_webhook" else copies
            wait = float(fault.get("seconds", 0)) if fault["kind"] == "delay_webhook" else wait
        for _ in range(copies):
            due = account.exact_now + wait + account.random.random() * spread
            account.store.plan_delivery(event["id"], endpoint["id"], due)
