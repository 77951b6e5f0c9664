"""`guard` and `mapping`: formulas, relative to hand-written Python or to other mapping languages.

Both sides work on the same decoded values and give equal results, as far as their languages permit. The results are
compared before the measurement.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from bench.peers import PROGRAMS, environment
from bench.peers.process import Peer
from counterfoil.core.finding import errors
from counterfoil.core.money import Money
from counterfoil.expr import compile
from counterfoil.model import Model, read
from counterfoil.rules.mapping import MappedEvents, apply_inbound

COMPANY = Path(__file__).with_name("company")
MEASURE_SECONDS = 0.5
"""Duration of one side of one round."""


def per_second(work: Callable[[], object], seconds: float = MEASURE_SECONDS) -> float:
    """Return how many times `work` runs per second of processor time, measured over about `seconds`.

    Processor time excludes the time that other programs use.
    """
    batch, done, began = 1, 0, time.thread_time()
    while (passed := time.thread_time() - began) < seconds:
        for _ in range(batch):
            work()
        done += batch
        # Larger batches keep the cost of reading the clock out of the figure.
        batch = min(batch * 2, 10_000)
    return done / passed


def company() -> Model:
    model, findings = read(COMPANY)
    wrong = errors(findings)
    if wrong:
        raise ValueError("\n".join(str(finding) for finding in wrong))
    return model


class Guard:
    """Predicate of a `check` step, on the values of a turn."""

    unit = "evaluations per second of processor time"
    peer = "a lambda that reads the same dictionaries"
    target = ">= 1,000,000 per second"
    text = (
        "event.data.amount.minor > 0 && inv.status != 'draft' && inv.currency == event.data.amount.currency"
    )

    def __init__(self, seconds: float = MEASURE_SECONDS) -> None:
        self._seconds = seconds
        self._names: dict[str, Any] = {
            "event": {"data": {"amount": Money(12_000, "USD")}},
            "inv": {"status": "open", "currency": "USD"},
        }
        self._formula = compile(self.text)
        self._plain: Callable[[Any], bool] = lambda n: (
            n["event"]["data"]["amount"].minor > 0
            and n["inv"]["status"] != "draft"
            and n["inv"]["currency"] == n["event"]["data"]["amount"].currency
        )
        if self._formula(self._names) is not True or self._plain(self._names) is not True:
            raise ValueError("the guard and its peer do not agree")

    def ours(self) -> float:
        return per_second(partial(self._formula, self._names), self._seconds)

    def against(self) -> float:
        return per_second(partial(self._plain, self._names), self._seconds)

    def met(self, ours: float, ratio: float) -> bool:
        return ours >= 1_000_000

    def note(self) -> str:
        return f"Formula: {self.text}. The formula checks types at each step; the lambda does not."


class InvoiceMapping:
    """Complete inbound mapping of 60 fields: formulas, money, dates, the event's id."""

    unit = "invoices per second of processor time"
    peer = "jmespath"
    target = ">= 1 x jmespath, >= 10 x jsonata-python"

    def __init__(self, seconds: float = MEASURE_SECONDS) -> None:
        self._seconds = seconds
        self._body = invoice(lines=10)
        self._received = datetime(2026, 11, 23, 12, tzinfo=UTC)
        (self._mapping,) = company().inbound("billing", "invoice.finalized")
        mapped = self._apply()
        if not isinstance(mapped, MappedEvents) or mapped.events[0].data != by_hand(self._body):
            raise ValueError(f"the mapping and its peer do not agree: {mapped}")
        self._rates: list[float] = []
        self._jsonata: list[float] = []

    def _apply(self) -> object:
        return apply_inbound(self._mapping, self._body, None, self._received, {})

    def ours(self) -> float:
        self._rates.append(per_second(self._apply, self._seconds))
        return self._rates[-1]

    def against(self) -> float:
        """Measure jmespath, and jsonata-python in the same process."""
        peer = Peer([str(environment.python("mapping")), str(PROGRAMS / "on_mappers.py")])
        try:
            self._jsonata.append(self._peer(peer, "jsonata"))
            return self._peer(peer, "jmespath")
        finally:
            peer.close()

    def _peer(self, peer: Peer, name: str) -> float:
        return float(peer.do(**{"with": name}, body=self._body, seconds=self._seconds)["rate"])

    def _times_jsonata(self) -> float:
        return median(a / b for a, b in zip(self._rates, self._jsonata, strict=True))

    def met(self, ours: float, ratio: float) -> bool:
        return ratio >= 1 and self._times_jsonata() >= 10

    def note(self) -> str:
        plain = per_second(partial(by_hand, self._body), self._seconds)
        return (
            f"60 fields: 20 and ten lines of four. jsonata-python: {median(self._jsonata):,.0f}, which is "
            f"{self._times_jsonata():.1f} x. By hand in Python: {plain:,.0f}. Ours creates exact money, decimals, dates and "
            "the event's id. The peers have no such types and pass numbers and text through."
        )


def invoice(lines: int) -> dict[str, Any]:
    """Return a finalized invoice as a billing system delivers it, already decoded."""
    return {
        "data": {
            "object": {
                "id": "in_1", "number": "INV-0001", "customer": "cus_1", "subscription": "sub_1",
                "status": "open", "billing_reason": "subscription_cycle", "currency": "usd",
                "finalized_at": 1_795_000_000, "due_date": 1_797_592_000, "period_start": 1_792_400_000,
                "period_end": 1_795_000_000, "subtotal": 100_000, "tax": 19_000, "total": 119_000,
                "amount_remaining": 119_000, "address": {"country": "DE"}, "metadata": {"order_number": "PO-7"},
                "collection_method": "send_invoice", "attempt_count": 0, "description": "November",
                "lines": [
                    {
                        "description": f"Seat {n}", "price": {"product": f"prod_{n}"}, "quantity": "2.5",
                        "amount": 10_000,
                    }
                    for n in range(lines)
                ],
            }
        }
    }  # fmt: skip


def by_hand(body: dict[str, Any]) -> dict[str, Any]:
    """Return the mapping's `data` by hand-written Python."""
    i = body["data"]["object"]
    c = i["currency"].upper()
    return {
        "invoice_id": i["id"],
        "number": i["number"],
        "customer_id": i["customer"],
        "subscription_id": i["subscription"],
        "status": i["status"],
        "reason": i["billing_reason"],
        "currency": c,
        "document_date": datetime.fromtimestamp(i["finalized_at"], UTC).date(),
        "due_date": datetime.fromtimestamp(i["due_date"], UTC).date(),
        "period_start": datetime.fromtimestamp(i["period_start"], UTC),
        "period_end": datetime.fromtimestamp(i["period_end"], UTC),
        "net": Money(i["subtotal"], c),
        "tax": Money(i["tax"], c),
        "total": Money(i["total"], c),
        "open": Money(i["amount_remaining"], c),
        "country": i["address"]["country"],
        "order_number": i["metadata"]["order_number"],
        "collection": i["collection_method"],
        "attempts": i["attempt_count"],
        "description": i["description"],
        "lines": [
            {
                "description": line["description"],
                "product": line["price"]["product"],
                "quantity": Decimal(line["quantity"]),
                "net": Money(line["amount"], c),
            }
            for line in i["lines"]
        ],
    }
