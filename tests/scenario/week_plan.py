"""The week as a list of acts, drawn from a seed: what persons do in the systems, and the faults between it.

Each company has some days of new work. What becomes of the invoices of a day is played on the next one, and what becomes of
their payments on the two days after that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

BUSINESS = frozenset({
    "customer", "change", "subscription", "usage", "invoice", "payment", "void", "credit", "refund", "dispute", "verdict",
    "payout", "entry by hand", "cancellation",
})  # fmt: skip
"""Kinds of acts that are events of the business. The others are faults, and waits for what an act needs."""
NO_TAX = ("", "0")
Rate = tuple[str, str]
"""Jurisdiction and percentage of a tax rate."""


@dataclass(frozen=True)
class Firm:
    """Size of the work of a legal entity. `fates` are what becomes of the invoices of a day."""

    entity: str
    home: str
    foreign: str
    customers: tuple[int, int]
    """Number of its first customers, in the home and in the foreign currency."""
    changes: int
    rates: tuple[Rate, ...]
    fates: tuple[str, ...]
    abroad: int
    """Number of invoices of a day in the foreign currency."""


@dataclass(frozen=True)
class Size:
    """Size of a week: the work of both legal entities, and the least that it comes to."""

    firms: tuple[Firm, Firm]
    days: int
    """Days of new work."""
    events: int
    """Least number of business events."""
    invoices: int
    """Least number of posted invoices of each legal entity."""


_TAXES = {
    "acme-us": (("US-TX", "8.25"), ("US-NY", "8.875"), NO_TAX),
    "acme-de": (("DE", "19"), ("DE", "19"), ("DE", "7"), ("DE", "0")),
}
_EACH = ("small", "large", "paid-credit", "void", "at once")
MONEY = ("refunded", "refund fails", "won", "lost")
"""Fates of invoices that are paid by card: what becomes of the payment."""
_FULL = (
    Firm("acme-us", "usd", "eur", (8, 2), 4, _TAXES["acme-us"], ("small", *("open", "paid") * 2, *MONEY, *_EACH), 2),
    Firm("acme-de", "eur", "usd", (6, 2), 3, _TAXES["acme-de"], ("open", *("paid",) * 2, *MONEY, *_EACH), 2),
)  # fmt: skip
SMALL = Size((
    Firm("acme-us", "usd", "eur", (3, 1), 1, _TAXES["acme-us"], (*_EACH, "refunded", "won"), 1),
    Firm("acme-de", "eur", "usd", (2, 1), 1, _TAXES["acme-de"], ("large", "paid-credit", "void", "lost"), 1),
), days=4, events=150, invoices=16)  # fmt: skip
"""A week that `make test` has the time for."""
SIZES = {"small": SMALL, "full": Size(_FULL, 5, 400, 50), "month": Size(_FULL, 13, 1000, 150)}
CANCELLED = "cancelled"
"""Fate of an invoice of the American company that a person cancels in the ERP."""
EVERY_DAYS = 5
"""Once in so many days a person does something by hand in the ERP of each company."""


@dataclass(frozen=True)
class Act:
    """One act. `name` is that of its object in the week; `lines` are net minor units with their tax rate."""

    kind: str
    entity: str = ""
    name: str = ""
    of: str = ""
    """Name of the customer, invoice or subscription that it is about."""
    currency: str = ""
    lines: tuple[tuple[int, Rate], ...] = ()
    text: str = ""
    minor: int = 0
    names: tuple[str, ...] = ()
    """Invoices that a wait is for."""
    fault: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class _Invoice:
    name: str
    currency: str
    fate: str


REVIEWED_MINOR, DOUBTED_MINOR = 2_600_000, 4_100_000
"""Amounts from which on an invoice is reviewed, and from which on the reviewer waits for billing.

The invoices that are reviewed stay below the second one, also with their tax.
"""


class Plan:
    """The acts of a week, in order."""

    def __init__(self, seed: int, size: Size = SMALL) -> None:
        self.seed, self.size = seed, size
        firms = size.firms
        self._chance = Random(seed)
        self._count = 0
        self._customers: dict[str, list[tuple[str, str]]] = {firm.entity: [] for firm in firms}
        self._last: dict[str, list[_Invoice]] = {firm.entity: [] for firm in firms}
        self._paid: dict[str, list[_Invoice]] = {firm.entity: [] for firm in firms}
        self._moved: list[Act] = []
        self._turn = 0
        self.acts: list[Act] = []
        self.fates: dict[str, str] = {}
        """Name of an invoice -> what becomes of it."""
        for day in range(size.days + 3):
            self._day(day)

    def of(self, kind: str) -> list[Act]:
        return [act for act in self.acts if act.kind == kind]

    @property
    def business(self) -> list[Act]:
        return [act for act in self.acts if act.kind in BUSINESS]

    # ------------------------------------------------------------------ one day

    def _day(self, day: int) -> None:
        """Add a day: changes, usage and payments; new invoices; then voids and credits of the day before, and moves of money."""
        if day == 0:
            self.acts += [act for firm in self.size.firms for act in self._first(firm)]
        before = {firm.entity: self._last[firm.entity] for firm in self.size.firms}
        morning = [act for firm in self.size.firms for act in self._morning(firm, day, before[firm.entity])]
        noon = [
            acts
            for firm in self.size.firms
            for acts in (self._noon(firm, day) if day < self.size.days else ())
        ]
        evening = [act for firm in self.size.firms for act in self._evening(before[firm.entity])]
        evening += self._money(day)
        self._add(morning, day)
        if any(invoice.fate == "paid-credit" for invoices in self._paid.values() for invoice in invoices):
            # Otherwise it would be chance whether the next invoice of a customer draws from the balance.
            self.acts.append(Act("until credited"))
        self.acts += _outage(day, "start")
        self._chance.shuffle(noon)
        self._add([act for acts in noon for act in acts], day, shuffled=False)
        self.acts += _outage(day, "end")
        names = tuple(
            invoice.name
            for invoices in before.values()
            for invoice in invoices
            if invoice.fate != "void in review"
        )
        if names:
            self.acts.append(Act("until posted", names=names))
            paid = tuple(name for name in names if self.fates[name] == "paid-credit")
            self.acts.append(Act("until paid", names=paid))
        self._paid = before
        if day >= self.size.days:
            self._last = {firm.entity: [] for firm in self.size.firms}
        self._add(evening, day)
        self.acts += [
            Act("void", entity, self._name("void"), of=invoice.name, text="in review")
            for entity, invoices in self._last.items()
            for invoice in invoices
            if day < self.size.days and invoice.fate == "void in review"
        ]

    def _add(self, acts: list[Act], day: int, shuffled: bool = True) -> None:
        """Add acts in an order of the seed, with the faults of the day between them."""
        if shuffled:
            self._chance.shuffle(acts)
        acts = list(acts)
        for fault in self._faults(day) if acts else ():
            acts.insert(self._chance.randrange(len(acts)), fault)
        self.acts += acts

    def _first(self, firm: Firm) -> list[Act]:
        home, foreign = firm.customers
        acts = [self._customer(firm, firm.home) for _ in range(home)]
        acts += [self._customer(firm, firm.foreign) for _ in range(foreign)]
        chosen = self._chance.sample(self._in(firm, firm.home), 2)
        return acts + [
            Act("subscription", firm.entity, self._name("subscription"), of=customer, currency=firm.home)
            for customer in chosen
        ]

    def _morning(self, firm: Firm, day: int, before: list[_Invoice]) -> list[Act]:
        acts = [
            self._payment(invoice.name)
            for invoice in before
            if invoice.fate in ("paid", "paid-credit", *MONEY)
        ]
        if not 0 < day < self.size.days:
            return acts
        acts.append(self._customer(firm, firm.home))
        for _ in range(firm.changes):
            # Not the newest one, which the same shuffled morning creates.
            customer, _ = self._chance.choice(self._customers[firm.entity][:-1])
            name = self._name("change")
            acts.append(Act("change", firm.entity, name, of=customer, text=f"{customer} {name}"))
        for act in self.of("subscription"):
            if act.entity == firm.entity:
                acts.append(Act("usage", firm.entity, self._name("usage"), of=act.name))
        return acts

    def _noon(self, firm: Firm, day: int) -> list[list[Act]]:
        """Return the new invoices of a day. One that is paid at once comes with its payment."""
        fates = [fate if fate != "void" or day < 3 else "paid" for fate in firm.fates]
        currencies = [firm.foreign] * firm.abroad + [firm.home] * (len(fates) - firm.abroad)
        self._chance.shuffle(currencies)
        acts = [
            self._invoice(firm, fate, currency, self._chance.randint(30_000, 400_000))
            for fate, currency in zip(fates, currencies, strict=True)
        ]
        # No invoice of the German company is cancelled without a document.
        if day % EVERY_DAYS == 0 and firm.entity == "acme-us":
            acts.append(self._invoice(firm, CANCELLED, firm.home, self._chance.randint(30_000, 400_000)))
        for fate, large, of_day in (("reviewed", REVIEWED_MINOR, 1), ("void in review", DOUBTED_MINOR, 2)):
            if day == of_day:
                acts.append(self._invoice(firm, fate, firm.home, large + self._chance.randrange(600_000)))
        self._last[firm.entity] = [_Invoice(act.name, act.currency, self.fates[act.name]) for act in acts]
        return [self._with_payment(act) for act in acts]

    def _with_payment(self, invoice: Act) -> list[Act]:
        if self.fates[invoice.name] != "at once":
            return [invoice]
        return [invoice, self._payment(invoice.name)]

    def _payment(self, invoice: str) -> Act:
        """Return the payment of an invoice, by card or by a transfer that a person records.

        The money of a payment "at once" can be paid out at once.
        """
        at_once = self.fates[invoice] in ("paid-credit", *MONEY)
        way = "card at once" if at_once else self._chance.choice(("card", "transfer"))
        return Act("payment", invoice.partition("/")[0], self._name("payment"), of=invoice, text=way)

    def _evening(self, before: Sequence[_Invoice]) -> list[Act]:
        acts = []
        for invoice in before:
            entity = invoice.name.partition("/")[0]
            if invoice.fate == "void":
                acts.append(Act("void", entity, self._name("void"), of=invoice.name))
            if invoice.fate == CANCELLED:
                acts.append(Act("cancellation", entity, self._name("cancellation"), of=invoice.name))
            if invoice.fate in ("small", "large", "paid-credit"):
                limits = (11_000, 28_000) if invoice.fate == "large" else (500, 6_000)
                acts.append(self._credit(entity, invoice, self._chance.randint(*limits)))
        return acts

    def _money(self, day: int) -> list[Act]:
        """Return refunds, disputes and their ends, for the payments of the day before, and a payout and an entry by hand."""
        decided, self._moved = self._moved, []
        acts = [
            Act("verdict", act.entity, self._name("verdict"), of=act.name, text=act.text)
            for act in decided
            if act.text
        ]
        for invoice in (invoice for invoices in self._paid.values() for invoice in invoices):
            entity = invoice.name.partition("/")[0]
            if invoice.fate in ("refunded", "refund fails"):
                end = "failed" if invoice.fate == "refund fails" else ""
                minor = self._chance.randint(1_000, 20_000)
                self._moved.append(
                    Act("refund", entity, self._name("refund"), of=invoice.name, minor=minor, text=end)
                )
            if invoice.fate in ("won", "lost"):
                name = self._name("dispute")
                self._moved.append(Act("dispute", entity, name, of=invoice.name, text=invoice.fate))
        acts += self._moved
        if any(self._paid.values()):
            for firm in self.size.firms:
                end = "failed" if day % 4 == 3 else "paid"
                acts.append(Act("payout", firm.entity, self._name("payout"), currency=firm.home, text=end))
                if day % EVERY_DAYS == 2:
                    near, minor = self._paid[firm.entity][0].name, self._chance.randint(1_000, 90_000)
                    acts.append(Act("entry by hand", firm.entity, self._name("entry"), of=near, minor=minor))
        return acts

    def _faults(self, day: int) -> list[Act]:
        """Draw the faults of a part of a day. Those of requests take turns, so that every kind comes in each company."""
        acts = []
        for firm in self.size.firms:
            for kind, more in (
                ("lose_webhook", {}),
                ("duplicate_webhook", {"copies": 3}),
                ("delay_webhook", {"seconds": self._chance.randint(1, 4)}),
            ):
                match = {"type": self._chance.choice(EVENT_TYPES)}
                acts.append(
                    Act(
                        "billing fault", firm.entity, fault={"kind": kind, "match": match, "times": 2, **more}
                    )
                )
            fault = BILLING_FAULTS[self._turn % len(BILLING_FAULTS)]
            acts.append(Act("billing fault", firm.entity, fault={"times": 1, **fault}))
        self._turn += 1
        acts.append(Act("lost answer of the ERP"))
        if day > 0:
            acts.append(Act("repeated callback"))
        return acts

    # ------------------------------------------------------------------ one object

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{kind} {self._count}"

    def _in(self, firm: Firm, currency: str) -> list[str]:
        return [name for name, of in self._customers[firm.entity] if of == currency]

    def _customer(self, firm: Firm, currency: str) -> Act:
        name = f"{firm.entity}/{self._name('customer')}"
        self._customers[firm.entity].append((name, currency))
        return Act("customer", firm.entity, name, currency=currency)

    def _credit(self, entity: str, invoice: _Invoice, minor: int) -> Act:
        name, agent = self._name("credit"), self._chance.choice(("agent", "agent2"))
        return Act(
            "credit", entity, name, of=invoice.name, currency=invoice.currency, minor=minor, text=agent
        )

    def _invoice(self, firm: Firm, fate: str, currency: str, minor: int) -> Act:
        """Split an amount into one to three lines, each with a tax rate or without one."""
        name = f"{firm.entity}/{self._name('invoice')}"
        cuts = sorted(self._chance.sample(range(100, minor - 100), self._chance.randrange(3)))
        parts = [end - start for start, end in zip([0, *cuts], [*cuts, minor], strict=True)]
        lines = tuple((part, self._chance.choice(firm.rates)) for part in parts)
        self.fates[name] = fate
        customer = self._chance.choice(self._in(firm, currency))
        return Act("invoice", firm.entity, name, of=customer, currency=currency, lines=lines)


# ------------------------------------------------------------------ faults

POSTS = {"method": "POST", "path": "/v1/credit_notes"}
FETCHES = {"method": "GET", "path": "/v1/invoices/*"}
EVENT_TYPES = ("invoice.finalized", "customer.*", "invoice.*", "credit_note.*", "charge.*")
WEBHOOK_FAULTS = ("lose_webhook", "duplicate_webhook", "delay_webhook")
BILLING_FAULTS: tuple[Mapping[str, Any], ...] = (
    {"kind": "rate_limit", "match": POSTS, "retry_after": 1},
    {"kind": "rate_limit", "match": FETCHES, "retry_after": 1},
    {"kind": "status", "match": POSTS, "status": 500, "commit": True},
    {"kind": "status", "match": FETCHES, "status": 500},
    {"kind": "drop_after_commit", "match": POSTS},
    {"kind": "unreadable_200", "match": POSTS},
    {"kind": "maintenance", "match": {"method": "GET", "path": "/v1/events"}},
)
"""Faults of requests that the server alone sends: credit notes, reads of one invoice, the list of events."""


def label(fault: Mapping[str, Any]) -> str:
    """Return the name of a kind of fault; that of requests says which method it is for."""
    return " ".join(str(word) for word in (fault["kind"], fault["match"].get("method", "")) if word)


def _outage(day: int, edge: str) -> list[Act]:
    """Return the outage of a day: the ERP is away on the second and the fourth, the server is killed on the third."""
    if day in (1, 3):
        return [Act(f"ERP outage: {edge}")]
    return [Act(f"server outage: {edge}")] if day == 2 else []
