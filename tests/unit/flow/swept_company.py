"""A company of two systems whose books are listed, with workers that admit and sweep, under a clock that tests move."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from counterfoil.connectors import sdk
from counterfoil.core import wire
from counterfoil.core.matching import FoilState
from counterfoil.core.sweep import Sweep
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.gateway.system_reads import SystemReader
from counterfoil.flow.intake.admit import Admitter
from counterfoil.flow.intake.receive import receive_page
from counterfoil.flow.worker import sweeps
from counterfoil.flow.worker.book_checkpoints import BookCheckpoints
from counterfoil.flow.worker.sweep_requests import request_of
from counterfoil.flow.worker.sweeps import SweepReader
from counterfoil.model import Model
from counterfoil.store.sql.sqlite import SqliteStore
from tests.companies.base import COMPLETE_POLICY, documents
from tests.companies.limiter import AskingLimiter
from tests.unit.rules.driver import MONDAY, System, model_of

_GOVERNANCE = """\
{kind: role, name: finance}
---
{kind: system, name: bills, role: billing, connector: external, owner: finance}
---
{kind: system, name: ledger, role: erp, connector: external, owner: finance, sweeps: {entries: {every: 1d}}}
---
{kind: object, name: invoice, system: bills, fields: {status: string, total: money}}
---
{kind: object, name: entry, system: ledger, fields: {status: string, total: money}}
---
{kind: object, name: period, system: ledger, fields: {status: string}}
---
{kind: event, name: invoice.seen.v1, object: invoice, data: {invoice_id: id, status: string, total: money}}
---
{kind: event, name: entry.seen.v1, object: entry, data: {entry_id: id, invoice_id: id, status: string, total: money}}
---
{kind: event, name: period.seen.v1, object: period, data: {period_id: id, status: string}}
---
kind: mapping
name: bills-invoice
from: {system: bills, type: invoice}
emit:
  type: invoice.seen.v1
  key: =body.id
  version: =body.version
  data: {invoice_id: =body.id, status: =body.status, total: "=minor(body.total, 'USD')"}
---
kind: mapping
name: ledger-entry
from: {system: ledger, type: [entry, entry.*]}
emit:
  type: entry.seen.v1
  key: =body.id
  version: =body.version
  data: {entry_id: =body.id, invoice_id: =body.of, status: =body.status, total: "=minor(body.total, 'USD')"}
---
kind: mapping
name: ledger-period
from: {system: ledger, type: period}
emit:
  type: period.seen.v1
  key: =body.id
  version: =body.version
  data: {period_id: =body.id, status: =body.status}
---
kind: reconciliation
name: invoice-in-ledger
doc: What billing has open is in the ledger.
owner: finance
object: invoice
left: bills
right: ledger
key: event.data.invoice_id
legs: {gross: {total: true}}
assert:
  - event: invoice.seen.v1
    document: event.data.invoice_id
    number: event.data.invoice_id
    stands: event.data.status == 'open'
    legs: {gross: event.data.total}
    due: +2d
observe:
  - event: entry.seen.v1
    document: event.data.entry_id
    stands: event.data.status == 'posted'
    legs: {gross: event.data.total}
"""


def model_with(*edits: tuple[str, str]) -> Model:
    """Return the model of the company after edits of its governance text."""
    text = _GOVERNANCE
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    return model_of(documents(COMPLETE_POLICY, text))


MODEL = model_with()
ENTRIES = [f"E{n}" for n in range(1, 8)]


class Ledger(System):
    """A system whose book is listed by id. Its deliveries have the ids of a feed, or other ones."""

    def __init__(self, name: str, book: str, type_: str) -> None:
        super().__init__(name)
        self.listings = {book: [type_]}
        self.records: dict[str, dict[str, Any]] = {}
        self.id_of = "{id}@{version}"
        self.pages: list[str | None] = []
        self.failures: list[Exception] = []
        self.extra: list[sdk.Delivery] = []
        """Further deliveries by which the book shows its records."""

    def put(self, id_: str, total: int = 500, status: str = "posted") -> None:
        version = self.records[id_]["version"] + 1 if id_ in self.records else 1
        self.records[id_] = {
            "id": id_, "of": id_.replace("E", "I"), "status": status, "total": total, "version": version,
        }  # fmt: skip

    def delivery(self, id_: str, name: str = "") -> sdk.Delivery:
        body = self.records[id_]
        (type_,) = next(iter(self.listings.values()))
        ext_id = (name or self.id_of).format(**body)
        return sdk.Delivery(ext_id, type_, wire.dumps([id_, body["version"]]), dict(body))

    async def list_book(self, listing: str, cursor: str | None, limit: int, timeout: float) -> sdk.Page:
        assert listing in self.listings
        if self.failures:
            raise self.failures.pop()
        self.pages.append(cursor)
        rest = [id_ for id_ in sorted(self.records) if id_ > (cursor or "")]
        page = rest[:limit]
        return sdk.Page(
            [*(self.extra if cursor is None else ()), *(self.delivery(id_) for id_ in page)],
            page[-1] if page else cursor or "",
            len(rest) > limit,
        )


class Company:
    """Two systems, a store, and workers that admit and sweep, under a clock that tests move."""

    def __init__(self, store: Any, model: Model = MODEL) -> None:
        self.store, self.model = store, model
        self.bills, self.ledger = Ledger("bills", "invoices", "invoice"), Ledger("ledger", "entries", "entry")
        self.connectors = {"bills": self.bills, "ledger": self.ledger}
        self.releases = Releases(store, model)
        self.stopping = asyncio.Event()
        self.admission = Admitter(store, self.releases, self.connectors)
        self.limiter = AskingLimiter(store, model)

    def reader(self, worker: str = "w/1") -> SweepReader:
        return SweepReader(self.store, self.releases, self.connectors, worker, self.stopping)

    async def deliver(self, system: Ledger, id_: str, name: str = "") -> None:
        """Deliver a record as the system's feed does, and admit it."""
        await self.receive(system, id_, name)
        await self.admit()

    async def receive(self, system: Ledger, id_: str, name: str = "") -> None:
        """Deliver a record, which then waits for its admission."""
        now = await self.store.now()
        page = [system.delivery(id_, name)]
        await receive_page(self.store, self.model, system.name, "feed", page, "", now)

    async def admit(self) -> None:
        for todo in await self.store.todos(1_000):
            await self.admission.admit(todo, await self.store.now())

    async def sweep(self, system: Ledger, reader: SweepReader | None = None) -> Sweep:
        """Ask for a sweep, and read it to its end."""
        (book,) = system.listings
        asked = await self.store.apply(request_of(system.name, book, "ann", await self.store.now()))
        reading = asyncio.create_task((reader or self.reader()).sweep_once())
        while not reading.done():
            await self.admit()
            await asyncio.sleep(0)
        assert reading.result() == 1
        ended: Sweep = await self.store.sweep(asked.id)
        return ended

    async def foils(self) -> dict[str, FoilState]:
        return {foil.document: foil.state for foil in (await self.store.dump()).foils}

    async def cases(self, state: str = "open") -> list[Any]:
        cases = (await self.store.dump()).cases
        return [case for case in cases if case.reason == "unlisted" and case.state == state]


TIME = [MONDAY]


def now() -> datetime:
    TIME[0] += timedelta(milliseconds=1)
    return TIME[0]


@contextlib.asynccontextmanager
async def company_on_sqlite(
    path: Path, monkeypatch: pytest.MonkeyPatch, edits: Iterable[tuple[str, str]] = ()
) -> AsyncIterator[Company]:
    """Run a company on SQLite under the clock of the tests, with edits of its governance text."""
    monkeypatch.setattr(sweeps, "ADMIT_SECONDS", 0.0)
    TIME[0] = MONDAY
    store = await SqliteStore.open(path)

    async def read_clock() -> datetime:
        return now()

    monkeypatch.setattr(store, "now", read_clock)
    company = Company(store, model_with(*edits))
    await company.releases.publish(now(), "test")
    yield company
    await store.close()


def service(company: Company) -> BookCheckpoints:
    """Return the checkpoints of a company."""
    reader = SystemReader(company.store, company.connectors, company.limiter)
    return BookCheckpoints(company.store, company.store, company.releases, company.connectors, reader)


async def read_both(company: Company) -> None:
    await company.sweep(company.bills)
    await company.sweep(company.ledger)


async def books(company: Company) -> None:
    for entry in ENTRIES:
        company.ledger.put(entry)
        company.bills.put(entry.replace("E", "I"), status="open")
