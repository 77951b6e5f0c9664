"""Process of the twin: one loopback socket, one event loop, one SQLite file."""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from counterfoil.twins.stripe import accounts, events
from counterfoil.twins.stripe.account import StripeAccount
from counterfoil.twins.stripe.app import Scope, StripeApp
from counterfoil.twins.stripe.controls import CONFIG
from counterfoil.twins.stripe.errors import StripeError
from counterfoil.twins.stripe.manual import help_text

DEFAULT_PORT = 12111
SECRET = "sk_test_twin"  # noqa: S105


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="twin stripe", description="A behavioural double of Stripe billing.", epilog=help_text(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="loopback port; 0 takes a free one")
    parser.add_argument("--state", required=True, help="SQLite file that keeps everything")
    parser.add_argument(
        "--secret", default=SECRET, help="the API key that is accepted (default: %(default)s)"
    )
    parser.add_argument(
        "--connect", action="append", default=[], metavar="SECRET",
        help="the API key of one more account, connected to the first; may be repeated",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, help="makes ids, shuffles and repeats of a new file reproducible")
    parser.add_argument("--spread", type=float, help="seconds over which webhooks are shuffled")
    parser.add_argument("--repeated", type=float, help="share of webhooks that are sent twice, 0 to 1")
    parser.add_argument("--hook", help="a webhook endpoint on loopback that gets every event from the start")
    parser.add_argument("--hook-secret", help="the secret that signs its events")
    options = parser.parse_args(argv)
    if (options.hook is None) != (options.hook_secret is None):
        parser.error("--hook and --hook-secret go together")
    secrets = [options.secret, *options.connect]
    if len(set(secrets)) < len(secrets):
        parser.error("every account needs its own key")
    opened = accounts.open_all(options.state, options.seed, len(secrets))
    for account in opened:
        _configure(account, options)
    # The protocol is explicit because asyncio disables Nagle's algorithm only for TCP sockets.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(("127.0.0.1", options.port))
    except OSError as error:
        sys.stderr.write(f"port {options.port} on 127.0.0.1 is not available: {error.strerror}\n")
        return 2
    if options.hook:
        try:
            for account in opened:
                events.ensure_endpoint(account, options.hook, options.hook_secret)
        except StripeError as error:
            sys.stderr.write(f"{error}\n")
            return 2
    sock.listen(128)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    sys.stdout.write(f"stripe twin on {url}\nfaults and controls: {url}/_twin/help\n")
    sys.stdout.flush()
    asyncio.run(_serve(opened, secrets, sock))
    return 0


def _configure(account: StripeAccount, options: argparse.Namespace) -> None:
    """Set the configuration that the file does not have, and that of the command line."""
    for name, value in CONFIG.items():
        if not account.store.has_setting(name):
            account.set(name, value)
    for name in ("spread", "repeated"):
        if getattr(options, name) is not None:
            account.set(name, getattr(options, name))


async def _serve(opened: Sequence[StripeAccount], secrets: Sequence[str], sock: socket.socket) -> None:
    connections: dict[Any, asyncio.Transport] = {}

    class Droppable(H11Protocol):
        """Protocol whose connections the application can close during a request: ASGI has no message for it."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            self.peer = transport.get_extra_info("peername")
            connections[tuple(self.peer[:2])] = transport
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            connections.pop(tuple(self.peer[:2]), None)
            super().connection_lost(exc)

    def drop(scope: Scope) -> None:
        if transport := connections.get(tuple(scope["client"])):
            transport.abort()

    pairs = list(zip(opened, secrets, strict=True))
    connected = [StripeApp(account, secret, drop) for account, secret in pairs[1:]]
    server = uvicorn.Server(uvicorn.Config(
        StripeApp(*pairs[0], drop, connected), http=Droppable, ws="none", lifespan="on", log_level="warning",
        access_log=False, server_header=False, proxy_headers=False, timeout_graceful_shutdown=1,
    ))  # fmt: skip
    signal.signal(signal.SIGINT, lambda *_: setattr(server, "should_exit", True))
    await server.serve(sockets=[sock])
