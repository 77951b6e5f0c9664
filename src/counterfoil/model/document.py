"""One governance document: its typed value, its plain data, and its place in a file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from pydantic import BaseModel, ValidationError

from counterfoil.core.finding import Finding, Severity, closest, did_you_mean
from counterfoil.model import kinds
from counterfoil.model.source import Path, Source
from counterfoil.model.texts import texts_where

Data: TypeAlias = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Document:
    """A governance document. `data` is its canonical plain form, with the rows of a table included."""

    value: kinds.Kind
    data: Data
    source: Source | None = None

    @property
    def kind(self) -> str:
        return self.value.kind

    @property
    def name(self) -> str:
        return self.value.name

    @cached_property
    def calls(self) -> tuple[tuple[str, Path], ...]:
        """Texts that may call a function, with their places. Many checks read them. Prose and rows of a table have none."""
        return tuple(texts_where(self.data, lambda text: "(" in text, ("doc", "rows")))

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
        """Return a finding at a node of this document; without a file, at its kind and name."""
        if self.source is None:
            return Finding(rule, message, f"{self.kind}/{self.name}", 0, 0, severity, fix)
        return self.source.finding(
            rule, message, path, at_key=at_key, offset=offset, severity=severity, fix=fix
        )


def build(source: Source) -> tuple[Document | None, list[Finding]]:
    """Build a document from its source; return None with findings if its form is wrong."""
    data = source.data
    if not isinstance(data, dict):
        message = "a document must be a mapping that begins with `kind:`"
        return None, [source.finding("not-a-document", message)]
    kind = data.get("kind")
    if kind is None:
        message = "`kind:` is missing"
        return None, [source.finding("unknown-kind", message, fix=f"one of {', '.join(kinds.KINDS)}")]
    if not isinstance(kind, str) or kind not in kinds.KINDS:
        fix = did_you_mean(str(kind), kinds.KINDS, f"one of {', '.join(kinds.KINDS)}")
        return None, [source.finding("unknown-kind", f"unknown kind `{kind}`", ("kind",), fix=fix)]
    try:
        value = kinds.KINDS[kind].model_validate(data, strict=True)
    except ValidationError as error:
        return None, shape_findings(error, source)
    return Document(value, data, source), []


# ------------------------------------------------------------------ findings from errors of pydantic

KEY_CUTOFF_RATIO = 0.5
"""Similarity of a misspelt key to the one that was meant."""
_PATTERNS = {
    "[a-z][a-z0-9_]*([.-]": "a name: lower-case words joined by `_`, `-` or `.`",
    "(ms|s|m|h|d)$": "a duration such as 500ms, 10s, 5m, 2h or 3d",
    "(env:": "a reference such as env:NAME or file:PATH",
    "^(https?|postgresql)://": "an http(s) or postgresql address",
    "(string|id|int": "a type: string, id, int, decimal, bool, money, date, timestamp, duration, any, or [type]",
    "[a-z]+:[a-z]+:[a-z]+": "a permission: area:thing:action",
    "@[1-9]": "a name and a version such as customer@1",
    "[A-Z]{3}": "a currency code such as USD",
    "[A-Z]{2}": "a country code such as US",
    "T\\d\\d:": "a moment in UTC such as 2026-03-02T09:00:00Z",
    "^(mapping|workflow": "a document by its kind and name, such as `policy service-credit`",
    "\\??$": "a field name: lower-case letters, digits and `_`, a trailing `?` when optional",
}
_TYPES = {
    "string_type": "text",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "list_type": "a list",
    **dict.fromkeys(("dict_type", "model_type", "dict_attributes_type"), "a mapping"),
}


def shape_findings(error: ValidationError, source: Source) -> list[Finding]:
    """Return one finding for each node that does not fit its kind."""
    expected: dict[Path, list[str]] = {}
    words: dict[Path, list[str]] = {}
    findings: list[Finding] = []
    faults = [(locate(source.data, fault["loc"]), fault) for fault in error.errors(include_url=False)]
    absent = _absent_keys(faults)
    meant = {
        (path[:-1], closest(str(path[-1]), absent.get(path[:-1], ()), KEY_CUTOFF_RATIO))
        for path, fault in faults
        if fault["type"] == "extra_forbidden" and path
    }
    for path, fault in faults:
        kind = fault["type"]
        if kind == "missing":
            key = str(fault["loc"][-1])
            if (path, key) not in meant:  # a misspelt key is reported once, as unknown
                findings.append(_missing(source, path, key))
        elif kind == "extra_forbidden":
            findings.append(_unknown(source, path, absent.get(path[:-1], [])))
        elif kind == "given":
            findings.append(_unknown_step(source, path, str(fault["msg"])))
        else:
            expected.setdefault(path, []).append(_message(kind, fault))
            if kind == "literal_error":
                words.setdefault(path, []).extend(re.findall(r"'([^']*)'", fault["ctx"]["expected"]))
    for path, messages in expected.items():
        value = _at(source.data, path)
        is_shown = not isinstance(value, dict | list) and "secrets" not in path
        actual = f", not {_display(value)}" if is_shown else ""
        texts = list(dict.fromkeys(messages))
        where = f"`{path[-1]}`: " if path and isinstance(path[-1], str) else ""
        if all(text.startswith("expected ") for text in texts):
            text = "expected " + " or ".join(text.removeprefix("expected ") for text in texts) + actual
        else:
            text = "; ".join(texts)
        near = did_you_mean(value, words.get(path, ())) if isinstance(value, str) and is_shown else ""
        findings.append(source.finding("wrong-value", where + text, path, fix=near))
    return findings


def _absent_keys(faults: Iterable[tuple[Path, Any]]) -> dict[Path, list[str]]:
    """Return the missing keys of each mapping."""
    absent: dict[Path, list[str]] = {}
    for path, fault in faults:
        if fault["type"] == "missing":
            absent.setdefault(path, []).append(str(fault["loc"][-1]))
    return absent


def _missing(source: Source, path: Path, key: str) -> Finding:
    if path and path[-1] == "failure" and source.data.get("kind") == "policy":
        message = f"the failure policy has no reaction for `{key}`"
        fix = f"add `{key}:` with a reaction: retry, queue, continue, park, undo or a list of steps"
        return source.finding("failure-incomplete", message, path, at_key=True, fix=fix)
    return source.finding("missing-key", f"`{key}` is missing", path, at_key=True, fix=f"add `{key}:`")


def _unknown(source: Source, path: Path, absent: list[str]) -> Finding:
    key = str(path[-1]) if path else ""
    parent = _at(source.data, path[:-1])
    siblings = set(parent) - {key} if isinstance(parent, dict) else set()
    candidates = sorted(_candidates(siblings, source.data.get("kind", "")))
    fix = did_you_mean(key, absent, cutoff=KEY_CUTOFF_RATIO) or did_you_mean(
        key, candidates, "remove it", KEY_CUTOFF_RATIO
    )
    return source.finding("unknown-key", f"unknown key `{key}`", path, at_key=True, fix=fix)


def _unknown_step(source: Source, path: Path, message: str) -> Finding:
    """Return the finding about a step of a test that has the key of none."""
    step = _at(source.data, path)
    keys = list(step) if isinstance(step, dict) else []
    fixes = (did_you_mean(str(key), kinds.GIVEN_STEPS) for key in keys)
    return source.finding("wrong-value", message, path, fix=next(filter(None, fixes), ""))


def _candidates(siblings: set[str], kind: str) -> set[str]:
    """Return keys that may be meant: those of the models that have most of the sibling keys."""
    if "kind" in siblings:
        return _keys(kinds.KINDS[kind]) - siblings if kind in kinds.KINDS else set()
    models = [keys for keys in map(_keys, _models()) if "kind" not in keys]
    best = max((len(siblings & keys) for keys in models), default=0)
    return {key for keys in models if len(siblings & keys) == best for key in keys} - siblings


def _models() -> list[type[BaseModel]]:
    return [m for m in vars(kinds).values() if isinstance(m, type) and issubclass(m, kinds.Part)]


def _keys(model: type[BaseModel]) -> set[str]:
    return {info.alias or name for name, info in model.model_fields.items()}


def _message(kind: str, fault: Any) -> str:
    if kind in _TYPES:
        return f"expected {_TYPES[kind]}"
    context = fault.get("ctx") or {}
    if kind == "string_pattern_mismatch":
        for part, words in _PATTERNS.items():
            if part in context["pattern"]:
                return f"expected {words}"
    if kind == "literal_error":
        return f"expected {context['expected']}"
    if kind == "string_too_short":
        return "expected a text that is not empty"
    message = str(fault["msg"]).removeprefix("Value error, ")
    return re.sub(r"^Input should be ", "expected ", message)


def locate(data: Any, loc: tuple[Any, ...]) -> Path:
    """Return the path in the data for the `loc` of an error.

    Pydantic adds the names of union members to it, and a member may have the name of a key (`call`). So the
    interpretation with the longest path wins.
    """

    def follow(node: Any, at: int) -> Path:
        best: Path = ()
        for position in range(at, len(loc)):
            part = loc[position]
            in_list = isinstance(node, list) and isinstance(part, int) and part < len(node)
            if in_list or (isinstance(node, dict) and part in node):
                candidate: Path = (part, *follow(node[part], position + 1))
                if len(candidate) >= len(best):
                    best = candidate
        return best

    return follow(data, 0)


def _at(data: Any, path: Path) -> Any:
    for part in path:
        data = data[part]
    return data


def _display(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = f"`{value}`" if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
