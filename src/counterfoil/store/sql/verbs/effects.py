"""Effects: the intent before bytes leave, and the outcome from any worker."""
# ruff: noqa: S608 - only names of tables and columns are put into statements, values never are

from __future__ import annotations

from datetime import datetime

import msgspec

from counterfoil.core import wire
from counterfoil.core.approval import ApprovalState
from counterfoil.core.case_reasons import ANSWERED_BY_EVIDENCE
from counterfoil.core.clock import micros
from counterfoil.core.effect import EFFECT_MOVES, IN_FLIGHT, SAID_NO, UNSETTLED, Effect, EffectState
from counterfoil.core.foil_versions import after_effect, given_up
from counterfoil.core.moves import check_move
from counterfoil.core.people import Person
from counterfoil.store.port.effects import (
    Conclude,
    ConcludeResult,
    Intent,
    IntentResult,
    LookAgain,
    ResendUnknown,
)
from counterfoil.store.port.records import NewInboxItem
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.columns import micros_or_none
from counterfoil.store.sql.matches import change_foils, settle_matches
from counterfoil.store.sql.registry import sql
from counterfoil.store.sql.transaction import Tx, link_topics

EFFECT = f"{t.EFFECT.select} where id = $1"
SENT = f"""
update effect set state = 'sending', attempt = $2, worker = $3, send_by = $4, call_until = $5,
  conclude_at = $6, look_at = null, request = $7
where id = $1 and not exists (
  select 1 from effect other
  where other.run = effect.run and other.path = effect.path and other.item = effect.item
    and other.id <> effect.id and other.state in {t.EFFECT_MAY_EXIST}
)
returning id
"""
CONCLUDED = """
update effect set state = $2, result = $3, error_class = $4, error = $5, look_at = $6, ended_at = $7
where id = $1
"""


async def lock_effect(x: Tx, id_: str) -> Effect | None:
    row = await x.one(f"{EFFECT} for update", id_)
    return None if row is None else t.EFFECT.read(row)


async def write_sent(x: Tx, e: Effect) -> None:
    """Raises ValueError when another generation of the same step is on its way or confirmed."""
    row = await x.one(
        SENT,
        e.id,
        e.attempt,
        e.worker,
        micros_or_none(e.send_by),
        micros_or_none(e.call_until),
        micros_or_none(e.conclude_at),
        e.request,
    )
    if row is None:
        raise ValueError(f"{e.path} of {e.run} has a live generation already")


async def plan_again(x: Tx, id_: str) -> None:
    effect = await lock_effect(x, id_)
    if effect is None:
        raise KeyError(id_)
    check_move(EFFECT_MOVES, effect.state, EffectState.PLANNED, id_)
    await x.rows("update effect set state = 'planned', ended_at = null where id = $1", id_)


async def abandon(x: Tx, id_: str, at: datetime) -> None:
    """planned -> dropped; a refused effect stays refused. Either way its provisional foils are void."""
    effect = await lock_effect(x, id_)
    if effect is None:
        raise KeyError(id_)
    if effect.state is EffectState.PLANNED:
        await x.rows("update effect set state = 'dropped', ended_at = $2 where id = $1", id_, micros(at))
    elif effect.state in IN_FLIGHT:
        return  # it was sent meanwhile: its outcome decides about its foils
    await settle_matches(x, await change_foils(x, id_, given_up, at), at)


@sql(Intent)
async def intent(x: Tx, i: Intent) -> IntentResult:
    """planned -> sending. Its approvals are read again with the effect locked."""
    await _lock(x, i.send.effect)
    effect = await lock_effect(x, i.send.effect)
    if effect is None or effect.state is not EffectState.PLANNED or effect.attempt + 1 != i.send.attempt:
        return IntentResult(verdict="lost")
    if not await is_approved(x, effect):
        await drop_stale(x, effect, i.at)
        return IntentResult(verdict="stale")
    await write_sent(x, i.send.applied(effect))
    _sent_leaf(x, effect, i.send.attempt, i.at, i.actor)
    return IntentResult(verdict="sending")


async def drop_stale(x: Tx, effect: Effect, at: datetime) -> None:
    await abandon(x, effect.id, at)
    await x.rows("update effect set state = 'dropped', ended_at = $2 where id = $1", effect.id, micros(at))
    body = wire.dumps({"effect": effect.id, "path": effect.path})
    await x.append(NewInboxItem(run=effect.run, kind="stale", ref=effect.id, body=body), at)
    x.leaf("stale", effect.id, at, "approvals", body, run=effect.run)


@sql(ResendUnknown)
async def resend(x: Tx, r: ResendUnknown) -> IntentResult:
    """unknown -> sending, where the vendor recognises a repeat."""
    effect = await lock_effect(x, r.send.effect)
    if effect is None or effect.state is not EffectState.UNKNOWN or effect.attempt + 1 != r.send.attempt:
        return IntentResult(verdict="lost")
    if effect.repeat not in ("key", "unique", "read"):
        raise ValueError(f"{effect.id}: repeat {effect.repeat} may not be sent again from unknown")
    if not await is_approved(x, effect):
        return IntentResult(verdict="stale")
    await write_sent(x, r.send.applied(effect))
    _sent_leaf(x, effect, r.send.attempt, r.at, r.actor)
    return IntentResult(verdict="sending")


ANSWER_CASES = """
update case_ set
  state = 'resolved', resolved_at = $2, resolved_by = 'evidence', note = 'the outcome is known'
where effect = $1 and state = 'open' and reason in ($3, $4)
"""


class RecordedOutcome(msgspec.Struct, frozen=True):
    """Result of recording an outcome, and the item for its Run's inbox; None when nothing changed."""

    concluded: ConcludeResult
    stimulus: NewInboxItem | None = None
    run: tuple[int, int] = (-1, -1)
    """Version and inbox size of its Run, before the item is appended."""


@sql(Conclude)
async def conclude(x: Tx, c: Conclude) -> ConcludeResult:
    """Record evidence, which no lease fences: the attempt and the table of moves are its only guard."""
    await _lock(x, c.effect, link_topics(c.links))
    return await record_and_append(x, c)


async def record_and_append(x: Tx, c: Conclude) -> ConcludeResult:
    """Record an outcome and append it to its Run, with everything locked."""
    update = await record(x, c)
    if update.stimulus is not None:
        await x.append(update.stimulus, c.at)
        log_outcome(x, c, update.stimulus.run)
    return update.concluded


def log_outcome(x: Tx, c: Conclude, run: str) -> None:
    x.leaf(str(c.state), c.effect, c.at, c.actor, wire.dumps(c.leaf_body()), run=run)


# With its Run as it is before the outcome is appended, and whether it has foils.
WITH_RUN = """
select e.run, e.path, e.item, e.state, e.attempt, e.result, r.version, r.inbox_n,
  exists (select 1 from foil where foil.effect = e.id)
from effect e join run r on r.id = e.run where e.id = $1 for update of e
"""


async def record(x: Tx, c: Conclude) -> RecordedOutcome:
    """Record an outcome with all its consequences outside of the Run."""
    row = await x.one(WITH_RUN, c.effect)
    if row is None:
        return RecordedOutcome(ConcludeResult(verdict="late"))
    run, path, item, state_name, attempt, result, version, inbox_n, asserts = row
    state = EffectState(state_name)
    if state is EffectState.PLANNED and attempt == 0:  # never sent
        return RecordedOutcome(ConcludeResult(verdict="late"))
    contradiction = c.state is EffectState.CONFIRMED and state in SAID_NO
    if attempt != c.attempt or c.state not in EFFECT_MOVES[state]:
        dropped = c.state is EffectState.CONFIRMED and state is EffectState.DROPPED
        if not (contradiction or dropped):
            return RecordedOutcome(ConcludeResult(verdict="late"))
        if c.contradiction is not None:
            await x.open_case(c.contradiction, c.at, c.actor)
        return RecordedOutcome(ConcludeResult(verdict="contradiction"))
    unsettled = c.state in UNSETTLED
    await x.rows(
        CONCLUDED,
        c.effect,
        str(c.state),
        c.result if c.result is not None else result,
        None if c.error_class is None else str(c.error_class),
        c.error,
        micros_or_none(c.look_at) if unsettled else None,
        None if unsettled else micros(c.at),
    )
    if asserts:
        touched = await change_foils(x, c.effect, lambda foil, at: after_effect(foil, c.state, at), c.at)
        await settle_matches(x, touched, c.at)
    may_have_case = state is not EffectState.SENDING or attempt > 1
    if may_have_case and not unsettled:
        await x.rows(ANSWER_CASES, c.effect, micros(c.at), *ANSWERED_BY_EVIDENCE)
    for link in c.links:
        await x.link(link, c.at)
    for case in c.cases:
        await x.open_case(case, c.at, c.actor)
    if contradiction and c.contradiction is not None:
        await x.open_case(c.contradiction, c.at, c.actor)
    answer = ConcludeResult(verdict="contradiction" if contradiction else "won")
    return RecordedOutcome(answer, c.stimulus(run, path, item), (version, inbox_n))


@sql(LookAgain)
async def look_again(x: Tx, l: LookAgain) -> bool:  # noqa: E741 - as short as its neighbours
    statement = f"""
    update effect set look_at = $3, looks = looks + 1
    where id = $1 and attempt = $2 and state in {t.EFFECT_IN_FLIGHT} returning id
    """
    row = await x.one(statement, l.effect, l.attempt, micros(l.look_at))
    return row is not None


async def _lock(x: Tx, effect: str, topics: list[str] | None = None) -> None:
    """Lock topics, the match rows of the effect's foils, then every Run that may get an item."""
    if x.dialect == "sqlite":
        return
    await x.lock_topics(topics or ())
    statement = """
    select effect.run, foil.rule, foil.key, u.rule, u.key
    from effect left join foil on foil.effect = effect.id
    left join match_user u on u.user_rule = foil.rule and u.document = foil.document
    where effect.id = $1
    """
    rows = await x.rows(statement, effect)
    matches = {(row[n], row[n + 1]) for row in rows for n in (1, 3) if row[n] is not None}
    await x.lock_matches(matches)
    runs = {row[0] for row in rows}
    await x.lock_runs(runs, topics or (), matches)


async def is_approved(x: Tx, effect: Effect) -> bool:
    for id_ in effect.approvals:
        row = await x.one(f"{t.APPROVAL.select} where id = $1 for share", id_)
        if row is None:
            return False
        approval = t.APPROVAL.read(row)
        if approval.state is not ApprovalState.GRANTED:
            return False
        if not approval.automatic and not approval.is_supported(await live_voters(x, id_)):
            return False
    return True


async def live_voters(x: Tx, approval: str) -> list[Person]:
    """Return the persons who approved it and are still active."""
    sql = f"""
    select {t.PERSON.of("person")} from vote join person on person.id = vote.person
    where vote.approval = $1 and vote.approve and person.active
    """
    return [t.PERSON.read(row) for row in await x.rows(sql, approval)]


def _sent_leaf(x: Tx, effect: Effect, attempt: int, at: datetime, actor: str) -> None:
    body = wire.dumps({"operation": effect.operation, "attempt": attempt})
    x.leaf("sending", effect.id, at, actor, body, run=effect.run)
