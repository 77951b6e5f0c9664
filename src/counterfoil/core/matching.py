"""Matching: the state of every foil as a function of what both sides say now.

Pure: documents, pairings and waivers of one match in, states with their reasons and residuals out. Both stores, the
proof, replay, pages and `counterfoil match` use this one function; there is no other place where a state is decided.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Literal, TypeAlias

import msgspec

from counterfoil.core.document import (
    LedgerDocument,
    LegKind,
    LegValue,
    MatchRules,
    Number,
    currency_of,
    divided_leg,
    due_order,
    number,
    same_books,
    size,
    sums_of,
    total_of,
    unit,
)
from counterfoil.core.money import Money
from counterfoil.core.pairing import NetDocument, Pairs, Share, pair


class FoilState(StrEnum):
    PROVISIONAL = "provisional"  # written with the intent of its call
    OPEN = "open"  # owed, not yet due
    PARTLY = "partly"  # a part of the amount is shown
    MATCHED = "matched"
    OVER = "over"  # more is shown than asserted
    BROKEN = "broken"  # past due, or in disagreement with what is shown
    WAIVED = "waived"  # a person accepted exactly this residual
    REVERSED = "reversed"  # nothing stands any more
    VOID = "void"  # it never stood


_F = FoilState
ItemState: TypeAlias = Literal["over", "unmatched"]


class FoilVerdict(msgspec.Struct, frozen=True):
    """State of one left document, with its reason and what is still missing."""

    state: FoilState
    reason: str = ""
    """Begins with the word of its kind: missing, amount, short, leg, entity, currency, cap, void, or an equal leg's name."""
    residual: Mapping[str, Number] = {}
    """Asserted less shown, by sum leg. Of a matched foil it is absorbed by the tolerance."""
    partners: tuple[str, ...] = ()
    amounts_only: bool = True
    """What differs are amounts, which a person can accept."""
    excess: Mapping[str, Number] = {}
    """Amount by currency that other documents use beyond the total of the match; one foil of the match shows it."""


class Unpaired(msgspec.Struct, frozen=True):
    """A right document that answers nothing: surplus where anything was ever asserted, else an unmatched item."""

    state: ItemState
    residual: Mapping[str, Number]
    """Nothing asserted, less what is shown: negative for a positive document."""
    foil: str | None = None
    """The foil that shows it as surplus."""


class Judgement(msgspec.Struct, frozen=True):
    """All states of one match."""

    foils: Mapping[str, FoilVerdict]
    items: Mapping[str, Unpaired]
    parts: Sequence[Share]


Waivers: TypeAlias = Mapping[str, Mapping[str, Number]]
"""Accepted residual by sum leg, for a left document. A leg that is not named is zero."""

JUDGE_VERSION = 3
"""Number of these rules. It rises when the same documents get another state: stores are then judged once more."""
_WAIVABLE = frozenset({_F.OPEN, _F.PARTLY, _F.BROKEN, _F.OVER})


def judge(
    rules: MatchRules,
    lefts: Sequence[LedgerDocument],
    rights: Sequence[LedgerDocument],
    now: datetime,
    by_person: Collection[tuple[str, str]] = (),
    waivers: Waivers | None = None,
    *,
    asserted_before: bool = False,
    used: Mapping[str, Number] | None = None,
) -> Judgement:
    """Return the states of one match from the newest version of each of its documents.

    `by_person` holds pairs (left, right) that a person made and that still hold. `asserted_before`: a document that has
    left the match stood on it. `used`: amount, by currency, of the total that documents of other matches use up. The order
    of the documents does not matter.
    """
    owed = standing(lefts)
    pairing = pair(rules, owed, standing(rights), by_person)
    answers: dict[str, list[Share]] = {}
    for part in pairing.parts:
        answers.setdefault(part.left, []).append(part)
    claims = {d.id: _Claim(rules, d, answers.get(d.id, ())) for d in owed}
    groups = _groups(rules, pairing, claims) if rules.shape == "n:1" else {}
    verdicts: dict[str, FoilVerdict] = {}
    for left in sorted(lefts, key=lambda d: d.id):
        claim = claims.get(left.id)
        if claim is None:
            verdicts[left.id] = FoilVerdict(_F.REVERSED if left.stood else _F.VOID, _withdrawal(left))
        elif left.id in pairing.cancelled:
            verdicts[left.id] = FoilVerdict(_F.REVERSED, "reversed by a document of its own side")
        elif not claim.parts:
            verdicts[left.id] = _without_partner(rules, claim, now)
        else:
            verdicts[left.id] = _with_partners(rules, claim, groups.get(left.id, claim), now)
    _waive(verdicts, waivers or {})
    asserted = asserted_before or any(d.stands or d.stood for d in lefts)
    items = _surplus(rules, pairing, lefts, verdicts) if asserted else _unmatched(pairing)
    _waive(verdicts, waivers or {})
    if used:
        _check_cap(rules, owed, verdicts, used)
    return Judgement(verdicts, items, pairing.parts)


def standing(side: Sequence[LedgerDocument]) -> list[LedgerDocument]:
    """Return what the ledger of one side holds. What a standing document reverses still stands, though it is flagged."""
    ledger = [d for d in side if d.stands]
    flagged = [d for d in side if not d.stands and d.stood and d.legs]
    while flagged:
        reversed_ids = {d.reverses for d in ledger}
        reversed_ = [d for d in flagged if d.id in reversed_ids]
        if not reversed_:
            break
        ledger += reversed_
        flagged = [d for d in flagged if d.id not in reversed_ids]
    return ledger


def _withdrawal(left: LedgerDocument) -> str:
    return "void: it was withdrawn" if left.stood else "void: it never stood"


# ------------------------------------------------------------------ one foil


class _Claim:
    """A standing left document with what answers it."""

    def __init__(self, rules: MatchRules, left: LedgerDocument, parts: Sequence[Share]) -> None:
        self.left = left
        self.parts = parts
        self.asserted = sums_of(rules, left)
        if rules.divided:
            self.asserted |= _parts_of_others(rules, left, parts)
        self.residual = dict(self.asserted)
        for part in parts:
            # What is shown in other books shows nothing of it.
            if same_books(rules, left, part.shown.document):
                for name in self.residual:
                    self.residual[name] -= part.legs.get(name, 0)
        self.members = ""

    def is_past_due(self, now: datetime) -> bool:
        return self.left.due is not None and self.left.due <= now


def _parts_of_others(rules: MatchRules, left: LedgerDocument, parts: Sequence[Share]) -> dict[str, Number]:
    """Return zero for the parts of a leg that only the right side shows, such as a tax of a code that is not asserted.

    A document without the leg asserts nothing about its parts.
    """
    mine = {divided_leg(name) for name in left.legs} & rules.divided
    names = {name for part in parts for name in part.legs}
    return {name: 0 for name in names - left.legs.keys() if divided_leg(name) in mine}


class _GroupClaim:
    """Foils of one right document, in its books: their amounts are judged as one."""

    def __init__(self, claims: Sequence[_Claim]) -> None:
        self.asserted = _added_up(claim.asserted for claim in claims)
        self.residual = _added_up(claim.residual for claim in claims)
        names = ", ".join(sorted(claim.left.id for claim in claims))
        self.members = f" in a group of {len(claims)}: {names}" if len(claims) > 1 else ""


def _groups(rules: MatchRules, pairing: Pairs, claims: Mapping[str, _Claim]) -> dict[str, _GroupClaim]:
    """Return the group of each foil that is judged together with others."""
    by_right: dict[str, list[_Claim]] = {}
    for part in pairing.parts:
        claim = claims[part.left]
        if same_books(rules, claim.left, part.shown.document):
            by_right.setdefault(part.shown.id, []).append(claim)
    groups = [(_GroupClaim(members), members) for members in by_right.values()]
    return {claim.left.id: group for group, members in groups for claim in members}


def _without_partner(rules: MatchRules, claim: _Claim, now: datetime) -> FoilVerdict:
    if total_of(rules, claim.left) == 0:
        return FoilVerdict(_F.MATCHED, "a zero owes nothing", dict.fromkeys(claim.asserted, 0))
    if claim.is_past_due(now):
        return FoilVerdict(
            _F.BROKEN, "missing: past due, and the other system does not show it", claim.asserted
        )
    return FoilVerdict(_F.PROVISIONAL if claim.left.provisional else _F.OPEN, "", claim.asserted)


def _with_partners(
    rules: MatchRules, claim: _Claim, group: _Claim | _GroupClaim, now: datetime
) -> FoilVerdict:
    """Compare a foil with its partners; the amounts are those of its group."""
    left, parts, residual = claim.left, claim.parts, claim.residual
    partners = tuple(part.shown.id for part in parts)
    if difference := _other_books(rules, left, parts) or _other_value(rules, left, parts):
        return FoilVerdict(_F.BROKEN, difference, residual, partners, amounts_only=False)
    lower = _not_yet(rules, left, parts)

    def verdict(state: FoilState, reason: str = "") -> FoilVerdict:
        return FoilVerdict(state, reason, residual, partners, amounts_only=not lower)

    off = {name: by for name, by in group.residual.items() if size(by) > rules.legs[name].tolerance}
    total = rules.total or ""
    text = _differences(left, parts, off)
    if total not in off:
        differing = ", ".join(filter(None, (text, lower)))
        return verdict(_F.BROKEN, f"leg: {differing}") if differing else verdict(_F.MATCHED)
    text += group.members
    want = group.asserted[total]
    observed = want - off[total]
    if want * observed < 0:
        return verdict(_F.BROKEN, f"amount: shown with the other sign; {text}")
    if size(observed) > size(want):
        return verdict(_F.OVER, f"over: {text}")
    if rules.shape == "1:1":
        return verdict(_F.BROKEN, f"amount: {text}")
    return verdict(_F.BROKEN, f"short: {text}") if claim.is_past_due(now) else verdict(_F.PARTLY, text)


def _added_up(amounts: Iterable[Mapping[str, Number]]) -> dict[str, Number]:
    sums: dict[str, Number] = {}
    for legs in amounts:
        for name, amount in legs.items():
            sums[name] = sums.get(name, 0) + amount
    return sums


def _other_books(rules: MatchRules, left: LedgerDocument, parts: Sequence[Share]) -> str:
    """Return which entity or currency differs; it breaks the foil at once, whatever the amounts."""
    for part in parts:
        right = part.shown.document
        if right.entity != left.entity:
            return f"entity: asserted for {left.entity or 'none'}, shown for {right.entity or 'none'}"
    for part in parts:
        right = part.shown.document
        for name, leg in rules.legs.items():
            if leg.kind is LegKind.SUM and name in left.legs and name in right.legs:
                want, have = unit(left.legs[name], left.currency), unit(right.legs[name], right.currency)
                if want != have:
                    return f"currency: asserted in {want}, shown in {have}"
    return ""


def _other_value(rules: MatchRules, left: LedgerDocument, parts: Sequence[Share]) -> str:
    """Return which `equal` leg differs; it breaks the foil at once, whatever the amounts."""
    for name, leg in rules.legs.items():
        if leg.kind is LegKind.EQUAL and name in left.legs:
            for part in parts:
                value = part.shown.document.legs.get(name)
                if value != left.legs[name]:
                    return (
                        f"{name}: asserted {left.legs[name]}, shown {'nothing' if value is None else value}"
                    )
    return ""


def _not_yet(rules: MatchRules, left: LedgerDocument, parts: Sequence[Share]) -> str:
    """Return which `at_least` leg the right side does not yet show high enough; empty if none."""
    for name, leg in rules.legs.items():
        if leg.kind is LegKind.AT_LEAST and name in left.legs:
            want = number(left.legs[name])
            values = [number(p.shown.document.legs[name]) for p in parts if name in p.shown.document.legs]
            if not values or max(values) < want:
                return f"{name}: asserted at least {want}, shown {max(values) if values else 'nothing'}"
    return ""


def _differences(left: LedgerDocument, parts: Sequence[Share], off: Mapping[str, Number]) -> str:
    observed = {name: value for part in parts for name, value in part.shown.document.legs.items()}
    return ", ".join(
        f"{name} {'less' if by > 0 else 'more'} by {_amount(left.legs.get(name, observed.get(name)), by)}"
        for name, by in sorted(off.items())
    )


def _amount(value: LegValue | None, by: Number) -> str:
    return str(Money(int(size(by)), value.currency)) if isinstance(value, Money) else str(size(by))


# ------------------------------------------------------------------ surplus and waivers


def _unmatched(pairing: Pairs) -> dict[str, Unpaired]:
    return {right.id: Unpaired("unmatched", _negative(right)) for right in pairing.free}


def _surplus(
    rules: MatchRules, pairing: Pairs, lefts: Sequence[LedgerDocument], verdicts: dict[str, FoilVerdict]
) -> dict[str, Unpaired]:
    """Name what the right side shows and no foil asserts; a settled foil that it belongs to shows it as `over`.

    A foil that has a difference of its own keeps it: the surplus is then shown by itself.
    """
    items: dict[str, Unpaired] = {}
    before = dict(verdicts)
    for right in pairing.free:
        foil = _bearer(rules, right, lefts, before)
        items[right.id] = Unpaired("over", _negative(right), foil)
        if foil is not None:
            verdicts[foil] = _with_surplus(verdicts[foil], right)
    return items


def _negative(right: NetDocument) -> dict[str, Number]:
    return {name: -amount for name, amount in right.legs.items()}


def _bearer(
    rules: MatchRules,
    right: NetDocument,
    lefts: Sequence[LedgerDocument],
    verdicts: Mapping[str, FoilVerdict],
) -> str | None:
    """Return the foil that shows a surplus: a settled one with a partner, else one that no longer stands, else a zero."""
    mine = sorted((d for d in lefts if same_books(rules, d, right.document)), key=due_order)
    settled = (_F.MATCHED, _F.OVER)
    paired = [d for d in mine if verdicts[d.id].partners and verdicts[d.id].state in settled]
    equal = [d for d in paired if total_of(rules, d) == right.total]
    withdrawn = [d for d in mine if verdicts[d.id].state is _F.REVERSED]
    zero = [d for d in mine if verdicts[d.id].state is _F.MATCHED]
    for candidates in (equal, paired, withdrawn, zero):
        if candidates:
            return candidates[-1].id
    return None


def _with_surplus(verdict: FoilVerdict, right: NetDocument) -> FoilVerdict:
    sums = _added_up((verdict.residual, _negative(right)))
    if verdict.state is _F.REVERSED:
        reason = f"{verdict.reason}, but {right.id} shows it"
    else:
        reason = f"over: {right.id} is shown as well"
    return FoilVerdict(_F.OVER, reason, sums, (*verdict.partners, right.id))


def _waive(verdicts: dict[str, FoilVerdict], waivers: Waivers) -> None:
    """Waive the foils whose residual is exactly the accepted one. No amount accepts other books or another value."""
    for id_, accepted in waivers.items():
        verdict = verdicts.get(id_)
        if verdict is None or verdict.state not in _WAIVABLE or not verdict.amounts_only:
            continue
        if all(
            verdict.residual.get(leg, 0) == accepted.get(leg, 0) for leg in {*verdict.residual, *accepted}
        ):
            reason = f"waived: {verdict.reason or 'accepted by a person'}"
            verdicts[id_] = msgspec.structs.replace(verdict, state=_F.WAIVED, reason=reason)


# ------------------------------------------------------------------ caps across matches


def _check_cap(
    rules: MatchRules,
    owed: Sequence[LedgerDocument],
    verdicts: dict[str, FoilVerdict],
    used: Mapping[str, Number],
) -> None:
    """Break the foils of a match whose total is used up beyond what stands. No waiver hides that.

    Where nothing of the match is owed any more, the foils that once stood break.
    """
    totals: dict[str, Number] = {}
    for document in owed:
        currency = currency_of(rules, document)
        totals[currency] = totals.get(currency, 0) + (total_of(rules, document) or 0)
    beyond = {c: size(n - totals.get(c, 0)) for c, n in used.items() if _exceeds(n, totals.get(c, 0))}
    if not beyond:
        return
    cap = ", ".join(
        _over_cap(currency, used[currency], totals.get(currency, 0)) for currency in sorted(beyond)
    )
    stood = [id_ for id_, verdict in verdicts.items() if verdict.state is not _F.VOID]
    for id_ in [id_ for id_ in stood if verdicts[id_].state is not _F.REVERSED] or stood:
        verdict = verdicts[id_]
        # Whether something is missing changes with time, and the residual shows it.
        lasting = verdict.state is _F.OVER or (verdict.state is _F.BROKEN and not _is_late(verdict))
        reason = f"cap: {cap}; {verdict.reason}" if lasting else f"cap: {cap}"
        verdicts[id_] = msgspec.structs.replace(verdict, state=_F.BROKEN, reason=reason, excess=beyond)
        beyond = {}


def _is_late(verdict: FoilVerdict) -> bool:
    return verdict.reason.partition(":")[0] in ("missing", "short")


def _exceeds(amount: Number, total: Number) -> bool:
    """Report whether an amount is larger than a total, in the sign of the total."""
    return amount != 0 if total == 0 else amount > total if total > 0 else amount < total


def _over_cap(currency: str, amount: Number, total: Number) -> str:
    used, asserted = str(amount), str(total)
    if currency and isinstance(amount, int):
        used, asserted = str(Money(amount, currency)), str(Money(int(total), currency))
    elif currency:
        used, asserted = f"{used} {currency}", f"{asserted} {currency}"
    return f"other documents use {used} of it, more than the {asserted} asserted"
