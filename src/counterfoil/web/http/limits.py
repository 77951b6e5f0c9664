"""Around the application: what a request may cost before anybody reads it, and the headers that every answer has.

Bodies are counted while they stream, so neither a false Content-Length nor chunks get past the limit; the whole
process keeps at most `BUDGET` bytes of them. Encoded bodies are refused, which leaves nothing to blow up.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from counterfoil.web.http.problems import PROBLEM_JSON, Problem, problem_of

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Asgi: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]

BODY_LIMIT = 4 * 1024 * 1024
BUDGET = 40 * 1024 * 1024
HEADER_LIMIT = 16 * 1024
HEADER_COUNT = 100
PATH_LIMIT = 4096
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
_STRICT_TRANSPORT = (b"strict-transport-security", b"max-age=31536000")


class Shield:
    """An ASGI application around another one."""

    def __init__(
        self, inner: Asgi, body_seconds: float = BODY_SECONDS, chunk_seconds: float = CHUNK_SECONDS
    ) -> None:
        self.inner = inner
        self.body_seconds = body_seconds
        self.chunk_seconds = chunk_seconds
        self._held = 0

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
        except _Gone:
            return
        try:
            await self._inside(scope, receive, guarded, body)
        finally:
            self._held -= len(body)

    async def _inside(self, scope: Scope, receive: Receive, send: _Sender, body: bytes) -> None:
        given = False

        async def once() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        try:
            await self.inner(scope, once, send)
        except Exception as error:
            problem = problem_of(error)
            if not send.started:
                await _answer(problem, scope, send)

    def _check_head(self, scope: Scope) -> None:
        headers = scope["headers"]
        size = sum(len(name) + len(value) for name, value in headers)
        if len(headers) > HEADER_COUNT or size > HEADER_LIMIT:
            raise Problem(
                431, f"At most {HEADER_COUNT} header fields of {HEADER_LIMIT} bytes in all are taken."
            )
        if len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"") > PATH_LIMIT:
            raise Problem(
                414, f"An address has at most {PATH_LIMIT} bytes.", kind="uri-too-long", title="Too long"
            )
        encoding = _header(scope, b"content-encoding")
        if encoding.lower() not in (b"", b"identity"):
            raise Problem(
                415,
                f"Content-Encoding {encoding[:40].decode('latin-1')!r} is not taken: send the body as it is.",
                headers={"accept-encoding": "identity"},
            )

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """All of the body, counted into what the process holds. Raises Problem, or _Gone when nobody waits."""
        declared = _header(scope, b"content-length")
        if declared.isdigit() and int(declared[:20]) > BODY_LIMIT:
            raise _too_large()
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self.body_seconds):
                while True:
                    async with asyncio.timeout(self.chunk_seconds):
                        message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Gone
                    part = message.get("body", b"")
                    if part:
                        parts.append(part)
                        size += len(part)
                        self._held += len(part)
                    if size > BODY_LIMIT:
                        raise _too_large()
                    if self._held > BUDGET:
                        raise Problem(
                            503, "Too many bodies at once; send it again.", headers={"retry-after": "2"}
                        )
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            self._held -= size
            raise Problem(408, f"A body has {self.body_seconds:g} s to arrive.") from None
        except BaseException:
            self._held -= size
            raise


class _Gone(Exception):
    """The caller closed the connection."""


class _Sender:
    """`send` with our headers on every answer."""

    def __init__(self, send: Send, secure: bool) -> None:
        self._send = send
        self._more = (*_HEADERS, _STRICT_TRANSPORT) if secure else _HEADERS
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = list(message.get("headers", []))
            present = {name.lower() for name, _ in headers}
            headers += [pair for pair in self._more if pair[0] not in present]
            if b"cache-control" not in present:
                headers.append((b"cache-control", b"no-store"))
            message = {**message, "headers": headers}
        await self._send(message)


def _header(scope: Scope, name: bytes) -> bytes:
    return b",".join(value.strip() for key, value in scope["headers"] if key == name)


def _too_large() -> Problem:
    return Problem(413, f"A body has at most {BODY_LIMIT} bytes; send it in parts.")


async def _answer(problem: Problem, scope: Scope, send: Send, more: bool = False) -> None:
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
    """Answer at once, then throw away what still comes for a while: a connection that is reset while its other
    end writes loses the answer."""
    await _answer(problem, scope, send, more=True)
    if not _header(scope, b"expect"):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                thrown = 0
                while thrown < LINGER_BYTES:
                    message = await receive()
                    if message["type"] == "http.disconnect" or not message.get("more_body", False):
                        break
                    thrown += len(message.get("body", b""))
    await send({"type": "http.response.body", "body": b"", "more_body": False})
