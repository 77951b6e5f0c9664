"""Admission: a Receipt becomes canonical events with everything that follows from them, in one transaction.

`rules.admission` decides; this module reads the store, fetches what a mapping needs and commits. A delivery that
fails a check opens a Case and is held; nothing is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from msgspec.structs import replace

from counterfoil.connectors.sdk import Connector
from counterfoil.contracts.versions import known_as
from counterfoil.core import ids, wire
from counterfoil.core.canonical import CanonicalEvent, Head, Receipt
from counterfoil.core.case import Case
from counterfoil.core.case_choices import DELIVERY_CHOICES
from counterfoil.core.case_reasons import DELIVERY_DEADLINE
from counterfoil.core.cases import open_case
from counterfoil.core.errors import Refused, TryAgain
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.foil_versions import Withdrawal
from counterfoil.core.link import Link
from counterfoil.flow.context.deprecations import DeprecationUsage
from counterfoil.flow.context.lookups import Lookups
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.intake.receive import SWEEP_DOOR, store_fetched
from counterfoil.flow.runs import snapshot
from counterfoil.flow.runs.snapshot import LEASE, RunSnapshot, run_start
from counterfoil.model import Model
from counterfoil.model.definition import InboundMapping
from counterfoil.rules import admission, lookup, routing
from counterfoil.rules.admission import HeldDelivery
from counterfoil.rules.entities import entity_of_fact
from counterfoil.rules.held_deliveries import (
    DeliverySubject,
    subject_of_cloud_event,
    subject_of_delivery,
    subject_of_events,
)
from counterfoil.rules.mapping import takes
from counterfoil.rules.routing import Forms
from counterfoil.store.port.intake import Admit, AdmitResult
from counterfoil.store.port.records import Lease, RunStart, TopicPost
from counterfoil.store.port.store import AdmissionTodo, Store

FETCH_TIMEOUT_SECONDS = 15.0


class _Delivered(msgspec.Struct, frozen=True, kw_only=True):
    """Events and Links of one delivery, or the reason why nothing follows from it."""

    events: list[CanonicalEvent] = []
    links: list[Link] = []
    reads: dict[str, datetime] = {}
    """When the content of an event was read from the system of record, by event id."""
    ignored: str = ""


class Admitter:
    """Admits one todo at a time. Several calls may run at once on different todos."""

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

    async def admit(self, todo: AdmissionTodo, now: datetime) -> list[RunSnapshot]:
        """Admit a todo. Return the Runs that it starts, leased to this worker if the worker has a name.

        Raises TryAgain if a system must be read first and does not answer.
        """
        model = self._releases.present
        speaks = todo.receipt.system if todo.receipt is not None else ""
        lookups = Lookups(self._store, model, now, speaks=speaks)
        try:
            admit = await self._admission(model, todo, lookups, now)
        except HeldDelivery as hold:
            park = Admit(
                todo=(todo.kind, todo.ref),
                cases=(_case(todo, hold, _subject(model, todo, hold, lookups.answers), now),),
                park=True,
                wake_topic=hold.wake,
                release=model.digest,
                at=now,
                actor="admit",
            )
            await self._apply(park)
            return []
        admitted = await self._store.apply(admit)
        if admitted.overtaken:
            raise TryAgain("another admission read the object meanwhile", after=0.05)
        if admit.ignored:
            return []
        door = todo.receipt.door if todo.receipt is not None else ""
        self._uses.note_admission(model, admit, admitted.new_events, door, now)
        return [
            snapshot.from_start(s, now, tuple(f for f in admit.foils if f.run == s.run))
            for s in admit.starts
            if s.run in admitted.born and s.lease is not None
        ]

    async def _apply(self, admit: Admit) -> AdmitResult:
        """Raise TryAgain while this process does not know the active Release yet."""
        admitted = await self._store.apply(admit)
        if admitted.outdated:
            raise TryAgain(f"release {admit.release[:12]} is no longer active", after=0.2)
        return admitted

    async def _admission(self, model: Model, todo: AdmissionTodo, lookups: Lookups, now: datetime) -> Admit:
        ref = (todo.kind, todo.ref)
        if todo.kind == "event":
            assert todo.event is not None
            if todo.event.receipt is not None:
                return await self._withdrawals(model, todo.event, lookups, now)
            delivered = _Delivered(events=[todo.event])
        else:
            assert todo.receipt is not None
            if todo.receipt.repeats is not None:
                return await self._repeat(model, todo.receipt, lookups, now)
            delivered = await self._events(model, todo.receipt, lookups, now)
            if delivered.ignored:
                return Admit(todo=ref, ignored=delivered.ignored, release=model.digest, at=now, actor="admit")
        try:
            admit = await self._consequences(model, ref, delivered, lookups, now)
            is_listed = todo.receipt is not None and todo.receipt.door == SWEEP_DOOR
            return replace(admit, listed=True) if is_listed else admit
        except HeldDelivery as hold:
            hold.events = delivered.events
            raise

    async def _withdrawals(
        self, model: Model, event: CanonicalEvent, lookups: Lookups, now: datetime
    ) -> Admit:
        """Withdraw again what an admitted event withdraws: an older one has shown a document since."""
        forms = await self._forms(model, event)
        ask = lookup.lookup_in(lookups.answers, event.system)
        documents = await lookups.complete(partial(admission.documents, model, event, forms, ask))
        return Admit(
            todo=("event", event.id),
            withdrawals=documents.withdrawals,
            release=model.digest,
            at=now,
            actor="admit",
        )

    async def _repeat(self, model: Model, repeat: Receipt, lookups: Lookups, now: datetime) -> Admit:
        """Compare a delivery that came again with other content with the first one. Nothing else follows from it."""
        name = (repeat.system, repeat.repeats or "")
        (no, _) = (await self._store.existing_receipts([name]))[name]
        first = await self._store.receipt(no)
        assert first is not None
        same_time = replace(repeat, received_at=first.received_at)
        mapped = [(await self._events(model, r, lookups, now)).events for r in (first, same_time)]
        clash = admission.clash_of_repeat(model, first, (mapped[0], mapped[1]), now)
        ignored = f"it repeats receipt {no}; its mappings read no difference" if clash is None else ""
        return Admit(
            todo=("receipt", str(repeat.no)),
            cases=() if clash is None else (clash,),
            ignored=ignored,
            release=model.digest,
            at=now,
            actor="admit",
        )

    async def _events(self, model: Model, receipt: Receipt, lookups: Lookups, now: datetime) -> _Delivered:
        """Return the receipt's events and Links, or the reason why nothing follows from it."""
        if receipt.door == "events":
            return _Delivered(events=[admission.accept_declared(model, receipt)])
        body = wire.read_json(receipt.body)
        candidates = model.inbound(receipt.system, receipt.type)
        mappings = admission.accepting_mappings(model, receipt, body, candidates)
        events: list[CanonicalEvent] = []
        links: list[Link] = []
        reads: dict[str, datetime] = {}
        for m in mappings:
            if m.ignore is None:
                fetched = await self._fetch(model, m, receipt, body, now)
                read = None if fetched is None else await self._store.now()
                work = partial(admission.map_delivery, m, receipt, body, fetched, lookups.answers)
                try:
                    mapped = await lookups.complete(work)
                    events += [admission.accept(model, m, receipt, event) for event in mapped.events]
                except HeldDelivery as hold:
                    hold.fetched = {m.name: fetched}
                    raise
                for event in mapped.events:
                    entity = entity_of_fact(model, m.system, event.legal_entity, event.data)
                    links += admission.links_of(model, m.system, event, entity, now)
                    if read is not None:
                        reads[event.id] = read
        entities = [e.legal_entity for e in events] or [entity_of_fact(model, receipt.system, "", {})]
        links += [
            Link(
                object=minted.object,
                canonical=minted.canonical,
                system=minted.system,
                account=lookup.account_of(model, minted.system),
                ext_id=minted.ext_id,
                legal_entity=entities[0],
                established_by=f"receipt:{receipt.no}",
                valid_from=now,
            )
            for minted in lookups.minted
        ]
        if not events:
            reasons = [m.ignore for m in mappings if m.ignore is not None]
            ignored = "; ".join(reasons) or "the conditions of its mappings exclude all of it"
            return _Delivered(links=links, ignored=ignored)
        return _Delivered(events=events, links=links, reads=reads)

    async def _fetch(
        self, model: Model, m: InboundMapping, receipt: Receipt, body: Any, now: datetime
    ) -> Any:
        """Read the object from its system of record, where the mapping needs it, and store it as a receipt."""
        arguments = admission.fetch_arguments(m, receipt, body)
        if arguments is None or m.fetch_operation is None:
            return None
        connector = self._connectors.get(m.system)
        if connector is None:
            raise HeldDelivery("unreachable", f"{m.system} has no connector to fetch with", m.owner)
        try:
            name = known_as(m.fetch_operation, connector.operations)
            fetched = await connector.read(name, arguments, FETCH_TIMEOUT_SECONDS)
        except Refused as error:
            raise HeldDelivery("fetch_refused", f"{m.fetch_operation}: {error}", m.owner) from error
        await store_fetched(self._store, model, m.system, f"{m.fetch_operation}:{receipt.no}", fetched, now)
        return fetched

    # ------------------------------------------------------------------ consequences

    async def _consequences(
        self,
        model: Model,
        ref: tuple[str, str],
        delivered: _Delivered,
        lookups: Lookups,
        now: datetime,
    ) -> Admit:
        events = admission.drop_repeats(delivered.events)
        all_forms = [await self._forms(model, event) for event in events]
        for event, forms in zip(events, all_forms, strict=True):
            admission.check_taken(model, event, forms, self._releases.waited)
        lease = Lease(self._worker, now + LEASE) if self._worker else None
        heads: list[Head] = []
        posts: list[TopicPost] = []
        starts: list[RunStart] = []
        foils: list[Foil] = []
        observations: list[Observation] = []
        withdrawals: list[Withdrawal] = []
        cases: list[Case] = []
        passed: set[str] = set()
        for event, forms in zip(events, all_forms, strict=True):
            if event.id in passed:
                continue  # the store compares it with the first one
            passed.add(event.id)
            await self._check_entity(model, event, heads)
            cases += await self._clashes(model, event, now)
            ask = lookup.lookup_in(lookups.answers, event.system)
            read = delivered.reads.get(event.id)
            work = partial(admission.consequences, model, event, forms, now, ask, read=read)
            follows = await lookups.complete(work)
            observations += await lookups.complete(partial(admission.observations, model, event, forms, ask))
            heads += [follows.head] if follows.head is not None else []
            starts += [run_start(model, start, event.id, lease=lease) for start in follows.starts]
            foils += follows.foils()
            withdrawals += follows.withdrawn
            posts += self._posts(model, event, forms)
        return Admit(
            todo=ref,
            events=tuple(events),
            owners={e.id: next(iter(admission.owners(model, e.type)), "") for e in events},
            read_from=now if delivered.reads else None,
            heads=tuple(heads),
            links=tuple(delivered.links),
            posts=tuple(posts),
            starts=tuple(starts),
            foils=tuple(foils),
            observations=tuple(observations),
            withdrawals=tuple(withdrawals),
            cases=tuple(cases),
            release=model.digest,
            at=now,
            actor="admit",
        )

    async def _check_entity(self, model: Model, event: CanonicalEvent, before: Sequence[Head]) -> None:
        """Raise HeldDelivery for a fact of a legal entity about an object of another one. `before`: of this delivery."""
        if not event.object or len(model.legal_entities) < 2:
            return
        head = await self._store.head(event.object, event.key)
        earlier = [each for each in before if (each.object, each.key) == (event.object, event.key)]
        for each in (head, *earlier):
            admission.check_entity(model, event, each)

    async def _clashes(self, model: Model, event: CanonicalEvent, now: datetime) -> list[Case]:
        """Return the Case of a fact that was stored in another version with other content."""
        if event.receipt is None or not model.versions.others(event.type):
            return []
        stored = await self._store.event(event.id)
        clash = None if stored is None else admission.clash_across_versions(model, stored, event, now)
        return [] if clash is None else [clash]

    async def _forms(self, model: Model, event: CanonicalEvent) -> Forms:
        bridges = await self._releases.bridges(event.type)
        onward = await self._releases.onward(event.type)
        return admission.forms_of(model, event, self._releases.waited, bridges, onward)

    def _posts(self, model: Model, event: CanonicalEvent, forms: Forms) -> list[TopicPost]:
        waited = self._releases.waited
        topics = routing.topics(model, event, forms, waited)
        if not topics:
            return []
        body = wire.dumps(routing.event_body(event, forms, waited))
        return [TopicPost(event=event.id, topics=topics, body=body)]


def _subject(
    model: Model, todo: AdmissionTodo, hold: HeldDelivery, answers: lookup.Answers
) -> DeliverySubject:
    """Return the fact that a held delivery is about. Deliveries of one fact share a Case."""
    receipt = todo.receipt
    if receipt is None:
        assert todo.event is not None
        return subject_of_events([todo.event])
    if hold.events:
        return subject_of_events(hold.events)
    if receipt.door == "events":
        return subject_of_cloud_event(model, receipt)
    body = wire.read_json(receipt.body)
    candidates = model.inbound(receipt.system, receipt.type)
    mappings = [m for m in candidates if m.ignore is None and takes(m, body, receipt.received_at)]
    return subject_of_delivery(receipt, body, mappings, hold.fetched, answers)


def _case(todo: AdmissionTodo, hold: HeldDelivery, subject: DeliverySubject, now: datetime) -> Case:
    """Return the Case of a held delivery. Its id derives from subject and reason, so a repeat has the same Case."""
    receipt = todo.receipt
    about = receipt.ext_id if receipt is not None else todo.ref
    system = receipt.system if receipt is not None else ""
    return open_case(
        hold.reason,
        id=ids.derive("case", "held", system, subject.id, hold.reason),
        message=f"{about}: {hold.message}",
        owners=(hold.owner,),
        at=now,
        names={"system": receipt.system} if receipt is not None else {},
        choices=DELIVERY_CHOICES,
        deadline=DELIVERY_DEADLINE,
        receipt=receipt.no if receipt is not None else None,
        event=todo.ref if todo.kind == "event" else None,
        exposure=subject.amounts,
    )
