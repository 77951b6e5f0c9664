"""Bank accounts that a debit is taken from: the vendor's test accounts by token, number or IBAN, with the effect of each.

Sources: docs.stripe.com/payments/ach-direct-debit and docs.stripe.com/payments/sepa-debit. An unlisted account pays.
"""

from __future__ import annotations

from dataclasses import dataclass

from counterfoil.twins.stripe.errors import Obj, missing_parameter

TYPES = ("us_bank_account", "sepa_debit")
_NUMBERS = {"us_bank_account": "account_number", "sepa_debit": "iban"}
FAILURES = {
    "account_closed": "The customer's bank account has been closed.",
    "could_not_process": "The bank could not process the debit.",
    "debit_not_authorized": "Debit transactions are not approved on the customer's bank account.",
    "insufficient_funds": "The customer's account has insufficient funds to cover this payment.",
    "no_account": "The customer's bank account could not be located.",
}
"""Failure codes and messages of debits."""


@dataclass(frozen=True, slots=True)
class AccountBehavior:
    """Effects of a test account: `failure` is the code with which debits fail, `dispute` makes them returned after success."""

    type: str
    number: str
    effect: str = "Debits succeed four days later."
    failure: str | None = None
    dispute: str | None = None


def _failing(type: str, number: str, code: str) -> AccountBehavior:
    return AccountBehavior(type, number, f"Debits fail four days later with `{code}`.", code)


_RETURNED = "Debits succeed four days later and are disputed as `debit_not_authorized`."
ACCOUNTS = {
    "usBankAccount_success": AccountBehavior("us_bank_account", "000123456789"),
    "usBankAccount_accountClosed": _failing("us_bank_account", "000111111113", "account_closed"),
    "usBankAccount_noAccount": _failing("us_bank_account", "000111111116", "no_account"),
    "usBankAccount_insufficientFunds": _failing("us_bank_account", "000222222227", "insufficient_funds"),
    "usBankAccount_debitNotAuthorized": _failing("us_bank_account", "000333333335", "debit_not_authorized"),
    "usBankAccount_dispute": AccountBehavior(
        "us_bank_account", "000555555559", _RETURNED, dispute="debit_not_authorized"
    ),
    "success_de": AccountBehavior("sepa_debit", "DE89370400440532013000"),
    "failed_de": _failing("sepa_debit", "DE62370400440532013001", "could_not_process"),
    "disputed_de": AccountBehavior(
        "sepa_debit", "DE35370400440532013002", _RETURNED, dispute="debit_not_authorized"
    ),
}
"""Behavior by the token without `pm_`."""
_BY_NUMBER = {account.number: account for account in ACCOUNTS.values()}


def of_token(token: str) -> AccountBehavior | None:
    return ACCOUNTS.get(token.removeprefix("pm_"))


def of_number(type: str, number: str) -> AccountBehavior:
    """Return the behavior of an account by its number or IBAN."""
    return _BY_NUMBER.get(number) or AccountBehavior(type, number)


def of_params(params: Obj) -> AccountBehavior:
    """Return the behavior of the account that a request names."""
    type = params["type"]
    number = (params.get(type) or {}).get(_NUMBERS[type])
    if not number:
        raise missing_parameter(f"{type}[{_NUMBERS[type]}]")
    return of_number(type, str(number))


def details(behavior: AccountBehavior) -> Obj:
    """Return what the vendor shows of an account, as part of a payment method and of a charge."""
    if behavior.type == "sepa_debit":
        return {
            "bank_code": behavior.number[4:12], "branch_code": None, "country": behavior.number[:2],
            "fingerprint": None, "last4": behavior.number[-4:],
        }  # fmt: skip
    return {
        "account_holder_type": "company", "account_type": "checking", "bank_name": "STRIPE TEST BANK",
        "fingerprint": None, "last4": behavior.number[-4:], "routing_number": "110000000",
    }  # fmt: skip
