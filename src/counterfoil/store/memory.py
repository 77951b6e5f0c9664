"""The executable specification of the port, in plain Python: what each transition does, in which order.

Rows live in dictionaries; a journal takes a failed transition back as a whole. Simulation and proof run on
it, and the contract suite holds the SQL stores to it. It keeps nothing once the process ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from counterfoil.core import ids, wire
from counterfoil.core.approval import APPROVAL_MOVES, Approval, ApprovalState, Vote
from counterfoil.core.audit import Checkpoint, Frontier, Leaf
from counterfoil.core.canonical import CanonicalEvent, Head, Receipt
from counterfoil.core.case import Case, CaseState, Choice
from counterfoil.core.clock import utc_now
from counterfoil.core.effect import EFFECT_MOVES, IN_FLIGHT, Effect, EffectState
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
from counterfoil.core.run import TERMINAL, InboxItem, Run
from counterfoil.store import store as port
from counterfoil.store.dump import Dump, dump_memory

Key = Any


class MemoryStore:
    """The port over dictionaries. `clock` is the database's time; simulations pass their own."""

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
        self.people: dict[str, Person] = {}
        self.tokens: dict[str, Token] = {}
        self.leaf_rows: dict[str, Leaf] = {}
        self.pending: dict[str, None] = {}
        self.tree: dict[int, str] = {}
        self.frontier = Frontier()
        self.checkpoints: dict[int, Checkpoint] = {}
        self.arrivals = 0
        self._journal: list[tuple[dict[Any, Any], Any, Any]] = []
        self._wake = asyncio.Event()

    # ------------------------------------------------------------------ applying

    async def apply(self, transition: Any) -> Any:
        """One transition, all or nothing."""
        self._journal.clear()
        try:
            answer = getattr(self, f"_{type(transition).__name__.lower()}")(transition)
        except BaseException:
            for table, key, before in reversed(self._journal):
                if before is _ABSENT:
                    table.pop(key, None)
                else:
                    table[key] = before
            raise
        self._wake.set()
        return answer

    async def wait_for_wake(self, timeout: float) -> None:
        """Return when something changed or `timeout` seconds have passed."""
        try:
            await asyncio.wait_for(self._wake.wait(), timeout)
        except TimeoutError:
            return
        self._wake.clear()

    def _put(self, table: dict[Any, Any], key: Key, value: Any) -> None:
        self._journal.append((table, key, table.get(key, _ABSENT)))
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
        due = run.due if run.status in TERMINAL else _least(run.due, at)
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
                if waiting_topic == topic and self._append(_event_stimulus(run, post.event, post.body), at):
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

    # ------------------------------------------------------------------ receive, admit

    def _receive(self, t: port.Receive) -> port.Received:
        numbers, verdicts = [], []
        for receipt, clash in zip(t.receipts, t.clashes, strict=True):
            no = self.receipt_ids.get((receipt.system, receipt.ext_id))
            if no is None:
                no = len(self.receipts) + 1
                self._put(self.receipt_ids, (receipt.system, receipt.ext_id), no)
                self._put(self.receipts, no, msgspec.structs.replace(receipt, no=no))
                if receipt.door != "fetch":
                    self._put_todo("receipt", str(no))
                body = wire.dumps(
                    {"system": receipt.system, "ext_id": receipt.ext_id, "sha256": receipt.sha256}
                )
                self._leaf("received", str(no), t.at, t.actor, body)
                verdicts.append("new")
            elif self.receipts[no].identity == receipt.identity:
                verdicts.append("same")
            else:
                self._case(msgspec.structs.replace(clash, receipt=no), t.at, t.actor)
                verdicts.append("clash")
            numbers.append(no)
        if t.cursor is not None:
            system, feed, value = t.cursor
            self._put(self.cursors, (system, feed), value)
        return port.Received(numbers=tuple(numbers), verdicts=tuple(verdicts))

    def _admit(self, t: port.Admit) -> port.Admitted:
        if self.todo.get(t.todo, _ABSENT) is not None:
            return port.Admitted(applied=False)
        self._drop(self.todo, t.todo)
        fresh = {e.id for e in t.events if e.id not in self.events}
        if t.todo[0] == "event":
            fresh |= {e.id for e in t.events}  # emitted events are kept already; this is their admission
        for event in t.events:
            if event.id not in self.events:
                self._put(self.events, event.id, event)
        older = [h.event for h in t.heads if h.event in fresh and not self._advance(h)]
        woken: list[str] = []
        for link in t.links:
            woken += self._link(link, t.at)
        for post in t.posts:
            if post.event in fresh:
                woken += self._post(post, t.at)
        born = [s.run for s in t.starts if s.stimulus.ref in fresh and self._start(s, t.at)]
        touched = set()
        for foil in t.foils:
            if foil.cause in fresh:
                self._open_foil(foil)
                touched.add((foil.rule, foil.key))
        for o in t.observations:
            if o.event in fresh and o.id not in self.observations:
                self._put(self.observations, o.id, o)
                touched.add((o.rule, o.key))
        for rule, key in sorted(touched):
            self._settle(rule, key, t.at)
        if not t.park and not t.cases:
            self._resolve_cases_of_todo(t.todo, t.at)
        for case in t.cases:
            self._case(case, t.at, t.actor)
        if t.park:
            topic = t.wake_topic or ""
            posted = bool(topic) and any(p[0] == topic for p in self.posts)
            self._put(self.todo, t.todo, None if posted else topic)
        what = {
            "events": sorted(e.id for e in t.events),
            "new": sorted(fresh),
            "ignored": t.ignored,
            "parked": t.park,
        }
        self._leaf("admitted", ":".join(t.todo), t.at, t.actor, wire.dumps(what))
        return port.Admitted(
            applied=True,
            new_events=tuple(sorted(fresh)),
            born=tuple(born),
            woken=tuple(woken),
            older=tuple(older),
        )

    def _advance(self, head: Head) -> bool:
        key = (head.object, head.key)
        held = self.head_rows.get(key)
        history = self.head_history.get(key, ())
        seen = held.versions if held is not None else {}
        if seen.get(head.system, head.version) > head.version:
            self._put(self.head_history, key, (*history, head))
            return False
        state = {**held.state, **head.state} if held is not None else head.state
        versions = {**seen, head.system: head.version}
        merged = msgspec.structs.replace(head, state=state, versions=versions)
        self._put(self.head_rows, key, merged)
        self._put(self.head_history, key, (*history, merged))
        return True

    # ------------------------------------------------------------------ runs

    def _claim(self, t: port.Claim) -> tuple[Run, ...]:
        due = sorted(
            (
                r
                for r in self.runs.values()
                if r.due is not None and r.due <= t.at and (r.lease_until is None or r.lease_until < t.at)
            ),
            key=lambda r: (r.due, r.arrival),
        )[: t.limit]
        claimed = [msgspec.structs.replace(r, owner=t.worker, lease_until=t.lease_until) for r in due]
        for run in claimed:
            self._put(self.runs, run.id, run)
        return tuple(claimed)

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
        for effect in t.plan:
            self._insert_effect(effect)
        for send in t.send:
            self._send(send)
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
        for approval in t.approvals:
            if approval.id not in self.approval_rows:
                self._put(self.approval_rows, approval.id, approval)
        for id_, state in t.close_approvals:
            held = self.approval_rows[id_]
            check_move(APPROVAL_MOVES, held.state, state, id_)
            self._put(self.approval_rows, id_, msgspec.structs.replace(held, state=state))
        for case in t.cases:
            self._case(case, t.at, t.actor)
        for event in t.events:
            if event.id not in self.events:
                self._put(self.events, event.id, event)
                self._put_todo("event", event.id)
        for start in t.starts:
            self._start(start, t.at)
        terminal = t.status in TERMINAL
        self._release(t.run, t.release, terminal)
        woken = self._unhold(t.run, t.at) if t.unhold or terminal else []
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
        return port.Turned(verdict="done", version=version, due=due, woken=tuple(woken))

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

    def _release(self, run: str, paths: Sequence[str], terminal: bool) -> None:
        """Give back reservations of these paths. A terminal Run's others stay: they were consumed."""
        del terminal
        for key, (amount, live) in list(self.reservations.items()):
            scope, guard, owner, path = key
            if owner == run and path in paths and live:
                self._put(self.reservations, key, (amount, False))
                used, limit = self.guards[scope, guard]
                self._put(self.guards, (scope, guard), (used - amount, limit))

    def _unhold(self, run: str, at: datetime) -> list[str]:
        """Release this Run's serials; the Run that waited longest on each becomes due."""
        woken = []
        for serial in sorted(s for s, holder in self.holds.items() if holder == run):
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
            self._put(self.runs, run, msgspec.structs.replace(held, due=_least(held.due, at)))
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
                    self._append(_event_stimulus(t.run, event, body), t.at)

    # ------------------------------------------------------------------ effects

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
        effect = self.effect_rows[s.effect]
        check_move(EFFECT_MOVES, effect.state, EffectState.SENDING, effect.id)
        if effect.attempt + 1 != s.attempt:
            raise ValueError(f"{effect.id}: attempt {s.attempt} does not follow {effect.attempt}")
        self._refuse_second_generation(effect)
        sent = msgspec.structs.replace(
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
        self._put(self.effect_rows, effect.id, sent)
        return sent

    def _abandon(self, id_: str, at: datetime) -> None:
        """planned -> dropped; a refused effect stays refused. Either way its provisional foils are void."""
        effect = self.effect_rows[id_]
        if effect.state is EffectState.PLANNED:
            dropped = msgspec.structs.replace(effect, state=EffectState.DROPPED, ended_at=at)
            self._put(self.effect_rows, id_, dropped)
        for foil in self._foils_of_effect(id_):
            if foil.state is FoilState.PROVISIONAL:
                self._move_foil(foil, FoilState.VOID, "its effect was given up", at)

    def _intent(self, t: port.Intent) -> port.Intended:
        effect = self.effect_rows.get(t.send.effect)
        if effect is None or effect.state is not EffectState.PLANNED or effect.attempt + 1 != t.send.attempt:
            return port.Intended(verdict="lost")
        if not self._approved(effect):
            self._abandon(effect.id, t.at)
            body = wire.dumps({"effect": effect.id, "path": effect.path})
            self._append(port.Stimulus(run=effect.run, kind="stale", ref=effect.id, body=body), t.at)
            return port.Intended(verdict="stale")
        self._send(t.send)
        self._sent_leaf(effect, t.send.attempt, t.at, t.actor)
        return port.Intended(verdict="sending")

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
        self._send(t.send)
        self._sent_leaf(effect, t.send.attempt, t.at, t.actor)
        return port.Intended(verdict="sending")

    def _conclude(self, t: port.Conclude) -> port.Concluded:
        effect = self.effect_rows.get(t.effect)
        if effect is None:
            return port.Concluded(verdict="late")
        if effect.attempt != t.attempt or t.state not in EFFECT_MOVES[effect.state]:
            contradicts = t.state is EffectState.CONFIRMED and effect.state in (
                EffectState.REFUSED,
                EffectState.ABSENT,
                EffectState.DROPPED,
            )
            if not contradicts:
                return port.Concluded(verdict="late")
            if t.contradiction is not None:
                self._case(t.contradiction, t.at, t.actor)
            return port.Concluded(verdict="contradiction")
        contradiction = t.state is EffectState.CONFIRMED and effect.state in (
            EffectState.REFUSED,
            EffectState.ABSENT,
        )
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
        for link in t.links:
            self._link(link, t.at)
        for case in t.cases:
            self._case(case, t.at, t.actor)
        if contradiction and t.contradiction is not None:
            self._case(t.contradiction, t.at, t.actor)
        body = wire.dumps(
            {
                "effect": effect.id,
                "path": effect.path,
                "item": effect.item,
                "state": str(t.state),
                "attempt": t.attempt,
                "class": None if t.error_class is None else str(t.error_class),
                "error": t.error,
                "retry_after": None if t.retry_after is None else round(t.retry_after * 1000),
                "result": None if t.result is None else wire.loads(t.result),
            }
        )
        ref = f"{effect.id}:{t.attempt}:{t.state}"
        self._append(port.Stimulus(run=effect.run, kind="outcome", ref=ref, body=body), t.at)
        kept = wire.dumps(
            {"state": str(t.state), "evidence": t.evidence, "result": ids.derive("h", str(t.result))}
        )
        self._leaf(str(t.state), effect.id, t.at, t.actor, kept, run=effect.run)
        return port.Concluded(verdict="contradiction" if contradiction else "won")

    def _lookedup(self, t: port.LookedUp) -> bool:
        effect = self.effect_rows.get(t.effect)
        if effect is None or effect.attempt != t.attempt or effect.state not in IN_FLIGHT:
            return False
        moved = msgspec.structs.replace(effect, look_at=t.look_at, looks=effect.looks + 1)
        self._put(self.effect_rows, effect.id, moved)
        return True

    # ------------------------------------------------------------------ persons

    def _decide(self, t: port.Decide) -> port.Decided:
        approval = self.approval_rows.get(t.approval)
        person = self.people.get(t.person)
        if approval is None:
            return port.Decided(verdict="not_found")
        if approval.state is not ApprovalState.OPEN:
            return port.Decided(verdict="closed")
        if approval.expires <= t.at:
            return port.Decided(verdict="expired")
        if approval.subject != t.subject:
            return port.Decided(verdict="subject")
        if person is None or not person.active:
            return port.Decided(verdict="inactive")
        if approval.requester in (person.id, person.email):
            return port.Decided(verdict="requester")
        if not set(approval.roles) & set(person.roles):
            return port.Decided(verdict="role")
        if (t.approval, t.person) in self.vote_rows:
            return port.Decided(verdict="voted")
        vote = Vote(approval=t.approval, person=t.person, approve=t.approve, comment=t.comment, at=t.at)
        self._put(self.vote_rows, (t.approval, t.person), vote)
        votes = [v for v in self.vote_rows.values() if v.approval == t.approval and v.approve]
        state: ApprovalState = approval.state
        if not t.approve:
            state = ApprovalState.REJECTED
        elif len(votes) >= approval.quorum:
            state = ApprovalState.GRANTED
        if state is not approval.state:
            self._put(self.approval_rows, approval.id, msgspec.structs.replace(approval, state=state))
            body = wire.dumps(
                {
                    "approval": approval.id,
                    "path": approval.path,
                    "state": str(state),
                    "by": t.person,
                    "comment": t.comment,
                }
            )
            self._append(port.Stimulus(run=approval.run, kind="approval", ref=approval.id, body=body), t.at)
        kept = wire.dumps({"approve": t.approve, "subject": t.subject, "comment": t.comment})
        self._leaf("decided", approval.id, t.at, f"person:{t.person}", kept, run=approval.run)
        return port.Decided(verdict="counted" if state is ApprovalState.OPEN else str(state))

    def _resolve(self, t: port.Resolve) -> port.Resolved:
        case = self.case_rows.get(t.case)
        person = self.people.get(t.person)
        if case is None:
            return port.Resolved(verdict="not_found")
        if case.state is not CaseState.OPEN:
            return port.Resolved(verdict="closed")
        if t.choice not in case.choices:
            return port.Resolved(verdict="choice")
        if person is None or not person.active:
            return port.Resolved(verdict="inactive")
        if case.owner not in person.roles and not t.override:
            return port.Resolved(verdict="role")
        resolved = msgspec.structs.replace(
            case,
            state=CaseState.RESOLVED,
            resolved_at=t.at,
            resolved_by=t.person,
            choice=t.choice,
            note=t.note,
        )
        self._put(self.case_rows, case.id, resolved)
        if case.foil is not None and t.choice is Choice.WAIVE:
            foil = self.foil_rows[case.foil]
            self._move_foil(foil, FoilState.WAIVED, t.note, t.at)
        if t.choice is Choice.RETRY and case.receipt is not None:
            self._put_todo("receipt", str(case.receipt))
        elif t.choice is Choice.RETRY and case.event is not None:
            self._put_todo("event", case.event)
        elif case.run is None:
            for kind, ref in (("receipt", case.receipt), ("event", case.event)):
                if ref is not None:
                    self._drop(self.todo, (kind, str(ref)))
        if case.run is not None:
            body = wire.dumps(
                {"case": case.id, "path": case.path, "choice": str(t.choice), "by": t.person, "note": t.note}
            )
            self._append(port.Stimulus(run=case.run, kind="case", ref=case.id, body=body), t.at)
        kept = wire.dumps({"choice": str(t.choice), "note": t.note})
        self._leaf("case.resolved", case.id, t.at, f"person:{t.person}", kept, run=case.run)
        return port.Resolved(verdict="resolved")

    # ------------------------------------------------------------------ time, audit, settings

    def _expire(self, t: port.Expire) -> int:
        moved = 0
        cases = {c.foil: c for c in t.cases}
        for id_ in t.foils:
            foil = self.foil_rows.get(id_)
            if foil is None or foil.state not in (FoilState.OPEN, FoilState.PARTLY) or foil.due > t.at:
                continue
            self._settle(foil.rule, foil.key, t.at)
            if self.foil_rows[id_].state is FoilState.BROKEN:
                moved += 1
                if id_ in cases:
                    self._case(cases[id_], t.at, "watch")
        return moved

    def _opencases(self, t: port.OpenCases) -> int:
        return sum(self._case(case, t.at, t.actor) for case in t.cases)

    def _seal(self, t: port.Seal) -> port.Sealed:
        count = 0
        for id_ in list(self.pending)[: t.limit]:
            index = self.frontier.append(self.leaf_rows[id_].hash)
            self._put(self.tree, index, id_)
            self._drop(self.pending, id_)
            count += 1
        return port.Sealed(count=count, size=self.frontier.size, root=self.frontier.root())

    def _putcheckpoint(self, t: port.PutCheckpoint) -> bool:
        self._put(self.checkpoints, t.checkpoint.size, t.checkpoint)
        return True

    def _putrelease(self, t: port.PutRelease) -> bool:
        new = t.digest not in self.releases
        if new:
            self._put(self.releases, t.digest, t.body)
            self._leaf("released", t.digest, t.at, t.actor, b"{}")
        self._put(self.present_release, "present", t.digest)
        return new

    def _putperson(self, t: port.PutPerson) -> bool:
        new = t.person.id not in self.people
        self._put(self.people, t.person.id, t.person)
        body = wire.dumps({"roles": list(t.person.roles), "active": t.person.active})
        self._leaf("person", t.person.id, t.at, t.actor, body)
        return new

    def _puttoken(self, t: port.PutToken) -> bool:
        self._put(self.tokens, t.token.digest, t.token)
        return True

    # ------------------------------------------------------------------ reads

    async def now(self) -> datetime:
        return self.clock()

    async def load(self, run: str) -> port.Loaded | None:
        held = self.runs.get(run)
        if held is None:
            return None
        inbox = [self.inbox_rows[run, seq] for seq in range(held.consumed + 1, held.inbox_n + 1)]
        return port.Loaded(
            run=held,
            inbox=tuple(inbox),
            effects=tuple(e for e in self.effect_rows.values() if e.run == run),
            approvals=tuple(a for a in self.approval_rows.values() if a.run == run),
            foils=tuple(f for f in self.foil_rows.values() if f.run == run),
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
        return max(known, key=lambda h: (h.effective_at, h.version), default=None)

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

    async def receipt(self, no: int) -> Receipt | None:
        return self.receipts.get(no)

    async def cursor(self, system: str, feed: str) -> str | None:
        return self.cursors.get((system, feed))

    async def release(self, digest: str | None = None) -> tuple[str, bytes] | None:
        wanted = digest if digest is not None else self.present_release.get("present")
        if wanted is None or wanted not in self.releases:
            return None
        return wanted, self.releases[wanted]

    async def effect(self, id_: str) -> Effect | None:
        return self.effect_rows.get(id_)

    async def effects_planned(self, limit: int) -> list[Effect]:
        found = [e for e in self.effect_rows.values() if e.state is EffectState.PLANNED]
        return sorted(found, key=lambda e: (e.created_at, e.id))[:limit]

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

    async def checkpoint(self) -> Checkpoint | None:
        return self.checkpoints[max(self.checkpoints)] if self.checkpoints else None

    async def dump(self) -> Dump:
        """Every row as a record."""
        return dump_memory(self)

    async def close(self) -> None:
        """Nothing to let go of."""


class _Absent:
    """A key that had no row before the transition."""


_ABSENT = _Absent()


def _least(a: datetime | None, b: datetime) -> datetime:
    return b if a is None else min(a, b)


def _event_stimulus(run: str, event: str, body: bytes) -> port.Stimulus:
    return port.Stimulus(run=run, kind="event", ref=event, body=body)
