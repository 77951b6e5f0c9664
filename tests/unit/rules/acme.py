"""Acme Cloud, the example company, with its three systems simulated."""

from __future__ import annotations

from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from counterfoil.core import ids
from counterfoil.core.link import Link
from counterfoil.core.money import Money
from counterfoil.model import Model
from counterfoil.store.port.intake import Admit
from tests.companies.base import acme_model
from tests.unit.rules.driver import Play

FOLDER = Path(__file__).parents[3] / "examples" / "acme"
LEAD, FINANCE = "lee", "fay"


@cache
def model() -> Model:
    return acme_model()


def usd(major: int) -> Money:
    return Money.from_major(major, "USD")


async def acme() -> Play:
    play = Play(model())
    billing, erp = play.systems["billing"], play.systems["erp"]
    posted = {"id": 8, "number": "D8", "currency": "USD", "posting_date": "2026-01-05", "period": "2026-01"}
    erp.results |= {
        "erp.party.upsert": lambda _: {"id": 7},
        "erp.invoice.post": lambda b: posted | {"total": b["total"]},
        "erp.credit_memo.post": lambda b: posted | {"total": b["total"]},
        "erp.debit_memo.post": lambda b: posted | {"total": b["lines"][0]["unit_price"]},
        "erp.credit.apply": lambda b: {
            "move": 9,
            "applied": b["amount"],
            "currency": "USD",
            "amount_to_pay_after": 0,
        },
    }
    billing.results |= {
        "billing.credit_memo.issue": lambda b: {
            "id": "cn_1",
            "number": "CN1",
            "issued_on": "2026-01-05",
            "total": b["amount"],
            "currency": "usd",
        },
        "billing.credit_memo.void": lambda _: {"status": "void"},
        "billing.debit_memo.issue": lambda _: {"id": "cbtxn_1"},
    }
    for person, role in ((LEAD, "support-lead"), (FINANCE, "finance-operations"), ("carl", "controller")):
        await play.person(person, role)
    await play.head("customer", "cus1", name="Ann Ltd", revision=1)
    await play.head("period", "2026-01", **month(1, "open"))
    await play.head("period", "2026-02", **month(2, "open"))
    return play


def month(n: int, state: str) -> dict[str, Any]:
    return {"name": f"2026-{n:02}", "start": date(2026, n, 1), "end": date(2026, n, 28), "state": state}


async def link(play: Play, object_: str, canonical: str, system: str, ext_id: str) -> None:
    ref = ids.derive("evt", object_, canonical, system)
    play.store.tables.todos["event", ref] = None
    row = Link(
        object=object_,
        canonical=canonical,
        system=system,
        account=model().systems[system].account,
        ext_id=ext_id,
        established_by=f"event:{ref}",
        valid_from=play.now,
    )
    await play.store.apply(Admit(todo=("event", ref), links=(row,), at=play.now, actor="play"))


async def finalized(play: Play, total: int = 110, settle: bool = True) -> None:
    """Billing finalizes invoice inv1."""
    await link(play, "invoice", "inv1", "billing", "in_1")
    await play.event(
        "invoice.finalized.v1",
        system="billing",
        settle=settle,
        invoice_id="inv1",
        customer_id="cus1",
        number="INV-1",
        status="open",
        document_date=date(2026, 1, 5),
        currency="USD",
        net=usd(total - 10),
        tax=usd(10),
        total=usd(total),
        open=usd(total),
        lines=[
            {
                "description": "Seats",
                "product": "cloud",
                "revenue_class": "subscription",
                "tax_code": "US-CA",
                "taxes": [{"code": "US-CA", "zero_rated": False}],
                "net": usd(total - 10),
            }
        ],
        taxes=[{"code": "US-CA", "zero_rated": False, "base": usd(total - 10), "amount": usd(10)}],
    )


async def show_invoice(play: Play, total: int = 110) -> None:
    """The ERP shows invoice inv1."""
    await play.event(
        "erp.invoice_posted.v1",
        system="erp",
        invoice_id="inv1",
        erp_number="D8",
        erp_state="posted",
        erp_open=usd(total),
        erp_applied=usd(0),
        posting_date=date(2026, 1, 5),
        net=usd(total - 10),
        tax=usd(10),
        total=usd(total),
        taxes=[{"code": "US-CA", "base": usd(total - 10), "amount": usd(10)}],
    )


async def requested(play: Play, amount: int = 40, credit: str = "cr1", settle: bool = True) -> None:
    """An agent asks for a credit on inv1."""
    await play.head("ticket", "t1", title="Down", status="open", requested_by="ann", amount=usd(amount))
    await play.event(
        "support.credit_requested.v1",
        system="support",
        settle=settle,
        credit_id=credit,
        revision=0,
        ticket_id="t1",
        ticket="t1",
        customer_id="cus1",
        invoice_id="inv1",
        amount=usd(amount),
        reason="sla",
        incident_id=f"inc-{credit}",
        incident_on=date(2026, 1, 3),
        requested_by="ann",
    )


async def credit_shown(play: Play, amount: int = 40) -> None:
    await play.event(
        "erp.credit_posted.v1",
        system="erp",
        credit_id="cr1",
        erp_number="D8",
        erp_state="posted",
        posting_date=date(2026, 1, 5),
        total=usd(amount),
        taxes=[],
    )
