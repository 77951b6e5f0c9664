"""Counts with their nouns, for messages to persons."""

from __future__ import annotations


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a count with its noun: `1 error`, `2 errors`. `plural` is for nouns that do not end in s."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"
