"""JSON Schema of the governance files, for editors that complete and check while one writes."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from counterfoil.model.kinds import KINDS


def json_schema() -> dict[str, Any]:
    """One schema (draft 2020-12) for every document: which keys it has follows from its `kind`."""
    union: Any = reduce(or_, KINDS.values())
    documents: Any = Annotated[union, Field(discriminator="kind")]
    schema = TypeAdapter(documents).json_schema(by_alias=True)
    for name, kind in KINDS.items():
        own = schema["$defs"][kind.__name__]
        own["required"] = ["kind", *own.get("required", [])]
        own["properties"]["kind"] = {"const": name, "title": "Kind"}
    # A document that uses a pattern is whole only with it.
    used = {"required": ["kind", "name", "pattern"], "properties": {"kind": {"enum": list(KINDS)}}}
    definitions = schema.pop("$defs")
    _let_patterns_stand_for_steps(definitions)
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
        "then": used,
        "else": schema,
        "$defs": definitions,
    }


def _let_patterns_stand_for_steps(schema: Any) -> None:
    """Where a step may stand, so may a pattern that gives some."""
    if isinstance(schema, dict):
        choices = schema.get("oneOf")
        if isinstance(choices, list) and {"$ref": "#/$defs/Call"} in choices:
            choices.append({"$ref": "#/$defs/PatternSteps"})
        for part in schema.values():
            _let_patterns_stand_for_steps(part)
    elif isinstance(schema, list):
        for part in schema:
            _let_patterns_stand_for_steps(part)
