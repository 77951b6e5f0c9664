"""The error that a command ends with."""

from __future__ import annotations


class CommandFailed(Exception):
    """Error with a message for the person at the terminal; the exit code is 2."""
