"""YAML text to plain values, with the place of every node. Strict and bounded; bad text gives findings, no exception.

It reads parser events, so aliases, anchors and tags are refused before they can expand. Numbers become int or
Decimal, never float. YAML 1.2 decides the meaning of a plain word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias

import msgspec
import yaml  # type: ignore[import-untyped]

from counterfoil.core.finding import Finding, Severity
from counterfoil.model.yaml_events import YamlSyntaxError, parse_events

Path: TypeAlias = tuple[str | int, ...]
"""From the document's root: keys of mappings and positions in lists."""

MAX_BYTES = 512 * 1024
MAX_DEPTH = 40
MAX_DIGITS = 60

_START = re.compile(r"^(?:%[^\n]*\n)*---(?=[ \t\r\n]|\Z)", re.MULTILINE)
_END = re.compile(r"^\.\.\.(?:[ \t\r][^\n]*)?\n", re.MULTILINE)
_KIND = re.compile(r"^kind:[ ]*([a-z_]+)[ \r]*$", re.MULTILINE)
_NAME = re.compile(r"^name:[ ]*([a-z0-9_.-]+)[ \r]*$", re.MULTILINE)
_INT = re.compile(r"[-+]?[0-9]+")
_OTHER_INT = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_DECIMAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
_NOT_A_NUMBER = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: dict[str, bool] = {
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_PAIRS = {")": "(", "]": "[", "}": "{"}


class Mark(msgspec.Struct, frozen=True, gc=False):
    """Start of a node; `text` is the column of the first character of its text, 0 for folded text."""

    line: int
    column: int
    text: int = 0


@dataclass(frozen=True, slots=True)
class Graft:
    """A part of a document that comes from elsewhere. Findings about it point at `path` of `source`.

    `origin` and `origin_path` name the text of a pattern if the part comes from one. Then every finding points at
    the use of the pattern.
    """

    source: Source
    path: Path
    origin: Source | None = None
    origin_path: Path = ()

    def place(self, rest: Path) -> tuple[Source, Path, str]:
        """Return the place for a finding at `rest` below this part, and a suffix for its message."""
        if self.origin is None:
            return self.source, (*self.path, *rest), ""
        inner = (*self.origin_path, *rest)
        name = self.origin.data.get("name") if isinstance(self.origin.data, dict) else None
        line = self.origin.mark(inner).line
        return self.source, self.path, f" (pattern `{name}`, {self.origin.file}:{line})"


@dataclass(slots=True)
class Source:
    """One YAML document: its value, and the place of every key and node."""

    file: str
    data: Any = None
    marks: dict[Path, Mark] = field(default_factory=dict)
    keys: dict[Path, Mark] = field(default_factory=dict)
    broken: bool = False
    """Some text was refused, so the value differs from the text."""
    lost: bool = False
    """The document could not be read; the value has at most its kind and name."""
    grafts: dict[Path, Graft] = field(default_factory=dict)
    """Parts that come from elsewhere, by path; the longest matching path applies."""

    def mark(self, path: Path) -> Mark:
        """Return the place of a node, or of the nearest node around it."""
        return self.place(path)[1]

    def place(self, path: Path) -> tuple[str, Mark]:
        """Return the file and the place of a node, or of the nearest node around it."""
        grafted = self._graft_of(path)
        if grafted is not None:
            return grafted[0].place(grafted[1])
        for end in range(len(path), -1, -1):
            mark = self.marks.get(path[:end])
            if mark is not None:
                return self.file, mark
        return self.file, Mark(1, 1)

    def file_of(self, path: Path) -> str:
        """Return the file that has the text of a node; for the text of a pattern, the pattern's file."""
        for end in range(len(path), -1, -1):
            graft = self.grafts.get(path[:end])
            if graft is not None:
                return (graft.origin or graft.source).file
        return self.file

    def finding(
        self,
        rule: str,
        message: str,
        path: Path = (),
        *,
        at_key: bool = False,
        offset: int | None = None,
        severity: Severity = "error",
        fix: str = "",
    ) -> Finding:
        """Return a finding at a node; `at_key` points at its key, `offset` at a character of its text."""
        grafted = self._graft_of(path)
        if grafted is not None:
            source, there, note = grafted
            return source.finding(
                rule,
                message + note,
                there,
                at_key=at_key or bool(note),
                offset=None if note else offset,
                severity=severity,
                fix=fix,
            )
        file, mark = self.place(path)
        if at_key:
            mark = self.keys.get(path, mark)
        column = mark.text + offset if offset is not None and mark.text else mark.column
        return Finding(rule, message, file, mark.line, column, severity, fix)

    def _graft_of(self, path: Path) -> tuple[Source, Path, str] | None:
        if self.grafts:
            for end in range(len(path), -1, -1):
                graft = self.grafts.get(path[:end])
                if graft is not None:
                    return graft.place(path[end:])
        return None


class _Refused(Exception):
    """Reading of a document stops; its finding is recorded."""


def parse(text: str, file: str) -> tuple[list[Source], list[Finding]]:
    """Return every document of a file and the findings about its form. A bad document does not hide the others."""
    findings: list[Finding] = []
    if len(text) > MAX_BYTES:
        return [], [Finding("too-large", f"more than {MAX_BYTES // 1024} KB in one file", file, 1, 1)]
    sources = []
    for part, line in _documents(text):
        sources += _DocumentReader(file, line, findings).run(part)
    return sources, findings


def _documents(text: str) -> Iterator[tuple[str, int]]:
    """Yield the text of each document with the number of lines before it.

    A `---` or `...` at the beginning of a line always ends a document, so a split by text is exact.
    """
    ends = [match.end() for match in _END.finditer(text)]
    starts = sorted({0, *ends, *(match.start() for match in _START.finditer(text))})
    line = 0
    for position, start in enumerate(starts):
        end = starts[position + 1] if position + 1 < len(starts) else len(text)
        part = text[start:end]
        yield part, line
        line += part.count("\n")


def resolve(text: str) -> Any:
    """Return the value of a plain scalar by the core schema of YAML 1.2; None for null.

    Raises ValueError for a number that is not finite or too long.
    """
    if text in _NULLS:
        return None
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in "+-.0123456789":
        if _OTHER_INT.fullmatch(text):
            return int(text, 0)
        if _DECIMAL.fullmatch(text):
            if len(text) > MAX_DIGITS:
                raise ValueError(f"a number has at most {MAX_DIGITS} characters")
            return int(text) if _INT.fullmatch(text) else Decimal(text)
        if _NOT_A_NUMBER.fullmatch(text):
            raise ValueError("infinity and not-a-number are not allowed")
    return text


def unbalanced(text: str) -> int | None:
    """Return the position of the first unbalanced bracket outside quotes; None if all are balanced."""
    opened: list[tuple[str, int]] = []
    quote = ""
    skip = False
    for position, char in enumerate(text):
        if skip:
            skip = False
        elif quote:
            if char == "\\":
                skip = True
            elif char == quote:
                quote = ""
        elif char in "'\"":
            quote = char
        elif char in "([{":
            opened.append((char, position))
        elif char in ")]}" and (not opened or opened.pop()[0] != _PAIRS[char]):
            return position
    return opened[-1][1] if opened else None


class _DocumentReader:
    """Builds documents from parser events."""

    def __init__(self, file: str, line: int, findings: list[Finding]) -> None:
        self.source = Source(file)
        self.before = line
        self.findings = findings
        self.events: Iterator[Any] = iter(())

    def run(self, text: str) -> list[Source]:
        """Return the documents of a text, usually one; faults are added to `findings`."""
        sources: list[Source] = []
        try:
            self.events = parse_events(text)
            while self._document():
                sources.append(self.source)
            return sources
        except YamlSyntaxError as error:
            mark = Mark(error.line + self.before + 1, error.column + 1)
            self._report("syntax", f"not YAML: {error}", mark, error.fix)
        except _Refused:
            pass
        kind, name = _KIND.search(text), _NAME.search(text)
        named = {"kind": kind[1], "name": name[1]} if kind and name else None
        return [*sources, Source(self.source.file, named, broken=True, lost=True)]

    def _report(self, rule: str, message: str, mark: Mark, fix: str = "") -> None:
        self.source.broken = True
        if rule == "syntax":  # other findings from the broken line on would mislead
            self.findings[:] = [f for f in self.findings if f.file != self.source.file or f.line < mark.line]
        self.findings.append(Finding(rule, message, self.source.file, mark.line, mark.column, "error", fix))

    def _mark(self, event: Any) -> Mark:
        start = event.start_mark
        return Mark(start.line + self.before + 1, start.column + 1)

    def _document(self) -> bool:
        """Read the next document; return False at the end."""
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                self.source = Source(self.source.file)
                if event.version or event.tags:
                    place = Mark(event.end_mark.line + self.before + 1, 1)
                    self._report("directive", "YAML directives are not allowed", place, "remove the line")
                first = next(self.events)
                if not _is_nothing(first):
                    self.source.data = self._node(first, (), 0)
                    return True
        return False

    def _node(self, event: Any, path: Path, depth: int) -> Any:
        mark = self._mark(event)
        if isinstance(event, yaml.AliasEvent):
            message = "aliases are not allowed: each value must be readable where it is"
            self._report("alias", message, mark, "repeat the value, or use kind: pattern")
            return ""
        if event.anchor:
            message = f"the anchor &{event.anchor} is not allowed"
            self._report("anchor", message, mark, "remove it, or use kind: pattern")
        if event.tag:
            self._report("tag", f"the tag {str(event.tag)[:60]} is not allowed", mark, "remove it")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path, mark)
        if depth >= MAX_DEPTH:
            self._report("too-deep", f"nested deeper than {MAX_DEPTH}", mark)
            raise _Refused
        self.source.marks[path] = mark
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path, depth)
        assert isinstance(event, yaml.MappingStartEvent)
        return self._mapping(path, depth)

    def _sequence(self, path: Path, depth: int) -> list[Any]:
        items: list[Any] = []
        for event in self.events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.append(self._node(event, (*path, len(items)), depth + 1))
        return items

    def _mapping(self, path: Path, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for event in self.events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            mark = self._mark(event)
            if not isinstance(event, yaml.ScalarEvent):
                self._report("key", "a key must be a plain word", mark)
                self._node(event, (*path, "?"), depth + 1)
                self._node(next(self.events), (*path, "?"), depth + 1)
                continue
            key = self._key(event, mark)
            if key in values:
                self._report("duplicate-key", f"the key `{key}` appears twice", mark, "keep one of them")
                self._node(next(self.events), (*path, "?"), depth + 1)
                continue
            inner = (*path, key)
            self.source.keys[inner] = mark
            values[key] = self._node(next(self.events), inner, depth + 1)
        return values

    def _key(self, event: Any, mark: Mark) -> str:
        key: str = event.value
        if event.tag or event.anchor:
            self._report("tag", "tags and anchors are not allowed", mark, "remove it")
        if key == "on":
            message = "a key must not be named `on`: older YAML parsers read it as true"
            self._report("key-on", message, mark, "choose another word")
        elif not event.style and (not key or key in _NULLS or key in _WORDS):
            self._report("key", f"`{key}` cannot be a key", mark, "quote it, or choose another word")
        elif key == "<<":
            message = "merge keys are not allowed"
            self._report("alias", message, mark, "write the keys out, or use kind: pattern")
        return key

    def _scalar(self, event: Any, path: Path, mark: Mark) -> Any:
        text: str = event.value
        plain = not event.style
        one_line = event.end_mark.line == event.start_mark.line
        begins = mark.column + (0 if plain else 1) if one_line else 0
        self.source.marks[path] = Mark(mark.line, mark.column, begins)
        if text.startswith("="):
            at = unbalanced(text)
            if at is not None:
                message = f"unbalanced `{text[at]}` in the formula {_short(text)}"
                fix = "quote the formula: a comma or brace inside {...} ends a plain value"
                self._report(
                    "unbalanced", message, Mark(mark.line, begins + at if begins else mark.column), fix
                )
            return text
        if not plain:
            return text
        try:
            value = resolve(text)
        except ValueError as error:
            self._report("number", f"{text[:40]}: {error}", mark)
            return 0
        if value is None:
            fix = "give a value or remove the key; a formula with a comma inside {...} must be quoted"
            self._report("null", f"`{path[-1]}` has no value" if path else "no value", mark, fix)
            return ""
        return value


def _is_nothing(event: Any) -> bool:
    """Return True for an empty document, such as one with comments only."""
    return isinstance(event, yaml.ScalarEvent) and not (
        event.value or event.style or event.tag or event.anchor
    )


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
