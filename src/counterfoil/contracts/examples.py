"""Instances judged by a validator: an example is shown only when both schemas judged it as claimed."""

from __future__ import annotations

from typing import Any

import jsonschema_rs

from counterfoil.contracts.document import Document

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


class Judge:
    """Validates against schemas of one document."""

    def __init__(self, document: Document, *, assert_formats: bool) -> None:
        self.document = document
        self.assert_formats = assert_formats
        self._registry: Any = None
        self._root: Any = None
        self._validators: dict[int, tuple[Any, Any]] = {}

    def accepts(self, schema: Any, value: Any) -> bool | None:
        """None when no validator can be made of the schema: it is not valid itself, or refers outside."""
        validator = self.validator(schema)
        if validator is None:
            return None
        try:
            return bool(validator.is_valid(value))
        except (ValueError, TypeError, OverflowError):
            return None

    def refusal(self, schema: Any, value: Any) -> tuple[list[str | int], str]:
        """Where in the instance the first error is, and what it says."""
        validator = self.validator(schema)
        error = next(iter(validator.iter_errors(value)), None) if validator is not None else None
        return (list(error.instance_path), error.message) if error is not None else ([], "")

    def validator(self, schema: Any) -> Any:
        known = self._validators.get(id(schema))
        if known is None or known[0] is not schema:
            known = self._validators[id(schema)] = (schema, self._made(schema))
        return known[1]

    def _made(self, schema: Any) -> Any:
        try:
            if schema is self.document.root and self.document.dialect != "openapi-3.0":
                return self._class()(schema, validate_formats=self.assert_formats, offline=True)
            if self._registry is None:
                self._root = _plain(self.document.root, self.document.dialect)
                self._registry = jsonschema_rs.Registry(
                    [(_ROOT, self._root)], draft=_DRAFTS[self.document.dialect]
                )
            return self._class()(
                _moved(_plain(schema, self.document.dialect)),
                validate_formats=self.assert_formats,
                registry=self._registry,
                offline=True,
            )
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError, TypeError):
            return None

    def _class(self) -> Any:
        return _CLASSES[self.document.dialect]


def _moved(schema: Any) -> Any:
    """The schema with its own root's references made absolute."""
    if isinstance(schema, list):
        return [_moved(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _ROOT + part
        if key == "$ref" and isinstance(part, str) and part.startswith("#")
        else _moved(part)
        for key, part in schema.items()
        if key != "$schema"
    }


def _plain(schema: Any, dialect: str) -> Any:
    """`nullable` said in the words of draft 4."""
    if dialect != "openapi-3.0":
        return schema
    if isinstance(schema, list):
        return [_plain(part, dialect) for part in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {key: _plain(part, dialect) for key, part in schema.items()}
    if schema.get("nullable") is True and isinstance(schema.get("type"), str):
        plain["type"] = [schema["type"], "null"]
    plain.pop("nullable", None)
    return plain
