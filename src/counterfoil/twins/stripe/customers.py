"""Customers, their balance with its transactions, and their payment methods.

A negative balance is credit that the next finalized invoice uses; a positive one is added to it.
"""

from __future__ import annotations

from counterfoil.twins.stripe import standing
from counterfoil.twins.stripe.account import Account
from counterfoil.twins.stripe.catalog import currency, filters
from counterfoil.twins.stripe.forms import Shape, merged
from counterfoil.twins.stripe.listing import PAGING, page, search
from counterfoil.twins.stripe.refusal import Obj, Refusal, bad, bad_parameter, missing

ADDRESS: Shape = {
    "city": "str", "country": "str", "line1": "str", "line2": "str", "postal_code": "str", "state": "str",
}  # fmt: skip
CUSTOMER: Shape = {
    "address": ADDRESS, "balance": "int", "description": "str", "email": "str", "metadata": "meta", "name": "str",
    "phone": "str", "tax_exempt": ("none", "exempt", "reverse"), "payment_method": "str", "source": "str",
    "invoice_settings": {"default_payment_method": "str", "footer": "str"}, "invoice_prefix": "str",
    "preferred_locales": ["str"], "shipping": {"name": "str", "phone": "str", "address": ADDRESS},
}  # fmt: skip
CUSTOMER_UPDATE: Shape = {name: kind for name, kind in CUSTOMER.items() if name != "payment_method"}
LIST: Shape = {**PAGING, "email": "str"}
BALANCE: Shape = {"amount!": "int", "currency!": "str", "description": "str", "metadata": "meta"}
PAYMENT_METHOD: Shape = {
    "type!": ("card",), "metadata": "meta", "billing_details": {
        "name": "str", "email": "str", "phone": "str", "address": ADDRESS},
    "card": {"number": "str", "exp_month": "int", "exp_year": "int", "cvc": "str", "token": "str"},
}  # fmt: skip
DECLINES = {
    "4000000000000002": "generic_decline",
    "4000000000000341": "generic_decline", "4000000000009995": "insufficient_funds",
    "tok_chargeDeclined": "generic_decline", "tok_chargeDeclinedInsufficientFunds": "insufficient_funds",
    "pm_card_chargeDeclined": "generic_decline", "pm_card_visa_chargeDeclined": "generic_decline",
    "pm_card_visa_chargeDeclinedInsufficientFunds": "insufficient_funds",
    "pm_card_chargeCustomerFail": "generic_decline", "tok_chargeCustomerFail": "generic_decline",
}  # fmt: skip
_CHARGE_FAILS = ("4000000000000341", "pm_card_chargeCustomerFail", "tok_chargeCustomerFail")
"""Cards that decline when charged and not already when attached."""
_FIELDS = ("description", "email", "name", "phone", "tax_exempt", "preferred_locales", "invoice_prefix")


def create(account: Account, given: Obj) -> Obj:
    customer = account.create("customer", {
        "address": None, "balance": 0, "currency": None, "default_source": None, "delinquent": False,
        "description": None, "discount": None, "email": None, "invoice_prefix": None,
        "invoice_settings": {
            "custom_fields": None, "default_payment_method": None, "footer": None, "rendering_options": None},
        "metadata": {}, "name": None, "next_invoice_sequence": 1, "phone": None, "preferred_locales": [],
        "shipping": None, "tax_exempt": "none", "test_clock": None,
    })  # fmt: skip
    customer["invoice_prefix"] = customer["id"][4:12].upper()
    if given.get("payment_method"):
        attach(account, {"customer": customer["id"]}, given["payment_method"])
    _apply(account, customer, given)
    account.save(customer)
    if amount := given.get("balance"):
        move_balance(account, customer, amount, "initial", None)
    account.emit("customer.created", customer)
    return customer


def _apply(account: Account, customer: Obj, given: Obj) -> None:
    for name in _FIELDS:
        if name in given:
            customer[name] = given[name]
    for name in ("address", "shipping"):
        if name in given:
            customer[name] = _address(given[name]) if name == "address" else given[name] and {
                "name": given[name].get("name"), "phone": given[name].get("phone"),
                "address": _address(given[name].get("address")),
            }  # fmt: skip
    if "metadata" in given:
        customer["metadata"] = merged(customer["metadata"], given["metadata"])
    if given.get("source"):
        method = attach(account, {"customer": customer["id"]}, "pm_" + given["source"])
        customer["invoice_settings"]["default_payment_method"] = method["id"]
    for name, value in (given.get("invoice_settings") or {}).items():
        if name == "default_payment_method" and value is not None:
            method = _method(account, value, "invoice_settings[default_payment_method]")
            if method["customer"] is None:
                method = attach(account, {"customer": customer["id"]}, method["id"])
            if method["customer"] != customer["id"]:
                raise bad(
                    "The customer does not have a payment method with the ID "
                    f"{value}. The payment method must be attached to the customer.",
                    param="payment_method",
                )
            value = method["id"]
        customer["invoice_settings"][name] = value


def _address(given: Obj | None) -> Obj | None:
    return None if given is None else {name: given.get(name) for name in ADDRESS}


def retrieve(account: Account, given: Obj, id: str) -> Obj:
    customer = account.find("customer", id)
    if customer is None:
        raise missing("customer", id)
    if customer.get("_deleted"):
        return {"id": id, "object": "customer", "deleted": True}
    return customer


def update(account: Account, given: Obj, id: str) -> Obj:
    customer = account.get("customer", id)
    before = account.view(customer)
    _apply(account, customer, given)
    account.save(customer)
    if given.get("balance") is not None and given["balance"] != customer["balance"]:
        move_balance(account, customer, given["balance"] - customer["balance"], "adjustment", None)
    account.emit("customer.updated", customer, before)
    return customer


def delete(account: Account, given: Obj, id: str) -> Obj:
    customer = account.get("customer", id)
    for subscription in account.where("subscription", "customer = ?", (id,)):
        if subscription["status"] not in ("canceled", "incomplete_expired"):
            standing.end(account, subscription)
    account.emit("customer.deleted", customer)
    customer["_deleted"] = True
    account.save(customer)
    return {"id": id, "object": "customer", "deleted": True}


def list_all(account: Account, given: Obj) -> Obj:
    conditions, values = filters(given, "email")
    conditions.append("json_extract(body, '$._deleted') is null")
    return page(account, "customer", given, "/v1/customers", conditions, values)


def find(account: Account, given: Obj) -> Obj:
    return search(account, "customer", given, "/v1/customers/search")


def same_currency(account: Account, customer: Obj, code: str) -> None:
    """A customer has one currency, fixed by its first document."""
    if customer["currency"] is None:
        customer["currency"] = code
        account.save(customer)
    elif customer["currency"] != code:
        raise bad(
            "You cannot combine currencies on a single customer. This customer has had documents in "
            f"{customer['currency']}.",
            param="currency",
        )


def move_balance(
    account: Account, customer: Obj, amount: int, type: str, description: str | None,
    invoice: str | None = None, credit_note: str | None = None, metadata: dict[str, str] | None = None,
) -> Obj:  # fmt: skip
    """Change the balance and say why."""
    customer["balance"] += amount
    account.save(customer)
    return account.create("customer_balance_transaction", {
        "amount": amount, "credit_note": credit_note, "currency": customer["currency"] or "usd",
        "customer": customer["id"], "description": description, "ending_balance": customer["balance"],
        "invoice": invoice, "metadata": metadata or {}, "type": type,
    }, parent=customer["id"])  # fmt: skip


def create_transaction(account: Account, given: Obj, id: str) -> Obj:
    customer = account.get("customer", id)
    before = account.view(customer)
    if given["amount"] == 0:
        raise bad_parameter("Amount must be non-zero.", "parameter_invalid_integer", "amount")
    same_currency(account, customer, currency(given["currency"]))
    made = move_balance(
        account,
        customer,
        given["amount"],
        "adjustment",
        given.get("description"),
        metadata=merged({}, given.get("metadata") or {}),
    )
    account.emit("customer.updated", customer, before)
    return made


def update_transaction(account: Account, given: Obj, id: str, transaction: str) -> Obj:
    made = get_transaction(account, {}, id, transaction)
    if "metadata" in given:
        made["metadata"] = merged(made["metadata"], given["metadata"])
    if "description" in given:
        made["description"] = given["description"]
    return account.save(made)


def get_transaction(account: Account, given: Obj, id: str, transaction: str) -> Obj:
    made = account.get("customer_balance_transaction", transaction)
    if made["customer"] != id:
        raise missing("customer_balance_transaction", transaction)
    return made


def list_transactions(account: Account, given: Obj, id: str) -> Obj:
    account.get("customer", id)
    url = f"/v1/customers/{id}/balance_transactions"
    return page(account, "customer_balance_transaction", given, url, ["parent = ?"], [id])


# -- payment methods: cards by the vendor's test numbers, tokens and ready-made ids


def create_method(account: Account, given: Obj) -> Obj:
    card = given.get("card") or {}
    number = card.get("number") or card.get("token")
    if not number:
        raise bad_parameter("Missing required param: card.", "parameter_missing", "card")
    return _new_method(account, number, card, given)


def _new_method(account: Account, number: str, card: Obj, given: Obj) -> Obj:
    details = given.get("billing_details") or {}
    return account.create("payment_method", {
        "billing_details": {
            "address": _address(details.get("address") or {}), "email": details.get("email"),
            "name": details.get("name"), "phone": details.get("phone")},
        "card": {
            "brand": "visa", "checks": None, "country": "US", "exp_month": card.get("exp_month") or 12,
            "exp_year": card.get("exp_year") or 2040, "fingerprint": None, "funding": "credit",
            "last4": number[-4:] if number.isdigit() else "4242", "networks": None,
            "three_d_secure_usage": None, "wallet": None},
        "customer": None, "metadata": merged({}, given.get("metadata") or {}), "type": "card",
        "_declines": DECLINES.get(number), "_attaches": number in _CHARGE_FAILS or number not in DECLINES,
    })  # fmt: skip


def _method(account: Account, id: str, param: str) -> Obj:
    """A stored method, or a fresh card where the id is one of the vendor's ready-made test ids."""
    if id.startswith(("pm_card_", "pm_tok_")):
        return _new_method(account, id.removeprefix("pm_") if id.startswith("pm_tok_") else id, {}, {})
    return account.get("payment_method", id, param)


def get_method(account: Account, given: Obj, id: str) -> Obj:
    return account.get("payment_method", id)


def attach(account: Account, given: Obj, id: str) -> Obj:
    method = _method(account, id, "id")
    account.get("customer", given["customer"], "customer")
    if method["customer"] not in (None, given["customer"]):
        raise bad("The payment method you provided has already been attached to a customer.")
    if not method["_attaches"]:
        raise Refusal(
            402, "Your card was declined.", type="card_error", code="card_declined",
            more={"decline_code": method["_declines"]},
        )  # fmt: skip
    method["customer"] = given["customer"]
    account.save(method)
    account.emit("payment_method.attached", method)
    return method


def detach(account: Account, given: Obj, id: str) -> Obj:
    method = account.get("payment_method", id)
    if method["customer"] is None:
        raise bad(
            "The payment method you provided is not attached to a customer so detachment is impossible."
        )
    before = dict(method)
    method["customer"] = None
    account.save(method)
    account.emit("payment_method.detached", method, before)
    return method


def list_methods(account: Account, given: Obj) -> Obj:
    conditions, values = filters(given, "customer")
    return page(account, "payment_method", given, "/v1/payment_methods", conditions, values)


def payable_with(account: Account, customer: Obj, wanted: str | None) -> Obj:
    """The method an invoice is charged to, or the vendor's refusal when there is none."""
    id = wanted or customer["invoice_settings"]["default_payment_method"]
    if id is None:
        raise Refusal(
            400,
            "There is no `default_payment_method` set on this Customer or Invoice. Please set a "
            "`default_payment_method`, or pass one of the customer's payment methods to pay with.",
            code="resource_missing", param="payment_method",
        )  # fmt: skip
    method = _method(account, id, "payment_method")
    if method["customer"] not in (None, customer["id"]):
        raise bad(
            "The payment method does not belong to the customer of this invoice.", param="payment_method"
        )
    return method
