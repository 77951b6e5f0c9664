"""JSON at the edge and in the store: bounded, exact reading of untrusted bytes, and one canonical stored form.

`read_json` reads bytes from outside. `dumps` and `loads` are for values that Counterfoil stores and digests. None of them
produces a float, and none interprets a value.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from counterfoil.core.errors import ErrorClass, Refused
from counterfoil.core.money import Money

T = TypeVar("T")
Json: TypeAlias = Any
"""None, bool, str, int, Decimal, list of Json, or dict of str to Json; numbers are exact, never float."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits for untrusted JSON: `size` in bytes, `depth` of nested containers, `number` in characters of one number,
    `exponent` as the largest written power of ten, positive or negative."""

    size: int = 4 * 1024 * 1024
    depth: int = 64
    number: int = 100
    exponent: int = 400


DEFAULT_LIMITS = Limits()


class WireRefused(Refused):
    """The bytes do not have the format that they claim. `where` is a byte ("byte 17") or a path ("$.a[2]")."""

    def __init__(self, message: str, where: str) -> None:
        super().__init__(f"{message} ({where})", ErrorClass.INVALID, "unreadable")
        self.message = message
        self.where = where

    def in_file(self, data: bytes) -> str:
        """Return the message for the reader of a file with these bytes: with the line instead of the byte."""
        word, _, number = self.where.partition(" ")
        if word != "byte" or not number.isdecimal():
            return str(self)
        # At its end, a text has no line after the last line break.
        line = data.rstrip().count(b"\n", 0, int(number)) + 1
        return f"line {line}: {self.message}"


# Numbers become runs of zeros, other bytes become blanks: one search in C then finds a number that is too long.
_NUMBERS = bytes(48 if byte in b"+-.0123456789eE" else 32 for byte in range(256))
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
# A string without its closing quote matches up to the end, which keeps every search linear.
_STRING = rb'"(?:[^"\\]++|\\.)*+"?'
_BRACKET_AT = re.compile(_STRING + rb"|([\[\]{}])", re.DOTALL)
_NUMBER_AT = re.compile(_STRING + rb"|([+\-.0-9eE]+)", re.DOTALL)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_MAX_LOCATED_BYTES = 256 * 1024
"""A duplicate key in a larger body is reported without its path: the search takes seconds."""
_EXPONENT = re.compile(rb"[0-9][eE]")
_AT_BYTE = re.compile(r"\(byte (\d+)\)$")


class _ExponentTooLarge(Exception):
    """The exponent of a number is past the limit."""


def _decoder(exponent: int) -> msgspec.json.Decoder[Any]:
    def number(text: str) -> Decimal:
        _, mark, power = text.partition("e" if "e" in text else "E")
        if mark and abs(int(power)) > exponent:
            raise _ExponentTooLarge
        return Decimal(text)

    return msgspec.json.Decoder(float_hook=number)


_DECODER = _decoder(DEFAULT_LIMITS.exponent)


def read_json(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Json:
    """Read untrusted JSON (RFC 8259, UTF-8 without BOM) exactly, or raise `WireRefused`.

    Refused: more than `limits`, duplicate keys, NaN and infinities, lone surrogates, bytes after the value.
    Numbers with a point or an exponent become Decimal with their written scale, others become int.

    Size, depth and digits are checked in C before parsing. Duplicate keys are detected by counting: the text outside
    strings has one colon per member, and a decoded value with fewer members has lost some.
    """
    structure = _bounded(data, limits)
    decoder = _DECODER if limits.exponent == DEFAULT_LIMITS.exponent else _decoder(limits.exponent)
    try:
        value = decoder.decode(data)
    except UnicodeDecodeError:
        raise WireRefused("body is not UTF-8", _not_utf8(data)) from None
    except _ExponentTooLarge:
        where = _number_past(data, limits)
        raise WireRefused(f"exponent beyond 10^{limits.exponent} either way", where) from None
    except (msgspec.MsgspecError, RecursionError, InvalidOperation) as error:
        raise _malformed(data, str(error)) from None
    if structure.count(b":") != _members(value):
        raise WireRefused(*_duplicate(data))
    return value


def read_trusted(data: bytes) -> Json:
    """Read JSON without checks: bytes that `read_json` accepted before, or that Counterfoil wrote."""
    return _DECODER.decode(data)


def _bounded(data: bytes, limits: Limits) -> bytes:
    """Check the bytes against `limits` and return the text outside strings. Raises `WireRefused`."""
    if len(data) > limits.size:
        raise WireRefused(f"body of {len(data)} bytes is larger than {limits.size}", "byte 0")
    if data.startswith(b"\xef\xbb\xbf"):
        raise WireRefused("body starts with a byte order mark", "byte 0")
    structure = _outside_strings(data)
    _check_depth(structure, data, limits.depth)
    if b"0" * (limits.number + 1) in structure.translate(_NUMBERS):
        where = _number_past(data, limits)
        raise WireRefused(f"number longer than {limits.number} characters", where)
    return structure


class FlatReader(Generic[T]):
    """Fast reader of a JSON array of objects that hold at most one flat object each, straight into a type.

    It is as exact and as bounded as `read_json`, and several times as fast.
    """

    def __init__(self, of: type[T]) -> None:
        self._decoder = msgspec.json.Decoder(list[of], float_hook=Decimal)  # type: ignore[valid-type]

    def read(self, data: bytes, members: Callable[[list[T]], int]) -> list[T] | None:
        """Return the values, or None for input that needs `read_json`, which then reads or refuses it.

        `members` counts the members of the values: fewer than in the bytes means a duplicate key.
        """
        try:
            structure = _bounded(data, DEFAULT_LIMITS)
            if _EXPONENT.search(structure):
                return None
            values = self._decoder.decode(data)
        except (WireRefused, UnicodeDecodeError, msgspec.MsgspecError, InvalidOperation):
            return None
        if structure.count(b"[") != 1 or structure.count(b"{") > 2 * len(values):
            return None
        return values if structure.count(b":") == members(values) else None


def _outside_strings(data: bytes) -> bytes:
    """Return the text outside strings, as the parser sees it up to its first error."""
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b" ".join(data.split(b'"')[::2])


def _check_depth(structure: bytes, data: bytes, limit: int) -> None:
    brackets = structure.translate(None, _NOT_BRACKETS)
    if brackets.count(b"[") + brackets.count(b"{") <= limit:
        return
    depth = 0
    for bracket in brackets:
        depth += _STEP[bracket]
        if depth > limit:
            raise WireRefused(f"nested deeper than {limit}", _bracket_past(data, limit))


def _members(value: Json) -> int:
    count = 0
    pending = [value]
    while pending:
        part = pending.pop()
        if type(part) is dict:
            count += len(part)
            pending.extend(part.values())
        elif type(part) is list:
            pending.extend(part)
    return count


# Below: the place of an error in bytes that are already refused. Only refused bodies pay for this linear pass.


def _bracket_past(data: bytes, limit: int) -> str:
    depth = 0
    for match in _BRACKET_AT.finditer(data):
        if match[1]:
            depth += _STEP[match[1][0]]
            if depth > limit:
                return f"byte {match.start()}"
    return f"byte {len(data)}"


def _number_past(data: bytes, limits: Limits) -> str:
    for match in _NUMBER_AT.finditer(data):
        text = match[1]
        if not text:
            continue
        if len(text) > limits.number:
            return f"byte {match.start()}"
        power = text.lower().partition(b"e")[2]
        if power.lstrip(b"+-").isdigit() and abs(int(power)) > limits.exponent:
            return f"byte {match.start()}"
    return f"byte {len(data)}"


def _not_utf8(data: bytes) -> str:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"byte {error.start}"
    return "byte 0"


def _malformed(data: bytes, reason: str) -> WireRefused:
    place = _AT_BYTE.search(reason)
    where = f"byte {place[1]}" if place else f"byte {len(data)}"
    cut_short = "truncated" in reason
    if "surrogate" in reason or (cut_short and _SURROGATE.search(data[-12:])):
        return WireRefused("lone surrogate in a string", where)
    if cut_short:
        return WireRefused("JSON ends before its value does", where)
    detail = _AT_BYTE.sub("", reason).strip().removeprefix("JSON is malformed: ")
    return WireRefused(f"not JSON: {detail}", where)


def _duplicate(data: bytes) -> tuple[str, str]:
    if len(data) > _MAX_LOCATED_BYTES:
        return "a key appears twice in one object", "$"
    marked: dict[int, tuple[dict[str, Any], str]] = {}

    def mark(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value: dict[str, Any] = {}
        for key, part in pairs:
            if key in value:
                marked.setdefault(id(value), (value, key))
            value[key] = part
        return value

    root = json.loads(data, object_pairs_hook=mark, parse_float=str, parse_int=str)
    pending: list[tuple[str, Any]] = [("$", root)]
    while pending:
        path, part = pending.pop()
        if isinstance(part, dict):
            if id(part) in marked:
                return f"key {marked[id(part)][1][:80]!r} appears twice in one object", path[:400]
            pending.extend((f"{path}.{key}", inner) for key, inner in part.items() if _is_container(inner))
        elif isinstance(part, list):
            pending.extend(
                (f"{path}[{index}]", inner) for index, inner in enumerate(part) if _is_container(inner)
            )
    return "a key appears twice in one object", "$"


def _is_container(value: Any) -> bool:
    return isinstance(value, dict | list)


# The stored form. Values without a JSON type are maps with a fixed set of keys. A plain map that has exactly such keys,
# or the escape key, is wrapped in {"map": ...}.

_TAGS = {frozenset({"minor", "currency"}), *(frozenset({key}) for key in ("date", "time", "duration", "map"))}
_MAX_DEPTH = 200
# Wider than the limits of `read_json`, so that every value read from outside can be stored.
_MAX_NUMBER_CHARS = 200
_EXPONENT_MAX = 1000
_MAX_INT = 10**_MAX_NUMBER_CHARS
_ENCODER = msgspec.json.Encoder(order="sorted")
_STORED = _decoder(_EXPONENT_MAX)
_MICROSECOND = timedelta(microseconds=1)
_SCALARS = frozenset({str, bool, type(None)})
_UNCHANGED = _SCALARS | {msgspec.Raw, Money}  # the encoder itself writes Money as {"currency", "minor"}


def dumps(value: object) -> bytes:
    """Return the canonical stored form: JSON in UTF-8, sorted keys, no spaces. Equal values of equal types give equal bytes.

    Exactly these types: Money, date, aware datetime, timedelta, Decimal (with its scale), int, str, bool, None, list, and
    dict with str keys. Another type, or a number of more than 200 digits, is a TypeError. A `msgspec.Raw` is a part that
    is already in the stored form.
    """
    try:
        return _ENCODER.encode(_plain(value, 0))
    except UnicodeEncodeError:
        raise TypeError("text with a lone surrogate cannot be stored") from None


def _plain(value: Any, depth: int) -> object:
    """Return the value with tags for types that JSON lacks. Types are compared by identity: this is the hot path."""
    kind = type(value)
    if kind in _UNCHANGED:
        return value
    if depth > _MAX_DEPTH:
        raise TypeError(f"a value nested deeper than {_MAX_DEPTH} cannot be stored")
    if kind is dict:
        parts = {}
        for key, part in value.items():
            # Most parts are texts: a call for each would take most of the time.
            plain = part if type(part) in _UNCHANGED else _plain(part, depth + 1)
            parts[key if type(key) is str else _key(key)] = plain
        return {"map": parts} if len(parts) <= 2 and frozenset(parts) in _TAGS else parts
    if kind is list:
        return [part if type(part) in _UNCHANGED else _plain(part, depth + 1) for part in value]
    if kind is int:
        if not -_MAX_INT < value < _MAX_INT:
            raise TypeError(f"an int of more than {_MAX_NUMBER_CHARS} digits cannot be stored")
        return value
    return _tagged(value)


def _key(key: object) -> str:
    if type(key) is not str:
        raise TypeError(f"a map with a key of type {type(key).__name__} cannot be stored")
    return key


def _tagged(value: object) -> object:
    kind = type(value)
    if isinstance(value, datetime) and kind is datetime:
        return {"time": time_text(value)}
    if isinstance(value, date) and kind is date:
        return {"date": value.isoformat()}
    if isinstance(value, Decimal) and kind is Decimal:
        return msgspec.Raw(_decimal_text(value).encode())
    if isinstance(value, timedelta) and kind is timedelta:
        return {"duration": _seconds_text(value)}
    raise TypeError(f"a value of type {kind.__name__} cannot be stored")


def _decimal_text(value: Decimal) -> str:
    if not value.is_finite():
        raise TypeError(f"{value} cannot be stored")
    text = str(value)
    if not ("." in text or "E" in text):
        text += "E0"
    if len(text) > _MAX_NUMBER_CHARS or abs(value.adjusted()) > _EXPONENT_MAX - _MAX_NUMBER_CHARS:
        raise TypeError("a Decimal of this length or exponent cannot be stored")
    return text


def time_text(value: datetime) -> str:
    """Return an aware time as RFC 3339 in UTC, with microseconds only if not zero. Raises TypeError for a naive time."""
    if value.tzinfo is not UTC and value.utcoffset() is None:
        raise TypeError("a datetime without a time zone cannot be stored")
    try:
        return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
    except OverflowError:
        raise TypeError("a datetime outside the years 1 to 9999 in UTC cannot be stored") from None


def _seconds_text(value: timedelta) -> str:
    microseconds = value // _MICROSECOND
    seconds, fraction = divmod(abs(microseconds), 1_000_000)
    sign = "-" if microseconds < 0 else ""
    return f"{sign}{seconds}.{fraction:06d}".rstrip("0").rstrip(".")


def loads(data: bytes) -> Any:
    """Return the value that `dumps` wrote, with its types and scales. Raises ValueError for other bytes."""
    try:
        return _revive(_STORED.decode(data))
    except (
        msgspec.MsgspecError,
        UnicodeDecodeError,
        RecursionError,
        ArithmeticError,  # a duration or a number beyond its type
        _ExponentTooLarge,
    ) as error:
        raise ValueError(f"not a stored value: {error}") from None


def _revive(value: Any) -> Any:
    if type(value) is dict:
        if len(value) <= 2 and frozenset(value) in _TAGS:
            return _untagged(value)
        for key, part in value.items():
            if type(part) in _CONTAINERS:
                value[key] = _revive(part)  # freshly decoded and not shared; the keys stay the same
        return value
    if type(value) is list:
        return [_revive(part) if type(part) in _CONTAINERS else part for part in value]
    return value


_CONTAINERS = frozenset({dict, list})


def _untagged(value: dict[str, Any]) -> Any:
    if len(value) == 2:  # the only tag with two keys, and the most frequent one
        minor, currency = value["minor"], value["currency"]
        if type(minor) is int and type(currency) is str:
            return Money(minor, currency)
    else:
        ((tag, part),) = value.items()
        match tag:
            case "time" if type(part) is str:
                return datetime.fromisoformat(part)
            case "date" if type(part) is str:
                return date.fromisoformat(part)
            case "duration" if type(part) is str:
                return timedelta(microseconds=int(Decimal(part).scaleb(6)))
            case "map" if type(part) is dict:
                return {key: _revive(inner) for key, inner in part.items()}
    raise ValueError(f"not a stored value: a map of {', '.join(sorted(value))} with unexpected contents")


def write_json(value: Json) -> bytes:
    """Return plain JSON for readers outside: canonical like `dumps`, but only for values with a JSON type.

    A Decimal becomes a number that reads back as the same Decimal. Other types are a TypeError.
    """
    try:
        return _ENCODER.encode(_plain_json(value, 0))
    except UnicodeEncodeError:
        raise TypeError("text with a lone surrogate cannot be written as JSON") from None


def _plain_json(value: Any, depth: int) -> object:
    kind = type(value)
    if depth > _MAX_DEPTH:
        raise TypeError(f"a value nested deeper than {_MAX_DEPTH} cannot be written as JSON")
    if kind is dict:
        return {
            key if type(key) is str else _key(key): part
            if type(part) in _SCALARS
            else _plain_json(part, depth + 1)
            for key, part in value.items()
        }
    if kind is list:
        return [part if type(part) in _SCALARS else _plain_json(part, depth + 1) for part in value]
    if value is None or kind in (str, bool, int, Decimal):
        return _plain(value, depth)
    raise TypeError(f"a value of type {kind.__name__} cannot be written as JSON")


def digest(value: object) -> str:
    """Return SHA-256 in hex: of bytes as they are, or of the canonical stored form of another value."""
    return hashlib.sha256(value if isinstance(value, bytes) else dumps(value)).hexdigest()
