"""Intake: receipts stored, todos turned into their consequences, and facts merged into heads."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, Literal, TypeAlias

import msgspec

from counterfoil.core.canonical import CanonicalEvent, Head, Receipt
from counterfoil.core.case import Case
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.foil_versions import Withdrawal
from counterfoil.core.link import Link
from counterfoil.store.port.audited import digests
from counterfoil.store.port.records import RunStart, TopicPost
from counterfoil.store.port.transition import Transition, wake_set
from counterfoil.store.port.wake import WakeKind

ReceiveVerdict: TypeAlias = Literal["new", "same", "clash"]


class ReceiveResult(msgspec.Struct, frozen=True, kw_only=True):
    numbers: tuple[int, ...]
    verdicts: tuple[ReceiveVerdict, ...]
    """One for each receipt."""


class Receive(Transition[ReceiveResult], frozen=True, kw_only=True):
    """Store receipts.

    Insert a receipt unless (system, ext_id) exists. A new one gets a todo and a leaf; one of door `fetch`, which an
    admission fetched, gets no todo. The same identity digest again returns the first receipt's number and writes
    nothing. Another digest opens `clash`; the first receipt stays. `cursor` moves the feed's cursor in the same
    transaction.
    """

    together = True

    receipts: tuple[Receipt, ...]
    clashes: tuple[Case, ...]
    """One Case for each receipt, opened only where that receipt clashes."""
    cursor: tuple[str, str, str] | None = None
    """system, feed, value."""
    at: datetime
    actor: str

    def keys(self) -> frozenset[str]:
        feed = [] if self.cursor is None else [f"{self.cursor[0]}/{self.cursor[1]}"]
        return frozenset([*feed, *(f"{r.system}/{r.ext_id}" for r in self.receipts)])

    def wakes(self, answer: ReceiveResult) -> frozenset[WakeKind]:
        return wake_set(admit="new" in answer.verdicts)


class AdmitResult(msgspec.Struct, frozen=True, kw_only=True):
    applied: bool
    outdated: bool = False
    """Another Release is active: admit the todo by that one."""
    overtaken: bool = False
    """Another admission read an object meanwhile: fetch again."""
    new_events: tuple[str, ...] = ()
    born: tuple[str, ...] = ()
    woken: tuple[str, ...] = ()
    older: tuple[str, ...] = ()
    """Events that are older than their object's head: recorded, not applied."""


class Admit(Transition[AdmitResult], frozen=True, kw_only=True):
    """Turn one todo into its consequences, all or nothing.

    Deletes the todo (kind `receipt` by number or `event` by id); without one -> `applied=False`, nothing else.
    Events are inserted or ignored. For those that were new:

    - A head moves where the event is the newest of its system (store.port.heads). An older event is recorded, and
      fills in fields of which no newer one spoke. A tie opens a Case; the newer fact that settles it resolves the Case.
    - Links are established and posted under both of their `topics`; posts are delivered; Runs are started.
    - Foils and observations are recorded as versions of their documents; withdrawals take out documents that were
      shown before. The match rows that they touch are settled. Where an event older than its object's head shows a
      document, the head's event becomes a todo again, for its withdrawals alone.

    Consequences of existing events are skipped, except Cases. An existing event with other content opens a `clash`; a
    Run that exists with other content a `generation_clash`. Cases are inserted or ignored; with `park`, an
    open Case of the same id counts this delivery, which then waits for the decision on it. Without `park` and `cases`,
    open Cases about this todo (no Run, no contradiction) are resolved by `admit`. One leaf.
    """

    together = True

    todo: tuple[str, str]
    """kind, ref."""
    events: tuple[CanonicalEvent, ...] = ()
    heads: tuple[Head, ...] = ()
    links: tuple[Link, ...] = ()
    posts: tuple[TopicPost, ...] = ()
    starts: tuple[RunStart, ...] = ()
    foils: tuple[Foil, ...] = ()
    observations: tuple[Observation, ...] = ()
    withdrawals: tuple[Withdrawal, ...] = ()
    cases: tuple[Case, ...] = ()
    park: bool = False
    """Set the todo aside: it waits for a Case's decision or, with `wake_topic`, for a Link."""
    wake_topic: str | None = None
    """With `park`: a post under this topic puts the todo back."""
    owners: dict[str, str] = msgspec.field(default_factory=dict)
    """The role that owns the Cases of contradictions, by event id."""
    read_from: datetime | None = None
    """When the first fetch of this admission began; None: nothing was fetched. A head that another admission read later
    than this, with the same version and other content -> `overtaken`, nothing written: fetch again."""
    listed: bool = False
    """It is a record of a listed book, which shows the present: an existing event with other content is no clash."""
    ignored: str = ""
    """Why it has no consequence."""
    release: str = ""
    """The Release that admits it; with another one active -> `outdated`, nothing written."""
    at: datetime
    actor: str

    def keys(self) -> frozenset[str]:
        return frozenset(
            [
                ":".join(self.todo),
                *([self.wake_topic] if self.wake_topic else ()),
                *(case.id for case in self.cases),
                *(f"{head.object}/{head.key}" for head in self.heads),
                *(topic for link in self.links for topic in link.topics),
                *(topic for post in self.posts for topic in post.topics),
                *(start.run for start in self.starts),
                *(f"{foil.rule}/{foil.key}" for foil in self.foils),
                *(f"{rule}/{key}" for foil in self.foils for rule, key in foil.caps),
                *(f"{o.rule}/{o.key}" for o in self.observations),
                *(f"{f.rule}/{f.document}" for f in self.foils),
                *(f"{o.rule}/{o.document}" for o in self.observations),
                *(f"{w.rule}/{w.document}" for w in self.withdrawals),
            ]
        )

    def owner_of(self, event: str) -> str:
        """Return the role that owns Cases about contradictions of an event."""
        return self.owners.get(event, "")

    def leaf_body(self, fresh: Collection[str], counted: str) -> dict[str, Any]:
        """Return the body of its audit leaf. `fresh` are the new events, `counted` is the Case that another delivery has."""
        ids = sorted(event.id for event in self.events)
        body = {"events": ids, "new": sorted(fresh), "ignored": self.ignored, "parked": self.park}
        more = {
            "release": self.release,
            "case": counted,
            "rows": digests(e for e in self.events if e.id in fresh),
        }
        return body | {name: value for name, value in more.items() if value}

    def wakes(self, answer: AdmitResult) -> frozenset[WakeKind]:
        leased = {start.run for start in self.starts if start.lease is not None}
        unleased = bool(set(answer.born) - leased) or len(self.starts) > len(answer.born)
        late = bool(answer.older and (self.foils or self.observations))
        return wake_set(turn=bool(answer.woken) or unleased, admit=bool(self.links or self.posts) or late)
