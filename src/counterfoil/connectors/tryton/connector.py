"""The connector of Tryton 8.0 with the module `account_invoice`, over its REST interface.

Operations (inputs in `inputs`, results in `document_body`, `party_of` and `period_of`; amounts are Decimals, dates ISO
text):

- `erp.party.upsert` -> id, code, name and the address;
- `erp.invoice.post`, `erp.credit_memo.post`, `erp.debit_memo.post` -> id, number, reference, state, untaxed, tax,
  total, currency, lines, taxes, invoice_date, posting_date, period, party, move, and in a foreign currency functional
  and rate; a credit memo's amounts are negative; with the setting `login` many in one call;
- `erp.invoice.void` -> the invoice, cancelled in place; `erp.cancellation.post` -> the credit memo that takes it back;
- `erp.credit.apply` -> invoice, credit, applied, amount_to_pay_before and _after, credit_open, states, move,
  exchange_difference;
- the entries of payments and accruals (`entries.ENTRIES`), all with one input -> id, number, reference, date, period, currency, lines,
  exchange_difference, documents, reverses;
- `erp.invoice.get {id | reference}`, `erp.party.get {id | code}`, `erp.period.list {from?, to?}`, `erp.trial_balance {as_of?}`,
  `erp.account.balance {account, as_of?}` and `erp.open_credit.list {party, currency}` are reads.

A posted invoice is cancelled in place only by `erp.invoice.void`, which Tryton refuses unless its company allows it. A
credit memo undoes an invoice, a debit memo undoes a credit memo, an entry with `reverses` undoes an entry. Tryton sends no webhooks, so there are feeds and no deliveries.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import TypeVar

import msgspec

from counterfoil.connectors.http import Deadline, Http
from counterfoil.connectors.sdk import (
    Confirmed,
    Delivery,
    Finding,
    Json,
    OperationSpec,
    Outcome,
    Page,
    Rejected,
    Repeat,
    Request,
    SystemConfig,
    Unknown,
)
from counterfoil.core.errors import ErrorClass, Misconfigured, Refused, TryAgain, Uncertain
from counterfoil.core.fault_text import fault_text

from . import inputs, settings
from .applications import Applications
from .batches import MAX_BATCH_DOCUMENTS, Batches, Failure
from .books import Books
from .cancellations import Cancellations
from .documents import ErpDocuments
from .entries import ENTRIES, Entries
from .feeds import FEEDS, list_book, poll
from .inputs import DocumentInput
from .names import Names
from .parties import Parties
from .rest import Record, Rest
from .rpc import Rpc

HORIZON_SECONDS = 60.0
"""Time after which a sent request either was executed or never will be. A server with one thread queues requests and
executes them even without a caller; our requests in its queue take well under a minute."""

_WRITES = (
    ("erp.party.upsert", Repeat.UNIQUE, "Create or update a customer, by its code."),
    ("erp.invoice.post", Repeat.FIND, "Post an invoice, by its reference."),
    ("erp.credit_memo.post", Repeat.FIND, "Post a credit memo, by its reference."),
    ("erp.debit_memo.post", Repeat.FIND, "Undo a credit memo by a debit memo."),
    ("erp.invoice.void", Repeat.FIND, "Cancel an unpaid invoice in place."),
    ("erp.cancellation.post", Repeat.FIND, "Post a memo over what is open of an invoice."),
    ("erp.credit.apply", Repeat.FIND, "Apply a credit memo to an invoice."),
    *((name, Repeat.FIND, doc) for name, (_, doc) in ENTRIES.items()),
)
_READS = (
    ("erp.invoice.get", "A document by id or reference."),
    ("erp.party.get", "A party by id or code."),
    ("erp.period.list", "Periods and their states."),
    ("erp.trial_balance", "Balances of all accounts."),
    ("erp.account.balance", "Balances of one account, by the currency of the documents."),
    ("erp.open_credit.list", "Open credit memos of a customer, oldest first."),
)
_SPECS = (
    *(OperationSpec(name, repeat, HORIZON_SECONDS, doc=doc) for name, repeat, doc in _WRITES),
    *(OperationSpec(name, Repeat.READ, doc=doc) for name, doc in _READS),
)
_DOCUMENTS = {"erp.invoice.post": False, "erp.credit_memo.post": True, "erp.debit_memo.post": False}
"""Write operations for documents, with a flag for negative amounts."""

_T = TypeVar("_T")


class _Get(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: int | None = None
    reference: str | None = None
    code: str | None = None


class _Periods(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    start: date | None = msgspec.field(name="from", default=None)
    end: date | None = msgspec.field(name="to", default=None)


class _AccountBalance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    account: str
    as_of: date | None = None


class _OpenCredits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    party: int
    currency: str


class _Balance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    as_of: date | None = None


class Tryton:
    """Connector of one company in one Tryton database."""

    feeds: Sequence[str] = tuple(FEEDS)
    listings: Mapping[str, Sequence[str]] = {name: feed.types for name, feed in FEEDS.items()}

    def __init__(self, config: SystemConfig) -> None:
        options, key, password = settings.read(config)
        self.operations: Mapping[str, OperationSpec] = {spec.name: spec for spec in _SPECS}
        self._name = config.name
        self._company = options.company
        self._settings = options
        self._http = Http.of(config)
        self._rest = Rest(self._http, options.database, key)
        self._rest.context["company"] = options.company
        self._names = Names(self._rest, options.company)
        self._documents = ErpDocuments(self._rest, self._names, options)
        self._applications = Applications(self._rest, self._names, options)
        self._entries = Entries(self._rest, self._names, options)
        self._cancellations = Cancellations(self._rest, self._documents, options.company)
        self._parties = Parties(self._rest, self._names)
        self._books = Books(self._rest, options.company)
        self._rpc: Rpc | None = None
        if options.login:
            self._rpc = Rpc(self._http, options.database, options.login, password, self._rest.context)
            self._batches = Batches(self._rest, self._rpc, self._documents, options.company)
            in_bulk = {name: replace(self.operations[name], bulk=MAX_BATCH_DOCUMENTS) for name in _DOCUMENTS}
            self.operations = {**self.operations, **in_bulk}

    def receive(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery:
        """Raise Refused(INVALID): Tryton sends no webhooks."""
        reason = f"Tryton sends no webhooks, so system {self._name} accepts no deliveries"
        message = f"{reason}. Poll its feeds: {', '.join(FEEDS)}"
        raise Refused(message, ErrorClass.INVALID, "no_deliveries")

    async def send(self, request: Request, timeout: float) -> Outcome:
        try:
            return Confirmed(await self._do(request, Deadline(timeout)))
        except (TryAgain, Refused, Misconfigured, Uncertain) as error:
            return self._outcome(error)

    async def send_many(self, requests: Sequence[Request], timeout: float) -> Sequence[Outcome]:
        """Post documents in one call. Send other requests one by one, and all of them if no login is configured."""
        by = Deadline(timeout)
        outcomes: dict[int, Outcome] = {}
        documents: dict[int, tuple[DocumentInput, bool]] = {}
        for place, request in enumerate(requests):
            if self._rpc is None or request.operation not in _DOCUMENTS:
                outcomes[place] = await self.send(request, timeout)
                continue
            try:
                document = inputs.read(DocumentInput, request.body)
                documents[place] = (document, _DOCUMENTS[request.operation])
            except Refused as error:
                outcomes[place] = self._outcome(error)
        if documents:
            posted = await self._batches.post(list(documents.values()), by)
            for place, what in zip(documents, posted, strict=True):
                outcomes[place] = Confirmed(what) if isinstance(what, dict) else self._outcome(what)
        return [outcomes[place] for place in range(len(requests))]

    def _outcome(self, error: Failure) -> Outcome:
        match error:
            case TryAgain():
                return Rejected(ErrorClass.TRANSIENT, str(error), retry_after=error.after)
            case Refused():
                if error.error_class is ErrorClass.INVALID:
                    self._names.forget()
                return Rejected(error.error_class, str(error), error.code)
            case Misconfigured():
                # No byte left: calls to the configured address are not allowed.
                return Rejected(ErrorClass.INVALID, str(error), "misconfigured")
            case Uncertain():
                return Unknown(str(error))

    async def find(self, request: Request, timeout: float) -> Finding:
        try:
            return await self._look_up(request, Deadline(timeout))
        except (TryAgain, Refused, Misconfigured) as error:
            return Unknown(f"the look-up failed: {error}")

    async def read(self, operation: str, arguments: Mapping[str, Json], timeout: float) -> Json:
        by = Deadline(timeout)
        match operation:
            case "erp.invoice.get":
                document = _arguments(_Get, arguments)
                _one_of(id=document.id, reference=document.reference)
                return await self._documents.get(document.id, document.reference, by)
            case "erp.party.get":
                party = _arguments(_Get, arguments)
                _one_of(id=party.id, code=party.code)
                return await self._parties.get(party.id, party.code, by)
            case "erp.period.list":
                periods = _arguments(_Periods, arguments)
                return await self._books.periods(periods.start, periods.end, by)
            case "erp.trial_balance":
                return await self._books.trial_balance(_arguments(_Balance, arguments).as_of, by)
            case "erp.account.balance":
                of = _arguments(_AccountBalance, arguments)
                return await self._books.account_balance(of.account, of.as_of, by)
            case "erp.open_credit.list":
                whose = _arguments(_OpenCredits, arguments)
                return {"credits": await self._entries.open_credits(whose.party, whose.currency, by)}
        raise Misconfigured(f"system {self._name} has no read operation {operation!r}")

    async def poll(self, feed: str, cursor: str | None, limit: int, timeout: float) -> Page:
        if feed not in FEEDS:
            raise Misconfigured(f"system {self._name} has no feed {feed!r}; it has {', '.join(FEEDS)}")
        page = poll(self._rest, self._settings, FEEDS[feed], cursor, limit, Deadline(timeout))
        return await self._configured(page)

    async def list_book(self, listing: str, cursor: str | None, limit: int, timeout: float) -> Page:
        if listing not in FEEDS:
            raise Misconfigured(f"system {self._name} has no listing {listing!r}; it has {', '.join(FEEDS)}")
        page = list_book(self._rest, self._settings, FEEDS[listing], cursor, limit, Deadline(timeout))
        return await self._configured(page)

    async def check(self, timeout: float) -> None:
        by = Deadline(timeout)
        await self._configured(self._rest.get("company.company", self._company, ["party.name"], by))
        if self._rpc is not None:
            await self._rpc.check(by)

    async def close(self) -> None:
        await self._http.close()

    async def _do(self, request: Request, by: Deadline) -> Record:
        if request.operation in _DOCUMENTS:
            document = inputs.read(DocumentInput, request.body)
            return await self._documents.post(document, _DOCUMENTS[request.operation], by)
        if request.operation == "erp.party.upsert":
            return await self._parties.upsert(inputs.read(inputs.PartyInput, request.body), by)
        if request.operation == "erp.invoice.void":
            return await self._cancellations.void(inputs.read(inputs.VoidInput, request.body), by)
        if request.operation == "erp.cancellation.post":
            return await self._cancellations.post(inputs.read(inputs.CancellationInput, request.body), by)
        if request.operation == "erp.credit.apply":
            application = inputs.read(inputs.ApplicationInput, request.body)
            return await self._applications.apply(application, request.key, by)
        if request.operation in ENTRIES:
            entry = inputs.read(inputs.EntryInput, request.body)
            return await self._entries.post(entry, ENTRIES[request.operation][0], by)
        raise self._unknown_write(request)

    async def _look_up(self, request: Request, by: Deadline) -> Finding:
        if request.operation in _DOCUMENTS:
            return await self._documents.find(inputs.read(DocumentInput, request.body).reference, by)
        if request.operation == "erp.invoice.void":
            return await self._cancellations.find_void(inputs.read(inputs.VoidInput, request.body), by)
        if request.operation == "erp.cancellation.post":
            return await self._cancellations.find(inputs.read(inputs.CancellationInput, request.body), by)
        if request.operation == "erp.party.upsert":
            return await self._parties.find(inputs.read(inputs.PartyInput, request.body), by)
        if request.operation == "erp.credit.apply":
            application = inputs.read(inputs.ApplicationInput, request.body)
            return await self._applications.find(application, request.key, by)
        if request.operation in ENTRIES:
            return await self._entries.find(inputs.read(inputs.EntryInput, request.body), by)
        raise self._unknown_write(request)

    def _unknown_write(self, request: Request) -> Refused:
        message = f"system {self._name} has no write operation {request.operation!r}"
        return Refused(message, ErrorClass.INVALID, "operation")

    async def _configured(self, call: Awaitable[_T]) -> _T:
        """Raise Misconfigured for a refusal: the call has no user input, so its cause is the configuration."""
        try:
            return await call
        except Refused as error:
            raise Misconfigured(f"system {self._name}: {error}") from error


def _arguments(kind: type[_T], arguments: Mapping[str, Json]) -> _T:
    try:
        return msgspec.convert(dict(arguments), kind)
    except msgspec.ValidationError as error:
        raise Refused(
            f"the arguments do not fit: {fault_text(error)}", ErrorClass.INVALID, "input"
        ) from error


def _one_of(**named: object) -> None:
    if sum(value is not None for value in named.values()) != 1:
        raise Refused(f"give one of {', '.join(named)}", ErrorClass.INVALID, "input")
