"""Errors of the vendor's API: an HTTP status and `{"error": {...}}`."""

from __future__ import annotations

from typing import Any, TypeAlias

Obj: TypeAlias = dict[str, Any]


class StripeError(Exception):
    """Response other than 200. `commit`: earlier writes stay; a declined card leaves its failed charge.

    `replayable`: the idempotency key replays it. The vendor replays what an endpoint answered, not what was rejected
    before (bad parameters, key, rate).
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        replayable: bool = True,
        commit: bool = False,
        headers: dict[str, str] | None = None,
        more: Obj | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.replayable = replayable
        self.commit = commit
        self.headers = headers or {}
        self.error: Obj = {"message": message, "type": type}
        if code is not None:
            self.error["code"] = code
            self.error["doc_url"] = "https://stripe.com/docs/error-codes/" + code.replace("_", "-")
        if param is not None:
            self.error["param"] = param
        self.error.update(more or {})


def missing(noun: str, id: str, param: str = "id") -> StripeError:
    """Return a 404, or a 400 if a parameter names the absent object."""
    status = 404 if param == "id" else 400
    return StripeError(status, f"No such {noun}: '{id}'", code="resource_missing", param=param)


def refusal(message: str, param: str | None = None, code: str | None = None) -> StripeError:
    """Return a 400 of an endpoint that ran: the idempotency key replays it."""
    return StripeError(400, message, code=code, param=param)


def invalid(message: str, param: str, code: str = "parameter_invalid") -> StripeError:
    """Return a 400 from before the endpoint ran: the idempotency key does not replay it."""
    return StripeError(400, message, code=code, param=param, replayable=False)


def missing_parameter(param: str) -> StripeError:
    return invalid(f"Missing required param: {param}.", param, "parameter_missing")
