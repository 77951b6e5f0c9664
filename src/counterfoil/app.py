"""The only wiring: store, model, connectors and pump joined by hand into one application, and served."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import uvicorn

from counterfoil.change.path import ChangePath
from counterfoil.change.replayed import replayed
from counterfoil.change.start import apply_at_start, somebody_may_apply
from counterfoil.connectors import host
from counterfoil.connectors.sdk import Connector, SystemConfig
from counterfoil.core import ids
from counterfoil.core.case import Choice
from counterfoil.core.errors import ErrorClass, Misconfigured, Refused
from counterfoil.core.event import Event
from counterfoil.core.people import Person, Token
from counterfoil.flow import desk
from counterfoil.flow.checkpoint import Published, Signer
from counterfoil.flow.follow import Follower
from counterfoil.flow.gateway import Gateway
from counterfoil.flow.inuse import in_use
from counterfoil.flow.pump import Pump
from counterfoil.flow.receive import ReceiveAnswer, receive_events, receive_webhook
from counterfoil.flow.releases import Releases
from counterfoil.flow.shed import Bounds, Intake
from counterfoil.flow.usage import UsageAnswer, UsageDoor
from counterfoil.model import Model, read
from counterfoil.model.connecting import connected
from counterfoil.model.kinds import System
from counterfoil.store.lists import CaseTarget, Views
from counterfoil.store.postgres import PostgresStore
from counterfoil.store.sqlite import SqliteStore
from counterfoil.store.sqlstore import SqlStore
from counterfoil.store.store import Store
from counterfoil.store.transitions import PutPerson, PutToken

log = logging.getLogger("counterfoil")
READY_LAG = 300.0
"""Seconds that work may be overdue before this process says that it is not ready."""
IN_USE_FOR = timedelta(seconds=15)
RESOLVE_ANY = "cases:any:resolve"
HOME = ".counterfoil"
"""The folder for what a running company leaves: store, keys, tokens. Under the working folder."""


class Account(msgspec.Struct, forbid_unknown_fields=True):
    """One line of the people file: a person with the hash of the password and of a token."""

    id: str
    name: str
    email: str
    roles: list[str]
    secret: str = ""
    token_sha256: str = ""
    """The one bearer token that holds from now on; empty ends the former one."""
    active: bool = True


class Application:
    """What doors, pages and the command line talk to."""

    def __init__(
        self,
        store: Store,
        views: Views,
        releases: Releases,
        connectors: dict[str, Connector],
        pump: Pump,
        bounds: Bounds | None = None,
    ) -> None:
        self.store = store
        self.intake = Intake(store, bounds, offer=pump.offer)
        self.uses = pump.uses
        self._in_use: tuple[datetime, list[dict[str, Any]]] | None = None
        self._usage = UsageDoor(self.intake, pump.uses)
        self.views = views
        self.releases = releases
        self.connectors = connectors
        self.pump = pump
        self.gateway = Gateway(
            store, releases, connectors, pump.gate, self.intake, lambda: pump.stopping, pump.uses.note
        )
        self.notice = ""
        """What whoever started this process should know."""
        self.follower = Follower(store, releases, self.connectors, pump, build_connectors)
        self.changes = ChangePath(store, views, releases.model, self._impacts, _try_connectors, self._take_up)

    @property
    def model(self) -> Model:
        return self.releases.present

    async def now(self) -> datetime:
        return await self.store.now()

    async def _take_up(self) -> None:
        await self.follower.look()

    async def _impacts(self, old: Model, new: Model, since: datetime, until: datetime) -> dict[str, Any]:
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
        return await desk.decide_approval(self.store, approval_id, subject, person, approve, comment)

    async def resolve_case(self, case_id: str, person: str, choice: str, note: str) -> str:
        """A person's decision on a Case; who holds `cases:any:resolve` may decide those of any role."""
        found: CaseTarget | None = await desk.open_case(self.views, case_id)
        who = await self.store.person(person)
        override = who is not None and RESOLVE_ANY in self._permissions(who)
        return await desk.resolve_case(
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


# ------------------------------------------------------------------ building


def read_model(folder: Path) -> Model:
    """The governance of a folder, for the environment that COUNTERFOIL_ENVIRONMENT names. Raises Misconfigured with
    every finding that forbids running it."""
    model, findings = read(folder, environment=os.environ.get("COUNTERFOIL_ENVIRONMENT", ""))
    errors = [str(f) for f in findings if f.severity == "error"]
    if errors:
        raise Misconfigured("the governance folder does not pass check:\n" + "\n".join(errors))
    return model


def reference(text: str) -> str:
    """The value behind `env:NAME` or `file:PATH`; any other text is itself. Raises Misconfigured."""
    if text.startswith("env:"):
        name = text.removeprefix("env:")
        if name not in os.environ:
            raise Misconfigured(f"the environment has no {name}")
        return os.environ[name]
    if text.startswith("file:"):
        path = Path(text.removeprefix("file:"))
        try:
            return path.read_text().strip()
        except OSError as error:
            raise Misconfigured(f"{path} cannot be read: {error}") from error
    return text


def connectors_of(model: Model) -> dict[str, Connector]:
    """Connectors of all systems that have one."""
    return build_connectors(model, connected(model.systems))


def build_connectors(model: Model, names: Iterable[str]) -> dict[str, Connector]:
    """Connectors of these systems. Raises Misconfigured."""
    return host.build([(s.connector, _config(s)) for s in (model.systems[name] for name in sorted(names))])


async def _try_connectors(model: Model, names: Sequence[str]) -> None:
    """Build them and let go of them again. Raises Misconfigured."""
    for connector in build_connectors(model, names).values():
        await connector.close()


def _config(system: System) -> SystemConfig:
    return SystemConfig(
        name=system.name,
        url=reference(system.url),
        account=system.account,
        settings={k: reference(v) if isinstance(v, str) else v for k, v in system.settings.items()},
        secrets={name: reference(ref) for name, ref in system.secrets.items()},
    )


async def open_store(url: str) -> SqlStore:
    """`sqlite:PATH` (or a path alone) or `postgresql://...`. Raises Misconfigured for anything else."""
    if url.startswith(("postgresql://", "postgres://")):
        return await PostgresStore.open(url)
    if "://" in url:
        raise Misconfigured(f"no store for {url!r}: give sqlite:PATH or postgresql://...")
    return await SqliteStore.open(url.removeprefix("sqlite:"))


def _worker_name(store: SqlStore) -> str:
    """What a restarted worker knows its former calls by: one name for an embedded store, whose process is
    alone; on PostgreSQL a given name, or one that nobody else has."""
    given = os.environ.get("COUNTERFOIL_WORKER")
    if given:
        return given
    return "embedded" if isinstance(store, SqliteStore) else secrets.token_hex(6)


async def seed_people(store: Store, path: Path) -> None:
    """Persons and tokens of a people file (JSON list of Account)."""
    now = await store.now()
    far = now.replace(year=now.year + 10, month=1, day=1)
    for account in msgspec.json.decode(path.read_bytes(), type=list[Account]):
        person = Person(
            id=account.id,
            name=account.name,
            email=account.email,
            roles=tuple(account.roles),
            secret=account.secret,
            active=account.active,
        )
        if await store.person(account.id) != person:
            await store.apply(PutPerson(person=person, at=now, actor="people file"))
        digest = account.token_sha256 or ids.derive("none", account.id)
        ends = far if account.token_sha256 else now
        token = Token(digest=digest, person=account.id, kind="token", expires=ends)
        await store.apply(PutToken(token=token, at=now, alone=True))


@contextlib.asynccontextmanager
async def application(folder: Path, store_url: str, home: Path, workers: int = 1) -> Any:
    """An Application over a store, closed at the end. Its pump runs when `workers` is not 0. The folder is the first
    Release of a store that has none."""
    bounds = Bounds.of()
    store: SqlStore = await open_store(store_url)
    try:
        published = Published(home / "checkpoint")
        await published.check(store)
        people = Path(os.environ.get("COUNTERFOIL_PEOPLE", home / "people.json"))
        if people.exists():
            await seed_people(store, people)
        releases, notice = await _releases(store, folder)
        connectors = connectors_of(releases.present)
        worker = f"{_worker_name(store)}/{secrets.token_hex(6)}"
        signer = Signer.load_or_create(home / "audit.key", "counterfoil.local")
        pump = Pump(store, releases, connectors, worker, signer.sign, published.keep)
        app = Application(store, store, releases, connectors, pump, bounds)
        app.notice = notice
        await app.follower.connect_pinned()
        running = asyncio.create_task(_work(pump) if workers else pump.attend())
        following = asyncio.create_task(app.follower.run())
        try:
            yield app
        finally:
            following.cancel()
            pump.stop()
            await asyncio.wait([running], timeout=40)
            await pump.uses.flush()
            await app.follower.close()
            for connector in connectors.values():
                await connector.close()
    finally:
        await store.close()


async def _releases(store: Store, folder: Path) -> tuple[Releases, str]:
    """What is in force, and what to tell of the folder. A folder is published into a store that has no Release; from
    then on it is a proposal, which `counterfoil plan` compares and `counterfoil apply` puts in force. Only where nobody
    may apply anything a start still does. What this process could not connect is never put in force: nothing could
    mend it from here. Raises Misconfigured."""
    held = await store.release()
    if held is None:
        first = read_model(folder)
        await _try_connectors(first, sorted(connected(first.systems)))
        releases = Releases(store, first)
        await releases.publish(await store.now(), "up")
        return releases, ""
    releases = Releases(store, Model.from_json(held[1]))
    await releases.publish(await store.now(), "up")
    ask = f"`counterfoil plan {folder}` says what would change."
    try:
        proposed = read_model(folder)
    except Misconfigured:
        return releases, f"Release {held[0][:12]} is in force. {folder} does not pass check. {ask}"
    if proposed.digest == held[0]:
        return releases, ""
    if not await somebody_may_apply(store, releases.present):
        await _try_connectors(proposed, sorted(connected(proposed.systems)))
        if await apply_at_start(store, releases.present, proposed, await store.now()):
            await releases.take_up(proposed)
            return releases, f"{folder} is in force now: no person has the permission to apply changes."
        return await _releases(store, folder)
    return releases, f"Release {held[0][:12]} is in force. {folder} differs from it and is not applied: {ask}"


async def _work(pump: Pump) -> None:
    """The pump's life. One that could not begin is stopped, so that this process says it is not ready."""
    try:
        await pump.run()
    except Exception:
        log.exception("the worker could not begin; this process only serves, and is not ready")
        pump.stop()


Build = Callable[[Application, str, int], uvicorn.Config]
"""An Application, host and port to how it is served."""


def serve(folder: Path, store_url: str, host_name: str, port: int, workers: int, build: Build) -> int:
    """Run server and worker in this process until SIGINT or SIGTERM; the exit code. `build` gives the pages
    and routes: they stand on a higher floor."""
    logging.basicConfig(
        level=os.environ.get("COUNTERFOIL_LOG", "WARNING"), format="%(asctime)s %(name)s %(message)s"
    )
    return asyncio.run(_serve(folder, store_url, host_name, port, workers, build))


async def _serve(folder: Path, store_url: str, host_name: str, port: int, workers: int, build: Build) -> int:
    home = Path(HOME)
    home.mkdir(mode=0o700, exist_ok=True)
    async with application(folder, store_url, home, workers) as app:
        if app.notice:
            sys.stderr.write(f"{app.notice}\n")
        config = build(app, host_name, port)
        server = uvicorn.Server(config)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, setattr, server, "should_exit", True)
        with _no_signals(server):
            await server.serve()
    return 0


@contextlib.contextmanager
def _no_signals(server: Any) -> Any:
    """Signals are this process's own: uvicorn does not take them over."""
    server.capture_signals = contextlib.nullcontext
    yield
