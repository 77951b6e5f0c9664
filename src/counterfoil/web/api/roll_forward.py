"""The roll-forward of a reconciliation: what two systems differ by, and of which items the difference consists."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import msgspec
from litestar import get
from litestar.params import FromPath, QueryParameter

from counterfoil.core.money import Money
from counterfoil.core.roll_forward import RollForward, roll_forward
from counterfoil.web.api import shapes
from counterfoil.web.api.as_of import KnownText, question_of
from counterfoil.web.api.queries import Text
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.request import WebRequest, application, requires

DayText = Annotated[str | None, QueryParameter(max_length=10, description="Date, such as 2026-11-01.")]


class AbsorbedPart(msgspec.Struct, frozen=True, kw_only=True):
    leg: str
    owner: str
    amount: shapes.Amount


class RollForwardLine(msgspec.Struct, frozen=True, kw_only=True):
    """The identity for one entity and currency: opening + asserted - observed = closing = the sum of the items."""

    entity: str
    currency: str
    opening: shapes.Amount
    asserted: shapes.Amount
    observed: shapes.Amount
    closing: shapes.Amount
    items: dict[str, shapes.Amount]
    """open, partly, broken, provisional, waived, absorbed; over and unmatched count against them."""
    absorbed_by: list[AbsorbedPart]
    """What tolerances absorb, by leg and by the role that bears it; `items` has that of the total leg."""
    balanced: bool
    """Both ways to the closing difference agree."""


class RollForwardShape(msgspec.Struct, frozen=True, kw_only=True):
    reconciliation: str
    left: str
    right: str
    as_of: str
    since: str | None
    until: str | None
    lines: list[RollForwardLine]


@get(
    "/v1/reconciliations/{name:str}/roll-forward",
    opt=requires(Permission.FOILS_ANY_READ),
    tags=["counterfoils"],
    summary="Roll-forward of a reconciliation",
)
async def get_roll_forward(
    request: WebRequest,
    name: FromPath[str],
    since: DayText = None,
    until: DayText = None,
    as_of: KnownText = None,
    entity: Text = None,
) -> RollForwardShape:
    """`since` and `until` are the first and the last document date of the period; without them, everything.

    `entity`: only this legal entity.
    """
    app = application(request)
    rule = app.model.reconciliations.get(name)
    if rule is None:
        raise Problem(404, f"There is no reconciliation {name}.", kind="not-found")
    now = await app.now()
    question = question_of(as_of, None, now)
    at = now if question is None else question.known
    rows = [(match.rule, match.rows) for match in await app.views.matches_of_rule(name, at)]
    lines = roll_forward(rows, at, _day(since), _day(until))
    return RollForwardShape(
        reconciliation=name,
        left=rule.left,
        right=rule.right,
        as_of=at.isoformat(),
        since=since,
        until=until,
        lines=[line_shape(line) for line in lines if not entity or line.entity == entity],
    )


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise Problem(400, f"{text!r} is not a date such as 2026-11-01.") from None


def line_shape(line: RollForward) -> RollForwardLine:
    def money(units: int) -> shapes.Amount:
        return shapes.amount(Money(units, line.currency))

    return RollForwardLine(
        entity=line.entity,
        currency=line.currency,
        opening=money(line.opening),
        asserted=money(line.asserted),
        observed=money(line.observed),
        closing=money(line.closing),
        items={name: money(units) for name, units in line.columns.items()},
        absorbed_by=[
            AbsorbedPart(leg=leg, owner=owner, amount=money(units))
            for (leg, owner), units in line.absorbed.items()
        ],
        balanced=line.balanced,
    )


ROUTES = [get_roll_forward]
