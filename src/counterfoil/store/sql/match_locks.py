"""Match rows that a transition locks, before it writes a version of a document."""
# ruff: noqa: S608 - only names of tables are put into statements, values never are

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from counterfoil.core.document import Side
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.foil_versions import Withdrawal

if TYPE_CHECKING:
    from counterfoil.store.sql.transaction import Tx

Match = tuple[str, str]

_NAMED = "select * from unnest($1::text[], $2::text[])"
KEYS_OF_FOILS = f"""
with mine as (
  select id, rule, document, key, own_key from foil where (rule, document) in ({_NAMED})
  union
  select id, rule, document, key, own_key from foil where reverses <> '' and (rule, reverses) in ({_NAMED})
)
select rule, key from mine
union all
select rule, own_key from mine where own_key <> ''
union all
select mine.rule, o.own_key from mine
join pairing p on p.foil = mine.id and p.ended_at is null
join observation o on o.id = p.observation where o.own_key <> ''
union all
select u.rule, u.key from mine
join match_user u on u.user_rule = mine.rule and u.document = mine.document
union all
select v.rule, v.key from document_version v
where v.side = 'left' and v.reverses <> '' and (v.rule, v.reverses) in ({_NAMED})
"""
KEYS_OF_EFFECTS = """
select rule, key from foil where effect = any($1::text[])
union
select u.rule, u.key from foil
join match_user u on u.user_rule = foil.rule and u.document = foil.document
where foil.effect = any($1::text[])
"""
"""Match rows of the foils of effects, and those whose totals they use up."""
KEYS_OF_CASES = "select f.rule, f.key from foil f join case_ c on c.foil = f.id where c.id = any($1::text[])"
"""Match rows of the foils that Cases are about."""
KEYS_OF_SHOWN = f"""
with mine as (
  select rule, key, own_key from observation where (rule, document) in ({_NAMED})
  union
  select rule, key, own_key from observation where reverses <> '' and (rule, reverses) in ({_NAMED})
)
select rule, key from mine
union all
select rule, own_key from mine where own_key <> ''
"""
DOCUMENTS_OF_SPLIT: dict[Side, str] = {
    "left": """
select foil.document, event.type from event
join foil on foil.cause = event.id
where foil.rule = $1 and event.object = $2 and event.key = $3
""",
    "right": """
select observation.document, event.type from event
join observation on observation.event = event.id
where observation.rule = $1 and event.object = $2 and event.key = $3
""",
}
"""Documents that events of an object show now, with the type of the event."""


class SharedMatchError(Exception):
    """A transition touches a match row that its keys do not name: it must not share its database transaction."""


async def matches_of(
    x: Tx,
    foils: Sequence[Foil],
    observed: Sequence[Observation] = (),
    withdrawals: Sequence[Withdrawal] = (),
) -> set[Match]:
    """Return the match rows that new versions touch: their own, those that their documents leave, and of reversals both.

    Raises SharedMatchError where other transitions of one database transaction may touch the latter too.
    """
    matches = {(f.rule, f.key) for f in foils} | {(o.rule, o.key) for o in observed}
    matches = matches.union(*(f.caps for f in foils))
    named = frozenset(matches)
    if x.dialect == "postgres":
        withdrawals = [each for w in withdrawals for each in await withdrawals_of(x, w)]
        lefts = _names(foils)
        lefts += [(w.rule, w.document) for w in withdrawals if w.side == "left"]
        rights = _names(observed)
        rights += [(w.rule, w.document) for w in withdrawals if w.side == "right"]
        for sql, names in ((KEYS_OF_FOILS, lefts), (KEYS_OF_SHOWN, rights)):
            if names:
                columns = [list(column) for column in zip(*names, strict=True)]
                matches |= {(rule, key) for rule, key in await x.rows(sql, *columns)}
    if x.shared and matches != named:
        raise SharedMatchError(f"{len(matches - named)} match rows that the transition does not name")
    return matches


async def withdrawals_of(x: Tx, w: Withdrawal) -> list[Withdrawal]:
    """Return the withdrawals, document by document, of what other versions of the object of a split showed."""
    if w.split is None:
        return [w]
    rows = await x.rows(DOCUMENTS_OF_SPLIT[w.side], w.rule, w.split.object, w.split.key)
    return w.of(document for document, type_ in rows if type_ in w.split.types)


async def lock_late(x: Tx, *matches: Match) -> bool:
    """Lock match rows that a document was moved to since the transition locked its own; report whether there were any."""
    if x.shared and not x.matches.issuperset(matches):
        raise SharedMatchError(f"{matches[0][1]} has moved")
    return await x.lock_matches(matches)


def _names(rows: Sequence[Foil | Observation]) -> list[tuple[str, str]]:
    """Return rule and id of documents, and of those that they reverse."""
    return [(r.rule, name) for r in rows for name in (r.document, r.reverses) if name]
