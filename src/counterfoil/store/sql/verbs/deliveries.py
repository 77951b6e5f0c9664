"""Deliveries of notices over channels."""
# ruff: noqa: S608 - only names of tables and columns are put into statements, values never are

from __future__ import annotations

from counterfoil.core import wire
from counterfoil.core.clock import micros
from counterfoil.core.delivery import NoticeDelivery, claimed, claimed_body, ended, ended_body
from counterfoil.store.port.deliveries import ClaimDeliveries, EndDelivery
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.registry import sql
from counterfoil.store.sql.transaction import Tx

DUE = f"{t.DELIVERY.select} where state in ('planned', 'sending') and next_at <= $1 order by next_at, id limit $2"
SAVE = f"""
update delivery set {", ".join(f"{name} = ${n}" for n, name in enumerate(t.DELIVERY.columns, start=1))} where id = $1
"""


@sql(ClaimDeliveries)
async def claim_deliveries(x: Tx, c: ClaimDeliveries) -> tuple[NoticeDelivery, ...]:
    await x.lock_topics(["deliveries"])
    claims = []
    for row in await x.rows(DUE, micros(c.at), c.limit):
        delivery = t.DELIVERY.read(row)
        notice = await x.one(f"{t.NOTICE.select} where id = $1", delivery.notice)
        assert notice is not None
        delivery = claimed(delivery, t.NOTICE.read(notice), c.at)
        await x.rows(SAVE, *t.DELIVERY.row(delivery))
        x.leaf("delivery.sending", delivery.id, c.at, "notices", wire.dumps(claimed_body(delivery)))
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
    await x.rows(SAVE, *t.DELIVERY.row(delivery))
    x.leaf(f"delivery.{e.end}", e.id, e.at, "notices", wire.dumps(ended_body(delivery)))
    if e.case is not None:
        await x.open_case(e.case, e.at, "notices")
    return True
