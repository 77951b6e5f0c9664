"""Catalogue of Case reasons: one row for each, with its title, next action, choices and deadline.

The table in docs/how-to/resolve-a-case.md comes from here. `core.cases` builds Cases from it.
"""

from __future__ import annotations

from datetime import timedelta

import msgspec

from counterfoil.core.case import Choice
from counterfoil.core.case_choices import DELIVERY_CHOICES, RUN_CHOICES, STEP_CHOICES, UNDO_CHOICES
from counterfoil.core.errors import ErrorClass
from counterfoil.core.stall_texts import STALL_TEXTS

DELIVERY_DEADLINE = timedelta(days=1)
STALL_PREFIX = "stuck_"
"""Before the kind of what makes no progress."""
UNDO_PREFIX = "undo_"
"""Before the outcome of a call that takes another one back."""
CONTRADICTIONS = ("clash", "tie")
"""Reasons about two contents of one fact. Admitting the delivery does not resolve these Cases."""
ANSWERED_BY_EVIDENCE = ("unknown", "undo_unknown")
"""Reasons that ask whether a call was done. Evidence resolves these Cases as well as a person."""


class CaseReason(msgspec.Struct, frozen=True):
    """Catalogue row: what all Cases of one reason share."""

    reason: str
    title: str
    """What happened, in plain words."""
    next_action: str
    """What the owner does next: a template with the placeholders of `core.cases.DEFAULT_NAMES`."""
    choices: tuple[Choice, ...]
    """Offered unless the caller passes others."""
    deadline: timedelta
    """After the Case opens, unless the caller passes another: a Run's Cases use `case_within` of its failure policy."""


_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_DISMISS = (Choice.DISMISS,)
_CORRECT = "Correct the cause, then retry {operation}. Or undo what was done"
_COMPARE = "Compare {object} in {system} with the request. Correct the side that is wrong"
_RESEND = "Ask the sender to correct the events and to send them again"
_BY_HAND = "Take it back by hand in {system}, then continue. Or correct the cause and retry"


def _rows(
    choices: tuple[Choice, ...], deadline: timedelta, *texts: tuple[str, str, str]
) -> tuple[CaseReason, ...]:
    """Return a row for each reason, title and next action."""
    return tuple(CaseReason(*text, choices, deadline) for text in texts)


_DELIVERIES = (
    *_rows(
        DELIVERY_CHOICES,
        DELIVERY_DEADLINE,
        (
            "unrouted",
            "No mapping accepts the delivery, or nothing uses its event",
            "Write a mapping, or an `ignore` with its reason. Apply the change, then retry",
        ),
        (
            "mapping_failed",
            "The mapping could not read the delivery",
            "Correct the mapping, or the record in its system. Then retry",
        ),
        (
            "unresolved",
            "The delivery names a record that has no Link yet",
            "Nothing if the record is on its way: this Case then closes by itself. Else link or correct the record, then retry",
        ),
        (
            "contract",
            "The event breaks its contract",
            "Correct the mapping, or agree on a new version of the event. Then retry",
        ),
        (
            "cast_failed",
            "The event could not be converted to another version",
            "Correct the cast between the versions, or the record in its system. Then retry",
        ),
        (
            "ownership",
            "A system changed what belongs to another system or legal entity",
            "Decide who owns it. Correct the mapping or the object, then retry",
        ),
        (
            "fetch_refused",
            "The system refused to show the object that the delivery refers to",
            "Correct the access rights or the record. Then retry",
        ),
        (
            "routing_failed",
            "A formula that routes the event failed",
            "Correct the formula, or the record that it reads. Then retry",
        ),
    ),
    *_rows(
        _DISMISS,
        2 * _DAY,
        (
            "clash",
            "The same id arrived again with other content; the first delivery counts",
            "Ask the sender which of the two is right. Correct the record in its system",
        ),
        (
            "tie",
            "Facts of one moment contradict each other, and which of them is newer is unknown",
            "Look at {object} in {system}. If Counterfoil shows another state, change the record once more, so that a newer fact follows",
        ),
        (
            "generation_clash",
            "An event started nothing: its Run exists with other content",
            "Compare the event with the Run of {object}. Correct by hand what the Run did, or send the event as a new generation",
        ),
    ),
)
_STEPS = (
    *_rows(
        STEP_CHOICES,
        2 * _DAY,
        ("transient", "The call failed for a technical reason, and its retries are used up", _CORRECT),
        ("throttled", "The system limited the number of calls, and the retries are used up", _CORRECT),
        ("conflict", "Another change in the system conflicts with the call", _CORRECT),
        (
            "invalid",
            "A value or the request is invalid",
            "Correct the value or its record, then retry. Or undo what was done",
        ),
        ("warning", "The system gave a warning that needs a decision", _CORRECT),
        (
            "period_closed",
            "The accounting period is closed",
            "Reopen the period, or agree on another posting date. Then retry",
        ),
        ("not_found", "A record or Link that the call needs does not exist", _CORRECT),
        (
            "unauthorized",
            "The system refused the credentials or the permission",
            "Restore the credentials for the system. Then retry",
        ),
        (
            "already_done",
            "The system reports that the same was done before",
            "Look in {system} for what was done before. Continue if it replaces {operation}. Else correct the record, then retry",
        ),
        ("refused", "The system refused the call by its own rules", _CORRECT),
        (
            "unknown",
            "A call may or may not have been done, and no look-up can tell",
            "Look in {system} whether {operation} was done. Continue if it was, retry if it was not",
        ),
        (
            "timeout",
            "An expected answer or event did not arrive in time",
            "Find out why the other side did not answer. Then retry or continue",
        ),
        ("failed", "A check of the workflow failed", _CORRECT),
        (
            "requester",
            "Who requests an approval is no person on file, or may not request it",
            "Find out who made the request. Add the name that the system uses to that person's aliases, then retry. Or undo what was done",
        ),
        (
            "rejected",
            "An approval was rejected, or a limit is used up",
            "Settle the objection with the approver, or free the limit. Then retry to request the approval again. Or undo what was done",
        ),
        (
            "expired",
            "An approval was not decided in time",
            "Ask the approvers to decide. Then retry to request the approval again. Or undo what was done",
        ),
        (
            "stale",
            "An approval no longer covers what would be sent",
            "Check what changed since the approval. Then retry to request it again. Or undo what was done",
        ),
        (
            "accepted",
            "The system accepted the call but has not finished it",
            "Look in {system} whether it finished {operation}. Continue if it did, retry to wait longer",
        ),
        ("absent", "A read did not reach the system, and its retries are used up", _CORRECT),
        (
            "parked",
            "A step waits for a decision",
            "Read the message and settle what it names. Then decide how the Run continues",
        ),
    ),
    *_rows(
        RUN_CHOICES,
        2 * _DAY,
        ("signal", "An event interrupted the Run", "Decide how the Run continues"),
        (
            "deadline",
            "A Run did not finish by its workflow's `deadline`",
            "Find what delays the Run and settle it, or undo what was done. The Run continues meanwhile",
        ),
    ),
)
_UNDO_OUTCOMES = frozenset({*ErrorClass, "unknown"}) - {ErrorClass.ALREADY_DONE}
"""Outcomes that stop an undo. A system that refuses an undo as already done confirms it."""
_UNDOES = _rows(
    UNDO_CHOICES,
    2 * _DAY,
    *(
        (f"{UNDO_PREFIX}{row.reason}", f"Undo: {row.title}", _BY_HAND)
        for row in _STEPS
        if row.reason in _UNDO_OUTCOMES
    ),
    ("undo_no_undo", "Undo: the workflow has no way to take a confirmed call back", _BY_HAND),
)
_RESULTS = _rows(
    _DISMISS,
    _DAY,
    ("mismatch", "The call was done, with other values than requested", _COMPARE),
    ("contradiction", "A call was done although it had counted as not done", _COMPARE),
    ("result_unreadable", "The call was done, but its mapping could not read the result", _COMPARE),
    (
        "output_contract",
        "The answer to an operation breaks its contract",
        "Correct the mapping, the workflow's result or the contract. Inform the caller",
    ),
)
_FOILS = _rows(
    (Choice.WAIVE, Choice.DISMISS),
    2 * _DAY,
    (
        "foil_broken",
        "The other half did not arrive in time, or not in this amount",
        "Find {object} in {system} and correct the side that is wrong. Or waive the difference",
    ),
    (
        "foil_over",
        "The other half arrived with more than the amount asserted",
        "Find what {system} shows twice and take one of them back. Or waive the difference",
    ),
)
_DOCUMENTS = _rows(
    (Choice.DISMISS,),
    2 * _DAY,
    (
        "unmatched",
        "A document of the other system that nothing asserts",
        "Find out why {system} shows {object}. Pair it with what it answers, or take it back there",
    ),
    (
        "unlisted",
        "The system's book does not list a document that it showed before",
        "Look {object} up in {system}. Restore it there, or take back what stands on it. Sweep again; this Case then closes by itself",
    ),
    (
        "checkpoint_defect",
        "A checkpoint counts otherwise than the systems' own books",
        "Look at the documents of {object} that count otherwise. Correct what is wrong, read the books again and prepare it again",
    ),
    (
        "control_difference",
        "A control account has something beyond the documents of its reconciliations",
        "Find the journals or payments that {system} has on the account. Take them back, or explain them when you sign {object}",
    ),
    (
        "checkpoint_changed",
        "Documents inside a signed checkpoint have changed",
        "Look at what changed in {object}. Prepare and sign it again, or say why it stays as it is",
    ),
    (
        "pairing_ended",
        "A pair that a person made ended: a document changed",
        "Look at {object} and what {system} shows now. Pair them again if they still belong together",
    ),
    (
        "rebuilt",
        "An upgrade changed the state of counterfoils",
        "Look at the counterfoils of each reconciliation. Their state follows from the documents of both sides",
    ),
)
_USAGE = _rows(
    _DISMISS,
    2 * _DAY,
    (
        "usage_clash",
        "The same usage event arrived again with other content",
        "Ask the sender which one is right. A correction is an event of its own",
    ),
    (
        "usage_unknown_source",
        "Usage came from an undeclared system",
        "Declare the system, or ask the sender to name a declared one",
    ),
    (
        "usage_unknown_type",
        "The event type is not declared as usage",
        "Declare the event with `usage`, or ask the sender to use a declared type",
    ),
    ("usage_unknown_entity", "The legal entity of the usage is unknown, or not its sender's", _RESEND),
    (
        "usage_unknown_meter",
        "The meter is not declared",
        "Add the meter to the event's `enum`, or ask the sender to correct it",
    ),
    (
        "usage_unknown_subscription",
        "The subscription of the usage is not known",
        "Find out why {system} sends usage for it. Correct the sender, or take the subscription up and send the events again",
    ),
    (
        "usage_not_entitled",
        "The subscription was not entitled at the time of usage",
        "Correct the dates or state of the subscription and send the events again. Or decide whether to bill it by hand",
    ),
    (
        "usage_negative",
        "The quantity of the usage is negative",
        "Ask the sender for a correction: an event of a type that declares `corrects`",
    ),
    (
        "usage_unfounded",
        "The usage corrects an event that was not counted",
        "Send the event that it corrects first, then the correction again. Or ask the sender to name the right event",
    ),
    (
        "usage_future",
        "The usage has a time in the future",
        "Ask the sender to correct its clock and to send the events again",
    ),
    ("usage_past", "The usage is too old for its meter", "Decide whether to bill it by hand"),
    ("usage_invalid", "The usage event is invalid", _RESEND),
    ("usage_unreadable", "The usage event could not be read", _RESEND),
)
_SYSTEMS = (
    *_rows(
        _DISMISS,
        4 * _HOUR,
        (
            "unreachable",
            "A system or its connector cannot be reached",
            "Restore the connection to {system} or its credentials",
        ),
        (
            "undelivered",
            "Notices cannot be delivered over a channel",
            "Correct the address or the secret of the channel {channel}. The notices are on the pages meanwhile",
        ),
        (
            "clock_jumped",
            "The clock of the machine jumped",
            "Check the time synchronization of the machine, and what expired at about this time",
        ),
    ),
    *_rows(
        _DISMISS,
        8 * _HOUR,
        (
            "poisoned",
            "Work on a Run, a call or a delivery fails again and again because of a bug or an invalid file",
            "Report this as a bug, with the message. To unblock it, correct the file or record that triggers it",
        ),
    ),
)
_STALLS = _rows(_DISMISS, 4 * _HOUR, *STALL_TEXTS)
_CHANGES = (
    *_rows(
        _DISMISS,
        5 * _DAY,
        (
            "sunset_in_use",
            "A contract version is in use after its sunset",
            "Move {user} {successor}, or postpone the sunset. The version is still accepted meanwhile",
        ),
    ),
    *_rows(
        _DISMISS,
        2 * _DAY,
        (
            "emergency_release",
            "A Release was rolled back without approvals",
            "Review what was rolled back, and why. Plan the next change",
        ),
    ),
)

TOPICS: dict[str, tuple[CaseReason, ...]] = {
    "Deliveries": _DELIVERIES,
    "Steps of a Run": _STEPS,
    "Undo of a Run": _UNDOES,
    "Results of calls": _RESULTS,
    "Counterfoils": (*_FOILS, *_DOCUMENTS),
    "Usage": _USAGE,
    "Systems": _SYSTEMS,
    "Stalled work": _STALLS,
    "Changes": _CHANGES,
}
"""Every reason, under the heading of its subject."""
CATALOGUE: dict[str, CaseReason] = {row.reason: row for rows in TOPICS.values() for row in rows}


def reason_row(reason: str) -> CaseReason:
    """Return the catalogue row of a reason.

    The outcome of a call may arrive while its reaction runs, and then reads `refused:invalid`. It has the row of `parked`.
    """
    return CATALOGUE.get(reason) or CATALOGUE["parked"]
