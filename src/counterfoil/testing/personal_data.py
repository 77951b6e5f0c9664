"""Personal data of a recorded test: which texts are personal, and their replacement by the same word everywhere."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from counterfoil.core.money import Money
from counterfoil.model import kinds
from counterfoil.model.fields import each_field, inner_fields

_LEAST_CHARACTERS = 2
"""A shorter value is replaced only where it is the whole text."""
_SHORT_CHARACTERS = 2
"""A text of so few characters is a word of its own only in its own case: `Li` is no `LI`."""
_FIRST_DAY = datetime(2000, 1, 1, tzinfo=UTC)
_LEAST_DIGITS = 7
"""A shorter value without a letter is replaced only where it is the whole text: it may be a part of an amount or a date."""
_STEP_NAMES = frozenset(
    [
        "event",
        "from",
        "operation",
        "known",
        "answer",
        "approve",
        "reject",
        "resolve",
        "choice",
        "refused",
        "after",
        "times",
        "legal_entity",
    ]
)
"""Keys of a step whose values name a document, a choice or a time, and no text of the Run."""
_EXPECTED_NAMES = frozenset(
    ["workflow", "status", "state", "policy", "operation", "reconciliation", "reason", "owner", "automatic"]
)
"""Keys of an expected row whose values name a document or a state."""


def personal_values(fields: Mapping[str, Any], value: Any) -> Iterator[tuple[str, Any]]:
    """Yield field and value of what is marked as personal data, at any depth: texts, numbers, dates and money."""
    for name, _, spec in each_field(fields):
        part = value.get(name) if isinstance(value, dict) else None
        if part is None:
            continue
        if isinstance(spec, kinds.FieldSpec) and spec.pii:
            yield from ((name, single) for single in _singles(part))
            continue
        inner, _ = inner_fields(spec)
        for item in part if isinstance(part, list) else [part]:
            yield from personal_values(inner, item)


def _singles(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _singles(part)
    elif value is not None and value != "" and not isinstance(value, bool):
        yield value


def without_personal_numbers(fields: Mapping[str, Any], value: Any, numbers: Mapping[Any, Any]) -> Any:
    """Return a value whose personal numbers are replaced. Short ones are personal in their own fields only."""
    if not isinstance(value, dict):
        return value
    cleaned = dict(value)
    for name, _, spec in each_field(fields):
        part = value.get(name)
        if isinstance(spec, kinds.FieldSpec) and spec.pii:
            cleaned |= {name: _replaced(part, numbers)} if name in value else {}
        elif isinstance(part, list):
            inner, _ = inner_fields(spec)
            cleaned[name] = [without_personal_numbers(inner, item, numbers) for item in part]
        elif isinstance(part, dict):
            cleaned[name] = without_personal_numbers(inner_fields(spec)[0], part, numbers)
    return cleaned


def _replaced(value: Any, numbers: Mapping[Any, Any]) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(part, numbers) for key, part in value.items()}
    if isinstance(value, list):
        return [_replaced(part, numbers) for part in value]
    return numbers.get(value, value) if is_number(value) else value


def is_number(value: Any) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def stand_in(value: Any, field: str, number: int) -> Any:
    """Return a value of the same type in place of a personal one."""
    if isinstance(value, Money):
        return Money.from_major(number, value.currency)
    if isinstance(value, datetime):
        return _FIRST_DAY + timedelta(days=number)
    if isinstance(value, date):
        return _FIRST_DAY.date() + timedelta(days=number)
    return type(value)(number) if is_number(value) else f"{field}-{number}"


class Replacement:
    """Replaces personal values by others: in whole values, and as whole words inside of texts, whatever the case."""

    def __init__(self, words: Mapping[Any, Any]) -> None:
        self._numbers = {
            value: other for value, other in words.items() if is_number(value) and _is_long(value)
        }
        texts = {
            str(value): str(other)
            for value, other in words.items()
            if not is_number(value) or _is_long(value)
        }
        self._words = {text.casefold(): other for text, other in texts.items()}
        inside = sorted((text for text in texts if _is_distinct(text)), key=len, reverse=True)
        parts = (
            f"(?i:{re.escape(text)})" if len(text) > _SHORT_CHARACTERS else re.escape(text) for text in inside
        )
        self._inside = re.compile(rf"(?<!\w)(?:{'|'.join(parts)})(?!\w)") if inside else None

    def document(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return a test without personal data. Names of documents, states and fields stay."""
        return {
            **document,
            "persons": {self._text(person): roles for person, roles in document["persons"].items()},
            "given": [self._part(step, _STEP_NAMES) for step in document["given"]],
            "expect": {
                section: [self._part(row, _EXPECTED_NAMES) for row in rows]
                for section, rows in document["expect"].items()
            },
        }

    def _part(self, part: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
        return {key: value if key in names else self._of(value) for key, value in part.items()}

    def _of(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key if key.isidentifier() else self._text(key): self._of(part) for key, part in value.items()
            }
        if isinstance(value, list):
            return [self._of(part) for part in value]
        if is_number(value):
            return self._numbers.get(value, value)
        return self._text(value) if isinstance(value, str) else value

    def _text(self, text: str) -> str:
        whole = self._words.get(text.casefold())
        if whole is not None:
            return whole
        return (
            self._inside.sub(lambda match: self._words[match[0].casefold()], text) if self._inside else text
        )


def _is_distinct(text: str) -> bool:
    """Return True if a text is personal also inside of another text."""
    has_letter = any(character.isalpha() for character in text)
    return len(text) >= (_LEAST_CHARACTERS if has_letter else _LEAST_DIGITS)


def _is_long(number: Any) -> bool:
    """Return True if a number is personal wherever it stands; a shorter one may be anything."""
    return sum(character.isdigit() for character in str(number)) >= _LEAST_DIGITS
