"""Reader of JSON and YAML texts that others wrote: descriptions of interfaces, and the files that they refer to.

YAML is read as version 1.2, as OpenAPI and AsyncAPI require: `no` and dates are texts. Decimal numbers are exact in
both formats. Size, depth and number of values are limited. Governance files have a stricter reader, `model/source`.
"""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import yaml  # type: ignore[import-untyped]  # PyYAML has no types
from yaml.composer import Composer, ComposerError  # type: ignore[import-untyped]  # PyYAML has no types

from counterfoil.core.wire import Limits, WireRefused, read_json
from counterfoil.core.yaml_cause import likely_cause

LIMITS = Limits(size=64 * 1024 * 1024, depth=200)
MAX_VALUES = 10_000_000
"""Limit of values in one file, with YAML aliases expanded."""
DEEP_CONTAINERS = 5_000
"""Nesting that the YAML parser in C can handle; its stack ends at about four times as many containers."""


class UnreadableText(ValueError):
    """A text is not JSON or YAML, or exceeds a limit; the message says what and where."""


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
                raise UnreadableText(f"line {key_node.start_mark.line + 1}: {what}")
            entries[key] = self.construct_object(value_node, deep=True)
        return entries

    def number(self, node: Any) -> Decimal:
        text = str(node.value)
        power = re.search(r"[eE][+-]?(\d+)$", text)
        if len(text) > LIMITS.number or (power and int(power[1]) > LIMITS.exponent):
            raise UnreadableText(f"line {node.start_mark.line + 1}: the number is too long")
        return Decimal(text)

    def whole(self, node: Any) -> int:
        text = str(node.value)
        if len(text) > LIMITS.number:
            raise UnreadableText(f"line {node.start_mark.line + 1}: the number is too long")
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


def read(path: Path) -> Any:
    """Return the content of one file. Raises `UnreadableText`."""
    try:
        if path.stat().st_size > LIMITS.size:
            raise UnreadableText(f"{path}: larger than {LIMITS.size} bytes")
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableText(f"{path}: {error.strerror or error}") from error
    try:
        return parse(data)
    except UnreadableText as error:
        raise UnreadableText(f"{path}: {error}") from error


def parse(data: bytes) -> Any:
    """Parse JSON if the text begins like it, else YAML. Raises `UnreadableText`."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    if len(data) > LIMITS.size:
        raise UnreadableText(f"larger than {LIMITS.size} bytes")
    if data.lstrip()[:1] in (b"{", b"["):
        try:
            return read_json(data, LIMITS)
        except WireRefused as error:
            json_error = error
        # A YAML flow mapping begins in the same way.
        try:
            return _yaml(data)
        except UnreadableText:
            raise UnreadableText(json_error.in_file(data)) from json_error
    return _yaml(data)


def _yaml(data: bytes) -> Any:
    try:
        text = data.decode("utf-8")
        depth = 0
        for event in yaml.parse(text, Loader=_Fast) if _may_be_deep(text) else ():
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > LIMITS.depth:
                raise UnreadableText(f"nested deeper than {LIMITS.depth}")
        try:
            value = yaml.load(text, Loader=_Yaml)  # noqa: S506 - it builds plain values only
        except ComposerError as error:
            if "duplicate anchor" not in str(error):
                raise
            value = yaml.load(text, Loader=_RepeatedAnchors)  # noqa: S506 - it too
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnreadableText(f"line {line}: not UTF-8") from error
    except UnreadableText:
        raise
    except yaml.MarkedYAMLError as error:
        raise UnreadableText(_marked(error, text)) from error
    except (yaml.YAMLError, ValueError) as error:
        raise UnreadableText(" ".join(str(error).split())) from error
    except RecursionError as error:
        raise UnreadableText("nested too deep") from error
    _count_values(value, {}, set(), 0)
    return value


def _marked(error: Any, text: str) -> str:
    """Return what is wrong with a text, and on which line. libyaml places an error at the end one line too far."""
    problem = " ".join(str(error.problem).split())
    if error.problem_mark is None:
        return problem
    last_line = text.count("\n")
    begin = None if error.context_mark is None else min(error.context_mark.line, last_line)
    cause = likely_cause(
        text, problem, min(error.problem_mark.line, last_line), error.problem_mark.column, begin
    )
    return f"line {cause.line + 1}: {problem}; {cause.fix}"


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
        raise UnreadableText("an alias refers to a value that contains it")
    if depth > LIMITS.depth:
        raise UnreadableText(f"nested deeper than {LIMITS.depth}")
    if id(value) not in counts:
        ancestors.add(id(value))
        inner = value.values() if isinstance(value, dict) else value
        total = 1
        for item in inner:
            total += _count_values(item, counts, ancestors, depth + 1) if isinstance(item, dict | list) else 1
        if total > MAX_VALUES:
            raise UnreadableText(f"more than {MAX_VALUES} values with aliases expanded")
        ancestors.discard(id(value))
        counts[id(value)] = total
    return counts[id(value)]
