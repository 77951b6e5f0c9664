"""Slow connections over real sockets: they are ended, and a signed webhook is accepted beside a thousand of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import uvicorn

from counterfoil.web.http import limits, server
from counterfoil.web.http.connections import ConnectionLimits
from tests.companies.web import Process, signed
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.xdist_group("web")
SLOW = 1000
FIRST = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
HEAD = b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: "
BODY = b"POST /v1/receipts/billing HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n"


class Slow:
    """Connections that send one byte now and then, and connect again when they are closed."""

    def __init__(self, port: int, start: bytes, first: bytes = b"") -> None:
        self.port = port
        self.start = start
        self.first = first
        self.sent = 0

    async def one(self) -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                try:
                    if self.first:
                        writer.write(self.first)
                        await reader.readuntil(b"\r\n\r\n")
                    writer.write(self.start)
                    while not writer.is_closing():
                        await writer.drain()
                        self.sent += 1
                        await asyncio.sleep(2)
                        writer.write(b"a")
                finally:
                    writer.transport.abort()
            await asyncio.sleep(0.5)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self.one()) for _ in range(SLOW)]
        try:
            while self.sent < 2 * SLOW:
                await asyncio.sleep(0.05)
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


KINDS = {
    "first heads": (HEAD, b""),
    "second heads": (HEAD, FIRST),
    "bodies": (BODY, b""),
    "silent": (b"", b""),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_signed_webhook_is_accepted_beside_a_thousand_slow_connections(
    company: Process, kind: str
) -> None:
    async with Slow(company.port, *KINDS[kind]).running():
        for _ in range(20):
            body = json.dumps({"id": secrets.token_hex(8)}).encode()
            async with httpx2.AsyncClient(base_url=company.url, trust_env=False, timeout=60) as http:
                answer = await http.post("/v1/receipts/billing", content=body, headers=signed(body))
            assert (answer.status_code, answer.json()["verdict"]) == (202, "new")


@contextlib.asynccontextmanager
async def serving(asgi: Any, within: ConnectionLimits) -> AsyncIterator[tuple[int, uvicorn.Server]]:
    listening = server.listen("127.0.0.1", 0)
    config = server.config(asgi, limits=within)
    config.lifespan = "off"
    process = uvicorn.Server(config)
    process.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
    task = asyncio.create_task(process.serve(sockets=[listening]))
    try:
        while not process.started:
            await asyncio.sleep(0.01)
        yield listening.getsockname()[1], process
    finally:
        process.should_exit = True
        await task
        listening.close()


async def answer_once(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.mark.parametrize("requests", [0, 1, 3])
async def test_every_head_of_a_connection_has_a_deadline(requests: int) -> None:
    async with serving(answer_once, ConnectionLimits(head_seconds=0.2)) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(requests):
            writer.write(FIRST)
            await reader.readuntil(b"ok")

        async def dribble() -> None:
            writer.write(HEAD)
            while True:
                await asyncio.sleep(0.05)
                writer.write(b"a")

        slow = asyncio.create_task(dribble())
        try:
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), PATIENCE_SECONDS) == b""
        finally:
            slow.cancel()
            writer.transport.abort()


async def test_an_idle_connection_is_closed() -> None:
    async with serving(answer_once, ConnectionLimits(idle_seconds=1)) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(FIRST)
        await reader.readuntil(b"ok")
        assert await asyncio.wait_for(reader.read(), PATIENCE_SECONDS) == b""
        writer.close()


async def test_a_response_that_is_not_read_is_given_up() -> None:
    ended = asyncio.Event()

    async def large(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * 64 * 1024 * 1024})
        while (await receive())["type"] != "http.disconnect":
            pass
        ended.set()

    async with serving(large, ConnectionLimits(flush_seconds=0.3)) as (port, process):
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(FIRST + FIRST)
        await ended.wait()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while process.server_state.connections:
                await asyncio.sleep(0.05)
        writer.transport.abort()


async def test_a_request_in_progress_keeps_its_connection() -> None:
    """At the bound a waiting connection makes room; where every connection works, the new one is refused."""
    go, began = asyncio.Event(), asyncio.Semaphore(0)

    async def patient(scope: Any, receive: Any, send: Any) -> None:
        began.release()
        await go.wait()
        await answer_once(scope, receive, send)

    async with serving(patient, ConnectionLimits(connections=3, per_address=2)) as (port, _):
        working = await asyncio.open_connection("127.0.0.1", port)
        working[1].write(FIRST)
        await began.acquire()
        waiting = await asyncio.open_connection("127.0.0.1", port)
        waiting[1].write(HEAD)
        second = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(waiting[0].read(), PATIENCE_SECONDS) == b""
        second[1].write(FIRST)
        await began.acquire()
        third = await asyncio.open_connection("127.0.0.1", port)
        refusal = await asyncio.wait_for(third[0].read(), PATIENCE_SECONDS)
        assert refusal.startswith(b"HTTP/1.1 503 ")
        assert json.loads(refusal.partition(b"\r\n\r\n")[2])["status"] == 503
        go.set()
        for reader, _ in (working, second):
            await reader.readuntil(b"ok")
        for _, writer in (working, waiting, second, third):
            writer.transport.abort()


async def test_slow_large_bodies_do_not_block_a_webhook(company: Process) -> None:
    half = b"x" * (limits.MAX_BODY_BYTES - 10)
    head = (
        f"POST /v1/receipts/billing HTTP/1.1\r\nhost: x\r\ncontent-length: {len(half) + 10}\r\n\r\n".encode()
    )
    writers = []
    for _ in range(12):
        _, writer = await asyncio.open_connection("127.0.0.1", company.port)
        writers.append(writer)
        writer.write(head + half)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
    body = json.dumps({"id": secrets.token_hex(8), "more": "x" * 20_000}).encode()
    async with httpx2.AsyncClient(base_url=company.url, trust_env=False, timeout=60) as http:
        answer = await http.post("/v1/receipts/billing", content=body, headers=signed(body))
    assert answer.status_code == 202, answer.text
    for writer in writers:
        writer.transport.abort()


async def test_pages_and_calls_leave_room_for_webhooks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where as many other requests are in progress as may be, a further one is refused and a delivery is not."""
    go = asyncio.Event()

    async def patient(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/runs":
            await go.wait()
        await answer_once(scope, receive, send)

    monkeypatch.setattr(limits, "MAX_OTHER_REQUESTS", 3)
    async with (
        serving(limits.RequestLimits(patient), ConnectionLimits()) as (port, _),
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as http,
    ):
        pages = [asyncio.create_task(http.get("/runs")) for _ in range(4)]
        done, _ = await asyncio.wait(pages, return_when=asyncio.FIRST_COMPLETED, timeout=60)
        assert [task.result().status_code for task in done] == [503]
        assert (await http.post("/v1/receipts/billing", content=b"{}")).status_code == 200
        go.set()
        assert sorted([(await page).status_code for page in pages]) == [200, 200, 200, 503]


async def test_a_client_that_does_not_finish_leaves_room_for_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go = asyncio.Event()

    async def patient(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/runs":
            await go.wait()
        await answer_once(scope, receive, send)

    monkeypatch.setattr(limits, "MAX_OTHERS_OF_ADDRESS", 3)
    async with (
        serving(limits.RequestLimits(patient), ConnectionLimits()) as (port, _),
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as http,
        httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            transport=httpx2.AsyncHTTPTransport(local_address="127.0.0.2"),
            timeout=60,
        ) as other,
    ):
        pages = [asyncio.create_task(http.get("/runs")) for _ in range(4)]
        done, _ = await asyncio.wait(pages, return_when=asyncio.FIRST_COMPLETED, timeout=60)
        assert [task.result().status_code for task in done] == [503]
        assert (await other.get("/cases")).status_code == 200
        go.set()
        assert sorted([(await page).status_code for page in pages]) == [200, 200, 200, 503]
        assert (await http.get("/cases")).status_code == 200
