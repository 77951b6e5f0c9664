"""From configuration and input to a request, and from an answer to a result: templates and pointers."""

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
    """The input lacks what a template takes from it, or has a value where none fits."""


def fill(template: Any, given: Mapping[str, Json], key: str) -> Any:
    """A template with its places filled from the input and the key; `MISSING` where an optional one has nothing."""
    if isinstance(template, str) and template.startswith("$"):
        return _place(template, given, key)
    if isinstance(template, Mapping):
        filled = {name: fill(part, given, key) for name, part in template.items()}
        return {name: part for name, part in filled.items() if part is not MISSING}
    if isinstance(template, list | tuple):
        return [part for part in (fill(part, given, key) for part in template) if part is not MISSING]
    return template


def placeholders(template: Any) -> Iterator[str]:
    """Every "$..." in a template."""
    if isinstance(template, str) and template.startswith("$"):
        yield template
    elif isinstance(template, Mapping):
        for part in template.values():
            yield from placeholders(part)
    elif isinstance(template, list | tuple):
        for part in template:
            yield from placeholders(part)


def is_unknown_placeholder(place: str) -> bool:
    """Whether a "$..." is none of those that `fill` knows."""
    return not (place in ("$key", "$input") or place.startswith(("$$", "$input.")))


def _place(place: str, given: Mapping[str, Json], key: str) -> Any:
    if place.startswith("$$"):
        return place[1:]
    if place == "$key":
        return key
    if place == "$input":
        return given
    optional = place.endswith("?")
    found: Any = given
    for step in place.removeprefix("$input.").removesuffix("?").split("."):
        if isinstance(found, list) and step.isdecimal() and int(step) < len(found):
            found = found[int(step)]
        else:
            found = found.get(step, MISSING) if isinstance(found, Mapping) else MISSING
        if found is MISSING:
            if optional:
                return MISSING
            raise InputRefused(f"the input has no {place.removeprefix('$input.')}")
    return found


def set_at(body: Any, dotted: str, value: str) -> dict[str, Json]:
    """The body with `value` at a dotted path, made where it is not there."""
    if not isinstance(body, Mapping):
        raise InputRefused(f"the body is no object that could hold {dotted}")
    first, _, rest = dotted.partition(".")
    inner = set_at(body.get(first, {}), rest, value) if rest else value
    return {**body, first: inner}


def value_at(document: Json, pointer: str) -> Any:
    """What stands at an RFC 6901 pointer, or `MISSING`."""
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
    """A plain value as it stands in an address or a form. Raises InputRefused for anything else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int):
        return str(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    raise InputRefused(f"{value!r} is not a plain value")


def build_target(described: ApiOperation, values: Mapping[str, Json]) -> tuple[str, dict[str, str]]:
    """(path with query, headers) for an operation's parameters."""
    path, query, headers = described.path, list[tuple[str, str]](), dict[str, str]()
    for name, value in values.items():
        match described.parameters[name].place:
            case "path":
                plain = plain_text(value)
                if {"", ".", ".."} & set(plain.replace("\\", "/").split("/")):
                    raise InputRefused(f"{plain!r} cannot stand in an address")
                path = path.replace("{" + name + "}", quote(plain, safe=""))
            case "query":
                query += [
                    (name, plain_text(part)) for part in (value if isinstance(value, list) else [value])
                ]
            case "header":
                headers[name.lower()] = _header_value(plain_text(value))
    return path + ("?" + urlencode(query, quote_via=quote) if query else ""), headers


def _header_value(plain: str) -> str:
    if not (plain.isascii() and plain.isprintable()):
        raise InputRefused(f"{plain!r} cannot stand in a header")
    return plain


def encode(described: ApiOperation, body: Json) -> tuple[bytes, str]:
    """(bytes, content type) of a body in the form that the document asks for."""
    if described.form:
        return urlencode(list(_flat("", body)), quote_via=quote).encode(), "application/x-www-form-urlencoded"
    return _plain_json(body), "application/json"


def _plain_json(body: Json) -> bytes:
    return msgspec.json.encode(_raw_decimals(body))


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


def is_equal(found: Any, wanted: Any) -> bool:
    """Whether an answer's value is the wanted one; numbers and their texts are the same to an API."""
    if found is MISSING or isinstance(found, Mapping | list) or isinstance(wanted, Mapping | list):
        return found is not MISSING and type(found) is type(wanted) and dumps(found) == dumps(wanted)
    return found == wanted or (found is not None and wanted is not None and str(found) == str(wanted))
