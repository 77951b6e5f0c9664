"""Changes of a contract's fields, and whether they break readers or writers.

A reader breaks if values may arrive that could not arrive before. A writer breaks if a value it sends is no longer
allowed, or if it does not send a value that is now required. `difference` knows the actual readers and writers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from counterfoil.model.fields import Schema


@dataclass(frozen=True, slots=True)
class ContractChange:
    """A change of one field of a contract; `field` is its dotted path."""

    field: str
    rule: str
    message: str
    old: Any = None
    new: Any = None
    breaks_readers: bool = False
    breaks_writers: bool = False
    demands: bool = False
    """Breaks only writers that do not send the field."""
    absent: bool = False
    """Breaks only readers that do not test the field with `has`."""


def contract_changes(old: Schema, new: Schema, field: str = "") -> Iterator[ContractChange]:
    """Yield the changes, field by field. Both are schemas of the field shorthand (`model.fields`)."""
    before, after = _type(old), _type(new)
    if before != after:
        yield ContractChange(
            field,
            "type-changed",
            f"`{field}` has the type {after}; before it was {before}",
            before,
            after,
            breaks_readers=(before, after) not in _NARROWER and before != "any",
            breaks_writers=(after, before) not in _NARROWER and after != "any",
        )
        return
    yield from _enum(old, new, field)
    if old.get("x-pii", False) != new.get("x-pii", False):
        marking = (
            "is now marked as personal data" if new.get("x-pii") else "is no longer marked as personal data"
        )
        yield ContractChange(
            field, "personal-data", f"`{field}` {marking}", old.get("x-pii", False), new.get("x-pii", False)
        )
    if before == "object" and ("properties" in old or "properties" in new):
        yield from _properties(old, new, field)
    if before == "list" and ("items" in old or "items" in new):
        yield from contract_changes(old.get("items", {}), new.get("items", {}), field)


# (wide, narrow): every value of the narrow type is valid in the wide one.
_NARROWER = {("decimal", "int"), ("string", "id")}


def _type(schema: Schema) -> str:
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
        limits = "is now limited to some values" if before is None else "may now have any value"
        yield ContractChange(
            field,
            "values-limited" if before is None else "values-freed",
            f"`{field}` {limits}",
            before,
            after,
            breaks_readers=before is not None,
            breaks_writers=before is None,
        )
        return
    for value in before:
        if value not in after:
            message = f"`{field}` can no longer be `{value}`"
            yield ContractChange(field, "value-removed", message, value, None, breaks_writers=True)
    for value in after:
        if value not in before:
            message = f"`{field}` can also be `{value}`, which its readers do not know"
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
                f"the field `{place}` was removed",
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
                f"`{place}` is now {'required' if must else 'optional'}",
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
                f"the field `{place}` is new and {'required' if must else 'optional'}",
                None,
                _type(after[name]),
                breaks_writers=must,
                demands=must,
            )
