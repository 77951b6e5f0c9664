"""Notices of new Cases, waiting approvals and near deadlines.

The transaction that opens a Case or an approval leaves it without a mark. This pass reads what has none, and writes the
notices and the mark in one transaction: a worker that dies between the two loses nothing, and two workers write once.
"""

from __future__ import annotations

from datetime import datetime

from counterfoil.model import Model
from counterfoil.rules.notices import approval_notice, case_notice, deadline_notice
from counterfoil.store.port.notices import WriteNotices
from counterfoil.store.port.store import Store

MAX_NOTICE_ROWS = 500
"""Cases and approvals of one transaction, each."""


async def write_notices(store: Store, model: Model, now: datetime) -> int:
    """Write the notices of what has none; return how many Cases and approvals that were."""
    total = 0
    while True:
        rows = await store.unnoticed(now, MAX_NOTICE_ROWS)
        count = len(rows.cases) + len(rows.approvals) + len(rows.deadlines)
        if not count:
            return total
        persons = await store.persons()
        delegations = await store.delegations() if rows.approvals else []
        new = (
            *(case_notice(model, row.case, row.entity, row.bkey or "", persons) for row in rows.cases),
            *(approval_notice(model, approval, persons, now, delegations) for approval in rows.approvals),
            *(
                deadline_notice(model, row.case, row.entity, row.bkey or "", persons)
                for row in rows.deadlines
            ),
        )
        await store.apply(WriteNotices(notices=new, at=now))
        total += count
