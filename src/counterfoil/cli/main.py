"""`counterfoil`: the command line. Exit codes: 0 success, 1 findings or changes, 2 wrong usage or error.

Only the module of the typed command is imported, and none of them for `--version` and `--help`.
"""

from __future__ import annotations

import sys

from counterfoil.cli import commands


def main() -> None:
    """Run the command line; the entry point of the installed script."""
    commands.run(sys.argv[1:])


if __name__ == "__main__":
    main()
