"""An HTTP gateway on 127.0.0.1 that keeps a request back and delivers it later, after its client gave up."""

from __future__ import annotations

import asyncio
import contextlib
import re
from types import TracebackType
from typing import Self

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class LateGateway:
    """Gateway from its own port to the port of a server."""

    def __init__(self, to: int) -> None:
        self.to = to
        self.port = 0
        self.hold = b""
        """Start of the request line of the next request that is kept back; empty for none."""
        self.held: list[bytes] = []
        """Requests that were kept back and not delivered yet."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
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

    async def deliver(self) -> bytes:
        """Send the oldest request that was kept back to the server, and return the status line of its answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.to)
        writer.write(self.held.pop(0))
        answer = await reader.readline()
        writer.close()
        return answer

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers: asyncio.Task[None] | None = None
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.to)
            answers = asyncio.create_task(_copy(far_reader, writer))
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    request = await _request(reader)
                    if self.hold and request.startswith(self.hold):
                        self.hold = b""
                        self.held.append(request)
                        await reader.read()  # no answer: the client gives up by itself
                        return
                    far_writer.write(request)
        finally:
            if answers is not None:
                answers.cancel()
                far_writer.close()
            writer.close()


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
