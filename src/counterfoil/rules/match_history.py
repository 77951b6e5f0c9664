"""A history of documents as a file: judge it by the matching rules, without a store.

The form is that of `counterfoil match FILE` in docs/reference/commands.md. Amounts are decimal text; the answer writes
them with as many decimals as the finest amount of the file, at least two.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal

import msgspec

from counterfoil.core.document import (
    Absorbs,
    LedgerDocument,
    LegKind,
    LegRule,
    LegValue,
    MatchRules,
    Number,
    Shape,
    Side,
    Within,
    newest_versions,
    uses_of,
)
from counterfoil.core.fault_text import fault_text
from counterfoil.core.homes import Placement, homes
from counterfoil.core.matching import FoilState, FoilVerdict, Judgement, Unpaired, judge, standing

Id = Annotated[str, msgspec.Meta(min_length=1)]
_NO_TIME = datetime.min.replace(tzinfo=UTC)
MAX_GRACE_SECONDS = 10 * 366 * 24 * 3600
MAX_WINDOW_DAYS = 10 * 366
MAX_AMOUNT_DIGITS = 24
"""Digits of an amount, before and after its point together: sums of amounts stay exact."""


class _Leg(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    kind: LegKind = LegKind.SUM
    total: bool = False
    tolerance: str | int = 0
    absorbs: Absorbs = "any"


class _Within(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    key: Id
    negate: bool = False


class _Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    side: Side
    document: Id
    version: int | str = 1
    at: datetime
    effective: str = ""
    key: Id
    entity: str = ""
    currency: str = ""
    legs: dict[str, str | int]
    due: datetime | None = None
    stands: bool = True
    reverses: str | None = None
    names: str | list[str] | None = None
    provisional: bool = False
    within: list[_Within] = []
    """Matches whose totals a left document uses up."""


class _Waiver(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    document: Id
    residual: dict[str, str | int]


class _History(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    legs: dict[str, _Leg]
    shape: Shape = "1:1"
    window_days: Annotated[int, msgspec.Meta(ge=0, le=MAX_WINDOW_DAYS)] | None = None
    rest: Literal["by_due", "on_account"] = "by_due"
    now: datetime | None = None
    grace_s: Annotated[int, msgspec.Meta(ge=0, le=MAX_GRACE_SECONDS)] = 0
    documents: list[_Document]
    pairings: list[tuple[str, str]] = []
    waivers: list[_Waiver] = []


class HistoryRefused(ValueError):
    """The file does not have the form of a history; the message names the place."""


SEVERITY = (
    FoilState.BROKEN,
    FoilState.OVER,
    "unmatched",
    FoilState.PARTLY,
    FoilState.OPEN,
    FoilState.PROVISIONAL,
    FoilState.WAIVED,
    FoilState.MATCHED,
    FoilState.REVERSED,
    FoilState.VOID,
)
"""States of a match, the worst first."""


def judge_history(history: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of every document of a history. Raises HistoryRefused.

    Numbers may be text, int or Decimal. `now` defaults to the latest `at`. Documents known later do not count.
    """
    file = _read(history)
    rules = MatchRules(
        legs={
            n: LegRule(
                kind=leg.kind,
                total=leg.total,
                tolerance=_amount(leg.tolerance, f"legs.{n}.tolerance"),
                absorbs=leg.absorbs,
            )
            for n, leg in file.legs.items()
        },
        shape=file.shape,
        window=file.window_days,
        rest_on_account=file.rest == "on_account",
    )
    now = file.now or max((d.at for d in file.documents), default=None)
    if now is None:
        return {"foils": [], "unmatched": [], "match": {}, "clashes": []}
    rows = [row for row in file.documents if row.at <= now]
    versions = _versions(rules, rows)
    newest = _with_reversed(newest_versions(versions))
    pairings = _holding(file.pairings, versions)
    waivers = {
        w.document: {n: _amount(v, f"waivers.{w.document}.{n}") for n, v in w.residual.items()}
        for w in file.waivers
    }
    answer: dict[str, Any] = {"foils": [], "unmatched": [], "match": {}, "clashes": _clashes(rows)}
    places = _decimals(file)
    matches = _matches(newest, pairings)
    asserted = _asserted(versions, matches)
    used = _used(rules, newest, matches)
    for key in sorted(set(matches.values())):
        lefts = [d for d in newest if d.side == "left" and matches[d.side, d.id] == key]
        rights = [d for d in newest if d.side == "right" and matches[d.side, d.id] == key]
        by_id = {d.id: d for d in lefts}
        judgement = judge(
            rules,
            lefts,
            rights,
            now,
            pairings,
            waivers,
            asserted_before=key in asserted,
            used=used.get(key),
        )
        answer["foils"] += [
            _foil_row(rules, by_id[id_], verdict, places) | {"key": key}
            for id_, verdict in judgement.foils.items()
        ]
        grace = timedelta(seconds=file.grace_s)
        answer["unmatched"] += [
            _item_row(d, judgement.items[d.id], now - d.since >= grace, places) | {"key": key}
            for d in sorted(rights, key=lambda d: d.id)
            if d.id in judgement.items
        ]
        answer["match"][key] = _worst(judgement)
    return answer


def _read(history: Mapping[str, Any]) -> _History:
    try:
        file = msgspec.convert(_texts(history), _History)
    except msgspec.ValidationError as error:
        raise HistoryRefused(fault_text(error)) from error
    naive = next(
        (
            d.document
            for d in file.documents
            if any(t is not None and t.tzinfo is None for t in (d.at, d.due))
        ),
        None,
    )
    if naive is not None or (file.now is not None and file.now.tzinfo is None):
        raise HistoryRefused(
            f"{'document ' + naive if naive else 'now'}: a time needs its zone, such as 2026-01-31T12:00:00Z"
        )
    totals = [name for name, leg in file.legs.items() if leg.total]
    if len(totals) > 1 or any(file.legs[name].kind is not LegKind.SUM for name in totals):
        raise HistoryRefused(f"legs: one sum leg is the total, not {', '.join(totals)}")
    for name, leg in file.legs.items():
        if _amount(leg.tolerance, f"legs.{name}.tolerance") < 0:
            raise HistoryRefused(f"legs.{name}.tolerance: {leg.tolerance} is negative")
    for document in file.documents:
        _check_legs(file, document.legs, f"document {document.document}")
        _check_day(document)
    names = {(d.side, d.document) for d in file.documents}
    for left, right in file.pairings:
        if ("left", left) not in names and {("right", left), ("left", right)} <= names:
            raise HistoryRefused(f"pairings: {left} is of the right side; a pair is [left, right]")
    for waiver in file.waivers:
        _check_legs(file, waiver.residual, f"waiver of {waiver.document}")
    return file


def _check_legs(file: _History, legs: Iterable[str], where: str) -> None:
    unknown = sorted(set(legs) - file.legs.keys())
    if unknown:
        raise HistoryRefused(f"{where}: no leg of the history is called {', '.join(unknown)}")


def _check_day(document: _Document) -> None:
    try:
        datetime.fromisoformat(document.effective or "2000-01-01")
    except ValueError:
        raise HistoryRefused(
            f"document {document.document}, effective: {document.effective!r} is no date such as 2026-01-31"
        ) from None


def _texts(value: Any) -> Any:
    """Return the value with exact numbers as text, since a Decimal is no JSON type."""
    match value:
        case Decimal():
            return str(value)
        case dict():
            return {name: _texts(item) for name, item in value.items()}
        case list() | tuple():
            return [_texts(item) for item in value]
        case _:
            return value


def _amount(text: str | int, where: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise HistoryRefused(f"{where}: {text!r} is no amount") from None
    if not amount.is_finite():
        raise HistoryRefused(f"{where}: {text!r} is no amount")
    _, digits, exponent = amount.as_tuple()
    if len(digits) + abs(int(exponent)) > MAX_AMOUNT_DIGITS:
        raise HistoryRefused(f"{where}: the amount has more than {MAX_AMOUNT_DIGITS} digits")
    return amount


def _versions(rules: MatchRules, rows: Sequence[_Document]) -> list[LedgerDocument]:
    order = _order({row.version for row in rows})
    return [
        LedgerDocument(
            side=row.side,
            id=row.document,
            key=row.key,
            version=order[row.version],
            legs={
                n: _leg(rules.legs[n].kind, v, f"document {row.document}, leg {n}")
                for n, v in row.legs.items()
            },
            entity=row.entity,
            currency=row.currency,
            stands=row.stands,
            stood=row.stands,
            reverses=row.reverses or "",
            names=(row.names,) if isinstance(row.names, str) else tuple(row.names or ()),
            within=tuple(Within("", cap.key, cap.negate) for cap in row.within),
            due=row.due,
            provisional=row.provisional,
            effective=row.effective,
            known_from=row.at,
            since=row.at,
        )
        for row in rows
    ]


def _order(versions: Iterable[int | str]) -> dict[int | str, int]:
    """Return the place of each version: of numbers and times by value, of other text by its parts, so v9 before v10."""
    try:
        return _ranks({version: int(version) for version in versions})
    except ValueError:
        pass
    try:
        return _ranks({version: _moment(str(version)) for version in versions})
    except ValueError:
        return _ranks({version: _parts(str(version)) for version in versions})


def _ranks(values: Mapping[int | str, Any]) -> dict[int | str, int]:
    order = sorted(set(values.values()))
    return {version: order.index(value) for version, value in values.items()}


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _parts(text: str) -> tuple[tuple[int, str], ...]:
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in re.split("([0-9]+)", text))


def _clashes(rows: Iterable[_Document]) -> list[dict[str, Any]]:
    """Return the versions that are in the history with several contents; the states follow one of them."""
    contents: dict[tuple[Side, str, int | str], set[bytes]] = {}
    for row in rows:
        content = msgspec.json.encode(msgspec.structs.replace(row, at=_NO_TIME), order="deterministic")
        contents.setdefault((row.side, row.document, row.version), set()).add(content)
    return [
        {"side": side, "document": document, "version": version}
        for (side, document, version), texts in contents.items()
        if len(texts) > 1
    ]


def _leg(kind: LegKind, value: str | int, where: str) -> LegValue:
    return str(value) if kind is LegKind.EQUAL else _amount(value, where)


def _with_reversed(newest: Sequence[LedgerDocument]) -> list[LedgerDocument]:
    """Return the documents, those that a document reverses as standing, though a pairing moved it to another match."""
    ledgers = {
        (d.side, d.id) for side in ("left", "right") for d in standing([d for d in newest if d.side == side])
    }
    return [msgspec.structs.replace(d, stands=(d.side, d.id) in ledgers) for d in newest]


def _holding(pairings: Iterable[tuple[str, str]], versions: Sequence[LedgerDocument]) -> set[tuple[str, str]]:
    """Return the pairings that hold: since both documents were first known, neither had other legs."""
    holding = set()
    for left, right in pairings:
        histories = [
            [v for v in versions if (v.side, v.id) == name] for name in (("left", left), ("right", right))
        ]
        if all(histories):
            start = max(min(v.known_from for v in history) for history in histories)
            if all(_legs_stay(history, start) for history in histories):
                holding.add((left, right))
    return holding


def _legs_stay(history: Sequence[LedgerDocument], start: datetime) -> bool:
    moments = [start, *(v.known_from for v in history if v.known_from > start)]
    newest = [newest_versions(v for v in history if v.known_from <= moment)[0] for moment in moments]
    return all(version.legs == newest[0].legs for version in newest)


def _matches(
    newest: Sequence[LedgerDocument], pairings: Iterable[tuple[str, str]]
) -> dict[tuple[Side, str], str]:
    """Return the key of each document's match: of what it reverses, of the partner that a person gave it, or its own."""
    placements = {(d.side, d.id): Placement(d.key, (d.side, d.reverses)) for d in newest}
    lefts = homes(placements)
    for left, right in pairings:
        placements["right", right] = msgspec.structs.replace(
            placements["right", right], paired=lefts["left", left]
        )
    return homes(placements)


def _asserted(versions: Iterable[LedgerDocument], matches: Mapping[tuple[Side, str], str]) -> set[str]:
    """Return the matches on which a left document ever stood."""
    return {
        matches["left", v.id] if ("left", v.reverses) in matches else v.key
        for v in versions
        if v.side == "left" and v.stands
    }


def _used(
    rules: MatchRules, newest: Iterable[LedgerDocument], matches: Mapping[tuple[Side, str], str]
) -> dict[str, dict[str, Number]]:
    """Return how much of each match's total documents of other matches use up, by currency."""
    used: dict[str, dict[str, Number]] = {}
    for document in newest:
        for cap, currency, amount in uses_of(rules, document) if document.stands else ():
            if cap.key != matches[document.side, document.id]:
                sums = used.setdefault(cap.key, {})
                sums[currency] = sums.get(currency, 0) + amount
    return used


def _decimals(file: _History) -> int:
    values: list[str | int] = [w for waiver in file.waivers for w in waiver.residual.values()]
    for document in file.documents:
        values += [v for n, v in document.legs.items() if file.legs[n].kind is LegKind.SUM]
    exponents = (_amount(v, "legs").as_tuple().exponent for v in values)
    return max([2, *(-e for e in exponents if isinstance(e, int))])


def _residual(sums: Mapping[str, Any], places: int) -> dict[str, str]:
    return {name: f"{Decimal(amount) + 0:.{places}f}" for name, amount in sums.items()}


def _foil_row(
    rules: MatchRules, document: LedgerDocument, verdict: FoilVerdict, places: int
) -> dict[str, Any]:
    sums = [name for name, leg in rules.legs.items() if leg.kind is LegKind.SUM and name in document.legs]
    return {
        "document": document.id,
        "entity": document.entity,
        "currency": document.currency,
        "state": str(verdict.state),
        "reason": verdict.reason,
        "residual": _residual({**dict.fromkeys(sums, 0), **verdict.residual}, places),
        "partners": list(verdict.partners),
    }


def _item_row(document: LedgerDocument, item: Unpaired, due: bool, places: int) -> dict[str, Any]:
    return {
        "document": document.id,
        "entity": document.entity,
        "currency": document.currency,
        "state": item.state,
        "residual": _residual(item.residual, places),
        "foil": item.foil,
        "case": due or item.state == "over",
    }


def _worst(judgement: Judgement) -> str:
    states = [*(v.state for v in judgement.foils.values()), *(i.state for i in judgement.items.values())]
    return str(min(states, key=SEVERITY.index)) if states else str(FoilState.MATCHED)
