"""Messages of a flow: added and removed kinds, and their payloads and headers by direction."""

from __future__ import annotations

from typing import Any

from counterfoil.contracts.asyncapi.context import AsyncApiContext
from counterfoil.contracts.asyncapi.reading import Flow, Message, target
from counterfoil.contracts.json_parts import Node
from counterfoil.contracts.openapi.reads import EVERYTHING, DeclaredUse
from counterfoil.contracts.openapi.rules import Side
from counterfoil.contracts.openapi.schema import SchemaPlace

_JSON = ("application/vnd.aai.asyncapi", "application/schema+json", "application/schema+yaml",
         "application/vnd.oai.openapi")  # fmt: skip


def _same_name(old: Message, new: Message) -> bool:
    return bool(old.name) and old.name == new.name


def _same_place(old: Message, new: Message) -> bool:
    return old.where == new.where


def flow(context: AsyncApiContext, old: Flow, new: Flow) -> None:
    """Report changes of the messages of a flow."""
    removed, added = list(old.messages), list(new.messages)
    pairs = []
    for same in (_same_name, _same_place):
        for before in list(removed):
            for after in added:
                if same(before, after):
                    pairs.append((before, after))
                    removed.remove(before)
                    added.remove(after)
                    break
    if len(removed) == len(added) == 1:
        pairs.append((removed.pop(), added.pop()))
    for before, after in pairs:
        message(context, before, after, new.side)
    for before in removed:
        context.add(
            f"{new.side}-message-removed",
            before.where,
            f"message {before.name} was removed from {new.name}",
            detail=new.name,
        )
    for after in added if context.declared is None else ():
        context.add(
            f"{new.side}-message-added",
            after.where,
            f"message {after.name} was added to {new.name}",
            detail=new.name,
        )


def message(context: AsyncApiContext, old: Message, new: Message, side: Side) -> None:
    """Report changes of one kind of message."""
    add, where = context.add, new.where
    before = old.body.get("contentType", context.old.root.get("defaultContentType"))
    after = new.body.get("contentType", context.new.root.get("defaultContentType"))
    if before != after and (before or "application/json") != (after or "application/json"):
        add("message-content-type-changed", f"{where}/contentType", f"content type {before} became {after}")
    context.texts(old.body, new.body, where)
    context.bindings(old.body, new.body, where, "message")
    old_location, new_location = (
        target(document, node.body.get("correlationId"), where)[0].get("location")
        for document, node in ((context.old, old), (context.new, new))
    )
    if old_location is not None and old_location != new_location:
        add(
            "message-correlation-changed",
            f"{where}/correlationId",
            f"correlation id location {old_location} became {new_location}",
        )
    context.lifecycle.compare(
        old.body,
        new.body,
        lambda kind, text: context.findings.schema(side, kind, where, f"the message {text}"),
    )
    use = (context.declared or {}).get(old.name, DeclaredUse())
    fields = use.sends if side == "request" else use.reads
    for part in ("payload", "headers"):
        selected = fields if part == "payload" else EVERYTHING
        place = SchemaPlace(where=f"{where}/{part}", side=side, fields=selected)
        _schema(context, old.body, new.body, part, place)


def _schema(context: AsyncApiContext, old: Node, new: Node, part: str, place: SchemaPlace) -> None:
    before, old_format = _payload_schema(context, old, part, fresh=False)
    after, new_format = _payload_schema(context, new, part, fresh=True)
    if before is None and after is None:
        return
    if old_format.split(";")[0] != new_format.split(";")[0]:
        context.add(
            "message-schema-format-changed", place.where, f"schema format {old_format} became {new_format}"
        )
    elif old_format and not old_format.startswith(_JSON):
        if before != after:
            context.add("message-payload-undecided", place.where, f"schemas in {old_format} are not compared")
    else:
        context.schemas.compare(True if before is None else before, True if after is None else after, place)


def _payload_schema(context: AsyncApiContext, body: Node, part: str, *, fresh: bool) -> tuple[Any, str]:
    """Return a schema and its schema format; empty for the schemas of AsyncAPI itself."""
    node = body.get(part)
    document = context.new if fresh else context.old
    resolved, _ = target(document, node, "")
    if "schemaFormat" in resolved:
        return resolved.get("schema"), str(resolved["schemaFormat"])
    return node, str(body.get("schemaFormat", "")) if part == "payload" else ""


def parameter(context: AsyncApiContext, old: Node, new: Node, where: str) -> None:
    """Report changes of a parameter of a channel address. Clients fill it in, so it counts as a request."""
    before = old.get("schema", _values(old))
    after = new.get("schema", _values(new))
    context.schemas.compare(before, after, SchemaPlace(where=where, side="request", form=True))


def _values(node: Node) -> Node:
    """Return the schema of a parameter of version 3, which lists its values directly."""
    enum = node.get("enum")
    return {"type": "string", "enum": enum} if isinstance(enum, list) else {"type": "string"}
