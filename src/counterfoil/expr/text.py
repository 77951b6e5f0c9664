"""Functions over strings and bytes. Positions and sizes count code points."""

from __future__ import annotations

from counterfoil.expr import pattern
from counterfoil.expr.errors import Fault
from counterfoil.expr.values import Budget, Value, charge, int64, kind, kind_with_article


def _text(*values: Value) -> None:
    for value in values:
        if kind(value) != "string":
            raise Fault(f"expected a string, found {kind_with_article(value)}")


def _position(value: Value, size: int) -> int:
    if kind(value) != "int" or not 0 <= value <= size:
        raise Fault(f"the position {value} is not between 0 and {size}")
    return int(value)


def contains(budget: Budget, text: Value, part: Value) -> bool:
    """Return true if `part` occurs in `text`."""
    _text(text, part)
    charge(budget, 1 + len(text) // 64)
    return part in text


def starts_with(text: Value, part: Value) -> bool:
    """Return true if `text` begins with `part`."""
    _text(text, part)
    return bool(text.startswith(part))


def ends_with(text: Value, part: Value) -> bool:
    """Return true if `text` ends with `part`."""
    _text(text, part)
    return bool(text.endswith(part))


def matches(budget: Budget, text: Value, regex: Value) -> bool:
    """Return true if the pattern occurs anywhere in `text`; linear time in the text."""
    _text(text, regex)
    compiled = pattern.compile_pattern(regex)
    charge(budget, 1 + len(text) * (8 + compiled.size) // 256)
    return compiled.search(text)


def find_all(budget: Budget, text: Value, regex: Value) -> list[str]:
    """Return the parts of `text` that the pattern matches, from left to right; they do not overlap and none is empty.

    Each search is linear in the rest of the text, and is charged for it.
    """
    _text(text, regex)
    compiled = pattern.compile_pattern(regex)
    parts: list[str] = []
    start = 0
    while start <= len(text):
        charge(budget, 1 + (len(text) - start) * (8 + compiled.size) // 256)
        span = compiled.find(text, start)
        if span is None:
            break
        begin, end = span
        if begin < end:
            parts.append(text[begin:end])
        start = max(end, begin + 1)
    return parts


def upper_ascii(budget: Budget, text: Value) -> str:
    """Return the text with a to z in upper case; other letters stay."""
    _text(text)
    charge(budget, 1 + len(text) // 16)
    return str(text).translate(_UPPER)


def lower_ascii(budget: Budget, text: Value) -> str:
    """Return the text with A to Z in lower case; other letters stay."""
    _text(text)
    charge(budget, 1 + len(text) // 16)
    return str(text).translate(_LOWER)


_UPPER = {code: code - 32 for code in range(ord("a"), ord("z") + 1)}
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def trim(text: Value) -> str:
    """Return the text without white space at both ends."""
    _text(text)
    return str(text).strip()


def replace(budget: Budget, text: Value, old: Value, new: Value, limit: Value = -1) -> str:
    """Replace `old` by `new`, everywhere or `limit` times."""
    _text(text, old, new)
    if kind(limit) != "int":
        raise Fault("the limit of replace() must be an int")
    count = text.count(old)
    charge(budget, 1 + (len(text) + count * max(0, len(new) - len(old))) // 16)
    return str(text).replace(old, new, limit if limit >= 0 else -1)


def split(budget: Budget, text: Value, separator: Value, limit: Value = -1) -> list[str]:
    """Return the parts between separators, at most `limit`; an empty separator splits into characters."""
    _text(text, separator)
    if kind(limit) != "int":
        raise Fault("the limit of split() must be an int")
    if limit == 0:
        return []
    if separator == "":
        charge(budget, 1 + len(text))
        head = list(text if limit < 0 else text[: limit - 1])
        return head if limit < 0 or len(text) < limit else [*head, text[limit - 1 :]]
    charge(budget, 1 + len(text) // 16 + text.count(separator))
    return str(text).split(separator, limit - 1 if limit > 0 else -1)


def substring(text: Value, start: Value, end: Value = None) -> str:
    """Return the code points from `start` up to but not including `end`."""
    _text(text)
    begin = _position(start, len(text))
    stop = len(text) if end is None else _position(end, len(text))
    if stop < begin:
        raise Fault(f"the end {stop} is before the start {begin}")
    return str(text[begin:stop])


def char_at(text: Value, at: Value) -> str:
    """Return the character at a position; empty at the end of the text."""
    _text(text)
    position = _position(at, len(text))
    return str(text[position : position + 1])


def index_of(budget: Budget, text: Value, part: Value, start: Value = 0) -> int:
    """Return the position of the first `part`, or -1."""
    _text(text, part)
    charge(budget, 1 + len(text) // 64)
    return int(text.find(part, _position(start, len(text))))


def last_index_of(budget: Budget, text: Value, part: Value) -> int:
    """Return the position of the last `part`, or -1."""
    _text(text, part)
    charge(budget, 1 + len(text) // 64)
    return int(text.rfind(part))


def join(budget: Budget, items: Value, separator: Value = "") -> str:
    """Join the strings of a list with `separator`."""
    _text(separator)
    if kind(items) != "list":
        raise Fault(f"join() takes a list of strings, not {kind_with_article(items)}")
    charge(budget, 1 + len(items))
    _text(*items)
    charge(budget, (sum(map(len, items)) + len(separator) * len(items)) // 16)
    return str(separator).join(items)


def size(value: Value) -> int:
    """Return the number of code points, bytes, elements or keys."""
    if kind(value) not in ("string", "bytes", "list", "map"):
        raise Fault(f"{kind_with_article(value)} has no size")
    return int64(len(value))
