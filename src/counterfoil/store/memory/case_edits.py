"""Specification of edits of Cases: assignee, comments, tags and snooze."""

from __future__ import annotations

from counterfoil.core.case_edits import EDIT_NAMES, CommentCase, comment_of, edit_body, edited
from counterfoil.store.memory.notices import put_notices
from counterfoil.store.memory.refusals import refuse
from counterfoil.store.memory.registry import memory
from counterfoil.store.memory.tables import Tables
from counterfoil.store.port.case_edits import EditCase, EditCaseResult


@memory(EditCase)
def edit_case(db: Tables, t: EditCase) -> EditCaseResult:
    case = db.cases.get(t.case)
    if case is None:
        return EditCaseResult(verdict="not_found")
    comments = [c for c in db.case_comments.values() if c.about == case.id]
    comments.sort(key=lambda c: (c.at, c.id))
    receiver = db.persons.get(t.receiver) if t.receiver else None
    if (refusal := t.refusal(case, db.persons.get(t.person), receiver, comments)) is not None:
        refuse(db, t.refused(refusal, case.run))
        return EditCaseResult(verdict=refusal)
    if t.is_same(case, comments):
        return EditCaseResult(verdict="same")
    comment = None
    if isinstance(t.edit, CommentCase):
        comment = comment_of(case, t.person, t.edit.text, t.at, len(comments))
        db.put(db.case_comments, comment.id, comment)
    else:
        case = edited(case, t.edit)
        db.put(db.cases, case.id, case)
    body = edit_body(case, t.edit, comment)
    db.leaf(EDIT_NAMES[type(t.edit)], case.id, t.at, f"person:{t.person}", body, run=case.run)
    if t.notice is not None:
        put_notices(db, [t.notice], t.at)
    return EditCaseResult(verdict="done")
