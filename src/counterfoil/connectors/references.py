"""Values that governance files name by reference: `env:NAME` or `file:PATH`."""

from __future__ import annotations

import os
from pathlib import Path

from counterfoil.core.errors import Misconfigured
from counterfoil.core.finding import did_you_mean


def is_reference(text: object) -> bool:
    """Return True if a value is read from the environment or a file."""
    return isinstance(text, str) and text.startswith(("env:", "file:"))


def fix(text: str) -> str:
    """Return what gives a reference without a value its value; a file with a similar name is proposed."""
    if text.startswith("env:"):
        return f"set the environment variable {text.removeprefix('env:')} for `counterfoil up`"
    path = Path(text.removeprefix("file:"))
    return did_you_mean(path.name, files_beside(path), "write the secret to this file, or name another one")


def files_beside(path: Path) -> list[str]:
    """Return the names of the files in the folder of a path; none if it cannot be read."""
    try:
        return sorted(entry.name for entry in path.absolute().parent.iterdir() if entry.is_file())
    except (OSError, ValueError):
        return []


def resolve(text: str) -> str:
    """Return the value of a reference; any other text is the value. Raises Misconfigured."""
    if text.startswith("env:"):
        name = text.removeprefix("env:")
        value = os.environ.get(name)
        if not value:
            raise Misconfigured(
                f"the environment variable {name} is {'not set' if value is None else 'empty'}"
            )
        return value
    if text.startswith("file:"):
        path = Path(text.removeprefix("file:"))
        try:
            value = path.read_text("utf-8").strip()
        except UnicodeDecodeError:
            raise Misconfigured(f"the file {path} is not UTF-8 text") from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise Misconfigured(f"the file {path} cannot be read: {reason}") from None
        if not value:
            raise Misconfigured(f"the file {path} is empty")
        return value
    return text
