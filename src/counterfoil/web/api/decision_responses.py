"""The store's verdicts on a person's decision, as a result word or as a problem with the next action."""

from __future__ import annotations

from typing import cast

from counterfoil.store.port.people import DecideVerdict, ResolveVerdict, VoteRefusal, VoteResult
from counterfoil.web.http.problems import Problem

_DECIDE: dict[VoteRefusal, tuple[int, str, str]] = {
    "not_found": (404, "not-found", "There is no approval {id}."),
    "closed": (409, "closed", "Approval {id} is already decided. Your vote was not counted."),
    "expired": (409, "expired", "Approval {id} has expired. The workflow decides how the Run continues."),
    "subject": (
        409,
        "subject",
        "The content of approval {id} has changed since you opened it. Review it again before you decide.",
    ),
    "requester": (
        403,
        "separation-of-duties",
        "{person} requested {id} and cannot approve it. Ask another person to decide.",
    ),
    "role": (403, "role", "Approval {id} requires a role that {person} does not have."),
    "inactive": (403, "inactive", "{person} is not active and cannot decide."),
    "voted": (409, "voted", "{person} has already voted on {id}. Each person has one vote."),
}
_RESOLVE: dict[ResolveVerdict, tuple[int, str, str]] = {
    "not_found": (404, "not-found", "There is no Case {id}."),
    "closed": (409, "closed", "Case {id} is already resolved. Nothing was changed."),
    "choice": (422, "choice", "Case {id} does not offer that choice. Its page lists the choices."),
    "role": (403, "role", "Case {id} belongs to a role that {person} does not have."),
    "inactive": (403, "inactive", "{person} is not active and cannot resolve Cases."),
}
_TITLES = {
    "separation-of-duties": "Separation of duties",
    "subject": "The approval has changed",
    "role": "Another role decides",
}


def decided(verdict: DecideVerdict, id_: str, person: str) -> VoteResult:
    """Return `counted`, `granted` or `rejected`. Raises Problem for a refusal."""
    if verdict in ("counted", "granted", "rejected"):
        return cast(VoteResult, verdict)
    raise _problem(_DECIDE[cast(VoteRefusal, verdict)], id_, person)


def resolved(verdict: ResolveVerdict, id_: str, person: str) -> str:
    """Return `resolved`. Raises Problem for a refusal."""
    if verdict == "resolved":
        return verdict
    raise _problem(_RESOLVE[verdict], id_, person)


def _problem(refusal: tuple[int, str, str], id_: str, person: str) -> Problem:
    status, kind, message = refusal
    return Problem(status, message.format(id=id_, person=person), kind=kind, title=_TITLES.get(kind, ""))
