"""Shapes of the inputs and results of an `http` system's operations, for the check of the mappings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from counterfoil.connectors.openapi.document import ApiDocument, ApiOperation
from counterfoil.connectors.openapi.render import placeholders
from counterfoil.connectors.openapi.settings import FindSettings, HttpSettings, OperationSettings
from counterfoil.connectors.sdk import OperationSpec, RecordShape, Repeat

_MAX_DEPTH = 2
"""Depth of objects inside objects that a shape describes; descriptions may be recursive."""


def with_shapes(
    specs: Mapping[str, OperationSpec], settings: HttpSettings, document: ApiDocument
) -> dict[str, OperationSpec]:
    """Return the operations with the shapes of their inputs and results, as far as the description has them."""
    shaped: dict[str, OperationSpec] = {}
    for name, spec in specs.items():
        operation = settings.operations[name]
        described = document.operations[operation.operation_id]
        request = _request(operation, described, document)
        result = _result(operation, spec.repeat, described, document)
        shaped[name] = replace(spec, request=request, result=result)
    return shaped


def _request(operation: OperationSettings, described: ApiOperation, document: ApiDocument) -> RecordShape:
    """Return the shape of an input: the body, if the input is sent as it is, and the values of the templates."""
    calls: list[Any] = [operation.parameters, operation.body]
    if isinstance(operation.find, FindSettings):
        find = operation.find
        calls += [find.parameters, find.body, *find.match.values(), *find.state.values()]
    shape = _of_templates(placeholders(calls))
    if not described.takes_body or operation.body not in (None, "$input"):
        return shape
    body = _shape(described.body, document, 0) or RecordShape()
    from_key = {operation.key_field.partition(".")[0]} if operation.key_field else set()
    return RecordShape(
        {**shape.fields, **body.fields}, shape.required | (body.required - from_key), body.closed
    )


def _of_templates(texts: Iterable[str]) -> RecordShape:
    """Return the fields of the input that templates name. A name that ends with `?` is not required."""
    names = [text.removeprefix("$input.") for text in texts if text.startswith("$input.")]
    fields = {name.removesuffix("?").partition(".")[0]: None for name in names}
    required = {name.partition(".")[0] for name in names if not name.endswith("?")}
    return RecordShape(fields, frozenset(required))


def _result(
    operation: OperationSettings, repeat: Repeat, described: ApiOperation, document: ApiDocument
) -> RecordShape | None:
    """Return the shape of a result: the names of the settings, or of a read without them the whole answer."""
    if operation.result:
        places = {name: document.inside(described.answer, at)[0] for name, at in operation.result.items()}
        fields = {name: _shape(schema, document, 1) for name, schema in places.items()}
        return RecordShape(fields, closed=True)
    return _shape(described.answer, document, 0) if repeat is Repeat.READ else None


def _shape(schema: Any, document: ApiDocument, depth: int) -> RecordShape | None:
    """Return the shape of an object; None if the description has no fields of it."""
    if depth > _MAX_DEPTH:
        return None
    properties, required, closed = document.members(schema)
    if not properties:
        return None
    written = {name for name in required if not document.resolve(properties.get(name)).get("readOnly")}
    fields = {name: _shape(part, document, depth + 1) for name, part in properties.items()}
    return RecordShape(fields, frozenset(written), closed)
