"""A Run under proof with all that stands around it: rows, what the outside has really done, what may still come.

A World is a value. `Company.turn` lets the real `decide` turn the Run and carries its commands out as the store would;
which moves there are is told elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from counterfoil.core import ids, wire
from counterfoil.core.approval import Approval, ApprovalState
from counterfoil.core.case import Case
from counterfoil.core.case_reasons import ANSWERED_BY_EVIDENCE
from counterfoil.core.effect import IN_FLIGHT, Effect, EffectState
from counterfoil.core.foil import Foil, FoilState
from counterfoil.core.run import TERMINAL, Run
from counterfoil.model import Model
from counterfoil.model import definition as d
from counterfoil.model.fields import is_money
from counterfoil.prove.bounded_definition import prepared
from counterfoil.prove.lookup_model import BEGIN, LookupModel
from counterfoil.prove.values import StartValues, begin
from counterfoil.rules import matching
from counterfoil.rules.workflow import commands as c
from counterfoil.rules.workflow.decide import decide
from counterfoil.rules.workflow.records import case_of, effect_of, foil_of
from counterfoil.rules.workflow.state import RunState, load

_LIVE = IN_FLIGHT | {EffectState.PLANNED, EffectState.CONFIRMED}
TURNS = 60
"""Turns that follow one another at once before the Run counts as one that never rests."""


class World(msgspec.Struct, frozen=True, kw_only=True):
    run: Run
    state: RunState
    """What `run.ctx` holds. Read, never changed."""
    now: datetime = BEGIN
    beginning: int = 0
    effects: tuple[Effect, ...] = ()
    done: Mapping[str, int] = {}
    """How often the outside has really done an effect."""
    approvals: tuple[Approval, ...] = ()
    foils: tuple[Foil, ...] = ()
    cases: tuple[Case, ...] = ()
    """Open ones."""
    reserved: Mapping[str, tuple[str, str, int]] = {}
    """Scope, key and amount by path."""
    emitted: tuple[tuple[str, str], ...] = ()
    """Type and digest of the data of each event that the Run emitted."""
    heads: Mapping[str, Mapping[str, Any]] = {}
    changed: int = 0
    """How often a fact has changed."""
    closed: bool = False
    """The present period is locked."""
    came: tuple[str, ...] = ()
    """Types of the events that have come, one for each time."""
    accepted: frozenset[str] = frozenset()
    """Keys of steps that a person counted as done."""
    blame: str = ""
    """What went wrong on the way that no state shows, as `<invariant>:<step>:<words>`."""

    @property
    def over(self) -> bool:
        return self.run.status in TERMINAL

    @property
    def exposed(self) -> frozenset[str]:
        return frozenset(e for e, n in self.done.items() if n)


class ProofContext:
    """What does not change while a workflow is proven."""

    def __init__(self, model: Model, definition: d.Definition) -> None:
        self.model = model
        self.definition = prepared(definition)
        self.posts = {
            name: any(is_money(spec) for spec in model.operations[name].input.values())
            for name in definition.operations
            if model.operations[name].repeat != "read"
        }
        """Operations that write, and whether they move money."""
        self.reads: dict[tuple[int, str], Any] = {}
        """Answers of reads, by beginning and operation."""
        self.decisions = 0

    # ------------------------------------------------------------------ beginning

    def born(self, beginning: StartValues) -> World:
        """The Run as it is born, before its first turn."""
        for root, value in beginning.values.items():
            if root.startswith("read:"):
                self.reads[beginning.number, root[5:]] = value
        names = begin(self.definition, beginning.values)
        generation = int(names.pop("run")["generation"])
        key = _key(self.definition, names)
        run = Run(
            id=ids.run_id(self.definition.name, key, generation),
            workflow=self.definition.name,
            bkey=key,
            generation=generation,
            pin="",
            arrival=1,
            created_at=BEGIN,
            due=BEGIN,
        )
        foils = []
        if self.definition.start.event is not None:
            from counterfoil.prove.values import event_of

            event = event_of(self.definition.start.event, beginning.values["event"], 0)
            for rule in self.model.foils_by_event(event.type):
                foil = self._opened(rule, event, run.id, beginning)
                if foil is not None:
                    foils.append(foil)
        world = World(
            run=run,
            state=load(run.ctx),
            beginning=beginning.number,
            heads=beginning.heads,
            foils=tuple(foils),
        )
        return self.turn(world, ("start", f"start#{beginning.number}", names))

    def _opened(self, rule: d.FoilDefinition, event: Any, run: str, beginning: StartValues) -> Foil | None:
        from counterfoil.prove.values import FAULTS

        try:
            return matching.opened(rule, event, run, LookupModel(self.model, beginning.heads, BEGIN).ask)
        except FAULTS:
            return None

    # ------------------------------------------------------------------ turns

    def outside(self, w: World) -> LookupModel:
        used: dict[tuple[str, str], int] = {}
        for scope, key, amount in w.reserved.values():
            used[scope, key] = used.get((scope, key), 0) + amount
        return LookupModel(self.model, w.heads, w.now, used, w.closed)

    def turn(self, w: World, *told: tuple[str, str, Mapping[str, Any]]) -> World:
        """The Run is told something, or looks at the clock, and is turned until it rests."""
        seq = w.run.inbox_n
        stimuli: Sequence[c.Stimulus] = [
            c.Stimulus(kind=kind, ref=ref, seq=seq + n, at=w.now, body=body)
            for n, (kind, ref, body) in enumerate(told, start=1)
        ]
        run = msgspec.structs.replace(w.run, inbox_n=seq + len(told))
        w = msgspec.structs.replace(w, run=run)
        for _ in range(TURNS):
            live = c.LiveContext(
                effects=w.effects,
                approvals=w.approvals,
                foils=w.foils,
                answers=self.outside(w),
                unrendered={},
            )
            self.decisions += 1
            state = fork(w.state)  # used up by the decision: it is the state after it
            decision = decide(self.definition, w.run, stimuli, w.now, live, state)
            w = self._commit(w, decision, state)
            stimuli = ()
            if w.over or decision.due is None or decision.due > w.now:
                return w
        return msgspec.structs.replace(w, blame="restless::the run is turned without end and never rests")

    def _commit(self, w: World, decision: c.Decision, state: RunState) -> World:
        effects = {e.id: e for e in w.effects}
        approvals = {a.id: a for a in w.approvals}
        foils = {f.id: f for f in w.foils}
        reserved = dict(w.reserved)
        cases, emitted = list(w.cases), list(w.emitted)
        blame = w.blame
        for command in decision.commands:
            match command:
                case c.PlanEffect():
                    rivals = [e for e in effects.values() if (e.path, e.item) == (command.path, command.item)]
                    if any(e.id == command.effect or e.state in _LIVE for e in rivals):
                        blame = f"second-call:{command.path.partition('~')[0]}:{command.operation} is planned anew"
                    effects[command.effect] = effect_of(command, self.definition, w.run.id, w.now)
                case c.SendAgain(effect):
                    effects[effect] = msgspec.structs.replace(effects[effect], state=EffectState.PLANNED)
                case c.DropEffect(effect):
                    held = effects[effect]
                    if held.state is EffectState.PLANNED:
                        effects[effect] = msgspec.structs.replace(held, state=EffectState.DROPPED)
                    for foil in [f for f in foils.values() if f.effect == effect]:
                        if foil.state is FoilState.PROVISIONAL:
                            del foils[foil.id]
                case c.WriteFoil():
                    foils[command.foil] = foil_of(command, w.run.id, w.now)
                case c.ReverseFoils(effect):
                    for foil in [f for f in foils.values() if f.effect == effect]:
                        foils[foil.id] = msgspec.structs.replace(foil, state=FoilState.REVERSED)
                case c.AskApproval():
                    approvals[command.approval] = self._approval(w, command)
                case c.CloseApproval(approval, became):
                    approvals[approval] = msgspec.structs.replace(approvals[approval], state=became)
                case c.ReserveGuard():
                    reserved[command.path] = (command.scope, command.key, command.amount)
                case c.ReleaseGuards(paths):
                    for path in paths:
                        reserved.pop(path, None)
                case c.EmitEvent():
                    emitted.append((command.type, wire.digest(dict(command.data))))
                case c.OpenCase():
                    cases.append(self._case(w, command))
        run = msgspec.structs.replace(
            w.run,
            status=decision.status,
            direction=decision.direction,
            state=decision.state,
            due=decision.due,
            consumed=decision.consumed,
            ctx=decision.ctx,
            now=w.now,
            version=w.run.version + 1,
        )
        return msgspec.structs.replace(
            w,
            run=run,
            state=state,
            effects=tuple(effects.values()),
            approvals=tuple(approvals.values()),
            foils=tuple(foils.values()),
            cases=tuple(cases),
            reserved=reserved,
            emitted=tuple(emitted),
            blame=blame,
        )

    # ------------------------------------------------------------------ rows

    def _approval(self, w: World, a: c.AskApproval) -> Approval:
        return Approval(
            id=a.approval, run=w.run.id, path=a.path, policy=a.policy, subject=a.subject,
            covers=wire.dumps(dict(a.covers)), amount=a.amount, roles=a.roles, quorum=a.quorum,
            requester=a.requester, state=ApprovalState.GRANTED if a.automatic else ApprovalState.OPEN,
            expires=a.expires, created_at=w.now, automatic=a.automatic,
        )  # fmt: skip

    def _case(self, w: World, x: c.OpenCase) -> Case:
        return case_of(x, w.run.id, w.now)

    # ------------------------------------------------------------------ outcomes

    def concluded(self, w: World, effect: Effect, state: EffectState, **about: Any) -> World:
        """An outcome is recorded, and the Run told of it."""
        error_class = about.get("error_class")
        settled = state not in (EffectState.UNKNOWN, EffectState.ACCEPTED)
        moved = msgspec.structs.replace(effect, state=state, attempt=max(effect.attempt, 1))
        foils = list(w.foils)
        for n, foil in enumerate(foils):
            if foil.effect == effect.id and foil.state is FoilState.PROVISIONAL:
                if state is EffectState.CONFIRMED:
                    foils[n] = msgspec.structs.replace(foil, state=FoilState.OPEN)
                elif state is EffectState.ABSENT:
                    foils[n] = msgspec.structs.replace(foil, state=FoilState.VOID)
        cases = w.cases
        if settled:  # evidence answers what a person was asked
            cases = tuple(
                k for k in cases if not (k.effect == effect.id and k.reason in ANSWERED_BY_EVIDENCE)
            )
        w = msgspec.structs.replace(
            w,
            effects=tuple(moved if e.id == effect.id else e for e in w.effects),
            foils=tuple(foils),
            cases=cases,
        )
        body = {
            "effect": effect.id, "path": effect.path, "item": effect.item, "state": str(state),
            "attempt": moved.attempt, "class": error_class, "error": about.get("error", ""),
            "retry_after": None, "result": about.get("result"),
        }  # fmt: skip
        return self.turn(w, ("outcome", f"{effect.id}:{moved.attempt}:{state}", body))


def fork(s: RunState) -> RunState:
    """The same state for a decision to use up. Values are never changed in place, so they are shared."""
    copy = msgspec.structs.replace
    return copy(
        s,
        frames=[copy(f) for f in s.frames],
        steps={key: copy(st) for key, st in s.steps.items()},
        undo=None if s.undo is None else copy(s.undo, queue=list(s.undo.queue)),
        names=dict(s.names),
        items=dict(s.items),
        agains=dict(s.agains),
        confirmed=list(s.confirmed),
        inputs=dict(s.inputs),
        results=dict(s.results),
        received=list(s.received),
        used=list(s.used),
        serials=list(s.serials),
        reserved=dict(s.reserved),
        scopes=dict(s.scopes),
        memo={field: dict(known) for field, known in s.memo.items()},
    )


def _key(definition: d.Definition, names: Mapping[str, Any]) -> str:
    from counterfoil.prove.values import FAULTS

    try:
        return str(definition.start.key(names))
    except FAULTS:
        return "key-1"
