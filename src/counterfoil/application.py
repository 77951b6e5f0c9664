"""The facade that the HTTP server and the command line call: one company's engine with its store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from counterfoil.change.ports import ChangePorts
from counterfoil.change.service import ChangePath
from counterfoil.connectors.sdk import Connector
from counterfoil.core.case import Choice
from counterfoil.core.errors import ErrorClass, Refused
from counterfoil.core.event import Event
from counterfoil.core.people import Person
from counterfoil.flow.context.deprecations import in_use
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.gateway.gateway import Gateway
from counterfoil.flow.intake.load_shedding import BacklogLimits, Intake
from counterfoil.flow.intake.receive import ReceiveAnswer, receive_events, receive_webhook
from counterfoil.flow.intake.usage import UsageAnswer, UsageIntake
from counterfoil.flow.runs import decisions
from counterfoil.flow.worker.release_follower import ReleaseFollower
from counterfoil.flow.worker.worker import Worker
from counterfoil.model import Model
from counterfoil.replay.job import replayed
from counterfoil.store.port.store import (
    Store,
)
from counterfoil.store.port.views import CaseTarget, Views

READY_LAG = 300.0
"""Seconds that work may be overdue before this process reports that it is not ready."""
IN_USE_FOR = timedelta(seconds=15)
RESOLVE_ANY = "cases:any:resolve"


BuildConnectors = Callable[[Model, Iterable[str]], dict[str, Connector]]
"""Connectors of the named systems of a Model; raises Misconfigured."""


class Application:
    """What doors, pages and the command line talk to."""

    def __init__(
        self,
        store: Store,
        views: Views,
        releases: Releases,
        connectors: dict[str, Connector],
        pump: Worker,
        build_connectors: BuildConnectors,
        bounds: BacklogLimits | None = None,
    ) -> None:
        self.store = store
        self.intake = Intake(store, bounds, offer=pump.offer)
        self.uses = pump.uses
        self._in_use: tuple[datetime, list[dict[str, Any]]] | None = None
        self._usage = UsageIntake(self.intake, pump.uses)
        self.views = views
        self.releases = releases
        self.connectors = connectors
        self.pump = pump
        self.gateway = Gateway(
            store, releases, connectors, pump.gate, self.intake, lambda: pump.stopping, pump.uses.note
        )
        self.notice = ""
        """What whoever started this process should know."""
        self.follower = ReleaseFollower(store, releases, self.connectors, pump, build_connectors)
        self._build_connectors = build_connectors
        ports = ChangePorts(
            model=releases.model,
            impact=self._impact,
            try_connectors=self._try_connectors,
            take_up=self.follower.look,
        )
        self.changes = ChangePath(store, views, ports)

    @property
    def model(self) -> Model:
        return self.releases.present

    async def now(self) -> datetime:
        return await self.store.now()

    async def _try_connectors(self, model: Model, names: Sequence[str]) -> None:
        """Build these connectors and close them again. Raises Misconfigured."""
        for connector in self._build_connectors(model, names).values():
            await connector.close()

    async def _impact(self, old: Model, new: Model, since: datetime, until: datetime) -> dict[str, Any]:
        """What a replay of the recorded traffic gives, made beside the work of this process."""
        return await replayed(self.store, old, new, since, until)

    async def receive(self, system: str, headers: Mapping[str, str], body: bytes) -> ReceiveAnswer:
        """A webhook's bytes. Raises Refused for an unknown system or what its connector refuses."""
        connector = self.connectors.get(system)
        if connector is None:
            known = ", ".join(sorted(self.connectors)) or "none"
            raise Refused(
                f"no system {system!r} takes deliveries here; there are: {known}", ErrorClass.NOT_FOUND
            )
        now = await self.store.now()
        return await receive_webhook(self.intake, self.model, connector, system, headers, body, now)

    async def receive_events(self, events: Sequence[Event]) -> list[ReceiveAnswer]:
        """CloudEvents of declared systems."""
        return await receive_events(self.intake, self.model, events, await self.store.now())

    async def receive_usage(self, body: bytes, content_type: str, sender: str) -> UsageAnswer:
        """A batch of usage events."""
        return await self._usage.receive(self.model, body, content_type, sender, await self.store.now())

    async def decide_approval(
        self, approval_id: str, subject: str, person: str, approve: bool, comment: str
    ) -> str:
        return await decisions.decide_approval(self.store, approval_id, subject, person, approve, comment)

    async def resolve_case(self, case_id: str, person: str, choice: str, note: str) -> str:
        """A person's decision on a Case; who holds `cases:any:resolve` may decide those of any role."""
        found: CaseTarget | None = await decisions.open_case(self.views, case_id)
        who = await self.store.person(person)
        override = who is not None and RESOLVE_ANY in self._permissions(who)
        return await decisions.resolve_case(
            self.store, self.pump.actor, found, case_id, person, Choice(choice), note, override
        )

    def _permissions(self, person: Person) -> set[str]:
        roles = self.model.roles
        return {p for name in person.roles if name in roles for p in roles[name].may}

    async def health(self) -> dict[str, Any]:
        """Ready or not, and how store, systems and feeds fare."""
        systems = {
            f"{system}.{feed}": {
                "last": None if state.last is None else state.last.isoformat(),
                "kept": state.kept,
                "failures": state.failures,
                "error": state.error,
            }
            for (system, feed), state in sorted(self.pump.polls.items())
        }
        now = await self.store.now()
        due = await self.store.next_due()
        lag = 0.0 if due is None else max(0.0, (now - due).total_seconds())
        return {
            "ready": lag < READY_LAG and not self.pump.stopping and not self.follower.failed,
            "time": now.isoformat(),
            "release": self.model.digest,
            "release_problem": self.follower.failed,
            "lag_seconds": round(lag, 3),
            "feeds": systems,
            "counts": await self.views.counts(),
            "deprecated": await self._deprecated(now),
            "stuck": [
                {
                    "kind": held.stuck.kind,
                    "about": held.stuck.about,
                    "count": held.stuck.count,
                    "since": held.stuck.since.isoformat(),
                    "subjects": list(held.stuck.subjects),
                    "case": held.case,
                }
                for held in await self.store.stuckness()
            ],
        }

    async def _deprecated(self, now: datetime) -> list[dict[str, Any]]:
        """Who uses what is on its way out. Read every fifteen seconds at most: probes ask for health all the time,
        and Runs that wait are counted by reading their topics."""
        if self._in_use is None or now - self._in_use[0] > IN_USE_FOR:
            self._in_use = (now, [held.told(now) for held in await in_use(self.store, self.model, now)])
        return self._in_use[1]
