"""Outside system that several processes call over TCP. It delays its responses and counts the calls by key.

A request is one line. `put KEY` gives `new` or `again` after a delay; `get KEY` gives `there` or `absent` at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable

CALL_SECONDS = 0.1
"""Duration of a call."""


class Outside:
    """Server in its own thread. `put` counts before it responds, as a vendor commits before it responds."""

    def __init__(self, seconds: float = CALL_SECONDS) -> None:
        self.counts: Counter[str] = Counter()
        self.port = 0
        self._seconds = seconds
        self._under_way: set[asyncio.Task[None]] = set()
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        self._up.wait(10)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        self._up.set()
        await self._stop.wait()
        server.close()
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        try:
            verb, _, key = (await reader.readline()).decode().strip().partition(" ")
            if verb == "put":
                answer = "again" if self.counts[key] else "new"
                self.counts[key] += 1
                await asyncio.sleep(self._seconds)
            else:
                answer = "there" if self.counts[key] else "absent"
            writer.write(f"{answer}\n".encode())
            await writer.drain()
        except ConnectionError:
            return  # the caller was killed
        finally:
            writer.close()

    @property
    def done(self) -> int:
        """Return the number of different calls."""
        return sum(1 for count in list(self.counts.values()) if count)

    @property
    def repeated(self) -> int:
        """Return the number of calls that were made more than once."""
        return sum(1 for count in list(self.counts.values()) if count > 1)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


def client(port: int) -> Callable[[str, str], Awaitable[str]]:
    """Return a client function of verb and key; it uses one connection per request."""

    async def ask(verb: str, key: str) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(f"{verb} {key}\n".encode())
            return (await reader.readline()).decode().strip()
        finally:
            writer.close()

    return ask
