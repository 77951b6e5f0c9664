"""Functions over dates, timestamps and durations. Zones are IANA names or fixed offsets; a date has no zone."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from counterfoil.expr.errors import Fault
from counterfoil.expr.values import Value, int64, kind, kind_with_article

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_TIMESTAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_OFFSET = re.compile(r"([+-]?)([0-9]{2}):([0-9]{2})")
_DURATION = re.compile(r"([+-]?)((?:[0-9]{1,12}(?:\.[0-9]{1,9})?(?:d|h|ms|us|ns|m|s))+)")
_DURATION_PART = re.compile(r"([0-9.]+)(d|h|ms|us|ns|m|s)")
_ISO_DURATION = re.compile(
    r"([+-]?)P(?:([0-9]{1,6})W)?(?:([0-9]{1,8})D)?"
    r"(?:T(?=[0-9])(?:([0-9]{1,9})H)?(?:([0-9]{1,9})M)?(?:([0-9]{1,12}(?:\.[0-9]{1,9})?)S)?)?"
)
_NANOSECONDS = {
    "d": 86_400 * 10**9, "h": 3_600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1,
}  # fmt: skip


@lru_cache(maxsize=512)
def zone(name: str) -> tzinfo:
    """Return the zone of an IANA name such as Europe/Berlin, or of a fixed offset such as +02:00."""
    offset = _OFFSET.fullmatch(name)
    if offset:
        minutes = int(offset[2]) * 60 + int(offset[3])
        if minutes >= 24 * 60:
            raise Fault(f"{name!r} is not an offset from UTC")
        return timezone(timedelta(minutes=-minutes if offset[1] == "-" else minutes))
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Fault(f"{name[:60]!r} is not a time zone; use a name such as Europe/Berlin") from None


def _zone(value: Value) -> tzinfo:
    if kind(value) != "string":
        raise Fault(f"a time zone must be a string, not {kind_with_article(value)}")
    return zone(value)


def _moment(value: Value) -> datetime:
    if kind(value) != "timestamp" or value.tzinfo is None:
        raise Fault(f"expected a timestamp with a zone, found {kind_with_article(value)}")
    moment: datetime = value
    return moment


def _local(value: Value, where: Value) -> datetime:
    try:
        return _moment(value).astimezone(_zone(where))
    except OverflowError:
        raise Fault("the time is outside the years 1 to 9999 in that zone") from None


def from_epoch(seconds: Value) -> datetime:
    """Convert whole seconds since 1970, the format of many vendors."""
    try:
        return _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        raise Fault("the time is outside the years 1 to 9999") from None


def timestamp(value: Value, where: Value = None) -> datetime:
    """Convert RFC 3339 text (digits after microseconds must be zero), whole seconds since 1970, or a date in a zone.

    A date becomes its first instant in the zone: days and months of 23 or 25 hours more or less have their true length.
    """
    if kind(value) == "date":
        if where is None:
            raise Fault("the first instant of a date depends on the zone; write timestamp(date, zone)")
        return _first_instant(value, _zone(where))
    if where is not None:
        raise Fault(f"only a date is converted with a zone, not {kind_with_article(value)}")
    match kind(value):
        case "timestamp":
            return _moment(value)
        case "int":
            return from_epoch(value)
        case "string":
            return _parse_timestamp(value)
    raise Fault(f"cannot convert {kind_with_article(value)} to timestamp")


def _first_instant(value: date, where: tzinfo) -> datetime:
    try:
        return datetime(value.year, value.month, value.day, tzinfo=where).astimezone(UTC)
    except OverflowError:
        raise Fault("the time is outside the years 1 to 9999 in that zone") from None


def _parse_timestamp(text: str) -> datetime:
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        raise Fault(f"{text[:60]!r} is not an RFC 3339 timestamp such as 2026-01-31T12:00:00Z")
    day, time, fraction, offset = match.groups()
    digits = (fraction or "").ljust(9, "0")
    if digits[6:] != "000":
        raise Fault("timestamps have microsecond precision; remove the further digits first")
    try:
        return datetime.fromisoformat(f"{day}T{time}.{digits[:6]}{'+00:00' if offset in 'Zz' else offset}")
    except ValueError:
        raise Fault(f"{text[:60]!r} is not an existing time") from None


def day(value: Value, where: Value = "UTC") -> date:
    """Return the calendar day of a text, or of a timestamp (or seconds since 1970) in a zone; a date stays as it is."""
    match kind(value):
        case "date":
            plain: date = value
            return plain
        case "timestamp":
            return _local(value, where).date()
        case "int":
            return _local(from_epoch(value), where).date()
        case "string":
            if not _DATE.fullmatch(value):
                raise Fault(f"{value[:60]!r} is not a date such as 2026-01-31")
            try:
                return date.fromisoformat(value)
            except ValueError:
                raise Fault(f"{value!r} is not an existing day") from None
    raise Fault(f"cannot convert {kind_with_article(value)} to date")


def duration(value: Value) -> timedelta:
    """Parse a duration: CEL's `1h30m`, `90s` (and `2d`), or ISO 8601 `P2DT3H` without months and years."""
    if kind(value) == "duration":
        same: timedelta = value
        return same
    if kind(value) != "string":
        raise Fault(f"cannot convert {kind_with_article(value)} to duration")
    nanoseconds = _nanoseconds(value) if len(value) <= 100 else None
    if nanoseconds is None:
        raise Fault(f"{value[:60]!r} is not a duration such as 1h30m or P2D")
    if nanoseconds % 1000:
        raise Fault("durations have microsecond precision")
    try:
        return timedelta(microseconds=int(nanoseconds // 1000))
    except OverflowError:
        raise Fault("the duration is too long") from None


def _nanoseconds(text: str) -> Decimal | None:
    plain = _DURATION.fullmatch(text)
    if plain:
        parts = [Decimal(number) * _NANOSECONDS[unit] for number, unit in _DURATION_PART.findall(plain[2])]
        return sum(parts, Decimal(0)) * (-1 if plain[1] == "-" else 1)
    iso = _ISO_DURATION.fullmatch(text)
    if iso is None or not any(iso.groups()[1:]):
        return None
    seconds = (
        Decimal(iso[2] or 0) * 604_800
        + Decimal(iso[3] or 0) * 86_400
        + Decimal(iso[4] or 0) * 3_600
        + Decimal(iso[5] or 0) * 60
        + Decimal(iso[6] or 0)
    )
    return seconds * 10**9 * (-1 if iso[1] == "-" else 1)


def days(count: Value) -> timedelta:
    """Return a duration of whole days."""
    if kind(count) != "int":
        raise Fault(f"days() takes an int, not {kind_with_article(count)}")
    try:
        return timedelta(days=count)
    except OverflowError:
        raise Fault("the number of days is too large") from None


def days_between(start: Value, end: Value) -> int:
    """Return the days from `start` up to but not including `end`; negative if the end is first."""
    if kind(start) != "date" or kind(end) != "date":
        raise Fault(
            f"days_between() takes two dates, not {kind(start)} and {kind(end)}; use date(timestamp, zone)"
        )
    return int((end - start).days)


def period_of(value: Value, where: Value = None) -> str:
    """Return the calendar month 'YYYY-MM' of a date, or of a timestamp in a zone."""
    if kind(value) == "timestamp":
        if where is None:
            raise Fault("the period of a timestamp depends on the zone; write period_of(t, zone)")
        value = _local(value, where)
    elif kind(value) != "date":
        raise Fault(f"period_of() takes a date, not {kind_with_article(value)}")
    return f"{value.year:04d}-{value.month:02d}"


def part_of_date(read: Callable[[date], int]) -> Callable[..., int]:
    """Build a getter such as getFullYear, for a date or a timestamp in a zone (UTC by default)."""

    def get(value: Value, where: Value = "UTC") -> int:
        return read(value if kind(value) == "date" else _local(value, where))

    return get


def part_of_time(
    of_timestamp: Callable[[datetime], int], unit: timedelta, modulus: int = 0
) -> Callable[..., int]:
    """Build a getter such as getHours, for a timestamp in a zone, or a duration in whole units (as in CEL)."""

    def get(value: Value, where: Value = "UTC") -> int:
        if kind(value) != "duration":
            return of_timestamp(_local(value, where))
        whole: int = abs(value) // unit if not modulus else abs(value) // unit % modulus
        return -whole if value < timedelta(0) else whole

    return get


def epoch_seconds(value: datetime) -> int:
    """Return whole seconds since 1970, rounded down."""
    return int64((_moment(value) - _EPOCH) // _SECOND)


def show_timestamp(value: datetime) -> str:
    """Return RFC 3339 in UTC, with microseconds only if they are not zero."""
    return _moment(value).astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def show_duration(value: timedelta) -> str:
    """Return seconds as CEL writes them: 90s, 0.5s."""
    total = value // timedelta(microseconds=1)
    whole, rest = divmod(abs(total), 10**6)
    fraction = f".{rest:06d}".rstrip("0") if rest else ""
    return f"{'-' if total < 0 else ''}{whole}{fraction}s"
