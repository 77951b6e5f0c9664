"""Connector of one Stripe account: issues and voids credit notes, debits balances, reads, polls, verifies webhooks.

Every write has the key of the request twice: as idempotency key, which Stripe remembers for a day, and in the metadata of
the object, by which `find` finds it at any later time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator

from counterfoil.connectors import signature
from counterfoil.connectors.http import Deadline
from counterfoil.connectors.sdk import (
    Absent,
    Confirmed,
    Delivery,
    EarlyOutcome,
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
    WrongConfiguration,
)
from counterfoil.connectors.settings import missing_secrets, read_settings
from counterfoil.connectors.stripe import (
    books,
    cash,
    collection,
    credit_lines,
    documents,
    drafts,
    feed,
)
from counterfoil.connectors.stripe.client import API_VERSION, StripeClient
from counterfoil.connectors.stripe.documents import CreditMemo, DebitMemo, VoidCreditMemo, is_id
from counterfoil.connectors.stripe.milestones import BOOKS
from counterfoil.connectors.stripe.tax_rates import TAXED, expansion, with_tax_rates
from counterfoil.core.errors import CounterfoilError, ErrorClass, Misconfigured, Refused, TryAgain
from counterfoil.core.wire import read_json

ISSUE = "billing.credit_memo.issue"
VOID = "billing.credit_memo.void"
DEBIT = "billing.debit_memo.issue"

_DAY_SECONDS = 86_400.0
# Stripe ends its own calls well within this time. It may still execute a request that it has read.
_HORIZON_SECONDS = 120.0


def _write(name: str, doc: str) -> OperationSpec:
    return OperationSpec(name, Repeat.KEY, horizon=_HORIZON_SECONDS, retention=_DAY_SECONDS, doc=doc)


def _read(name: str, doc: str) -> OperationSpec:
    return OperationSpec(name, Repeat.READ, doc=doc)


_MEMO = (
    "{id, number, status, type, invoice, customer, amount, currency, total, subtotal, tax, reason, memo, "
    "out_of_band_amount, issued_on, created, metadata, taxes: [{tax_rate, base, amount, treatment}]}"
)
_OPERATIONS = (
    _write(
        ISSUE,
        "{invoice, amount, currency, taxed?, reason?, memo?, credit_amount?, refund_amount?, out_of_band_amount?, "
        f"metadata?}} -> {_MEMO} and `tax_rates`: the vendor's tax rates by id. On an open invoice it lowers what remains; "
        "on a paid one the three amounts must add up to `amount`. `taxed` spreads `amount`, tax included, over the lines of "
        "the invoice; otherwise it has no tax. `currency` must be the invoice's. `reason` is one of Stripe's own words.",
    ),
    _write(VOID, "{credit_memo} -> {id, status}. Possible while the invoice is open."),
    _write(
        DEBIT,
        "{customer, amount, currency, description?, metadata?} -> {id, customer, amount, currency, ending_balance, "
        "issued_on, created, metadata}. Adds to the balance that the customer owes; the next invoice collects it.",
    ),
    _read(
        "billing.invoice.get",
        "{id} -> the vendor's invoice, `lines` as a plain list of all lines, and `tax_rates`: the vendor's tax rates by id.",
    ),
    _read(
        "billing.credit_memo.get",
        f"{{id}} -> {_MEMO}, `lines` as a plain list of all lines, and `tax_rates`: the vendor's tax rates by id.",
    ),
    _read("billing.customer.get", "{id} -> the vendor's customer."),
    _read("billing.subscription.get", "{id} -> the vendor's subscription, `items` as a plain list."),
    _read(
        "billing.invoice.list",
        "{customer?, subscription?, status?, created_from?, created_before?, limit?, after?} -> {invoices, more}, "
        "newest first, `lines` as the vendor shows them. Times are seconds since 1970; `after` is an invoice's id.",
    ),
    *(_read(name, doc) for name, doc in (*cash.READS.items(), *collection.READS.items())),
    *(_write(name, doc) for name, doc in (*collection.WRITES.items(), *drafts.WRITES.items())),
)


class StripeSettings(BaseModel):
    """Settings of an account, besides those of the client."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    api_version: str = API_VERSION
    zone: str = "UTC"
    """Time zone of `issued_on`, an IANA name."""
    events: Annotated[tuple[str, ...], Field(max_length=20)] = ()
    """Types in the feed; none: all."""

    @field_validator("zone")
    @classmethod
    def _is_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"`{value}` is not a time zone") from None
        return value


_LISTING = {
    "customer": "customer", "subscription": "subscription", "status": "status", "created_from": "created[gte]",
    "created_before": "created[lt]", "limit": "limit", "after": "starting_after",
}  # fmt: skip


def connect(config: SystemConfig) -> Stripe:
    """Build the connector of one account. Raises WrongConfiguration.

    Secrets: `api_key`, `webhook_secret` and, during a rotation, `webhook_secret_old`. `config.account` names a connected
    account. Settings: those of StripeSettings and of `Http.of`.
    """
    settings, problems = read_settings(StripeSettings, config)
    problems += missing_secrets(config, ["api_key"])
    if problems or settings is None:
        raise WrongConfiguration(problems)
    return Stripe(config, settings)


class Stripe:
    """Connector of one account."""

    operations: Mapping[str, OperationSpec] = {spec.name: spec for spec in _OPERATIONS}
    feeds: Sequence[str] = ("events",)
    listings: Mapping[str, Sequence[str]] = {name: book.types for name, book in BOOKS.items()}

    def __init__(self, config: SystemConfig, settings: StripeSettings) -> None:
        self._name, self._account = config.name, config.account
        self._zone = ZoneInfo(settings.zone)
        self._events = settings.events
        self._hook_secrets = signature.secrets_in_rotation(config.secrets, "webhook_secret")
        self._client = StripeClient(config, settings.api_version)

    def receive(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery:
        if not self._hook_secrets:
            message = f"system {self._name} has no secret webhook_secret, so it cannot verify deliveries"
            raise signature.SignatureRefused(message, "missing")
        signature.verify("stripe-v1", self._hook_secrets, headers, body, now)
        event = read_json(body)
        try:
            delivery = feed.delivery_of(event)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Refused(f"not an event: {error!r}", ErrorClass.INVALID, "event") from error
        if self._account and event.get("account", self._account) != self._account:
            message = f"event {delivery.ext_id} belongs to account {event['account']}, not to {self._account}"
            raise Refused(message, ErrorClass.INVALID, "account")
        return delivery

    async def send(self, request: Request, timeout: float) -> Outcome:
        by = Deadline(timeout)
        try:
            match request.operation:
                case "billing.credit_memo.issue":
                    return await self._issue(request, by)
                case "billing.credit_memo.void":
                    return await self._void(request, by)
                case "billing.debit_memo.issue":
                    return await self._debit(request, by)
            if request.operation in collection.WRITES:
                return await collection.send(self._client, request, by)
            if request.operation in drafts.WRITES:
                return await drafts.send(self._client, request, by)
            message = f"Stripe has no write operation {request.operation}"
            return Rejected(ErrorClass.INVALID, message, "operation")
        except EarlyOutcome as early:
            return early.outcome
        except Misconfigured as error:
            return Rejected(ErrorClass.UNAUTHORIZED, str(error), "misconfigured")

    async def find(self, request: Request, timeout: float) -> Finding:
        by = Deadline(timeout)
        try:
            match request.operation:
                case "billing.credit_memo.issue":
                    memo = _input(request, CreditMemo)
                    rows = self._client.rows("/v1/credit_notes", {"invoice": memo.invoice}, by)
                    finding = await self._find_by_key(rows, request.key, documents.credit_memo)
                    return _with_rates(finding, await self._invoice(memo.invoice, by))
                case "billing.debit_memo.issue":
                    debit = _input(request, DebitMemo)
                    rows = self._client.rows(f"/v1/customers/{debit.customer}/balance_transactions", {}, by)
                    return await self._find_by_key(rows, request.key, documents.balance_debit)
                case "billing.credit_memo.void":
                    id = _input(request, VoidCreditMemo).credit_memo
                    note = await self._client.get(f"/v1/credit_notes/{id}", "credit_note", {}, by)
                    voided = note.get("status") == "void"
                    return Confirmed({"id": id, "status": "void"}) if voided else Absent()
            if request.operation in collection.WRITES:
                return await collection.find(self._client, request, by)
            if request.operation in drafts.WRITES:
                return await drafts.find(self._client, request, by)
            return Unknown(f"Stripe has no write operation {request.operation}")
        except Refused as error:
            # The invoice, customer or note does not exist, so nothing was created for it.
            if error.error_class is ErrorClass.NOT_FOUND:
                return Absent()
            return Unknown(f"the look-up failed: {error}")
        except EarlyOutcome as early:
            invalid = isinstance(early.outcome, Rejected) and early.outcome.error_class is ErrorClass.INVALID
            return Absent() if invalid else Unknown(f"the look-up failed: {early.outcome.message}")
        except CounterfoilError as error:
            return Unknown(f"the look-up failed: {error}")

    async def read(self, operation: str, arguments: Mapping[str, Json], timeout: float) -> Json:
        by = Deadline(timeout)
        match operation:
            case "billing.invoice.get":
                invoice = await self._get_by_id("invoices", "invoice", arguments, by)
                return {**invoice, "lines": await self._all_lines(invoice, by)}
            case "billing.credit_memo.get":
                note = await self._get_by_id("credit_notes", "credit_note", arguments, by)
                memo = _confirm(note, documents.credit_memo, self._zone)
                if isinstance(memo, Unknown):
                    raise Refused(memo.message, ErrorClass.INVALID, "shape")
                lines = await self._all_lines(note, by)
                return {**memo.result, "tax_rates": note["tax_rates"], "lines": lines}
            case "billing.customer.get":
                customer = await self._get_by_id("customers", "customer", arguments, by)
                if customer.get("deleted"):
                    raise Refused(f"customer {customer['id']} is deleted", ErrorClass.NOT_FOUND, "deleted")
                return customer
            case "billing.subscription.get":
                subscription = await self._get_by_id("subscriptions", "subscription", arguments, by)
                return {**subscription, "items": await self._all_lines(subscription, by, "items")}
            case "billing.invoice.list":
                if unknown := sorted(set(arguments) - _LISTING.keys()):
                    raise Refused(f"unknown arguments: {', '.join(unknown)}", ErrorClass.INVALID, "arguments")
                query = {_LISTING[name]: str(value) for name, value in arguments.items() if value is not None}
                page = await self._client.get("/v1/invoices", "list", query, by)
                return {"invoices": page["data"], "more": bool(page.get("has_more"))}
        if operation in cash.READS:
            return await cash.read(self._client, operation, arguments, self._zone, by)
        if operation in collection.READS:
            return await collection.read(self._client, operation, arguments, by)
        raise Misconfigured(f"Stripe has no read operation {operation}")

    async def poll(self, feed_name: str, cursor: str | None, limit: int, timeout: float) -> Page:
        if feed_name not in self.feeds:
            raise Misconfigured(f"Stripe has no feed {feed_name}")
        by = Deadline(timeout)
        try:
            start = feed.EventCursor.read(cursor)
        except ValueError as error:
            message = f"the cursor of {feed_name} cannot be read: {error}"
            raise Misconfigured(f"system {self._name}: {message}") from error
        try:
            return await feed.read_page(self._client.get, self._events, start, limit, by)
        except Refused as error:
            raise Misconfigured(f"system {self._name}: the events cannot be read: {error}") from error

    async def list_book(self, listing: str, cursor: str | None, limit: int, timeout: float) -> Page:
        book = BOOKS.get(listing)
        if book is None:
            raise Misconfigured(f"Stripe has no listing {listing}; it has {', '.join(BOOKS)}")
        by = Deadline(timeout)
        try:
            start = books.BookCursor.read(cursor)
        except ValueError as error:
            message = f"the cursor of the listing {listing} cannot be read: {error}"
            raise Misconfigured(f"system {self._name}: {message}") from error
        try:
            return await books.read_page(self._client, book, self._account, start, limit, by)
        except Refused as error:
            raise Misconfigured(f"system {self._name}: {listing} cannot be listed: {error}") from error
        except (KeyError, TypeError) as error:
            message = f"an object of {listing} does not have the documented form: {error!r}"
            raise Misconfigured(f"system {self._name}: {message}") from error

    async def check(self, timeout: float) -> None:
        try:
            await self._client.get("/v1/credit_notes", "list", {"limit": "1"}, Deadline(timeout))
        except Refused as error:
            raise Misconfigured(f"system {self._name} cannot be used: {error}") from error

    async def close(self) -> None:
        await self._client.close()

    # Writing.

    async def _issue(self, request: Request, by: Deadline) -> Outcome:
        memo = _input(request, CreditMemo)
        # Stripe takes the currency from the invoice: with another one the amount would silently be wrong.
        try:
            invoice = await self._invoice(memo.invoice, by)
        except (TryAgain, Refused) as error:
            raise EarlyOutcome.of_read(error) from error
        if invoice.get("currency") != memo.currency.lower():
            other = invoice.get("currency")
            message = f"invoice {memo.invoice} is in {other}, but the memo is in {memo.currency}"
            return Rejected(ErrorClass.INVALID, message, "currency_mismatch")
        form = {
            "invoice": memo.invoice, "amount": memo.amount, "credit_amount": memo.credit_amount,
            "refund_amount": memo.refund_amount, "out_of_band_amount": memo.out_of_band_amount,
            "reason": memo.reason, "memo": memo.memo, "metadata": {**memo.metadata, documents.KEY: request.key},
        }  # fmt: skip
        if memo.taxed:
            lines = await self._note_lines(invoice, memo.amount, request.key, by)
            if not isinstance(lines, list):
                return _with_rates(lines, invoice)
            form["lines"] = credit_lines.note_lines(lines)
        note = await self._client.post("/v1/credit_notes", "credit_note", form, request.key, by)
        return _with_rates(_confirm(note, documents.credit_memo, self._zone), invoice)

    async def _note_lines(
        self, invoice: Mapping[str, Json], amount: int, key: str, by: Deadline
    ) -> list[tuple[str, int]] | Rejected | Confirmed | Unknown:
        """Return the parts of a note by what earlier notes left, or the outcome if this request has a note already."""
        credited: list[Json] = []
        try:
            async for note in self._client.rows("/v1/credit_notes", {"invoice": str(invoice["id"])}, by):
                if (note.get("metadata") or {}).get(documents.KEY) == key:
                    return _confirm(note, documents.credit_memo, self._zone)
                if note["status"] != "void":
                    credited += await self._all_lines(note, by)
            lines = credit_lines.invoice_lines(await self._all_lines(invoice, by), credited)
        except (TryAgain, Refused) as error:
            raise EarlyOutcome.of_read(error) from error
        except (KeyError, TypeError) as error:
            message = f"the lines of invoice {invoice['id']} do not have the documented form: {error!r}"
            return Rejected(ErrorClass.INVALID, message, "shape")
        return credit_lines.spread(amount, lines)

    async def _void(self, request: Request, by: Deadline) -> Outcome:
        path = f"/v1/credit_notes/{_input(request, VoidCreditMemo).credit_memo}"
        try:
            note = await self._client.post(f"{path}/void", "credit_note", {}, request.key, by)
        except EarlyOutcome as early:
            return await self._refused_or_void(path, early.outcome, by)
        if note.get("status") != "void":
            return Unknown(f"{path}/void answered with the status {note.get('status')!r}")
        return Confirmed({"id": note["id"], "status": "void"})

    async def _refused_or_void(self, path: str, outcome: Rejected | Unknown, by: Deadline) -> Outcome:
        # The text of a refusal is not a contract: read from the note whether it is void already.
        if isinstance(outcome, Unknown) or outcome.error_class is not ErrorClass.REFUSED:
            return outcome
        try:
            note = await self._client.get(path, "credit_note", {}, by)
        except CounterfoilError:
            return outcome
        if note.get("status") != "void":
            return outcome
        return Rejected(ErrorClass.ALREADY_DONE, outcome.message, "already_void")

    async def _debit(self, request: Request, by: Deadline) -> Outcome:
        debit = _input(request, DebitMemo)
        form = {
            "amount": debit.amount, "currency": debit.currency.lower(), "description": debit.description,
            "metadata": {**debit.metadata, documents.KEY: request.key},
        }  # fmt: skip
        path = f"/v1/customers/{debit.customer}/balance_transactions"
        transaction = await self._client.post(path, "customer_balance_transaction", form, request.key, by)
        return _confirm(transaction, documents.balance_debit, self._zone)

    # Reading.

    async def _invoice(self, id: str, by: Deadline) -> dict[str, Json]:
        query = expansion("invoice", self._client.api_version)
        invoice = await self._client.get(f"/v1/invoices/{id}", "invoice", query, by)
        return await with_tax_rates(self._client, invoice, by)

    async def _get_by_id(
        self, folder: str, kind: str, arguments: Mapping[str, Json], by: Deadline
    ) -> dict[str, Json]:
        id = arguments.get("id")
        if not is_id(id) or set(arguments) != {"id"}:
            message = f"the only argument must be the id of a {kind}, not {dict(arguments)!r}"
            raise Refused(message, ErrorClass.INVALID, "id")
        query = expansion(kind, self._client.api_version)
        document = await self._client.get(f"/v1/{folder}/{id}", kind, query, by)
        return await with_tax_rates(self._client, document, by) if kind in TAXED else document

    async def _find_by_key(
        self, rows: AsyncIterator[dict[str, Json]], key: str, result: documents.Result
    ) -> Finding:
        async for row in rows:
            if (row.get("metadata") or {}).get(documents.KEY) == key:
                return _confirm(row, result, self._zone)
        return Absent()

    async def _all_lines(self, document: Mapping[str, Json], by: Deadline, name: str = "lines") -> list[Json]:
        """Return all rows of an inline list, of which the object shows only the first ones."""
        inline = document[name]
        rows = list(inline["data"])
        if not inline.get("has_more"):
            return rows
        if name == "items":
            path, query = "/v1/subscription_items", {"subscription": str(document["id"])}
        else:
            path, query = f"/v1/{document['object']}s/{document['id']}/lines", {}
        return [row async for row in self._client.rows(path, query, by)]


def _input(request: Request, kind: type[documents.AnyInput]) -> documents.AnyInput:
    value = documents.read_input(request.body, kind)
    if isinstance(value, Rejected):
        raise EarlyOutcome(value)
    return value


AnyOutcome = TypeVar("AnyOutcome", bound=Outcome | Finding)


def _with_rates(outcome: AnyOutcome, invoice: Mapping[str, Json]) -> AnyOutcome | Confirmed:
    """Return the outcome of a credit memo; a confirmed one with the tax rates of its invoice."""
    if not isinstance(outcome, Confirmed):
        return outcome
    return Confirmed({**outcome.result, "tax_rates": invoice["tax_rates"]})


def _confirm(created: Mapping[str, Json], result: documents.Result, zone: ZoneInfo) -> Confirmed | Unknown:
    """Return `Confirmed` with the result, or `Unknown` if the object cannot be read as documented."""
    try:
        return Confirmed(result(created, zone))
    except (KeyError, TypeError, ValueError) as error:
        name = f"{created.get('object')} {created.get('id')}"
        return Unknown(f"{name} does not have the documented form: {error!r}")
