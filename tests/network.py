"""A TCP proxy between a client and a server on 127.0.0.1 that can go silent, in one direction or in both.

Lost bytes stay lost: a connection that was silent once stays silent, as behind a firewall rule. Neither end learns of it,
because the kernel still acknowledges what the end sends.
"""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Literal, Self

Direction = Literal["to_server", "to_client"]
BOTH: tuple[Direction, ...] = ("to_server", "to_client")


class Network:
    """Proxy from its own port to the port of a server."""

    def __init__(self, to: int) -> None:
        self.to = to
        self.port = 0
        self.silent: set[Direction] = set()
        """Directions in which no bytes pass now."""
        self.swallowed = 0
        """Number of lost bytes."""
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

    def cut(self, *directions: Direction) -> None:
        self.silent |= set(directions)

    def mend(self) -> None:
        """Let new connections through."""
        self.silent.clear()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._join(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.to)
        except OSError:
            writer.transport.abort()
            return
        ways = [
            asyncio.create_task(self._forward(reader, far_writer, "to_server")),
            asyncio.create_task(self._forward(far_reader, writer, "to_client")),
        ]
        try:
            await asyncio.gather(*ways)
        finally:
            for way in ways:
                way.cancel()
            writer.transport.abort()
            far_writer.transport.abort()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction
    ) -> None:
        lost = False
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                lost = lost or direction in self.silent
                if lost:
                    self.swallowed += len(data)
                else:
                    writer.write(data)
                    await writer.drain()
        if lost or direction in self.silent:
            await asyncio.Event().wait()  # the other end must not learn that this one is gone
        with contextlib.suppress(OSError):
            writer.close()
