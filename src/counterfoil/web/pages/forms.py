"""Forms of our own pages: reading and checking them, and a refused form shown again with what was typed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from litestar.response import Response

from counterfoil.web.http.identity import MAX_FIELDS, Identity, check_same_origin, read_form
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.refusals import FORGERIES, record
from counterfoil.web.http.request import WebRequest, caller, masked_texts
from counterfoil.web.pages.rendering import render_page

_SHOWN_AGAIN = (403, 409, 422)
"""Statuses of refusals that a person can answer in the form: others have no document to show."""


@dataclass(frozen=True, slots=True)
class FormEntry:
    """Fields of a form as a person typed them. `error` is the reason of a refusal, empty without one."""

    id: str
    """The document that the form decides on."""
    values: Mapping[str, str]
    error: str = ""
    field: str = ""
    """The field that the reason is about; empty for the form as a whole."""
    status: int = 200


Act = Callable[[Identity, dict[str, str]], Awaitable[Response[Any]]]
Show = Callable[[FormEntry], Awaitable[Response[Any]]]


async def posted_form(request: WebRequest, max_fields: int = MAX_FIELDS) -> tuple[Identity, dict[str, str]]:
    """Return the caller and the fields of a form from our own pages. Raises Problem."""
    form = read_form(await request.body(), request.headers.get("content-type", ""), max_fields)
    return _checked(request, form), form


async def answer_form(
    request: WebRequest, id_: str, reads: Permission, act: Act, show: Show
) -> Response[Any]:
    """Act on a form, or show its page again with the reason of the refusal and what was typed.

    `reads` is the permission that the page needs. Raises Problem where no page can show the form again.
    """
    form = read_form(await request.body(), request.headers.get("content-type", ""))
    for text in form.values():
        masked_texts(request).echo(text)
    try:
        return await act(_checked(request, form), form)
    except Problem as problem:
        if problem.status not in _SHOWN_AGAIN or problem.kind == "origin" or reads not in caller(request).may:
            raise
        if problem.kind in FORGERIES:
            await record(request, problem.kind)
        return await show(FormEntry(id_, form, problem.detail, problem.field, problem.status))


async def ask_again(
    request: WebRequest,
    form: Mapping[str, str],
    *,
    title: str,
    effect: str,
    facts: Mapping[str, Any],
    yes: str,
) -> Response[Any]:
    """Return the page that says what a decision does, in money, and sends the same form once more."""
    fields = {name: value for name, value in form.items() if name not in ("csrf", "confirm")}
    return await render_page(
        request, "confirm.html", title=title, effect=effect, facts=facts, yes=yes, fields=fields
    )


def is_confirmed(form: Mapping[str, str]) -> bool:
    return form.get("confirm") == "yes"


def is_taken_back(form: Mapping[str, str]) -> bool:
    return form.get("confirm") == "no"


def _checked(request: WebRequest, form: Mapping[str, str]) -> Identity:
    identity = caller(request)
    check_same_origin(request.headers, dict(form), identity)
    return identity
