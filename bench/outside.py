"""An outside system that several processes call over TCP: it takes its time, and counts how often it was asked what.

Lines in: `put KEY`, answered `new` or `again` after a while, and `get KEY`, answered `there` or `absent` at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable

SECONDS = 0.1
"""How long a call takes."""


class Outside:
    """The server, in a thread of its own. `put` counts before the answer is sent, as a vendor commits."""

    def __init__(self, seconds: float = SECONDS) -> None:
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
        server = await asyncio.start_server(self._one, "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        self._up.set()
        await self._stop.wait()
        server.close()
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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
        """How many different calls were made."""
        return sum(1 for count in list(self.counts.values()) if count)

    @property
    def repeated(self) -> int:
        """How many calls were made more than once."""
        return sum(1 for count in list(self.counts.values()) if count > 1)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


def asks(port: int) -> Callable[[str, str], Awaitable[str]]:
    """How a client asks it: verb and key, one connection each."""

    async def ask(verb: str, key: str) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(f"{verb} {key}\n".encode())
            return (await reader.readline()).decode().strip()
        finally:
            writer.close()

    return ask
