"""One Stripe account: its objects, clock, ids and events.

Each request is one transaction, so what was answered survives a restart. Keys of a body that begin with `_` are internal
notes of the twin and are never sent.
"""

from __future__ import annotations

import hashlib
import random
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from counterfoil.twins.stripe.errors import Obj, missing
from counterfoil.twins.stripe.store import TwinStore

API_VERSION = "2023-08-16"
DAY_SECONDS = 86_400
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

ID_PREFIXES = {
    "tax_id": "txi", "billing.meter": "mtr", "billing.meter_event": "mev", "subscription_schedule": "sub_sched",
    "quote": "qt", "item": "li",
    "customer": "cus", "product": "prod", "price": "price", "plan": "plan", "tax_rate": "txr", "subscription": "sub",
    "subscription_item": "si", "invoiceitem": "ii", "invoice": "in", "line_item": "il", "credit_note": "cn",
    "credit_note_line_item": "cnli", "customer_balance_transaction": "cbtxn", "payment_method": "pm",
    "payment_intent": "pi", "charge": "ch", "refund": "re", "event": "evt", "webhook_endpoint": "we",
    "balance_transaction": "txn", "dispute": "du", "payout": "po",
}  # fmt: skip
_WITHOUT = {
    "item": ("created", "livemode"),
    "subscription_item": ("livemode",), "refund": ("livemode",), "invoiceitem": ("created",),
    "line_item": ("created",), "credit_note_line_item": ("created",), "balance_transaction": ("livemode",),
}  # fmt: skip
"""Common fields that these objects do not have."""
NOUNS = {"billing.meter": "meter", "line_item": "invoice line item", "payment_method": "PaymentMethod"}


def without_notes(value: Any) -> Any:
    """Return a copy without the internal notes of the twin."""
    if isinstance(value, dict):
        return {key: without_notes(item) for key, item in value.items() if not key.startswith("_")}
    if isinstance(value, list):
        return [without_notes(item) for item in value]
    return value


class StripeAccount:
    """Complete state of the twin. A `seed` makes the ids and the shuffling of a new file reproducible."""

    def __init__(self, path: str, seed: int | str | None = None) -> None:
        self.store = TwinStore(path)
        if self.setting("salt") is None:
            self.set("salt", str(seed) if seed is not None else secrets.token_hex(8))
            self.set("account", "acct_" + self._letters("account", 16))
            self.set("prefix", self._letters("prefix", 8).upper())
        self.random = random.Random(f"{self.setting('salt')}:{self.setting('ids')}")  # noqa: S311
        self.request: Obj = {"id": None, "idempotency_key": None}
        self.platform: StripeAccount | None = None
        self.connected: list[StripeAccount] = []
        self.views: dict[str, Callable[[StripeAccount, Obj], Obj]] = {}
        self.dues: dict[str, Callable[[Obj], int | None]] = {}
        self.on_event: Callable[[Obj], None] = lambda event: None
        self.fault: Callable[[str, dict[str, str]], Obj | None] = lambda kind, facts: None
        """Takes the next fault of a kind for a movement of money with these facts."""

    def setting(self, key: str) -> Any:
        return self.store.setting(key)

    def set(self, key: str, value: Any) -> None:
        self.store.set(key, value)

    def transaction(self) -> AbstractContextManager[None]:
        return self.store.transaction()

    @property
    def exact_now(self) -> float:
        """The clock of the twin in seconds: the machine's clock plus an offset, or a stopped clock."""
        stopped = self.setting("stopped_at")
        return float(stopped) if stopped is not None else time.time() + int(self.setting("offset") or 0)

    @property
    def now(self) -> int:
        return int(self.exact_now)

    def count(self, name: str) -> int:
        """Return the next number of a gapless counter; rolled back with its transaction."""
        number = int(self.setting(name) or 0) + 1
        self.set(name, number)
        return number

    def _letters(self, name: str, length: int) -> str:
        number = int.from_bytes(hashlib.sha256(f"{self.setting('salt')}:{name}".encode()).digest(), "big")
        letters = []
        for _ in range(length):
            number, index = divmod(number, len(_ALPHABET))
            letters.append(_ALPHABET[index])
        return "".join(letters)

    def new_id(self, type: str) -> str:
        letters = self._letters(f"id:{self.count('ids')}", 14 if type in ("customer", "product") else 24)
        return f"{ID_PREFIXES[type]}_{letters}"

    # -- objects

    def create(self, type: str, body: Obj, *, parent: str | None = None, id: str | None = None) -> Obj:
        body = {"id": id or self.new_id(type), "object": type, "created": self.now, "livemode": False, **body}
        for name in _WITHOUT.get(type, ()):
            del body[name]
        self.store.add(body, parent, self.now, self._due(body))
        return body

    def save(self, body: Obj) -> Obj:
        self.store.save(body, self._due(body))
        return body

    def _due(self, body: Obj) -> int | None:
        rule = self.dues.get(body["object"])
        return rule(body) if rule else None

    def remove(self, id: str) -> None:
        self.store.remove(id)

    def find(self, type: str, id: str) -> Obj | None:
        return self.store.object(id, type)

    def any(self, id: str) -> Obj | None:
        return self.store.object(id)

    def get(self, type: str, id: str, param: str = "id") -> Obj:
        """Return the object, or raise the vendor's error. A deleted customer is only visible to retrieval."""
        body = self.find(type, id)
        if body is None or body.get("_deleted"):
            raise missing(NOUNS.get(type, type), id, param)
        return body

    def where(
        self, type: str, condition: str = "1", arguments: Sequence[Any] = (), order: str = "seq", limit: int = -1,
        offset: int = 0,
    ) -> list[Obj]:  # fmt: skip
        return self.store.where(type, condition, arguments, order, limit, offset)

    def of(self, type: str, parent: str) -> list[Obj]:
        """Return the children of an object, oldest first."""
        return self.where(type, "parent = ?", (parent,))

    def view(self, body: Obj) -> Obj:
        """Return the object as the API sends it: with its inline lists, without notes."""
        make = self.views.get(body["object"])
        result: Obj = without_notes(make(self, body) if make else body)
        return result

    # -- events

    def emit(self, type: str, body: Obj, before: Obj | None = None) -> None:
        """Create an event. `before`: the earlier state of the object, for `previous_attributes`."""
        visible = self.view(body)
        data: Obj = {"object": visible}
        if before is not None:
            old = without_notes(before).items()
            data["previous_attributes"] = {key: value for key, value in old if visible.get(key) != value}
        event = self.create("event", {
            "api_version": API_VERSION, "data": data, "pending_webhooks": 0,
            "request": dict(self.request), "type": type,
            **({"account": self.setting("account")} if self.platform else {}),
        })  # fmt: skip
        self.on_event(event)

    def publish(self, type: str, body: Obj, before: Obj | None = None) -> None:
        """Save an object and create the event of its change."""
        self.save(body)
        self.emit(type, body, before)

    def close(self) -> None:
        self.store.close()
