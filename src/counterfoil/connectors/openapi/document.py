"""Reader of OpenAPI documents (3.0 and 3.1): operations, their parameters and their schemas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from counterfoil.connectors.references import files_beside
from counterfoil.connectors.sdk import SettingProblem
from counterfoil.core.finding import did_you_mean
from counterfoil.json_or_yaml import UnreadableText, parse

Schema = Mapping[str, Any]
Place = Literal["path", "query", "header", "cookie"]

_METHODS = ("get", "put", "post", "delete", "patch")
_FORM = "application/x-www-form-urlencoded"
_MAX_DEPTH = 32


@dataclass(frozen=True, slots=True)
class ApiParameter:
    name: str
    place: Place
    required: bool


@dataclass(frozen=True, slots=True)
class ApiOperation:
    """One operation of a document. `body` is None if it takes no body; a schema is None if the document has none."""

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
    """OpenAPI document: `operations` by operationId, and `problems` that prevent reading all of it."""

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
            self.problems.append(f"operationId {name} appears twice")
            return
        parameters: dict[str, ApiParameter] = {}
        for raw in [*entry.get("parameters", ()), *operation.get("parameters", ())]:
            part = self.resolve(raw)
            if part.get("name") and part.get("in") in ("path", "query", "header", "cookie"):
                required = bool(part.get("required")) or part["in"] == "path"
                parameters[part["name"]] = ApiParameter(part["name"], part["in"], required)
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
        """Return a part after following its local `$ref`s. An empty mapping if a reference leads nowhere."""
        for _ in range(_MAX_DEPTH):
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
        """Return (properties, required names, closed). Closed: the schema allows no other property.

        `oneOf` and `anyOf` open a schema: the branch that applies is not known here.
        """
        resolved = self.resolve(schema)
        properties = dict(resolved.get("properties", {}))
        required = set(resolved.get("required", ()))
        closed = bool(properties) and resolved.get("additionalProperties") in (None, False)
        if depth < _MAX_DEPTH:
            for part in resolved.get("allOf", ()):
                more, needed, _ = self.members(part, depth + 1)
                properties |= more
                required |= needed
                closed = bool(properties) and resolved.get("additionalProperties") in (None, False)
        if "oneOf" in resolved or "anyOf" in resolved or "patternProperties" in resolved:
            return properties, required, False
        return properties, required, closed

    def inside(self, schema: Any, pointer: str) -> tuple[Any, str | None]:
        """Return (schema at `pointer`, or None if the document has none; the first step that cannot exist, or None)."""
        for step in steps(pointer):
            resolved = self.resolve(schema)
            if not resolved:
                return None, None
            if step.isdecimal() and "items" in resolved:
                schema = resolved["items"]
                continue
            properties, _, closed = self.members(resolved)
            if step in properties:
                schema = properties[step]
            elif closed:
                return None, step
            else:
                return None, None
        return schema, None


def steps(pointer: str) -> list[str]:
    """Return the steps of an RFC 6901 pointer."""
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def load(source: Any) -> tuple[ApiDocument | None, list[SettingProblem]]:
    """Return the document of a path (JSON or YAML) or of a mapping, and the problems. None if it is unreadable."""
    if isinstance(source, Mapping):
        return _read_root(source)
    if not isinstance(source, str | Path):
        return None, [_problem(f"expected a path or a document, not {type(source).__name__}")]
    path = Path(source)
    try:
        text = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        return None, [_problem(f"`{path}` cannot be read: {reason}", _near(path))]
    try:
        root = parse(text)
    except UnreadableText as error:
        return None, [_problem(f"`{path}` is not valid JSON or YAML: {error}")]
    return _read_root(root)


def _near(path: Path) -> str:
    """Return a fix that names a file beside the missing one, or the folder in which it was looked for."""
    return did_you_mean(path.name, files_beside(path), "a relative path starts at the file that names it")


def _problem(message: str, fix: str = "") -> SettingProblem:
    return SettingProblem(("settings", "openapi"), message, fix)


def _read_root(root: Any) -> tuple[ApiDocument | None, list[SettingProblem]]:
    version = root.get("openapi") if isinstance(root, Mapping) else None
    if not str(version).startswith("3."):
        actual = f"openapi: {version}" if version is not None else "it has no `openapi: 3...`"
        return None, [_problem(f"not an OpenAPI 3 document ({actual})")]
    try:
        document = ApiDocument(root)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None, [
            _problem("the document is not in the form of OpenAPI 3", "see `counterfoil contracts lint`")
        ]
    return document, [_problem(problem) for problem in document.problems]
