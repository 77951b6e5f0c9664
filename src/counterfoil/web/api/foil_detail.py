"""One counterfoil with both sides: its documents in every version, and what persons paired and accepted."""

from __future__ import annotations

from datetime import datetime

import msgspec
from litestar import get
from litestar.params import FromPath

from counterfoil.application import Application
from counterfoil.core.foil import Foil, Observation
from counterfoil.store.port.documents import foils_of
from counterfoil.store.port.matches import DocumentVersion, row_of
from counterfoil.store.port.views import MatchRow
from counterfoil.web.api import shapes
from counterfoil.web.api.match_requests import open_requests
from counterfoil.web.api.match_words import difference_text, explain, total_text
from counterfoil.web.api.names import NameReader
from counterfoil.web.api.queries import foil_shapes, with_votes
from counterfoil.web.http.permissions import Permission
from counterfoil.web.http.problems import Problem
from counterfoil.web.http.request import WebRequest, application, requires


class FoilDocumentVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a document. It counted from `known_from` until `known_to`, which is null for the current one."""

    number: int
    legs: dict[str, shapes.Amount | str]
    effective: str
    known_from: datetime
    known_to: datetime | None
    late: bool
    """It arrived after a newer version, and never counted."""
    stands: bool
    provisional: bool
    """The call that asserts it has no outcome yet."""
    cause: str | None
    """Id of the event or of the call that it came by."""


class FoilDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A document of one side. `answers`: a counterfoil is matched with it, or it is the counterfoil."""

    id: str
    side: str
    system: str
    document: str
    name: str
    """Number of the document in its own system."""
    state: str
    stands: bool
    answers: bool
    total: str
    versions: list[FoilDocumentVersion]
    """The current one first, then the newest."""


class PersonPair(msgspec.Struct, frozen=True, kw_only=True):
    """An item that a person paired with the counterfoil, whatever their keys."""

    item: str
    name: str
    person: str
    note: str
    at: datetime


class AcceptedDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A difference that a person accepted. `money` is null for one in counts, `person` empty in former versions."""

    money: shapes.Amount | None
    person: str
    note: str
    at: datetime


class FoilDetail(shapes.FoilShape, frozen=True, kw_only=True):
    """A counterfoil, the reason of its state in plain words, and everything that it rests on."""

    explanation: str
    difference: str
    documents: list[FoilDocument]
    pairs: list[PersonPair]
    waivers: list[AcceptedDifference]
    approvals: list[shapes.ApprovalShape]
    """Decisions on it that wait for another person."""


@get(
    "/v1/foils/{foil_id:str}",
    opt=requires(Permission.FOILS_ANY_READ),
    tags=["counterfoils"],
    summary="Get one counterfoil with both sides",
)
async def get_foil(request: WebRequest, foil_id: FromPath[str]) -> FoilDetail:
    """The documents of both systems with their versions, and the pairs and accepted differences of persons."""
    app = application(request)
    return await load_foil(app, await foil_or_404(app, foil_id))


async def foil_or_404(app: Application, foil_id: str) -> Foil:
    foil = await app.store.foil(foil_id)
    if foil is None:
        raise Problem(
            404,
            f"There is no counterfoil {foil_id[:100]}. `counterfoil foils --key` finds one by the number of a document.",
        )
    return foil


async def load_foil(app: Application, foil: Foil) -> FoilDetail:
    """Read both sides of the match of a counterfoil."""
    (shape,) = await foil_shapes(app, [foil])
    (match,) = await app.views.matches_of([(foil.rule, foil.key)])
    numbers = {item.id: item.number for item in match.observations}
    return FoilDetail(
        **{name: getattr(shape, name) for name in shape.__struct_fields__},
        explanation=explain(foil, match.observations),
        difference=difference_text(foil),
        documents=await _documents(app, foil, match),
        pairs=[
            PersonPair(
                item=p.observation, name=numbers.get(p.observation, p.observation), person=p.person, note=p.note, at=p.at
            )
            for p in match.pairings
            if p.foil == foil.id
        ],
        waivers=[
            AcceptedDifference(
                money=None if w.money is None else shapes.amount(w.money), person=w.person, note=w.note, at=w.at
            )
            for w in match.waivers
            if w.foil == foil.id
        ],
        approvals=await with_votes(app, [a for a, d in await open_requests(app) if foil.id in foils_of(d)]),
    )  # fmt: skip


async def _documents(app: Application, foil: Foil, match: MatchRow) -> list[FoilDocument]:
    keys = {match.key, *(o.own_key for o in match.observations if o.own_key)}
    versions = [v for key in sorted(keys) for v in await app.views.document_versions(match.rule, key)]
    names = await NameReader(app).foils(match.foils)
    answering = {foil.id, *foil.partners}
    documents = []
    rows: list[Foil | Observation] = [*match.foils, *match.observations]
    for row in rows:
        side, system = (
            ("left", row.left) if isinstance(row, Foil) else ("right", row.ledger or match.foils[0].right)
        )
        of_row = [v for v in versions if (v.side, v.document) == (side, row.document)]
        documents.append(
            FoilDocument(
                id=row.id,
                side=side,
                system=system,
                document=row.document,
                name=(names[row.id].name if row.id in names else "") or row.number,
                state=str(row.state),
                stands=row.stands,
                answers=row.id in answering,
                total=total_text(row),
                versions=[_version(v) for v in sorted(of_row, key=_newest_first)],
            )
        )
    return documents


def _newest_first(version: DocumentVersion) -> tuple[bool, float]:
    return version.known_to is not None, -version.known_from.timestamp()


def _version(version: DocumentVersion) -> FoilDocumentVersion:
    row = row_of(version)
    return FoilDocumentVersion(
        number=version.version,
        legs=shapes.legs(row.legs),
        effective=row.effective,
        known_from=version.known_from,
        known_to=version.known_to,
        late=version.known_to == version.known_from,
        stands=row.stands,
        provisional=isinstance(row, Foil) and row.provisional,
        cause=row.cause if isinstance(row, Foil) else row.event,
    )
