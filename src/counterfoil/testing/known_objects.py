"""Objects that a test gives as known: their state and their Links, without a delivery that establishes them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

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


async def put_known(
    store: Store,
    model: Model,
    played: PlayedSystem,
    step: kinds.GivenObject,
    state: dict[str, Any],
    now: datetime,
) -> None:
    """Store an object's state, older than every fact about it, and its Links. `state` is plain JSON; `played` is its system."""
    schema = model.schema_of_object(step.known)
    system = model.objects[step.known].system
    event = CanonicalEvent(
        id=ids.derive("evt", KNOWN_TYPE, step.known, step.id), type=KNOWN_TYPE, system=system, object=step.known,
        key=step.id, version=0, data={}, occurred_at=now, effective_at=now, received_at=now,
    )  # fmt: skip
    head = Head(
        object=step.known, key=step.id, version=0, state=typed(with_money(state, schema), schema), system=system,
        effective_at=now, recorded_at=now, event=event.id, versions={system: 0},
    )  # fmt: skip
    links = tuple(
        Link(
            object=step.known, canonical=step.id, system=name, account=account_of(model, name), ext_id=ext_id,
            established_by="test", valid_from=now,
        )
        for name, ext_id in step.ids.items()
    )  # fmt: skip
    body = wire.write_json({"object": step.known, "id": step.id, "state": state, "ids": step.ids})
    headers = {TYPE_HEADER: KNOWN_TYPE, ID_HEADER: event.id}
    received = await receive_webhook(store, model, played, system, headers, body, now)
    todo = ("receipt", str(received.receipt))
    await store.apply(
        Admit(
            todo=todo, events=(event,), heads=(head,) if state else (), links=links, release=model.digest, at=now,
            actor="test",
        )
    )  # fmt: skip
