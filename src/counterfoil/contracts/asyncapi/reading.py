"""AsyncAPI 2 and 3 read into the same values: channels by address, flows of messages by direction."""

from __future__ import annotations

from typing import Any

import msgspec

from counterfoil.contracts.json_parts import Node, as_list, as_map, escape, unescape
from counterfoil.contracts.openapi.document import ApiDescription, UnresolvedReference
from counterfoil.contracts.openapi.rules import Side

ACTIONS: dict[str, Side] = {
    "publish": "request",
    "receive": "request",
    "subscribe": "response",
    "send": "response",
}
"""Version 2 names what clients do to the application, version 3 what the application does."""


class Message(msgspec.Struct):
    """A kind of message, merged with its traits, and the place where it is described."""

    name: str
    where: str
    body: Node


class Channel(msgspec.Struct):
    """A channel by its address."""

    name: str
    address: str | None
    where: str
    body: Node


class Flow(msgspec.Struct):
    """Messages that travel in one direction on a channel."""

    name: str
    action: str
    side: Side
    where: str
    channel: str
    body: Node
    messages: list[Message]
    implied: bool = False
    """No operation describes it: it stands for a channel that no operation uses."""


class Description(msgspec.Struct):
    """Channels and flows of one description."""

    channels: dict[str, Channel]
    flows: dict[str, Flow]


def read(document: ApiDescription) -> Description:
    """Return the channels and flows of a description of either version."""
    if str(document.root.get("asyncapi", "")).startswith("2"):
        return _read_version_2(document)
    return _read_version_3(document)


def target(document: ApiDescription, node: Any, where: str) -> tuple[Node, str]:
    """Follow all references. Return the object, empty if there is none, and the place where it is described."""
    visited = set()
    while isinstance(node, dict) and isinstance(node.get("$ref"), str):
        reference = node["$ref"]
        if reference in visited:
            return {}, where
        visited.add(reference)
        try:
            node = document.step(reference)
        except UnresolvedReference:
            return {}, where
        where = reference.removeprefix("#")
    return as_map(node), where


def message(document: ApiDescription, name: str, raw: Any, where: str) -> Message:
    """Return a message merged with its traits; what the message states itself wins."""
    body, where = target(document, raw, where)
    merged = _with_traits(document, body, where)
    return Message(str(body.get("name") or body.get("messageId") or name), where, merged)


def _read_version_2(document: ApiDescription) -> Description:
    description = Description({}, {})
    for address, raw in document.section("channels").items():
        address = str(address)
        where = f"/channels/{escape(address)}"
        body, _ = target(document, raw, where)
        description.channels[address] = Channel(address, address, where, body)
        for action in ("publish", "subscribe"):
            if not isinstance(body.get(action), dict):
                continue
            operation = body[action]
            there = f"{where}/{action}"
            resolved, place = target(document, operation.get("message"), f"{there}/message")
            alternatives = resolved.get("oneOf")
            if isinstance(alternatives, list):
                messages = [
                    message(document, _last(variant, str(position)), variant, f"{place}/oneOf/{position}")
                    for position, variant in enumerate(alternatives)
                ]
            elif "message" in operation:
                raw_message = operation["message"]
                messages = [message(document, _last(raw_message, ""), raw_message, f"{there}/message")]
            else:
                messages = []
            name = f"{action} {address}"
            description.flows[name] = Flow(
                name,
                action,
                ACTIONS[action],
                there,
                address,
                _with_traits(document, operation, there),
                messages,
            )
    return description


def _read_version_3(document: ApiDescription) -> Description:
    description = Description({}, {})
    used = set()
    for name, raw in document.section("channels").items():
        where = f"/channels/{escape(str(name))}"
        body, _ = target(document, raw, where)
        address = None if body.get("address") is None else str(body["address"])
        description.channels[str(name)] = Channel(str(name), address, where, body)
    for name, raw in document.section("operations").items():
        where = f"/operations/{escape(str(name))}"
        body, _ = target(document, raw, where)
        action = str(body.get("action", ""))
        if action not in ACTIONS:
            continue
        on = _channel(document, body)
        used.add(on)
        description.flows[str(name)] = Flow(
            str(name), action, ACTIONS[action], where, on, _with_traits(document, body, where),
            _messages(document, body, description.channels.get(on), where),
        )  # fmt: skip
        reply = body.get("reply")
        if isinstance(reply, dict) and "channel" in reply:
            back = _channel(document, reply)
            used.add(back)
            side: Side = "request" if ACTIONS[action] == "response" else "response"
            description.flows[f"reply to {name}"] = Flow(
                f"reply to {name}", f"reply to {action}", side, f"{where}/reply", back, {},
                _messages(document, reply, description.channels.get(back), f"{where}/reply"),
            )  # fmt: skip
    for name, channel in description.channels.items():
        if name in used:
            continue
        # No operation states the direction, so both are compared.
        for action in ("send", "receive"):
            description.flows[f"{action} on {name}"] = Flow(
                f"{action} on {name}", action, ACTIONS[action], channel.where, name, {},
                _messages(document, {}, channel, channel.where), implied=True,
            )  # fmt: skip
    return description


def _with_traits(document: ApiDescription, body: Node, where: str) -> Node:
    merged: Node = {}
    for trait in as_list(body.get("traits")):
        merged |= target(document, trait, where)[0]
    return merged | body


def _channel(document: ApiDescription, body: Node) -> str:
    reference = body.get("channel")
    name = _last(reference, "")
    if isinstance(reference, dict) and name and f"#/channels/{escape(name)}" != reference["$ref"]:
        return target(document, reference, "")[1].rsplit("/", 1)[-1]
    return name


def _messages(document: ApiDescription, body: Node, channel: Channel | None, where: str) -> list[Message]:
    entries = body.get("messages")
    if isinstance(entries, list):
        return [
            message(document, _last(raw, str(position)), raw, f"{where}/messages/{position}")
            for position, raw in enumerate(entries)
        ]
    if channel is None:
        return []
    return [
        message(document, str(name), raw, f"{channel.where}/messages/{escape(str(name))}")
        for name, raw in as_map(channel.body.get("messages")).items()
    ]


def _last(node: Any, otherwise: str) -> str:
    """Return the last part of a reference as a name, or `otherwise`."""
    reference = node.get("$ref") if isinstance(node, dict) else None
    return unescape(reference.rsplit("/", 1)[-1]) if isinstance(reference, str) else otherwise
