"""Words by which people search names and document numbers: without case, accents and punctuation.

Two words are near each other when leaving out at most one letter of each makes them the same.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from counterfoil.core.canonical import MAX_SEARCHED_CHARS, NAME_FIELDS

MAX_WORDS = 24
"""Words of one object that are searched."""
MAX_WORD_CHARS = 40
"""Longer words are cut."""
MIN_PREFIX_CHARS = 3
"""Shorter words are searched as whole words."""
MIN_NEAR_CHARS = 4
MAX_NEAR_CHARS = 24
"""Lengths of words that have near ones: others are numbers or too short to be mistaken."""
_WORD = re.compile(r"[^\W_]+")
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i"})
"""Letters that Unicode does not decompose into a letter and its accent."""


def folded(text: str) -> str:
    """Return a text without case and accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    letters = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return letters.translate(_LETTERS)


def search_words(text: str) -> list[str]:
    """Return the distinct words of a text, folded, in order."""
    words = (word[:MAX_WORD_CHARS] for word in _WORD.findall(folded(text)))
    return list(dict.fromkeys(words))


def begins_one(part: str, words: Iterable[str]) -> bool:
    """Test whether a word of a search is, or begins, one of the words of an object."""
    whole = len(part) < MIN_PREFIX_CHARS
    return any(word == part if whole else word.startswith(part) for word in words)


def object_words(state: Mapping[str, Any]) -> list[str]:
    """Return the words of the names and numbers of an object, sorted."""
    texts = [state.get(field) for field in NAME_FIELDS]
    names = [text for text in texts if isinstance(text, str) and len(text) <= MAX_SEARCHED_CHARS]
    words = [word for name in names for word in search_words(name)]
    return sorted(list(dict.fromkeys(words))[:MAX_WORDS])


def word_variants(word: str) -> list[str]:
    """Return a word and the texts that leave out one of its letters; none for a word that has no near ones."""
    if not (word.isalpha() and MIN_NEAR_CHARS <= len(word) <= MAX_NEAR_CHARS):
        return []
    return sorted({word} | {word[:n] + word[n + 1 :] for n in range(len(word))})
