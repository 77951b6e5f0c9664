"""The proxy that loses responses: forwarded requests, dropped responses, and its control port."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
from collections.abc import AsyncIterator

import httpx2
import pytest

from counterfoil.demo.ports import free_port
from counterfoil.demo.proxy import Proxy
from tests.patience import PATIENCE_SECONDS


@pytest.fixture
async def system() -> AsyncIterator[tuple[int, list[bytes]]]:
    """Start a server that echoes the body of every request; yield its port and the received requests."""
    requests: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        body = await reader.readexactly(length)
        requests.append(head.split(b"\r\n")[0] + b" " + body)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], requests
    server.close()
    await server.wait_closed()


async def test_responses_pass_until_one_is_selected_to_be_lost(system: tuple[int, list[bytes]]) -> None:
    port, requests = system
    async with Proxy(port) as proxy, httpx2.AsyncClient(base_url=proxy.url, trust_env=False) as client:
        assert (await client.post("/pay", content=b"one")).content == b"one"
        proxy.lose_next_answer(b"/pay")
        assert (await client.get("/look")).status_code == 200
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.post("/pay", content=b"two")
        await asyncio.wait_for(proxy.until_lost(1), PATIENCE_SECONDS)
        assert (await client.post("/pay", content=b"three")).content == b"three"
        counts = proxy.counts
    assert requests == [
        b"POST /pay HTTP/1.1 one",
        b"GET /look HTTP/1.1 ",
        b"POST /pay HTTP/1.1 two",
        b"POST /pay HTTP/1.1 three",
    ]
    assert (counts.forwarded, counts.answered, counts.lost) == (4, 3, 1)


async def test_the_match_may_be_in_the_body(system: tuple[int, list[bytes]]) -> None:
    async with Proxy(system[0]) as proxy, httpx2.AsyncClient(base_url=proxy.url, trust_env=False) as client:
        proxy.lose_next_answer(b"CM-7")
        assert (await client.post("/post", content=b'{"reference":"CM-6"}')).status_code == 200
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.post("/post", content=b'{"reference":"CM-7"}')


async def test_an_unreachable_system_closes_the_connection() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        async with Proxy(closed.getsockname()[1]) as proxy, httpx2.AsyncClient(trust_env=False) as client:
            with pytest.raises(httpx2.RemoteProtocolError):
                await client.get(proxy.url)
            assert proxy.counts.forwarded == 0


async def test_the_program_takes_commands_on_its_control_port(system: tuple[int, list[bytes]]) -> None:
    listen, control = free_port(), free_port()
    ports = ["--listen", str(listen), "--to", str(system[0]), "--control", str(control)]
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "counterfoil.demo.proxy", *ports, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert program.stdout is not None
        assert str(listen).encode() in await program.stdout.readline()
        reader, writer = await _connected(control)
        writer.write(b"lose /pay\nsing\n")
        assert json.loads(await reader.readline()) == {"forwarded": 0, "answered": 0, "lost": 0}
        assert json.loads(await reader.readline()) == {"error": "no command 'sing'"}
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{listen}", trust_env=False) as client:
            with pytest.raises(httpx2.RemoteProtocolError):
                await client.post("/pay")
            assert (await client.post("/pay")).status_code == 200
        writer.write(b"counts\n")
        assert json.loads(await reader.readline()) == {"forwarded": 2, "answered": 1, "lost": 1}
        writer.close()
    finally:
        program.terminate()
        await program.wait()


async def _connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with contextlib.suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", port)
            await asyncio.sleep(0.02)
