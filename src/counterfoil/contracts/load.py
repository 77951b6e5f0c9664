"""Reader of contract files: JSON or YAML, with size limits, and with the files that they refer to.

YAML is read as version 1.2, as OpenAPI and AsyncAPI require: `no` and dates are texts. Decimal numbers are exact in
both formats. Nothing is fetched from a network, and no file outside the folder of the first file is opened.
"""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, Protocol

import yaml  # type: ignore[import-untyped]
from yaml.composer import Composer, ComposerError  # type: ignore[import-untyped]

from counterfoil.contracts.json_parts import escape
from counterfoil.contracts.openapi.document import references
from counterfoil.core.wire import Limits, WireRefused, read_json

LIMITS = Limits(size=64 * 1024 * 1024, depth=200)
MAX_VALUES = 10_000_000
"""Limit of values in one file, with YAML aliases expanded."""
MAX_FILES = 500
"""Limit of files that belong to one description."""
DEEP_CONTAINERS = 5_000
"""Nesting that the YAML parser in C can handle; its stack ends at about four times as many containers."""
FILES_KEY = "x-files"
"""Key under which the files next to a description are inserted into it."""


_VALUES = frozenset(("example", "examples", "default", "enum", "const"))
"""Keywords whose content is a value: a `$ref` in it is data."""
_NAMED = frozenset(
    ("properties", "patternProperties", "definitions", "$defs", "dependentSchemas", "dependencies", "schemas", "parameters",
     "headers", "responses", "requestBodies", "callbacks", "links", "securitySchemes", "paths", "webhooks", "content",
     "encoding", "channels", "messages", "operations", "servers", "variables", "messageTraits", "operationTraits",
     "pathItems", "replies", "correlationIds")
)  # fmt: skip
"""Keywords whose content has names as keys."""


class NeighbourFiles(Protocol):
    """Files next to a description: of its folder, or of the same revision of a repository."""

    def locate(self, reference: str, user: str) -> str | None:
        """Return the name of the file that a reference in the file `user` means, `""` for the description itself.

        None if there is no such file, or if it is outside the folder.
        """
        ...

    def read(self, name: str) -> Any: ...


class UnreadableDescription(ValueError):
    """A file cannot be read as a description; the message says what and where."""


_Fast: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Yaml(_Fast):  # type: ignore[misc]  # PyYAML has no types
    """YAML 1.2 with exact numbers and without duplicate keys."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        self.flatten_mapping(node)
        entries: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else None
            if key is None or key in entries:
                what = "the key is not a text" if key is None else f"duplicate key {key!r}"
                raise UnreadableDescription(f"line {key_node.start_mark.line + 1}: {what}")
            entries[key] = self.construct_object(value_node, deep=True)
        return entries

    def number(self, node: Any) -> Decimal:
        text = str(node.value)
        power = re.search(r"[eE][+-]?(\d+)$", text)
        if len(text) > LIMITS.number or (power and int(power[1]) > LIMITS.exponent):
            raise UnreadableDescription(f"line {node.start_mark.line + 1}: the number is too long")
        return Decimal(text)

    def whole(self, node: Any) -> int:
        text = str(node.value)
        if len(text) > LIMITS.number:
            raise UnreadableDescription(f"line {node.start_mark.line + 1}: the number is too long")
        return int(text, 0) if text[:2] in ("0x", "0o") else int(text)


for _tag, _pattern, _first in (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", list("-+0123456789")),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", list("-+.0123456789")),
    ("merge", r"^<<$", ["<"]),
):
    _Yaml.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)
_Yaml.add_constructor("tag:yaml.org,2002:float", _Yaml.number)
_Yaml.add_constructor("tag:yaml.org,2002:int", _Yaml.whole)
_Yaml.add_constructor("tag:yaml.org,2002:map", _Yaml.construct_mapping)


class _RepeatedAnchors(Composer, _Yaml):  # type: ignore[misc]  # PyYAML has no types
    """YAML in which an anchor may be set again, as version 1.2 allows. Slower: nodes are built in Python."""

    def __init__(self, stream: Any) -> None:
        _Fast.__init__(self, stream)
        self.anchors: dict[str, Any] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if not isinstance(event, yaml.AliasEvent):
            self.anchors.pop(event.anchor, None)
        return super().compose_node(parent, index)


def load(path: Path) -> dict[str, Any]:
    """Return a description, with the files that it refers to under `x-files`. Raises `UnreadableDescription`."""
    return bundle(read(path), str(path), _Folder(path))


def bundle(root: Any, name: str, files: NeighbourFiles | None) -> dict[str, Any]:
    """Return a description with the files that it refers to under `x-files`; without `files` as it is.

    Raises `UnreadableDescription` with `name` in front.
    """
    if not isinstance(root, dict):
        raise UnreadableDescription(f"{name}: a description must be an object")
    if files is None:
        return root
    try:
        has_files = any(not reference.startswith("#") for reference in references(root))
    except UnicodeDecodeError:
        has_files = False
    return _Bundle(name, files).of(root) if has_files else root


def read(path: Path) -> Any:
    """Return the content of one file. Raises `UnreadableDescription`."""
    try:
        if path.stat().st_size > LIMITS.size:
            raise UnreadableDescription(f"{path}: larger than {LIMITS.size} bytes")
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableDescription(f"{path}: {error.strerror or error}") from error
    try:
        return parse(data)
    except UnreadableDescription as error:
        raise UnreadableDescription(f"{path}: {error}") from error


def binary(value: Any) -> Any:
    """Return the value with binary numbers instead of exact ones, for validators that need them."""
    if isinstance(value, dict):
        return {key: binary(item) for key, item in value.items()}
    if isinstance(value, list):
        return [binary(item) for item in value]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value


def parse(data: bytes) -> Any:
    """Parse JSON if the text begins like it, else YAML. Raises `UnreadableDescription`."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    if len(data) > LIMITS.size:
        raise UnreadableDescription(f"larger than {LIMITS.size} bytes")
    if data.lstrip()[:1] in (b"{", b"["):
        try:
            return read_json(data, LIMITS)
        except WireRefused as error:
            json_error = error
        # A YAML flow mapping begins in the same way.
        try:
            return _yaml(data)
        except UnreadableDescription:
            raise UnreadableDescription(str(json_error)) from json_error
    return _yaml(data)


def _yaml(data: bytes) -> Any:
    try:
        text = data.decode("utf-8")
        depth = 0
        for event in yaml.parse(text, Loader=_Fast) if _may_be_deep(text) else ():
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > LIMITS.depth:
                raise UnreadableDescription(f"nested deeper than {LIMITS.depth}")
        try:
            value = yaml.load(text, Loader=_Yaml)  # noqa: S506 - it builds plain values only
        except ComposerError as error:
            if "duplicate anchor" not in str(error):
                raise
            value = yaml.load(text, Loader=_RepeatedAnchors)  # noqa: S506 - it too
    except UnicodeDecodeError as error:
        raise UnreadableDescription(f"byte {error.start}: not UTF-8") from error
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, UnreadableDescription):
            raise
        raise UnreadableDescription(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise UnreadableDescription("nested too deep") from error
    _count_values(value, {}, set(), 0)
    return value


def _may_be_deep(text: str) -> bool:
    """Return true if a text may nest too deep for the parser in C.

    Checks brackets, marks on one line and indentation. Shallower nesting is limited after reading.
    """
    if text.count("[") + text.count("{") > DEEP_CONTAINERS or "- - -" in text or "? ? ?" in text:
        return True
    return "\n" + " " * DEEP_CONTAINERS in text


def _count_values(value: Any, counts: dict[int, int], ancestors: set[int], depth: int) -> int:
    """Return the number of values with every alias expanded."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) in ancestors:
        raise UnreadableDescription("an alias refers to a value that contains it")
    if depth > LIMITS.depth:
        raise UnreadableDescription(f"nested deeper than {LIMITS.depth}")
    if id(value) not in counts:
        ancestors.add(id(value))
        inner = value.values() if isinstance(value, dict) else value
        total = 1
        for item in inner:
            total += _count_values(item, counts, ancestors, depth + 1) if isinstance(item, dict | list) else 1
        if total > MAX_VALUES:
            raise UnreadableDescription(f"more than {MAX_VALUES} values with aliases expanded")
        ancestors.discard(id(value))
        counts[id(value)] = total
    return counts[id(value)]


class _Folder:
    """Files in the folder of a description and below it."""

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()
        self._folder = self._path.parent

    def locate(self, reference: str, user: str) -> str | None:
        path = ((self._folder / user).parent if user else self._folder) / reference
        path = path.resolve()
        if path == self._path:
            return ""
        if not path.is_relative_to(self._folder) or not path.is_file():
            return None
        return path.relative_to(self._folder).as_posix()

    def read(self, name: str) -> Any:
        return read(self._folder / name)


class _Bundle:
    """A description and the files next to it as one document: their references point into `x-files`."""

    def __init__(self, name: str, files: NeighbourFiles) -> None:
        self._name = name
        self._neighbours = files
        self._files: dict[str, Any] = {}

    def of(self, root: dict[str, Any]) -> dict[str, Any]:
        bundled: dict[str, Any] = self._rewrite(root, "")
        if self._files:
            bundled[FILES_KEY] = self._files
        return bundled

    def _rewrite(self, node: Any, inside: str, *, names: bool = False) -> Any:
        """Return a part with its references into this document. `names`: its keys are names, not keywords."""
        if isinstance(node, list):
            return [self._rewrite(item, inside) for item in node]
        if not isinstance(node, dict):
            return node
        rewritten = {}
        for key, value in node.items():
            if key == "$ref" and isinstance(value, str):
                rewritten[key] = self._reference(value, inside)
            elif key in _VALUES and not names:
                rewritten[key] = value
            else:
                rewritten[key] = self._rewrite(value, inside, names=key in _NAMED and not names)
        return rewritten

    def _reference(self, reference: str, inside: str) -> str:
        place, _, pointer = reference.partition("#")
        if not place:
            return f"#/{FILES_KEY}/{escape(inside)}{pointer}" if inside else reference
        if "://" in place:
            return reference  # never fetched; the comparison reports it as unresolved, as a missing file
        name = self._neighbours.locate(place, inside)
        if name is None:
            return reference
        if not name:
            return f"#{pointer}"
        if name not in self._files:
            if len(self._files) >= MAX_FILES:
                raise UnreadableDescription(f"{self._name}: refers to more than {MAX_FILES} files")
            self._files[name] = {}
            self._files[name] = self._rewrite(self._neighbours.read(name), name)
        return f"#/{FILES_KEY}/{escape(name)}{pointer}"
