"""The written histories of matching end in the same states on all stores, whatever side is known first.

The memory store plays each history in every order, the databases each in one of them, in turn.

tests/matching judges the same files without a store, and the oracle judges them too.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from counterfoil.core import ids
from counterfoil.core.document import LedgerDocument, LegKind, LegRule, MatchRules, Side, Within
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.matching import FoilState
from counterfoil.core.money import Money
from counterfoil.core.terms import Terms
from counterfoil.rules.match_history import _read, _versions
from counterfoil.store.port.as_of import AsOf, KnownMatches, assemble, settle_as_of
from counterfoil.store.port.matches import row_of as version_row
from counterfoil.store.port.views import MatchRow
from counterfoil.store.sql.postgres import PostgresStore
from counterfoil.store.sql.sqlite import SqliteStore
from tests.contract.store import samples as s
from tests.contract.store.test_documents import admitted, holds
from tests.matching.test_judge import arrivals
from tests.matching.test_oracle import DATA, read

RULE = "history"
SIDES: tuple[Side, ...] = ("left", "right")
ORDERS = ("written", "left-first", "right-first")
SCALE = 1000
"""Stored units in one unit of a history's amounts, which have at most three decimals."""
YEARS = timedelta(days=3650)


def rules_of(history: dict[str, Any]) -> MatchRules:
    legs = {
        name: LegRule(
            kind=LegKind(leg.get("kind", "sum")),
            total=leg.get("total", False),
            tolerance=int(Decimal(str(leg.get("tolerance", 0))) * SCALE),
            absorbs=leg.get("absorbs", "any"),
        )
        for name, leg in history["legs"].items()
    }
    return MatchRules(
        legs=legs,
        shape=history.get("shape", "1:1"),
        window=history.get("window_days"),
        rest_on_account=history.get("rest") == "on_account",
    )


def legs_of(rules: MatchRules, document: LedgerDocument) -> dict[str, Any]:
    def leg(name: str, value: Any) -> Any:
        if rules.legs[name].kind is LegKind.EQUAL:
            return str(value)
        units = value * SCALE
        assert units == int(units)
        is_money = document.currency and rules.legs[name].kind is LegKind.SUM
        return Money(int(units), document.currency) if is_money else int(units)

    return {name: leg(name, value) for name, value in document.legs.items()}


def row_of(rules: MatchRules, document: LedgerDocument) -> Foil | Observation:
    terms = Terms(
        legs=dict(rules.legs),
        shape=rules.shape,
        window=rules.window,
        rest_on_account=rules.rest_on_account,
    )
    shared = {
        "rule": RULE, "key": document.key, "document": document.id, "version": document.version, "terms": terms,
        "legs": legs_of(rules, document), "entity": document.entity, "stands": document.stands,
        "stood": document.stands and not document.provisional, "reverses": document.reverses,
        "names": document.names, "effective": document.effective,
    }  # fmt: skip
    if document.side == "right":
        id_ = ids.derive("obs", RULE, document.id)
        return replace(s.observation(id_), **shared, at=document.known_from, since=document.known_from)
    within = tuple(Within(RULE, cap.key, cap.negate) for cap in document.within)
    return replace(
        s.foil(ids.derive("foil", RULE, document.id)),
        **shared,
        within=within,
        provisional=document.provisional,
        due=document.due or document.known_from + YEARS,
        created_at=document.known_from,
        known_from=document.known_from,
        state=FoilState.PROVISIONAL if document.provisional else FoilState.OPEN,
    )


class Player:
    """Plays a history into a store, with the decisions of persons as soon as they can be made."""

    def __init__(self, store: Any, history: dict[str, Any]) -> None:
        self.store, self.history, self.rules = store, history, rules_of(history)
        self.pairs = [tuple(pair) for pair in history.get("pairings", [])]
        self.waivers = list(history.get("waivers", []))

    async def play(self, now: datetime, documents: list[LedgerDocument]) -> None:
        for number, document in enumerate(sorted(documents, key=lambda d: d.known_from)):
            if document.known_from <= now:
                row = row_of(self.rules, document)
                side = "foils" if isinstance(row, Foil) else "observations"
                await admitted(self.store, f"e{number}", document.known_from, **{side: (row,)})
                await self._decide(document.known_from)

    async def _decide(self, at: datetime) -> None:
        for left, right in list(self.pairs):
            foil = await self.store.foil(ids.derive("foil", RULE, left))
            item = await self.store.observation(ids.derive("obs", RULE, right))
            if foil is not None and item is not None:
                self.pairs.remove((left, right))
                await self.store.apply(s.decide(s.pair(foil, item), when=at))
        for waiver in list(self.waivers):
            foil = await self.store.foil(ids.derive("foil", RULE, waiver["document"]))
            wanted = {name: int(Decimal(str(v)) * SCALE) for name, v in waiver["residual"].items()}
            if foil is not None and {n: v for n, v in foil.residual.items() if v or n in wanted} == wanted:
                self.waivers.remove(waiver)
                await self.store.apply(s.decide(s.waive(foil), when=at))

    async def states(self, now: datetime) -> dict[str, Any]:
        """Return the states as of a time, from what the store has kept."""
        dump = await self.store.dump()
        stood = [(v, version_row(v)) for v in dump.versions if v.side == "left"]
        known = {v.document for v, _ in stood}
        asserted = {
            (v.rule, v.key) for v, row in stood if (row.stands or row.stood) and v.reverses not in known
        }
        kept = assemble(dump.versions, dump.pairings, dump.waivers, asserted, now, dump.versions)
        answer = states_of(settle_as_of(row, AsOf(now)) for row in kept)
        if isinstance(self.store, SqliteStore | PostgresStore):
            found = [
                settle_as_of(row, AsOf(now))
                for key in sorted({row.key for row in kept})
                for side in SIDES
                for row in await self.store.matches_known(KnownMatches(known=now, side=side, key=key))
            ]
            assert states_of(found) == answer
        return answer


def states_of(rows: Iterable[MatchRow]) -> dict[str, Any]:
    foils: dict[str, Any] = {}
    unmatched: dict[str, str] = {}
    for row in rows:
        for f in row.foils:
            foils[f.document] = str(f.state), {n: Decimal(v) / SCALE for n, v in f.residual.items() if v}
        unmatched |= {o.document: o.state for o in row.observations if o.state in ("over", "unmatched")}
    return {"foils": foils, "unmatched": unmatched}


def orders_of(path: Path) -> tuple[str, ...]:
    """Return the orders of arrival to play. A decision is bound to what is known at its moment, so it keeps its own."""
    history = read(path)["history"]
    decided = history.get("pairings") or history.get("waivers")
    return ORDERS[:1] if decided else ORDERS


def plays() -> Iterable[Any]:
    """Yield a parameter set for each play of a history on a store."""
    for number, path in enumerate(DATA):
        orders = orders_of(path)
        for order in orders:
            yield pytest.param("memory", path, order, id=f"memory-{path.stem}-{order}")
        for kind, turn in (("sqlite", number), ("postgres", number + 1)):
            order = orders[turn % len(orders)]
            yield pytest.param(kind, path, order, id=f"{kind}-{path.stem}-{order}")


@pytest.mark.parametrize(("store", "path", "order"), [*plays()], indirect=["store"])
async def test_each_written_history_ends_in_its_states(store: Any, path: Path, order: str) -> None:
    content = read(path)
    history = list(arrivals(content["history"]))[ORDERS.index(order)]
    file = _read(history)
    now = file.now or max(d.at for d in file.documents)
    documents = _versions(rules_of(history), file.documents)
    player = Player(store, history)
    await player.play(now, documents)
    answer = await player.states(now)
    expected = content["expect"]
    assert {name: state for name, (state, _) in answer["foils"].items()} == {
        f["document"]: f["state"] for f in expected["foils"]
    }
    for f in (f for f in expected["foils"] if "residual" in f):
        residual = answer["foils"][f["document"]][1]
        assert residual == {n: Decimal(v) for n, v in f["residual"].items() if Decimal(v)}, f["document"]
    assert answer["unmatched"] == {i["document"]: i["state"] for i in expected["unmatched"]}
    await holds(store)
