"""Outbound HTTP for connectors: one client per system, with errors that state what a failure proves.

Before the first byte of a request leaves, a failure is `NotSent`: nothing happened. After that it is `NoAnswer`: it may
have happened. Every status is an answer, redirects included. The connector interprets it.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import socket
import ssl
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, TypeAlias
from urllib.parse import unquote

import httpx2

from counterfoil.connectors.address import Reach
from counterfoil.connectors.sdk import SystemConfig, WrongConfiguration
from counterfoil.connectors.settings import client_settings
from counterfoil.core.errors import Misconfigured, TryAgain, Uncertain

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Resolves host and port to addresses. Raises OSError if there are none."""

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~\-]+")
_HEADER_VALUE = re.compile(r"(?:[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?)?")
# This client sets framing and routing headers itself: a mapping that could set them could split requests.
_OWN_HEADERS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "te"}
)
_HEADERS = {"accept-encoding": "gzip", "user-agent": "counterfoil"}
_SENDING = "send_request_headers.started"
_CONNECTED = "connection.connect_tcp.complete"
_ADDRESS_SECONDS = 30.0
# Shorter than the idle timeout of common servers: a write rarely meets a connection that is being closed.
_IDLE_SECONDS = 3.0


class NotSent(TryAgain):
    """No byte of the request left: it did not happen."""


class NoAnswer(Uncertain):
    """Bytes of the request may have left, and no complete answer came back: it may have happened."""


@dataclass(frozen=True, slots=True)
class Response:
    """Answer. Header names are lower case, repeated headers are joined with ", ", and the body is decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Deadline:
    """Time limit of an operation that makes several calls."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self, call: str) -> float:
        """Return the seconds left for a call. Raises TryAgain if there are none: the call is not made."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TryAgain(f"the timeout ended before the call {call}")
        return left


class Http:
    """Client for one system, below its base `url` or at other hosts in `reach`.

    Timeouts are in seconds; `max_response` is in bytes after decompression. The client reads no environment variables,
    stores no cookies, follows no redirects and retries nothing. `tls` replaces the default trust, which is never off.
    """

    def __init__(
        self,
        url: str,
        *,
        reach: Reach | None = None,
        headers: Mapping[str, str] | None = None,
        connect_timeout: float = 5.0,
        read_timeout: float = 30.0,
        max_response: int = 16 * 1024 * 1024,
        max_connections: int = 20,
        tls: ssl.SSLContext | None = None,
        resolve: Resolve | None = None,
    ) -> None:
        # The library logs each address at INFO, and addresses of webhooks hold secrets.
        logging.getLogger("httpx2").setLevel(logging.WARNING)
        self._base = _base(url)
        self._reach = reach or Reach()
        self._headers = _check_headers(headers or {})
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._max_response = max_response
        self._resolve = resolve or _resolve
        self._resolved: dict[tuple[str, int], tuple[float, Sequence[str]]] = {}
        self._max_connections = max_connections
        self._tls = tls or _default_trust()
        self._clients: dict[str, httpx2.AsyncClient] = {}

    @classmethod
    def of(cls, config: SystemConfig, *, headers: Mapping[str, str] | None = None) -> Http:
        """Return the client of a configured system. Settings: `allowed_hosts`, `private_hosts`, `loopback`, `ca_file`,
        `connect_timeout`, `read_timeout`, `max_response`, `max_connections`. Each has a default."""
        settings, problems = client_settings(config)
        if problems:
            raise WrongConfiguration(problems)
        return cls(
            config.url,
            reach=Reach(
                hosts=frozenset(settings.allowed_hosts),
                private=frozenset(settings.private_hosts),
                loopback=settings.loopback,
            ),
            headers=headers,
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
            max_response=settings.max_response,
            max_connections=settings.max_connections,
            tls=settings.tls(),
        )

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
        body: bytes | None = None,
        timeout: float = 30.0,
    ) -> Response:
        """Send one request and return its complete answer, all within `timeout` seconds.

        `path` is below the base URL, or an absolute URL at an allowed host (a next page). Raises `NotSent`,
        `NoAnswer`, or `Misconfigured` if the request is not allowed at all.
        """
        url = self._url(path)
        if params is not None:
            url = url.copy_merge_params(dict(params) if isinstance(params, Mapping) else list(params))
        if not _TOKEN.fullmatch(method):
            raise Misconfigured("the method is not an HTTP token")
        sending = {**self._headers, **_check_headers(headers or {})}
        call = _HttpCall(method.upper(), url, sending, body, timeout)
        try:
            async with asyncio.timeout(timeout):
                return await self._call(call)
        except TimeoutError:
            raise call.failure(f"no answer within {timeout:g} s") from None
        finally:
            await call.abandon()

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()

    def _client(self, host: str) -> httpx2.AsyncClient:
        # One pool per host name. A pool reuses connections by address, and a connection whose certificate was checked
        # for one name must not carry requests for another.
        if host not in self._clients:
            self._clients[host] = httpx2.AsyncClient(
                verify=self._tls,
                trust_env=False,
                follow_redirects=False,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                limits=httpx2.Limits(max_connections=self._max_connections, keepalive_expiry=_IDLE_SECONDS),
            )
        return self._clients[host]

    def _url(self, path: str) -> httpx2.URL:
        absolute = path.startswith(("https://", "http://"))
        try:
            url = httpx2.URL(path if absolute else str(self._base).rstrip("/") + path)
        except httpx2.InvalidURL:
            raise Misconfigured("the path is not valid in a URL") from None
        if absolute:
            if url.userinfo or url.scheme != self._base.scheme:
                raise Misconfigured(f"an absolute URL must use {self._base.scheme} and have no user")
            self._reach.check_host(_host(url), _host(self._base))
            return url
        if not path.startswith("/") or path.startswith("//") or "\\" in path or "#" in path:
            raise Misconfigured("a path must start with one slash and must have no backslash and no fragment")
        # A value mapped into the path must not leave its folder.
        if {".", ".."} & set(unquote(path.partition("?")[0]).replace("\\", "/").split("/")):
            raise Misconfigured("a path must not contain the segments . or ..")
        return url

    async def _call(self, call: _HttpCall) -> Response:
        host, port = _host(call.url), call.url.port or (443 if call.url.scheme == "https" else 80)
        addresses = await self._addresses(host, port)
        self._reach.check_addresses(host, addresses, encrypted=call.url.scheme == "https")
        for address in addresses:
            try:
                return await self._send(call, host, address)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                name = f"[{host}]" if ":" in host else host
                failure = call.failure(f"cannot connect to {name}:{port}: {_reason(error)}")
            except httpx2.TransportError as error:
                raise call.failure(f"{host}: {_reason(error)}") from None
        self._resolved.pop((host, port), None)
        raise failure from None

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        now = asyncio.get_running_loop().time()
        cached = self._resolved.get((host, port))
        if cached and cached[0] > now:
            return cached[1]
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise NotSent(f"the name {host} has no address") from error
        if not addresses:
            raise NotSent(f"the name {host} has no address")
        self._resolved[host, port] = (now + _ADDRESS_SECONDS, addresses)
        return addresses

    async def _send(self, call: _HttpCall, host: str, address: str) -> Response:
        # The URL has the checked address: a second name look-up could return another one. The host name goes where the
        # server and the certificate check need it.
        client = self._client(host)
        request = client.build_request(
            call.method,
            call.url.copy_with(host=address),
            headers={**_HEADERS, **call.headers, "host": call.url.netloc.decode("ascii")},
            content=call.body,
            extensions={"timeout": self._timeouts(call.timeout), "trace": call.trace, "sni_hostname": host},
        )
        response = await client.send(request, stream=True)
        try:
            if response.status_code < 200:
                raise call.failure(f"{host} answered {response.status_code}, which is not a final status")
            body = await self._read(call, response)
        finally:
            await response.aclose()
        return Response(response.status_code, dict(response.headers.items()), body)

    def _timeouts(self, total: float) -> dict[str, float]:
        connect, read = min(self._connect_timeout, total), min(self._read_timeout, total)
        return {"connect": connect, "read": read, "write": read, "pool": connect}

    async def _read(self, call: _HttpCall, response: httpx2.Response) -> bytes:
        limit = self._max_response
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "", "gzip", "x-gzip"):
            raise call.failure(f"the answer has the encoding {encoding[:40]!r}, which was not requested")
        parts = _Gunzip(limit) if encoding.endswith("gzip") else _Plain(limit)
        try:
            async for chunk in response.aiter_raw():
                parts.take(chunk)
            return parts.whole()
        except _BadBody as error:
            raise call.failure(str(error)) from None


@dataclass(slots=True)
class _HttpCall:
    """One request on its way, and whether its bytes may have left."""

    method: str
    url: httpx2.URL
    headers: Mapping[str, str]
    body: bytes | None
    timeout: float
    sending: bool = False
    half_open: Any = None

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        # The transport calls this before it writes. A body follows only after the headers.
        if event.endswith(_SENDING):
            self.sending, self.half_open = True, None
        elif event == _CONNECTED:
            self.half_open = info["return_value"]

    async def abandon(self) -> None:
        """Close a connection whose handshake was cancelled: the pool does not close it."""
        if self.half_open is not None:
            await self.half_open.aclose()

    def failure(self, message: str) -> NotSent | NoAnswer:
        """Return the error for the progress of the request: `NotSent` before its first byte, else `NoAnswer`."""
        what = f"{self.method} {self.url.path}: {message}"
        return NoAnswer(what) if self.sending else NotSent(what)


class _BadBody(Exception):
    """The body of the answer is too large or does not match its headers."""


class _Plain:
    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def take(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > self._limit:
            raise _BadBody(f"the answer is larger than {self._limit} bytes")
        self._parts.append(chunk)

    def whole(self) -> bytes:
        return b"".join(self._parts)


class _Gunzip(_Plain):
    """Gzip decoder that never inflates more than one byte past the limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._member: Any = None

    def take(self, chunk: bytes) -> None:
        while chunk:
            if self._member is None:
                self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)
            try:
                inflated = self._member.decompress(chunk, self._limit - self._size + 1)
            except zlib.error:
                raise _BadBody("the answer is not valid gzip") from None
            super().take(inflated)
            chunk = self._member.unconsumed_tail
            if self._member.eof:
                chunk, self._member = self._member.unused_data, None

    def whole(self) -> bytes:
        if self._member is not None:
            raise _BadBody("the answer's gzip ends too early")
        return super().whole()


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds of the Retry-After header (RFC 9110), a number or a date. None if it is absent or unreadable."""
    value = next((value for name, value in headers.items() if name.lower() == "retry-after"), "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value, re.ASCII):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, ((date if date.tzinfo else date.replace(tzinfo=UTC)) - now).total_seconds())


@cache
def _default_trust() -> ssl.SSLContext:
    """Return the trust in the authorities of this machine. It is read once, because reading takes longer than a call."""
    return httpx2.create_ssl_context(trust_env=False)


def _base(url: str) -> httpx2.URL:
    try:
        base = httpx2.URL(url)
    except httpx2.InvalidURL:
        raise Misconfigured("the system's url is not a URL") from None
    if base.scheme not in ("https", "http") or not base.host:
        raise Misconfigured("the system's url must start with https:// or http:// and name a host")
    if base.userinfo or base.query or base.fragment:
        message = "the system's url must have no user, query or fragment. Put secrets into `secrets`"
        raise Misconfigured(message)
    return base


def _host(url: httpx2.URL) -> str:
    return url.raw_host.decode("ascii").lower()


def _check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    checked: dict[str, str] = {}
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or name.lower() in _OWN_HEADERS:
            raise Misconfigured(f"the header {name[:40]!r} cannot be set")
        if not _HEADER_VALUE.fullmatch(value):
            raise Misconfigured(f"the value of the header {name} is not printable ASCII")
        checked[name.lower()] = value
    return checked


def _reason(error: Exception) -> str:
    """Return a failure of the network in plain words: Cases show it to people who know no library."""
    if isinstance(error, httpx2.TimeoutException):
        return "it gave no answer in time"
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and cause not in causes:
        causes.append(cause)
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return "its TLS certificate or protocol is not accepted"
    numbers = {cause.errno for cause in causes if isinstance(cause, OSError)}
    if errno.ECONNREFUSED in numbers:
        return "it refuses the connection"
    if isinstance(error, httpx2.ConnectError):
        return "it cannot be reached"
    return "the connection broke off before the whole answer"


async def _resolve(host: str, port: int) -> Sequence[str]:
    infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in infos))
