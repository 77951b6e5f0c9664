"""Effects: the intent before bytes leave, and the outcome whoever learnt it."""
# ruff: noqa: S608 - only names of tables and columns are put into statements, values never are

from __future__ import annotations

from datetime import datetime

import msgspec

from counterfoil.core import ids, wire
from counterfoil.core.approval import ApprovalState
from counterfoil.core.case import ASKED_OF_PERSONS
from counterfoil.core.effect import EFFECT_MOVES, IN_FLIGHT, Effect, EffectState
from counterfoil.core.foil import FoilState
from counterfoil.core.moves import check_move
from counterfoil.store import store as port
from counterfoil.store import tables as t
from counterfoil.store.tables import micros, micros_or_none
from counterfoil.store.verbs.step import FOILS_OF_EFFECT, Step, link_topics

EFFECT = f"select {t.EFFECT.names} from effect where id = $1"
SENT = """
update effect set state = 'sending', attempt = $2, worker = $3, send_by = $4, call_until = $5,
  conclude_at = $6, look_at = null, request = $7
where id = $1 and not exists (
  select 1 from effect other
  where other.run = effect.run and other.path = effect.path and other.item = effect.item
    and other.id <> effect.id and other.state in ('sending', 'unknown', 'accepted', 'confirmed')
)
returning id
"""
CONCLUDED = """
update effect set state = $2, result = $3, error_class = $4, error = $5, look_at = $6, ended_at = $7
where id = $1
"""


async def locked(x: Step, id_: str) -> Effect | None:
    row = await x.one(f"{EFFECT} for update", id_)
    return None if row is None else t.EFFECT.read(row)


def sent(effect: Effect, s: port.Send) -> Effect:
    """The effect on its way. Raises MoveRefused, or ValueError when the attempt does not follow."""
    check_move(EFFECT_MOVES, effect.state, EffectState.SENDING, effect.id)
    if effect.attempt + 1 != s.attempt:
        raise ValueError(f"{effect.id}: attempt {s.attempt} does not follow {effect.attempt}")
    return msgspec.structs.replace(
        effect,
        state=EffectState.SENDING,
        attempt=s.attempt,
        worker=s.worker,
        send_by=s.send_by,
        call_until=s.call_until,
        conclude_at=s.conclude_at,
        look_at=None,
        request=s.request if s.request is not None else effect.request,
    )


async def write_sent(x: Step, e: Effect) -> None:
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


async def abandon(x: Step, id_: str, at: datetime) -> None:
    """planned -> dropped; a refused effect stays refused. Either way its provisional foils are void."""
    effect = await locked(x, id_)
    if effect is None:
        raise KeyError(id_)
    if effect.state is EffectState.PLANNED:
        await x.rows("update effect set state = 'dropped', ended_at = $2 where id = $1", id_, micros(at))
    elif effect.state in IN_FLIGHT:
        return  # it went out meanwhile: its outcome decides about its foils
    for row in await x.rows(FOILS_OF_EFFECT, id_):
        foil = t.FOIL.read(row)
        if foil.state is FoilState.PROVISIONAL:
            await x.move_foil(foil, FoilState.VOID, "its effect was given up", at)


async def intent(x: Step, i: port.Intent) -> port.Intended:
    """planned -> sending. What it rests on is read again with the effect locked."""
    await _lock(x, i.send.effect)
    effect = await locked(x, i.send.effect)
    if effect is None or effect.state is not EffectState.PLANNED or effect.attempt + 1 != i.send.attempt:
        return port.Intended(verdict="lost")
    if not await _approved(x, effect):
        await abandon(x, effect.id, i.at)
        body = wire.dumps({"effect": effect.id, "path": effect.path})
        await x.append(port.Stimulus(run=effect.run, kind="stale", ref=effect.id, body=body), i.at)
        return port.Intended(verdict="stale")
    await write_sent(x, sent(effect, i.send))
    _sent_leaf(x, effect, i.send.attempt, i.at, i.actor)
    return port.Intended(verdict="sending")


async def resend(x: Step, r: port.Resend) -> port.Intended:
    """unknown -> sending, where the vendor tells a repeat by itself."""
    effect = await locked(x, r.send.effect)
    if effect is None or effect.state is not EffectState.UNKNOWN or effect.attempt + 1 != r.send.attempt:
        return port.Intended(verdict="lost")
    if effect.repeat not in ("key", "unique", "read"):
        raise ValueError(f"{effect.id}: repeat {effect.repeat} may not be sent again from unknown")
    await write_sent(x, sent(effect, r.send))
    _sent_leaf(x, effect, r.send.attempt, r.at, r.actor)
    return port.Intended(verdict="sending")


ANSWER_CASES = """
update case_ set
  state = 'resolved', resolved_at = $2, resolved_by = 'evidence', note = 'the outcome is known'
where effect = $1 and state = 'open' and reason in ($3, $4)
"""


async def conclude(x: Step, c: port.Conclude) -> port.Concluded:
    """Evidence is never fenced by a lease: the attempt and the table of moves are its only guard."""
    await _lock(x, c.effect, link_topics(c.links))
    effect = await locked(x, c.effect)
    if effect is None:
        return port.Concluded(verdict="late")
    said_no = effect.state in (EffectState.REFUSED, EffectState.ABSENT)
    contradiction = c.state is EffectState.CONFIRMED and said_no
    if effect.attempt != c.attempt or c.state not in EFFECT_MOVES[effect.state]:
        dropped = c.state is EffectState.CONFIRMED and effect.state is EffectState.DROPPED
        if not (contradiction or dropped):
            return port.Concluded(verdict="late")
        if c.contradiction is not None:
            await x.open_case(c.contradiction, c.at, c.actor)
        return port.Concluded(verdict="contradiction")
    unsettled = c.state in (EffectState.UNKNOWN, EffectState.ACCEPTED)
    await x.rows(
        CONCLUDED,
        effect.id,
        str(c.state),
        c.result if c.result is not None else effect.result,
        None if c.error_class is None else str(c.error_class),
        c.error,
        micros_or_none(c.look_at) if unsettled else None,
        None if unsettled else micros(c.at),
    )
    await _foils(x, c)
    if not unsettled:
        await x.rows(ANSWER_CASES, effect.id, micros(c.at), *ASKED_OF_PERSONS)
    for link in c.links:
        await x.link(link, c.at)
    for case in c.cases:
        await x.open_case(case, c.at, c.actor)
    if contradiction and c.contradiction is not None:
        await x.open_case(c.contradiction, c.at, c.actor)
    ref = f"{effect.id}:{c.attempt}:{c.state}"
    body = _outcome(effect, c)
    await x.append(port.Stimulus(run=effect.run, kind="outcome", ref=ref, body=body), c.at)
    kept = wire.dumps(
        {"state": str(c.state), "evidence": c.evidence, "result": ids.derive("h", str(c.result))}
    )
    x.leaf(str(c.state), effect.id, c.at, c.actor, kept, run=effect.run)
    return port.Concluded(verdict="contradiction" if contradiction else "won")


async def looked_up(x: Step, l: port.LookedUp) -> bool:  # noqa: E741 - as short as its neighbours
    row = await x.one(
        """
        update effect set look_at = $3, looks = looks + 1
        where id = $1 and attempt = $2 and state in ('sending', 'unknown', 'accepted') returning id
        """,
        l.effect,
        l.attempt,
        micros(l.look_at),
    )
    return row is not None


async def _lock(x: Step, effect: str, topics: list[str] | None = None) -> None:
    """Topics, the match rows of the effect's foils, then every Run that may hear of it."""
    if x.dialect == "sqlite":
        return
    await x.lock_topics(topics or ())
    rows = await x.rows(
        """
        select effect.run, foil.rule, foil.key
        from effect left join foil on foil.effect = effect.id where effect.id = $1
        """,
        effect,
    )
    matches = {(rule, key) for _, rule, key in rows if rule is not None}
    await x.lock_matches(matches)
    runs = {run for run, _, _ in rows}
    await x.lock_runs(runs, topics or (), matches)


async def _foils(x: Step, c: port.Conclude) -> None:
    """A confirmation opens what was provisional and meets what was seen already; absence voids it."""
    if c.state not in (EffectState.CONFIRMED, EffectState.ABSENT):
        return
    for row in await x.rows(FOILS_OF_EFFECT, c.effect):
        foil = t.FOIL.read(row)
        if foil.state is not FoilState.PROVISIONAL:
            continue
        if c.state is EffectState.CONFIRMED:
            await x.rows("update foil set state = 'open' where id = $1 and state = 'provisional'", foil.id)
            await x.settle([(foil.rule, foil.key)], c.at)
        else:
            await x.move_foil(foil, FoilState.VOID, "its effect did not happen", c.at)


async def _approved(x: Step, effect: Effect) -> bool:
    """Every approval it rests on is granted, and who granted it is still active and never the requester."""
    for id_ in effect.approvals:
        row = await x.one(f"select {t.APPROVAL.names} from approval where id = $1 for share", id_)
        if row is None:
            return False
        approval = t.APPROVAL.read(row)
        if approval.state is not ApprovalState.GRANTED:
            return False
        voters = await x.rows(
            """
            select person.id from vote join person on person.id = vote.person
            where vote.approval = $1 and vote.approve and person.active
            """,
            id_,
        )
        live = [r[0] for r in voters]
        if not approval.automatic and (len(live) < approval.quorum or approval.requester in live):
            return False
    return True


def _outcome(effect: Effect, c: port.Conclude) -> bytes:
    """The stimulus by which the Run learns it."""
    return wire.dumps(
        {
            "effect": effect.id,
            "path": effect.path,
            "item": effect.item,
            "state": str(c.state),
            "attempt": c.attempt,
            "class": None if c.error_class is None else str(c.error_class),
            "error": c.error,
            "retry_after": None if c.retry_after is None else round(c.retry_after * 1000),
            "result": None if c.result is None else wire.loads(c.result),
        }
    )


def _sent_leaf(x: Step, effect: Effect, attempt: int, at: datetime, actor: str) -> None:
    body = wire.dumps({"operation": effect.operation, "attempt": attempt})
    x.leaf("sending", effect.id, at, actor, body, run=effect.run)
