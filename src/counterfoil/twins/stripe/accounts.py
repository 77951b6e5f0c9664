"""Several accounts in one process: a platform and the accounts that are connected to it.

Each account has its own key, storage, faults and numbers. The platform's key reaches a connected account with the header
`Stripe-Account`. Events of a connected account carry `account`, and the platform's endpoints with `connect` get them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from pathlib import Path

from counterfoil.twins.stripe.account import StripeAccount
from counterfoil.twins.stripe.errors import Obj, StripeError
from counterfoil.twins.stripe.forms import Shape

LIST: Shape = {"limit": "rows", "starting_after": "str", "ending_before": "str", "created": "range"}


def key_of(headers: Mapping[str, str]) -> str:
    """Return the API key of a request, from bearer or basic authorization; empty if there is none."""
    word, _, value = headers.get("authorization", "").partition(" ")
    if word.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return value


def choose(headers: Mapping[str, str], secrets: Sequence[str], ids: Sequence[str]) -> int:
    """Return the place of the account that a request is for: by its key, or by its header if the platform asks.

    The first of `secrets` and `ids` is the platform. An unknown key or account is for the account to refuse.
    """
    key, id = key_of(headers), headers.get("stripe-account")
    place = secrets.index(key) if key in secrets else 0
    asks_as_platform = place == 0
    return ids.index(id) if asks_as_platform and id in ids else place


def state_path(path: str, place: int) -> str:
    """Return the file of an account: that of the platform, or one with a number beside it."""
    first = Path(path)
    return path if place == 0 else str(first.with_name(f"{first.stem}-{place + 1}{first.suffix}"))


def open_all(path: str, seed: int | None, count: int) -> list[StripeAccount]:
    """Open the platform and `count - 1` connected accounts."""
    platform = StripeAccount(path, seed)
    for place in range(1, count):
        own_seed = None if seed is None else f"{seed}.{place}"
        connected = StripeAccount(state_path(path, place), own_seed)
        connected.platform = platform
        platform.connected.append(connected)
    return [platform, *platform.connected]


def view(account: StripeAccount) -> Obj:
    id = account.setting("account")
    return {
        "id": id, "object": "account", "business_type": "company", "charges_enabled": True, "country": "US",
        "default_currency": "usd", "details_submitted": True, "email": None, "metadata": {}, "payouts_enabled": True,
        "type": "standard",
    }  # fmt: skip


def retrieve(account: StripeAccount, params: Obj) -> Obj:
    """Return the account of the key."""
    return view(account)


def get(account: StripeAccount, params: Obj, id: str) -> Obj:
    for one in (account, *account.connected):
        if one.setting("account") == id:
            return view(one)
    message = f"The provided key does not have access to account '{id}' (or that account does not exist)."
    raise StripeError(403, message, code="account_invalid")


def list_all(account: StripeAccount, params: Obj) -> Obj:
    """Return the connected accounts of a platform; there are few, so they are one page."""
    data = [view(connected) for connected in account.connected]
    return {"object": "list", "data": data, "has_more": False, "url": "/v1/accounts"}
