"""Finding what people ask for: single rows through lists, which have no read by id, and Runs by any system's id."""

from __future__ import annotations

from collections.abc import Sequence

from counterfoil.core.approval import Approval
from counterfoil.store.port.views import CaseTarget, ListFilter, RunRow
from counterfoil.web.http.ports import App

_PAGE = 200
_PAGES = 250
"""50,000 rows are looked through, newest first; older ones are named by their Run."""


async def approval_by_id(app: App, id_: str) -> Approval | None:
    """Open ones first: those are what people ask for."""
    for state in ("open", None):
        cursor: str | None = None
        for _ in range(_PAGES):
            rows, cursor = await app.views.approvals(ListFilter(state=state, limit=_PAGE, cursor=cursor))
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
            rows, cursor = await app.views.cases(ListFilter(state=state, limit=_PAGE, cursor=cursor))
            found = next((row for row in rows if row.case.id == id_), None)
            if found is not None:
                return found
            if cursor is None:
                break
    return None


_NAMES = ("number", "legal_name", "name", "title")
"""Fields by which people know an object."""


async def runs_of(app: App, page: ListFilter) -> tuple[list[RunRow], str | None]:
    """A page of Runs. Where no Run has the key, it is taken for an id that some system gave to an object."""
    rows, after = await app.views.runs(page)
    if rows or page.key is None or page.cursor is not None:
        return rows, after
    found: dict[str, RunRow] = {}
    for canonical in await _meant(app, page.key):
        more, _ = await app.views.runs(
            ListFilter(
                limit=page.limit, status=page.status, state=page.state, workflow=page.workflow, key=canonical
            )
        )
        found.update({row.run.id: row for row in more})
    return list(found.values())[: page.limit], None


async def _meant(app: App, ext_id: str) -> Sequence[str]:
    """Canonical ids of the objects that a system knows by this id."""
    keys: dict[str, None] = {}
    for object_ in app.model.objects:
        for name, system in app.model.systems.items():
            for account in dict.fromkeys(("", system.account)):
                link = await app.store.link_by_ext(object_, name, ext_id, account)
                if link is not None:
                    keys[link.canonical] = None
    return list(keys)


async def name_of(app: App, key: str) -> str:
    """What people call the object that a Run is about: its number or name where we hold one, else nothing."""
    prefix = key.partition("_")[0]
    for object_ in app.model.objects:
        if object_[:4] == prefix:
            head = await app.store.head(object_, key)
            for field in _NAMES:
                if head is not None and isinstance(head.state.get(field), str) and head.state[field]:
                    return str(head.state[field])
    return ""
