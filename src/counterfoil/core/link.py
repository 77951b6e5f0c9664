"""Links: the ids of one object in two systems, with their source and validity."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec


class LinkStatus(StrEnum):
    PROPOSED = "proposed"
    CONFIRMED = "confirmed"
    SUPERSEDED = "superseded"


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """External id of a canonical object in one system."""

    object: str
    canonical: str
    system: str
    account: str
    ext_id: str
    ext_type: str = ""
    legal_entity: str = ""
    status: LinkStatus = LinkStatus.CONFIRMED
    established_by: str
    """`effect:<id>`, `event:<id>`, `rule:<name>`, `person:<id>`."""
    valid_from: datetime
    valid_to: datetime | None = None

    @property
    def topics(self) -> tuple[str, str]:
        """Topics for effects that wait for the external id, and for deliveries that wait for the canonical id."""
        effects = link_topic(self.object, self.canonical, self.system)
        return effects, ext_topic(self.object, self.system, self.ext_id)


def link_topic(object_: str, canonical: str, system: str) -> str:
    return f"link:{object_}:{canonical}:{system}"


def ext_topic(object_: str, system: str, ext_id: str) -> str:
    return f"ext:{object_}:{system}:{ext_id}"


def event_topic(event: str, field: str, value: object) -> str | None:
    """Return the topic of events of a type with one value of a field, or None if the value is not a text.

    Posts and waits must agree on it. Equal numbers may be written in several ways, so only texts narrow a topic.
    """
    return f"event:{event}:{field}={value}" if isinstance(value, str) and value else None
