"""Behavioural double of Stripe's billing API, for tests without an account.

Runs as its own process on loopback with its own SQLite file, never inside the server, and imports nothing of it. Shapes
follow API version 2023-08-16. Start it with `python -m counterfoil.twins.stripe --port N`.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until stopped, and return the exit status. `argv`: arguments after the name of the command."""
    from counterfoil.twins.stripe.serve import main as serve

    return serve(argv)
