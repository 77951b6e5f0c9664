"""Casts between versions: fields that they must produce, and fields that they must not lose silently."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from counterfoil.contracts import versions
from counterfoil.core.finding import Finding
from counterfoil.expr import ExpressionError
from counterfoil.expr.tree import names_and_paths
from counterfoil.model import kinds
from counterfoil.model.checks.registry import rule
from counterfoil.model.compile.cast import CastSide, cast_sides
from counterfoil.model.document import Document
from counterfoil.model.fields import each_field, inner_fields, object_schema
from counterfoil.model.model import Model
from counterfoil.model.source import Path
from counterfoil.model.template import is_formula, is_repeated, lets_in_order, text_of
from counterfoil.model.typing import Typing, roots, tree_of

_LOOKUPS = ("table(", "xref(", "canon(", "head(", "fx(", "cutoff(", "period_of(")
Read = tuple[str, ...]


def casts(model: Model) -> Iterator[tuple[Document, kinds.Mapping, kinds.Cast]]:
    """Yield the casts between two declared versions of one event or operation."""
    for document, value in model.documents_of(kinds.Mapping):
        if value.cast is None:
            continue
        of = model.versions.kind_of(value.cast.from_)
        if of is not None and of == model.versions.kind_of(value.cast.to):
            yield document, value, value.cast


@rule("cast-form")
def cast_form(model: Model) -> Iterator[Finding]:
    """A cast converts one version of an event or operation to another version of the same name, and there is one cast per
    pair. Both versions of an event have the same object. A cast makes no look-ups."""
    first: dict[tuple[str, str], str] = {}
    for document, mapping in model.documents_of(kinds.Mapping):
        if mapping.cast is None:
            continue
        old, new = mapping.cast.from_, mapping.cast.to
        of, to = model.versions.kind_of(old), model.versions.kind_of(new)
        if of is None or to is None:
            continue  # reported by unknown-reference
        if old == new or of != to or versions.family(old) != versions.family(new):
            message = f"`{new}` is not another version of `{old}`"
            yield document.finding("cast-form", message, ("cast", "to"))
            continue
        if first.setdefault((old, new), document.name) != document.name:
            message = f"`{first[old, new]}` already casts `{old}` to `{new}`"
            yield document.finding("cast-form", message, ("cast",), at_key=True)
        if of == "event" and model.events[old].object != model.events[new].object:
            message = f"`{old}` and `{new}` belong to different objects"
            yield document.finding("cast-form", message, ("cast",), at_key=True)
        for text, path in _texts(document.data):
            lookup = next((word for word in _LOOKUPS if word in text), None)
            if lookup is not None:
                message = f"a cast must not use the look-up `{lookup.removesuffix('(')}`"
                yield document.finding("cast-form", message, path)


def _texts(data: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[str, Path]]:
    for key, value in data.items():
        if path or key in ("let", "with", "returns"):
            if isinstance(value, Mapping):
                yield from _texts(value, (*path, key))
            elif isinstance(value, str) and (is_formula(value) or path[:1] == ("let",)):
                yield value, (*path, key)


@rule("cast-mismatch")
def cast_mismatch(model: Model) -> Iterator[Finding]:
    """A cast produces what the contract of its target requires: every required field, no unknown field, and each with the
    field's type. A field with the same name and contract in both versions is copied. For an operation, `with` produces
    the input of the newer version and `returns.result` the answer of the older one."""
    for document, mapping, _ in casts(model):
        if mapping.ignore is not None:
            continue
        typing = Typing(document)
        for side in cast_sides(model, mapping):
            back = side.root == "result"
            if back and not side.target:
                continue
            schemas = {side.root: object_schema(side.source)}
            if back:
                schemas["input"] = object_schema(cast_sides(model, mapping)[0].source)
            names = roots(schemas)
            for name, text in lets_in_order(mapping.let.items()):
                if not back:
                    names = names | {name: typing.formula(text, ("let", name), names)}
            place: Path = ("returns", "result") if back else ("with",)
            without: Path = ("returns",) if back and "returns" in document.data else ("cast",)
            at = place if side.templates else without
            typing.record(side.fields, at, names, object_schema(side.target), "cast-mismatch")
            _required(typing, side, place)
        yield from typing.findings


def _required(typing: Typing, side: CastSide, place: Path) -> None:
    """Report required fields that are copied from an optional field."""
    optional = {name for name, may, _ in each_field(side.source) if may}
    for name, may, _ in each_field(side.target):
        copied = side.copied_field(side.templates.get(name))
        if not may and copied in optional:
            message = f"`{name}` is required, but `{side.root}.{copied}` may be absent"
            fix = f"add a default: `=first({side.root}.{copied}, ...)`"
            typing.report("cast-mismatch", message, (*place, name), fix=fix)


@rule("cast-loss")
def cast_loss(model: Model) -> Iterator[Finding]:
    """A cast never loses a field silently: every field of its source is used by a formula, copied, or named in `loses` with
    the reason; a field of an operation's answer as `result.FIELD`."""
    for document, mapping, cast in casts(model):
        if mapping.ignore is not None:
            continue
        named = dict(mapping.loses)
        for side in cast_sides(model, mapping):
            back = side.root == "result"
            if back and not side.target:
                continue
            prefix = "result." if back else ""
            used = _read_paths(side, {} if back else mapping.let)
            for path in _unread_fields(side.source, used, ()):
                name = prefix + ".".join(path)
                if named.pop(name, None) is not None:
                    continue
                whole = name.split(".")
                if any(".".join(whole[:n]) in mapping.loses for n in range(1, len(whole))):
                    continue
                of = cast.to if back else cast.from_
                fix = f"use it in the cast, or give the reason: `loses: {{{name}: ...}}`"
                message = f"the cast loses `{name}` of {of}"
                yield document.finding("cast-loss", message, ("cast",), at_key=True, fix=fix)
        for name in named:
            message = f"`{name}` is not lost: the cast uses it, or the field does not exist"
            yield document.finding("cast-loss", message, ("loses", name), at_key=True, fix="remove it")


def _read_paths(side: CastSide, let: Mapping[str, str]) -> set[Read]:
    """Return the paths below the root that a cast reads; `[]` stands for the items of a list."""
    paths: set[Read] = {(name,) for name in side.carried}
    aliases = {side.root: ()}
    for text in let.values():
        paths |= _paths(text, aliases)
    for value in side.templates.values():
        paths |= _template(value, aliases)
    return paths


def _template(value: Any, aliases: Mapping[str, Read]) -> set[Read]:
    if isinstance(value, dict):
        if is_repeated(value):
            over = _paths(value["each"], aliases) if isinstance(value["each"], str) else set()
            inner = {**aliases, str(value["as"]): (*next(iter(over)), "[]")} if len(over) == 1 else aliases
            paths = _template(value["data"], inner)
            if isinstance(value.get("when"), str):
                paths |= _paths(value["when"], inner)
            # The list counts as read only as far as its items are read.
            return paths | (over if inner is aliases or not paths else set())
        return {path for inner in value.values() for path in _template(inner, aliases)}
    if isinstance(value, list):
        return {path for inner in value for path in _template(inner, aliases)}
    return _paths(value, aliases) if is_formula(value) else set()


def _paths(text: str, aliases: Mapping[str, Read]) -> set[Read]:
    try:
        _, paths = names_and_paths(tree_of(text_of(text)))
    except ExpressionError:
        return set()
    return {(*aliases[path[0]], *path[1:]) for path in paths if path[0] in aliases}


def _unread_fields(fields: Mapping[str, Any], used: set[Read], above: Read) -> Iterator[Read]:
    """Yield the fields that nothing reads, as `loses` names them.

    A field is read if it, or a field that contains it, is read as a whole.
    """
    for name, _, spec in each_field(fields):
        here = (*above, name)
        plain = tuple(part for part in here if part != "[]")
        if any(here[: len(path)] == path for path in used):
            continue
        into = [path for path in used if path[: len(here)] == here]
        if not into:
            yield plain
            continue
        inner, is_list = inner_fields(spec)
        if inner:
            below = (*here, "[]") if is_list else here
            yield from _unread_fields(inner, used, below)
