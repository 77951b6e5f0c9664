"""Slow, independent judge of a history of documents by the matching rules of the specification.

It imports nothing of the product: a fault in one cannot hide in the other. Input and output are those of `counterfoil
match FILE`. The answer does not depend on the order or the repetition of the documents in the input.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from itertools import chain
from typing import Any

from tests.matching.oracle_pairing import Pairing, different_leg, is_within_window, namings
from tests.matching.oracle_records import (
    ZERO,
    Amounts,
    Document,
    Documents,
    Rules,
    as_number,
    read_documents,
    read_rules,
)

WORST_FIRST = (
    "broken",
    "over",
    "unmatched",
    "partly",
    "open",
    "provisional",
    "waived",
    "matched",
    "reversed",
    "void",
)
WAIVABLE = frozenset(["open", "partly", "broken", "over"])


def judge(history: dict[str, Any]) -> dict[str, Any]:
    """Return the state of each foil, unmatched item and match at `now`, in the JSON form of `match FILE`."""
    with localcontext() as context:
        context.prec = 60
        rules = read_rules(history)
        documents = read_documents(history)
        keys = sorted({document.match for document in (*documents.left, *documents.right)})
        matches = [Match(rules, documents, key) for key in keys]
        for match in matches:
            match.decide(history.get("waivers") or [])
        uses = used_totals(rules, documents)
        for match in matches:
            match.check_cap(uses.get(match.key, {}))
        answers = list(chain.from_iterable(match.answers() for match in matches))
        items = list(chain.from_iterable(match.items() for match in matches))
        states = {match.key: match.states() or ["matched"] for match in matches}
        return {
            "foils": sorted(answers, key=lambda answer: answer["document"]),
            "unmatched": sorted(items, key=lambda item: item["document"]),
            "match": {key: min(names, key=WORST_FIRST.index) for key, names in states.items()},
        }


def used_totals(rules: Rules, documents: Documents) -> dict[str, dict[object, Decimal]]:
    """Return what standing left documents use up of the total of each match, by currency."""
    uses: dict[str, dict[object, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for left in documents.left:
        for cap in left.record.get("within", ()) if left.stands else ():
            if cap["key"] == left.match:
                continue
            amount = left.amount(rules.total)
            uses[cap["key"]][left.record.get("currency")] += -amount if cap.get("negate") else amount
    return uses


@dataclass
class Foil:
    """One left document with its computed state."""

    document: Document
    state: str
    reason: str = ""
    residual: Amounts = field(default_factory=dict)
    is_of_amounts: bool = True
    """Entity, currency, `equal` and `at_least` legs agree, so that accepting an amount accepts the difference."""


class Match:
    """All documents of one key: the state of each foil, and what stands on the right without a partner."""

    def __init__(self, rules: Rules, documents: Documents, key: str) -> None:
        self.rules = rules
        self.key = key
        self.now = documents.now
        self.is_asserted = key in documents.asserted
        self.lefts = sorted((d for d in documents.left if d.match == key), key=lambda d: d.order)
        standing = [d for d in documents.right if d.match == key and d.stands]
        self.pairing = Pairing(rules, [left for left in self.lefts if left.stands], standing)
        self.pairing.run(documents.pairings)
        alone = self.pairing.alone(self.pairing.rights)
        self.extras = [right for right in alone if right.amount(rules.total) != 0]
        self.foils = {d.name: Foil(d, "reversed" if d.stood else "void") for d in self.lefts}

    def decide(self, waivers: Sequence[dict[str, Any]]) -> None:
        for left in self.pairing.lefts:
            state, reason = self._state(left)
            residual = {leg: self._residual(left, leg) for leg in self.rules.sums if leg in left.legs}
            rights = self.pairing.partners(left)
            is_of_amounts = not self._difference(left, rights) and (
                not rights or self._reaches_minimums(left, rights)
            )
            self.foils[left.name] = Foil(left, state, reason, residual, is_of_amounts)
        for foil in self.foils.values():
            foil.residual = {leg: foil.residual.get(leg, ZERO) for leg in self.rules.sums}
        self._waive(waivers)
        self._show_surplus()
        self._waive(waivers)

    def check_cap(self, uses: dict[object, Decimal]) -> None:
        """Break the foils of this match where other matches use up more than what stands on it."""
        for currency, amount in uses.items():
            own = [left for left in self.pairing.lefts if left.record.get("currency") == currency]
            total = sum((left.amount(self.rules.total) for left in own), ZERO)
            if amount * total < 0 or (total and abs(amount) <= abs(total)) or amount == total:
                continue
            owed = [foil for foil in self.foils.values() if foil.state not in ("void", "reversed")]
            for foil in owed or [foil for foil in self.foils.values() if foil.state != "void"]:
                foil.state, foil.reason = "broken", f"cap: {amount} of {total}"

    def answers(self) -> list[dict[str, Any]]:
        return [
            {
                "document": name,
                "state": foil.state,
                "reason": foil.reason,
                "residual": {leg: self.rules.format(amount) for leg, amount in foil.residual.items()},
            }
            for name, foil in self.foils.items()
        ]

    def items(self) -> list[dict[str, Any]]:
        state = "over" if self.is_asserted else "unmatched"
        return [{"document": extra.name, "state": state} for extra in self.extras]

    def states(self) -> list[str]:
        return [row["state"] for row in (*self.answers(), *self.items())]

    def _group(self, left: Document) -> list[Document]:
        """Return the foils whose amounts are compared together: with shape n:1 all of one document in its books."""
        if self.rules.shape != "n:1":
            return [left]
        (right,) = self.pairing.partners(left)
        return [member for member in self.pairing.partners(right) if member.owner == right.owner]

    def _residual(self, left: Document, leg: str) -> Decimal:
        """Return what is asserted of a leg, less what the left document's own entity shows in its currency."""
        own = [right for right in self.pairing.partners(left) if right.owner == left.owner]
        return left.amount(leg) - sum(
            (self.pairing.shares[left.name, right.name][leg] for right in own), ZERO
        )

    def _state(self, left: Document) -> tuple[str, str]:
        """Return state and reason of one foil, by the order of rules in the specification."""
        rights = self.pairing.partners(left)
        is_late = left.due is not None and self.now >= left.due
        difference = self._difference(left, rights)
        if difference:
            return "broken", difference
        if not rights:
            if left.amount(self.rules.total) == 0:
                return "matched", ""
            if is_late:
                return "broken", f"missing: nothing shows {left.name}"
            return ("provisional" if left.record.get("provisional") else "open"), ""
        members = self._group(left)
        gaps = {
            leg: sum((self._residual(member, leg) for member in members if leg in member.legs), ZERO)
            for leg in self.rules.sums
        }
        sums = {leg: sum((m.amount(leg) for m in members if leg in m.legs), ZERO) for leg in gaps}
        wrong = [leg for leg, gap in gaps.items() if not self.rules.is_absorbed(leg, sums[leg], gap)]
        total = self.rules.total
        names = ", ".join(member.name for member in members)
        if total not in wrong:
            wrong += [] if self._reaches_minimums(left, rights) else ["minimum"]
            return ("broken", f"leg: {', '.join(wrong)}") if wrong else ("matched", "")
        if total in wrong:
            asserted = sum((member.amount(total) for member in members), ZERO)
            shown = asserted - gaps[total]
            if min(asserted, shown) < 0 < max(asserted, shown):
                return "broken", f"amount: other sign, {self.rules.format(shown)}"
            if abs(shown) > abs(asserted):
                return "over", ""
            if self.rules.shape == "1:1":
                return "broken", f"amount: {self.rules.format(gaps[total])}"
            short = f"short: {self.rules.format(gaps[total])} of {names}"
            return ("broken", short) if is_late else ("partly", "")
        if not self._reaches_minimums(left, rights):
            return ("broken", f"short: version of {names}") if is_late else ("partly", "")
        return "matched", ""

    def _difference(self, left: Document, rights: list[Document]) -> str | None:
        for name in ("entity", "currency"):
            if any(left.record.get(name) != right.record.get(name) for right in rights):
                return name
        legs = [different_leg(self.rules, left, right) for right in rights]
        return min((leg for leg in legs if leg), default=None)

    def _reaches_minimums(self, left: Document, rights: list[Document]) -> bool:
        return all(
            any(leg in right.legs and right.amount(leg) >= left.amount(leg) for right in rights)
            for leg in self.rules.minimums
            if leg in left.legs
        )

    def _show_surplus(self) -> None:
        """Mark the foils that show what stands without a partner. One that differs by itself keeps its difference."""
        bearers = [(extra, self._foil_of(extra)) for extra in self.extras if self.is_asserted]
        for extra, bearer in bearers:
            if bearer is None:
                continue
            foil = self.foils[bearer.name]
            foil.state = "over"
            foil.reason = "void: it was withdrawn" if bearer not in self.pairing.lefts else ""
            for leg in self.rules.sums:
                if leg in bearer.legs:
                    foil.residual[leg] -= extra.amount(leg)

    def _foil_of(self, extra: Document) -> Document | None:
        """Return the foil of the extra's own books that bears it: the latest of the first kind that there is."""
        total = self.rules.total
        own = [
            left
            for left in self.lefts
            if left.owner == extra.owner
            and (is_within_window(self.rules, left, extra) or namings(left, extra))
        ]
        standing = [left for left in own if left in self.pairing.lefts]
        settled = [left for left in standing if self.foils[left.name].state in ("matched", "over")]
        partnered = [left for left in settled if self.pairing.partners(left)]
        equal = [left for left in partnered if left.amount(total) == extra.amount(total)]
        withdrawn = [left for left in own if left.stood and left not in standing]
        zeros = [left for left in settled if left.amount(total) == 0]
        for candidates in (equal, partnered, withdrawn, zeros):
            if candidates:
                return candidates[-1]
        return None

    def _waive(self, waivers: Sequence[dict[str, Any]]) -> None:
        for waiver in waivers:
            foil = self.foils.get(waiver["document"])
            if foil is None or foil.state not in WAIVABLE or not foil.is_of_amounts:
                continue
            if all(
                as_number(waiver["residual"].get(leg, 0)) == foil.residual[leg] for leg in self.rules.sums
            ):
                foil.state, foil.reason = "waived", ""
