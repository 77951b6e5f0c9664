"""Patterns: a document's form, or some steps, with parameters; and the documents that use them.

    kind: pattern
    name: post-and-match
    parameters:
      operation: what posts it
      wait: {type: duration, default: +2d}
    steps:
      - call: "${operation}"
      - wait: {foils: all, until: "${wait}"}
    ---
    kind: workflow
    name: credit-post
    steps:
      - {pattern: post-and-match, with: {operation: erp.credit.post}}

A pattern with a `body` is a whole document: `pattern: {name, with}` is one key of the document that uses it, and the
document's other keys replace those of the pattern. A finding about a part of a pattern points at the use and names the
line of the pattern. A finding about a parameter's value points at the value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from counterfoil.core.finding import Finding, did_you_mean
from counterfoil.model.pattern_definition import (
    PARAMETER,
    RULE,
    STEP_KEYS,
    UsablePattern,
    misfit,
    usable_pattern,
    value_text,
)
from counterfoil.model.source import MAX_BYTES, Graft, Path, Source
from counterfoil.model.template import text_of

_AT: Path = ("pattern",)
_STEP_BLOCKS = ("otherwise", "do")


def expand(sources: list[Source]) -> list[Finding]:
    """Replace each use of a pattern by the pattern with its parameters filled in."""
    findings: list[Finding] = []
    patterns: dict[str, UsablePattern] = {}
    declared: set[str] = set()
    for source in sources:
        if isinstance(source.data, dict) and source.data.get("kind") == "pattern":
            declared.add(str(source.data.get("name")))
            pattern = usable_pattern(source, findings)
            if pattern is not None:
                patterns.setdefault(str(source.data["name"]), pattern)
    for source in sources:
        data = source.data
        if not isinstance(data, dict) or data.get("kind") == "pattern":
            continue
        uses = _PatternUses(source, patterns, declared, findings)
        if "pattern" in data:
            uses.expand_document(data)
        if not source.lost:
            uses.expand_steps()
    return findings


# ------------------------------------------------------------------ filling in parameters


@dataclass
class _Expansion:
    """One use of a pattern: the values of its parameters, and the places of these values."""

    pattern: UsablePattern
    values: Mapping[str, Any]
    written: frozenset[str]
    """Parameters whose value is written at the use."""
    user: Source
    at: Path
    """Where the pattern is used."""
    values_at: Path
    budget: int
    """Characters that it may still produce: a small pattern may repeat a large value many times."""
    grafts: dict[Path, Graft] = field(default_factory=dict)

    def fill(self, value: Any, path: Path) -> Any:
        if isinstance(value, dict):
            return {key: self.fill(part, (*path, key)) for key, part in value.items()}
        if isinstance(value, list):
            return [self.fill(part, (*path, position)) for position, part in enumerate(value)]
        if not isinstance(value, str):
            return value
        whole = PARAMETER.fullmatch(value)
        if whole:
            name = whole[1]
            self._spend(_size(self.values[name]))
            if name in self.written:
                self.grafts[path] = Graft(self.user, (*self.values_at, name))
            return self.values[name]
        self._spend(len(value))
        text = PARAMETER.sub(lambda match: self._embedded(match[1]), value)
        self._spend(len(text))
        return text

    def _embedded(self, name: str) -> str:
        """Return a parameter as part of other text; a formula in brackets, so that it stays one operand."""
        text = value_text(self.values[name])
        self._spend(len(text))
        return f"({text_of(text)})" if self.pattern.parameters[name].type == "formula" else text

    def _spend(self, size: int) -> None:
        self.budget -= size
        if self.budget < 0:
            raise _TooLarge


class _TooLarge(Exception):
    pass


def _size(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(len(str(key)) + _size(part) for key, part in value.items())
    if isinstance(value, list):
        return 1 + sum(_size(part) for part in value)
    return len(value) if isinstance(value, str) else 8


# ------------------------------------------------------------------ uses


class _PatternUses:
    """Uses of patterns in one document."""

    def __init__(
        self,
        source: Source,
        patterns: Mapping[str, UsablePattern],
        declared: set[str],
        findings: list[Finding],
    ) -> None:
        self.source = source
        self.patterns = patterns
        self.declared = declared
        self.findings = findings
        self.written = source
        """The source before expansion: places of the document's own parts."""
        self.moved: dict[Path, Graft] = {}
        self.budget = MAX_BYTES
        """Characters that patterns may still add to this document."""

    def report(self, message: str, path: Path, *, at_key: bool = False, fix: str = "") -> None:
        self.findings.append(self.written.finding(RULE, message, path, at_key=at_key, fix=fix))

    # -------------------------------------------------------------- a whole document

    def expand_document(self, data: dict[str, Any]) -> None:
        use = data["pattern"]
        self.source.lost = True  # until the expansion is complete
        if not isinstance(use, dict) or not use.keys() <= {"name", "with"} or "name" not in use:
            self.report("expected {name: ..., with: {...}}", _AT)
            return
        pattern = self._pattern(use["name"], "body", (*_AT, "name"))
        expansion = self._expansion(pattern, use.get("with", {}), _AT, (*_AT, "with")) if pattern else None
        if pattern is None or expansion is None:
            return
        assert pattern.body is not None
        if pattern.body["kind"] != data.get("kind"):
            self.report(f"the pattern creates a {pattern.body['kind']}, not a {data.get('kind')}", ("kind",))
            return
        own = {key: value for key, value in data.items() if key != "pattern"}
        body = {key: part for key, part in pattern.body.items() if key not in own}
        filled = self._fill(expansion, body, ())
        if filled is None:
            return
        written = replace(self.source, grafts={})
        self.source.grafts = {
            (): Graft(written, _AT, pattern.source, ("body",)),
            **expansion.grafts,
            **{(key,): Graft(written, (key,)) for key in own},
        }
        self.source.data = {**filled, **own}
        self.source.lost = False

    # -------------------------------------------------------------- steps

    def expand_steps(self) -> None:
        """Replace the steps that name a pattern in a workflow, a failure policy or a test."""
        data = self.source.data
        roots: list[tuple[Any, str, Path]] = []
        if data.get("kind") == "workflow":
            roots.append((data, "steps", ("steps",)))
            for position, signal in enumerate(_list(data.get("signals"))):
                roots.append((signal, "do", ("signals", position, "do")))
        elif data.get("kind") == "test":
            roots.append((data, "given", ("given",)))
        elif data.get("kind") == "policy" and isinstance(data.get("failure"), dict):
            roots += [(data["failure"], outcome, ("failure", outcome)) for outcome in data["failure"]]
        if not any(_has_pattern(holder.get(key)) for holder, key, _ in roots if isinstance(holder, dict)):
            return
        self.written = replace(self.source)
        self.source.data = _copy(data)
        blocks: dict[Path, list[Any]] = {}
        for holder, key, path in roots:
            if isinstance(holder, dict) and isinstance(holder.get(key), list):
                blocks[path] = self._block(holder[key], path, path)
        for path, entries in blocks.items():
            _put(self.source.data, path, entries)
        self.source.grafts = {(): Graft(self.written, ()), **self.moved}

    def _block(self, entries: list[Any], old: Path, new: Path) -> list[Any]:
        """Return the entries of a block with patterns expanded; `old` is its written path, `new` its path in the result."""
        block: list[Any] = []
        for position, entry in enumerate(entries):
            written_at = (*old, position)
            at = (*new, len(block))
            if isinstance(entry, dict) and "pattern" in entry:
                block += self._steps_of(entry, written_at, at)
                continue
            self.moved[at] = Graft(self.written, written_at)
            block.append(self._entry(entry, written_at, at))
        return block

    def _entry(self, entry: Any, old: Path, new: Path) -> Any:
        """Return a step with the patterns in its inner blocks expanded."""
        if not isinstance(entry, dict):
            return entry
        step = dict(entry)
        for key in _STEP_BLOCKS:
            if isinstance(entry.get(key), list):
                step[key] = self._block(entry[key], (*old, key), (*new, key))
        if isinstance(entry.get("choose"), list):
            step["choose"] = [
                {**branch, "then": self._block(branch["then"], (*old, *inner), (*new, *inner))}
                if isinstance(branch, dict) and isinstance(branch.get("then"), list)
                else branch
                for position, branch in enumerate(entry["choose"])
                for inner in [("choose", position, "then")]
            ]
        if isinstance(entry.get("outcomes"), dict):
            step["outcomes"] = {
                name: self._block(reaction, (*old, "outcomes", name), (*new, "outcomes", name))
                if isinstance(reaction, list)
                else reaction
                for name, reaction in entry["outcomes"].items()
            }
        return step

    def _steps_of(self, entry: dict[str, Any], old: Path, new: Path) -> list[Any]:
        """Return the steps of a pattern. If the use has a fault, return none and mark the document as lost."""
        if not entry.keys() <= STEP_KEYS:
            extra = next(key for key in entry if key not in STEP_KEYS)
            self.report(f"a step that names a pattern cannot have `{extra}`", (*old, extra), at_key=True)
            self.source.lost = True
            return []
        pattern = self._pattern(entry["pattern"], "steps", (*old, "pattern"))
        expansion = self._expansion(pattern, entry.get("with", {}), old, (*old, "with")) if pattern else None
        filled = []
        if expansion is not None and pattern is not None:
            for position, step in enumerate(pattern.steps or []):
                assert isinstance(new[-1], int)
                at = (*new[:-1], new[-1] + position)
                filled.append(self._fill(expansion, step, at))
                self.moved[at] = Graft(self.written, old, pattern.source, ("steps", position))
        if expansion is None or any(step is None for step in filled):
            self.source.lost = True
            return []
        self.moved |= expansion.grafts
        return filled

    # -------------------------------------------------------------- documents and steps

    def _pattern(self, name: Any, form: str, path: Path) -> UsablePattern | None:
        pattern = self.patterns.get(name) if isinstance(name, str) else None
        if pattern is None:
            if not isinstance(name, str) or name not in self.declared:
                fix = did_you_mean(str(name), self.patterns, "add a document of kind pattern")
                self.report(f"there is no pattern `{name}`", path, fix=fix)
            return None  # a declared pattern with faults is reported at its own place
        if getattr(pattern, form) is None:
            other = "steps, not a document" if form == "body" else "a document, not steps"
            self.report(f"the pattern `{name}` is {other}", path)
            return None
        return pattern

    def _expansion(
        self, pattern: UsablePattern, arguments: Any, at: Path, values_at: Path
    ) -> _Expansion | None:
        """Return the expansion with these arguments; None with findings where they do not fit."""
        if not isinstance(arguments, dict):
            self.report("`with` must be a mapping of parameters by name", values_at)
            return None
        before = len(self.findings)
        for name in arguments:
            if name not in pattern.parameters:
                fix = did_you_mean(name, pattern.parameters, "remove it")
                self.report(
                    f"the pattern has no parameter `{name}`", (*values_at, name), at_key=True, fix=fix
                )
        values = {}
        for name, parameter in pattern.parameters.items():
            if name in arguments:
                fault = misfit(parameter, arguments[name])
                if fault:
                    self.report(f"the parameter `{name}` {fault}", (*values_at, name))
                values[name] = arguments[name]
            elif parameter.default is not None:
                values[name] = parameter.default
            else:
                fix = f"add `{name}:`" + (f": {parameter.doc}" if parameter.doc else "")
                self.report(f"the parameter `{name}` has no value", at, at_key=True, fix=fix)
        if len(self.findings) > before:
            return None
        return _Expansion(pattern, values, frozenset(arguments), self.written, at, values_at, self.budget)

    def _fill(self, expansion: _Expansion, form: Any, path: Path) -> Any:
        try:
            filled = expansion.fill(form, path)
            self.budget = expansion.budget
            return filled
        except _TooLarge:
            message = f"the patterns of this document expand to more than {MAX_BYTES // 1024} KB"
            self.findings.append(self.written.finding("too-large", message, expansion.at, at_key=True))
            return None


def _has_pattern(value: Any) -> bool:
    """Return True if a block contains a pattern at any depth."""
    pending = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, dict):
            if "pattern" in current:
                return True
            pending.extend(current.values())
        elif isinstance(current, list):
            pending.extend(current)
    return False


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(part) for key, part in value.items()}
    return [_copy(part) for part in value] if isinstance(value, list) else value


def _put(data: Any, path: Path, value: Any) -> None:
    for part in path[:-1]:
        data = data[part]
    data[path[-1]] = value
