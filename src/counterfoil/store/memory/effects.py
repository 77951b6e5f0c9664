"""Specification of intents and outcomes of effects."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from counterfoil.core import wire
from counterfoil.core.approval import ApprovalState
from counterfoil.core.case import CaseState
from counterfoil.core.case_reasons import ANSWERED_BY_EVIDENCE
from counterfoil.core.effect import (
    EFFECT_MOVES,
    IN_FLIGHT,
    SAID_NO,
    UNSETTLED,
    Effect,
    EffectState,
    concluded,
    given_up,
    planned_again,
)
from counterfoil.core.foil_versions import after_effect
from counterfoil.core.foil_versions import given_up as given_up_foil
from counterfoil.core.moves import check_move
from counterfoil.core.people import Person
from counterfoil.store.memory.cases import open_case, resolve_case
from counterfoil.store.memory.foils import change_foils, settle_matches
from counterfoil.store.memory.registry import memory
from counterfoil.store.memory.runs import append, establish
from counterfoil.store.memory.tables import Tables
from counterfoil.store.port.effects import (
    Conclude,
    ConcludeResult,
    Intent,
    IntentResult,
    LookAgain,
    ResendUnknown,
    SendAttempt,
)
from counterfoil.store.port.records import NewInboxItem


def insert_effect(db: Tables, effect: Effect) -> None:
    if effect.id in db.effects:
        raise ValueError(f"{effect.id} exists already")
    refuse_second_generation(db, effect)
    db.put(db.effects, effect.id, effect)


def refuse_second_generation(db: Tables, effect: Effect) -> None:
    for other in db.effects.values():
        same = (other.run, other.path, other.item) == (effect.run, effect.path, effect.item)
        if same and other.id != effect.id and other.state in IN_FLIGHT | {EffectState.CONFIRMED}:
            raise ValueError(f"{effect.path} of {effect.run} has a live generation already")


def mark_sending(db: Tables, s: SendAttempt) -> Effect:
    sent = s.applied(db.effects[s.effect])
    refuse_second_generation(db, sent)
    db.put(db.effects, sent.id, sent)
    return sent


def plan_again(db: Tables, id_: str) -> None:
    """refused -> planned: proof that nothing happened allows another call."""
    effect = db.effects[id_]
    check_move(EFFECT_MOVES, effect.state, EffectState.PLANNED, id_)
    db.put(db.effects, id_, planned_again(effect))


def abandon(db: Tables, id_: str, at: datetime) -> None:
    """planned -> dropped; a refused effect stays refused. Either way its provisional foils are void."""
    effect = db.effects[id_]
    if effect.state is EffectState.PLANNED:
        db.put(db.effects, id_, given_up(effect, at))
    elif effect.state in IN_FLIGHT:
        return  # it was sent meanwhile: its outcome decides about its foils
    settle_matches(db, change_foils(db, id_, given_up_foil, at), at)


@memory(Intent)
def intent(db: Tables, t: Intent) -> IntentResult:
    effect = db.effects.get(t.send.effect)
    if effect is None or effect.state is not EffectState.PLANNED or effect.attempt + 1 != t.send.attempt:
        return IntentResult(verdict="lost")
    if not is_approved(db, effect):
        drop_stale(db, effect, t.at)
        return IntentResult(verdict="stale")
    mark_sending(db, t.send)
    log_sending(db, effect, t.send.attempt, t.at, t.actor)
    return IntentResult(verdict="sending")


def drop_stale(db: Tables, effect: Effect, at: datetime) -> None:
    """Drop an effect, planned or refused, whose approvals are no longer valid, and tell its Run."""
    abandon(db, effect.id, at)
    dropped = replace(db.effects[effect.id], state=EffectState.DROPPED, ended_at=at)
    db.put(db.effects, effect.id, dropped)
    body = wire.dumps({"effect": effect.id, "path": effect.path})
    append(db, NewInboxItem(run=effect.run, kind="stale", ref=effect.id, body=body), at)
    db.leaf("stale", effect.id, at, "approvals", body, run=effect.run)


def is_approved(db: Tables, effect: Effect) -> bool:
    """Report whether every approval of the effect is granted by active voters without a part in the request."""
    for id_ in effect.approvals:
        approval = db.approvals.get(id_)
        if approval is None or approval.state is not ApprovalState.GRANTED:
            return False
        if not approval.is_supported(live_voters(db, id_)):
            return False
    return True


def live_voters(db: Tables, approval: str) -> list[Person]:
    voters = [v.person for v in db.votes.values() if v.approval == approval and v.approve]
    return [person for v in voters if (person := db.persons.get(v)) is not None and person.active]


def log_sending(db: Tables, effect: Effect, attempt: int, at: datetime, actor: str) -> None:
    body = wire.dumps({"operation": effect.operation, "attempt": attempt})
    db.leaf("sending", effect.id, at, actor, body, run=effect.run)


@memory(ResendUnknown)
def resend(db: Tables, t: ResendUnknown) -> IntentResult:
    effect = db.effects.get(t.send.effect)
    if effect is None or effect.state is not EffectState.UNKNOWN or effect.attempt + 1 != t.send.attempt:
        return IntentResult(verdict="lost")
    if effect.repeat not in ("key", "unique", "read"):
        raise ValueError(f"{effect.id}: repeat {effect.repeat} may not be sent again from unknown")
    if not is_approved(db, effect):
        return IntentResult(verdict="stale")
    mark_sending(db, t.send)
    log_sending(db, effect, t.send.attempt, t.at, t.actor)
    return IntentResult(verdict="sending")


@memory(Conclude)
def conclude(db: Tables, t: Conclude) -> ConcludeResult:
    concluded, stimulus = record(db, t)
    if stimulus is not None:
        append(db, stimulus, t.at)
        log_outcome(db, t, stimulus.run)
    return concluded


def log_outcome(db: Tables, t: Conclude, run: str) -> None:
    db.leaf(str(t.state), t.effect, t.at, t.actor, wire.dumps(t.leaf_body()), run=run)


def record(db: Tables, t: Conclude) -> tuple[ConcludeResult, NewInboxItem | None]:
    """Record an outcome with all its consequences outside of the Run; return the item for the Run's inbox."""
    effect = db.effects.get(t.effect)
    if effect is None:
        return ConcludeResult(verdict="late"), None
    if effect.state is EffectState.PLANNED and effect.attempt == 0:  # never sent
        return ConcludeResult(verdict="late"), None
    contradiction = t.state is EffectState.CONFIRMED and effect.state in SAID_NO
    if effect.attempt != t.attempt or t.state not in EFFECT_MOVES[effect.state]:
        dropped = t.state is EffectState.CONFIRMED and effect.state is EffectState.DROPPED
        if not (contradiction or dropped):
            return ConcludeResult(verdict="late"), None
        if t.contradiction is not None:
            open_case(db, t.contradiction, t.at, t.actor)
        return ConcludeResult(verdict="contradiction"), None
    moved = concluded(
        effect, t.state, t.at, result=t.result, error_class=t.error_class, error=t.error, look_at=t.look_at
    )
    db.put(db.effects, effect.id, moved)
    touched = change_foils(db, effect.id, lambda foil, at: after_effect(foil, t.state, at), t.at)
    settle_matches(db, touched, t.at)
    if t.state not in UNSETTLED:
        answer_cases(db, effect.id, t.at)
    for link in t.links:
        establish(db, link, t.at)
    for case in t.cases:
        open_case(db, case, t.at, t.actor)
    if contradiction and t.contradiction is not None:
        open_case(db, t.contradiction, t.at, t.actor)
    answer = ConcludeResult(verdict="contradiction" if contradiction else "won")
    return answer, t.stimulus(effect.run, effect.path, effect.item)


def answer_cases(db: Tables, effect: str, at: datetime) -> None:
    for case in list(db.cases.values()):
        asks = case.effect == effect and case.reason in ANSWERED_BY_EVIDENCE
        if asks and case.state is CaseState.OPEN:
            resolve_case(db, case, at, "evidence", "the outcome is known")


@memory(LookAgain)
def look_again(db: Tables, t: LookAgain) -> bool:
    effect = db.effects.get(t.effect)
    if effect is None or effect.attempt != t.attempt or effect.state not in IN_FLIGHT:
        return False
    moved = replace(effect, look_at=t.look_at, looks=effect.looks + 1)
    db.put(db.effects, effect.id, moved)
    return True
