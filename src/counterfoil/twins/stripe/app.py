"""ASGI application: keys, versions, idempotency, faults and errors around the routes, and the twin's own controls."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import re
import secrets
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, unquote

from counterfoil.twins.stripe import clock, events, routes
from counterfoil.twins.stripe.account import API_VERSION, DAY_SECONDS, StripeAccount
from counterfoil.twins.stripe.errors import Obj, StripeError, invalid_parameter
from counterfoil.twins.stripe.faults import Faults
from counterfoil.twins.stripe.forms import decode as decode_form
from counterfoil.twins.stripe.forms import read
from counterfoil.twins.stripe.listing import expand
from counterfoil.twins.stripe.store import decode, encode
from counterfoil.twins.stripe.webhooks import WebhookSender

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(\.[a-z]+)?\Z")
_MAX_BODY_BYTES = 2_000_000
_NEVER_REPLAYED = (409, 429, 503)


class ConnectionDropped(Exception):
    """Close the connection without a response."""


class StripeApp:
    """ASGI application of the twin. `drop` closes the connection of a scope at once."""

    def __init__(self, account: StripeAccount, secret: str, drop: Callable[[Scope], None]) -> None:
        self.account, self.secret, self.drop = account, secret, drop
        self.faults = Faults(account.store)
        self.deliveries = WebhookSender(account)
        account.views, account.dues = routes.views(), routes.dues()
        account.on_event = lambda event: events.plan(account, self.faults, event)
        self._in_flight: set[str] = set()
        self._late: set[asyncio.Task[None]] = set()
        self._release = asyncio.Event()
        self._second, self._calls = 0, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if (
                message["type"] == "http.disconnect"
                or not message.get("more_body")
                or len(body) > _MAX_BODY_BYTES
            ):
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

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        tasks = [asyncio.create_task(self.deliveries.run()), asyncio.create_task(self._tick())]
        await send({"type": "lifespan.startup.complete"})
        await receive()
        for task in [*tasks, *self._late]:
            task.cancel()
        await asyncio.gather(*tasks, *self._late, return_exceptions=True)
        self.account.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1)
            if clock.tick(self.account):
                self.deliveries.wake.set()

    # -- one API call

    async def _call(self, scope: Scope, body: bytes) -> tuple[int, dict[str, str], bytes]:
        params = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
        method, path = scope["method"], unquote(scope["path"])
        id = "req_" + secrets.token_hex(7)
        headers = {"request-id": id, "stripe-version": params.get("stripe-version", API_VERSION)}
        try:
            fault = self.faults.for_request(method, path) or {}
            self._raise_fault(fault)
            self._check_key(params)
            self._check_account(params)
            self._check_rate()
            if not _VERSION.match(headers["stripe-version"]):
                raise invalid_parameter(
                    f"Invalid Stripe API version: {headers['stripe-version']}",
                    "invalid_api_version",
                    "Stripe-Version",
                )
            if fault.get("kind") == "slow":
                await asyncio.sleep(float(fault.get("seconds", 1)))
            raw = (body if method == "POST" else scope["query_string"] or body).decode("utf-8", "replace")
            return await self._idempotent(method, path, raw, params.get("idempotency-key"), headers, fault)
        except StripeError as error:
            return error.status, {**headers, **error.headers}, self._error(error, id)
        except ConnectionDropped:
            raise
        except Exception:
            sys.stderr.write(traceback.format_exc())
            return 500, headers, encode({"error": _API_ERROR})

    async def _idempotent(
        self, method: str, path: str, raw: str, key: str | None, headers: dict[str, str], fault: Obj
    ) -> tuple[int, dict[str, str], bytes]:
        if method != "POST" or not key:
            return await self._perform(method, path, raw, None, "", headers, fault)
        if len(key) > 255:
            raise invalid_parameter(
                "Idempotency keys may have at most 255 characters.", "parameter_invalid", "Idempotency-Key"
            )
        headers["idempotency-key"] = key
        digest = hashlib.sha256(
            f"{path}?{sorted(parse_qsl(raw, keep_blank_values=True))}".encode()
        ).hexdigest()
        saved = self.account.store.answer(key, self.account.now - DAY_SECONDS)
        if saved is not None:
            if saved[0] != digest:
                raise StripeError(
                    400, "Keys for idempotent requests can only be used with the same parameters they were first "
                    f"used with. Try using a key other than '{key}' if you meant to execute a different request.",
                    type="idempotency_error", replayable=False,
                )  # fmt: skip
            return saved[1], {**headers, **saved[2], "idempotent-replayed": "true"}, saved[3]
        if key in self._in_flight:
            raise StripeError(
                409, f"There is currently another in-progress request using this Idempotency Key: {key}. This "
                "error is likely due to a duplicate request. Please retry after some time.",
                type="idempotency_error", code="idempotency_key_in_use", replayable=False,
            )  # fmt: skip
        self._in_flight.add(key)
        try:
            return await self._perform(method, path, raw, key, digest, headers, fault)
        finally:
            self._in_flight.discard(key)

    async def _perform(
        self,
        method: str,
        path: str,
        raw: str,
        key: str | None,
        digest: str,
        headers: dict[str, str],
        fault: Obj,
    ) -> tuple[int, dict[str, str], bytes]:
        kind = fault.get("kind")
        if kind == "drop_before_commit":
            raise ConnectionDropped
        if kind == "late_commit":
            late = asyncio.create_task(
                self._later(float(fault.get("seconds", 1)), method, path, raw, key, digest, headers)
            )
            self._late.add(late)
            late.add_done_callback(self._late.discard)
            await asyncio.shield(late)
            raise ConnectionDropped
        if kind == "error_body_200":
            return 200, headers, encode({"error": fault.get("error") or _API_ERROR})
        if kind == "status":
            return self._status(fault, method, path, raw, key, digest, headers)
        status, body = self._execute(method, path, raw, key, digest, headers)
        if kind == "drop_after_commit":
            self.deliveries.wake.set()
            raise ConnectionDropped
        if kind == "unreadable_200":
            body = body[: len(body) // 2]
        return status, headers, body

    async def _later(
        self,
        seconds: float,
        method: str,
        path: str,
        raw: str,
        key: str | None,
        digest: str,
        headers: dict[str, str],
    ) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._release.wait(), seconds)
        try:
            self._execute(method, path, raw, key, digest, headers)
        except StripeError:
            return  # no client waits for the response
        self.deliveries.wake.set()

    def _status(
        self,
        fault: Obj,
        method: str,
        path: str,
        raw: str,
        key: str | None,
        digest: str,
        headers: dict[str, str],
    ) -> tuple[int, dict[str, str], bytes]:
        """Return the status of the fault, after executing the request if it has `commit`. The key replays it."""
        status, body = int(fault.get("status", 500)), encode({"error": fault.get("error") or _API_ERROR})
        if fault.get("commit"):
            self._execute(method, path, raw, None, "", headers)
        if key and status not in _NEVER_REPLAYED:
            self._save_response(key, digest, status, headers, body)
        return status, headers, body

    def _execute(
        self, method: str, path: str, raw: str, key: str | None, digest: str, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        """Execute the request and save its response in one transaction."""
        account, id = self.account, headers["request-id"]
        form = decode_form(raw)
        paths = form.pop("expand", [])
        route, ids = routes.find(method, path)
        params = read(form, route.shape)
        account.request = {"id": id, "idempotency_key": key}
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
                if key:
                    self._save_response(key, digest, status, headers, body)
        except StripeError as error:
            if key and error.replayable:
                self._save_response(key, digest, error.status, headers, self._error(error, id))
            raise
        if committed is not None:
            raise committed
        return status, body

    def _save_response(
        self, key: str, digest: str, status: int, headers: dict[str, str], body: bytes
    ) -> None:
        original = {"original-request": headers["request-id"]}
        self.account.store.save_answer(key, digest, status, original, body, self.account.now)

    def _error(self, error: StripeError, id: str) -> bytes:
        log = f"https://dashboard.stripe.com/test/logs/{id}"
        return encode({"error": {**error.error, "request_log_url": log}})

    # -- errors before the request is read

    def _raise_fault(self, fault: Obj) -> None:
        if fault.get("kind") == "maintenance":
            raise StripeError(503, "Stripe is down for maintenance.", type="api_error", replayable=False)
        if fault.get("kind") == "rate_limit":
            raise _too_many(str(fault.get("reason", "global-rate")), fault.get("retry_after"))

    def _check_account(self, headers: dict[str, str]) -> None:
        account = headers.get("stripe-account")
        if account and account != self.account.setting("account"):
            raise StripeError(
                403,
                f"The provided key does not have access to account '{account}' (or that account does not exist).",
                code="account_invalid",
                replayable=False,
            )

    def _check_rate(self) -> None:
        rate = self.account.setting("rate")
        if not rate:
            return
        second = int(time.time())
        self._second, self._calls = second, self._calls + 1 if second == self._second else 1
        if self._calls > rate:
            raise _too_many("global-rate", self.account.setting("retry_after"))

    def _check_key(self, headers: dict[str, str]) -> None:
        word, _, value = headers.get("authorization", "").partition(" ")
        if word.lower() == "basic":
            try:
                value = base64.b64decode(value, validate=True).decode().partition(":")[0]
            except (binascii.Error, UnicodeDecodeError):
                value = ""
        if not value:
            raise StripeError(
                401,
                "You did not provide an API key. You need to provide your API key in the Authorization "
                "header, using Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY').",
                replayable=False,
                headers={"www-authenticate": 'Basic realm="Stripe"'},
            )
        if not secrets.compare_digest(value.encode(), self.secret.encode()):
            masked = value[:8] + "*" * max(0, len(value) - 12) + value[-4:]
            raise StripeError(
                401,
                f"Invalid API Key provided: {masked}",
                replayable=False,
                headers={"www-authenticate": 'Basic realm="Stripe"'},
            )

    # -- the twin's own controls

    def _control(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        try:
            params = decode(body) if body else {}
            return 200, {}, encode(self._run_control(method, path.removeprefix("/_twin/"), params))
        except LookupError:
            return 404, {}, encode({"error": f"no control {method} {path}"})
        except (ValueError, TypeError, AttributeError) as error:
            return 400, {}, encode({"error": str(error)})

    def _run_control(self, method: str, name: str, params: Any) -> Any:
        account = self.account
        match method, name:
            case "GET", "state":
                return self._state()
            case "GET", "deliveries":
                return account.store.delivery_log()
            case "POST", "faults":
                return self.faults.add(params)
            case "DELETE", "faults":
                self.faults.clear()
            case "POST", "release":
                self._release.set()
                self._release = asyncio.Event()
            case "POST", "clock":
                if "stop" in params:
                    clock.stop(account, bool(params["stop"]))
                if "set" in params or "advance" in params:
                    clock.move(
                        account, int(params["set"] if "set" in params else account.now + params["advance"])
                    )
            case "POST", "config":
                if unknown := set(params) - CONFIG.keys():
                    raise ValueError(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(CONFIG)}")
                for key, value in params.items():
                    account.set(key, value)
            case "POST", "reset":
                self._reset(bool(params.get("keep_endpoints")))
            case _:
                raise LookupError(name)
        return self._state()

    def _state(self) -> Obj:
        account = self.account
        return {
            "account": account.setting("account"), "clock": account.now,
            "stopped": account.setting("stopped_at") is not None,
            "config": {name: account.setting(name) for name in CONFIG}, "faults": self.faults.waiting(),
            "objects": account.store.counts(),
            "deliveries": account.store.delivery_counts(),
        }  # fmt: skip

    def _reset(self, keep_endpoints: bool) -> None:
        """Delete everything except the identity of the account. Ids are never reused."""
        account = self.account
        with account.transaction():
            account.store.clear(keep_endpoints)
            account.set("invoice_number", 0)
            account.set("stopped_at", None)
            account.set("offset", 0)
            for name, value in CONFIG.items():
                account.set(name, value)
        self.faults.clear()


CONFIG: dict[str, Any] = {"spread": 0.05, "repeated": 0.05, "rate": None, "retry_after": None}
"""`spread`: seconds over which webhooks are shuffled; `repeated`: share sent twice; `rate`: requests per second, None for
no limit; `retry_after`: seconds in the header of a 429, None for no header."""
_API_ERROR: Obj = {
    "type": "api_error", "message": "Sorry! There was an error while talking to one of our backends.",
}  # fmt: skip


def _too_many(reason: str, retry_after: Any) -> StripeError:
    headers = {"stripe-rate-limited-reason": reason}
    if retry_after is not None:
        headers["retry-after"] = str(retry_after)
    return StripeError(
        429,
        "Too many requests hit the API too quickly. We recommend an exponential backoff of your requests.",
        code="rate_limit",
        replayable=False,
        headers=headers,
    )


def _expansions(paths: Any) -> list[str]:
    if not isinstance(paths, list):
        raise invalid_parameter("Invalid array: expand", "parameter_invalid", "expand")
    return [str(path) for path in paths]
