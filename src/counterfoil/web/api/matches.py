"""Unmatched items, and decisions of persons on matches: pair, unpair and waive."""

from __future__ import annotations

from typing import Literal, TypeVar

import msgspec
from litestar import get, post
from litestar.params import FromPath
from litestar.response import Response

from counterfoil.application import Application
from counterfoil.core.approval import ApprovalState
from counterfoil.core.foil import Foil
from counterfoil.core.settle import holds
from counterfoil.flow.runs.match_decisions import MatchAnswer
from counterfoil.web.api import shapes
from counterfoil.web.api.as_of import EffectiveText, KnownText, items_as_of, question_of
from counterfoil.web.api.decisions import MAX_NOTE_CHARS
from counterfoil.web.api.queries import (
    Cursor,
    ItemSort,
    Limit,
    Text,
    item_filter,
    item_shapes,
    of_entity,
    sorted_by,
)
from counterfoil.web.api.statements import ListStatement, statement_of
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.request import (
    JSON,
    MaskedResponse,
    RequestBody,
    WebRequest,
    application,
    decode_json,
    require_json,
    requires,
    trusted_caller,
)

S = TypeVar("S", bound=msgspec.Struct)
Action = Literal["pair", "unpair", "waive"]
_REFUSALS: dict[str, tuple[int, str, str]] = {
    "changed": (
        409,
        "changed",
        "The documents changed since you opened {id}. Review them again before you decide.",
    ),
    "settled": (409, "settled", "There is nothing to decide: {settled}."),
    "differs": (
        409,
        "differs",
        "{id} differs in more than amounts, which a waiver cannot accept. Correct one of its documents.",
    ),
    "cap": (409, "cap", "With {id}, more would be accepted this month than the reconciliation allows."),
    "shape": (409, "changed", "The reconciliation does not pair so many documents with each other."),
    "keys": (
        409,
        "changed",
        "The counterfoils {foil} have several keys. An item answers counterfoils of one key.",
    ),
    "mixed": (409, "mixed", "{id} and {foil} have several currencies or legal entities."),
    "tier": (403, "tier", "The amount of {id} is above every tier of the approval policy."),
}
WAITS = {202: "An approval waits for another person."}
_SETTLED: dict[Action, str] = {
    "pair": "{id} and {foil} are paired already",
    "unpair": "no person has paired {id} with {foil}",
    "waive": "{id} has no difference",
}


class ItemList(msgspec.Struct, frozen=True):
    """One page of unmatched items, newest first. `next` is the cursor of the next page, null at the end.

    `as_of` and `effective_by` are the two dates of the question; null for the present.
    """

    items: list[shapes.ItemShape]
    next: str | None
    as_of: str | None = None
    effective_by: str | None = None
    statement: ListStatement | None = None
    """Of the first page alone."""


class PairRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    foil: str
    note: str


class WaiveRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    note: str


class MatchDecided(msgspec.Struct, frozen=True):
    """Result of a decision. `requested`: another person must agree, by voting on `approval`."""

    id: str
    verdict: Literal["done", "requested"]
    approval: str | None = None


@get(
    "/v1/unmatched",
    opt=requires(Permission.FOILS_ANY_READ),
    tags=["counterfoils"],
    summary="List unmatched items",
)
async def list_unmatched(
    request: WebRequest,
    limit: Limit = 50,
    cursor: Cursor = None,
    system: Text = None,
    rule: Text = None,
    key: Text = None,
    owner: Text = None,
    entity: Text = None,
    as_of: KnownText = None,
    effective: EffectiveText = None,
    sort: ItemSort = None,
) -> ItemList:
    """Documents of the right system that nothing accounts for. `rule` is the reconciliation."""
    app = application(request)
    filters = {"system": system, "rule": rule, "key": key, "owner": owner}
    page = sorted_by(of_entity(app, item_filter(limit, cursor, **filters), entity), sort)
    now = await app.now()
    at = question_of(as_of, effective, now, sort)
    query = filters | {"entity": entity, "effective_by": effective}
    stated = None if cursor else await statement_of(request, app, "observation", page, query, at)
    if at is None:
        rows, after = await app.views.unmatched(page)
        return ItemList(await item_shapes(app, rows, now), after, statement=stated)
    rows, after = await items_as_of(app.views, page, at)
    return ItemList(await item_shapes(app, rows, at.known), after, **shapes.dates_of(at), statement=stated)


@post(
    "/v1/unmatched/{item_id:str}/pair",
    opt=requires(Permission.FOILS_ANY_PAIR, RequestBody(JSON, PairRequest, component="Pair"), also=WAITS),
    status_code=200,
    tags=["counterfoils"],
    summary="Pair an unmatched item with a counterfoil",
)
async def pair_item(request: WebRequest, item_id: FromPath[str]) -> Response[MatchDecided]:
    """200 when the pair holds, 202 when an approval waits for another person."""
    person, body = await _decoded(request, PairRequest)
    return _answer(await decide_pair(application(request), "pair", item_id, body.foil, person, body.note))


@post(
    "/v1/unmatched/{item_id:str}/unpair",
    opt=requires(Permission.FOILS_ANY_UNPAIR, RequestBody(JSON, PairRequest, component="Pair"), also=WAITS),
    status_code=200,
    tags=["counterfoils"],
    summary="End a pair that a person made",
)
async def unpair_item(request: WebRequest, item_id: FromPath[str]) -> Response[MatchDecided]:
    """200 when the pair has ended, 202 when an approval waits for another person."""
    person, body = await _decoded(request, PairRequest)
    return _answer(await decide_pair(application(request), "unpair", item_id, body.foil, person, body.note))


@post(
    "/v1/foils/{foil_id:str}/waive",
    opt=requires(Permission.FOILS_ANY_WAIVE, RequestBody(JSON, WaiveRequest, component="Waive"), also=WAITS),
    status_code=200,
    tags=["counterfoils"],
    summary="Accept the difference of a counterfoil",
)
async def waive_foil(request: WebRequest, foil_id: FromPath[str]) -> Response[MatchDecided]:
    """200 when the difference is accepted, 202 when an approval waits for another person."""
    person, body = await _decoded(request, WaiveRequest)
    return _answer(await decide_waive(application(request), foil_id, person, body.note))


async def decide_pair(
    app: Application, action: Literal["pair", "unpair"], item: str, foil: str, person: str, note: str
) -> MatchDecided:
    """Pair or unpair for a person. Raises Problem for a refusal."""
    note = checked_note(note)
    row = await app.store.observation(item)
    if row is None:
        raise Problem(
            404, f"There is no item {item[:100]}. `counterfoil unmatched` lists the unmatched ones."
        )
    other = await _foil(app, foil)
    if other.rule != row.rule:
        raise Problem(
            422, f"{row.number} belongs to {row.rule}, and {other.number} to {other.rule}. "
            "Choose a counterfoil of the same reconciliation.", field="foil"
        )  # fmt: skip
    if action == "pair" and row.entity and other.entity and row.entity != other.entity:
        raise Problem(
            422, f"{row.number} belongs to {row.entity}, and {other.number} to {other.entity}. "
            "Documents of two legal entities never match.", field="foil"
        )  # fmt: skip
    if action == "pair" and (by := await _paired_by(app, other, item)) is not None:
        if by == person:
            return MatchDecided(item, "done")
        raise _refusal("settled", action, item, foil)
    decide = app.pair if action == "pair" else app.unpair
    return await decided_result(app, await decide(foil, item, person, note), action, item, foil)


async def decide_waive(app: Application, foil: str, person: str, note: str) -> MatchDecided:
    """Accept the difference of a counterfoil for a person. Raises Problem for a refusal."""
    note = checked_note(note)
    row = await _foil(app, foil)
    if row.state == "waived":
        if person in await _waived_by(app, row):
            return MatchDecided(foil, "done")
        raise Problem(409, f"The difference of {foil} is accepted already.", kind="settled")
    return await decided_result(app, await app.waive(foil, person, note), "waive", foil, foil)


def checked_note(note: str) -> str:
    """Return the reason of a decision. Raises Problem 422 without one."""
    text = note.strip()[:MAX_NOTE_CHARS]
    if not text:
        raise Problem(422, "Enter a note: later readers of the decision need the reason.", field="note")
    return text


async def _foil(app: Application, id_: str) -> Foil:
    foil = await app.store.foil(id_)
    if foil is None:
        raise Problem(404, f"There is no counterfoil {id_[:100]}. `counterfoil foils` lists them.")
    return foil


async def _paired_by(app: Application, foil: Foil, item: str) -> str | None:
    """Return the person whose pair of these documents holds; a repeat of their decision is harmless."""
    rows = await app.views.matches_of([(foil.rule, foil.key)])
    pairings = [p for row in rows for p in row.pairings if (p.foil, p.observation) == (foil.id, item)]
    return pairings[0].person if pairings else None


async def _waived_by(app: Application, foil: Foil) -> set[str]:
    rows = await app.views.matches_of([(foil.rule, foil.key)])
    return {w.person for row in rows for w in row.waivers if holds(w, foil) and w.residual == foil.residual}


async def decided_result(
    app: Application, answer: MatchAnswer, action: Action, id_: str, foil: str
) -> MatchDecided:
    """Return the result of a decision. Raises Problem for a refusal."""
    match answer.verdict:
        case "done":
            return MatchDecided(id_, "done")
        case "requested":
            await _check_open(app, answer.approval or "")
            return MatchDecided(id_, "requested", answer.approval)
        case "missing":
            raise Problem(404, f"There is no counterfoil {foil[:100]} or no item {id_[:100]} any more.")
        case refused:
            raise _refusal(refused, action, id_, foil)


async def _check_open(app: Application, approval_id: str) -> None:
    """Raise Problem 409 if the same decision was requested before and is decided: it waits for no vote."""
    approval = await app.store.approval(approval_id)
    if approval is not None and approval.state is not ApprovalState.OPEN:
        raise Problem(
            409,
            f"The same decision was requested before: approval {approval_id} is {approval.state}. "
            "Write another note to request it again.",
            kind="closed",
        )


def _refusal(verdict: str, action: Action, id_: str, foil: str) -> Problem:
    status, kind, message = _REFUSALS[verdict]
    names = {"id": id_[:100], "foil": foil[:100]}
    return Problem(status, message.format(**names, settled=_SETTLED[action].format(**names)), kind=kind)


def _answer(decided: MatchDecided) -> Response[MatchDecided]:
    if decided.approval is None:
        return MaskedResponse(decided, status_code=200)
    location = {"location": f"/v1/approvals/{decided.approval}"}
    return MaskedResponse(decided, status_code=202, headers=location)


async def _decoded(request: WebRequest, shape: type[S]) -> tuple[str, S]:
    """Return the caller and the body of a decision."""
    person = trusted_caller(request).person.id
    body = await request.body()
    require_json(request)
    return person, decode_json(body, shape)


ROUTES = [list_unmatched, pair_item, unpair_item, waive_foil]
