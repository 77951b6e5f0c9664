"""The billing system and the ledger of the folder that `counterfoil init` writes, as one small HTTP server.

Their rows are in one text file, so a new user needs no account anywhere and can read what was posted.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until stopped, and return the exit status. `argv`: arguments after the name of the command."""
    from counterfoil.twins.starter.serve import main as serve

    return serve(argv)
