"""Parameters of operations and headers of responses: what must be sent, how it is written, what values it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from counterfoil.contracts.openapi.document import escape, listed
from counterfoil.contracts.openapi.rules import Side
from counterfoil.contracts.openapi.schema import Place
from counterfoil.contracts.openapi.view import View

if TYPE_CHECKING:
    from counterfoil.contracts.openapi.comparison import Comparison

_STYLES = {"query": "form", "cookie": "form", "path": "simple", "header": "simple"}
_NOT_PARAMETERS = ("accept", "content-type", "authorization")
"""Headers that OpenAPI describes elsewhere."""


class Parameters(msgspec.Struct):
    """The parameters of an operation: by place and name, and the raw nodes with their references."""

    nodes: dict[tuple[str, str], dict[str, Any]]
    raw: dict[tuple[str, str], Any]


def collect(
    comparison: Comparison, item: dict[str, Any], operation: dict[str, Any], path: str, *, fresh: bool
) -> Parameters:
    """Parameters of the path, then those of the operation, which stand above them. A parameter in the path is known
    by its position, so renaming it changes nothing."""
    document = comparison.new if fresh else comparison.old
    slots = _slots(path)
    found = Parameters({}, {})
    for source in (item, operation):
        for raw in listed(source.get("parameters")):
            node = document.follow(raw)
            place, name = str(node.get("in", "")), str(node.get("name", ""))
            if place == "header":
                name = name.lower()
                if name in _NOT_PARAMETERS:
                    continue
            if place == "path" and name in slots:
                name = f"{{{slots.index(name)}}}"
            if place and name:
                found.nodes[place, name] = node
                found.raw[place, name] = raw
    return found


def _slots(path: str) -> list[str]:
    return [part.split("}")[0] for part in path.split("{")[1:]]


def compare(comparison: Comparison, old: Parameters, new: Parameters, where: str, *, flipped: bool) -> None:
    """Tell what changes in the parameters of an operation. `flipped` for calls that the service makes."""
    for key, node in old.nodes.items():
        there = f"{where} /parameters/{key[0]}/{escape(_name(node))}"
        if not comparison.fields_sent.of(_name(node)):
            continue
        if key in new.nodes:
            if comparison.told(old.raw[key], new.raw[key]):
                continue
            single(comparison, node, new.nodes[key], there, flipped=flipped)
        else:
            _removed(comparison, node, there, flipped=flipped)
    for key, node in new.nodes.items():
        if key not in old.nodes:
            there = f"{where} /parameters/{key[0]}/{escape(_name(node))}"
            needed = (node.get("required") is True or key[0] == "path") and not flipped
            rule = "required-parameter-added" if needed else "parameter-added"
            said = "must be sent now" if needed else "is new"
            comparison.findings.add(rule, there, f"{key[0]} parameter {_name(node)} {said}")


def _name(node: dict[str, Any]) -> str:
    return str(node.get("name", ""))


def _removed(comparison: Comparison, node: dict[str, Any], there: str, *, flipped: bool) -> None:
    end, said = comparison.lifecycle.removed(node)
    reads = "sent" if flipped else "read"
    comparison.findings.add(
        f"parameter-{end}", there, f"{node.get('in')} parameter {_name(node)} is not {reads} any more, {said}"
    )


def single(
    comparison: Comparison, old: dict[str, Any], new: dict[str, Any], where: str, *, flipped: bool
) -> None:
    """Tell what changes in one parameter."""
    if old == new and not comparison.thorough:
        return
    add = comparison.findings.add
    in_path = old.get("in") == "path"
    before = old.get("required") is True or in_path
    after = new.get("required") is True or in_path
    if after != before:
        needed = after and not flipped
        rule = "parameter-became-required" if needed else "parameter-became-optional"
        add(rule, where, f"parameter {_name(new)} {'must' if after else 'need not'} be sent now")
    _style(comparison, old, new, where)
    if old.get("allowEmptyValue") is True and new.get("allowEmptyValue") is not True:
        add("parameter-empty-refused", where, f"parameter {_name(new)} cannot be empty any more")
    if old.get("allowReserved") is True and new.get("allowReserved") is not True:
        add("parameter-reserved-refused", where, f"reserved characters in {_name(new)} must be encoded now")
    comparison.lifecycle.compare(
        old, new, lambda kind, message: add(f"parameter-{kind}", where, f"parameter {_name(new)} {message}")
    )
    _default(comparison, old, new, where, flipped=flipped)
    _values(comparison, old, new, where, flipped=flipped)


def _default(
    comparison: Comparison, old: dict[str, Any], new: dict[str, Any], where: str, *, flipped: bool
) -> None:
    if flipped or old.get("required") is True or "schema" not in old or "schema" not in new:
        return  # what is always sent needs no default
    nothing = msgspec.UNSET
    before = comparison.schemas.view(old["schema"], fresh=False).carried.get("default", nothing)
    after = comparison.schemas.view(new["schema"], fresh=True).carried.get("default", nothing)
    if before != after:
        shown = ["none" if value is nothing else repr(value) for value in (before, after)]
        comparison.findings.add(
            "parameter-default-changed", where, f"default of {_name(new)}: {shown[0]} became {shown[1]}"
        )


def _style(comparison: Comparison, old: dict[str, Any], new: dict[str, Any], where: str) -> None:
    before, after = _written(old), _written(new)
    if before == after or "schema" not in old or "schema" not in new:
        return
    views = (
        comparison.schemas.view(old["schema"], fresh=False),
        comparison.schemas.view(new["schema"], fresh=True),
    )
    plain = any(view.only("string", "integer", "number", "boolean") for view in views)
    if plain and before[0] == after[0]:
        return  # exploding says how lists and objects are written, and nothing of single values
    comparison.findings.add(
        "parameter-style-changed", where,
        f"parameter {_name(new)} is written {_said(after)} instead of {_said(before)}",
    )  # fmt: skip


def _written(node: dict[str, Any]) -> tuple[str, bool]:
    style = str(node.get("style") or _STYLES.get(str(node.get("in")), "simple"))
    explode = node.get("explode")
    return style, explode is True if explode is not None else style == "form"


def _said(written: tuple[str, bool]) -> str:
    return f"{written[0]}{', exploded' if written[1] else ''}"


def _values(
    comparison: Comparison, old: dict[str, Any], new: dict[str, Any], where: str, *, flipped: bool
) -> None:
    side: Side = "response" if flipped else "request"
    if "schema" in old and "schema" in new:
        fields = comparison.fields_sent.of(_name(old))
        place = Place(where=f"{where}/schema", side=side, form=True)
        if fields is not None:
            place = msgspec.structs.replace(place, fields=fields)
        old_schema, new_schema = old["schema"], new["schema"]
        if _joins(new) and not _joins(old, comparison.schemas.view(old_schema, fresh=False)):
            # A list that is written in one text would take a single value apart at its commas.
            place = msgspec.structs.replace(place, form=False)
            if comparison.schemas.view(new_schema, fresh=True).admits("string"):
                place = msgspec.structs.replace(place, form=True)
        comparison.schemas.compare(old_schema, new_schema, place)
    elif "content" in old and "content" in new:
        comparison.media_types(old["content"], new["content"], where, side)
    elif ("schema" in old) != ("schema" in new):
        comparison.findings.add(
            "parameter-style-changed", where, f"parameter {_name(new)} is described as another kind of text"
        )


def _joins(node: dict[str, Any], view: View | None = None) -> bool:
    style, explode = _written(node)
    return not (style == "form" and explode) and (view is None or view.admits("array"))


def headers(comparison: Comparison, old: Any, new: Any, where: str) -> None:
    """Tell what changes in the headers of a response."""
    before = {str(name).lower(): node for name, node in comparison.mapping(old, where).items()}
    after = {str(name).lower(): node for name, node in comparison.mapping(new, where).items()}
    for name in sorted({*before, *after} - {"content-type"}):
        there = f"{where}/headers/{escape(name)}"
        if name not in after:
            needed = comparison.old.follow(before[name]).get("required") is True
            rule = "required-response-header-removed" if needed else "response-header-removed"
            comparison.findings.add(rule, there, f"header {name} is gone")
        elif name not in before:
            comparison.findings.add("response-header-added", there, f"header {name} is new")
        elif not comparison.told(before[name], after[name]):
            header(comparison, comparison.old.follow(before[name]), comparison.new.follow(after[name]), there)


def header(comparison: Comparison, old: dict[str, Any], new: dict[str, Any], where: str) -> None:
    """Tell what changes in one header of a response."""
    if old == new:
        return
    was, now = old.get("required") is True, new.get("required") is True
    if was and not now:
        comparison.findings.add("response-header-became-optional", where, "the header may be missing now")
    elif now and not was:
        comparison.findings.add("response-header-became-required", where, "the header is always there now")
    if (old.get("explode") is True) != (new.get("explode") is True):
        views = [
            comparison.schemas.view(node.get("schema", True), fresh=fresh)
            for node, fresh in ((old, False), (new, True))
        ]
        if not all(view.only("string", "integer", "number", "boolean") for view in views):
            comparison.findings.add(
                "response-header-style-changed", where, "lists or objects in the header are written otherwise"
            )
    if "schema" in old and "schema" in new:
        comparison.schemas.compare(
            old["schema"], new["schema"], Place(where=f"{where}/schema", side="response", form=True)
        )
    elif "content" in old and "content" in new:
        comparison.media_types(old["content"], new["content"], where, "response")
