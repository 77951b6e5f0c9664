"""Matching: the state of every foil as a function of what both sides say now.

Pure: documents, pairings and waivers of one match in, states with their reasons and residuals out. Both stores, the
proof, replay, pages and `counterfoil match` use this one function; there is no other place where a state is decided.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Literal, TypeAlias

import msgspec

from counterfoil.core.claims import (
    FoilClaim,
    GroupClaim,
    added_up,
    differences,
    groups_of,
    not_yet,
    other_books,
    other_value,
)
from counterfoil.core.document import (
    LedgerDocument,
    MatchRules,
    NetDocument,
    Number,
    currency_of,
    due_order,
    same_books,
    size,
    total_of,
    unit,
)
from counterfoil.core.joins import Share, tolerates
from counterfoil.core.money import Money
from counterfoil.core.pairing import Pairs, pair
from counterfoil.core.windows import belongs, day_of


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
    claims = {d.id: FoilClaim(rules, d, answers.get(d.id, ())) for d in owed}
    groups = groups_of(rules, pairing.parts, claims) if rules.shape == "n:1" else {}
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


def _without_partner(rules: MatchRules, claim: FoilClaim, now: datetime) -> FoilVerdict:
    if total_of(rules, claim.left) == 0:
        return FoilVerdict(_F.MATCHED, "a zero owes nothing", dict.fromkeys(claim.asserted, 0))
    if claim.is_past_due(now):
        return FoilVerdict(
            _F.BROKEN, "missing: past due, and the other system does not show it", claim.asserted
        )
    return FoilVerdict(_F.PROVISIONAL if claim.left.provisional else _F.OPEN, "", claim.asserted)


def _with_partners(
    rules: MatchRules, claim: FoilClaim, group: FoilClaim | GroupClaim, now: datetime
) -> FoilVerdict:
    """Compare a foil with its partners; the amounts are those of its group."""
    left, parts, residual = claim.left, claim.parts, claim.residual
    partners = tuple(part.shown.id for part in parts)
    if difference := other_books(rules, left, parts) or other_value(rules, left, parts):
        return FoilVerdict(_F.BROKEN, difference, residual, partners, amounts_only=False)
    lower = not_yet(rules, left, parts)

    def verdict(state: FoilState, reason: str = "") -> FoilVerdict:
        return FoilVerdict(state, reason, residual, partners, amounts_only=not lower)

    off = {
        name: by
        for name, by in group.residual.items()
        if not tolerates(rules.legs[name], group.asserted[name], by)
    }
    total = rules.total or ""
    text = differences(left, parts, off)
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
    bearers = _Bearers(rules, lefts, dict(verdicts))
    for right in pairing.free:
        foil = bearers.bearer(right)
        items[right.id] = Unpaired("over", _negative(right), foil)
        if foil is not None:
            verdicts[foil] = _with_surplus(verdicts[foil], right)
    return items


def _negative(right: NetDocument) -> dict[str, Number]:
    return {name: -amount for name, amount in right.legs.items()}


class _Bearers:
    """Foils of a match that may show a surplus, by the books of the document that is too much."""

    def __init__(
        self, rules: MatchRules, lefts: Sequence[LedgerDocument], verdicts: Mapping[str, FoilVerdict]
    ) -> None:
        self._rules = rules
        settled = (_F.MATCHED, _F.OVER, _F.REVERSED)
        self._lefts = sorted((d for d in lefts if verdicts[d.id].state in settled), key=due_order)
        self._verdicts = verdicts
        self._named = frozenset(name for left in lefts for name in left.names)
        self._ranked: dict[Hashable, _RankedBearers] = {}

    def bearer(self, right: NetDocument) -> str | None:
        """Return the foil that shows a surplus: a settled one with a partner, else one that no longer stands, else a zero."""
        document = right.document
        is_named = document.names or document.id in self._named
        total = document.legs.get(self._rules.total or "")
        books = document.entity, document.currency, None if total is None else unit(total, document.currency)
        own = day_of(document) if self._rules.window is not None else None, document.id if is_named else None
        ranked = self._ranked.get((books, own))
        if ranked is None:
            ranked = self._ranked[books, own] = self._rank(document)
        equal = ranked.equal.get(right.total)
        candidates = (equal, ranked.paired, ranked.withdrawn, ranked.zero)
        return next((id_ for id_ in candidates if id_ is not None), None)

    def _rank(self, right: LedgerDocument) -> _RankedBearers:
        """Return the last foil of each kind in the books of a document, and within the window of dates."""
        ranked = _RankedBearers({})
        for left in self._lefts:
            verdict = self._verdicts[left.id]
            if not same_books(self._rules, left, right) or not belongs(self._rules, left, right):
                continue
            if verdict.partners:
                ranked.paired = ranked.equal[total_of(self._rules, left)] = left.id
            if verdict.state is _F.REVERSED:
                ranked.withdrawn = left.id
            if verdict.state is _F.MATCHED:
                ranked.zero = left.id
        return ranked


class _RankedBearers(msgspec.Struct):
    equal: dict[Number | None, str]
    """By total, settled ones with a partner."""
    paired: str | None = None
    withdrawn: str | None = None
    zero: str | None = None


def _with_surplus(verdict: FoilVerdict, right: NetDocument) -> FoilVerdict:
    sums = added_up((verdict.residual, _negative(right)))
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
