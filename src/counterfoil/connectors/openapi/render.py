"""Templates and pointers: from configuration and input to a request, and from an answer to a result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from counterfoil.connectors.openapi.document import ApiOperation, steps
from counterfoil.connectors.sdk import Json
from counterfoil.core.wire import dumps

MISSING = object()


class InputRefused(ValueError):
    """The input lacks a value that a template needs, or has one that does not fit."""


def fill(template: Any, value: Mapping[str, Json], key: str) -> Any:
    """Return a template filled from the input and the key. `MISSING` if an optional placeholder has no value."""
    if isinstance(template, str) and template.startswith("$"):
        return _value(template, value, key)
    if isinstance(template, Mapping):
        filled = {name: fill(part, value, key) for name, part in template.items()}
        return {name: part for name, part in filled.items() if part is not MISSING}
    if isinstance(template, list | tuple):
        return [part for part in (fill(part, value, key) for part in template) if part is not MISSING]
    return template


def placeholders(template: Any) -> Iterator[str]:
    """Yield every "$..." in a template."""
    if isinstance(template, str) and template.startswith("$"):
        yield template
    elif isinstance(template, Mapping):
        for part in template.values():
            yield from placeholders(part)
    elif isinstance(template, list | tuple):
        for part in template:
            yield from placeholders(part)


def is_unknown_placeholder(placeholder: str) -> bool:
    """Return whether `fill` does not know a "$..."."""
    return not (placeholder in ("$key", "$input") or placeholder.startswith(("$$", "$input.")))


def _value(placeholder: str, value: Mapping[str, Json], key: str) -> Any:
    if placeholder.startswith("$$"):
        return placeholder[1:]
    if placeholder == "$key":
        return key
    if placeholder == "$input":
        return value
    optional = placeholder.endswith("?")
    part: Any = value
    for step in placeholder.removeprefix("$input.").removesuffix("?").split("."):
        if isinstance(part, list) and step.isdecimal() and int(step) < len(part):
            part = part[int(step)]
        else:
            part = part.get(step, MISSING) if isinstance(part, Mapping) else MISSING
        if part is MISSING:
            if optional:
                return MISSING
            raise InputRefused(f"the input has no {placeholder.removeprefix('$input.')}")
    return part


def set_at(body: Any, dotted: str, value: str) -> dict[str, Json]:
    """Return the body with `value` at a dotted path, which is created if needed."""
    if not isinstance(body, Mapping):
        raise InputRefused(f"the body is not an object, so it cannot hold {dotted}")
    first, _, rest = dotted.partition(".")
    inner = set_at(body.get(first, {}), rest, value) if rest else value
    return {**body, first: inner}


def value_at(document: Json, pointer: str) -> Any:
    """Return the value at an RFC 6901 pointer, or `MISSING`."""
    for step in steps(pointer):
        if isinstance(document, Mapping):
            document = document.get(step, MISSING)
        elif isinstance(document, list) and step.isdecimal() and int(step) < len(document):
            document = document[int(step)]
        else:
            return MISSING
        if document is MISSING:
            return MISSING
    return document


def plain_text(value: Json) -> str:
    """Return a plain value as text for an address or a form. Raises InputRefused for other values."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int):
        return str(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    raise InputRefused(f"{value!r} is not a plain value")


def build_target(described: ApiOperation, values: Mapping[str, Json]) -> tuple[str, dict[str, str]]:
    """Return (path with query, headers) for the parameters of an operation."""
    path, query, headers = described.path, list[tuple[str, str]](), dict[str, str]()
    for name, value in values.items():
        match described.parameters[name].place:
            case "path":
                plain = plain_text(value)
                if {"", ".", ".."} & set(plain.replace("\\", "/").split("/")):
                    raise InputRefused(f"{plain!r} is not valid in an address")
                path = path.replace("{" + name + "}", quote(plain, safe=""))
            case "query":
                parts = value if isinstance(value, list) else [value]
                query += [(name, plain_text(part)) for part in parts]
            case "header":
                headers[name.lower()] = _header_value(plain_text(value))
    return path + ("?" + urlencode(query, quote_via=quote) if query else ""), headers


def _header_value(plain: str) -> str:
    if not (plain.isascii() and plain.isprintable()):
        raise InputRefused(f"{plain!r} is not valid in a header")
    return plain


def encode(described: ApiOperation, body: Json) -> tuple[bytes, str]:
    """Return (bytes, content type) of a body in the format that the document requires."""
    if described.form:
        return urlencode(list(_flat("", body)), quote_via=quote).encode(), "application/x-www-form-urlencoded"
    return msgspec.json.encode(_raw_decimals(body)), "application/json"


def _raw_decimals(value: Json) -> Any:
    # A Decimal keeps its digits as a JSON number; msgspec would write it as text.
    if isinstance(value, Decimal):
        return msgspec.Raw(format(value, "f").encode())
    if isinstance(value, Mapping):
        return {name: _raw_decimals(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_raw_decimals(part) for part in value]
    return value


def _flat(name: str, value: Json) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for inner, part in value.items():
            yield from _flat(f"{name}[{inner}]" if name else inner, part)
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _flat(f"{name}[{index}]", part)
    elif value is not None:
        yield name, plain_text(value)


def is_equal(value: Any, expected: Any) -> bool:
    """Return whether a value of an answer is the expected one. A number equals its text: APIs mix them."""
    if value is MISSING or isinstance(value, Mapping | list) or isinstance(expected, Mapping | list):
        return value is not MISSING and type(value) is type(expected) and dumps(value) == dumps(expected)
    return value == expected or (value is not None and expected is not None and str(value) == str(expected))
