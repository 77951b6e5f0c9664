"""Stored events read again: the documents and numbers that they show by the active Release."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import TypeVar

from counterfoil.core.canonical import CanonicalEvent
from counterfoil.expr import Lookup
from counterfoil.flow.context.lookups import Lookups
from counterfoil.flow.context.releases import Releases
from counterfoil.rules import admission, lookup
from counterfoil.rules.admission import EventDocuments
from counterfoil.rules.document_numbers import DocumentNumber, numbers_of
from counterfoil.rules.routing import Forms
from counterfoil.store.port.store import Store

T = TypeVar("T")


async def read_documents(
    store: Store, releases: Releases, event: CanonicalEvent, now: datetime
) -> EventDocuments:
    """Return the documents that an event shows. Raises HeldDelivery."""
    return await _read(store, releases, event, now, partial(admission.documents, releases.present, event))


async def read_numbers(
    store: Store, releases: Releases, event: CanonicalEvent, now: datetime
) -> list[DocumentNumber]:
    """Return the numbers of documents that an event shows. Raises HeldDelivery."""
    return await _read(store, releases, event, now, partial(numbers_of, releases.present, event))


async def _read(
    store: Store,
    releases: Releases,
    event: CanonicalEvent,
    now: datetime,
    work: Callable[[Forms, Lookup], T],
) -> T:
    model = releases.present
    lookups = Lookups(store, model, now, speaks=event.system)
    answer = lookup.lookup_in(lookups.answers, event.system)
    bridges, onward = await releases.bridges(event.type), await releases.onward(event.type)
    forms = admission.forms_of(model, event, releases.waited, bridges, onward)
    return await lookups.complete(partial(work, forms, answer))
