"""Records that a batch of usage names, and what they say: whether a subscription is entitled at a time. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any

from counterfoil.core.canonical import HeadState
from counterfoil.core.wire import time_text
from counterfoil.rules.usage_entities import UsageEntities


@dataclass(frozen=True, slots=True)
class Subscriptions:
    """The objects whose heads are subscriptions, and when each is entitled."""

    object: str
    active: tuple[tuple[str, frozenset[str]], ...] = ()
    starts: str | None = None
    ends: str | None = None

    @property
    def timed(self) -> bool:
        """Return True if usage is compared with states of the object, not only with its existence."""
        return bool(self.active or self.starts or self.ends)

    def why_not(self, records: UsageRecords, key: str, time: datetime) -> str:
        """Return why a known subscription is not entitled at a time; empty if it is.

        `active` is read from the state that was effective then, `starts` and `ends` from the newest one.
        """
        states = records.states[self.object][key]
        state = None
        for effective_at, state_then in states:
            if effective_at > time:
                break
            state = state_then
        if self.active:
            if state is None:
                return f"no state of this {self.object} was effective at that time"
            for field_, values in self.active:
                if state.get(field_) not in values:
                    return f"its {field_} was {str(state.get(field_))[:100]} at that time"
        if self.starts is None and self.ends is None:
            return ""
        newest = states[-1].state
        starts, ends = (_moment(newest.get(name)) if name else None for name in (self.starts, self.ends))
        if starts is not None and time < starts:
            return f"it starts at {time_text(starts)}"
        if ends is not None and time >= ends:
            return f"it ended at {time_text(ends)}"
        return ""


def _moment(value: Any) -> datetime | None:
    """Return a timestamp as it is, and a date as its first instant in UTC."""
    if isinstance(value, datetime):
        return value
    return datetime.combine(value, time.min, tzinfo=UTC) if isinstance(value, date) else None


@dataclass(slots=True)
class UsageRecords:
    """Heads and states of the objects that a batch names, read from the store."""

    heads: dict[str, Collection[str]] = field(default_factory=dict)
    """Known keys by object."""
    states: dict[str, dict[str, list[HeadState]]] = field(default_factory=dict)
    """States by object and key, for subscriptions that are entitled for a time."""
    events: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    """Subscription and meter of stored events that the batch corrects, by source and id."""
    entities: UsageEntities | None = None
    """Set if events are compared with legal entities."""
