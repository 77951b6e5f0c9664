"""admit: a Receipt becomes canonical events with all that follows from them, in one transaction.

Mapping, contract, ownership and order are checked; heads, Links, foils, observations, Runs and wake-ups are
written together. What fails a check opens a Case and is held; nothing is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from counterfoil.connectors.sdk import Connector
from counterfoil.contracts.versions import known_as
from counterfoil.core import ids, wire
from counterfoil.core.canonical import CanonicalEvent, Head, Receipt
from counterfoil.core.case import Case, Choice
from counterfoil.core.errors import Refused, TryAgain
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.link import Link, ext_topic
from counterfoil.core.run import LANE_NAMES
from counterfoil.expr import BudgetExceeded, EvaluationError, LookupNeeded
from counterfoil.flow.context.deprecations import DeprecationUsage
from counterfoil.flow.context.lookups import Lookups
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.intake.receive import keep_fetched
from counterfoil.flow.runs import snapshot
from counterfoil.flow.runs.snapshot import LEASE, RunSnapshot
from counterfoil.model import Model
from counterfoil.model.definition import InboundMapping
from counterfoil.rules import acceptance, matching, routing
from counterfoil.rules import admit as rules
from counterfoil.rules import mapping as mappings
from counterfoil.rules.acceptance import Rejection
from counterfoil.rules.mapping import LookupsNeeded, Mapped, MappedEvent, MappingFailed, UnresolvedLink
from counterfoil.rules.routing import Forms
from counterfoil.rules.values import head_names
from counterfoil.rules.versions import CastFailed, view
from counterfoil.rules.workflow.context import UnusableValue
from counterfoil.store.port.store import Store, Todo
from counterfoil.store.port.transitions import Admit, Admitted, Lease, Post, RunStart, Stimulus

CASE_WITHIN = timedelta(days=1)
FETCH_TIMEOUT = 15.0


class HeldDelivery(Exception):
    """The delivery is held: with a Case for a person, or for a Link that wakes it."""

    def __init__(self, reason: str, message: str, owner: str, wake: str | None = None) -> None:
        super().__init__(message)
        self.reason, self.message, self.owner, self.wake = reason, message, owner, wake


class Admitter:
    """Admits todos one at a time; several may run beside each other on different todos."""

    def __init__(
        self,
        store: Store,
        releases: Releases,
        connectors: Mapping[str, Connector],
        worker: str = "",
        uses: DeprecationUsage | None = None,
    ) -> None:
        self._store = store
        self._uses = uses if uses is not None else DeprecationUsage(store, lambda: releases.present)
        self._releases = releases
        self._connectors = connectors
        self._worker = worker

    async def admit(self, todo: Todo, now: datetime) -> list[RunSnapshot]:
        """Admit one; the Runs that were born of it, leased to this worker where it has a name.

        Raises TryAgain when a system must be asked first and does not answer.
        """
        model = self._releases.present
        speaks = todo.receipt.system if todo.receipt is not None else ""
        lookups = Lookups(self._store, model, now, speaks=speaks)
        ref = (todo.kind, todo.ref)
        try:
            if todo.kind == "event":
                assert todo.event is not None
                events: list[CanonicalEvent] = [todo.event]
                links: list[Link] = []
                ignored = ""
            else:
                assert todo.receipt is not None
                events, links, ignored = await self._events(model, todo.receipt, lookups, now)
            if ignored:
                await self._store.apply(
                    Admit(todo=ref, ignored=ignored, release=model.digest, at=now, actor="admit")
                )
                return []
            admit = await self._consequences(model, ref, events, links, lookups, now)
        except HeldDelivery as held:
            case = _case(todo, held, now)
            await self._apply(
                Admit(
                    todo=ref,
                    cases=(case,),
                    park=True,
                    wake_topic=held.wake,
                    release=model.digest,
                    at=now,
                    actor="admit",
                )
            )
            return []
        admitted = await self._store.apply(admit)
        door = todo.receipt.door if todo.receipt is not None else ""
        self._uses.admitted(model, admit, admitted.new_events, door, now)
        return [
            snapshot.born(s, now, tuple(f for f in admit.foils if f.run == s.run))
            for s in admit.starts
            if s.run in admitted.born and s.lease is not None
        ]

    async def _apply(self, admit: Admit) -> Admitted:
        """Raises TryAgain while this process does not know yet what is in force."""
        admitted = await self._store.apply(admit)
        if admitted.outdated:
            raise TryAgain(f"release {admit.release[:12]} is not in force any more", after=0.2)
        return admitted

    # ------------------------------------------------------------------ events

    async def _events(
        self, model: Model, receipt: Receipt, lookups: Lookups, now: datetime
    ) -> tuple[list[CanonicalEvent], list[Link], str]:
        """The receipt's events and Links, or why nothing follows from it."""
        if receipt.door == "events":
            return [self._declared(model, receipt)], [], ""
        body = wire.read_json(receipt.body)
        found = [
            m
            for m in model.inbound(receipt.system, receipt.type)
            if mappings.takes(m, body, receipt.received_at)
        ]
        owner = _first(model.owners_of(model.systems[receipt.system]))
        if not found:
            raise HeldDelivery("unrouted", f"no mapping takes {receipt.type} of {receipt.system}", owner)
        reasons = [m.ignore for m in found if m.ignore is not None]
        events: list[CanonicalEvent] = []
        links: list[Link] = []
        for m in found:
            if m.ignore is None:
                mapped = await self._map(model, m, receipt, body, lookups, now)
                events += [self._canonical(model, m, receipt, e) for e in mapped.events]
                for e in mapped.events:
                    links += _links(model, m.system, e, now)
        links += [
            Link(
                object=object_,
                canonical=canonical,
                system=system,
                account=lookups.account(system),
                ext_id=ext_id,
                established_by=f"receipt:{receipt.no}",
                valid_from=now,
            )
            for object_, canonical, ext_id, system in lookups.minted
        ]
        if not events:
            return [], links, "; ".join(reasons) or "its mappings' conditions take nothing of it"
        return events, links, ""

    async def _map(
        self, model: Model, m: InboundMapping, receipt: Receipt, body: Any, lookups: Lookups, now: datetime
    ) -> Mapped:
        fetched = await self._fetch(model, m, receipt, body, now)
        result = mappings.apply_inbound(m, body, fetched, receipt.received_at, lookups.answers)
        while isinstance(result, LookupsNeeded):
            await lookups.answer(result.looks)
            result = mappings.apply_inbound(m, body, fetched, receipt.received_at, lookups.answers)
        owner = _first(m.owners)
        if isinstance(result, MappingFailed):
            raise HeldDelivery("mapping_failed", result.message, owner)
        if isinstance(result, UnresolvedLink):
            message = f"{result.object} {result.id} of {result.system} is not linked to anything we know"
            raise HeldDelivery(
                "unresolved", message, owner, wake=ext_topic(result.object, result.system, result.id)
            )
        return result

    async def _fetch(
        self, model: Model, m: InboundMapping, receipt: Receipt, body: Any, now: datetime
    ) -> Any:
        """A hint: the object as its system of record shows it now, kept as a receipt of its own."""
        try:
            arguments = mappings.needs_of_fetch(m, body, receipt.received_at)
        except (EvaluationError, BudgetExceeded) as error:
            raise HeldDelivery(
                "mapping_failed", f"mapping {m.name}, fetch: {error}", _first(m.owners)
            ) from error
        if arguments is None or m.fetch_operation is None:
            return None
        connector = self._connectors.get(m.system)
        if connector is None:
            raise HeldDelivery("unreachable", f"{m.system} has no connector to fetch with", _first(m.owners))
        try:
            name = known_as(m.fetch_operation, connector.operations)
            fetched = await connector.read(name, arguments, FETCH_TIMEOUT)
        except Refused as error:
            raise HeldDelivery("fetch_refused", f"{m.fetch_operation}: {error}", _first(m.owners)) from error
        await keep_fetched(self._store, model, m.system, f"{m.fetch_operation}:{receipt.no}", fetched, now)
        return fetched

    def _canonical(self, model: Model, m: InboundMapping, receipt: Receipt, e: MappedEvent) -> CanonicalEvent:
        event = acceptance.canonical(model, m, receipt, e)
        if isinstance(event, Rejection):
            raise HeldDelivery(event.reason, event.message, _first(m.owners))
        return event

    def _declared(self, model: Model, receipt: Receipt) -> CanonicalEvent:
        event = acceptance.declared(model, receipt)
        if isinstance(event, Rejection):
            owner = _first(model.owners_of(model.systems[receipt.system]))
            raise HeldDelivery(event.reason, event.message, owner)
        return event

    # ------------------------------------------------------------------ consequences

    async def _consequences(
        self,
        model: Model,
        ref: tuple[str, str],
        events: list[CanonicalEvent],
        links: list[Link],
        lookups: Lookups,
        now: datetime,
    ) -> Admit:
        events = rules.once(events)
        all_forms = [await self._forms(model, event) for event in events]
        for event, forms in zip(events, all_forms, strict=True):
            if not rules.taken(model, event, forms, self._releases.waited):
                owner = _first(rules.owners(model, event.type))
                raise HeldDelivery(
                    "unrouted", f"nothing takes {event.type}: no object, workflow or counterfoil", owner
                )
        heads: list[Head] = []
        posts: list[Post] = []
        starts: list[RunStart] = []
        foils: list[Foil] = []
        observations: list[Observation] = []
        for event, forms in zip(events, all_forms, strict=True):
            parts = await self._of_event(model, event, forms, lookups, now)
            heads += parts[0]
            posts += parts[1]
            starts += parts[2]
            foils += parts[3]
            observations += parts[4]
        return Admit(
            todo=ref,
            events=tuple(events),
            heads=tuple(heads),
            links=tuple(links),
            posts=tuple(posts),
            starts=tuple(starts),
            foils=tuple(foils),
            observations=tuple(observations),
            release=model.digest,
            at=now,
            actor="admit",
        )

    async def _forms(self, model: Model, event: CanonicalEvent) -> Forms:
        """The fact in each version in which something takes it; what is kept is what was sent."""
        try:
            bridges = await self._releases.bridges(event.type)
            onward = await self._releases.onward(event.type)
            told = view(event, onward)  # of a version that is declared no more
            forms = {event.type: event, **routing.forms(model, told, self._releases.waited, bridges)}
        except CastFailed as error:
            owner = _first(rules.owners(model, event.type))
            raise HeldDelivery("cast_failed", f"{event.type} {event.key}: {error}", owner) from error
        odd = rules.strange_form(model, event, forms)
        if odd is not None:
            raise HeldDelivery(odd.reason, odd.message, _first(odd.owners))
        return forms

    async def _of_event(
        self, model: Model, event: CanonicalEvent, forms: Forms, lookups: Lookups, now: datetime
    ) -> tuple[list[Head], list[Post], list[RunStart], list[Foil], list[Observation]]:
        """What one event leads to; asked again as often as its formulas need an answer."""
        owner = _first(rules.owners(model, event.type))

        def ask(name: str, args: tuple[Any, ...]) -> Any:
            question = (name, (*args, event.system) if name in ("canon", "xref") and len(args) == 2 else args)
            if question not in lookups.answers:
                raise LookupNeeded(*question)
            return lookups.answers[question]

        while True:
            try:
                return self._decide(model, event, forms, ask, now)
            except LookupNeeded as need:
                await lookups.answer([(need.name, tuple(need.args))])
            except (EvaluationError, BudgetExceeded, UnusableValue) as error:
                raise HeldDelivery("routing_failed", f"{event.type} {event.key}: {error}", owner) from error

    def _decide(
        self, model: Model, event: CanonicalEvent, forms: Forms, ask: Any, now: datetime
    ) -> tuple[list[Head], list[Post], list[RunStart], list[Foil], list[Observation]]:
        head = rules.head(model, event, forms, now)
        begun = routing.starts(model, event, ask, forms)
        due = []
        if head is not None:
            due = routing.due_starts(model, event.object, head_names(head), ask)
        starts = [
            RunStart(
                run=s.run,
                workflow=s.workflow,
                bkey=s.key,
                generation=s.generation,
                pin=model.digest,
                state="started",
                stimulus=Stimulus(run=s.run, kind="start", ref=event.id, body=wire.dumps(s.names)),
                lane=LANE_NAMES[model.workflow(s.workflow).lane],
                lease=Lease(self._worker, now + LEASE) if self._worker else None,
            )
            for s in [*begun, *due]
        ]
        carrier = begun[0].run if begun else None
        foils = [
            f
            for rule, form in matching.writers(model, forms.values())
            if (f := matching.opened(rule, form, carrier, ask))
        ]
        observations = [
            o
            for form in forms.values()
            for rule in model.foils_by_observation(form.type)
            if (o := matching.observed(rule, form, ask))
        ]
        waited = self._releases.waited
        topics = routing.topics(model, event, forms, waited)
        body = wire.dumps(routing.told(event, forms, waited)) if topics else b""
        posts = [Post(event=event.id, topics=topics, body=body)] if topics else []
        return ([head] if head is not None else []), posts, starts, foils, observations


def _links(model: Model, system: str, e: MappedEvent, now: datetime) -> list[Link]:
    """Links that an event establishes: external ids of the data's `<object>_id`."""
    kind = model.systems.get(system)
    return [
        Link(
            object=object_,
            canonical=str(e.data[f"{object_}_id"]),
            system=system,
            account=kind.account if kind is not None else "",
            ext_id=ext_id,
            established_by=f"event:{e.id}",
            valid_from=now,
        )
        for object_, ext_id in e.links
        if f"{object_}_id" in e.data
    ]


def _first(owners: Any) -> str:
    return next(iter(owners), "")


def _case(todo: Todo, held: HeldDelivery, now: datetime) -> Case:
    actions = {
        "unrouted": "Write a mapping for it, or an `ignore` with the reason; then retry",
        "mapping_failed": "Correct the mapping or the record in its system; then retry",
        "unresolved": "Nothing, when the missing record is on its way; else link it or correct the record",
        "contract": "Correct the mapping or agree on a new version of the event; then retry",
        "cast_failed": "Correct the cast between the versions, or the record in its system; then retry",
        "ownership": "Decide who owns the field; correct the mapping or the object; then retry",
    }
    about = todo.receipt.ext_id if todo.receipt is not None else todo.ref
    return Case(
        id=ids.derive("case", todo.kind, todo.ref, held.reason, wire.digest(held.message)),
        reason=held.reason,
        message=f"{about}: {held.message}"[:4000],
        owner=held.owner,
        deadline=now + CASE_WITHIN,
        next_action=actions.get(held.reason, "Find out why it was refused; then retry"),
        choices=(Choice.RETRY, Choice.DISMISS),
        receipt=todo.receipt.no if todo.receipt is not None else None,
        event=todo.ref if todo.kind == "event" else None,
        created_at=now,
    )
