"""Lists for pages and reports, with filters and cursors; never used to decide."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from counterfoil.core import wire
from counterfoil.core.approval import Approval
from counterfoil.core.audit import Leaf
from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.case import Case, CaseState
from counterfoil.core.case_edits import CaseComment
from counterfoil.core.cases import largest_amounts, totals
from counterfoil.core.effect import Effect
from counterfoil.core.foil import UNFINISHED_FOILS, Allocation, Foil, Observation, Pairing, Waiver
from counterfoil.core.link import Link
from counterfoil.core.matching import FoilState
from counterfoil.core.money import Money
from counterfoil.core.run import InboxItem, Run
from counterfoil.core.settle import MatchRows
from counterfoil.core.waiting import Obstacles
from counterfoil.store.port.matches import DocumentVersion

if TYPE_CHECKING:
    from counterfoil.core.notice import Notice
    from counterfoil.store.port.as_of import KnownMatches
    from counterfoil.store.port.notices import NoticeFilter, UnreadCount


ListSort = Literal[
    "created", "-created", "due", "-due", "deadline", "-deadline", "expires", "-expires", "amount", "-amount"
]
"""Order of a list; `-` means the largest or latest first. None: the newest first."""


class ListFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Filters of a list; rows equal every value that is set, newest first, after a cursor."""

    limit: int = 50
    cursor: str | None = None
    sort: ListSort | None = None
    status: str | None = None
    state: str | None = None
    workflow: str | None = None
    key: str | None = None
    run: str | None = None
    rule: str | None = None
    owner: str | None = None
    entity: tuple[str, ...] | None = None
    """Legal entities that were asked for, as stored."""
    entities: tuple[str, ...] | None = None
    """Legal entities of rows that the caller sees, as stored. None: every row."""
    ids: tuple[str, ...] | None = None
    """Of Runs, foils, Cases and approvals: rows with one of these ids."""
    reason: str | None = None
    """This and what follows are filters of Cases."""
    cause: str | None = None
    assignee: str | None = None
    """Empty: Cases that no person has."""
    tag: str | None = None
    awake_at: datetime | None = None
    """Cases that are not snoozed at this time."""
    snoozed_at: datetime | None = None
    """Cases that are snoozed at this time."""


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Filters of the list of events; rows equal every value that is set, newest first, after a cursor."""

    limit: int = 50
    cursor: str | None = None
    type: str | None = None
    system: str | None = None
    key: str | None = None
    entity: tuple[str, ...] | None = None
    """Legal entities that were asked for, as stored."""
    entities: tuple[str, ...] | None = None
    """Legal entities of rows that the caller sees, as stored. None: every row."""


class ItemFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Filters of the list of unmatched items, newest first, after a cursor."""

    limit: int = 50
    cursor: str | None = None
    sort: ListSort | None = None
    system: str | None = None
    rule: str | None = None
    key: str | None = None
    owner: str | None = None
    entity: tuple[str, ...] | None = None
    """Legal entities that were asked for, as stored."""
    entities: tuple[str, ...] | None = None
    """Legal entities of rows that the caller sees, as stored. None: every row."""
    ids: tuple[str, ...] | None = None
    """Items with one of these ids."""


SummedTable = Literal["run", "foil", "observation", "case_", "approval"]
"""Tables of lists that state how many rows fit."""


class ListSums(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that the filters of a list fit, and their money."""

    rows: int
    more: bool
    """There are more rows."""
    minor: dict[str, int] | None = None
    """Minor units by currency. None: of a Run, or of more rows than are summed."""


AmountTable = Literal["foil", "observation", "approval", "case_"]
"""Tables whose rows are searched by amount."""


class ItemRow(msgspec.Struct, frozen=True, kw_only=True):
    """An unmatched item with its open Case."""

    item: Observation
    case: str | None = None


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """A Run, as lists show it."""

    run: Run
    exposure: tuple[Money, ...]
    """The largest sum of its unfinished foils, open Cases, open approvals and calls to be tried again, per currency."""
    cases: int
    foils: tuple[tuple[FoilState, int], ...]
    obstacles: Obstacles = Obstacles()


class CaseRow(msgspec.Struct, frozen=True, kw_only=True):
    """A Case with the workflow, business key and Release of its Run; without a Run, they are None."""

    case: Case
    entity: str | None = None
    """Legal entity of what it is about. None: it is about no row of one, such as a delivery that cannot be read."""
    workflow: str | None = None
    bkey: str | None = None
    pin: str | None = None


class CauseRow(msgspec.Struct, frozen=True, kw_only=True):
    """Cases of one cause."""

    cause: str
    reason: str
    number: int
    exposure: tuple[Money, ...]
    """Sum of each currency."""
    oldest: datetime
    owners: tuple[str, ...]
    """In order."""
    unassigned: int
    """Cases of it that no person has."""


class MatchRow(msgspec.Struct, frozen=True, kw_only=True):
    """A match row with both sides, for pages and the invariant checker."""

    rule: str
    key: str
    foils: tuple[Foil, ...]
    observations: tuple[Observation, ...]
    allocations: tuple[Allocation, ...]
    pairings: tuple[Pairing, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    """Pairs and acceptances of persons that have not ended."""
    asserted_before: bool = False
    """A left document stood on it by a version that is closed now."""
    users: tuple[Foil, ...] = ()
    """Foils of other matches that use up its total."""

    @property
    def rows(self) -> MatchRows:
        return MatchRows(
            self.foils, self.observations, self.pairings, self.waivers, self.asserted_before, self.users
        )


class Views(Protocol):
    """Read-only lists; each comes with the next cursor."""

    async def runs(self, page: ListFilter) -> tuple[list[RunRow], str | None]: ...
    async def effects(self, page: ListFilter) -> tuple[list[Effect], str | None]: ...
    async def foils(self, page: ListFilter) -> tuple[list[Foil], str | None]: ...
    async def unmatched(self, page: ItemFilter) -> tuple[list[ItemRow], str | None]:
        """Return documents that nothing asserts, and surplus that no foil bears."""
        ...

    async def oldest_unmatched(
        self, limit: int, entities: tuple[str, ...] | None = None
    ) -> list[Observation]:
        """Return the oldest documents of `unmatched`, oldest first; with `entities`, those of these entities."""
        ...

    async def observations(self, page: ItemFilter) -> tuple[list[Observation], str | None]:
        """Return documents of the right side in every state."""
        ...

    async def document_versions(self, rule: str, key: str) -> list[DocumentVersion]:
        """Return every version of the documents of a match, in the order in which they were known."""
        ...

    async def matches_of_rule(self, rule: str, at: datetime) -> list[MatchRow]:
        """Return every match row of a reconciliation as it was known at a time; states are not recomputed."""
        ...

    async def matches_known(self, which: KnownMatches) -> list[MatchRow]:
        """Return match rows with the versions, pairs and waivers of a time; `settle_as_of` gives their states."""
        ...

    async def item_cases(self, ids: Iterable[str], at: datetime) -> dict[str, str]:
        """Return the Cases of unmatched items that were open at a time, by item."""
        ...

    async def cases(self, page: ListFilter) -> tuple[list[CaseRow], str | None]: ...
    async def causes(self, page: ListFilter) -> list[CauseRow]:
        """Return the Cases that fit, grouped by cause, the largest group first; without limit and cursor."""
        ...

    async def list_sums(
        self, table: SummedTable, page: ListFilter | ItemFilter, max_rows: int, max_summed: int
    ) -> ListSums:
        """Count the rows that fit, up to `max_rows`, and sum their money where they are at most `max_summed`.

        Of a document that is its total while it stands, of a Case its exposure. Limit and cursor do not count.
        """
        ...

    async def case_comments(self, case: str) -> list[CaseComment]:
        """Return what persons wrote on a Case, oldest first."""
        ...

    async def notices(self, page: NoticeFilter) -> tuple[list[Notice], str | None]:
        """Return notices of one person, the newest first."""
        ...

    async def unread_counts(self, person: str) -> list[UnreadCount]:
        """Return how many unread notices a person has, by kind and legal entity."""
        ...

    async def approvals(self, page: ListFilter) -> tuple[list[Approval], str | None]: ...
    async def events(self, page: EventFilter) -> tuple[list[CanonicalEvent], str | None]: ...
    async def inbox(self, run: str) -> list[InboxItem]: ...
    async def leaves_of(self, run: str) -> list[tuple[int | None, Leaf]]:
        """Return a Run's leaves in time order, with the tree index of the sealed ones."""
        ...

    async def events_of(self, ids: Sequence[str]) -> list[CanonicalEvent]: ...
    async def events_about(
        self, objects: Sequence[str], keys: Sequence[str], limit: int
    ) -> list[CanonicalEvent]:
        """Return the newest events about objects of these types that have one of these keys."""
        ...

    async def links_of(self, objects: Sequence[tuple[str, str]]) -> list[Link]:
        """Return the Links of objects (type, canonical id), in the order of the objects and then of time."""
        ...

    async def links_by_ext(
        self, ext_id: str, objects: Sequence[str], systems: Sequence[str], accounts: Sequence[str]
    ) -> list[Link]:
        """Return the confirmed Links with this id, in any of the types of objects, systems and accounts."""
        ...

    async def named(
        self, texts: Sequence[str], limit: int, entities: tuple[str, ...] | None = None
    ) -> list[str]:
        """Return the keys of objects whose number, name or named id is one of these texts, in any case.

        With `entities`, here and below: those of these legal entities.
        """
        ...

    async def runs_of(
        self,
        workflows: Sequence[str],
        keys: Sequence[str],
        limit: int,
        entities: tuple[str, ...] | None = None,
    ) -> list[str]:
        """Return the ids of Runs of these workflows with one of these business keys."""
        ...

    async def foils_of(
        self, rules: Sequence[str], keys: Sequence[str], limit: int, entities: tuple[str, ...] | None = None
    ) -> list[str]:
        """Return the ids of the newest foils of these reconciliations whose key or document is one of these."""
        ...

    async def objects_with_words(
        self, words: Sequence[str], limit: int, entities: tuple[str, ...] | None = None
    ) -> list[tuple[str, str]]:
        """Return type and key of objects of which each folded word begins a word of a name or number."""
        ...

    async def near_words(self, word: str, limit: int, entities: tuple[str, ...] | None = None) -> list[str]:
        """Return words of names that differ from a folded word by a letter or two."""
        ...

    async def with_amount(
        self,
        table: AmountTable,
        amounts: Sequence[Money],
        limit: int,
        entities: tuple[str, ...] | None = None,
    ) -> list[str]:
        """Return the ids of the newest rows with one of these amounts of either sign.

        A document counts with its largest leg, a Case with its exposure in one currency; of items, the unmatched ones.
        """
        ...

    async def cases_about(
        self,
        runs: Sequence[str],
        foils: Sequence[str],
        items: Sequence[str],
        limit: int,
        entities: tuple[str, ...] | None = None,
    ) -> list[str]:
        """Return the ids of the newest Cases about these Runs and counterfoils, and the open ones about these items."""
        ...

    async def approvals_about(
        self, runs: Sequence[str], limit: int, entities: tuple[str, ...] | None = None
    ) -> list[str]:
        """Return the ids of the newest approvals of these Runs."""
        ...

    async def items_of(
        self, rules: Sequence[str], keys: Sequence[str], limit: int, entities: tuple[str, ...] | None = None
    ) -> list[str]:
        """Return the ids of the newest unmatched items whose key or document is one of these."""
        ...

    async def foils_shown_as(
        self, documents: Sequence[str], entities: tuple[str, ...] | None = None
    ) -> list[str]:
        """Return the ids of the foils in whose match the right system shows a document with one of these names."""
        ...

    async def matches_of(self, keys: Sequence[tuple[str, str]]) -> list[MatchRow]:
        """Return the match rows with these rules and keys, in order of rule and key."""
        ...

    async def person_pairs(self, rule: str, keys: Sequence[str] | None = None) -> MatchRows:
        """Return the pairs of persons that have not ended, with their documents; with `keys`, those of items with one of them."""
        ...

    async def matches(self, limit: int = 10_000) -> list[MatchRow]: ...
    async def leaves_seen(self, start: int, limit: int, entities: tuple[str, ...]) -> list[tuple[int, Leaf]]:
        """Return sealed leaves about Runs and documents of legal entities, by tree index."""
        ...

    async def runs_by_entity(self) -> list[tuple[str, str, int]]:
        """Return how many Runs each legal entity has, by status: entity, status, count."""
        ...

    async def counts(self, entities: tuple[str, ...] | None = None) -> dict[str, int]:
        """Count rows by table and state, for the front page, metrics and the invariant checker."""
        ...


def exposure(
    foils: Iterable[Foil],
    cases: Iterable[Case],
    approvals: Iterable[Approval] = (),
    calls: Iterable[Effect] = (),
) -> tuple[Money, ...]:
    """Return the largest of the sums, per currency, in order of currency.

    A foil counts as what is missing of its total. A Case about a foil names the same money again, so the sums are
    compared and never added. `calls` are those that will be tried again: their amounts are at stake until then.
    """
    owed: dict[str, int] = {}
    for foil in foils:
        if foil.state in UNFINISHED_FOILS:
            for money in foil.open_money:
                owed[money.currency] = owed.get(money.currency, 0) + abs(money.minor)
    named: dict[str, int] = {}
    for case in cases:
        if case.state is CaseState.OPEN:
            for money in case.exposure:
                named[money.currency] = named.get(money.currency, 0) + abs(money.minor)
    awaited = {money.currency: money.minor for money in totals(a.amount for a in approvals if a.amount)}
    sent: dict[str, int] = {}
    for call in calls:
        for money in largest_amounts(wire.loads(call.input)):
            sent[money.currency] = max(sent.get(money.currency, 0), money.minor)
    sums = (owed, named, awaited, sent)
    currencies = sorted({currency for amounts in sums for currency in amounts})
    return tuple(
        Money(max(amounts.get(currency, 0) for amounts in sums), currency) for currency in currencies
    )
