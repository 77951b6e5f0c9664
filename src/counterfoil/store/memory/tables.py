"""Rows in dictionaries: the tables, their journal, and the parts that several transitions share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import msgspec

from counterfoil.core import ids, wire
from counterfoil.core.approval import Approval, Vote
from counterfoil.core.audit import Checkpoint, Frontier, Leaf
from counterfoil.core.call import OperationCall
from counterfoil.core.canonical import CanonicalEvent, Head, Receipt
from counterfoil.core.case import Case, CaseState
from counterfoil.core.cases import case_of_break
from counterfoil.core.clock import utc_now
from counterfoil.core.effect import Effect
from counterfoil.core.foil import (
    FOIL_MOVES,
    UNFINISHED_FOILS,
    Allocation,
    Foil,
    FoilState,
    Observation,
    settle,
)
from counterfoil.core.link import Link, LinkStatus
from counterfoil.core.moves import check_move
from counterfoil.core.people import Person, Token
from counterfoil.core.quota import Quota, SystemAccount, WorkerHeartbeat
from counterfoil.core.release import Plan, ReleaseStep
from counterfoil.core.run import TERMINAL, InboxItem, Run
from counterfoil.core.usage import UsageRow
from counterfoil.store.port import transitions as port
from counterfoil.store.port.stalled import StalledFinding
from counterfoil.store.port.wake import RunWatch, Wake, Wakes

Key = Any


class Rows:
    """The tables, the journal that takes a failed transition back, and what several transitions share."""

    def __init__(self, clock: Callable[[], datetime] = utc_now) -> None:
        self.clock = clock
        self.receipts: dict[int, Receipt] = {}
        self.receipt_ids: dict[tuple[str, str], int] = {}
        self.todo: dict[tuple[str, str], str | None] = {}
        """Value: None when it is to be done, the topic that wakes it (or "") while it is parked."""
        self.events: dict[str, CanonicalEvent] = {}
        self.head_rows: dict[tuple[str, str], Head] = {}
        self.head_history: dict[tuple[str, str], tuple[Head, ...]] = {}
        self.links: dict[tuple[str, str, str, str], Link] = {}
        self.old_links: dict[int, Link] = {}
        self.runs: dict[str, Run] = {}
        self.run_keys: dict[tuple[str, str, int], str] = {}
        self.inbox_rows: dict[tuple[str, int], InboxItem] = {}
        self.inbox_refs: dict[tuple[str, str, str], int] = {}
        self.effect_rows: dict[str, Effect] = {}
        self.approval_rows: dict[str, Approval] = {}
        self.vote_rows: dict[tuple[str, str], Vote] = {}
        self.case_rows: dict[str, Case] = {}
        self.foil_rows: dict[str, Foil] = {}
        self.observations: dict[str, Observation] = {}
        self.allocations: dict[tuple[str, str], tuple[Allocation, ...]] = {}
        self.guards: dict[tuple[str, str], tuple[int, int | None]] = {}
        """scope, key -> used, limit."""
        self.reservations: dict[tuple[str, str, str, str], tuple[int, bool]] = {}
        """scope, key, run, path -> amount, live."""
        self.holds: dict[str, str] = {}
        self.hold_waits: dict[tuple[str, str], int] = {}
        """serial, run -> arrival."""
        self.waits: dict[tuple[str, str], datetime | None] = {}
        """topic, run -> since."""
        self.posts: dict[tuple[str, str], tuple[datetime, bytes]] = {}
        """topic, event -> posted at, body."""
        self.cursors: dict[tuple[str, str], str] = {}
        self.releases: dict[str, bytes] = {}
        self.present_release: dict[str, str] = {}
        self.plans: dict[str, Plan] = {}
        self.plan_models: dict[str, bytes] = {}
        self.steps_of_releases: dict[int, ReleaseStep] = {}
        self.people: dict[str, Person] = {}
        self.tokens: dict[str, Token] = {}
        self.workers: dict[str, WorkerHeartbeat] = {}
        self.accounts: dict[str, SystemAccount] = {}
        self.quotas: dict[tuple[str, str], Quota] = {}
        """account, worker -> quota."""
        self.leaf_rows: dict[str, Leaf] = {}
        self.pending: dict[str, None] = {}
        self.tree: dict[int, str] = {}
        self.frontier = Frontier()
        self.checkpoints: dict[int, Checkpoint] = {}
        self.usage_rows: dict[tuple[str, str], UsageRow] = {}
        self.quarantine_rows: dict[str, tuple[Any, ...]] = {}
        self.stuck_rows: dict[tuple[str, str], StalledFinding] = {}
        self.call_rows: dict[tuple[str, str, str], OperationCall] = {}
        self.rates: dict[tuple[str, str], int] = {}
        """consumer, operation -> what is spent."""
        self.waited_rows: dict[tuple[str, str, str], None] = {}
        """Release, event type, field."""
        self.use_rows: dict[tuple[str, str, str, int], tuple[int, datetime, datetime]] = {}
        """name, side, who, day -> count, first, last."""
        self.arrivals = 0
        self._journal: list[tuple[dict[Any, Any], Any, Any]] = []
        self._wakes = Wakes()

    # ------------------------------------------------------------------ applying

    async def apply(self, transition: Any) -> Any:
        """One transition, all or nothing."""
        self._journal.clear()
        try:
            answer = getattr(self, f"_{type(transition).__name__.lower()}")(transition)
        except BaseException:
            for table, key, before in reversed(self._journal):
                if before is ABSENT:
                    table.pop(key, None)
                else:
                    table[key] = before
            raise
        self._wakes.set(self._wakes.committed(transition, answer))
        return answer

    async def wait_for_wake(self, what: Wake, timeout: float) -> None:
        await self._wakes.wait(what, timeout)

    def watch_run(self, run: str) -> AbstractContextManager[RunWatch]:
        return self._wakes.watch_run(run)

    def _put(self, table: dict[Any, Any], key: Key, value: Any) -> None:
        self._journal.append((table, key, table.get(key, ABSENT)))
        table[key] = value

    def _drop(self, table: dict[Any, Any], key: Key) -> None:
        if key in table:
            self._journal.append((table, key, table[key]))
            del table[key]

    def _leaf(self, kind: str, subject: str, at: datetime, actor: str, body: bytes, **more: Any) -> None:
        parts = [kind, subject, str(more.get("version", "")), str(len(self.leaf_rows))]
        leaf = Leaf(
            id=ids.derive("leaf", *parts), kind=kind, subject=subject, actor=actor, at=at, body=body, **more
        )
        self._put(self.leaf_rows, leaf.id, leaf)
        self._put(self.pending, leaf.id, None)

    # ------------------------------------------------------------------ shared parts

    def _append(self, s: port.Stimulus, at: datetime) -> bool:
        """PROTOCOL append: new -> next seq of the inbox, and due no later than now."""
        run = self.runs.get(s.run)
        if run is None or (s.run, s.kind, s.ref) in self.inbox_refs:
            return False
        seq = run.inbox_n + 1
        item = InboxItem(run=s.run, seq=seq, kind=s.kind, ref=s.ref, at=at, body=s.body)
        self._put(self.inbox_refs, (s.run, s.kind, s.ref), seq)
        self._put(self.inbox_rows, (s.run, seq), item)
        due = run.due if run.status in TERMINAL else least(run.due, at)
        self._put(self.runs, run.id, msgspec.structs.replace(run, inbox_n=seq, due=due))
        return True

    def _start(self, start: port.RunStart, at: datetime) -> bool:
        key = (start.workflow, start.bkey, start.generation)
        if key in self.run_keys:
            if not start.only_birth:
                self._append(start.stimulus, at)
            return False
        self.arrivals += 1
        run = Run(
            id=start.run,
            workflow=start.workflow,
            bkey=start.bkey,
            generation=start.generation,
            pin=start.pin,
            arrival=self.arrivals,
            state=start.state,
            created_at=at,
            lane=start.lane,
            owner=start.lease.worker if start.lease is not None else None,
            lease_until=start.lease.until if start.lease is not None else None,
        )
        self._put(self.run_keys, key, run.id)
        self._put(self.runs, run.id, run)
        self._append(start.stimulus, at)
        due = start.due if start.due is not None else at
        self._put(self.runs, run.id, msgspec.structs.replace(self.runs[run.id], due=due))
        return True

    def _post(self, post: port.Post, at: datetime) -> list[str]:
        woken = []
        for topic in post.topics:
            if (topic, post.event) in self.posts:
                continue
            self._put(self.posts, (topic, post.event), (at, post.body))
            for waiting_topic, run in sorted(self.waits):
                if waiting_topic == topic and self._append(event_stimulus(run, post.event, post.body), at):
                    woken.append(run)
            for todo, wakes_on in list(self.todo.items()):
                if wakes_on == topic:
                    self._put(self.todo, todo, None)
        return woken

    def _link(self, link: Link, at: datetime) -> list[str]:
        """One active canonical id per external id: the same again is nothing, another one supersedes."""
        key = (link.object, link.system, link.account, link.ext_id)
        held = self.links.get(key)
        if held is not None and held.canonical == link.canonical and held.status is link.status:
            return []
        if held is not None:
            old = msgspec.structs.replace(held, status=LinkStatus.SUPERSEDED, valid_to=at)
            self._put(self.old_links, len(self.old_links), old)
        self._put(self.links, key, link)
        if link.status is not LinkStatus.CONFIRMED:
            return []
        body = wire.dumps({"object": link.object, "canonical": link.canonical, "ext_id": link.ext_id})
        return self._post(
            port.Post(event=f"{link.topics[0]}:{link.ext_id}", topics=link.topics, body=body), at
        )

    def _case(self, case: Case, at: datetime, actor: str) -> bool:
        """Opens it; a Case with this id that was resolved meanwhile stays resolved."""
        if case.id in self.case_rows:
            return False
        self._put(self.case_rows, case.id, case)
        body = wire.dumps({"reason": case.reason, "owner": case.owner, "message": case.message})
        self._leaf("case.opened", case.id, at, actor, body, run=case.run)
        return True

    def _settle(self, rule: str, key: str, at: datetime) -> None:
        """Matching on one match row; foils that move append `foil` to their Run."""
        foils = [f for f in self.foil_rows.values() if (f.rule, f.key) == (rule, key)]
        seen = [o for o in self.observations.values() if (o.rule, o.key) == (rule, key)]
        settlement = settle(foils, seen, at)
        self._put(self.allocations, (rule, key), settlement.allocations)
        for foil in foils:
            state = settlement.states.get(foil.id, foil.state)
            if state is foil.state:
                continue
            self._move_foil(foil, state, settlement.reasons.get(foil.id, ""), at)

    def _move_foil(self, foil: Foil, state: FoilState, reason: str, at: datetime) -> None:
        check_move(FOIL_MOVES, foil.state, state, foil.id)
        settled = None if state in UNFINISHED_FOILS else at
        moved = msgspec.structs.replace(foil, state=state, reason=reason, settled_at=settled)
        self._put(self.foil_rows, foil.id, moved)
        self._leaf(f"foil.{state}", foil.id, at, "matching", wire.dumps({"reason": reason}), run=foil.run)
        if state is FoilState.MATCHED:
            self._resolve_cases_of_foil(foil.id, at)
        if state in (FoilState.BROKEN, FoilState.OVER):
            self._case(case_of_break(foil, state, reason, at), at, "matching")
        if foil.run is not None and state not in (FoilState.OPEN, FoilState.VOID):
            body = wire.dumps(
                {"foil": foil.id, "rule": foil.rule, "state": str(state), "effect": foil.effect}
            )
            version = len([1 for (r, k, _) in self.inbox_refs if r == foil.run and k == "foil"])
            self._append(
                port.Stimulus(run=foil.run, kind="foil", ref=f"{foil.id}:{state}:{version}", body=body), at
            )

    def _resolve_cases_of_foil(self, foil: str, at: datetime) -> None:
        """A Case about a broken foil is over when the other half arrives after all."""
        for case in list(self.case_rows.values()):
            if case.foil == foil and case.state is CaseState.OPEN:
                done = msgspec.structs.replace(
                    case,
                    state=CaseState.RESOLVED,
                    resolved_at=at,
                    resolved_by="matching",
                    note="matched by a later observation",
                )
                self._put(self.case_rows, case.id, done)

    def _resolve_cases_of_todo(self, todo: tuple[str, str], at: datetime) -> None:
        """A Case about a delivery that was held is over once the delivery is admitted after all."""
        for case in list(self.case_rows.values()):
            about = ("receipt", str(case.receipt)) if case.receipt is not None else ("event", str(case.event))
            if about == todo and case.run is None and case.state is CaseState.OPEN and case.reason != "clash":
                done = msgspec.structs.replace(
                    case, state=CaseState.RESOLVED, resolved_at=at, resolved_by="admit", note="admitted later"
                )
                self._put(self.case_rows, case.id, done)

    def _open_foil(self, foil: Foil) -> None:
        held = self.foil_rows.get(foil.id)
        if held is None:
            self._put(self.foil_rows, foil.id, foil)
        elif held.state is FoilState.PROVISIONAL and foil.state is FoilState.OPEN:
            self._put(
                self.foil_rows, foil.id, msgspec.structs.replace(held, state=FoilState.OPEN, legs=foil.legs)
            )

    def _foils_of_effect(self, effect: str) -> list[Foil]:
        return [f for f in self.foil_rows.values() if f.effect == effect]

    def _put_todo(self, kind: str, ref: str) -> None:
        self._put(self.todo, (kind, ref), None)


class Absent:
    """A key that had no row before the transition."""


ABSENT = Absent()


def least(a: datetime | None, b: datetime) -> datetime:
    return b if a is None else min(a, b)


def event_stimulus(run: str, event: str, body: bytes) -> port.Stimulus:
    return port.Stimulus(run=run, kind="event", ref=event, body=body)
