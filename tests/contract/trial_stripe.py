"""Samples of the conformance suite for the Stripe connector: on the twin, in a process of its own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from counterfoil.connectors import signature
from counterfoil.connectors.conformance import OperationSample, Samples
from counterfoil.connectors.sdk import Connector, Request, SystemConfig
from counterfoil.connectors.stripe import connect
from tests.contract.stripe_twin_process import KEY, Twin, running_twin

HOLD_FIELD = "counterfoil_hold_" + sha256(b"CR-1").hexdigest()[:16]
HOOK_SECRET = "whsec_for_tests_only"
COLLECT, GIVE_UP = "billing.invoice.collect", "billing.invoice.mark_uncollectible"
RESTRICT, SUSPEND, RESUME = (f"billing.subscription.{verb}" for verb in ("restrict", "suspend", "resume"))
ADJUST, RESTORE, HOLD, RELEASE = (
    f"billing.invoice.{verb}" for verb in ("adjust", "restore", "hold", "release")
)
ISSUE, VOID, DEBIT = "billing.credit_memo.issue", "billing.credit_memo.void", "billing.debit_memo.issue"


def config_of(twin: Twin, settings: Mapping[str, Any] | None = None) -> SystemConfig:
    secrets = {"api_key": KEY, "webhook_secret": HOOK_SECRET}
    return SystemConfig("billing", twin.url, settings={"loopback": True, **(settings or {})}, secrets=secrets)


def body(**fields: Any) -> bytes:
    return json.dumps(fields, sort_keys=True).encode()


def post(twin: Twin, path: str, **form: Any) -> Any:
    return twin.json("POST", path, urlencode(form))


def customer(twin: Twin) -> str:
    return str(post(twin, "/v1/customers", name="Acme", payment_method="pm_card_visa",
                    **{"invoice_settings[default_payment_method]": "pm_card_visa"})["id"])  # fmt: skip


def draft_invoice(twin: Twin, who: str, amount: int = 10_000) -> str:
    """Return a draft with one line that the vendor would finalize in an hour."""
    id = str(post(twin, "/v1/invoices", customer=who, currency="eur", auto_advance="true")["id"])
    post(twin, "/v1/invoiceitems", customer=who, invoice=id, currency="eur", amount=amount)
    return id


def open_invoice(twin: Twin, who: str, amount: int = 10_000, lines: int = 1) -> str:
    id = str(post(twin, "/v1/invoices", customer=who, currency="eur")["id"])
    form = {f"lines[{n}][{name}]": value for n in range(lines)
            for name, value in (("amount", amount), ("description", f"line {n}"))}  # fmt: skip
    post(twin, f"/v1/invoices/{id}/add_lines", **form)
    post(twin, f"/v1/invoices/{id}/finalize")
    return id


def subscription(twin: Twin, who: str) -> str:
    prices = twin.json("GET", "/v1/prices")["data"]
    if not prices:
        post(twin, "/v1/products", id="cloud", name="Plan")
        prices = [post(twin, "/v1/prices", product="cloud", currency="eur", unit_amount=500, lookup_key="team",
                       **{"recurring[interval]": "month"})]  # fmt: skip
    form = {"items[0][price]": prices[0]["id"]}
    return str(post(twin, "/v1/subscriptions", customer=who, **form)["id"])


def charged(twin: Twin, card: str = "pm_card_bypassPending", amount: int = 10_000, **form: Any) -> str:
    """Return the id of the charge of a payment without an invoice."""
    form = {"amount": amount, "currency": "eur", "payment_method": card, "confirm": "true", **form}
    return str(post(twin, "/v1/payment_intents", **form)["latest_charge"])


@asynccontextmanager
async def stripe_twin(folder: Path) -> AsyncIterator[tuple[Connector, Samples]]:
    """The connector and its samples on a fresh twin."""
    with running_twin(folder / "twin.sqlite") as twin:
        config = config_of(twin, {"events": ["credit_note.voided", "product.created"]})
        yield connect(config), samples_of(twin, config)


def samples_of(twin: Twin, config: SystemConfig) -> Samples:
    who = customer(twin)
    invoice = open_invoice(twin, who, 900_000)
    subscription(twin, who)
    charge = charged(twin)
    refund = post(twin, "/v1/refunds", charge=charge, amount=100)["id"]
    dispute = twin.control("POST", "disputes", {"charge": charge, "amount": 200})["id"]
    payout = post(twin, "/v1/payouts", amount=300, currency="eur")["id"]

    def notes_with(key: str) -> list[Any]:
        notes = twin.json("GET", f"/v1/credit_notes?invoice={invoice}&limit=100")["data"]
        return [note for note in notes if note["metadata"].get("counterfoil_key") == key]

    async def memo() -> bytes:
        return body(invoice=invoice, amount=100, currency="eur", reason="order_change", memo="SLA")

    async def too_much() -> bytes:
        return body(invoice=invoice, amount=900_001, currency="eur")

    async def memos(request: Request) -> int:
        return len(notes_with(request.key))

    async def voidable() -> bytes:
        return body(credit_memo=post(twin, "/v1/credit_notes", invoice=invoice, amount=100)["id"])

    async def no_memo() -> bytes:
        return body(credit_memo="cn_none")

    async def voided(request: Request) -> int:
        note = twin.json("GET", f"/v1/credit_notes/{json.loads(request.body)['credit_memo']}")
        return int(note["status"] == "void")

    async def debit() -> bytes:
        return body(customer=who, amount=250, currency="EUR", description="Reversal")

    async def other_currency() -> bytes:
        return body(customer=who, amount=250, currency="usd")

    async def debits(request: Request) -> int:
        rows = twin.json("GET", f"/v1/customers/{who}/balance_transactions?limit=100")["data"]
        return sum(row["metadata"].get("counterfoil_key") == request.key for row in rows)

    async def collectable() -> bytes:
        return body(invoice=open_invoice(twin, who), payment_method="pm_card_visa")

    async def declined() -> bytes:
        return body(invoice=open_invoice(twin, who), payment_method="pm_card_chargeDeclinedLostCard")

    async def charges(request: Request) -> int:
        intent = twin.json("GET", f"/v1/invoices/{json.loads(request.body)['invoice']}")["payment_intent"]
        rows = twin.json("GET", f"/v1/charges?payment_intent={intent}")["data"]
        return sum(row["metadata"].get("counterfoil_key") == request.key and row["paid"] for row in rows)

    async def overdue() -> bytes:
        return body(invoice=open_invoice(twin, who), amount=10_000, currency="EUR")

    async def other_amount() -> bytes:
        return body(invoice=open_invoice(twin, who), amount=9_999, currency="EUR")

    async def given_up(request: Request) -> int:
        return int(
            twin.json("GET", f"/v1/invoices/{json.loads(request.body)['invoice']}")["status"]
            == "uncollectible"
        )

    async def served() -> bytes:
        return body(subscription=subscription(twin, who))

    async def no_service() -> bytes:
        return body(subscription="sub_none")

    async def changes(request: Request) -> int:
        metadata = twin.json("GET", f"/v1/subscriptions/{json.loads(request.body)['subscription']}")[
            "metadata"
        ]
        return int(request.key in metadata.values())

    async def adjustable() -> bytes:
        return body(invoice=draft_invoice(twin, who), credit="CR-1", amount=2_500, currency="EUR", taxed=True)

    async def finalized() -> bytes:
        return body(invoice=invoice, credit="CR-1", amount=2_500, currency="EUR")

    async def adjustments(request: Request) -> int:
        rows = twin.json("GET", f"/v1/invoices/{json.loads(request.body)['invoice']}")["lines"]["data"]
        return sum(row["metadata"].get("counterfoil_key") == request.key for row in rows)

    async def draft() -> bytes:
        return body(invoice=draft_invoice(twin, who), credit="CR-1")

    async def adjusted() -> bytes:
        id = draft_invoice(twin, who)
        line = {"lines[0][amount]": -2_500, "lines[0][metadata][counterfoil_credit]": "CR-1"}
        post(twin, f"/v1/invoices/{id}/add_lines", **line)
        return body(invoice=id, credit="CR-1")

    async def restored(request: Request) -> int:
        return int(
            len(twin.json("GET", f"/v1/invoices/{json.loads(request.body)['invoice']}")["lines"]["data"]) == 1
        )

    async def no_draft() -> bytes:
        return body(invoice=invoice, credit="CR-1")

    async def no_invoice() -> bytes:
        return body(invoice="in_none", credit="CR-1")

    async def holds(request: Request) -> int:
        row = twin.json("GET", f"/v1/invoices/{json.loads(request.body)['invoice']}")
        return int(request.key in row["metadata"].values() and not row["auto_advance"])

    async def held_draft() -> bytes:
        id = draft_invoice(twin, who)
        hold = {"auto_advance": "false", f"metadata[{HOLD_FIELD}]": "key"}
        post(twin, f"/v1/invoices/{id}", **hold)
        return body(invoice=id, credit="CR-1")

    async def releases(request: Request) -> int:
        row = twin.json("GET", f"/v1/invoices/{json.loads(request.body)['invoice']}")
        return int(row["metadata"] == {} and row["auto_advance"])

    async def touch() -> None:
        post(twin, "/v1/products", name="Something new")

    now = datetime.now(UTC)
    event = body(id="evt_1", object="event", type="invoice.paid", created=int(now.timestamp()),
                 data={"object": {"id": "in_1", "object": "invoice"}})  # fmt: skip
    memo_reads = post(twin, "/v1/credit_notes", invoice=invoice, amount=1)["id"]
    return Samples(
        connect=connect,
        config=config,
        operations={
            ISSUE: OperationSample(memo, too_much, ["id", "number", "total"], memos),
            VOID: OperationSample(voidable, no_memo, ["id", "status"], voided),
            DEBIT: OperationSample(debit, other_currency, ["id", "amount"], debits),
            COLLECT: OperationSample(collectable, declined, ["charge", "status"], charges),
            GIVE_UP: OperationSample(overdue, other_amount, ["id", "status"], given_up),
            ADJUST: OperationSample(adjustable, finalized, ["invoice", "amount"], adjustments),
            RESTORE: OperationSample(adjusted, no_invoice, ["invoice", "credit"], restored),
            HOLD: OperationSample(draft, no_draft, ["invoice", "holds"], holds),
            RELEASE: OperationSample(held_draft, no_invoice, ["invoice", "advances"], releases),
            **{
                name: OperationSample(served, no_service, ["subscription", "service"], changes)
                for name in (RESTRICT, SUSPEND, RESUME)
            },
        },
        reads=[
            ("billing.invoice.get", {"id": invoice}),
            ("billing.credit_memo.get", {"id": memo_reads}),
            ("billing.customer.get", {"id": who}),
            ("billing.invoice.list", {"customer": who}),
            ("billing.payment.get", {"id": charge}),
            ("billing.refund.get", {"id": refund}),
            ("billing.dispute.get", {"id": dispute}),
            ("billing.payout.get", {"id": payout}),
            ("billing.balance.get", {}),
            ("billing.customer_balance.list", {"customer": who}),
            ("billing.attempt.get", {"id": invoice}),
            ("billing.collection.get", {"invoice": invoice}),
        ],
        delivery=(signature.sign("stripe-v1", HOOK_SECRET, event, now), event, now),
        signed="stripe-signature",
        touch=touch,
    )
