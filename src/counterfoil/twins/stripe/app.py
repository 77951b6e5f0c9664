"""ASGI application: keys, versions, idempotency, faults and errors around the routes."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import secrets
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, unquote

from counterfoil.twins.stripe import accounts, events, routes
from counterfoil.twins.stripe.account import API_VERSION, DAY_SECONDS, StripeAccount
from counterfoil.twins.stripe.controls import Controls, tick
from counterfoil.twins.stripe.errors import Obj, StripeError, invalid
from counterfoil.twins.stripe.forms import decode as decode_form
from counterfoil.twins.stripe.forms import read
from counterfoil.twins.stripe.listing import expand
from counterfoil.twins.stripe.store import decode, encode
from counterfoil.twins.stripe.webhooks import WebhookSender

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Answer = tuple[int, dict[str, str], bytes]
"""Status, headers and body of a response."""
_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(\.[a-z]+)?\Z")
_MAX_BODY_BYTES = 2_000_000
_NEVER_REPLAYED = (409, 429, 503)


class ConnectionDropped(Exception):
    """Close the connection without a response."""


@dataclass(frozen=True, slots=True)
class _ApiCall:
    """One API call. `headers` are those of its response; `key` is None without an idempotency key."""

    method: str
    path: str
    raw: str
    headers: dict[str, str]
    key: str | None

    @property
    def digest(self) -> str:
        pairs = sorted(parse_qsl(self.raw, keep_blank_values=True))
        return hashlib.sha256(f"{self.path}?{pairs}".encode()).hexdigest()


class StripeApp:
    """ASGI application of one account. `drop` closes the connection of a scope at once.

    That of a platform also passes on the requests for the accounts that are connected to it.
    """

    def __init__(
        self, account: StripeAccount, secret: str, drop: Callable[[Scope], None], connected: Sequence[StripeApp] = ()
    ) -> None:  # fmt: skip
        self.account, self.secrets, self.drop = account, [secret], drop
        self.accounts = (self, *connected)
        self._keys = [app.secrets[0] for app in self.accounts]
        self._ids = [app.account.setting("account") for app in self.accounts]
        for app in connected:
            app.secrets.append(secret)
        self.controls = Controls(account)
        self.deliveries = WebhookSender(account)
        account.views, account.dues = routes.views(), routes.dues()
        account.on_event = lambda event: events.plan(account, self.controls.faults, event)
        account.fault = self.controls.faults.for_money
        self._in_flight: set[str] = set()
        self._late: set[asyncio.Task[None]] = set()
        self._second, self._calls = 0, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if place := accounts.choose(_headers(scope), self._keys, self._ids):
            await self.accounts[place](scope, receive, send)
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            # A disconnect has no `more_body`.
            if not message.get("more_body") or len(body) > _MAX_BODY_BYTES:
                break
        try:
            if scope["path"].startswith("/_twin/"):
                status, headers, answer = self._control(scope["method"], scope["path"], body)
            else:
                status, headers, answer = await self._call(scope, body)
        except ConnectionDropped:
            self.drop(scope)
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        self.deliveries.wake.set()
        lines = {"content-type": "application/json", "content-length": str(len(answer)), **headers}
        await send({
            "type": "http.response.start", "status": status,
            "headers": [(name.encode(), value.encode()) for name, value in lines.items()],
        })  # fmt: skip
        await send({"type": "http.response.body", "body": answer})

    def _control(self, method: str, path: str, body: bytes) -> Answer:
        try:
            params, name = decode(body) if body else {}, path.removeprefix("/_twin/")
            answers = [
                app.controls.run(method, name, params)
                for app in self.accounts
                if app is self or name in _SHARED
            ]
            return 200, {}, encode(answers[0])
        except LookupError:
            return 404, {}, encode({"error": f"no control {method} {path}"})
        except (ValueError, TypeError, AttributeError) as error:
            return 400, {}, encode({"error": str(error)})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        works = [work for app in self.accounts for work in (app.deliveries.run(), app._tick())]
        tasks = [asyncio.create_task(work) for work in works]
        await send({"type": "lifespan.startup.complete"})
        await receive()
        tasks += [task for app in self.accounts for task in app._late]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for app in self.accounts:
            app.account.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1)
            if tick(self.account):
                self.deliveries.wake.set()

    # -- one API call

    async def _call(self, scope: Scope, body: bytes) -> Answer:
        params = _headers(scope)
        method, path, id = scope["method"], unquote(scope["path"]), "req_" + secrets.token_hex(7)
        headers = {"request-id": id, "stripe-version": params.get("stripe-version", API_VERSION)}
        try:
            fault = self.controls.faults.for_request(method, path) or {}
            _raise_fault(fault)
            self._check_key(params)
            self._check_account(params)
            self._check_rate()
            if not _VERSION.match(headers["stripe-version"]):
                message = f"Invalid Stripe API version: {headers['stripe-version']}"
                raise invalid(message, "Stripe-Version", "invalid_api_version")
            if fault.get("kind") == "slow":
                await asyncio.sleep(float(fault.get("seconds", 1)))
            raw = (body if method == "POST" else scope["query_string"] or body).decode("utf-8", "replace")
            key = params.get("idempotency-key") if method == "POST" else None
            return await self._idempotent(_ApiCall(method, path, raw, headers, key or None), fault)
        except StripeError as error:
            return error.status, {**headers, **error.headers}, self._error(error, id)
        except ConnectionDropped:
            raise
        except Exception:
            sys.stderr.write(traceback.format_exc())
            return 500, headers, encode({"error": _API_ERROR})

    async def _idempotent(self, call: _ApiCall, fault: Obj) -> Answer:
        key = call.key
        if key is None:
            return await self._perform(call, fault)
        if len(key) > 255:
            message = "Idempotency keys may have at most 255 characters."
            raise invalid(message, "Idempotency-Key")
        call.headers["idempotency-key"] = key
        saved = self.account.store.answer(key, self.account.now - DAY_SECONDS)
        if saved is not None:
            if saved[0] != call.digest:
                raise StripeError(
                    400, "Keys for idempotent requests can only be used with the same parameters they were first "
                    f"used with. Try using a key other than '{key}' if you meant to execute a different request.",
                    type="idempotency_error", replayable=False,
                )  # fmt: skip
            return saved[1], {**call.headers, **saved[2], "idempotent-replayed": "true"}, saved[3]
        if key in self._in_flight:
            raise StripeError(
                409, f"There is currently another in-progress request using this Idempotency Key: {key}. This "
                "error is likely due to a duplicate request. Please retry after some time.",
                type="idempotency_error", code="idempotency_key_in_use", replayable=False,
            )  # fmt: skip
        self._in_flight.add(key)
        try:
            return await self._perform(call, fault)
        finally:
            self._in_flight.discard(key)

    async def _perform(self, call: _ApiCall, fault: Obj) -> Answer:
        kind = fault.get("kind")
        if kind == "drop_before_commit":
            raise ConnectionDropped
        if kind == "late_commit":
            late = asyncio.create_task(self._execute_late(float(fault.get("seconds", 1)), call))
            self._late.add(late)
            late.add_done_callback(self._late.discard)
            await asyncio.shield(late)
            raise ConnectionDropped
        if kind == "error_body_200":
            return 200, call.headers, encode({"error": fault.get("error") or _API_ERROR})
        if kind == "status":
            return self._status(fault, call)
        status, body = self._execute(call)
        if kind == "drop_after_commit":
            self.deliveries.wake.set()
            raise ConnectionDropped
        if kind == "unreadable_200":
            body = body[: len(body) // 2]
        return status, call.headers, body

    async def _execute_late(self, seconds: float, call: _ApiCall) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.controls.release.wait(), seconds)
        try:
            self._execute(call)
        except StripeError:
            return  # no client waits for the response
        self.deliveries.wake.set()

    def _status(self, fault: Obj, call: _ApiCall) -> Answer:
        """Return the status of the fault, after executing the request if it has `commit`. The key replays it."""
        status, body = int(fault.get("status", 500)), encode({"error": fault.get("error") or _API_ERROR})
        if fault.get("commit"):
            self._execute(replace(call, key=None))
        if status not in _NEVER_REPLAYED:
            self._save_response(call, status, body)
        return status, call.headers, body

    def _execute(self, call: _ApiCall) -> tuple[int, bytes]:
        """Execute the request and save its response in one transaction."""
        account, id = self.account, call.headers["request-id"]
        form = decode_form(call.raw)
        paths = form.pop("expand", [])
        route, ids = routes.find(call.method, call.path)
        params = read(form, route.shape)
        account.request = {"id": id, "idempotency_key": call.key}
        committed: StripeError | None = None
        try:
            with account.transaction():
                try:
                    result = account.view(route.answer(account, params, *ids))
                    body, status = encode(expand(account, result, _expansions(paths))), 200
                except StripeError as error:
                    if not error.commit:
                        raise
                    committed = error
                    body, status = self._error(error, id), error.status
                self._save_response(call, status, body)
        except StripeError as error:
            if error.replayable:
                self._save_response(call, error.status, self._error(error, id))
            raise
        if committed is not None:
            raise committed
        return status, body

    def _save_response(self, call: _ApiCall, status: int, body: bytes) -> None:
        """Save a response for repeats of its key, if it has one."""
        if call.key is not None:
            original = {"original-request": call.headers["request-id"]}
            self.account.store.save_answer(call.key, call.digest, status, original, body, self.account.now)

    def _error(self, error: StripeError, id: str) -> bytes:
        log = f"https://dashboard.stripe.com/test/logs/{id}"
        return encode({"error": {**error.error, "request_log_url": log}})

    # -- errors before the request is read

    def _check_account(self, headers: dict[str, str]) -> None:
        account = headers.get("stripe-account")
        if account and account != self.account.setting("account"):
            message = f"The provided key does not have access to account '{account}' (or that account does not exist)."
            raise StripeError(403, message, code="account_invalid", replayable=False)

    def _check_rate(self) -> None:
        rate = self.account.setting("rate")
        if not rate:
            return
        second = int(time.time())
        self._second, self._calls = second, self._calls + 1 if second == self._second else 1
        if self._calls > rate:
            raise _too_many("global-rate", self.account.setting("retry_after"))

    def _check_key(self, headers: dict[str, str]) -> None:
        value = accounts.key_of(headers)
        if any(secrets.compare_digest(value.encode(), secret.encode()) for secret in self.secrets):
            return
        message = _NO_KEY
        if value:
            message = f"Invalid API Key provided: {value[:8]}{'*' * max(0, len(value) - 12)}{value[-4:]}"
        challenge = {"www-authenticate": 'Basic realm="Stripe"'}
        raise StripeError(401, message, replayable=False, headers=challenge)


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}


_SHARED = ("clock", "reset", "release")
"""Controls of the platform that are for its connected accounts too."""
_NO_KEY = (
    "You did not provide an API key. You need to provide your API key in the Authorization "
    "header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY')."
)
_API_ERROR: Obj = {
    "type": "api_error", "message": "Sorry! There was an error while talking to one of our backends.",
}  # fmt: skip


def _raise_fault(fault: Obj) -> None:
    if fault.get("kind") == "maintenance":
        raise StripeError(503, "Stripe is down for maintenance.", type="api_error", replayable=False)
    if fault.get("kind") == "rate_limit":
        raise _too_many(str(fault.get("reason", "global-rate")), fault.get("retry_after"))


def _too_many(reason: str, retry_after: Any) -> StripeError:
    headers = {"stripe-rate-limited-reason": reason}
    if retry_after is not None:
        headers["retry-after"] = str(retry_after)
    message = (
        "Too many requests hit the API too quickly. We recommend an exponential backoff of your requests."
    )
    return StripeError(429, message, code="rate_limit", replayable=False, headers=headers)


def _expansions(paths: Any) -> list[str]:
    if not isinstance(paths, list):
        raise invalid("Invalid array: expand", "expand")
    return [str(path) for path in paths]
