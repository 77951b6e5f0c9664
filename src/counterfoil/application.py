"""The facade that the HTTP server calls: one company's engine with its store.

Reads go to `store` and `views`. Commands that need several parts are methods; others go to their part (`gateway`,
`changes`).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from copy import copy
from datetime import datetime, timedelta
from functools import partial
from typing import Any, cast

from counterfoil.change.ports import ChangePorts
from counterfoil.change.service import ChangeService
from counterfoil.connectors.sdk import Connector
from counterfoil.core.case import Choice
from counterfoil.core.case_edits import CaseEdit
from counterfoil.core.delegation import Delegation
from counterfoil.core.entity_scope import EntityScope
from counterfoil.core.errors import ErrorClass, Refused
from counterfoil.core.event import Event
from counterfoil.core.impact import Impact
from counterfoil.core.people import Person
from counterfoil.flow.context.deprecations import in_use
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.gateway.gateway import Gateway
from counterfoil.flow.gateway.system_reads import SystemReader
from counterfoil.flow.intake.load_shedding import Intake, SheddingLimits
from counterfoil.flow.intake.receive import ReceiptAnswer, receipts_of, receive_webhook, store_sent
from counterfoil.flow.intake.sender_scope import check_sender
from counterfoil.flow.intake.usage import UsageAnswer, UsageIntake
from counterfoil.flow.runs import case_edits, match_decisions, person_decisions
from counterfoil.flow.runs.match_decisions import MatchAnswer
from counterfoil.flow.worker.book_checkpoints import BookCheckpoints
from counterfoil.flow.worker.release_follower import ReleaseFollower
from counterfoil.flow.worker.sweep_requests import SweepRequests
from counterfoil.flow.worker.worker import Worker
from counterfoil.model import Model
from counterfoil.replay.impact import replay_traffic
from counterfoil.rules.personal_mask import PersonalMask
from counterfoil.store.masked import MaskedReads
from counterfoil.store.port.case_edits import EditVerdict
from counterfoil.store.port.delegations import (
    Delegate,
    DelegateVerdict,
    EndDelegation,
    EndDelegationVerdict,
)
from counterfoil.store.port.people import DecideVerdict, ResolveVerdict
from counterfoil.store.port.store import Store
from counterfoil.store.port.views import CaseRow, Views
from counterfoil.store.visible import VisibleStore, VisibleViews

READY_LAG_SECONDS = 300.0
"""Work may be overdue this long before the process reports that it is not ready."""
DEPRECATIONS_CACHE = timedelta(seconds=15)
RESOLVE_ANY = "cases:any:resolve"

BuildConnectors = Callable[[Model, Iterable[str]], dict[str, Connector]]
"""Builds the connectors of the named systems of a Model. Raises Misconfigured."""


async def try_connectors(build: BuildConnectors, model: Model, names: Iterable[str]) -> None:
    """Check that these connectors can be built, and close them. Raises Misconfigured."""
    for connector in build(model, names).values():
        await connector.close()


class Application:
    """The running engine of one process."""

    def __init__(
        self,
        store: Store,
        views: Views,
        releases: Releases,
        connectors: dict[str, Connector],
        worker: Worker,
        build_connectors: BuildConnectors,
        bounds: SheddingLimits | None = None,
    ) -> None:
        self.store = store
        self.records: Store = store
        """The store within the caller's legal entities with personal data: what decisions read. `store` and `views`
        mask it for a caller who may not read it."""
        self._whole = store
        self.intake = Intake(store, bounds, offer=worker.offer)
        self.uses = worker.uses
        self._deprecations: tuple[datetime, list[dict[str, Any]]] | None = None
        self._usage = UsageIntake(self.intake, store, worker.uses)
        self.views = views
        self.releases = releases
        self.connectors = connectors
        self.worker = worker
        self.gateway = Gateway(
            store,
            releases,
            connectors,
            worker.limiter,
            self.intake,
            lambda: worker.stopping,
            worker.uses.note,
        )
        self.sweeps = SweepRequests(store, connectors)
        reader = SystemReader(store, connectors, worker.limiter)
        self.checkpoints = BookCheckpoints(store, views, releases, connectors, reader)
        self.scope = EntityScope()
        """The legal entities that the caller sees."""
        self.mask: PersonalMask | None = None
        """Masks what the caller may not read of the results of operations; None: they may read everything."""
        self.notice = ""
        """Message for the operator at start; empty if there is none."""
        self.verifier = ""
        """The line with which auditors verify checkpoints of the audit log."""
        self.people_problem: Callable[[], str] = str
        """Returns why the people file was not taken over; empty if it was."""
        self.follower = ReleaseFollower(store, releases, self.connectors, worker, build_connectors)
        ports = ChangePorts(
            model=releases.model,
            impact=self._impact,
            try_connectors=partial(try_connectors, build_connectors),
            take_up=self.follower.look,
        )
        self.changes = ChangeService(store, views, ports)

    @property
    def model(self) -> Model:
        return self.releases.present

    async def now(self) -> datetime:
        return await self.store.now()

    async def _impact(self, old: Model, new: Model, since: datetime, until: datetime) -> Impact:
        """Return the impact of a change on the recorded traffic, replayed in a thread."""
        return await replay_traffic(self.store, old, new, since, until)

    async def receive(self, system: str, headers: Mapping[str, str], body: bytes) -> ReceiptAnswer:
        """Store a webhook's delivery.

        Raises SignatureRefused, Refused, TryAgain (also under load shedding) and Misconfigured.
        """
        connector = self.connectors.get(system)
        if connector is None:
            names = ", ".join(sorted(self.connectors)) or "none"
            raise Refused(
                f"System {system!r} accepts no webhooks here. Systems that do: {names}.", ErrorClass.NOT_FOUND
            )
        now = await self.store.now()
        return await receive_webhook(self.intake, self.model, connector, system, headers, body, now)

    async def receive_events(self, events: Sequence[Event], sender: str) -> list[ReceiptAnswer]:
        """Store the CloudEvents that a person sends, all or none. Raises Refused and TryAgain."""
        model, now = self.model, await self.store.now()
        receipts = receipts_of(model, events, now, sender)
        if isinstance(self.records, VisibleStore):
            await check_sender(self.records, self._whole, model, self.scope, events, receipts)
        return await store_sent(self.intake, model, receipts, now, sender)

    async def receive_usage(self, body: bytes, content_type: str, sender: str) -> UsageAnswer:
        """Store a batch of usage events. Raises WireRefused and TryAgain."""
        heads = None if self.scope.everything else self.records
        now = await self.store.now()
        return await self._usage.receive(self.model, body, content_type, sender, now, heads, self.scope)

    async def decide_approval(
        self, approval_id: str, subject: str, person: str, approve: bool, comment: str
    ) -> DecideVerdict:
        """Record a person's vote and return the store's verdict."""
        return await person_decisions.decide_approval(
            self.records, self.model, approval_id, subject, person, approve, comment
        )

    async def delegate(self, delegation: Delegation) -> DelegateVerdict:
        """Let another person decide for the giver, and return the store's verdict."""
        return (await self.store.apply(Delegate(delegation=delegation, at=delegation.created_at))).verdict

    async def end_delegation(self, id_: str, giver: str) -> EndDelegationVerdict:
        """Take a delegation back, and return the store's verdict."""
        end = EndDelegation(delegation=id_, giver=giver, at=await self.now())
        return (await self.store.apply(end)).verdict

    async def resolve_case(self, case_id: str, person_id: str, choice: Choice, note: str) -> ResolveVerdict:
        """Record a person's decision on a Case and return the store's verdict.

        A person with `cases:any:resolve` may resolve the Cases of any role.
        """
        person = await self.store.person(person_id)
        override = person is not None and self._may_resolve_any(person)
        return await person_decisions.resolve_case(
            self.records, self.model, self.worker.reconciler, case_id, person_id, choice, note, override
        )

    async def edit_case(self, case_id: str, person_id: str, edit: CaseEdit) -> EditVerdict:
        """Record an edit of a Case that decides nothing, and return the store's verdict."""
        return await case_edits.edit_case(
            self.records, self.model, case_id, person_id, edit, self._may_resolve_any
        )

    async def assignable(self, row: CaseRow) -> list[Person]:
        """Return the persons who may decide a Case, by name."""
        persons = await self.store.persons()
        return case_edits.assignable(self.model, row, persons, self._may_resolve_any)

    def _may_resolve_any(self, person: Person) -> bool:
        return RESOLVE_ANY in self._permissions(person)

    async def pair(self, foil: str, observation: str, person: str, note: str) -> MatchAnswer:
        """Pair an unmatched item with a foil; above a limit the pair waits for an approval."""
        return await match_decisions.pair(self.records, self.model, foil, observation, person, note)

    async def pair_several(
        self, foils: Sequence[str], observations: Sequence[str], person: str, note: str
    ) -> MatchAnswer:
        """Pair several unmatched items with several foils, all at once or none; one approval for all."""
        return await match_decisions.pair_several(self.records, self.model, foils, observations, person, note)

    async def unpair(self, foil: str, observation: str, person: str, note: str) -> MatchAnswer:
        """End a pair that a person made; above a limit that waits for an approval."""
        return await match_decisions.unpair(self.records, self.model, foil, observation, person, note)

    async def waive(self, foil: str, person: str, note: str) -> MatchAnswer:
        """Accept exactly the difference that a foil has now, approved by amount."""
        return await match_decisions.waive(self.records, self.model, foil, person, note)

    def _permissions(self, person: Person) -> set[str]:
        roles = self.model.roles
        return {p for name in person.roles if name in roles for p in roles[name].may}

    async def health(self) -> dict[str, Any]:
        """Return readiness, lag, feeds, counts, deprecated versions in use, and stalled work."""
        feeds = {
            f"{system}.{feed}": {
                "last": None if state.last is None else state.last.isoformat(),
                "kept": state.deliveries,
                "failures": state.failures,
                "error": state.error,
            }
            for (system, feed), state in sorted(self.worker.feeds.states.items())
        }
        now = await self.store.now()
        due = await self.store.next_due()
        lag = 0.0 if due is None else max(0.0, (now - due).total_seconds())
        return {
            "ready": lag < READY_LAG_SECONDS
            and not (self.worker.stopping or self.follower.failed or self.store.problem)
            and self.worker.limiter.alive,
            "time": now.isoformat(),
            "release": self.model.digest,
            "release_problem": self.follower.failed,
            "store_problem": self.store.problem,
            "people_problem": self.people_problem(),
            "lag_seconds": round(lag, 3),
            "feeds": feeds,
            "systems": feeds | self._called(now, {system for system, _ in self.worker.feeds.states}),
            "counts": await self.views.counts(),
            "deprecated": await self._deprecated(now),
            "stuck": [
                {
                    "kind": finding.stuck.kind,
                    "about": finding.stuck.about,
                    "count": finding.stuck.count,
                    "since": finding.stuck.since.isoformat(),
                    "subjects": list(finding.stuck.subjects),
                    "case": finding.case,
                }
                for finding in await self.store.stall_findings()
            ],
        }

    def _called(self, now: datetime, polled: Container[str]) -> dict[str, dict[str, Any]]:
        """Return the health of systems as this process's calls show it: those without a feed, and those that fail."""
        limiter = self.worker.limiter
        states = {system: limiter.state(system) for system in limiter.systems}
        return {
            system: {
                "last": None
                if s.answered_for is None
                else (now - timedelta(seconds=s.answered_for)).isoformat(),
                "failures": s.failures,
                "error": s.failure,
            }
            for system, s in sorted(states.items())
            if s.failures or system not in polled
        }

    async def _deprecated(self, now: datetime) -> list[dict[str, Any]]:
        """Return the use of deprecated versions, cached: probes are frequent, and the count reads all waiting Runs."""
        if self._deprecations is None or now - self._deprecations[0] > DEPRECATIONS_CACHE:
            self._deprecations = (
                now,
                [version.health(now) for version in await in_use(self.store, self.model, now)],
            )
        return self._deprecations[1]


def seen_by(scope: EntityScope, app: Application, mask: PersonalMask | None = None) -> Application:
    """Return the engine as a caller sees it who is bound to legal entities, or who may not read all personal data."""
    if scope.everything and (mask is None or mask.hides_nothing):
        return app
    scoped = copy(app)
    scoped.scope = scope
    if not scope.everything:
        scoped.records = cast(Store, VisibleStore(app.store, app.views, scope))
        scoped.store, scoped.views = scoped.records, cast(Views, VisibleViews(app.views, scope))
    if mask is not None and not mask.hides_nothing:
        scoped.mask = mask
        store, views = scoped.store, scoped.views
        scoped.store = cast(Store, MaskedReads(store, store, views, mask))
        scoped.views = cast(Views, MaskedReads(views, store, views, mask))
    return scoped
