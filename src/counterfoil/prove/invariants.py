"""Invariants that must hold in every World, each with its meaning and the fix if it breaks."""

from __future__ import annotations

from dataclasses import dataclass

from counterfoil.core.errors import REFUSAL_CLASSES

NOT_GRANTED = frozenset({"rejected", "expired", "stale"})
"""Outcomes of an approval that is not granted."""
BAD = frozenset({"failed", "timeout", "unknown", *NOT_GRANTED, *map(str, REFUSAL_CLASSES)})
"""Outcomes of a step that count as failures."""


@dataclass(frozen=True)
class ProvenInvariant:
    meaning: str
    fix: str


INVARIANTS: dict[str, ProvenInvariant] = {
    "posted-twice": ProvenInvariant(
        "the same thing is done twice in the other system",
        "make the call only once: keep its input and dates the same in every round, or give each repetition its own key",
    ),
    "approved-by-requester": ProvenInvariant(
        "the requester approves their own request",
        "let `requester` name the requesting person, such as `event.data.requested_by`",
    ),
    "unapproved": ProvenInvariant(
        "money moves without approval",
        "put the approval before the call, and react to `rejected`, `expired` and `stale` with park, stop, undo or again",
    ),
    "more-than-approved": ProvenInvariant(
        "more money moves than was approved", "take the amount of the call from what the approval `covers`"
    ),
    "half-done": ProvenInvariant(
        "the run ends as done although a call that moves money was refused, and no person decided so",
        "react to the refusal with park, queue or undo instead of skipping the call",
    ),
    "half-undone": ProvenInvariant(
        "the run ends with only a part of its calls done, and the done part could have been undone",
        "react with undo, so that confirmed calls are undone before the run ends",
    ),
    "no-way-back": ProvenInvariant(
        "an undo has no way to undo a confirmed call",
        "leave out `when` in the last choice of `undo`, or declare why the call is irreversible",
    ),
    "foil-unmatched": ProvenInvariant(
        "the run ends as done although a counterfoil is not matched and no Case is open about it",
        "wait for the counterfoils (`wait: {foils: all, until: ...}`) with a reaction that parks",
    ),
    "unfinished": ProvenInvariant(
        "the run has ended although a call is unfinished", "report it: this is a defect of the engine"
    ),
    "second-call": ProvenInvariant(
        "a call is planned again while another call of its step is in progress, was done, or has the same key",
        "report it: this is a defect of the engine",
    ),
    "stuck": ProvenInvariant(
        "nothing can happen any more: no event, no deadline, and no Case with an owner",
        "give the step an `until` or a way to learn its outcome, and a reaction that parks",
    ),
    "no-owner": ProvenInvariant("an open Case has no owner", "name an owner of exceptions"),
    "over-limit": ProvenInvariant(
        "more is reserved than the limit allows", "report it: this is a defect of the engine"
    ),
    "limit-kept": ProvenInvariant(
        "the run undid everything but still reserves a part of a limit",
        "report it: this is a defect of the engine",
    ),
    "emitted-twice": ProvenInvariant(
        "the same fact is emitted twice, as two events",
        "emit after the steps that may run again, or distinguish the rounds in the event's data",
    ),
    "restless": ProvenInvariant("the run repeats turns without end", "let the loop wait for something"),
}
