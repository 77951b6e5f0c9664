"""migrate: move Runs to another Release by their verdicts, each in its own guarded transition."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from counterfoil.change.verdicts import PAGE, MigrationVerdict, Models, verdict
from counterfoil.core.errors import ErrorClass, Misconfigured, Refused
from counterfoil.core.run import TERMINAL, Run
from counterfoil.model import Model
from counterfoil.store.port.releases import MoveRun
from counterfoil.store.port.store import LoadedRun, Store

MOST = 1_000
"""Runs that one call answers for."""


class RunMove(msgspec.Struct, frozen=True, kw_only=True):
    """One Run: what may become of it, or what became of it."""

    run: str
    workflow: str
    key: str
    state: str
    pin: str
    to: str
    verdict: str
    """unaffected, pinned, migratable, needs a person; moved once it is; busy or changed where it went on meanwhile."""
    why: str = ""
    paths: tuple[tuple[str, str], ...] = ()


class RunMigrator:
    def __init__(self, store: Store, models: Models) -> None:
        self._store = store
        self._models = models

    async def verdicts(
        self, to: str | None = None, workflow: str | None = None, run: str | None = None
    ) -> list[RunMove]:
        """What would become of Runs that are pinned to another Release than `to`, by default the one in force."""
        digest, new = await self._target(to)
        found = []
        async for held in self._runs(digest, workflow, run):
            found.append(_moving(held.run, digest, await self._verdict(new, held)))
        return found

    async def move(
        self, person: str, to: str | None = None, workflow: str | None = None, run: str | None = None
    ) -> list[RunMove]:
        """Move those that may be moved; all of them with what became of each."""
        digest, new = await self._target(to)
        found = []
        async for held in self._runs(digest, workflow, run):
            one = await self._verdict(new, held)
            moving = _moving(held.run, digest, one)
            if one.word in ("migratable", "unaffected"):
                moving = msgspec.structs.replace(moving, **await self._move(person, digest, held, one))
            found.append(moving)
        return found

    async def _move(self, person: str, to: str, held: LoadedRun, one: MigrationVerdict) -> dict[str, str]:
        run = held.run
        moved = await self._store.apply(
            MoveRun(
                run=run.id,
                version=run.version,
                pin=run.pin,
                to=to,
                ctx=one.ctx if one.word == "migratable" else run.ctx,
                paths=one.paths,
                at=await self._store.now(),
                actor=f"person:{person}",
            )
        )
        why = {
            "busy": "a call of it is under way, or it was told something that it has not read: ask again",
            "changed": "it went on meanwhile: ask again",
            "ended": "it has ended meanwhile",
        }
        return {"verdict": moved.verdict, "why": why.get(moved.verdict, "")}

    async def _target(self, to: str | None) -> tuple[str, Model]:
        digest = to or await self._store.in_force()
        if digest is None or await self._store.release_step(digest) is None:
            raise Refused(
                f"{digest or 'nothing'} was never in force: Runs are moved to a Release that was applied",
                ErrorClass.NOT_FOUND,
            )
        return digest, await self._models(digest)

    async def _verdict(self, new: Model, held: LoadedRun) -> MigrationVerdict:
        try:
            return verdict(await self._models(held.run.pin), new, held.run, held.effects)
        except Misconfigured as error:
            return MigrationVerdict(word="needs a person", why=str(error))

    async def _runs(self, to: str, workflow: str | None, run: str | None) -> AsyncIterator[LoadedRun]:
        """Runs on their way that are pinned to something else, with their effects."""
        if run is not None:
            held = await self._store.load(run)
            if held is None or (workflow is not None and held.run.workflow != workflow):
                raise Refused(f"there is no such Run {run}", ErrorClass.NOT_FOUND)
            if held.run.status in TERMINAL:
                raise Refused(f"{run} has ended", ErrorClass.CONFLICT)
            if held.run.pin != to:
                yield held
            return
        names = dict.fromkeys(p.workflow for p in await self._store.pinned() if p.pin != to)
        left = MOST
        for name in names:
            if workflow is not None and name != workflow:
                continue
            after = ""
            while left > 0:
                rows = await self._store.unfinished(name, after, PAGE)
                for row in rows:
                    held = await self._store.load(row.id) if row.pin != to and left > 0 else None
                    if held is not None:
                        left -= 1
                        yield held
                if len(rows) < PAGE:
                    break
                after = rows[-1].id


def _moving(run: Run, to: str, one: MigrationVerdict) -> RunMove:
    return RunMove(
        run=run.id,
        workflow=run.workflow,
        key=run.bkey,
        state=run.state,
        pin=run.pin,
        to=to,
        verdict=one.word,
        why=one.why,
        paths=one.paths,
    )
