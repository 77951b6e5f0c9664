"""ASGI middleware: limits on request size and time before a handler runs, and security headers on every response.

Bodies are counted while they stream, so a false Content-Length or chunked encoding does not pass the limit. The
process buffers at most `MAX_BUFFERED_BYTES` of large bodies. Encoded bodies are refused, so no body can expand.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from counterfoil.web.http.addresses import network_of
from counterfoil.web.http.problems import PROBLEM_JSON, Problem, problem_of

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Asgi: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]

MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_BUFFERED_BYTES = 40 * 1024 * 1024
SMALL_BODY_BYTES = 64 * 1024
"""Bytes of each body that the process's buffer does not count, so that slow large bodies block no webhook."""
MAX_OTHER_REQUESTS = 400
"""Requests in progress that are not deliveries: pages and calls cannot take the connections of webhooks."""
MAX_OTHERS_OF_ADDRESS = 200
"""Of these, requests of one client: one that does not read its responses leaves room for the others."""
MAX_HEADER_BYTES = 16 * 1024
MAX_HEADERS = 100
MAX_ADDRESS_BYTES = 4096
CHUNK_SECONDS = 10.0
BODY_SECONDS = 30.0
LINGER_SECONDS = 5.0
LINGER_BYTES = 256 * 1024 * 1024

_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (
        b"content-security-policy",
        (
            b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
            b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        ),
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=()"),
)
_HOST = re.compile(rb"(?:[\w.~%!$&'()*+,;=-]*|\[[0-9A-Fa-f:.]+\])(?::(\d{0,5}))?", re.ASCII)
_DELIVERY_PATHS = ("/v1/receipts/", "/v1/events", "/v1/usage", "/healthz", "/readyz")
_STRICT_TRANSPORT = (b"strict-transport-security", b"max-age=31536000")


class RequestLimits:
    """ASGI application that enforces the limits around another one."""

    def __init__(
        self, inner: Asgi, body_seconds: float = BODY_SECONDS, chunk_seconds: float = CHUNK_SECONDS
    ) -> None:
        self.inner = inner
        self.body_seconds = body_seconds
        self.chunk_seconds = chunk_seconds
        self._buffered = 0
        self._others: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return
        guarded = _Sender(send, secure=scope.get("scheme") == "https")
        try:
            self._check_head(scope)
            body = await self._body(scope, receive)
        except Problem as problem:
            await _refuse(problem, scope, receive, guarded)
            return
        except _Disconnected:
            return
        try:
            await self._call_within_share(scope, receive, guarded, body)
        finally:
            self._buffered -= _counted(len(body))

    async def _call_within_share(self, scope: Scope, receive: Receive, send: _Sender, body: bytes) -> None:
        if scope["path"].startswith(_DELIVERY_PATHS):
            await self._call_inner(scope, receive, send, body)
            return
        client = network_of((scope.get("client") or ("", 0))[0])
        if self._others.total() >= MAX_OTHER_REQUESTS or self._others[client] >= MAX_OTHERS_OF_ADDRESS:
            busy = "Too many requests are in progress. Send the request again."
            await _respond(Problem(503, busy, headers={"retry-after": "1"}), scope, send)
            return
        self._others[client] += 1
        try:
            await self._call_inner(scope, receive, send, body)
        finally:
            self._others[client] -= 1
            if not self._others[client]:
                del self._others[client]

    async def _call_inner(self, scope: Scope, receive: Receive, send: _Sender, body: bytes) -> None:
        delivered = False

        async def once() -> Message:
            nonlocal delivered
            if delivered:
                return await receive()
            delivered = True
            return {"type": "http.request", "body": body, "more_body": False}

        try:
            await self.inner(scope, once, send)
        except Exception as error:
            problem = problem_of(error)
            if not send.started:
                await _respond(problem, scope, send)

    def _check_head(self, scope: Scope) -> None:
        headers = scope["headers"]
        size = sum(len(name) + len(value) for name, value in headers)
        if len(headers) > MAX_HEADERS or size > MAX_HEADER_BYTES:
            raise Problem(
                431, f"Send at most {MAX_HEADERS} header fields and {MAX_HEADER_BYTES} bytes of headers."
            )
        if len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"") > MAX_ADDRESS_BYTES:
            raise Problem(
                414,
                f"The address is longer than {MAX_ADDRESS_BYTES} bytes.",
                kind="uri-too-long",
                title="Address too long",
            )
        host = _HOST.fullmatch(_header(scope, b"host"))
        if host is None or int(host[1] or 0) > 65535:
            raise Problem(
                400, "The Host header is not valid. Send a name or an address, and a port if needed."
            )
        if "\0" in scope["path"] or b"%00" in scope.get("query_string", b""):
            raise Problem(400, "The address contains the character U+0000, which no name here has.")
        encoding = _header(scope, b"content-encoding")
        if encoding.lower() not in (b"", b"identity"):
            raise Problem(
                415,
                f"Content-Encoding {encoding[:40].decode('latin-1')!r} is not supported. Send the body without encoding.",
                headers={"accept-encoding": "identity"},
            )

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """Return the whole body, counted against the process's buffer. Raises Problem or _Disconnected."""
        declared = _header(scope, b"content-length")
        if declared.isdigit() and int(declared[:20]) > MAX_BODY_BYTES:
            raise _too_large()
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self.body_seconds):
                while True:
                    async with asyncio.timeout(self.chunk_seconds):
                        message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Disconnected
                    part = message.get("body", b"")
                    if part:
                        parts.append(part)
                        self._buffered += _counted(size + len(part)) - _counted(size)
                        size += len(part)
                    if size > MAX_BODY_BYTES:
                        raise _too_large()
                    if self._buffered > MAX_BUFFERED_BYTES:
                        raise Problem(
                            503,
                            "The server receives too many large bodies. Send the request again.",
                            headers={"retry-after": "2"},
                        )
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            self._buffered -= _counted(size)
            raise Problem(408, f"The body did not arrive within {self.body_seconds:g} s.") from None
        except BaseException:
            self._buffered -= _counted(size)
            raise


def _counted(size: int) -> int:
    return max(0, size - SMALL_BODY_BYTES)


class _Disconnected(Exception):
    """The caller closed the connection."""


class _Sender:
    """`send` that adds the security headers to every response."""

    def __init__(self, send: Send, secure: bool) -> None:
        self._send = send
        self._security_headers = (*_HEADERS, _STRICT_TRANSPORT) if secure else _HEADERS
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = list(message.get("headers", []))
            present = {name.lower() for name, _ in headers}
            headers += [pair for pair in self._security_headers if pair[0] not in present]
            if b"cache-control" not in present:
                headers.append((b"cache-control", b"no-store"))
            message = {**message, "headers": headers}
        await self._send(message)


def _header(scope: Scope, name: bytes) -> bytes:
    return b",".join(value.strip() for key, value in scope["headers"] if key == name)


def _too_large() -> Problem:
    return Problem(413, f"The body is larger than {MAX_BODY_BYTES} bytes. Send it in parts.")


async def _respond(problem: Problem, scope: Scope, send: Send, more: bool = False) -> None:
    body = problem.body(scope.get("path", "/"))
    headers = [
        (b"content-type", PROBLEM_JSON.encode()),
        (b"content-length", str(len(body)).encode()),
        *((name.encode(), value.encode()) for name, value in problem.headers.items()),
    ]
    if more:
        headers.append((b"connection", b"close"))
    start = {"type": "http.response.start", "status": problem.status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def _refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Respond at once, then discard the rest of the body for a while.

    If the connection is reset while the caller still writes, the caller loses the response.
    """
    await _respond(problem, scope, send, more=True)
    if not _header(scope, b"expect"):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                discarded = 0
                while discarded < LINGER_BYTES:
                    message = await receive()
                    if message["type"] == "http.disconnect" or not message.get("more_body", False):
                        break
                    discarded += len(message.get("body", b""))
    await send({"type": "http.response.body", "body": b"", "more_body": False})
