"""The legal entities of a sender: what a person who is bound to some may send at the door for CloudEvents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from counterfoil.core.canonical import Receipt
from counterfoil.core.entity_scope import EntityScope
from counterfoil.core.errors import ErrorClass, Refused
from counterfoil.core.event import Event
from counterfoil.model import Model
from counterfoil.rules.entities import entity_of_fact
from counterfoil.rules.lookup import account_of
from counterfoil.rules.named_objects import named_objects
from counterfoil.store.port.visible import LinkedSystems, ObjectIds


class HiddenObjects(Protocol):
    """The reads of a scoped store that the door needs."""

    async def hidden_objects(
        self, ids: ObjectIds, rules: Sequence[str], workflows: Sequence[str]
    ) -> ObjectIds: ...

    async def hidden_references(self, references: ObjectIds, linked: LinkedSystems) -> ObjectIds: ...


async def check_sender(
    store: HiddenObjects,
    model: Model,
    scope: EntityScope,
    events: Sequence[Event],
    receipts: Sequence[Receipt],
) -> None:
    """Raise Refused for an event of a legal entity that its sender does not act for, or about an object of such a one.

    Both have one answer: the sender learns nothing about rows that they do not see.
    """
    if scope.everything:
        return
    for event, receipt in zip(events, receipts, strict=True):
        named = str(event.extensions.get("legalentity", ""))
        data = event.data if isinstance(event.data, dict) else {}
        if not scope.sees(entity_of_fact(model, receipt.system, named, data)):
            raise _refusal(event)
    objects = [named_objects(model, event, receipt) for event, receipt in zip(events, receipts, strict=True)]
    ids = frozenset().union(*(each.ids for each in objects))
    references = frozenset().union(*(each.references for each in objects))
    hidden = await store.hidden_objects(ids, sorted(model.reconciliations), sorted(model.workflows))
    systems = sorted(model.systems)
    accounts = sorted({account_of(model, system) for system in systems})
    hidden_references = await store.hidden_references(references, LinkedSystems(systems, accounts))
    for event, each in zip(events, objects, strict=True):
        if each.ids & hidden or each.references & hidden_references:
            raise _refusal(event)


def _refusal(event: Event) -> Refused:
    message = f"event {event.id}: it is of a legal entity, or about a record, that does not exist"
    return Refused(message, ErrorClass.NOT_FOUND)
