"""Every change of state as a named transition, and what a store answers to each.

A transition is data. A store applies one in one guarded transaction together with its audit leaf and answers what
became of it; nothing is acknowledged before that transaction is durable. `memory` is the executable specification:
it says in plain Python what each transition does, in which order, and the SQL stores are held to it by one contract
suite.

Time is passed in by the caller as `at` (aware UTC); `bytes` bodies are in the encoding of core.wire.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any, TypeAlias

import msgspec

from counterfoil.core import wire
from counterfoil.core.approval import Approval, ApprovalState
from counterfoil.core.audit import Checkpoint
from counterfoil.core.canonical import CanonicalEvent, Head, Receipt
from counterfoil.core.case import Case, Choice
from counterfoil.core.effect import EFFECT_MOVES, Effect, EffectState
from counterfoil.core.errors import ErrorClass
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.link import Link
from counterfoil.core.moves import check_move
from counterfoil.core.people import Person, Token
from counterfoil.core.run import LANES, Direction, RunStatus
from counterfoil.store.port.calls import AnswerCall as AnswerCall
from counterfoil.store.port.calls import CallPlaced as CallPlaced
from counterfoil.store.port.calls import PlaceCall as PlaceCall
from counterfoil.store.port.records import Lease as Lease
from counterfoil.store.port.records import RunStart as RunStart
from counterfoil.store.port.records import Stimulus as Stimulus
from counterfoil.store.port.releases import Applied as Applied
from counterfoil.store.port.releases import ApplyPlan as ApplyPlan
from counterfoil.store.port.releases import ExpirePlans as ExpirePlans
from counterfoil.store.port.releases import Moved as Moved
from counterfoil.store.port.releases import MoveRun as MoveRun
from counterfoil.store.port.releases import PutPlan as PutPlan
from counterfoil.store.port.stalled import RecordStalled as RecordStalled
from counterfoil.store.port.stalled import Stalled as Stalled
from counterfoil.store.port.stalled import StalledFinding as StalledFinding
from counterfoil.store.port.stalled import StallLimits as StallLimits
from counterfoil.store.port.usage import StoreUsage as StoreUsage
from counterfoil.store.port.usage import UsageStored as UsageStored
from counterfoil.store.port.versions import CountUse as CountUse
from counterfoil.store.port.workers import Heartbeat, ReleaseWorker, SetCap

# ------------------------------------------------------------------ parts of transitions


class Post(msgspec.Struct, frozen=True, kw_only=True):
    """An event made known under topics. Runs waiting on one of them get `event` stimuli; Runs that begin to
    wait later get it too when it is not older than their wait's `since`."""

    event: str
    topics: tuple[str, ...]
    body: bytes


class WaitOn(msgspec.Struct, frozen=True, kw_only=True):
    """A Run waits on a topic. What was posted there at or after `since` is delivered at once."""

    topic: str
    since: datetime | None = None
    """None: everything ever posted there."""


class Reserve(msgspec.Struct, frozen=True, kw_only=True):
    """`used + amount <= limit` on one guard row, in the policy's minor units, or the turn is refused."""

    scope: str
    key: str
    path: str
    amount: int
    limit: int | None
    seen: int | None = None
    """What `used` was when the turn was decided; another value refuses the turn, to be decided again."""


class Send(msgspec.Struct, frozen=True, kw_only=True):
    """An effect's way from planned (or refused, or unknown where the vendor dedupes) to sending."""

    effect: str
    attempt: int
    """The attempt that this becomes: the present one plus one."""
    worker: str
    send_by: datetime
    call_until: datetime
    conclude_at: datetime
    request: bytes | None = None
    """The rendered request where the effect has none yet."""

    def applied(self, effect: Effect) -> Effect:
        """The effect on its way. Raises MoveRefused, or ValueError when the attempt does not follow."""
        check_move(EFFECT_MOVES, effect.state, EffectState.SENDING, effect.id)
        if effect.attempt + 1 != self.attempt:
            raise ValueError(f"{effect.id}: attempt {self.attempt} does not follow {effect.attempt}")
        return msgspec.structs.replace(
            effect,
            state=EffectState.SENDING,
            attempt=self.attempt,
            worker=self.worker,
            send_by=self.send_by,
            call_until=self.call_until,
            conclude_at=self.conclude_at,
            look_at=None,
            request=self.request if self.request is not None else effect.request,
        )


# ------------------------------------------------------------------ transitions


class Receive(msgspec.Struct, frozen=True, kw_only=True):
    """Keep a receipt: insert unless (system, ext_id) exists; new -> todo (not for door `fetch`: what
    an admission fetched) and leaf. The same identity digest
    -> the first receipt's number, nothing written. Another digest -> `clash` is opened, the first stays.
    `cursor` = (feed, value) moves the feed's cursor in the same transaction."""

    receipts: tuple[Receipt, ...]
    clashes: tuple[Case, ...]
    """One Case for each receipt, opened only where that receipt clashes."""
    cursor: tuple[str, str, str] | None = None
    """system, feed, value."""
    at: datetime
    actor: str


class Received(msgspec.Struct, frozen=True, kw_only=True):
    numbers: tuple[int, ...]
    verdicts: tuple[str, ...]
    """`new`, `same` or `clash`, one for each receipt."""


class Admit(msgspec.Struct, frozen=True, kw_only=True):
    """Turn one todo into its consequences, all or nothing.

    Deletes the todo (kind `receipt` by number or `event` by id); none -> `applied=False`, nothing else.
    Then: events insert-or-ignore; of those that were new: heads advance where `version` is not older than
    the one held of the same system, in `Head.versions` (older: recorded, and fills in fields of which nothing newer spoke), links established, posts delivered, runs started, foils opened
    (insert-or-ignore by id; a provisional foil with this id opens), observations inserted and their match
    rows settled. Consequences of events that existed already are skipped, save cases. Cases open
    insert-or-ignore. Without `park` and `cases`, open Cases about this todo (no Run, reason other than
    `clash`) are resolved by `admit`. One leaf. Links are posted under both of their `topics`.
    """

    todo: tuple[str, str]
    """kind, ref."""
    events: tuple[CanonicalEvent, ...] = ()
    heads: tuple[Head, ...] = ()
    links: tuple[Link, ...] = ()
    posts: tuple[Post, ...] = ()
    starts: tuple[RunStart, ...] = ()
    foils: tuple[Foil, ...] = ()
    observations: tuple[Observation, ...] = ()
    cases: tuple[Case, ...] = ()
    park: bool = False
    """Keep the todo aside: it waits for a Case's decision or, with `until`, for a Link."""
    wake_topic: str | None = None
    """With `park`: posting this topic puts the todo back."""
    ignored: str = ""
    """Why nothing follows from it."""
    release: str = ""
    """The Release that it is admitted by; another one in force -> `outdated`, nothing written."""
    at: datetime
    actor: str


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    applied: bool
    outdated: bool = False
    """Another Release is in force: admit it by that one."""
    new_events: tuple[str, ...] = ()
    born: tuple[str, ...] = ()
    woken: tuple[str, ...] = ()
    older: tuple[str, ...] = ()
    """Events whose object head was newer already: recorded, not applied."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """Lease up to `limit` due Runs, lane by lane in the order given, oldest due first, skipping leased ones:
    sets owner and lease_until."""

    worker: str
    limit: int
    lanes: tuple[int, ...] = LANES
    lease_until: datetime
    at: datetime


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """Commit what one turn decided. Guarded by `version`: another one -> `stale`, nothing written.

    In this order, all or nothing: match rows of new foils locked; the Run row to version + 1 with the new
    fields; `hold` acquired (another holder -> `held`: nothing is written, save that this Run now waits for
    that serial, keeps its inbox and gets due None; it is woken by the release, in arrival order); reservations (over the
    limit or another `seen` -> `limited`, nothing written); effects inserted (unique run, path, item, gen);
    `send` moves to sending, where every approval that the effect rests on holds (else one that this turn plans
    stays planned, any other is dropped and a `stale` stimulus goes to the Run); `drop` moves planned to dropped
    and voids provisional foils of planned or refused effects; foils inserted and settled against waiting observations; `reverse` foils of an undone
    effect; approvals inserted; `close_approvals` moved; `release` guards and `unhold` serials (the next
    waiting Run becomes due); waits replaced by `waits` (with delivery of what was posted); cases opened;
    events inserted with a todo of kind `event`; starts born; leaf. Finally
    `due = at when inbox_n > consumed else due`, owner and lease cleared. A terminal status drops waits,
    `unhold` and live reservations not consumed.
    """

    run: str
    version: int
    at: datetime
    status: RunStatus
    direction: Direction
    state: str
    due: datetime | None
    consumed: int
    ctx: bytes
    hold: tuple[str, ...] = ()
    """Serials that the Run does not hold yet and needs from now on."""
    unhold: tuple[str, ...] = ()
    """Serials that it holds and gives back."""
    reserve: tuple[Reserve, ...] = ()
    release: tuple[str, ...] = ()
    """Paths whose reservations are given back."""
    plan: tuple[Effect, ...] = ()
    send: tuple[Send, ...] = ()
    again: tuple[str, ...] = ()
    """Refused effects that are to go out again once a slot is free: planned."""
    drop: tuple[str, ...] = ()
    foils: tuple[Foil, ...] = ()
    reverse: tuple[str, ...] = ()
    """Effects whose foils are reversed, because they were taken back."""
    approvals: tuple[Approval, ...] = ()
    close_approvals: tuple[tuple[str, ApprovalState], ...] = ()
    waits: tuple[WaitOn, ...] = ()
    cases: tuple[Case, ...] = ()
    events: tuple[CanonicalEvent, ...] = ()
    starts: tuple[RunStart, ...] = ()
    leaf: bytes = b"{}"
    actor: str


class Turned(msgspec.Struct, frozen=True, kw_only=True):
    verdict: str
    """`done`, `stale`, `held`, `limited`."""
    version: int = 0
    inbox_n: int = 0
    """`done`: what the inbox holds now; as much as was consumed, when nobody else told the Run anything."""
    due: datetime | None = None
    started: tuple[str, ...] = ()
    """Effects of `send` that are sending now: their calls may be made."""
    used: tuple[tuple[str, str, int], ...] = ()
    """`limited`: scope, key and present use of the guards asked for."""
    woken: tuple[str, ...] = ()


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """planned -> sending for one effect, rechecking what it rests on: every approval in `effect.approvals`
    is granted with its voters still active (a `stale` stimulus goes to the Run and the effect is dropped
    otherwise). Bytes may leave only after this committed."""

    send: Send
    at: datetime
    actor: str


class Intended(msgspec.Struct, frozen=True, kw_only=True):
    verdict: str
    """`sending`, `lost` (not planned any more), `stale`."""


class Conclude(msgspec.Struct, frozen=True, kw_only=True):
    """An effect's outcome, by any worker, lease or not: decisions are fenced, evidence is not.

    Guard: `attempt` is the row's and its state may move to `state`. Won: row updated, foils of the effect
    opened (confirmed) or voided (absent), Cases that asked what became of it resolved, links established,
    cases opened, `outcome` stimulus appended, leaf.
    Lost: `late`; when a confirmation arrives for a row that says refused or absent, the row is confirmed and
    `contradiction` is opened.
    """

    effect: str
    attempt: int
    state: EffectState
    at: datetime
    actor: str
    result: bytes | None = None
    error_class: ErrorClass | None = None
    error: str = ""
    retry_after: float | None = None
    links: tuple[Link, ...] = ()
    cases: tuple[Case, ...] = ()
    contradiction: Case | None = None
    look_at: datetime | None = None
    """With unknown or accepted: when to look first."""
    evidence: str = "answer"
    """`answer`, `look-up`, `time-out`, `observation`."""

    def words(self, path: str, item: str, result: Any) -> dict[str, Any]:
        """What the Run is told, as its turn reads it; `result` in whichever form the caller has it."""
        return {
            "effect": self.effect,
            "path": path,
            "item": item,
            "state": str(self.state),
            "attempt": self.attempt,
            "class": None if self.error_class is None else str(self.error_class),
            "error": self.error,
            "retry_after": None if self.retry_after is None else round(self.retry_after * 1000),
            "result": result,
        }

    @property
    def ref(self) -> str:
        return f"{self.effect}:{self.attempt}:{self.state}"

    def stimulus(self, run: str, path: str, item: str) -> Stimulus:
        """The same for the Run's inbox."""
        result = None if self.result is None else msgspec.Raw(self.result)
        return Stimulus(
            run=run,
            kind="outcome",
            ref=self.ref,
            body=wire.dumps(self.words(path, item, result)),
        )

    def kept(self) -> dict[str, Any]:
        """What the audit log keeps of it."""
        result = None if self.result is None else hashlib.sha256(self.result).hexdigest()
        return {"effect": self.effect, "state": str(self.state), "evidence": self.evidence, "result": result}


class Concluded(msgspec.Struct, frozen=True, kw_only=True):
    verdict: str
    """`won`, `late`, `contradiction`."""


class Advance(msgspec.Struct, frozen=True, kw_only=True):
    """Outcome n and intent n + 1 in one transaction: an effect's outcome, and the turn that was decided with
    it as the one thing in the inbox.

    The outcome is evidence and is recorded whatever becomes of the turn. The turn counts only when its
    version is the present one and the inbox held nothing but the outcome behind what it consumed;
    otherwise it is `stale` and the Run is due. It takes from no guard and gives none back.
    """

    conclude: Conclude
    turn: Turn


class Advanced(msgspec.Struct, frozen=True, kw_only=True):
    concluded: Concluded
    turned: Turned


class LookedUp(msgspec.Struct, frozen=True, kw_only=True):
    """A look-up that could not tell yet: the next one is due at `look_at`."""

    effect: str
    attempt: int
    look_at: datetime
    at: datetime


class Resend(msgspec.Struct, frozen=True, kw_only=True):
    """unknown -> sending, for repeat `key` and `unique` only: the same bytes under the same key. `stale` when an
    approval that it rests on does not hold any more: then nothing changes, and look-ups go on."""

    send: Send
    at: datetime
    actor: str


class Decide(msgspec.Struct, frozen=True, kw_only=True):
    """A person's vote. Refused when the approval is not open, expired, of another subject, the person is the
    requester, lacks every role asked for, is inactive, or has voted. Reaching the quorum grants; one
    rejection rejects; both append `approval` to the Run. Leaf."""

    approval: str
    subject: str
    person: str
    approve: bool
    comment: str
    at: datetime


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    verdict: str
    """`counted`, `granted`, `rejected`, or the refusal: `not_found`, `closed`, `expired`, `subject`,
    `requester`, `role`, `inactive`, `voted`."""


class Resolve(msgspec.Struct, frozen=True, kw_only=True):
    """A person's decision on a Case. Refused when it is resolved already, the choice is not offered, or the
    person holds no role that owns it. RETRY of a receipt or event puts its todo back; WAIVE moves the foil to
    waived; anything about a Run appends `case`. Leaf."""

    case: str
    person: str
    choice: Choice
    note: str
    at: datetime
    override: bool = False
    """The person may resolve any Case (an administrator)."""
    told: Conclude | None = None
    """What the person says became of the effect that the Case is about: evidence, in the same transaction, after
    the decision itself."""


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    verdict: str
    """`resolved`, or `not_found`, `closed`, `choice`, `role`, `inactive`."""


class Expire(msgspec.Struct, frozen=True, kw_only=True):
    """What time alone does: foils past due settle to broken. Wherever a foil breaks or shows too much, its
    Case (core.cases.case_of_break) opens in the same transaction and the Run gets a `foil` stimulus."""

    foils: tuple[str, ...]
    at: datetime


class OpenCases(msgspec.Struct, frozen=True, kw_only=True):
    """Cases found outside of any Run: by the progress scan or a door."""

    cases: tuple[Case, ...]
    at: datetime
    actor: str


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """pending leaves -> tree indices in commit order; `sign(size, root)` gives the checkpoint's text."""

    at: datetime
    limit: int = 10_000


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    count: int
    size: int
    root: bytes


class PutCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    checkpoint: Checkpoint


class PutRelease(msgspec.Struct, frozen=True, kw_only=True):
    """The first Release of a store, with the first step of its history; leaf. False where there is one in force:
    from then on only `ApplyPlan` changes it. `waits` are kept with it, also where it is the one in force."""

    digest: str
    body: bytes
    waits: tuple[tuple[str, str], ...] = ()
    """Event types that its Runs may wait for, each with a field that narrows its topics, or none; one pair of empty
    words where they wait for nothing. Without any, whoever wants to know reads the Release itself."""
    at: datetime
    actor: str


class PutPerson(msgspec.Struct, frozen=True, kw_only=True):
    person: Person
    at: datetime
    actor: str


class PutToken(msgspec.Struct, frozen=True, kw_only=True):
    """A session or a bearer token. `alone`: the person's other tokens of this kind end with it."""

    token: Token
    at: datetime
    alone: bool = False


Transition: TypeAlias = (
    Receive
    | StoreUsage
    | PlaceCall
    | AnswerCall
    | Admit
    | Claim
    | Turn
    | Intent
    | Conclude
    | Advance
    | LookedUp
    | Resend
    | Decide
    | Resolve
    | Expire
    | OpenCases
    | RecordStalled
    | Seal
    | PutCheckpoint
    | PutRelease
    | CountUse
    | PutPlan
    | ApplyPlan
    | ExpirePlans
    | MoveRun
    | PutPerson
    | PutToken
    | Heartbeat
    | ReleaseWorker
    | SetCap
)
