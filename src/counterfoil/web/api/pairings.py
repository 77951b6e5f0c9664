"""Pairs of keys that persons made, for the tables of reconciliations that remember them."""

from __future__ import annotations

import msgspec
from litestar import get

from counterfoil.core.remembered import paired_keys
from counterfoil.web.api.queries import Text
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.request import WebRequest, application, requires


class PairedKeyShape(msgspec.Struct, frozen=True, kw_only=True):
    reconciliation: str
    table: str
    """The table that its key reads; empty if the reconciliation remembers nothing."""
    right_key: str
    left_key: str
    count: int
    """Pairs that still hold."""
    persons: list[str]
    conflict: bool
    """Persons paired the same right key with several left keys."""


class PairedKeyList(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing is learned by itself: a row of the table is a planned change."""

    pairings: list[PairedKeyShape]
    as_of: str


@get(
    "/v1/pairings",
    opt=requires(Permission.FOILS_ANY_READ),
    tags=["counterfoils"],
    summary="Keys that persons paired",
)
async def list_pairings(request: WebRequest, rule: Text = None) -> PairedKeyList:
    """Pairs of persons that still hold and whose documents have two keys, by both keys. `rule`: one reconciliation."""
    app = application(request)
    rules = app.model.reconciliations
    if rule and rule not in rules:
        raise Problem(404, f"There is no reconciliation {rule[:100]}.", kind="not-found")
    now = await app.now()
    pairings: list[PairedKeyShape] = []
    for name in [rule] if rule else sorted(rules):
        remember = rules[name].remember
        pairings += [
            PairedKeyShape(
                reconciliation=name,
                table=remember.table if remember is not None else "",
                right_key=pair.right,
                left_key=pair.left,
                count=pair.count,
                persons=list(pair.persons),
                conflict=pair.is_conflict,
            )
            for pair in paired_keys(await app.views.person_pairs(name))
        ]
    return PairedKeyList(pairings=pairings, as_of=now.isoformat())


ROUTES = [list_pairings]
