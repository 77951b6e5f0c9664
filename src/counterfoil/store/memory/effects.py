"""Intents and outcomes of effects."""

from __future__ import annotations

from datetime import datetime

import msgspec

from counterfoil.core import wire
from counterfoil.core.approval import ApprovalState
from counterfoil.core.case import CaseState
from counterfoil.core.case_reasons import ANSWERED_BY_EVIDENCE
from counterfoil.core.effect import EFFECT_MOVES, IN_FLIGHT, SAID_NO, Effect, EffectState
from counterfoil.core.foil import FoilState
from counterfoil.core.moves import check_move
from counterfoil.store.memory.tables import Rows
from counterfoil.store.port import transitions as port


class Effects(Rows):
    def _insert_effect(self, effect: Effect) -> None:
        if effect.id in self.effect_rows:
            raise ValueError(f"{effect.id} exists already")
        self._refuse_second_generation(effect)
        self._put(self.effect_rows, effect.id, effect)

    def _refuse_second_generation(self, effect: Effect) -> None:
        for other in self.effect_rows.values():
            same = (other.run, other.path, other.item) == (effect.run, effect.path, effect.item)
            if same and other.id != effect.id and other.state in IN_FLIGHT | {EffectState.CONFIRMED}:
                raise ValueError(f"{effect.path} of {effect.run} has a live generation already")

    def _send(self, s: port.Send) -> Effect:
        sent = s.applied(self.effect_rows[s.effect])
        self._refuse_second_generation(sent)
        self._put(self.effect_rows, sent.id, sent)
        return sent

    def _plan_again(self, id_: str) -> None:
        """refused -> planned: proof that nothing happened lets it go out again."""
        held = self.effect_rows[id_]
        check_move(EFFECT_MOVES, held.state, EffectState.PLANNED, id_)
        again = msgspec.structs.replace(held, state=EffectState.PLANNED, ended_at=None)
        self._put(self.effect_rows, id_, again)

    def _abandon(self, id_: str, at: datetime) -> None:
        """planned -> dropped; a refused effect stays refused. Either way its provisional foils are void."""
        effect = self.effect_rows[id_]
        if effect.state is EffectState.PLANNED:
            dropped = msgspec.structs.replace(effect, state=EffectState.DROPPED, ended_at=at)
            self._put(self.effect_rows, id_, dropped)
        elif effect.state in IN_FLIGHT:
            return  # it went out meanwhile: its outcome decides about its foils
        for foil in self._foils_of_effect(id_):
            if foil.state is FoilState.PROVISIONAL:
                self._move_foil(foil, FoilState.VOID, "its effect was given up", at)

    def _intent(self, t: port.Intent) -> port.Intended:
        effect = self.effect_rows.get(t.send.effect)
        if effect is None or effect.state is not EffectState.PLANNED or effect.attempt + 1 != t.send.attempt:
            return port.Intended(verdict="lost")
        if not self._approved(effect):
            self._fall(effect, t.at)
            return port.Intended(verdict="stale")
        self._send(t.send)
        self._sent_leaf(effect, t.send.attempt, t.at, t.actor)
        return port.Intended(verdict="sending")

    def _fall(self, effect: Effect, at: datetime) -> None:
        """An effect, planned or refused, whose approvals do not hold any more is given up, and its Run told."""
        self._abandon(effect.id, at)
        held = self.effect_rows[effect.id]
        dropped = msgspec.structs.replace(held, state=EffectState.DROPPED, ended_at=at)
        self._put(self.effect_rows, effect.id, dropped)
        body = wire.dumps({"effect": effect.id, "path": effect.path})
        self._append(port.Stimulus(run=effect.run, kind="stale", ref=effect.id, body=body), at)
        self._leaf("stale", effect.id, at, "approvals", body, run=effect.run)

    def _approved(self, effect: Effect) -> bool:
        """Every approval it rests on is granted, and who granted it is still active and never the requester."""
        for id_ in effect.approvals:
            approval = self.approval_rows.get(id_)
            if approval is None or approval.state is not ApprovalState.GRANTED:
                return False
            voters = [v.person for v in self.vote_rows.values() if v.approval == id_ and v.approve]
            live = [p for p in voters if (held := self.people.get(p)) is not None and held.active]
            if not approval.automatic and (len(live) < approval.quorum or approval.requester in live):
                return False
        return True

    def _sent_leaf(self, effect: Effect, attempt: int, at: datetime, actor: str) -> None:
        body = wire.dumps({"operation": effect.operation, "attempt": attempt})
        self._leaf("sending", effect.id, at, actor, body, run=effect.run)

    def _resend(self, t: port.Resend) -> port.Intended:
        effect = self.effect_rows.get(t.send.effect)
        if effect is None or effect.state is not EffectState.UNKNOWN or effect.attempt + 1 != t.send.attempt:
            return port.Intended(verdict="lost")
        if effect.repeat not in ("key", "unique", "read"):
            raise ValueError(f"{effect.id}: repeat {effect.repeat} may not be sent again from unknown")
        if not self._approved(effect):
            return port.Intended(verdict="stale")
        self._send(t.send)
        self._sent_leaf(effect, t.send.attempt, t.at, t.actor)
        return port.Intended(verdict="sending")

    def _conclude(self, t: port.Conclude) -> port.Concluded:
        concluded, stimulus = self._record(t)
        if stimulus is not None:
            self._append(stimulus, t.at)
            self._told_leaf(t, stimulus.run)
        return concluded

    def _told_leaf(self, t: port.Conclude, run: str) -> None:
        self._leaf(str(t.state), t.effect, t.at, t.actor, wire.dumps(t.kept()), run=run)

    def _record(self, t: port.Conclude) -> tuple[port.Concluded, port.Stimulus | None]:
        """An outcome with all that it changes beside the Run itself, and what the Run is to be told of it."""
        effect = self.effect_rows.get(t.effect)
        if effect is None:
            return port.Concluded(verdict="late"), None
        if effect.state is EffectState.PLANNED and effect.attempt == 0:  # nobody ever sent it
            return port.Concluded(verdict="late"), None
        contradiction = t.state is EffectState.CONFIRMED and effect.state in SAID_NO
        if effect.attempt != t.attempt or t.state not in EFFECT_MOVES[effect.state]:
            dropped = t.state is EffectState.CONFIRMED and effect.state is EffectState.DROPPED
            if not (contradiction or dropped):
                return port.Concluded(verdict="late"), None
            if t.contradiction is not None:
                self._case(t.contradiction, t.at, t.actor)
            return port.Concluded(verdict="contradiction"), None
        unsettled = t.state in (EffectState.UNKNOWN, EffectState.ACCEPTED)
        moved = msgspec.structs.replace(
            effect,
            state=t.state,
            result=t.result if t.result is not None else effect.result,
            error_class=t.error_class,
            error=t.error,
            look_at=t.look_at if unsettled else None,
            ended_at=None if unsettled else t.at,
        )
        self._put(self.effect_rows, effect.id, moved)
        for foil in self._foils_of_effect(effect.id):
            if foil.state is FoilState.PROVISIONAL and t.state is EffectState.CONFIRMED:
                self._put(self.foil_rows, foil.id, msgspec.structs.replace(foil, state=FoilState.OPEN))
                self._settle(foil.rule, foil.key, t.at)
            elif foil.state is FoilState.PROVISIONAL and t.state is EffectState.ABSENT:
                self._move_foil(foil, FoilState.VOID, "its effect did not happen", t.at)
        if not unsettled:
            self._answer_cases(effect.id, t.at)
        for link in t.links:
            self._link(link, t.at)
        for case in t.cases:
            self._case(case, t.at, t.actor)
        if contradiction and t.contradiction is not None:
            self._case(t.contradiction, t.at, t.actor)
        verdict = "contradiction" if contradiction else "won"
        return port.Concluded(verdict=verdict), t.stimulus(effect.run, effect.path, effect.item)

    def _answer_cases(self, effect: str, at: datetime) -> None:
        """A Case that asks what became of an effect is over once evidence says so."""
        for case in list(self.case_rows.values()):
            asks = case.effect == effect and case.reason in ANSWERED_BY_EVIDENCE
            if asks and case.state is CaseState.OPEN:
                known = msgspec.structs.replace(
                    case,
                    state=CaseState.RESOLVED,
                    resolved_at=at,
                    resolved_by="evidence",
                    note="the outcome is known",
                )
                self._put(self.case_rows, case.id, known)

    def _lookedup(self, t: port.LookedUp) -> bool:
        effect = self.effect_rows.get(t.effect)
        if effect is None or effect.attempt != t.attempt or effect.state not in IN_FLIGHT:
            return False
        moved = msgspec.structs.replace(effect, look_at=t.look_at, looks=effect.looks + 1)
        self._put(self.effect_rows, effect.id, moved)
        return True
