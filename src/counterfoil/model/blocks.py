"""Blocks and approval steps of a compiled workflow, by address. Cached by the workflow's digest."""

from __future__ import annotations

from counterfoil.model.definition import Approve, Block, Choose, Definition, Each, Reaction

MAX_CACHED_BLOCKS = 256


def blocks_of(definition: Definition) -> dict[str, Block]:
    """Return every block of a workflow by its address."""
    cached = _BLOCKS.get(definition.digest)
    if cached is not None:
        return cached
    blocks: dict[str, Block] = {}

    def walk(address: str, block: Block) -> None:
        blocks[address] = block
        for step in block.steps:
            match step:
                case Choose():
                    for n, (_, branch) in enumerate(step.branches):
                        walk(f"{step.path}/then{n}", branch)
                    if step.otherwise is not None:
                        walk(f"{step.path}/otherwise", step.otherwise)
                case Each():
                    walk(f"{step.path}/do", step.do)
            for outcome, reaction in step.outcomes.items():
                walk_reaction(f"{step.path}/{outcome}", reaction)

    def walk_reaction(address: str, reaction: Reaction) -> None:
        if isinstance(reaction, Block):
            walk(address, reaction)

    walk("", definition.steps)
    for n, signal in enumerate(definition.signals):
        walk(f"signal{n}", signal.do)
    for outcome, reaction in definition.failure.reactions.items():
        walk_reaction(f"failure/{outcome}", reaction)
    if len(_BLOCKS) > MAX_CACHED_BLOCKS:
        _BLOCKS.clear()
    _BLOCKS[definition.digest] = blocks
    return blocks


_BLOCKS: dict[str, dict[str, Block]] = {}


def approvals_of(definition: Definition) -> tuple[Approve, ...]:
    """Return every step of a workflow that requests an approval."""
    approvals = _APPROVALS.get(definition.digest)
    if approvals is None:
        steps = (step for block in blocks_of(definition).values() for step in block.steps)
        if len(_APPROVALS) > MAX_CACHED_BLOCKS:
            _APPROVALS.clear()
        approvals = _APPROVALS[definition.digest] = tuple(s for s in steps if isinstance(s, Approve))
    return approvals


_APPROVALS: dict[str, tuple[Approve, ...]] = {}
