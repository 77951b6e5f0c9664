"""Order of an AsyncAPI comparison: servers, channels, and the flows of messages on them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from counterfoil.contracts.asyncapi import messages
from counterfoil.contracts.asyncapi.context import AsyncApiContext
from counterfoil.contracts.asyncapi.reading import Channel, Description, Flow, read, target
from counterfoil.contracts.json_parts import Node, as_list, as_map, escape
from counterfoil.contracts.openapi import security
from counterfoil.contracts.openapi.document import ApiDescription
from counterfoil.contracts.openapi.reads import DeclaredUse

_SLOT = re.compile(r"\{([^{}]*)\}")


class AsyncApiComparison:
    """Comparison of two AsyncAPI descriptions: servers, channels, and the flows of messages on them."""

    def __init__(self, context: AsyncApiContext) -> None:
        self.context = context
        self.old, self.new = context.old, context.new
        self.findings, self.add = context.findings, context.add

    def run(self) -> None:
        """Compare everything, or only what the consumer declared; fills the findings of the context."""
        before, after = read(self.old), read(self.new)
        if self.context.declared is not None:
            before = _select_used(before, self.context.declared)
            pairs = _pairs(before, after)
            self._servers()
            for name, channel in before.channels.items():
                if name in pairs:
                    self._channel(channel, after.channels[pairs[name]])
                else:
                    self.add("channel-removed", channel.where, f"channel {name} was removed")
            self._flows(before, after, pairs)
            self.context.schemas.finish()
            return
        self._info()
        self._servers()
        pairs = self._channels(before, after)
        self._flows(before, after, pairs)
        self.context.schemas.finish()
        security.schemes(self.findings, self.old, self.new)

    def _info(self) -> None:
        old, new = self.old.section("info"), self.new.section("info")
        self.context.texts(old, new, "/info")
        if old.get("version") != new.get("version"):
            self.add(
                "info-version-changed",
                "/info/version",
                f"version {old.get('version')} became {new.get('version')}",
            )

    def _servers(self) -> None:
        old, new = self.old.section("servers"), self.new.section("servers")
        for name in [*old, *(key for key in new if key not in old)]:
            where = f"/servers/{escape(str(name))}"
            if name not in new:
                self.add("broker-removed", where, f"server {name} was removed")
            elif name not in old:
                self.add("broker-added", where, f"server {name} was added")
            else:
                before, after = target(self.old, old[name], where)[0], target(self.new, new[name], where)[0]
                self._server(before, after, where)

    def _server(self, old: Node, new: Node, where: str) -> None:
        for key in ("url", "host", "pathname", "protocol", "protocolVersion"):
            before, after = old.get(key), new.get(key)
            if before == after or ("url" in old) != ("url" in new):
                continue
            noun = "protocol" if key.startswith("protocol") else "address"
            self.add(f"broker-{noun}-changed", f"{where}/{key}", f"{key} {before} became {after}")
        self.context.texts(old, new, where)
        self.context.bindings(old, new, where, "broker")
        self._security(old, new, where)

    def _security(self, old: Node, new: Node, where: str) -> None:
        if old.get("security") != new.get("security"):
            before, after = _requirements(self.old, old), _requirements(self.new, new)
            security.requirements(self.findings, (self.old, self.new), before, after, f"{where}/security")

    def _channels(self, before: Description, after: Description) -> dict[str, str]:
        """Report changes of channels. Return the names of channels of both sides, old to new."""
        pairs = _pairs(before, after)
        matched = set(pairs.values())
        for name, channel in before.channels.items():
            if name not in pairs:
                self.add("channel-removed", channel.where, f"channel {name} was removed")
            else:
                self._channel(channel, after.channels[pairs[name]])
        for name, channel in after.channels.items():
            if name not in matched:
                self.add("channel-added", channel.where, f"channel {name} was added")
        return pairs

    def _channel(self, old: Channel, new: Channel) -> None:
        if _template(old) != _template(new):
            place = new.where if new.address == new.name else f"{new.where}/address"
            self.add("channel-address-changed", place, f"address {old.address} became {new.address}")
        self.context.texts(old.body, new.body, new.where)
        self.context.bindings(old.body, new.body, new.where, "channel")
        self._parameters(old, new)
        before, after = _servers(old), _servers(new)
        if after and (not before or before - after):
            servers = ", ".join(sorted(before - after)) or "every server"
            message = f"the channel is not on {servers} any more"
            self.add("channel-servers-changed", f"{new.where}/servers", message)

    def _parameters(self, old: Channel, new: Channel) -> None:
        before, after = _slots(old), _slots(new)
        for position, name in enumerate(after):
            where = f"{new.where}/parameters/{escape(name)}"
            if position < len(before):
                old_parameter = _parameter(self.old, old, before[position])
                messages.parameter(self.context, old_parameter, _parameter(self.new, new, name), where)

    def _flows(self, before: Description, after: Description, pairs: dict[str, str]) -> None:
        matched = set()
        for name, flow in before.flows.items():
            if flow.channel and flow.channel not in pairs:
                continue  # the removal of the channel is reported already
            other = _same_flow(flow, after, pairs)
            if other is None and flow.implied:
                continue
            if other is None:
                self.add("operation-removed", flow.where, f"operation {name} ({flow.action}) was removed")
                continue
            matched.add(other.name)
            self._flow(flow, other, pairs)
            if name != other.name and _named(flow) and _named(other):
                self.add("operation-id-changed", other.where, f"operation {name} became {other.name}")
        new_channels = set(after.channels) - set(pairs.values())
        for name, flow in after.flows.items():
            ignored = flow.implied or self.context.declared is not None
            if name not in matched and flow.channel not in new_channels and not ignored:
                self.add("operation-added", flow.where, f"operation {name} was added")

    def _flow(self, old: Flow, new: Flow, pairs: dict[str, str]) -> None:
        if old.side != new.side:
            message = f"action {old.action} became {new.action}"
            self.add("operation-action-changed", f"{new.where}/action", message)
            return
        if pairs.get(old.channel) != new.channel:
            self.add(
                "operation-channel-changed",
                f"{new.where}/channel",
                f"channel {old.channel} became {new.channel}",
            )
        self.context.texts(old.body, new.body, new.where)
        self.context.bindings(old.body, new.body, new.where, "operation")
        self._security(old.body, new.body, new.where)
        before, after = old.body.get("reply"), new.body.get("reply")
        if before is not None and _address(before) != _address(after):
            self.add(
                "operation-reply-changed",
                f"{new.where}/reply",
                "the address of the reply changed or was removed",
            )
        self.context.lifecycle.compare(
            old.body,
            new.body,
            lambda kind, text: self.add(f"operation-{kind}", new.where, f"the operation {text}"),
        )
        messages.flow(self.context, old, new)


def _select_used(description: Description, declared: Mapping[str, DeclaredUse]) -> Description:
    """Return the flows of declared messages, and the channels that carry them."""
    flows = {}
    for name, flow in description.flows.items():
        used = [message for message in flow.messages if message.name in declared]
        if used:
            flows[name] = msgspec.structs.replace(flow, messages=used)
    carrying = {flow.channel for flow in flows.values()}
    channels = {name: channel for name, channel in description.channels.items() if name in carrying}
    return Description(channels, flows)


def _address(reply: Any) -> Any:
    address = as_map(reply).get("address")
    return address.get("location", address.get("$ref")) if isinstance(address, dict) else address


def _template(channel: Channel) -> Any:
    """Return the address with its described parameters by position, so that renaming one is no change."""
    if channel.address is None:
        return None
    names = set(map(str, as_map(channel.body.get("parameters"))))
    return _SLOT.sub(lambda slot: "{}" if slot[1] in names or not names else slot[0], channel.address)


def _slots(channel: Channel) -> list[str]:
    return _SLOT.findall(channel.address or "")


def _parameter(document: ApiDescription, channel: Channel, name: str) -> Node:
    return target(document, as_map(channel.body.get("parameters")).get(name), "")[0]


def _servers(channel: Channel) -> set[str]:
    return {
        str(server["$ref"]).rsplit("/", 1)[-1]
        if isinstance(server, dict) and "$ref" in server
        else str(server)
        for server in as_list(channel.body.get("servers"))
    }


def _pairs(before: Description, after: Description) -> dict[str, str]:
    """Match channels by name, else by address."""
    pairs = {name: name for name in before.channels if name in after.channels}
    free = {
        _template(channel): name
        for name, channel in after.channels.items()
        if name not in pairs and channel.address is not None
    }
    for name, channel in before.channels.items():
        if name not in pairs and channel.address is not None and _template(channel) in free:
            pairs[name] = free.pop(_template(channel))
    return pairs


def _named(flow: Flow) -> bool:
    return flow.where.startswith("/operations/") and not flow.where.endswith("/reply")


def _same_flow(flow: Flow, after: Description, pairs: dict[str, str]) -> Flow | None:
    if flow.name in after.flows:
        return after.flows[flow.name]
    for other in after.flows.values():
        same = other.side == flow.side and other.channel == pairs.get(flow.channel)
        if same and (flow.implied or not other.implied):
            return other
    return None


def _requirements(document: ApiDescription, node: Node) -> list[Node] | None:
    """Return the security requirements by scheme name; version 3 lists the schemes themselves."""
    listed_schemes = node.get("security")
    if not isinstance(listed_schemes, list):
        return None
    requirements: list[Node] = []
    for entry in listed_schemes:
        if not isinstance(entry, dict):
            continue
        scheme, where = target(document, entry, "")
        if "type" not in scheme:
            requirements.append(entry)
            continue
        scopes = scheme.get("scopes") or []
        identity = {k: v for k, v in scheme.items() if k not in ("description", "scopes", "flows")}
        name = where.rsplit("/", 1)[-1] or json.dumps(identity, sort_keys=True, default=str)
        requirements.append({name: scopes})
    return requirements
