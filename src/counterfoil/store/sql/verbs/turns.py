"""Claims of Runs, and commits of turns."""
# ruff: noqa: S608 - only names of tables and columns are put into statements, values never are

from __future__ import annotations

from counterfoil.core.approval import APPROVAL_MOVES, ApprovalState
from counterfoil.core.clock import from_micros, micros
from counterfoil.core.effect import IN_FLIGHT, Effect, EffectState
from counterfoil.core.foil_versions import taken_back
from counterfoil.core.moves import check_move
from counterfoil.core.run import TERMINAL, Run
from counterfoil.store.port.effects import Conclude
from counterfoil.store.port.records import event_stimulus
from counterfoil.store.port.turns import Claim, ConcludeAndTurn, ConcludeAndTurnResult, Turn, TurnResult
from counterfoil.store.sql import match_locks, matches
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.break_cases import open_break_after
from counterfoil.store.sql.columns import micros_or_none
from counterfoil.store.sql.registry import sql
from counterfoil.store.sql.transaction import Tx, link_topics
from counterfoil.store.sql.verbs import effects
from counterfoil.store.sql.verbs.guards import release, reserve
from counterfoil.store.sql.verbs.serial_keys import hold, leave_queues, refuse_held, unhold

CLAIM = f"""
update run set owner = $1, lease_until = $2
where id = any(array(
  select found.id from unnest($5::bigint[]) with ordinality as lanes (lane, place) cross join lateral (
    select id, due, arrival from run
    where run.lane = lanes.lane and due <= $3
      and (lease_until is null or lease_until < $3 or lease_until > $6)
    order by due, arrival limit $4 for update skip locked
  ) as found
  order by lanes.place, found.due, found.arrival limit $4
))
returning {t.RUN.names}
"""
CLAIM_LITE = f"""
update run set owner = $1, lease_until = $2
where arrival in (
  select arrival from run
  where lane = $5 and due <= $3 and (lease_until is null or lease_until < $3 or lease_until > $6)
  order by due, arrival limit $4
)
returning {t.RUN.names}
"""
# The guard of every turn: nothing is written for another version than the present one. $11 is the number of items
# that this transaction has put into the inbox itself and that count as read.
TURN = """
update run set
  version = version + 1, status = $3, direction = $4, state = $5, consumed = $6, ctx = $7,
  inbox_n = inbox_n + $11,
  due = case when $8 then null when inbox_n + $11 > $6 then $10::bigint else $9::bigint end,
  now = case when now > $10 then now else $10 end,
  owner = null, lease_until = null
where id = $1 and version = $2
returning due, inbox_n,
  exists (select 1 from wait where wait.run = run.id),
  exists (select 1 from serial_wait where serial_wait.run = run.id),
  exists (select 1 from hold where hold.run = run.id)
"""
PRESENT = "select 1 from run where id = $1 for no key update"
LIVE_OF_PATH = f"""
select path, item from effect
where run = $1 and path = $2 and state in {t.EFFECT_MAY_EXIST}
"""


@sql(Claim)
async def claim(x: Tx, c: Claim) -> tuple[Run, ...]:
    """Lease due Runs, lane by lane, oldest due first. A Run locked by another transaction is skipped."""
    until, at, latest = micros(c.lease_until), micros(c.at), micros(c.latest)
    if x.dialect == "postgres":
        rows = await x.rows(CLAIM, c.worker, until, at, c.limit, list(c.lanes), latest)
    else:
        rows = []
        for lane in c.lanes:
            if len(rows) < c.limit:
                rows += await x.rows(CLAIM_LITE, c.worker, until, at, c.limit - len(rows), lane, latest)
    place = {lane: n for n, lane in enumerate(c.lanes)}
    runs = [t.RUN.read(row) for row in rows]
    return tuple(sorted(runs, key=lambda run: (place[run.lane], run.due or c.at, run.arrival)))


@sql(Turn)
async def turn(x: Tx, u: Turn) -> TurnResult:
    await _lock(x, u)
    if await _leaves_sent_call(x, u):
        return TurnResult(verdict="stale")
    return await _commit(x, u)


@sql(ConcludeAndTurn)
async def advance(x: Tx, a: ConcludeAndTurn) -> ConcludeAndTurnResult:
    """Commit an outcome and the turn decided on it: one update of the Run appends and consumes the item.

    The turn's leaf witnesses both.
    """
    c, u = a.conclude, a.turn
    if u.reserve or u.release:
        raise ValueError(f"{u.run}: a turn that touches guards is a transition of its own")
    await _lock(x, u, c)
    update = await effects.record(x, c)
    turned = TurnResult(verdict="stale")
    if update.stimulus is None:
        return ConcludeAndTurnResult(concluded=update.concluded, turned=turned)
    current = (
        update.run == (u.version, u.consumed - 1)
        and not x.appended[u.run]
        and update.stimulus.run == u.run
        and not await _leaves_sent_call(x, u)
    )
    if current and not u.hold:
        await x.insert(t.INBOX, [t.INBOX.row(update.stimulus.item(u.consumed, c.at))])
        turned = await _commit(x, u, read=1)
    else:
        await x.append(update.stimulus, c.at)
        if current:
            del x.appended[u.run]
            turned = await _commit(x, u)
    if turned.verdict != "done":
        effects.log_outcome(x, c, update.stimulus.run)
    return ConcludeAndTurnResult(concluded=update.concluded, turned=turned)


async def _leaves_sent_call(x: Tx, u: Turn) -> bool:
    """Report whether the turn ends its Run while a call that it drops was sent meanwhile.

    The intent of a call changes neither the Run's version nor its inbox, so only the effect's row shows it.
    """
    if u.status not in TERMINAL or not u.drop:
        return False
    await x.rows(PRESENT, u.run)
    rows = await x.rows(
        "select state from effect where id = any($1::text[]) order by id for update", sorted(set(u.drop))
    )
    return any(EffectState(row[0]) in IN_FLIGHT for row in rows)


async def _commit(x: Tx, u: Turn, read: int = 0) -> TurnResult:
    """Commit a turn with its locks held.

    `read`: number of items that this transaction has put into the inbox and counts only now.
    """
    terminal = u.status in TERMINAL
    if u.hold or u.reserve or u.release:
        asks = await x.one(
            "select arrival from run where id = $1 and version = $2 for no key update", u.run, u.version
        )
        if asks is None:
            return TurnResult(verdict="stale")
        if not await hold(x, u, asks[0]):
            return TurnResult(verdict="held", version=u.version)
        await reserve(x, u)
    row = await x.one(
        TURN,
        u.run,
        u.version,
        str(u.status),
        str(u.direction),
        u.state,
        u.consumed,
        u.ctx,
        terminal,
        micros_or_none(u.due),
        micros(u.at),
        read,
    )
    if row is None:
        return TurnResult(verdict="stale")
    due, inbox_n, has_waits, queued, has_holds = row
    await _approvals(x, u)
    started = await _plan(x, u)
    for id_ in u.again:
        await effects.plan_again(x, id_)
    for id_ in u.drop:
        await effects.abandon(x, id_, u.at)
    await _write_foils(x, u)
    for case in u.cases:
        await x.open_case(case, u.at, u.actor)
    await _close_cases(x, u)
    await _emit(x, u)
    for start in u.starts:
        await x.start(start, u.at)
    await release(x, u)
    woken = await unhold(x, u) if u.unhold else []
    if terminal and has_holds:
        await refuse_held(x, u)
    if queued:
        woken += await leave_queues(x, u)
    await _wait(x, u, had_waits=bool(has_waits), terminal=terminal)
    more = x.appended[u.run]
    if more:
        inbox_n += more
        if not terminal:
            due = micros(u.at)
            await x.rows("update run set due = $2 where id = $1", u.run, due)
    version = u.version + 1
    x.leaf("turned", u.run, u.at, u.actor, u.leaf, run=u.run, version=version)
    return TurnResult(
        verdict="done",
        version=version,
        inbox_n=inbox_n,
        due=None if due is None else from_micros(due),
        started=started,
        woken=tuple(woken),
    )


CLOSE_CASE = f"""
update case_ set state = 'resolved', resolved_at = $2, resolved_by = 'run', note = $3
where id = $1 and state = 'open' returning {t.CASE.names}
"""


async def _close_cases(x: Tx, u: Turn) -> None:
    """Resolve the Cases of steps that the Run has left. A foil that is still broken gets a Case of its own."""
    for id_, note in u.close_cases:
        row = await x.one(CLOSE_CASE, id_, micros(u.at), note)
        if row is not None:
            await open_break_after(x, t.CASE.read(row), u.at)


async def _write_foils(x: Tx, u: Turn) -> None:
    """Write new foils and take back those of undone effects, then settle their match rows."""
    touched: set[tuple[str, str]] = set()
    for foil in u.foils:
        touched |= await matches.put_foil(x, foil, u.at)
    for effect in u.reverse:
        touched |= await matches.change_foils(x, effect, taken_back, u.at)
    await matches.settle_matches(x, touched, u.at)


async def _emit(x: Tx, u: Turn) -> None:
    new = await x.insert(t.EVENT, [t.EVENT.row(e) for e in u.events], ignore=True, returning="id")
    ids = {row[0] for row in new}
    todos = [("event", e.id, False, "") for e in u.events if e.id in ids]
    await x.insert(t.TODO, todos, ignore=True)


async def _lock(x: Tx, u: Turn, c: Conclude | None = None) -> None:
    """Lock topics, match rows, holds and Runs, in this order."""
    if x.dialect == "sqlite":
        return
    linked = link_topics(c.links) if c is not None else []
    await x.lock_topics([*linked, *(wait.topic for wait in u.waits)])
    touched = await match_locks.matches_of(x, u.foils)
    effects = sorted({*u.drop, *u.reverse, *([c.effect] if c is not None else [])})
    if u.close_cases:
        cases = [id_ for id_, _ in u.close_cases]
        touched |= {(rule, key) for rule, key in await x.rows(match_locks.KEYS_OF_CASES, cases)}
    if effects:
        touched |= {(rule, key) for rule, key in await x.rows(match_locks.KEYS_OF_EFFECTS, effects)}
    await x.lock_matches(touched)
    next_runs: set[str] = set()
    if u.hold or u.unhold:
        statement = "select serial from hold where serial = any($1::text[]) order by serial for update"
        await x.rows(statement, sorted({*u.hold, *u.unhold}))
    if u.unhold:
        statement = """
        select (select w.run from serial_wait w where w.serial = given order by arrival, run limit 1)
        from unnest($1::text[]) as given
        """
        waiting = await x.rows(statement, sorted(u.unhold))
        next_runs = {r[0] for r in waiting if r[0] is not None}
    await x.lock_runs({u.run, *(start.run for start in u.starts), *next_runs}, linked, touched)
    if c is not None:
        await x.rows(PRESENT, u.run)


async def _plan(x: Tx, u: Turn) -> tuple[str, ...]:
    """Insert effects as planned, or as sending where the worker has a slot; send refused ones again.

    An effect without valid approvals is not sent. Return the effects that are sending now.
    """
    sends = {send.effect: send for send in u.send}
    planned, started = [], set[str]()
    for effect in u.plan:
        send = sends.pop(effect.id, None)
        if send is not None and await effects.is_approved(x, effect):
            planned.append(send.applied(effect))
            started.add(effect.id)
        else:
            planned.append(effect)
    if planned:
        await _refuse_second_generation(x, u, planned)
        new = await x.insert(t.EFFECT, [t.EFFECT.row(e) for e in planned], ignore=True, returning="id")
        if len(new) < len(planned):
            raise ValueError(f"{sorted({e.id for e in planned} - {r[0] for r in new})} exist already")
    for send in sends.values():
        row = await effects.lock_effect(x, send.effect)
        if row is None:
            raise KeyError(send.effect)
        sending = send.applied(row)
        if await effects.is_approved(x, row):
            await effects.write_sent(x, sending)
            started.add(row.id)
        else:
            await effects.drop_stale(x, row, u.at)
    return tuple(send.effect for send in u.send if send.effect in started)


async def _refuse_second_generation(x: Tx, u: Turn, planned: list[Effect]) -> None:
    """Raise ValueError for a second live generation of a step, among existing effects and those of this turn."""
    live = []
    for path in sorted({effect.path for effect in planned}):
        live += await x.rows(LIVE_OF_PATH, u.run, path)
    steps = {(path, item) for path, item in live}
    starting: set[tuple[str, str]] = set()
    for effect in planned:
        step = (effect.path, effect.item)
        starts = effect.state is EffectState.SENDING
        if step in steps or (starts and step in starting):
            raise ValueError(f"{effect.path} of {effect.run} has a live generation already")
        if starts:
            starting.add(step)


async def _approvals(x: Tx, u: Turn) -> None:
    await x.insert(t.APPROVAL, [t.APPROVAL.row(approval) for approval in u.approvals], ignore=True)
    for id_, state in u.close_approvals:
        row = await x.one("select state from approval where id = $1 for update", id_)
        if row is None:
            raise KeyError(id_)
        check_move(APPROVAL_MOVES, ApprovalState(row[0]), state, id_)
        await x.rows("update approval set state = $2 where id = $1", id_, str(state))


async def _wait(x: Tx, u: Turn, *, had_waits: bool, terminal: bool) -> None:
    """Replace the Run's waits.

    Topic locks serialise this and `post`: an event is either read here, or its post reads the new wait.
    """
    if had_waits:
        await x.rows("delete from wait where run = $1", u.run)
    if terminal or not u.waits:
        return
    waits = {wait.topic: wait.since for wait in u.waits}
    rows = [(topic, u.run, micros_or_none(since)) for topic, since in waits.items()]
    await x.insert(t.WAIT, rows)
    for topic, since in waits.items():
        statement = """
        select event, body from post
        where topic = $1 and at >= $2
          and not exists (select 1 from inbox where run = $3 and kind = 'event' and ref = post.event)
        order by at, rowid
        """
        posted = await x.rows(statement, topic, micros(since) if since is not None else 0, u.run)
        await x.append_all([event_stimulus(u.run, event, body) for event, body in posted], u.at)
