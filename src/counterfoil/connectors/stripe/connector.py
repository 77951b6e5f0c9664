"""Connector of one Stripe account: issues and voids credit notes, debits balances, reads, polls, verifies webhooks.

Every write has the key of the request twice: as idempotency key, which Stripe remembers for a day, and in the metadata of
the object, by which `find` finds it at any later time.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from counterfoil.connectors import signature
from counterfoil.connectors.early_outcome import EarlyOutcome
from counterfoil.connectors.http import Http, Response
from counterfoil.connectors.sdk import (
    Absent,
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
from counterfoil.connectors.stripe import answers, documents, feed, forms
from counterfoil.connectors.stripe.documents import CreditMemo, DebitMemo, VoidCreditMemo, is_id
from counterfoil.core.errors import (
    CounterfoilError,
    ErrorClass,
    Misconfigured,
    Refused,
    TryAgain,
    Uncertain,
)
from counterfoil.core.wire import read_json

API_VERSION = "2023-08-16"
ISSUE = "billing.credit_memo.issue"
VOID = "billing.credit_memo.void"
DEBIT = "billing.debit_memo.issue"

_DAY_SECONDS = 86_400.0
# Stripe ends its own calls well within this time. It may still execute a request that it has read.
_HORIZON_SECONDS = 120.0
_PAGE_ROWS = 100


def _write(name: str, doc: str) -> OperationSpec:
    return OperationSpec(name, Repeat.KEY, horizon=_HORIZON_SECONDS, retention=_DAY_SECONDS, doc=doc)


def _read(name: str, doc: str) -> OperationSpec:
    return OperationSpec(name, Repeat.READ, doc=doc)


_MEMO = (
    "{id, number, status, type, invoice, customer, amount, currency, total, subtotal, tax, reason, memo, "
    "out_of_band_amount, issued_on, created, metadata}"
)
_OPERATIONS = (
    _write(
        ISSUE,
        "{invoice, amount, currency, reason?, memo?, credit_amount?, refund_amount?, out_of_band_amount?, metadata?} "
        f"-> {_MEMO}. On an open invoice it lowers what remains; on a paid one the three amounts must add up to "
        "`amount`. `currency` must be the invoice's. `reason` is one of Stripe's own words.",
    ),
    _write(VOID, "{credit_memo} -> {id, status}. Possible while the invoice is open."),
    _write(
        DEBIT,
        "{customer, amount, currency, description?, metadata?} -> {id, customer, amount, currency, ending_balance, "
        "issued_on, created, metadata}. Adds to the balance that the customer owes; the next invoice collects it.",
    ),
    _read("billing.invoice.get", "{id} -> the vendor's invoice, `lines` as a plain list of all lines."),
    _read("billing.credit_memo.get", f"{{id}} -> {_MEMO}, and `lines` as a plain list of all lines."),
    _read("billing.customer.get", "{id} -> the vendor's customer."),
    _read("billing.subscription.get", "{id} -> the vendor's subscription, `items` as a plain list."),
    _read(
        "billing.invoice.list",
        "{customer?, subscription?, status?, created_from?, created_before?, limit?, after?} -> {invoices, more}, "
        "newest first, `lines` as the vendor shows them. Times are seconds since 1970; `after` is an invoice's id.",
    ),
)
_SETTINGS = frozenset((
    "api_version", "zone", "events", "allowed_hosts", "private_hosts", "loopback", "ca_file", "connect_timeout",
    "read_timeout", "max_response", "max_connections",
))  # fmt: skip
_LISTING = {
    "customer": "customer", "subscription": "subscription", "status": "status", "created_from": "created[gte]",
    "created_before": "created[lt]", "limit": "limit", "after": "starting_after",
}  # fmt: skip


def connect(config: SystemConfig) -> Stripe:
    """Build the connector of one account. Raises Misconfigured.

    Secrets: `api_key`, `webhook_secret` and, during a rotation, `webhook_secret_old`. `config.account` names a connected
    account. Settings: `api_version`, `zone` (of `issued_on`, an IANA name, UTC by default), `events` (types in the feed,
    all by default), and those of `Http.of`.
    """
    problems = [] if config.secrets.get("api_key") else ["secret api_key is missing"]
    if unknown := sorted(set(config.settings) - _SETTINGS):
        problems.append(f"unknown settings: {', '.join(unknown)}")
    events = config.settings.get("events", ())
    if isinstance(events, str) or not all(isinstance(name, str) for name in events) or len(events) > 20:
        problems.append("setting events must be a list of at most 20 event types")
    try:
        ZoneInfo(str(config.settings.get("zone", "UTC")))
    except (ZoneInfoNotFoundError, ValueError):
        problems.append(f"setting zone {config.settings['zone']!r} is not a time zone")
    if problems:
        raise Misconfigured(f"system {config.name}: {'; '.join(problems)}")
    return Stripe(config)


class Stripe:
    """Connector of one account."""

    operations: Mapping[str, OperationSpec] = {spec.name: spec for spec in _OPERATIONS}
    feeds: Sequence[str] = ("events",)

    def __init__(self, config: SystemConfig) -> None:
        self._name, self._account = config.name, config.account
        self._zone = ZoneInfo(str(config.settings.get("zone", "UTC")))
        self._events = tuple(config.settings.get("events", ()))
        names = ("webhook_secret", "webhook_secret_old")
        self._hook_secrets = [config.secrets[name] for name in names if config.secrets.get(name)]
        headers = {
            "authorization": f"Bearer {config.secrets['api_key']}",
            "stripe-version": str(config.settings.get("api_version", API_VERSION)),
            "accept": "application/json",
        }
        if self._account:
            headers["stripe-account"] = self._account
        self._http = Http.of(config, headers=headers)

    def receive(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery:
        if not self._hook_secrets:
            raise signature.SignatureRefused(
                f"system {self._name} has no secret webhook_secret, so it cannot verify deliveries", "missing"
            )
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
        deadline = time.monotonic() + timeout
        try:
            match request.operation:
                case "billing.credit_memo.issue":
                    return await self._issue(request, deadline)
                case "billing.credit_memo.void":
                    return await self._void(request, deadline)
                case "billing.debit_memo.issue":
                    return await self._debit(request, deadline)
            return Rejected(
                ErrorClass.INVALID, f"Stripe has no write operation {request.operation}", "operation"
            )
        except EarlyOutcome as early:
            return early.outcome
        except Misconfigured as error:
            return Rejected(ErrorClass.UNAUTHORIZED, str(error), "misconfigured")

    async def find(self, request: Request, timeout: float) -> Finding:
        deadline = time.monotonic() + timeout
        try:
            match request.operation:
                case "billing.credit_memo.issue":
                    memo = _input(request, CreditMemo)
                    rows = self._rows("/v1/credit_notes", {"invoice": memo.invoice}, deadline)
                    return await self._find_by_key(rows, request.key, documents.credit_memo)
                case "billing.debit_memo.issue":
                    debit = _input(request, DebitMemo)
                    rows = self._rows(f"/v1/customers/{debit.customer}/balance_transactions", {}, deadline)
                    return await self._find_by_key(rows, request.key, documents.balance_debit)
                case "billing.credit_memo.void":
                    id = _input(request, VoidCreditMemo).credit_memo
                    note = await self._get(f"/v1/credit_notes/{id}", "credit_note", {}, deadline)
                    voided = note.get("status") == "void"
                    return Confirmed({"id": id, "status": "void"}) if voided else Absent()
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
        deadline = time.monotonic() + timeout
        match operation:
            case "billing.invoice.get":
                invoice = await self._get_by_id("invoices", "invoice", arguments, deadline)
                return {**invoice, "lines": await self._all_lines(invoice, deadline)}
            case "billing.credit_memo.get":
                note = await self._get_by_id("credit_notes", "credit_note", arguments, deadline)
                memo = _confirmed(note, documents.credit_memo, self._zone)
                if isinstance(memo, Unknown):
                    raise Refused(memo.message, ErrorClass.INVALID, "shape")
                return {**memo.result, "lines": await self._all_lines(note, deadline)}
            case "billing.customer.get":
                customer = await self._get_by_id("customers", "customer", arguments, deadline)
                if customer.get("deleted"):
                    raise Refused(f"customer {customer['id']} is deleted", ErrorClass.NOT_FOUND, "deleted")
                return customer
            case "billing.subscription.get":
                subscription = await self._get_by_id("subscriptions", "subscription", arguments, deadline)
                return {**subscription, "items": await self._all_lines(subscription, deadline, "items")}
            case "billing.invoice.list":
                if unknown := sorted(set(arguments) - _LISTING.keys()):
                    raise Refused(f"unknown arguments: {', '.join(unknown)}", ErrorClass.INVALID, "arguments")
                query = {_LISTING[name]: str(value) for name, value in arguments.items() if value is not None}
                page = await self._get("/v1/invoices", "list", query, deadline)
                return {"invoices": page["data"], "more": bool(page.get("has_more"))}
        raise Misconfigured(f"Stripe has no read operation {operation}")

    async def poll(self, feed_name: str, cursor: str | None, limit: int, timeout: float) -> Page:
        if feed_name not in self.feeds:
            raise Misconfigured(f"Stripe has no feed {feed_name}")
        deadline = time.monotonic() + timeout
        try:
            start = feed.EventCursor.read(cursor)
        except ValueError as error:
            raise Misconfigured(
                f"system {self._name}: the cursor of {feed_name} cannot be read: {error}"
            ) from error
        try:
            return await feed.read_page(self._get, self._events, start, limit, deadline)
        except Refused as error:
            raise Misconfigured(f"system {self._name}: the events cannot be read: {error}") from error

    async def check(self, timeout: float) -> None:
        try:
            await self._get("/v1/credit_notes", "list", {"limit": "1"}, time.monotonic() + timeout)
        except Refused as error:
            raise Misconfigured(f"system {self._name} cannot be used: {error}") from error

    async def close(self) -> None:
        await self._http.close()

    # Writing.

    async def _issue(self, request: Request, deadline: float) -> Outcome:
        memo = _input(request, CreditMemo)
        # Stripe takes the currency from the invoice: with another one the amount would silently be wrong.
        invoice = await self._before(f"/v1/invoices/{memo.invoice}", "invoice", deadline)
        if invoice.get("currency") != memo.currency.lower():
            message = (
                f"invoice {memo.invoice} is in {invoice.get('currency')}, but the memo is in {memo.currency}"
            )
            return Rejected(ErrorClass.INVALID, message, "currency_mismatch")
        form = {
            "invoice": memo.invoice, "amount": memo.amount, "credit_amount": memo.credit_amount,
            "refund_amount": memo.refund_amount, "out_of_band_amount": memo.out_of_band_amount,
            "reason": memo.reason, "memo": memo.memo, "metadata": {**memo.metadata, documents.KEY: request.key},
        }  # fmt: skip
        note = await self._post("/v1/credit_notes", "credit_note", form, request.key, deadline)
        return _confirmed(note, documents.credit_memo, self._zone)

    async def _void(self, request: Request, deadline: float) -> Outcome:
        path = f"/v1/credit_notes/{_input(request, VoidCreditMemo).credit_memo}"
        try:
            note = await self._post(f"{path}/void", "credit_note", {}, request.key, deadline)
        except EarlyOutcome as early:
            return await self._refused_or_void(path, early.outcome, deadline)
        if note.get("status") != "void":
            return Unknown(f"{path}/void answered with the status {note.get('status')!r}")
        return Confirmed({"id": note["id"], "status": "void"})

    async def _refused_or_void(self, path: str, outcome: Rejected | Unknown, deadline: float) -> Outcome:
        # The text of a refusal is not a contract: read from the note whether it is void already.
        if isinstance(outcome, Unknown) or outcome.error_class is not ErrorClass.REFUSED:
            return outcome
        try:
            note = await self._get(path, "credit_note", {}, deadline)
        except CounterfoilError:
            return outcome
        if note.get("status") != "void":
            return outcome
        return Rejected(ErrorClass.ALREADY_DONE, outcome.message, "already_void")

    async def _debit(self, request: Request, deadline: float) -> Outcome:
        debit = _input(request, DebitMemo)
        form = {
            "amount": debit.amount, "currency": debit.currency.lower(), "description": debit.description,
            "metadata": {**debit.metadata, documents.KEY: request.key},
        }  # fmt: skip
        path = f"/v1/customers/{debit.customer}/balance_transactions"
        transaction = await self._post(path, "customer_balance_transaction", form, request.key, deadline)
        return _confirmed(transaction, documents.balance_debit, self._zone)

    async def _before(self, path: str, kind: str, deadline: float) -> Mapping[str, Json]:
        """Return an object before the first write. Every failure here proves that nothing was written."""
        try:
            return await self._get(path, kind, {}, deadline)
        except TryAgain as error:
            failed = ErrorClass.TRANSIENT if error.after is None else ErrorClass.THROTTLED
            raise EarlyOutcome(Rejected(failed, str(error), retry_after=error.after)) from error
        except Refused as error:
            raise EarlyOutcome(Rejected(error.error_class, str(error), error.code)) from error

    async def _post(
        self, path: str, kind: str, form: Mapping[str, Any], key: str, deadline: float
    ) -> dict[str, Json]:
        headers = {"idempotency-key": key, "content-type": "application/x-www-form-urlencoded"}
        try:
            answer = await self._call("POST", path, deadline, headers=headers, body=forms.encode(form))
        except TryAgain as error:
            raise EarlyOutcome(Rejected(ErrorClass.TRANSIENT, str(error), "not_sent")) from error
        except Uncertain as error:
            raise EarlyOutcome(Unknown(str(error))) from error
        created = answers.read_object(answer, kind)
        if created is not None:
            return created
        raise EarlyOutcome(answers.refusal_of(answer) or Unknown(answers.describe("POST", path, answer)))

    # Reading.

    async def _get(self, path: str, kind: str, query: Mapping[str, str], deadline: float) -> dict[str, Json]:
        """Return one object or list. Raises TryAgain, Refused or Misconfigured."""
        try:
            answer = await self._call("GET", path, deadline, query=query)
        except Uncertain as error:
            raise TryAgain(str(error)) from error
        value = answers.read_object(answer, kind)
        if value is not None:
            return value
        rejected = answers.refusal_of(answer)
        raise (
            TryAgain(answers.describe("GET", path, answer))
            if rejected is None
            else answers.error_of(rejected)
        )

    async def _get_by_id(
        self, folder: str, kind: str, arguments: Mapping[str, Json], deadline: float
    ) -> dict[str, Json]:
        id = arguments.get("id")
        if not is_id(id) or set(arguments) != {"id"}:
            raise Refused(f"{dict(arguments)!r} is not the id of one {kind}", ErrorClass.INVALID, "id")
        return await self._get(f"/v1/{folder}/{id}", kind, {}, deadline)

    async def _call(
        self,
        method: str,
        path: str,
        deadline: float,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Response:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TryAgain(f"the timeout ended before the call {method} {path}")
        return await self._http.request(
            method, path, headers=headers, params=query or None, body=body, timeout=left
        )

    async def _rows(
        self, path: str, query: Mapping[str, str], deadline: float
    ) -> AsyncIterator[dict[str, Json]]:
        """Yield every row of a list, in the vendor's order, page after page."""
        after: dict[str, str] = {}
        while True:
            page = await self._get(path, "list", {**query, "limit": str(_PAGE_ROWS), **after}, deadline)
            for row in page["data"]:
                yield row
            if not page.get("has_more") or not page["data"]:
                return
            after = {"starting_after": str(page["data"][-1]["id"])}

    async def _find_by_key(
        self, rows: AsyncIterator[dict[str, Json]], key: str, result: documents.Result
    ) -> Finding:
        async for row in rows:
            if (row.get("metadata") or {}).get(documents.KEY) == key:
                return _confirmed(row, result, self._zone)
        return Absent()

    async def _all_lines(
        self, document: Mapping[str, Json], deadline: float, name: str = "lines"
    ) -> list[Json]:
        """Return all rows of an inline list, of which the object shows only the first ones."""
        inline = document[name]
        rows = list(inline["data"])
        if not inline.get("has_more"):
            return rows
        if name == "items":
            return [row async for row in self._rows(
                "/v1/subscription_items", {"subscription": str(document["id"])}, deadline)]  # fmt: skip
        path = f"/v1/{document['object']}s/{document['id']}/lines"
        return [row async for row in self._rows(path, {}, deadline)]


def _input(request: Request, kind: type[documents.AnyInput]) -> documents.AnyInput:
    value = documents.read_input(request.body, kind)
    if isinstance(value, Rejected):
        raise EarlyOutcome(value)
    return value


def _confirmed(created: Mapping[str, Json], result: documents.Result, zone: ZoneInfo) -> Confirmed | Unknown:
    """Return `Confirmed` with the result, or `Unknown` if the object cannot be read as documented."""
    try:
        return Confirmed(result(created, zone))
    except (KeyError, TypeError, ValueError) as error:
        return Unknown(
            f"{created.get('object')} {created.get('id')} does not have the documented form: {error!r}"
        )
