"""Deliveries of notices over channels."""

from __future__ import annotations

from counterfoil.core import wire
from counterfoil.core.clock import micros
from counterfoil.core.delivery import (
    DeliveryState,
    NoticeDelivery,
    claim_leaf,
    claimed,
    claimed_body,
    ended,
    ended_body,
)
from counterfoil.store.port.deliveries import ClaimDeliveries, EndDelivery
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.registry import sql
from counterfoil.store.sql.transaction import Tx
from counterfoil.store.sql.verbs.notices import SAVE_DELIVERY

DUE = f"""
{t.DELIVERY.select} where state in ('planned', 'sending') and next_at <= $1 order by next_at, id limit $2 for update
"""
NOTICES = f"{t.NOTICE.select} where id = any($1::text[]) order by id"
WISHES = f"{t.NOTICE_PREFERENCE.select} where person = $1"


@sql(ClaimDeliveries)
async def claim_deliveries(x: Tx, c: ClaimDeliveries) -> tuple[NoticeDelivery, ...]:
    """Claim what is due. A digest is locked against a notice that comes into it."""
    await x.lock_topics(["deliveries"])
    claims = []
    for row in await x.rows(DUE, micros(c.at), c.limit):
        former = t.DELIVERY.read(row)
        notices = [t.NOTICE.read(row) for row in await x.rows(NOTICES, list(former.about))]
        wishes = await x.one(WISHES, former.person) if former.person else None
        chosen = None if wishes is None else t.NOTICE_PREFERENCE.read(wishes)
        delivery = claimed(former, notices, chosen, c.at)
        await x.rows(SAVE_DELIVERY, *t.DELIVERY.row(delivery))
        x.leaf(claim_leaf(delivery), delivery.id, c.at, "notices", wire.dumps(claimed_body(delivery)))
        if delivery.state is DeliveryState.SENDING:
            claims.append(delivery)
    return tuple(claims)


@sql(EndDelivery)
async def end_delivery(x: Tx, e: EndDelivery) -> bool:
    await x.lock_topics(["deliveries"])
    row = await x.one(
        f"{t.DELIVERY.select} where id = $1 and state = 'sending' and attempts = $2", e.id, e.attempts
    )
    if row is None:
        return False
    delivery = ended(t.DELIVERY.read(row), e.end, e.at, e.next_at, e.error)
    await x.rows(SAVE_DELIVERY, *t.DELIVERY.row(delivery))
    x.leaf(f"delivery.{e.end}", e.id, e.at, "notices", wire.dumps(ended_body(delivery)))
    if e.case is not None:
        await x.open_case(e.case, e.at, "notices")
    return True
