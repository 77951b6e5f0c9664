"""Wiring: builds store, model, connectors and worker, and joins them into one Application."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from counterfoil.application import Application, try_connectors
from counterfoil.change.bootstrap import any_person_may_apply, apply_at_start
from counterfoil.connectors import host
from counterfoil.connectors.sdk import Connector, SystemConfig
from counterfoil.core import ids
from counterfoil.core.errors import Misconfigured
from counterfoil.core.people import Person, Token
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.intake.load_shedding import SheddingLimits
from counterfoil.flow.worker.audit_checkpoint import CheckpointFile, CheckpointSigner
from counterfoil.flow.worker.worker import Worker
from counterfoil.model import Model, read
from counterfoil.model.connector_changes import connected
from counterfoil.model.kinds import System
from counterfoil.store.port.people import PutPerson, PutToken
from counterfoil.store.port.store import Store
from counterfoil.store.sql.postgres import PostgresStore
from counterfoil.store.sql.sqlite import SqliteStore
from counterfoil.store.sql.store import SqlStore

log = logging.getLogger("counterfoil")
STOP_SECONDS = 40
"""Timeout for a worker that is being stopped; longer than its own drain."""


class PeopleFileEntry(msgspec.Struct, forbid_unknown_fields=True):
    """Person in the people file, with the hashes of a password and a token."""

    id: str
    name: str
    email: str
    roles: list[str]
    secret: str = ""
    token_sha256: str = ""
    """Digest of the person's only bearer token; empty ends the former one."""
    active: bool = True


def read_model(folder: Path) -> Model:
    """Return the model of a governance folder, for the environment in COUNTERFOIL_ENVIRONMENT.

    Raises Misconfigured with all errors that `check` finds.
    """
    model, findings = read(folder, environment=os.environ.get("COUNTERFOIL_ENVIRONMENT", ""))
    errors = [str(f) for f in findings if f.severity == "error"]
    if errors:
        raise Misconfigured("The governance folder does not pass check:\n" + "\n".join(errors))
    return model


def reference(text: str) -> str:
    """Return the value of `env:NAME` or `file:PATH`; any other text is the value. Raises Misconfigured."""
    if text.startswith("env:"):
        name = text.removeprefix("env:")
        if name not in os.environ:
            raise Misconfigured(f"The environment variable {name} is not set.")
        return os.environ[name]
    if text.startswith("file:"):
        path = Path(text.removeprefix("file:"))
        try:
            return path.read_text().strip()
        except OSError as error:
            raise Misconfigured(f"Cannot read {path}: {error}.") from error
    return text


def connectors_of(model: Model) -> dict[str, Connector]:
    """Build the connectors of all systems that have one. Raises Misconfigured."""
    return build_connectors(model, connected(model.systems))


def build_connectors(model: Model, names: Iterable[str]) -> dict[str, Connector]:
    """Build the connectors of the named systems. Raises Misconfigured."""
    return host.build([(s.connector, _config(s)) for s in (model.systems[name] for name in sorted(names))])


def _config(system: System) -> SystemConfig:
    return SystemConfig(
        name=system.name,
        url=reference(system.url),
        account=system.account,
        settings={k: reference(v) if isinstance(v, str) else v for k, v in system.settings.items()},
        secrets={name: reference(ref) for name, ref in system.secrets.items()},
    )


async def open_store(url: str) -> SqlStore:
    """Open the store at `sqlite:PATH`, a plain path, or `postgresql://...`. Raises Misconfigured."""
    if url.startswith(("postgresql://", "postgres://")):
        return await PostgresStore.open(url)
    if "://" in url:
        raise Misconfigured(f"No store can be opened at {url!r}. Use sqlite:PATH or postgresql://...")
    return await SqliteStore.open(url.removeprefix("sqlite:"))


def _worker_name(store: SqlStore) -> str:
    """Return the name by which a restarted worker finds its former calls.

    An embedded store has one process, so one fixed name. On PostgreSQL it is COUNTERFOIL_WORKER, or random.
    """
    configured = os.environ.get("COUNTERFOIL_WORKER")
    if configured:
        return configured
    return "embedded" if isinstance(store, SqliteStore) else secrets.token_hex(6)


async def seed_people(store: Store, path: Path) -> None:
    """Store the persons and tokens of a people file (JSON list of PeopleFileEntry)."""
    now = await store.now()
    expires = now.replace(year=now.year + 10, month=1, day=1)
    for entry in msgspec.json.decode(path.read_bytes(), type=list[PeopleFileEntry]):
        person = Person(
            id=entry.id,
            name=entry.name,
            email=entry.email,
            roles=tuple(entry.roles),
            secret=entry.secret,
            active=entry.active,
        )
        if await store.person(entry.id) != person:
            await store.apply(PutPerson(person=person, at=now, actor="people file"))
        digest = entry.token_sha256 or ids.derive("none", entry.id)
        expires_at = expires if entry.token_sha256 else now
        token = Token(digest=digest, person=entry.id, kind="token", expires=expires_at)
        await store.apply(PutToken(token=token, at=now, alone=True))


@contextlib.asynccontextmanager
async def application(folder: Path, store_url: str, home: Path, workers: int = 1) -> Any:
    """Open an Application over a store, and close it at the end.

    Its worker runs unless `workers` is 0. The folder becomes the first Release of a store without one.
    """
    limits = SheddingLimits.of()
    store: SqlStore = await open_store(store_url)
    try:
        published = CheckpointFile(home / "checkpoint")
        await published.check(store)
        people = Path(os.environ.get("COUNTERFOIL_PEOPLE", home / "people.json"))
        if people.exists():
            await seed_people(store, people)
        releases, notice = await _releases(store, folder)
        connectors = connectors_of(releases.present)
        name = f"{_worker_name(store)}/{secrets.token_hex(6)}"
        signer = CheckpointSigner.load_or_create(home / "audit.key", "counterfoil.local")
        worker = Worker(store, releases, connectors, name, signer.sign, published.keep)
        app = Application(store, store, releases, connectors, worker, build_connectors, limits)
        app.notice = notice
        await app.follower.connect_pinned()
        running = asyncio.create_task(_work(worker) if workers else worker.attend())
        following = asyncio.create_task(app.follower.run())
        try:
            yield app
        finally:
            following.cancel()
            worker.stop()
            await asyncio.wait([running], timeout=STOP_SECONDS)
            await worker.uses.flush()
            await app.follower.close()
            for connector in connectors.values():
                await connector.close()
    finally:
        await store.close()


async def _releases(store: Store, folder: Path) -> tuple[Releases, str]:
    """Return the active Release, and a notice about the folder for the operator.

    The folder is published into a store without a Release. Later it is only a proposal: `counterfoil plan` compares it
    and `counterfoil apply` activates it. At start it is applied only if no person has the permission to apply. A
    Release whose connectors cannot be built is never activated. Raises Misconfigured.
    """
    current = await store.release()
    if current is None:
        first = read_model(folder)
        await try_connectors(build_connectors, first, sorted(connected(first.systems)))
        releases = Releases(store, first)
        await releases.publish(await store.now(), "up")
        return releases, ""
    releases = Releases(store, Model.from_json(current[1]))
    await releases.publish(await store.now(), "up")
    hint = f"`counterfoil plan {folder}` shows what would change."
    try:
        proposed = read_model(folder)
    except Misconfigured:
        return releases, f"Release {current[0][:12]} is active. {folder} does not pass check. {hint}"
    if proposed.digest == current[0]:
        return releases, ""
    if not await any_person_may_apply(store, releases.present):
        await try_connectors(build_connectors, proposed, sorted(connected(proposed.systems)))
        if await apply_at_start(store, releases.present, proposed, await store.now()):
            await releases.take_up(proposed)
            return releases, f"{folder} is active now: no person has the permission to apply changes."
        return await _releases(store, folder)
    return (
        releases,
        f"Release {current[0][:12]} is active. {folder} differs from it and is not applied. {hint}",
    )


async def _work(worker: Worker) -> None:
    """Run the worker. If it fails to start, stop it: the process then reports that it is not ready."""
    try:
        await worker.run()
    except Exception:
        log.exception("the worker failed to start; this process only serves requests and is not ready")
        worker.stop()
