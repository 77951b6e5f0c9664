"""Parts of several transitions: items for a Run's inbox, posts under topics, leases and starts of Runs."""

from __future__ import annotations

from datetime import datetime

import msgspec

from counterfoil.core import wire
from counterfoil.core.link import Link
from counterfoil.core.run import LIVE, InboxItem, Run


class NewInboxItem(msgspec.Struct, frozen=True, kw_only=True):
    """A new item for a Run's inbox; unique by (run, kind, ref), so a repeat adds nothing."""

    run: str
    kind: str
    ref: str
    body: bytes = b"{}"

    def item(self, seq: int, at: datetime) -> InboxItem:
        return InboxItem(run=self.run, seq=seq, kind=self.kind, ref=self.ref, at=at, body=self.body)


def event_stimulus(run: str, event: str, body: bytes) -> NewInboxItem:
    return NewInboxItem(run=run, kind="event", ref=event, body=body)


class TopicPost(msgspec.Struct, frozen=True, kw_only=True):
    """An event posted under topics.

    Runs that wait on one of them get `event` items. Runs that begin to wait later get it too, unless it is older than
    their wait's `since`.
    """

    event: str
    topics: tuple[str, ...]
    body: bytes


def link_post(link: Link) -> TopicPost:
    """Return the post of a confirmed Link, for Runs and todos that wait for it."""
    body = wire.dumps({"object": link.object, "canonical": link.canonical, "ext_id": link.ext_id})
    return TopicPost(event=f"{link.topics[0]}:{link.ext_id}", topics=link.topics, body=body)


class Lease(msgspec.Struct, frozen=True):
    """One worker's turn at a Run. It saves work and guards nothing: the version fences a late worker."""

    worker: str
    until: datetime


class RunStart(msgspec.Struct, frozen=True, kw_only=True):
    """A Run to insert unless (workflow, bkey, generation) exists; in either case `stimulus` is appended."""

    run: str
    workflow: str
    bkey: str
    generation: int
    pin: str
    state: str
    stimulus: NewInboxItem
    due: datetime | None = None
    """When it starts; None: at once. With `only_birth`, a later item does not start it earlier."""
    only_birth: bool = False
    """Append `stimulus` only when the Run is new (a due start that its object moved is always appended)."""
    lane: int = LIVE
    """The priority lane of its turns and calls (core.run)."""
    lease: Lease | None = None
    """The admitting worker continues with it at once; an existing Run is not leased."""
    entity: str = ""
    """Legal entity that it belongs to."""

    def new_run(self, arrival: int, at: datetime) -> Run:
        """Return the Run, without an item in its inbox."""
        return Run(
            id=self.run,
            workflow=self.workflow,
            bkey=self.bkey,
            generation=self.generation,
            pin=self.pin,
            arrival=arrival,
            state=self.state,
            created_at=at,
            due=self.due if self.due is not None else at,
            lane=self.lane,
            entity=self.entity,
            owner=self.lease.worker if self.lease is not None else None,
            lease_until=self.lease.until if self.lease is not None else None,
        )
