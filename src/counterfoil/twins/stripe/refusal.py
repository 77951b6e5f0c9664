"""The vendor's way of saying no: an HTTP status and `{"error": {...}}`."""

from __future__ import annotations

from typing import Any, TypeAlias

Obj: TypeAlias = dict[str, Any]


class Refusal(Exception):
    """An answer other than 200. `kept` tells whether an idempotency key remembers it: the vendor remembers
    what an endpoint answered once it ran, not what was refused before (bad parameters, key, rate).
    `commit` tells whether what was written before stays: a declined card leaves its failed charge."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        kept: bool = True,
        commit: bool = False,
        headers: dict[str, str] | None = None,
        more: Obj | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kept = kept
        self.commit = commit
        self.headers = headers or {}
        self.error: Obj = {"message": message, "type": type}
        if code is not None:
            self.error["code"] = code
            self.error["doc_url"] = "https://stripe.com/docs/error-codes/" + code.replace("_", "-")
        if param is not None:
            self.error["param"] = param
        self.error.update(more or {})


def missing(noun: str, id: str, param: str = "id") -> Refusal:
    """404, or 400 where a parameter names the absent object."""
    return Refusal(
        404 if param == "id" else 400,
        f"No such {noun}: '{id}'",
        code="resource_missing",
        param=param,
    )


def bad(message: str, *, code: str | None = None, param: str | None = None) -> Refusal:
    """400 from an endpoint that ran: the key remembers it."""
    return Refusal(400, message, code=code, param=param)


def bad_parameter(message: str, code: str, param: str) -> Refusal:
    """400 before the endpoint ran: the key does not remember it."""
    return Refusal(400, message, code=code, param=param, kept=False)
