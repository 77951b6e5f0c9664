"""One comparison of two AsyncAPI descriptions: servers, channels, and the flows of messages on them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date
from typing import Any

import msgspec

from counterfoil.contracts.asyncapi import messages
from counterfoil.contracts.asyncapi.reading import Channel, Description, Flow, read, target
from counterfoil.contracts.openapi import security
from counterfoil.contracts.openapi.document import Document, escape, listed
from counterfoil.contracts.openapi.findings import Findings
from counterfoil.contracts.openapi.lifecycle import Lifecycle
from counterfoil.contracts.openapi.reads import Use
from counterfoil.contracts.openapi.schema import Schemas
from counterfoil.contracts.report import Profile

_SLOT = re.compile(r"\{([^{}]*)\}")
_WORDS = ("title", "summary", "description", "tags", "externalDocs", "termsOfService", "contact", "license")


class Comparison:
    """What the parts of a comparison share. Schemas are followed through references, so a component is compared with
    the side on which its messages travel, and told once, at its own place."""

    def __init__(
        self,
        old: dict[str, Any],
        new: dict[str, Any],
        profile: Profile,
        today: date,
        declared: Mapping[str, Use] | None = None,
    ) -> None:
        self.declared = declared
        self.old = Document(old)
        self.new = Document(new)
        self.findings = Findings(profile, declared=declared is not None)
        self.lifecycle = Lifecycle(today=today)
        self.schemas = Schemas(self.old, self.new, self.findings, self.lifecycle, thorough=True)

    def run(self) -> None:
        before, after = read(self.old), read(self.new)
        if self.declared is not None:
            before = _used(before, self.declared)
            pairs = _pairs(before, after)
            self._servers()
            for name, channel in before.channels.items():
                if name in pairs:
                    self._channel(channel, after.channels[pairs[name]])
                else:
                    self.findings.add("channel-removed", channel.where, f"channel {name} is gone")
            self._flows(before, after, pairs)
            self.schemas.finish()
            return
        self._info()
        self._servers()
        pairs = self._channels(before, after)
        self._flows(before, after, pairs)
        self.schemas.finish()
        security.schemes(self.findings, self.old, self.new)

    def words(self, old: dict[str, Any], new: dict[str, Any], where: str) -> None:
        """Tell of texts for people: each at its place, and none of them matters to a program."""
        for key in _WORDS:
            before, after = old.get(key), new.get(key)
            if before == after:
                continue
            if isinstance(before, dict) and isinstance(after, dict):
                for part in sorted({*map(str, before), *map(str, after)}):
                    if before.get(part) != after.get(part):
                        self.findings.add("text-changed", f"{where}/{key}/{escape(part)}", "the text changed")
            else:
                self.findings.add("text-changed", f"{where}/{key}", "the text changed")

    def bindings(self, old: dict[str, Any], new: dict[str, Any], where: str, noun: str) -> None:
        """Tell of the protocol's own settings, whose effect is the protocol's affair."""
        before, _ = target(self.old, old.get("bindings"), where)
        after, _ = target(self.new, new.get("bindings"), where)
        for protocol in sorted({*map(str, before), *map(str, after)}):
            if before.get(protocol) != after.get(protocol):
                self.findings.add(
                    f"{noun}-binding-changed", f"{where}/bindings/{escape(protocol)}",
                    f"settings for {protocol} changed; what that means is not decided",
                )  # fmt: skip

    def _info(self) -> None:
        old, new = self.old.section("info"), self.new.section("info")
        self.words(old, new, "/info")
        if old.get("version") != new.get("version"):
            self.findings.add(
                "info-version-changed",
                "/info/version",
                f"version {old.get('version')} became {new.get('version')}",
            )

    def _servers(self) -> None:
        old, new = self.old.section("servers"), self.new.section("servers")
        for name in [*old, *(each for each in new if each not in old)]:
            where = f"/servers/{escape(str(name))}"
            if name not in new:
                self.findings.add("broker-removed", where, f"server {name} is gone")
            elif name not in old:
                self.findings.add("broker-added", where, f"server {name} is new")
            else:
                self._server(
                    target(self.old, old[name], where)[0], target(self.new, new[name], where)[0], where
                )

    def _server(self, old: dict[str, Any], new: dict[str, Any], where: str) -> None:
        for key in ("url", "host", "pathname", "protocol", "protocolVersion"):
            before, after = old.get(key), new.get(key)
            if before == after or ("url" in old) != ("url" in new):
                continue
            noun = "protocol" if key.startswith("protocol") else "address"
            self.findings.add(f"broker-{noun}-changed", f"{where}/{key}", f"{before} became {after}")
        self.words(old, new, where)
        self.bindings(old, new, where, "broker")
        self._security(old, new, where)

    def _security(self, old: dict[str, Any], new: dict[str, Any], where: str) -> None:
        if old.get("security") != new.get("security"):
            security.requirements(
                self.findings, _ways(self.old, old), _ways(self.new, new), f"{where}/security"
            )

    def _channels(self, before: Description, after: Description) -> dict[str, str]:
        """Tell of channels; the names of those that are there on both sides, before and after."""
        pairs = _pairs(before, after)
        taken = set(pairs.values())
        for name, channel in before.channels.items():
            if name not in pairs:
                self.findings.add("channel-removed", channel.where, f"channel {name} is gone")
            else:
                self._channel(channel, after.channels[pairs[name]])
        for name, channel in after.channels.items():
            if name not in taken:
                self.findings.add("channel-added", channel.where, f"channel {name} is new")
        return pairs

    def _channel(self, old: Channel, new: Channel) -> None:
        if _template(old) != _template(new):
            place = new.where if new.address == new.name else f"{new.where}/address"
            self.findings.add("channel-address-changed", place, f"address {old.address} became {new.address}")
        self.words(old.body, new.body, new.where)
        self.bindings(old.body, new.body, new.where, "channel")
        self._parameters(old, new)
        before, after = _servers(old), _servers(new)
        if after and (not before or before - after):
            gone = ", ".join(sorted(before - after)) or "every server"
            self.findings.add("channel-servers-changed", f"{new.where}/servers", f"not on {gone} any more")

    def _parameters(self, old: Channel, new: Channel) -> None:
        before, after = _slots(old), _slots(new)
        for at, name in enumerate(after):
            where = f"{new.where}/parameters/{escape(name)}"
            one = _parameter(self.old, old, before[at]) if at < len(before) else None
            other = _parameter(self.new, new, name)
            if one is not None:
                messages.parameter(self, one, other, where)

    def _flows(self, before: Description, after: Description, pairs: dict[str, str]) -> None:
        taken = set()
        for name, flow in before.flows.items():
            if flow.channel and flow.channel not in pairs:
                continue  # the channel is gone, which says it all
            other = _same_flow(flow, after, pairs)
            if other is None and flow.implied:
                continue
            if other is None:
                self.findings.add(
                    "operation-removed", flow.where, f"nobody will {flow.action} here: it is gone"
                )
                continue
            taken.add(other.name)
            self._flow(flow, other, pairs)
            if name != other.name and _named(flow) and _named(other):
                self.findings.add("operation-id-changed", other.where, f"{name} became {other.name}")
        fresh = set(after.channels) - set(pairs.values())
        for name, flow in after.flows.items():
            known = flow.implied or self.declared is not None
            if name not in taken and flow.channel not in fresh and not known:
                self.findings.add("operation-added", flow.where, f"operation {name} is new")

    def _flow(self, old: Flow, new: Flow, pairs: dict[str, str]) -> None:
        if old.side != new.side:
            self.findings.add(
                "operation-action-changed", f"{new.where}/action", f"{old.action} became {new.action}"
            )
            return
        if pairs.get(old.channel) != new.channel:
            self.findings.add(
                "operation-channel-changed", f"{new.where}/channel", f"{old.channel} became {new.channel}"
            )
        self.words(old.body, new.body, new.where)
        self.bindings(old.body, new.body, new.where, "operation")
        self._security(old.body, new.body, new.where)
        one, other = old.body.get("reply"), new.body.get("reply")
        if one is not None and _address(one) != _address(other):
            self.findings.add("operation-reply-changed", f"{new.where}/reply", "replies are found elsewhere")
        self.lifecycle.compare(
            old.body,
            new.body,
            lambda kind, said: self.findings.add(f"operation-{kind}", new.where, f"the operation {said}"),
        )
        messages.flow(self, old, new)


def _used(description: Description, declared: Mapping[str, Use]) -> Description:
    """The flows of declared messages, and the channels that carry them."""
    flows = {}
    for name, flow in description.flows.items():
        some = [message for message in flow.messages if message.name in declared]
        if some:
            flows[name] = msgspec.structs.replace(flow, messages=some)
    carrying = {flow.channel for flow in flows.values()}
    channels = {name: channel for name, channel in description.channels.items() if name in carrying}
    return Description(channels, flows)


def _address(reply: Any) -> Any:
    address = reply.get("address") if isinstance(reply, dict) else None
    return address.get("location", address.get("$ref")) if isinstance(address, dict) else address


def _template(channel: Channel) -> Any:
    """An address with its parameters by position, as far as they are described: a new name is the same place."""
    if channel.address is None:
        return None
    described = channel.body.get("parameters")
    names = set(map(str, described)) if isinstance(described, dict) else set()
    return _SLOT.sub(lambda slot: "{}" if slot[1] in names or not names else slot[0], channel.address)


def _slots(channel: Channel) -> list[str]:
    return _SLOT.findall(channel.address or "")


def _parameter(document: Document, channel: Channel, name: str) -> dict[str, Any]:
    described = channel.body.get("parameters")
    raw = described.get(name) if isinstance(described, dict) else None
    return target(document, raw, "")[0]


def _servers(channel: Channel) -> set[str]:
    return {
        str(each["$ref"]).rsplit("/", 1)[-1] if isinstance(each, dict) and "$ref" in each else str(each)
        for each in listed(channel.body.get("servers"))
    }


def _pairs(before: Description, after: Description) -> dict[str, str]:
    """Channels that are the same: by name, else by address."""
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


def _ways(document: Document, node: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The ways in, each as names with scopes; version 3 lists schemes where version 2 names them."""
    said = node.get("security")
    if not isinstance(said, list):
        return None
    ways: list[dict[str, Any]] = []
    for each in said:
        if not isinstance(each, dict):
            continue
        scheme, where = target(document, each, "")
        if "type" not in scheme:
            ways.append(each)
            continue
        scopes = scheme.get("scopes") or []
        kept = {key: value for key, value in scheme.items() if key not in ("description", "scopes", "flows")}
        ways.append({where.rsplit("/", 1)[-1] or json.dumps(kept, sort_keys=True, default=str): scopes})
    return ways
