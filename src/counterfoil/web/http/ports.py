"""What the doors and pages need of the running application; `counterfoil.app` is one of its makers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from counterfoil.change.service import ChangePath
from counterfoil.core.case import Choice
from counterfoil.core.event import Event
from counterfoil.flow.context.deprecations import DeprecationUsage
from counterfoil.flow.gateway.gateway import Gateway
from counterfoil.flow.intake.load_shedding import Intake
from counterfoil.flow.intake.usage import UsageAnswer
from counterfoil.model import Model
from counterfoil.store.port.store import Store
from counterfoil.store.port.views import Views


class ReceiveAnswer(Protocol):
    @property
    def verdict(self) -> str:
        """`new`, `same` or `clash`."""
        ...

    @property
    def receipt(self) -> int:
        """The number of the receipt that stands."""
        ...

    @property
    def type(self) -> str:
        """The delivery's type."""
        ...


class App(Protocol):
    """One company's engine with its store, as the doors see it."""

    @property
    def store(self) -> Store: ...
    @property
    def views(self) -> Views: ...
    @property
    def intake(self) -> Intake:
        """The way of deliveries into the store."""
        ...

    @property
    def uses(self) -> DeprecationUsage:
        """What is counted of deprecated versions."""
        ...

    @property
    def gateway(self) -> Gateway:
        """The way of consumers' calls."""
        ...

    @property
    def model(self) -> Model:
        """The present one."""
        ...

    @property
    def changes(self) -> ChangePath:
        """Plans, Releases, and Runs that are moved."""
        ...

    async def now(self) -> datetime:
        """The database's time."""
        ...

    async def receive(self, system: str, headers: Mapping[str, str], body: bytes) -> ReceiveAnswer:
        """Keep a webhook's delivery. Raises SignatureRefused, Refused, TryAgain (also when too much waits),
        Misconfigured."""
        ...

    async def receive_events(self, events: list[Event]) -> list[Any]:
        """Keep CloudEvents, all or none; one ReceiveAnswer each. Raises Refused, TryAgain."""
        ...

    async def receive_usage(self, body: bytes, content_type: str, sender: str) -> UsageAnswer:
        """Keep a batch of usage. Raises WireRefused, TryAgain."""
        ...

    async def resolve_case(self, case_id: str, person: str, choice: Choice, note: str) -> str:
        """The verdict of `Resolve`. An administrator's override follows from the person's roles."""
        ...

    async def decide_approval(
        self, approval_id: str, subject: str, person: str, approve: bool, comment: str
    ) -> str:
        """The verdict of `Decide`."""
        ...

    async def health(self) -> dict[str, Any]:
        """`ready`, `store`, `systems` with their last check and poll, backlog counts."""
        ...
