"""claim and turn: a Run is leased, and what one turn decided is committed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from counterfoil.core.approval import APPROVAL_MOVES
from counterfoil.core.foil import FOIL_MOVES, FoilState
from counterfoil.core.moves import check_move
from counterfoil.core.run import TERMINAL, Run
from counterfoil.store.memory.effects import Effects
from counterfoil.store.memory.tables import event_stimulus, least
from counterfoil.store.port import transitions as port


class Runs(Effects):
    def _claim(self, t: port.Claim) -> tuple[Run, ...]:
        place = {lane: n for n, lane in enumerate(t.lanes)}
        due = sorted(
            (
                r
                for r in self.runs.values()
                if r.lane in place
                and r.due is not None
                and r.due <= t.at
                and (r.lease_until is None or r.lease_until < t.at)
            ),
            key=lambda r: (place[r.lane], r.due, r.arrival),
        )[: t.limit]
        claimed = [msgspec.structs.replace(r, owner=t.worker, lease_until=t.lease_until) for r in due]
        for run in claimed:
            self._put(self.runs, run.id, run)
        return tuple(claimed)

    def _advance(self, t: port.Advance) -> port.Advanced:
        c, u = t.conclude, t.turn
        if u.reserve or u.release:
            raise ValueError(f"{u.run}: a turn that touches guards is a transition of its own")
        before = self.runs.get(u.run)
        concluded, stimulus = self._record(c)
        turned = port.Turned(verdict="stale")
        if stimulus is None:
            return port.Advanced(concluded=concluded, turned=turned)
        present = self.runs.get(u.run)
        current = (
            before is not None
            and present is not None
            and (before.version, before.inbox_n) == (u.version, u.consumed - 1)
            and present.inbox_n == before.inbox_n
            and stimulus.run == u.run
        )
        due = present.due if present is not None else None
        self._append(stimulus, c.at)
        if current:
            self._put(self.runs, u.run, msgspec.structs.replace(self.runs[u.run], due=due))
            turned = self._turn(u)
        if turned.verdict != "done":
            self._told_leaf(c, stimulus.run)
        return port.Advanced(concluded=concluded, turned=turned)

    def _turn(self, t: port.Turn) -> port.Turned:
        run = self.runs.get(t.run)
        if run is None or run.version != t.version:
            return port.Turned(verdict="stale")
        blocked = [s for s in t.hold if self.holds.get(s, t.run) != t.run]
        if blocked:
            for serial in blocked:
                self._put(self.hold_waits, (serial, t.run), run.arrival)
            idle = msgspec.structs.replace(run, due=None, owner=None, lease_until=None)
            self._put(self.runs, run.id, idle)
            return port.Turned(verdict="held", version=run.version)
        if (limited := self._reserve(t)) is not None:
            return limited
        for serial in t.hold:
            self._put(self.holds, serial, t.run)
            self._drop(self.hold_waits, (serial, t.run))
        for approval in t.approvals:
            if approval.id not in self.approval_rows:
                self._put(self.approval_rows, approval.id, approval)
        for id_, state in t.close_approvals:
            held = self.approval_rows[id_]
            check_move(APPROVAL_MOVES, held.state, state, id_)
            self._put(self.approval_rows, id_, msgspec.structs.replace(held, state=state))
        for effect in t.plan:
            self._insert_effect(effect)
        started, new = [], {effect.id for effect in t.plan}
        for send in t.send:
            held_effect = self.effect_rows[send.effect]
            if self._approved(held_effect):
                self._send(send)
                started.append(send.effect)
            elif send.effect not in new:
                self._fall(held_effect, t.at)
        for id_ in t.again:
            self._plan_again(id_)
        for id_ in t.drop:
            self._abandon(id_, t.at)
        touched = set()
        for foil in t.foils:
            self._open_foil(foil)
            touched.add((foil.rule, foil.key))
        for id_ in t.reverse:
            for foil in self._foils_of_effect(id_):
                if FoilState.REVERSED in FOIL_MOVES[foil.state]:
                    self._move_foil(foil, FoilState.REVERSED, "its cause was taken back", t.at)
                    touched.add((foil.rule, foil.key))
        for rule, key in sorted(touched):
            self._settle(rule, key, t.at)
        for case in t.cases:
            self._case(case, t.at, t.actor)
        for event in t.events:
            if event.id not in self.events:
                self._put(self.events, event.id, event)
                self._put_todo("event", event.id)
        for start in t.starts:
            self._start(start, t.at)
        terminal = t.status in TERMINAL
        self._release(t.run, t.release)
        woken = self._unhold(t.run, t.unhold, t.at)
        if terminal and (kept := sorted(s for s, holder in self.holds.items() if holder == t.run)):
            raise ValueError(f"{t.run} would end and hold {', '.join(kept)}")
        woken += self._leave_queues(t.run, t.at)
        self._wait(t, terminal)
        version = t.version + 1
        run = self.runs[t.run]  # the parts above may have appended to it
        due = t.at if run.inbox_n > t.consumed else t.due
        if terminal:
            due = None
        moved = msgspec.structs.replace(
            run,
            status=t.status,
            direction=t.direction,
            state=t.state,
            version=version,
            consumed=t.consumed,
            due=due,
            owner=None,
            lease_until=None,
            now=t.at if run.now is None else max(run.now, t.at),
            ctx=t.ctx,
        )
        self._put(self.runs, run.id, moved)
        self._leaf("turned", run.id, t.at, t.actor, t.leaf, run=run.id, version=version)
        return port.Turned(
            verdict="done",
            version=version,
            inbox_n=run.inbox_n,
            due=due,
            started=tuple(started),
            woken=tuple(woken),
        )

    def _reserve(self, t: port.Turn) -> port.Turned | None:
        """All reservations or none; those that this Run made already count once."""
        used: dict[tuple[str, str], int] = {}
        for r in t.reserve:
            used.setdefault((r.scope, r.key), self.guards.get((r.scope, r.key), (0, None))[0])
        asked = dict(used)
        refused = False
        for r in t.reserve:
            if (r.scope, r.key, t.run, r.path) in self.reservations:
                continue
            if r.seen is not None and used[r.scope, r.key] != r.seen:
                refused = True
            asked[r.scope, r.key] += r.amount
            if r.limit is not None and asked[r.scope, r.key] > r.limit:
                refused = True
        if refused:
            return port.Turned(verdict="limited", used=tuple((s, k, n) for (s, k), n in sorted(used.items())))
        for r in t.reserve:
            if (r.scope, r.key, t.run, r.path) not in self.reservations:
                self._put(self.reservations, (r.scope, r.key, t.run, r.path), (r.amount, True))
                self._put(self.guards, (r.scope, r.key), (asked[r.scope, r.key], r.limit))
        return None

    def _release(self, run: str, paths: Sequence[str]) -> None:
        """Give back reservations of these paths. What a Run that ends did not give back was consumed."""
        for key, (amount, live) in list(self.reservations.items()):
            scope, guard, owner, path = key
            if owner == run and path in paths and live:
                self._put(self.reservations, key, (amount, False))
                used, limit = self.guards[scope, guard]
                self._put(self.guards, (scope, guard), (used - amount, limit))

    def _unhold(self, run: str, serials: Sequence[str], at: datetime) -> list[str]:
        """Release these serials of the Run; the Run that waited longest on each becomes due."""
        woken = []
        for serial in sorted(s for s in serials if self.holds.get(s) == run):
            self._drop(self.holds, serial)
            woken += self._wake_next(serial, at)
        return woken

    def _leave_queues(self, run: str, at: datetime) -> list[str]:
        """A Run that was woken for a serial and went on without it must not stand before the others."""
        woken = []
        for serial in sorted(s for s, waiting in self.hold_waits if waiting == run):
            self._drop(self.hold_waits, (serial, run))
            if serial not in self.holds:
                woken += self._wake_next(serial, at)
        return woken

    def _wake_next(self, serial: str, at: datetime) -> list[str]:
        waiting = sorted((arrival, r) for (s, r), arrival in self.hold_waits.items() if s == serial)
        for _, run in waiting[:1]:
            held = self.runs[run]
            self._put(self.runs, run, msgspec.structs.replace(held, due=least(held.due, at)))
        return [run for _, run in waiting[:1]]

    def _wait(self, t: port.Turn, terminal: bool) -> None:
        for topic, run in list(self.waits):
            if run == t.run:
                self._drop(self.waits, (topic, run))
        if terminal:
            return
        for wait in t.waits:
            self._put(self.waits, (wait.topic, t.run), wait.since)
            for (topic, event), (at, body) in sorted(self.posts.items(), key=lambda p: p[1][0]):
                if topic == wait.topic and (wait.since is None or at >= wait.since):
                    self._append(event_stimulus(t.run, event, body), t.at)
