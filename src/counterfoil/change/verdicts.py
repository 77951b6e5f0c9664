"""Verdicts on unfinished Runs when another Release becomes active, each with its reason.

`unaffected`: the workflow is the same in both Releases. `pinned`: the Run continues under its own Release to the end.
`migratable`: the Run can be moved. `needs a person`: the Run cannot be moved, and cannot continue unattended either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypeAlias

import msgspec

from counterfoil.core.effect import Effect
from counterfoil.core.errors import Misconfigured
from counterfoil.core.run import Run
from counterfoil.model import Model
from counterfoil.rules.workflow.migration import Movable, move, open_vote
from counterfoil.store.port.store import Store

Word: TypeAlias = Literal["unaffected", "pinned", "migratable", "needs a person"]
Models: TypeAlias = Callable[[str], Awaitable[Model]]
"""Returns a Release's model by its digest. Raises Misconfigured if the store does not have it."""
MAX_EXAMINED_RUNS = 5_000
"""Runs of one workflow that are examined one by one."""
PAGE_ROWS = 200
MAX_EXAMPLES = 5


class MigrationVerdict(msgspec.Struct, frozen=True, kw_only=True):
    word: Word
    why: str = ""
    paths: tuple[tuple[str, str], ...] = ()
    """Old and new path of the steps whose path differs."""
    ctx: bytes = b""
    """`migratable`: the Run's state in the form of the new Release."""


class AffectedRuns(msgspec.Struct, frozen=True, kw_only=True):
    """Runs of one workflow and Release with the same verdict for the same reason."""

    workflow: str
    pin: str
    verdict: Word
    why: str
    count: int
    examples: tuple[str, ...] = ()
    """Ids of the first Runs."""


def verdict(old: Model, new: Model, run: Run, effects: Sequence[Effect] | None = None) -> MigrationVerdict:
    """Return the verdict on a Run pinned to `old` if `new` becomes active. Without `effects`, calls in progress are
    derived from the Run's state."""
    name = run.workflow
    if name in new.workflows and old.workflow(name).digest == new.workflow(name).digest:
        why = open_vote(old, new, run)
        return MigrationVerdict(word="pinned" if why else "unaffected", why=why)
    result = move(old, new, run, effects)
    if isinstance(result, Movable):
        return MigrationVerdict(word="migratable", paths=result.paths, ctx=result.ctx)
    if result.person:
        return MigrationVerdict(word="needs a person", why=f"it is parked and cannot be moved: {result.why}")
    removed = sorted({op.system for op in old.workflow(name).operations.values()} - set(new.systems))
    if removed:
        why = f"it may still call the removed system {', '.join(removed)}, and cannot be moved"
        return MigrationVerdict(word="needs a person", why=f"{why}: {result.why}")
    return MigrationVerdict(word="pinned", why=result.why)


async def affected_runs(store: Store, models: Models, new: Model) -> list[AffectedRuns]:
    """Return the verdicts on all unfinished Runs, in groups. Beyond MAX_EXAMINED_RUNS of a workflow, Runs are only
    counted."""
    groups: list[AffectedRuns] = []
    names = dict.fromkeys(pinned.workflow for pinned in await store.pinned_runs())
    for workflow in names:
        groups += await _of_workflow(store, models, new, workflow)
    return groups


async def _of_workflow(store: Store, models: Models, new: Model, workflow: str) -> list[AffectedRuns]:
    groups: dict[tuple[str, Word, str], list[str]] = {}
    unreadable: dict[str, str] = {}
    examined, after = 0, ""
    while examined < MAX_EXAMINED_RUNS:
        runs = await store.active_runs(workflow, after, PAGE_ROWS)
        for run in runs:
            if run.pin not in unreadable:
                try:
                    migration = verdict(await models(run.pin), new, run)
                except Misconfigured as error:
                    unreadable[run.pin] = str(error)
                else:
                    groups.setdefault((run.pin, migration.word, migration.why), []).append(run.id)
            if run.pin in unreadable:
                groups.setdefault((run.pin, "needs a person", unreadable[run.pin]), []).append(run.id)
        examined += len(runs)
        if len(runs) < PAGE_ROWS:
            break
        after = runs[-1].id
        await asyncio.sleep(0)  # lets the worker of this process go on while many Runs are examined
    affected = [
        AffectedRuns(
            workflow=workflow,
            pin=pin,
            verdict=word,
            why=why,
            count=len(ids),
            examples=tuple(ids[:MAX_EXAMPLES]),
        )
        for (pin, word, why), ids in sorted(groups.items())
    ]
    if examined >= MAX_EXAMINED_RUNS:
        total = sum(p.count for p in await store.pinned_runs() if p.workflow == workflow)
        if total > examined:
            why = f"not examined one by one: more than {MAX_EXAMINED_RUNS}"
            affected.append(
                AffectedRuns(workflow=workflow, pin="", verdict="pinned", why=why, count=total - examined)
            )
    return affected
