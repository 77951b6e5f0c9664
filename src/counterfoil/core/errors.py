"""Errors named by what to do next, and the closed set of classes that outside refusals fall into.

Expected business outcomes are not exceptions: they are Findings or outcomes. An exception says what its
catcher may do. A vendor's errors are mapped to classes once, in that vendor's connector.
"""

from enum import StrEnum


class ErrorClass(StrEnum):
    """Why an outside system did not do what was asked. Every failure policy answers every class."""

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


class CounterfoilError(Exception):
    """Root of all errors that are meant to be read by a person."""


class TryAgain(CounterfoilError):
    """It did not happen and may be tried again, not before `after` seconds have passed when given."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class Refused(CounterfoilError):
    """It did not happen and will not happen by asking again in the same way."""

    def __init__(self, message: str, error_class: ErrorClass = ErrorClass.REFUSED, code: str = "") -> None:
        super().__init__(message)
        self.error_class = error_class
        self.code = code


class Uncertain(CounterfoilError):
    """It may have happened: look before doing anything else."""


class Misconfigured(CounterfoilError):
    """A person must change a file or a setting; the message says which."""
