"""Products, prices and tax rates: the parts of invoices."""

from __future__ import annotations

from decimal import Decimal

from counterfoil.twins.stripe.account import StripeAccount
from counterfoil.twins.stripe.amounts import decimal_text
from counterfoil.twins.stripe.currencies import check_amount, currency
from counterfoil.twins.stripe.errors import Obj, StripeError, invalid, missing, missing_parameter, refusal
from counterfoil.twins.stripe.forms import Shape, merge
from counterfoil.twins.stripe.listing import PAGING, page

TAX_BEHAVIORS = ("exclusive", "inclusive", "unspecified")
PRODUCT: Shape = {
    "id": "str", "name!": "str", "active": "bool", "description": "str", "metadata": "meta", "images": ["str"],
    "shippable": "bool", "statement_descriptor": "str", "tax_code": "str", "unit_label": "str", "url": "str",
    "type": "str", "default_price_data": {
        "currency!": "str", "unit_amount": "uint", "unit_amount_decimal": "dec",
        "recurring": {"interval!": ("day", "week", "month", "year"), "interval_count": "uint"},
        "tax_behavior": TAX_BEHAVIORS,
    },
}  # fmt: skip
PRODUCT_UPDATE: Shape = {
    **{name.rstrip("!"): kind for name, kind in PRODUCT.items() if name not in ("id", "type", "default_price_data")},
    "default_price": "str",
}  # fmt: skip
PRICE: Shape = {
    "currency!": "str", "product": "str", "product_data": {"name!": "str", "metadata": "meta", "id": "str"},
    "unit_amount": "uint", "unit_amount_decimal": "dec", "active": "bool", "nickname": "str", "metadata": "meta",
    "lookup_key": "str", "tax_behavior": TAX_BEHAVIORS,
    "billing_scheme": ("per_unit",),
    "recurring": {
        "interval!": ("day", "week", "month", "year"), "interval_count": "uint",
        "usage_type": ("licensed", "metered"), "meter": "str",
    },
}  # fmt: skip
PRICE_UPDATE: Shape = {
    "active": "bool", "nickname": "str", "metadata": "meta", "lookup_key": "str",
    "tax_behavior": TAX_BEHAVIORS,
}  # fmt: skip
PRICE_DATA: Shape = {
    "currency!": "str", "product!": "str", "unit_amount": "uint", "unit_amount_decimal": "dec",
    "tax_behavior": TAX_BEHAVIORS,
}  # fmt: skip
"""Price that a line brings with it."""
RECURRING_DATA: Shape = {
    **PRICE_DATA, "recurring": {"interval!": ("day", "week", "month", "year"), "interval_count": "uint"},
}  # fmt: skip
"""Price that an item of a subscription, a quote or a phase brings with it."""
PLAN: Shape = {
    "id": "str", "product!": "str", "currency!": "str", "amount": "uint", "amount_decimal": "dec",
    "interval!": ("day", "week", "month", "year"), "interval_count": "uint", "nickname": "str", "metadata": "meta",
    "active": "bool", "usage_type": ("licensed",),
}  # fmt: skip
TAX_RATE: Shape = {
    "display_name!": "str", "inclusive!": "bool", "percentage!": "dec", "active": "bool", "country": "str",
    "description": "str", "jurisdiction": "str", "metadata": "meta", "state": "str", "tax_type": "str",
}  # fmt: skip
_FIXED = ("inclusive!", "percentage!")
TAX_RATE_UPDATE: Shape = {name.rstrip("!"): kind for name, kind in TAX_RATE.items() if name not in _FIXED}
LIST: Shape = {**PAGING, "active": "bool"}
LIST_PRICES: Shape = {**LIST, "product": "str", "currency": "str", "lookup_keys": ["str"], "type": "str"}


def create_product(account: StripeAccount, params: Obj) -> Obj:
    if params.get("id") and account.any(params["id"]):
        raise refusal("Product already exists.", "id", code="resource_already_exists")
    product = account.create("product", {
        "active": params.get("active", True), "default_price": None, "description": params.get("description"),
        "images": params.get("images") or [], "metadata": merge({}, params.get("metadata") or {}),
        "name": params["name"], "package_dimensions": None, "shippable": params.get("shippable"),
        "statement_descriptor": params.get("statement_descriptor"), "tax_code": params.get("tax_code"),
        "unit_label": params.get("unit_label"), "updated": account.now, "url": params.get("url"),
        "type": params.get("type") or "service",
    }, id=params.get("id"))  # fmt: skip
    account.emit("product.created", product)
    if price_params := params.get("default_price_data"):
        price = create_price(account, {**price_params, "product": product["id"]})
        product["default_price"] = price["id"]
        account.save(product)
    return product


def update_product(account: StripeAccount, params: Obj, id: str) -> Obj:
    product = account.get("product", id)
    before = dict(product)
    _change(product, params)
    product["updated"] = account.now
    account.publish("product.updated", product, before)
    return product


def delete_product(account: StripeAccount, params: Obj, id: str) -> Obj:
    product = account.get("product", id)
    if account.of("price", id):
        raise refusal("This product cannot be deleted because it has one or more user-created prices.")
    account.remove(id)
    account.emit("product.deleted", product)
    return {"id": id, "object": "product", "deleted": True}


def _change(body: Obj, params: Obj) -> None:
    for name, value in params.items():
        body[name] = merge(body["metadata"], value) if name == "metadata" else value


def create_price(account: StripeAccount, params: Obj, id: str | None = None) -> Obj:
    if product_params := params.get("product_data"):
        params = {**params, "product": create_product(account, product_params)["id"]}
    if not params.get("product"):
        raise missing_parameter("product")
    account.get("product", params["product"], "product")
    unit, exact = params.get("unit_amount"), params.get("unit_amount_decimal")
    if (unit is None) == (exact is None):
        message = "You must specify one of `unit_amount` or `unit_amount_decimal`."
        raise invalid(message, "unit_amount", "parameter_missing")
    exact = exact if exact is not None else Decimal(unit or 0)
    code = currency(params["currency"])
    check_amount(unit, code, "unit_amount")
    recurring = params.get("recurring")
    price = account.create("price", {
        "active": params.get("active", True), "billing_scheme": "per_unit", "currency": code,
        "custom_unit_amount": None, "lookup_key": params.get("lookup_key"),
        "metadata": merge({}, params.get("metadata") or {}), "nickname": params.get("nickname"),
        "product": params["product"],
        "recurring": recurring and _recurring(account, recurring),
        "tax_behavior": params.get("tax_behavior") or "unspecified", "tiers_mode": None,
        "transform_quantity": None, "type": "recurring" if recurring else "one_time",
        "unit_amount": int(exact) if exact == int(exact) else None, "unit_amount_decimal": decimal_text(exact),
    }, parent=params["product"], id=id)  # fmt: skip
    account.emit("price.created", price)
    return price


def _recurring(account: StripeAccount, params: Obj) -> Obj:
    """Return the recurring part of a price. Only a metered one names a meter, and it must."""
    recurring = {
        "aggregate_usage": None, "interval": params["interval"],
        "interval_count": params.get("interval_count") or 1, "usage_type": params.get("usage_type") or "licensed",
    }  # fmt: skip
    id = params.get("meter")
    if (recurring["usage_type"] == "metered") != bool(id):
        message = "A price has a `meter` if its `usage_type` is `metered`, and only then."
        raise invalid(message, "recurring[meter]", "parameter_missing")
    if id:
        meter = account.get("billing.meter", id, "recurring[meter]")
        if meter["status"] != "active":
            raise refusal("You cannot attach an inactive meter to a price.", "recurring[meter]")
        recurring["meter"] = id
    return recurring


def create_plan(account: StripeAccount, params: Obj) -> Obj:
    """Create a recurring price by its older name; both are one object in two forms."""
    price_params = {
        "currency": params["currency"], "product": params["product"], "unit_amount": params.get("amount"),
        "unit_amount_decimal": params.get("amount_decimal"), "nickname": params.get("nickname"),
        "metadata": params.get("metadata"), "active": params.get("active", True),
        "recurring": {"interval": params["interval"], "interval_count": params.get("interval_count")},
    }  # fmt: skip
    if params.get("id") and account.any(params["id"]):
        raise refusal("Plan already exists.", "id", code="resource_already_exists")
    return plan(create_price(account, price_params, params.get("id") or account.new_id("plan")))


def get_plan(account: StripeAccount, params: Obj, id: str) -> Obj:
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
        "trial_period_days": None, "usage_type": price["recurring"]["usage_type"],
    }  # fmt: skip


def update_price(account: StripeAccount, params: Obj, id: str) -> Obj:
    price = account.get("price", id)
    before = dict(price)
    behavior = params.get("tax_behavior", price["tax_behavior"])
    if price["tax_behavior"] not in ("unspecified", behavior):
        raise refusal(
            "The `tax_behavior` of a price cannot be changed once it is `inclusive` or `exclusive`.",
            "tax_behavior",
        )
    _change(price, params)
    account.publish("price.updated", price, before)
    return price


def create_tax_rate(account: StripeAccount, params: Obj) -> Obj:
    percentage = params["percentage"]
    if not 0 <= percentage <= 100:
        raise StripeError(400, "Percentage must be between 0 and 100.", param="percentage", replayable=False)
    rate = account.create("tax_rate", {
        "active": params.get("active", True), "country": params.get("country"),
        "description": params.get("description"), "display_name": params["display_name"],
        "effective_percentage": None, "inclusive": params["inclusive"], "jurisdiction": params.get("jurisdiction"),
        "metadata": merge({}, params.get("metadata") or {}), "percentage": percentage,
        "state": params.get("state"), "tax_type": params.get("tax_type"),
    })  # fmt: skip
    account.emit("tax_rate.created", rate)
    return rate


def update_tax_rate(account: StripeAccount, params: Obj, id: str) -> Obj:
    rate = account.get("tax_rate", id)
    before = dict(rate)
    _change(rate, params)
    account.publish("tax_rate.updated", rate, before)
    return rate


def price_of(account: StripeAccount, params: Obj, param: str) -> Obj:
    """Return the price that `price` names, or a new inactive one from `price_data`."""
    if params.get("price_data"):
        price = create_price(account, {**params["price_data"], "active": False})
        return account.save({**price, "_inline": True})
    if not params.get("price"):
        raise missing_parameter(param)
    return account.get("price", params["price"], param)


def list_prices(account: StripeAccount, params: Obj) -> Obj:
    conditions, values = filters(params, "active", "currency", "type")
    if params.get("product"):
        conditions, values = [*conditions, "parent = ?"], [*values, params["product"]]
    if keys := params.get("lookup_keys"):
        conditions.append(f"json_extract(body, '$.lookup_key') in ({','.join('?' * len(keys))})")
        values += keys
    return page(account, "price", params, "/v1/prices", conditions, values)


def filters(params: Obj, *names: str) -> tuple[list[str], list[object]]:
    """Return conditions for the plain fields in the parameters."""
    fields = [name for name in names if params.get(name) is not None]
    return [f"json_extract(body, '$.{name}') = ?" for name in fields], [params[name] for name in fields]


def tax_rates(account: StripeAccount, ids: list[str] | None, param: str) -> list[Obj]:
    """Return the current rates that a line or a document refers to."""
    return [account.get("tax_rate", id, f"{param}[{position}]") for position, id in enumerate(ids or [])]
