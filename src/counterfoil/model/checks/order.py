"""The order of facts: versions and generations that rest on coarse stamps, and final states."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from counterfoil.core.finding import Finding
from counterfoil.core.stamps import COARSE, vendor_stamps
from counterfoil.expr import ExpressionError
from counterfoil.expr.tree import CallNode, ExprNode, LiteralNode, TernaryNode, children, dotted_path, walk
from counterfoil.model import kinds
from counterfoil.model.checks.registry import rule
from counterfoil.model.compile.mapping import emits_of, emits_with_places, emitted_types
from counterfoil.model.document import Document
from counterfoil.model.model import Model
from counterfoil.model.template import is_formula, text_of
from counterfoil.model.typing import tree_of

_TIME_FIELD = re.compile(
    r"(?i:created|updated|modified|changed|activity|time|timestamp|date)$|(_at|_on|[a-z]At|[a-z]On)$|^(at|on|ts)$"
)
"""Names of fields that hold a time."""
_TIMES = frozenset({"timestamp", "date"})
_CHOICES = frozenset({"first", "max", "min"})
_EVENT_TIMES = frozenset({"time", "occurred_at", "effective_at"})


class _Stamp(NamedTuple):
    """A time of a system, by the path of its field in the delivery."""

    path: str
    cut: bool = False
    """The formula itself drops what is finer than a second."""


class _Formula:
    """Formulas of one mapping, read as to the times that they rest on."""

    def __init__(self, lets: Mapping[str, str]) -> None:
        self.lets = lets

    def _inside(self, name: str) -> tuple[_Formula, ExprNode]:
        """Return the tree of a let, and the formula that reads it: a let may name an outer value as itself."""
        others = {other: text for other, text in self.lets.items() if other != name}
        return _Formula(others), tree_of(text_of(self.lets[name]))

    def stamp(self, text: str) -> _Stamp | None:
        """Return the time that alone gives a formula its value, in some case; None if something finer is in it."""
        try:
            return self._stamp(tree_of(text_of(text)))
        except ExpressionError:
            return None

    def _stamp(self, node: ExprNode) -> _Stamp | None:
        match node:
            case TernaryNode():
                return self._stamp(node.yes) or self._stamp(node.no)
            case CallNode(name=name) if name in _CHOICES:
                return next((stamp for arg in node.args if (stamp := self._stamp(arg)) is not None), None)
        leaves = self._leaves(node, False)
        if not leaves or None in leaves:
            return None
        stamps = [stamp for stamp in leaves if stamp is not None]
        return next((stamp for stamp in stamps if stamp.cut), stamps[0])

    def _leaves(self, node: ExprNode, is_time: bool) -> list[_Stamp | None]:
        """Return the times that a value depends on, and None for everything else but constants."""
        path = self._path(node)
        if path is not None:
            name = path[0]
            if len(path) == 1 and name in self.lets:
                inner, tree = self._inside(name)
                return inner._leaves(tree, is_time)
            if name == "received":
                return [None]
            return [_Stamp(".".join(path)) if is_time or _TIME_FIELD.search(path[-1]) else None]
        if isinstance(node, LiteralNode):
            return []
        if isinstance(node, CallNode) and node.name in _TIMES:
            times = [leaf for arg in node.args[:1] for leaf in self._leaves(arg, True)]
            return [leaf._replace(cut=node.name == "date" or leaf.cut) if leaf else None for leaf in times]
        leaves = [leaf for child in children(node) for leaf in self._leaves(child, is_time)]
        if isinstance(node, CallNode) and node.name == "int" and self._has_time(node):
            return [leaf._replace(cut=True) if leaf else None for leaf in leaves]
        return leaves

    def _path(self, node: ExprNode) -> tuple[str, ...] | None:
        """Return a plain path, with a let that is itself a path in full."""
        path = dotted_path(node)
        if path is None or len(path) == 1 or path[0] not in self.lets:
            return path
        inner, tree = self._inside(path[0])
        below = inner._path(tree)
        return None if below is None else (*below, *path[1:])

    def _has_time(self, node: ExprNode) -> bool:
        return any(isinstance(part, CallNode) and part.name in _TIMES for part in walk(node))


@rule("coarse-order")
def coarse_order(model: Model) -> Iterator[Finding]:
    """Neither a `version` nor a `generation` rests on a time that is coarser than the changes of its system. Two facts of one
    second have no order: the mapping reads the object with `fetch`, or its version is a number that the system counts. Of two
    events with one generation only the first starts a Run. `stamps` of the system or its connector states the precision of its
    times; without it they count as whole seconds. A warning."""
    for document, mapping in model.documents_of(kinds.Mapping):
        if mapping.from_ is None or (mapping.fetch is not None and _reads_fetched(mapping)):
            continue
        for emit, place in emits_with_places(mapping):
            why = _coarse(model, mapping, emit.version)
            if why is not None:
                message = f"the version rests on {why}: two facts of one moment have no order"
                fix = "read the object with `fetch`, use a number that the system counts, or declare `stamps` of the system"
                yield document.finding(
                    "coarse-order", message, (*place, "version"), severity="warning", fix=fix
                )
    for document, workflow in model.documents_of(kinds.Workflow):
        start = workflow.start
        if isinstance(start.generation, str) and start.event is not None:
            why = _coarse_generation(model, start.event, start.generation)
            if why is not None:
                message = (
                    f"the generation rests on {why}: of two events of one moment only the first starts a Run"
                )
                fix = "use a number that the system counts, or `generation: {event: ..., where: ...}`"
                path = ("start", "generation")
                yield document.finding("coarse-order", message, path, severity="warning", fix=fix)


@rule("final-state")
def final_state(model: Model) -> Iterator[Finding]:
    """Only a field of an object has `final`, and its values are among those of its `enum`."""
    for document, subject in model.documents_of(kinds.Object):
        for key, spec in subject.fields.items():
            if isinstance(spec, kinds.FieldSpec) and spec.final and spec.enum:
                for value in sorted(set(spec.final) - set(spec.enum)):
                    message = f"`{value}` is no value of the field `{key.removesuffix('?')}`"
                    yield document.finding("final-state", message, ("fields", key, "final"))
    for document, event in model.documents_of(kinds.Event):
        yield from _without_effect(document, "data", event.data)
    for document, operation in model.documents_of(kinds.Operation):
        yield from _without_effect(document, "input", operation.input)
        yield from _without_effect(document, "output", operation.output)


def _without_effect(document: Document, part: str, fields: Mapping[str, Any]) -> Iterator[Finding]:
    for key, spec in fields.items():
        if isinstance(spec, kinds.FieldSpec) and spec.final:
            message = f"`final` of `{key.removesuffix('?')}` has no effect here: declare it in the object"
            yield document.finding("final-state", message, (part, key, "final"))


def _reads_fetched(mapping: kinds.Mapping) -> bool:
    """Return True if a field of an emitted event comes from what was fetched."""
    lets = mapping.let
    return any(
        path[0] == "fetched"
        for emit in emits_of(mapping)
        for text in _formulas(emit.data)
        for path in _paths(text, lets)
    )


def _paths(text: str, lets: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    try:
        nodes = list(walk(tree_of(text_of(text))))
    except ExpressionError:
        return
    for node in nodes:
        path = dotted_path(node)
        if path is not None:
            yield path
            if path[0] in lets:
                others = {name: inner for name, inner in lets.items() if name != path[0]}
                yield from _paths(lets[path[0]], others)


def _formulas(value: Any) -> Iterator[str]:
    if is_formula(value):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _formulas(part)
    elif isinstance(value, list):
        for part in value:
            yield from _formulas(part)


def _coarse(model: Model, mapping: kinds.Mapping, text: str | None) -> str | None:
    """Return which coarse time a formula of an inbound mapping rests on, as text; None if on none."""
    if text is None or mapping.from_ is None:
        return None
    stamp = _Formula(mapping.let).stamp(text)
    if stamp is None:
        return None
    name = mapping.from_.system
    system = model.systems.get(name)
    precision = (system.stamps or vendor_stamps(system.connector)) if system is not None else None
    if stamp.cut:
        return f"whole seconds or days of `{stamp.path}`"
    if precision is None:
        return f"`{stamp.path}`, and nothing says how precise the times of {name} are"
    return f"`{stamp.path}`, and {name} stamps whole {precision}" if precision in COARSE else None


def _coarse_generation(model: Model, event: str, text: str) -> str | None:
    try:
        paths = [path for node in walk(tree_of(text_of(text))) if (path := dotted_path(node)) is not None]
    except ExpressionError:
        return None
    longest = [path for path in paths if len(path) > 1 and path[0] == "event"]
    reasons = []
    for path in longest:
        if any(other[: len(path)] == path and other != path for other in longest):
            continue
        why = _coarse_field(model, event, path)
        if why is None:
            return None
        reasons.append(f"`{'.'.join(path)}`, {why}")
    return reasons[0] if reasons else None


def _coarse_field(model: Model, event: str, path: tuple[str, ...]) -> str | None:
    """Return which mapping fills a field of an event from a coarse time, as text."""
    for mapping in model.mappings.values():
        for emit in emits_of(mapping):
            if event in emitted_types(emit.type):
                why = _coarse(model, mapping, _source(emit, path))
                if why is not None:
                    return f"which {mapping.name} takes from {why}"
    return None


def _source(emit: kinds.EmitMapping, path: tuple[str, ...]) -> str | None:
    """Return the formula that fills a field of the event, such as `event.data.revision`."""
    if path[1] == "version":
        return emit.version
    if path[1] in _EVENT_TIMES:
        return emit.effective or emit.occurred if path[1] == "effective_at" else emit.occurred
    value: Any = emit.data
    for part in path[2:] if path[1] == "data" else ("",):
        value = value.get(part) if isinstance(value, dict) else None
    return value if is_formula(value) else None
