"""Steps of the story with money: a payment by card, a dispute that is won, and a payout that the bank shows."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from counterfoil.demo import invoicing
from counterfoil.demo.bank import Movement
from counterfoil.demo.erp.charts import US
from counterfoil.demo.erp.client import local_day
from counterfoil.demo.stage import Act, Await, Do, Stage, money

TRAINING_CENTS = 120_000
DISPUTED_CENTS = 40_000
PAID_OUT_CENTS = 60_000
BANK_FEE = Decimal("12.50")
ON_ACCOUNT = Decimal("250.00")


async def pay_training(stage: Stage) -> str:
    """Issue an invoice for a training, which the customer pays by card at once."""
    await invoicing.one_line(stage, "training", "globex", TRAINING_CENTS, "Training")
    await invoicing.finalize_invoice(stage, "training")
    card = "pm_card_bypassPending"  # its money can be paid out at once
    invoice = await invoicing.pay(stage, "training", {"payment_method": card})
    stage.journal.note("training.charge", invoice["charge"])
    return f"{invoice['number']} over {money(invoice['total'])} USD is {invoice['status']}"


async def receipt_booked(stage: Stage) -> str | None:
    charge = await stage.billing.get(f"charges/{stage.id('training.charge')}")
    foil = await _matched(stage, "payment-in-erp", "payment.received.v1", "payment_id", charge["amount"])
    if foil is None:
        return None
    return f"{money(charge['amount'])} USD, of which the processor keeps {foil['legs']['fee']['amount']} USD as its fee"


async def dispute(stage: Stage) -> str:
    async def ask() -> str:
        values = {"charge": stage.id("training.charge"), "amount": DISPUTED_CENTS}
        return str((await stage.billing.decide("disputes", values))["id"])

    await stage.once("dispute", ask)
    return f"{money(DISPUTED_CENTS)} USD are taken back until it is decided"


async def dispute_held(stage: Stage) -> str | None:
    disputed = (await stage.erp.trial_balance()).get("1070", Decimal(0))
    return f"{disputed} USD on the account of disputes; the invoice stays paid" if disputed else None


async def win(stage: Stage) -> str:
    dispute = await stage.billing.get(f"disputes/{stage.id('dispute')}")
    if dispute["status"] != "won":
        await stage.billing.decide("outcome", {"id": dispute["id"], "status": "won"})
    return "won"


async def dispute_released(stage: Stage) -> str | None:
    if (await stage.erp.trial_balance()).get("1070", Decimal(0)):
        return None
    foils = [foil for foil in await stage.admin.all("foils") if foil["rule"] == "dispute-in-erp"]
    if not foils or {foil["state"] for foil in foils} != {"matched"}:
        return None
    return "the account of disputes is at zero again"


async def pay_out(stage: Stage) -> str:
    async def ask() -> str:
        values = {"amount": PAID_OUT_CENTS, "currency": "usd"}
        return str((await stage.billing.post("payouts", values, once="story/payout"))["id"])

    payout = await stage.billing.get(f"payouts/{await stage.once('payout', ask)}")
    if payout["status"] != "paid":
        await stage.billing.decide("outcome", {"id": payout["id"], "status": "paid"})
    return f"{money(PAID_OUT_CENTS)} USD"


async def payout_booked(stage: Stage) -> str | None:
    foil = await _matched(stage, "payout-in-erp", "payout.changed.v1", "payout_id", PAID_OUT_CENTS)
    books, balance = await stage.erp.trial_balance(), await stage.billing.get("balance")
    rows = [*balance["available"], *balance["pending"]]
    at_processor = money(sum(row["amount"] for row in rows if row["currency"] == "usd"))
    if foil is None or books["1050"] != at_processor:
        return None
    return f"the ledger has {books['1000']} USD at the bank and {at_processor} USD at the processor, as the processor says"


async def close_bank_day(stage: Stage) -> str:
    """Have the bank book the payout, a fee, and a wire that names no invoice. A day that it has closed before an interruption has them already."""
    day = date.fromisoformat(await stage.once("bank.day", _today))
    amount = money(PAID_OUT_CENTS)
    if stage.bank.last_day != day:
        payout = Movement("payout", amount, f"STRIPE TRANSFER {stage.id('payout')}", "STRIPE")
        fee = Movement("fee", -BANK_FEE, "Monthly account fee")
        wire = Movement("wire", ON_ACCOUNT, "On account", "HOOLI TREASURY")
        stage.bank.close_day(day, [payout, fee, wire])
    return (
        f"{amount} USD from the processor, a fee of {BANK_FEE} USD, and a wire of {ON_ACCOUNT} USD without an invoice, "
        "which finance operations must explain"
    )


async def _today() -> str:
    return str(local_day(US.key))


async def payout_at_bank(stage: Stage) -> str | None:
    foil = await stage.foil("payout-at-bank", stage.id("payout"))
    if foil is None or foil["state"] != "matched":
        return None
    return f"{foil['observed']['amount']['amount']} USD, by a line that none of our systems wrote"


async def fee_booked(stage: Stage) -> str | None:
    foils = [foil for foil in await stage.admin.all("foils") if foil["rule"] == "bank-fee-in-erp"]
    if {foil["state"] for foil in foils} != {"matched"}:
        return None
    ledger = (await stage.erp.trial_balance())["1000"]
    return f"the ledger has {ledger} USD at the bank: what the bank says, less the wire of {ON_ACCOUNT} USD"


async def _matched(stage: Stage, rule: str, event: str, id_: str, cents: int) -> dict[str, Any] | None:
    """Return the matched counterfoil of the newest event of this type over an amount."""
    for each in await stage.admin.all("events", type=event):
        if Decimal(each["data"]["amount"]["amount"]) == money(cents):
            foil = await stage.foil(rule, each["data"][id_])
            return foil if foil is not None and foil["state"] == "matched" else None
    return None


ACT = Act("cash", "Money comes in, is disputed, and goes to the bank", [
    Do("A customer pays a training by card", pay_training),
    Await("The ledger has the receipt and the fee", receipt_booked, 120),
    Do("The customer's bank disputes a part of it", dispute),
    Await("The ledger holds the disputed money", dispute_held, 120),
    Do("The bank decides for us", win),
    Await("The disputed money is back", dispute_released, 120),
    Do("The processor pays out to our bank", pay_out),
    Await("The payout is in the ledger", payout_booked, 120),
    Do("The bank's statement arrives", close_bank_day),
    Await("A line of the bank shows the payout", payout_at_bank, 120),
    Await("The fee of the bank is in the ledger", fee_booked, 120),
])  # fmt: skip
