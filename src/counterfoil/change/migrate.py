"""migrate: move Runs to another Release according to their verdicts, each in its own guarded transition."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence

import msgspec

from counterfoil.change.verdicts import PAGE_ROWS, MigrationVerdict, Models, verdict
from counterfoil.core.errors import ErrorClass, Misconfigured, Refused
from counterfoil.core.run import TERMINAL, Run
from counterfoil.model import Model
from counterfoil.store.port.releases import MoveRun
from counterfoil.store.port.store import LoadedRun, Store

MAX_RUNS = 1_000
"""Runs that one call reports or moves."""
LOADED_RUNS = 20
"""Runs that are loaded together: the store answers them from one snapshot. A move finds few of them changed."""


class RunMove(msgspec.Struct, frozen=True, kw_only=True):
    """One Run with the verdict on its move, or with the result of the move."""

    run: str
    workflow: str
    key: str
    state: str
    pin: str
    to: str
    verdict: str
    """Before a move: unaffected, pinned, migratable or needs a person. After it: moved, or busy, changed or ended
    if the Run continued meanwhile."""
    why: str = ""
    paths: tuple[tuple[str, str], ...] = ()


class RunMigrator:
    def __init__(self, store: Store, models: Models) -> None:
        self._store = store
        self._models = models

    async def verdicts(
        self, to: str | None = None, workflow: str | None = None, run: str | None = None
    ) -> list[RunMove]:
        """Return the verdicts on Runs pinned to another Release than `to`, by default the active one."""
        digest, new = await self._target(to)
        return [
            _run_move(loaded.run, digest, await self._verdict(new, loaded))
            async for loaded in self._runs(digest, workflow, run)
        ]

    async def move(
        self, person: str, to: str | None = None, workflow: str | None = None, run: str | None = None
    ) -> list[RunMove]:
        """Move the Runs that can be moved. Returns all of them with their results."""
        digest, new = await self._target(to)
        moves = []
        async for loaded in self._runs(digest, workflow, run):
            migration = await self._verdict(new, loaded)
            run_move = _run_move(loaded.run, digest, migration)
            if migration.word in ("migratable", "unaffected"):
                result = await self._move(person, digest, loaded, migration)
                run_move = msgspec.structs.replace(run_move, **result)
            moves.append(run_move)
        return moves

    async def _move(
        self, person: str, to: str, loaded: LoadedRun, migration: MigrationVerdict
    ) -> dict[str, str]:
        run = loaded.run
        moved = await self._store.apply(
            MoveRun(
                run=run.id,
                version=run.version,
                pin=run.pin,
                to=to,
                ctx=migration.ctx if migration.word == "migratable" else run.ctx,
                paths=migration.paths,
                at=await self._store.now(),
                actor=f"person:{person}",
            )
        )
        why = {
            "busy": "a call of the Run is in progress, or its inbox is not empty: try again",
            "changed": "the Run continued meanwhile: try again",
            "ended": "the Run ended meanwhile",
        }
        return {"verdict": moved.verdict, "why": why.get(moved.verdict, "")}

    async def _target(self, to: str | None) -> tuple[str, Model]:
        digest = to or await self._store.active_release()
        if digest is None or await self._store.release_step(digest) is None:
            raise Refused(
                f"Release {digest or '(none)'} was never active. Runs can only be moved to a Release that was applied.",
                ErrorClass.NOT_FOUND,
            )
        return digest, await self._models(digest)

    async def _verdict(self, new: Model, loaded: LoadedRun) -> MigrationVerdict:
        try:
            return verdict(await self._models(loaded.run.pin), new, loaded.run, loaded.effects)
        except Misconfigured as error:
            return MigrationVerdict(word="needs a person", why=str(error))

    async def _runs(self, to: str, workflow: str | None, run: str | None) -> AsyncIterator[LoadedRun]:
        """Yield the unfinished Runs that are pinned to another Release, with their effects."""
        if run is not None:
            loaded = await self._store.load(run)
            if loaded is None or (workflow is not None and loaded.run.workflow != workflow):
                raise Refused(f"There is no Run {run}.", ErrorClass.NOT_FOUND)
            if loaded.run.status in TERMINAL:
                raise Refused(f"The Run {run} has ended.", ErrorClass.CONFLICT)
            if loaded.run.pin != to:
                yield loaded
            return
        names = dict.fromkeys(p.workflow for p in await self._store.pinned_runs() if p.pin != to)
        remaining = MAX_RUNS
        for name in names:
            if workflow is not None and name != workflow:
                continue
            after = ""
            while remaining > 0:
                rows = await self._store.active_runs(name, after, PAGE_ROWS)
                for batch in _batches([row.id for row in rows if row.pin != to][:remaining]):
                    for loaded in await asyncio.gather(*map(self._store.load, batch)):
                        if loaded is not None:
                            remaining -= 1
                            yield loaded
                if len(rows) < PAGE_ROWS:
                    break
                after = rows[-1].id


def _batches(runs: Sequence[str]) -> Iterator[Sequence[str]]:
    return (runs[start : start + LOADED_RUNS] for start in range(0, len(runs), LOADED_RUNS))


def _run_move(run: Run, to: str, migration: MigrationVerdict) -> RunMove:
    return RunMove(
        run=run.id,
        workflow=run.workflow,
        key=run.bkey,
        state=run.state,
        pin=run.pin,
        to=to,
        verdict=migration.word,
        why=migration.why,
        paths=migration.paths,
    )
