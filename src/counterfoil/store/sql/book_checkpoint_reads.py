"""Reads of checkpoints of the books, and of what has changed in those that were signed."""
# ruff: noqa: S608 - only names of tables and columns are put into statements, values never are

from __future__ import annotations

from datetime import datetime

from counterfoil.core.book_checkpoint import BookCheckpoint
from counterfoil.core.clock import from_micros, micros
from counterfoil.store.port.book_checkpoints import ChangedDocument
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.statements import Statement, record, records


def _changed(side: str, table: str, cause: str) -> str:
    """Return the query of one side: documents with a version since the checkpoint, dated within it now or known before."""
    return f"""
    select '{side}' as side, d.id as id, d.document as document, present.known_from as known_at, d.{cause} as event,
      before.body as former, present.body as present
    from book_checkpoint c join document_version present on present.rule = c.rule and present.side = '{side}'
      and present.known_to is null and present.known_from > $2 and present.known_from <= $3
      and present.known_from > c.known
    join {table} d on d.rule = present.rule and d.document = present.document
    left join document_version before on before.side = '{side}' and before.rule = d.rule
      and before.document = d.document and before.known_from <= c.known and before.known_to > c.known
    where c.id = $1 and d.id > $4
      and ((d.entity = c.entity and substr(d.effective, 1, 10) <= c.at) or before.body is not null)
    """


_CHANGES = f"""
select * from ({_changed("left", "foil", "cause")} union all {_changed("right", "observation", "event")}) as d
order by id limit $5
"""


async def book_checkpoint(id_: str) -> BookCheckpoint | None:
    return await record(t.BOOK_CHECKPOINT, "where id = $1", id_)


async def book_checkpoints(rule: str) -> list[BookCheckpoint]:
    return await records(
        t.BOOK_CHECKPOINT,
        "where rule = $1 and state <> 'superseded' order by at desc, entity, state, id",
        rule,
    )


async def signed_checkpoints() -> list[BookCheckpoint]:
    return await records(t.BOOK_CHECKPOINT, "where state = 'signed' order by id")


async def changed_documents(
    checkpoint: str, since: datetime, until: datetime, after: str, limit: int
) -> list[ChangedDocument]:
    args = (checkpoint, micros(since), micros(until), after, limit)
    return [
        ChangedDocument(
            side=side,
            id=id_,
            document=document,
            known_at=from_micros(at),
            event=event,
            before=None if before is None else bytes(before),
            present=bytes(present),
        )
        for side, id_, document, at, event, before, present in await Statement(_CHANGES, args)
    ]
