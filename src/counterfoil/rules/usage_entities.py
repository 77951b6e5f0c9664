"""The legal entity of usage: that of its subscription, with which its sender, its system and its envelope must agree. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from counterfoil.core.entity_scope import EntityScope
from counterfoil.core.usage import UsageEvent
from counterfoil.model import Model
from counterfoil.rules.entities import NAME

UNKNOWN_ENTITY = "usage_unknown_entity"
UNKNOWN_SUBSCRIPTION = "usage_unknown_subscription"


class UsageEntities:
    """Compares the events of one batch with legal entities."""

    def __init__(self, model: Model, scope: EntityScope) -> None:
        self._scope, self._default = scope, model.default_entity
        self._declared: Collection[str] = model.legal_entities
        self._systems = {name: system.legal_entity or "" for name, system in model.systems.items()}
        self.owners: dict[str, Mapping[str, str]] = {}
        """Legal entities of subscriptions, by object and key."""

    @classmethod
    def of(cls, model: Model, scope: EntityScope) -> UsageEntities | None:
        """Return the comparison; None if no event can be refused."""
        return None if scope.everything and not model.legal_entities else cls(model, scope)

    def entity(self, event: UsageEvent) -> str:
        """Return the entity that the event names, else that of its system; empty if the subscription decides."""
        return self._named(event) or self._systems.get(_system(event), "")

    def why_not(self, event: UsageEvent, object_: str | None, key: str) -> tuple[str, str] | None:
        """Return the reason to refuse an event, or None. `object_` is that of the subscription, if it is declared."""
        named, own = self._named(event), self._systems.get(_system(event), "")
        entity = named or own
        if named and ((self._declared and named not in self._declared) or not self._scope.sees(named)):
            return UNKNOWN_ENTITY, f"there is no legal entity {named[:100]}"
        if named and own and named != own:
            return UNKNOWN_ENTITY, f"{_system(event)} sends no usage of the legal entity {named[:100]}"
        if (entity or object_ is None) and not self._scope.sees(entity):
            return UNKNOWN_ENTITY, "it is of no legal entity of its sender"
        owner = self.owners.get(object_, {}).get(key) if object_ is not None else None
        if entity and owner is not None and (owner or self._default) != entity:
            return UNKNOWN_SUBSCRIPTION, unknown_subscription(object_ or "", key)
        return None

    def _named(self, event: UsageEvent) -> str:
        return event.legalentity or str((event.data or {}).get(NAME) or "")


def unknown_subscription(object_: str, key: str) -> str:
    return f"no {object_} {key[:100]} is known"


def _system(event: UsageEvent) -> str:
    return event.source.removeprefix("/").partition("/")[0]
