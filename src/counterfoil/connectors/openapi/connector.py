"""The `http` connector: canonical operations, feeds and webhooks of one HTTP API, as its settings describe them."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from counterfoil.connectors import signature
from counterfoil.connectors.declared_hmac import hmac_scheme
from counterfoil.connectors.http import Deadline, Http, Response
from counterfoil.connectors.openapi import (
    answers,
    document,
    listings,
    protection,
    render,
    shapes,
    validate,
)
from counterfoil.connectors.openapi.render import MISSING, InputRefused, value_at
from counterfoil.connectors.openapi.settings import (
    AuthSettings,
    CallSettings,
    FindSettings,
    HttpSettings,
    OperationSettings,
    RecordsSettings,
    read,
)
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
    WrongConfiguration,
)
from counterfoil.core.errors import CounterfoilError, ErrorClass, Misconfigured, Refused, TryAgain, Uncertain
from counterfoil.core.wire import WireRefused, read_json, write_json

_FIND_PAGES = 50


class _LookUp(NamedTuple):
    """Look-up of one write: its settings, and the input, key and deadline of the write."""

    find: FindSettings
    result: Mapping[str, str]
    value: Mapping[str, Json]
    key: str
    by: Deadline

    def has(self, expected: Mapping[str, Any], item: Json) -> bool:
        """Report whether an item has these values; they may refer to the input and the key of the write."""
        return all(
            render.is_equal(value_at(item, pointer), render.fill(value, self.value, self.key))
            for pointer, value in expected.items()
        )

    def finding(self, item: Json) -> Confirmed | Absent | Unknown:
        """Return what an item shows. With `state`, the write is done only if the item is in that state."""
        state = self.find.state
        if hidden := [pointer for pointer in state if value_at(item, pointer) is MISSING]:
            places = ", ".join(hidden)
            return Unknown(f"{self.find.operation_id} does not show the state: there is nothing at {places}")
        return answers.find_result(self.result, item) if self.has(state, item) else Absent()


def connect(config: SystemConfig) -> HttpSystem:
    """Build the connector that `config.settings` describe; see `HttpSettings`. Raises one WrongConfiguration."""
    settings, problems = read(config)
    api: document.ApiDocument | None = None
    if "openapi" in config.settings:
        api, unreadable = document.load(config.settings["openapi"])
        problems += unreadable
    specs: Mapping[str, OperationSpec] = {}
    if settings is not None:
        specs, undeclared = protection.specs_of(settings, config.operations)
        problems += undeclared
        problems += validate.find_problems(settings, api, specs, config)
    if problems or settings is None or api is None:
        raise WrongConfiguration(problems)
    return HttpSystem(config, settings, api, shapes.with_shapes(specs, settings, api))


def _scheme(settings: HttpSettings) -> str | signature.Scheme:
    hook = settings.webhook
    if hook is None:
        return "none"
    return hook.scheme if hook.hmac is None else hmac_scheme(hook.hmac.form)


class HttpSystem:
    """Connector of one account of an API."""

    def __init__(
        self,
        config: SystemConfig,
        settings: HttpSettings,
        api: document.ApiDocument,
        specs: Mapping[str, OperationSpec],
    ) -> None:
        self.operations = specs
        self.feeds: Sequence[str] = tuple(settings.feeds)
        self.listings: Mapping[str, Sequence[str]] = {
            name: () if listing.type.startswith("/") else (listing.type,)
            for name, listing in settings.listings.items()
        }
        self._name = config.name
        self._settings = settings
        self._described = api.operations
        self._hook_secrets = signature.secrets_in_rotation(config.secrets, "hook_secret")
        self._scheme = _scheme(settings)
        headers = {"accept": "application/json", **_credentials(settings.auth, config.secrets)}
        self._http = Http.of(config, headers=headers)

    def receive(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery:
        hook = self._settings.webhook
        if hook is None:
            raise signature.SignatureRefused(f"system {self._name} has no webhook in its settings", "missing")
        signature.verify(self._scheme, self._hook_secrets, headers, body, now, hook.tolerance)
        event = read_json(body)
        return Delivery(
            ext_id=answers.identify(hook.id, headers, event),
            type=answers.identify(hook.type, headers, event),
            identity="\n".join(answers.required_text(event, pointer) for pointer in hook.identity).encode(),
            body=event,
            occurred_at=answers.parse_moment(event, hook.occurred_at),
            content=write_json(event),
        )

    async def send(self, request: Request, timeout: float) -> Outcome:
        operation = self._settings.operations.get(request.operation)
        if operation is None or self.operations[request.operation].repeat is Repeat.READ:
            return Rejected(ErrorClass.INVALID, f"{self._name} has no write operation {request.operation}")
        try:
            value, by = _input(request.body), Deadline(timeout)
            if self.operations[request.operation].repeat is Repeat.STATE and operation.find is not None:
                look_up = _LookUp(operation.find, operation.look_up_result, value, request.key, by)
                outcome = await self._outcome_before(look_up)
                if outcome is not None:
                    return outcome
            answer = await self._call(operation, value, request.key, by)
        except (InputRefused, WireRefused) as error:
            return Rejected(ErrorClass.INVALID, str(error))
        except TryAgain as error:
            return Rejected(ErrorClass.TRANSIENT, str(error), retry_after=error.after)
        except Uncertain as error:
            return Unknown(str(error))
        except Misconfigured as error:
            return Rejected(ErrorClass.UNAUTHORIZED, str(error), "misconfigured")
        return answers.outcome_of(operation, answer)

    async def find(self, request: Request, timeout: float) -> Finding:
        operation = self._settings.operations.get(request.operation)
        if operation is None or operation.find is None:
            return Unknown(f"{request.operation} has no look-up")
        try:
            value = _input(request.body)
            look_up = _LookUp(operation.find, operation.look_up_result, value, request.key, Deadline(timeout))
            return await self._look_up(look_up)
        except InputRefused as error:
            return Unknown(f"the look-up cannot be made: {error}")
        except CounterfoilError as error:
            return Unknown(f"the look-up failed: {error}")

    async def _outcome_before(self, look_up: _LookUp) -> Confirmed | Rejected | None:
        """Return the outcome of a call that is not made, because its state is there or cannot be read; else None."""
        try:
            finding = await self._look_up(look_up)
        except Refused as error:
            return Rejected(error.error_class, f"not sent, the look-up was refused: {error}", error.code)
        except (TryAgain, Uncertain) as error:
            after = error.after if isinstance(error, TryAgain) else None
            kind = ErrorClass.TRANSIENT if after is None else ErrorClass.THROTTLED
            return Rejected(kind, f"not sent, the look-up failed: {error}", retry_after=after)
        if isinstance(finding, Unknown):
            return Rejected(ErrorClass.TRANSIENT, f"not sent: {finding.message}")
        return None if isinstance(finding, Absent) else finding

    async def _look_up(self, look_up: _LookUp) -> Confirmed | Absent | Unknown:
        """Return what the system shows of a write. Raises InputRefused, TryAgain, Refused or Uncertain."""
        if look_up.find.one:
            return await self._find_one(look_up)
        async for item in self._items(look_up):
            if look_up.has(look_up.find.match, item):
                return look_up.finding(item)
        return Absent()

    async def _find_one(self, look_up: _LookUp) -> Confirmed | Absent | Unknown:
        find = look_up.find
        answer = await self._call(find, look_up.value, look_up.key, look_up.by)
        if answer.status == 404:
            return Absent()
        item = value_at(answers.document_of(answer), find.items)
        if not look_up.has(find.match, item):
            # A look-up of one object by its key is empty only with a 404.
            return Unknown(f"{find.operation_id} returned another object than requested")
        return look_up.finding(item)

    async def _items(self, look_up: _LookUp) -> AsyncIterator[Json]:
        find = look_up.find
        more: dict[str, Json] = {}
        for _ in range(_FIND_PAGES):
            page = answers.document_of(await self._call(find, look_up.value, look_up.key, look_up.by, more))
            items = value_at(page, find.items)
            if not isinstance(items, list):
                raise Uncertain(f"{find.operation_id} answered without a list at {find.items!r}")
            for item in items:
                yield item
            if find.cursor is None or not items:
                return
            by_item = find.next_item is not None
            following = value_at(items[-1] if by_item else page, find.next_item or find.next or "")
            if following is MISSING or following in (None, "", False):
                return
            more = {find.cursor: following}
        raise Uncertain(f"{find.operation_id} has more than {_FIND_PAGES} pages")

    async def read(self, operation: str, arguments: Mapping[str, Json], timeout: float) -> Json:
        call = self._settings.operations.get(operation)
        if call is None or self.operations[operation].repeat is not Repeat.READ:
            raise Misconfigured(f"{self._name} has no read operation {operation}")
        try:
            answer = await self._call(call, arguments, "", Deadline(timeout))
        except InputRefused as error:
            raise Refused(str(error), ErrorClass.INVALID) from error
        except Uncertain as error:
            raise TryAgain(str(error)) from error
        value = answers.document_of(answer, call.errors)
        if not call.result:
            return value
        result = answers.result_of(call.result, value)
        if result is None:
            raise Refused(f"{call.operation_id} answered without all of {', '.join(call.result.values())}")
        return result

    async def poll(self, feed: str, cursor: str | None, limit: int, timeout: float) -> Page:
        call = self._settings.feeds.get(feed)
        if call is None:
            raise Misconfigured(f"{self._name} has no feed {feed}")
        more: dict[str, Json] = {call.cursor: cursor} if cursor else {}
        if call.limit is not None:
            more[call.limit] = limit
        try:
            page = answers.document_of(await self._call(call, {}, "", Deadline(timeout), more))
            return answers.build_page(feed, call, page, cursor, limit)
        except Uncertain as error:
            raise TryAgain(str(error)) from error
        except (Refused, InputRefused) as error:
            raise Misconfigured(f"system {self._name}: the feed {feed} cannot be read: {error}") from error

    async def list_book(self, listing: str, cursor: str | None, limit: int, timeout: float) -> Page:
        call = self._settings.listings.get(listing)
        if call is None:
            raise Misconfigured(f"{self._name} has no listing {listing}")
        by = Deadline(timeout)

        async def document(parameters: Mapping[str, Json]) -> Json:
            return answers.document_of(await self._call(call, {}, "", by, parameters))

        try:
            return await listings.read_page(listing, call, document, cursor, limit)
        except Uncertain as error:
            raise TryAgain(str(error)) from error
        except (Refused, InputRefused) as error:
            raise Misconfigured(f"system {self._name}: {listing} cannot be listed: {error}") from error

    async def check(self, timeout: float) -> None:
        feeds = list(self._settings.feeds)
        try:
            if self._settings.check is not None:
                answer = await self._call(self._settings.check, {}, "", Deadline(timeout))
                answers.document_of(answer)
            elif feeds:
                await self.poll(feeds[0], None, 1, timeout)
            else:
                # The settings describe no harmless call: check only that the system answers.
                await self._http.request("GET", "/", timeout=timeout)
        except Uncertain as error:
            raise TryAgain(str(error)) from error
        except (Refused, InputRefused) as error:
            raise Misconfigured(f"system {self._name} refuses access: {error}") from error

    async def close(self) -> None:
        await self._http.close()

    async def _call(
        self,
        call: CallSettings,
        value: Mapping[str, Json],
        key: str,
        by: Deadline,
        more: Mapping[str, Json] | None = None,
    ) -> Response:
        """Make one call. Raises InputRefused before the call, TryAgain if no byte left, Uncertain without an answer."""
        described = self._described[call.operation_id]
        parameters: Mapping[str, Any] = render.fill(call.parameters, value, key)
        target, headers = render.build_target(described, {**parameters, **(more or {})})
        body = None
        if described.takes_body and not isinstance(call, RecordsSettings):
            filled: Any = value if call.body is None else render.fill(call.body, value, key)
            if isinstance(call, OperationSettings) and call.key_field:
                filled = render.set_at(filled, call.key_field, key)
            body, headers["content-type"] = render.encode(described, filled)
        if isinstance(call, OperationSettings) and call.key_header:
            headers[call.key_header.lower()] = key
        left = by.left(described.id)
        return await self._http.request(described.method, target, headers=headers, body=body, timeout=left)


def _credentials(auth: AuthSettings, secrets: Mapping[str, str]) -> dict[str, str]:
    match auth.scheme:
        case "bearer":
            return {"authorization": f"Bearer {secrets['token']}"}
        case "basic":
            pair = f"{secrets['username']}:{secrets['password']}".encode()
            return {"authorization": "Basic " + base64.b64encode(pair).decode()}
        case "header":
            return {auth.header.lower(): auth.prefix + secrets["api_key"]}
        case "none":
            return {}


def _input(body: bytes) -> Mapping[str, Json]:
    value = read_json(body)
    if not isinstance(value, dict):
        raise InputRefused("the body of the request is not an object")
    return value
