"""Building blocks of every kind: names, formulas, durations, secrets, and the strict base class."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    StringConstraints,
    WithJsonSchema,
)

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*([.-][a-z0-9_]+)*$", max_length=120)]


def _formula_text(value: Any) -> Any:
    """Return the text of a formula that YAML read as a bool or a number, such as `when: false`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | Decimal) else value


Formula = Annotated[
    str,
    BeforeValidator(_formula_text),
    StringConstraints(min_length=1, max_length=20_000),
    WithJsonSchema({"type": ["string", "number", "boolean"], "minLength": 1, "x-type": "formula"}),
]
"""Expression text; a leading `=` is allowed and has no meaning."""
Duration = Annotated[str, StringConstraints(pattern=r"^\+?\d+(ms|s|m|h|d)$")]
"""Duration: `500ms`, `10s`, `5m`, `2h`, `3d`; a leading `+` reads as "from then"."""
Days = Annotated[str, StringConstraints(pattern=r"^\d{1,4}d$")]
"""Whole days, such as `5d`."""
Secret = Annotated[str, StringConstraints(pattern=r"^(env:[A-Z][A-Z0-9_]*|file:\S+)$")]
"""Reference to a secret; a file never contains the secret itself."""


def _existing_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ValueError, OSError, ZoneInfoNotFoundError):  # OSError: a folder of zones, such as `Europe`
        raise ValueError(f"unknown time zone {value}") from None
    return value


Zone = Annotated[str, AfterValidator(_existing_zone)]
"""Time zone by its IANA name."""
Template: TypeAlias = Any
"""Tree of literals and formulas; a mapping of exactly each/as/data (and when) repeats its data."""

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(duration: str) -> float:
    """Return the length of a Duration in seconds."""
    match = re.fullmatch(r"\+?(\d+)(ms|s|m|h|d)", duration)
    if match is None:
        raise ValueError(f"not a duration: {duration!r}")
    return int(match[1]) * _UNITS[match[2]]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Kind(Part):
    """Common keys of every governance document."""

    kind: str
    """The kind of the document."""
    name: Name
    """The name of the document, unique among documents of its kind."""
    owner: Name | dict[Name, str] = ""
    """A role, or several roles with the part that each of them owns: `{finance: exceptions}`."""
    doc: str = ""
    """Text for readers; it changes nothing."""

    def owners(self, part: str) -> list[str]:
        """Return the roles that own a part (`definition`, `exceptions`, ...); a single owner owns every part."""
        if isinstance(self.owner, str):
            return [self.owner] if self.owner else []
        singular = part.rstrip("s")
        return [r for r, p in self.owner.items() if p.rstrip("s") == singular] or list(self.owner)[:1]
