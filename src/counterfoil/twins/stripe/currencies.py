"""Currencies that the vendor bills in, and the amounts that it refuses.

Source: docs.stripe.com/currencies. The table is the twin's own, so that a test can compare the connector's with it.
"""

from __future__ import annotations

from decimal import Decimal

from counterfoil.twins.stripe.errors import invalid, refusal

_CODES = """
    aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd bwp byn bzd cad cdf chf clp
    cny cop crc cve czk djf dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gnf gtq gyd hkd hnl htg huf idr ils inr
    isk jmd jod jpy kes kgs khr kmf krw kwd kyd kzt lak lbp lkr lrd lsl mad mdl mga mkd mmk mnt mop mur mvr mwk mxn
    myr mzn nad ngn nio nok npr nzd omr pab pen pgk php pkr pln pyg qar ron rsd rub rwf sar sbd scr sek sgd shp sle
    sos srd szl thb tjs tnd top try ttd twd tzs uah ugx usd uyu uzs vnd vuv wst xaf xcd xcg xof xpf yer zar zmw
"""
_ZERO_DECIMAL = "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf"
SUPPORTED = frozenset(_CODES.split())
ZERO_DECIMAL = frozenset(_ZERO_DECIMAL.split())
"""One unit of an amount is one major unit."""
_STEPS = {**dict.fromkeys(("isk", "ugx"), 100), **dict.fromkeys(("bhd", "jod", "kwd", "omr", "tnd"), 10)}
"""Amounts that are sent must be a multiple of this."""
_PAYOUT_STEPS = {**_STEPS, **dict.fromkeys(("huf", "twd"), 100)}
"""Amounts that are paid out must be a multiple of this: the bank gets no part of a forint or a Taiwan dollar."""
_MINIMUM = {
    "aed": 200, "aud": 50, "bgn": 100, "brl": 50, "cad": 50, "chf": 50, "czk": 1500, "dkk": 250, "eur": 50, "gbp": 30,
    "hkd": 400, "huf": 17_500, "inr": 50, "jpy": 50, "mxn": 1000, "myr": 200, "nok": 300, "nzd": 50, "pln": 200,
    "ron": 200, "sek": 300, "sgd": 50, "thb": 1000, "usd": 50,
}  # fmt: skip


MAX_CHARGE_MINOR_UNITS = 99_999_999
"""Largest amount of one payment: the vendor takes eight digits."""


def currency(code: str | None, param: str = "currency") -> str:
    """Return a supported currency code in lower case."""
    code = (code or "").lower()
    if code not in SUPPORTED:
        raise invalid(f"Invalid currency: {code}.", param)
    return code


def step(code: str) -> int:
    """Return the number that amounts of a currency must be a multiple of."""
    return _STEPS.get(code, 1)


def minimum(code: str) -> int:
    """Return the smallest amount that the vendor collects, in minor units; 1 where its table has none."""
    return _MINIMUM.get(code, 1)


def check_amount(amount: int | None, code: str, param: str) -> None:
    """Refuse an amount that is not a multiple of the step of its currency."""
    multiple = step(code)
    if amount is None or amount % multiple == 0:
        return
    name = code.upper()
    if multiple == 100:
        reason = f"Currency {name} has become effectively zero-decimal and charged amounts must be evenly divisible by 100."
        raise refusal(f"Invalid amount. {reason}", param, "invalid_charge_amount_no_decimal_compatible")
    raise refusal(
        f"Invalid amount. The last digit of an amount in {name} must be 0.",
        param,
        "parameter_invalid_integer",
    )


def payout_step(code: str) -> int:
    """Return the number that payouts in a currency must be a multiple of."""
    return _PAYOUT_STEPS.get(code, 1)


def check_payout(amount: int, code: str) -> None:
    """Refuse the amount of a payout that is not a multiple of the step of its currency."""
    check_amount(amount, code, "amount")
    if amount % (multiple := payout_step(code)):
        message = f"Invalid amount. Payouts in {code.upper()} must be evenly divisible by {multiple}."
        raise refusal(message, "amount", "parameter_invalid_integer")


def check_charge(amount: int, code: str) -> None:
    """Refuse the amount of a payment that the vendor does not charge, with the vendor's codes."""
    check_amount(amount, code, "amount")
    if amount < minimum(code):
        message = f"Amount must be at least {_major(minimum(code), code)}"
        raise refusal(message, "amount", "amount_too_small")
    if amount > MAX_CHARGE_MINOR_UNITS:
        message = f"Amount must be no more than {_major(MAX_CHARGE_MINOR_UNITS, code)}"
        raise refusal(message, "amount", "amount_too_large")


def _major(amount: int, code: str) -> str:
    places = 0 if code in ZERO_DECIMAL else 3 if step(code) == 10 else 2
    return f"{Decimal(amount).scaleb(-places):,.{places}f} {code}"


def whole(amount: int, multiple: int) -> int:
    """Return the amount rounded towards zero to a multiple."""
    size = abs(amount) // multiple * multiple
    return size if amount >= 0 else -size


def payable(amount: int, code: str) -> int:
    """Return the amount of an invoice or a fee rounded to the step of its currency, halves up.

    The vendor documents this for UGX after prorations, coupons and taxes, with the difference moved to the customer's
    balance, and asks for the nearest ten in currencies of three decimals. The twin does so in every currency with a step.
    """
    multiple = step(code)
    return (2 * amount + multiple) // (2 * multiple) * multiple
