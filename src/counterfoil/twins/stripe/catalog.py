"""Products, prices and tax rates: what invoices are made of."""

from __future__ import annotations

from decimal import Decimal

from counterfoil.twins.stripe.account import Account
from counterfoil.twins.stripe.amounts import decimal_text
from counterfoil.twins.stripe.forms import Shape, merged
from counterfoil.twins.stripe.listing import PAGING, page
from counterfoil.twins.stripe.refusal import Obj, Refusal, bad, bad_parameter, missing

PRODUCT: Shape = {
    "id": "str", "name!": "str", "active": "bool", "description": "str", "metadata": "meta", "images": ["str"],
    "shippable": "bool", "statement_descriptor": "str", "tax_code": "str", "unit_label": "str", "url": "str",
    "type": "str", "default_price_data": {
        "currency!": "str", "unit_amount": "uint", "unit_amount_decimal": "dec",
        "recurring": {"interval!": ("day", "week", "month", "year"), "interval_count": "uint"},
        "tax_behavior": ("exclusive", "inclusive", "unspecified"),
    },
}  # fmt: skip
PRODUCT_UPDATE: Shape = {
    **{name.rstrip("!"): kind for name, kind in PRODUCT.items() if name not in ("id", "type", "default_price_data")},
    "default_price": "str",
}  # fmt: skip
PRICE: Shape = {
    "currency!": "str", "product": "str", "product_data": {"name!": "str", "metadata": "meta", "id": "str"},
    "unit_amount": "uint", "unit_amount_decimal": "dec", "active": "bool", "nickname": "str", "metadata": "meta",
    "lookup_key": "str", "tax_behavior": ("exclusive", "inclusive", "unspecified"),
    "billing_scheme": ("per_unit",),
    "recurring": {
        "interval!": ("day", "week", "month", "year"), "interval_count": "uint", "usage_type": ("licensed",),
    },
}  # fmt: skip
PRICE_UPDATE: Shape = {
    "active": "bool", "nickname": "str", "metadata": "meta", "lookup_key": "str",
    "tax_behavior": ("exclusive", "inclusive", "unspecified"),
}  # fmt: skip
PLAN: Shape = {
    "id": "str", "product!": "str", "currency!": "str", "amount": "uint", "amount_decimal": "dec",
    "interval!": ("day", "week", "month", "year"), "interval_count": "uint", "nickname": "str", "metadata": "meta",
    "active": "bool", "usage_type": ("licensed",),
}  # fmt: skip
TAX_RATE: Shape = {
    "display_name!": "str", "inclusive!": "bool", "percentage!": "dec", "active": "bool", "country": "str",
    "description": "str", "jurisdiction": "str", "metadata": "meta", "state": "str", "tax_type": "str",
}  # fmt: skip
TAX_RATE_UPDATE: Shape = {
    name.rstrip("!"): kind for name, kind in TAX_RATE.items() if name not in ("inclusive!", "percentage!")
}
LIST: Shape = {**PAGING, "active": "bool"}
LIST_PRICES: Shape = {**LIST, "product": "str", "currency": "str", "lookup_keys": ["str"], "type": "str"}

_CURRENCY_LENGTH = 3


def currency(code: str | None, param: str = "currency") -> str:
    """A lower-case currency code; only its form is checked."""
    code = (code or "").lower()
    if len(code) != _CURRENCY_LENGTH or not code.isascii() or not code.isalpha():
        raise bad_parameter(f"Invalid currency: {code}.", "parameter_invalid", param)
    return code


def create_product(account: Account, given: Obj) -> Obj:
    if given.get("id") and account.any(given["id"]):
        raise bad("Product already exists.", code="resource_already_exists", param="id")
    product = account.create("product", {
        "active": given.get("active", True), "default_price": None, "description": given.get("description"),
        "images": given.get("images") or [], "metadata": merged({}, given.get("metadata") or {}),
        "name": given["name"], "package_dimensions": None, "shippable": given.get("shippable"),
        "statement_descriptor": given.get("statement_descriptor"), "tax_code": given.get("tax_code"),
        "unit_label": given.get("unit_label"), "updated": account.now, "url": given.get("url"),
        "type": given.get("type") or "service",
    }, id=given.get("id"))  # fmt: skip
    account.emit("product.created", product)
    if wanted := given.get("default_price_data"):
        price = create_price(account, {**wanted, "product": product["id"]})
        product["default_price"] = price["id"]
        account.save(product)
    return product


def update_product(account: Account, given: Obj, id: str) -> Obj:
    product = account.get("product", id)
    before = dict(product)
    _change(product, given)
    product["updated"] = account.now
    account.save(product)
    account.emit("product.updated", product, before)
    return product


def delete_product(account: Account, given: Obj, id: str) -> Obj:
    product = account.get("product", id)
    if account.of("price", id):
        raise bad("This product cannot be deleted because it has one or more user-created prices.")
    account.remove(id)
    account.emit("product.deleted", product)
    return {"id": id, "object": "product", "deleted": True}


def _change(body: Obj, given: Obj) -> None:
    for name, value in given.items():
        body[name] = merged(body["metadata"], value) if name == "metadata" else value


def create_price(account: Account, given: Obj, id: str | None = None) -> Obj:
    if wanted := given.get("product_data"):
        given = {**given, "product": create_product(account, wanted)["id"]}
    if not given.get("product"):
        raise bad_parameter("Missing required param: product.", "parameter_missing", "product")
    account.get("product", given["product"], "product")
    unit, exact = given.get("unit_amount"), given.get("unit_amount_decimal")
    if (unit is None) == (exact is None):
        raise bad_parameter(
            "You must specify one of `unit_amount` or `unit_amount_decimal`.",
            "parameter_missing",
            "unit_amount",
        )
    exact = exact if exact is not None else Decimal(unit or 0)
    recurring = given.get("recurring")
    price = account.create("price", {
        "active": given.get("active", True), "billing_scheme": "per_unit", "currency": currency(given["currency"]),
        "custom_unit_amount": None, "lookup_key": given.get("lookup_key"),
        "metadata": merged({}, given.get("metadata") or {}), "nickname": given.get("nickname"),
        "product": given["product"],
        "recurring": recurring and {
            "aggregate_usage": None, "interval": recurring["interval"],
            "interval_count": recurring.get("interval_count") or 1, "usage_type": "licensed",
        },
        "tax_behavior": given.get("tax_behavior") or "unspecified", "tiers_mode": None,
        "transform_quantity": None, "type": "recurring" if recurring else "one_time",
        "unit_amount": int(exact) if exact == int(exact) else None, "unit_amount_decimal": decimal_text(exact),
    }, parent=given["product"], id=id)  # fmt: skip
    account.emit("price.created", price)
    return price


def create_plan(account: Account, given: Obj) -> Obj:
    """A recurring price by its older name; the two are one object under two forms."""
    wanted = {
        "currency": given["currency"], "product": given["product"], "unit_amount": given.get("amount"),
        "unit_amount_decimal": given.get("amount_decimal"), "nickname": given.get("nickname"),
        "metadata": given.get("metadata"), "active": given.get("active", True),
        "recurring": {"interval": given["interval"], "interval_count": given.get("interval_count")},
    }  # fmt: skip
    if given.get("id") and account.any(given["id"]):
        raise bad("Plan already exists.", code="resource_already_exists", param="id")
    return plan(create_price(account, wanted, given.get("id") or account.new_id("plan")))


def get_plan(account: Account, given: Obj, id: str) -> Obj:
    price = account.get("price", id)
    if price["recurring"] is None:
        raise missing("plan", id)
    return plan(price)


def plan(price: Obj) -> Obj:
    return {
        **{name: price[name] for name in (
            "id", "active", "billing_scheme", "created", "currency", "livemode", "metadata", "nickname", "product",
            "tiers_mode")},
        "object": "plan", "aggregate_usage": None, "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"], "interval": price["recurring"]["interval"],
        "interval_count": price["recurring"]["interval_count"], "transform_usage": None,
        "trial_period_days": None, "usage_type": "licensed",
    }  # fmt: skip


def update_price(account: Account, given: Obj, id: str) -> Obj:
    price = account.get("price", id)
    before = dict(price)
    _change(price, given)
    account.save(price)
    account.emit("price.updated", price, before)
    return price


def create_tax_rate(account: Account, given: Obj) -> Obj:
    percentage = given["percentage"]
    if not 0 <= percentage <= 100:
        raise Refusal(400, "Percentage must be between 0 and 100.", param="percentage", kept=False)
    rate = account.create("tax_rate", {
        "active": given.get("active", True), "country": given.get("country"),
        "description": given.get("description"), "display_name": given["display_name"],
        "effective_percentage": None, "inclusive": given["inclusive"], "jurisdiction": given.get("jurisdiction"),
        "metadata": merged({}, given.get("metadata") or {}), "percentage": percentage,
        "state": given.get("state"), "tax_type": given.get("tax_type"),
    })  # fmt: skip
    account.emit("tax_rate.created", rate)
    return rate


def update_tax_rate(account: Account, given: Obj, id: str) -> Obj:
    rate = account.get("tax_rate", id)
    before = dict(rate)
    _change(rate, given)
    account.save(rate)
    account.emit("tax_rate.updated", rate, before)
    return rate


def list_products(account: Account, given: Obj) -> Obj:
    return page(account, "product", given, "/v1/products", *filters(given, "active"))


def list_prices(account: Account, given: Obj) -> Obj:
    conditions, values = filters(given, "active", "currency", "type")
    if given.get("product"):
        conditions, values = [*conditions, "parent = ?"], [*values, given["product"]]
    if keys := given.get("lookup_keys"):
        conditions.append(f"json_extract(body, '$.lookup_key') in ({','.join('?' * len(keys))})")
        values += keys
    return page(account, "price", given, "/v1/prices", conditions, values)


def list_tax_rates(account: Account, given: Obj) -> Obj:
    return page(account, "tax_rate", given, "/v1/tax_rates", *filters(given, "active"))


def filters(given: Obj, *names: str) -> tuple[list[str], list[object]]:
    """Conditions for the plain fields that the caller named."""
    wanted = [name for name in names if given.get(name) is not None]
    return [f"json_extract(body, '$.{name}') = ?" for name in wanted], [given[name] for name in wanted]


def tax_rates(account: Account, ids: list[str] | None, param: str) -> list[Obj]:
    """The rates that a line or a document names, as they stand now."""
    return [account.get("tax_rate", id, f"{param}[{place}]") for place, id in enumerate(ids or [])]
