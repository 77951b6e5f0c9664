"""Specification of deliveries of notices over channels."""

from __future__ import annotations

from counterfoil.core import wire
from counterfoil.core.delivery import (
    DeliveryState,
    NoticeDelivery,
    claim_leaf,
    claimed,
    claimed_body,
    ended,
    ended_body,
)
from counterfoil.store.memory.cases import open_case
from counterfoil.store.memory.registry import memory
from counterfoil.store.memory.tables import Tables
from counterfoil.store.port.deliveries import ClaimDeliveries, EndDelivery

_OPEN = (DeliveryState.PLANNED, DeliveryState.SENDING)


@memory(ClaimDeliveries)
def claim_deliveries(db: Tables, t: ClaimDeliveries) -> tuple[NoticeDelivery, ...]:
    due = [d for d in db.deliveries.values() if d.state in _OPEN and d.next_at <= t.at]
    claims = []
    for former in sorted(due, key=lambda d: (d.next_at, d.id))[: t.limit]:
        notices = [db.notices[id_] for id_ in sorted(former.about)]
        delivery = claimed(former, notices, db.notice_preferences.get(former.person), t.at)
        db.put(db.deliveries, delivery.id, delivery)
        db.leaf(claim_leaf(delivery), delivery.id, t.at, "notices", wire.dumps(claimed_body(delivery)))
        if delivery.state is DeliveryState.SENDING:
            claims.append(delivery)
    return tuple(claims)


@memory(EndDelivery)
def end_delivery(db: Tables, t: EndDelivery) -> bool:
    former = db.deliveries.get(t.id)
    if former is None or former.state is not DeliveryState.SENDING or former.attempts != t.attempts:
        return False
    delivery = ended(former, t.end, t.at, t.next_at, t.error)
    db.put(db.deliveries, t.id, delivery)
    db.leaf(f"delivery.{t.end}", t.id, t.at, "notices", wire.dumps(ended_body(delivery)))
    if t.case is not None:
        open_case(db, t.case, t.at, "notices")
    return True
