"""The difference that a pair of two documents leaves open, in plain finance words, before a person makes it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace

from counterfoil.core.foil import Foil, Observation
from counterfoil.core.matching import FoilState
from counterfoil.core.money import Money
from counterfoil.core.settle import settle
from counterfoil.core.terms import rules_for
from counterfoil.store.port.documents import Pair
from counterfoil.store.port.views import MatchRow
from counterfoil.web.api.match_words import amount_text, leg_words, system_title


def pair_effect(item: Observation, foil: Foil, match: MatchRow, now: datetime) -> str:
    """Return what a pair would leave open, as sentences; empty if both documents would then agree.

    The pair is settled on a copy of the match, by the rules of its reconciliation.
    """
    differences = pair_differences(item, foil)
    pairing = Pair(foil=foil.id, observation=item.id, seen="", note="", person="").pairing(foil, item, now)
    others = tuple(o for o in match.observations if o.id != item.id)
    moved = replace(item, key=foil.key, own_key=item.own_key or item.key)
    rows = replace(match, observations=(*others, moved), pairings=(*match.pairings, pairing)).rows
    after = next((f for f in settle(rows, now).foils if f.id == foil.id), foil)
    if not differences or after.state is FoilState.MATCHED:
        return ""
    if after.state is FoilState.PARTLY:
        return " ".join([*differences, f"The rest stays open until {foil.due:%Y-%m-%d %H:%M} UTC."])
    return " ".join([*differences, "As a pair they are a break until one of them is corrected."])


def group_effect(items: Sequence[Observation], foils: Sequence[Foil], match: MatchRow, now: datetime) -> str:
    """Return what pairs of several documents would leave, as a sentence; `match` is that of the foils."""
    pairings = [
        Pair(foil=foil.id, observation=item.id, seen="", note="", person="").pairing(foil, item, now)
        for foil in foils
        for item in items
    ]
    ids = {item.id for item in items}
    moved = [replace(item, key=foils[0].key, own_key=item.own_key or item.key) for item in items]
    others = [o for o in match.observations if o.id not in ids]
    rows = replace(match, observations=(*others, *moved), pairings=(*match.pairings, *pairings)).rows
    names = {foil.id for foil in foils}
    after = {f.state for f in settle(rows, now).foils if f.id in names}
    if after <= {FoilState.MATCHED}:
        return "As a pair or group they agree."
    if after <= {FoilState.MATCHED, FoilState.PARTLY}:
        return "The rest stays open until it is due."
    return "As a group they are a break until one of them is corrected."


def pair_differences(item: Observation, foil: Foil) -> list[str]:
    """Return in what an item differs from what is still missing of a counterfoil, the total first; empty if equal."""
    total = rules_for(foil.terms, (foil.legs,)).total
    legs = sorted(foil.legs, key=lambda leg: (leg != total, leg))
    texts = [_of_leg(item, foil, leg, "" if leg == total else f"{leg_words(leg)}: ") for leg in legs]
    if item.entity and foil.entity and item.entity != foil.entity:
        texts.append(f"{system_title(foil.right)} books it in entity {item.entity}, not in {foil.entity}.")
    return [text for text in texts if text]


def missing_text(foil: Foil) -> str:
    """Return what is still missing of the total of a counterfoil; of every leg where none is the total."""
    total = rules_for(foil.terms, (foil.legs,)).total
    legs = [total] if total in foil.residual else sorted(foil.residual)
    return ", ".join(amount_text(foil.of_leg(leg, foil.residual[leg])) for leg in legs)


def _of_leg(item: Observation, foil: Foil, leg: str, name: str) -> str:
    asserted, observed = foil.legs[leg], item.legs.get(leg)
    missing = foil.of_leg(leg, foil.residual[leg]) if leg in foil.residual else asserted
    if observed is None or observed == missing:
        return ""
    right = system_title(foil.right)
    pair = f"{name}{right} shows {amount_text(observed)}, and {amount_text(missing)} is missing"
    if isinstance(missing, str) or isinstance(observed, str):
        return f"{name}{right} shows {amount_text(observed)} instead of {amount_text(missing)}."
    if isinstance(missing, Money) is not isinstance(observed, Money):
        return f"{pair}."
    if isinstance(missing, Money) and isinstance(observed, Money):
        if missing.currency != observed.currency:
            return f"{pair}: another currency."
        less, by = (
            missing.minor - observed.minor,
            Money(abs(missing.minor - observed.minor), missing.currency),
        )
        more = (less < 0) is (missing.minor >= 0)
        return f"{pair}: {amount_text(by)} too {'much' if more else 'little'}."
    return f"{pair}."
