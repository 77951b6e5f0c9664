"""Functions over dates, timestamps and durations. Zones are IANA names or fixed offsets; a date has no zone."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from counterfoil.expr.errors import Fault
from counterfoil.expr.values import Value, kind_with_article, int64, kind

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
    """The zone of an IANA name such as Europe/Berlin, or of a fixed offset such as +02:00."""
    offset = _OFFSET.fullmatch(name)
    if offset:
        minutes = int(offset[2]) * 60 + int(offset[3])
        if minutes >= 24 * 60:
            raise Fault(f"{name!r} is no offset from UTC")
        return timezone(timedelta(minutes=-minutes if offset[1] == "-" else minutes))
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Fault(f"{name[:60]!r} is no time zone; use a name such as Europe/Berlin") from None


def _zone(value: Value) -> tzinfo:
    if kind(value) != "string":
        raise Fault(f"a time zone is a string, not {kind_with_article(value)}")
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
    """Whole seconds since 1970, as many vendors send them."""
    try:
        return _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        raise Fault("the time is outside the years 1 to 9999") from None


def timestamp(value: Value) -> datetime:
    """From RFC 3339 text (digits after microseconds must be zero), or from whole seconds since 1970."""
    match kind(value):
        case "timestamp":
            return _moment(value)
        case "int":
            return from_epoch(value)
        case "string":
            return _parse_timestamp(value)
    raise Fault(f"cannot make a timestamp of {kind_with_article(value)}")


def _parse_timestamp(text: str) -> datetime:
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        raise Fault(f"{text[:60]!r} is no RFC 3339 timestamp such as 2026-01-31T12:00:00Z")
    day, time, fraction, offset = match.groups()
    digits = (fraction or "").ljust(9, "0")
    if digits[6:] != "000":
        raise Fault("times are exact to the microsecond; cut the further digits off first")
    try:
        return datetime.fromisoformat(f"{day}T{time}.{digits[:6]}{'+00:00' if offset in 'Zz' else offset}")
    except ValueError:
        raise Fault(f"{text[:60]!r} names no moment that exists") from None


def day(value: Value, where: Value = "UTC") -> date:
    """The calendar day: of text, of a timestamp (or seconds since 1970) in a zone, or the date itself."""
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
                raise Fault(f"{value[:60]!r} is no date such as 2026-01-31")
            try:
                return date.fromisoformat(value)
            except ValueError:
                raise Fault(f"{value!r} is no day of the calendar") from None
    raise Fault(f"cannot make a date of {kind_with_article(value)}")


def duration(value: Value) -> timedelta:
    """From text: CEL's `1h30m`, `90s` (and `2d`), or ISO 8601 `P2DT3H` without months and years."""
    if kind(value) == "duration":
        same: timedelta = value
        return same
    if kind(value) != "string":
        raise Fault(f"cannot make a duration of {kind_with_article(value)}")
    nanoseconds = _nanoseconds(value) if len(value) <= 100 else None
    if nanoseconds is None:
        raise Fault(f"{value[:60]!r} is no duration such as 1h30m or P2D")
    if nanoseconds % 1000:
        raise Fault("durations are exact to the microsecond")
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
    """A duration of whole days."""
    if kind(count) != "int":
        raise Fault(f"days() takes an int, not {kind_with_article(count)}")
    try:
        return timedelta(days=count)
    except OverflowError:
        raise Fault("that many days are outside the calendar") from None


def days_between(start: Value, end: Value) -> int:
    """Days from `start` up to but not including `end`; negative when the end comes first."""
    if kind(start) != "date" or kind(end) != "date":
        raise Fault(
            f"days_between() takes two dates, not {kind(start)} and {kind(end)}; use date(timestamp, zone)"
        )
    return int((end - start).days)


def period_of(value: Value, where: Value = None) -> str:
    """The calendar month 'YYYY-MM' of a date, or of a timestamp in a zone."""
    if kind(value) == "timestamp":
        if where is None:
            raise Fault("the period of a timestamp depends on the zone; write period_of(t, zone)")
        value = _local(value, where)
    elif kind(value) != "date":
        raise Fault(f"period_of() takes a date, not {kind_with_article(value)}")
    return f"{value.year:04d}-{value.month:02d}"


def part_of_date(read: Callable[[date], int]) -> Callable[..., int]:
    """A getter such as getFullYear, of a date or of a timestamp in a zone (UTC when left out)."""

    def get(value: Value, where: Value = "UTC") -> int:
        return read(value if kind(value) == "date" else _local(value, where))

    return get


def part_of_time(
    of_timestamp: Callable[[datetime], int], unit: timedelta, within: int = 0
) -> Callable[..., int]:
    """A getter such as getHours: of a timestamp in a zone, or of a duration in whole units (as in CEL)."""

    def get(value: Value, where: Value = "UTC") -> int:
        if kind(value) != "duration":
            return of_timestamp(_local(value, where))
        whole: int = abs(value) // unit if not within else abs(value) // unit % within
        return -whole if value < timedelta(0) else whole

    return get


def epoch_seconds(value: datetime) -> int:
    """Whole seconds since 1970, cut towards the past."""
    return int64((_moment(value) - _EPOCH) // _SECOND)


def show_timestamp(value: datetime) -> str:
    """RFC 3339 in UTC, with microseconds only when there are any."""
    return _moment(value).astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def show_duration(value: timedelta) -> str:
    """Seconds as CEL writes them: 90s, 0.5s."""
    total = value // timedelta(microseconds=1)
    whole, rest = divmod(abs(total), 10**6)
    fraction = f".{rest:06d}".rstrip("0") if rest else ""
    return f"{'-' if total < 0 else ''}{whole}{fraction}s"
