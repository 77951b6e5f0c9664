"""What makes no progress: the scan over every row, and what becomes of what it found."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import msgspec

from counterfoil.core import wire
from counterfoil.core.case import CaseState
from counterfoil.core.effect import UNFINISHED, EffectState
from counterfoil.core.foil import FoilState
from counterfoil.core.run import TERMINAL
from counterfoil.store.memory.tables import Rows
from counterfoil.store.port import store as port
from counterfoil.store.port.stalled import (
    MOST,
    Stalled,
    StalledFinding,
    StalledSubject,
    StallLimits,
    opens,
    together,
)


class Progress(Rows):
    async def stuck(self, at: datetime, patience: StallLimits) -> list[Stalled]:
        """Everything that has waited for too long, by kind and class."""
        seen = [*self._of_runs(at, patience), *self._of_effects(at, patience), *self._of_todos(at, patience)]
        seen += [*self._of_serials(at), *self._of_the_rest(at, patience)]
        seen.sort(key=lambda each: (each.since, each.subject))
        kinds: dict[str, list[StalledSubject]] = {}
        for each in seen:
            kinds.setdefault(each.kind, []).append(each)
        return together(each for members in kinds.values() for each in members[:MOST])

    def _of_runs(self, at: datetime, p: StallLimits) -> Iterator[StalledSubject]:
        queued = {run for _, run in self.hold_waits}
        moving = {e.run for e in self.effect_rows.values() if e.state in UNFINISHED}
        owned = {c.run for c in self.case_rows.values() if c.state is CaseState.OPEN}
        for run in self.runs.values():
            if run.due is not None:
                late = run.due < at - min(p.due, p.lease)
                gone = run.lease_until is not None and run.lease_until < at - p.lease
                if late and run.owner is not None and gone:
                    yield StalledSubject(
                        kind="lease_expired", about=run.workflow, subject=run.id, since=run.due
                    )
                elif run.due < at - p.due:
                    yield StalledSubject(
                        kind="run_not_turned", about=run.workflow, subject=run.id, since=run.due
                    )
            elif run.status not in TERMINAL and run.id not in queued | moving | owned:
                since = run.now or run.created_at
                if since < at - p.due:
                    yield StalledSubject(kind="run_lost", about=run.workflow, subject=run.id, since=since)

    def _of_effects(self, at: datetime, p: StallLimits) -> Iterator[StalledSubject]:
        owned = {c.run for c in self.case_rows.values() if c.state is CaseState.OPEN}
        for e in self.effect_rows.values():
            since = e.conclude_at or e.created_at
            unasked = e.state is EffectState.UNKNOWN or (
                e.state is EffectState.ACCEPTED and e.look_at is None
            )
            if e.state is EffectState.PLANNED and e.created_at < at - p.planned:
                yield StalledSubject(kind="effect_planned", about=e.system, subject=e.id, since=e.created_at)
            elif (
                e.state is EffectState.SENDING and e.call_until is not None and e.call_until < at - p.sending
            ):
                yield StalledSubject(kind="effect_sending", about=e.system, subject=e.id, since=e.call_until)
            elif unasked and since < at - p.unknown and e.run not in owned:
                yield StalledSubject(kind="effect_unknown", about=e.system, subject=e.id, since=since)

    def _of_todos(self, at: datetime, p: StallLimits) -> Iterator[StalledSubject]:
        open_cases = [c for c in self.case_rows.values() if c.state is CaseState.OPEN]
        owned = {("receipt", str(c.receipt)) for c in open_cases} | {
            ("event", str(c.event)) for c in open_cases
        }
        for (kind, ref), topic in self.todo.items():
            about = self.receipts[int(ref)] if kind == "receipt" else self.events[ref]
            found = "todo_waiting" if topic is None else "todo_parked"
            late = (
                about.received_at < at - p.todo if topic is None else topic == "" and (kind, ref) not in owned
            )
            if late:
                yield StalledSubject(
                    kind=found, about=about.system, subject=f"{kind} {ref}", since=about.received_at
                )

    def _of_serials(self, at: datetime) -> Iterator[StalledSubject]:
        for serial, holder in self.holds.items():
            run = self.runs.get(holder)
            if run is None or run.status in TERMINAL:
                since = at if run is None or run.now is None else run.now
                yield StalledSubject(kind="serial_held", about="serials", subject=serial, since=since)
        for serial in {serial for serial, _ in self.hold_waits} - set(self.holds):
            runs = [self.runs.get(run) for name, run in self.hold_waits if name == serial]
            if not any(run is not None and run.due is not None for run in runs):
                since = min(at if run is None else run.now or run.created_at for run in runs)
                yield StalledSubject(kind="serial_stranded", about="serials", subject=serial, since=since)

    def _of_the_rest(self, at: datetime, p: StallLimits) -> Iterator[StalledSubject]:
        for case in self.case_rows.values():
            late = case.state is CaseState.OPEN and case.deadline < at
            if late and not case.reason.startswith("stuck_"):
                yield StalledSubject(
                    kind="case_overdue",
                    about=case.owner,
                    subject=case.id,
                    since=case.deadline,
                    owner=case.owner,
                )
        for foil in self.foil_rows.values():
            if foil.state in (FoilState.OPEN, FoilState.PARTLY) and foil.due < at - p.foil:
                yield StalledSubject(
                    kind="foil_past_due", about=foil.rule, subject=foil.id, since=foil.due, owner=foil.owner
                )
        for id_ in self.pending:
            leaf = self.leaf_rows[id_]
            if leaf.at < at - p.leaf:
                yield StalledSubject(kind="leaf_pending", about="audit", subject=id_, since=leaf.at)

    async def stuckness(self) -> list[StalledFinding]:
        return [self.stuck_rows[key] for key in sorted(self.stuck_rows)]

    def _recordstalled(self, t: port.RecordStalled) -> bool:
        if any(held.seen_at > t.at for held in self.stuck_rows.values()):
            return False
        gone = dict(self.stuck_rows)
        for found, case in zip(t.found, t.cases, strict=True):
            key = (found.kind, found.about)
            before = gone.pop(key, None)
            first_at = t.at if before is None else before.first_at
            named = None if before is None else before.case
            if opens(self.case_rows.get(named) if named else None, first_at, t):
                self._case(case, t.at, t.actor)
                named = case.id
            row = StalledFinding(stuck=found, first_at=first_at, seen_at=t.at, case=named)
            self._put(self.stuck_rows, key, row)
        for key, held in gone.items():
            self._drop(self.stuck_rows, key)
            open_case = self.case_rows.get(held.case) if held.case else None
            if open_case is not None and open_case.state is CaseState.OPEN:
                note = "it moves again"
                done = msgspec.structs.replace(
                    open_case, state=CaseState.RESOLVED, resolved_at=t.at, resolved_by="progress", note=note
                )
                self._put(self.case_rows, done.id, done)
                self._leaf("case.resolved", done.id, t.at, t.actor, wire.dumps({"note": note}))
        return True
