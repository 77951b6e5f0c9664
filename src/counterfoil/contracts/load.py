"""Descriptions read from files: JSON or YAML, bounded, with the files beside them that they refer to.

YAML is read by the rules of its version 1.2, as OpenAPI and AsyncAPI ask for: `no` is a text and a date is one too.
Decimal numbers are exact in both. Nothing is fetched from a network, and nothing outside of the first file's folder
is opened.
"""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import yaml  # type: ignore[import-untyped]

from counterfoil.contracts.openapi.document import escape, references
from counterfoil.core.wire import Limits, WireRefused, read_json

LIMITS = Limits(size=64 * 1024 * 1024, depth=200)
VALUES = 10_000_000
"""So many values at most, aliases of YAML counted as often as they stand for something."""
FILES = 500
"""So many files at most that belong to one description."""
DEEP = 5_000
"""Containers inside of containers that the YAML parser has room for; it needs four times as many to run out."""
BESIDE = "x-files"
"""Where the files beside a description are put into it."""


class Unreadable(ValueError):
    """A file that cannot be read as a description; the message says what and where."""


_Fast: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Yaml(_Fast):  # type: ignore[misc]
    """YAML 1.2 with exact numbers, and no key twice in a mapping."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        self.flatten_mapping(node)
        made: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else None
            if key is None or key in made:
                what = "a key that is no text" if key is None else f"key {key!r} stands twice"
                raise Unreadable(f"line {key_node.start_mark.line + 1}: {what}")
            made[key] = self.construct_object(value_node, deep=True)
        return made

    def number(self, node: Any) -> Decimal:
        text = str(node.value)
        power = re.search(r"[eE][+-]?(\d+)$", text)
        if len(text) > LIMITS.number or (power and int(power[1]) > LIMITS.exponent):
            raise Unreadable(f"line {node.start_mark.line + 1}: a number that is too long")
        return Decimal(text)

    def whole(self, node: Any) -> int:
        text = str(node.value)
        if len(text) > LIMITS.number:
            raise Unreadable(f"line {node.start_mark.line + 1}: a number that is too long")
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


def load(path: Path) -> dict[str, Any]:
    """A description, with the files that it refers to under `x-files`. Raises `Unreadable`."""
    root = read(path)
    if not isinstance(root, dict):
        raise Unreadable(f"{path}: a description is an object")
    try:
        outside = any(not reference.startswith("#") for reference in references(root))
    except UnicodeDecodeError:
        outside = False
    return _Bundle(path).of(root) if outside else root


def read(path: Path) -> Any:
    """What one file holds. Raises `Unreadable`."""
    try:
        if path.stat().st_size > LIMITS.size:
            raise Unreadable(f"{path}: larger than {LIMITS.size} bytes")
        data = path.read_bytes()
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror or error}") from error
    try:
        return parse(data)
    except Unreadable as error:
        raise Unreadable(f"{path}: {error}") from error


def binary(value: Any) -> Any:
    """The same value with binary numbers where it has exact ones, for validators that know no others."""
    if isinstance(value, dict):
        return {key: binary(each) for key, each in value.items()}
    if isinstance(value, list):
        return [binary(each) for each in value]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value


def parse(data: bytes) -> Any:
    """JSON where the text begins like it, else YAML. Raises `Unreadable`."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    if len(data) > LIMITS.size:
        raise Unreadable(f"larger than {LIMITS.size} bytes")
    if data.lstrip()[:1] in (b"{", b"["):
        try:
            return read_json(data, LIMITS)
        except WireRefused as error:
            refused = error
        # A flow mapping of YAML begins in the same way.
        try:
            return _yaml(data)
        except Unreadable:
            raise Unreadable(str(refused)) from refused
    return _yaml(data)


def _yaml(data: bytes) -> Any:
    try:
        text = data.decode("utf-8")
        depth = 0
        for event in yaml.parse(text, Loader=_Fast) if _may_be_deep(text) else ():
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > LIMITS.depth:
                raise Unreadable(f"nested deeper than {LIMITS.depth}")
        value = yaml.load(text, Loader=_Yaml)  # noqa: S506 - it makes plain values alone
    except UnicodeDecodeError as error:
        raise Unreadable(f"byte {error.start}: not UTF-8") from error
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise Unreadable("nested too deep") from error
    _counted(value, {}, set(), 0)
    return value


def _may_be_deep(text: str) -> bool:
    """Whether a text may nest so deep that the parser in C has no room: by brackets, by marks on one line, or by
    indentation. What is nested less deep is refused after it was read."""
    if text.count("[") + text.count("{") > DEEP or "- - -" in text or "? ? ?" in text:
        return True
    return "\n" + " " * DEEP in text


def _counted(value: Any, known: dict[int, int], above: set[int], depth: int) -> int:
    """How many values there are with every alias written out."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) in above:
        raise Unreadable("an alias stands inside of what it stands for")
    if depth > LIMITS.depth:
        raise Unreadable(f"nested deeper than {LIMITS.depth}")
    if id(value) not in known:
        above.add(id(value))
        inner = value.values() if isinstance(value, dict) else value
        total = 1
        for each in inner:
            total += _counted(each, known, above, depth + 1) if isinstance(each, dict | list) else 1
        if total > VALUES:
            raise Unreadable(f"more than {VALUES} values, with aliases written out")
        above.discard(id(value))
        known[id(value)] = total
    return known[id(value)]


class _Bundle:
    """A description and the files beside it, as one document: their references lead into `x-files`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = path.resolve().parent
        self._files: dict[str, Any] = {}

    def of(self, root: dict[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = self._turned(root, self._folder, "")
        if self._files:
            made[BESIDE] = self._files
        return made

    def _turned(self, node: Any, folder: Path, inside: str) -> Any:
        if isinstance(node, list):
            return [self._turned(each, folder, inside) for each in node]
        if not isinstance(node, dict):
            return node
        made = {}
        for key, value in node.items():
            if key == "$ref" and isinstance(value, str):
                made[key] = self._reference(value, folder, inside)
            else:
                made[key] = self._turned(value, folder, inside)
        return made

    def _reference(self, reference: str, folder: Path, inside: str) -> str:
        place, _, pointer = reference.partition("#")
        if not place:
            return f"#/{BESIDE}/{escape(inside)}{pointer}" if inside else reference
        if "://" in place:
            return reference  # nothing is fetched; the comparison says that it cannot follow
        path = (folder / place).resolve()
        if path == self._path.resolve():
            return f"#{pointer}"
        if not path.is_relative_to(self._folder):
            raise Unreadable(f"{self._path}: {reference} leads out of the folder of the description")
        name = path.relative_to(self._folder).as_posix()
        if name not in self._files:
            if len(self._files) >= FILES:
                raise Unreadable(f"{self._path}: refers to more than {FILES} files")
            self._files[name] = {}
            self._files[name] = self._turned(read(path), path.parent, name)
        return f"#/{BESIDE}/{escape(name)}{pointer}"
