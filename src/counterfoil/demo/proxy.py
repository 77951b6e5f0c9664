"""TCP proxy that loses responses: the request reaches the system, but its result never reaches the caller.

It parses just enough HTTP/1.1 to find the end of a request. One request per connection, 127.0.0.1 only.
As a program: `python -m counterfoil.demo.proxy --listen N --to N --control N`. Each line on the control port is a
command, `lose TEXT` or `counts`; the reply is one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

_MAX_HEAD_BYTES = 256 * 1024


@dataclass
class Counts:
    """Traffic counters: requests forwarded, responses returned, responses lost."""

    forwarded: int = 0
    answered: int = 0
    lost: int = 0


class Proxy:
    """Forwards requests from one port of 127.0.0.1 to another, and drops the responses selected by its caller."""

    def __init__(self, to: int, listen: int = 0) -> None:
        self.to = to
        self.port = listen
        self.counts = Counts()
        self._matches: list[bytes] = []
        self._loss = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def lose_next_answer(self, match: bytes = b"") -> None:
        """Forward the next request whose head or body contains `match`, and drop its response.

        Several calls add up: each drops one response.
        """
        self._matches.append(match)

    async def until_lost(self, count: int) -> None:
        """Wait until `count` responses in total were dropped, each after the system had sent it."""
        async with self._loss:
            await self._loss.wait_for(lambda: self.counts.lost >= count)

    async def start(self) -> None:
        """Start to listen. With port 0, `port` becomes the port that the system assigned."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=_MAX_HEAD_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    async def __aenter__(self) -> Proxy:
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._handle(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._forward(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # one side closed its connection, so the other is closed too
        finally:
            writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await _read_request(reader)
        losing = next((match for match in self._matches if match in request), None)
        if losing is not None:
            self._matches.remove(losing)
        system_reader, system_writer = await asyncio.open_connection("127.0.0.1", self.to)
        try:
            system_writer.write(request)
            await system_writer.drain()
            self.counts.forwarded += 1
            answer = await system_reader.read(-1)
        finally:
            system_writer.close()
        if losing is not None:
            async with self._loss:
                self.counts.lost += 1
                self._loss.notify_all()
            return
        writer.write(answer)
        await writer.drain()
        self.counts.answered += 1


async def _read_request(reader: asyncio.StreamReader) -> bytes:
    """Return one whole request with `Connection: close`, so that the end of the stream ends the response."""
    head = (await reader.readuntil(b"\r\n\r\n"))[:-4]
    lines, length = [], 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            length = int(value)
        elif name.strip().lower() == b"transfer-encoding":
            raise asyncio.IncompleteReadError(b"", None)  # no caller here sends a body of unknown length
        if name.strip().lower() != b"connection":
            lines.append(line)
    return b"\r\n".join([*lines, b"Connection: close", b"", await reader.readexactly(length)])


async def _control(proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := (await reader.readline()).decode().strip():
        command, _, text = line.partition(" ")
        if command == "lose":
            proxy.lose_next_answer(text.encode())
        known_command = command in ("lose", "counts")
        reply = asdict(proxy.counts) if known_command else {"error": f"no command {command!r}"}
        writer.write(json.dumps(reply).encode() + b"\n")
        await writer.drain()
    writer.close()


async def _serve(listen: int, to: int, control: int) -> None:
    async with Proxy(to, listen) as proxy:
        server = await asyncio.start_server(lambda r, w: _control(proxy, r, w), "127.0.0.1", control)
        print(f"the proxy listens on {proxy.url} and forwards to port {to}", flush=True)
        async with server:
            await server.serve_forever()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m counterfoil.demo.proxy", description=__doc__)
    parser.add_argument("--listen", type=int, required=True, help="port that callers use")
    parser.add_argument("--to", type=int, required=True, help="port of the system behind")
    parser.add_argument("--control", type=int, required=True, help="port that takes commands")
    options = parser.parse_args(arguments)
    try:
        asyncio.run(_serve(options.listen, options.to, options.control))
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
