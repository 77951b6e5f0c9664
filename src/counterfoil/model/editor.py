"""JSON Schema of governance files, for completion and validation in editors."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from counterfoil.model.kinds import KINDS


def json_schema() -> dict[str, Any]:
    """Return one schema (draft 2020-12) for all documents; the keys follow from `kind`."""
    union: Any = reduce(or_, KINDS.values())
    documents: Any = Annotated[union, Field(discriminator="kind")]
    schema = TypeAdapter(documents).json_schema(by_alias=True)
    for name, kind in KINDS.items():
        own = schema["$defs"][kind.__name__]
        own["required"] = ["kind", *own.get("required", [])]
        own["properties"]["kind"] = {"const": name, "title": "Kind"}
    # A document that uses a pattern is complete only after expansion.
    with_pattern = {"required": ["kind", "name", "pattern"], "properties": {"kind": {"enum": list(KINDS)}}}
    definitions = schema.pop("$defs")
    _allow_pattern_steps(definitions)
    definitions["PatternSteps"] = {
        "type": "object",
        "properties": {"pattern": {"type": "string"}, "with": {"type": "object"}},
        "required": ["pattern"],
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Counterfoil governance document",
        "if": {"required": ["pattern"]},
        "then": with_pattern,
        "else": schema,
        "$defs": definitions,
    }


def _allow_pattern_steps(schema: Any) -> None:
    """Allow a use of a pattern wherever a step is allowed."""
    if isinstance(schema, dict):
        choices = schema.get("oneOf")
        if isinstance(choices, list) and {"$ref": "#/$defs/Call"} in choices:
            choices.append({"$ref": "#/$defs/PatternSteps"})
        for part in schema.values():
            _allow_pattern_steps(part)
    elif isinstance(schema, list):
        for part in schema:
            _allow_pattern_steps(part)
