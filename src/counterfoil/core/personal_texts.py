"""Personal texts that one answer must not have, and their replacement inside of other texts."""

from __future__ import annotations

import re
from collections.abc import Collection
from html import escape
from typing import Any

import msgspec

MASKED = "(masked)"
"""In place of a personal text. Personal values of other types are absent: null."""
_LEAST_CHARACTERS = 3
"""A shorter text is replaced only where it is the whole text: inside of others it may be any word."""
_LEAST_DIGITS = 7
"""A shorter text without a letter is replaced only where it is the whole text: it may be a part of an amount or a date."""


def without_answer(fault: str) -> str:
    """Return why a system failed, without what follows a colon: it may be quoted from the system's answer."""
    cause, colon, _ = fault.partition(": ")
    return f"{cause}: {MASKED}" if colon else fault


class PersonalTexts:
    """Personal texts that were read for one request and masked. It replaces them in prose, whatever the case.

    `echoed` are texts that the caller sent. A text that is one of them stays as it is, so that its replacement does not
    tell that a person or company has this name.
    """

    def __init__(self, echoed: Collection[str] = ()) -> None:
        self._texts: set[str] = set()
        self._echoed: set[str] = set()
        for text in echoed:
            self.echo(text)
        self._inside: re.Pattern[str] | None = None
        self._is_current = True

    def add(self, text: str) -> None:
        folded = text.strip().casefold()
        if folded and folded not in self._texts and folded != MASKED:
            self._texts.add(folded)
            self._is_current = False

    def echo(self, text: str) -> None:
        """Leave a text as it is where the answer has it whole, because the caller wrote it."""
        self._echoed.add(text.strip().casefold())

    def replace(self, text: str) -> str:
        """Return a text with the word `(masked)` for each personal one in it."""
        if not self._texts:
            return text
        folded = text.strip().casefold()
        if folded in self._echoed:
            return text
        if folded in self._texts:
            return MASKED
        pattern = self._pattern()
        return text if pattern is None else pattern.sub(MASKED, text)

    def replace_escaped(self, markup: str) -> str:
        """Return markup with the word for each personal text in it, also where its characters are escaped."""
        pattern = self._pattern()
        return str(markup) if pattern is None else pattern.sub(MASKED, str(markup))

    def _pattern(self) -> re.Pattern[str] | None:
        if not self._is_current:
            distinct = sorted(filter(_is_distinct, self._texts), key=len, reverse=True)
            words = "|".join(re.escape(form) for text in distinct for form in {text, escape(text)})
            self._inside = re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE) if words else None
            self._is_current = True
        return self._inside

    def replace_all(self, value: Any) -> Any:
        """Return a value with each of its texts replaced: of structs, maps and lists, at any depth."""
        if not self._texts:
            return value
        if isinstance(value, str):
            return self.replace(value)
        if isinstance(value, msgspec.Struct):
            fields = {name: getattr(value, name) for name in value.__struct_fields__}
            changed = {n: r for n, part in fields.items() if (r := self.replace_all(part)) is not part}
            return msgspec.structs.replace(value, **changed) if changed else value
        if isinstance(value, dict):
            parts = {key: self.replace_all(part) for key, part in value.items()}
            return parts if any(parts[key] is not part for key, part in value.items()) else value
        if isinstance(value, list | tuple):
            items = [self.replace_all(part) for part in value]
            same = all(item is part for item, part in zip(items, value, strict=True))
            return value if same else type(value)(items)
        return value


def _is_distinct(text: str) -> bool:
    """Return True if a text is personal also inside of another text."""
    has_letter = any(character.isalpha() for character in text)
    return len(text) >= (_LEAST_CHARACTERS if has_letter else _LEAST_DIGITS)
