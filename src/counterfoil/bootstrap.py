"""The only wiring: store, model, connectors and worker joined by hand into one Application."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from counterfoil.application import Application
from counterfoil.change.bootstrap import any_person_may_apply, apply_at_start
from counterfoil.connectors import host
from counterfoil.connectors.sdk import Connector, SystemConfig
from counterfoil.core import ids
from counterfoil.core.errors import Misconfigured
from counterfoil.core.people import Person, Token
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.intake.load_shedding import BacklogLimits
from counterfoil.flow.worker.audit_checkpoint import CheckpointSigner, PublishedCheckpoint
from counterfoil.flow.worker.worker import Worker
from counterfoil.model import Model, read
from counterfoil.model.connector_changes import connected
from counterfoil.model.kinds import System
from counterfoil.store.port.people import PutPerson, PutToken
from counterfoil.store.port.store import (
    Store,
)
from counterfoil.store.sql.postgres import PostgresStore
from counterfoil.store.sql.sqlite import SqliteStore
from counterfoil.store.sql.store import SqlStore

log = logging.getLogger("counterfoil")


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
    bounds = BacklogLimits.of()
    store: SqlStore = await open_store(store_url)
    try:
        published = PublishedCheckpoint(home / "checkpoint")
        await published.check(store)
        people = Path(os.environ.get("COUNTERFOIL_PEOPLE", home / "people.json"))
        if people.exists():
            await seed_people(store, people)
        releases, notice = await _releases(store, folder)
        connectors = connectors_of(releases.present)
        worker = f"{_worker_name(store)}/{secrets.token_hex(6)}"
        signer = CheckpointSigner.load_or_create(home / "audit.key", "counterfoil.local")
        pump = Worker(store, releases, connectors, worker, signer.sign, published.keep)
        app = Application(store, store, releases, connectors, pump, build_connectors, bounds)
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
    if not await any_person_may_apply(store, releases.present):
        await _try_connectors(proposed, sorted(connected(proposed.systems)))
        if await apply_at_start(store, releases.present, proposed, await store.now()):
            await releases.take_up(proposed)
            return releases, f"{folder} is in force now: no person has the permission to apply changes."
        return await _releases(store, folder)
    return releases, f"Release {held[0][:12]} is in force. {folder} differs from it and is not applied: {ask}"


async def _work(pump: Worker) -> None:
    """The pump's life. One that could not begin is stopped, so that this process says it is not ready."""
    try:
        await pump.run()
    except Exception:
        log.exception("the worker could not begin; this process only serves, and is not ready")
        pump.stop()
