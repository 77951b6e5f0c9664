"""The server behind a TLS proxy: secure cookies, HSTS, and the client's own address for the limits of sign-in."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from counterfoil.core.errors import Misconfigured
from counterfoil.store.sql.sqlite import SqliteStore
from counterfoil.web.http import server
from counterfoil.web.http.addresses import network_of
from counterfoil.web.http.connections import BoundedConnection, ConnectionLimits, Connections
from counterfoil.web.http.proxies import ProxyHeaders, PublicAddress, public_address
from tests.companies.base import listening
from tests.companies.web import PASSWORD, cheap_passwords, trial
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.xdist_group("web")
HOST = "counterfoil.example"
SET = {"COUNTERFOIL_PUBLIC_URL": f"https://{HOST}"}


def certificate(folder: Path, host: str = "proxy") -> Path:
    """Write a key and its own certificate for a host and 127.0.0.1; return the file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    names = [x509.DNSName(host), x509.IPAddress(ip_address("127.0.0.1"))]
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "proxy.pem"
    file.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return file


@contextlib.asynccontextmanager
async def tls_proxy(folder: Path, upstream: int) -> AsyncIterator[httpx2.AsyncClient]:
    """Run a TLS proxy: it replaces Host and appends to X-Forwarded-For what `x-test-client` names as the client."""

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            fields = [line.split(": ", 1) for line in head[1:] if line]
            client = next((value for name, value in fields if name.lower() == "x-test-client"), "203.0.113.9")
            before = [value for name, value in fields if name.lower() == "x-forwarded-for"]
            own = {"host", "x-forwarded-for", "x-forwarded-proto", "connection", "x-test-client"}
            lines = [head[0], *(f"{name}: {value}" for name, value in fields if name.lower() not in own)]
            lines += [f"host: 127.0.0.1:{upstream}", "connection: close", "x-forwarded-proto: https"]
            lines.append(f"x-forwarded-for: {', '.join([*before, client])}")
            length = next((int(value) for name, value in fields if name.lower() == "content-length"), 0)
            body = await reader.readexactly(length)
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", upstream)
            up_writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
            writer.write(await up_reader.read())
            up_writer.close()
            await writer.drain()
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    file = certificate(folder)
    context.load_cert_chain(file)
    proxy = await asyncio.start_server(pipe, "127.0.0.1", 0, ssl=context)
    port = proxy.sockets[0].getsockname()[1]
    trust = ssl.create_default_context(cafile=str(file))
    async with httpx2.AsyncClient(
        base_url=f"https://127.0.0.1:{port}", verify=trust, trust_env=False, timeout=PATIENCE_SECONDS
    ) as http:
        try:
            yield http
        finally:
            proxy.close()


@contextlib.asynccontextmanager
async def behind(folder: Path, environment: dict[str, str]) -> AsyncIterator[httpx2.AsyncClient]:
    store = await SqliteStore.open(folder / "company.db")
    try:
        passwords = cheap_passwords()
        app, _ = await trial(store, passwords)
        public = public_address(environment)
        async with (
            listening(server.build(app, passwords, public)) as url,  # type: ignore[arg-type]
            tls_proxy(folder, int(url.rpartition(":")[2])) as http,
        ):
            yield http
    finally:
        await store.close()


async def sign_in(http: httpx2.AsyncClient, password: str, **head: str) -> httpx2.Response:
    form = {"email": "ada@acme.example", "password": password}
    return await http.post("/sign-in", data=form, headers={k.replace("_", "-"): v for k, v in head.items()})


async def test_behind_a_proxy_cookies_are_secure_and_browsers_stay_with_tls(tmp_path: Path) -> None:
    async with behind(tmp_path, SET) as http:
        answer = await sign_in(http, PASSWORD, origin=f"https://{HOST}")
        assert answer.status_code == 303, answer.text
        assert "; Secure" in answer.headers["set-cookie"]
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        forged = await sign_in(http, PASSWORD, origin="https://elsewhere.example")
        assert forged.status_code == 403


async def test_proxies_alone_report_tls_too(tmp_path: Path) -> None:
    async with behind(tmp_path, {"COUNTERFOIL_TRUSTED_PROXIES": "127.0.0.0/8"}) as http:
        answer = await sign_in(http, PASSWORD)
        assert "; Secure" in answer.headers["set-cookie"]
        assert "strict-transport-security" in answer.headers


async def test_bad_sign_ins_of_one_client_do_not_lock_out_another(tmp_path: Path) -> None:
    async with behind(tmp_path, SET) as http:
        for number in range(40):
            await http.post(
                "/sign-in",
                data={"email": f"x{number}@acme.example", "password": "wrong"},
                headers={"x-test-client": "203.0.113.7", "x-forwarded-for": f"198.51.100.{number}"},
            )
        locked = await sign_in(http, PASSWORD, x_test_client="203.0.113.7", x_forwarded_for="198.51.100.200")
        assert locked.status_code == 429, "what the client writes there itself does not count"
        assert (await sign_in(http, PASSWORD, x_test_client="203.0.113.8")).status_code == 303


async def reported(public: PublicAddress, peer: str, **head: str) -> tuple[str, str]:
    """Return client and scheme that an application sees."""
    seen: list[Any] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in head.items()]
    scope = {"type": "http", "scheme": "http", "client": (peer, 7), "headers": [(b"host", b"x"), *headers]}
    await ProxyHeaders(inner, public)(scope, None, None)  # type: ignore[arg-type]
    return seen[0]["client"][0], seen[0]["scheme"]


@pytest.mark.parametrize(
    ("listed", "client"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("198.51.100.1, 203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, 10.1.1.1", "203.0.113.7"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:99", "2001:db8::1"),
        ("203.0.113.7, unknown", "10.0.0.1"),
        ("203.0.113.7, \xff, 10.2.2.2", "10.2.2.2"),
        ("10.3.3.3", "10.3.3.3"),
        (",, ,", "10.0.0.1"),
        ("::ffff:203.0.113.7, ::ffff:10.1.1.1", "203.0.113.7"),
    ],
)
async def test_the_last_address_that_is_no_proxy_is_the_client(listed: str, client: str) -> None:
    public = public_address({"COUNTERFOIL_TRUSTED_PROXIES": "10.0.0.0/8"})
    assert await reported(public, "10.0.0.1", x_forwarded_for=listed) == (client, "http")
    assert await reported(public, "192.0.2.1", x_forwarded_for=listed, x_forwarded_proto="https") == (
        "192.0.2.1",
        "http",
    )


async def test_a_proxy_of_ipv4_is_trusted_by_a_server_that_listens_on_ipv6() -> None:
    public = public_address({"COUNTERFOIL_TRUSTED_PROXIES": "10.0.0.0/8"})
    client = await reported(public, "::ffff:10.0.0.1", x_forwarded_for="203.0.113.7")
    assert client == ("203.0.113.7", "http")
    stranger = await reported(public, "::ffff:192.0.2.1", x_forwarded_for="203.0.113.7")
    assert stranger == ("::ffff:192.0.2.1", "http")


async def test_a_proxy_writes_forwarded_only_where_the_setting_says_so() -> None:
    setting = {"COUNTERFOIL_TRUSTED_PROXIES": "10.0.0.0/8"}
    line = 'for=198.51.100.1;proto=http, for="[2001:db8::7]:4711";proto=https;by=10.0.0.1'
    other = await reported(public_address(setting), "10.0.0.1", forwarded=line)
    assert other == ("10.0.0.1", "http")
    public = public_address(setting | {"COUNTERFOIL_PROXY_HEADER": "forwarded"})
    assert await reported(public, "10.0.0.1", forwarded=line) == ("2001:db8::7", "https")
    assert await reported(public, "10.0.0.1", forwarded="for=_hidden", x_forwarded_for="192.0.2.1") == (
        "10.0.0.1",
        "http",
    )


@pytest.mark.parametrize(
    "setting",
    [
        {"COUNTERFOIL_PUBLIC_URL": "counterfoil.example"},
        {"COUNTERFOIL_PUBLIC_URL": "ftp://counterfoil.example"},
        {"COUNTERFOIL_PUBLIC_URL": "https://counterfoil.example/under"},
        {"COUNTERFOIL_PUBLIC_URL": "https://"},
        {"COUNTERFOIL_TRUSTED_PROXIES": "proxy.example"},
        {"COUNTERFOIL_TRUSTED_PROXIES": "10.0.0.1/8"},
        {"COUNTERFOIL_PROXY_HEADER": "x-real-ip"},
    ],
)
def test_an_invalid_setting_is_named(setting: dict[str, str]) -> None:
    with pytest.raises(Misconfigured, match=next(iter(setting))):
        public_address(setting)


def test_the_proxies_of_a_public_address_are_on_this_machine_by_default() -> None:
    assert public_address(SET).trusts("127.0.0.1")
    assert public_address(SET).trusts("::1")
    assert not public_address(SET).trusts("10.0.0.1")
    assert not public_address({}).trusts("127.0.0.1")


def test_a_trusted_proxy_is_bound_by_the_number_of_all_connections() -> None:
    public = public_address({"COUNTERFOIL_TRUSTED_PROXIES": "10.0.0.1"})
    bounds = Connections(ConnectionLimits(connections=3, per_address=1, public=public))
    connections = [object.__new__(BoundedConnection) for _ in range(4)]
    for connection in connections[:3]:
        assert bounds.admit(connection, "10.0.0.1")
        bounds.works(connection)
    assert not bounds.admit(connections[3], "10.0.0.1")


def test_one_client_of_ipv6_is_one_network() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1") != network_of("2001:db8:0:1::1")
    assert network_of("203.0.113.7") == network_of("::ffff:203.0.113.7") == "203.0.113.7"
    assert network_of("") == ""
