"""Parameters of operations: presence, serialization and values."""

from __future__ import annotations

from typing import Any

import msgspec

from counterfoil.contracts.json_parts import Node, as_list, as_map, escape
from counterfoil.contracts.openapi.bodies import media_types
from counterfoil.contracts.openapi.context import ComparisonContext
from counterfoil.contracts.openapi.reads import EVERYTHING
from counterfoil.contracts.openapi.rules import Side
from counterfoil.contracts.openapi.schema import SchemaPlace

_STYLES = {"query": "form", "cookie": "form", "path": "simple", "header": "simple"}
_NOT_PARAMETERS = ("accept", "content-type", "authorization")
"""Header names that OpenAPI does not treat as parameters."""


class Parameters(msgspec.Struct):
    """Parameters of an operation by place and name: resolved nodes, and raw nodes with their references."""

    nodes: dict[tuple[str, str], Node]
    raw: dict[tuple[str, str], Any]


def collect(context: ComparisonContext, item: Node, operation: Node, path: str, *, fresh: bool) -> Parameters:
    """Return the parameters of the path, overridden by those of the operation.

    A path parameter is identified by its position, so renaming it is no change.
    """
    document = context.new if fresh else context.old
    slots = [part.split("}")[0] for part in path.split("{")[1:]]
    collected = Parameters({}, {})
    for source in (item, operation):
        for raw in as_list(source.get("parameters")):
            node = document.follow(raw)
            place, name = str(node.get("in", "")), str(node.get("name", ""))
            if place == "header":
                name = name.lower()
                if name in _NOT_PARAMETERS:
                    continue
            if place == "path" and name in slots:
                name = f"{{{slots.index(name)}}}"
            if place and name:
                collected.nodes[place, name] = node
                collected.raw[place, name] = raw
    return collected


def compare(
    context: ComparisonContext, old: Parameters, new: Parameters, where: str, *, flipped: bool
) -> None:
    """Report changes of the parameters of an operation. `flipped`: a webhook or callback."""
    for key, node in old.nodes.items():
        there = f"{where} /parameters/{key[0]}/{escape(_name(node))}"
        if not context.fields_sent.of(_name(node)):
            continue
        if key not in new.nodes:
            _report_removed(context, node, there, flipped=flipped)
        elif context.same_component(old.raw[key], new.raw[key]):
            place = old.raw[key]["$ref"].removeprefix("#")
            _default(context, node, new.nodes[key], place, flipped=flipped)
        else:
            single(context, node, new.nodes[key], there, flipped=flipped)
    for key, node in new.nodes.items():
        if key not in old.nodes:
            there = f"{where} /parameters/{key[0]}/{escape(_name(node))}"
            needed = (node.get("required") is True or key[0] == "path") and not flipped
            rule = "required-parameter-added" if needed else "parameter-added"
            verb = "must be sent now" if needed else "was added"
            context.add(rule, there, f"{key[0]} parameter {_name(node)} {verb}")


def _name(node: Node) -> str:
    return str(node.get("name", ""))


def _report_removed(context: ComparisonContext, node: Node, there: str, *, flipped: bool) -> None:
    end, notice = context.lifecycle.judge_removal(node)
    verb = "sent" if flipped else "read"
    message = f"{node.get('in')} parameter {_name(node)} is not {verb} any more, {notice}"
    context.add(f"parameter-{end}", there, message)


def single(context: ComparisonContext, old: Node, new: Node, where: str, *, flipped: bool) -> None:
    """Report changes of one parameter."""
    _default(context, old, new, where, flipped=flipped)
    if old == new and not context.thorough:
        return
    add = context.add
    in_path = old.get("in") == "path"
    before = old.get("required") is True or in_path
    after = new.get("required") is True or in_path
    if after != before:
        needed = after and not flipped
        rule = "parameter-became-required" if needed else "parameter-became-optional"
        add(rule, where, f"parameter {_name(new)} {'must' if after else 'need not'} be sent now")
    _style(context, old, new, where)
    if old.get("allowEmptyValue") is True and new.get("allowEmptyValue") is not True:
        add("parameter-empty-refused", where, f"parameter {_name(new)} cannot be empty any more")
    if old.get("allowReserved") is True and new.get("allowReserved") is not True:
        add("parameter-reserved-refused", where, f"reserved characters in {_name(new)} must be encoded now")
    subject = f"parameter {_name(new)}"
    context.lifecycle.compare(
        old, new, lambda kind, text: add(f"parameter-{kind}", where, f"{subject} {text}")
    )
    _values(context, old, new, where, flipped=flipped)


def defaults(context: ComparisonContext, old: Parameters, new: Parameters, where: str) -> None:
    """Report changed defaults of parameters whose text is equal: the schema that they refer to may state it."""
    for key, node in old.nodes.items():
        raw = old.raw[key]
        if key in new.nodes and context.fields_sent.of(_name(node)):
            there = f"{where} /parameters/{key[0]}/{escape(_name(node))}"
            place = raw["$ref"].removeprefix("#") if context.same_component(raw, new.raw[key]) else there
            _default(context, node, new.nodes[key], place, flipped=False)


def _default(context: ComparisonContext, old: Node, new: Node, where: str, *, flipped: bool) -> None:
    if flipped or old.get("required") is True:
        return  # a required parameter never uses its default
    absent = msgspec.UNSET
    views = context.schemas.view_pair(_schema(old), _schema(new))
    before, after = (view.carried.get("default", absent) for view in views)
    if before != after:
        texts = ["none" if value is absent else repr(value) for value in (before, after)]
        message = f"default of {_name(new)}: {texts[0]} became {texts[1]}"
        context.add("parameter-default-changed", where, message)


def _schema(node: Node) -> Any:
    """Return the schema of a parameter: its own, or that of its one media type."""
    contents = list(as_map(node.get("content")).values())
    return node.get("schema", as_map(contents[0]).get("schema", True) if contents else True)


def _style(context: ComparisonContext, old: Node, new: Node, where: str) -> None:
    before, after = _serialization(old), _serialization(new)
    if before == after or "schema" not in old or "schema" not in new:
        return
    views = context.schemas.view_pair(old["schema"], new["schema"])
    plain = any(view.only("string", "integer", "number", "boolean") for view in views)
    if plain and before[0] == after[0]:
        return  # `explode` applies to lists and objects only
    message = f"parameter {_name(new)} is serialized as {_style_text(after)} instead of {_style_text(before)}"
    context.add("parameter-style-changed", where, message)


def _serialization(node: Node) -> tuple[str, bool]:
    style = str(node.get("style") or _STYLES.get(str(node.get("in")), "simple"))
    explode = node.get("explode")
    return style, explode is True if explode is not None else style == "form"


def _style_text(style: tuple[str, bool]) -> str:
    return f"{style[0]}{', exploded' if style[1] else ''}"


def _values(context: ComparisonContext, old: Node, new: Node, where: str, *, flipped: bool) -> None:
    side: Side = "response" if flipped else "request"
    if "schema" in old and "schema" in new:
        fields = context.fields_sent.of(_name(old)) or EVERYTHING
        old_view, new_view = context.schemas.view_pair(old["schema"], new["schema"])
        # A list in one text would split a single value at its commas.
        splits = (
            _joins(new) and not (_joins(old) and old_view.admits("array")) and not new_view.admits("string")
        )
        place = SchemaPlace(where=f"{where}/schema", side=side, form=not splits, fields=fields)
        context.schemas.compare(old["schema"], new["schema"], place)
    elif "content" in old and "content" in new:
        media_types(context, old["content"], new["content"], where, side)
    elif ("schema" in old) != ("schema" in new):
        message = (
            f"parameter {_name(new)} is described by a media type on one side and by a schema on the other"
        )
        context.add("parameter-style-changed", where, message)


def _joins(node: Node) -> bool:
    return _serialization(node) != ("form", True)
