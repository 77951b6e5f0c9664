"""Documents beside admission: decisions of persons on a match, unmatched items past their grace, and rebuilding."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias, TypeVar

import msgspec

from counterfoil.core import ids, wire
from counterfoil.core.approval import Approval, ApprovalState
from counterfoil.core.clock import micros
from counterfoil.core.document import Shape, in_ledger, number_of
from counterfoil.core.foil import NEEDS_CASE, Foil, Observation, Pairing, Waiver
from counterfoil.core.foil_versions import Withdrawal, waiver_of
from counterfoil.core.matching import FoilState
from counterfoil.core.settle import content, pair_content
from counterfoil.store.port.refusals import RefusedAttempt, refusal_key
from counterfoil.store.port.transition import Transition, wake_set
from counterfoil.store.port.wake import WakeKind

R = TypeVar("R", Foil, Observation)

MatchVerdict: TypeAlias = Literal[
    "done", "requested", "missing", "changed", "settled", "differs", "cap", "shape", "keys"
]
"""`changed`: the documents are not those that the person saw. `settled`: there is nothing to decide. `cap`: more would be
accepted than the reconciliation allows for the entity, currency and month. `shape`: the reconciliation does not pair so
many documents. `keys`: the counterfoils of one item are on several matches."""


class MatchDecision(msgspec.Struct, frozen=True, kw_only=True, tag_field="decision", tag=True):
    """A person's decision on the documents of a match."""

    foil: str
    seen: str
    """Digest text of what the person saw: another content refuses the decision."""
    note: str
    person: str


class Pair(MatchDecision, frozen=True, kw_only=True, tag="pair"):
    """An observation answers a foil, whatever their keys."""

    observation: str

    def pairing(self, foil: Foil, observation: Observation, at: datetime) -> Pairing:
        return Pairing(
            id=ids.derive("pair", foil.id, observation.id, pair_content(foil, observation), micros(at)),
            rule=foil.rule,
            foil=foil.id,
            observation=observation.id,
            legs=pair_content(foil, observation),
            person=self.person,
            note=self.note,
            at=at,
        )


class Unpair(MatchDecision, frozen=True, kw_only=True, tag="unpair"):
    """End a pair that a person made."""

    observation: str


class Waive(MatchDecision, frozen=True, kw_only=True, tag="waive"):
    """Accept exactly the residual that the foil has now."""

    cap: int | None = None
    """Most minor units that may be accepted in the foil's entity, currency and month."""

    def waiver(self, foil: Foil, at: datetime) -> Waiver:
        return waiver_of(foil, self.person, self.note, at)


class PairGroup(MatchDecision, frozen=True, kw_only=True, tag="pair_group"):
    """Several observations answer several foils: each of them answers each, all at once or none.

    `foil` is the first of them, and `seen` the digest of all parts.
    """

    pairs: tuple[Pair, ...]

    @property
    def foils(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(pair.foil for pair in self.pairs))

    @property
    def observations(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(pair.observation for pair in self.pairs))

    def refusal(self, foils: Collection[Foil]) -> MatchVerdict | None:
        """Return why documents of this number and these foils cannot be one group."""
        if not all(allows_group(f.terms.shape, len(self.foils), len(self.observations)) for f in foils):
            return "shape"
        return "keys" if len({(f.rule, f.key) for f in foils}) > 1 else None


def pair_group(
    foils: Iterable[Foil], observations: Iterable[Observation], note: str, person: str
) -> PairGroup:
    """Return the decision that pairs each of these observations with each of these foils, the same in any order."""
    items = sorted(observations, key=lambda row: row.id)
    pairs = tuple(
        Pair(foil=foil.id, observation=item.id, seen=seen_of(foil, item), note=note, person=person)
        for foil in sorted(foils, key=lambda row: row.id)
        for item in items
    )
    digest = wire.digest("|".join(part.seen for part in pairs))
    return PairGroup(foil=pairs[0].foil, seen=digest, note=note, person=person, pairs=pairs)


def allows_group(shape: Shape, foils: int, observations: int) -> bool:
    """Report whether a reconciliation of this shape pairs so many documents of both sides."""
    collects, divides = shape in ("1:n", "n:m"), shape in ("n:1", "n:m")
    return (observations == 1 or collects) and (foils == 1 or divides)


Decision: TypeAlias = Pair | Unpair | Waive | PairGroup
UNREFUSED: Final[frozenset[MatchVerdict]] = frozenset({"done", "requested", "missing"})
"""Verdicts that leave no leaf of a refusal."""


def seen_of(foil: Foil, observation: Observation | None = None) -> str:
    """Return the digest of what a person decides on: legs and residual of the foil, and the observation."""
    observed = (
        "" if observation is None else f"|{observation.id}:{observation.version}:{content(observation.legs)}"
    )
    asserted = f"{foil.id}|{foil.version}|{content(foil.legs)}|{sorted(foil.residual.items())}"
    return wire.digest(f"{asserted}{observed}")


WAIVABLE: Final = NEEDS_CASE | {FoilState.OPEN, FoilState.PARTLY}
"""States with a residual that a person may accept."""
ACCEPTED: Final = frozenset({FoilState.MATCHED, FoilState.WAIVED})
"""States whose residual is accepted: absorbed by the tolerance, or waived."""


def period_of(foil: Foil) -> str:
    """Return the month of the document date, for the cap."""
    return waiver_of(foil, "", "", foil.created_at).period


def accepted(foils: Iterable[Foil], like: Foil) -> int:
    """Return the minor units accepted so far in a foil's entity, currency and month: waived, and absorbed when matched.

    `foils` are those of its reconciliation and entity with a state in `ACCEPTED`.
    """
    currencies = {money.currency for money in like.difference}
    return sum(
        abs(money.minor)
        for foil in foils
        for money in foil.difference
        if money.currency in currencies and period_of(foil) == period_of(like)
    )


def answer_again(former: Approval, refused: MatchVerdict | None) -> MatchVerdict | None:
    """Return the answer to a decision that was requested before; None: an automatic one is carried out once more.

    `refused`: why it cannot be carried out now. A decision that is in force is refused.
    """
    if former.state is ApprovalState.OPEN:
        return "requested"
    if former.state is not ApprovalState.GRANTED:
        return "changed" if former.state is ApprovalState.STALE else "settled"
    if refused is not None:
        return "done"
    return None if former.automatic else "settled"


class DecideMatch(Transition[MatchVerdict], frozen=True, kw_only=True):
    """Record a person's decision on a match: at once where `approval` is automatic, else it waits for votes.

    The documents must be those that the person saw. The rows are settled in the same transaction. Leaf, also of a
    refusal, apart from documents that do not exist.
    """

    decision: Decision
    approval: Approval
    """Its `covers` hold the decision. It belongs to no Run."""
    at: datetime

    def keys(self) -> frozenset[str]:
        return frozenset([*foils_of(self.decision), self.approval.id, refusal_key(self.decision.person)])

    def wakes(self, answer: MatchVerdict) -> frozenset[WakeKind]:
        return wake_set(turn=answer == "done")


def parts_of(decision: Decision) -> tuple[Pair | Unpair | Waive, ...]:
    """Return the decisions about one counterfoil each of which a decision consists."""
    return decision.pairs if isinstance(decision, PairGroup) else (decision,)


def foils_of(decision: Decision) -> tuple[str, ...]:
    """Return the ids of the counterfoils that a decision is about."""
    return decision.foils if isinstance(decision, PairGroup) else (decision.foil,)


def observations_of(decision: Decision) -> tuple[str, ...]:
    """Return the ids of the observations that a decision is about."""
    if isinstance(decision, PairGroup):
        return decision.observations
    return () if isinstance(decision, Waive) else (decision.observation,)


def refused_decision(decision: Decision, verdict: str, at: datetime) -> RefusedAttempt:
    """Return the record of a refused decision on a match."""
    return RefusedAttempt(
        kind="decision.refused",
        person=decision.person,
        action=str(decision.__struct_config__.tag),
        subject=decision.foil,
        verdict=verdict,
        at=at,
        details=_plain(decision),
    )


def _plain(decision: Decision) -> dict[str, Any]:
    """Return a decision as JSON values, whose lists are lists."""
    values: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(decision))
    return values


def decision_of(approval: Approval) -> Decision:
    """Return the decision on a match that an approval covers."""
    return msgspec.convert(wire.loads(approval.covers), Pair | Unpair | Waive | PairGroup)


def covers_of(decision: Decision) -> bytes:
    return wire.dumps(_plain(decision))


def request_id(decision: Decision, former: str = "") -> str:
    """Return the id of the approval of a decision: the same for all persons and reasons.

    `former` is the id of an earlier request for the same that is closed.
    """
    what = _plain(decision)
    same = {name: value for name, value in what.items() if name not in ("note", "person", "cap", "pairs")}
    return ids.derive("appr", "match", former, wire.digest(same))


def share_document(one: Decision, other: Decision) -> bool:
    """Report whether two decisions name the same counterfoil or the same item."""
    foils, items = set(foils_of(one)), set(observations_of(one))
    return not foils.isdisjoint(foils_of(other)) or not items.isdisjoint(observations_of(other))


class OpenItemCases(Transition[int], frozen=True, kw_only=True):
    """Open the Cases of unmatched items whose grace is over and that are still unmatched; returns their number."""

    items: tuple[str, ...]
    at: datetime

    def keys(self) -> frozenset[str]:
        return frozenset(self.items)


class RebuildDocuments(Transition[tuple[str, ...]], frozen=True, kw_only=True):
    """Write documents of both sides again from stored events, and settle their match rows without Cases of their own.

    A row that stands under another document id for the same event takes the new id; where that cannot be, it is
    withdrawn. What was waived before residuals were kept stays waived. Returns the foils whose state changed; the
    caller opens one Case for all of them.
    """

    foils: tuple[Foil, ...] = ()
    observations: tuple[Observation, ...] = ()
    withdrawals: tuple[Withdrawal, ...] = ()
    matches: tuple[tuple[str, str], ...] = ()
    entity: str = ""
    """Legal entity that documents of `matches` without one take: they were written before the company declared any."""
    ledgers: tuple[tuple[str, str, str], ...] = ()
    """Reconciliation, legal entity and the system that stands for the left one: documents of calls among those of
    `matches` take its name. No event gives them one."""
    at: datetime

    def keys(self) -> frozenset[str]:
        return _REBUILD

    def renamed(self, foil: Foil) -> Foil | None:
        """Return the foil of a call under the name that it has now; None for one that keeps its name."""
        ledger = {(rule, entity): name for rule, entity, name in self.ledgers}.get(
            (foil.rule, foil.entity), ""
        )
        document, reverses = (in_ledger(ledger, number_of(text)) for text in (foil.document, foil.reverses))
        if foil.effect is None or (document, reverses) == (foil.document, foil.reverses):
            return None
        return msgspec.structs.replace(foil, document=document, reverses=reverses)

    def documents_by_event(
        self, rows: Sequence[Foil] | Sequence[Observation]
    ) -> list[tuple[tuple[str, str], list[str]]]:
        """Return the document ids that each event gives, by reconciliation and event."""
        events: dict[tuple[str, str], list[str]] = {}
        for row in rows:
            event = row.cause if isinstance(row, Foil) else row.event
            events.setdefault((row.rule, event), []).append(row.document)
        return sorted(events.items())


class PutMatchBasis(Transition[bool], frozen=True, kw_only=True):
    """Remember by which form of a reconciliation its documents were written."""

    rule: str
    digest: str
    at: datetime

    def keys(self) -> frozenset[str]:
        return _REBUILD


_REBUILD = frozenset(["rebuild"])


class Renaming(msgspec.Struct, frozen=True):
    """Change of rows of one event that stand under document ids which the event no longer gives."""

    former: str
    """Document id of the row."""
    document: str | None
    """The id that it takes; None where several rows or documents leave it open, and it is withdrawn."""

    def of(self, row: R) -> R | None:
        """Return the row under its new id; None where it is withdrawn."""
        return None if self.document is None else msgspec.structs.replace(row, document=self.document)


def renamings(documents: Sequence[str], rows: Sequence[str]) -> list[Renaming]:
    """Return the renamings of an event's rows: `documents` are those that it gives, `rows` those that stand for it."""
    former = sorted(set(rows) - set(documents))
    new = sorted(set(documents) - set(rows))
    one = new[0] if len(former) == len(new) == 1 else None
    return [Renaming(document, one) for document in former]
