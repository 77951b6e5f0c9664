"""Decisions on matches, Cases about unmatched items, and rebuilding."""
# ruff: noqa: S608 - only names of tables and columns are put into statements, values never are

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from counterfoil.core import wire
from counterfoil.core.approval import ApprovalState
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.foil_versions import gives_way, waiver_of, withdrawal_of
from counterfoil.core.settle import settle, waiver_settles
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
    period_of,
    refused_decision,
    renamings,
    seen_of,
    share_document,
)
from counterfoil.store.port.matches import case_of_item, is_accounted_for
from counterfoil.store.sql import match_locks, matches
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.break_cases import FOIL_BY_ID
from counterfoil.store.sql.match_locks import Match
from counterfoil.store.sql.matches import SHOWN_BY_ID
from counterfoil.store.sql.registry import sql
from counterfoil.store.sql.transaction import Tx
from counterfoil.store.sql.verbs.refusals import refuse

OPEN_PAIRS = f"{t.PAIRING.select} where foil = $1 and observation = $2 and ended_at is null"
# A document without a date of its own counts by the day of its row.
ACCEPTED_FOILS = f"""
{t.FOIL.select} where rule = $1 and entity = $2 and state in {t.sql_list(ACCEPTED)}
  and substr(effective, 1, 7) in ($3, '')
"""
FOILS_OF_EVENT = f"{t.FOIL.select} where rule = $1 and cause = $2 and stands"
SHOWN_OF_EVENT = f"{t.OBSERVATION.select} where rule = $1 and event = $2 and stands"
NAMED = """
select 1 from case_ where foil = $1 or observation = $1
union all select 1 from pairing where foil = $1 or observation = $1
union all select 1 from waiver where foil = $1
limit 1
"""


OPEN_REQUESTS = f"{t.APPROVAL.select} where run = '' and state = 'open' order by id"


@sql(DecideMatch)
async def decide_match(x: Tx, d: DecideMatch) -> MatchVerdict:
    verdict = await _decide(x, d)
    if verdict not in UNREFUSED:
        await refuse(x, refused_decision(d.decision, verdict, d.at))
    return verdict


async def _decide(x: Tx, d: DecideMatch) -> MatchVerdict:
    await lock(x, d.decision)
    refused = await refusal(x, d.decision, d.at)
    former = await x.one(f"{t.APPROVAL.select} where id = $1", d.approval.id)
    again = None if former is None else answer_again(t.APPROVAL.read(former), refused)
    if again is not None:
        return again
    if refused is not None:
        return refused
    if not d.approval.automatic:
        # It was automatic when it was made before: no person voted.
        await x.rows("delete from approval where id = $1", d.approval.id)
        await x.insert(t.APPROVAL, [t.APPROVAL.row(d.approval)])
        x.leaf("match.requested", d.decision.foil, d.at, f"person:{d.decision.person}", d.approval.covers)
        return "requested"
    if former is None:
        await x.insert(t.APPROVAL, [t.APPROVAL.row(replace(d.approval, state=ApprovalState.GRANTED))])
    return await carry_out(x, d.decision, d.at)


async def lock(x: Tx, d: Decision) -> None:
    """Lock the match rows of both documents, then the Runs of their foils."""
    if x.dialect == "sqlite":
        return
    while await x.lock_matches(await _matches(x, d)):
        pass  # a document may have moved meanwhile
    await x.lock_runs((), (), x.matches)


async def _matches(x: Tx, d: Decision) -> set[Match]:
    """Return the match rows of all documents, and of what reverses the observations, which goes with them."""
    rows = [await _documents(x, part) for part in parts_of(d)]
    observed = [o for _, o in rows if o is not None]
    mine = {(foil.rule, foil.key) for foil, _ in rows if foil is not None}
    return mine if not observed else mine | await match_locks.matches_of(x, (), observed)


async def _documents(x: Tx, d: Pair | Unpair | Waive) -> tuple[Foil | None, Observation | None]:
    foils = await x.rows(FOIL_BY_ID, d.foil)
    observed = await x.rows(SHOWN_BY_ID, d.observation) if isinstance(d, Pair | Unpair) else []
    return (
        t.FOIL.read(foils[0]) if foils else None,
        t.OBSERVATION.read(observed[0]) if observed else None,
    )


async def refusal(x: Tx, d: Decision, at: datetime) -> MatchVerdict | None:
    """Return why a decision cannot be carried out now."""
    if isinstance(d, PairGroup):
        refused = [await refusal(x, part, at) for part in d.pairs]
        foils = [t.FOIL.read(row) for id_ in d.foils for row in await x.rows(FOIL_BY_ID, id_)]
        return next(filter(None, refused), d.refusal(foils))
    foil, observed = await _documents(x, d)
    if foil is None or (isinstance(d, Pair | Unpair) and (observed is None or observed.rule != foil.rule)):
        return "missing"
    if isinstance(d, Unpair):
        return None if await x.rows(OPEN_PAIRS, d.foil, d.observation) else "settled"
    if seen_of(foil, observed) != d.seen:
        return "changed"
    if isinstance(d, Pair):
        return "settled" if await x.rows(OPEN_PAIRS, d.foil, d.observation) else None
    if foil.state not in WAIVABLE or not any(foil.residual.values()):
        return "settled"
    if not waiver_settles(d.waiver(foil, at), await matches.rows_of(x, foil.rule, foil.key), at):
        return "differs"
    if d.cap is not None:
        like = await x.rows(ACCEPTED_FOILS, foil.rule, foil.entity, period_of(foil))
        more = sum(abs(money.minor) for money in foil.difference)
        if accepted(map(t.FOIL.read, like), foil) + more > d.cap:
            return "cap"
    return None


async def carry_out(x: Tx, d: Decision, at: datetime) -> MatchVerdict:
    """Do what a person decided, with the match rows locked, and settle them."""
    refused = await refusal(x, d, at)
    if refused is not None:
        return refused
    touched = set[Match]()
    for part in parts_of(d):
        touched |= await _carry_out_part(x, part, at)
    await matches.settle_matches(x, touched, at)
    await _close_vain_requests(x, d, at)
    return "done"


async def _carry_out_part(x: Tx, d: Pair | Unpair | Waive, at: datetime) -> set[Match]:
    """Write a decision about one counterfoil. Return the match rows to settle."""
    foil, observed = await _documents(x, d)
    assert foil is not None
    touched: set[Match] = {(foil.rule, foil.key)}
    match d:
        case Pair():
            assert observed is not None
            touched |= await matches.pair(x, d.pairing(foil, observed, at), foil, observed, at)
        case Unpair():
            for row in await x.rows(OPEN_PAIRS, d.foil, d.observation):
                touched |= await matches.end_pairing(x, t.PAIRING.read(row), d.person, at)
        case Waive():
            await x.insert(t.WAIVER, [t.WAIVER.row(d.waiver(foil, at))], ignore=True)
    body = wire.dumps({"note": d.note, "seen": d.seen})
    x.leaf(f"match.{type(d).__name__.lower()}", d.foil, at, f"person:{d.person}", body, run=foil.run)
    return touched


async def _close_vain_requests(x: Tx, done: Decision, at: datetime) -> None:
    """Close open requests about the same documents that can no longer be carried out: no one decides them in vain."""
    for row in await x.rows(OPEN_REQUESTS):
        request = t.APPROVAL.read(row)
        other = decision_of(request)
        if share_document(done, other) and await refusal(x, other, at) is not None:
            await x.rows("update approval set state = 'stale' where id = $1", request.id)


@sql(OpenItemCases)
async def open_item_cases(x: Tx, c: OpenItemCases) -> int:
    opened = 0
    for id_ in c.items:
        rows = await x.rows(f"{SHOWN_BY_ID} for update" if x.dialect == "postgres" else SHOWN_BY_ID, id_)
        o = t.OBSERVATION.read(rows[0]) if rows else None
        if o is None or is_accounted_for(o) or o.case_at is None or o.case_at > c.at:
            continue
        await x.rows("update observation set case_at = null where id = $1", id_)
        opened += await x.open_case(case_of_item(o, c.at), c.at, "matching")
    return opened


@sql(RebuildDocuments)
async def rebuild(x: Tx, r: RebuildDocuments) -> tuple[str, ...]:
    touched = await match_locks.matches_of(x, r.foils, r.observations, r.withdrawals) | set(r.matches)
    rows = [*await _former_rows(x, r), *await _of_calls(x, r)]
    while await x.lock_matches(touched.union(*(_touched(row) for row, _ in rows))):
        rows = [*await _former_rows(x, r), *await _of_calls(x, r)]
    touched = touched.union(*(_touched(row) for row, _ in rows))
    await x.lock_runs((), (), touched)
    for row, renamed in rows:
        touched |= await _rename(x, row, renamed, r.at)
    for foil in r.foils:
        touched |= await matches.put_foil(x, foil, r.at, reread=True)
    for o in r.observations:
        touched |= await matches.put_observation(x, o, r.at, reread=True)
    for w in r.withdrawals:
        touched |= await matches.withdraw(x, w, r.at)
    for rule, key in r.matches if r.entity else ():
        await matches.assign_entity(x, rule, key, r.entity, r.at)
    for rule, key in sorted(touched):
        await _keep_waived(x, rule, key, r.at)
    return tuple(await matches.settle_matches(x, touched, r.at, quiet=True))


async def _of_calls(x: Tx, r: RebuildDocuments) -> list[tuple[Foil, Foil]]:
    """Return the foils of calls that have another name now, each with that name."""
    foils = [f for match in sorted(r.matches) for f in (await matches.rows_of(x, *match)).foils]
    return [(foil, renamed) for foil in foils if (renamed := r.renamed(foil)) is not None]


async def _former_rows(
    x: Tx, r: RebuildDocuments
) -> list[tuple[Foil | Observation, Foil | Observation | None]]:
    """Return the rows that stand under another document id for the same event, each as it is named now."""
    former: list[tuple[Foil | Observation, Foil | Observation | None]] = []
    for event, documents in r.documents_by_event(r.foils):
        foils = {f.document: f for f in map(t.FOIL.read, await x.rows(FOILS_OF_EVENT, *event))}
        former += [
            (foils[new.former], new.of(foils[new.former])) for new in renamings(documents, list(foils))
        ]
    for event, documents in r.documents_by_event(r.observations):
        observed = {o.document: o for o in map(t.OBSERVATION.read, await x.rows(SHOWN_OF_EVENT, *event))}
        former += [
            (observed[n.former], n.of(observed[n.former])) for n in renamings(documents, list(observed))
        ]
    return former


def _touched(row: Foil | Observation) -> set[Match]:
    """Return the match row of a document, with those whose totals it uses up."""
    return {(row.rule, row.key)} | (row.caps if isinstance(row, Foil) else set())


async def _rename(
    x: Tx, row: Foil | Observation, renamed: Foil | Observation | None, at: datetime
) -> set[Match]:
    """Rename a row, or withdraw it where its new id is taken by a row with decisions or Cases of its own."""
    left = isinstance(row, Foil)
    of_document = matches.FOIL_OF_DOCUMENT if left else matches.SHOWN_OF_DOCUMENT
    touched = _touched(row)
    if not await x.rows(FOIL_BY_ID if left else SHOWN_BY_ID, row.id):
        return touched  # another one took its place
    if renamed is None:
        return touched | await matches.withdraw(x, withdrawal_of(row), at)
    hits = await x.rows(of_document, row.rule, renamed.document)
    if hits:
        other: Foil | Observation = t.FOIL.read(hits[0]) if left else t.OBSERVATION.read(hits[0])
        if not gives_way(other, row) or await x.rows(NAMED, other.id):
            return touched | await matches.withdraw(x, withdrawal_of(row), at)
        await x.lock_matches(_touched(other))
        touched |= _touched(other)
        await x.rows(f"delete from {'foil' if left else 'observation'} where id = $1", other.id)
        await x.rows(matches.CLEAR_ALLOCATIONS, other.rule, other.key)
    return touched | await matches.rename(x, row, renamed, at)


async def _keep_waived(x: Tx, rule: str, key: str, at: datetime) -> None:
    """Give foils that were waived before residuals were kept their waivers."""
    former = """
    select id from foil where rule = $1 and key = $2 and state = 'waived'
      and not exists (select 1 from waiver where waiver.foil = foil.id)
    """
    ids = {row[0] for row in await x.rows(former, rule, key)}
    for judged in settle(await matches.rows_of(x, rule, key), at).foils if ids else ():
        if judged.id in ids and judged.state in WAIVABLE:
            waiver = waiver_of(judged, "", "waived before residuals were kept", at)
            await x.insert(t.WAIVER, [t.WAIVER.row(waiver)], ignore=True)


@sql(PutMatchBasis)
async def put_basis(x: Tx, p: PutMatchBasis) -> bool:
    await x.rows(
        """
        insert into match_basis (rule, digest) values ($1, $2)
        on conflict (rule) do update set digest = excluded.digest
        """,
        p.rule,
        p.digest,
    )
    return True
