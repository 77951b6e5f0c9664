"""Client of the ERP for the story and the tests: close periods, enter documents, read the books of one company.

It shares no code with the connector on purpose, so that it reads independently of the code under test.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from counterfoil.core.errors import Misconfigured
from counterfoil.demo.erp.charts import PLANS
from counterfoil.demo.erp.prepare import is_of_earlier_version
from counterfoil.demo.local_client import local_client


class ErpError(Exception):
    """Refusal by the ERP, with its HTTP status and its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"the ERP answered {status}: {message}")
        self.status = status
        self.message = message


def local_day(company: str) -> date:
    """Return the present day in the zone of a company, named by the key of its plan (`acme-us`, `acme-de`).

    Documents of one series are numbered in the order of their dates, so a person who enters some takes the company's day.
    """
    zone = next(plan.zone for plan in PLANS if plan.key == company)
    return datetime.now(ZoneInfo(zone)).date()


@dataclass(frozen=True, slots=True)
class CompanyBooks:
    """Books of one company: its key, id and currency, and the codes of the accounts of documents entered by hand.

    `cash` has the codes of the accounts of payments by their names in `charts.CashAccounts`.
    """

    key: str
    company: int
    currency: str
    receivable: str
    revenue: str
    credits: str
    cash: Mapping[str, str]


class ErpClient:
    """Calls to the ERP's REST interface in the name of one person of one company, by an application key."""

    def __init__(self, url: str, database: str, books: CompanyBooks, key: str) -> None:
        self._path = f"/{database}/rest/model"
        self._books = books
        self._company = books.company
        self._context = {"company": books.company, "language": "en"}
        self._http = local_client(
            url,
            timeout=60,
            headers={
                "Authorization": f"bearer {key}",
                "Content-Type": "application/json",
                "Accept": "application/json",
                "X-Tryton-Context": _base64(self._context),
            },
        )

    @classmethod
    def of(
        cls,
        seed: Path | Mapping[str, Any],
        url: str,
        person: str = "controller",
        company: str = "acme-us",
    ) -> ErpClient:
        """Return the client of a seeded user: `controller` (may close periods), `orchestrator` or `reader`.

        `company` is the key of the company that the user works for: `acme-us` or `acme-de`. Raises Misconfigured for an
        ERP that an earlier version prepared.
        """
        content = json.loads(seed.read_text(encoding="utf-8")) if isinstance(seed, Path) else seed
        if is_of_earlier_version(content):
            message = "the ERP was prepared by an earlier version, without the accounts of payments"
            raise Misconfigured(f"{message}: delete its folder, and the next start prepares it again")
        of_company = content["companies"][company]
        stored = {name: of_company[name] for name in CompanyBooks.__slots__ if name != "key"}
        books = CompanyBooks(company, **stored)
        return cls(url, content["database"], books, of_company["users"][person]["key"])

    async def close_period(self, name: str) -> dict[str, Any]:
        """Close the period of this name (`YYYY-MM`) and return its name and state. Raises ErpError."""
        return await self._switch_period(name, "close")

    async def reopen_period(self, name: str) -> dict[str, Any]:
        """Reopen the closed period of this name (`YYYY-MM`) and return its name and state. Raises ErpError.

        Closing a period also closes its journals, so they are reopened too.
        """
        answer = await self._switch_period(name, "reopen")
        ours = [["period.name", "=", name], ["period.company", "=", self._company]]
        closed = [*ours, ["state", "=", "closed"]]
        for journal in await self.search("account.journal.period", closed, ["id"]):
            await self.act("account.journal.period", journal["id"], "reopen")
        return answer

    async def _switch_period(self, name: str, action: str) -> dict[str, Any]:
        periods = await self.search("account.period", [["name", "=", name], self._ours()], ["name", "state"])
        if len(periods) != 1:
            raise ErpError(404, f"there is no period {name}")
        number = periods[0]["id"]
        await self.act("account.period", number, action)
        answer = await self.get("account.period", number, ["name", "state"])
        return {"name": answer["name"], "state": answer["state"]}

    async def periods(self) -> list[dict[str, Any]]:
        """Return every period, oldest first: name, state, start_date, end_date."""
        fields = ["name", "state", "start_date", "end_date"]
        return await self.search("account.period", [self._ours()], fields, [["start_date", "ASC"]])

    async def trial_balance(self, as_of: date | None = None) -> dict[str, Decimal]:
        """Return debit minus credit by account code, of posted lines up to and including `as_of`; company currency."""
        domain: list[Any] = [["move.company", "=", self._company], ["move.state", "=", "posted"]]
        if as_of is not None:
            domain.append(["move.date", "<=", as_of])
        lines = await self.search("account.move.line", domain, ["account.code", "debit", "credit"])
        balance: dict[str, Decimal] = {}
        for line in lines:
            code = line["account"]["code"]
            balance[code] = balance.get(code, Decimal(0)) + line["debit"] - line["credit"]
        return balance

    async def invoices(self, reference: str | None = None) -> list[dict[str, Any]]:
        """Return invoices and credit notes, by ERP id; with `reference`, only those with this reference."""
        domain: list[Any] = [self._ours()]
        if reference is not None:
            domain.append(["reference", "=", reference])
        fields = [
            "number", "reference", "state", "total_amount", "amount_to_pay", "invoice_date", "party.code",
        ]  # fmt: skip
        return await self.search("account.invoice", domain, fields, order=[["id", "ASC"]])

    async def open_items(self, party: str | None = None) -> dict[tuple[str, str], Decimal]:
        """Return the open receivables by party code and currency code, in the currency of the documents.

        With `party`, only those of the party of this code. Receivables that are not reconciled count, credits negative.
        """
        domain: list[Any] = [
            ["move.company", "=", self._company],
            ["move.state", "=", "posted"],
            ["account.type.receivable", "=", True],
            ["reconciliation", "=", None],
        ]
        if party is not None:
            domain.append(["party.code", "=", party])
        fields = ["party.code", "debit", "credit", "amount_second_currency", "second_currency.code"]
        items: dict[tuple[str, str], Decimal] = {}
        for line in await self.search("account.move.line", domain, fields):
            if line["second_currency"]:
                currency, amount = line["second_currency"]["code"], line["amount_second_currency"]
            else:
                currency, amount = self._books.currency, line["debit"] - line["credit"]
            item = (line["party"]["code"], currency)
            items[item] = items.get(item, Decimal(0)) + amount
        return items

    async def tax_return(self, period: str) -> dict[str, Decimal]:
        """Return the amount of each box of the tax return for a period (`YYYY-MM`), in company currency."""
        (of_name,) = await self.search("account.period", [["name", "=", period], self._ours()], ["id"])
        context = {"periods": [of_name["id"]]}
        boxes = await self.search("account.tax.code", [self._ours()], ["code", "amount"], context=context)
        return {box["code"]: box["amount"] for box in boxes}

    async def enter(
        self,
        amount: Decimal,
        party: str,
        reference: str | None = None,
        *,
        currency: str | None = None,
        account: str | None = None,
        tax: str | None = None,
        on: date | None = None,
    ) -> str:
        """Enter and post a document by hand, as an accountant does, and return its number. Raises ErpError.

        `party` is the party's code. A negative net `amount` gives a credit note. Without further arguments the document
        is in the currency of the company, on its account of revenue or credits, without tax. `account` is a code, `tax`
        the name of a tax that the ERP computes, `on` the date of the document instead of today.
        """
        (customer,) = await self.search("party.party", [["code", "=", party]], ["addresses"])
        (journal,) = await self.search("account.journal", [["code", "=", "REV"]], ["id"])
        of_currency = [["code", "=", currency or self._books.currency]]
        (document_currency,) = await self.search("currency.currency", of_currency, ["id"])
        accounts = {
            each["code"]: each["id"]
            for each in await self.search("account.account", [self._ours()], ["code"])
        }
        line = {
            "type": "line", "currency": document_currency["id"],
            "account": accounts[account or (self._books.revenue if amount > 0 else self._books.credits)],
            "description": "Entered by hand", "quantity": 1 if amount > 0 else -1, "unit_price": abs(amount),
        }  # fmt: skip
        if tax is not None:
            (named,) = await self.search("account.tax", [["name", "=", tax], self._ours()], ["id"])
            line["taxes"] = [["add", [named["id"]]]]
        invoice = await self.create("account.invoice", {
            "type": "out", "company": self._company, "party": customer["id"],
            "invoice_address": customer["addresses"][0], "journal": journal["id"],
            "account": accounts[self._books.receivable], "currency": document_currency["id"],
            "reference": reference, "lines": [["create", [line]]], "invoice_date": on or local_day(self._books.key),
        })  # fmt: skip
        await self.act("account.invoice", invoice["id"], "post")
        return str((await self.get("account.invoice", invoice["id"], ["number"]))["number"])

    async def parties(self, code: str | None = None) -> list[dict[str, Any]]:
        """Return parties by ERP id; with `code`, only the party of this code."""
        domain: list[Any] = [["code", "=", code]] if code is not None else []
        return await self.search("party.party", domain, ["code", "name"], order=[["id", "ASC"]])

    async def search(
        self,
        model: str,
        domain: Sequence[Any],
        fields: Sequence[str],
        order: Sequence[Any] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """Return the records that match a domain, with the ERP's field names. `context` adds to that of the company."""
        params = [("d", _base64(domain)), *(("f", field) for field in fields)]
        if order is not None:
            params.append(("o", _base64(order)))
        answer: list[dict[str, Any]] = await self._call("GET", f"/{model}", params=params, context=context)
        return answer

    async def get(self, model: str, number: int, fields: Sequence[str]) -> dict[str, Any]:
        params = [("f", field) for field in fields]
        answer: dict[str, Any] = await self._call("GET", f"/{model}/{number}", params=params)
        return answer

    async def create(self, model: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Create a record and return its id and name."""
        answer: dict[str, Any] = await self._call("POST", f"/{model}", body=values)
        return answer

    async def write(self, model: str, number: int, values: Mapping[str, Any]) -> dict[str, Any]:
        """Change a record and return its id and name."""
        answer: dict[str, Any] = await self._call("PUT", f"/{model}/{number}", body=values)
        return answer

    async def act(self, model: str, number: int, action: str) -> Any:
        return await self._call("POST", f"/{model}/{number}/{action}", body={})

    async def _call(
        self,
        method: str,
        path: str,
        params: Sequence[tuple[str, str]] = (),
        body: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Any:
        content = None if body is None else json.dumps(body, default=_encode).encode()
        headers = {} if context is None else {"X-Tryton-Context": _base64({**self._context, **context})}
        answer = await self._http.request(
            method, self._path + path, params=list(params), content=content, headers=headers
        )
        if answer.status_code >= 400:
            try:
                message = json.loads(answer.content)["message"]
            except (ValueError, KeyError, TypeError):
                message = answer.text[:300]
            raise ErpError(answer.status_code, message)
        if not answer.content:
            return None
        return json.loads(answer.content, object_hook=_decode, parse_float=Decimal)

    def _ours(self) -> list[Any]:
        return ["company", "=", self._company]

    async def __aenter__(self) -> ErpClient:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._http.aclose()


def _base64(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value, default=_encode).encode()).decode()


def _encode(value: Any) -> dict[str, Any]:
    if isinstance(value, Decimal):
        return {"__class__": "Decimal", "decimal": str(value)}
    if isinstance(value, date) and not isinstance(value, datetime):
        return {"__class__": "date", "year": value.year, "month": value.month, "day": value.day}
    raise TypeError(f"{type(value).__name__} cannot be sent in an ERP request")


def _decode(value: dict[str, Any]) -> Any:
    kind = value.get("__class__")
    if kind == "Decimal":
        return Decimal(value["decimal"])
    if kind == "date":
        return date(value["year"], value["month"], value["day"])
    if kind == "datetime":
        parts = ("year", "month", "day", "hour", "minute", "second", "microsecond")
        return datetime(*(value[part] for part in parts))  # noqa: DTZ001 - the ERP sends naive UTC
    return value
