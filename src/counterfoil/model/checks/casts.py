"""Casts between versions: what they must give, and what they may not lose in silence."""

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
from counterfoil.model.compile.order import lets_in_order
from counterfoil.model.document import Document
from counterfoil.model.fields import each_field, object_schema
from counterfoil.model.model import Model
from counterfoil.model.source import Path
from counterfoil.model.template import is_formula, is_repeated, text_of
from counterfoil.model.typing import Typing, roots, tree_of

_LOOKUPS = ("table(", "xref(", "canon(", "head(", "fx(", "cutoff(", "period_of(")
Read = tuple[str, ...]


def casts(model: Model) -> Iterator[tuple[Document, kinds.Mapping, kinds.Cast]]:
    """Casts between versions of one thing, both declared."""
    for document in model.documents:
        value = document.value
        if not isinstance(value, kinds.Mapping) or value.cast is None:
            continue
        of = model.versions.kind_of(value.cast.from_)
        if of is not None and of == model.versions.kind_of(value.cast.to):
            yield document, value, value.cast


@rule("cast-form")
def cast_form(model: Model) -> Iterator[Finding]:
    """A cast leads from one version of an event or operation to another of the same name, once; both versions of an
    event speak of the same object. It looks nothing up: what it gives follows from what it is given."""
    first: dict[tuple[str, str], str] = {}
    for document in model.documents:
        mapping = document.value
        if not isinstance(mapping, kinds.Mapping) or mapping.cast is None:
            continue
        one, other = mapping.cast.from_, mapping.cast.to
        of, to = model.versions.kind_of(one), model.versions.kind_of(other)
        if of is None or to is None:
            continue  # told by unknown-reference
        if one == other or of != to or versions.family(one) != versions.family(other):
            message = f"`{other}` is not another version of `{one}`"
            yield document.finding("cast-form", message, ("cast", "to"))
            continue
        if first.setdefault((one, other), document.name) != document.name:
            message = f"`{first[one, other]}` already says how `{one}` becomes `{other}`"
            yield document.finding("cast-form", message, ("cast",), at_key=True)
        if of == "event" and model.events[one].object != model.events[other].object:
            message = f"`{one}` and `{other}` do not speak of the same object"
            yield document.finding("cast-form", message, ("cast",), at_key=True)
        for text, path in _texts(document.data):
            looked = next((word for word in _LOOKUPS if word in text), None)
            if looked is not None:
                message = f"a cast looks nothing up, and this asks `{looked.removesuffix('(')}`"
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
    """A cast gives what the contract of its target demands: every required field is there, none is unknown, and each has
    the field's type. A field that both versions have alike under one name need not be written. For an operation `with`
    makes the input of the newer version and `returns.result` the answer of the older one."""
    for document, mapping, _ in casts(model):
        if mapping.ignore is not None:
            continue
        typing = Typing(document)
        for side in cast_sides(model, mapping):
            back = side.root == "result"
            if back and not side.target:
                continue
            known = {side.root: object_schema(side.source)}
            if back:
                known["input"] = object_schema(cast_sides(model, mapping)[0].source)
            names = roots(known)
            for name, text in lets_in_order(mapping.let.items()):
                if not back:
                    names = names | {name: typing.formula(text, ("let", name), names)}
            place: Path = ("returns", "result") if back else ("with",)
            at = (
                place
                if side.templates
                else ("returns",)
                if back and "returns" in document.data
                else ("cast",)
            )
            typing.record(side.fields, at, names, object_schema(side.target), "cast-mismatch")
            _required(typing, side, place)
        yield from typing.findings


def _required(typing: Typing, side: CastSide, place: Path) -> None:
    """A field that may be absent does not make one that must be there."""
    optional = {name for name, may, _ in each_field(side.source) if may}
    for name, may, _ in each_field(side.target):
        taken = side.copied_field(side.templates.get(name))
        if not may and taken in optional:
            message = f"`{name}` must be there, and `{side.root}.{taken}` may be absent"
            fix = f"say what stands for it: `=first({side.root}.{taken}, ...)`"
            typing.report("cast-mismatch", message, (*place, name), fix=fix)


@rule("cast-loss")
def cast_loss(model: Model) -> Iterator[Finding]:
    """A cast loses nothing in silence: every field of the version that it reads from is used by a formula, taken over, or
    named in `loses` with the reason; of an operation's answer as `result.FIELD`."""
    for document, mapping, cast in casts(model):
        if mapping.ignore is not None:
            continue
        named = dict(mapping.loses)
        for side in cast_sides(model, mapping):
            back = side.root == "result"
            if back and not side.target:
                continue
            prefix = "result." if back else ""
            used = _used(side, {} if back else mapping.let)
            for path in _unread(side.source, used, ()):
                name = prefix + ".".join(path)
                if named.pop(name, None) is not None:
                    continue
                whole = name.split(".")
                if any(".".join(whole[:n]) in mapping.loses for n in range(1, len(whole))):
                    continue
                of = cast.to if back else cast.from_
                fix = f"use it in the cast, or say why it may go: `loses: {{{name}: ...}}`"
                yield document.finding(
                    "cast-loss", f"`{name}` of {of} is lost", ("cast",), at_key=True, fix=fix
                )
        for name in named:
            message = f"`{name}` is not lost: the cast uses it, or there is no such field"
            yield document.finding("cast-loss", message, ("loses", name), at_key=True, fix="remove it")


def _used(side: CastSide, let: Mapping[str, str]) -> set[Read]:
    """Paths below the root that a cast's formulas read; a step into a list is written `[]`."""
    found: set[Read] = {(name,) for name in side.carried}
    aliases = {side.root: ()}
    for text in let.values():
        found |= _paths(text, aliases)
    for value in side.templates.values():
        found |= _template(value, aliases)
    return found


def _template(value: Any, aliases: Mapping[str, Read]) -> set[Read]:
    if isinstance(value, dict):
        if is_repeated(value):
            over = _paths(value["each"], aliases) if isinstance(value["each"], str) else set()
            inner = {**aliases, str(value["as"]): (*next(iter(over)), "[]")} if len(over) == 1 else aliases
            found = _template(value["data"], inner)
            if isinstance(value.get("when"), str):
                found |= _paths(value["when"], inner)
            # What is gone through is read as far as its items are.
            return found | (over if inner is aliases or not found else set())
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


def _unread(fields: Mapping[str, Any], used: set[Read], above: Read) -> Iterator[Read]:
    """Fields that nothing reads, as they are named in `loses`. One is read when it, or what holds it, is taken whole."""
    for name, _, spec in each_field(fields):
        here = (*above, name)
        plain = tuple(part for part in here if part != "[]")
        if any(here[: len(path)] == path for path in used):
            continue
        into = [path for path in used if path[: len(here)] == here]
        if not into:
            yield plain
            continue
        inner, listed = _inner(spec)
        if inner:
            below = (*here, "[]") if listed else here
            yield from _unread(inner, used, below)


def _inner(spec: Any) -> tuple[Mapping[str, Any], bool]:
    """The fields inside a field, and whether they are those of a list's items."""
    if isinstance(spec, list):
        return (_inner(spec[0])[0], True)
    if not isinstance(spec, kinds.FieldSpec):
        return {}, False
    if spec.items is not None:
        return (_inner(spec.items)[0], True)
    return spec.fields or {}, spec.type == "list"
