"""Customers and their payment methods. Open drafts follow the tax status of their customer."""

from __future__ import annotations

from counterfoil.twins.stripe import bank_accounts, cards, subscription_status, tax_ids
from counterfoil.twins.stripe.account import StripeAccount
from counterfoil.twins.stripe.catalog import filters
from counterfoil.twins.stripe.customer_balance import move_balance
from counterfoil.twins.stripe.errors import Obj, StripeError, missing, missing_parameter, refusal
from counterfoil.twins.stripe.forms import Shape, merge
from counterfoil.twins.stripe.lines import total
from counterfoil.twins.stripe.listing import PAGING, page

ADDRESS: Shape = {
    "city": "str", "country": "str", "line1": "str", "line2": "str", "postal_code": "str", "state": "str",
}  # fmt: skip
CUSTOMER: Shape = {
    "tax_id_data": [tax_ids.CREATE], "address": ADDRESS, "balance": "int", "description": "str", "email": "str", "metadata": "meta", "name": "str",
    "phone": "str", "tax_exempt": ("none", "exempt", "reverse"), "payment_method": "str", "source": "str",
    "invoice_settings": {"default_payment_method": "str", "footer": "str"}, "invoice_prefix": "str",
    "preferred_locales": ["str"], "shipping": {"name": "str", "phone": "str", "address": ADDRESS},
}  # fmt: skip
_ONLY_NEW = ("payment_method", "tax_id_data")
CUSTOMER_UPDATE: Shape = {name: kind for name, kind in CUSTOMER.items() if name not in _ONLY_NEW}
LIST: Shape = {**PAGING, "email": "str"}
PAYMENT_METHOD: Shape = {
    "type!": ("card", *bank_accounts.TYPES), "metadata": "meta", "billing_details": {
        "name": "str", "email": "str", "phone": "str", "address": ADDRESS},
    "card": {"number": "str", "exp_month": "int", "exp_year": "int", "cvc": "str", "token": "str"},
    "sepa_debit": {"iban!": "str"}, "us_bank_account": {
        "account_number": "str", "routing_number": "str", "account_holder_type": "str", "account_type": "str"},
}  # fmt: skip
_FIELDS = ("description", "email", "name", "phone", "tax_exempt", "preferred_locales", "invoice_prefix")


def create(account: StripeAccount, params: Obj) -> Obj:
    customer = account.create("customer", {
        "address": None, "balance": 0, "currency": None, "default_source": None, "delinquent": False,
        "description": None, "discount": None, "email": None, "invoice_prefix": None,
        "invoice_settings": {
            "custom_fields": None, "default_payment_method": None, "footer": None, "rendering_options": None},
        "metadata": {}, "name": None, "next_invoice_sequence": 1, "phone": None, "preferred_locales": [],
        "shipping": None, "tax_exempt": "none", "test_clock": None,
    })  # fmt: skip
    customer["invoice_prefix"] = customer["id"][4:12].upper()
    if params.get("payment_method"):
        attach(account, {"customer": customer["id"]}, params["payment_method"])
    _apply(account, customer, params)
    account.save(customer)
    if amount := params.get("balance"):
        move_balance(account, customer, amount, "initial", None)
    account.emit("customer.created", customer)
    for tax_id in params.get("tax_id_data") or []:
        tax_ids.create(account, tax_id, customer["id"])
    return customer


def _apply(account: StripeAccount, customer: Obj, params: Obj) -> None:
    for name in _FIELDS:
        if name in params:
            customer[name] = params[name]
    customer["tax_exempt"] = customer["tax_exempt"] or "none"
    for name in ("address", "shipping"):
        if name in params:
            customer[name] = _address(params[name]) if name == "address" else params[name] and {
                "name": params[name].get("name"), "phone": params[name].get("phone"),
                "address": _address(params[name].get("address")),
            }  # fmt: skip
    if "metadata" in params:
        customer["metadata"] = merge(customer["metadata"], params["metadata"])
    if params.get("source"):
        method = attach(account, {"customer": customer["id"]}, "pm_" + params["source"])
        customer["invoice_settings"]["default_payment_method"] = method["id"]
    for name, value in (params.get("invoice_settings") or {}).items():
        if name == "default_payment_method" and value is not None:
            method = _method(account, value, "invoice_settings[default_payment_method]")
            if method["customer"] is None:
                method = attach(account, {"customer": customer["id"]}, method["id"])
            if method["customer"] != customer["id"]:
                raise refusal(
                    "The customer does not have a payment method with the ID "
                    f"{value}. The payment method must be attached to the customer.",
                    "payment_method",
                )
            value = method["id"]
        customer["invoice_settings"][name] = value


def _address(params: Obj | None) -> Obj | None:
    return None if params is None else {name: params.get(name) for name in ADDRESS}


def retrieve(account: StripeAccount, params: Obj, id: str) -> Obj:
    customer = account.find("customer", id)
    if customer is None:
        raise missing("customer", id)
    if customer.get("_deleted"):
        return {"id": id, "object": "customer", "deleted": True}
    return customer


def update(account: StripeAccount, params: Obj, id: str) -> Obj:
    customer = account.get("customer", id)
    before = account.view(customer)
    _apply(account, customer, params)
    account.save(customer)
    if customer["tax_exempt"] != before["tax_exempt"]:
        for draft in account.where(
            "invoice", "customer = ? and json_extract(body, '$.status') = 'draft'", (id,)
        ):
            total(account, draft)
    if params.get("balance") is not None and params["balance"] != customer["balance"]:
        move_balance(account, customer, params["balance"] - customer["balance"], "adjustment", None)
    account.emit("customer.updated", customer, before)
    return customer


def delete(account: StripeAccount, params: Obj, id: str) -> Obj:
    """Delete a customer. Subscriptions end, and invoices are neither finalized nor collected automatically."""
    customer = account.get("customer", id)
    for subscription in account.where("subscription", "customer = ?", (id,)):
        if subscription["status"] not in ("canceled", "incomplete_expired"):
            subscription_status.cancel_now(account, subscription)
    for invoice in account.where("invoice", "customer = ? and json_extract(body, '$.auto_advance')", (id,)):
        account.save({**invoice, "auto_advance": False, "next_payment_attempt": None})
    account.emit("customer.deleted", customer)
    customer["_deleted"] = True
    account.save(customer)
    return {"id": id, "object": "customer", "deleted": True}


def list_all(account: StripeAccount, params: Obj) -> Obj:
    conditions, values = filters(params, "email")
    conditions.append("json_extract(body, '$._deleted') is null")
    return page(account, "customer", params, "/v1/customers", conditions, values)


# -- payment methods: cards by the vendor's test numbers, tokens and test ids


def create_method(account: StripeAccount, params: Obj) -> Obj:
    if params["type"] != "card":
        return _new_bank_account(account, bank_accounts.of_params(params), params)
    card = params.get("card") or {}
    number = card.get("number") or card.get("token")
    if not number:
        raise missing_parameter("card")
    return _new_method(account, number, card, params)


def _new_bank_account(account: StripeAccount, behavior: bank_accounts.AccountBehavior, params: Obj) -> Obj:
    return account.create("payment_method", {
        "billing_details": _billing(params), "customer": None, "metadata": merge({}, params.get("metadata") or {}),
        "type": behavior.type, behavior.type: bank_accounts.details(behavior), "_number": behavior.number,
    })  # fmt: skip


def _billing(params: Obj) -> Obj:
    details = params.get("billing_details") or {}
    return {
        "address": _address(details.get("address") or {}), "email": details.get("email"),
        "name": details.get("name"), "phone": details.get("phone"),
    }  # fmt: skip


def _new_method(account: StripeAccount, number: str, card: Obj, params: Obj) -> Obj:
    behavior = cards.behavior(number)
    return account.create("payment_method", {
        "billing_details": _billing(params),
        "card": {
            "brand": "visa", "checks": None, "country": "US", "exp_month": card.get("exp_month") or 12,
            "exp_year": card.get("exp_year") or 2040, "fingerprint": None, "funding": "credit",
            "last4": behavior.number[-4:], "networks": None,
            "three_d_secure_usage": None, "wallet": None},
        "customer": None, "metadata": merge({}, params.get("metadata") or {}), "type": "card",
        "_card": behavior.number,
    })  # fmt: skip


def _method(account: StripeAccount, id: str, param: str) -> Obj:
    """Return a stored payment method, or a new card or bank account for one of the vendor's test ids."""
    if behavior := bank_accounts.of_token(id):
        return _new_bank_account(account, behavior, {})
    if id.startswith(("pm_card_", "pm_tok_")):
        return _new_method(account, id.removeprefix("pm_") if id.startswith("pm_tok_") else id, {}, {})
    return account.get("payment_method", id, param)


def attach(account: StripeAccount, params: Obj, id: str) -> Obj:
    method = _method(account, id, "id")
    account.get("customer", params["customer"], "customer")
    if method["customer"] not in (None, params["customer"]):
        raise refusal("The payment method you provided has already been attached to a customer.")
    behavior = cards.behavior(method.get("_card", ""))
    if not behavior.attaches:
        raise StripeError(
            402, "Your card was declined.", type="card_error", code="card_declined",
            more={"decline_code": behavior.decline},
        )  # fmt: skip
    method["customer"] = params["customer"]
    account.publish("payment_method.attached", method)
    return method


def detach(account: StripeAccount, params: Obj, id: str) -> Obj:
    method = account.get("payment_method", id)
    if method["customer"] is None:
        message = "The payment method you provided is not attached to a customer so detachment is impossible."
        raise refusal(message)
    before = dict(method)
    method["customer"] = None
    account.publish("payment_method.detached", method, before)
    return method


def payable_with(account: StripeAccount, customer: Obj, method_id: str | None) -> Obj:
    """Return the payment method for an invoice, or raise the vendor's error if there is none."""
    id = method_id or customer["invoice_settings"]["default_payment_method"]
    if id is None:
        raise StripeError(
            400,
            "There is no `default_payment_method` set on this Customer or Invoice. Please set a "
            "`default_payment_method`, or pass one of the customer's payment methods to pay with.",
            code="resource_missing", param="payment_method",
        )  # fmt: skip
    return usable_method(account, customer["id"], id)


def usable_method(account: StripeAccount, customer: str | None, id: str) -> Obj:
    """Return a payment method, or raise the vendor's error if it belongs to another customer."""
    method = _method(account, id, "payment_method")
    if method["customer"] not in (None, customer):
        raise refusal("The payment method does not belong to the customer of this payment.", "payment_method")
    return method
