"""Bodies of requests and responses: presence, response statuses, headers and media types."""

from __future__ import annotations

from typing import Any

from counterfoil.contracts.openapi import parameters
from counterfoil.contracts.openapi.context import ComparisonContext
from counterfoil.contracts.openapi.media_types import media_types
from counterfoil.contracts.openapi.rules import Side


def request(context: ComparisonContext, old: Any, new: Any, where: str, side: Side) -> None:
    """Report changes of the body of a request."""
    if old is None and new is None:
        return
    where = f"{where} /requestBody"
    add = context.add
    if old is None:
        needed = context.new.follow(new).get("required") is True
        if side == "response":
            add("response-body-added", where, "a body is sent now")
        elif needed:
            add("required-request-body-added", where, "a body must be sent now")
        else:
            add("request-body-added", where, "a body may be sent now")
    elif new is None:
        add(f"{side}-body-removed", where, "the body was removed")
    elif not context.same_component(old, new):
        body(context, context.old.follow(old), context.new.follow(new), where, side)


def body(
    context: ComparisonContext, old: dict[str, Any], new: dict[str, Any], where: str, side: Side
) -> None:
    """Report changes of one body."""
    before, after = old.get("required") is True, new.get("required") is True
    if before != after:
        word = "required" if after else "optional"
        context.add(f"{side}-body-became-{word}", where, f"the body is {word} now")
    media_types(context, old.get("content"), new.get("content"), where, side)


def responses(context: ComparisonContext, old: Any, new: Any, where: str, side: Side) -> None:
    """Report changes of the responses of an operation.

    `side` is `request` for a webhook or callback: there the clients send the responses.
    """
    before = {str(name): node for name, node in context.mapping(old, where).items()}
    after = {str(name): node for name, node in context.mapping(new, where).items()}
    for status, node in before.items():
        if status.startswith("x-"):
            continue
        there = f"{where} /responses/{status}"
        match = _status(status, after)
        if match is None:
            kind = "success" if status.startswith("2") else "other"
            if side == "response":
                context.add(f"response-{kind}-status-removed", there, f"status {status} was removed")
        elif not context.same_component(node, after[match]):
            response(context, context.old.follow(node), context.new.follow(after[match]), there, side)
    for status in after:
        if not status.startswith("x-") and _status(status, before) is None and side == "response":
            kind = "success" if status.startswith("2") else "other"
            context.add(
                f"response-{kind}-status-added", f"{where} /responses/{status}", f"status {status} was added"
            )


def _status(status: str, responses: dict[str, Any]) -> str | None:
    """Return the key of the response for a status: the status or its range, but not `default`."""
    for candidate in (status, f"{status[:1]}XX", f"{status[:1]}xx"):
        if candidate in responses:
            return candidate
    return None


def response(
    context: ComparisonContext, old: dict[str, Any], new: dict[str, Any], where: str, side: Side
) -> None:
    """Report changes of one response."""
    if old == new and not context.thorough:
        return
    if side == "response":
        parameters.headers(context, old.get("headers"), new.get("headers"), where)
    before, after = old.get("content"), new.get("content")
    if before and not after:
        if side == "response":
            context.add("response-body-removed", where, "the response has no body any more")
        return
    if after and not before:
        if side == "response":
            context.add("response-body-added", where, "the response has a body now")
        return
    media_types(context, before, after, where, side)
