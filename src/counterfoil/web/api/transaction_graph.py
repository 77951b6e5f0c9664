"""Graph of one business transaction: its documents in every system, its Runs and counterfoils, and what caused what.

It begins at one Run and follows correlation ids, causation ids, business keys and the Links of calls. Rows that the
caller does not see are not read, so that they leave no trace.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from counterfoil.application import Application
from counterfoil.core import wire
from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.cases import largest_amounts
from counterfoil.core.effect import Effect
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.link import Link
from counterfoil.core.matching import FoilState
from counterfoil.core.money import Money
from counterfoil.store.port.store import LoadedRun
from counterfoil.store.port.views import ListFilter
from counterfoil.web.api import shapes
from counterfoil.web.api.names import CUSTOMER, NameReader
from counterfoil.web.api.queries import run_shapes
from counterfoil.web.api.trace import OWN_LANE, read_links

MAX_NODES = 500
MAX_RUNS = 40
"""Runs of one transaction that are read."""
_STEPS = 3
"""Runs caused by Runs that are followed, from the first one in both directions."""
_RUN_PREFIX = "run_"
_VERSION_DOT_V = ".v"
NodeKind: TypeAlias = Literal["document", "call", "counterfoil", "run"]
Word: TypeAlias = Literal["started", "informed", "emitted", "created", "called", "asserted", "observed"]


class TransactionNode(msgspec.Struct, frozen=True, kw_only=True):
    """One document, call without a document, counterfoil or Run. `system` is its lane."""

    id: str
    kind: NodeKind
    system: str
    title: str
    """Object of a document, workflow, reconciliation or operation."""
    number: str
    """Number of the document in its system, or the key where the store has none."""
    key: str
    amounts: list[shapes.Amount] = []
    state: str = ""
    waits_for: str = ""
    at: datetime
    page: str
    """Address of its page."""


class TransactionEdge(msgspec.Struct, frozen=True, kw_only=True):
    """Cause of one node by another one, by their ids."""

    source: str
    target: str
    word: Word


class TransactionGraph(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes in order of time; every edge joins two of them."""

    run: str
    name: str
    customer: str
    systems: list[str]
    """Lanes in order of appearance."""
    nodes: list[TransactionNode]
    edges: list[TransactionEdge]
    left_out: int
    """Nodes beyond the bound."""
    more_runs: bool
    """There are more Runs than were read."""
    as_of: datetime


class _RunRows(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of the store about one Run."""

    loaded: LoadedRun
    started: list[CanonicalEvent]
    informed: list[CanonicalEvent]


async def load_graph(app: Application, run_id: str) -> TransactionGraph | None:
    """Return the graph of the transaction of a Run, or None if there is no such Run."""
    parts, more = await _parts(app, run_id)
    if not parts:
        return None
    builder = _Builder(await _titles(app, parts))
    await builder.read(app, list(parts.values()))
    rows, _ = await app.views.runs(ListFilter(ids=tuple(parts), limit=MAX_RUNS))
    runs = {run.id: run for run in await run_shapes(app, rows)}
    for id_ in parts:
        if id_ in runs:
            builder.add_run(runs[id_])
    nodes, edges, left_out = builder.bounded()
    first = runs.get(run_id)
    return TransactionGraph(
        run=run_id,
        name="" if first is None else first.name or first.key,
        customer="" if first is None else first.customer,
        systems=list(dict.fromkeys(node.system for node in nodes)),
        nodes=nodes,
        edges=edges,
        left_out=left_out,
        more_runs=more,
        as_of=await app.now(),
    )


# ------------------------------------------------------------------ the Runs of the transaction


async def _parts(app: Application, run_id: str) -> tuple[dict[str, _RunRows], bool]:
    """Return the Runs of a transaction by id, and whether there are more than are read."""
    parts: dict[str, _RunRows] = {}
    pending, more = [run_id], False
    for _ in range(1 + _STEPS):
        added = []
        for id_ in pending:
            if id_ not in parts and (part := await _part(app, id_)) is not None:
                parts[id_] = part
                added.append(part)
        if not added:
            break
        keys = list(dict.fromkeys(key for part in added for key in _keys(app, part)))
        others = await app.views.runs_of(sorted(app.model.workflows), keys, MAX_RUNS + 1) if keys else []
        pending = list(dict.fromkeys([*(c for part in added for c in _causes(part)), *others]))
        pending = [id_ for id_ in pending if id_ not in parts]
        more = more or len(parts) + len(pending) > MAX_RUNS
        pending = pending[: MAX_RUNS - len(parts)]
    return parts, more


async def _part(app: Application, run_id: str) -> _RunRows | None:
    loaded = await app.store.load(run_id)
    if loaded is None:
        return None
    inbox = await app.views.inbox(run_id)
    kinds = {item.ref: item.kind for item in reversed(inbox) if item.kind in ("start", "event")}
    events = await app.views.events_of(sorted(kinds))
    return _RunRows(
        loaded=loaded,
        started=[event for event in events if kinds[event.id] == "start"],
        informed=[event for event in events if kinds[event.id] == "event"],
    )


def _causes(part: _RunRows) -> list[str]:
    """Return the Runs that emitted what started a Run, by the ids of cause and correlation."""
    ids = [id_ for event in part.started for id_ in (event.cause, event.correlation)]
    return [id_ for id_ in ids if id_.startswith(_RUN_PREFIX)]


def _keys(app: Application, part: _RunRows) -> list[str]:
    """Return the keys under which other Runs of a transaction stand: of its documents, never of its customer."""
    run = part.loaded.run
    customers = {e.key for e in (*part.started, *part.informed) if e.object == CUSTOMER}
    keys = [run.bkey]
    keys += [text for e in part.started if e.object != CUSTOMER for text in (e.key, e.correlation)]
    keys += [text for foil in part.loaded.foils for text in (foil.key, foil.document)]
    return [key for key in dict.fromkeys(keys) if key and key not in customers]


async def _titles(app: Application, parts: Mapping[str, _RunRows]) -> dict[str, str]:
    """Return the numbers and names of the documents by their keys."""
    keys: dict[str, None] = {}
    for part in parts.values():
        keys |= dict.fromkeys(event.key for event in (*part.started, *part.informed))
        keys |= dict.fromkeys(text for foil in part.loaded.foils for text in (foil.number, foil.key))
    names = await NameReader(app).documents(keys)
    return {key: named.name for key, named in names.items() if named.name}


async def _foils(app: Application, parts: Sequence[_RunRows], documents: Sequence[str]) -> list[Foil]:
    """Return the counterfoils of Runs and of documents, oldest first. Some are of no Run: an event asserts them."""
    foils = {foil.id: foil for part in parts for foil in part.loaded.foils}
    keys = list(dict.fromkeys([*(part.loaded.run.bkey for part in parts), *documents]))[:MAX_NODES]
    ids = await app.views.foils_of(sorted(app.model.reconciliations), keys, MAX_NODES)
    others = tuple(id_ for id_ in ids if id_ not in foils)
    if others:
        rows, _ = await app.views.foils(ListFilter(ids=others, limit=MAX_NODES))
        foils |= {foil.id: foil for foil in rows}
    return sorted(foils.values(), key=lambda foil: (foil.created_at, foil.id))


# ------------------------------------------------------------------ nodes and edges


class _Builder:
    """Collects nodes and edges. Of a node that several sources name, each adds what it has."""

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names
        self._nodes: dict[str, TransactionNode] = {}
        self._edges: dict[tuple[str, str], Word] = {}
        self._created: dict[str, str] = {}
        """Nodes of calls and of events, by the id of the effect or event."""

    async def read(self, app: Application, parts: Sequence[_RunRows]) -> None:
        """Add the documents, calls and counterfoils of Runs."""
        for part in parts:
            run = part.loaded.run.id
            links = await read_links(app, (*part.started, *part.informed), part.loaded.effects)
            for event in (*part.started, *part.informed):
                self._add_event(event, run, "started" if event in part.started else "informed")
            for effect in sorted(part.loaded.effects, key=lambda e: (e.created_at, e.id)):
                if effect.repeat != "read":
                    self._add_call(effect, [li for li in links if li.established_by.endswith(effect.id)])
        foils = await _foils(app, parts, [node.key for node in self._nodes.values()])
        for foil in foils:
            self._add_foil(foil)
        await self._add_observed(app, foils)

    def add_run(self, run: shapes.RunShape) -> None:
        state = run.state if run.status in ("ready", "waiting") else f"{run.state}, {run.status}"
        self._put(
            TransactionNode(
                id=run.id, kind="run", system=OWN_LANE, title=run.workflow, number=run.name or run.key, key=run.key,
                amounts=run.exposure, state=state, waits_for=run.waits_for, at=run.created_at,
                page=f"/runs/{run.id}",
            )
        )  # fmt: skip

    def _add_event(self, event: CanonicalEvent, run: str, word: Word) -> None:
        if event.cause.startswith(_RUN_PREFIX):
            if event.cause != run:
                self._join(event.cause, run, word)
            return
        node = self._put(
            TransactionNode(
                id=_document_id(event.system, event.object or event.type, event.key), kind="document",
                system=event.system, title=event.object or event.type, number=self._names.get(event.key, ""),
                key=event.key, amounts=_money(event.data), state=_happened(event), at=event.occurred_at,
                page=f"/runs/{run}",
            )
        )  # fmt: skip
        self._created[event.id] = node
        self._join(node, run, word)

    def _add_call(self, effect: Effect, links: Sequence[Link]) -> None:
        """Add the documents that a call created; a call that created none is a node of its own."""
        result: Any = wire.loads(effect.result) if effect.result is not None else {}
        amounts = _money(wire.loads(effect.input)) or _money(result)
        page = f"/runs/{effect.run}#{effect.id}"
        at = effect.ended_at or effect.created_at
        number = _number(result)
        created = [li for li in links if li.system == effect.system]
        for link in created:
            node = self._put(
                TransactionNode(
                    id=_document_id(link.system, link.object, link.canonical), kind="document", system=link.system,
                    title=link.object, number=number or link.ext_id, key=link.canonical, amounts=amounts,
                    state=str(effect.state), at=at, page=page,
                )
            )  # fmt: skip
            self._join(effect.run, node, "created")
            self._created.setdefault(effect.id, node)
        if not created:
            node = self._put(
                TransactionNode(
                    id=effect.id, kind="call", system=effect.system, title="call", number=effect.operation,
                    key=effect.id, amounts=amounts, state=str(effect.state), at=at, page=page,
                )
            )  # fmt: skip
            self._join(effect.run, node, "called")
            self._created[effect.id] = node

    def _add_foil(self, foil: Foil) -> None:
        self._put(
            TransactionNode(
                id=foil.id, kind="counterfoil", system=OWN_LANE, title=foil.rule,
                number=self._names.get(foil.number, "") or self._names.get(foil.key, "") or foil.number, key=foil.key,
                amounts=_largest(value for value in foil.legs.values() if isinstance(value, Money)),
                state=str(foil.state), at=foil.created_at, page=f"/foils/{foil.id}",
            )
        )  # fmt: skip
        document = _document_id(foil.left, foil.object, foil.number)
        sources = (foil.effect, foil.cause, document if document in self._nodes else None)
        source = next(
            (self._created.get(id_, id_) for id_ in sources if id_ and self._is_node(id_)), foil.run
        )
        if source is not None:
            self._join(source, foil.id, "asserted")

    def _is_node(self, id_: str) -> bool:
        return id_ in self._created or id_ in self._nodes

    async def _add_observed(self, app: Application, foils: Sequence[Foil]) -> None:
        matches = await app.views.matches_of(sorted({(foil.rule, foil.key) for foil in foils}))
        items = {(match.rule, match.key): match.observations for match in matches}
        ids = sorted({o.event for observations in items.values() for o in observations})
        events = {event.id: event for event in await app.views.events_of(ids)}
        for foil in foils:
            for observation in items.get((foil.rule, foil.key), ()):
                if observation.id in foil.partners or foil.state is not FoilState.MATCHED:
                    node = self._observed(observation, foil, events.get(observation.event))
                    self._join(foil.id, node, "observed")

    def _observed(self, observation: Observation, foil: Foil, event: CanonicalEvent | None) -> str:
        system = foil.right if event is None else event.system
        object_ = (event.object if event is not None else "") or foil.object
        key = event.key if event is not None else observation.document
        legs = _largest(value for value in observation.legs.values() if isinstance(value, Money))
        return self._put(
            TransactionNode(
                id=_document_id(system, object_, key), kind="document", system=system, title=object_,
                number=observation.number, key=key, amounts=legs,
                state="observed" if observation.stands else "withdrawn", at=observation.at, page=f"/foils/{foil.id}",
            )
        )  # fmt: skip

    def _put(self, node: TransactionNode) -> str:
        """Add a node, or the latest state of one that is there; its number, time and page are the first ones."""
        first = self._nodes.get(node.id)
        if first is None:
            self._nodes[node.id] = node
        else:
            later = node if node.at >= first.at else first
            self._nodes[node.id] = replace(
                first,
                number=first.number or node.number,
                amounts=first.amounts or node.amounts,
                state=later.state,
                at=min(first.at, node.at),
            )
        return node.id

    def _join(self, source: str, target: str, word: Word) -> None:
        self._edges.setdefault((source, target), word)

    def bounded(self) -> tuple[list[TransactionNode], list[TransactionEdge], int]:
        """Return the first nodes in order of time, the edges between them, and how many nodes are left out."""
        rank = {"document": 0, "run": 1, "call": 2, "counterfoil": 3}
        ordered = sorted(self._nodes.values(), key=lambda node: (node.at, rank[node.kind], node.id))
        nodes = [replace(node, number=node.number or node.key) for node in ordered[:MAX_NODES]]
        ids = {node.id for node in nodes}
        edges = [
            TransactionEdge(source=source, target=target, word=word)
            for (source, target), word in self._edges.items()
            if source in ids and target in ids
        ]
        return nodes, edges, len(ordered) - len(nodes)


def _document_id(system: str, object_: str, key: str) -> str:
    return f"{system}/{object_}/{key}"


def _money(data: Any) -> list[shapes.Amount]:
    return shapes.amounts(largest_amounts(data))


def _largest(values: Iterable[Money]) -> list[shapes.Amount]:
    money = max(values, key=lambda one: abs(one.minor), default=None)
    return [] if money is None else [shapes.amount(money)]


def _number(result: Any) -> str:
    """Return the number that a call's answer gives to its document; empty without one."""
    number = result.get("number") if isinstance(result, dict) else None
    return number if isinstance(number, str) else ""


def _happened(event: CanonicalEvent) -> str:
    """Return what an event says, in words: `finalized` for `invoice.finalized.v1`."""
    return event.type.rpartition(_VERSION_DOT_V)[0].rpartition(".")[2].replace("_", " ") or event.type
