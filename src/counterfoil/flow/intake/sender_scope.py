"""The legal entities of a sender: what a person who is bound to some may send at the door for CloudEvents.

An event may reach a row by an id in its data, or by a formula that makes a key of anything in it. Both are looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

from counterfoil.core.canonical import Receipt
from counterfoil.core.entity_scope import EntityScope
from counterfoil.core.errors import ErrorClass, Refused
from counterfoil.core.event import Event
from counterfoil.flow.context.lookups import Lookups
from counterfoil.model import Model
from counterfoil.rules import admission
from counterfoil.rules.entities import entity_of_fact
from counterfoil.rules.lookup import account_of, lookup_in
from counterfoil.rules.matching import foil_id, observation_id
from counterfoil.rules.named_objects import named_objects
from counterfoil.store.port.store import Store
from counterfoil.store.port.visible import LinkedSystems, ObjectIds

T = TypeVar("T", bound=Hashable)


class HiddenObjects(Protocol):
    """The reads of a scoped store that the door needs."""

    async def hidden_objects(
        self, ids: ObjectIds, rules: Sequence[str], workflows: Sequence[str]
    ) -> ObjectIds: ...

    async def hidden_references(self, references: ObjectIds, linked: LinkedSystems) -> ObjectIds: ...

    async def hidden_matches(self, keys: ObjectIds) -> ObjectIds: ...

    async def hidden_documents(
        self, foils: Collection[str], observations: Collection[str]
    ) -> AbstractSet[str]: ...

    async def hidden_runs(self, ids: Collection[str]) -> AbstractSet[str]: ...


async def check_sender(
    visible: HiddenObjects,
    store: Store,
    model: Model,
    scope: EntityScope,
    events: Sequence[Event],
    receipts: Sequence[Receipt],
) -> None:
    """Raise Refused for an event of a legal entity that its sender does not act for, or about an object of such a one.

    Both have one answer: the sender learns nothing about rows that they do not see.
    `visible` is the store as the sender sees it, `store` the whole one, which the formulas of the model read.
    """
    if scope.everything:
        return
    for event, receipt in zip(events, receipts, strict=True):
        named = str(event.extensions.get("legalentity", ""))
        data = event.data if isinstance(event.data, dict) else {}
        if not scope.sees(entity_of_fact(model, receipt.system, named, data)):
            raise _refusal(event)
    objects = [named_objects(model, event, receipt) for event, receipt in zip(events, receipts, strict=True)]
    ids = _union(each.ids for each in objects)
    references = _union(each.references for each in objects)
    hidden = await visible.hidden_objects(ids, sorted(model.reconciliations), sorted(model.workflows))
    systems = sorted(model.systems)
    accounts = sorted({account_of(model, system) for system in systems})
    hidden_references = await visible.hidden_references(references, LinkedSystems(systems, accounts))
    for event, names in zip(events, objects, strict=True):
        if names.ids & hidden or names.references & hidden_references:
            raise _refusal(event)
    rows = [await _rows_of(store, model, receipt) for receipt in receipts]
    matches = await visible.hidden_matches(_union(each.matches for each in rows))
    documents = await visible.hidden_documents(
        _union(each.foils for each in rows), _union(each.observations for each in rows)
    )
    runs = await visible.hidden_runs(_union(each.runs for each in rows))
    for event, each in zip(events, rows, strict=True):
        if each.matches & matches or (each.foils | each.observations) & documents or each.runs & runs:
            raise _refusal(event)


def _union(sets: Iterable[frozenset[T]]) -> frozenset[T]:
    return frozenset().union(*sets)


class _Rows(NamedTuple):
    """Rows that the admission of an event would write to, by their keys."""

    matches: frozenset[tuple[str, str]] = frozenset()
    foils: frozenset[str] = frozenset()
    observations: frozenset[str] = frozenset()
    runs: frozenset[str] = frozenset()


async def _rows_of(store: Store, model: Model, receipt: Receipt) -> _Rows:
    """Return the rows that the formulas of the model name for an event. Its admission holds what it cannot evaluate."""
    lookups = Lookups(store, model, receipt.received_at, speaks=receipt.system)
    ask = lookup_in(lookups.answers, receipt.system)
    try:
        event = admission.accept_declared(model, receipt)
        forms = admission.forms_of(model, event, ())
        documents = await lookups.complete(partial(admission.documents, model, event, forms, ask))
        work = partial(admission.consequences, model, event, forms, receipt.received_at, ask)
        starts = (await lookups.complete(work)).starts
    except admission.HeldDelivery:
        return _Rows()
    foils = {(foil.rule, foil.document) for foil in documents.foils}
    observations = {(item.rule, item.document) for item in documents.observations}
    for each in documents.withdrawals:
        (foils if each.side == "left" else observations).add((each.rule, each.document))
    matches = {(foil.rule, foil.key) for foil in documents.foils}
    return _Rows(
        matches=frozenset(matches | {(item.rule, item.key) for item in documents.observations}),
        foils=frozenset(foil_id(*document) for document in foils),
        observations=frozenset(observation_id(*document) for document in observations),
        runs=frozenset(start.run for start in starts),
    )


def _refusal(event: Event) -> Refused:
    message = f"event {event.id}: it is of a legal entity, or about a record, that does not exist"
    return Refused(message, ErrorClass.NOT_FOUND)
