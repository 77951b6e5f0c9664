"""Pairs of several documents: the sums of both sides before the decision, and the decision, all at once or none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, TypeVar

import msgspec
from litestar import post
from litestar.response import Response

from counterfoil.application import Application
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.money import Money
from counterfoil.store.port.documents import allows_group
from counterfoil.web.api.matches import WAITS, checked_note, decide_pair, decided_result
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

MAX_DOCUMENTS = 20
"""Documents of one side that a person pairs at once."""
Ids = Annotated[list[Annotated[str, msgspec.Meta(max_length=200)]], msgspec.Meta(max_length=MAX_DOCUMENTS)]
R = TypeVar("R", Foil, Observation)
_SHAPES = {
    "1:1": "one document with one",
    "1:n": "one counterfoil with any number of items",
    "n:1": "one item with any number of counterfoils",
}


class PairsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    items: Ids
    """Ids of the items."""
    foils: Ids
    """Ids of the counterfoils that all of the items answer together."""
    note: str


class PairsDecided(msgspec.Struct, frozen=True):
    """Result for the whole group. `requested`: another person must agree, by voting on `approval`."""

    items: list[str]
    foils: list[str]
    verdict: Literal["done", "requested"]
    approval: str | None = None


class DocumentGroup(msgspec.Struct, frozen=True):
    """Documents of both sides of one reconciliation that a person chose as one group."""

    foils: list[Foil]
    items: list[Observation]

    @property
    def missing(self) -> tuple[Money, ...]:
        """Money that is still missing of the counterfoils."""
        return _sums(money for foil in self.foils for money in foil.open_money)

    @property
    def observed(self) -> tuple[Money, ...]:
        """Money of the items."""
        return _sums(money for item in self.items for money in item.money)

    @property
    def difference(self) -> tuple[Money, ...]:
        """Missing money less that of the items; zero for a currency in which both sides agree."""
        return _sums([*self.missing, *(-money for money in self.observed)])


@post(
    "/v1/pairs",
    opt=requires(Permission.FOILS_ANY_PAIR, RequestBody(JSON, PairsRequest), also=WAITS),
    status_code=200,
    tags=["counterfoils"],
    summary="Pair several items with several counterfoils",
)
async def pair_documents(request: WebRequest) -> Response[PairsDecided]:
    """All at once or none. 200 when the pairs hold, 202 when one approval for all waits for another person."""
    person = trusted_caller(request).person.id
    body = await request.body()
    require_json(request)
    data = decode_json(body, PairsRequest)
    decided = await decide_group(application(request), data.items, data.foils, person, data.note)
    if decided.approval is None:
        return MaskedResponse(decided, status_code=200)
    return MaskedResponse(decided, status_code=202, headers={"location": f"/v1/approvals/{decided.approval}"})


async def decide_group(
    app: Application, items: Sequence[str], foils: Sequence[str], person: str, note: str
) -> PairsDecided:
    """Pair a group for a person. Raises Problem for a refusal."""
    note = checked_note(note)
    items, foils = _distinct(items), _distinct(foils)
    await chosen_group(app, items, foils)
    if len(items) == len(foils) == 1:
        decided = await decide_pair(app, "pair", items[0], foils[0], person, note)
    else:
        answer = await app.pair_several(foils, items, person, note)
        decided = await decided_result(app, answer, "pair", " and ".join(items), " and ".join(foils))
    return PairsDecided(items, foils, decided.verdict, decided.approval)


async def chosen_group(app: Application, items: Sequence[str], foils: Sequence[str]) -> DocumentGroup:
    """Return the documents of a group. Raises Problem where they cannot be one."""
    for ids, field, side in ((items, "items", "item"), (foils, "foils", "counterfoil")):
        if not ids:
            raise Problem(422, f"Choose at least one {side}.", field=field)
        if len(ids) > MAX_DOCUMENTS:
            raise Problem(422, f"Choose at most {MAX_DOCUMENTS} of each side.", field=field)
    group = DocumentGroup(
        [_existing(await app.store.foil(id_), id_, "counterfoil") for id_ in _distinct(foils)],
        [_existing(await app.store.observation(id_), id_, "item") for id_ in _distinct(items)],
    )
    _check(group)
    return group


def _check(group: DocumentGroup) -> None:
    """Raise Problem 422 with the reason for which documents cannot be one group."""
    rows: list[Foil | Observation] = [*group.foils, *group.items]
    if len(rules := {row.rule for row in rows}) > 1:
        raise Problem(
            422, f"These documents belong to {_listed(rules)}. Choose documents of one reconciliation."
        )
    if len(entities := {row.entity for row in rows if row.entity}) > 1:
        raise Problem(
            422,
            f"These documents belong to {_listed(entities)}. Documents of two legal entities never match.",
        )
    if len(currencies := {money.currency for money in (*group.missing, *group.observed)}) > 1:
        raise Problem(422, f"These documents are in {_listed(currencies)}. Choose documents of one currency.")
    shape = group.foils[0].terms.shape
    if not allows_group(shape, len(group.foils), len(group.items)):
        (rule,) = rules
        raise Problem(422, f"{rule} has the shape {shape}: it pairs {_SHAPES[shape]}.", field="foils")
    if len(keys := {foil.key for foil in group.foils}) > 1:
        raise Problem(
            422,
            f"The counterfoils have the keys {_listed(keys)}. An item answers counterfoils of one key.",
            field="foils",
        )


def _existing(row: R | None, id_: str, side: str) -> R:
    if row is None:
        raise Problem(404, f"There is no {side} {id_[:100]}.")
    return row


def _sums(amounts: Iterable[Money]) -> tuple[Money, ...]:
    """Return the sum of each currency, with signs."""
    sums: dict[str, Money] = {}
    for money in amounts:
        sums[money.currency] = sums[money.currency] + money if money.currency in sums else money
    return tuple(sums.values())


def _distinct(ids: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(ids))


def _listed(words: Iterable[str]) -> str:
    return " and ".join(sorted(words))


ROUTES = [pair_documents]
