"""HTTP gateways on 127.0.0.1 between a client and a server, with faults that neither of them knows of."""

from __future__ import annotations

import asyncio
import contextlib
import re
from types import TracebackType
from typing import Self

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Gateway:
    """Gateway from its own port to the port of a server. Port 0 is a free one."""

    def __init__(self, to: int, port: int = 0) -> None:
        self.to = to
        self.port = port
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def passes(self, request: bytes) -> bool:
        """Return whether a request goes on to the server."""
        raise NotImplementedError

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.to)
        except OSError:
            writer.transport.abort()
            return
        answers = asyncio.create_task(_copy(far_reader, writer))
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    request = await _request(reader)
                    if not await self.passes(request):
                        await reader.read()  # no answer: the client gives up by itself
                        return
                    far_writer.write(request)
        finally:
            answers.cancel()
            far_writer.close()
            writer.close()

    async def send(self, request: bytes) -> bytes:
        """Send a request of its own to the server, and return the status line of its answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.to)
        try:
            writer.write(request)
            return await reader.readline()
        finally:
            writer.close()


class LateGateway(Gateway):
    """Keeps a request back and delivers it later, after its client gave up."""

    def __init__(self, to: int) -> None:
        super().__init__(to)
        self.hold = b""
        """Start of the request line of the next request that is kept back; empty for none."""
        self.held: list[bytes] = []
        """Requests that were kept back and not delivered yet."""

    async def passes(self, request: bytes) -> bool:
        if not (self.hold and request.startswith(self.hold)):
            return True
        self.hold = b""
        self.held.append(request)
        return False

    async def deliver(self) -> bytes:
        """Send the oldest request that was kept back to the server, and return the status line of its answer."""
        return await self.send(self.held.pop(0))


class RepeatingGateway(Gateway):
    """Delivers some requests twice."""

    def __init__(self, to: int, port: int, start: bytes) -> None:
        super().__init__(to, port)
        self.start = start
        """Start of the request lines that may be repeated."""
        self.times = 0
        """Number of requests that are still to be repeated."""
        self.repeats: list[bytes] = []
        """Status lines of the answers to the second deliveries."""

    async def passes(self, request: bytes) -> bool:
        if self.times and request.startswith(self.start):
            self.times -= 1
            with contextlib.suppress(OSError):
                self.repeats.append(await self.send(request))
        return True


async def _request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    return head + (await reader.readexactly(int(length[1])) if length else b"")


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
