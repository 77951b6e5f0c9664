"""Reading an OpenAPI document (3.0 and 3.1): its operations, their parameters, and what their schemas hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from counterfoil.core.wire import WireRefused, read_json

Schema = Mapping[str, Any]
Place = Literal["path", "query", "header", "cookie"]

_METHODS = ("get", "put", "post", "delete", "patch")
_FORM = "application/x-www-form-urlencoded"
_DEEP = 32


@dataclass(frozen=True, slots=True)
class ApiParameter:
    name: str
    place: Place
    required: bool


@dataclass(frozen=True, slots=True)
class ApiOperation:
    """One operation of a document. `body` is None where it takes none; schemas are None where they are not told."""

    id: str
    method: str
    path: str
    parameters: Mapping[str, ApiParameter]
    takes_body: bool
    needs_body: bool
    form: bool
    body: Schema | None
    answer: Schema | None


class ApiDocument:
    """An OpenAPI document; `operations` by operationId, `problems` what kept it from being read whole."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self.operations: dict[str, ApiOperation] = {}
        self.problems: list[str] = []
        paths = root.get("paths")
        if not isinstance(paths, Mapping):
            self.problems.append("the document has no paths")
            return
        for path, item in paths.items():
            entry = self.resolve(item)
            for method in _METHODS:
                if isinstance(entry.get(method), Mapping):
                    self._add(str(path), method, entry)

    def _add(self, path: str, method: str, entry: Mapping[str, Any]) -> None:
        operation = entry[method]
        name = operation.get("operationId")
        if not isinstance(name, str):
            return
        if name in self.operations:
            self.problems.append(f"operationId {name} is there twice")
            return
        parameters: dict[str, ApiParameter] = {}
        for raw in [*entry.get("parameters", ()), *operation.get("parameters", ())]:
            found = self.resolve(raw)
            if found.get("name") and found.get("in") in ("path", "query", "header", "cookie"):
                required = bool(found.get("required")) or found["in"] == "path"
                parameters[found["name"]] = ApiParameter(found["name"], found["in"], required)
        body = self.resolve(operation.get("requestBody"))
        kinds = body.get("content", {})
        json_kind = next((kind for kind in kinds if "json" in kind), None)
        kind = json_kind or (_FORM if _FORM in kinds else None)
        self.operations[name] = ApiOperation(
            name,
            method.upper(),
            path,
            parameters,
            takes_body=kind is not None,
            needs_body=kind is not None and bool(body.get("required")),
            form=kind == _FORM,
            body=kinds[kind].get("schema") if kind else None,
            answer=self._answer(operation),
        )

    def _answer(self, operation: Mapping[str, Any]) -> Schema | None:
        answers = {str(status): answer for status, answer in operation.get("responses", {}).items()}
        for status in sorted(answers):
            if status.startswith("2"):
                content = self.resolve(answers[status]).get("content", {})
                schema = next((part.get("schema") for kind, part in content.items() if "json" in kind), None)
                if isinstance(schema, Mapping):
                    return schema
        return None

    def resolve(self, part: Any) -> Mapping[str, Any]:
        """What a part says after following local `$ref`s; an empty mapping where there is nothing to follow."""
        for _ in range(_DEEP):
            if not isinstance(part, Mapping):
                return {}
            reference = part.get("$ref")
            if not isinstance(reference, str):
                return part
            part = self._at(reference)
        return {}

    def _at(self, reference: str) -> Any:
        if not reference.startswith("#/"):
            return None
        part: Any = self._root
        for step in reference[2:].split("/"):
            part = part.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(part, Mapping) else None
        return part

    def members(self, schema: Any, depth: int = 0) -> tuple[dict[str, Any], set[str], bool]:
        """(properties, required names, closed): closed when no other property may be expected. `oneOf` and
        `anyOf` open a schema: which of them applies is not known here."""
        found = self.resolve(schema)
        properties = dict(found.get("properties", {}))
        required = set(found.get("required", ()))
        closed = bool(properties) and found.get("additionalProperties") in (None, False)
        if depth < _DEEP:
            for part in found.get("allOf", ()):
                more, needed, _ = self.members(part, depth + 1)
                properties |= more
                required |= needed
                closed = bool(properties) and found.get("additionalProperties") in (None, False)
        if "oneOf" in found or "anyOf" in found or "patternProperties" in found:
            return properties, required, False
        return properties, required, closed

    def inside(self, schema: Any, pointer: str) -> tuple[Any, str | None]:
        """(schema at `pointer` or None where it is not told, the first step that cannot be there or None)."""
        for step in steps(pointer):
            found = self.resolve(schema)
            if not found:
                return None, None
            if step.isdecimal() and "items" in found:
                schema = found["items"]
                continue
            properties, _, closed = self.members(found)
            if step in properties:
                schema = properties[step]
            elif closed:
                return None, step
            else:
                return None, None
        return schema, None


def steps(pointer: str) -> list[str]:
    """The steps of an RFC 6901 pointer."""
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def load(source: Any) -> tuple[ApiDocument | None, list[str]]:
    """A document from a path (JSON or YAML) or as it stands, or why it cannot be had."""
    if isinstance(source, Mapping):
        return _checked(source)
    if not isinstance(source, str | Path):
        return None, [f"openapi: a path or a document is needed, not {type(source).__name__}"]
    path = Path(source)
    try:
        text = path.read_bytes()
    except OSError as error:
        return None, [f"openapi: {path} cannot be read: {error.strerror}"]
    try:
        root = read_json(text) if path.suffix == ".json" else YAML(typ="safe", pure=True).load(text)
    except (WireRefused, YAMLError, ValueError) as error:
        return None, [f"openapi: {path} is not what its name says: {error}"]
    return _checked(root)


def _checked(root: Any) -> tuple[ApiDocument | None, list[str]]:
    version = root.get("openapi") if isinstance(root, Mapping) else None
    if not str(version).startswith("3."):
        return None, [f"openapi: not an OpenAPI 3 document (openapi: {version!r})"]
    document = ApiDocument(root)
    return document, [f"openapi: {problem}" for problem in document.problems]
