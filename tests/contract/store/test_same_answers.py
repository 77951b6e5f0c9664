"""Any sequence of transitions gives the same answers and leaves the same rows on every store."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from counterfoil.core.approval import ApprovalState
from counterfoil.core.audit import Checkpoint
from counterfoil.core.book_checkpoint import BookCheckpoint, control_case_id, defect_case_id
from counterfoil.core.call import CallRate
from counterfoil.core.case import Choice
from counterfoil.core.case_edits import AssignCase, CommentCase, SnoozeCase, TagCase
from counterfoil.core.delivery import CHANNEL_PREFIX, GATHER, DeliveryState
from counterfoil.core.effect import EffectState
from counterfoil.core.foil_versions import Withdrawal
from counterfoil.core.matching import FoilState
from counterfoil.core.money import Money
from counterfoil.core.notice import NoticeKind
from counterfoil.core.notice_preferences import NoticePreferences, SendMode
from counterfoil.core.people import Token
from counterfoil.core.release import Plan
from counterfoil.core.run import Direction, Run, RunStatus
from counterfoil.core.sweep import Sweep, SweepState
from counterfoil.core.terms import Terms
from counterfoil.core.usage import RefusedUsage
from counterfoil.store.dump import Dump
from counterfoil.store.memory import MemoryStore
from counterfoil.store.memory.registry import RULES
from counterfoil.store.port.book_checkpoints import PrepareCheckpoint, ReportChange, SignCheckpoint
from counterfoil.store.port.calls import AnswerCall, PlaceCall
from counterfoil.store.port.case_edits import EditCase
from counterfoil.store.port.delegations import Delegate, EndDelegation
from counterfoil.store.port.deliveries import ClaimDeliveries, DeliveryEnd, EndDelivery
from counterfoil.store.port.documents import (
    DecideMatch,
    OpenItemCases,
    PutMatchBasis,
    RebuildDocuments,
    pair_group,
)
from counterfoil.store.port.effects import Conclude, Intent, LookAgain, ResendUnknown
from counterfoil.store.port.intake import Admit, Receive
from counterfoil.store.port.maintenance import ExpireFoils, OpenCases, PutCheckpoint, Seal, SealResult
from counterfoil.store.port.notices import PutNoticePreferences, ReadNotices, SettleNotices, WriteNotices
from counterfoil.store.port.people import Decide, PutPerson, PutToken, Resolve
from counterfoil.store.port.records import TopicPost
from counterfoil.store.port.refusals import RecordRefusal, RefusedAttempt
from counterfoil.store.port.releases import ApplyPlan, ExpirePlans, MoveRun, PutFirstRelease, PutPlan
from counterfoil.store.port.stalled import RecordStalled, StalledGroup
from counterfoil.store.port.sweeps import ClaimSweep, EndSweep, ReceiveSweepPage, RequestSweep
from counterfoil.store.port.transition import Transition
from counterfoil.store.port.turns import Claim, ConcludeAndTurn, Reserve, Turn, WaitOn
from counterfoil.store.port.usage import StoreUsage
from counterfoil.store.port.versions import CountUse, UseCount
from counterfoil.store.port.workers import Heartbeat, QuotaRequest, RemoveWorker, SetCap
from counterfoil.store.sql.registry import VERBS
from counterfoil.store.sql.sqlite import SqliteStore
from tests.contract.store import samples as s
from tests.contract.store.test_calls import answer as answer_call
from tests.contract.store.test_calls import place as place_call
from tests.contract.store.test_usage import keep as keep_usage
from tests.contract.store.test_usage import row as usage_row

P = TypeVar("P", bound=Callable[..., Transition[Any]])
KEYS = ("k1", "k2", "k3")
RUNS = tuple(s.start(key).run for key in KEYS)
TOPICS = ("t1", "t2", s.link().topics[0], s.link().topics[1])
MATCHES = ("cm-1", "cm-2")


PLAYED: set[type[Transition[Any]]] = set()
"""Every transition that some story plays."""
PLAYS: list[Callable[[Story, Dump], Transition[Any]]] = []
"""The next transition of a story, each as often as its weight."""


def plays(*kinds: type[Transition[Any]], weight: int = 1) -> Callable[[P], P]:
    def register(play: P) -> P:
        PLAYED.update(kinds)
        PLAYS.extend([play] * weight)  # type: ignore[list-item]
        return play

    return register


_CASE_NOTICES = (NoticeKind.CASE, NoticeKind.DEADLINE, NoticeKind.ASSIGNED)


class Story:
    """Chooses transitions, most of them sensible, over a world small enough for everything to meet."""

    def __init__(self, seed: int, *, repeats: bool = True) -> None:
        self.repeats = repeats
        """Deliveries may come twice; PostgreSQL leaves gaps between its numbers then."""
        self.delivered = 0
        self.batches = 0
        self.pick = random.Random(seed)
        self.clock = 0.0

    def some(self, of: Any, most: int = 2) -> tuple[Any, ...]:
        return tuple(self.pick.sample(list(of), self.pick.randint(0, min(most, len(of)))))

    def next(self, dump: Dump) -> Transition[Any]:
        self.clock += self.pick.choice((0.0, 0.5, 60.0, 40_000.0))
        return self.pick.choice(PLAYS)(self, dump)

    @property
    def now(self) -> Any:
        return s.at(self.clock)

    @plays(Receive)
    def receive(self, dump: Dump) -> Transition[Any]:
        receipts = [
            s.receipt(
                self.ext_id(),
                self.pick.choice(("i", "i", "other")),
                door=self.pick.choice(("webhook", "webhook", "fetch")),
            )
            for _ in range(self.pick.randint(1, 3))
        ]
        return s.receive(*receipts, when=self.now, cursor=self.pick.choice((None, ("billing", "f", "1"))))

    def ext_id(self) -> str:
        self.delivered += 1
        return self.pick.choice("abcdefghij") if self.repeats else str(self.delivered)

    # Sweeps of two books, by two workers that overtake each other.

    @plays(RequestSweep)
    def request_sweep(self, dump: Dump) -> Transition[Any]:
        system, book = self.pick.choice(
            (("billing", "invoices"), ("billing", "credits"), ("erp", "invoices"))
        )
        sweep = s.sweep(f"swp_{len(dump.sweeps)}", system=system, book=book, requested_at=self.now)
        return RequestSweep(sweep=sweep, at=self.now, actor="person:ann")

    @plays(ClaimSweep, weight=2)
    def claim_sweep(self, dump: Dump) -> Transition[Any]:
        until = s.at(self.clock + self.pick.choice((0, 5, 60)))
        systems = self.pick.choice((("billing",), ("billing", "erp")))
        return ClaimSweep(worker=self.pick.choice("ab"), systems=systems, lease_until=until, at=self.now)

    def swept(self, dump: Dump) -> Sweep:
        return self.pick.choice(dump.sweeps or [s.sweep("swp_none", worker="a")])

    @plays(ReceiveSweepPage, weight=2)
    def sweep_page(self, dump: Dump) -> Transition[Any]:
        sweep, receive = self.swept(dump), self.receive(dump)
        assert isinstance(receive, Receive)
        return ReceiveSweepPage(
            sweep=sweep.id,
            worker=self.pick.choice(("a", "b", sweep.worker)),
            pages=self.pick.choice((sweep.pages, sweep.pages, sweep.pages + 1)),
            cursor=f"c{sweep.pages + 1}",
            lease_until=s.at(self.clock + 60),
            receive=receive,
        )

    @plays(EndSweep)
    def end_sweep(self, dump: Dump) -> Transition[Any]:
        sweep = self.swept(dump)
        cases = tuple(self.case() for _ in range(self.pick.randint(0, 2)))
        return EndSweep(
            sweep=sweep.id,
            worker=self.pick.choice(("a", sweep.worker)),
            pages=self.pick.choice((sweep.pages, sweep.pages, 0)),
            state=self.pick.choice((SweepState.DONE, SweepState.FAILED)),
            missing=len(cases),
            cases=cases,
            resolved=tuple(case.id for case in dump.cases[:1]),
            at=self.now,
            actor="sweep",
        )

    # Checkpoints of two cut-offs, prepared and signed by two persons.

    @plays(PrepareCheckpoint)
    def prepare_checkpoint(self, dump: Dump) -> Transition[Any]:
        number = len(dump.book_checkpoints)
        prepared = s.book_checkpoint(
            f"bcp_{number}",
            at=self.pick.choice(("2025-12-31", "2026-01-31")),
            known=self.now,
            prepared_at=self.now,
            reported=self.now,
            prepared_by=self.pick.choice(("ann", "bob")),
        )
        case = s.case(defect_case_id(prepared.id), reason="checkpoint_defect")
        control = s.case(control_case_id(prepared.id), reason="control_difference")
        about = self.pick.choice(((), (case,), (control,), (case, control)))
        return PrepareCheckpoint(checkpoint=prepared, cases=about, actor="person:ann")

    def of_books(self, dump: Dump) -> BookCheckpoint:
        return self.pick.choice(dump.book_checkpoints[-2:] or [s.book_checkpoint("bcp_none")])

    @plays(SignCheckpoint, weight=2)
    def sign_checkpoint(self, dump: Dump) -> Transition[Any]:
        checkpoint, person = self.of_books(dump), self.pick.choice(("ann", "bob"))
        return SignCheckpoint(
            checkpoint=checkpoint.id,
            rule=checkpoint.rule,
            entity=checkpoint.entity,
            after=self.pick.choice(("", "", "2025-12-31")),
            person=person,
            note="agreed",
            at=self.now,
            actor=f"person:{person}",
        )

    @plays(ReportChange)
    def report_change(self, dump: Dump) -> Transition[Any]:
        checkpoint = self.of_books(dump)
        case = s.case(f"case_{checkpoint.id}_{self.clock}", reason="checkpoint_changed")
        reported = self.pick.choice((checkpoint.reported, self.now))
        return ReportChange(
            checkpoint=checkpoint.id, case=case, reported=reported, at=self.now, actor="checkpoints"
        )

    @plays(Admit, weight=2)
    def admit(self, dump: Dump) -> Transition[Any]:
        todos = [(kind, ref) for kind, ref, _ in dump.todos] or [("receipt", "99")]
        kind, ref = self.pick.choice(todos)
        name = self.pick.choice(("e1", "e2", "e3", "e4", "e5", "e6"))
        key = self.pick.choice(KEYS)
        e = s.event(name, key, self.pick.randint(1, 3), system=self.pick.choice(("billing", "erp")))
        if kind == "receipt" and self.pick.random() < 0.7:
            e = msgspec.structs.replace(e, receipt=int(ref), correlation=self.pick.choice("xy"))
        if kind == "event":
            e = next((x for x in dump.events if x.id == ref), e)
        park = self.pick.random() < 0.15
        link = s.link(self.pick.choice(("cust-1", "cust-2")), valid_from=self.now)
        posts = [TopicPost(event=e.id, topics=self.some(TOPICS), body=b"{}")]
        starts = [s.start(k, e.id, only_birth=self.pick.random() < 0.3) for k in self.some(KEYS)]
        return s.admit(
            ref,
            kind,
            self.now,
            listed=self.pick.random() < 0.2,
            events=(e,),
            heads=self.some([s.head(e, {self.pick.choice("xyz"): self.pick.randint(1, 3)})]),
            links=self.some([link], 1) if self.pick.random() < 0.4 else (),
            posts=self.some(posts),
            starts=tuple(starts),
            foils=tuple(self.foil(m, cause=e.id) for m in self.some(MATCHES, 1)),
            observations=tuple(self.observation(m, e.id) for m in self.some(MATCHES, 1)),
            withdrawals=tuple(self.withdrawal(e.id) for _ in self.some("a", 1)),
            cases=tuple(
                self.case(receipt=int(ref) if kind == "receipt" else None) for _ in self.some("a", 1)
            ),
            release=self.pick.choice(("", "", "", dump.present or "r1", "r2")),
            park=park,
            wake_topic=self.pick.choice((None, *TOPICS)) if park else None,
        )

    def foil(self, match: str, **more: Any) -> Any:
        number = self.pick.randint(1, 6)
        states = (FoilState.OPEN, FoilState.OPEN, FoilState.PROVISIONAL, FoilState.REVERSED)
        fields: dict[str, Any] = {
            "minor": self.pick.choice((5000, 12000, -5000)),
            "version": self.pick.randint(0, 3),
            "due": s.at(self.pick.choice((-1, 50_000, 200_000))),
            "terms": Terms(
                shape=self.pick.choice(("1:1", "1:n", "n:1", "n:m")), tolerance=self.pick.choice((0, 10))
            ),
            "state": self.pick.choice(states),
            "entity": self.pick.choice(("", "de")),
            "reverses": self.pick.choice(("", "", f"foil_{self.pick.randint(1, 6)}")),
            "names": self.pick.choice(((), (), ("erp:1",))),
            "created_at": self.now,
            "known_from": self.now,
        }
        return s.foil(f"foil_{number}", match, **{**fields, **more})

    def observation(self, match: str, event: str, **more: Any) -> Any:
        document = more.pop("document", None) or self.pick.choice(("erp:1", "erp:2", "erp:3"))
        return s.observation(
            f"obs_{document}",
            match,
            self.pick.choice((4000, 5000, 12000, -5000)),
            document=document,
            version=self.pick.randint(1, 3),
            stands=self.pick.random() < 0.9,
            entity=self.pick.choice(("", "", "de")),
            reverses=self.pick.choice(("", "", "erp:1")),
            event=event,
            since=self.now,
            at=self.now,
            case_at=s.at(self.clock + self.pick.choice((0, 50_000))),
            **more,
        )

    def withdrawal(self, event: str) -> Withdrawal:
        side, document = self.pick.choice((("left", f"foil_{self.pick.randint(1, 6)}"), ("right", "erp:1")))
        return Withdrawal(
            side=side, rule="credits", document=document, version=self.pick.randint(1, 4), cause=event
        )

    def case(self, **more: Any) -> Any:
        choices = (Choice.RETRY, Choice.WAIVE, Choice.DISMISS)
        return s.case(f"case_{self.pick.randint(1, 12)}", choices=choices, created_at=self.now, **more)

    @plays(Turn, weight=3)
    def turn(self, dump: Dump, run: Run | None = None) -> Transition[Any]:
        run = run or (self.pick.choice(dump.runs) if dump.runs else None)
        if run is None:
            return s.turn("run_none")
        if run.status in (RunStatus.DONE, RunStatus.UNDONE) and self.pick.random() < 0.8:
            return self.claim(dump)
        own = [e for e in dump.effects if e.run == run.id]
        paths = self.some(("p1", "p2"))
        gen = self.pick.randint(0, 2)
        plan = [s.effect(path, run.id, gen, approvals=self.some(["apr_1"], 1)) for path in paths]
        sendable = [e for e in [*plan, *own] if e.state in (EffectState.PLANNED, EffectState.REFUSED)]
        send = [s.send(e, e.attempt + 1, self.now) for e in self.some(sendable)]
        statuses = [RunStatus.WAITING] * 8 + [RunStatus.DONE]
        legal = [RunStatus.WAITING, RunStatus.READY, RunStatus.DONE, RunStatus.UNDONE, RunStatus.CLOSED]
        foils = [self.foil(m, run=run.id, effect=e.id) for m in self.some(MATCHES, 1) for e in plan[:1]]
        guard = [
            Reserve(
                scope="g", key=k, path=f"r{self.pick.randint(1, 3)}", amount=40, limit=100, expected_use=None
            )
            for k in self.some(("x", "y"))
        ]
        approvals = [a for a in dump.approvals if a.state is ApprovalState.OPEN]
        stale = self.pick.random() < 0.1
        status = self.pick.choice(statuses if run.status not in legal[2:] else [run.status])
        ends = status is RunStatus.DONE and self.pick.random() < 0.8
        return s.turn(
            run.id,
            run.version - 1 if stale else run.version,
            self.now,
            status=status,
            direction=self.pick.choice(list(Direction)),
            state=self.pick.choice(("requested", "approved")),
            due=self.pick.choice((None, s.at(self.clock + 100))),
            consumed=self.pick.randint(run.consumed, run.inbox_n),
            hold=self.some(("s1", "s2")) if self.pick.random() < 0.4 else (),
            unhold=("s1", "s2") if ends else self.some(("s1", "s2")) if self.pick.random() < 0.3 else (),
            reserve=tuple(guard) if self.pick.random() < 0.5 else (),
            release=self.some(("r1", "r2", "r3")) if self.pick.random() < 0.3 else (),
            plan=tuple(plan),
            send=tuple(send),
            drop=tuple(e.id for e in self.some([e for e in own if e.state is EffectState.PLANNED], 1)),
            foils=tuple(foils),
            reverse=tuple(e.id for e in self.some(own, 1)) if self.pick.random() < 0.3 else (),
            approvals=(s.approval("apr_1", run.id),) if self.pick.random() < 0.3 else (),
            close_approvals=tuple(
                (a.id, ApprovalState.EXPIRED) for a in (approvals if self.pick.random() < 0.1 else ())
            ),
            waits=tuple(
                WaitOn(topic=t, since=self.pick.choice((None, s.at(self.clock - 100))))
                for t in self.some(TOPICS)
            ),
            cases=tuple(self.case(run=run.id, path="p1") for _ in self.some("a", 1)),
            close_cases=tuple((case.id, "The Run went on") for case in self.some(dump.cases, 2)),
            events=tuple(s.event(f"out{n}", "k1", received_at=self.now) for n in self.some(range(4), 1)),
            starts=tuple(s.start(key, f"child{self.pick.randint(1, 3)}") for key in self.some(KEYS, 1)),
        )

    @plays(Conclude, weight=2)
    def conclude(self, dump: Dump) -> Transition[Any]:
        if not dump.effects:
            return self.receive(dump)
        e = self.pick.choice(dump.effects)
        states = [state for state in EffectState if state.value not in ("planned", "sending", "dropped")]
        return s.conclude(
            e,
            self.pick.choice(states),
            e.attempt if self.pick.random() < 0.9 else 7,
            self.now,
            look_at=s.at(self.clock + 5),
            links=self.some([s.link(valid_from=self.now)], 1),
            contradiction=self.case(effect=e.id),
        )

    @plays(ConcludeAndTurn, weight=2)
    def advance(self, dump: Dump) -> Transition[Any]:
        """An outcome with the turn that rests on it, now and then one that is not the present one."""
        told = self.conclude(dump)
        of = next((e.run for e in dump.effects if told.effect == e.id), "") if dump.effects else ""
        run = next((r for r in dump.runs if r.id == of), None)
        decided = self.turn(dump, run)
        if run is None or not isinstance(decided, Turn):
            return told
        consumed = run.inbox_n + self.pick.choice((1, 1, 1, 0))
        rest = {"reserve": (), "release": (), "consumed": consumed}
        return ConcludeAndTurn(conclude=told, turn=msgspec.structs.replace(decided, **rest))

    @plays(Intent)
    def intent(self, dump: Dump) -> Transition[Any]:
        planned = [e for e in dump.effects if e.state is EffectState.PLANNED] or dump.effects
        return s.intent(self.pick.choice(planned or [s.effect("none")]), 1, self.now)

    @plays(ResendUnknown)
    def resend(self, dump: Dump) -> Transition[Any]:
        unknown = [e for e in dump.effects if e.state is EffectState.UNKNOWN] or [s.effect("none")]
        e = self.pick.choice(unknown)
        return ResendUnknown(send=s.send(e, e.attempt + 1, self.now), at=self.now, actor="watch")

    @plays(LookAgain)
    def look(self, dump: Dump) -> Transition[Any]:
        e = self.pick.choice(dump.effects or [s.effect("none")])
        return LookAgain(effect=e.id, attempt=e.attempt, look_at=s.at(self.clock + 9), at=self.now)

    @plays(Claim)
    def claim(self, dump: Dump) -> Transition[Any]:
        lease = self.now + timedelta(seconds=10)
        worker = self.pick.choice("ab")
        return Claim(worker=worker, limit=self.pick.randint(1, 3), lease_until=lease, at=self.now)

    @plays(PutPerson)
    def people(self, dump: Dump) -> Transition[Any]:
        who = self.pick.choice(("ann", "bob"))
        return s.put_person(s.person(who, ("finance",), active=self.pick.random() < 0.8))

    @plays(Decide)
    def decide(self, dump: Dump) -> Transition[Any]:
        who = self.pick.choice(("ann", "bob"))
        return s.vote("apr_1", who, self.pick.random() < 0.8, at=self.now)

    @plays(RecordRefusal)
    def refuse(self, dump: Dump) -> Transition[Any]:
        who, route = self.pick.choice(("ann", "bob")), self.pick.choice(("POST /v1/plans", "POST /v1/pairs"))
        attempt = RefusedAttempt(
            kind="request.refused", person=who, action=route, subject=route, verdict="permission", at=self.now
        )
        return RecordRefusal(attempt=attempt)

    @plays(Resolve)
    def resolve(self, dump: Dump) -> Transition[Any]:
        open_ = [c for c in dump.cases if c.state.value == "open"] or [s.case("case_none")]
        case = self.pick.choice(open_)
        choices = [c for c in case.choices if c is not Choice.WAIVE]
        return s.resolve(case.id, "ann", self.pick.choice(choices), override=True)

    @plays(DecideMatch, weight=4)
    def decide_match(self, dump: Dump) -> Transition[Any]:
        """A decision on what a person sees, now and then on what nobody sees any more."""
        if not dump.foils or not dump.observations:
            return self.admit(dump)
        foil, shown = self.pick.choice(dump.foils), self.pick.choice(dump.observations)
        open_pairs = [p for p in dump.pairings if p.ended_at is None]
        who = self.pick.choice(("ann", "bob"))
        kind = self.pick.choice(("pair", "pair", "group", "unpair", "waive", "waive"))
        if kind == "unpair" and open_pairs and self.pick.random() < 0.8:
            pairing = self.pick.choice(open_pairs)
            foil = next(f for f in dump.foils if f.id == pairing.foil)
            shown = next(o for o in dump.observations if o.id == pairing.observation)
        if kind == "pair":
            decision: Any = s.pair(foil, shown, who)
        elif kind == "group":
            decision = pair_group(
                self.some(dump.foils, 2) or [foil], self.some(dump.observations, 2) or [shown], "all", who
            )
        elif kind == "unpair":
            decision = s.unpair(foil, shown, who)
        else:
            decision = s.waive(foil, who, self.pick.choice((None, 1000, 13_000, 40_000)))
        if self.pick.random() < 0.1:
            change = self.pick.choice(
                ({"seen": "outdated"}, {"foil": "foil_none"}, {"observation": "obs_none"})
            )
            if set(change) <= set(decision.__struct_fields__):
                decision = msgspec.structs.replace(decision, **change)
        automatic = self.pick.random() < 0.6
        expires = s.at(self.clock + 90_000)
        return s.decide(decision, when=self.now, automatic=automatic, expires=expires, created_at=self.now)

    @plays(weight=2)
    def vote_on_match(self, dump: Dump) -> Transition[Any]:
        requested = [a for a in dump.approvals if not a.run and a.state is ApprovalState.OPEN]
        if not requested:
            return self.people(dump)
        a, who = self.pick.choice(requested), self.pick.choice(("ann", "bob"))
        return s.vote(a.id, who, self.pick.random() < 0.9, subject=a.subject, at=self.now)

    @plays(ClaimDeliveries, EndDelivery, weight=4)
    def deliver(self, dump: Dump) -> Transition[Any]:
        sending = [d for d in dump.deliveries if d.state is DeliveryState.SENDING]
        if not sending or self.pick.random() < 0.4:
            return ClaimDeliveries(at=self.now + GATHER, limit=2)
        delivery = self.pick.choice(sending)
        end: DeliveryEnd = self.pick.choice(("sent", "later", "failed", "obsolete"))
        case = s.case("case_undelivered", reason="undelivered") if end == "failed" else None
        attempts = delivery.attempts - self.pick.choice((0, 0, 1))
        return EndDelivery(
            id=delivery.id, attempts=attempts, end=end, at=self.now, next_at=self.now, error="no", case=case
        )

    @plays(PutNoticePreferences, weight=2)
    def choose_mails(self, dump: Dump) -> Transition[Any]:
        former = {row.person: row.revision for row in dump.notice_preferences}
        who = self.pick.choice(("ann", "bob", "none"))
        minutes = (0, 9 * 60, 20 * 60)
        new = NoticePreferences(
            person=who,
            approvals=self.pick.choice(list(SendMode)),
            cases=self.pick.choice(list(SendMode)),
            deadlines=self.pick.choice(list(SendMode)),
            quiet_from=self.pick.choice(minutes),
            quiet_until=self.pick.choice(minutes),
            digest_at=self.pick.choice(minutes),
            zone=self.pick.choice(("UTC", "Asia/Tokyo")),
            revision=former.get(who, 0) + self.pick.choice((0, 0, 1)),
        )
        return PutNoticePreferences(preferences=new, at=self.now)

    @plays(SettleNotices)
    def settle_notices(self, dump: Dump) -> Transition[Any]:
        del dump
        return SettleNotices(at=self.now)

    @plays(WriteNotices, ReadNotices, weight=2)
    def notices(self, dump: Dump) -> Transition[Any]:
        who = ("ann", "bob")
        if self.pick.random() < 0.3:
            ids = tuple(n.id for n in dump.notices if self.pick.random() < 0.5)
            until = s.at(self.clock - self.pick.choice((0, 1, 30)))
            return ReadNotices(
                person=self.pick.choice(who), ids=self.pick.choice((None, ids)), until=until, at=self.now
            )
        news = [
            s.new_notice(
                row.id,
                kind=self.pick.choice((NoticeKind.APPROVAL,) if row in dump.approvals else _CASE_NOTICES),
                cause=self.pick.choice(("refused", "late")),
                entity=self.pick.choice(("", "de")),
                amounts=(Money(self.pick.randint(1, 9), self.pick.choice(("USD", "EUR"))),),
                persons=self.some((*who, f"{CHANNEL_PREFIX}chat"), 3),
                mail=self.pick.choice(("", "post")),
            )
            for row in (*dump.cases, *dump.approvals)
            if self.pick.random() < 0.5
        ]
        return WriteNotices(notices=tuple(news), at=self.now)

    @plays(Delegate, weight=2)
    def delegate(self, dump: Dump) -> Transition[Any]:
        giver, receiver = self.pick.choice(("ann", "bob", "zoe")), self.pick.choice(("ann", "bob", "none"))
        start = self.clock + self.pick.choice((-50, 0, 40))
        return s.delegate(
            giver,
            receiver,
            self.now,
            id=f"del_{self.clock}_{self.pick.randint(1, 99)}",
            starts_at=s.at(start),
            ends_at=s.at(start + self.pick.choice((-5, 100, 9_000))),
            up_to=self.pick.choice((None, Money(9_000, "USD"), Money(90_000, "USD"))),
            created_at=self.now,
        )

    @plays(EndDelegation)
    def end_delegation(self, dump: Dump) -> Transition[Any]:
        row = self.pick.choice(dump.delegations or [s.delegation()])
        return EndDelegation(delegation=row.id, giver=self.pick.choice((row.giver, "zoe")), at=self.now)

    @plays(weight=2)
    def vote_for_another(self, dump: Dump) -> Transition[Any]:
        if not dump.approvals:
            return self.people(dump)
        row = self.pick.choice(dump.delegations or [s.delegation()])
        about = self.pick.choice(dump.approvals)
        return s.vote(about.id, row.receiver, subject=about.subject, at=self.now, delegation=row.id)

    @plays(EditCase, weight=2)
    def edit_case(self, dump: Dump) -> Transition[Any]:
        case = self.pick.choice(dump.cases or [s.case("case_none")])
        who = ("ann", "bob", "zoe", "")
        edit = self.pick.choice(
            (
                AssignCase(self.pick.choice(who), self.pick.choice((case.assignee, ""))),
                CommentCase(self.pick.choice(("looked at it", "asked them"))),
                TagCase(self.some(("month-end", "tax")), self.some(("tax",), 1)),
                SnoozeCase(self.pick.choice((None, s.at(self.clock + 60), s.at(self.clock - 60))), "later"),
            )
        )
        override = self.pick.choice((True, True, False))
        return s.edit_case(
            edit,
            case.id,
            self.pick.choice(who[:3]),
            at=self.now,
            override=override,
            receiver_override=override,
            notice=self.pick.choice((None, s.new_notice(case.id, kind=NoticeKind.ASSIGNED, cause=case.id))),
        )

    @plays(OpenItemCases)
    def open_item_cases(self, dump: Dump) -> Transition[Any]:
        items = self.some([o.id for o in dump.observations], 3)
        return OpenItemCases(items=(*items, "obs_none"), at=self.now)

    @plays(RebuildDocuments)
    def rebuild(self, dump: Dump) -> Transition[Any]:
        """Some documents by their ids, some by other ids for the same event, some events with two documents."""
        if not dump.foils or not dump.observations or not dump.events:
            return self.admit(dump)
        foils, observations = [], []
        for f in self.some(dump.foils):
            number = self.pick.randint(1, 4)
            name = self.pick.choice((f.document, f"bill:{number}"))
            changed = self.pick.choice((f.legs, f.legs, {"total": Money(5000, "USD")}))
            row = msgspec.structs.replace(
                f, id=f"foil_{name}" if name.startswith("bill") else f.id, document=name, legs=changed,
                run=None, effect=None, provisional=False, key=self.pick.choice((f.key, *MATCHES)),
            )  # fmt: skip
            foils.append(row)
            if self.pick.random() < 0.2:
                foils.append(msgspec.structs.replace(row, id="foil_part", document="part"))
        for o in self.some(dump.observations):
            name = self.pick.choice((o.document, o.document, "inv:1", "inv:2"))
            row_id = f"obs_{name}" if name.startswith("inv") else o.id
            key = o.own_key or o.key
            observations.append(
                msgspec.structs.replace(o, id=row_id, document=name, key=key, own_key="", foil=None)
            )
        return RebuildDocuments(
            foils=tuple(foils),
            observations=tuple(observations),
            withdrawals=tuple(self.withdrawal(dump.events[0].id) for _ in self.some("a", 1)),
            matches=tuple(("credits", key) for key in self.some(MATCHES)),
            at=self.now,
        )

    @plays(PutMatchBasis)
    def basis(self, dump: Dump) -> Transition[Any]:
        return PutMatchBasis(rule=self.pick.choice(("credits", "bills")), digest=str(self.clock), at=self.now)

    @plays(ExpireFoils)
    def expire(self, dump: Dump) -> Transition[Any]:
        names = self.some([f.id for f in dump.foils], 3)
        return ExpireFoils(foils=names, at=self.now)

    @plays(Heartbeat, weight=2)
    def beat(self, dump: Dump) -> Transition[Any]:
        wants = tuple(
            QuotaRequest(
                account=account,
                cap=self.pick.choice((4, 4, 6)),
                slots_wanted=self.pick.randint(0, 9),
                in_use=self.pick.randint(0, 4),
            )
            for account in self.some(("erp", "erp/x", "crm"), 3)
        )
        until = s.at(self.clock + self.pick.choice((0, 15, 15)))
        late = timedelta(seconds=self.pick.choice((0, 0, 0, 1)))
        return Heartbeat(worker=self.pick.choice("ab"), until=until, wants=wants, at=self.now - late)

    @plays(RemoveWorker)
    def leave(self, dump: Dump) -> Transition[Any]:
        return RemoveWorker(worker=self.pick.choice("ab"), at=self.now)

    @plays(SetCap)
    def tune(self, dump: Dump) -> Transition[Any]:
        seen, quiet = self.pick.randint(1, 6), timedelta(seconds=self.pick.choice((0, 5)))
        return SetCap(account="erp", expected_cap=seen, cap=self.pick.randint(0, 7), quiet=quiet, at=self.now)

    @plays(PutFirstRelease, PutPlan, ExpirePlans, weight=2)
    def plan(self, dump: Dump) -> Transition[Any]:
        """The first Release, then plans, some of them from what is not in force any more."""
        if dump.present is None:
            return PutFirstRelease(digest="r1", body=b"r1", at=self.now, actor="up")
        if self.pick.random() < 0.1:
            return ExpirePlans(at=self.now)
        base = dump.present if self.pick.random() < 0.9 else self.pick.choice(("r1", "r2"))
        revision = self.pick.choice(("r1", "r2", "r3"))
        digest = f"plan_{base}_{revision}"
        held = next((plan.round for plan in dump.plans if plan.digest == digest), 0)
        round_ = max(1, held + self.pick.choice((0, 1)))
        name = f"apr_{digest}_{round_}"
        asked = s.approval(
            name, run=digest, path="finance", subject=digest, expires=s.at(self.clock + 90_000)
        )
        approvals = (asked,) if self.pick.random() < 0.7 else ()
        return PutPlan(
            plan=Plan(
                digest=digest, base=base, revision=revision, requester="sam", round=round_,
                approvals=tuple(a.id for a in approvals), body=str(self.clock).encode(), created_at=self.now,
                expires=s.at(self.clock + 90_000),
            ),
            model=revision.encode(), approvals=approvals, at=self.now, actor="person:sam",
        )  # fmt: skip

    @plays()
    def vote_on_plan(self, dump: Dump) -> Transition[Any]:
        asked = [id_ for plan in dump.plans for id_ in plan.approvals]
        if not asked:
            return self.people(dump)
        id_ = self.pick.choice(asked)
        digest = id_.removeprefix("apr_").rpartition("_")[0]
        return s.vote(
            id_, self.pick.choice(("ann", "bob")), self.pick.random() < 0.9, subject=digest, at=self.now
        )

    @plays(ApplyPlan)
    def apply(self, dump: Dump) -> Transition[Any]:
        plan = self.pick.choice([plan.digest for plan in dump.plans] or ["plan_none"])
        emergency = self.some(("finance", "on-call"), 1) if self.pick.random() < 0.3 else ()
        review = tuple(self.case() for _ in emergency)
        return ApplyPlan(plan=plan, person="ann", reason="r", emergency=emergency, review=review, at=self.now)

    @plays(MoveRun)
    def move(self, dump: Dump) -> Transition[Any]:
        if not dump.runs:
            return self.receive(dump)
        run = self.pick.choice(dump.runs)
        version = run.version if self.pick.random() < 0.9 else 7
        return MoveRun(
            run=run.id, version=version, pin=run.pin, to=self.pick.choice(("r1", "r2")), ctx=b"{}",
            paths=(("p1", "p2"),), at=self.now, actor="person:ann",
        )  # fmt: skip

    @plays(StoreUsage)
    def usage(self, dump: Dump) -> Transition[Any]:
        self.batches += 1
        batch = f"b{self.batches}"
        rows = [usage_row(id_, batch, self.pick.randint(1, 2)) for id_ in self.some(("u1", "u2", "u3"), 3)]
        bad = self.some(
            [RefusedUsage(reason="unknown_meter", message="m", source="/product", id="u9", body=b"x")], 1
        )
        return keep_usage(*rows, batch=batch, refused=bad)

    @plays(PlaceCall, weight=2)
    def place_call(self, dump: Dump) -> Transition[Any]:
        return place_call(
            self.pick.choice(("k1", "k2", "k3")),
            self.pick.choice((None, "c1", "c2")),
            self.pick.choice(("h1", "h2")),
            self.pick.choice(("d", "d", "other")),
            self.clock,
            rate=self.pick.choice((None, CallRate(at_most=2, every=60.0, burst=2))),
            release=self.pick.choice(("", dump.present or "r1")),
        )

    @plays(AnswerCall)
    def answer_call(self, dump: Dump) -> Transition[Any]:
        status = self.pick.choice((200, 422, None))
        cases = tuple(self.case() for _ in self.some("a", 1))
        key, holder = self.pick.choice(("k1", "k2")), self.pick.choice(("h1", "h2"))
        return answer_call(key, holder, status, self.clock, cases=cases)

    @plays(OpenCases)
    def open_cases(self, dump: Dump) -> Transition[Any]:
        return OpenCases(cases=tuple(self.case() for _ in range(2)), at=self.now, actor="watch")

    @plays(RecordStalled)
    def stalled(self, dump: Dump) -> Transition[Any]:
        subjects = self.some(("w1", "w2", "w3"), 3)
        findings = [
            StalledGroup(kind="run_lost", about=about, count=1, since=s.T0, subjects=("run_1",))
            for about in subjects
        ]
        cases = [s.case(f"stall_{about}_{self.clock}", reason="stuck_run_lost") for about in subjects]
        return RecordStalled(findings=tuple(findings), cases=tuple(cases), at=self.now, actor="progress")

    @plays(CountUse)
    def count_use(self, dump: Dump) -> Transition[Any]:
        use = UseCount(
            name="paid.v1",
            side="sends",
            who=self.pick.choice(("system:a", "system:b")),
            count=self.pick.randint(1, 3),
            first_at=self.now,
            last_at=self.now,
        )
        return CountUse(uses=(use,))

    @plays(PutCheckpoint)
    def checkpoint(self, dump: Dump) -> Transition[Any]:
        size = self.pick.randint(1, 3)
        return PutCheckpoint(checkpoint=Checkpoint(size=size, root=b"r", at=self.now, text=str(self.clock)))

    @plays(PutToken)
    def token(self, dump: Dump) -> Transition[Any]:
        if not dump.persons:
            return self.people(dump)
        token = Token(
            digest=self.pick.choice(("t1", "t2")),
            person=self.pick.choice([person.id for person in dump.persons]),
            kind=self.pick.choice(("token", "session")),
            expires=s.at(self.clock + self.pick.choice((-1, 90_000))),
        )
        return PutToken(token=token, at=self.now, alone=self.pick.random() < 0.5)

    @plays(Seal)
    def seal(self, dump: Dump) -> Transition[Any]:
        return Seal(at=self.now, limit=self.pick.randint(1, 9))


def plain(dump: Dump) -> Any:
    """A dump without what a store may choose: the names of leaves."""

    def leaf(index: int | None, kept: Any) -> tuple[Any, ...]:
        return (index, kept.kind, kept.subject, kept.run, kept.version, kept.actor, kept.at, kept.body)

    rows = msgspec.structs.asdict(dump)
    rows["leaves"] = [leaf(index, kept) for index, kept in dump.leaves]
    rows["pending"] = len(dump.pending)
    rows["runs"] = [blur(run) for run in dump.runs]
    rows["queues"] = [(serial, run) for serial, run, _ in dump.queues]
    return rows


def blur(run: Any) -> Any:
    """A Run without its place in the order of arrivals, in which PostgreSQL leaves gaps."""
    return msgspec.structs.replace(run, arrival=0)


class Refusal(str):
    """The class of an exception that a transition raised."""


async def answer(store: Any, transition: Transition[Any]) -> Any:
    """The answer, or what kind of refusal; roots depend on the names of leaves."""
    try:
        given = await store.apply(transition)
    except Exception as error:
        return Refusal(type(error).__name__)
    if isinstance(transition, Claim):
        return tuple(map(blur, given))
    return (given.count, given.size) if isinstance(given, SealResult) else given


async def reads(store: Any, now: Any) -> list[Any]:
    found: list[Any] = [
        # A transition taken back may leave the specification's rows in another order.
        sorted(await store.todos(99), key=lambda todo: (todo.kind, todo.ref)),
        await store.next_due(),
        await store.effects_planned(10),
        await store.effects_overdue(now, 10),
        await store.effects_to_look_up(now, 10),
        await store.effects_sending("a", 10),
        await store.effects_of_gone_workers(now, 10),
        await store.foils_past_due(now, 10),
        await store.items_past_grace(now, 10),
        await store.match_basis(),
        await store.match_keys(("", ""), 99),
        await store.heads("invoice"),
        await store.head("invoice", "k1", now),
        await store.link_by_ext("customer", "erp", "42"),
        await store.link_by_canonical("customer", "cust-1", "erp"),
        await store.guard_used("g", "x"),
        await store.latest_sweeps(),
        await store.completed_sweeps(),
        [await store.swept_and_held(f"swp_{n}") for n in range(3)],
        [await store.swept_and_dismissed(f"swp_{n}") for n in range(3)],
        [[event.id for event in await store.listed_events(f"swp_{n}", "", 99)] for n in range(3)],
        [await store.book_checkpoint(f"bcp_{n}") for n in range(3)],
        await store.book_checkpoints("credits"),
        await store.signed_checkpoints(),
        [await store.changed_documents(f"bcp_{n}", s.T0, now, "", 99) for n in range(3)],
        await store.sweep("swp_0"),
        await store.unnoticed(now, 5),
        await store.swept_to_admit("swp_0"),
        await store.unlisted_documents(s.sweep("swp_0", requested_at=now), ["invoice"], "", 99),
        await store.unlisted_cases("billing", ["invoice"]),
        await store.release(),
        await store.release_steps(9),
        await store.release_step("r1"),
        await store.plan("plan_r1_r2"),
        await store.pinned_runs(),
        [blur(run) for run in await store.active_runs("w1", "", 9)],
    ]
    found += [await store.stall_findings(), await store.version_usage(now), await store.checkpoint()]
    found += [await store.token(digest, now) for digest in ("t1", "t2")]
    loaded = [await store.load(run) for run in RUNS]
    return found + [x and msgspec.structs.replace(x, run=blur(x.run)) for x in loaded]


async def compare(stores: list[Any], seed: int, steps: int, *, repeats: bool = True) -> set[str]:
    """Tell one story to all stores; returns the kinds of transition that were not refused."""
    story, first, done = Story(seed, repeats=repeats), stores[0], set()
    for number in range(steps):
        transition = story.next(await first.dump())
        answers = [await answer(store, transition) for store in stores]
        assert all(a == answers[0] for a in answers), (seed, number, transition, answers)
        if not isinstance(answers[0], Refusal):
            done.add(type(transition).__name__)
        dumps = [plain(await store.dump()) for store in stores]
        for other in dumps[1:]:
            for table, rows in dumps[0].items():
                assert other[table] == rows, (seed, number, table, transition)
    found = [await reads(store, story.now) for store in stores]
    assert all(other == found[0] for other in found[1:]), seed
    return done


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32))
def test_any_story_reads_the_same_in_memory_and_on_sqlite(seed: int) -> None:
    async def tell() -> None:
        with TemporaryDirectory() as folder:
            kept = await SqliteStore.open(Path(folder) / "store.db")
            try:
                await compare([MemoryStore(), kept], seed, 40)
            finally:
                await kept.close()

    asyncio.run(tell())


@pytest.mark.parametrize("seed", range(3))
async def test_any_story_reads_the_same_in_all_stores(places: s.Places, seed: int) -> None:
    stores = [MemoryStore(), await places("sqlite"), await places("postgres")]
    await compare(stores, seed, 60, repeats=False)


def test_every_transition_is_specified_in_memory_and_played_by_a_story() -> None:
    assert set(RULES) == set(VERBS)
    assert set(VERBS) == PLAYED, {kind.__name__ for kind in set(VERBS) ^ PLAYED}


async def test_the_stories_reach_every_transition() -> None:
    done: set[str] = set()
    for seed in range(20):
        done |= await compare([MemoryStore()], seed, 60)
    assert done == {kind.__name__ for kind in VERBS}
