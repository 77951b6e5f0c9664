"""Parameters of operations and headers of responses: presence, serialization and values."""

from __future__ import annotations

from typing import Any

import msgspec

from counterfoil.contracts.json_parts import as_list, escape
from counterfoil.contracts.openapi.context import ComparisonContext
from counterfoil.contracts.openapi.media_types import media_types
from counterfoil.contracts.openapi.rules import Side
from counterfoil.contracts.openapi.schema import SchemaPlace
from counterfoil.contracts.openapi.view import View

_STYLES = {"query": "form", "cookie": "form", "path": "simple", "header": "simple"}
_NOT_PARAMETERS = ("accept", "content-type", "authorization")
"""Header names that OpenAPI does not treat as parameters."""


class Parameters(msgspec.Struct):
    """Parameters of an operation by place and name: resolved nodes, and raw nodes with their references."""

    nodes: dict[tuple[str, str], dict[str, Any]]
    raw: dict[tuple[str, str], Any]


def collect(
    context: ComparisonContext, item: dict[str, Any], operation: dict[str, Any], path: str, *, fresh: bool
) -> Parameters:
    """Return the parameters of the path, overridden by those of the operation.

    A path parameter is identified by its position, so renaming it is no change.
    """
    document = context.new if fresh else context.old
    slots = _slots(path)
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


def _slots(path: str) -> list[str]:
    return [part.split("}")[0] for part in path.split("{")[1:]]


def compare(
    context: ComparisonContext, old: Parameters, new: Parameters, where: str, *, flipped: bool
) -> None:
    """Report changes of the parameters of an operation. `flipped`: a webhook or callback."""
    for key, node in old.nodes.items():
        there = f"{where} /parameters/{key[0]}/{escape(_name(node))}"
        if not context.fields_sent.of(_name(node)):
            continue
        if key in new.nodes:
            if context.same_component(old.raw[key], new.raw[key]):
                continue
            single(context, node, new.nodes[key], there, flipped=flipped)
        else:
            _removed(context, node, there, flipped=flipped)
    for key, node in new.nodes.items():
        if key not in old.nodes:
            there = f"{where} /parameters/{key[0]}/{escape(_name(node))}"
            needed = (node.get("required") is True or key[0] == "path") and not flipped
            rule = "required-parameter-added" if needed else "parameter-added"
            verb = "must be sent now" if needed else "was added"
            context.add(rule, there, f"{key[0]} parameter {_name(node)} {verb}")


def _name(node: dict[str, Any]) -> str:
    return str(node.get("name", ""))


def _removed(context: ComparisonContext, node: dict[str, Any], there: str, *, flipped: bool) -> None:
    end, notice = context.lifecycle.removed(node)
    verb = "sent" if flipped else "read"
    context.add(
        f"parameter-{end}",
        there,
        f"{node.get('in')} parameter {_name(node)} is not {verb} any more, {notice}",
    )


def single(
    context: ComparisonContext, old: dict[str, Any], new: dict[str, Any], where: str, *, flipped: bool
) -> None:
    """Report changes of one parameter."""
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
    context.lifecycle.compare(
        old, new, lambda kind, message: add(f"parameter-{kind}", where, f"parameter {_name(new)} {message}")
    )
    _default(context, old, new, where, flipped=flipped)
    _values(context, old, new, where, flipped=flipped)


def _default(
    context: ComparisonContext, old: dict[str, Any], new: dict[str, Any], where: str, *, flipped: bool
) -> None:
    if flipped or old.get("required") is True or "schema" not in old or "schema" not in new:
        return  # a required parameter never uses its default
    absent = msgspec.UNSET
    before = context.schemas.view(old["schema"], fresh=False).carried.get("default", absent)
    after = context.schemas.view(new["schema"], fresh=True).carried.get("default", absent)
    if before != after:
        texts = ["none" if value is absent else repr(value) for value in (before, after)]
        context.add(
            "parameter-default-changed", where, f"default of {_name(new)}: {texts[0]} became {texts[1]}"
        )


def _style(context: ComparisonContext, old: dict[str, Any], new: dict[str, Any], where: str) -> None:
    before, after = _serialization(old), _serialization(new)
    if before == after or "schema" not in old or "schema" not in new:
        return
    views = (
        context.schemas.view(old["schema"], fresh=False),
        context.schemas.view(new["schema"], fresh=True),
    )
    plain = any(view.only("string", "integer", "number", "boolean") for view in views)
    if plain and before[0] == after[0]:
        return  # `explode` applies to lists and objects only
    context.add(
        "parameter-style-changed", where,
        f"parameter {_name(new)} is serialized as {_style_text(after)} instead of {_style_text(before)}",
    )  # fmt: skip


def _serialization(node: dict[str, Any]) -> tuple[str, bool]:
    style = str(node.get("style") or _STYLES.get(str(node.get("in")), "simple"))
    explode = node.get("explode")
    return style, explode is True if explode is not None else style == "form"


def _style_text(style: tuple[str, bool]) -> str:
    return f"{style[0]}{', exploded' if style[1] else ''}"


def _values(
    context: ComparisonContext, old: dict[str, Any], new: dict[str, Any], where: str, *, flipped: bool
) -> None:
    side: Side = "response" if flipped else "request"
    if "schema" in old and "schema" in new:
        fields = context.fields_sent.of(_name(old))
        place = SchemaPlace(where=f"{where}/schema", side=side, form=True)
        if fields is not None:
            place = msgspec.structs.replace(place, fields=fields)
        old_schema, new_schema = old["schema"], new["schema"]
        if _joins(new) and not _joins(old, context.schemas.view(old_schema, fresh=False)):
            # A list in one text would split a single value at its commas.
            place = msgspec.structs.replace(place, form=False)
            if context.schemas.view(new_schema, fresh=True).admits("string"):
                place = msgspec.structs.replace(place, form=True)
        context.schemas.compare(old_schema, new_schema, place)
    elif "content" in old and "content" in new:
        media_types(context, old["content"], new["content"], where, side)
    elif ("schema" in old) != ("schema" in new):
        context.add(
            "parameter-style-changed",
            where,
            f"parameter {_name(new)} is described by a media type on one side and by a schema on the other",
        )


def _joins(node: dict[str, Any], view: View | None = None) -> bool:
    style, explode = _serialization(node)
    return not (style == "form" and explode) and (view is None or view.admits("array"))


def headers(context: ComparisonContext, old: Any, new: Any, where: str) -> None:
    """Report changes of the headers of a response."""
    before = {str(name).lower(): node for name, node in context.mapping(old, where).items()}
    after = {str(name).lower(): node for name, node in context.mapping(new, where).items()}
    for name in sorted({*before, *after} - {"content-type"}):
        there = f"{where}/headers/{escape(name)}"
        if name not in after:
            needed = context.old.follow(before[name]).get("required") is True
            rule = "required-response-header-removed" if needed else "response-header-removed"
            context.add(rule, there, f"header {name} was removed")
        elif name not in before:
            context.add("response-header-added", there, f"header {name} was added")
        elif not context.same_component(before[name], after[name]):
            header(context, context.old.follow(before[name]), context.new.follow(after[name]), there)


def header(context: ComparisonContext, old: dict[str, Any], new: dict[str, Any], where: str) -> None:
    """Report changes of one header of a response."""
    if old == new:
        return
    was, now = old.get("required") is True, new.get("required") is True
    if was and not now:
        context.add("response-header-became-optional", where, "the header is optional now")
    elif now and not was:
        context.add("response-header-became-required", where, "the header is always sent now")
    if (old.get("explode") is True) != (new.get("explode") is True):
        views = [
            context.schemas.view(node.get("schema", True), fresh=fresh)
            for node, fresh in ((old, False), (new, True))
        ]
        if not all(view.only("string", "integer", "number", "boolean") for view in views):
            context.add(
                "response-header-style-changed",
                where,
                "lists or objects in the header are serialized differently",
            )
    if "schema" in old and "schema" in new:
        context.schemas.compare(
            old["schema"], new["schema"], SchemaPlace(where=f"{where}/schema", side="response", form=True)
        )
    elif "content" in old and "content" in new:
        media_types(context, old["content"], new["content"], where, "response")
