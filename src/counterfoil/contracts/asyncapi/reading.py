"""AsyncAPI 2 and 3 as the same few values: channels by address, flows of messages by who sends them."""

from __future__ import annotations

from typing import Any

import msgspec

from counterfoil.contracts.openapi.document import Document, Unresolved, escape, listed
from counterfoil.contracts.openapi.rules import Side

ACTIONS: dict[str, Side] = {
    "publish": "request",
    "receive": "request",
    "subscribe": "response",
    "send": "response",
}
"""Version 2 says what the others do to the application, version 3 what the application does."""


class Message(msgspec.Struct):
    """A kind of message, with its traits taken in, and the place where it is described."""

    name: str
    where: str
    body: dict[str, Any]


class Channel(msgspec.Struct):
    """A channel by its address."""

    name: str
    address: str | None
    where: str
    body: dict[str, Any]


class Flow(msgspec.Struct):
    """Messages that go one way on a channel."""

    name: str
    action: str
    side: Side
    where: str
    channel: str
    body: dict[str, Any]
    messages: list[Message]
    implied: bool = False
    """Nobody says that it is there: the channel is, and no operation uses it."""


class Description(msgspec.Struct):
    """What a description holds."""

    channels: dict[str, Channel]
    flows: dict[str, Flow]


def read(document: Document) -> Description:
    """The channels and flows of a description of either version."""
    if str(document.root.get("asyncapi", "")).startswith("2"):
        return _second(document)
    return _third(document)


def target(document: Document, node: Any, where: str) -> tuple[dict[str, Any], str]:
    """An object and the place where it is described, behind all references."""
    seen = set()
    while isinstance(node, dict) and isinstance(node.get("$ref"), str):
        reference = node["$ref"]
        if reference in seen:
            return {}, where
        seen.add(reference)
        try:
            node = document.step(reference)
        except Unresolved:
            return {}, where
        where = reference.removeprefix("#")
    return (node if isinstance(node, dict) else {}), where


def message(document: Document, name: str, raw: Any, where: str) -> Message:
    """A message with what its traits say where it says nothing itself."""
    body, where = target(document, raw, where)
    merged: dict[str, Any] = {}
    for trait in listed(body.get("traits")):
        merged |= target(document, trait, where)[0]
    merged |= body
    return Message(str(body.get("name") or body.get("messageId") or name), where, merged)


def _second(document: Document) -> Description:
    found = Description({}, {})
    for address, raw in document.section("channels").items():
        address = str(address)
        where = f"/channels/{escape(address)}"
        body, _ = target(document, raw, where)
        found.channels[address] = Channel(address, address, where, body)
        for action in ("publish", "subscribe"):
            if not isinstance(body.get(action), dict):
                continue
            operation = body[action]
            there = f"{where}/{action}"
            named, place = target(document, operation.get("message"), f"{there}/message")
            alternatives = named.get("oneOf") if isinstance(named.get("oneOf"), list) else None
            if alternatives is not None:
                messages = [
                    message(document, _last(each, str(at)), each, f"{place}/oneOf/{at}")
                    for at, each in enumerate(alternatives)
                ]
            elif "message" in operation:
                raw_message = operation["message"]
                messages = [message(document, _last(raw_message, ""), raw_message, f"{there}/message")]
            else:
                messages = []
            name = f"{action} {address}"
            found.flows[name] = Flow(
                name,
                action,
                ACTIONS[action],
                there,
                address,
                _with_traits(document, operation, there),
                messages,
            )
    return found


def _third(document: Document) -> Description:
    found = Description({}, {})
    used = set()
    for name, raw in document.section("channels").items():
        where = f"/channels/{escape(str(name))}"
        body, _ = target(document, raw, where)
        address = body.get("address")
        found.channels[str(name)] = Channel(str(name), None if address is None else str(address), where, body)
    for name, raw in document.section("operations").items():
        where = f"/operations/{escape(str(name))}"
        body, _ = target(document, raw, where)
        action = str(body.get("action", ""))
        if action not in ACTIONS:
            continue
        on = _channel(document, body)
        used.add(on)
        found.flows[str(name)] = Flow(
            str(name), action, ACTIONS[action], where, on, _with_traits(document, body, where),
            _messages(document, body, found.channels.get(on), where),
        )  # fmt: skip
        reply = body.get("reply")
        if isinstance(reply, dict) and "channel" in reply:
            back = _channel(document, reply)
            used.add(back)
            side: Side = "request" if ACTIONS[action] == "response" else "response"
            found.flows[f"reply to {name}"] = Flow(
                f"reply to {name}", f"reply to {action}", side, f"{where}/reply", back, {},
                _messages(document, reply, found.channels.get(back), f"{where}/reply"),
            )  # fmt: skip
    for name, channel in found.channels.items():
        if name in used:
            continue
        # Nobody says who sends here, so both sides are looked at.
        for action in ("send", "receive"):
            found.flows[f"{action} on {name}"] = Flow(
                f"{action} on {name}", action, ACTIONS[action], channel.where, name, {},
                _messages(document, {}, channel, channel.where), implied=True,
            )  # fmt: skip
    return found


def _with_traits(document: Document, body: dict[str, Any], where: str) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for trait in listed(body.get("traits")):
        merged |= target(document, trait, where)[0]
    return merged | body


def _channel(document: Document, body: dict[str, Any]) -> str:
    reference = body.get("channel")
    found = _last(reference, "")
    if isinstance(reference, dict) and found and f"#/channels/{escape(found)}" != reference["$ref"]:
        return target(document, reference, "")[1].rsplit("/", 1)[-1]
    return found


def _messages(document: Document, body: dict[str, Any], channel: Channel | None, where: str) -> list[Message]:
    listed = body.get("messages")
    if isinstance(listed, list):
        return [
            message(document, _last(raw, str(at)), raw, f"{where}/messages/{at}")
            for at, raw in enumerate(listed)
        ]
    if channel is None or not isinstance(channel.body.get("messages"), dict):
        return []
    return [
        message(document, str(name), raw, f"{channel.where}/messages/{escape(str(name))}")
        for name, raw in channel.body["messages"].items()
    ]


def _last(node: Any, otherwise: str) -> str:
    """The last part of a reference, as a name."""
    reference = node.get("$ref") if isinstance(node, dict) else None
    if not isinstance(reference, str):
        return otherwise
    return reference.rsplit("/", 1)[-1].replace("~1", "/").replace("~0", "~")
