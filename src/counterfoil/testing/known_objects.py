"""Objects that a test gives as known: their state and their Links, without a delivery that establishes them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from counterfoil.core import ids, wire
from counterfoil.core.canonical import CanonicalEvent, Head
from counterfoil.core.link import Link
from counterfoil.flow.intake.receive import receive_webhook
from counterfoil.model import Model, kinds
from counterfoil.rules.json_values import typed
from counterfoil.rules.lookup import account_of
from counterfoil.store.port.intake import Admit
from counterfoil.store.port.store import Store
from counterfoil.testing.played_systems import ID_HEADER, TYPE_HEADER, PlayedSystem
from counterfoil.testing.values import with_money

KNOWN_TYPE = "test.known.v1"
"""Type of the event that such a state comes from. No record of it is compared."""


class KnownObject(NamedTuple):
    """An object that is known, and its state with the formulas evaluated."""

    given: kinds.GivenObject
    state: dict[str, Any]


async def put_known(
    store: Store, model: Model, played: PlayedSystem, objects: Sequence[KnownObject], now: datetime
) -> None:
    """Store the state of objects, older than every fact about them, and their Links. `played` receives them."""
    events, heads, links = [], [], []
    for step, state in objects:
        event = _event(model, step, now)
        events.append(event)
        heads += [_head(model, step, state, event, now)] if state else []
        links += [
            Link(
                object=step.known, canonical=step.id, system=name, account=account_of(model, name), ext_id=ext_id,
                established_by="test", valid_from=now,
                legal_entity=event.legal_entity,
            )
            for name, ext_id in step.ids.items()
        ]  # fmt: skip
    body = wire.write_json([{"object": s.known, "state": state, "ids": s.ids} for s, state in objects])
    headers = {TYPE_HEADER: KNOWN_TYPE, ID_HEADER: events[0].id}
    received = await receive_webhook(store, model, played, played.name, headers, body, now)
    await store.apply(
        Admit(
            todo=("receipt", str(received.receipt)), events=tuple(events), heads=tuple(heads), links=tuple(links),
            release=model.digest, at=now, actor="test",
        )
    )  # fmt: skip


def _event(model: Model, step: kinds.GivenObject, now: datetime) -> CanonicalEvent:
    return CanonicalEvent(
        id=ids.derive("evt", KNOWN_TYPE, step.known, step.id), type=KNOWN_TYPE, system=model.objects[step.known].system,
        object=step.known, key=step.id, version=0, data={}, occurred_at=now, effective_at=now, received_at=now,
        legal_entity=step.legal_entity or model.default_entity,
    )  # fmt: skip


def _head(
    model: Model, step: kinds.GivenObject, state: dict[str, Any], event: CanonicalEvent, now: datetime
) -> Head:
    schema = model.schema_of_object(step.known)
    return Head(
        object=step.known, key=step.id, version=0, state=typed(with_money(state, schema), schema),
        system=event.system, effective_at=now, recorded_at=now, event=event.id, versions={event.system: 0},
        entity=event.legal_entity,
    )  # fmt: skip
