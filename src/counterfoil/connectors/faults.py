"""Bad servers for the conformance suite: one loses answers, one never answers, one answers nonsense.

All listen on a free port of 127.0.0.1 and speak a minimum of HTTP/1.1.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_MAX_HEAD_BYTES = 256 * 1024

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class RequestLog:
    """Requests that a bad server received. `writes` counts those with a writing method."""

    requests: int = 0
    writes: int = 0
    lost: int = 0
    methods: list[str] = field(default_factory=list)

    def note(self, method: str) -> bool:
        self.requests += 1
        self.methods.append(method)
        self.writes += method in WRITES
        return method in WRITES


@contextlib.asynccontextmanager
async def proxy_losing_answer(url: str, lose: int) -> AsyncIterator[tuple[str, RequestLog]]:
    """Run a proxy in front of `url` (plain HTTP) that loses the answer of the `lose`-th write, counted from 1.

    It forwards every request; for that one it closes the connection instead of answering. Yields (url, request log).
    """
    target = urlsplit(url)
    host, port = target.hostname or "127.0.0.1", target.port or 80
    log = RequestLog()

    async def serve(streams: Streams, own: bytes) -> None:
        reader, writer = streams
        head, body = await _read_request(reader)
        is_write = log.note(head.split(b" ", 1)[0].decode())
        losing = is_write and log.writes == lose
        # The server behind compares Host and Origin with its own address.
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        head = b"\r\n".join(lines).replace(own, target.netloc.encode()) + b"\r\nConnection: close\r\n\r\n"
        up_reader, up_writer = await asyncio.open_connection(host, port)
        try:
            up_writer.write(head + body)
            await up_writer.drain()
            answer = await up_reader.read(-1)
        finally:
            up_writer.close()
        if losing:
            log.lost += 1
            return
        writer.write(answer)
        await writer.drain()

    async with _listening(serve) as own:
        yield urlunsplit(target._replace(netloc=own)), log


@contextlib.asynccontextmanager
async def silent_server() -> AsyncIterator[tuple[str, RequestLog]]:
    """Run a server that reads requests and never answers. Yields (url, request log)."""
    log = RequestLog()

    async def serve(streams: Streams, own: bytes) -> None:
        head, _ = await _read_request(streams[0])
        log.note(head.split(b" ", 1)[0].decode())
        await asyncio.Event().wait()

    async with _listening(serve) as own:
        yield f"http://{own}", log


@contextlib.asynccontextmanager
async def fixed_answer_server(status: int, body: bytes) -> AsyncIterator[tuple[str, RequestLog]]:
    """Run a server with one answer to every request. Yields (url, request log)."""
    log = RequestLog()

    async def serve(streams: Streams, own: bytes) -> None:
        head, _ = await _read_request(streams[0])
        log.note(head.split(b" ", 1)[0].decode())
        start = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        streams[1].write(start.encode() + b"Connection: close\r\n\r\n" + body)
        await streams[1].drain()

    async with _listening(serve) as own:
        yield f"http://{own}", log


@contextlib.contextmanager
def closed_port() -> Iterator[str]:
    """Yield the url of a port that refuses connections. It stays bound: no other process can take it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@contextlib.asynccontextmanager
async def _listening(serve: Callable[[Streams, bytes], Awaitable[None]]) -> AsyncIterator[str]:
    tasks: set[asyncio.Task[None]] = set()
    own = ""

    async def handle(streams: Streams) -> None:
        try:
            await serve(streams, own.encode())
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the caller or the server behind has closed its connection
        finally:
            streams[1].close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(handle((reader, writer)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=_MAX_HEAD_BYTES)
    own = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield own
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def _read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n"))[:-4]
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            length = int(value)
        elif name.strip().lower() == b"transfer-encoding":
            raise asyncio.IncompleteReadError(b"", None)
    return head, await reader.readexactly(length)
