"""Files that a person names on the command line."""

from __future__ import annotations

from pathlib import Path

from counterfoil.cli.failure import CommandFailed
from counterfoil.connectors.references import files_beside
from counterfoil.core.finding import did_you_mean


def read_input(path: Path) -> bytes:
    """Return the content of a file. Raises CommandFailed, with a similar name for a missing file."""
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        near = did_you_mean(path.name, files_beside(path)) if isinstance(error, FileNotFoundError) else ""
        raise CommandFailed(f"{path} cannot be read: {why}{f'; {near}' if near else '.'}") from error
