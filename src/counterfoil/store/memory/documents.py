"""Specification of decisions on matches, of Cases about unmatched items, and of rebuilding."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec.structs import replace

from counterfoil.core import wire
from counterfoil.core.approval import ApprovalState
from counterfoil.core.foil import Foil, Observation, Pairing
from counterfoil.core.foil_versions import gives_way, waiver_of, withdrawal_of
from counterfoil.core.homes import own_key
from counterfoil.core.matching import FoilState
from counterfoil.core.settle import settle, waiver_settles
from counterfoil.store.memory.cases import open_case
from counterfoil.store.memory.foils import (
    Match,
    assign_entity,
    end_pairing,
    move,
    open_pairings,
    put_foil,
    put_observation,
    rename,
    rows_of,
    settle_matches,
    withdraw,
)
from counterfoil.store.memory.refusals import refuse
from counterfoil.store.memory.registry import memory
from counterfoil.store.memory.tables import Tables
from counterfoil.store.port.documents import (
    ACCEPTED,
    UNREFUSED,
    WAIVABLE,
    DecideMatch,
    Decision,
    MatchVerdict,
    OpenItemCases,
    Pair,
    PairGroup,
    PutMatchBasis,
    RebuildDocuments,
    Unpair,
    Waive,
    accepted,
    answer_again,
    decision_of,
    parts_of,
    refused_decision,
    renamings,
    seen_of,
    share_document,
)
from counterfoil.store.port.matches import case_of_item, is_accounted_for


@memory(DecideMatch)
def decide_match(db: Tables, t: DecideMatch) -> MatchVerdict:
    verdict = _decide(db, t)
    if verdict not in UNREFUSED:
        refuse(db, refused_decision(t.decision, verdict, t.at))
    return verdict


def _decide(db: Tables, t: DecideMatch) -> MatchVerdict:
    refused = refusal(db, t.decision, t.at)
    former = db.approvals.get(t.approval.id)
    again = None if former is None else answer_again(former, refused)
    if again is not None:
        return again
    if refused is not None:
        return refused
    if not t.approval.automatic:
        db.put(db.approvals, t.approval.id, t.approval)
        db.leaf("match.requested", t.decision.foil, t.at, f"person:{t.decision.person}", t.approval.covers)
        return "requested"
    if former is None:
        db.put(db.approvals, t.approval.id, replace(t.approval, state=ApprovalState.GRANTED))
    return carry_out(db, t.decision, t.at)


def refusal(db: Tables, d: Decision, at: datetime) -> MatchVerdict | None:
    """Return why a decision cannot be carried out now."""
    if isinstance(d, PairGroup):
        refused = [refusal(db, part, at) for part in d.pairs]
        return next(filter(None, refused), d.refusal([db.foils[id_] for id_ in d.foils if id_ in db.foils]))
    foil = db.foils.get(d.foil)
    observed = db.observations.get(d.observation) if isinstance(d, Pair | Unpair) else None
    if foil is None or (isinstance(d, Pair | Unpair) and (observed is None or observed.rule != foil.rule)):
        return "missing"
    if isinstance(d, Unpair):
        return None if _open_pair(db, d) else "settled"
    if seen_of(foil, observed) != d.seen:
        return "changed"
    if isinstance(d, Pair):
        return "settled" if _open_pair(db, d) else None
    if foil.state not in WAIVABLE or not any(foil.residual.values()):
        return "settled"
    if not waiver_settles(d.waiver(foil, at), rows_of(db, foil.rule, foil.key), at):
        return "differs"
    if d.cap is not None:
        like = [f for f in db.foils.values() if (f.rule, f.entity) == (foil.rule, foil.entity)]
        more = sum(abs(money.minor) for money in foil.difference)
        if accepted((f for f in like if f.state in ACCEPTED), foil) + more > d.cap:
            return "cap"
    return None


def _open_pair(db: Tables, d: Pair | Unpair) -> list[Pairing]:
    return [p for p in open_pairings(db, d.foil) if p.observation == d.observation]


def carry_out(db: Tables, d: Decision, at: datetime) -> MatchVerdict:
    """Do what a person decided, and settle the match rows that it touches."""
    refused = refusal(db, d, at)
    if refused is not None:
        return refused
    touched = set[Match]().union(*[_carry_out_part(db, part, at) for part in parts_of(d)])
    settle_matches(db, touched, at)
    _close_vain_requests(db, d, at)
    return "done"


def _carry_out_part(db: Tables, d: Pair | Unpair | Waive, at: datetime) -> set[Match]:
    """Write a decision about one counterfoil. Return the match rows to settle."""
    foil = db.foils[d.foil]
    touched: set[Match] = {(foil.rule, foil.key)}
    match d:
        case Pair():
            observed = db.observations[d.observation]
            for former in open_pairings(db, observed.id):
                if db.foils[former.foil].key != foil.key:
                    db.put(db.pairings, former.id, replace(former, ended_at=at, ended_by=d.person))
            pairing = d.pairing(foil, observed, at)
            db.put(db.pairings, pairing.id, pairing)
            touched |= move(db, observed, foil.key, own_key(observed), at)
        case Unpair():
            for pairing in _open_pair(db, d):
                touched |= end_pairing(db, pairing, d.person, at)
        case Waive():
            waiver = d.waiver(foil, at)
            db.put(db.waivers, waiver.id, waiver)
    body = wire.dumps({"note": d.note, "seen": d.seen})
    db.leaf(f"match.{type(d).__name__.lower()}", d.foil, at, f"person:{d.person}", body, run=foil.run)
    return touched


def _close_vain_requests(db: Tables, done: Decision, at: datetime) -> None:
    """Close open requests about the same documents that can no longer be carried out."""
    open_ = [a for a in db.approvals.values() if a.run == "" and a.state is ApprovalState.OPEN]
    for request in sorted(open_, key=lambda a: a.id):
        other = decision_of(request)
        if share_document(done, other) and refusal(db, other, at) is not None:
            db.put(db.approvals, request.id, replace(request, state=ApprovalState.STALE))


@memory(OpenItemCases)
def open_item_cases(db: Tables, t: OpenItemCases) -> int:
    items = [db.observations[id_] for id_ in t.items if id_ in db.observations]
    due = [o for o in items if not is_accounted_for(o) and o.case_at is not None and o.case_at <= t.at]
    for o in due:
        db.put(db.observations, o.id, replace(o, case_at=None))
    return sum(open_case(db, case_of_item(o, t.at), t.at, "matching") for o in due)


@memory(RebuildDocuments)
def rebuild(db: Tables, t: RebuildDocuments) -> tuple[str, ...]:
    touched = set(t.matches)
    for row, renamed in [*_former_rows(db, t), *_of_calls(db, t)]:
        touched |= _rename(db, row, renamed, t.at)
    for foil in t.foils:
        touched |= put_foil(db, foil, t.at, reread=True)
    for o in t.observations:
        touched |= put_observation(db, o, t.at, reread=True)
    for w in t.withdrawals:
        touched |= withdraw(db, w, t.at)
    for rule, key in t.matches if t.entity else ():
        assign_entity(db, rule, key, t.entity, t.at)
    for rule, key in sorted(touched):
        _keep_waived(db, rule, key, t.at)
    return tuple(settle_matches(db, touched, t.at, quiet=True))


def _of_calls(db: Tables, t: RebuildDocuments) -> list[tuple[Foil, Foil]]:
    """Return the foils of calls that have another name now, each with that name."""
    foils = [f for match in sorted(t.matches) for f in rows_of(db, *match).foils]
    return [(foil, renamed) for foil in foils if (renamed := t.renamed(foil)) is not None]


def _former_rows(
    db: Tables, t: RebuildDocuments
) -> list[tuple[Foil | Observation, Foil | Observation | None]]:
    """Return the rows that stand under another document id for the same event, each as it is named now."""
    former: list[tuple[Foil | Observation, Foil | Observation | None]] = []
    for event, documents in t.documents_by_event(t.foils):
        foils = {f.document: f for f in db.foils.values() if (f.rule, f.cause) == event and f.stands}
        former += [
            (foils[new.former], new.of(foils[new.former])) for new in renamings(documents, list(foils))
        ]
    for event, documents in t.documents_by_event(t.observations):
        observed = {
            o.document: o for o in db.observations.values() if (o.rule, o.event) == event and o.stands
        }
        former += [
            (observed[n.former], n.of(observed[n.former])) for n in renamings(documents, list(observed))
        ]
    return former


def _rename(
    db: Tables, row: Foil | Observation, renamed: Foil | Observation | None, at: datetime
) -> set[Match]:
    """Rename a row, or withdraw it where its new id is taken by a row with decisions or Cases of its own."""
    table: dict[str, Any] = db.foils if isinstance(row, Foil) else db.observations
    if row.id not in table:
        return {(row.rule, row.key)}  # another one took its place
    document = None if renamed is None else renamed.document
    other = next((r for r in table.values() if (r.rule, r.document) == (row.rule, document)), None)
    if renamed is None or (other is not None and not (gives_way(other, row) and _is_unused(db, other.id))):
        return withdraw(db, withdrawal_of(row), at)
    if other is not None:
        db.drop(table, other.id)
    touched = rename(db, row, renamed, at)
    rows = [r for r in (row, other) if r is not None]
    caps = {match for r in rows if isinstance(r, Foil) for match in r.caps}
    return touched | {(r.rule, r.key) for r in rows} | caps


def _is_unused(db: Tables, id_: str) -> bool:
    """Report whether no Case and no decision of a person is about a foil or observation."""
    cases = any(id_ in (case.foil, case.observation) for case in db.cases.values())
    pairs = any(id_ in (p.foil, p.observation) for p in db.pairings.values())
    return not (cases or pairs or any(w.foil == id_ for w in db.waivers.values()))


def _keep_waived(db: Tables, rule: str, key: str, at: datetime) -> None:
    """Give foils that were waived before residuals were kept their waivers."""
    rows = rows_of(db, rule, key)
    waived = {w.foil for w in db.waivers.values()}
    former = {f.id for f in rows.foils if f.state is FoilState.WAIVED and f.id not in waived}
    for judged in settle(rows, at).foils if former else ():
        if judged.id in former and judged.state in WAIVABLE:
            waiver = waiver_of(judged, "", "waived before residuals were kept", at)
            db.put(db.waivers, waiver.id, waiver)


@memory(PutMatchBasis)
def put_basis(db: Tables, t: PutMatchBasis) -> bool:
    db.put(db.match_basis, t.rule, t.digest)
    return True
