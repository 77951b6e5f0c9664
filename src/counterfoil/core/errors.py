"""Exceptions named by what the caller can do next, and the closed set of classes for refusals by outside systems.

Expected business outcomes are Findings or outcomes, not exceptions. Each connector maps its vendor's errors to these
classes, in one place.
"""

from enum import StrEnum


class ErrorClass(StrEnum):
    """Class of a refusal by an outside system. Every failure policy has a reaction to every class."""

    TRANSIENT = "transient"
    THROTTLED = "throttled"
    CONFLICT = "conflict"
    INVALID = "invalid"
    WARNING = "warning"
    PERIOD_CLOSED = "period_closed"
    NOT_FOUND = "not_found"
    UNAUTHORIZED = "unauthorized"
    ALREADY_DONE = "already_done"
    REFUSED = "refused"


REFUSAL_CLASSES = tuple(error for error in ErrorClass if error is not ErrorClass.ALREADY_DONE)
"""Classes of calls that were not done. After `already_done` the connector looks up the earlier result."""

RETRIED_CLASSES = frozenset({ErrorClass.TRANSIENT, ErrorClass.THROTTLED, ErrorClass.CONFLICT})
"""Classes after which undo and reads try again without asking a policy: a later attempt may succeed."""


class CounterfoilError(Exception):
    """Base of all errors whose message is written for a person."""


class TryAgain(CounterfoilError):
    """It did not happen, and the caller may try again: after `after` seconds if set."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class Refused(CounterfoilError):
    """It did not happen, and the same request will be refused again."""

    def __init__(self, message: str, error_class: ErrorClass = ErrorClass.REFUSED, code: str = "") -> None:
        super().__init__(message)
        self.error_class = error_class
        self.code = code


class Uncertain(CounterfoilError):
    """It may have happened: the caller must look it up before anything else."""


class Misconfigured(CounterfoilError):
    """A person must change a file or a setting. The message says which."""


def log_text(error: CounterfoilError) -> str:
    """Return what the log may say of an error about a document or a system's answer, whose message may quote personal data.

    Cases and the health of systems have the whole message, for persons who may read it.
    """
    if isinstance(error, Misconfigured):
        return str(error)
    kind = type(error).__name__
    return f"{kind} ({error.error_class})" if isinstance(error, Refused) else kind
