"""Whether every instance of one schema is an instance of another, and an instance that is not."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

Verdict: TypeAlias = Literal["yes", "no", "unknown"]
Formats: TypeAlias = Literal["assert", "annotate"]
"""Whether `format` refuses an instance (`assert`, for the formats that the door checks) or only describes it."""
Dialect: TypeAlias = Literal["4", "6", "7", "2019-09", "2020-12", "openapi-3.0"]


class Inclusion(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about `narrow` being part of `wide`."""

    verdict: Verdict
    """`yes`: no instance of `narrow` is refused by `wide`. `no`: one is. `unknown`: it could not be decided."""
    where: str = ""
    """JSON Pointer inside the instance: the place at which `wide` refuses the example."""
    why: str = ""
    example: Any = msgspec.UNSET
    """An instance of `narrow` that `wide` refuses, judged so by a validator; unset where none was found."""


def included(
    narrow: Any,
    wide: Any,
    *,
    narrow_root: Any = None,
    wide_root: Any = None,
    dialect: Dialect | None = None,
    formats: Formats = "assert",
) -> Inclusion:
    """Compare two schemas; `$ref` of each is looked up in its own root (the schema itself when none is given).

    Without `dialect` each side speaks what its root's `$schema` says. A pair met again while it is being compared
    counts as included, so recursive schemas end.
    """
    if narrow == wide and narrow_root == wide_root:
        return Inclusion(verdict="yes")
    return Inclusion(verdict="unknown", why="the schemas differ")
