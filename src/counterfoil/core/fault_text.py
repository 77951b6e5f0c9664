"""Faults of a value that does not fit its shape, in plain words. The validation library names its own types."""

from __future__ import annotations

import re

import msgspec

_TYPES = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "bool": "true or false",
    "null": "nothing",
    "object": "an object",
    "array": "a list",
    "date": "a date",
    "datetime": "a time",
    "bytes": "bytes",
}
_PLACE = re.compile(r" - at `(?P<place>[^`]*)`$")
_EXPECTED = re.compile(r"Expected `(?P<want>[^`]*)`, got `(?P<got>[^`]*)`")
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]*)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>[^`]*)`")
_WORD = re.compile(r"Invalid enum value (?P<value>.*)")


def fault_text(error: msgspec.MsgspecError | UnicodeDecodeError) -> str:
    """Return where the value does not fit and what belongs there: "`party` must be text, not a whole number"."""
    if not isinstance(error, msgspec.ValidationError):
        return "it is not JSON"
    text = str(error)
    at = _PLACE.search(text)
    fault = text[: at.start()] if at else text
    place = "" if at is None else at["place"].removeprefix("$").removeprefix(".")
    name = f"`{place}`" if place else "the value"
    if match := _EXPECTED.match(fault):
        return f"{name} must be {_words(match['want'])}, not {_words(match['got'])}"
    if match := _MISSING.match(fault):
        return f"`{_below(place, match['name'])}` is missing"
    if match := _UNKNOWN.match(fault):
        return f"there is no field `{_below(place, match['name'])}`"
    if match := _WORD.match(fault):
        return f"{name} cannot be {match['value']}"
    return f"{name} does not fit"


def _below(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _words(types: str) -> str:
    return " or ".join(_TYPES.get(part.strip(), part.strip()) for part in types.split("|"))
