"""Edits of Cases: assignee, comments, tags and snooze."""

from __future__ import annotations

from counterfoil.core.case_edits import EDIT_NAMES, CommentCase, comment_of, edit_body, edited
from counterfoil.store.port.case_edits import EditCase, EditCaseResult
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.registry import sql
from counterfoil.store.sql.transaction import Tx
from counterfoil.store.sql.verbs.notices import put_notices
from counterfoil.store.sql.verbs.people import CASE, person
from counterfoil.store.sql.verbs.refusals import refuse

COMMENTS = f"{t.CASE_COMMENT.select} where about = $1 order by at, id"


@sql(EditCase)
async def edit_case(x: Tx, e: EditCase) -> EditCaseResult:
    """Record one edit. Two at once wait for each other on the row of the Case."""
    row = await x.one(f"{CASE} for update", e.case)
    if row is None:
        return EditCaseResult(verdict="not_found")
    case = t.CASE.read(row)
    is_comment = isinstance(e.edit, CommentCase)
    comments = [t.CASE_COMMENT.read(r) for r in await x.rows(COMMENTS, case.id)] if is_comment else []
    editor = await person(x, e.person)
    receiver = await person(x, e.receiver) if e.receiver else None
    if (refusal := e.refusal(case, editor, receiver, comments)) is not None:
        await refuse(x, e.refused(refusal, case.run))
        return EditCaseResult(verdict=refusal)
    if e.is_same(case, comments):
        return EditCaseResult(verdict="same")
    comment = None
    if isinstance(e.edit, CommentCase):
        comment = comment_of(case, e.person, e.edit.text, e.at, len(comments))
        await x.insert(t.CASE_COMMENT, [t.CASE_COMMENT.row(comment)])
    else:
        case = edited(case, e.edit)
        saved = dict(zip(t.CASE.columns, t.CASE.row(case), strict=True))
        statement = """
        update case_ set assignee = $2, tags = $3, snoozed_until = $4, snooze_reason = $5 where id = $1
        """
        names = ("id", "assignee", "tags", "snoozed_until", "snooze_reason")
        await x.rows(statement, *(saved[name] for name in names))
    body = edit_body(case, e.edit, comment)
    x.leaf(EDIT_NAMES[type(e.edit)], case.id, e.at, f"person:{e.person}", body, run=case.run)
    if e.notice is not None:
        await put_notices(x, [e.notice], e.at)
    return EditCaseResult(verdict="done")
