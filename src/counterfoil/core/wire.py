"""JSON at the edge and in the store: bounded, exact reading of untrusted bytes, and one canonical form for our own.

`read_json` is for bytes that somebody else wrote; `dumps` and `loads` are for values that we store and digest.
Neither ever makes a float, and neither knows what a value means.
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
    """What untrusted JSON may cost. `size` is bytes, `depth` nested containers, `number` characters of one
    number, `exponent` the largest written power of ten either way."""

    size: int = 4 * 1024 * 1024
    depth: int = 64
    number: int = 100
    exponent: int = 400


DEFAULT = Limits()


class WireRefused(Refused):
    """Bytes that cannot be read as what they claim to be. `where` is a byte ("byte 17") or a path ("$.a[2]")."""

    def __init__(self, message: str, where: str) -> None:
        super().__init__(f"{message} ({where})", ErrorClass.INVALID, "unreadable")
        self.where = where


# Numbers become runs of zeros and all else becomes blanks, so that one search in C finds a number too long.
_NUMBERS = bytes(48 if byte in b"+-.0123456789eE" else 32 for byte in range(256))
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
# A string that misses its closing quote matches up to the end, which keeps every search linear.
_STRING = rb'"(?:[^"\\]++|\\.)*+"?'
_BRACKET_AT = re.compile(_STRING + rb"|([\[\]{}])", re.DOTALL)
_NUMBER_AT = re.compile(_STRING + rb"|([+\-.0-9eE]+)", re.DOTALL)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_LOCATABLE = 256 * 1024  # a duplicate in a larger body is refused without its path: finding it costs seconds
_EXPONENT = re.compile(rb"[0-9][eE]")
_AT_BYTE = re.compile(r"\(byte (\d+)\)$")


class _TooBig(Exception):
    """A number's exponent is past the limit."""


def _decoder(exponent: int) -> msgspec.json.Decoder[Any]:
    def number(text: str) -> Decimal:
        _, mark, power = text.partition("e" if "e" in text else "E")
        if mark and abs(int(power)) > exponent:
            raise _TooBig
        return Decimal(text)

    return msgspec.json.Decoder(float_hook=number)


_DECODER = _decoder(DEFAULT.exponent)


def read_json(data: bytes, limits: Limits = DEFAULT) -> Json:
    """Read untrusted JSON (RFC 8259, UTF-8 without BOM) exactly, or raise `WireRefused`.

    Refused: more than `limits`, duplicate keys, NaN and infinities, lone surrogates, anything after the value.
    Numbers with a point or an exponent are Decimal with their written scale, others are int.

    Size, depth and digits are checked in C before anything is parsed. Duplicate keys are found by counting: the
    text outside strings has one colon per member, so a decoded value with fewer members has lost some.
    """
    structure = _bounded(data, limits)
    decoder = _DECODER if limits.exponent == DEFAULT.exponent else _decoder(limits.exponent)
    try:
        value = decoder.decode(data)
    except UnicodeDecodeError:
        raise WireRefused("body is not UTF-8", _not_utf8(data)) from None
    except _TooBig:
        where = _number_past(data, limits)
        raise WireRefused(f"exponent beyond 10^{limits.exponent} either way", where) from None
    except (msgspec.MsgspecError, RecursionError, InvalidOperation) as error:
        raise _malformed(data, str(error)) from None
    if structure.count(b":") != _members(value):
        raise WireRefused(*_duplicate(data))
    return value


def read_again(data: bytes) -> Json:
    """The same for bytes that `read_json` has let through before, or that we wrote: the bounds hold of them."""
    return _DECODER.decode(data)


def _bounded(data: bytes, limits: Limits) -> bytes:
    """What stands outside strings, of bytes that cost no more than `limits`. Raises `WireRefused`."""
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
    """Reads a JSON array of objects that hold one flat object at most, straight into a type: as exact and as bounded
    as `read_json`, several times as fast, and for such arrays alone."""

    def __init__(self, of: type[T]) -> None:
        self._decoder = msgspec.json.Decoder(list[of], float_hook=Decimal)  # type: ignore[valid-type]

    def read(self, data: bytes, members: Callable[[list[T]], int]) -> list[T] | None:
        """None for what it does not read, which `read_json` then reads or refuses. `members` counts those that the
        values were made of, so that one that was there twice is noticed."""
        try:
            structure = _bounded(data, DEFAULT)
            if _EXPONENT.search(structure):
                return None
            values = self._decoder.decode(data)
        except (WireRefused, UnicodeDecodeError, msgspec.MsgspecError, InvalidOperation):
            return None
        if structure.count(b"[") != 1 or structure.count(b"{") > 2 * len(values):
            return None
        return values if structure.count(b":") == members(values) else None


def _outside_strings(data: bytes) -> bytes:
    """What stands outside strings, as the parser will see it up to its first complaint."""
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


# Below: finding the place of something already refused. Only refused bodies pay for it, in one linear pass.


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
    if len(data) > _LOCATABLE:
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
            pending.extend((f"{path}.{key}", inner) for key, inner in part.items() if _holds(inner))
        elif isinstance(part, list):
            pending.extend((f"{path}[{index}]", inner) for index, inner in enumerate(part) if _holds(inner))
    return "a key appears twice in one object", "$"


def _holds(value: Any) -> bool:
    return isinstance(value, dict | list)


# The stored form. Values that JSON has no word for are maps with a fixed set of keys; a plain map that happens to
# have exactly such keys, or the key that escapes it, is wrapped in {"map": ...}.

_TAGS = {frozenset({"minor", "currency"}), *(frozenset({key}) for key in ("date", "time", "duration", "map"))}
_MAX_DEPTH = 200
# Wider than what `read_json` lets in, so that whatever was read can be stored.
_MAX_NUMBER = 200
_MAX_EXPONENT = 1000
_MAX_INT = 10**_MAX_NUMBER
_ENCODER = msgspec.json.Encoder(order="sorted")
_STORED = _decoder(_MAX_EXPONENT)
_MICROSECOND = timedelta(microseconds=1)
_AS_IT_IS = frozenset({str, bool, msgspec.Raw})
_WORDS = frozenset({str, bool, type(None)})


def dumps(value: object) -> bytes:
    """The canonical stored form: JSON in UTF-8, keys sorted, no spaces; equal values of equal types, equal bytes.

    Money, date, aware datetime, timedelta, Decimal (with its scale), int, str, bool, None, list and dict with
    str keys, exactly these types; anything else, and any number of more than 200 digits, is a TypeError.
    A `msgspec.Raw` is a part that is in the stored form already.
    """
    try:
        return _ENCODER.encode(_plain(value, 0))
    except UnicodeEncodeError:
        raise TypeError("text with a lone surrogate cannot be stored") from None


def _plain(value: Any, depth: int) -> object:
    """Kinds are compared, not asked for: this is where the time goes when anything is stored or digested."""
    kind = type(value)
    if value is None or kind in _AS_IT_IS:
        return value
    if depth > _MAX_DEPTH:
        raise TypeError(f"a value nested deeper than {_MAX_DEPTH} cannot be stored")
    if kind is dict:
        parts = {}
        for key, part in value.items():
            if type(key) is not str:
                raise TypeError(f"a map with a key of type {type(key).__name__} cannot be stored")
            # Most parts are texts: a call for each of them would be most of the time.
            parts[key] = part if part is None or type(part) in _AS_IT_IS else _plain(part, depth + 1)
        return {"map": parts} if len(parts) <= 2 and frozenset(parts) in _TAGS else parts
    if kind is Money:
        return {"currency": value.currency, "minor": value.minor}
    if kind is list:
        return [part if type(part) in _AS_IT_IS else _plain(part, depth + 1) for part in value]
    if kind is int:
        if not -_MAX_INT < value < _MAX_INT:
            raise TypeError(f"an int of more than {_MAX_NUMBER} digits cannot be stored")
        return value
    return _tagged(value)


def _key(key: object) -> str:
    if type(key) is not str:
        raise TypeError(f"a map with a key of type {type(key).__name__} cannot be stored")
    return key


def _tagged(value: object) -> object:
    kind = type(value)
    if isinstance(value, Decimal) and kind is Decimal:
        return msgspec.Raw(_decimal_text(value).encode())
    if isinstance(value, datetime) and kind is datetime:
        return {"time": time_text(value)}
    if isinstance(value, date) and kind is date:
        return {"date": value.isoformat()}
    if isinstance(value, timedelta) and kind is timedelta:
        return {"duration": _seconds_text(value)}
    raise TypeError(f"a value of type {kind.__name__} cannot be stored")


def _decimal_text(value: Decimal) -> str:
    if not value.is_finite():
        raise TypeError(f"{value} cannot be stored")
    text = str(value)
    if not ("." in text or "E" in text):
        text += "E0"
    if len(text) > _MAX_NUMBER or abs(value.adjusted()) > _MAX_EXPONENT - _MAX_NUMBER:
        raise TypeError("a Decimal of this length or exponent cannot be stored")
    return text


def time_text(value: datetime) -> str:
    """An aware time as RFC 3339 in UTC, microseconds only when not zero. Raises TypeError for a naive one."""
    if value.utcoffset() is None:
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
    """The value that `dumps` wrote, types and scale included. Raises ValueError for what it cannot have written."""
    try:
        return _revive(_STORED.decode(data))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, InvalidOperation, _TooBig) as error:
        raise ValueError(f"not a stored value: {error}") from None


def _revive(value: Any) -> Any:
    if type(value) is dict:
        if len(value) <= 2 and frozenset(value) in _TAGS:
            return _untagged(value)
        for key, part in value.items():
            if type(part) in _HOLDS_MORE:
                value[key] = _revive(part)  # freshly decoded, nobody else's; no key comes or goes
        return value
    if type(value) is list:
        return [_revive(part) if type(part) in _HOLDS_MORE else part for part in value]
    return value


_HOLDS_MORE = frozenset({dict, list})


def _untagged(value: dict[str, Any]) -> Any:
    if len(value) == 2:  # the one tag of two keys, and the most frequent of all
        minor, currency = value["minor"], value["currency"]
        if type(minor) is int and type(currency) is str:
            return Money(minor, currency)
    match value:
        case {"date": str(text)}:
            return date.fromisoformat(text)
        case {"time": str(text)}:
            return datetime.fromisoformat(text)
        case {"duration": str(text)}:
            return timedelta(microseconds=int(Decimal(text).scaleb(6)))
        case {"map": dict(parts)}:
            return {key: _revive(part) for key, part in parts.items()}
    raise ValueError(
        f"not a stored value: a map of {', '.join(sorted(value))} with other contents than theirs"
    )


def write_json(value: Json) -> bytes:
    """Plain JSON for others to read: canonical like `dumps`, but only values that JSON has a word for.

    A Decimal is written as a number that reads back as the same Decimal. Anything else is a TypeError.
    """
    try:
        return _ENCODER.encode(_words(value, 0))
    except UnicodeEncodeError:
        raise TypeError("text with a lone surrogate cannot be written as JSON") from None


def _words(value: Any, depth: int) -> object:
    kind = type(value)
    if depth > _MAX_DEPTH:
        raise TypeError(f"a value nested deeper than {_MAX_DEPTH} cannot be written as JSON")
    if kind is dict:
        return {
            key if type(key) is str else _key(key): part if type(part) in _WORDS else _words(part, depth + 1)
            for key, part in value.items()
        }
    if kind is list:
        return [part if type(part) in _WORDS else _words(part, depth + 1) for part in value]
    if value is None or kind in (str, bool, int, Decimal):
        return _plain(value, depth)
    raise TypeError(f"a value of type {kind.__name__} cannot be written as JSON")


def digest(value: object) -> str:
    """SHA-256 in hex of bytes as they are, or of the canonical stored form of any other value."""
    return hashlib.sha256(value if isinstance(value, bytes) else dumps(value)).hexdigest()
