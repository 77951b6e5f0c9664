"""Comparison of the records that a test expects with those that came about, and the differences in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from counterfoil.core.finding import did_you_mean
from counterfoil.model.kinds.test import MONEY_TEXT
from counterfoil.testing.records import Record

WORDS = frozenset({"message", "waits_for", "error"})
"""Keys whose expected text is part of the actual one."""
_MARKS = frozenset({"only", "times"})
_MAX_NAMES = 8
_MAX_FIELDS = 12


def differences(expected: Mapping[str, Any], actual: Mapping[str, Sequence[Record]]) -> list[str]:
    """Return the differences between `expect`, with its formulas filled, and the records; empty if there are none."""
    lines: list[str] = []
    complete = expected.get("only", [])
    for section, target in expected.items():
        if section != "only":
            is_complete = section in complete or not target
            lines += _Comparison(section, target, actual[section], is_complete).differences()
    for section in complete:
        if section not in expected:
            lines += _Comparison(section, [], actual[section], True).differences()
    return lines + _open_cases(expected, actual) if lines else []


def _open_cases(expected: Mapping[str, Any], actual: Mapping[str, Sequence[Record]]) -> list[str]:
    """Return the open Cases that a failed test does not speak of: one of them may be the cause."""
    if "cases" in expected or "cases" in expected.get("only", []):
        return []
    cases = [case for case in actual["cases"] if case["state"] == "open"]
    more = [f"    and {len(cases) - _MAX_NAMES} more"] if len(cases) > _MAX_NAMES else []
    return (
        ["open Cases:", *(f"    {_line('cases', case)}" for case in cases[:_MAX_NAMES]), *more]
        if cases
        else []
    )


class _Comparison:
    """One list of `expect` and the records of its kind. Each record answers one entry at most."""

    def __init__(
        self, section: str, target: Sequence[Record], actual: Sequence[Record], is_complete: bool
    ) -> None:
        self._section, self._entries, self._actual = section, target, actual
        self._is_complete = is_complete
        self._record_of: dict[int, int] = {}
        """Entry -> record that answers it."""

    def differences(self) -> list[str]:
        lines: list[str] = []
        counted: set[int] = set()
        singles = []
        for at, entry in enumerate(self._entries):
            if "times" not in entry:
                singles.append(at)
                continue
            fitting = {n for n, record in enumerate(self._actual) if _fits(self._section, entry, record)}
            counted |= fitting
            if len(fitting) != entry["times"]:
                lines += self._wrong_count(at, entry, len(fitting))
        for at in singles:
            self._assign(at, set())
        missing = [at for at in singles if at not in self._record_of]
        for at in missing:
            lines += self._missing(at)
        if self._is_complete:
            answered = counted | set(self._record_of.values())
            surplus = [record for n, record in enumerate(self._actual) if n not in answered]
            if surplus and not missing:
                lines += [f"{self._section}: not expected, but there:"]
                lines += [f"    {_line(self._section, record)}" for record in surplus]
        return lines

    def _assign(self, at: int, tried: set[int]) -> bool:
        """Give an entry a record that fits, moving other entries to other records where that helps."""
        for n, record in enumerate(self._actual):
            if n in tried or not _fits(self._section, self._entries[at], record):
                continue
            tried.add(n)
            owner = next((entry for entry, used in self._record_of.items() if used == n), None)
            if owner is None or self._assign(owner, tried):
                self._record_of[at] = n
                return True
        return False

    # ------------------------------------------------------------------ in words

    def _place(self, at: int, entry: Record) -> str:
        return f"{self._section}[{at}] {_identity(entry)}"

    def _wrong_count(self, at: int, entry: Record, count: int) -> list[str]:
        lines = [f"{self._place(at, entry)}: expected {entry['times']}, actual {count}"]
        if not count:
            lines += self._candidates(entry)
        return lines

    def _missing(self, at: int) -> list[str]:
        entry = self._entries[at]
        used = set(self._record_of.values())
        free = [record for n, record in enumerate(self._actual) if n not in used]
        same = [r for r in free if r[_key(entry)] == entry[_key(entry)]]
        if not same:
            others = sum(r[_key(entry)] == entry[_key(entry)] for r in self._actual)
            if others:
                return [f"{self._place(at, entry)}: expected one more; there is only {others}"]
            return [f"{self._place(at, entry)}: there is none", *self._candidates(entry)]
        faults = [list(_faults(self._section, entry, record)) for record in same]
        best = min(range(len(same)), key=lambda n: len(faults[n]))
        lines = [f"{self._place(at, entry)}: none is as expected"]
        if len(same) > 1:
            lines += [f"    nearest of {len(same)}: {_line(self._section, same[best])}"]
        lines += [f"    {fault}" for fault in faults[best][:_MAX_FIELDS]]
        if same[best].get("waits_for") and "waits_for" not in entry:
            lines += [f"    it waits for {same[best]['waits_for']}"]
        if len(faults[best]) > _MAX_FIELDS:
            lines += [f"    and {len(faults[best]) - _MAX_FIELDS} more"]
        return lines

    def _candidates(self, entry: Record) -> list[str]:
        """Return the names of the records that exist instead."""
        key = _key(entry)
        names = list(dict.fromkeys(str(record[key]) for record in self._actual))
        if not names:
            return [f"    there are no {self._section}"]
        near = did_you_mean(str(entry[key]), names)
        more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
        listed = ", ".join(names[:_MAX_NAMES]) + more
        return [f"    there are: {listed}" + (f"; {near}" if near else "")]


def _key(entry: Record) -> str:
    """Return the key that names a record: the first one of its kind."""
    return next(iter(entry))


def _identity(entry: Record) -> str:
    key = _key(entry)
    more = " ".join(str(entry[k]) for k in ("key", "document") if entry.get(k) is not None)
    return f"{entry[key]} {more}".strip()


def _line(section: str, record: Record) -> str:
    """Return a record in one line."""
    parts = [_identity(record)]
    words = [record[k] for k in ("state", "waits_for", "amount", "exposure", "message") if record.get(k)]
    parts += [", ".join(word) if isinstance(word, list) else str(word) for word in words]
    if section == "events":
        parts.append(_text(record["data"]))
    elif section == "money":
        parts += [f"{k} {record[k]}" for k in ("asserted", "matched", "open")]
    return ", ".join(part for part in parts if part)


def _fits(section: str, entry: Record, record: Record) -> bool:
    return next(_faults(section, entry, record), None) is None


def _faults(section: str, entry: Record, record: Record) -> Iterator[str]:
    """Yield each value of a record that is not as expected, with its path."""
    exact = entry.get("only", [])
    for key, target in entry.items():
        if key in _MARKS:
            continue
        value = record.get(key)
        if key in WORDS or (section, key) == ("foils", "reason"):
            # Every text has the empty one in it: who expects that, or null, expects none.
            if (not target and value) or str(target or "").lower() not in str(value or "").lower():
                yield _fault(key, target, value)
        elif key == "exposure":
            target = target if isinstance(target, list) else [target]
            yield from _value_faults(key, target, value, False)
        else:
            yield from _value_faults(key, target, value, key in exact)


def _value_faults(path: str, target: Any, value: Any, exact: bool) -> Iterator[str]:
    if isinstance(target, dict) and isinstance(value, dict):
        exact = exact or not target
        for key, part in target.items():
            if key not in value and part is not None:
                near = did_you_mean(key, value)
                yield _fault(f"{path}.{key}", part, None) + (f" ({near})" if near else "")
            else:
                yield from _value_faults(f"{path}.{key}", part, value.get(key), exact)
        for key in sorted(value.keys() - target.keys()) if exact else ():
            if value[key] is not None:
                yield f"{path}.{key}: not expected, actual {_text(value[key])}"
    elif isinstance(target, list) and isinstance(value, list):
        if len(target) != len(value):
            yield f"{path}: expected {len(target)} entries, actual {len(value)}: {_text(value)}"
        else:
            for n, (part, actual) in enumerate(zip(target, value, strict=True)):
                yield from _value_faults(f"{path}[{n}]", part, actual, exact)
    elif not _equal(target, value):
        yield _fault(path, target, value)


def _fault(path: str, target: Any, value: Any) -> str:
    a, b = _text(target), _text(value)
    if a == b:
        a, b = (
            f"the text '{part}'" if isinstance(part, str) else f"the number {part}"
            for part in (target, value)
        )
    return f"{path}: expected {a}, actual {b}"


def _equal(target: Any, value: Any) -> bool:
    if type(target) is bool or type(value) is bool:
        return target is value
    if target == value:
        return True
    if isinstance(target, str) and isinstance(value, str):
        a, b = MONEY_TEXT.fullmatch(target), MONEY_TEXT.fullmatch(value)
        return a is not None and b is not None and a[2] == b[2] and _number(a[1]) == _number(b[1])
    return False


def _number(text: str) -> Decimal:
    return Decimal(text.replace(",", ""))


def _text(value: Any) -> str:
    """Return a value in one line, as YAML in flow style would have it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_text(v)}" for k, v in value.items() if v is not None) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_text, value)) + "]"
    return str(value) if value != "" else "''"
