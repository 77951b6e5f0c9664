"""The page of approvals: what each covers, who may decide, and the decision."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any

from litestar import get, post
from litestar.params import FromPath, QueryParameter
from litestar.response import Response

from counterfoil.application import Application
from counterfoil.change.plan import approvals_of
from counterfoil.change.plan_report import PlanReport, read_report
from counterfoil.change.plan_words import change_lines, impact_lines
from counterfoil.core.approval import Approval, ApprovalState, part_in_request
from counterfoil.core.people import Person
from counterfoil.core.release import is_of_plan
from counterfoil.rules.entities import deciding_roles, excluded_role
from counterfoil.store.port.views import ListFilter
from counterfoil.web.api import shapes
from counterfoil.web.api.deciders import Deciders, pending_of
from counterfoil.web.api.decisions import vote
from counterfoil.web.api.queries import ApprovalSort, Cursor, list_filter, sorted_by, with_votes
from counterfoil.web.api.statements import statement_of
from counterfoil.web.http.identity import Identity
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.request import WebRequest, application, caller, requires
from counterfoil.web.pages import filters
from counterfoil.web.pages.forms import FormEntry, answer_form
from counterfoil.web.pages.rendering import redirect, render_page, safe_path

MAX_SHOWN_CHANGES = 12
"""Changed documents that the approval of a plan names; the page of the plan has all."""
MAX_OVERVIEW_ROWS = 6
"""Open approvals that the overview shows, with what they are about."""
ListedState = Annotated[str | None, QueryParameter(name="state", enum=[*ApprovalState, "all"])]


async def approval_rows(
    app: Application, identity: Identity, approvals: Sequence[shapes.ApprovalShape]
) -> list[dict[str, Any]]:
    """Return approvals with the persons who may decide, and the reason why this person may not."""
    persons = await app.store.persons()
    names = {key: p.name for p in persons for key in (p.id, p.email)}
    now = await app.now()
    plans = await _plans(app, {approval.run for approval in approvals})
    deciders = Deciders(app.model, persons, await app.store.delegations(), now)
    rows = []
    for approval in approvals:
        decision = pending_of(approval)
        behalf = deciders.giver_for(identity.person, decision)
        rows.append(
            {
                "approval": approval,
                "people": deciders.names_for(decision),
                "names": names,
                "reason": _obstacle(app, identity, approval, now, behalf),
                "behalf": "" if behalf is None else behalf.name,
                "plan": _change(plans[approval.run]) if approval.run in plans else None,
            }
        )
    return rows


async def _plans(app: Application, runs: Iterable[str]) -> dict[str, PlanReport]:
    """Return the plans among what approvals belong to, by their digests."""
    plans: dict[str, PlanReport] = {}
    for digest in sorted(filter(is_of_plan, runs)):
        stored = await app.store.plan(digest)
        report = None if stored is None else read_report(stored)
        plans |= {digest: report} if isinstance(report, PlanReport) else {}
    return plans


def _change(report: PlanReport) -> dict[str, Any]:
    """Return what a plan changes, in words."""
    first = report.differences[:MAX_SHOWN_CHANGES]
    return {
        "changes": [
            {
                "title": f"{filters.words(change.kind)} {change.name} is {change.change}",
                "lines": [*change_lines(change)],
            }
            for change in first
        ],
        "more": len(report.differences) - len(first),
        "impact": [*impact_lines(report.impact)],
    }


async def open_for(app: Application, identity: Identity) -> list[dict[str, Any]]:
    """Return the open approvals that this person may decide now."""
    approvals, _ = await app.views.approvals(ListFilter(state="open", limit=200))
    rows = await approval_rows(app, identity, await with_votes(app, approvals, named=False))
    own = [row for row in rows if not row["reason"]]
    first = {row["approval"].id for row in own[:MAX_OVERVIEW_ROWS]}
    named = {a.id: a for a in await with_votes(app, [a for a in approvals if a.id in first])}
    return [row | {"approval": named.get(row["approval"].id, row["approval"])} for row in own]


def _obstacle(
    app: Application,
    identity: Identity,
    approval: shapes.ApprovalShape,
    now: datetime,
    giver: Person | None = None,
) -> str:
    """Return why this person cannot decide, or an empty text. The store checks the same again.

    `giver` is the person for whom this one may decide it by a delegation.
    """
    person = identity.person
    if approval.state != "open":
        return f"The approval is {approval.state}."
    if approval.expires <= now:
        return "The approval has expired."
    part = part_in_request(approval.requester, approval.senders, person)
    if part is not None:
        did = {"requester": "requested this", "sender": "sent an event behind this"}[part]
        return f"You {did}. Separation of duties: another person must decide."
    if any(person.id in (vote.person, vote.behalf) for vote in approval.votes):
        return "You have voted. Another person's vote is needed."
    entity, today = approval.legal_entity or None, now.date()
    excluded = excluded_role(app.model, person, approval.policy, entity, today)
    if excluded is not None:
        return (
            f"You have the role {filters.words(excluded)}. Separation of duties: another person must decide."
        )
    own = deciding_roles(app.model, person, approval.policy, entity, today) & set(approval.roles)
    if giver is not None:
        if any(giver.id in (vote.person, vote.behalf) for vote in approval.votes):
            return f"{giver.name}, for whom you would decide, has voted. Another person's vote is needed."
    elif not own:
        return f"Decided by: {' or '.join(map(filters.words, approval.roles))}."
    if Permission.APPROVALS_OWN_DECIDE not in identity.may:
        return f"Your roles do not include the permission {Permission.APPROVALS_OWN_DECIDE}."
    return ""


@get("/approvals", opt=requires(Permission.APPROVALS_ANY_READ), include_in_schema=False)
async def approvals_page(
    request: WebRequest,
    cursor: Cursor = None,
    in_state: ListedState = "open",
    sort: ApprovalSort = None,
) -> Response[Any]:
    app, state = application(request), in_state or "all"
    page = sorted_by(list_filter(50, cursor, state="" if state == "all" else state), sort)
    approvals, after = await app.views.approvals(page)
    rows = await approval_rows(app, caller(request), await with_votes(app, approvals))
    if not sort:
        rows.sort(key=lambda row: bool(row["reason"]))
    listed = {"state": "" if state == "all" else state}
    return await render_page(
        request, "approvals.html", several=sum(not row["reason"] for row in rows) > 1, rows=rows, next=after, state=state, filters=listed, sort=sort or "",
        statement=await statement_of(request, app, "approval", page, listed),
    )  # fmt: skip


@post("/approvals/{approval_id:str}", opt=requires(Permission.APPROVALS_OWN_DECIDE), include_in_schema=False)
async def decide_approval(request: WebRequest, approval_id: FromPath[str]) -> Response[Any]:
    async def act(identity: Identity, form: dict[str, str]) -> Response[Any]:
        decision = form.get("decision", "")
        comment = form.get("comment", "").strip()
        if decision not in ("approve", "reject"):
            raise Problem(422, "Choose approve or reject.", field="decision")
        if decision == "reject" and not comment:
            raise Problem(
                422, "Enter a comment: it stays with the decision, for all who read the Run.", field="comment"
            )
        app, subject = application(request), form.get("subject", "")
        person, approve = identity.person.id, decision == "approve"
        note_key: str = await vote(app, approval_id, subject, person, approve, comment)
        approval = await app.store.approval(approval_id)
        if approval is not None and note_key in ("granted", "rejected"):
            note_key = await _note(app, approval, note_key)
        return redirect(f"{safe_path(form.get('back', '/approvals'))}?note={note_key}")

    return await answer_form(
        request, approval_id, Permission.APPROVALS_ANY_READ, act, lambda entry: _show(request, entry)
    )


async def _note(app: Application, approval: Approval, verdict: str) -> str:
    """Return the key of the note that says what a decided approval leads to: of a Run, a match or a plan."""
    if not approval.run:
        return f"match-{verdict}"
    if not is_of_plan(approval.run):
        return verdict
    plan = await app.store.plan(approval.run)
    others = [] if plan is None else await approvals_of(app.views, plan)
    waiting = any(other.state is not ApprovalState.GRANTED for other in others)
    return "plan-counted" if verdict == "granted" and waiting else f"plan-{verdict}"


@get("/approvals/{approval_id:str}", opt=requires(Permission.APPROVALS_ANY_READ), include_in_schema=False)
async def approval_page(request: WebRequest, approval_id: FromPath[str]) -> Response[Any]:
    return await _show(request, FormEntry(approval_id, {}))


async def _show(request: WebRequest, entry: FormEntry) -> Response[Any]:
    """Show one approval, with a form that was refused."""
    app = application(request)
    approval = await app.store.approval(entry.id)
    if approval is None:
        raise Problem(404, f"There is no approval {entry.id[:100]}.")
    rows = await approval_rows(app, caller(request), await with_votes(app, [approval]))
    back = safe_path(entry.values.get("back", "/approvals"))
    return await render_page(request, "approval.html", entry.status, row=rows[0], back=back, entry=entry)


ROUTES = [approvals_page, approval_page, decide_approval]
