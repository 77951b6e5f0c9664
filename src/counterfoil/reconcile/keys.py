"""Keys of two exports: which columns name the same document on both sides."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from typing import Any, Literal

from counterfoil.reconcile.columns import Column, words_of
from counterfoil.reconcile.exports.table import is_empty

SAMPLED_VALUES = 60_000
"""Different values of a column that a guess compares, at most about."""
MIN_OVERLAP_SHARE = 0.2
SURE_OVERLAP_SHARE = 0.9
"""Share of common values from which on no other columns are looked at for keys inside of texts."""
CLEARLY_MORE_SHARE = 0.1
"""Share by which keys inside of texts of other columns must match more than columns with equal values."""
MIN_TOKEN_CHARS = 4
_TOKEN = re.compile(r"[^\W_][\w./#-]*[^\W_]")
_LOOSE = re.compile(r"[\W_]+")
_ZEROS = re.compile(r"(?<![0-9])0+(?=[0-9])")
Reading = Literal["equal", "loose", "inside"]
READINGS: tuple[Reading, ...] = ("equal", "loose", "inside")


def key_text(value: Any) -> str:
    """Return a value as a key: text without case and outer spaces; a whole number without decimals."""
    if isinstance(value, float | Decimal) and value == int(value):
        value = int(value)
    return " ".join(str(value).split()).casefold() if value is not None else ""


def loose_text(value: Any) -> str:
    """Return a key without punctuation and leading zeros."""
    return _ZEROS.sub("", _LOOSE.sub("", key_text(value)))


def tokens(value: Any) -> list[str]:
    """Return the parts of a text that may be keys of the other side, such as `inv-1001` in a remittance."""
    return [token for token in _TOKEN.findall(key_text(value)) if len(token) >= MIN_TOKEN_CHARS]


def named_keys(value: Any) -> tuple[str, ...]:
    """Return the keys that a text may name: the text as a whole, and its parts."""
    return tuple(key for key in dict.fromkeys((key_text(value), *tokens(value))) if key)


@dataclass(frozen=True, slots=True)
class KeyGuess:
    """The columns of both sides that name a document, and how they are compared."""

    left: tuple[str, ...]
    right: tuple[str, ...]
    reading: Reading
    overlap: float
    """Share of the different keys of the smaller side that the other side has too."""
    inside: Literal["", "left", "right"] = ""
    """The side on which the key stands inside of a text."""

    @property
    def text(self) -> Callable[[Any], str]:
        return loose_text if self.reading == "loose" else key_text


def guess_key(
    left: Sequence[Column], right: Sequence[Column], readings: Sequence[Reading] = READINGS
) -> KeyGuess | None:
    """Return the best key; None if no columns have enough values in common."""
    lefts, rights = candidates(left), candidates(right)
    best = best_pair(lefts, rights)
    if best is not None:
        a, b = (
            next(c for c in side if c.name == name)
            for side, (name,) in ((lefts, best.left), (rights, best.right))
        )
        if "inside" in readings and (fuller := fullest(a, b, (best.reading, "inside"))).reading == "inside":
            return fuller
    if best is not None and (best.overlap >= SURE_OVERLAP_SHARE or "inside" not in readings):
        return _with_second_column(best, left, right)
    inside = max(
        (*_inside(lefts, right, "right"), *_inside(rights, left, "left")),
        key=lambda g: g.overlap,
        default=None,
    )
    least = MIN_OVERLAP_SHARE if best is None else best.overlap + CLEARLY_MORE_SHARE
    if inside is not None and inside.overlap >= least:
        return inside
    return _with_second_column(best, left, right) if best is not None else None


def fullest(a: Column, b: Column, readings: Iterable[Reading] = READINGS) -> KeyGuess:
    """Return the reading of two columns by which the most values of both have a partner; of equal ones the first."""
    guesses = (guess for reading in readings for guess in _read_as(a, b, reading))
    return max(guesses, key=lambda guess: guess[0])[1]


def _read_as(a: Column, b: Column, reading: Reading) -> Iterable[tuple[int, KeyGuess]]:
    """Yield the number of values with a partner, and the guess: for keys inside of texts, one for each side."""
    names = (a.name,), (b.name,)
    values = [{key_text(value): value for value in column.values if not is_empty(value)} for column in (a, b)]
    if reading != "inside":
        text = loose_text if reading == "loose" else key_text
        ours, theirs = ([text(value) for value in side.values()] for side in values)
        shared = set(ours) & set(theirs)
        overlap = len(shared) / max(1, min(len(set(ours)), len(set(theirs))))
        yield sum(key in shared for key in (*ours, *theirs)), KeyGuess(*names, reading, overlap)
        return
    sides: tuple[tuple[Literal["left", "right"], Any, Any], ...] = (
        ("right", values[0], values[1]),
        ("left", values[1], values[0]),
    )
    for side, keys, texts in sides:
        named = [[key for key in named_keys(text) if key in keys] for text in texts.values()]
        count = sum(map(bool, named))
        partners = count + len({key for some in named for key in some})
        yield partners, KeyGuess(*names, "inside", count / max(1, len(texts)), side)


def best_pair(left: Sequence[Column], right: Sequence[Column]) -> KeyGuess | None:
    """Return the pair of columns with the most values in common; None if no pair has enough."""
    best = max((_pair(a, b) for a, b in product(left, right)), key=lambda g: g[0], default=None)
    return best[1] if best is not None and best[1].overlap >= MIN_OVERLAP_SHARE else None


def candidates(columns: Iterable[Column]) -> list[Column]:
    """Return the columns that may name documents: text, and numbers without decimals."""
    return [
        c
        for c in columns
        if (c.kind == "text" or (c.kind == "number" and not c.has_decimals)) and not c.is_constant
    ]


def _pair(a: Column, b: Column) -> tuple[float, KeyGuess]:
    guesses = []
    readings: tuple[tuple[Reading, Callable[[Any], str]], ...] = (("equal", key_text), ("loose", loose_text))
    for reading, text in readings:
        ours, theirs = _values(a, b, text)
        overlap = len(ours & theirs) / max(1, min(len(ours), len(theirs)))
        # Few different values, such as a status, say nothing about one document.
        unique = min(1.0, len(ours) / max(1, len(a.sample))) + min(1.0, len(theirs) / max(1, len(b.sample)))
        named = a.suggests("key") + b.suggests("key") + (bool(set(words_of(a.name)) & set(words_of(b.name))))
        score = overlap * unique / 2 + 0.02 * named - (0.05 if reading == "loose" else 0)
        if len(ours & theirs) < 2 and min(len(ours), len(theirs)) > 2:
            score = overlap = 0.0
        guesses.append((score, KeyGuess((a.name,), (b.name,), reading, overlap)))
    return max(guesses, key=lambda guess: guess[0])


def _values(a: Column, b: Column, text: Callable[[Any], str]) -> tuple[set[str], set[str]]:
    """Return the different values of two columns: of large ones, the same share of values on both sides."""
    rows = max(len(a.values), len(b.values))
    share = max(1, rows // SAMPLED_VALUES)
    return _distinct(a, text, share), _distinct(b, text, share)


def _distinct(column: Column, text: Callable[[Any], str], share: int) -> set[str]:
    """Return the different keys of a column, or those of one share of all keys."""
    keys = {text(value) for value in column.values if not is_empty(value)}
    return keys if share == 1 else {key for key in keys if zlib.crc32(key.encode()) % share == 0}


def _with_second_column(guess: KeyGuess, left: Sequence[Column], right: Sequence[Column]) -> KeyGuess:
    """Add a column of the same name where a key alone repeats on both sides and the two together do not."""
    first = [
        next(c for c in side if c.name == name)
        for side, (name,) in ((left, guess.left), (right, guess.right))
    ]
    if any(_uniqueness(column.values, guess.text) > 0.95 for column in first):
        return guess
    for a, b in product(left, right):
        same = set(words_of(a.name)) & set(words_of(b.name))
        if a is first[0] or b is first[1] or not same or a.has_decimals or a.kind in ("empty", "date"):
            continue
        pairs = [
            list(zip(column.values, second.values, strict=True))
            for column, second in ((first[0], a), (first[1], b))
        ]
        keys = [[(guess.text(x), guess.text(y)) for x, y in pair] for pair in pairs]
        distinct = [set(k) for k in keys]
        overlap = len(distinct[0] & distinct[1]) / max(1, min(map(len, distinct)))
        if (
            all(len(d) / len(k) > 0.98 for d, k in zip(distinct, keys, strict=True))
            and overlap >= 0.8 * guess.overlap
        ):
            return KeyGuess((*guess.left, a.name), (*guess.right, b.name), guess.reading, overlap)
    return guess


def _uniqueness(values: Sequence[Any], text: Callable[[Any], str]) -> float:
    keys = [text(value) for value in values]
    return len(set(keys)) / max(1, len(keys))


def _inside(
    keys: Sequence[Column], texts: Sequence[Column], side: Literal["left", "right"]
) -> Iterable[KeyGuess]:
    """Yield the keys that stand inside of texts of the other side."""
    for column in keys:
        if column.uniqueness < 0.5:
            continue
        keys_of_column = {
            key_text(v) for v in column.values if not is_empty(v) and len(key_text(v)) >= MIN_TOKEN_CHARS
        }
        for text in texts:
            if text.kind != "text":
                continue
            hits = sum(any(token in keys_of_column for token in tokens(value)) for value in text.sample)
            share = hits / max(1, len(text.sample))
            names = ((column.name,), (text.name,)) if side == "right" else ((text.name,), (column.name,))
            yield KeyGuess(*names, "inside", share, side)
