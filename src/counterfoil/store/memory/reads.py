"""What turns, admission, calls and pages read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from counterfoil.core.approval import Approval, Vote
from counterfoil.core.audit import Checkpoint, Leaf
from counterfoil.core.call import OperationCall
from counterfoil.core.canonical import CanonicalEvent, Head, Receipt
from counterfoil.core.effect import Effect, EffectState
from counterfoil.core.foil import Foil, FoilState
from counterfoil.core.link import Link, LinkStatus
from counterfoil.core.people import Person
from counterfoil.store.dump import Dump, dump_memory
from counterfoil.store.memory.tables import Rows
from counterfoil.store.port import store as port
from counterfoil.store.port.views import CaseTarget


class Reads(Rows):
    async def now(self) -> datetime:
        return self.clock()

    async def load(self, run: str) -> port.LoadedRun | None:
        held = self.runs.get(run)
        if held is None:
            return None
        inbox = [self.inbox_rows[run, seq] for seq in range(held.consumed + 1, held.inbox_n + 1)]
        return port.LoadedRun(
            run=held,
            inbox=tuple(inbox),
            effects=tuple(e for e in self.effect_rows.values() if e.run == run),
            approvals=tuple(a for a in self.approval_rows.values() if a.run == run),
            foils=tuple(f for f in self.foil_rows.values() if f.run == run),
            holds=tuple(sorted(serial for serial, holder in self.holds.items() if holder == run)),
        )

    async def todos(self, limit: int, skip: Sequence[tuple[str, str]] = ()) -> list[port.Todo]:
        found = [t for t, topic in self.todo.items() if topic is None and t not in skip][:limit]
        return [
            port.Todo(
                kind=kind,
                ref=ref,
                receipt=self.receipts.get(int(ref)) if kind == "receipt" else None,
                event=self.events.get(ref) if kind == "event" else None,
            )
            for kind, ref in found
        ]

    @property
    def depth(self) -> int:
        """Nothing waits here: a transition is applied when it is asked for."""
        return 0

    async def backlog(self, most: int, place: int) -> port.Backlog:
        waiting = [t for t, topic in self.todo.items() if topic is None]
        since = None
        for kind, ref in waiting[place : place + 1]:
            since = self.receipts[int(ref)].received_at if kind == "receipt" else self.events[ref].received_at
        return port.Backlog(waiting=min(most, len(waiting)), since=since)

    async def kept(self, names: Sequence[tuple[str, str]]) -> dict[tuple[str, str], tuple[int, str]]:
        numbers = {name: self.receipt_ids[name] for name in names if name in self.receipt_ids}
        return {name: (no, self.receipts[no].identity) for name, no in numbers.items()}

    async def next_due(self) -> datetime | None:
        dues = [r.due for r in self.runs.values() if r.due is not None]
        dues += [e.look_at for e in self.effect_rows.values() if e.look_at is not None]
        dues += [
            e.call_until
            for e in self.effect_rows.values()
            if e.state is EffectState.SENDING and e.call_until is not None
        ]
        dues += [f.due for f in self.foil_rows.values() if f.state in (FoilState.OPEN, FoilState.PARTLY)]
        return min(dues, default=None)

    async def head(self, object_: str, key: str, at: datetime | None = None) -> Head | None:
        if at is None:
            return self.head_rows.get((object_, key))
        known = [h for h in self.head_history.get((object_, key), ()) if h.effective_at <= at]
        return max(reversed(known), key=lambda h: (h.effective_at, h.version), default=None)

    async def heads(self, object_: str, limit: int = 1000) -> list[Head]:
        return [h for (o, _), h in sorted(self.head_rows.items()) if o == object_][:limit]

    async def link_by_ext(self, object_: str, system: str, ext_id: str, account: str = "") -> Link | None:
        link = self.links.get((object_, system, account, ext_id))
        return link if link is not None and link.status is LinkStatus.CONFIRMED else None

    async def link_by_canonical(self, object_: str, canonical: str, system: str) -> Link | None:
        found = [
            link
            for link in self.links.values()
            if (link.object, link.canonical, link.system) == (object_, canonical, system)
            and link.status is LinkStatus.CONFIRMED
        ]
        return min(found, key=lambda link: (link.valid_from, link.ext_id), default=None)

    async def guard_used(self, scope: str, key: str) -> int:
        return self.guards.get((scope, key), (0, None))[0]

    async def event(self, id_: str) -> CanonicalEvent | None:
        return self.events.get(id_)

    async def approval(self, id_: str) -> Approval | None:
        return self.approval_rows.get(id_)

    async def votes(self, approvals: Sequence[str]) -> dict[str, list[Vote]]:
        votes = sorted(self.vote_rows.values(), key=lambda vote: (vote.at, vote.person))
        return {id_: [vote for vote in votes if vote.approval == id_] for id_ in approvals}

    async def case(self, id_: str) -> CaseTarget | None:
        case = self.case_rows.get(id_)
        if case is None:
            return None
        run = self.runs.get(case.run) if case.run is not None else None
        if run is None:
            return CaseTarget(case=case)
        return CaseTarget(case=case, workflow=run.workflow, bkey=run.bkey)

    async def receipt(self, no: int) -> Receipt | None:
        return self.receipts.get(no)

    async def cursor(self, system: str, feed: str) -> str | None:
        return self.cursors.get((system, feed))

    async def call(self, consumer: str, operation: str, key: str) -> OperationCall | None:
        return self.call_rows.get((consumer, operation, key))

    async def call_of_run(self, run: str) -> OperationCall | None:
        return next((call for call in self.call_rows.values() if call.run == run), None)

    async def release(self, digest: str | None = None) -> tuple[str, bytes] | None:
        wanted = digest if digest is not None else self.present_release.get("present")
        if wanted is None or wanted not in self.releases:
            return None
        return wanted, self.releases[wanted]

    async def effect(self, id_: str) -> Effect | None:
        return self.effect_rows.get(id_)

    async def effects_planned(self, limit: int) -> list[Effect]:
        found = [e for e in self.effect_rows.values() if e.state is EffectState.PLANNED]
        return sorted(found, key=lambda e: (e.lane, e.created_at, e.id))[:limit]

    async def effects_overdue(self, at: datetime, limit: int) -> list[Effect]:
        found = [
            e
            for e in self.effect_rows.values()
            if e.state is EffectState.SENDING and e.call_until is not None and e.call_until < at
        ]
        return sorted(found, key=lambda e: (e.call_until, e.id))[:limit]

    async def effects_sending(self, worker_prefix: str, limit: int) -> list[Effect]:
        found = [
            e
            for e in self.effect_rows.values()
            if e.state is EffectState.SENDING and (e.worker or "").startswith(worker_prefix)
        ]
        return sorted(found, key=lambda e: e.id)[:limit]

    async def effects_to_look_up(self, at: datetime, limit: int) -> list[Effect]:
        found = [
            e
            for e in self.effect_rows.values()
            if e.state in (EffectState.UNKNOWN, EffectState.ACCEPTED)
            and e.look_at is not None
            and e.look_at <= at
        ]
        return sorted(found, key=lambda e: (e.look_at, e.id))[:limit]

    async def foils_past_due(self, at: datetime, limit: int) -> list[Foil]:
        found = [
            f
            for f in self.foil_rows.values()
            if f.state in (FoilState.OPEN, FoilState.PARTLY) and f.due <= at
        ]
        return sorted(found, key=lambda f: (f.due, f.id))[:limit]

    async def person(self, id_: str) -> Person | None:
        return self.people.get(id_)

    async def persons(self) -> list[Person]:
        return [self.people[k] for k in sorted(self.people)]

    async def token(self, digest: str, at: datetime) -> Person | None:
        token = self.tokens.get(digest)
        if token is None or token.expires <= at:
            return None
        person = self.people.get(token.person)
        return person if person is not None and person.active else None

    async def leaves(self, start: int, limit: int) -> list[tuple[int, Leaf]]:
        return [(i, self.leaf_rows[self.tree[i]]) for i in range(start, start + limit) if i in self.tree]

    async def checkpoint(self, size: int | None = None) -> Checkpoint | None:
        return self.checkpoints.get(max(self.checkpoints, default=0) if size is None else size)

    async def dump(self) -> Dump:
        """Every row as a record."""
        return dump_memory(self)

    async def close(self) -> None:
        """Nothing to let go of."""
