"""Matches in plain finance words: the reason of a counterfoil's state, and what a person's decision would do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from counterfoil.core.foil import Foil, Observation
from counterfoil.core.matching import FoilState
from counterfoil.core.money import Money
from counterfoil.core.terms import Legs, rules_for
from counterfoil.model.kinds import Reconciliation
from counterfoil.store.port.documents import Decision, Unpair, Waive, foils_of, observations_of
from counterfoil.web.api.shapes import shown_of

MAX_ACRONYM_CHARS = 3


def system_title(name: str) -> str:
    """Return the name of a system as it begins a sentence: `ERP`, `Billing`."""
    text = name.replace("_", " ").replace("-", " ")
    return text.upper() if len(text) <= MAX_ACRONYM_CHARS else text[:1].upper() + text[1:]


def amount_text(value: Money | int | str) -> str:
    return value.grouped() if isinstance(value, Money) else str(value)


def total_text(foil: Foil | Observation) -> str:
    """Return the total of a document; all its amounts where no leg is the total."""
    return _total_of(foil, foil.legs) or ", ".join(
        f"{leg_words(leg)} {amount_text(v)}" for leg, v in foil.legs.items()
    )


def explain(foil: Foil, items: Sequence[Observation]) -> str:
    """Return why a counterfoil has its state, as sentences for finance. `items` are those of its match."""
    return _Reason(foil, items).text()


def explain_item(item: Observation, left: str, right: str) -> str:
    """Return what is known of an item that no counterfoil accounts for."""
    right_title = system_title(item.ledger or right)
    what = f"{right_title} shows {item.number} over {total_text(item)}"
    if item.state == "over":
        return f"{what}, more than {system_title(left)} asserts."
    return f"{what}. No document of {system_title(left)} accounts for it."


def item_systems(item: Observation, reconciliations: Mapping[str, Reconciliation]) -> tuple[str, str]:
    """Return the left and the right system of an item's reconciliation."""
    rule = reconciliations.get(item.rule)
    return ("the other system", item.system) if rule is None else (rule.left, rule.right)


def describe(decision: Decision, foils: Sequence[Foil | None], items: Sequence[Observation | None]) -> str:
    """Return what a decision on a match does, with its documents and their amounts. None for one that does not exist."""
    lefts = [_left_text(id_, foil) for id_, foil in zip(foils_of(decision), foils, strict=True)]
    left, foil = " and ".join(lefts), foils[0]
    if isinstance(decision, Waive):
        if foil is None or not any(foil.residual.values()):
            return f"Accept the difference of {left}"
        return f"Accept the difference of {left}: {difference_text(foil)}"
    rights = [
        _right_text(id_, item, foil) for id_, item in zip(observations_of(decision), items, strict=True)
    ]
    right = " and ".join(rights)
    if isinstance(decision, Unpair):
        return f"End the pair of {right} with {left}"
    return f"Pair {right} with {left}"


def _left_text(id_: str, foil: Foil | None) -> str:
    return id_ if foil is None else f"{foil.number} ({system_title(foil.left)}, {total_text(foil)})"


def _right_text(id_: str, item: Observation | None, foil: Foil | None) -> str:
    if item is None:
        return id_
    system = item.ledger or ("" if foil is None else foil.right)
    return f"{item.number} ({', '.join(filter(None, [system_title(system), total_text(item)]))})"


def difference_text(foil: Foil) -> str:
    """Return what is missing or too much, the total first: `10.00 USD less than asserted`. Others, if they differ by more."""
    total = rules_for(foil.terms, (foil.legs,)).total
    names = sorted((leg for leg, by in foil.residual.items() if by), key=lambda leg: (leg != total, leg))
    if total in names:
        by = abs(foil.residual[total])
        names = [leg for leg in names if leg == total or abs(foil.residual[leg]) > by]
    return ", ".join(_less_or_more(foil, leg, named=leg != total) for leg in names)


def _less_or_more(foil: Foil, leg: str, named: bool) -> str:
    value, by = foil.legs.get(leg, 0), foil.residual[leg]
    asserted = value.minor if isinstance(value, Money) else value if isinstance(value, int) else 0
    less = foil.stands and asserted != 0 and (by > 0) is (asserted > 0)
    text = f"{amount_text(foil.of_leg(leg, abs(by)))} {'less' if less else 'more'} than asserted"
    return f"{leg_words(leg)} {text}" if named else text


def leg_words(leg: str) -> str:
    """Return the name of a leg for people: `taxes[DE-19].base` becomes `taxes DE-19 base`."""
    name, divided, part = leg.partition("[")
    words = name.replace("_", " ")
    return f"{words} {' '.join(part.rsplit('].', 1))}" if divided else words


def _total_of(row: Foil | Observation, legs: Legs) -> str:
    value = legs.get(rules_for(row.terms, (row.legs,)).total or "")
    return "" if value is None else amount_text(value)


class _Reason:
    def __init__(self, foil: Foil, items: Sequence[Observation]) -> None:
        self.foil = foil
        self.left, self.right = system_title(foil.left), system_title(foil.right)
        self.partners = [o for o in items if o.id in foil.partners]
        self.documents = " and ".join(o.number for o in self.partners) or "it"
        self.asserted = total_text(foil)
        self.observed = _total_of(foil, shown_of(foil))
        kind, colon, rest = foil.reason.partition(": ")
        self.kind, self.rest = (kind, rest) if colon else ("", foil.reason)

    def text(self) -> str:
        match self.foil.state:
            case FoilState.PROVISIONAL:
                return f"{self.left} has not confirmed the call yet. {self.right} owes nothing until then."
            case FoilState.OPEN:
                return f"{self.right} does not show it yet. Due {_minute(self.foil.due)}."
            case FoilState.PARTLY:
                return self._partly() + self._group()
            case FoilState.MATCHED:
                return self._matched()
            case FoilState.OVER:
                return self._over() + self._group()
            case FoilState.BROKEN:
                return self._broken() + self._group()
            case FoilState.WAIVED:
                difference = difference_text(self.foil)
                return f"A person accepted the difference{f': {difference}' if difference else ''}."
            case FoilState.REVERSED:
                by = "Another document of" if self.foil.reason.startswith("reversed by") else "Taken back in"
                verb = " reverses it" if by.startswith("Another") else ""
                return f"{by} {self.left}{verb}: nothing is expected any more."
            case FoilState.VOID:
                return f"{self.left} never posted it: nothing is expected."

    def _matched(self) -> str:
        if not self.partners:
            return f"The amount is zero: {self.right} owes nothing."
        if difference := difference_text(self.foil):
            return f"{self.right} shows {self.documents} over {self.observed}, {difference}: within the tolerance."
        return f"{self.right} shows {self.documents} over {self.observed or self.asserted}, as asserted."

    def _partly(self) -> str:
        if not any(self.foil.residual.values()):
            return f"{self.right} shows {self.documents}, but not yet all of it. {self.foil.reason}."
        rest = self._still_owed()
        return (
            f"{self.right} shows {self.documents} over {self.observed}. {rest}, due {_minute(self.foil.due)}."
        )

    def _over(self) -> str:
        if not self.foil.stands:
            return f"{self.left} took it back, but {self.right} shows {self.documents} over {self._items_total()}."
        if self.rest.endswith("is shown as well"):
            return f"{self.right} also shows {self.rest.removesuffix(' is shown as well')}: {difference_text(self.foil)}."
        return f"{self.right} shows {self.documents} over {self.observed}, {difference_text(self.foil)}."

    def _broken(self) -> str:
        rest = self.rest.partition("; ")[0]
        shows = f"{self.right} shows {self.documents}"
        match self.kind:
            case "missing":
                due = _minute(self.foil.due)
                return f"{self.right} does not show it. It was due {due}. {self._still_owed()}."
            case "short":
                due = _minute(self.foil.due)
                return f"{shows} over {self.observed}. {self._still_owed()}; it was due {due}."
            case "amount" if "with the other sign" in self.rest:
                return f"{shows} with the other sign: {self.observed} instead of {self.asserted}."
            case "amount":
                return f"{shows} over {self.observed}, {difference_text(self.foil)}."
            case "leg":
                return f"{shows}. The total agrees, but not every part: {difference_text(self.foil) or rest}."
            case "entity" | "currency":
                return f"{shows} in another {self.kind}: {rest}."
            case "cap":
                return f"{rest[:1].upper()}{rest[1:]}."
            case "":
                return f"{shows}. {self.foil.reason}."
            case leg:
                return f"{shows} with another {leg.replace('_', ' ')}: {rest}."

    def _still_owed(self) -> str:
        return f"Still owed: {difference_text(self.foil).removesuffix(' less than asserted')}"

    def _items_total(self) -> str:
        return " and ".join(total_text(o) for o in self.partners)

    def _group(self) -> str:
        """Return with which documents a counterfoil shares an item, so that they are judged as one."""
        _, separator, group = self.foil.reason.partition(" in a group of ")
        return f" Judged as one group of {group}." if separator else ""


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
