"""Solver for numbers and strings: an instance that meets a set of statements (`formula`), or that none exists."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from enum import Enum
from fractions import Fraction
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import jsonschema_rs

from counterfoil.contracts.jsonschema import regular
from counterfoil.contracts.jsonschema.formula import Formula
from counterfoil.contracts.jsonschema.pattern import UnsupportedPattern, language


class Existence(Enum):
    """Answer to the question whether an instance meets a set of statements."""

    NONE = "none"
    """No instance meets the statements."""
    ONE = "one"
    """The given instance meets the statements."""
    PERHAPS = "perhaps"
    """Undecided; an instance, if present, is only a candidate."""


class SearchResult(NamedTuple):
    """Answer of a search, with an instance where one was built."""

    existence: Existence
    instance: Any = None
    has_instance: bool = False


_MAX_CANDIDATES = 20_000
IMPOSSIBLE = SearchResult(Existence.NONE)
UNDECIDED = SearchResult(Existence.PERHAPS)
TOO_LARGE = SearchResult(Existence.ONE)
"""An instance exists but is too large to build."""


def instance(value: Any) -> SearchResult:
    """Return an existing instance."""
    return SearchResult(Existence.ONE, value, True)


def perhaps(value: Any) -> SearchResult:
    """Return a candidate whose existence is undecided."""
    return SearchResult(Existence.PERHAPS, value, True)


def better(best: SearchResult, answer: SearchResult) -> SearchResult:
    """Return the answer if it is undecided and the best so far is impossible or has no instance, else the best."""
    useful = best.existence is Existence.NONE or not best.has_instance
    return answer if answer.existence is Existence.PERHAPS and useful else best


def group_by_name(atoms: Iterable[Formula]) -> dict[str, list[Any]]:
    """Group statements by name."""
    groups: dict[str, list[Any]] = {}
    for name, *rest in atoms:
        groups.setdefault(name, []).append(rest[0] if len(rest) == 1 else tuple(rest))
    return groups


def solve_number(atoms: Iterable[Formula]) -> SearchResult:
    """Return a number inside all bounds, on all required multiples and off all excluded ones."""
    statements = group_by_name(atoms)
    low = max(statements.get("min", []), key=lambda bound: (bound[0], bound[1]), default=None)
    high = min(statements.get("max", []), key=lambda bound: (bound[0], not bound[1]), default=None)
    steps = statements.get("multiple", []) + [Fraction(1)] * ("integer" in statements)
    excluded_steps = statements.get("nomultiple", []) + [Fraction(1)] * ("fraction" in statements)
    denied = frozenset[Fraction]().union(*statements.get("noneof", []))

    def fits(value: Fraction) -> bool:
        return (
            (low is None or value > low[0] or (value == low[0] and not low[1]))
            and (high is None or value < high[0] or (value == high[0] and not high[1]))
            and all((value / step).denominator == 1 for step in steps)
            and not any((value / step).denominator == 1 for step in excluded_steps)
            and value not in denied
        )

    if "oneof" in statements:
        allowed = frozenset.intersection(*statements["oneof"])
        candidates: Iterable[Fraction] = sorted(allowed, key=lambda value: (abs(value), value < 0))
        complete = True
    else:
        candidates, complete = _numbers(low, high, steps, excluded_steps, len(denied))
    for value in candidates:
        if fits(value):
            return _with_opaque(statements, _json_number(value))
    return IMPOSSIBLE if complete else UNDECIDED


def _numbers(
    low: Any, high: Any, steps: list[Fraction], excluded_steps: list[Fraction], denied: int
) -> tuple[Iterable[Fraction], bool]:
    """Return candidates, and true if no number exists unless one of them fits."""
    if low and high and (low[0] > high[0] or (low[0] == high[0] and (low[1] or high[1]))):
        return [], True
    if steps:
        grid = _common(steps)
        period = math.lcm(*((step / grid).numerator for step in excluded_steps)) if excluded_steps else 1
        needed = min(period + denied + 2, _MAX_CANDIDATES)
        if low is not None:
            first = math.ceil(low[0] / grid)
            last = math.floor(high[0] / grid) if high is not None else first + needed
            near_zero = [Fraction(0), grid, -grid] if first <= 0 <= last else []
            spread = range(first, min(last, first + needed) + 1)
        elif high is not None:
            first = math.floor(high[0] / grid)
            near_zero = [Fraction(0)]
            spread = range(first, first - needed - 1, -1)
        else:
            near_zero = []
            spread = range(needed + 1)
        return [*near_zero, *(position * grid for position in spread)], needed < _MAX_CANDIDATES
    return _dense(low, high, denied), low is not None and high is not None and low[0] == high[0]


def _dense(low: Any, high: Any, denied: int) -> Iterator[Fraction]:
    """Yield numbers between the bounds, the simplest first."""
    yield from (Fraction(0), Fraction(1), Fraction(-1), Fraction(1, 2))
    for bound in (low, high):
        if bound:
            yield bound[0]
            for step in (Fraction(1), Fraction(1, 2), Fraction(1, 10), Fraction(1, 1000)):
                yield from (bound[0] + step, bound[0] - step)
    start = low[0] if low else high[0] - 1000 if high else Fraction(0)
    end = high[0] if high else start + 1000
    if end > start:
        digits = 10 ** max(1, math.ceil(-math.log10(float(end - start))) + 1)
        for extra in range(denied + 3):
            scale = digits * (10 if extra else 1)
            point = start + (end - start) * (extra + 1) / (denied + 4)
            yield Fraction(math.floor(point * scale) + 1, scale)
            yield point + Fraction(1, 7 * digits * 1000)


def _common(steps: list[Fraction]) -> Fraction:
    """Return the least number that is a multiple of each step."""
    common = steps[0]
    for step in steps[1:]:
        whole = math.lcm(common.numerator * step.denominator, step.numerator * common.denominator)
        common = Fraction(whole, common.denominator * step.denominator)
    return common


def _json_number(value: Fraction) -> int | float:
    return int(value) if value.denominator == 1 else float(value)


def _with_opaque(statements: dict[str, list[Any]], value: Any) -> SearchResult:
    return perhaps(value) if "opaque" in statements or "noopaque" in statements else instance(value)


# Example strings of each format; the validator decides whether they match it.
SAMPLES: dict[str, tuple[str, ...]] = {
    "date-time": ("2024-02-29T12:30:00Z", "2024-01-01T00:00:00.5+01:00"),
    "date": ("2024-02-29", "2024-01-31"),
    "time": ("12:30:00Z", "23:59:59+01:00"),
    "duration": ("P1D", "PT5M"),
    "email": ("a@example.com", "first.last@example.org"),
    "idn-email": ("a@example.com", "é@example.com"),
    "hostname": ("example.com", "a"),
    "idn-hostname": ("example.com", "é.example"),
    "ipv4": ("192.0.2.1", "127.0.0.1"),
    "ipv6": ("2001:db8::1", "::1"),
    "uri": ("https://example.com/a", "urn:a:b"),
    "uri-reference": ("/a", "https://example.com/a", "a"),
    "iri": ("https://example.com/a", "https://example.com/é"),
    "iri-reference": ("/a", "/é", "https://example.com/é"),
    "uri-template": ("https://example.com/{a}", "a"),
    "uuid": ("f81d4fae-7dec-11d0-a765-00a0c91e6bf6",),
    "json-pointer": ("/a", ""),
    "relative-json-pointer": ("0", "1/a"),
    "regex": ("a", "^a+$"),
}
SHAPES: dict[str, str] = {
    "date-time": r"^\d{4}-\d{2}-\d{2}[Tt ][\s\S]+$",
    "date": r"^\d{4}-\d{2}-\d{2}$",
    "time": r"^\d{2}:\d{2}:[\s\S]+$",
    "duration": r"^P[\s\S]+$",
    "email": r"^[\s\S]+@[\s\S]+$",
    "idn-email": r"^[\s\S]+@[\s\S]+$",
    "ipv4": r"^[0-9.]{7,15}$",
    "ipv6": r"^[0-9A-Fa-f:.]{2,45}$",
    "uri": r"^[A-Za-z][A-Za-z0-9+.-]*:[\s\S]*$",
    "iri": r"^[A-Za-z][A-Za-z0-9+.-]*:[\s\S]*$",
    "uuid": r"^[0-9A-Fa-f-]{36}$",
    "json-pointer": r"^(/[\s\S]*)?$",
    "relative-json-pointer": r"^[0-9][\s\S]*$",
}
"""Rough pattern of each format: enough to detect that two statements exclude each other."""
FORMAT_SUBSETS = frozenset(
    [("email", "idn-email"), ("hostname", "idn-hostname"), ("uri", "iri"), ("uri", "uri-reference"),
     ("uri", "iri-reference"), ("iri", "iri-reference"), ("uri-reference", "iri-reference")]
)  # fmt: skip
"""Pairs of formats: by its grammar, every string of the first matches the second."""
WRONG_TEXTS = (
    "a", "", "b", "1", "not a format", "aaaaaaaaaaaaaaaaaaaa", "((", "\\", "{", "%", "é", "-1",
)  # fmt: skip


@lru_cache(maxsize=256)
def _format(name: str) -> Any:
    return jsonschema_rs.Draft202012Validator({"format": name}, validate_formats=True)


@lru_cache(maxsize=1024)
def _pattern(text: str) -> Any:
    try:
        return jsonschema_rs.Draft202012Validator({"pattern": text})
    except (jsonschema_rs.ValidationError, ValueError):
        return None


def has_format(text: str, name: str) -> bool:
    try:
        return bool(_format(name).is_valid(text))
    except ValueError:  # a lone surrogate is not a text
        return False


@lru_cache(maxsize=16384)
def pattern_matches(pattern: str, text: str) -> bool | None:
    """Return true if the pattern occurs in the text; None if the validator cannot read the pattern."""
    validator = _pattern(pattern)
    try:
        return None if validator is None else bool(validator.is_valid(text))
    except ValueError:
        return None


def solve_string(atoms: Iterable[Formula]) -> SearchResult:
    """Return a string that meets the lengths, patterns, formats and value sets."""
    statements = group_by_name(atoms)
    shortest = max(statements.get("minlen", []), default=0)
    longest = min(statements.get("maxlen", []), default=None)
    denied = frozenset[str]().union(*statements.get("noneof", []))
    formats = [name for name in statements.get("format", []) if name in SAMPLES]
    formats_off = statements.get("noformat", [])
    if any(name not in SAMPLES for name in formats_off):
        return IMPOSSIBLE  # an unknown format rejects nothing
    pairs = product(formats, formats_off)
    if any(name == excluded or (name, excluded) in FORMAT_SUBSETS for name, excluded in pairs):
        return IMPOSSIBLE
    if longest is not None and longest < shortest:
        return IMPOSSIBLE

    def fits(text: str) -> bool:
        return (
            shortest <= len(text)
            and (longest is None or len(text) <= longest)
            and text not in denied
            and all(pattern_matches(pattern, text) is True for pattern in statements.get("pattern", []))
            and all(pattern_matches(pattern, text) is False for pattern in statements.get("nopattern", []))
            and all(has_format(text, name) for name in formats)
            and not any(has_format(text, name) for name in formats_off)
        )

    if "oneof" in statements:
        for text in sorted(frozenset.intersection(*statements["oneof"])):
            if fits(text):
                return _with_opaque(statements, text)
        return IMPOSSIBLE
    if shortest > regular.MAX_STRING_LENGTH and not statements.keys() - {"minlen", "maxlen", "noneof"}:
        return TOO_LARGE
    term, readable = _language(statements, denied)
    term = regular.both([term, *(language(SHAPES[name]) for name in formats if name in SHAPES)])
    try:
        text = regular.find(term, shortest, longest)
    except regular.BoundExceeded:
        readable, text = False, None
    if text is None and readable:
        return IMPOSSIBLE
    padded = min(shortest, regular.MAX_STRING_LENGTH)
    candidates = [sample for name in formats for sample in SAMPLES[name]]
    candidates += [text] if text is not None else []
    candidates += [sample for samples in SAMPLES.values() for sample in samples] if formats_off else []
    candidates += WRONG_TEXTS
    candidates += [sample.ljust(padded, "a") for sample in WRONG_TEXTS]
    for candidate in candidates:
        if fits(candidate):
            return _with_opaque(statements, candidate)
    return perhaps(text) if text is not None else UNDECIDED


def _language(statements: dict[str, list[Any]], denied: frozenset[str]) -> tuple[regular.Term, bool]:
    """Return the language of all patterns together, and true if all of them could be read."""
    terms = [regular.complement(regular.literal(text)) for text in sorted(denied)]
    readable = True
    for name, allowed in (("pattern", True), ("nopattern", False)):
        for pattern in statements.get(name, []):
            try:
                term = language(pattern)
            except (UnsupportedPattern, IndexError, ValueError):
                readable = False
                continue
            terms.append(term if allowed else regular.complement(term))
    return regular.both(terms), readable
