"""Canonical documents as JSON Schemas (draft 2020-12), and as text in the form of governance files."""

from __future__ import annotations

import io
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from counterfoil.canon.library import CanonicalDocument, Fields
from counterfoil.model.fields import Schema, object_schema
from counterfoil.model.format import WIDTH_CHARS, format_text
from counterfoil.model.kinds import FieldSpec

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def canonical_schema(document: CanonicalDocument) -> Schema:
    """Return the JSON Schema of an object with its columns, of an event's data, or of an operation's input and output.

    Money, dates and personal data have the marks of `model/fields`. `x-states` lists the usual values of a status.
    """
    head: Schema = {
        "$schema": _DRAFT,
        "$id": f"urn:counterfoil:canon:{document.kind}:{document.name}:{document.version}",
        "title": document.name,
        "description": document.doc,
    }
    parts = {part: _schema(fields) for part, fields in document.parts.items()}
    if document.kind == "operation":
        return {**head, "type": "object", "properties": parts, "required": list(parts)}
    (part,) = parts
    schema = _schema({**document.columns, **document.parts[part]})
    states = {"x-states": list(document.states)} if document.states else {}
    return {**head, **schema, **states}


def _schema(fields: Fields) -> Schema:
    """Return the schema of a field map. Raises ValidationError if it is not in the form of governance files."""
    return object_schema(FieldSpec.model_validate({"fields": fields}, strict=True).fields or {})


def canonical_text(document: CanonicalDocument) -> str:
    """Return a document as a governance file would write it in full, without a system."""
    columns = {"columns": document.columns} if document.columns else {}
    states = {"states": list(document.states)} if document.states else {}
    negative = {} if document.negative is None else {"negative": document.negative}
    content = {
        "kind": document.kind,
        "name": document.name,
        "version": document.version,
        "doc": document.doc,
        **states,
        **columns,
        **negative,
        **document.parts,
    }
    layout = YAML()
    layout.width = WIDTH_CHARS
    out = io.StringIO()
    layout.dump(_compact(content, at_top=True), out)
    return format_text(out.getvalue())


def _compact(value: Any, at_top: bool = False) -> Any:
    """Return plain data with each mapping or list of plain values on one line."""
    if isinstance(value, dict):
        mapping = CommentedMap({key: _compact(part) for key, part in value.items()})
        if not at_top and not any(isinstance(part, dict | list) for part in value.values()):
            mapping.fa.set_flow_style()
        return mapping
    if isinstance(value, list):
        items = CommentedSeq(_compact(part) for part in value)
        items.fa.set_flow_style()
        return items
    return value
