"""Pages of reconciliations: all of them, one with its roll-forward, and one checkpoint with the form that signs it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

from litestar import get, post
from litestar.params import FromPath
from litestar.response import Response

from counterfoil.application import Application
from counterfoil.core.book_checkpoint import BookCheckpoint, CheckpointState
from counterfoil.core.foil import Foil
from counterfoil.core.money import Money
from counterfoil.core.roll_forward import roll_forward
from counterfoil.core.sweep import Sweep
from counterfoil.flow.worker.book_listing import CheckpointRefused
from counterfoil.model import kinds
from counterfoil.store.port.views import ItemRow, ListFilter
from counterfoil.web.api import shapes
from counterfoil.web.api.book_checkpoints import MAX_NOTE_CHARS, known_checkpoint
from counterfoil.web.api.checkpoint_shapes import checkpoint_shape
from counterfoil.web.api.match_words import system_title
from counterfoil.web.api.matches import checked_note
from counterfoil.web.api.pair_words import group_effect
from counterfoil.web.api.pairs import DocumentGroup, chosen_group, decide_group
from counterfoil.web.api.queries import foil_shapes, item_filter, item_shapes
from counterfoil.web.api.roll_forward import line_shape
from counterfoil.web.http.identity import Identity
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.request import WebRequest, application, requires
from counterfoil.web.pages.forms import FormEntry, answer_form, ask_again, is_confirmed, is_taken_back
from counterfoil.web.pages.rendering import redirect, render_page

MAX_OPEN_ROWS = 10
"""Open documents of each side that the page of a reconciliation lists; the others are on their own pages."""
PAIRS = "pairs"
"""Name of the form that pairs documents, beside the others of the page of a reconciliation."""
FOIL_FIELD, ITEM_FIELD = "foil:", "item:"
"""Beginnings of the names of the boxes by which a person chooses documents."""
_MISSING = ("broken", "over", "partly", "open")


@get("/reconciliations", opt=requires(Permission.FOILS_ANY_READ), include_in_schema=False)
async def reconciliations_page(request: WebRequest) -> Response[Any]:
    app = application(request)
    rows = []
    for name, rule in sorted(app.model.reconciliations.items()):
        checkpoints = await app.checkpoints.all_of(name, app.scope)
        sweeps = await app.sweeps.latest(app.model, rule, app.scope)
        rows.append({"rule": rule, "checkpoints": _newest(app, checkpoints), "read": _oldest_end(sweeps)})
    return await render_page(request, "reconciliations.html", rows=rows)


@get("/reconciliations/{name:str}", opt=requires(Permission.FOILS_ANY_READ), include_in_schema=False)
async def reconciliation_page(request: WebRequest, name: FromPath[str]) -> Response[Any]:
    return await _show_reconciliation(request, name, FormEntry(name, {}))


@post("/reconciliations/{name:str}/sweep", opt=requires(Permission.FOILS_ANY_SWEEP), include_in_schema=False)
async def sweep_form(request: WebRequest, name: FromPath[str]) -> Response[Any]:
    async def act(identity: Identity, form: dict[str, str]) -> Response[Any]:
        app = application(request)
        await app.sweeps.request(app.model, _rule(app, name), app.scope, identity.person.id)
        return redirect(f"/reconciliations/{name}?note=reading")

    return await answer_form(
        request,
        name,
        Permission.FOILS_ANY_READ,
        act,
        lambda entry: _show_reconciliation(request, name, entry),
    )


@post(
    "/reconciliations/{name:str}/checkpoints",
    opt=requires(Permission.CHECKPOINTS_ANY_PREPARE),
    include_in_schema=False,
)
async def prepare_form(request: WebRequest, name: FromPath[str]) -> Response[Any]:
    async def act(identity: Identity, form: dict[str, str]) -> Response[Any]:
        app = application(request)
        try:
            at = date.fromisoformat(form.get("at", ""))
        except ValueError:
            raise Problem(422, "Enter the last day that counts, such as 2026-11-30.", field="at") from None
        try:
            rows = await app.checkpoints.prepare(_rule(app, name), at, None, app.scope, identity.person.id)
        except CheckpointRefused as error:
            raise Problem(409, str(error)) from None
        if not rows:
            raise Problem(409, f"No document is dated up to {at}, so there is nothing to sign.", field="at")
        place = f"/checkpoints/{rows[0].id}" if len(rows) == 1 else f"/reconciliations/{name}"
        return redirect(f"{place}?note=prepared")

    return await answer_form(
        request,
        name,
        Permission.FOILS_ANY_READ,
        act,
        lambda entry: _show_reconciliation(request, name, entry),
    )


@get("/checkpoints/{checkpoint_id:str}", opt=requires(Permission.FOILS_ANY_READ), include_in_schema=False)
async def checkpoint_page(request: WebRequest, checkpoint_id: FromPath[str]) -> Response[Any]:
    return await _show_checkpoint(request, checkpoint_id, FormEntry(checkpoint_id, {}))


@post(
    "/checkpoints/{checkpoint_id:str}/sign",
    opt=requires(Permission.CHECKPOINTS_ANY_SIGN),
    include_in_schema=False,
)
async def sign_form(request: WebRequest, checkpoint_id: FromPath[str]) -> Response[Any]:
    async def act(identity: Identity, form: dict[str, str]) -> Response[Any]:
        app = application(request)
        row = await known_checkpoint(app, checkpoint_id)
        try:
            await app.checkpoints.sign(row.id, identity.person.id, form.get("note", "")[:MAX_NOTE_CHARS])
        except CheckpointRefused as error:
            raise Problem(409, str(error)) from None
        return redirect(f"/checkpoints/{row.id}?note=signed")

    return await answer_form(
        request,
        checkpoint_id,
        Permission.FOILS_ANY_READ,
        act,
        lambda entry: _show_checkpoint(request, checkpoint_id, entry),
    )


@post("/reconciliations/{name:str}/pair", opt=requires(Permission.FOILS_ANY_PAIR), include_in_schema=False)
async def pair_group_form(request: WebRequest, name: FromPath[str]) -> Response[Any]:
    """Pair the chosen documents. The form is sent twice: the page between shows the sums of both sides."""

    async def show(entry: FormEntry) -> Response[Any]:
        return await _show_reconciliation(request, name, entry)

    async def act(identity: Identity, form: dict[str, str]) -> Response[Any]:
        if is_taken_back(form):
            return await show(FormEntry(PAIRS, form))
        app = application(request)
        items, foils = _chosen(form, ITEM_FIELD), _chosen(form, FOIL_FIELD)
        group, note = await chosen_group(app, items, foils), checked_note(form.get("note", ""))
        if not is_confirmed(form):
            return await _ask_about(request, form, group)
        decided = await decide_group(app, items, foils, identity.person.id, note)
        return redirect(
            f"/reconciliations/{name}?note={'paired' if decided.verdict == 'done' else 'requested'}"
        )

    return await answer_form(request, PAIRS, Permission.FOILS_ANY_READ, act, show)


async def _ask_about(request: WebRequest, form: dict[str, str], group: DocumentGroup) -> Response[Any]:
    """Return the page that shows the sums of both sides and what they differ by."""
    app, foil = application(request), group.foils[0]
    rows = await foil_shapes(app, group.foils)
    items = await item_shapes(app, [ItemRow(item=item) for item in group.items], await app.now())
    match = (await app.views.matches_of([(foil.rule, foil.key)]))[0]
    left, right = system_title(foil.left), system_title(foil.right)
    return await ask_again(
        request,
        form,
        title="Pair these documents?",
        facts={
            left: ", ".join(
                f"{row.name or row.document} {_money(of.open_money)}"
                for row, of in zip(rows, group.foils, strict=True)
            ),
            right: ", ".join(
                f"{row.name or row.document} {_money(of.money)}"
                for row, of in zip(items, group.items, strict=True)
            ),
            f"still missing in {right}": _money(group.missing),
            f"sum of {right}": _money(group.observed),
            "difference": _money(group.difference),
            "reason": form.get("note", ""),
        },
        yes="Yes, pair them",
        effect=f"{_money(group.missing)} less {_money(group.observed)} leaves {_money(group.difference)}. "
        + group_effect(group.items, group.foils, match, await app.now()),
    )


def _money(amounts: Iterable[Money]) -> str:
    return ", ".join(amount.grouped() for amount in amounts) or "0.00"


def _chosen(form: dict[str, str], field: str) -> list[str]:
    """Return the ids whose boxes are ticked: each box has a name of its own, which says what it stands for."""
    return [name.removeprefix(field) for name in form if name.startswith(field)]


async def _show_reconciliation(request: WebRequest, name: str, entry: FormEntry) -> Response[Any]:
    """Show what the two systems differ by now, the readings of their books, and the checkpoints."""
    app = application(request)
    rule = _rule(app, name)
    now = await app.now()
    rows = [(match.rule, match.rows) for match in await app.views.matches_of_rule(name, now)]
    lines = [line_shape(line) for line in roll_forward(rows, now, None, None)]
    by_entity = {each: [line for line in lines if line.entity == each] for each in _entities(lines)}
    return await render_page(
        request,
        "reconciliation.html",
        entry.status,
        rule=rule,
        by_entity=by_entity,
        missing=await _missing(app, name),
        surplus=await _surplus(app, name),
        most=MAX_OPEN_ROWS,
        sweeps=await app.sweeps.latest(app.model, rule, app.scope),
        checkpoints=[_shape(app, row) for row in await app.checkpoints.all_of(name, app.scope)],
        last_month_end=now.date().replace(day=1) - timedelta(days=1),
        today=app.checkpoints.last_day(now, None, app.scope),
        names=await _names(app),
        entry=entry,
    )


async def _missing(app: Application, rule: str) -> list[Any]:
    """Return the newest counterfoils that the right system has not shown as asserted; breaks first."""
    foils: list[Foil] = []
    for state in _MISSING:
        page = ListFilter(rule=rule, state=state, limit=MAX_OPEN_ROWS - len(foils))
        foils += (await app.views.foils(page))[0] if page.limit else []
    rows = zip(await foil_shapes(app, foils), foils, strict=True)
    return [{"foil": row, "money": shapes.amounts(foil.open_money or foil.difference)} for row, foil in rows]


async def _surplus(app: Application, rule: str) -> list[Any]:
    """Return the newest documents of the right system that no counterfoil accounts for."""
    rows, _ = await app.views.unmatched(item_filter(MAX_OPEN_ROWS, None, rule=rule))
    items = zip(await item_shapes(app, rows, await app.now()), rows, strict=True)
    return [{"item": item, "money": shapes.amounts(row.item.money)} for item, row in items]


async def _show_checkpoint(request: WebRequest, id_: str, entry: FormEntry) -> Response[Any]:
    app = application(request)
    row = await known_checkpoint(app, id_)
    changes, rule = await app.checkpoints.changes(row), app.model.reconciliations.get(row.rule)
    return await render_page(
        request,
        "checkpoint.html",
        entry.status,
        checkpoint=checkpoint_shape(row, app.model, app.scope, changes),
        left="the left system" if rule is None else rule.left,
        right="the right system" if rule is None else rule.right,
        known_at=row.known,
        prepared_at=row.prepared_at,
        signed_at=row.signed_at,
        names=await _names(app),
        entry=entry,
    )


def _rule(app: Application, name: str) -> kinds.Reconciliation:
    rule = app.model.reconciliations.get(name)
    if rule is None:
        raise Problem(404, f"There is no reconciliation {name[:100]}.")
    return rule


def _shape(app: Application, row: BookCheckpoint) -> Any:
    return checkpoint_shape(row, app.model, app.scope)


def _newest(app: Application, rows: Iterable[BookCheckpoint]) -> list[Any]:
    """Return the newest signed checkpoint of each legal entity, or the prepared one where none is signed."""
    newest: dict[str, BookCheckpoint] = {}
    for row in rows:  # latest cut-off first
        former = newest.get(row.entity)
        if former is None or (
            former.state is not CheckpointState.SIGNED and row.state is CheckpointState.SIGNED
        ):
            newest[row.entity] = row
    return [_shape(app, row) for _, row in sorted(newest.items())]


def _oldest_end(sweeps: Iterable[Sweep]) -> Any:
    """Return since when every book that was ever read has been read; None if a book was not read to its end."""
    ends = [sweep.ended_at for sweep in sweeps]
    return None if not ends or None in ends else min(end for end in ends if end is not None)


def _entities(lines: Iterable[Any]) -> list[str]:
    return sorted({line.entity for line in lines})


async def _names(app: Application) -> dict[str, str]:
    return {person.id: person.name for person in await app.store.persons()}


ROUTES = [
    reconciliations_page,
    reconciliation_page,
    sweep_form,
    prepare_form,
    pair_group_form,
    checkpoint_page,
    sign_form,
]
