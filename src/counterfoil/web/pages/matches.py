"""The page of unmatched items, and the forms that pair, unpair and waive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from litestar import get, post
from litestar.params import FromPath
from litestar.response import Response

from counterfoil.core.foil import Foil, Observation
from counterfoil.core.money import Money
from counterfoil.core.suggestions import Suggestion, suggestions
from counterfoil.core.terms import rules_for
from counterfoil.store.port.documents import observations_of
from counterfoil.store.port.views import ItemRow
from counterfoil.web.api.match_requests import open_requests
from counterfoil.web.api.match_words import (
    difference_text,
    explain_item,
    item_systems,
    system_title,
    total_text,
)
from counterfoil.web.api.matches import MatchDecided, checked_note, decide_pair, decide_waive
from counterfoil.web.api.names import DocumentName, NameReader
from counterfoil.web.api.pair_words import missing_text, pair_effect
from counterfoil.web.api.queries import (
    Cursor,
    ItemSort,
    Text,
    item_filter,
    item_shapes,
    of_entity,
    sorted_by,
    with_votes,
)
from counterfoil.web.api.statements import ListStatement, statement_of
from counterfoil.web.api.suggestions import open_foils, pairs_before
from counterfoil.web.http.identity import Identity
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.request import WebRequest, application, caller, requires
from counterfoil.web.pages.approvals import approval_rows
from counterfoil.web.pages.foils import money_sums, show_foil
from counterfoil.web.pages.forms import FormEntry, answer_form, ask_again, is_confirmed, is_taken_back
from counterfoil.web.pages.rendering import redirect, render_page, safe_path, search_texts

MAX_CHOICES = 25
"""Counterfoils that an item's form offers: those with the nearest amounts."""


@get("/unmatched", opt=requires(Permission.FOILS_ANY_READ), include_in_schema=False)
async def unmatched_page(
    request: WebRequest,
    cursor: Cursor = None,
    rule: Text = None,
    system: Text = None,
    owner: Text = None,
    entity: Text = None,
    key: Text = None,
    sort: ItemSort = None,
) -> Response[Any]:
    app = application(request)
    search = search_texts(rule=rule, system=system, owner=owner, entity=entity, key=key)
    filters = {name: text for name, text in search.items() if name != "entity"}
    page = sorted_by(of_entity(app, item_filter(50, cursor, **filters), search["entity"]), sort)
    rows, after = await app.views.unmatched(page)
    statement = await statement_of(request, app, "observation", page, search)
    return await _render(request, rows, after, search, statement=statement, sort=sort or "-created")


async def _render(
    request: WebRequest,
    rows: Sequence[ItemRow],
    after: str | None,
    search: dict[str, str],
    entry: FormEntry | None = None,
    statement: ListStatement | None = None,
    sort: str = "-created",
) -> Response[Any]:
    app = application(request)
    now = await app.now()
    waiting = await _requested(request, {row.item.id for row in rows})
    likely: dict[str, dict[str, Suggestion]] = {}
    nearest: dict[str, list[Foil]] = {}
    for rule in sorted({row.item.rule for row in rows}):
        items = [row.item for row in rows if row.item.rule == rule]
        foils, pairs = await open_foils(app, rule), await pairs_before(app, items)
        for item in items:
            likely[item.id] = {s.foil: s for s in suggestions(item, foils, pairs)}
            nearest[item.id] = _nearest(item, foils, likely[item.id])
    names = await NameReader(app).foils(foil for choices in nearest.values() for foil in choices)
    return await render_page(
        request,
        "unmatched.html",
        200 if entry is None else entry.status,
        rows=[
            {
                "item": shape,
                "since": row.item.since,
                "reason": explain_item(row.item, *item_systems(row.item, app.model.reconciliations)),
                "approvals": waiting.get(row.item.id, []),
                "choices": [
                    _choice(foil, names[foil.id], likely[row.item.id].get(foil.id))
                    for foil in nearest[row.item.id]
                ],
            }
            for row, shape in zip(rows, await item_shapes(app, rows, now), strict=True)
        ],
        sums=money_sums(row.item for row in rows),
        next=after,
        statement=statement,
        search=search,
        sort=sort,
        rules=sorted(app.model.reconciliations),
        entry=entry,
    )


async def _requested(request: WebRequest, items: set[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the approvals that pairs of these items wait for, by item."""
    app = application(request)
    requests = [(a, item) for a, d in await open_requests(app) for item in observations_of(d)]
    approvals = [approval for approval, item in requests if item in items]
    rows = await approval_rows(app, caller(request), await with_votes(app, approvals))
    waiting: dict[str, list[dict[str, Any]]] = {}
    for approval, item in requests:
        waiting.setdefault(item, []).extend(row for row in rows if row["approval"].id == approval.id)
    return waiting


async def _show(request: WebRequest, entry: FormEntry) -> Response[Any]:
    """Show the page of a refused form: the item alone, or the counterfoil if the form was sent from its page."""
    back = entry.values.get("back", "")
    if back.startswith("/foils/"):
        return await show_foil(request, back.removeprefix("/foils/"), entry)
    item = await application(request).store.observation(entry.id)
    if item is None:
        raise Problem(404, f"There is no item {entry.id[:100]}.")
    return await _render(
        request,
        [ItemRow(item=item)],
        None,
        search_texts(rule="", system="", owner="", entity="", key=""),
        entry,
    )


def _nearest(item: Observation, foils: list[Foil], likely: Mapping[str, Suggestion]) -> list[Foil]:
    """Return the likeliest counterfoils, then those whose open amount is nearest to an item."""
    scores = {id_: -suggestion.score for id_, suggestion in likely.items()}
    return sorted(
        foils, key=lambda foil: (scores.get(foil.id, 0), *_distance(item, foil), foil.due, foil.id)
    )[:MAX_CHOICES]


def _choice(foil: Foil, name: DocumentName, suggestion: Suggestion | None) -> dict[str, str]:
    """Return a counterfoil as a choice of a form: customer, document, amount, what is owed, and why it is likely."""
    document = ", ".join(dict.fromkeys(filter(None, (name.customer, name.name or foil.number))))
    likely = "" if suggestion is None else f" - likely: {', '.join(suggestion.reasons)}"
    return {
        "id": foil.id,
        "words": f"{document}: {total_text(foil)} ({_owed(foil)}), due {foil.due:%Y-%m-%d}{likely}",
    }


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
    async def act(identity: Identity, form: dict[str, str]) -> Response[Any]:
        if not form.get("foil"):
            raise Problem(422, "Choose the counterfoil that the item answers.", field="foil")
        if is_taken_back(form):
            return await _show(request, FormEntry(item_id, form))
        person, note = identity.person.id, checked_note(form.get("note", ""))
        if not is_confirmed(form) and (question := await _pair_question(request, item_id, form)) is not None:
            return question
        decided = await decide_pair(application(request), "pair", item_id, form["foil"], person, note)
        return _back(form, "/unmatched", decided, "paired")

    return await answer_form(
        request, item_id, Permission.FOILS_ANY_READ, act, lambda entry: _show(request, entry)
    )


async def _pair_question(request: WebRequest, item_id: str, form: dict[str, str]) -> Response[Any] | None:
    """Return the page that asks again because the documents differ; None if they agree."""
    app = application(request)
    item, foil = await app.store.observation(item_id), await app.store.foil(form["foil"])
    if item is None or foil is None or item.rule != foil.rule:
        return None
    match = (await app.views.matches_of([(foil.rule, foil.key)]))[0]
    effect = pair_effect(item, foil, match, await app.now())
    if not effect:
        return None
    name = (await NameReader(app).foils([foil]))[foil.id]
    facts = {
        "item": f"{item.number}, {total_text(item)}",
        "customer": name.customer,
        "counterfoil": f"{foil.object} {name.name or foil.number}, {total_text(foil)}",
        "still missing": missing_text(foil),
        "reason": form.get("note", ""),
    }
    return await ask_again(
        request, form, title="Pair documents that differ?", facts=facts, yes="Yes, pair them",
        effect=effect,
    )  # fmt: skip


@post("/unmatched/{item_id:str}/unpair", opt=requires(Permission.FOILS_ANY_UNPAIR), include_in_schema=False)
async def unpair_form(request: WebRequest, item_id: FromPath[str]) -> Response[Any]:
    async def act(identity: Identity, form: dict[str, str]) -> Response[Any]:
        person, note = identity.person.id, form.get("note", "")
        foil = form.get("foil", "")
        decided = await decide_pair(application(request), "unpair", item_id, foil, person, note)
        return _back(form, "/unmatched", decided, "unpaired")

    return await answer_form(
        request, item_id, Permission.FOILS_ANY_READ, act, lambda entry: _show(request, entry)
    )


@post("/foils/{foil_id:str}/waive", opt=requires(Permission.FOILS_ANY_WAIVE), include_in_schema=False)
async def waive_form(request: WebRequest, foil_id: FromPath[str]) -> Response[Any]:
    """Accept a difference. The form is sent twice: the page between says how much money is given away."""

    async def show(entry: FormEntry) -> Response[Any]:
        return await show_foil(request, foil_id, entry)

    async def act(identity: Identity, form: dict[str, str]) -> Response[Any]:
        if is_taken_back(form):
            return await show(FormEntry(foil_id, form))
        app, note = application(request), checked_note(form.get("note", ""))
        foil = await app.store.foil(foil_id)
        if foil is not None and not is_confirmed(form) and any(foil.residual.values()):
            difference = difference_text(foil)
            name = (await NameReader(app).foils([foil]))[foil.id]
            document = f"{foil.object} {name.name or foil.number}, {total_text(foil)}"
            facts = {"customer": name.customer} if name.customer else {}
            facts |= {"counterfoil": document, "reason": note}
            return await ask_again(
                request, form, title="Accept the difference?", facts=facts, yes="Yes, accept the difference",
                effect=f"{system_title(foil.right)} shows {difference}. No one has to post that any more.",
            )  # fmt: skip
        decided = await decide_waive(app, foil_id, identity.person.id, note)
        return _back(form, f"/foils/{foil_id}", decided, "waived")

    return await answer_form(request, foil_id, Permission.FOILS_ANY_READ, act, show)


def _back(form: dict[str, str], path: str, decided: MatchDecided, done: str) -> Response[Any]:
    note = done if decided.verdict == "done" else "requested"
    return redirect(f"{safe_path(form.get('back', path))}?note={note}")


ROUTES = [unmatched_page, pair_form, unpair_form, waive_form]
