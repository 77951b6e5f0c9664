"""Parts of several transitions: births of Runs, their inboxes, posts and Links."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from counterfoil.core.link import Link, LinkStatus
from counterfoil.core.run import TERMINAL, InboxItem
from counterfoil.store.memory.tables import Tables, least
from counterfoil.store.port.records import NewInboxItem, RunStart, TopicPost, event_stimulus, link_post


def append(db: Tables, s: NewInboxItem, at: datetime) -> bool:
    """Append one item (PROTOCOL append): a new one gets the next seq, and the Run is due no later than now."""
    run = db.runs.get(s.run)
    if run is None or (s.run, s.kind, s.ref) in db.inbox_refs:
        return False
    seq = run.inbox_n + 1
    item = InboxItem(run=s.run, seq=seq, kind=s.kind, ref=s.ref, at=at, body=s.body)
    db.put(db.inbox_refs, (s.run, s.kind, s.ref), seq)
    db.put(db.inbox, (s.run, seq), item)
    due = run.due if run.status in TERMINAL else least(run.due, at)
    db.put(db.runs, run.id, replace(run, inbox_n=seq, due=due))
    return True


def start_run(db: Tables, start: RunStart, at: datetime) -> bool:
    key = (start.workflow, start.bkey, start.generation)
    if key in db.run_keys:
        if not start.only_birth:
            append(db, start.stimulus, at)
        return False
    db.arrivals += 1
    run = start.new_run(db.arrivals, at)
    db.put(db.run_keys, key, run.id)
    db.put(db.runs, run.id, run)
    append(db, start.stimulus, at)
    db.put(db.runs, run.id, replace(db.runs[run.id], due=run.due))
    return True


def deliver(db: Tables, post: TopicPost, at: datetime) -> list[str]:
    woken = []
    for topic in post.topics:
        if (topic, post.event) in db.posts:
            continue
        db.put(db.posts, (topic, post.event), (at, post.body))
        for waiting_topic, run in sorted(db.waits):
            if waiting_topic == topic and append(db, event_stimulus(run, post.event, post.body), at):
                woken.append(run)
        for todo, wakes_on in list(db.todos.items()):
            if wakes_on == topic:
                db.put(db.todos, todo, None)
    return woken


def establish(db: Tables, link: Link, at: datetime) -> list[str]:
    """Keep one active canonical id per external id: the same one changes nothing, another one supersedes it."""
    key = (link.object, link.system, link.account, link.ext_id)
    former = db.links.get(key)
    if former is not None and former.canonical == link.canonical and former.status is link.status:
        return []
    if former is not None:
        old = replace(former, status=LinkStatus.SUPERSEDED, valid_to=at)
        db.put(db.old_links, len(db.old_links), old)
    db.put(db.links, key, link)
    if link.status is not LinkStatus.CONFIRMED:
        return []
    return deliver(db, link_post(link), at)


def put_todo(db: Tables, kind: str, ref: str) -> None:
    db.put(db.todos, (kind, ref), None)
