"""Wiring: builds store, model, connectors and worker, and joins them into one Application."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from counterfoil.application import Application, try_connectors
from counterfoil.change.bootstrap import any_person_may_apply, apply_at_start
from counterfoil.change.connector_checks import ConnectorChecks
from counterfoil.change.connector_config import MissingValue, configuration
from counterfoil.connectors import host
from counterfoil.connectors.sdk import Connector, SystemConfig
from counterfoil.core.errors import Misconfigured
from counterfoil.core.finding import errors, refusal
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.intake.load_shedding import SheddingLimits
from counterfoil.flow.worker.audit_checkpoint import CheckpointFile, CheckpointSigner
from counterfoil.flow.worker.worker import Worker
from counterfoil.model import Model, read
from counterfoil.model.connector_changes import connected
from counterfoil.people_file import people_path
from counterfoil.people_follower import PeopleFollower
from counterfoil.store.port.store import Store
from counterfoil.store.sql.postgres import PostgresStore
from counterfoil.store.sql.sqlite import SqliteStore
from counterfoil.store.sql.store import SqlStore

log = logging.getLogger("counterfoil")
PUBLIC_URL = "COUNTERFOIL_PUBLIC_URL"
STOP_SECONDS = 40
"""Timeout for a worker that is being stopped; longer than its own drain."""


def read_model(folder: Path) -> Model:
    """Return the model of a governance folder, for the environment in COUNTERFOIL_ENVIRONMENT.

    Raises Misconfigured with all errors that `check` finds.
    """
    model, findings = read(
        folder, environment=os.environ.get("COUNTERFOIL_ENVIRONMENT", ""), also=ConnectorChecks(folder)
    )
    if errors(findings):
        raise Misconfigured(refusal(folder, findings))
    return model


def connectors_of(model: Model, folder: Path) -> dict[str, Connector]:
    """Build the connectors of all systems that have one. Raises Misconfigured."""
    return build_connectors(model, connected(model.systems), folder)


def build_connectors(model: Model, names: Iterable[str], folder: Path) -> dict[str, Connector]:
    """Build the connectors of the named systems. Their relative paths start in the governance folder.

    Raises one Misconfigured with every missing value of every system, and every other fault.
    """
    faults: list[str] = []
    configs: list[tuple[str, SystemConfig]] = []
    for system in (model.systems[name] for name in sorted(names)):
        config, missing = configuration(model, system, folder)
        faults += [_missing_text(model, system.name, path, value) for path, value in missing.items()]
        if not missing:
            configs.append((system.connector, config))
    built: dict[str, Connector] = {}
    try:
        built = host.build(configs)
    except Misconfigured as error:
        faults += str(error).splitlines()
    if faults:
        raise Misconfigured("These systems cannot be connected:\n" + "\n".join(faults))
    return built


def _missing_text(model: Model, system: str, path: tuple[str, ...], missing: MissingValue) -> str:
    """Return the text of a reference without a value: its place, if the model is that of a folder, and the fix."""
    text = f"system {system}: {'.'.join(path)}: {missing.why}; {missing.fix}"
    for document in model.documents:
        if (document.kind, document.name) == ("system", system) and document.source is not None:
            return f"{document.source.file}:{document.source.mark(path).line}: {text}"
    return text


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


async def _people_notice(store: Store, path: Path, model: Model) -> str:
    """Return that no person can sign in, and the command that adds one; empty if a person can."""
    if any(person.active for person in await store.persons()):
        return ""
    roles = ", ".join(sorted(model.roles)) or "none: add a document of the kind role first"
    why = "has no active person" if path.exists() else "does not exist"
    return (
        f"No person can sign in: {path} {why}. Add one with "
        f"`counterfoil people add ID --email ADDRESS --role ROLE` (roles: {roles}), then start again."
    )


@contextlib.asynccontextmanager
async def application(folder: Path, store_url: str, home: Path, workers: int = 1) -> Any:
    """Open an Application over a store, and close it at the end.

    Its worker runs unless `workers` is 0. The folder becomes the first Release of a store without one.
    """
    limits = SheddingLimits.of()
    store: SqlStore = await open_store(store_url)
    try:
        published = await CheckpointFile.of(home, store)
        people = PeopleFollower(store, partial(people_path, folder, home))
        await people.start()
        build = partial(build_connectors, folder=folder)
        releases, notice = await _releases(store, folder)
        connectors = connectors_of(releases.present, folder)
        name = f"{_worker_name(store)}/{secrets.token_hex(6)}"
        signer = CheckpointSigner.load_or_create(home / "audit.key", "counterfoil.local")
        log.info("checkpoints of the audit log are verified with %s", signer.verifier)
        worker = Worker(store, releases, connectors, name, signer.sign, published.keep)
        worker.public_url = os.environ.get(PUBLIC_URL, "").strip().rstrip("/")
        app = Application(store, store, releases, connectors, worker, build, limits)
        no_person = await _people_notice(store, people_path(folder, home), releases.present)
        app.notice = "\n".join(filter(None, [notice, no_person]))
        app.verifier = signer.verifier
        app.people_problem = lambda: people.problem
        await app.follower.connect_pinned()
        running = asyncio.create_task(_work(worker) if workers else worker.attend())
        following = [asyncio.create_task(follower.run()) for follower in (app.follower, people)]
        try:
            yield app
        finally:
            for task in following:
                task.cancel()
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
    build = partial(build_connectors, folder=folder)
    current = await store.release()
    if current is None:
        first = read_model(folder)
        await try_connectors(build, first, sorted(connected(first.systems)))
        releases = Releases(store, first)
        await releases.publish(await store.now(), "up")
        return releases, ""
    releases = Releases(store, Model.from_json(current[1]))
    await releases.publish(await store.now(), "up")
    stays = f"Release {current[0][:12]} stays active: {folder}"
    try:
        proposed = read_model(folder)
    except Misconfigured:
        return releases, f"{stays} does not pass check. `counterfoil check {folder}` lists the findings."
    if proposed.digest == current[0]:
        return releases, ""
    if not await any_person_may_apply(store, releases.present):
        await try_connectors(build, proposed, sorted(connected(proposed.systems)))
        if await apply_at_start(store, releases.present, proposed, await store.now()):
            await releases.take_up(proposed)
            return (
                releases,
                f"{folder.resolve()} is active now: no person has the permission to apply changes.",
            )
        return await _releases(store, folder)
    return releases, (
        f"{stays} differs from it and is not applied. `counterfoil plan {folder} --out change.plan` shows what "
        "would change and who approves it; `counterfoil apply change.plan` activates it."
    )


async def _work(worker: Worker) -> None:
    """Run the worker. If it fails to start, stop it: the process then reports that it is not ready."""
    try:
        await worker.run()
    except Exception:
        log.exception("the worker failed to start; this process only serves requests and is not ready")
        worker.stop()
