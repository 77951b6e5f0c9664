"""Tax ids of customers, with the asynchronous check of EU VAT numbers.

The vendor's test values decide the result: `...000000000` is verified, `...111111111` is unverified, and others stay
pending. Source: docs.stripe.com/billing/customer/tax-ids. The check ends one second of twin time after creation.
"""

from __future__ import annotations

import re

from counterfoil.twins.stripe.account import StripeAccount
from counterfoil.twins.stripe.errors import Obj, missing, refusal
from counterfoil.twins.stripe.forms import Shape
from counterfoil.twins.stripe.listing import CURSORS, page

_FORMATS = {
    "eu_vat": r"[A-Z]{2}[0-9A-Z]{2,12}", "gb_vat": r"GB\d{9}(\d{3})?", "ch_vat": r"CHE.*", "us_ein": r"\d{2}-\d{7}",
    "no_vat": r"\d{9}MVA", "au_abn": r"\d{11}", "ca_bn": r"\d{9}", "jp_cn": r"\d{13}", "in_gst": r"[0-9A-Z]{15}",
    "nz_gst": r"\d{8,9}", "es_cif": r"[A-Z]\d{7}[0-9A-J]",
}  # fmt: skip
"""Accepted values of the supported types."""
CREATE: Shape = {"type!": tuple(_FORMATS), "value!": "str"}
LIST: Shape = CURSORS
VERIFIED_TYPES = ("eu_vat", "gb_vat", "au_abn")
VERIFICATION_SECONDS = 1
_RESULTS = {"000000000": "verified", "111111111": "unverified"}


def create(account: StripeAccount, params: Obj, id: str) -> Obj:
    customer = account.get("customer", id)
    type, value = params["type"], params["value"].strip().upper()
    if not re.fullmatch(_FORMATS[type], value):
        raise refusal(f"Invalid value for {type}.", "value", "tax_id_invalid")
    status = "pending" if type in VERIFIED_TYPES else "unavailable"
    tax_id = account.create("tax_id", {
        "country": _country(type, value), "customer": id, "type": type, "value": value,
        "verification": {"status": status, "verified_address": None, "verified_name": None},
        "_result": _RESULTS.get(value[-9:]) if status == "pending" else None,
    }, parent=customer["id"])  # fmt: skip
    account.emit("customer.tax_id.created", tax_id)
    return tax_id


def _country(type: str, value: str) -> str:
    country = value[:2] if type == "eu_vat" else type[:2].upper()
    return "GR" if country == "EL" else country


def get(account: StripeAccount, params: Obj, customer: str, id: str) -> Obj:
    tax_id = account.get("tax_id", id)
    if tax_id["customer"] != customer:
        raise missing("tax_id", id)
    return tax_id


def delete(account: StripeAccount, params: Obj, customer: str, id: str) -> Obj:
    tax_id = get(account, {}, customer, id)
    account.remove(id)
    account.emit("customer.tax_id.deleted", tax_id)
    return {"id": id, "object": "tax_id", "deleted": True}


def list_all(account: StripeAccount, params: Obj, id: str) -> Obj:
    account.get("customer", id)
    return page(account, "tax_id", params, f"/v1/customers/{id}/tax_ids", ["parent = ?"], [id])


def of_customer(account: StripeAccount, id: str) -> list[Obj]:
    """Return type and value of each tax id, as invoices show them."""
    return [{"type": tax_id["type"], "value": tax_id["value"]} for tax_id in account.of("tax_id", id)]


def due(tax_id: Obj) -> int | None:
    return int(tax_id["created"]) + VERIFICATION_SECONDS if tax_id["_result"] else None


def advance(account: StripeAccount) -> bool:
    """End the checks that are due; return true if there were any."""
    due_checks = account.where("tax_id", "due <= ?", (account.now,))
    for tax_id in due_checks:
        before = account.view(tax_id)
        tax_id["verification"] = {**tax_id["verification"], "status": tax_id["_result"]}
        tax_id["_result"] = None
        account.publish("customer.tax_id.updated", tax_id, before)
    return bool(due_checks)
