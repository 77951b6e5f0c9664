"""Recorded traffic, read by going through the rows."""

from __future__ import annotations

from collections import Counter

from counterfoil.core.link import LinkStatus
from counterfoil.store.memory.tables import Tables
from counterfoil.store.port.recorded import (
    NO_DELIVERY,
    DeliveryFilter,
    RecordedDelivery,
    RecordedPage,
    assemble,
    spoken,
)


def traffic(db: Tables, of: DeliveryFilter) -> tuple[list[RecordedDelivery], int | None]:
    """Return a page, and the number after which the next one begins; None: it was the last."""
    receipts = [
        r
        for no, r in sorted(db.receipts.items())
        if no > (of.after or 0) and of.since <= r.received_at < of.until and r.door not in NO_DELIVERY
    ][: of.limit]
    if not receipts:
        return [], None
    names = {f"{operation}:{r.no}" for operation in of.fetches for r in receipts}
    numbers = {r.no for r in receipts}
    events = [e for e in db.events.values() if e.receipt in numbers]
    ids = {e.id for e in events}
    births = {
        item.run: item.ref
        for item in db.inbox.values()
        if item.kind == "start" and item.seq == 1 and item.ref in ids
    }
    limits = {
        (scope, key) for (scope, key, run, _), (_, live) in db.reservations.items() if live and run in births
    }
    about = spoken(events)
    history = [
        (object_, key, head)
        for (object_, key), heads in db.head_history.items()
        for head in heads
        if (object_, key) in about or object_ in of.calendars
    ]
    page = RecordedPage(
        receipts=receipts,
        fetched=[r for r in db.receipts.values() if r.door == "fetch" and r.type in names],
        events=events,
        births=births,
        runs=[r for r in db.runs.values() if r.id in births],
        inbox=[i for _, i in sorted(db.inbox.items()) if i.run in births and i.kind == "event"],
        effects=[e for e in db.effects.values() if e.run in births],
        approvals=[a for a in db.approvals.values() if a.run in births],
        reserved=[
            (scope, key, run, db.runs[run].arrival, amount)
            for (scope, key, run, _), (amount, live) in db.reservations.items()
            if live and (scope, key) in limits
        ],
        cases=Counter(c.run for c in db.cases.values() if c.run is not None and c.run in births),
        links=[
            link
            for link in db.links.values()
            if link.status is LinkStatus.CONFIRMED and (link.object, link.canonical) in about
        ],
        history=[head for object_, key, head in history if (object_, key) in about],
        calendars=[head for object_, _, head in history if object_ in of.calendars],
    )
    return assemble(page), receipts[-1].no if len(receipts) == of.limit else None
