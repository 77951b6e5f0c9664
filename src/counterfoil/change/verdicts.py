"""What a change means for Runs that are on their way: a verdict for each, and why.

`unaffected`: the other Release says the same of its workflow. `pinned`: it goes on under its own to its end.
`migratable`: it may be moved. `needs a person`: it can neither be moved nor be left alone without somebody looking.
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
from counterfoil.rules.workflow.migration import Movable, move
from counterfoil.store.port.store import Store

Word: TypeAlias = Literal["unaffected", "pinned", "migratable", "needs a person"]
Models: TypeAlias = Callable[[str], Awaitable[Model]]
"""A Release's digest to its model. Raises Misconfigured where the store does not hold it."""
EXAMINED = 5_000
"""Runs of one workflow and Release that are looked at one by one."""
PAGE = 200
EXAMPLES = 5


class MigrationVerdict(msgspec.Struct, frozen=True, kw_only=True):
    word: Word
    why: str = ""
    paths: tuple[tuple[str, str], ...] = ()
    """Steps that have another path there."""
    ctx: bytes = b""
    """`migratable`: its state as it is there."""


class AffectedRuns(msgspec.Struct, frozen=True, kw_only=True):
    """Runs of one workflow and Release with the same verdict for the same reason."""

    workflow: str
    pin: str
    verdict: Word
    why: str
    count: int
    examples: tuple[str, ...] = ()
    """Ids of the first few."""


def verdict(old: Model, new: Model, run: Run, effects: Sequence[Effect] | None = None) -> MigrationVerdict:
    """Of one Run that is pinned to `old`, if `new` were in force. Without its `effects` what is under way is told
    from its state alone."""
    name = run.workflow
    if name in new.workflows and old.workflow(name).digest == new.workflow(name).digest:
        return MigrationVerdict(word="unaffected")
    found = move(old, new, run, effects)
    if isinstance(found, Movable):
        return MigrationVerdict(word="migratable", paths=found.paths, ctx=found.ctx)
    if found.person:
        return MigrationVerdict(word="needs a person", why=f"it is parked and cannot be moved: {found.why}")
    gone = sorted({op.system for op in old.workflow(name).operations.values()} - set(new.systems))
    if gone:
        why = f"it may still call {', '.join(gone)}, which is no system any more, and cannot be moved"
        return MigrationVerdict(word="needs a person", why=f"{why}: {found.why}")
    return MigrationVerdict(word="pinned", why=found.why)


async def affected(store: Store, models: Models, new: Model) -> list[AffectedRuns]:
    """The verdicts of all Runs on their way, in groups. Beyond EXAMINED Runs of a workflow the rest is counted."""
    found: list[AffectedRuns] = []
    names = dict.fromkeys(pinned.workflow for pinned in await store.pinned())
    for workflow in names:
        found += await _of_workflow(store, models, new, workflow)
    return found


async def _of_workflow(store: Store, models: Models, new: Model, workflow: str) -> list[AffectedRuns]:
    groups: dict[tuple[str, Word, str], list[str]] = {}
    unknown: dict[str, str] = {}
    seen, after = 0, ""
    while seen < EXAMINED:
        runs = await store.unfinished(workflow, after, PAGE)
        for run in runs:
            if run.pin not in unknown:
                try:
                    one = verdict(await models(run.pin), new, run)
                except Misconfigured as error:
                    unknown[run.pin] = str(error)
                else:
                    groups.setdefault((run.pin, one.word, one.why), []).append(run.id)
            if run.pin in unknown:
                groups.setdefault((run.pin, "needs a person", unknown[run.pin]), []).append(run.id)
        seen += len(runs)
        if len(runs) < PAGE:
            break
        after = runs[-1].id
        await asyncio.sleep(0)  # a company with many Runs is not kept from its work by a plan
    found = [
        AffectedRuns(
            workflow=workflow, pin=pin, verdict=word, why=why, count=len(ids), examples=tuple(ids[:EXAMPLES])
        )
        for (pin, word, why), ids in sorted(groups.items())
    ]
    total = sum(p.count for p in await store.pinned() if p.workflow == workflow) if seen >= EXAMINED else seen
    if total > seen:
        why = f"not looked at one by one: more than {EXAMINED}"
        found.append(AffectedRuns(workflow=workflow, pin="", verdict="pinned", why=why, count=total - seen))
    return found
