"""The page of unmatched items, and the forms that pair, unpair and waive."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from litestar import get, post
from litestar.params import FromPath
from litestar.response import Response

from counterfoil.application import Application
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.money import Money
from counterfoil.core.terms import rules_for
from counterfoil.store.port.views import ListFilter
from counterfoil.web.api import shapes
from counterfoil.web.api.match_words import difference_text, explain_item, total_text
from counterfoil.web.api.matches import MatchDecided, decide_pair, decide_waive
from counterfoil.web.api.queries import Cursor, Text, item_filter
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.request import WebRequest, application, requires
from counterfoil.web.pages.rendering import posted_form, redirect, render_page, safe_path, search_texts

MAX_CHOICES = 25
"""Counterfoils that an item's form offers: those with the nearest amounts."""
MAX_SEARCHED_FOILS = 200
"""Newest counterfoils of each state of a reconciliation that the forms choose from."""
_PAIRABLE = ("open", "partly", "broken", "provisional")


@get("/unmatched", opt=requires(Permission.FOILS_ANY_READ), include_in_schema=False)
async def unmatched_page(
    request: WebRequest,
    cursor: Cursor = None,
    rule: Text = None,
    system: Text = None,
    owner: Text = None,
    entity: Text = None,
    key: Text = None,
) -> Response[Any]:
    app = application(request)
    search = search_texts(rule=rule, system=system, owner=owner, entity=entity, key=key)
    page = item_filter(50, cursor, **search)
    rows, after = await app.views.unmatched(page)
    now = await app.now()
    foils = {rule: await _open_foils(app, rule) for rule in sorted({row.item.rule for row in rows})}
    return await render_page(
        request,
        "unmatched.html",
        rows=[
            {
                "item": shapes.item_shape(row, now),
                "since": row.item.since,
                "reason": explain_item(row.item, *_systems(app, row.item)),
                "choices": _choices(row.item, foils[row.item.rule]),
            }
            for row in rows
        ],
        sums=_sums(row.item for row in rows),
        next=after,
        search=search,
        rules=sorted(app.model.reconciliations),
        first=page.cursor is None,
    )


def _systems(app: Application, item: Observation) -> tuple[str, str]:
    """Return the left and the right system of an item's reconciliation."""
    rule = app.model.reconciliations.get(item.rule)
    return ("the other system", item.system) if rule is None else (rule.left, rule.right)


def _sums(items: Iterable[Observation]) -> list[shapes.Amount]:
    sums: dict[str, int] = {}
    for item in items:
        for money in item.money:
            sums[money.currency] = sums.get(money.currency, 0) + money.minor
    return [shapes.amount(Money(minor, currency)) for currency, minor in sorted(sums.items())]


async def _open_foils(app: Application, rule: str) -> list[Foil]:
    """Return counterfoils of a reconciliation that an item could answer."""
    foils: list[Foil] = []
    for state in _PAIRABLE:
        rows, _ = await app.views.foils(ListFilter(rule=rule, state=state, limit=MAX_SEARCHED_FOILS))
        foils += rows
    return [foil for foil in foils if any(foil.residual.values())]


def _choices(item: Observation, foils: list[Foil]) -> list[dict[str, str]]:
    """Return the counterfoils whose open amount is nearest to an item, with the words of each."""
    nearest = sorted(foils, key=lambda foil: (*_distance(item, foil), foil.due, foil.id))
    return [
        {"id": foil.id, "words": f"{foil.document}: {total_text(foil)} ({_owed(foil)}), due {foil.due:%Y-%m-%d}"}
        for foil in nearest[:MAX_CHOICES]
    ]  # fmt: skip


def _owed(foil: Foil) -> str:
    return "nothing shown yet" if not foil.partners else difference_text(foil)


def _distance(item: Observation, foil: Foil) -> tuple[bool, int]:
    """Return how far an item's total is from what is missing: another currency or entity comes last."""
    leg = rules_for(foil.terms, (foil.legs,)).total or ""
    missing, total = foil.open_money, item.legs.get(leg)
    if not missing or not isinstance(total, Money):
        return True, 0
    other = missing[0].currency != total.currency or item.entity != foil.entity
    return other, abs(missing[0].minor - total.minor)


@post("/unmatched/{item_id:str}/pair", opt=requires(Permission.FOILS_ANY_PAIR), include_in_schema=False)
async def pair_form(request: WebRequest, item_id: FromPath[str]) -> Response[Any]:
    identity, form = await posted_form(request)
    if not form.get("foil"):
        raise Problem(422, "Choose the counterfoil that the item answers.")
    app = application(request)
    person, note = identity.person.id, form.get("note", "")
    decided = await decide_pair(app, "pair", item_id, form["foil"], person, note)
    return _back(form, "/unmatched", decided, "paired")


@post("/unmatched/{item_id:str}/unpair", opt=requires(Permission.FOILS_ANY_UNPAIR), include_in_schema=False)
async def unpair_form(request: WebRequest, item_id: FromPath[str]) -> Response[Any]:
    identity, form = await posted_form(request)
    app = application(request)
    person, note = identity.person.id, form.get("note", "")
    decided = await decide_pair(app, "unpair", item_id, form.get("foil", ""), person, note)
    return _back(form, "/unmatched", decided, "unpaired")


@post("/foils/{foil_id:str}/waive", opt=requires(Permission.FOILS_ANY_WAIVE), include_in_schema=False)
async def waive_form(request: WebRequest, foil_id: FromPath[str]) -> Response[Any]:
    identity, form = await posted_form(request)
    decided = await decide_waive(application(request), foil_id, identity.person.id, form.get("note", ""))
    return _back(form, f"/foils/{foil_id}", decided, "waived")


def _back(form: dict[str, str], path: str, decided: MatchDecided, done: str) -> Response[Any]:
    note = done if decided.verdict == "done" else "requested"
    return redirect(f"{safe_path(form.get('back', path))}?note={note}")


ROUTES = [unmatched_page, pair_form, unpair_form, waive_form]
