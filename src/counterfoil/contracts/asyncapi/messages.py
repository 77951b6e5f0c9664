"""Messages: which kinds travel, and their payloads and headers by the way that they travel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from counterfoil.contracts.asyncapi.reading import Flow, Message, target
from counterfoil.contracts.openapi.reads import EVERYTHING, Use
from counterfoil.contracts.openapi.rules import Side
from counterfoil.contracts.openapi.schema import Place

if TYPE_CHECKING:
    from counterfoil.contracts.asyncapi.channels import Comparison

_JSON = ("application/vnd.aai.asyncapi", "application/schema+json", "application/schema+yaml",
         "application/vnd.oai.openapi")  # fmt: skip


def flow(comparison: Comparison, old: Flow, new: Flow) -> None:
    """Tell what changes in the messages of a flow."""
    left, right = list(old.messages), list(new.messages)
    pairs = []
    for same in (_same_name, _same_place):
        for one in list(left):
            for other in right:
                if same(one, other):
                    pairs.append((one, other))
                    left.remove(one)
                    right.remove(other)
                    break
    if len(left) == len(right) == 1:
        pairs.append((left.pop(), right.pop()))
    for one, other in pairs:
        message(comparison, one, other, new.side)
    for gone in left:
        comparison.findings.add(
            f"{new.side}-message-removed",
            gone.where,
            f"message {gone.name} is gone from {new.name}",
            detail=new.name,
        )
    for come in right if comparison.declared is None else ():
        comparison.findings.add(
            f"{new.side}-message-added",
            come.where,
            f"message {come.name} is new on {new.name}",
            detail=new.name,
        )


def _same_name(one: Message, other: Message) -> bool:
    return bool(one.name) and one.name == other.name


def _same_place(one: Message, other: Message) -> bool:
    return one.where == other.where


def message(comparison: Comparison, old: Message, new: Message, side: Side) -> None:
    """Tell what changes in one kind of message."""
    add, where = comparison.findings.add, new.where
    before = old.body.get("contentType", comparison.old.root.get("defaultContentType"))
    after = new.body.get("contentType", comparison.new.root.get("defaultContentType"))
    if before != after and (before or "application/json") != (after or "application/json"):
        add("message-content-type-changed", f"{where}/contentType", f"{before} became {after}")
    comparison.words(old.body, new.body, where)
    comparison.bindings(old.body, new.body, where, "message")
    one, other = (
        target(document, node.body.get("correlationId"), where)[0].get("location")
        for document, node in ((comparison.old, old), (comparison.new, new))
    )
    if one is not None and one != other:
        add("message-correlation-changed", f"{where}/correlationId", f"{one} became {other}")
    comparison.lifecycle.compare(
        old.body,
        new.body,
        lambda kind, said: comparison.findings.schema(side, kind, where, f"the message {said}"),
    )
    use = (comparison.declared or {}).get(old.name, Use())
    fields = use.sends if side == "request" else use.reads
    for part in ("payload", "headers"):
        place = Place(where=f"{where}/{part}", side=side, fields=fields if part == "payload" else EVERYTHING)
        _schema(comparison, old.body, new.body, part, place)


def _schema(
    comparison: Comparison, old: dict[str, Any], new: dict[str, Any], part: str, place: Place
) -> None:
    before, first = _described(comparison, old, part, fresh=False)
    after, second = _described(comparison, new, part, fresh=True)
    if before is None and after is None:
        return
    if first.split(";")[0] != second.split(";")[0]:
        comparison.findings.add("message-schema-format-changed", place.where, f"{first} became {second}")
    elif first and not first.startswith(_JSON):
        if before != after:
            comparison.findings.add(
                "message-payload-undecided", place.where, f"described in {first}, which is not compared"
            )
    else:
        comparison.schemas.compare(
            True if before is None else before,
            True if after is None else after,
            place,
        )


def _described(comparison: Comparison, body: dict[str, Any], part: str, *, fresh: bool) -> tuple[Any, str]:
    """A schema and the language that it is written in; empty for AsyncAPI's own."""
    node = body.get(part)
    document = comparison.new if fresh else comparison.old
    found, _ = target(document, node, "")
    if "schemaFormat" in found:
        return found.get("schema"), str(found["schemaFormat"])
    return node, str(body.get("schemaFormat", "")) if part == "payload" else ""


def parameter(comparison: Comparison, old: dict[str, Any], new: dict[str, Any], where: str) -> None:
    """Tell what changes in a parameter of an address, which those fill in who look for the channel."""
    one = old.get("schema", _values(old))
    other = new.get("schema", _values(new))
    comparison.schemas.compare(one, other, Place(where=where, side="request", form=True))


def _values(node: dict[str, Any]) -> dict[str, Any]:
    """Version 3 lists the values of a parameter beside it."""
    listed = node.get("enum")
    return {"type": "string", "enum": listed} if isinstance(listed, list) else {"type": "string"}
