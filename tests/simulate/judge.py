"""The judge: checks every invariant of the core protocol in the store and the outside systems while a seed runs.

The store's checker covers 2 and 4 to 12 from the rows. Here are checked: at each commit and call, what is visible only
then (1, 9 at the moment of sending, moves of effects); at the end, what only the outside systems know (3). Whose
legal entity rows, calls and matches belong to is checked by entities.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime

from counterfoil.connectors.sdk import Request
from counterfoil.core.approval import ApprovalState, part_in_request
from counterfoil.core.case import CaseState
from counterfoil.core.effect import EFFECT_MOVES, IN_FLIGHT, Effect, EffectState
from counterfoil.core.errors import ErrorClass
from counterfoil.core.matching import FoilState
from counterfoil.core.run import TERMINAL, Run, RunStatus
from counterfoil.model import Model
from counterfoil.rules.workflow.state import load
from counterfoil.store.audit import audit
from counterfoil.store.check import violations
from counterfoil.store.dump import dump_memory
from tests.simulate.entities import EntityCheck
from tests.simulate.systems import System
from tests.simulate.world import World

_S = EffectState
OWNED = ("contradiction", "mismatch")
"""Reasons of Cases that own a difference between what we say and what a system did."""
NOTHING = (_S.PLANNED, _S.REFUSED, _S.ABSENT, _S.DROPPED)


class Judge:
    """Keeps what a step must not contradict. The first violation ends the run."""

    def __init__(self, world: World, model: Model, systems: Mapping[str, System]) -> None:
        self.world = world
        self.store = world.store
        self.found: list[str] = []
        self.latest = world.now()
        """The latest database time so far: a clock that is set back makes nothing overdue."""
        self.entities = EntityCheck(world, systems, self.say)
        self._irreversible = frozenset(name for name, o in model.operations.items() if not o.undo)
        self._effects: dict[str, Effect] = {}
        self._left: dict[tuple[str, int], str] = {}
        self._bytes: dict[str, bytes] = {}
        self._heads: dict[tuple[str, str], Mapping[str, int]] = {}

    def say(self, violation: str) -> None:
        self.found.append(violation)
        self.world.note("judge", violation)

    # ------------------------------------------------------------------ at each commit

    def committed(self) -> None:
        """After a transition: what moved, and whether it might."""
        self.latest = max(self.latest, self.world.now())
        for effect in self.store.tables.effects.values():
            before = self._effects.get(effect.id)
            if before is effect:
                continue
            self._effects[effect.id] = effect
            self._moved(effect, before)
        for key, head in self.store.tables.heads.items():
            versions = self._heads.get(key, {})
            for system, version in versions.items():
                if not set("/#?") & set(system) and head.versions.get(system, 0) < version:
                    self.say(
                        f"4: {key[0]} {key[1]} went from version {version} of {system} back to {head.version}"
                    )
            self._heads[key] = head.versions
        self.entities.committed()

    def _moved(self, effect: Effect, before: Effect | None) -> None:
        was = before.state if before is not None else None
        if was is not None and was is not effect.state and effect.state not in EFFECT_MOVES[was]:
            self.say(f"2: {effect.id} went from {was} to {effect.state}")
        if effect.state is not _S.SENDING or (before is not None and before.attempt == effect.attempt):
            return
        if was is _S.UNKNOWN and effect.repeat in ("find", "blind"):
            self.say(f"3: {effect.id} ({effect.repeat}) is sent again although it may have been done")
        if was is not None and before is not None and before.attempt + 1 != effect.attempt:
            self.say(f"1: attempt {effect.attempt} of {effect.id} follows {before.attempt}")
        for other in self.store.tables.effects.values():
            same = (other.run, other.path, other.item) == (effect.run, effect.path, effect.item)
            if same and other.id != effect.id and other.state in IN_FLIGHT | {_S.CONFIRMED}:
                self.say(f"2: {effect.id} is sent while {other.id} of the same step is {other.state}")
        if (
            was is not _S.UNKNOWN
        ):  # what may have been done already is finished under the approval that it began with
            self._approved(effect)

    def _approved(self, effect: Effect) -> None:
        """9 at the moment of sending: a quorum of active persons, none of them the requester."""
        for id_ in effect.approvals:
            approval = self.store.tables.approvals.get(id_)
            if approval is None or approval.state is not ApprovalState.GRANTED:
                state = "missing" if approval is None else str(approval.state)
                self.say(f"9: {effect.id} is sent and its approval {id_} is {state}")
                continue
            people = [
                self.store.tables.persons[v.person]
                for v in self.store.tables.votes.values()
                if v.approval == id_ and v.approve
            ]
            requester, senders = approval.requester, approval.senders
            live = [
                p
                for p in people
                if p.active
                and part_in_request(requester, senders, p) is None
                and self.entities.acts_for(p, approval.run)
            ]
            if not approval.automatic and len(live) < approval.quorum:
                self.say(
                    f"9: {effect.id} is sent with {len(live)} of {approval.quorum} active approvers of {id_}"
                )

    # ------------------------------------------------------------------ at each call

    def bytes_leave(self, worker: str, system: str, request: Request) -> None:
        """1: only for a committed sending row of this attempt, before send_by, once per attempt."""
        self.entities.request(system, request.operation, request.key, request.body)
        effect = self.store.tables.effects.get(request.key)
        if effect is None or effect.state is not _S.SENDING:
            state = "not there" if effect is None else str(effect.state)
            self.say(f"1: bytes of {request.key} leave and its row is {state}")
            return
        mark = (effect.id, effect.attempt)
        if effect.worker != worker:
            self.say(f"1: {worker} sends {effect.id}, whose row is of {effect.worker}")
        if mark in self._left:
            self.say(
                f"1: attempt {effect.attempt} of {effect.id} leaves twice: {self._left[mark]} and {worker}"
            )
        self._left[mark] = worker
        if effect.send_by is None or self.world.now() >= effect.send_by:
            self.say(f"1: bytes of {effect.id} leave at {self.world.now()}, after {effect.send_by}")
        if self._bytes.setdefault(effect.id, request.body) != request.body or request.body != effect.request:
            self.say(f"1: {effect.id} is sent again with other bytes")

    # ------------------------------------------------------------------ now and then

    def rows(self) -> None:
        """Everything that the rows alone must show."""
        dump = dump_memory(self.store.tables)
        self.found += violations(dump, self.latest, self._irreversible)
        self.found += audit(dump, self.store.audit_tree(), lambda _: "")
        ids = [(r.system, r.ext_id) for r in dump.receipts]
        if len(ids) != len(set(ids)):
            self.say("4: a delivery is kept twice")
        for foil in self.store.tables.foils.values():
            effect = self.store.tables.effects.get(foil.effect or "")
            if foil.state is FoilState.PROVISIONAL and effect is not None:
                given_up = effect.state in (_S.DROPPED, _S.ABSENT)
                if given_up or effect.state is _S.CONFIRMED:
                    self.say(f"7: {foil.id} is provisional and its effect is {effect.state}")
        undone = {r.id for r in self.store.tables.runs.values() if r.status is RunStatus.UNDONE}
        for (scope, key, run, _), (_, live) in self.store.tables.reservations.items():
            if live and run in undone:
                self.say(f"8: {run} is undone and its reservation on {scope} {key} is not given back")
        self._serials()

    def _serials(self) -> None:
        """8: a Run with calls under way holds its serials; the Run that waits longest for a free one is due."""
        moving = {
            e.run
            for e in self.store.tables.effects.values()
            if e.state in (_S.PLANNED, _S.SENDING, _S.UNKNOWN)
        }
        for run in self.store.tables.runs.values():
            if run.id in moving and run.status not in TERMINAL:
                for serial in load(run.ctx).serials:
                    if self.store.tables.holds.get(serial) != run.id:
                        self.say(f"8: {run.id} has calls under way and does not hold {serial}")
        queues: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for (serial, waiting), arrival in self.store.tables.hold_waits.items():
            queues[serial].append((arrival, waiting))
        for serial, queue in queues.items():
            first = self.store.tables.runs[min(queue)[1]]
            if serial not in self.store.tables.holds and first.due is None:
                self.say(f"8: {serial} is free and {first.id}, the first who waits for it, is never due")

    # ------------------------------------------------------------------ at rest

    def settled(self) -> None:
        """Within an hour after the last fault everything has ended, waits for what it may wait for, or is owned."""
        self.rows()
        now = self.world.now()
        owned_runs = {c.run for c in self.store.tables.cases.values() if c.state is CaseState.OPEN}
        open_approvals = {
            a.run for a in self.store.tables.approvals.values() if a.state is ApprovalState.OPEN
        }
        owed = {
            f.run for f in self.store.tables.foils.values() if f.state in (FoilState.OPEN, FoilState.PARTLY)
        }
        for effect in self.store.tables.effects.values():
            busy = effect.state in (_S.PLANNED, _S.SENDING) or (
                effect.state is _S.UNKNOWN and effect.run not in owned_runs
            )
            if busy:
                self.say(f"11: {effect.id} is still {effect.state}, an hour after the last fault")
        fine = owned_runs | open_approvals | owed
        fine |= {
            r.id for r in self.store.tables.runs.values() if r.status in TERMINAL or self._due_start(r, now)
        }
        for _ in self.store.tables.runs:  # who waits behind a Run that waits for a person waits with it
            fine |= {w for s, w in self.store.tables.hold_waits if self.store.tables.holds.get(s) in fine}
        for run in self.store.tables.runs.values():
            if run.id not in fine:
                self.say(f"11: {run.id} is still {run.status}, an hour after the last fault")
        for (kind, ref), topic in self.store.tables.todos.items():
            if topic is None:
                self.say(f"4: {kind} {ref} is still to be admitted, an hour after the last fault")

    def _due_start(self, run: Run, now: datetime) -> bool:
        return run.version == 0 and run.due is not None and run.due > now

    def over(self, systems: Mapping[str, System], ended: bool) -> None:
        """Check the end: every Run has ended, and the systems contain what we say was done."""
        self.rows()
        if not ended:
            for run in self.store.tables.runs.values():
                if run.status not in TERMINAL:
                    self.say(
                        f"11: {run.id} is {run.status} ({run.state}) though persons have decided everything"
                    )
        for key, head in self.store.tables.heads.items():
            newest = max(
                (int(f.ext_id.rsplit(":", 1)[1]) for s in systems.values() for f in s.facts
                 if f.ext_id.startswith(f"{key[0]}.changed:{key[1]}:")),
                default=head.version,
            )  # fmt: skip
            if head.version != newest:
                self.say(f"4: {key[0]} {key[1]} is held at version {head.version}, its system shows {newest}")
        self._truth(systems)

    def _truth(self, systems: Mapping[str, System]) -> None:
        """3: what was done outside, against what we say was done."""
        owned = {c.effect for c in self.store.tables.cases.values() if c.reason in OWNED}
        steps: dict[tuple[str, str, str], list[tuple[Effect, int]]] = defaultdict(list)
        for effect in self.store.tables.effects.values():
            if effect.repeat == "read":
                continue
            count = len(systems[effect.system].done.get(effect.id, ()))
            steps[effect.run, effect.path, effect.item].append((effect, count))
            if count > 1:
                self.say(f"3: {effect.operation} {effect.id} was done {count} times")
            says_nothing_done = effect.state in NOTHING and effect.error_class is not ErrorClass.ALREADY_DONE
            if count and says_nothing_done and effect.id not in owned:
                self.say(f"3: {effect.operation} {effect.id} was done and is {effect.state}")
            if not count and effect.state is _S.CONFIRMED:
                self.say(f"3: {effect.operation} {effect.id} is confirmed and was not done")
        for (run, path, _), parts in steps.items():
            if sum(count for _, count in parts) > 1 and not any(e.id in owned for e, _ in parts):
                self.say(f"3: {path} of {run} was done {sum(c for _, c in parts)} times, under several keys")
        self._undone()

    def _undone(self) -> None:
        """10: what is undone is undone in reverse order of its confirmation."""
        ended: dict[str, list[Effect]] = defaultdict(list)
        for effect in self.store.tables.effects.values():
            if effect.state is _S.CONFIRMED:
                ended[effect.run].append(effect)
        for run, effects in ended.items():
            if self.store.tables.runs[run].status is not RunStatus.UNDONE:
                continue
            order = [c.effect for c in load(self.store.tables.runs[run].ctx).confirmed]
            backs = [
                e for e in effects if e.undoes in order
            ]  # as they were planned: clocks may have gone back
            places = [order.index(str(e.undoes)) for e in backs]
            times = [e.created_at for e in backs]
            for (place, at), (later, then) in zip(
                zip(places, times, strict=True), list(zip(places, times, strict=True))[1:], strict=False
            ):
                if at != then and later > place:
                    self.say(f"10: {run} was undone out of order")
