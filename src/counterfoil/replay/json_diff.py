"""Two values apart: the fields that differ, by path, as plain JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from counterfoil.core.money import Money
from counterfoil.rules.values import plain

MAX_FIELDS = 20
"""Fields of one difference that an example shows."""
_POSITION = re.compile(r"\[\d+\]")


def apart(
    old: Mapping[str, Any] | None, new: Mapping[str, Any] | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The leaves that differ on either side, by path such as `data.lines[0].net`; money is a leaf. Values as they
    are; `shown` makes JSON of them."""
    a: dict[str, Any] = {}
    b: dict[str, Any] = {}
    _apart("", old or {}, new or {}, a, b)
    return a, b


def _apart(path: str, old: Any, new: Any, a: dict[str, Any], b: dict[str, Any]) -> None:
    """Only what differs is looked into: most of two large values is alike."""
    if old is new or (type(old) is type(new) and old == new):
        return
    if type(old) is dict and type(new) is dict:
        for key in old if old.keys() == new.keys() else dict.fromkeys((*old, *new)):
            x, y = old.get(key, _ABSENT), new.get(key, _ABSENT)
            if x is not y:
                _apart(f"{path}.{key}" if path else str(key), x, y, a, b)
    elif type(old) is list and type(new) is list:
        for n in range(max(len(old), len(new))):
            _apart(
                f"{path}[{n}]", old[n] if n < len(old) else _ABSENT, new[n] if n < len(new) else _ABSENT, a, b
            )
    else:
        _leaves(path, old, a)
        _leaves(path, new, b)


_ABSENT = object()


def shown(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The first of the fields, as JSON."""
    return {path: msgspec.to_builtins(plain(value)) for path, value in list(fields.items())[:MAX_FIELDS]}


@lru_cache(maxsize=4096)
def general(path: str) -> str:
    """The path of a field in any element of its lists: `lines[].net`."""
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
    """The money among the fields of a map."""
    return {name: value for name, value in values.items() if isinstance(value, Money)}


def accounts(request: Any) -> str:
    """What stands under `account` anywhere in a request, sorted, joined by a comma."""
    found: set[str] = set()
    pending = [request]
    while pending:
        part = pending.pop()
        if type(part) is list:
            pending += part
        elif type(part) is dict:
            pending += [inner for inner in part.values() if type(inner) is dict or type(inner) is list]
            account = part.get("account")
            if isinstance(account, str | int):
                found.add(str(account))
    return ", ".join(sorted(found))
