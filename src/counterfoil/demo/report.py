"""Closing tables of the story, and the guide: the work that is left, how to request a credit, who can sign in."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlencode

from rich.table import Column, Table

from counterfoil.demo.erp.prepare import DATABASE
from counterfoil.demo.people import ENTITIES, Member
from counterfoil.demo.stage import Stage, was_unknown

SYSTEMS = ("billing", "erp", "support")
UNFINISHED = ("provisional", "open", "partly", "broken", "over")
"""States of a counterfoil whose difference the overview sums."""


async def tables(stage: Stage) -> list[Table]:
    runs = sorted(await stage.admin.all("runs"), key=lambda run: str(run["created_at"]))
    traces = await asyncio.gather(*(stage.admin.get(f"runs/{run['id']}") for run in runs))
    foils = await stage.admin.all("foils")
    cases = await stage.admin.all("cases")
    return [_runs(traces), _effects(traces), _foils(foils), _cases(cases)]


def _runs(traces: Iterable[Mapping[str, Any]]) -> Table:
    columns = (_id_column("Run"), "workflow", "state", "status", *SYSTEMS)
    table = Table(*columns, title="Runs", title_justify="left")
    for trace in traces:
        run = trace["run"]
        ids = _ids(trace)
        status = run["status"] if run["direction"] == "forward" else f"{run['status']} ({run['direction']})"
        table.add_row(run["id"], run["workflow"], run["state"], status, *(ids[system] for system in SYSTEMS))
    return table


def _ids(trace: Mapping[str, Any]) -> dict[str, str]:
    """Return the names of the Run's document in each system: ids of Links, and the numbers that people use."""
    ids: dict[str, dict[str | None, None]] = {system: {} for system in SYSTEMS}
    start = trace["start"]
    if start is not None and start["system"] == "support":
        ids["support"][f"ticket {start['key']}"] = None
    for link in trace["links"]:
        system = _part(link["system"])
        if link["canonical"] == trace["run"]["key"] and system in ("billing", "erp"):
            id = link["ext_id"]
            ids[system][f"#{id}" if id.isdecimal() else id] = None
    if start is not None and _part(start["system"]) in ids:
        ids[_part(start["system"])][start["data"].get("number")] = None
    for effect in trace["effects"]:
        if _part(effect["system"]) in ids:
            ids[_part(effect["system"])][(effect["result"] or {}).get("number")] = None
    return {system: " ".join(name for name in names if name) for system, names in ids.items()}


def _part(system: str) -> str:
    """Return the system whose part another one plays in its legal entity: `billing` for `billing-de`."""
    return system.partition("-")[0]


def _effects(traces: Iterable[Mapping[str, Any]]) -> Table:
    table = Table(
        _id_column("Run"), "operation", "system", "state", "sent", "looked up", "result or refusal",
        title="Effects", title_justify="left",
    )  # fmt: skip
    for trace in traces:
        for effect in trace["effects"]:
            result = effect["result"] or {}
            outcome = effect["error"] or ", ".join(
                f"{name} {_plain(value)}"
                for name, value in result.items()
                if name in ("number", "total", "applied", "status", "party", "ticket")
            )
            undo = " (undo)" if effect["undoes"] else ""
            table.add_row(
                trace["run"]["id"], effect["operation"] + undo, effect["system"], effect["state"],
                str(effect["attempt"]), "yes" if was_unknown(trace, effect["id"]) else "", outcome[:100],
            )  # fmt: skip
    return table


def _id_column(title: str) -> Column:
    """Return a column for ids. People copy them, so they must not be cut."""
    return Column(title, overflow="fold", min_width=30)


def _plain(value: Any) -> str:
    return f"{Decimal(value['amount']):,f} {value['currency']}" if isinstance(value, dict) else str(value)


def _foils(foils: Iterable[Mapping[str, Any]]) -> Table:
    """Return the counterfoils by rule and state, with their gross amounts and, as on the overview, what is missing."""
    rows: dict[tuple[str, str, str, str], tuple[int, Decimal, Decimal]] = {}
    for foil in foils:
        leg = "gross" if "gross" in foil["legs"] else next(iter(foil["legs"]))
        asserted, residual = foil["legs"][leg], foil["residual"].get(leg)
        key = (foil["rule"], foil["state"], foil["finance"], asserted["currency"])
        count, total, missing = rows.get(key, (0, Decimal(0), Decimal(0)))
        if residual and foil["state"] in UNFINISHED:
            missing += abs(Decimal(residual["amount"]))
        rows[key] = (count + 1, total + Decimal(asserted["amount"]), missing)
    columns = ("rule", "state", "finance says", "count", _amount_column("amount"), _amount_column("missing"))
    table = Table(*columns, title="Counterfoils", title_justify="left")
    for (rule, state, finance, currency), (count, total, missing) in sorted(rows.items()):
        table.add_row(
            rule,
            state,
            finance,
            str(count),
            f"{total:,f} {currency}",
            f"{missing:,f} {currency}" if missing else "",
        )
    return table


def _amount_column(title: str) -> Column:
    return Column(title, justify="right")


def _cases(cases: Iterable[Mapping[str, Any]]) -> Table:
    columns = ("customer, document", "what happened", "owner", "state", "resolved", _id_column("Case"))
    table = Table(*columns, title="Cases", title_justify="left")
    for case in cases:
        resolved = (
            " by ".join(filter(None, (case["choice"], case["resolved_by"]))) if case["resolved_at"] else ""
        )
        names = ", ".join(dict.fromkeys(filter(None, (case["customer"], case["name"]))))
        table.add_row(names, case["summary"][:120], case["owner"], case["state"], resolved, case["id"])
    return table


@dataclass(frozen=True)
class Addresses:
    """Addresses of the server, the help desk's pages, and the ERP; the first and the last without a final slash."""

    counterfoil: str
    desk: str
    erp: str


async def guide(stage: Stage, addresses: Addresses) -> list[str]:
    """Return the lines that say what work is left, how to request a credit, and where to sign in."""
    approvals = await stage.admin.all("approvals", state="open")
    cases = await stage.admin.all("cases", state="open")
    items = await stage.admin.all("unmatched")
    unsettled = [foil for state in ("open", "broken") for foil in await stage.admin.all("foils", state=state)]
    states = Counter(foil["state"] for foil in unsettled)
    work = [
        ("open approval", len(approvals), "approvals"),
        ("open Case", len(cases), "cases"),
        ("open counterfoil", states["open"], "foils?state=open"),
        ("broken counterfoil", states["broken"], "foils?state=broken"),
        ("unmatched item", len(items), "unmatched"),
    ]
    return [
        "",
        "Work that is left; Fiona Finance sees all of it, and Lena Lead decides small credits:",
        *(
            f"  {count:3} {name + 's' * (count != 1):20} {addresses.counterfoil}/{page}"
            for name, count, page in work
        ),
        "",
        "Request a credit:",
        f"  1. Sign in to the help desk as agent: {addresses.desk}",
        f"  2. Open this form, which is filled in, and press Submit New Entry: {request_form(stage, addresses.desk)}",
        f"  3. Sign in to Counterfoil as Lena Lead and approve the credit: {addresses.counterfoil}/approvals",
        f"  4. Follow its Run, the newest one: {addresses.counterfoil}/runs",
        "",
        "Sign in:",
        f"  Counterfoil  {addresses.counterfoil}  with e-mail and password",
        f"  help desk    {addresses.desk}  with user name and password",
        f"  ERP          {addresses.erp}  with user name and password, only in the Tryton client 8.0, database {DATABASE}",
    ]


def request_form(stage: Stage, desk: str) -> str:
    """Return the address of the help desk's form for a new ticket, with a credit request filled in."""
    fields = {
        "@template": "item", "title": "Credit for a slow week", "priority": "urgent", "status": "credit-requested",
        "case_kind": "service_credit", "account_ref": stage.journal.notes.get("northwind.customer", ""),
        "invoice_ref": stage.journal.notes.get("northwind.invoice", ""), "credit_amount": "25.00",
        "credit_currency": "USD", "credit_reason": "sla",
    }  # fmt: skip
    return f"{desk}issue?{urlencode(fields, safe='@', quote_via=quote)}"


def entrance(persons: Iterable[Member]) -> Table:
    """Return the table of sign-ins: names and passwords."""
    table = Table("person", "role", "acts for", "e-mail", "user name", "password")
    for member in persons:
        companies = ", ".join(ENTITIES.get(member.id, ())) or "both companies"
        table.add_row(member.name, member.role, companies, member.email, member.id, member.password)
    return table
