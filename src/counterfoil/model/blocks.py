"""Blocks and approval steps of a compiled workflow, by address. Cached by the workflow's digest."""

from __future__ import annotations

from collections.abc import Iterator

from counterfoil.model.definition import Approve, Block, Choose, Definition, Each, Reaction

MAX_CACHED_WORKFLOWS = 256
_BLOCKS: dict[str, dict[str, Block]] = {}
_APPROVALS: dict[str, tuple[Approve, ...]] = {}


def blocks_of(definition: Definition) -> dict[str, Block]:
    """Return every block of a workflow by its address."""
    blocks = _BLOCKS.get(definition.digest)
    if blocks is None:
        blocks = dict(_blocks("", definition.steps))
        for n, signal in enumerate(definition.signals):
            blocks |= _blocks(f"signal{n}", signal.do)
        for outcome, reaction in definition.failure.reactions.items():
            blocks |= _blocks(f"failure/{outcome}", reaction)
        if len(_BLOCKS) > MAX_CACHED_WORKFLOWS:
            _BLOCKS.clear()
        _BLOCKS[definition.digest] = blocks
    return blocks


def _blocks(address: str, block: Reaction | None) -> Iterator[tuple[str, Block]]:
    """Yield a block and the blocks inside it; nothing for a verb."""
    if not isinstance(block, Block):
        return
    yield address, block
    for step in block.steps:
        if isinstance(step, Choose):
            for n, (_, branch) in enumerate(step.branches):
                yield from _blocks(f"{step.path}/then{n}", branch)
            yield from _blocks(f"{step.path}/otherwise", step.otherwise)
        elif isinstance(step, Each):
            yield from _blocks(f"{step.path}/do", step.do)
        for outcome, reaction in step.outcomes.items():
            yield from _blocks(f"{step.path}/{outcome}", reaction)


def approvals_of(definition: Definition) -> tuple[Approve, ...]:
    """Return every step of a workflow that requests an approval."""
    approvals = _APPROVALS.get(definition.digest)
    if approvals is None:
        steps = (step for block in blocks_of(definition).values() for step in block.steps)
        if len(_APPROVALS) > MAX_CACHED_WORKFLOWS:
            _APPROVALS.clear()
        approvals = _APPROVALS[definition.digest] = tuple(s for s in steps if isinstance(s, Approve))
    return approvals
