"""Client of the ERP for the story and the tests: close periods, read the books.

It shares no code with the connector on purpose, so that it reads independently of the code under test.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2


class ErpError(Exception):
    """Refusal by the ERP, with its HTTP status and its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"the ERP answered {status}: {message}")
        self.status = status
        self.message = message


class ErpClient:
    """Calls to the ERP's REST interface in the name of one person, by an application key."""

    def __init__(self, url: str, database: str, company: int, key: str) -> None:
        self._path = f"/{database}/rest/model"
        self._company = company
        context = base64.urlsafe_b64encode(json.dumps({"company": company, "language": "en"}).encode())
        self._http = httpx2.AsyncClient(
            base_url=url,
            timeout=60,
            trust_env=False,
            headers={
                "Authorization": f"bearer {key}",
                "Content-Type": "application/json",
                "Accept": "application/json",
                "X-Tryton-Context": context.decode(),
            },
        )

    @classmethod
    def of(cls, seed: Path | Mapping[str, Any], url: str, person: str = "controller") -> ErpClient:
        """Return the client of a seeded user: `controller` (may close periods), `orchestrator` or `reader`."""
        content = json.loads(seed.read_text(encoding="utf-8")) if isinstance(seed, Path) else seed
        return cls(url, content["database"], content["company"], content["users"][person]["key"])

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

    async def enter(self, amount: Decimal, party: str, reference: str | None = None) -> str:
        """Enter and post a document in US dollars by hand, as an accountant does, and return its number.

        `party` is the party's code. A negative amount gives a credit note. The document has no tax. Raises ErpError.
        """
        (customer,) = await self.search("party.party", [["code", "=", party]], ["addresses"])
        (journal,) = await self.search("account.journal", [["code", "=", "REV"]], ["id"])
        (currency,) = await self.search("currency.currency", [["code", "=", "USD"]], ["id"])
        accounts = {
            account["code"]: account["id"]
            for account in await self.search("account.account", [self._ours()], ["code"])
        }
        line = {
            "type": "line", "currency": currency["id"], "account": accounts["4000" if amount > 0 else "4800"],
            "description": "Entered by hand", "quantity": 1 if amount > 0 else -1, "unit_price": abs(amount),
        }  # fmt: skip
        invoice = await self.create("account.invoice", {
            "type": "out", "company": self._company, "party": customer["id"],
            "invoice_address": customer["addresses"][0], "journal": journal["id"], "account": accounts["1200"],
            "currency": currency["id"], "reference": reference, "lines": [["create", [line]]],
        })  # fmt: skip
        await self.act("account.invoice", invoice["id"], "post")
        return str((await self.get("account.invoice", invoice["id"], ["number"]))["number"])

    async def parties(self, code: str | None = None) -> list[dict[str, Any]]:
        """Return parties by ERP id; with `code`, only the party of this code."""
        domain: list[Any] = [["code", "=", code]] if code is not None else []
        return await self.search("party.party", domain, ["code", "name"], order=[["id", "ASC"]])

    async def search(
        self, model: str, domain: Sequence[Any], fields: Sequence[str], order: Sequence[Any] | None = None
    ) -> list[dict[str, Any]]:
        """Return the records that match a domain, with the ERP's field names."""
        params = [("d", _base64(domain)), *(("f", field) for field in fields)]
        if order is not None:
            params.append(("o", _base64(order)))
        answer: list[dict[str, Any]] = await self._call("GET", f"/{model}", params=params)
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
    ) -> Any:
        content = None if body is None else json.dumps(body, default=_encode).encode()
        answer = await self._http.request(method, self._path + path, params=list(params), content=content)
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
