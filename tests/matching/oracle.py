"""Slow, independent judge of a history of documents by the matching rules of the specification.

It imports nothing of the product: a fault in one cannot hide in the other. Input and output are those of `counterfoil
match FILE`. The answer does not depend on the order or the repetition of the documents in the input.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from itertools import chain, product
from typing import Any

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
MAX_TRIED_DOCUMENTS = 6
"""Up to this many documents a side, every assignment is tried; above, the best pair is taken again and again."""

ZERO = Decimal(0)
Amounts = dict[str, Decimal]
Record = dict[str, Any]


def judge(history: dict[str, Any]) -> dict[str, Any]:
    """Return the state of each foil, unmatched item and match at `now`, in the JSON form of `match FILE`."""
    with localcontext() as context:
        context.prec = 60
        rules = _read_rules(history)
        documents = _read_documents(history)
        keys = sorted({document.match for document in (*documents.left, *documents.right)})
        matches = [Match(rules, documents, key) for key in keys]
        for match in matches:
            match.decide(history.get("waivers") or [])
        answers = list(chain.from_iterable(match.answers() for match in matches))
        items = list(chain.from_iterable(match.items() for match in matches))
        states = {match.key: match.states() for match in matches}
        return {
            "foils": sorted(answers, key=lambda answer: answer["document"]),
            "unmatched": sorted(items, key=lambda item: item["document"]),
            "match": {key: min(names, key=WORST_FIRST.index) for key, names in states.items() if names},
        }


# Reading


@dataclass(frozen=True)
class Rules:
    """Legs by kind, tolerances, shape and the number of decimals that residuals are printed with."""

    sums: tuple[str, ...]
    equals: tuple[str, ...]
    minimums: tuple[str, ...]
    tolerance: Amounts
    total: str | None
    shape: str
    decimals: int

    @property
    def many_rights(self) -> bool:
        return self.shape in ("1:n", "n:m")

    @property
    def many_lefts(self) -> bool:
        return self.shape in ("n:1", "n:m")

    def format(self, amount: Decimal) -> str:
        return format(amount if amount else ZERO, f".{self.decimals}f")


def _read_rules(history: dict[str, Any]) -> Rules:
    legs: dict[str, dict[str, Any]] = history["legs"]
    by_kind = {kind: tuple(n for n, leg in legs.items() if leg["kind"] == kind) for kind in _KINDS}
    sums = by_kind["sum"]
    amounts = [r["legs"][name] for r in history["documents"] for name in sums if name in r["legs"]]
    exponents = [-int(_number(amount).as_tuple().exponent) for amount in amounts]
    totals = [name for name in sums if legs[name].get("total")]
    return Rules(
        sums,
        tuple(sorted(by_kind["equal"])),
        tuple(sorted(by_kind["at_least"])),
        {name: _number(legs[name].get("tolerance", 0)) for name in sums},
        next(iter(totals or sums), None),
        history.get("shape", "1:1"),
        max([2, *exponents]),
    )


_KINDS = ("sum", "equal", "at_least")


def _number(value: object) -> Decimal:
    return Decimal(str(value))


def _time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Document:
    """Newest version of one document of one side, on the match that it belongs to now."""

    side: str
    name: str
    record: Record
    match: str
    stands: bool
    stood: bool
    """Some known version stood: the document is withdrawn, not void, when it stands no more."""

    @property
    def legs(self) -> dict[str, Any]:
        return self.record.get("legs") or {}

    @property
    def owner(self) -> tuple[object, object]:
        return self.record.get("entity"), self.record.get("currency")

    @property
    def reverses(self) -> str | None:
        original = self.record.get("reverses")
        return None if original == self.name else original

    @property
    def names(self) -> frozenset[str]:
        names = self.record.get("names") or ()
        return frozenset([names] if isinstance(names, str) else names)

    @property
    def due(self) -> datetime | None:
        return _time(self.record["due"]) if self.record.get("due") else None

    @property
    def order(self) -> tuple[datetime, datetime, str]:
        """Due time, then effective date, then name. Arrival has no part in it: every order ends in one state."""
        effective = self.record.get("effective")
        return (self.due or _LAST, _time(effective) if effective else _LAST, self.name)

    def amount(self, leg: str | None) -> Decimal:
        return _number(self.legs[leg]) if leg in self.legs else ZERO


_LAST = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Documents:
    """Both sides at one moment, with the pairings in force and the matches on which anything was asserted."""

    now: datetime
    left: tuple[Document, ...]
    right: tuple[Document, ...]
    pairings: tuple[tuple[str, str], ...]
    asserted: frozenset[str]


Versions = dict[str, dict[str, list[Record]]]
"""Known records by side and document."""


def _read_documents(history: dict[str, Any]) -> Documents:
    records: list[Record] = history["documents"]
    times = [_time(record["at"]) for record in records]
    now = _time(history["now"]) if history.get("now") else max(times, default=_LAST)
    versions: Versions = {"left": defaultdict(list), "right": defaultdict(list)}
    for record, at in zip(records, times, strict=True):
        if at <= now:
            versions[record["side"]][record["document"]].append(record)
    pairings = _pairings_in_force(history, versions)
    partner = {right: left for left, right in pairings}
    newest = {side: {name: _newest(group) for name, group in versions[side].items()} for side in versions}

    def home(side: str, name: str, trail: tuple[str, ...] = ()) -> str:
        if side == "right" and name in partner:
            return home("left", partner[name])
        original = newest[side][name].get("reverses")
        if original in newest[side] and original not in (*trail, name):
            return home(side, original, (*trail, name))
        return str(newest[side][name]["key"])

    def read(side: str) -> tuple[Document, ...]:
        standing = _standing(side, newest[side], versions[side])
        return tuple(
            Document(side, name, record, home(side, name), name in standing, _stood(versions[side][name]))
            for name, record in sorted(newest[side].items())
        )

    left = read("left")
    former = {
        document.match if record.get("reverses") in newest["left"] else str(record["key"])
        for document in left
        for record in versions["left"][document.name]
        if _stands(record)
    }
    asserted = former | {document.match for document in left if document.stood}
    return Documents(now, left, read("right"), pairings, frozenset(asserted))


def _stands(record: Record) -> bool:
    return record.get("stands") is not False


def _stood(records: Sequence[Record]) -> bool:
    return any(_stands(record) for record in records)


def _newest(records: Sequence[Record]) -> Record:
    """Return the highest version; of equal ones that which does not stand, then the larger canonical content."""

    def rank(record: Record) -> tuple[Decimal, bool, str]:
        content = {name: value for name, value in record.items() if name != "at"}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return _number(record["version"]), not _stands(record), text

    return max(records, key=rank)


def _standing(side: str, newest: dict[str, Record], versions: dict[str, list[Record]]) -> set[str]:
    """Return the documents that stand. On the right, one flagged as cancelled *and* reversed counts as standing."""
    standing = {name for name, record in newest.items() if _stands(record)}
    while side == "right":
        reversed_names = {str(newest[name].get("reverses")) for name in standing} & newest.keys()
        added = {name for name in reversed_names if name not in standing and _stood(versions[name])}
        if not added:
            break
        standing |= added
    return standing


def _pairings_in_force(history: dict[str, Any], versions: Versions) -> tuple[tuple[str, str], ...]:
    """Return a person's pairings whose documents still have the legs that they had when both were first known.

    Of two pairings of one right document, the first in the file holds.
    """
    kinds = {name: leg["kind"] for name, leg in history["legs"].items()}

    def content(record: Record) -> dict[str, object]:
        legs = record.get("legs") or {}
        return {n: str(legs[n]) if kinds[n] == "equal" else _number(legs[n]) for n in kinds if n in legs}

    def holds(left: Sequence[Record], right: Sequence[Record]) -> bool:
        start = max(min(_time(r["at"]) for r in left), min(_time(r["at"]) for r in right))
        moments = {start} | {_time(r["at"]) for r in (*left, *right) if _time(r["at"]) > start}
        contents = [
            [content(_newest([r for r in records if _time(r["at"]) <= moment])) for records in (left, right)]
            for moment in sorted(moments)
        ]
        return all(later == contents[0] for later in contents)

    pairings: dict[str, str] = {}
    for left, right in history.get("pairings") or []:
        both = left in versions["left"] and right in versions["right"]
        if both and right not in pairings and holds(versions["left"][left], versions["right"][right]):
            pairings[right] = left
    return tuple((left, right) for right, left in pairings.items())


# Pairing

Pair = tuple[Document, Document]


@dataclass
class Pairing:
    """Partners on one match while the ranks run, with the amounts that each left document received."""

    rules: Rules
    lefts: list[Document]
    rights: list[Document]
    shares: dict[tuple[str, str], Amounts] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.lefts.sort(key=_order)
        self.rights.sort(key=_order)

    def partners(self, document: Document) -> list[Document]:
        if document.side == "left":
            return [right for right in self.rights if (document.name, right.name) in self.shares]
        return [left for left in self.lefts if (left.name, document.name) in self.shares]

    def received(self, left: Document, leg: str) -> Decimal:
        return sum((share[leg] for (name, _), share in self.shares.items() if name == left.name), ZERO)

    def lacking(self, left: Document, leg: str) -> Decimal:
        return left.amount(leg) - self.received(left, leg)

    def remaining(self, right: Document, leg: str) -> Decimal:
        given_away = (share[leg] for (_, name), share in self.shares.items() if name == right.name)
        return right.amount(leg) - sum(given_away, ZERO)

    def join(self, left: Document, right: Document, *, whole: bool) -> None:
        """Give the left document all that remains of the right one, or of each leg only what it lacks."""
        share = self.shares.setdefault((left.name, right.name), dict.fromkeys(self.rules.sums, ZERO))
        for leg in self.rules.sums:
            rest = self.remaining(right, leg)
            share[leg] += rest if whole else _smaller(self.lacking(left, leg), rest)

    def is_free(self, left: Document, right: Document) -> bool:
        left_is_free = self.rules.many_rights or not self.partners(left)
        right_is_free = self.rules.many_lefts or not self.partners(right)
        return left_is_free and right_is_free and right not in self.partners(left)

    # The ranks, in the order of the specification

    def join_by_person(self, pairings: Sequence[tuple[str, str]]) -> None:
        for pairing in pairings:
            for left, right in product(self.lefts, self.rights):
                if (left.name, right.name) == pairing and self.is_free(left, right):
                    self.join(left, right, whole=not self.rules.many_lefts)

    def join_by_name(self) -> None:
        """Join documents of which one names the other; where a document may have one partner, the best one."""
        edges = [
            (left, right)
            for left, right in product(self.lefts, self.rights)
            if _namings(left, right) and self.is_free(left, right)
        ]
        if self.rules.shape == "1:1":
            edges = self._assign(edges)
        elif self.rules.shape != "n:m":
            single = 1 if self.rules.many_rights else 0
            names = dict.fromkeys(edge[single].name for edge in edges)
            edges = [max((e for e in edges if e[single].name == n), key=self._quality) for n in names]
        for left, right in edges:
            self.join(left, right, whole=not self.rules.many_lefts)

    def join_equal_totals(self) -> None:
        total = self.rules.total
        alone = [d for d in (*self.lefts, *self.rights) if not self.partners(d)]
        for amount in sorted({document.amount(total) for document in alone}):
            lefts = [d for d in alone if d.side == "left" and d.amount(total) == amount]
            rights = [d for d in alone if d.side == "right" and d.amount(total) == amount]
            for left, right in self._assign(list(product(lefts, rights))):
                self.join(left, right, whole=True)

    def next_cancellation(self) -> Pair | None:
        """Return a reversal without partner and its original; the last reversal of a chain comes first."""
        for side in (self.rights, self.lefts):
            by_name = {document.name: document for document in side}
            reversals = [d for d in side if d.reverses in by_name and not self.partners(d)]
            for reversal in sorted(reversals, key=lambda d: (-_depth(d, by_name), d.order)):
                original = by_name[str(reversal.reverses)]
                is_free = side is self.rights or not self.partners(original)
                if is_free and self._is_opposite(reversal, original):
                    return reversal, original
        return None

    def join_rest(self) -> None:
        """Join by due time, same sign; documents of one entity and currency before others."""
        if self.rules.shape == "n:1":
            self._fill_groups()
            return
        for same_owner in (True, False):
            for left, right in product(self.lefts, self.rights):
                if (
                    self._wants(left)
                    and self._suits(left, right)
                    and same_owner <= (left.owner == right.owner)
                ):
                    self.join(left, right, whole=not self.rules.many_lefts)
        if self.rules.many_rights:
            self._fill_gaps()

    def _fill_gaps(self) -> None:
        """Give whole documents to left ones that lack as much or more, although they are within tolerance."""
        total = self.rules.total
        for right, left in product(self.rights, self.lefts):
            if total and not self.partners(right) and self._suits(left, right) and left.owner == right.owner:
                lacking = self.lacking(left, total)
                if _sign(lacking) == _sign(left.amount(total)) and abs(lacking) >= abs(right.amount(total)):
                    self.join(left, right, whole=True)

    def _fill_groups(self) -> None:
        """Shape n:1: fill right documents by due time. What exceeds the last one joins its group all the same."""
        rights = [right for right in self.rights if self._room(right) > self._tolerance()]
        for left in self.lefts:
            suitable = [
                right for right in rights if _sign(left.amount(self.rules.total)) == self._right_sign(right)
            ]
            suitable = [right for right in suitable if right.owner == left.owner] or suitable
            if suitable and self._wants(left):
                unfilled = [right for right in suitable if self._room(right) > self._tolerance()]
                self.join(left, (unfilled or suitable[-1:])[0], whole=False)

    def distribute(self) -> None:
        """Hand the legs of shared right documents out by due time; what nothing lacks falls to the last partner."""
        if not self.rules.many_lefts:
            return
        for right in self.rights:
            lefts = self.partners(right)
            if self.rules.shape == "n:1":
                for left in lefts:
                    self.shares[left.name, right.name] = dict.fromkeys(self.rules.sums, ZERO)
                for left in lefts:
                    self.join(left, right, whole=False)
            for left in lefts[-1:]:
                self.join(left, right, whole=True)

    # What may be joined

    def _tolerance(self) -> Decimal:
        return self.rules.tolerance[self.rules.total] if self.rules.total else ZERO

    def _right_sign(self, right: Document) -> int:
        return _sign(right.amount(self.rules.total))

    def _room(self, right: Document) -> Decimal:
        """Return how much of the right document's total its partners do not assert; negative when they assert more."""
        total = self.rules.total
        if total is None:
            return ZERO if self.partners(right) else Decimal(1)
        members = sum((left.amount(total) for left in self.partners(right)), ZERO)
        return (right.amount(total) - members) * self._right_sign(right)

    def _wants(self, left: Document) -> bool:
        total = self.rules.total
        if total is None or not self.rules.many_rights:
            return not self.partners(left) and (total is None or left.amount(total) != 0)
        return self.lacking(left, total) * _sign(left.amount(total)) > self._tolerance()

    def _suits(self, left: Document, right: Document) -> bool:
        total = self.rules.total
        if total is None or self.rules.shape != "n:m":
            is_free = not self.partners(right)
        else:
            is_free = self.remaining(right, total) != 0
        return is_free and _sign(left.amount(total)) == self._right_sign(right)

    def _is_opposite(self, reversal: Document, original: Document) -> bool:
        amounts_cancel = all(reversal.amount(leg) == -original.amount(leg) for leg in self.rules.sums)
        return amounts_cancel and reversal.owner == original.owner

    # The best of several assignments

    def _quality(self, edge: Pair) -> tuple[int, ...]:
        left, right = edge
        gaps_are_small = all(
            abs(left.amount(leg) - right.amount(leg)) <= self.rules.tolerance[leg]
            for leg in self.rules.sums
            if leg in left.legs
        )
        equal = not _different_leg(self.rules, left, right)
        return _namings(left, right), left.owner == right.owner, equal, gaps_are_small

    def _assign(self, edges: list[Pair]) -> list[Pair]:
        """Return disjoint pairs: most pairs, then those that agree best, then the earliest."""
        lefts = sorted({left.name: left for left, _ in edges}.values(), key=_order)
        rights = sorted({right.name: right for _, right in edges}.values(), key=_order)
        places = {(d.side, d.name): i for side in (lefts, rights) for i, d in enumerate(side)}

        def value(pairs: Sequence[Pair]) -> tuple[object, ...]:
            qualities = [self._quality(pair) for pair in pairs]
            early = [(-places["left", a.name], -places["right", b.name]) for a, b in pairs]
            return len(pairs), [sum(column) for column in zip(*qualities, strict=True)], early

        if max(len(lefts), len(rights), 0) <= MAX_TRIED_DOCUMENTS:
            return max(_assignments(lefts, edges), key=value)
        chosen: list[Pair] = []
        rest = edges
        while rest:
            best = max(rest, key=lambda edge: value([edge]))
            chosen.append(best)
            rest = [e for e in rest if e[0].name != best[0].name and e[1].name != best[1].name]
        return chosen


def _assignments(lefts: Sequence[Document], edges: Sequence[Pair]) -> Iterator[list[Pair]]:
    """Yield every set of disjoint edges."""
    if not lefts:
        yield []
        return
    first, *others = lefts
    yield from _assignments(others, edges)
    for edge in edges:
        if edge[0].name == first.name:
            rest = [e for e in edges if e[1].name != edge[1].name]
            for assignment in _assignments(others, rest):
                yield [edge, *assignment]


def _order(document: Document) -> tuple[datetime, datetime, str]:
    return document.order


def _sign(amount: Decimal) -> int:
    return (amount > 0) - (amount < 0)


def _smaller(first: Decimal, second: Decimal) -> Decimal:
    """Return the amount of smaller magnitude, zero where the signs differ."""
    return min(first, second, key=abs) if _sign(first) == _sign(second) else ZERO


def _namings(left: Document, right: Document) -> int:
    return (right.name in left.names) + (left.name in right.names)


def _depth(document: Document, by_name: dict[str, Document]) -> int:
    """Return the number of reversals from the document back to its first original."""
    trail = [document.name]
    while (original := by_name[trail[-1]].reverses) in by_name and original not in trail:
        trail.append(str(original))
    return len(trail)


def _different_leg(rules: Rules, left: Document, right: Document) -> str | None:
    """Return the first `equal` leg, by name, of the left document that the right one lacks or shows otherwise."""
    for leg in rules.equals:
        if leg in left.legs and str(left.legs[leg]) != str(right.legs.get(leg, "")):
            return leg
    return None


# States


@dataclass
class Foil:
    """One left document with its computed state."""

    document: Document
    state: str
    reason: str = ""
    residual: Amounts = field(default_factory=dict)


class Match:
    """All documents of one key: the state of each foil, and what stands on the right without a partner."""

    def __init__(self, rules: Rules, documents: Documents, key: str) -> None:
        self.rules = rules
        self.key = key
        self.now = documents.now
        self.is_asserted = key in documents.asserted
        self.lefts = sorted((d for d in documents.left if d.match == key), key=_order)
        self.rights = sorted((d for d in documents.right if d.match == key), key=_order)
        self.pairing = self._pair(documents.pairings)
        self.extras = [right for right in self.pairing.rights if not self.pairing.partners(right)]
        self.foils = {d.name: Foil(d, "reversed" if d.stood else "void") for d in self.lefts}

    def decide(self, waivers: Sequence[dict[str, Any]]) -> None:
        for members in self._groups():
            state, reason = self._state(members)
            for left in members:
                self.foils[left.name] = Foil(left, state, reason)
        surplus = self._show_over()
        for foil in self.foils.values():
            for leg in self.rules.sums:
                stands = foil.document in self.pairing.lefts
                owed = self.pairing.lacking(foil.document, leg) if stands else ZERO
                residual = owed - surplus[foil.document.name][leg]
                foil.residual[leg] = residual if leg in foil.document.legs else ZERO
            self._waive(foil, waivers)

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

    def _pair(self, pairings: Sequence[tuple[str, str]]) -> Pairing:
        """Run the ranks again from the start after each cancellation, so that a freed partner is offered anew."""
        lefts = [left for left in self.lefts if left.stands]
        rights = [right for right in self.rights if right.stands]
        while True:
            pairing = Pairing(self.rules, lefts, rights)
            pairing.join_by_person(pairings)
            pairing.join_by_name()
            pairing.join_equal_totals()
            cancelled = pairing.next_cancellation()
            if cancelled is None:
                break
            lefts = [left for left in lefts if left not in cancelled]
            rights = [right for right in rights if right not in cancelled]
        pairing.join_rest()
        pairing.distribute()
        return pairing

    def _group(self, left: Document) -> list[Document]:
        """Return what is judged together: one foil, or with shape n:1 all foils of one right document."""
        rights = self.pairing.partners(left)
        return self.pairing.partners(rights[0]) if rights and self.rules.shape == "n:1" else [left]

    def _groups(self) -> list[list[Document]]:
        groups = [(left, self._group(left)) for left in self.pairing.lefts]
        return [group for left, group in groups if group[0] is left]

    def _state(self, members: list[Document]) -> tuple[str, str]:
        """Return state and reason of foils that are judged together, by the order of rules in the specification."""
        rights = self.pairing.partners(members[0])
        dues = [left.due for left in members]
        is_late = all(due is not None and self.now > due for due in dues)
        difference = self._difference(members, rights)
        if difference:
            return "broken", difference
        if not rights:
            if self._is_zero(members[0]):
                return "matched", ""
            if is_late:
                return "broken", f"missing: nothing shows {members[0].name}"
            return ("provisional" if members[0].record.get("provisional") else "open"), ""
        gaps = {
            leg: sum((self.pairing.lacking(left, leg) for left in members), ZERO)
            for leg in self.rules.sums
            if any(leg in left.legs for left in members)
        }
        wrong = [leg for leg, gap in gaps.items() if abs(gap) > self.rules.tolerance[leg]]
        total = self.rules.total
        asserted = sum((left.amount(total) for left in members), ZERO)
        names = ", ".join(left.name for left in members)
        if wrong and total not in wrong:
            return "broken", f"leg: {', '.join(wrong)}"
        if total in wrong and (asserted == 0 or _sign(gaps[total]) != _sign(asserted)):
            return "over", ""
        if total in wrong and self.rules.shape == "1:1":
            return "broken", f"amount: {self.rules.format(gaps[total])}"
        if total in wrong:
            short = f"short: {self.rules.format(gaps[total])} of {names}"
            return ("broken", short) if is_late else ("partly", "")
        if not all(self._reaches_minimums(left, rights) for left in members):
            return ("broken", f"short: version of {names}") if is_late else ("partly", "")
        return "matched", ""

    def _difference(self, members: list[Document], rights: list[Document]) -> str | None:
        pairs = list(product(members, rights))
        for name in ("entity", "currency"):
            if any(left.record.get(name) != right.record.get(name) for left, right in pairs):
                return name
        legs = [_different_leg(self.rules, left, right) for left, right in pairs]
        return min((leg for leg in legs if leg), default=None)

    def _reaches_minimums(self, left: Document, rights: list[Document]) -> bool:
        return all(
            any(leg in right.legs and right.amount(leg) >= left.amount(leg) for right in rights)
            for leg in self.rules.minimums
            if leg in left.legs
        )

    def _is_zero(self, left: Document) -> bool:
        return bool(self.rules.sums) and all(left.amount(leg) == 0 for leg in self.rules.sums)

    def _show_over(self) -> dict[str, Amounts]:
        """Mark the foils that show what stands without a partner; return those amounts by foil."""
        surplus: dict[str, Amounts] = defaultdict(lambda: dict.fromkeys(self.rules.sums, ZERO))
        for extra in self.extras if self.is_asserted else []:
            target = self._foil_of(extra)
            if target is None:
                continue
            for leg in self.rules.sums:
                surplus[target.name][leg] += extra.amount(leg)
            reason = "" if target.stands else f"void: {target.name} was withdrawn, {extra.name} stands"
            for left in self._group(target):
                self.foils[left.name].state = "over"
                self.foils[left.name].reason = reason
        return surplus

    def _foil_of(self, extra: Document) -> Document | None:
        total = self.rules.total
        partnered = [left for left in self.pairing.lefts if self.pairing.partners(left)]
        equal = [
            left
            for left in partnered
            if any(right.amount(total) == extra.amount(total) for right in self.pairing.partners(left))
        ]
        withdrawn = [left for left in self.lefts if left.stood and left not in self.pairing.lefts]
        zeros = [left for left in self.pairing.lefts if self._is_zero(left)]
        for candidates in (equal, partnered, withdrawn, zeros):
            if candidates:
                return candidates[-1]
        return None

    def _waive(self, foil: Foil, waivers: Sequence[dict[str, Any]]) -> None:
        for waiver in waivers:
            residual = {leg: _number(waiver["residual"].get(leg, 0)) for leg in self.rules.sums}
            is_same = waiver["document"] == foil.document.name and residual == foil.residual
            if is_same and foil.state in WAIVABLE:
                foil.state, foil.reason = "waived", ""
