"""One transition's work in a transaction: requests, locks in the order of the protocol, leaves, and shared parts.

Locks are taken in the order topics, match rows, holds, runs, effects, guards, each sorted. SQLite has one writer and
needs none.
"""
# ruff: noqa: S608 - only names of tables and columns are put into statements, values never are

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from counterfoil.core import wire
from counterfoil.core.audit import Leaf
from counterfoil.core.case import Case, CaseState
from counterfoil.core.cases import (
    MAX_REPEATED_CHARS,
    case_topic,
    exposure_with,
    held_repeat,
    holds_run,
    id_after,
    joined_note,
    repeat_body,
)
from counterfoil.core.clock import micros
from counterfoil.core.link import Link, LinkStatus
from counterfoil.store.port.records import NewInboxItem, RunStart, TopicPost, event_stimulus, link_post
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.columns import SqlTable
from counterfoil.store.sql.statements import Dialect, Insert, Row, Statement

APPEND = f"""
update run set
  inbox_n = inbox_n + 1,
  due = case when status in {t.RUN_ENDED} or due <= $4 then due else $4 end
where id = $1 and not exists (select 1 from inbox where run = $1 and kind = $2 and ref = $3)
returning inbox_n
"""
# Several appends to one inbox in one statement: each gets its own place behind what is there.
APPEND_MANY = f"""
with asked as (
  select * from unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) with ordinality as q (run, kind, ref, at, n)
), fresh as (
  select asked.*, row_number() over (partition by run order by n) as place from asked
  where not exists (
    select 1 from inbox i where i.run = asked.run and i.kind = asked.kind and i.ref = asked.ref
  )
), grown as (
  update run set
    inbox_n = inbox_n + more.count,
    due = case when status in {t.RUN_ENDED} or due <= more.at then due else more.at end
  from (select run, count(*) as count, min(at) as at from fresh group by run order by run) as more
  where run.id = more.run
  returning run.id, run.inbox_n - more.count as before
)
select fresh.n, grown.before + fresh.place from fresh join grown on grown.id = fresh.run
"""
# A match row that existed is locked by a second statement; a new one by having been inserted.
LOCK_MATCH = "select 1 from match_row where rule = $1 and key = $2 for update"
LOCK_TOPICS = "select pg_advisory_xact_lock(hashtextextended(topic, 0)) from unnest($1::text[]) as topic"
LOCK_RUNS = "select 1 from run where id = any($1::text[]) order by id for no key update"
RUNS_OF_MATCH = "select run from foil where rule = $1 and key = $2 and run is not null"

_RANDOM = random.Random(os.urandom(16))  # noqa: S311 - unique names of leaves, no secret

CASES_OF_FOIL = "select 1 from case_ where foil = $1 and state = 'open'"
JOIN_CASES = """
update case_ set state = 'resolved', resolved_at = $2, resolved_by = 'matching', note = $3
where foil = $1 and state = 'open' and choices not like '%"retry"%'
"""
RAISE_COUNT = f"""
update case_ set count = count + $2,
  message = case when count + $2 > 1 then $3 || ' (' || (count + $2) || ' in all)' else $3 end
where id = $1 and state = 'open' returning {t.CASE.names}
"""


class Tx:
    """The database, as one transition uses it."""

    def __init__(self, dialect: Dialect, *, shared: bool = False) -> None:
        self.dialect = dialect
        self.shared = shared
        """Other transitions run in the same database transaction, where locks keep none of them out."""
        self.matches: set[tuple[str, str]] = set()
        """Match rows locked by this transition."""
        self.appended: Counter[str] = Counter()
        """Number of items that this transition appended, by Run."""
        self.leaves: list[Leaf] = []
        """Audit leaves of this transition, written at its end."""

    # ------------------------------------------------------------------ requests

    def rows(self, sql: str, *args: Any) -> Statement:
        return Statement(sql, args)

    async def one(self, sql: str, *args: Any) -> Row | None:
        rows = await Statement(sql, args)
        return rows[0] if rows else None

    async def insert(
        self, table: SqlTable[Any], rows: Sequence[Row], *, ignore: bool = False, returning: str = ""
    ) -> list[Row]:
        return await Insert(table, rows, ignore, returning) if rows else []

    # ------------------------------------------------------------------ locks

    async def lock_topics(self, topics: Iterable[str]) -> None:
        """Lock topics: until this transaction ends, no other posts to them or begins to wait on them."""
        names = sorted(set(topics))
        if names and self.dialect == "postgres":
            await self.rows(LOCK_TOPICS, names)

    async def lock_matches(self, matches: Iterable[tuple[str, str]]) -> bool:
        """Lock match rows; report whether any of them was not locked yet, so that what was read may be outdated."""
        rows = sorted(set(matches) - self.matches)
        if not rows or self.dialect == "sqlite":
            return False
        new = {tuple(r) for r in await self.insert(t.MATCH_ROW, rows, ignore=True, returning="rule, key")}
        for rule, key in rows:
            if (rule, key) not in new:
                await self.rows(LOCK_MATCH, rule, key)
        self.matches.update(rows)
        return True

    async def lock_runs(
        self, runs: Iterable[str], topics: Iterable[str] = (), matches: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Lock every Run that this transition may append to.

        These are the Runs given, those that wait on the topics, and those of the match rows' foils. A single Run is
        locked by its own update.
        """
        if self.dialect == "sqlite":
            return
        ids = set(runs)
        names = sorted(set(topics))
        if names:
            waiting = await self.rows("select run from wait where topic = any($1::text[])", names)
            ids |= {row[0] for row in waiting}
        for rule, key in set(matches):
            ids |= {r[0] for r in await self.rows(RUNS_OF_MATCH, rule, key)}
        if len(ids) > 1:
            await self.rows(LOCK_RUNS, sorted(ids))

    # ------------------------------------------------------------------ leaves

    def leaf(
        self,
        kind: str,
        subject: str,
        at: datetime,
        actor: str,
        body: bytes,
        run: str | None = None,
        version: int | None = None,
    ) -> None:
        """Add one audit leaf. Ids begin with the time, so that they stay together in their index."""
        id_ = f"leaf_{micros(at):014x}{_RANDOM.getrandbits(56):014x}"
        self.leaves.append(
            Leaf(id=id_, kind=kind, subject=subject, run=run, version=version, actor=actor, at=at, body=body)
        )

    # ------------------------------------------------------------------ runs

    async def append(self, s: NewInboxItem, at: datetime) -> bool:
        """Append one item (PROTOCOL append): a new one gets the next seq, and the Run is due no later than now."""
        row = await self.one(APPEND, s.run, s.kind, s.ref, micros(at))
        if row is None:
            return False
        await self.insert(t.INBOX, [t.INBOX.row(s.item(row[0], at))])
        self.appended[s.run] += 1
        return True

    async def append_all(self, stimuli: Sequence[NewInboxItem], at: datetime) -> list[str]:
        """Append to many inboxes and return the Runs that had no such item. One statement where round trips cost."""
        if self.dialect == "sqlite" or len(stimuli) < 2:
            return [s.run for s in stimuli if await self.append(s, at)]
        due = micros(at)
        rows = [(s.run, s.kind, s.ref, due) for s in stimuli]
        columns = [list(column) for column in zip(*rows, strict=True)]
        new = sorted(tuple(row) for row in await self.rows(APPEND_MANY, *columns))
        items = []
        for number, seq in new:
            items.append(stimuli[number - 1].item(seq, at))
        await self.insert(t.INBOX, [t.INBOX.row(item) for item in items])
        runs = [item.run for item in items]
        self.appended.update(runs)
        return runs

    async def start(self, start: RunStart, at: datetime) -> bool:
        """Insert a Run with its first item in its inbox; an existing Run gets the item appended."""
        s = start.stimulus
        run = replace(start.new_run(0, at), inbox_n=1 if s.run == start.run else 0)
        born = await self.insert(t.RUN_BIRTH, [t.RUN_BIRTH.row(run)], ignore=True, returning="id")
        if born and s.run == start.run:
            await self.insert(t.INBOX, [t.INBOX.row(s.item(1, at))])
        elif born or not start.only_birth:
            await self.append(s, at)
        return bool(born)

    async def post(self, post: TopicPost, at: datetime) -> list[str]:
        """Post an event under its topics, to the Runs and the parked todos that wait there."""
        woken = []
        for topic in post.topics:
            row = (topic, post.event, micros(at), post.body)
            if not await self.insert(t.POST, [row], ignore=True, returning="topic"):
                continue
            waiting = await self.rows("select run from wait where topic = $1 order by run", topic)
            items = [event_stimulus(row[0], post.event, post.body) for row in waiting]
            woken += await self.append_all(items, at)
            await self.rows(
                "update todo set parked = false, wake_topic = '' where wake_topic = $1 and wake_topic <> ''",
                topic,
            )
        return woken

    async def link(self, link: Link, at: datetime) -> list[str]:
        """Keep one active canonical id per external id: the same one changes nothing, another one supersedes it."""
        statement = """
        select canonical, status from link
        where object = $1 and system = $2 and account = $3 and ext_id = $4 and status <> 'superseded'
        for update
        """
        former = await self.one(statement, link.object, link.system, link.account, link.ext_id)
        if former is not None:
            if former[0] == link.canonical and former[1] == link.status:
                return []
            statement = """
            update link set status = 'superseded', valid_to = $5
            where object = $1 and system = $2 and account = $3 and ext_id = $4 and status <> 'superseded'
            """
            await self.rows(statement, link.object, link.system, link.account, link.ext_id, micros(at))
        await self.insert(t.LINK, [t.LINK.row(link)])
        return await self.post(link_post(link), at) if link.status is LinkStatus.CONFIRMED else []

    # ------------------------------------------------------------------ cases

    async def open_case(self, case: Case, at: datetime, actor: str) -> bool:
        """Open a Case; one with this id that was resolved stays resolved. A foil that is asked about already has one Case."""
        if case.foil is not None and not holds_run(case) and await self.rows(CASES_OF_FOIL, case.foil):
            return False
        if not await self.insert(t.CASE, [t.CASE.row(case)], ignore=True, returning="id"):
            return False
        if case.foil is not None and holds_run(case):
            await self.rows(JOIN_CASES, case.foil, micros(at), joined_note(case))
        body = wire.dumps({"reason": case.reason, "owner": case.owner, "message": case.message})
        self.leaf("case.opened", case.id, at, actor, body, run=case.run)
        return True

    async def count_case(self, case: Case, at: datetime, actor: str) -> Case:
        """Open a Case, or raise the count of the open one; a resolved one is followed by another. Return what is stored.

        One statement reads and writes the count: transitions in lockstep share no read of it. Those that also add money
        have the Case among their keys.
        """
        while not await self.open_case(case, at, actor):
            row = await self.one(RAISE_COUNT, case.id, case.count, case.message[:MAX_REPEATED_CHARS])
            if row is not None:
                stored = t.CASE.read(row)
                raised = replace(stored, exposure=exposure_with(stored, case))
                if raised.exposure != stored.exposure:
                    exposure = t.CASE.columns["exposure"].save(raised.exposure)
                    await self.rows("update case_ set exposure = $2 where id = $1", raised.id, exposure)
                self.leaf("case.repeated", raised.id, at, actor, repeat_body(raised), run=case.run)
                return raised
            case = replace(case, id=id_after(case.id))
        return case

    async def hold_case(self, case: Case, at: datetime, actor: str) -> str:
        """Open the Case of a held delivery, or count it in the open one of the same fact.

        Return the Case whose decision it awaits if another delivery has the Case; empty if it has the Case itself.
        """
        while True:
            row = await self.one(f"{t.CASE.select} where id = $1 for update", case.id)
            former = None if row is None else t.CASE.read(row)
            if former is None or former.state is CaseState.OPEN:
                break
            case = replace(case, id=id_after(case.id))
        more = case if former is None else held_repeat(former, case)
        stored = former if more is None else await self.count_case(more, at, actor)
        assert stored is not None
        own = (stored.receipt, stored.event) == (case.receipt, case.event)
        return "" if own else stored.id

    async def release_held(self, case: str, retry: bool) -> None:
        """Put back the deliveries that wait for the decision on a Case, or drop them."""
        if retry:
            statement = "update todo set parked = false, wake_topic = '' where parked and wake_topic = $1"
        else:
            statement = "delete from todo where parked and wake_topic = $1"
        await self.rows(statement, case_topic(case))


async def write_leaves(leaves: Sequence[Leaf]) -> None:
    """Write the audit leaves of one transition, or of several in one transaction."""
    if leaves:
        await Insert(t.LEAF, [t.LEAF.row(leaf) for leaf in leaves], False, "")
        await Insert(t.PENDING, [(leaf.id, leaf.hash) for leaf in leaves], False, "")


def link_topics(links: Iterable[Link]) -> list[str]:
    return [topic for link in links if link.status is LinkStatus.CONFIRMED for topic in link.topics]
