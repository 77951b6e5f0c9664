"""The Roundup connector: replies to tickets, opens them, reads and polls them, and verifies callbacks.

A reply is two calls, because Roundup has none that does both: the message is stored under our key as its
message id, then one conditional change of the issue links it and sets the fields. Only that second call shows.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from counterfoil.connectors import signature
from counterfoil.connectors.http import Http, Response
from counterfoil.connectors.roundup import answers, tickets
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
from counterfoil.core.errors import ErrorClass, Misconfigured, Refused, TryAgain, Uncertain
from counterfoil.core.wire import read_json

REPLY = "support.ticket.reply"
CREATE = "support.ticket.create"
GET = "support.ticket.get"

# A request that Roundup has read is carried out or dropped within its SQLite lock timeout of 30 s.
_HORIZON = 60.0
_OVERLAP = timedelta(seconds=5)

_OPERATIONS = (
    OperationSpec(
        REPLY,
        Repeat.FIND,
        horizon=_HORIZON,
        doc="{ticket, message, fields?, etag?} -> {ticket, message_id}. `fields` are set in the same change as "
        "the message; null clears one. With `etag` the change is made only to the state that was read.",
    ),
    OperationSpec(
        CREATE,
        Repeat.UNIQUE,
        horizon=_HORIZON,
        doc="{title, message?, fields?} -> {ticket}. The key becomes external_ref, which the tracker keeps unique.",
    ),
    OperationSpec(
        GET,
        Repeat.READ,
        doc="{id} -> every field, links by name, `messages` as ids, times in RFC 3339, `etag`, `actor`, `creator`.",
    ),
)

# What `Http.of` reads; nothing else about a tracker can be set.
_SETTINGS = frozenset(
    (
        "allowed_hosts",
        "private_hosts",
        "loopback",
        "ca_file",
        "connect_timeout",
        "read_timeout",
        "max_response",
        "max_connections",
    )
)

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


class _Ended(Exception):
    """An operation came to its outcome early."""

    def __init__(self, outcome: Rejected | Unknown) -> None:
        super().__init__(outcome)
        self.outcome = outcome


def connect(config: SystemConfig) -> Roundup:
    """A connector of one tracker. `config.url` is the tracker's own address, such as https://desk.example.com/acme;
    secrets are `username`, `password` and, where callbacks come in, `hook_secret`. Raises Misconfigured."""
    missing = [name for name in ("username", "password") if not config.secrets.get(name)]
    place = urlsplit(config.url)
    wrong = [f"secret {name} is missing" for name in missing]
    if place.scheme not in ("http", "https") or not place.hostname:
        wrong.append(f"url {config.url!r} is not an http or https address")
    if unknown := sorted(set(config.settings) - _SETTINGS):
        wrong.append(f"unknown settings: {', '.join(unknown)}")
    if wrong:
        raise Misconfigured("\n".join(wrong))
    return Roundup(config)


class Roundup:
    """One tracker as one account; see `Connector` for what each method promises."""

    operations: Mapping[str, OperationSpec] = {spec.name: spec for spec in _OPERATIONS}
    feeds: Sequence[str] = ("tickets",)

    def __init__(self, config: SystemConfig) -> None:
        place = urlsplit(config.url)
        credentials = f"{config.secrets['username']}:{config.secrets['password']}"
        self._name = config.name
        self._user = config.secrets["username"]
        self._hook_secret = config.secrets.get("hook_secret", "")
        headers = {
            "authorization": "Basic " + base64.b64encode(credentials.encode()).decode(),
            # Roundup takes calls of programs only with both of these.
            "origin": f"{place.scheme}://{place.netloc}",
            "x-requested-with": "rest",
            "accept": "application/json",
        }
        self._http = Http.of(config, headers=headers)
        self._fields: list[str] = []

    def receive(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery:
        if not self._hook_secret:
            raise signature.SignatureRefused(
                f"system {self._name} has no hook_secret to verify with", "missing"
            )
        signature.verify("github-sha256", self._hook_secret, headers, body, now)
        ticket = read_json(body)
        try:
            event, activity = ticket["event"], tickets.moment(ticket["activity"])
            if event not in ("issue.created", "issue.updated") or not isinstance(ticket["id"], str):
                raise ValueError(f"event {event!r} of issue {ticket['id']!r}")
            # The id inside the signed body counts; a header could be changed by whoever repeats the delivery.
            ext_id = ticket.get("delivery") or f"issue/{tickets.state_id(ticket)}"
            return Delivery(str(ext_id), event, tickets.identity(ticket, event), ticket, activity)
        except (KeyError, TypeError, ValueError) as error:
            raise Refused(f"not a callback of an issue: {error!r}", ErrorClass.INVALID) from error

    async def send(self, request: Request, timeout: float) -> Outcome:
        ends = time.monotonic() + timeout
        try:
            if request.operation == REPLY:
                return await self._reply(request.key, _input(request.body, _Reply), ends)
            if request.operation == CREATE:
                return await self._create(request.key, _input(request.body, _Create), ends)
            return Rejected(ErrorClass.INVALID, f"Roundup has no write operation {request.operation}")
        except _Ended as ended:
            return ended.outcome
        except Misconfigured as error:
            return Rejected(ErrorClass.UNAUTHORIZED, str(error), "misconfigured")

    async def find(self, request: Request, timeout: float) -> Finding:
        ends = time.monotonic() + timeout
        try:
            if request.operation == CREATE:
                issues = await self._ids("issue", {"external_ref:": request.key}, ends)
                if issues:
                    return Confirmed({"ticket": issues[0]})
            message = await self._message_id(request.key, ends)
            if message is None:
                return Absent()
            if request.operation == REPLY:
                issues = await self._ids("issue", {"messages": message}, ends)
                if issues:
                    return Confirmed({"ticket": issues[0], "message_id": message})
            return Rejected(ErrorClass.TRANSIENT, f"message {message} is stored, but no ticket shows it")
        except _Ended as ended:
            return Unknown(f"the look-up failed: {ended.outcome.message}")
        except Misconfigured as error:
            return Unknown(f"the look-up may not be made: {error}")

    async def read(self, operation: str, arguments: Mapping[str, Json], timeout: float) -> Json:
        if operation != GET:
            raise Misconfigured(f"Roundup has no read operation {operation}")
        issue = arguments.get("id")
        if not isinstance(issue, str) or not issue.isdecimal():
            raise Refused(f"{issue!r} is not the id of an issue", ErrorClass.INVALID)
        return await self._ticket(issue, time.monotonic() + timeout)

    async def poll(self, feed: str, cursor: str | None, limit: int, timeout: float) -> Page:
        if feed != "tickets":
            raise Misconfigured(f"Roundup has no feed {feed}")
        ends = time.monotonic() + timeout
        place = tickets.TicketCursor.read(cursor)
        query = {"@sort": "activity,id", "@verbose": "2", "@page_size": str(limit + len(place.seen) + 1)}
        if place.since:
            query["activity"] = f"from {place.since}"
        try:
            names = await self._field_names(ends)
            if not names:
                return Page((), place.write())
            found = await self._asking("issue", {**query, "@fields": ",".join(names)}, ends)
        except Refused as error:
            raise Misconfigured(f"system {self._name}: the feed tickets cannot be read: {error}") from error
        rows = [tickets.flatten(str(row["id"]), _without(row, "id", "link")) for row in found["collection"]]
        if not all(isinstance(row.get("activity"), str) for row in rows):
            raise Misconfigured(f"system {self._name}: the account may not see the activity of every issue")
        fresh = [row for row in rows if tickets.state_id(row) not in place.seen]
        page = fresh[:limit]
        after = place.past(page, _OVERLAP)
        return Page([tickets.delivery_of(row) for row in page], after.write(), more=len(fresh) > limit)

    async def check(self, timeout: float) -> None:
        try:
            await self._asking("issue", {"@page_size": "1"}, time.monotonic() + timeout)
        except Refused as error:
            raise Misconfigured(
                f"system {self._name} turns the account {self._user} away: {error}"
            ) from error

    async def close(self) -> None:
        await self._http.close()

    # Writing. Until `_write` is called nothing has been written, so a failure before it is proof.

    async def _reply(self, key: str, reply: _Reply, ends: float) -> Outcome:
        issue = await self._get(
            f"/rest/data/issue/{reply.ticket}", {"@fields": "messages", "@verbose": "0"}, ends
        )
        linked = [str(message) for message in issue["attributes"].get("messages", [])]
        message = await self._message_id(key, ends)
        if message in linked:
            return Confirmed({"ticket": reply.ticket, "message_id": message})
        if message is None:
            message = await self._store_message(key, reply.message, ends)
        change = {**_cleared(reply.fields), "messages": [*linked, message]}
        condition = {"if-match": reply.etag or issue["@etag"]}
        await self._write("PATCH", f"/rest/data/issue/{reply.ticket}", change, ends, condition)
        return Confirmed({"ticket": reply.ticket, "message_id": message})

    async def _create(self, key: str, create: _Create, ends: float) -> Outcome:
        body: dict[str, Json] = {**_cleared(create.fields), "title": create.title, "external_ref": key}
        if create.message is not None:
            message = await self._message_id(key, ends)
            body["messages"] = [message or await self._store_message(key, create.message, ends)]
        try:
            made = await self._write("POST", "/rest/data/issue", body, ends)
        except _Ended as ended:
            if isinstance(ended.outcome, Rejected) and ended.outcome.error_class is ErrorClass.REFUSED:
                return await self._refused_or_there(key, ended.outcome, ends)
            raise
        return Confirmed({"ticket": str(made["id"])})

    async def _refused_or_there(self, key: str, refused: Rejected, ends: float) -> Outcome:
        # A detector's words for "taken" are the tracker's own, so look instead of reading them.
        try:
            issues = await self._ids("issue", {"external_ref:": key}, ends)
        except _Ended as ended:
            return Unknown(f"{refused.message}, and the look-up failed: {ended.outcome.message}")
        if issues:
            return Rejected(
                ErrorClass.ALREADY_DONE, f"issue {issues[0]} has external_ref {key}", refused.code
            )
        return refused

    async def _store_message(self, key: str, content: str, ends: float) -> str:
        body = {"content": content, "messageid": _message_key(key), "author": self._user, "date": "."}
        return str((await self._write("POST", "/rest/data/msg", body, ends))["id"])

    async def _write(
        self,
        method: str,
        path: str,
        body: Mapping[str, Json],
        ends: float,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Json]:
        sent = msgspec.json.encode(body)
        try:
            answer = await self._call(method, path, {}, ends, sent, headers or {})
        except TryAgain as error:
            raise _Ended(Rejected(ErrorClass.TRANSIENT, str(error))) from error
        except Uncertain as error:
            raise _Ended(Unknown(str(error))) from error
        data = answers.data_of(answer.body) if answer.status in (200, 201) else None
        if data is not None and "id" in data:
            return data
        rejected = answers.refusal_of(answer.status, answer.headers, answer.body)
        raise _Ended(rejected or Unknown(f"{method} {path} answered {answer.status}: {answer.body[:200]!r}"))

    # Reading.

    async def _ticket(self, issue: str, ends: float) -> dict[str, Json]:
        data = await self._asking(f"issue/{issue}", {"@verbose": "2", "@protected": "true"}, ends)
        return {**tickets.flatten(issue, data["attributes"]), "etag": data["@etag"]}

    async def _field_names(self, ends: float) -> list[str]:
        # A list shows only fields that it is asked for by name; any one issue tells all names.
        if not self._fields:
            some = (await self._asking("issue", {"@page_size": "1"}, ends))["collection"]
            if some:
                one = await self._asking(f"issue/{some[0]['id']}", {"@protected": "true"}, ends)
                self._fields = sorted(name for name in one["attributes"] if name != "id")
        return self._fields

    async def _message_id(self, key: str, ends: float) -> str | None:
        found = await self._ids("msg", {"messageid:": _message_key(key)}, ends)
        return found[0] if found else None

    async def _ids(self, kind: str, query: Mapping[str, str], ends: float) -> list[str]:
        data = await self._get(f"/rest/data/{kind}", query, ends)
        return [str(row["id"]) for row in data["collection"]]

    async def _get(self, path: str, query: Mapping[str, str], ends: float) -> dict[str, Json]:
        """A read inside a write or a look-up: what goes wrong ends it, as a refusal or as transient."""
        try:
            return await self._asking(path.removeprefix("/rest/data/"), query, ends)
        except TryAgain as error:
            kind = ErrorClass.TRANSIENT if error.after is None else ErrorClass.THROTTLED
            raise _Ended(Rejected(kind, str(error), retry_after=error.after)) from error
        except Refused as error:
            raise _Ended(Rejected(error.error_class, str(error), error.code)) from error

    async def _asking(self, path: str, query: Mapping[str, str], ends: float) -> dict[str, Json]:
        """The data of a GET. Raises TryAgain or Refused."""
        try:
            answer = await self._call("GET", f"/rest/data/{path}", query, ends)
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
        query: Mapping[str, str],
        ends: float,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        left = ends - time.monotonic()
        if left <= 0:
            raise TryAgain(f"no time was left for {method} {path}")
        sent = dict(headers or {})
        if body is not None:
            sent["content-type"] = "application/json"
        return await self._http.request(
            method, path, headers=sent, params=query or None, body=body, timeout=left
        )


def _input(body: bytes, kind: type[_Input]) -> _Input:
    try:
        value = msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _Ended(Rejected(ErrorClass.INVALID, f"the request's body cannot be read: {error}")) from error
    fields: Mapping[str, Any] = getattr(value, "fields", {})
    odd = [name for name in fields if name.startswith("@") or name in ("messages", "title")]
    if odd:
        raise _Ended(Rejected(ErrorClass.INVALID, f"these are not fields to set: {', '.join(odd)}"))
    if isinstance(value, _Reply) and not value.ticket.isdecimal():
        raise _Ended(Rejected(ErrorClass.INVALID, f"{value.ticket!r} is not the id of an issue"))
    return value


def _cleared(fields: Mapping[str, str | None]) -> dict[str, str]:
    # Roundup skips a null; an empty text clears the field.
    return {name: value or "" for name, value in fields.items()}


def _message_key(key: str) -> str:
    return f"<{key}@counterfoil>"


def _without(row: Mapping[str, Json], *names: str) -> dict[str, Json]:
    return {name: value for name, value in row.items() if name not in names}
