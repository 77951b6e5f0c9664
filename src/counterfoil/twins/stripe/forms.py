"""Form-encoded requests: nested keys to values, and values to types by a shape.

A shape maps a parameter to a kind: `int`, `uint`, `amount`, `rows`, `str`, `bool`, `dec`, `time`, `meta`, `any`, `range`, a
tuple of allowed words, a nested shape, or a list of one kind. A name ending in `!` is required. The empty string unsets a
value; it is read as None.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from counterfoil.twins.stripe.errors import Obj, StripeError, invalid, missing_parameter

Kind: TypeAlias = Any
Shape: TypeAlias = Mapping[str, Kind]

_PARTS = re.compile(r"\[([^\[\]]*)\]")
_INT = re.compile(r"[+-]?\d{1,15}\Z")
_DEC = re.compile(r"[+-]?\d{1,15}(\.\d{1,12})?\Z")
_MINIMUM = {"uint": 0, "time": 0, "amount": 1, "rows": 1}
"""Smallest value of the kinds of whole numbers that have one. `rows` is the length of a page."""
MAX_PAGE_ROWS = 100
MAX_METADATA_KEYS, MAX_METADATA_KEY_CHARACTERS, MAX_METADATA_VALUE_CHARACTERS = 50, 40, 500


def decode(text: str) -> Obj:
    """Decode `a[b][0][c]=1&a[d][]=2` to nested dicts and lists."""
    root: Obj = {}
    for name, value in parse_qsl(text, keep_blank_values=True, max_num_fields=5000):
        head, _, rest = name.partition("[")
        parts = [head, *_PARTS.findall("[" + rest)] if rest else [head]
        node = root
        for position, part in enumerate(parts):
            key = part or str(len(node))
            if position == len(parts) - 1:
                node[key] = value
                break
            child = node.setdefault(key, {})
            if not isinstance(child, dict):
                raise invalid(f"Invalid object: {name}", name)
            node = child
    return {key: _listed(value) for key, value in root.items()}


def _listed(value: Any) -> Any:
    """Convert dicts with only numeric keys to lists, in the order of the numbers."""
    if not isinstance(value, dict):
        return value
    child = {key: _listed(item) for key, item in value.items()}
    if child and all(key.isdigit() for key in child):
        return [child[key] for key in sorted(child, key=int)]
    return child


def read(form: Mapping[str, Any], shape: Shape, path: str = "") -> Obj:
    """Return the typed parameters. Rejects unknown, missing and malformed ones as the vendor does."""
    kinds = {name.rstrip("!"): kind for name, kind in shape.items()}
    values: Obj = {}
    for name, value in form.items():
        if name not in kinds:
            message = f"Received unknown parameter: {_join(path, name)}"
            raise invalid(message, _join(path, name), "parameter_unknown")
        values[name] = _convert(value, kinds[name], _join(path, name))
    for name in shape:
        if name.endswith("!") and values.get(name[:-1]) is None:
            full = _join(path, name[:-1])
            raise missing_parameter(full)
    return values


def _join(path: str, name: str) -> str:
    return f"{path}[{name}]" if path else name


def _convert(value: Any, kind: Kind, name: str) -> Any:
    if kind == "any":
        return value
    if kind == "meta":
        return _metadata(value, name)
    if kind == "range":
        if isinstance(value, dict):
            return read(value, {"gt": "time", "gte": "time", "lt": "time", "lte": "time"}, name)
        return {"gte": (at := _convert(value, "time", name)), "lte": at}
    if value == "":
        return None
    if isinstance(kind, list):
        if not isinstance(value, list):
            raise invalid(f"Invalid array: {name}", name)
        return [_convert_item(item, kind[0], f"{name}[{position}]") for position, item in enumerate(value)]
    if isinstance(kind, Mapping):
        if not isinstance(value, dict):
            raise invalid(f"Invalid object: {name}", name)
        return read(value, kind, name)
    if not isinstance(value, str):
        raise invalid(f"Invalid string: {name}", name)
    return _word(value, kind, name) if isinstance(kind, tuple) else _scalar(value, kind, name)


def _convert_item(value: Any, kind: Kind, name: str) -> Any:
    """Return an item of a list; the empty string is no word there."""
    return _word("", kind, name) if value == "" and isinstance(kind, tuple) else _convert(value, kind, name)


def _word(value: str, kind: tuple[str, ...], name: str) -> str:
    if value not in kind:
        words = ", ".join(kind[:-1]) + " or " + kind[-1] if len(kind) > 1 else kind[0]
        raise StripeError(400, f"Invalid {name}: must be one of {words}", param=name, replayable=False)
    return value


def _scalar(value: str, kind: str, name: str) -> Any:
    if kind in ("int", *_MINIMUM):
        if not _INT.match(value):
            raise invalid(f"Invalid integer: {value}", name, "parameter_invalid_integer")
        return _in_range(int(value), kind, name)
    if kind == "bool":
        if value not in ("true", "false"):
            raise invalid(f"Invalid boolean: {value}", name)
        return value == "true"
    if kind == "dec":
        try:
            if not _DEC.match(value):
                raise InvalidOperation
            return Decimal(value)
        except InvalidOperation:
            raise invalid(f"Invalid decimal: {value}", name) from None
    if len(value) > 5000:
        raise invalid(f"Invalid string: {value[:20]}...; must be at most 5000 characters", name)
    return value


def _in_range(number: int, kind: str, name: str) -> int:
    """Return the number, or reject one below or above what its kind allows."""
    minimum = _MINIMUM.get(kind)
    if minimum is not None and number < minimum:
        message = f"This value must be greater than or equal to {minimum}."
        raise invalid(message, name, "parameter_invalid_integer")
    if kind == "rows" and number > MAX_PAGE_ROWS:
        message = f"This value must be less than or equal to {MAX_PAGE_ROWS}."
        raise invalid(message, name, "parameter_invalid_integer")
    return number


def _metadata(value: Any, name: str) -> dict[str, str] | None:
    """Return metadata; None unsets all, an empty value unsets its key."""
    if value == "":
        return None
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise invalid("Metadata must be a hash of strings.", name)
    for key, item in value.items():
        if len(key) > MAX_METADATA_KEY_CHARACTERS or len(item) > MAX_METADATA_VALUE_CHARACTERS:
            raise invalid(
                f"Metadata keys may have {MAX_METADATA_KEY_CHARACTERS} characters and values {MAX_METADATA_VALUE_CHARACTERS}: {key[:60]}",
                f"{name}[{key[:60]}]",
            )
    return value


def merge(old: Mapping[str, str], changes: Mapping[str, str] | None) -> dict[str, str]:
    if changes is None:
        return {}
    result = {**old, **changes}
    result = {key: item for key, item in result.items() if item != ""}
    if len(result) > MAX_METADATA_KEYS:
        raise invalid(f"Metadata may have {MAX_METADATA_KEYS} keys.", "metadata")
    return result
