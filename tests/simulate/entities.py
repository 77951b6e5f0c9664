"""Checks that only matter with two legal entities: what belongs to one never counts, sends or matches in the other.

The expected entity of a row follows from the plan: from the fact that a system sent, never from the product's own columns.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from counterfoil.core import wire
from counterfoil.core.approval import Approval
from counterfoil.core.case import Case
from counterfoil.core.case_reasons import ANSWERED_BY_EVIDENCE
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.matching import FoilState
from counterfoil.core.money import Money
from counterfoil.core.people import Person
from counterfoil.store.memory.reads import case as case_row
from tests.simulate.plan import BOUND, FIRST, SECOND, STAND_INS
from tests.simulate.systems import RATES, System
from tests.simulate.world import World

LIMIT = "credits-of-customer"
OWED = (FoilState.PROVISIONAL, FoilState.OPEN, FoilState.PARTLY, FoilState.BROKEN)


class Tier(NamedTuple):
    up_to: int | None
    """In cents; None for any amount."""
    roles: tuple[str, ...] = ()
    quorum: int = 1


CURRENCIES = {FIRST: "USD", SECOND: "EUR"}
ACCOUNTS = {FIRST: "4000", SECOND: "8720"}
LIMITS = {FIRST: 250_000, SECOND: 200_000}
"""Most that a customer may get in credits, in cents of the entity's currency."""
BOTH = ("lead", "finance")
TIERS = {
    (FIRST, "credit-approval"): (Tier(10_000), Tier(100_000, BOTH), Tier(None, ("finance",), 2)),
    (SECOND, "credit-approval"): (Tier(6_000), Tier(80_000, ("finance",)), Tier(None, ("finance",), 2)),
    (FIRST, "order-approval"): (Tier(30_000), Tier(None, BOTH)),
    (SECOND, "order-approval"): (Tier(20_000), Tier(None, BOTH)),
    (FIRST, "quote-approval"): (Tier(None, ("lead",)),),
    (SECOND, "quote-approval"): (Tier(None, ("lead",)),),
}
"""The matrices of both entities, written a second time: a tier without roles is automatic."""


class EntityCheck:
    """Compares each new or changed row with its expected entity; `say` reports a violation."""

    def __init__(self, world: World, systems: Mapping[str, System], say: Callable[[str], None]) -> None:
        self._world = world
        self._store = world.store
        self._systems = systems
        self._say = say
        self._runs: dict[str, str] = {}
        self._checked: dict[tuple[str, Any], Any] = {}
        self._customers: dict[str, str] = {}
        self._reservations: dict[Any, Any] = {}
        """Reservations that were checked."""
        self._leaves = 0
        """Leaves that were checked: they never change."""
        self._requested: set[str] = set()
        """Approvals and Cases whose content was checked when they were opened."""

    # ------------------------------------------------------------------ expected entities

    def of_run(self, run: str) -> str:
        """Return the entity of the fact that started a Run."""
        if run not in self._runs:
            self._runs[run] = self._of_event(self._store.tables.inbox[run, 1].ref)
        return self._runs[run]

    def _of_event(self, event: str) -> str:
        row = self._store.tables.events[event]
        if row.receipt is None:
            return self.of_run(row.cause or "")
        return self._of_receipt(row.receipt)

    def _of_receipt(self, no: int) -> str:
        receipt = self._store.tables.receipts[no]
        return self._systems[receipt.system].entities[receipt.ext_id]

    def _system(self, operation: str, entity: str) -> str:
        family = operation.partition(".")[0]
        return STAND_INS.get(family, family) if entity == SECOND else family

    # ------------------------------------------------------------------ at each commit

    def committed(self) -> None:
        """Check what the last transition changed."""
        t = self._store.tables
        for run in self._changed("run", t.runs):
            self._same(f"Run {run.id}", run.entity, self.of_run(run.id))
        for event in self._changed("event", t.events):
            self._same(f"{event.type} {event.id}", event.legal_entity, self._of_event(event.id))
        for head in self._changed("head", t.heads):
            self._same(f"{head.object} {head.key}", head.entity, self._of_event(head.event))
        for link in self._changed("link", t.links):
            kind, _, source = link.established_by.partition(":")
            if kind == "receipt":
                self._same(f"the Link {link.canonical}", link.legal_entity, self._of_receipt(int(source)))
        for effect in self._changed("effect", t.effects):
            self._sent_to("is planned for", effect.operation, effect.id, effect.run, effect.system)
        for approval in self._changed("approval", t.approvals):
            if approval.run:
                self._approval(approval, self.of_run(approval.run))
        for observation in self._changed("observation", t.observations):
            expected = self._of_event(observation.event)
            self._same(f"{observation.rule} {observation.document}", observation.entity, expected)
            self._one_ledger(observation)
        for foil in self._changed("foil", t.foils):
            self._foil(foil)
        for case in self._changed("case", t.cases):
            self._case(case)
        for leaf in list(islice(t.leaves.values(), self._leaves, None)):
            self._leaf(leaf)
        self._leaves = len(t.leaves)
        if t.reservations != self._reservations:
            self._reservations = dict(t.reservations)
            self._limits()

    def _changed(self, kind: str, rows: Mapping[Any, Any]) -> Iterator[Any]:
        for key, row in rows.items():
            if self._checked.get((kind, key)) is not row:
                self._checked[kind, key] = row
                yield row

    def _same(self, what: str, entity: str | None, expected: str) -> None:
        if entity != expected:
            self._say(f"entity: {what} belongs to {entity or 'no entity'}, and its fact to {expected}")

    def _one_ledger(self, observation: Observation) -> None:
        """All versions of a document come from one ledger, although both give the same numbers."""
        versions = self._store.tables.versions["right", observation.rule, observation.document]
        events = {msgspec.json.decode(v.body, type=Observation).event for v in versions}
        if len({self._of_event(event) for event in events}) > 1:
            self._say(f"entity: {observation.rule} {observation.document} is a document of both ledgers")

    def _approval(self, approval: Approval, entity: str) -> None:
        what = f"approval {approval.path} of {approval.run}"
        self._same(what, approval.entity, entity)
        money = approval.amount
        if money is None or money.currency != CURRENCIES[entity]:
            self._say(f"entity: {what} of {entity} is over {money}")
            return
        if approval.id in self._requested:
            return
        self._requested.add(approval.id)
        size = money.minor
        if approval.policy == "credit-approval":
            size = self._used()[entity, self._customer(approval.run)]
        tier = next(t for t in TIERS[entity, approval.policy] if t.up_to is None or size <= t.up_to)
        if approval.automatic is bool(tier.roles) or (
            tier.roles and (set(approval.roles), approval.quorum) != (set(tier.roles), tier.quorum)
        ):
            needs = "no person" if approval.automatic else f"{approval.quorum} of {approval.roles}"
            self._say(f"entity: {what} over {money}, {size} in all of {entity}, needs {needs}, not {tier}")

    def _foil(self, foil: Foil) -> None:
        """What is asserted in one entity is not shown by the other's system."""
        expected = self.of_run(foil.run or "")
        self._same(f"the foil {foil.rule} {foil.document}", foil.entity, expected)
        for id_ in foil.partners:
            shown = self._of_event(self._store.tables.observations[id_].event)
            if shown == expected:
                continue
            what = f"{foil.rule} {foil.document} of {expected} is {foil.state}, and {shown} shows it"
            if foil.state is FoilState.BROKEN and foil.reason.startswith("entity:"):
                self._world.note("judge", what)
            else:
                self._say(f"entity: {what}")

    def _case(self, case: Case) -> None:
        """All that a Case is about belongs to one entity, because a person who sees one part sees the Case."""
        what = f"the Case {case.reason} {case.id}"
        t = self._store.tables
        entities = {self.of_run(case.run)} if case.run is not None else set()
        effect = t.effects.get(case.effect or "")
        if effect is not None:
            entities.add(self.of_run(effect.run))
        if case.foil in t.foils:
            entities.add(self.of_run(t.foils[case.foil].run or ""))
        if case.observation in t.observations:
            entities.add(self._of_event(t.observations[case.observation].event))
        if case.event in t.events:
            entities.add(self._of_event(case.event))
        if len(entities) > 1:
            self._say(f"entity: {what} is about rows of {' and '.join(sorted(entities))}")
        elif entities:
            row = case_row(t, case.id)
            self._same(what, row.entity if row is not None else None, *entities)
        if "exchange rate" in case.message:
            self._say(f"entity: {what} compares amounts of two entities: {case.message}")
        owed = [f for f in t.foils.values() if effect is not None and f.effect == effect.id]
        for foil in owed if case.id not in self._requested else ():
            if case.foil is None and foil.state in OWED and case.reason not in ANSWERED_BY_EVIDENCE:
                self._say(f"entity: {what} names no foil, and {foil.rule} {foil.document} is {foil.state}")
        self._requested.add(case.id)

    def _leaf(self, leaf: Any) -> None:
        """A leaf about a row of a Run is a leaf of that Run's entity."""
        t = self._store.tables
        tables: tuple[Mapping[str, Any], ...] = (t.effects, t.approvals, t.foils, t.cases)
        runs = {rows[leaf.subject].run for rows in tables if leaf.subject in rows} | {leaf.run}
        entities = {self.of_run(run) for run in runs if run}
        if len(entities) > 1:
            self._say(f"entity: the leaf {leaf.kind} of {leaf.subject} belongs to both entities")

    def _limits(self) -> None:
        """A guard row counts the Runs of one entity only, and at most the limit of that entity."""
        entities: dict[str, set[str]] = defaultdict(set)
        for scope, key, run, _ in self._store.tables.reservations:
            if scope == LIMIT:
                entities[key].add(self.of_run(run))
        for key, both in entities.items():
            if len(both) > 1:
                self._say(f"entity: the limit {key} counts Runs of both entities")
        for (entity, customer), used in self._used().items():
            if used > LIMITS[entity]:
                self._say(f"entity: {customer} has {used} of a limit of {LIMITS[entity]} in {entity}")

    def _used(self) -> dict[tuple[str, str], int]:
        """Return what counts against the limit of each entity and customer."""
        used: dict[tuple[str, str], int] = defaultdict(int)
        for (scope, _, run, _), (amount, live) in self._store.tables.reservations.items():
            if scope == LIMIT and live:
                used[self.of_run(run), self._customer(run)] += amount
        return used

    def _customer(self, run: str) -> str:
        if run not in self._customers:
            start = wire.loads(self._store.tables.inbox[run, 1].body)
            self._customers[run] = str(start["event"]["data"]["customer"])
        return self._customers[run]

    # ------------------------------------------------------------------ at each call

    def request(self, system: str, operation: str, effect: str, body: bytes | None = None) -> None:
        """A call, or a look-up of one, goes to the system that plays the part in the Run's entity."""
        row = self._store.tables.effects.get(effect)
        if row is None:
            return
        self._sent_to(
            "goes to" if body is not None else "is looked up in", operation, effect, row.run, system
        )
        entity = self.of_run(row.run)
        own = {"account": ACCOUNTS[entity], "rate": RATES[self._system("ledger", entity)]}
        content = wire.read_json(body) if body is not None else {}
        for field in own.keys() & content.keys():
            if content[field] != own[field]:
                self._say(f"entity: {operation} {effect} of {entity} has the {field} {content[field]}")
        for money in wire.loads(row.input).values():
            if isinstance(money, Money) and money.currency != CURRENCIES[entity]:
                self._say(f"entity: {operation} {effect} of {entity} is over {money}")

    def read(self, system: str, operation: str, contract: str) -> None:
        """A read for a Run goes to the system of its entity. Only renewals read, by the id of their contract."""
        for run in self._store.tables.runs.values():
            if (run.workflow, run.bkey) == ("renewal", contract):
                self._sent_to("reads from", operation, contract, run.id, system)

    def _sent_to(self, verb: str, operation: str, what: str, run: str, system: str) -> None:
        entity = self.of_run(run)
        if system != self._system(operation, entity):
            self._say(f"entity: {operation} {what} of {entity} {verb} {system}")

    def acts_for(self, person: Person, run: str) -> bool:
        """Report whether a person may vote about a Run."""
        return self.of_run(run) in BOUND.get(person.id, (FIRST, SECOND))
