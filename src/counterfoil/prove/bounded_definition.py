"""The workflow definition for a proof, with short retry budgets."""

from __future__ import annotations

from dataclasses import replace

from counterfoil.model import definition as d

MAX_TRIES = 2
"""Tries after which a retry budget counts as spent. More tries lead to no new states."""
MAX_ROUNDS = 2
"""Rounds after which the budget of an `again` counts as spent. A third round repeats the second."""


def bounded_definition(definition: d.Definition) -> d.Definition:
    """Return the same workflow with short retry budgets, under its own digest."""
    return replace(
        definition,
        digest=f"{definition.digest}/proven",
        steps=_block(definition.steps),
        signals=tuple(replace(s, do=_block(s.do)) for s in definition.signals),
        failure=replace(
            definition.failure,
            retry=_retry(definition.failure.retry),
            reactions={n: _reaction(r) for n, r in definition.failure.reactions.items()},
        ),
    )


def _retry(policy: d.RetryPolicy) -> d.RetryPolicy:
    return replace(policy, attempts=min(policy.attempts, MAX_TRIES))


def _verb(verb: d.Verb) -> d.Verb:
    retry = None if verb.retry is None else _retry(verb.retry)
    return replace(verb, retry=retry, at_most=min(verb.at_most, MAX_ROUNDS))


def _reaction(reaction: d.Reaction) -> d.Reaction:
    return _block(reaction) if isinstance(reaction, d.Block) else _verb(reaction)


def _block(block: d.Block) -> d.Block:
    return d.Block(tuple(map(_step, block.steps)), None if block.verb is None else _verb(block.verb))


def _step(step: d.Step) -> d.Step:
    outcomes = {name: _reaction(r) for name, r in step.outcomes.items()}
    if isinstance(step, d.Choose):
        return replace(
            step,
            outcomes=outcomes,
            branches=tuple((when, _block(b)) for when, b in step.branches),
            otherwise=None if step.otherwise is None else _block(step.otherwise),
        )
    if isinstance(step, d.Each):
        return replace(step, outcomes=outcomes, do=_block(step.do))
    return replace(step, outcomes=outcomes)
