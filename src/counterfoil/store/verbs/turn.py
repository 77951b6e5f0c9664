"""Claiming Runs, and committing what one turn decided."""
# ruff: noqa: S608 - only names of tables and columns are put into statements, values never are

from __future__ import annotations

from counterfoil.core.approval import APPROVAL_MOVES, ApprovalState
from counterfoil.core.effect import Effect, EffectState
from counterfoil.core.foil import FOIL_MOVES, FoilState
from counterfoil.core.moves import check_move
from counterfoil.core.run import TERMINAL, Run
from counterfoil.store import store as port
from counterfoil.store import tables as t
from counterfoil.store.tables import micros, micros_or_none
from counterfoil.store.verbs import effects
from counterfoil.store.verbs.guards import release, reserve
from counterfoil.store.verbs.serials import hold, leave_queues, unhold
from counterfoil.store.verbs.step import FOILS_OF_EFFECT, Step, event_stimulus

CLAIM = f"""
update run set owner = $1, lease_until = $2
where id = any(array(
  select id from run where due <= $3 and (lease_until is null or lease_until < $3)
  order by due, arrival limit $4 for update skip locked
))
returning {t.RUN.names}
"""
CLAIM_LITE = f"""
update run set owner = $1, lease_until = $2
where arrival in (
  select arrival from run where due <= $3 and (lease_until is null or lease_until < $3)
  order by due, arrival limit $4
)
returning {t.RUN.names}
"""
# The guard of every turn: nothing is written for a version that is not the present one.
TURN = """
update run set
  version = version + 1, status = $3, direction = $4, state = $5, consumed = $6, ctx = $7,
  due = case when $8 then null when inbox_n > $6 then $10::bigint else $9::bigint end,
  now = case when now > $10 then now else $10 end,
  owner = null, lease_until = null
where id = $1 and version = $2
returning due,
  exists (select 1 from wait where wait.run = run.id),
  exists (select 1 from serial_wait where serial_wait.run = run.id)
"""

LIVE_OF_PATH = """
select path, item from effect
where run = $1 and path = $2 and state in ('sending', 'unknown', 'accepted', 'confirmed')
"""


async def claim(x: Step, c: port.Claim) -> tuple[Run, ...]:
    """Lease due Runs, oldest due first. A Run that another transaction has locked is left for the next time."""
    sql = CLAIM_LITE if x.dialect == "sqlite" else CLAIM
    rows = await x.rows(sql, c.worker, micros(c.lease_until), micros(c.at), c.limit)
    runs = [t.RUN.read(row) for row in rows]
    return tuple(sorted(runs, key=lambda run: (run.due or c.at, run.arrival)))


async def turn(x: Step, u: port.Turn) -> port.Turned:
    terminal = u.status in TERMINAL
    await _lock(x, u, terminal)
    if u.hold or u.reserve or u.release:
        held = await x.one(
            "select arrival from run where id = $1 and version = $2 for no key update", u.run, u.version
        )
        if held is None:
            return port.Turned(verdict="stale")
        if not await hold(x, u, held[0]):
            return port.Turned(verdict="held", version=u.version)
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
    )
    if row is None:
        return port.Turned(verdict="stale")
    due, waited, queued = row
    await _plan(x, u)
    for id_ in u.drop:
        await effects.abandon(x, id_, u.at)
    touched = await x.open_foils(u.foils)
    touched |= await _reverse(x, u)
    await x.settle(touched, u.at)
    await _approvals(x, u)
    for case in u.cases:
        await x.open_case(case, u.at, u.actor)
    new = await x.insert(t.EVENT, [t.EVENT.row(e) for e in u.events], ignore=True, returning="id")
    emitted = {r[0] for r in new}
    todos = [("event", e.id, False, "") for e in u.events if e.id in emitted]
    await x.insert(t.TODO, todos, ignore=True)
    for start in u.starts:
        await x.start(start, u.at)
    await release(x, u)
    woken = await unhold(x, u) if u.unhold or terminal else []
    if queued:
        woken += await leave_queues(x, u)
    await _wait(x, u, waited=bool(waited), terminal=terminal)
    if u.run in x.appended and not terminal:
        due = micros(u.at)
        await x.rows("update run set due = $2 where id = $1", u.run, due)
    version = u.version + 1
    x.leaf("turned", u.run, u.at, u.actor, u.leaf, run=u.run, version=version)
    return port.Turned(
        verdict="done", version=version, due=None if due is None else t.moment(due), woken=tuple(woken)
    )


async def _lock(x: Step, u: port.Turn, terminal: bool) -> None:
    """Topics, match rows, holds and Runs, in this order; the rest of the turn finds them locked."""
    if x.dialect == "sqlite":
        return
    await x.lock_topics(wait.topic for wait in u.waits)
    matches = {(foil.rule, foil.key) for foil in u.foils}
    undone = sorted({*u.drop, *u.reverse})
    if undone:
        found = await x.rows("select rule, key from foil where effect = any($1::text[])", undone)
        matches |= {(rule, key) for rule, key in found}
    await x.lock_matches(matches)
    next_runs: set[str] = set()
    if u.hold or u.unhold or terminal:
        await x.rows(
            "select serial from hold where serial = any($1::text[]) or run = $2 order by serial for update",
            sorted(u.hold),
            u.run,
        )
    if u.unhold or terminal:
        waiting = await x.rows(
            """
            select (select w.run from serial_wait w where w.serial = hold.serial order by arrival, run limit 1)
            from hold where run = $1
            """,
            u.run,
        )
        next_runs = {r[0] for r in waiting if r[0] is not None}
    await x.lock_runs({u.run, *(start.run for start in u.starts), *next_runs}, (), matches)


async def _plan(x: Step, u: port.Turn) -> None:
    """Effects enter as planned, or as sending when a quota was in hand; those planned before may start."""
    sends = {send.effect: send for send in u.send}
    planned = []
    for effect in u.plan:
        send = sends.pop(effect.id, None)
        planned.append(effect if send is None else effects.sent(effect, send))
    if planned:
        await _refuse_second_generation(x, u, planned)
        new = await x.insert(t.EFFECT, [t.EFFECT.row(e) for e in planned], ignore=True, returning="id")
        if len(new) < len(planned):
            raise ValueError(f"{sorted({e.id for e in planned} - {r[0] for r in new})} exist already")
    for send in sends.values():
        held = await effects.locked(x, send.effect)
        if held is None:
            raise KeyError(send.effect)
        await effects.write_sent(x, effects.sent(held, send))


async def _refuse_second_generation(x: Step, u: port.Turn, planned: list[Effect]) -> None:
    """One generation of a step at a time, among those of before and those of this turn."""
    live = []
    for path in sorted({effect.path for effect in planned}):
        live += await x.rows(LIVE_OF_PATH, u.run, path)
    taken = {(path, item) for path, item in live}
    starting: set[tuple[str, str]] = set()
    for effect in planned:
        step = (effect.path, effect.item)
        starts = effect.state is EffectState.SENDING
        if step in taken or (starts and step in starting):
            raise ValueError(f"{effect.path} of {effect.run} has a live generation already")
        if starts:
            starting.add(step)


async def _reverse(x: Step, u: port.Turn) -> set[tuple[str, str]]:
    """Foils whose cause was taken back are reversed; what covered them becomes free for others."""
    touched = set()
    for effect in u.reverse:
        for row in await x.rows(FOILS_OF_EFFECT, effect):
            foil = t.FOIL.read(row)
            if FoilState.REVERSED in FOIL_MOVES[foil.state]:
                await x.move_foil(foil, FoilState.REVERSED, "its cause was taken back", u.at)
                touched.add((foil.rule, foil.key))
    return touched


async def _approvals(x: Step, u: port.Turn) -> None:
    await x.insert(t.APPROVAL, [t.APPROVAL.row(approval) for approval in u.approvals], ignore=True)
    for id_, state in u.close_approvals:
        held = await x.one("select state from approval where id = $1 for update", id_)
        if held is None:
            raise KeyError(id_)
        check_move(APPROVAL_MOVES, ApprovalState(held[0]), state, id_)
        await x.rows("update approval set state = $2 where id = $1", id_, str(state))


async def _wait(x: Step, u: port.Turn, *, waited: bool, terminal: bool) -> None:
    """Replace the Run's waits. Topic locks make this and `post` take turns, so what is posted is either found
    here or finds the wait there."""
    if waited:
        await x.rows("delete from wait where run = $1", u.run)
    if terminal or not u.waits:
        return
    waits = {wait.topic: wait.since for wait in u.waits}
    rows = [(topic, u.run, micros_or_none(since)) for topic, since in waits.items()]
    await x.insert(t.WAIT, rows)
    for topic, since in waits.items():
        posted = await x.rows(
            """
            select event, body from post
            where topic = $1 and at >= $2
              and not exists (select 1 from inbox where run = $3 and kind = 'event' and ref = post.event)
            order by at, rowid
            """,
            topic,
            micros(since) if since is not None else 0,
            u.run,
        )
        await x.append_all([event_stimulus(u.run, event, body) for event, body in posted], u.at)
