"""The legal entity of a consumer's call: what its input says, else that of the objects that the input names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from counterfoil.core.entity_scope import EntityScope
from counterfoil.flow.gateway.calls import CallRefused
from counterfoil.model import Model
from counterfoil.rules.entities import NAME
from counterfoil.store.port.store import Store


async def entity_of_call(store: Store, model: Model, value: Any, scope: EntityScope) -> str:
    """Return the legal entity that a call is about; the default one if it names nothing that has one.

    A field `customer_id` names a customer. Raises CallRefused for objects of several entities, and as for an unknown
    record for an entity that the caller does not act for.
    """
    if not isinstance(value, dict):
        return model.default_entity
    named = str(value.get(NAME) or "")
    if named and model.legal_entities and named not in model.legal_entities:
        raise CallRefused("absent", f"There is no legal entity {named[:100]}.")
    entities = {named} if named else await _entities_of_objects(store, model, value)
    unseen = [entity for entity in entities if not scope.sees(entity)]
    if unseen:
        raise CallRefused("absent", "There is no such record.")
    if len(entities) > 1:
        names = ", ".join(sorted(entities))
        raise CallRefused("not-taken", f"The input names objects of several legal entities: {names}.")
    return next(iter(entities), model.default_entity)


async def _entities_of_objects(store: Store, model: Model, value: Mapping[str, Any]) -> set[str]:
    entities: set[str] = set()
    for name in model.objects:
        key = value.get(f"{name}_id")
        if isinstance(key, str) and key:
            heads = await store.heads_of(name, [key])
            entities |= {head.entity or model.default_entity for head in heads}
    return entities - {""}
