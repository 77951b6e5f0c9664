"""Settling a match row: the rows of both sides are judged, and those whose state changes are returned.

Pure. It runs inside the store's transaction on the locked match row, for foils and for observations, so neither misses
the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from counterfoil.core import matching
from counterfoil.core.document import LedgerDocument, MatchRules, Number, uses_of
from counterfoil.core.foil import UNFINISHED_FOILS, Allocation, Foil, ItemState, Observation, Pairing, Waiver
from counterfoil.core.matching import standing
from counterfoil.core.money import Money
from counterfoil.core.terms import Legs, Terms, rules_for


class MatchRows(msgspec.Struct, frozen=True):
    """All rows of one match."""

    foils: Sequence[Foil]
    observations: Sequence[Observation]
    pairings: Sequence[Pairing] = ()
    waivers: Sequence[Waiver] = ()
    asserted_before: bool = False
    """A left document that has left the match stood on it."""
    users: Sequence[Foil] = ()
    """Foils of other matches that use up the total of this one."""


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """Match row after matching: only what changes, and the allocations."""

    foils: tuple[Foil, ...] = ()
    """Foils with another state, reason or residual."""
    observations: tuple[Observation, ...] = ()
    allocations: tuple[Allocation, ...] = ()


def judge_rows(rows: MatchRows, now: datetime) -> matching.Judgement:
    """Return the states of a match row, from its documents and what persons decided about them."""
    rules = rules_of(rows)
    return matching.judge(
        rules,
        [left_document(f, rules.total) for f in rows.foils],
        [right_document(o, rules.total) for o in rows.observations],
        now,
        _pairs(rows),
        _waived(rows),
        asserted_before=rows.asserted_before,
        used=used_of(rows),
    )


def _waived(rows: MatchRows) -> matching.Waivers:
    """Return the accepted residual of each document whose content is still that which a person accepted."""
    foils = {f.id: f for f in rows.foils}
    waived = [
        (foils[w.foil], w.residual) for w in rows.waivers if w.foil in foils and holds(w, foils[w.foil])
    ]
    return {foil.document: residual for foil, residual in waived}


def used_of(rows: MatchRows) -> dict[str, Number]:
    """Return how much of the match's total the standing documents of other matches use up, by currency."""
    used: dict[str, Number] = {}
    matches = {(f.rule, f.key) for f in rows.foils}
    for rule in sorted({f.rule for f in rows.users}):
        users = {f.document: f for f in rows.users if f.rule == rule}
        for document in standing([left_document(f) for f in users.values()]):
            foil = users[document.id]
            for cap, currency, amount in uses_of(rules_for(foil.terms, (foil.legs,)), document):
                if (cap.rule, cap.key) in matches:
                    used[currency] = used.get(currency, 0) + amount
    return used


def settle(rows: MatchRows, now: datetime) -> Settlement:
    """Return the changes that make every state of a match row what `core.matching` says of its documents."""
    foils = {f.document: f for f in rows.foils}
    observed = {o.document: o for o in rows.observations}
    judgement = judge_rows(rows, now)
    changed = []
    for document, verdict in judgement.foils.items():
        before = foils[document]
        after = _judged(before, verdict, observed, now)
        if after is not before:
            changed.append(after)
    paired = {part.shown.id for part in judgement.parts}
    moved = []
    for document, observation in observed.items():
        item = judgement.items.get(document)
        foil = foils[item.foil].id if item is not None and item.foil is not None else None
        state: ItemState = "paired" if observation.stands or document in paired else "gone"
        if item is not None:
            state = item.state
        if (state, foil) != (observation.state, observation.foil):
            moved.append(msgspec.structs.replace(observation, state=state, foil=foil))
    return Settlement(
        foils=tuple(changed), observations=tuple(moved), allocations=_allocations(judgement, foils, observed)
    )


def _judged(
    before: Foil, verdict: matching.FoilVerdict, observed: Mapping[str, Observation], now: datetime
) -> Foil:
    partners = tuple(observed[document].id for document in verdict.partners)
    residual = {name: int(amount) for name, amount in verdict.residual.items()}
    excess = {currency: int(amount) for currency, amount in verdict.excess.items()}
    after = (verdict.state, verdict.reason, residual, partners, excess)
    if after == (before.state, before.reason, before.residual, before.partners, before.excess):
        return before
    settled_at = before.settled_at
    if verdict.state is not before.state:
        settled_at = None if verdict.state in UNFINISHED_FOILS else now
    return msgspec.structs.replace(
        before,
        state=verdict.state,
        reason=verdict.reason,
        residual=residual,
        excess=excess,
        partners=partners,
        settled_at=settled_at,
    )


def _allocations(
    judgement: matching.Judgement, foils: Mapping[str, Foil], observed: Mapping[str, Observation]
) -> tuple[Allocation, ...]:
    allocations = []
    for part in judgement.parts:
        observation = observed[part.shown.id]
        for leg, value in observation.legs.items():
            whole = part.amount == part.shown.total or part.shown.total is None
            if isinstance(value, Money) and (whole or value.minor == part.shown.total):
                amount = Money(int(part.shown.legs[leg] if whole else part.amount), value.currency)
                allocations.append(
                    Allocation(foil=foils[part.left].id, observation=observation.id, leg=leg, amount=amount)
                )
    return tuple(allocations)


# ------------------------------------------------------------------ documents and their rules


def left_document(foil: Foil, total: str | None = None) -> LedgerDocument:
    """Return the document of a foil. `total` is the leg that is the total of its match."""
    return LedgerDocument(
        side="left",
        id=foil.document,
        key=foil.key,
        version=foil.version,
        legs=foil.legs,
        entity=foil.entity,
        currency=_currency(foil.legs, total),
        stands=foil.stands,
        stood=foil.stood,
        reverses=foil.reverses,
        names=foil.names,
        within=foil.within,
        due=foil.due,
        provisional=foil.provisional,
        effective=foil.effective,
        known_from=foil.known_from,
        since=foil.created_at,
    )


def right_document(observation: Observation, total: str | None = None) -> LedgerDocument:
    """Return the document of an observation. `total` is the leg that is the total of its match."""
    return LedgerDocument(
        side="right",
        id=observation.document,
        key=observation.key,
        version=observation.version,
        legs=observation.legs,
        entity=observation.entity,
        currency=_currency(observation.legs, total),
        stands=observation.stands,
        stood=observation.stood,
        reverses=observation.reverses,
        names=observation.names,
        effective=observation.effective,
        known_from=observation.at,
        since=observation.since,
    )


def _currency(legs: Legs, total: str | None) -> str:
    """Return the currency of a document: that of its total, else that of its first amount by name.

    The order of legs says nothing: a model from the store writes them in another one than a model from files.
    """
    values = (legs.get(name) for name in (total or "", *sorted(legs)))
    return next((value.currency for value in values if isinstance(value, Money)), "")


def rules_of(rows: MatchRows) -> MatchRules:
    """Return the rules of a match: those of its newest document, completed for legs that they do not name."""
    stamped = [(f.known_from, f.document, f.terms) for f in rows.foils]
    stamped += [(o.at, o.document, o.terms) for o in rows.observations if not rows.foils]
    terms = max(stamped, key=lambda row: row[:2])[2] if stamped else Terms()
    return rules_for(terms, [*(f.legs for f in rows.foils), *(o.legs for o in rows.observations)])


def settled_alone(foil: Foil, at: datetime) -> Foil:
    """Return a foil as it is without the other side. One that is answered keeps its state: the store judges it."""
    if foil.partners and foil.stands:
        return foil
    changed = settle(MatchRows((foil,), ()), at).foils
    return changed[0] if changed else foil


# ------------------------------------------------------------------ what persons decided


def content(legs: Legs) -> str:
    """Return the digest text of a document's legs: equal for equal content."""
    return ";".join(f"{name}={value!r}" for name, value in sorted(legs.items()))


def holds(waiver: Waiver, foil: Foil) -> bool:
    return waiver.foil == foil.id and waiver.ended_at is None and waiver.content == content(foil.legs)


def waiver_settles(waiver: Waiver, rows: MatchRows, now: datetime) -> bool:
    """Report whether a waiver would settle its foil: no amount accepts other books, another value or a broken cap."""
    judgement = judge_rows(msgspec.structs.replace(rows, waivers=(*rows.waivers, waiver)), now)
    documents = [f.document for f in rows.foils if f.id == waiver.foil]
    return all(judgement.foils[document].state is matching.FoilState.WAIVED for document in documents)


def pairing_holds(pairing: Pairing, foil: Foil, observation: Observation) -> bool:
    """Report whether neither document has other legs than when a person paired them."""
    return pairing.ended_at is None and pairing.legs == pair_content(foil, observation)


def pair_content(foil: Foil, observation: Observation) -> str:
    return f"{content(foil.legs)}|{content(observation.legs)}"


def _pairs(rows: MatchRows) -> set[tuple[str, str]]:
    foils = {f.id: f for f in rows.foils}
    observed = {o.id: o for o in rows.observations}
    return {
        (foils[p.foil].document, observed[p.observation].document)
        for p in rows.pairings
        if p.foil in foils
        and p.observation in observed
        and pairing_holds(p, foils[p.foil], observed[p.observation])
    }
