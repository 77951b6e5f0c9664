"""Bodies of requests and responses: presence, response statuses, headers, media types and their schemas."""

from __future__ import annotations

from typing import Any

from counterfoil.contracts.json_parts import Node, as_map, escape
from counterfoil.contracts.openapi.context import ComparisonContext
from counterfoil.contracts.openapi.rules import Side
from counterfoil.contracts.openapi.schema import SchemaPlace

_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


def request(context: ComparisonContext, old: Any, new: Any, where: str, side: Side) -> None:
    """Report changes of the body of a request."""
    if old is None and new is None:
        return
    where = f"{where} /requestBody"
    add = context.add
    if old is None:
        needed = context.new.follow(new).get("required") is True
        if side == "response":
            add("response-body-added", where, "a body is sent now")
        elif needed:
            add("required-request-body-added", where, "a body must be sent now")
        else:
            add("request-body-added", where, "a body may be sent now")
    elif new is None:
        add(f"{side}-body-removed", where, "the body was removed")
    elif not context.same_component(old, new):
        body(context, context.old.follow(old), context.new.follow(new), where, side)


def body(context: ComparisonContext, old: Node, new: Node, where: str, side: Side) -> None:
    """Report changes of one body."""
    before, after = old.get("required") is True, new.get("required") is True
    if before != after:
        word = "required" if after else "optional"
        context.add(f"{side}-body-became-{word}", where, f"the body is {word} now")
    media_types(context, old.get("content"), new.get("content"), where, side)


def responses(context: ComparisonContext, old: Any, new: Any, where: str, side: Side) -> None:
    """Report changes of the responses of an operation.

    `side` is `request` for a webhook or callback: there the clients send the responses.
    """
    before = {str(name): node for name, node in context.mapping(old, where).items()}
    after = {str(name): node for name, node in context.mapping(new, where).items()}
    for status, node in before.items():
        if status.startswith("x-"):
            continue
        there = f"{where} /responses/{status}"
        match = _status(status, after)
        if match is None:
            kind = "success" if status.startswith("2") else "other"
            if side == "response":
                context.add(f"response-{kind}-status-removed", there, f"status {status} was removed")
        elif not context.same_component(node, after[match]):
            response(context, context.old.follow(node), context.new.follow(after[match]), there, side)
    for status in after:
        if not status.startswith("x-") and _status(status, before) is None and side == "response":
            kind = "success" if status.startswith("2") else "other"
            there = f"{where} /responses/{status}"
            context.add(f"response-{kind}-status-added", there, f"status {status} was added")


def _status(status: str, responses: Node) -> str | None:
    """Return the key of the response for a status: the status or its range, but not `default`."""
    for candidate in (status, f"{status[:1]}XX", f"{status[:1]}xx"):
        if candidate in responses:
            return candidate
    return None


def response(context: ComparisonContext, old: Node, new: Node, where: str, side: Side) -> None:
    """Report changes of one response."""
    if old == new and not context.thorough:
        return
    if side == "response":
        headers(context, old.get("headers"), new.get("headers"), where)
    before, after = old.get("content"), new.get("content")
    if bool(before) == bool(after):
        media_types(context, before, after, where, side)
    elif side == "response" and before:
        context.add("response-body-removed", where, "the response has no body any more")
    elif side == "response":
        context.add("response-body-added", where, "the response has a body now")


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


def header(context: ComparisonContext, old: Node, new: Node, where: str) -> None:
    """Report changes of one header of a response."""
    if old == new:
        return
    was, now = old.get("required") is True, new.get("required") is True
    if was and not now:
        context.add("response-header-became-optional", where, "the header is optional now")
    elif now and not was:
        context.add("response-header-became-required", where, "the header is always sent now")
    if (old.get("explode") is True) != (new.get("explode") is True):
        views = context.schemas.view_pair(old.get("schema", True), new.get("schema", True))
        if not all(view.only("string", "integer", "number", "boolean") for view in views):
            message = "lists or objects in the header are serialized differently"
            context.add("response-header-style-changed", where, message)
    if "schema" in old and "schema" in new:
        place = SchemaPlace(where=f"{where}/schema", side="response", form=True)
        context.schemas.compare(old["schema"], new["schema"], place)
    elif "content" in old and "content" in new:
        media_types(context, old["content"], new["content"], where, "response")


def media_types(context: ComparisonContext, old: Any, new: Any, where: str, side: Side) -> None:
    """Report changes of the media types of a body or a parameter, and of their schemas."""
    before = {_without_charset(str(name)): node for name, node in context.mapping(old, where).items()}
    after = {_without_charset(str(name)): node for name, node in context.mapping(new, where).items()}
    matched = set()
    for name, node in before.items():
        other = _covering(name, after)
        there = f"{where}/content/{escape(other or name)}"
        if other is not None:
            matched.add(other)
            _media_type(context, node, after[other], there, name, side)
        elif side == "request" or not _has_narrower(name, after):
            context.add(f"{side}-media-type-removed", there, f"{name} was removed")
    for name, node in after.items():
        if name in matched:
            continue
        wider, there = _covering(name, before), f"{where}/content/{escape(name)}"
        if wider is not None and side == "response":
            _media_type(context, before[wider], node, there, name, side)
        else:
            context.add(f"{side}-media-type-added", there, f"{name} was added")


def _without_charset(name: str) -> str:
    """Return a media type without its character set, which JSON and forms do not have."""
    kind, *parameters = (part.strip() for part in name.lower().split(";"))
    return ";".join([kind, *(part for part in parameters if part and not part.startswith("charset"))])


def _covering(name: str, ranges: Node) -> str | None:
    kind = name.split("/")[0]
    for candidate in (name, name.split(";")[0], f"{kind}/*", "*/*"):
        if candidate in ranges:
            return candidate
    return None


def _has_narrower(name: str, others: Node) -> bool:
    """Return true if another media type falls under this range, so that fewer are delivered."""
    if name == "*/*":
        return bool(others)
    return name.endswith("/*") and any(other.startswith(name[:-1]) for other in others)


def _media_type(context: ComparisonContext, old: Any, new: Any, where: str, name: str, side: Side) -> None:
    old, new = as_map(old), as_map(new)
    if old == new and not context.thorough:
        return
    form = name.split(";")[0] in _FORMS
    fields = context.fields_sent if side == "request" else context.fields_read
    place = SchemaPlace(where=f"{where}/schema", side=side, form=form, fields=fields)
    context.schemas.compare(old.get("schema", True), new.get("schema", True), place)
    before, after = _encodings(old), _encodings(new)
    if before != after:
        views = context.schemas.view_pair(old.get("schema", True), new.get("schema", True))
        # Encodings of added and removed fields are not compared: the field itself is reported.
        names = (set(views[0].properties) & set(views[1].properties)) | (set(before) & set(after))
        if any(before.get(name, {}) != after.get(name, {}) for name in names):
            context.add(f"{side}-encoding-changed", where, "the encoding of a part of the body changed")


def _encodings(media_type: Node) -> dict[str, Node]:
    """Return the encodings of fields, without what holds by default."""
    encodings = {}
    for field, raw in as_map(media_type.get("encoding")).items():
        node = as_map(raw)
        default = {
            "style": "form",
            "explode": node.get("style", "form") == "form",
            "allowReserved": False,
            "headers": {},
        }
        encodings[str(field)] = {key: value for key, value in node.items() if default.get(key) != value}
    return encodings
