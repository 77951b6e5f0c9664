"""Exchange rates that the ERP records.

Tryton records for each currency the units per base currency, from a date on. Its conversion divides two of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from counterfoil.connectors.http import Deadline

from .rest import Record, Rest, day

_MODEL = "currency.currency.rate"
_FIELDS = ("currency", "date", "rate")
_DIGITS = Decimal("0.0000000001")


@dataclass(frozen=True, slots=True)
class RecordedRates:
    """Rates by the id of their currency, newest first."""

    rates: Mapping[int, Sequence[Record]]

    def between(self, document: int, company: int, on: date) -> Record | None:
        """Return the rate from one currency into another on a day, or None if the ERP records none.

        `value` is the company currency for one unit of the document currency, with at most ten decimals. `date` is the day
        from which it applies.
        """
        of_document, of_company = self._on(document, on), self._on(company, on)
        if of_document is None or of_company is None:
            return None
        value = of_company["rate"] / of_document["rate"]
        if value != value.quantize(_DIGITS):
            value = value.quantize(_DIGITS)
        since = max(of_document["date"], of_company["date"])
        return {"value": value, "date": day(since), "source": "erp", "type": "spot"}

    def _on(self, currency: int, on: date) -> Record | None:
        return next((rate for rate in self.rates.get(currency, ()) if rate["date"] <= on), None)


async def recorded_rates(
    rest: Rest, currencies: Iterable[int], first: date, last: date, by: Deadline
) -> RecordedRates:
    """Return the rates of currencies for the days from `first` to `last`, both inclusive. Raises TryAgain or Refused."""
    rates: dict[int, list[Record]] = {}
    for currency in sorted(currencies):
        of_currency = ["currency", "=", currency]
        # The rate of the first day may be much older than that day.
        rates[currency] = await rest.search(
            _MODEL, [of_currency, ["date", "<=", first]], _FIELDS, by, [["date", "DESC"]], limit=1
        )
        if first < last:
            later = [of_currency, ["date", ">", first], ["date", "<=", last]]
            rates[currency] += await rest.search_all(_MODEL, later, _FIELDS, by)
        rates[currency].sort(key=lambda rate: rate["date"], reverse=True)
    return RecordedRates(rates)
