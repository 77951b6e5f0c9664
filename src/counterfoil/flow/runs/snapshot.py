"""A Run with all rows that its next turn reads, kept by a worker between two commits so that it need not load them.

A snapshot equals the rows as long as no other writer appended to the Run's inbox. The store's guards detect that
another writer did; then the snapshot is thrown away. A Run's overlay scope follows from what began it and never changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from counterfoil.core import wire
from counterfoil.core.approval import Approval
from counterfoil.core.effect import Effect, EffectState, concluded
from counterfoil.core.foil import Foil
from counterfoil.core.run import LANE_NAMES, Run
from counterfoil.model import Model
from counterfoil.rules.entities import entity_of_names
from counterfoil.rules.routing import RoutedStart
from counterfoil.rules.workflow.apply import RunRows, apply, conclude, run_after
from counterfoil.rules.workflow.commands import Stimulus
from counterfoil.rules.workflow.state import RunState, load
from counterfoil.store.port.effects import Conclude, SendAttempt
from counterfoil.store.port.records import Lease, NewInboxItem, RunStart
from counterfoil.store.port.store import LoadedRun
from counterfoil.store.port.turns import Turn, TurnResult

LEASE = timedelta(seconds=10)
"""Time that other workers leave a Run to the worker that turns it: one turn, never a call."""


@dataclass(frozen=True, slots=True)
class OverlayScope:
    """Scope of one Run, resolved once and carried in its snapshot."""

    model: Model
    """The Run's Release, with the overlays of the day on which the Run began."""
    legal_entity: str | None
    """None while no overlay has asked for it."""

    def active(self, release: Model, now: datetime) -> Model:
        """Return the active Release with the overlays that apply to the Run today."""
        return release.at(self.legal_entity or "", now.date()) if release.differs_by_entity else release


class RunSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Immutable snapshot of a Run."""

    run: Run
    stimuli: tuple[Stimulus, ...]
    """Not consumed yet, in order."""
    effects: tuple[Effect, ...] = ()
    approvals: tuple[Approval, ...] = ()
    foils: tuple[Foil, ...] = ()
    holds: tuple[str, ...] = ()
    state: RunState | None = None
    """Decoded `run.ctx`, if it is at hand. A decision uses it up."""
    scope: OverlayScope | None = None
    """None until `with_scope` has resolved it."""

    @property
    def rows(self) -> RunRows:
        return RunRows(self.effects, self.approvals, self.foils)


def from_rows(rows: LoadedRun) -> RunSnapshot:
    """Return the snapshot of a Run that was loaded from the store."""
    stimuli = (
        Stimulus(kind=i.kind, ref=i.ref, seq=i.seq, at=i.at, body=wire.loads(i.body)) for i in rows.inbox
    )
    return RunSnapshot(
        run=rows.run,
        stimuli=tuple(stimuli),
        effects=rows.effects,
        approvals=rows.approvals,
        foils=rows.foils,
        holds=rows.holds,
    )


def from_start(start: RunStart, at: datetime, foils: tuple[Foil, ...]) -> RunSnapshot:
    """Return the snapshot of a new Run: with its start stimulus and the foils that its event wrote.

    `run.arrival` is assigned by the store and not known here.
    """
    stimulus = start.stimulus
    run = Run(
        id=start.run,
        workflow=start.workflow,
        bkey=start.bkey,
        generation=start.generation,
        pin=start.pin,
        arrival=0,
        created_at=at,
        state=start.state,
        inbox_n=1,
        due=start.due if start.due is not None else at,
        owner=start.lease.worker if start.lease is not None else None,
        lease_until=start.lease.until if start.lease is not None else None,
        lane=start.lane,
        entity=start.entity,
    )
    first = Stimulus(kind=stimulus.kind, ref=stimulus.ref, seq=1, at=at, body=wire.loads(stimulus.body))
    return RunSnapshot(run=run, stimuli=(first,), foils=foils)


def with_scope(snapshot: RunSnapshot, release: Model, active: Model) -> RunSnapshot:
    """Return the snapshot with its scope resolved. `release` is the Run's, `active` the one in use now."""
    scope = snapshot.scope
    if scope is not None and (scope.legal_entity is not None or not active.differs_by_entity):
        return snapshot
    if not release.differs_by_entity and not active.differs_by_entity:
        return msgspec.structs.replace(snapshot, scope=OverlayScope(release, None))
    state = snapshot.state if snapshot.state is not None else load(snapshot.run.ctx)
    names = state.names
    if not names:  # before the first turn only the start stimulus has them
        names = {key: value for s in snapshot.stimuli if s.kind == "start" for key, value in s.body.items()}
    entity = snapshot.run.entity or entity_of_names(release, names)
    scope = OverlayScope(release.at(entity, snapshot.run.created_at.date()), entity)
    return msgspec.structs.replace(snapshot, state=state, scope=scope)


def after_turn(
    before: RunSnapshot, turn: Turn, turned: TurnResult, state: RunState | None, scope: OverlayScope | None
) -> RunSnapshot | None:
    """Return the snapshot after a committed turn; `state` is the decoded `turn.ctx`.

    None if the rows must be loaded: another writer appended to the inbox; or foils were reversed, which may change
    other foils of their match rows; or a planned call was dropped, which another task may have sent meanwhile. The
    store then does not drop it, and neither the Run's version nor its inbox shows that.
    """
    if turned.inbox_n != turn.consumed or state is None or turn.reverse:
        return None
    if any(e.id in turn.drop and e.state is EffectState.PLANNED for e in before.effects):
        return None
    rows = apply(before.rows, turn, turn.at)
    sends = {send.effect: send for send in turn.send if send.effect in turned.started}
    holds = set(before.holds) | set(turn.hold)
    return RunSnapshot(
        run=run_after(before.run, turn, turn.at, turned.due),
        stimuli=(),
        effects=tuple(sends[e.id].applied(e) if e.id in sends else e for e in rows.effects),
        approvals=rows.approvals,
        foils=rows.foils,
        holds=tuple(sorted(holds - set(turn.unhold))),
        state=state,
        scope=scope,
    )


def after_intent(before: RunSnapshot, send: SendAttempt) -> RunSnapshot:
    """Return the snapshot after the intent of a planned effect was committed on its own."""
    effects = tuple(send.applied(e) if e.id == send.effect else e for e in before.effects)
    return msgspec.structs.replace(before, effects=effects)


def after_outcome(before: RunSnapshot, outcome: Conclude, result: object) -> RunSnapshot:
    """Return the snapshot with an outcome as the next stimulus; `result` is the decoded `outcome.result`."""
    effect = next(e for e in before.effects if e.id == outcome.effect)
    effect = concluded(
        effect,
        outcome.state,
        outcome.at,
        result=outcome.result,
        error_class=outcome.error_class,
        error=outcome.error,
        look_at=outcome.look_at,
    )
    rows = conclude(before.rows, effect, outcome.at)
    stimulus = Stimulus(
        kind="outcome",
        ref=outcome.ref,
        seq=before.run.inbox_n + 1,
        at=outcome.at,
        body=outcome.words(effect.path, effect.item, result),
    )
    return msgspec.structs.replace(before, stimuli=(stimulus,), effects=rows.effects, foils=rows.foils)


# ------------------------------------------------------------------ birth and scope


def run_start(
    model: Model, start: RoutedStart, ref: str, *, only_birth: bool = False, lease: Lease | None = None
) -> RunStart:
    """Return the row of a Run that starts under this model. `ref` names what starts it.

    `only_birth`: a Run that exists already gets no stimulus.
    """
    return RunStart(
        run=start.run,
        workflow=start.workflow,
        bkey=start.key,
        generation=start.generation,
        pin=model.digest,
        state="started",
        stimulus=NewInboxItem(run=start.run, kind="start", ref=ref, body=wire.dumps(start.names)),
        only_birth=only_birth,
        lane=LANE_NAMES[model.workflow(start.workflow).lane],
        entity=entity_of_names(model, start.names),
        lease=lease,
    )


def model_of(run: Run, release: Model) -> Model:
    """Return a Run's Release with the Run's overlays, from its row alone."""
    if not release.differs_by_entity:
        return release
    entity = run.entity or entity_of_names(release, load(run.ctx).names)
    return release.at(entity, run.created_at.date())
