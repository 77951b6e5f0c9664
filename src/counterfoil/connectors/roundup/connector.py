"""The Roundup connector: replies to tickets, opens, reads and polls them, and verifies callbacks.

A reply takes two calls, because Roundup has no call for both. The first stores the message with our key as its message
id. The second, a conditional change of the issue, links the message and sets the fields. Only the second is visible.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlsplit

import msgspec
from pydantic import BaseModel, ConfigDict

from counterfoil.connectors import signature
from counterfoil.connectors.http import Deadline, Http, Response
from counterfoil.connectors.roundup import answers, tickets
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
from counterfoil.core.errors import ErrorClass, Misconfigured, Refused, TryAgain, Uncertain
from counterfoil.core.fault_text import fault_text
from counterfoil.core.wire import read_json, write_json

REPLY = "support.ticket.reply"
CREATE = "support.ticket.create"
GET = "support.ticket.get"
CLAIM = "support.claim.get"

# Roundup executes or drops a request within its SQLite lock timeout of 30 s.
_HORIZON_SECONDS = 60.0
_OVERLAP = timedelta(seconds=5)
_WINDOW_IDS = 100
"""Ids in one call of a listing."""

_OPERATIONS = (
    OperationSpec(
        REPLY,
        Repeat.FIND,
        horizon=_HORIZON_SECONDS,
        doc="{ticket, message, fields?, etag?} -> {ticket, message_id}. `fields` are set in the same change as "
        "the message; null clears one. With `etag` the change is made only to the state that was read.",
    ),
    OperationSpec(
        CREATE,
        Repeat.UNIQUE,
        horizon=_HORIZON_SECONDS,
        doc="{title, message?, fields?} -> {ticket}. The key becomes external_ref, which the tracker keeps unique.",
    ),
    OperationSpec(
        GET,
        Repeat.READ,
        doc="{id} -> every field, links by name, `messages` as ids, times in RFC 3339, `etag`, `actor`, `creator`.",
    ),
    OperationSpec(
        CLAIM,
        Repeat.READ,
        doc="{invoice_ref, status} -> {claims: [{ticket, amount, currency, requested_at}]}, newest first: the tickets about "
        "an invoice that have one of these statuses and name a credit.",
    ),
)

Query: TypeAlias = Mapping[str, str | Sequence[str]]
"""Parameters of a call. One with several values is sent once for each."""
_Input = TypeVar("_Input")


class _Reply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    ticket: str
    message: str
    fields: dict[str, str | None] = {}
    etag: str | None = None


class _Create(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    title: str
    message: str | None = None
    fields: dict[str, str | None] = {}


class RoundupSettings(BaseModel):
    """A tracker has no settings besides those of the client."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def connect(config: SystemConfig) -> Roundup:
    """Build the connector of one tracker. Raises WrongConfiguration.

    `config.url` is the address of the tracker, such as https://desk.example.com/acme. Secrets: `username`, `password` and,
    for callbacks, `hook_secret`.
    """
    _, problems = read_settings(RoundupSettings, config)
    problems += missing_secrets(config, ["username", "password"])
    if problems:
        raise WrongConfiguration(problems)
    return Roundup(config)


class Roundup:
    """Connector of one account of a tracker."""

    operations: Mapping[str, OperationSpec] = {spec.name: spec for spec in _OPERATIONS}
    feeds: Sequence[str] = ("tickets",)
    listings: Mapping[str, Sequence[str]] = {"tickets": ("issue.created", "issue.updated")}

    def __init__(self, config: SystemConfig) -> None:
        url = urlsplit(config.url)
        credentials = f"{config.secrets['username']}:{config.secrets['password']}"
        self._name = config.name
        self._user = config.secrets["username"]
        self._hook_secrets = signature.secrets_in_rotation(config.secrets, "hook_secret")
        headers = {
            "authorization": "Basic " + base64.b64encode(credentials.encode()).decode(),
            # Roundup accepts calls from programs only with both of these headers.
            "origin": f"{url.scheme}://{url.netloc}",
            "x-requested-with": "rest",
            "accept": "application/json",
        }
        self._http = Http.of(config, headers=headers)
        self._fields: list[str] = []

    def receive(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery:
        if not self._hook_secrets:
            message = f"system {self._name} has no secret hook_secret, so it cannot verify deliveries"
            raise signature.SignatureRefused(message, "missing")
        signature.verify("github-sha256", self._hook_secrets, headers, body, now)
        ticket = read_json(body)
        try:
            event, activity = ticket["event"], tickets.moment(ticket["activity"])
            if event not in ("issue.created", "issue.updated") or not isinstance(ticket["id"], str):
                raise ValueError(f"event {event!r} of issue {ticket['id']!r}")
            # Use the id in the signed body: a repeated delivery could have a changed header.
            ext_id = ticket.get("delivery") or f"issue/{tickets.state_id(ticket)}"
            identity = tickets.identity(ticket, event)
            return Delivery(str(ext_id), event, identity, ticket, activity, content=write_json(ticket))
        except (KeyError, TypeError, ValueError) as error:
            raise Refused(f"not a callback of an issue: {error!r}", ErrorClass.INVALID) from error

    async def send(self, request: Request, timeout: float) -> Outcome:
        by = Deadline(timeout)
        try:
            if request.operation == REPLY:
                return await self._reply(request.key, _input(request.body, _Reply), by)
            if request.operation == CREATE:
                return await self._create(request.key, _input(request.body, _Create), by)
            return Rejected(ErrorClass.INVALID, f"Roundup has no write operation {request.operation}")
        except EarlyOutcome as early:
            return early.outcome
        except Misconfigured as error:
            return Rejected(ErrorClass.UNAUTHORIZED, str(error), "misconfigured")

    async def find(self, request: Request, timeout: float) -> Finding:
        by = Deadline(timeout)
        try:
            if request.operation == CREATE:
                issues = await self._ids("issue", {"external_ref:": request.key}, by)
                if issues:
                    return Confirmed({"ticket": issues[0]})
            message = await self._message_id(request.key, by)
            if message is None:
                return Absent()
            if request.operation == REPLY:
                issues = await self._ids("issue", {"messages": message}, by)
                if issues:
                    return Confirmed({"ticket": issues[0], "message_id": message})
            return Rejected(ErrorClass.TRANSIENT, f"message {message} is stored, but no ticket shows it")
        except EarlyOutcome as early:
            return Unknown(f"the look-up failed: {early.outcome.message}")
        except Misconfigured as error:
            return Unknown(f"the look-up is not allowed: {error}")

    async def read(self, operation: str, arguments: Mapping[str, Json], timeout: float) -> Json:
        if operation == CLAIM:
            return await self._claims(arguments, Deadline(timeout))
        if operation != GET:
            raise Misconfigured(f"Roundup has no read operation {operation}")
        issue = arguments.get("id")
        if not isinstance(issue, str) or not issue.isdecimal():
            raise Refused(f"{issue!r} is not the id of an issue", ErrorClass.INVALID)
        return await self._ticket(issue, Deadline(timeout))

    async def poll(self, feed: str, cursor: str | None, limit: int, timeout: float) -> Page:
        if feed != "tickets":
            raise Misconfigured(f"Roundup has no feed {feed}")
        by = Deadline(timeout)
        start = tickets.TicketCursor.read(cursor)
        query = {"@sort": "activity,id", "@verbose": "2", "@page_size": str(limit + len(start.seen) + 1)}
        if start.since:
            query["activity"] = f"from {start.since}"
        try:
            names = await self._field_names(by)
            if not names:
                return Page((), start.write())
            rows = await self._tickets({**query, "@fields": ",".join(names)}, by)
        except Refused as error:
            raise Misconfigured(f"system {self._name}: the feed tickets cannot be read: {error}") from error
        fresh = [row for row in rows if tickets.state_id(row) not in start.seen]
        page = fresh[:limit]
        after = start.past(page, _OVERLAP)
        return Page([tickets.delivery_of(row) for row in page], after.write(), more=len(fresh) > limit)

    async def list_book(self, listing: str, cursor: str | None, limit: int, timeout: float) -> Page:
        """Return the tickets of the next ids. Roundup never uses an id again, and a retired issue is not in the book."""
        if listing != "tickets":
            raise Misconfigured(f"Roundup has no listing {listing}")
        if cursor is not None and not cursor.isdecimal():
            raise Misconfigured(f"the stored cursor of the listing tickets cannot be read: {cursor!r}")
        by, after = Deadline(timeout), int(cursor or 0)
        try:
            names = await self._field_names(by)
            newest = await self._read_data("issue", {"@sort": "-id", "@page_size": "1"}, by)
            highest = max([after, *(int(row["id"]) for row in newest["collection"])])
            last = min(after + min(limit, _WINDOW_IDS), highest)
            rows: list[dict[str, Json]] = []
            if last > after:
                ids = [str(number) for number in range(after + 1, last + 1)]
                query = {"id": ids, "@sort": "id", "@verbose": "2", "@fields": ",".join(names)}
                rows = await self._tickets(query, by)
        except Refused as error:
            raise Misconfigured(f"system {self._name}: the tickets cannot be listed: {error}") from error
        return Page([tickets.delivery_of(row) for row in rows], str(last), more=last < highest)

    async def check(self, timeout: float) -> None:
        try:
            await self._read_data("issue", {"@page_size": "1"}, Deadline(timeout))
        except Refused as error:
            raise Misconfigured(f"system {self._name} refuses the account {self._user}: {error}") from error

    async def close(self) -> None:
        await self._http.close()

    # Writing. Before `_write` nothing is written, so a failure before it is a proof.

    async def _reply(self, key: str, reply: _Reply, by: Deadline) -> Outcome:
        issue = await self._get(f"issue/{reply.ticket}", {"@fields": "messages", "@verbose": "0"}, by)
        linked = [str(message) for message in issue["attributes"].get("messages", [])]
        message = await self._message_id(key, by)
        if message in linked:
            return Confirmed({"ticket": reply.ticket, "message_id": message})
        if message is None:
            message = await self._store_message(key, reply.message, by)
        change = {**_clear_nulls(reply.fields), "messages": [*linked, message]}
        condition = {"if-match": reply.etag or issue["@etag"]}
        await self._write("PATCH", f"/rest/data/issue/{reply.ticket}", change, by, condition)
        return Confirmed({"ticket": reply.ticket, "message_id": message})

    async def _create(self, key: str, create: _Create, by: Deadline) -> Outcome:
        body: dict[str, Json] = {**_clear_nulls(create.fields), "title": create.title, "external_ref": key}
        if create.message is not None:
            message = await self._message_id(key, by)
            body["messages"] = [message or await self._store_message(key, create.message, by)]
        try:
            issue = await self._write("POST", "/rest/data/issue", body, by)
        except EarlyOutcome as early:
            if isinstance(early.outcome, Rejected) and early.outcome.error_class is ErrorClass.REFUSED:
                return await self._refused_or_exists(key, early.outcome, by)
            raise
        return Confirmed({"ticket": str(issue["id"])})

    async def _refused_or_exists(self, key: str, rejected: Rejected, by: Deadline) -> Outcome:
        # Each tracker has its own text for a duplicate: look it up instead of reading the text.
        try:
            issues = await self._ids("issue", {"external_ref:": key}, by)
        except EarlyOutcome as early:
            return Unknown(f"{rejected.message}, and the look-up failed: {early.outcome.message}")
        if issues:
            message = f"issue {issues[0]} has external_ref {key}"
            return Rejected(ErrorClass.ALREADY_DONE, message, rejected.code)
        return rejected

    async def _store_message(self, key: str, content: str, by: Deadline) -> str:
        body = {"content": content, "messageid": _message_key(key), "author": self._user, "date": "."}
        return str((await self._write("POST", "/rest/data/msg", body, by))["id"])

    async def _write(
        self,
        method: str,
        path: str,
        body: Mapping[str, Json],
        by: Deadline,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Json]:
        sent = msgspec.json.encode(body)
        try:
            answer = await self._call(method, path, {}, by, sent, headers or {})
        except TryAgain as error:
            raise EarlyOutcome(Rejected(ErrorClass.TRANSIENT, str(error))) from error
        except Uncertain as error:
            raise EarlyOutcome(Unknown(str(error))) from error
        data = answers.data_of(answer.body) if answer.status in (200, 201) else None
        if data is not None and "id" in data:
            return data
        rejected = answers.refusal_of(answer.status, answer.headers, answer.body)
        unclear = Unknown(f"{method} {path} answered {answer.status}: {answer.body[:200]!r}")
        raise EarlyOutcome(rejected or unclear)

    # Reading.

    async def _ticket(self, issue: str, by: Deadline) -> dict[str, Json]:
        data = await self._read_data(f"issue/{issue}", {"@verbose": "2", "@protected": "true"}, by)
        return {**tickets.flatten(issue, data["attributes"]), "etag": data["@etag"]}

    async def _claims(self, arguments: Mapping[str, Json], by: Deadline) -> dict[str, Json]:
        invoice, statuses = arguments.get("invoice_ref"), arguments.get("status")
        if not isinstance(invoice, str) or not invoice or not isinstance(statuses, list) or not statuses:
            raise Refused("a claim is read by invoice_ref and a list status", ErrorClass.INVALID)
        query = {
            "invoice_ref:": invoice, "@sort": "-creation,-id", "@verbose": "2",
            "@fields": "status,credit_amount,credit_currency,creation",
        }  # fmt: skip
        rows = (await self._read_data("issue", query, by))["collection"]
        flat = [tickets.flatten(str(row["id"]), _without(row, "id", "link")) for row in rows]
        return {
            "claims": [
                {
                    "ticket": row["id"],
                    "amount": row["credit_amount"],
                    "currency": row["credit_currency"],
                    "requested_at": row["creation"],
                }
                for row in flat
                if row.get("status") in statuses and row.get("credit_amount") and row.get("credit_currency")
            ]
        }

    async def _tickets(self, query: Query, by: Deadline) -> list[dict[str, Json]]:
        """Return the tickets that a query selects. Raises TryAgain, Refused or Misconfigured."""
        issues = await self._read_data("issue", query, by)
        rows = [tickets.flatten(str(row["id"]), _without(row, "id", "link")) for row in issues["collection"]]
        if not all(isinstance(row.get("activity"), str) for row in rows):
            message = "the account must be allowed to see the activity of every issue"
            raise Misconfigured(f"system {self._name}: {message}")
        return rows

    async def _field_names(self, by: Deadline) -> list[str]:
        # A list shows only the requested fields. Any issue has the names of all fields.
        if not self._fields:
            rows = (await self._read_data("issue", {"@page_size": "1"}, by))["collection"]
            if rows:
                issue = await self._read_data(f"issue/{rows[0]['id']}", {"@protected": "true"}, by)
                self._fields = sorted(name for name in issue["attributes"] if name != "id")
        return self._fields

    async def _message_id(self, key: str, by: Deadline) -> str | None:
        messages = await self._ids("msg", {"messageid:": _message_key(key)}, by)
        return messages[0] if messages else None

    async def _ids(self, kind: str, query: Mapping[str, str], by: Deadline) -> list[str]:
        data = await self._get(kind, query, by)
        return [str(row["id"]) for row in data["collection"]]

    async def _get(self, path: str, query: Mapping[str, str], by: Deadline) -> dict[str, Json]:
        """Return the data of a read inside a write or look-up. A failure ends the operation: as refused or as transient."""
        try:
            return await self._read_data(path, query, by)
        except (TryAgain, Refused) as error:
            raise EarlyOutcome.of_read(error) from error

    async def _read_data(self, path: str, query: Query, by: Deadline) -> dict[str, Json]:
        """Return the data of a GET. Raises TryAgain or Refused."""
        try:
            answer = await self._call("GET", f"/rest/data/{path}", query, by)
        except Uncertain as error:
            raise TryAgain(str(error)) from error
        data = answers.data_of(answer.body) if answer.status == 200 else None
        if data is not None and ("collection" in data or "attributes" in data):
            return data
        rejected = answers.refusal_of(answer.status, answer.headers, answer.body)
        if rejected is None:
            raise TryAgain(f"GET {path} answered {answer.status}: {answer.body[:200]!r}")
        raise answers.error_of(rejected)

    async def _call(
        self,
        method: str,
        path: str,
        query: Query,
        by: Deadline,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        sent = dict(headers or {})
        if body is not None:
            sent["content-type"] = "application/json"
        left = by.left(f"{method} {path}")
        return await self._http.request(
            method, path, headers=sent, params=_pairs(query) or None, body=body, timeout=left
        )


def _input(body: bytes, kind: type[_Input]) -> _Input:
    try:
        value = msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _invalid(f"the body of the request cannot be read: {fault_text(error)}") from error
    fields: Mapping[str, Any] = getattr(value, "fields", {})
    reserved = [name for name in fields if name.startswith("@") or name in ("messages", "title")]
    if reserved:
        raise _invalid(f"these fields cannot be set: {', '.join(reserved)}")
    if isinstance(value, _Reply) and not value.ticket.isdecimal():
        raise _invalid(f"{value.ticket!r} is not the id of an issue")
    return value


def _pairs(query: Query) -> list[tuple[str, str]]:
    return [
        (name, part)
        for name, value in query.items()
        for part in ([value] if isinstance(value, str) else value)
    ]


def _invalid(message: str) -> EarlyOutcome:
    return EarlyOutcome(Rejected(ErrorClass.INVALID, message))


def _clear_nulls(fields: Mapping[str, str | None]) -> dict[str, str]:
    # Roundup skips a null; an empty text clears the field.
    return {name: value or "" for name, value in fields.items()}


def _message_key(key: str) -> str:
    return f"<{key}@counterfoil>"


def _without(row: Mapping[str, Json], *names: str) -> dict[str, Json]:
    return {name: value for name, value in row.items() if name not in names}
