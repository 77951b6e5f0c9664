"""Validation of examples: an example is shown only after a validator checked it with both schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import jsonschema_rs

from counterfoil.contracts.jsonschema.document import Dialect, SchemaDocument
from counterfoil.contracts.jsonschema.values import SAMPLES, WRONG_TEXTS

_DRAFTS = {
    "4": jsonschema_rs.Draft4,
    "openapi-3.0": jsonschema_rs.Draft4,
    "6": jsonschema_rs.Draft6,
    "7": jsonschema_rs.Draft7,
    "2019-09": jsonschema_rs.Draft201909,
    "2020-12": jsonschema_rs.Draft202012,
}
_CLASSES: dict[str, Any] = {
    "4": jsonschema_rs.Draft4Validator,
    "openapi-3.0": jsonschema_rs.Draft4Validator,
    "6": jsonschema_rs.Draft6Validator,
    "7": jsonschema_rs.Draft7Validator,
    "2019-09": jsonschema_rs.Draft201909Validator,
    "2020-12": jsonschema_rs.Draft202012Validator,
}
_ROOT = "urn:contract:root"


@lru_cache(maxsize=256)
def checks_format(dialect: Dialect, name: str) -> bool:
    """Return true if the validator of a dialect rejects strings for this format. Unknown formats count as checked."""
    if dialect == "openapi-3.0" or name not in SAMPLES:
        return True
    validator = _CLASSES[dialect]({"format": name}, validate_formats=True)
    return not all(validator.is_valid(text) for text in WRONG_TEXTS)


def _refuse_retrieval(uri: str) -> Any:
    """Refuse to fetch."""
    raise ValueError(f"{uri} is outside the document")


MAX_NAMES = 8
MAX_CANDIDATES = 400


def candidates(*schemas: Any) -> Iterator[Any]:
    """Yield simple instances of the values that the schemas mention, the smallest first."""
    values: list[Any] = [None, True, False, 0, 1, -1, 0.5, 1000, "", "a", "ab", "1", "x" * 40, [], {}]
    names: dict[str, None] = {}
    for schema in schemas:
        _collect_values(schema, values, names, 0)
    distinct = list({json.dumps(value, sort_keys=True, default=str): value for value in values}.values())
    yield from distinct[:MAX_CANDIDATES]
    few = distinct[:40]
    keys = list(names)[:MAX_NAMES]
    yield from ([value] for value in few)
    yield from ({name: value} for name in [*keys, "a"] for value in few)
    yield from ([first, second] for first in few[:15] for second in few[:15])
    yield from (
        {first: value, second: value} for first in keys for second in keys if first < second for value in few
    )
    yield from ({**dict.fromkeys(keys, value), "other": other} for value in few for other in few[:8])


def _collect_values(schema: Any, values: list[Any], names: dict[str, None], depth: int) -> None:
    if len(values) > MAX_CANDIDATES or depth > 12:
        return
    if isinstance(schema, list):
        for part in schema:
            _collect_values(part, values, names, depth + 1)
    elif isinstance(schema, dict):
        for key, part in schema.items():
            if key in {"enum", "examples", "required"} and isinstance(part, list):
                values.extend(part)
                names.update((value, None) for value in part if key == "required" and isinstance(value, str))
            elif key in {"const", "default", "example"}:
                values.append(part)
            elif isinstance(part, int | float) and not isinstance(part, bool) and abs(part) < 1e15:
                values.extend([part, part + 1, part - 1, "a" * min(int(abs(part)), 50)])
            else:
                if key == "properties" and isinstance(part, dict):
                    names.update(dict.fromkeys(part))
                _collect_values(part, values, names, depth + 1)


class ExampleValidator:
    """Validator for the schemas of one document."""

    def __init__(self, document: SchemaDocument, *, assert_formats: bool) -> None:
        self.document = document
        self.assert_formats = assert_formats
        self._registry: Any = None
        self._root: Any = None
        self._validators: dict[int, tuple[Any, Any]] = {}

    def accepts(self, schema: Any, value: Any) -> bool | None:
        """Return true if the schema accepts the value; None if no validator can be built for the schema."""
        validator = self.validator(schema)
        if validator is None:
            return None
        try:
            return bool(validator.is_valid(value))
        except (ValueError, TypeError, OverflowError):
            return None

    def error(self, schema: Any, value: Any) -> Any:
        """Return the first error of the value, or None."""
        validator = self.validator(schema)
        return next(iter(validator.iter_errors(value)), None) if validator is not None else None

    def validator(self, schema: Any) -> Any:
        """Return the validator of a schema; None if it is invalid or refers outside the document."""
        cached = self._validators.get(id(schema))
        if cached is None or cached[0] is not schema:
            cached = self._validators[id(schema)] = (schema, self._build(schema))
        return cached[1]

    def _build(self, schema: Any) -> Any:
        try:
            if schema is self.document.root and self.document.dialect != "openapi-3.0":
                return self._class()(
                    schema, validate_formats=self.assert_formats, retriever=_refuse_retrieval
                )
            if self._registry is None:
                self._root = _without_nullable(self.document.root, self.document.dialect)
                self._registry = jsonschema_rs.Registry(
                    [(_ROOT, self._root)], draft=_DRAFTS[self.document.dialect], retriever=_refuse_retrieval
                )
            return self._class()(
                _with_absolute_references(_without_nullable(schema, self.document.dialect)),
                validate_formats=self.assert_formats,
                registry=self._registry,
                retriever=_refuse_retrieval,
            )
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError, TypeError):
            return None

    def _class(self) -> Any:
        return _CLASSES[self.document.dialect]


def _with_absolute_references(schema: Any) -> Any:
    """Return the schema with references to its root made absolute."""
    if isinstance(schema, list):
        return [_with_absolute_references(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _ROOT + part
        if key == "$ref" and isinstance(part, str) and part.startswith("#")
        else _with_absolute_references(part)
        for key, part in schema.items()
        if key != "$schema"
    }


def _without_nullable(schema: Any, dialect: str) -> Any:
    """Return the schema with `nullable` in the terms of draft 4."""
    if dialect != "openapi-3.0":
        return schema
    if isinstance(schema, list):
        return [_without_nullable(part, dialect) for part in schema]
    if not isinstance(schema, dict):
        return schema
    converted = {key: _without_nullable(part, dialect) for key, part in schema.items()}
    if schema.get("nullable") is True and isinstance(schema.get("type"), str):
        converted["type"] = [schema["type"], "null"]
    converted.pop("nullable", None)
    return converted
