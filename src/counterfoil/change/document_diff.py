"""Field-by-field comparison of two documents, by meaning and not by spelling.

These are no differences: explicit defaults, the order of unordered lists, spaces in formulas, `48h` instead of `2d`.
Steps are matched by id, else by their action. Other list entries are matched by their naming key.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import msgspec

from counterfoil.core import wire
from counterfoil.expr import ExpressionError
from counterfoil.expr.tree import ExprNode
from counterfoil.model.document import Document
from counterfoil.model.kinds import seconds
from counterfoil.model.template import is_duration, is_formula, text_of
from counterfoil.model.typing import tree_of

What: TypeAlias = Literal["added", "removed", "changed", "moved"]
Path: TypeAlias = tuple[str, ...]

# Lists without order. `type` of a mapping may also be a single text.
_SETS = frozenset(
    {"may", "to", "covers", "requesters", "excludes", "roles", "sets", "enum", "type", "compare", "counts", "in",
     "enforced_by", "risks", "entities"}
)  # fmt: skip
_BLOCKS = frozenset({"steps", "then", "otherwise", "do"})
_NAMED_BY = {"signals": "event", "undo": "call", "emit": "type", "changes": "name"}
# Keys whose text is a formula even without `=` ...
_FORMULAS = frozenset(
    {"check", "when", "where", "key", "until", "amount", "once", "requester", "at", "of", "version", "identity",
     "occurred", "effective", "legal_entity", "assert", "generation", "each"}
)  # fmt: skip
_FORMULA_MAPS = frozenset({"let", "legs", "links", "covers", "per"})
# ... and keys below which it never is.
_TEMPLATES = frozenset({"with", "data", "result", "settings", "dates", "given", "expect"})
_STEP_KINDS = ("call", "approve", "emit", "check", "wait", "choose", "each")


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A changed field of a document, with its path and both values."""

    path: Path
    what: What
    old: Any = None
    new: Any = None


def fields_as_written(document: Document) -> dict[str, Any]:
    """Return a document's fields without kind, name and explicit defaults."""
    fields: dict[str, Any] = document.value.model_dump(
        by_alias=True, exclude_defaults=True, exclude={"kind", "name"}
    )
    return fields


def fields_with_defaults(document: Document) -> dict[str, Any]:
    """Return a document's fields with every default filled in."""
    fields: dict[str, Any] = document.value.model_dump(
        by_alias=True, exclude_none=True, exclude={"kind", "name"}
    )
    return fields


def without_empty(value: Any) -> Any:
    """Return a value without the empty parts that defaults filled in."""
    if isinstance(value, dict):
        parts = {key: without_empty(part) for key, part in value.items()}
        return {key: part for key, part in parts.items() if part not in ({}, [], "")}
    if isinstance(value, list):
        return [without_empty(part) for part in value]
    return value


def compare(old: Any, new: Any, path: Path = ()) -> Iterator[FieldChange]:
    """Yield the changes between two plain values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in (*old, *(key for key in new if key not in old)):
            at = (*path, key)
            if key not in new:
                yield FieldChange(at, "removed", without_empty(old[key]))
            elif key not in old:
                yield FieldChange(at, "added", None, without_empty(new[key]))
            else:
                yield from compare(old[key], new[key], at)
    elif _is_list(old, path) and _is_list(new, path):
        yield from _lists(_listed(old), _listed(new), path)
    elif not same(old, new, path):
        yield FieldChange(path, "changed", old, new)


def same(old: Any, new: Any, path: Path) -> bool:
    """Return True if two values at a path mean the same."""
    if type(old) is type(new) and old == new:
        return True
    return wire.dumps(canonical(old, path)) == wire.dumps(canonical(new, path))


def canonical(value: Any, path: Path) -> Any:
    """Return a value in canonical form: the same for every spelling of it."""
    if isinstance(value, dict):
        return {key: canonical(part, (*path, key)) for key, part in value.items()}
    if isinstance(value, list):
        parts = [canonical(part, path) for part in value]
        return sorted(parts, key=wire.dumps) if path and path[-1] in _SETS else parts
    if not isinstance(value, str):
        return value
    literal = any(part in _TEMPLATES for part in path)
    if is_formula(value) or (not literal and _is_formula_place(path) and not is_duration(value)):
        try:
            return ["formula", _shape(tree_of(text_of(value)))]
        except (ExpressionError, RecursionError):
            return value
    if not literal and is_duration(value):
        return ["duration", str(seconds(value))]
    return value


def _is_formula_place(path: Path) -> bool:
    return bool(path) and (path[-1] in _FORMULAS or any(part in _FORMULA_MAPS for part in path[-2:]))


def _shape(node: ExprNode) -> Any:
    """Return a formula's tree without text positions."""
    parts: list[Any] = [type(node).__name__]
    for name in node.__struct_fields__:
        if name not in ("start", "end"):
            parts.append(_part(getattr(node, name)))
    return parts


def _part(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return _shape(value)  # type: ignore[arg-type]
    if isinstance(value, tuple):
        return [_part(part) for part in value]
    return value if isinstance(value, str) else [type(value).__name__, repr(value)]


# ------------------------------------------------------------------ lists


def _is_list(value: Any, path: Path) -> bool:
    return isinstance(value, list) or (path[-2:] == ("from", "type") and isinstance(value, str))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_block(path: Path) -> bool:
    return bool(path) and (
        path[-1] in _BLOCKS or (len(path) > 1 and (path[-2] == "outcomes" or path[:-1] == ("failure",)))
    )


def _lists(old: list[Any], new: list[Any], path: Path) -> Iterator[FieldChange]:
    if path[-1:] and path[-1] in _SETS:
        yield from _members(old, new, path)
    elif _is_block(path):
        yield from _entries(old, new, path, [_step_ids, _step_acts])
    elif path[-1:] and path[-1] in _NAMED_BY:
        key = _NAMED_BY[path[-1]]
        yield from _entries(old, new, path, [lambda e: str(e.get(key, "")) if isinstance(e, dict) else ""])
    elif len(old) == len(new):
        for position, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from compare(before, after, (*path, str(position)))
    else:
        yield from _entries(old, new, path, [lambda e: wire.dumps(canonical(e, path)).decode()])


def _members(old: list[Any], new: list[Any], path: Path) -> Iterator[FieldChange]:
    before = {wire.dumps(canonical(value, path)): value for value in old}
    after = {wire.dumps(canonical(value, path)): value for value in new}
    for text, value in before.items():
        if text not in after:
            yield FieldChange((*path, _label(value)), "removed", value)
    for text, value in after.items():
        if text not in before:
            yield FieldChange((*path, _label(value)), "added", None, value)


def _entries(old: list[Any], new: list[Any], path: Path, keys: list[Any]) -> Iterator[FieldChange]:
    """Compare entries matched by the first key that fits; entries with equal keys are matched in order."""
    pairs: dict[int, int] = {}
    for key in keys:
        free = [position for position in range(len(new)) if position not in pairs.values()]
        for position, entry in enumerate(old):
            name = key(entry)
            if position in pairs or not name:
                continue
            match = next((at for at in free if key(new[at]) == name), None)
            if match is not None:
                pairs[position] = match
                free.remove(match)
    moved = _out_of_order([pairs[position] for position in sorted(pairs)])
    names = _labels(old, path)
    for position, entry in enumerate(old):
        at = (*path, names[position])
        if position not in pairs:
            yield FieldChange(at, "removed", without_empty(entry))
            continue
        if pairs[position] in moved:
            yield FieldChange(at, "moved", position, pairs[position])
        yield from compare(entry, new[pairs[position]], at)
    labels = _labels(new, path)
    for position, entry in enumerate(new):
        if position not in pairs.values():
            yield FieldChange((*path, labels[position]), "added", None, without_empty(entry))


def _out_of_order(positions: list[int]) -> set[int]:
    """Return the smallest set of positions whose removal leaves the others in increasing order."""
    tails: list[int] = []
    chains: list[list[int]] = []
    for position in positions:
        at = bisect_left(tails, position)
        chain = [*(chains[at - 1] if at else []), position]
        tails[at : at + 1] = [position]
        chains[at : at + 1] = [chain]
    return set(positions) - set(chains[-1] if chains else [])


def _step_ids(entry: Any) -> str:
    return str(entry.get("id", "")) if isinstance(entry, dict) else ""


def _step_acts(entry: Any) -> str:
    """Return a step's action, such as `call erp.credit.post`; for a verb, its text."""
    if not isinstance(entry, dict):
        return str(entry)
    for kind in _STEP_KINDS:
        if kind in entry:
            target = entry[kind]
            return f"{kind} {target}" if kind in ("call", "approve", "emit") else kind
    return next(iter(entry), "")


def _labels(entries: list[Any], path: Path) -> list[str]:
    """Return a label for each entry, with a number if two labels would be equal."""
    if path[-1:] and path[-1] in _NAMED_BY:
        names = [
            _label(e.get(_NAMED_BY[path[-1]], "")) if isinstance(e, dict) else _label(e) for e in entries
        ]
    elif _is_block(path):
        names = [_step_ids(entry) or _step_acts(entry) for entry in entries]
    else:
        names = [str(position) for position in range(len(entries))]
    counts: dict[str, int] = {}
    labels = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        labels.append(name if counts[name] == 1 else f"{name} ({counts[name]})")
    return labels


def _label(value: Any) -> str:
    return value if isinstance(value, str) else wire.dumps(value).decode()
