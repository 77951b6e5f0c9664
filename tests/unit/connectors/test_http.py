"""Outbound calls against real servers on this machine: what a failure proves, and where calls may not go."""

from __future__ import annotations

import asyncio
import gzip
import re
import socket
import ssl
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from counterfoil.connectors.address import Reach
from counterfoil.connectors.http import Http, NoAnswer, NotSent, Response, retry_after
from counterfoil.connectors.sdk import SystemConfig
from counterfoil.core.errors import Misconfigured, TryAgain, Uncertain

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
LOCAL = Reach(loopback=True)


class Server:
    """A server that reads whole requests and answers with whatever a test says; it keeps what it was sent."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.connections = 0
        self.requests: list[bytes] = []
        self.port = 0
        self.tasks: set[asyncio.Task[Any]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task
        self.tasks.add(task)
        try:
            await self.converse(reader, writer)
        finally:
            writer.transport.abort()
            await asyncio.sleep(0)  # the socket closes one turn later

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (
                        int(line.split(b":")[1])
                        for line in head.lower().split(b"\r\n")
                        if b"content-length:" in line
                    ),
                    0,
                )
                request = head + await reader.readexactly(length)
                self.requests.append(request)
                await self.answer(request, writer)


@asynccontextmanager
async def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(answer)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in server.tasks:
            task.cancel()
        await asyncio.gather(*server.tasks)


@asynccontextmanager
async def calling(url: str, **options: Any) -> AsyncIterator[Http]:
    http = Http(url, **({"reach": LOCAL} | options))
    try:
        yield http
    finally:
        await http.close()


def saying(*parts: bytes, close: bool = False, pause: float = 0.0) -> Answer:
    async def answer(request: bytes, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
        if close:
            writer.close()

    return answer


def ok(body: bytes = b"", *headers: bytes) -> Answer:
    head = [b"HTTP/1.1 200 OK", b"content-length: %d" % len(body), *headers]
    return saying(b"\r\n".join(head) + b"\r\n\r\n" + body)


async def reset(request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def once(answer: Answer, **options: Any) -> Response:
    timeout = options.pop("timeout", 5.0)
    async with serving(answer) as server, calling(server.url, **options) as http:
        return await http.request("POST", "/v1/things", body=b"{}", timeout=timeout)


async def test_request_arrives_as_it_was_given() -> None:
    async with (
        serving(ok(b'{"id":1}', b"X-A: 1", b"x-a: 2")) as server,
        calling(f"{server.url}/base/", headers={"Authorization": "Bearer t"}) as http,
    ):
        answer = await http.request(
            "post",
            "/v1/things?x=1",
            headers={"Idempotency-Key": "run_1/post"},
            params=[("a", "b c"), ("a", "ü&")],
            body=b'{"amount":1.50}',
        )
    assert answer == Response(200, {"content-length": "8", "x-a": "1, 2"}, b'{"id":1}')
    head, body = server.requests[0].split(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert lines[0] == b"post /base/v1/things?x=1&a=b+c&a=%c3%bc%26 http/1.1"
    assert b"host: 127.0.0.1:%d" % server.port in lines
    assert b"idempotency-key: run_1/post" in lines
    assert b"authorization: bearer t" in lines
    assert body == b'{"amount":1.50}'


async def test_error_status_and_redirect_are_answers() -> None:
    async with serving(ok()) as elsewhere:
        target = f"location: {elsewhere.url}/".encode()
        for status in (b"301 Moved", b"307 Again", b"409 Conflict", b"503 Busy"):
            answer = await once(
                saying(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\n" + target + b"\r\n\r\n")
            )
            assert answer.status == int(status[:3])
    assert elsewhere.connections == 0


async def test_no_cookie_is_stored() -> None:
    async with serving(ok(b"", b"set-cookie: session=1; path=/")) as server, calling(server.url) as http:
        await http.request("GET", "/")
        await http.request("GET", "/")
    assert len(server.requests) == 2
    assert b"cookie" not in server.requests[1].lower()


async def test_environment_sets_no_proxy_and_no_password(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login someone password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with serving(ok()) as server, calling(server.url) as http:
        assert (await http.request("GET", "/")).status == 200
    assert b"authorization" not in server.requests[0].lower()


# What a failure proves


@pytest.mark.parametrize(
    ("family", "address", "name"),
    [(socket.AF_INET, "127.0.0.1", "127.0.0.1"), (socket.AF_INET6, "::1", "[::1]")],
    ids=["IPv4", "IPv6"],
)
async def test_refused_connection_is_not_sent(family: int, address: str, name: str) -> None:
    with socket.socket(family) as free:
        free.bind((address, 0))
        port = free.getsockname()[1]
        async with calling(f"http://{name}:{port}") as http:
            with pytest.raises(
                NotSent, match=re.escape(f"cannot connect to {name}:{port}: it refuses the connection") + "$"
            ) as caught:
                await http.request("POST", "/v1/things", body=b"{}")
    assert isinstance(caught.value, TryAgain)


async def test_name_without_address_is_not_sent() -> None:
    async def nowhere(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(-2, "Name or service not known")

    async def nothing(host: str, port: int) -> Sequence[str]:
        return []

    for resolve in (nowhere, nothing):
        async with calling("https://gone.example.com", resolve=resolve) as http:
            with pytest.raises(NotSent, match=r"the name gone\.example\.com has no address$"):
                await http.request("POST", "/", body=b"{}")


async def test_slow_name_look_up_is_not_sent() -> None:
    async def forever(host: str, port: int) -> Sequence[str]:
        await asyncio.sleep(60)
        return []

    async with calling("https://slow.example.com", resolve=forever) as http:
        with pytest.raises(NotSent, match=r"within 0\.05 s"):
            await http.request("POST", "/", body=b"{}", timeout=0.05)


async def test_handshake_that_never_ends_is_not_sent() -> None:
    async with serving(ok()) as server:
        url = f"https://127.0.0.1:{server.port}"
        async with calling(url, connect_timeout=0.1) as http:
            with pytest.raises(
                NotSent, match=r"cannot connect to 127\.0\.0\.1:\d+: it gave no answer in time$"
            ):
                await http.request("POST", "/", body=b"{}")
        async with calling(url) as http:
            with pytest.raises(NotSent, match=r"within 0\.1 s"):
                await http.request("POST", "/", body=b"{}", timeout=0.1)
    assert server.requests == []


async def test_full_pool_is_not_sent() -> None:
    gate = asyncio.Event()

    async def wait(request: bytes, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    async with serving(wait) as server, calling(server.url, max_connections=1, connect_timeout=0.1) as http:
        first = asyncio.create_task(http.request("POST", "/", body=b"{}"))
        while not server.requests:
            await asyncio.sleep(0.01)
        with pytest.raises(NotSent):
            await http.request("POST", "/", body=b"{}")
        gate.set()
        assert (await first).status == 200
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        reset,
        saying(close=True),
        saying(b"HTTP/1.1 200 OK\r\ncontent-le", close=True),
        saying(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", close=True),
        saying(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", close=True),
        saying(b"this is not HTTP\r\n\r\n"),
        saying(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"),
        saying(b"HTTP/1.1 200 OK\r\nx: " + b"x" * 300_000 + b"\r\n\r\n"),
        saying(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\n\r\n"),
        ok(b"\x0b\x02", b"content-encoding: br"),
        ok(gzip.compress(b"x" * 100)[:-9], b"content-encoding: gzip"),
        ok(gzip.compress(b"x" * 100) + b"junk", b"content-encoding: gzip"),
        ok(b"plain", b"content-encoding: gzip"),
    ],
    ids=[
        "reset",
        "closed without an answer",
        "closed in the headers",
        "closed in the body",
        "closed between chunks",
        "not HTTP",
        "two lengths",
        "endless header",
        "another protocol",
        "unasked encoding",
        "gzip cut short",
        "gzip with junk",
        "gzip that is none",
    ],
)
async def test_request_without_a_whole_answer_may_have_happened(answer: Answer) -> None:
    with pytest.raises(NoAnswer) as caught:
        await once(answer)
    assert isinstance(caught.value, Uncertain)


async def test_silence_beyond_the_read_timeout_may_have_happened() -> None:
    with pytest.raises(NoAnswer):
        await once(saying(pause=5), read_timeout=0.1)


async def test_answer_that_drips_is_cut_off_by_the_total_time() -> None:
    drip = saying(b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n", *[b"x"] * 999, pause=0.02)
    started = asyncio.get_running_loop().time()
    with pytest.raises(NoAnswer, match=r"within 0\.3 s"):
        await once(drip, timeout=0.3)
    assert asyncio.get_running_loop().time() - started < 3


async def test_cancelling_is_the_callers_and_no_failure() -> None:
    async with serving(saying(pause=60)) as server, calling(server.url) as http:
        call = asyncio.create_task(http.request("POST", "/", body=b"{}"))
        while not server.requests:
            await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_connection_closed_while_idle_does_not_hurt_the_next_request() -> None:
    closing = saying(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", close=True)
    async with serving(closing) as server, calling(server.url) as http:
        for _ in range(3):
            assert (await http.request("POST", "/", body=b"{}")).status == 200
            await asyncio.sleep(0.02)
    assert server.connections == 3


# Size


async def test_answer_up_to_the_limit_is_read_and_one_byte_more_is_not() -> None:
    for encoded, headers in ((bytes, []), (gzip.compress, [b"content-encoding: gzip"])):
        body = b"x" * 1000
        assert (await once(ok(encoded(body), *headers), max_response=1000)).body == body
        with pytest.raises(NoAnswer, match="larger than 999 bytes"):
            await once(ok(encoded(body), *headers), max_response=999)


async def test_endless_answer_is_cut_off() -> None:
    async def endless(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
            await writer.drain()

    with pytest.raises(NoAnswer, match="larger than"):
        await once(endless, max_response=1_000_000)


async def test_gzip_bomb_takes_no_more_memory_than_the_limit() -> None:
    bomb = gzip.compress(b"\0" * 200_000_000, compresslevel=9)
    assert len(bomb) < 250_000
    tracemalloc.start()
    try:
        with pytest.raises(NoAnswer, match="larger than 1000000 bytes"):
            await once(ok(bomb, b"content-encoding: gzip"), max_response=1_000_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8_000_000


async def test_gzip_of_several_members_is_one_body() -> None:
    body = gzip.compress(b"a") + gzip.compress(b"b" * 100_000) + gzip.compress(b"c")
    assert (await once(ok(body, b"content-encoding: x-gzip"))).body == b"a" + b"b" * 100_000 + b"c"


# Where calls may go


async def test_address_that_may_not_be_called_gets_no_connection() -> None:
    async with serving(ok()) as server, calling(server.url, reach=Reach()) as http:
        with pytest.raises(Misconfigured, match=r"127\.0\.0\.1.*loopback"):
            await http.request("POST", "/", body=b"{}")
    assert server.connections == 0


async def test_public_name_with_a_private_address_gets_no_connection() -> None:
    async def rebound(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    async with serving(ok()) as server:
        url = f"http://api.example.com:{server.port}"
        async with calling(url, reach=Reach(), resolve=rebound) as http:
            with pytest.raises(Misconfigured, match=r"api\.example\.com"):
                await http.request("GET", "/")
        assert server.connections == 0
        reach = Reach(private=frozenset({"api.example.com"}))
        async with calling(url, reach=reach, resolve=rebound) as http:
            assert (await http.request("GET", "/")).status == 200
    assert f"host: api.example.com:{server.port}".encode() in server.requests[0].lower()


async def test_next_address_is_tried_when_the_first_refuses() -> None:
    async def two(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.2", "127.0.0.1"]

    async with (
        serving(ok(b"here")) as server,
        calling(f"http://api.example.com:{server.port}", resolve=two) as http,
    ):
        assert (await http.request("GET", "/")).body == b"here"


async def test_addresses_are_looked_up_once_for_a_while_and_again_after_a_failure() -> None:
    resolved: list[str] = []

    async def count(host: str, port: int) -> Sequence[str]:
        resolved.append(host)
        return ["127.0.0.1"]

    async with serving(ok()) as server:
        port = server.port
        async with calling(f"http://api.example.com:{port}", resolve=count) as http:
            await http.request("GET", "/")
            await http.request("GET", "/")
            assert len(resolved) == 1
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        async with calling(f"http://api.example.com:{free.getsockname()[1]}", resolve=count) as http:
            for _ in range(2):
                with pytest.raises(NotSent):
                    await http.request("GET", "/")
    assert len(resolved) == 3


async def test_absolute_url_is_followed_only_to_an_allowed_host() -> None:
    async with serving(ok(b"page 2")) as server, calling(server.url) as http:
        assert (await http.request("GET", f"{server.url}/page?cursor=2")).body == b"page 2"
        for url in (
            "http://evil.example.net/",
            f"https://127.0.0.1:{server.port}/",
            f"http://user:secret@127.0.0.1:{server.port}/",
            f"http://127.0.0.1:{server.port}@evil.example.net/",
        ):
            with pytest.raises(Misconfigured):
                await http.request("GET", url)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "path",
    [
        "v1",
        "",
        "//evil.example.net/",
        "@evil.example.net/",
        "/v1/../admin",
        "/v1/%2e%2E/admin",
        "/v1/..%2fadmin",
        "/v1/..%5cadmin",
        "/v1\\..\\admin",
        "/v1/./x",
        "/v1/..",
        "/v1#fragment",
        "/a\r\nb: c",
        "/a\x00",
        "ftp://127.0.0.1/",
        "http://",
    ],
)
async def test_path_that_leaves_its_place_is_refused(path: str) -> None:
    async with serving(ok()) as server, calling(f"{server.url}/api") as http:
        with pytest.raises(Misconfigured):
            await http.request("GET", path)
    assert server.connections == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"x": "a\r\nb: c"},
        {"x": "a\x00"},
        {"x": "é"},
        {"x": " padded"},
        {"x y": "a"},
        {"x:": "a"},
        {"": "a"},
        {"Host": "evil.example.net"},
        {"Content-Length": "0"},
        {"Transfer-Encoding": "chunked"},
    ],
    ids=repr,
)
async def test_header_that_could_split_or_redirect_a_request_is_refused(headers: dict[str, str]) -> None:
    async with serving(ok()) as server, calling(server.url) as http:
        with pytest.raises(Misconfigured):
            await http.request("GET", "/", headers=headers)
        with pytest.raises(Misconfigured):
            await http.request("GET /x", "/")
    assert server.connections == 0
    with pytest.raises(Misconfigured):
        Http(server.url, headers=headers)


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1", "ftp://a", "https://", "https://u:p@a", "https://a?x=1", "https://a#x", "http://[::1"],
)
def test_base_url_must_be_plain(url: str) -> None:
    with pytest.raises(Misconfigured):
        Http(url)


async def test_configuration_of_a_system_makes_its_client() -> None:
    async with serving(ok(b"x" * 100)) as server:
        settings = {"loopback": True, "max_response": 99}
        http = Http.of(SystemConfig(name="billing", url=server.url, settings=settings))
        with pytest.raises(NoAnswer, match="larger than 99"):
            await http.request("GET", "/")
        await http.close()
        closed = Http.of(SystemConfig(name="billing", url=server.url))
        with pytest.raises(Misconfigured):
            await closed.request("GET", "/")
        await closed.close()
    with pytest.raises(Misconfigured, match="ca_file"):
        Http.of(SystemConfig(name="billing", url="https://a", settings={"ca_file": "no/such/file"}))


# TLS


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, Path]:
    """A server's context and the file with its self-signed certificate, good for `name`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    try:
        alternative: x509.GeneralName = x509.IPAddress(ip_address(name))
    except ValueError:
        alternative = x509.DNSName(name)
    client = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(client.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert_file, key_file)
    return context, cert_file


async def here(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


async def test_certificate_is_checked_against_the_name_and_not_the_address(tmp_path: Path) -> None:
    server_tls, cert_file = certificate(tmp_path, "api.example.com")
    trusting = ssl.create_default_context(cafile=str(cert_file))
    async with serving(ok(b"secure"), server_tls) as server:
        async with calling(f"https://api.example.com:{server.port}", resolve=here, tls=trusting) as http:
            assert (await http.request("GET", "/")).body == b"secure"
        async with calling(f"https://other.example.com:{server.port}", resolve=here, tls=trusting) as http:
            with pytest.raises(NotSent, match="cannot connect"):
                await http.request("POST", "/", body=b"{}")
    assert len(server.requests) == 1


async def test_untrusted_certificate_gets_no_request(tmp_path: Path) -> None:
    server_tls, cert_file = certificate(tmp_path, "127.0.0.1")
    async with serving(ok(), server_tls) as server:
        url = f"https://127.0.0.1:{server.port}"
        async with calling(url) as http:
            with pytest.raises(NotSent, match=r"(?i)certificate"):
                await http.request("POST", "/", body=b"{}")
        assert server.requests == []
        settings = {"loopback": True, "ca_file": str(cert_file)}
        trusting = Http.of(SystemConfig(name="billing", url=url, settings=settings))
        assert (await trusting.request("POST", "/", body=b"{}")).status == 200
        await trusting.close()


async def test_connection_checked_for_one_name_is_not_used_for_another(tmp_path: Path) -> None:
    server_tls, cert_file = certificate(tmp_path, "api.example.com")
    trusting = ssl.create_default_context(cafile=str(cert_file))
    reach = Reach(hosts=frozenset({"files.example.com"}), loopback=True)
    async with serving(ok(), server_tls) as server:
        url = f"https://api.example.com:{server.port}"
        async with calling(url, resolve=here, tls=trusting, reach=reach) as http:
            assert (await http.request("GET", "/")).status == 200
            with pytest.raises(NotSent, match=r"files\.example\.com"):
                await http.request("GET", f"https://files.example.com:{server.port}/")
    assert len(server.requests) == 1


# Retry-After

NOW = datetime(2026, 2, 28, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("1.5", 1.5),
        (" 7 ", 7.0),
        ("Sat, 28 Feb 2026 12:01:30 GMT", 90.0),
        ("Saturday, 28-Feb-26 12:01:30 GMT", 90.0),
        ("Sat Feb 28 12:01:30 2026", 90.0),
        ("Sat, 28 Feb 2026 11:59:00 GMT", 0.0),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("1e9", None),
        ("nan", None),
        ("9" * 50, None),
        ("Sat, 99 Feb 2026 12:01:30 GMT", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": value}, NOW) == seconds


def test_no_retry_after_is_none() -> None:
    assert retry_after({"content-length": "5"}, NOW) is None
