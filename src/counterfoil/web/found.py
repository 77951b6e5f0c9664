"""Finding single rows through lists: the views filter and page, and have no read by id."""

from __future__ import annotations

from counterfoil.core.approval import Approval
from counterfoil.store.store import CaseTarget, Page
from counterfoil.web.ports import App

_PAGE = 200
_PAGES = 250
"""50,000 rows are looked through, newest first; older ones are named by their Run."""


async def approval_by_id(app: App, id_: str) -> Approval | None:
    """Open ones first: those are what people ask for."""
    for state in ("open", None):
        cursor: str | None = None
        for _ in range(_PAGES):
            rows, cursor = await app.views.approvals(Page(state=state, limit=_PAGE, cursor=cursor))
            found = next((row for row in rows if row.id == id_), None)
            if found is not None or cursor is None:
                if found is not None:
                    return found
                break
    return None


async def case_by_id(app: App, id_: str) -> CaseTarget | None:
    for state in ("open", None):
        cursor: str | None = None
        for _ in range(_PAGES):
            rows, cursor = await app.views.cases(Page(state=state, limit=_PAGE, cursor=cursor))
            found = next((row for row in rows if row.case.id == id_), None)
            if found is not None:
                return found
            if cursor is None:
                break
    return None
