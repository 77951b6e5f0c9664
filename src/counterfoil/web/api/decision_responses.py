"""What the store said to a person's decision, as an answer or as a problem that says what to do."""

from __future__ import annotations

from counterfoil.web.http.problems import Problem

_DECIDE: dict[str, tuple[int, str, str]] = {
    "not_found": (404, "not-found", "There is no approval {id}."),
    "closed": (409, "closed", "Approval {id} is decided already; nothing was counted."),
    "expired": (409, "expired", "Approval {id} has expired; the workflow decides what follows."),
    "subject": (
        409,
        "subject",
        "What approval {id} covers has changed since it was shown; look at it again before deciding.",
    ),
    "requester": (
        403,
        "separation-of-duties",
        "{person} asked for {id}, and nobody approves what they asked for: another person has to decide.",
    ),
    "role": (403, "role", "Approval {id} asks for a role that {person} does not have."),
    "inactive": (403, "inactive", "{person} is not active and cannot decide."),
    "voted": (409, "voted", "{person} has voted on {id} already; one person counts once."),
}
_RESOLVE: dict[str, tuple[int, str, str]] = {
    "not_found": (404, "not-found", "There is no Case {id}."),
    "closed": (409, "closed", "Case {id} is resolved already; nothing was changed."),
    "choice": (422, "choice", "Case {id} does not offer that choice; its page lists those that it does."),
    "role": (403, "role", "Case {id} is owned by a role that {person} does not have."),
    "inactive": (403, "inactive", "{person} is not active and cannot resolve Cases."),
}
_TITLES = {
    "separation-of-duties": "Separation of duties",
    "subject": "It is not the same any more",
    "role": "Another role decides",
}


def decided(verdict: str, id_: str, person: str) -> str:
    """`counted`, `granted` or `rejected`. Raises Problem for a refusal."""
    return _told(_DECIDE, verdict, id_, person)


def resolved(verdict: str, id_: str, person: str) -> str:
    """`resolved`. Raises Problem for a refusal."""
    return _told(_RESOLVE, verdict, id_, person)


def _told(refusals: dict[str, tuple[int, str, str]], verdict: str, id_: str, person: str) -> str:
    if verdict not in refusals:
        return verdict
    status, kind, message = refusals[verdict]
    raise Problem(status, message.format(id=id_, person=person), kind=kind, title=_TITLES.get(kind, ""))
