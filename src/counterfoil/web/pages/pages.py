"""The pages: server-rendered, each one the API's own shapes under a template; forms change things, links do not."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import jinja2
import msgspec
from litestar import Request, get, post
from litestar.datastructures import Cookie
from litestar.params import FromPath
from litestar.response import Response

from counterfoil.core.case import Choice
from counterfoil.core.clock import utc_now
from counterfoil.core.money import Money
from counterfoil.store.port.views import ListFilter
from counterfoil.web.api import decision_responses, shapes
from counterfoil.web.api.lists import page_of
from counterfoil.web.api.queries import name_of, runs_of
from counterfoil.web.api.trace import trace
from counterfoil.web.http import assets
from counterfoil.web.http.access import application, caller, requires
from counterfoil.web.http.identity import COOKIE, SESSION, Identity, Passwords, check_same_origin, read_form
from counterfoil.web.http.permissions import Open, Permission
from counterfoil.web.http.ports import App
from counterfoil.web.http.problems import Problem, problem_of, problem_response
from counterfoil.web.pages import filters

Asked = Request[Any, Any, Any]
HTML = "text/html; charset=utf-8"
_PROGRAMS = ("/v1/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/static/")
_NOTES = {
    "counted": "Your approval is counted; more are needed.",
    "granted": "Approved. The run goes on.",
    "rejected": "Rejected. The workflow's policy decides what follows.",
    "resolved": "The case is resolved.",
    "signed-out": "You are signed out.",
}
_SUMMED = 2000
"""Counterfoils that the overview adds up per state; beyond, it says so."""
_CHOICES = {
    "retry": "Try the step or the delivery again",
    "continue": "Count the step as done and go on",
    "undo": "Take back what was confirmed",
    "close": "End the run here",
    "waive": "Accept the difference",
    "dismiss": "Nothing is to be done",
}


class Pages:
    """The templates, ready to render."""

    def __init__(self) -> None:
        self._env = jinja2.Environment(
            loader=jinja2.PackageLoader("counterfoil.web"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._env.filters.update(filters.FILTERS)
        self._env.globals.update(asset=assets.address, choice_words=_CHOICES)

    def render(self, template: str, now: datetime, identity: Identity | None, **values: Any) -> str:
        def when(moment: datetime | None, exact: bool = False) -> Any:
            return filters.when(moment, now, exact)

        may = {str(p) for p in identity.may} if identity else set()
        return self._env.get_template(template).render(now=now, me=identity, may=may, when=when, **values)


async def show_page(request: Asked, template: str, status: int = 200, **values: Any) -> Response[str]:
    app = application(request)
    pages: Pages = request.app.state.pages
    identity: Identity | None = request.scope.get("user")
    note = _NOTES.get(request.query_params.get("note", ""), "")
    path = request.url.path
    text = pages.render(template, await app.now(), identity, note=note, path=path, **values)
    return Response(text, media_type=HTML, status_code=status)


def is_page(request: Asked) -> bool:
    """Whether a person is looking: a browser asks for text/html outside of the API."""
    wants = request.headers.get("accept", "")
    return "text/html" in wants and not request.url.path.startswith(_PROGRAMS)


def refused(request: Asked, error: Exception) -> Response[Any]:
    """A refusal as a page; who is not signed in is shown where to."""
    problem = problem_of(error)
    path = request.url.path
    if problem.status == 401 and path != "/sign-in":
        follow = path if request.method == "GET" and path != "/" else ""
        return _go("/sign-in" + (f"?next={follow}" if follow else ""))
    pages: Pages = request.app.state.pages
    identity: Identity | None = request.scope.get("user")
    try:
        text = pages.render("problem.html", utc_now(), identity, note="", path=path, problem=problem)
    except jinja2.TemplateError:
        return problem_response(request, error)
    return Response(text, media_type=HTML, status_code=problem.status, headers=problem.headers)


def _go(where: str, cookies: list[Cookie] | None = None) -> Response[None]:
    return Response(None, status_code=303, headers={"location": where}, cookies=cookies or [])


def _safe(path: str) -> str:
    """Where to go after signing in: a place of ours, never another site."""
    good = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if good and "\\" not in path else "/"


# ------------------------------------------------------------------ signing in and out


@get("/sign-in", opt=requires(Open.PUBLIC), include_in_schema=False)
async def sign_in_page(request: Asked) -> Response[Any]:
    return await show_page(
        request, "sign_in.html", next=_safe(request.query_params.get("next", "/")), email="", problem=None
    )


@post("/sign-in", opt=requires(Open.PUBLIC), include_in_schema=False)
async def sign_in(request: Asked) -> Response[Any]:
    form = read_form(await request.body(), request.headers.get("content-type", ""))
    check_same_origin(request.headers, form, None)
    passwords: Passwords = request.app.state.passwords
    address = request.client.host if request.client else ""
    email, after = form.get("email", ""), _safe(form.get("next", "/"))
    try:
        secret, _ = await passwords.sign_in(application(request), email, form.get("password", ""), address)
    except Problem as problem:
        answer = await show_page(
            request, "sign_in.html", problem.status, next=after, email=email[:200], problem=problem
        )
        answer.headers.update(problem.headers)
        return answer
    return _go(after, [_cookie(request, secret, round(SESSION.total_seconds()))])


@post("/sign-out", opt=requires(Open.SIGNED_IN), include_in_schema=False)
async def sign_out(request: Asked) -> Response[Any]:
    identity, _ = await _form(request)
    session = request.cookies.get(COOKIE, "")
    passwords: Passwords = request.app.state.passwords
    await passwords.sign_out(application(request), session, identity.person.id)
    return _go("/sign-in?note=signed-out", [_cookie(request, "", 0)])


def _cookie(request: Asked, value: str, age: int) -> Cookie:
    return Cookie(
        key=COOKIE, value=value, path="/", httponly=True, samesite="strict", max_age=age,
        secure=request.url.scheme == "https",
    )  # fmt: skip


async def _form(request: Asked) -> tuple[Identity, dict[str, str]]:
    """The fields of a form that our own page sent. Raises Problem."""
    form = read_form(await request.body(), request.headers.get("content-type", ""))
    identity = caller(request)
    check_same_origin(request.headers, form, identity)
    return identity, form


# ------------------------------------------------------------------ the overview


@get("/", opt=requires(Open.SIGNED_IN), include_in_schema=False)
async def overview(request: Asked) -> Response[Any]:
    app, identity = application(request), caller(request)
    counts, health, cases, approvals, foils = await asyncio.gather(
        app.views.counts(),
        app.health(),
        _open_cases(app, identity) if Permission.CASES_ANY_READ in identity.may else _nothing(),
        _waiting_for(app, identity) if Permission.APPROVALS_ANY_READ in identity.may else _nothing(),
        _exposures(app) if Permission.FOILS_ANY_READ in identity.may else _nothing(),
    )
    mine, others = cases or ([], [])
    now = await app.now()
    return await show_page(
        request,
        "overview.html",
        counts=counts,
        health=health,
        cases=[*mine, *others][:6],
        mine=mine,
        open_cases=counts.get("case.open", 0),
        overdue=sum(c.deadline < now for c in [*mine, *others]),
        approvals=approvals or [],
        foils=foils or {},
    )


async def _nothing() -> None:
    return None


async def _open_cases(app: App, identity: Identity) -> tuple[list[shapes.CaseShape], list[shapes.CaseShape]]:
    """Those that the person's roles own and the others, each by deadline."""
    mine: dict[str, shapes.CaseShape] = {}
    for role in identity.person.roles:
        rows, _ = await app.views.cases(ListFilter(state="open", owner=role, limit=200))
        mine.update({row.case.id: shapes.case_shape(row) for row in rows})
    rows, _ = await app.views.cases(ListFilter(state="open", limit=200))
    others = [shapes.case_shape(row) for row in rows if row.case.id not in mine]
    return (
        sorted(mine.values(), key=lambda c: (c.deadline, c.id)),
        sorted(others, key=lambda c: (c.deadline, c.id)),
    )


async def _waiting_for(app: App, identity: Identity) -> list[dict[str, Any]]:
    """Open approvals that this person may decide now."""
    rows, _ = await app.views.approvals(ListFilter(state="open", limit=200))
    shown_rows = [await _approval_row(app, identity, shapes.approval_shape(row)) for row in rows]
    return [row for row in shown_rows if not row["reason"]]


async def _exposures(app: App) -> dict[str, dict[str, Any]]:
    """Per unfinished or broken state: how many counterfoils and how much money stands behind them."""
    found: dict[str, dict[str, Any]] = {}
    for state in ("provisional", "open", "partly", "broken", "over"):
        sums: dict[str, int] = {}
        count, cursor = 0, None
        while count < _SUMMED:
            rows, cursor = await app.views.foils(ListFilter(state=state, limit=200, cursor=cursor))
            count += len(rows)
            for foil in rows:
                # A foil's legs say the same money under several names: its largest stands for it.
                for money in _largest(list(foil.legs.values())):
                    sums[money.currency] = sums.get(money.currency, 0) + abs(money.minor)
            if cursor is None:
                break
        found[state] = {
            "count": count,
            "more": cursor is not None,
            "sums": [shapes.amount(Money(minor, currency)) for currency, minor in sorted(sums.items())],
        }
    return found


def _largest(legs: list[Money]) -> list[Money]:
    largest: dict[str, Money] = {}
    for money in legs:
        if money.currency not in largest or abs(money) > abs(largest[money.currency]):
            largest[money.currency] = money
    return list(largest.values())


# ------------------------------------------------------------------ Runs


@get("/runs", opt=requires(Permission.RUNS_ANY_READ), include_in_schema=False)
async def runs_page(request: Asked) -> Response[Any]:
    app = application(request)
    asked = {name: request.query_params.get(name, "").strip() for name in ("workflow", "status", "key")}
    page = page_of(50, request.query_params.get("cursor"), **asked)
    rows, after = await runs_of(app, page)
    return await show_page(
        request,
        "runs.html",
        rows=[shapes.run_shape(row) for row in rows],
        names={row.run.id: await name_of(app, row.run.bkey) for row in rows},
        next=after,
        asked=asked,
        workflows=sorted(app.model.workflows),
        first=page.cursor is None,
    )


@get("/runs/{run_id:str}", opt=requires(Permission.RUNS_ANY_READ), include_in_schema=False)
async def run_page(request: Asked, run_id: FromPath[str]) -> Response[Any]:
    app, identity = application(request), caller(request)
    found = await trace(app, run_id)
    if found is None:
        raise Problem(404, f"There is no run {run_id[:100]}.")
    return await show_page(
        request,
        "run.html",
        trace=found,
        name=await name_of(app, found.run.key),
        approvals=[await _approval_row(app, identity, approval) for approval in found.approvals],
        cases=[_case_row(identity, case) for case in found.cases],
    )


# ------------------------------------------------------------------ approvals


async def _approval_row(app: App, identity: Identity, approval: shapes.ApprovalShape) -> dict[str, Any]:
    """An approval with who may decide it, and why this person may not where that is so."""
    if not approval.votes:
        votes = await app.store.votes([approval.id])
        approval = _with_votes(approval, votes[approval.id])
    persons = await app.store.persons()
    people = [
        p.name
        for p in persons
        if p.active and set(p.roles) & set(approval.roles) and approval.requester not in (p.id, p.email)
    ]
    return {
        "approval": approval,
        "people": people,
        "names": {key: p.name for p in persons for key in (p.id, p.email)},
        "reason": _why_not(identity, approval, await app.now()),
    }


def _with_votes(approval: shapes.ApprovalShape, votes: Any) -> shapes.ApprovalShape:
    cast = [
        shapes.VoteShape(person=vote.person, approve=vote.approve, comment=vote.comment, at=vote.at)
        for vote in votes
    ]
    return msgspec.structs.replace(approval, votes=cast)


def _why_not(identity: Identity, approval: shapes.ApprovalShape, now: datetime) -> str:
    """Why this person cannot decide, or nothing. The store checks all of it again."""
    person = identity.person
    if approval.state != "open":
        return f"It is {approval.state}."
    if approval.expires <= now:
        return "It has expired."
    if approval.requester in (person.id, person.email):
        return "You asked for this. Separation of duties: another person has to decide."
    if any(vote.person == person.id for vote in approval.votes):
        return "You have voted; another person's vote is needed."
    if not set(person.roles) & set(approval.roles):
        return f"It is decided by {' or '.join(map(filters.said, approval.roles))}."
    if Permission.APPROVALS_OWN_DECIDE not in identity.may:
        return f"Your roles do not carry the permission {Permission.APPROVALS_OWN_DECIDE}."
    return ""


@get("/approvals", opt=requires(Permission.APPROVALS_ANY_READ), include_in_schema=False)
async def approvals_page(request: Asked) -> Response[Any]:
    app, identity = application(request), caller(request)
    state = request.query_params.get("state", "open")
    page = page_of(50, request.query_params.get("cursor"), state="" if state == "all" else state)
    rows, after = await app.views.approvals(page)
    shown_rows = [await _approval_row(app, identity, shapes.approval_shape(row)) for row in rows]
    shown_rows.sort(key=lambda row: bool(row["reason"]))
    return await show_page(request, "approvals.html", rows=shown_rows, next=after, state=state)


@post("/approvals/{approval_id:str}", opt=requires(Permission.APPROVALS_OWN_DECIDE), include_in_schema=False)
async def decide(request: Asked, approval_id: FromPath[str]) -> Response[Any]:
    identity, form = await _form(request)
    decision = form.get("decision", "")
    if decision not in ("approve", "reject"):
        raise Problem(422, "Choose approve or reject.")
    if decision == "reject" and not form.get("comment", "").strip():
        raise Problem(422, "Say why it is rejected: whoever asked reads it.")
    verdict = await application(request).decide_approval(
        approval_id,
        form.get("subject", ""),
        identity.person.id,
        decision == "approve",
        form.get("comment", "").strip()[:2000],
    )
    verdict = decision_responses.decided(verdict, approval_id, identity.person.id)
    return _go(f"{_safe(form.get('back', '/approvals'))}?note={verdict}")


# ------------------------------------------------------------------ Cases


def _case_row(identity: Identity, case: shapes.CaseShape) -> dict[str, Any]:
    owner = case.owner in identity.person.roles
    reason = ""
    if case.state != "open":
        reason = f"It was resolved by {case.resolved_by}."
    elif not owner and Permission.CASES_ANY_RESOLVE not in identity.may:
        reason = f"It is owned by {filters.said(case.owner)}."
    elif Permission.CASES_OWN_RESOLVE not in identity.may:
        reason = f"Your roles do not carry the permission {Permission.CASES_OWN_RESOLVE}."
    return {"case": case, "reason": reason, "mine": owner and case.state == "open"}


@get("/cases", opt=requires(Permission.CASES_ANY_READ), include_in_schema=False)
async def cases_page(request: Asked) -> Response[Any]:
    """Mine first, by deadline; then the others, newest first."""
    app, identity = application(request), caller(request)
    state = request.query_params.get("state", "open")
    page = page_of(50, request.query_params.get("cursor"), state="" if state == "all" else state)
    rows, after = await app.views.cases(page)
    found = {row.case.id: _case_row(identity, shapes.case_shape(row)) for row in rows}
    if page.cursor is None and state == "open":
        mine, _ = await _open_cases(app, identity)
        found = {case.id: _case_row(identity, case) for case in mine} | found
    ordered = sorted(found.values(), key=lambda row: not row["mine"])
    return await show_page(request, "cases.html", rows=ordered, next=after, state=state)


@post("/cases/{case_id:str}", opt=requires(Permission.CASES_OWN_RESOLVE), include_in_schema=False)
async def resolve(request: Asked, case_id: FromPath[str]) -> Response[Any]:
    identity, form = await _form(request)
    if form.get("choice") not in set(Choice):
        raise Problem(422, "Choose what is to be done.")
    note = form.get("note", "").strip()[:2000]
    if not note:
        raise Problem(422, "A note is needed: who reads the case later wants to know why.")
    verdict = await application(request).resolve_case(
        case_id, identity.person.id, Choice(form["choice"]), note
    )
    verdict = decision_responses.resolved(verdict, case_id, identity.person.id)
    return _go(f"{_safe(form.get('back', '/cases'))}?note={verdict}")


# ------------------------------------------------------------------ counterfoils


@get("/foils", opt=requires(Permission.FOILS_ANY_READ), include_in_schema=False)
async def foils_page(request: Asked) -> Response[Any]:
    asked = {name: request.query_params.get(name, "").strip() for name in ("state", "key")}
    page = page_of(50, request.query_params.get("cursor"), **asked)
    rows, after = await application(request).views.foils(page)
    return await show_page(
        request,
        "foils.html",
        rows=[shapes.foil_shape(row) for row in rows],
        next=after,
        asked=asked,
        states=shapes.FINANCE_WORDS,
        first=page.cursor is None,
    )


ROUTES = [
    sign_in_page,
    sign_in,
    sign_out,
    overview,
    runs_page,
    run_page,
    approvals_page,
    decide,
    cases_page,
    resolve,
    foils_page,
]
