"""What is left after a week: the documents and books of the systems, the rows of the server, and the faults that were played."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from counterfoil.core.clock import utc_now
from counterfoil.demo.billing import BillingClient
from counterfoil.demo.erp.client import ErpClient
from counterfoil.demo.operators import Operator
from counterfoil.demo.proxy import Proxy
from counterfoil.model import read
from counterfoil.store import check
from counterfoil.store.sql.sqlite import SqliteStore
from tests.companies.acme import Company
from tests.companies.books import (
    KEYS,
    RULES,
    Billed,
    Books,
    Entry,
    Totals,
    billed,
    books,
    differences,
    documents,
    entries,
    plus,
    total,
)
from tests.patience import PATIENCE_SECONDS
from tests.scenario.week_plan import CANCELLED, Plan
from tests.scenario.week_play import Player
from tests.served import until

LOOK_SECONDS = 2.0
LARGE_MINOR = 1_000_000
"""Largest payout by a person, in cents of dollars and of euro, that finance need not look at."""
ENDED = ("done", "undone", "closed")


@dataclass(frozen=True)
class Account:
    """Billing account and books of one legal entity."""

    billed: Billed
    voided_late: list[dict[str, Any]]
    """Invoices of billing that were voided after their posting, by the plan."""
    cancelled: list[dict[str, Any]]
    """Invoices of billing that a person has cancelled in the ERP."""
    documents: list[dict[str, Any]]
    unposted: list[dict[str, Any]]
    """Customer documents of the ERP without an entry."""
    applications: list[str]
    """Descriptions of the entries that apply a credit memo: `[CREDIT/application/INVOICE] CN-1 applied to INV-1 [effect]`."""
    entries: list[Entry]
    trial_balance: dict[str, Decimal]
    receivable: str
    cash: dict[str, str]
    """Codes of the accounts of payments by their names in the books of the company."""
    processor: Totals
    """What the processor has: available and pending, by currency."""
    lost: Totals
    """Disputes that were lost."""
    sent: Totals
    """Payouts that did not fail, and transfers of customers."""
    looked_at: int
    """Payouts by a person that are so large that finance looks at each."""
    books: Books


@dataclass(frozen=True)
class Week:
    """Everything that the proof reads."""

    plan: Plan
    numbers: dict[str, str]
    accounts: dict[str, Account]
    parties: list[str]
    tickets: list[dict[str, Any]]
    forward: dict[str, Any]
    runs: list[dict[str, Any]]
    foils: list[dict[str, Any]]
    unmatched: list[dict[str, Any]]
    open_cases: list[dict[str, Any]]
    approvals: list[dict[str, Any]]
    usage: list[dict[str, Any]]
    repeats: list[dict[str, Any]]
    usage_rows: int
    problems: list[str]
    """Violations that the check of the store reports."""
    entered: list[str]
    """Numbers of the documents that were entered in the ERP by hand."""
    done: Counter[str]
    billing_faults: Counter[tuple[str, str]]
    faults: Counter[str]


async def play(systems: Company, plan: Plan) -> Week:
    """Play a week, wait until nothing is left to do, and read everything."""
    async with Proxy(systems.erp.port) as proxy:
        player = Player(systems, plan, proxy)
        async with player.running():
            await player.play()
            await _until_settled(player)
            async with player.operator() as admin:
                rows = {name: await admin.all(name) for name in ("runs", "foils", "unmatched", "approvals")}
                open_cases = await admin.all("cases", state="open")
                forward = await _forward(admin)
        faults = player.faults + Counter({
            "lost answer of the ERP": proxy.counts.lost,
            "repeated callback": sum(b" 202 " in line for line in player.gateway.repeats),
        })  # fmt: skip
    usage_rows, problems = await _checked(player)
    async with systems.of_erp() as erp:
        parties = [party["name"] for party in await erp.parties()]
    return Week(
        plan=plan,
        numbers=player.numbers,
        accounts={entity: await _account(player, entity) for entity in KEYS},
        parties=parties,
        tickets=[await systems.ticket(player.ids[act.name]) for act in plan.of("credit")],
        forward=forward,
        open_cases=open_cases,
        **rows,
        usage=player.usage,
        repeats=player.repeats,
        usage_rows=usage_rows,
        problems=problems,
        entered=player.entered,
        done=player.done,
        billing_faults=await asyncio.to_thread(player.billing_faults),
        faults=faults,
    )


async def _account(player: Player, entity: str) -> Account:
    systems = player.systems
    company = systems.erp_seed["companies"][entity]
    async with BillingClient(systems.twin.url, KEYS[entity]) as billing:
        lists = await billed(billing)
        balance = await billing.get("balance")
        disputes, payouts = await billing.all("disputes"), await billing.all("payouts")
    transfers = {
        currency: sum((wire.amount for wire in wires if wire.kind == "wire"), Decimal(0))
        for (of, currency), wires in player.wires.items()
        if of == entity
    }
    async with systems.of_erp(company=entity) as erp:
        return Account(
            lists,
            *(
                [invoice for invoice in lists.invoices if invoice["number"] in player.numbers_of(fate)]
                for fate in ("void", CANCELLED)
            ),
            await documents(erp, company["company"]),
            await erp.search(
                "account.invoice", [["company", "=", company["company"]], ["move", "=", None]], ["reference"]
            ),
            await _applications(erp, company["company"]),
            await entries(erp, company["company"], company["currency"]),
            await erp.trial_balance(),
            company["receivable"],
            company["cash"],
            total((row["currency"], row["amount"]) for row in (*balance["available"], *balance["pending"])),
            total((d["currency"], d["amount"]) for d in disputes if d["status"] == "lost"),
            plus(
                (1, total((p["currency"], p["amount"]) for p in payouts if p["status"] == "paid")),
                (1, transfers),
            ),
            sum(p["status"] == "paid" and not p["automatic"] and p["amount"] > LARGE_MINOR for p in payouts),
            await books(systems, entity),
        )


async def _applications(erp: ErpClient, company: int) -> list[str]:
    domain = [["company", "=", company], ["description", "ilike", "% applied to %"]]
    return [str(move["description"]) for move in await erp.search("account.move", domain, ["description"])]


async def _forward(admin: Operator) -> dict[str, Any]:
    return {name: await admin.get(f"reconciliations/{name}/roll-forward") for name in RULES}


async def _checked(player: Player) -> tuple[int, list[str]]:
    """Open the store of the server that has ended. Return its rows of usage, and the violations in it."""
    model, _ = read(player.folder)
    irreversible = {name for name, operation in model.operations.items() if operation.irreversible}
    store = await SqliteStore.open(player.store)
    try:
        return len((await store.dump()).usage), await check.check(store, utc_now(), irreversible)
    finally:
        await store.close()


# ------------------------------------------------------------------ until nothing is left to do


async def _until_settled(player: Player) -> None:
    """Wait until every act has had its effect in every system. Raises AssertionError with what is missing."""
    missing: list[str] = []

    async def look() -> bool:
        nonlocal missing
        await asyncio.sleep(LOOK_SECONDS)
        missing = await _missing(player)
        return not missing

    async def state() -> str:
        return "\n".join([*missing, await player.report()])

    await until("the end of the week", look, 2 * PATIENCE_SECONDS, state)


async def _missing(player: Player) -> list[str]:
    """Return what still has to happen, first what costs little to read."""
    async with player.operator() as admin:
        cases = await admin.all("cases", state="open")
        owned = {case["run"] for case in cases} | {case["foil"] for case in cases}
        # What billing voided after its posting is cancelled when finance agrees, which it does later.
        owned |= {
            row["run"]
            for row in await admin.all("approvals", state="open")
            if row["policy"] == "invoice-void"
        }
        of_foils = {foil["run"] for foil in await admin.all("foils") if foil["id"] in owned}
        unowned = [
            f"run {run['workflow']} {run['name']} {run['state']}: {run['waits_for']}"
            for run in await admin.all("runs")
            if run["status"] not in ENDED and run["id"] not in owned | of_foils
        ]
        if unowned:
            return unowned
        forward = await _forward(admin)
    missing = [line for e in KEYS for line in differences(await books(player.systems, e), forward, e)]
    async with player.systems.of_erp() as erp:
        names = {party["name"] for party in await erp.parties()}
    missing += [f"customer {name}" for name in player.texts.values() if name not in names]
    credits = player.plan.of("credit")
    statuses = [(await player.systems.ticket(player.ids[act.name]))["status"] for act in credits]
    missing += [
        f"ticket {act.name} {s}" for act, s in zip(credits, statuses, strict=True) if s != "credit-posted"
    ]
    if len([case for case in cases if case["foil"]]) < len(player.numbers_of("void")):
        missing.append("Cases of invoices that were voided after their posting")
    return missing
