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

A pattern with a `body` is a whole document: `pattern: {name, with}` stands beside the user's own keys, which stand in
place of the pattern's. What is wrong with what comes from a pattern is told where it is used, and says which line of
the pattern it is; what is wrong with a parameter's value, at the value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

from counterfoil.core.finding import Finding
from counterfoil.expr import ExpressionError
from counterfoil.model.kinds import KINDS
from counterfoil.model.kinds.control import Parameter, Pattern
from counterfoil.model.source import MAX_BYTES, Graft, Path, Source
from counterfoil.model.template import is_duration, text_of
from counterfoil.model.typing import tree_of

RULE = "pattern"
_PARAMETER = re.compile(r"\$\{([a-z][a-z0-9_]*)\}")
_AT: Path = ("pattern",)
_USE = frozenset({"pattern", "with"})
_STEP_BLOCKS = ("otherwise", "do")


@dataclass(frozen=True, slots=True)
class _Known:
    """A pattern that can be used."""

    source: Source
    parameters: Mapping[str, Parameter]
    body: dict[str, Any] | None
    steps: list[Any] | None


def expand(sources: list[Source]) -> list[Finding]:
    """Puts each pattern, with its parameters given, in place of its uses."""
    findings: list[Finding] = []
    known: dict[str, _Known] = {}
    named: set[str] = set()
    for source in sources:
        if isinstance(source.data, dict) and source.data.get("kind") == "pattern":
            named.add(str(source.data.get("name")))
            found = _known(source, findings)
            if found is not None:
                known.setdefault(str(source.data["name"]), found)
    for source in sources:
        data = source.data
        if not isinstance(data, dict) or data.get("kind") == "pattern":
            continue
        use = _Use(source, known, named, findings)
        if "pattern" in data:
            use.document(data)
        if not source.lost:
            use.steps()
    return findings


# ------------------------------------------------------------------ patterns themselves


def _known(source: Source, findings: list[Finding]) -> _Known | None:
    """A pattern whose form is good; what else is wrong with it is found here, used or not."""
    data = source.data
    try:
        pattern = Pattern.model_validate(data, strict=True)
    except ValueError:
        return None  # its own form is told when it is built
    if source.broken:
        return None
    before = len(findings)
    parameters = {
        name: Parameter(doc=about) if isinstance(about, str) else about
        for name, about in pattern.parameters.items()
    }
    form: Path = ("body",) if pattern.body is not None else ("steps",)
    body: Any = pattern.body if pattern.body is not None else pattern.steps
    made = pattern.body.get("kind") if pattern.body is not None else None
    if pattern.body is not None and (not isinstance(made, str) or made not in KINDS or made == "pattern"):
        findings.append(source.finding(RULE, "the body says which `kind` of document it makes", form))
    for path in _nested(body, form):
        fix = "write out what the inner one says"
        findings.append(source.finding(RULE, "a pattern does not use another", path, at_key=True, fix=fix))
    read = dict(_read(body, form))
    for name, path in read.items():
        if name not in parameters:
            near = get_close_matches(name, parameters, 1)
            fix = f"did you mean `{near[0]}`?" if near else f"add `{name}` to `parameters`"
            findings.append(source.finding(RULE, f"`{name}` is no parameter of the pattern", path, fix=fix))
    for name, about in parameters.items():
        path = ("parameters", name)
        if name not in read:
            findings.append(source.finding(RULE, f"nothing reads the parameter `{name}`", path, at_key=True))
        fault = _misfit(about, about.default) if about.default is not None else ""
        if fault:
            findings.append(source.finding(RULE, f"the default {fault}", (*path, "default")))
    return _Known(source, parameters, pattern.body, pattern.steps) if len(findings) == before else None


def _nested(value: Any, path: Path) -> Iterator[Path]:
    if isinstance(value, dict):
        if "pattern" in value and (path == ("body",) or value.keys() <= _USE):
            yield (*path, "pattern")
        for key, part in value.items():
            yield from _nested(part, (*path, key))
    elif isinstance(value, list):
        for position, part in enumerate(value):
            yield from _nested(part, (*path, position))


def _read(value: Any, path: Path) -> Iterator[tuple[str, Path]]:
    """Each parameter that is read, with a place."""
    if isinstance(value, str):
        for name in _PARAMETER.findall(value):
            yield name, path
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _read(part, (*path, key))
    elif isinstance(value, list):
        for position, part in enumerate(value):
            yield from _read(part, (*path, position))


_WORDS = {
    "text": "text",
    "int": "a whole number",
    "decimal": "a number",
    "bool": "true or false",
    "list": "a list",
    "map": "a mapping",
    "duration": "a length of time such as 2d",
    "formula": "a formula",
}


def _misfit(about: Parameter, value: Any) -> str:
    """Why a value is none for a parameter; empty when it is one."""
    if about.enum is not None and value not in about.enum:
        return f"is none of: {', '.join(map(str, about.enum))}"
    return "" if about.type == "any" or _fits(about.type, value) else f"must be {_WORDS[about.type]}"


def _fits(kind: str, value: Any) -> bool:
    match kind:
        case "text":
            return isinstance(value, str)
        case "int":
            return isinstance(value, int) and not isinstance(value, bool)
        case "decimal":
            return isinstance(value, int | Decimal) and not isinstance(value, bool)
        case "bool":
            return isinstance(value, bool)
        case "list":
            return isinstance(value, list)
        case "map":
            return isinstance(value, dict)
        case "duration":
            return is_duration(value)
    try:
        tree_of(text_of(_text(value)))
    except (ExpressionError, RecursionError):
        return False
    return not isinstance(value, dict | list)


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


# ------------------------------------------------------------------ their uses


@dataclass
class _Filling:
    """A pattern's form being filled: what becomes of its parameters, and where their values stand."""

    pattern: _Known
    values: Mapping[str, Any]
    given: frozenset[str]
    user: Source
    at: Path
    """Where the pattern is used."""
    values_at: Path
    left: int
    """How much more may come of it: a small pattern may repeat a large value many times."""
    grafts: dict[Path, Graft] = field(default_factory=dict)

    def fill(self, value: Any, path: Path) -> Any:
        if isinstance(value, dict):
            return {key: self.fill(part, (*path, key)) for key, part in value.items()}
        if isinstance(value, list):
            return [self.fill(part, (*path, position)) for position, part in enumerate(value)]
        if not isinstance(value, str):
            return value
        whole = _PARAMETER.fullmatch(value)
        if whole:
            name = whole[1]
            self._spend(_size(self.values[name]))
            if name in self.given:
                self.grafts[path] = Graft(self.user, (*self.values_at, name))
            return self.values[name]
        self._spend(len(value))
        text = _PARAMETER.sub(lambda match: self._inside(match[1]), value)
        self._spend(len(text))
        return text

    def _inside(self, name: str) -> str:
        """A parameter inside other text; a formula in brackets, so that it stays one operand."""
        text = _text(self.values[name])
        self._spend(len(text))
        return f"({text_of(text)})" if self.pattern.parameters[name].type == "formula" else text

    def _spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise _TooLarge


class _TooLarge(Exception):
    pass


def _size(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(len(str(key)) + _size(part) for key, part in value.items())
    if isinstance(value, list):
        return 1 + sum(_size(part) for part in value)
    return len(value) if isinstance(value, str) else 8


class _Use:
    """The uses of patterns in one document."""

    def __init__(
        self, source: Source, known: Mapping[str, _Known], named: set[str], findings: list[Finding]
    ) -> None:
        self.source = source
        self.known = known
        self.named = named
        self.findings = findings
        self.own = source
        """Where the document's own parts are told: the source as it was written."""
        self.shifted: dict[Path, Graft] = {}
        self.left = MAX_BYTES
        """What patterns may still add to this document."""

    def report(self, message: str, path: Path, *, at_key: bool = False, fix: str = "") -> None:
        self.findings.append(self.own.finding(RULE, message, path, at_key=at_key, fix=fix))

    # -------------------------------------------------------------- a whole document

    def document(self, data: dict[str, Any]) -> None:
        use = data["pattern"]
        self.source.lost = True  # until it is whole
        if not isinstance(use, dict) or not use.keys() <= {"name", "with"} or "name" not in use:
            self.report("expected {name: ..., with: {...}}", _AT)
            return
        pattern = self._pattern(use["name"], "body", (*_AT, "name"))
        filling = self._filling(pattern, use.get("with", {}), _AT, (*_AT, "with")) if pattern else None
        if pattern is None or filling is None:
            return
        assert pattern.body is not None
        if pattern.body["kind"] != data.get("kind"):
            self.report(f"the pattern makes a {pattern.body['kind']}, not a {data.get('kind')}", ("kind",))
            return
        own = {key: value for key, value in data.items() if key != "pattern"}
        body = {key: part for key, part in pattern.body.items() if key not in own}
        filled = self._filled(filling, body, ())
        if filled is None:
            return
        written = replace(self.source, grafts={})
        self.source.grafts = {
            (): Graft(written, _AT, pattern.source, ("body",)),
            **filling.grafts,
            **{(key,): Graft(written, (key,)) for key in own},
        }
        self.source.data = {**filled, **own}
        self.source.lost = False

    # -------------------------------------------------------------- steps in a workflow

    def steps(self) -> None:
        """Steps that patterns stand for, wherever steps may stand."""
        data = self.source.data
        roots: list[tuple[Any, str, Path]] = []
        if data.get("kind") == "workflow":
            roots.append((data, "steps", ("steps",)))
            for position, signal in enumerate(_list(data.get("signals"))):
                roots.append((signal, "do", ("signals", position, "do")))
        elif data.get("kind") == "policy" and isinstance(data.get("failure"), dict):
            roots += [(data["failure"], outcome, ("failure", outcome)) for outcome in data["failure"]]
        if not any(_uses(holder.get(key)) for holder, key, _ in roots if isinstance(holder, dict)):
            return
        self.own = replace(self.source)
        self.source.data = _copied(data)
        found: dict[Path, list[Any]] = {}
        for holder, key, path in roots:
            if isinstance(holder, dict) and isinstance(holder.get(key), list):
                found[path] = self._block(holder[key], path, path)
        for path, entries in found.items():
            _put(self.source.data, path, entries)
        self.source.grafts = {(): Graft(self.own, ()), **self.shifted}

    def _block(self, entries: list[Any], old: Path, new: Path) -> list[Any]:
        """The entries of a block with patterns in place; `old` and `new` are its path as written and as it is."""
        made: list[Any] = []
        for position, entry in enumerate(entries):
            was = (*old, position)
            if isinstance(entry, dict) and "pattern" in entry:
                made += self._steps_of(entry, was, (*new, len(made)))
                continue
            at = (*new, len(made))
            self.shifted[at] = Graft(self.own, was)
            made.append(self._entry(entry, was, at))
        return made

    def _entry(self, entry: Any, old: Path, new: Path) -> Any:
        """A step with the patterns in its inner blocks in place."""
        if not isinstance(entry, dict):
            return entry
        made = dict(entry)
        for key in _STEP_BLOCKS:
            if isinstance(entry.get(key), list):
                made[key] = self._block(entry[key], (*old, key), (*new, key))
        if isinstance(entry.get("choose"), list):
            made["choose"] = [
                {**branch, "then": self._block(branch["then"], (*old, *inner), (*new, *inner))}
                if isinstance(branch, dict) and isinstance(branch.get("then"), list)
                else branch
                for position, branch in enumerate(entry["choose"])
                for inner in [("choose", position, "then")]
            ]
        if isinstance(entry.get("outcomes"), dict):
            made["outcomes"] = {
                name: self._block(reaction, (*old, "outcomes", name), (*new, "outcomes", name))
                if isinstance(reaction, list)
                else reaction
                for name, reaction in entry["outcomes"].items()
            }
        return made

    def _steps_of(self, entry: dict[str, Any], old: Path, new: Path) -> list[Any]:
        """The steps that a pattern gives; none, and the document is given up, where it cannot be used."""
        if not entry.keys() <= _USE:
            extra = next(key for key in entry if key not in _USE)
            self.report(f"a pattern in place of a step has no `{extra}`", (*old, extra), at_key=True)
            self.source.lost = True
            return []
        pattern = self._pattern(entry["pattern"], "steps", (*old, "pattern"))
        filling = self._filling(pattern, entry.get("with", {}), old, (*old, "with")) if pattern else None
        first = new[-1]
        filled = None
        if filling is not None and pattern is not None and pattern.steps is not None:
            assert isinstance(first, int)
            parts = [
                self._filled(filling, step, (*new[:-1], first + position))
                for position, step in enumerate(pattern.steps)
            ]
            filled = None if any(part is None for part in parts) else parts
        if filled is None or filling is None or pattern is None:
            self.source.lost = True
            return []
        for position in range(len(filled)):
            at = (*new[:-1], first + position)  # type: ignore[operator]
            self.shifted[at] = Graft(self.own, old, pattern.source, ("steps", position))
        self.shifted |= filling.grafts
        return filled

    # -------------------------------------------------------------- both

    def _pattern(self, name: Any, form: str, path: Path) -> _Known | None:
        found = self.known.get(name) if isinstance(name, str) else None
        if found is None:
            if not isinstance(name, str) or name not in self.named:
                near = get_close_matches(str(name), self.known, 1)
                fix = f"did you mean `{near[0]}`?" if near else "add a document of kind pattern"
                self.report(f"there is no pattern `{name}`", path, fix=fix)
            return None  # or it is there and broken, which is told at its own place
        if getattr(found, form) is None:
            other = "some steps, not a document" if form == "body" else "a document, not some steps"
            self.report(f"the pattern `{name}` is {other}", path)
            return None
        return found

    def _filling(self, pattern: _Known, given: Any, at: Path, values_at: Path) -> _Filling | None:
        """What the parameters are; None with findings where they do not fit."""
        if not isinstance(given, dict):
            self.report("`with` gives the parameters by name", values_at)
            return None
        before = len(self.findings)
        for name in given:
            if name not in pattern.parameters:
                near = get_close_matches(name, pattern.parameters, 1)
                fix = f"did you mean `{near[0]}`?" if near else "remove it"
                self.report(
                    f"the pattern has no parameter `{name}`", (*values_at, name), at_key=True, fix=fix
                )
        values = {}
        for name, about in pattern.parameters.items():
            if name in given:
                fault = _misfit(about, given[name])
                if fault:
                    self.report(f"the parameter `{name}` {fault}", (*values_at, name))
                values[name] = given[name]
            elif about.default is not None:
                values[name] = about.default
            else:
                fix = f"add `{name}:`" + (f": {about.doc}" if about.doc else "")
                self.report(f"the parameter `{name}` is not given", at, at_key=True, fix=fix)
        if len(self.findings) > before:
            return None
        return _Filling(pattern, values, frozenset(given), self.own, at, values_at, self.left)

    def _filled(self, filling: _Filling, form: Any, path: Path) -> Any:
        try:
            made = filling.fill(form, path)
            self.left = filling.left
            return made
        except _TooLarge:
            message = f"more than {MAX_BYTES // 1024} KB come of the patterns of this document"
            self.findings.append(self.own.finding("too-large", message, filling.at, at_key=True))
            return None


def _uses(value: Any) -> bool:
    """Whether a pattern stands somewhere in a block."""
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


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    return [_copied(part) for part in value] if isinstance(value, list) else value


def _put(data: Any, path: Path, value: Any) -> None:
    for part in path[:-1]:
        data = data[part]
    data[path[-1]] = value
