"""Steps of a workflow with their places, in the order and with the names that compiler and checks share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from counterfoil.model import kinds
from counterfoil.model.source import Path

StepKind: TypeAlias = (
    kinds.Check | kinds.Call | kinds.Approve | kinds.Wait | kinds.Choose | kinds.Each | kinds.Emit
)
STEPS = (kinds.Check, kinds.Call, kinds.Approve, kinds.Wait, kinds.Choose, kinds.Each, kinds.Emit)


@dataclass(frozen=True, slots=True)
class BlockPlace:
    """A list of entries, its place in the file, and the prefix of its steps' names."""

    entries: kinds.Block
    path: Path
    prefix: str
    role: str
    """`steps`, an outcome's name, `then`, `otherwise`, `do` or `signal`."""


@dataclass(frozen=True, slots=True)
class StepPlace:
    """One step: its unique name, its place in the file, and the names of the steps that contain it."""

    step: StepKind
    name: str
    path: Path
    within: tuple[str, ...]


def kind_of(step: StepKind) -> str:
    return type(step).__name__.lower()


def step_name(step: StepKind, position: int, prefix: str) -> str:
    """Return the id of a step; without id its kind and position, or inside a block its position."""
    own = step.id or (str(position) if prefix else f"{kind_of(step)}{position}")
    return f"{prefix}/{own}" if prefix else own


def is_step(entry: Any) -> bool:
    return isinstance(entry, STEPS)


def inner_blocks(step: StepKind, name: str, path: Path) -> Iterator[BlockPlace]:
    """Yield the blocks of a step in the order in which they may run: its own first, then reactions."""
    if isinstance(step, kinds.Choose):
        for position, branch in enumerate(step.choose):
            yield BlockPlace(
                branch.then, (*path, "choose", position, "then"), f"{name}/then{position}", "then"
            )
        if step.otherwise is not None:
            yield BlockPlace(step.otherwise, (*path, "otherwise"), f"{name}/otherwise", "otherwise")
    if isinstance(step, kinds.Each):
        yield BlockPlace(step.do, (*path, "do"), f"{name}/do", "do")
    for outcome, reaction in step.outcomes.items():
        if isinstance(reaction, list):
            yield BlockPlace(reaction, (*path, "outcomes", outcome), f"{name}/{outcome}", outcome)


def root_blocks(workflow: kinds.Workflow) -> Iterator[BlockPlace]:
    """Yield the block of steps, then the block of each signal."""
    yield BlockPlace(workflow.steps, ("steps",), "", "steps")
    for position, signal in enumerate(workflow.signals):
        yield BlockPlace(signal.do, ("signals", position, "do"), f"signal{position}", "signal")


def blocks(workflow: kinds.Workflow) -> Iterator[BlockPlace]:
    """Yield every block, outer blocks first."""
    pending = list(root_blocks(workflow))
    while pending:
        block = pending.pop(0)
        yield block
        for position, entry in enumerate(block.entries):
            if isinstance(entry, STEPS):
                name = step_name(entry, position, block.prefix)
                pending.extend(inner_blocks(entry, name, (*block.path, position)))


def steps(workflow: kinds.Workflow) -> Iterator[StepPlace]:
    """Yield every step in the order of the file: a step, then the steps of its blocks."""
    for block in root_blocks(workflow):
        yield from steps_of(block)


def failure_blocks(failure: kinds.Failure) -> Iterator[BlockPlace]:
    """Yield the reactions of a failure policy that are lists of steps."""
    for name in kinds.Failure.model_fields:
        reaction = getattr(failure, name)
        if isinstance(reaction, list):
            yield BlockPlace(reaction, ("failure", name), name, name)


def failure_steps(failure: kinds.Failure) -> Iterator[StepPlace]:
    """Yield every step in the reactions of a failure policy."""
    for block in failure_blocks(failure):
        yield from steps_of(block)


def steps_of(block: BlockPlace, within: tuple[str, ...] = ()) -> Iterator[StepPlace]:
    for position, entry in enumerate(block.entries):
        if isinstance(entry, STEPS):
            name = step_name(entry, position, block.prefix)
            path = (*block.path, position)
            yield StepPlace(entry, name, path, within)
            for inner in inner_blocks(entry, name, path):
                yield from steps_of(inner, (*within, name))
