"""Media types of bodies and parameters, and the schemas of their content."""

from __future__ import annotations

from typing import Any

from counterfoil.contracts.json_parts import as_map, escape
from counterfoil.contracts.openapi.context import ComparisonContext
from counterfoil.contracts.openapi.rules import Side
from counterfoil.contracts.openapi.schema import SchemaPlace

_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


def media_types(context: ComparisonContext, old: Any, new: Any, where: str, side: Side) -> None:
    """Report changes of the media types of a body or a parameter, and of their schemas."""
    before = {_without_charset(str(name)): node for name, node in context.mapping(old, where).items()}
    after = {_without_charset(str(name)): node for name, node in context.mapping(new, where).items()}
    matched = set()
    for name, node in before.items():
        other = _covering(name, after)
        if other is not None:
            matched.add(other)
            _media_type(context, node, after[other], f"{where}/content/{escape(other)}", name, side)
        elif side == "request" or not _has_narrower(name, after):
            context.add(
                f"{side}-media-type-removed", f"{where}/content/{escape(name)}", f"{name} was removed"
            )
    for name, node in after.items():
        if name in matched:
            continue
        wider = _covering(name, before)
        if wider is not None and side == "response":
            _media_type(context, before[wider], node, f"{where}/content/{escape(name)}", name, side)
        else:
            context.add(f"{side}-media-type-added", f"{where}/content/{escape(name)}", f"{name} was added")


def _without_charset(name: str) -> str:
    """Return a media type without its character set, which JSON and forms do not have."""
    kind, _, rest = name.lower().partition(";")
    parameters = [
        part.strip() for part in rest.split(";") if part.strip() and not part.strip().startswith("charset")
    ]
    return ";".join([kind.strip(), *parameters])


def _covering(name: str, ranges: dict[str, Any]) -> str | None:
    kind = name.split("/")[0]
    for candidate in (name, name.split(";")[0], f"{kind}/*", "*/*"):
        if candidate in ranges:
            return candidate
    return None


def _has_narrower(name: str, others: dict[str, Any]) -> bool:
    """Return true if another media type falls under this range, so that fewer are delivered."""
    if name == "*/*":
        return bool(others)
    return name.endswith("/*") and any(other.startswith(name[:-1]) for other in others)


def _media_type(context: ComparisonContext, old: Any, new: Any, where: str, name: str, side: Side) -> None:
    old, new = as_map(old), as_map(new)
    if old == new and not context.thorough:
        return
    form = name.split(";")[0] in _FORMS
    fields = context.fields_sent if side == "request" else context.fields_read
    place = SchemaPlace(where=f"{where}/schema", side=side, form=form, fields=fields)
    context.schemas.compare(old.get("schema", True), new.get("schema", True), place)
    before, after = as_map(old.get("encoding")), as_map(new.get("encoding"))
    if any(before[name] != after[name] for name in before if name in after):
        # Encodings of added and removed fields are not compared: the field itself is reported.
        context.add(f"{side}-encoding-changed", where, "the encoding of a part of the body changed")
