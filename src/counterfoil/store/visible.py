"""A store as a caller sees it who is bound to legal entities: rows of other entities do not exist.

Reads that are not named here are refused, so that a new read shows nothing before it is decided what it may show.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from msgspec.structs import replace

from counterfoil.core.approval import Approval
from counterfoil.core.audit import Leaf
from counterfoil.core.canonical import CanonicalEvent, Head, HeadState
from counterfoil.core.effect import Effect
from counterfoil.core.entity_scope import EntityScope
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.link import Link
from counterfoil.core.money import Money
from counterfoil.core.release import Plan
from counterfoil.core.run import InboxItem
from counterfoil.core.settle import MatchRows
from counterfoil.store.port.as_of import KnownMatches
from counterfoil.store.port.matches import DocumentVersion
from counterfoil.store.port.stalled import StalledFinding
from counterfoil.store.port.store import LoadedRun, Store
from counterfoil.store.port.views import (
    AmountTable,
    CaseRow,
    CauseRow,
    EventFilter,
    ItemFilter,
    ItemRow,
    ListFilter,
    ListSums,
    MatchRow,
    RunRow,
    SummedTable,
    Views,
)
from counterfoil.store.port.visible import LinkedSystems, ObjectIds

T = TypeVar("T", bound=Hashable)
MAX_RUNS = 1_000
"""Runs that are read to decide about the ids of one request."""
_PLAIN = frozenset({
    "active_release", "apply", "checkpoint", "delegations", "depth", "guard_used", "next_due", "notice_preferences", "now",
    "person", "persons", "problem", "receipt", "release", "release_step", "release_steps", "usage_meters", "version_usage", "votes",
    "waiting_runs",
})  # fmt: skip
"""Members of a store that name no row of an entity, or only by an id that the caller has seen."""
_PLAIN_VIEWS = frozenset({"item_cases", "case_comments", "notices", "unread_counts"})
"""Reads of ids that the caller has seen, and of notices, whose filter names the entities of each kind."""


class VisibleStore:
    """Reads of a store within a scope."""

    def __init__(self, store: Store, views: Views, scope: EntityScope) -> None:
        self._store, self._views, self._scope = store, views, scope

    def __getattr__(self, name: str) -> Any:
        if name in _PLAIN:
            return getattr(self._store, name)
        raise AttributeError(f"{name} is no read of a caller who is bound to legal entities")

    async def load(self, run: str) -> LoadedRun | None:
        loaded = await self._store.load(run)
        return loaded if loaded is not None and self._scope.sees(loaded.run.entity) else None

    async def foil(self, id_: str) -> Foil | None:
        foil = await self._store.foil(id_)
        return foil if foil is not None and self._scope.sees(foil.entity) else None

    async def observation(self, id_: str) -> Observation | None:
        item = await self._store.observation(id_)
        return item if item is not None and self._scope.sees(item.entity) else None

    async def case(self, id_: str) -> CaseRow | None:
        row = await self._store.case(id_)
        return row if row is not None and row.entity is not None and self._scope.sees(row.entity) else None

    async def approval(self, id_: str) -> Approval | None:
        approval = await self._store.approval(id_)
        if approval is None or not self._scope.sees(approval.entity):
            return None
        return None if await self._store.plan(approval.run) else approval

    async def effect(self, id_: str) -> Effect | None:
        effect = await self._store.effect(id_)
        return effect if effect is not None and await self.load(effect.run) else None

    async def heads_of(self, object_: str, keys: Sequence[str]) -> list[Head]:
        heads = await self._store.heads_of(object_, keys)
        return [head for head in heads if self._scope.sees(head.entity)]

    async def known_heads(self, object_: str, keys: Sequence[str]) -> dict[str, str]:
        heads = await self._store.known_heads(object_, keys)
        return {key: entity for key, entity in heads.items() if self._scope.sees(entity)}

    async def head_states(self, object_: str, keys: Sequence[str]) -> dict[str, list[HeadState]]:
        return await self._store.head_states(object_, sorted(await self.known_heads(object_, keys)))

    async def hidden_objects(
        self, ids: ObjectIds, rules: Sequence[str], workflows: Sequence[str]
    ) -> set[tuple[str, str]]:
        """Return those of the objects that exist for other entities alone.

        The head decides; without one the Links, counterfoils and Runs that have the id.
        """
        keys: dict[str, set[str]] = {}
        for object_, key in ids:
            keys.setdefault(object_, set()).add(key)
        heads = {
            (object_, key): self._scope.sees(entity)
            for object_, of in keys.items()
            for key, entity in (await self._store.known_heads(object_, sorted(of))).items()
        }
        hidden = {name for name, is_seen in heads.items() if not is_seen}
        own = {key for (_, key), is_seen in heads.items() if is_seen}
        left = sorted((object_, key) for object_, key in set(ids) - heads.keys() if key not in own)
        if not left:
            return hidden
        links = await self._views.links_of(left)
        entities = [((link.object, link.canonical), link.legal_entity) for link in links if link.legal_entity]
        hidden |= self._others(entities)
        texts = sorted({key for _, key in left})
        others = {key for _, key in await self.hidden_matches({(r, key) for r in rules for key in texts})}
        for id_ in await self.hidden_runs(await self._views.runs_of(workflows, texts, MAX_RUNS)):
            loaded = await self._store.load(id_)
            others |= {loaded.run.bkey} if loaded is not None else set()
        return hidden | {(object_, key) for object_, key in left if key in others}

    async def hidden_references(self, references: ObjectIds, linked: LinkedSystems) -> set[tuple[str, str]]:
        """Return those of the ids in systems that are Links of objects of other entities alone."""
        entities: list[tuple[tuple[str, str], str]] = []
        for name in sorted(references):
            object_, ext_id = name
            links = await self._views.links_by_ext(ext_id, [object_], linked.systems, linked.accounts)
            heads = await self._store.known_heads(object_, [link.canonical for link in links])
            entities += [(name, entity) for entity in heads.values()]
        return self._others(entities)

    async def hidden_matches(self, keys: ObjectIds) -> set[tuple[str, str]]:
        """Return those of the rules and keys under which other entities alone have a counterfoil."""
        matches = await self._views.matches_of(sorted(keys))
        return self._others(((row.rule, row.key), foil.entity) for row in matches for foil in row.foils)

    async def hidden_documents(self, foils: Collection[str], observations: Collection[str]) -> set[str]:
        """Return those of these documents of both sides that belong to other entities, by id."""
        rows: list[Foil | Observation | None] = [await self._store.foil(id_) for id_ in sorted(foils)]
        rows += [await self._store.observation(id_) for id_ in sorted(observations)]
        return self._others((row.id, row.entity) for row in rows if row is not None)

    async def hidden_runs(self, ids: Collection[str]) -> set[str]:
        """Return those of the Runs that belong to other entities."""
        loaded = [await self._store.load(id_) for id_ in sorted(ids)]
        return self._others((each.run.id, each.run.entity) for each in loaded if each is not None)

    def _others(self, entities: Iterable[tuple[T, str]]) -> set[T]:
        """Return the names of which no row is seen, of names with the entities of their rows."""
        rows = list(entities)
        return {name for name, _ in rows} - {name for name, entity in rows if self._scope.sees(entity)}

    async def leaves(self, start: int, limit: int) -> list[tuple[int, Leaf]]:
        return await self._views.leaves_seen(start, limit, self._scope.stored or ())

    async def plan(self, digest: str) -> Plan | None:
        """Return None: a change of governance, with its money, concerns every legal entity."""
        return None

    async def stall_findings(self) -> list[StalledFinding]:
        """Return nothing: findings name rows of every legal entity."""
        return []


class VisibleViews:
    """Lists within a scope."""

    def __init__(self, views: Views, scope: EntityScope) -> None:
        self._views, self._scope = views, scope

    def __getattr__(self, name: str) -> Any:
        if name in _PLAIN_VIEWS:
            return getattr(self._views, name)
        raise AttributeError(f"{name} is no list of a caller who is bound to legal entities")

    def _rows(self, page: ListFilter) -> ListFilter:
        return replace(page, entities=self._scope.stored)

    def _items(self, page: ItemFilter) -> ItemFilter:
        return replace(page, entities=self._scope.stored)

    async def runs(self, page: ListFilter) -> tuple[list[RunRow], str | None]:
        return await self._views.runs(self._rows(page))

    async def effects(self, page: ListFilter) -> tuple[list[Effect], str | None]:
        return await self._views.effects(self._rows(page))

    async def foils(self, page: ListFilter) -> tuple[list[Foil], str | None]:
        return await self._views.foils(self._rows(page))

    async def cases(self, page: ListFilter) -> tuple[list[CaseRow], str | None]:
        return await self._views.cases(self._rows(page))

    async def causes(self, page: ListFilter) -> list[CauseRow]:
        return await self._views.causes(self._rows(page))

    async def list_sums(
        self, table: SummedTable, page: ListFilter | ItemFilter, max_rows: int, max_summed: int
    ) -> ListSums:
        own = replace(page, entities=self._scope.stored)
        return await self._views.list_sums(table, own, max_rows, max_summed)

    async def approvals(self, page: ListFilter) -> tuple[list[Approval], str | None]:
        return await self._views.approvals(self._rows(page))

    async def unmatched(self, page: ItemFilter) -> tuple[list[ItemRow], str | None]:
        return await self._views.unmatched(self._items(page))

    async def observations(self, page: ItemFilter) -> tuple[list[Observation], str | None]:
        return await self._views.observations(self._items(page))

    async def oldest_unmatched(self, limit: int) -> list[Observation]:
        return await self._views.oldest_unmatched(limit, self._scope.stored)

    async def events(self, page: EventFilter) -> tuple[list[CanonicalEvent], str | None]:
        return await self._views.events(replace(page, entities=self._scope.stored))

    async def events_of(self, ids: Sequence[str]) -> list[CanonicalEvent]:
        return [e for e in await self._views.events_of(ids) if self._scope.sees(e.legal_entity)]

    async def events_about(
        self, objects: Sequence[str], keys: Sequence[str], limit: int
    ) -> list[CanonicalEvent]:
        events = await self._views.events_about(objects, keys, limit)
        return [event for event in events if self._scope.sees(event.legal_entity)]

    async def links_of(self, objects: Sequence[tuple[str, str]]) -> list[Link]:
        return [link for link in await self._views.links_of(objects) if self._scope.sees(link.legal_entity)]

    async def links_by_ext(
        self, ext_id: str, objects: Sequence[str], systems: Sequence[str], accounts: Sequence[str]
    ) -> list[Link]:
        links = await self._views.links_by_ext(ext_id, objects, systems, accounts)
        return [link for link in links if self._scope.sees(link.legal_entity)]

    async def named(self, texts: Sequence[str], limit: int) -> list[str]:
        return await self._views.named(texts, limit, self._scope.stored)

    async def runs_of(self, workflows: Sequence[str], keys: Sequence[str], limit: int) -> list[str]:
        return await self._views.runs_of(workflows, keys, limit, self._scope.stored)

    async def foils_of(self, rules: Sequence[str], keys: Sequence[str], limit: int) -> list[str]:
        return await self._views.foils_of(rules, keys, limit, self._scope.stored)

    async def objects_with_words(self, words: Sequence[str], limit: int) -> list[tuple[str, str]]:
        return await self._views.objects_with_words(words, limit, self._scope.stored)

    async def near_words(self, word: str, limit: int) -> list[str]:
        return await self._views.near_words(word, limit, self._scope.stored)

    async def with_amount(self, table: AmountTable, amounts: Sequence[Money], limit: int) -> list[str]:
        return await self._views.with_amount(table, amounts, limit, self._scope.stored)

    async def cases_about(
        self, runs: Sequence[str], foils: Sequence[str], items: Sequence[str], limit: int
    ) -> list[str]:
        return await self._views.cases_about(runs, foils, items, limit, self._scope.stored)

    async def approvals_about(self, runs: Sequence[str], limit: int) -> list[str]:
        return await self._views.approvals_about(runs, limit, self._scope.stored)

    async def items_of(self, rules: Sequence[str], keys: Sequence[str], limit: int) -> list[str]:
        return await self._views.items_of(rules, keys, limit, self._scope.stored)

    async def foils_shown_as(self, documents: Sequence[str]) -> list[str]:
        return await self._views.foils_shown_as(documents, self._scope.stored)

    async def inbox(self, run: str) -> list[InboxItem]:
        return await self._views.inbox(run) if await self._has(run) else []

    async def leaves_of(self, run: str) -> list[tuple[int | None, Leaf]]:
        return await self._views.leaves_of(run) if await self._has(run) else []

    async def _has(self, run: str) -> bool:
        rows, _ = await self.runs(ListFilter(run=run, limit=1))
        return bool(rows)

    async def matches_of(self, keys: Sequence[tuple[str, str]]) -> list[MatchRow]:
        return self._within(await self._views.matches_of(keys))

    async def matches_of_rule(self, rule: str, at: datetime) -> list[MatchRow]:
        return self._within(await self._views.matches_of_rule(rule, at))

    async def person_pairs(self, rule: str, keys: Sequence[str] | None = None) -> MatchRows:
        rows = await self._views.person_pairs(rule, keys)
        return replace(
            rows,
            foils=[foil for foil in rows.foils if self._scope.sees(foil.entity)],
            observations=[item for item in rows.observations if self._scope.sees(item.entity)],
        )

    async def matches_known(self, which: KnownMatches) -> list[MatchRow]:
        return self._within(await self._views.matches_known(which))

    def _within(self, rows: Sequence[MatchRow]) -> list[MatchRow]:
        """Return match rows with the documents of seen entities; a row without any is left out."""
        within = [
            replace(
                row,
                foils=tuple(foil for foil in row.foils if self._scope.sees(foil.entity)),
                observations=tuple(o for o in row.observations if self._scope.sees(o.entity)),
            )
            for row in rows
        ]
        return [row for row in within if row.foils or row.observations]

    async def document_versions(self, rule: str, key: str) -> list[DocumentVersion]:
        rows = await self.matches_of([(rule, key)])
        documents = {foil.document for row in rows for foil in row.foils}
        documents |= {item.document for row in rows for item in row.observations}
        return [v for v in await self._views.document_versions(rule, key) if v.document in documents]

    async def counts(self) -> dict[str, int]:
        return await self._views.counts(self._scope.stored)

    async def runs_by_entity(self) -> list[tuple[str, str, int]]:
        return [row for row in await self._views.runs_by_entity() if self._scope.sees(row[0])]
