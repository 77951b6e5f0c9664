"""JSON Schemas (draft 2020-12) of governance files, for completion and validation in editors."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Annotated, Any, TypeAlias

import msgspec
from pydantic import Field, TypeAdapter

from counterfoil.model.descriptions import description_of, parts
from counterfoil.model.kinds import KINDS

Schema: TypeAlias = dict[str, Any]

ALL_KINDS_FILE = "counterfoil.schema.json"
"""Schema of a document of any kind; its keys follow from `kind`."""
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_CHOICES = {
    "Call": ("Step", "One step; a verb may end a list of steps."),
    "FieldSpec": ("Field", "Type of a field."),
    "GivenReceipt": ("GivenStep", "One step of `given`."),
}
"""Choices that occur in many places, by one of their members: the name and the text of their definition."""
_REACTION = ("Reaction", "Reaction to an outcome: a verb, or a list of steps.")


def schema_files() -> dict[str, str]:
    """Return the text of each schema by the name of its file: one for each kind, and one for all of them."""
    definitions = _definitions()
    documents = {f"{kind}.schema.json": _of_kind(kind, definitions) for kind in KINDS}
    documents[ALL_KINDS_FILE] = _of_all_kinds(definitions)
    return {name: _text(schema) for name, schema in documents.items()}


def _text(schema: Schema) -> str:
    return msgspec.json.format(msgspec.json.encode(schema), indent=2).decode() + "\n"


def json_schema() -> Schema:
    """Return one schema for the documents of every kind."""
    return _of_all_kinds(_definitions())


def _of_all_kinds(definitions: dict[str, Schema]) -> Schema:
    cases = [
        {
            "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
            "then": _document(kind, definitions),
        }
        for kind in KINDS
    ]
    kinds = {"enum": list(KINDS), "description": description_of(KINDS["role"], "kind")}
    return {
        "$schema": _DRAFT,
        "title": "Counterfoil governance document",
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": kinds},
        "allOf": cases,
        "$defs": definitions,
    }


def kind_schema(kind: str) -> Schema:
    """Return the schema of the documents of one kind."""
    return _of_kind(kind, _definitions())


def _of_kind(kind: str, definitions: dict[str, Schema]) -> Schema:
    document = _document(kind, definitions)
    names = _reached(document, definitions, set())
    return {
        "$schema": _DRAFT,
        "title": f"Counterfoil: {kind}",
        **document,
        "$defs": {name: definition for name, definition in definitions.items() if name in names},
    }


def _document(kind: str, definitions: dict[str, Schema]) -> Schema:
    """Return the schema of a document, written in full or by a pattern. The pattern completes what it leaves out."""
    name = KINDS[kind].__name__
    own = {key: {"$ref": f"#/$defs/{name}/properties/{key}"} for key in definitions[name]["properties"]}
    by_pattern = {
        "type": "object",
        "required": ["kind", "name", "pattern"],
        "properties": {**own, "pattern": {"$ref": "#/$defs/PatternUse"}},
        "additionalProperties": False,
    }
    return {"if": {"required": ["pattern"]}, "then": by_pattern, "else": {"$ref": f"#/$defs/{name}"}}


def part_schemas() -> dict[str, Schema]:
    """Return the schema of every part of a document by the name of its class, with choices as `oneOf` or `anyOf`."""
    union: Any = reduce(or_, KINDS.values())
    documents: Any = Annotated[union, Field(discriminator="kind")]
    written = TypeAdapter(documents).json_schema(by_alias=True)["$defs"]
    shared: dict[str, Schema] = {}
    definitions = {name: _tidy(definition, shared) for name, definition in written.items()} | shared
    for part in parts():
        for field, info in part.model_fields.items():
            if part.__name__ in definitions:
                key = info.alias or field
                definitions[part.__name__]["properties"][key]["description"] = description_of(part, field)
    for kind, model in KINDS.items():
        own = definitions[model.__name__]
        own["required"] = ["kind", *own.get("required", [])]
        own["properties"]["kind"]["const"] = kind
        _complete_by_library(own)
    values = {"type": "object", "description": "Values of the pattern's parameters."}
    definitions["PatternUse"] = _closed("Use of a pattern.", "name", values)
    definitions["PatternSteps"] = _closed("Steps of a pattern.", "pattern", values)
    return dict(sorted(definitions.items()))


def _complete_by_library(document: Schema) -> None:
    """Let a document that extends the canonical library leave out the fields that the library has."""
    library_parts = [part for part in ("fields", "data") if part in document["required"]]
    if "extends" in document["properties"] and library_parts:
        document["required"] = [key for key in document["required"] if key not in library_parts]
        document |= {"if": {"required": ["extends"]}, "else": {"required": library_parts}}


def _decided(schema: Any, definitions: dict[str, Schema]) -> Any:
    """Return a schema whose choices are decided by the type of the value, and those of objects by a key.

    An error then names the wrong key. A choice that is only tried says that nothing fits.
    """
    if isinstance(schema, list):
        return [_decided(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: _decided(part, definitions) for key, part in schema.items()}
    members = inner.get("oneOf") or inner.get("anyOf") or []
    arrays = [member for member in members if member.get("type") == "array"]
    objects = [member for member in members if _is_object(member, definitions)]
    others = [member for member in members if member not in arrays and member not in objects]
    if not arrays and not objects:
        return inner
    choice: Schema = {"anyOf": others} if len(others) > 1 else dict(*others)
    if arrays:
        choice = _when({"type": "array"}, arrays[0], choice)
    if objects:
        choice = _when({"type": "object"}, _object_choice(objects, definitions), choice)
    return {key: part for key, part in inner.items() if key not in ("oneOf", "anyOf")} | choice


def _when(test: Schema, then: Schema, otherwise: Schema) -> Schema:
    return {"if": test, "then": then, "else": otherwise} if otherwise else then


def _is_object(member: Schema, definitions: dict[str, Schema]) -> bool:
    return _definition(member, definitions).get("type") == "object"


def _definition(member: Schema, definitions: dict[str, Schema]) -> Schema:
    return definitions.get(str(member.get("$ref", "")).removeprefix("#/$defs/"), member)


def _object_choice(members: list[Schema], definitions: dict[str, Schema]) -> Schema:
    """Return the choice between objects by the first key that each requires."""
    if len(members) == 1:
        return members[0]
    by_key = {_definition(member, definitions)["required"][0]: member for member in members}
    keys = {
        key: {"$ref": f"{member['$ref']}/properties/{key}"}
        for member in members
        for key in _definition(member, definitions)["properties"]
    }
    any_key = {"type": "object", "properties": keys, "additionalProperties": False}
    # Without any of the keys, an unknown key is the fault that the author must see.
    choice = _when(any_key, {"anyOf": [{"required": [key]} for key in by_key]}, any_key)
    for key, member in reversed(by_key.items()):
        choice = _when({"required": [key]}, member, choice)
    return choice


def _definitions() -> dict[str, Schema]:
    """Return the schemas of the parts in the form that gives the best errors."""
    schemas = part_schemas()
    return {name: _decided(schema, schemas) for name, schema in schemas.items()}


def _closed(description: str, key: str, values: Schema) -> Schema:
    return {
        "type": "object",
        "description": description,
        "properties": {key: {"type": "string", "description": "The pattern."}, "with": values},
        "required": [key],
        "additionalProperties": False,
    }


def _tidy(schema: Any, shared: dict[str, Schema], is_map: bool = False) -> Any:
    """Return a schema as files are read: without null, with names of one form only, and with shared choices by name."""
    if isinstance(schema, list):
        return [_tidy(part, shared) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if is_map:
        return {name: _tidy(part, shared) for name, part in schema.items()}
    tidied = {
        key: _tidy(part, shared, key in ("properties", "patternProperties"))
        for key, part in schema.items()
        if key not in ("title", "discriminator") and (key, part) != ("default", None)
    }
    if "patternProperties" in tidied:
        tidied["additionalProperties"] = False
    choices = [part for part in tidied.get("anyOf", []) if part != {"type": "null"}]
    if len(choices) == 1:
        del tidied["anyOf"]
        return {**choices[0], **tidied}
    if choices:
        tidied["anyOf"] = choices
    return _by_name(tidied, shared)


def _by_name(schema: Schema, shared: dict[str, Schema]) -> Schema:
    """Return a choice that occurs in many places as a reference to its definition."""
    members = schema.get("oneOf", [])
    names = [member.get("$ref", "").removeprefix("#/$defs/") for member in members]
    lists = [member for member in members if member.get("type") == "array"]
    name, text = next((_CHOICES[name] for name in names if name in _CHOICES), ("", ""))
    if "StopVerb" in names and lists:
        name, text = _REACTION
    if not name or (name == "Field" and not lists):
        return schema
    if name in ("Step", "GivenStep"):
        members = [*members, {"$ref": "#/$defs/PatternSteps"}]
    shared[name] = {"description": text, "oneOf": members}
    rest = {key: value for key, value in schema.items() if key != "oneOf"}
    return {"$ref": f"#/$defs/{name}", **rest}


def _reached(schema: Any, definitions: dict[str, Schema], names: set[str]) -> set[str]:
    """Return the names of the definitions that a schema refers to, directly or through others."""
    inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    if isinstance(schema, dict):
        name = str(schema.get("$ref", "")).removeprefix("#/$defs/").partition("/")[0]
        if name and name not in names:
            names.add(name)
            _reached(definitions[name], definitions, names)
    for part in inner:
        _reached(part, definitions, names)
    return names
