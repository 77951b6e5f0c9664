"""What two documents of one name say differently: field by field, by meaning and not by how it is written.

No difference are defaults written out, the order of what has no order, a formula's spaces, `48h` for `2d`.
Steps are matched by id, else by what they do; list entries by what names them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import msgspec

from counterfoil.core import wire
from counterfoil.expr import ExpressionError
from counterfoil.expr.tree import Node
from counterfoil.model.document import Document
from counterfoil.model.kinds import seconds
from counterfoil.model.template import is_duration, is_formula, text_of
from counterfoil.model.typing import tree_of

What: TypeAlias = Literal["added", "removed", "changed", "moved"]
Path: TypeAlias = tuple[str, ...]

# Lists whose order says nothing. `type` of a mapping may also be one text.
_SETS = frozenset(
    {"may", "to", "covers", "requesters", "roles", "sets", "enum", "type", "compare", "counts", "in",
     "enforced_by", "risks"}
)  # fmt: skip
_BLOCKS = frozenset({"steps", "then", "otherwise", "do"})
_NAMED_BY = {"signals": "event", "undo": "call", "emit": "type", "changes": "name"}
# Where a text is a formula without `=` ...
_FORMULAS = frozenset(
    {"check", "when", "where", "key", "until", "amount", "once", "requester", "at", "of", "version", "identity",
     "occurred", "effective", "legal_entity", "assert", "generation", "each"}
)  # fmt: skip
_FORMULA_MAPS = frozenset({"let", "legs", "links", "covers", "per"})
# ... and where it never is.
_TEMPLATES = frozenset({"with", "data", "result", "settings", "dates", "given", "expect"})
_STEP_KINDS = ("call", "approve", "emit", "check", "wait", "choose", "each")


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field of a document: where it stands, and what it says before and after."""

    path: Path
    what: What
    old: Any = None
    new: Any = None


def written(document: Document) -> dict[str, Any]:
    """A document's fields as far as they say something: without its kind, its name and written-out defaults."""
    found: dict[str, Any] = document.value.model_dump(
        by_alias=True, exclude_defaults=True, exclude={"kind", "name"}
    )
    return found


def meant(document: Document) -> dict[str, Any]:
    """A document's fields with every default in place."""
    found: dict[str, Any] = document.value.model_dump(
        by_alias=True, exclude_none=True, exclude={"kind", "name"}
    )
    return found


def shown(value: Any) -> Any:
    """A value without its empty parts, which defaults have left there."""
    if isinstance(value, dict):
        parts = {key: shown(part) for key, part in value.items()}
        return {key: part for key, part in parts.items() if part not in ({}, [], "")}
    if isinstance(value, list):
        return [shown(part) for part in value]
    return value


def compare(old: Any, new: Any, path: Path = ()) -> Iterator[FieldChange]:
    """What changed between two plain values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in (*old, *(key for key in new if key not in old)):
            at = (*path, key)
            if key not in new:
                yield FieldChange(at, "removed", shown(old[key]))
            elif key not in old:
                yield FieldChange(at, "added", None, shown(new[key]))
            else:
                yield from compare(old[key], new[key], at)
    elif _is_list(old, path) and _is_list(new, path):
        yield from _lists(_listed(old), _listed(new), path)
    elif not same(old, new, path):
        yield FieldChange(path, "changed", old, new)


def same(old: Any, new: Any, path: Path) -> bool:
    """Whether two values mean the same at their place."""
    if type(old) is type(new) and old == new:
        return True
    return wire.dumps(canonical(old, path)) == wire.dumps(canonical(new, path))


def canonical(value: Any, path: Path) -> Any:
    """A value in the one form that all ways of writing it share."""
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


def _shape(node: Node) -> Any:
    """A tree without the places of its text."""
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
    """Entries matched by the first key that both have, in their order where several have the same."""
    pairs: dict[int, int] = {}
    for key in keys:
        free = [position for position in range(len(new)) if position not in pairs.values()]
        for position, entry in enumerate(old):
            name = key(entry)
            if position in pairs or not name:
                continue
            found = next((at for at in free if key(new[at]) == name), None)
            if found is not None:
                pairs[position] = found
                free.remove(found)
    moved = _out_of_order([pairs[position] for position in sorted(pairs)])
    names = _labels(old, path)
    for position, entry in enumerate(old):
        at = (*path, names[position])
        if position not in pairs:
            yield FieldChange(at, "removed", shown(entry))
            continue
        if pairs[position] in moved:
            yield FieldChange(at, "moved", position, pairs[position])
        yield from compare(entry, new[pairs[position]], at)
    labels = _labels(new, path)
    for position, entry in enumerate(new):
        if position not in pairs.values():
            yield FieldChange((*path, labels[position]), "added", None, shown(entry))


def _out_of_order(positions: list[int]) -> set[int]:
    """What must have moved so that the rest still stands in its order: as few as can be."""
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
    """What a step does: `call erp.credit.post`; of a verb its words."""
    if not isinstance(entry, dict):
        return str(entry)
    for kind in _STEP_KINDS:
        if kind in entry:
            target = entry[kind]
            return f"{kind} {target}" if kind in ("call", "approve", "emit") else kind
    return next(iter(entry), "")


def _labels(entries: list[Any], path: Path) -> list[str]:
    """What to call each entry, told apart by a number where two would be called the same."""
    if path[-1:] and path[-1] in _NAMED_BY:
        names = [
            _label(e.get(_NAMED_BY[path[-1]], "")) if isinstance(e, dict) else _label(e) for e in entries
        ]
    elif _is_block(path):
        names = [_step_ids(entry) or _step_acts(entry) for entry in entries]
    else:
        names = [str(position) for position in range(len(entries))]
    counted: dict[str, int] = {}
    labels = []
    for name in names:
        counted[name] = counted.get(name, 0) + 1
        labels.append(name if counted[name] == 1 else f"{name} ({counted[name]})")
    return labels


def _label(value: Any) -> str:
    return value if isinstance(value, str) else wire.dumps(value).decode()
