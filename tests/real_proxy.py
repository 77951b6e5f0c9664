"""Real TLS proxies in front of a server, with the configuration that the how-to gives: Caddy, and nginx where installed."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import httpx2

from counterfoil.demo.ports import free_port
from tests.source import ROOT

HOW_TO = ROOT / "docs" / "how-to" / "run-behind-a-proxy.md"
HOST = "counterfoil.example.com"
START_SECONDS = 60.0
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


class Setup(NamedTuple):
    """Files and ports of a proxy."""

    folder: Path
    certificate: Path
    port: int
    upstream: int


def documented(start: str) -> str:
    """Return the configuration block of the how-to that begins with this text, without its indentation."""
    blocks = re.findall(r"^   ```\w*\n(.*?)^   ```$", HOW_TO.read_text("utf-8"), re.S | re.M)
    (block,) = [block for block in blocks if block.lstrip().startswith(start)]
    lines = [line.removeprefix("   ") for line in block.splitlines()]
    return "\n".join(lines)


def caddy(setup: Setup) -> Sequence[str]:
    site = documented(HOST).replace("127.0.0.1:8080", f"127.0.0.1:{setup.upstream}")
    own = (
        f"https://{HOST}:{setup.port} {{\n    bind 127.0.0.1\n    tls {setup.certificate} {setup.certificate}"
    )
    settings = f"{{\n    admin off\n    auto_https off\n    storage file_system {setup.folder}/caddy\n}}\n"
    file = setup.folder / "Caddyfile"
    file.write_text(settings + site.replace(f"{HOST} {{", own), "utf-8")
    program = str(Path(sys.executable).parent / "caddy")
    return [program, "run", "--config", str(file), "--adapter", "caddyfile"]


def nginx(setup: Setup) -> Sequence[str]:
    assert NGINX is not None
    location = documented("location").replace("127.0.0.1:8080", f"127.0.0.1:{setup.upstream}")
    temporary = "\n".join(
        f"{kind}_temp_path {setup.folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    file = setup.folder / "nginx.conf"
    file.write_text(
        f"""
user {getpass.getuser()};
daemon off;
pid {setup.folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    {temporary}
    server {{
        listen 127.0.0.1:{setup.port} ssl;
        server_name {HOST};
        ssl_certificate {setup.certificate};
        ssl_certificate_key {setup.certificate};
        {location}
    }}
}}
""",
        "utf-8",
    )
    return [NGINX, "-e", "stderr", "-p", str(setup.folder), "-c", str(file)]


PROXIES: dict[str, Callable[[Setup], Sequence[str]]] = {"caddy": caddy, "nginx": nginx}


class Proxy:
    """A running proxy, and clients of it. Each client has an address of its own on this machine."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    @contextlib.asynccontextmanager
    async def client(self, address: str = "127.0.0.2") -> AsyncIterator[httpx2.AsyncClient]:
        trust = ssl.create_default_context(cafile=str(self.setup.certificate))
        transport = httpx2.AsyncHTTPTransport(verify=trust, local_address=address, trust_env=False)
        async with httpx2.AsyncClient(
            base_url=f"https://{HOST}",
            transport=_Resolved(transport, self.setup.port),
            timeout=60,
        ) as http:
            yield http


class _Resolved(httpx2.AsyncBaseTransport):
    """Connects to the proxy instead of the public address, as a name service would. Addresses stay the public ones."""

    def __init__(self, inner: httpx2.AsyncHTTPTransport, port: int) -> None:
        self.inner = inner
        self.port = port

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        assert request.url.host == HOST, f"a client was led to {request.url}"
        assert request.url.scheme == "https", f"a client was led to {request.url}"
        resolved = httpx2.Request(
            request.method,
            request.url.copy_with(host="127.0.0.1", port=self.port),
            headers=request.headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": HOST},
        )
        return await self.inner.handle_async_request(resolved)

    async def aclose(self) -> None:
        await self.inner.aclose()


@contextlib.asynccontextmanager
async def proxied(name: str, folder: Path, certificate: Path, upstream: int) -> AsyncIterator[Proxy]:
    """Run a proxy in front of the server on a port of this machine."""
    port = free_port()
    setup = Setup(folder, certificate, port, upstream)
    environment = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            PROXIES[name](setup), env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        await _until_listening(process, port, folder / f"{name}.log")
        yield Proxy(setup)
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 30)


async def _until_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    async with asyncio.timeout(START_SECONDS):
        while True:
            assert process.poll() is None, log.read_text("utf-8")
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.02)
