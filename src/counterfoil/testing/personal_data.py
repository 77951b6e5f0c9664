"""Personal data of a recorded test: which texts are personal, and their replacement by the same word everywhere."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from counterfoil.model import kinds
from counterfoil.model.fields import each_field, inner_fields

_LEAST_CHARACTERS = 3
"""A shorter value is replaced only where it is the whole text."""
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


def personal_texts(fields: Mapping[str, Any], value: Any) -> Iterator[tuple[str, str]]:
    """Yield field and text of the values that are marked as personal data, at any depth."""
    for name, _, spec in each_field(fields):
        part = value.get(name) if isinstance(value, dict) else None
        if part is None:
            continue
        if isinstance(spec, kinds.FieldSpec) and spec.pii:
            yield from ((name, text) for text in _texts(part))
            continue
        inner, _ = inner_fields(spec)
        for item in part if isinstance(part, list) else [part]:
            yield from personal_texts(inner, item)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value:
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


class Replacement:
    """Replaces personal values by their words: in whole texts, and as whole words inside of others."""

    def __init__(self, words: Mapping[str, str]) -> None:
        self._words = words
        inside = sorted((text for text in words if _is_distinct(text)), key=len, reverse=True)
        self._inside = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, inside))})(?!\w)") if inside else None

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
        return self._text(value) if isinstance(value, str) else value

    def _text(self, text: str) -> str:
        if text in self._words:
            return self._words[text]
        return self._inside.sub(lambda match: self._words[match[0]], text) if self._inside else text


def _is_distinct(text: str) -> bool:
    """Return True if a text is personal also inside of another text."""
    has_letter = any(character.isalpha() for character in text)
    return len(text) >= (_LEAST_CHARACTERS if has_letter else _LEAST_DIGITS)
