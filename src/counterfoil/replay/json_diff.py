"""The differing fields of two values, by path, as plain JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from counterfoil.core.money import Money
from counterfoil.rules.json_values import plain

MAX_FIELDS = 20
"""Fields of one difference that an example lists."""
_POSITION = re.compile(r"\[\d+\]")


def differing_fields(
    old: Mapping[str, Any] | None, new: Mapping[str, Any] | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the differing leaves of both sides, by path such as `data.lines[0].net`. Money is a leaf. The values are
    unchanged; `first_fields` converts them to JSON."""
    a: dict[str, Any] = {}
    b: dict[str, Any] = {}
    _collect("", old or {}, new or {}, a, b)
    return a, b


def _collect(path: str, old: Any, new: Any, a: dict[str, Any], b: dict[str, Any]) -> None:
    """Collect differing leaves. Equal parts are skipped early, because most of two large values is equal."""
    if old is new or (type(old) is type(new) and old == new):
        return
    if type(old) is dict and type(new) is dict:
        for key in old if old.keys() == new.keys() else dict.fromkeys((*old, *new)):
            x, y = old.get(key, _ABSENT), new.get(key, _ABSENT)
            if x is not y:
                _collect(f"{path}.{key}" if path else str(key), x, y, a, b)
    elif type(old) is list and type(new) is list:
        for n in range(max(len(old), len(new))):
            _collect(
                f"{path}[{n}]", old[n] if n < len(old) else _ABSENT, new[n] if n < len(new) else _ABSENT, a, b
            )
    else:
        _leaves(path, old, a)
        _leaves(path, new, b)


_ABSENT = object()


def first_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the first fields in the order of their paths, as JSON: the two sides may order theirs differently."""
    return {path: msgspec.to_builtins(plain(value)) for path, value in sorted(fields.items())[:MAX_FIELDS]}


@lru_cache(maxsize=4096)
def without_positions(path: str) -> str:
    """Return a field's path without list positions: `lines[].net`."""
    return _POSITION.sub("[]", path)


def _leaves(path: str, value: Any, into: dict[str, Any]) -> None:
    if value is _ABSENT:
        return
    if type(value) is dict and value:
        for key, inner in value.items():
            _leaves(f"{path}.{key}" if path else str(key), inner, into)
    elif type(value) is list and value:
        for n, inner in enumerate(value):
            _leaves(f"{path}[{n}]", inner, into)
    else:
        into[path] = value


def amounts(values: Mapping[str, Any]) -> dict[str, Money]:
    """Return the fields that are money."""
    return {name: value for name, value in values.items() if isinstance(value, Money)}


def accounts(request: Any) -> str:
    """Return all values under `account` in a request, sorted and joined by a comma."""
    names: set[str] = set()
    pending = [request]
    while pending:
        part = pending.pop()
        if type(part) is list:
            pending += part
        elif type(part) is dict:
            pending += [inner for inner in part.values() if type(inner) is dict or type(inner) is list]
            account = part.get("account")
            if isinstance(account, str | int):
                names.add(str(account))
    return ", ".join(sorted(names))
