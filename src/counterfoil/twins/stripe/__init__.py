"""A behavioural double of Stripe's billing API for tests without an account.

A process of its own on loopback with its own SQLite file; it never runs inside the server and imports nothing
of it. Shapes follow API version 2023-08-16. Start it with `python -m counterfoil.twins.stripe --port N`.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until stopped; the exit status. `argv` is what follows the command's name."""
    from counterfoil.twins.stripe.serve import main as serve

    return serve(argv)
