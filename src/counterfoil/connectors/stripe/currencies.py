"""Currencies of the vendor and their minor units, where those differ from ISO 4217.

Source: docs.stripe.com/currencies, its sections on presentment, zero-decimal and three-decimal currencies and special cases.
"""

from __future__ import annotations

from collections.abc import Mapping

from counterfoil.core.minor_units import MinorUnit

_CODES = """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BWP BYN BZD CAD CDF CHF CLP
    CNY COP CRC CVE CZK DJF DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR
    ISK JMD JOD JPY KES KGS KHR KMF KRW KWD KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MUR MVR MWK MXN
    MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SEK SGD SHP SLE
    SOS SRD SZL THB TJS TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW
"""
_ZERO_DECIMAL = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF"
PRESENTMENT = frozenset(_CODES.split())
"""Currencies in which the vendor bills, over all countries of accounts."""
ZERO_DECIMAL = frozenset(_ZERO_DECIMAL.split())
"""Amounts are whole major units. The vendor's list also names UGX, for which its special case decides."""
WHOLE_WITH_TWO_DECIMALS = frozenset({"ISK", "UGX"})
"""Without fractions, but sent as hundredths for backward compatibility: 5 ISK is 500."""
THREE_DECIMAL = frozenset({"BHD", "JOD", "KWD", "OMR", "TND"})
"""The last digit of an amount must be zero, because card networks take two decimals: 5.120 KWD is 5120."""

# HUF and TWD have a step of 100 in payouts only, which this connector does not create.
CURRENCIES: Mapping[str, MinorUnit] = {
    **{code: MinorUnit(0) for code in ZERO_DECIMAL},
    **{code: MinorUnit(2, 100) for code in WHOLE_WITH_TWO_DECIMALS},
    **{code: MinorUnit(3, 10) for code in THREE_DECIMAL},
}
"""Exceptions of the vendor. Every other currency has the decimals of ISO 4217."""
