"""What changed in the fields of a contract, and whom it breaks: those who read them, those who fill them in.

A reader is broken by what may now arrive that could not before; a writer by what it gives and may no longer give, or
must give and does not. Whether anybody is there to be broken is `difference`'s to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from counterfoil.model.fields import Schema


@dataclass(frozen=True, slots=True)
class ContractChange:
    """One field, dotted, of a contract."""

    field: str
    rule: str
    message: str
    old: Any = None
    new: Any = None
    breaks_readers: bool = False
    breaks_writers: bool = False
    demands: bool = False
    """It breaks writers that do not give the field, not those that do."""
    absent: bool = False
    """It breaks readers that take the field for granted, not those that ask with `has`."""


def contract_changes(old: Schema, new: Schema, field: str = "") -> Iterator[ContractChange]:
    """Field by field. Both are schemas of the field shorthand (`model.fields`)."""
    before, after = _type(old), _type(new)
    if before != after:
        yield ContractChange(
            field,
            "type-changed",
            f"`{field}` is a {after} and was a {before}",
            before,
            after,
            breaks_readers=(before, after) not in _NARROWER and before != "any",
            breaks_writers=(after, before) not in _NARROWER and after != "any",
        )
        return
    yield from _enum(old, new, field)
    if old.get("x-pii", False) != new.get("x-pii", False):
        said = "is personal data now" if new.get("x-pii") else "is no longer marked as personal data"
        yield ContractChange(
            field, "personal-data", f"`{field}` {said}", old.get("x-pii", False), new.get("x-pii", False)
        )
    if before == "object" and ("properties" in old or "properties" in new):
        yield from _properties(old, new, field)
    if before == "list" and ("items" in old or "items" in new):
        yield from contract_changes(old.get("items", {}), new.get("items", {}), field)


# Every value of the second is one of the first, so readers of the first take it.
_NARROWER = {("decimal", "int"), ("string", "id")}


def _type(schema: Schema) -> str:
    """The name in the field shorthand of what a schema takes."""
    marked = schema.get("x-type")
    if marked:
        return str(marked)
    if schema.get("type") == "string":
        return "id" if schema.get("minLength") else "string"
    named = {"integer": "int", "boolean": "bool", "array": "list", "object": "object", "number": "decimal"}
    return named.get(str(schema.get("type")), "any")


def _enum(old: Schema, new: Schema, field: str) -> Iterator[ContractChange]:
    before, after = old.get("enum"), new.get("enum")
    if before is None and after is None:
        return
    if before is None or after is None:
        said = "is limited to some values now" if before is None else "may be any value now"
        yield ContractChange(
            field,
            "values-limited" if before is None else "values-freed",
            f"`{field}` {said}",
            before,
            after,
            breaks_readers=before is not None,
            breaks_writers=before is None,
        )
        return
    for value in before:
        if value not in after:
            message = f"`{field}` may no longer be `{value}`"
            yield ContractChange(field, "value-removed", message, value, None, breaks_writers=True)
    for value in after:
        if value not in before:
            message = f"`{field}` may also be `{value}`, which its readers do not know"
            yield ContractChange(field, "value-added", message, None, value, breaks_readers=True)


def _properties(old: Schema, new: Schema, field: str) -> Iterator[ContractChange]:
    before, after = old.get("properties", {}), new.get("properties", {})
    needed_before, needed = set(old.get("required", ())), set(new.get("required", ()))
    for name in before:
        place = f"{field}.{name}" if field else name
        if name not in after:
            yield ContractChange(
                place,
                "field-removed",
                f"the field `{place}` is gone",
                _type(before[name]),
                None,
                breaks_readers=True,
                breaks_writers=True,
            )
            continue
        if (name in needed) != (name in needed_before):
            must = name in needed
            yield ContractChange(
                place,
                "field-required" if must else "field-optional",
                f"`{place}` is {'required' if must else 'optional'} now",
                "optional" if must else "required",
                "required" if must else "optional",
                breaks_readers=not must,
                breaks_writers=must,
                demands=must,
                absent=not must,
            )
        yield from contract_changes(before[name], after[name], place)
    for name in after:
        if name not in before:
            place = f"{field}.{name}" if field else name
            must = name in needed
            yield ContractChange(
                place,
                "field-added",
                f"the field `{place}` is new, and {'required' if must else 'optional'}",
                None,
                _type(after[name]),
                breaks_writers=must,
                demands=must,
            )
