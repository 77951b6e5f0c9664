"""Control flow of a workflow: outcomes, reactions, loops, waits, unreachable and renamed steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from counterfoil.core.errors import REFUSAL_CLASSES, ErrorClass
from counterfoil.core.finding import Finding
from counterfoil.model import kinds, walk
from counterfoil.model.checks.registry import rule
from counterfoil.model.compile.policy import FAILURE_OUTCOMES
from counterfoil.model.document import Document
from counterfoil.model.model import Model
from counterfoil.model.source import Path
from counterfoil.model.template import text_of

ERROR_CLASSES = tuple(str(error) for error in ErrorClass)
OUTCOMES: dict[str, frozenset[str]] = {
    "check": frozenset({"failed"}),
    "call": frozenset({*ERROR_CLASSES, "unknown", "accepted", "stale"}),
    "approve": frozenset({"rejected", "expired", "stale"}),
    "wait": frozenset({"timeout"}),
    "choose": frozenset(),
    "each": frozenset(),
    "emit": frozenset(),
}
"""Outcomes of a step other than success, by its kind."""
SENT_AGAIN = frozenset({*map(str, REFUSAL_CLASSES), "stale", "unknown"})
"""Outcomes of a call after which the call may be sent again."""


@rule("unknown-outcome")
def unknown_outcome(model: Model) -> Iterator[Finding]:
    """Each kind of step has a closed set of outcomes. check: failed; approve: rejected, expired, stale; wait:
    timeout; call: the error classes, unknown, accepted, stale; choose, each and emit have none."""
    for document, workflow in model.documents_of(kinds.Workflow):
        for place in walk.steps(workflow):
            allowed = OUTCOMES[walk.kind_of(place.step)]
            for outcome in place.step.outcomes:
                if outcome not in allowed:
                    message = f"a {walk.kind_of(place.step)} step has no outcome `{outcome}`"
                    fix = f"one of {', '.join(sorted(allowed))}" if allowed else "remove it"
                    path = (*place.path, "outcomes", outcome)
                    yield document.finding("unknown-outcome", message, path, at_key=True, fix=fix)


@rule("wrong-reaction")
def wrong_reaction(model: Model) -> Iterator[Finding]:
    """A reaction fits its outcome: `retry` and `queue` send again, so they fit only outcomes of a call. A
    call that was done or accepted is never sent again, and a failed check or a rejection is never retried. `continue` and
    `stop` do not fit an unknown outcome, and an unknown call with `repeat: blind` is never sent again."""
    for document, workflow in model.documents_of(kinds.Workflow):
        failure = model.failure_of(workflow)
        for place in walk.steps(workflow):
            for outcome, reaction in place.step.outcomes.items():
                path = (*place.path, "outcomes", outcome)
                yield from _unfit(document, outcome, reaction, path, walk.kind_of(place.step))
            operation = model.operation_of(place.step)
            if operation is not None and operation.repeat == "blind" and failure is not None:
                reaction = place.step.outcomes.get("unknown", failure.unknown)
                if verb_name(ending(reaction)) in ("retry", "queue"):
                    message = f"`{operation.name}` is `repeat: blind`: a call with unknown outcome must not be sent again"
                    fix = "add `outcomes: {unknown: park}`"
                    yield document.finding("wrong-reaction", message, (*place.path, "call"), fix=fix)
    for document, policy in model.documents_of(kinds.Policy):
        for name in policy.failure.model_fields_set & {*FAILURE_OUTCOMES} if policy.failure else ():
            reaction = getattr(policy.failure, name)
            yield from _unfit(document, name, reaction, ("failure", name), "call")


def _unfit(document: Document, outcome: str, reaction: Any, path: Path, kind: str) -> Iterator[Finding]:
    verb = ending(reaction)
    name = verb_name(verb)
    if isinstance(reaction, list) and verb is not None:
        path = (*path, len(reaction) - 1)
    if name in ("retry", "queue") and (kind != "call" or outcome not in SENT_AGAIN):
        message = f"`{name}` does not fit `{outcome}`: nothing may be sent again here"
        yield document.finding("wrong-reaction", message, path, fix="use park, continue, undo, stop or again")
    if outcome == "unknown" and name in ("continue", "stop"):
        message = f"`{name}` would leave an effect with unknown outcome"
        yield document.finding("wrong-reaction", message, path, fix="use park: a person checks and decides")
    if name == "retry" and isinstance(reaction, list):
        yield document.finding("wrong-reaction", "`retry` must stand alone, without steps before it", path)


def ending(reaction: Any) -> Any:
    """Return the verb of a reaction; None for a block without a verb at its end."""
    if isinstance(reaction, list):
        return reaction[-1] if reaction and not walk.is_step(reaction[-1]) else None
    return reaction


def verb_name(verb: Any) -> str:
    if verb is None or isinstance(verb, str):
        return verb or ""
    return type(verb).__name__.removesuffix("Verb").lower()


@rule("unreachable")
def unreachable(model: Model) -> Iterator[Finding]:
    """No step is unreachable: no step follows a verb such as `stop`, a branch that is always taken, or a choice whose every
    branch ends, and no `when` is always false."""
    for document, workflow in model.documents_of(kinds.Workflow):
        for block in walk.blocks(workflow):
            yield from _after_the_end(document, block)
            for position, entry in enumerate(block.entries):
                path = (*block.path, position)
                when = entry.when if isinstance(entry, walk.STEPS) else None
                if when is not None and text_of(when).strip() == "false":
                    message = "`when` is always false"
                    yield document.finding("unreachable", message, (*path, "when"), fix="remove the step")
                if isinstance(entry, kinds.Choose):
                    yield from _branches(document, entry, path)


def _after_the_end(document: Document, block: walk.BlockPlace) -> Iterator[Finding]:
    for position, entry in enumerate(block.entries[:-1]):
        if ends(entry):
            before = "every branch before it ends" if walk.is_step(entry) else "a verb comes before it"
            message = f"this is never reached: {before}"
            fix = "remove it, or move the verb to the end"
            yield document.finding("unreachable", message, (*block.path, position + 1), fix=fix)
            return


def _branches(document: Document, step: kinds.Choose, path: Path) -> Iterator[Finding]:
    for position, branch in enumerate(step.choose):
        text = text_of(branch.when).strip()
        if text == "false":
            message = "this branch is never taken"
            yield document.finding("unreachable", message, (*path, "choose", position, "when"))
        if text == "true" and (position + 1 < len(step.choose) or step.otherwise is not None):
            after: Path = ("choose", position + 1) if position + 1 < len(step.choose) else ("otherwise",)
            message = "this is never reached: the branch before it is always taken"
            yield document.finding("unreachable", message, (*path, *after))
            return


def ends(entry: Any) -> bool:
    """Return True if no later entry of the block runs."""
    if not walk.is_step(entry):
        return True
    if isinstance(entry, kinds.Choose) and entry.when is None and entry.otherwise is not None:
        return all(_block_ends(b) for b in (*(branch.then for branch in entry.choose), entry.otherwise))
    return False


def _block_ends(block: Any) -> bool:
    return bool(block) and any(ends(entry) and verb_name(entry) != "continue" for entry in block)


@rule("step-id")
def step_id(model: Model) -> Iterator[Finding]:
    """The id of a step is unique in its workflow and differs from facts, lets and built-in names: formulas read the result of
    the step by it."""
    for document, workflow in model.documents_of(kinds.Workflow):
        reserved = {"event", "object", "input", "result", "run", "start", *workflow.facts, *workflow.let}
        used: set[str] = set()
        for place in walk.steps(workflow):
            name = place.step.id
            if name is not None and (name in reserved or name in used):
                what = "another step has this id" if name in used else "formulas already use this name"
                yield document.finding("step-id", f"`{name}`: {what}", (*place.path, "id"))
            if name is not None:
                used.add(name)
        for name in workflow.let:
            if name in workflow.facts or name in ("event", "object", "input", "result", "run"):
                message = f"the name `{name}` is already used"
                yield document.finding("step-id", message, ("let", name), at_key=True)


@rule("again-target")
def again_target(model: Model) -> Iterator[Finding]:
    """`again` goes back to `start`, or to the id of an earlier or enclosing step: a loop has one entry and a bound."""
    for document, workflow in model.documents_of(kinds.Workflow):
        ids = {place.step.id for place in walk.steps(workflow) if place.step.id}
        earlier: set[str] = set()
        for place in walk.steps(workflow):
            if place.step.id:
                earlier.add(place.step.id)
            before = ids if place.path[0] == "signals" else earlier
            for reaction, path in _reactions(place):
                yield from _again(document, reaction, path, before, ids)
        for block in walk.root_blocks(workflow):
            yield from _again(document, block.entries, block.path, ids, ids)


def _reactions(place: walk.StepPlace) -> Iterator[tuple[Any, Path]]:
    """Yield all that may end in a verb: the reactions of a step and the blocks inside it."""
    for outcome, reaction in place.step.outcomes.items():
        if not isinstance(reaction, list):
            yield reaction, (*place.path, "outcomes", outcome)
    yield from ((block.entries, block.path) for block in walk.inner_blocks(place.step, "", place.path))


def _again(
    document: Document, reaction: Any, path: Path, before: set[str], ids: set[str]
) -> Iterator[Finding]:
    verb = ending(reaction)
    if not isinstance(verb, kinds.AgainVerb):
        return
    if isinstance(reaction, list):
        path = (*path, len(reaction) - 1)
    target = verb.again.from_
    if target == "start" or target in before:
        return
    what = "comes later" if target in ids else "is not a step of this workflow"
    message = f"`again` goes to `{target}`, which {what}"
    yield document.finding("again-target", message, (*path, "again", "from"))


@rule("wait-without-until")
def wait_without_until(model: Model) -> Iterator[Finding]:
    """Every wait has an end, `until`, so that every unfinished Run has a next moment. It waits for an event or for foils, not
    for both."""
    for document, workflow in model.documents_of(kinds.Workflow):
        for place in walk.steps(workflow):
            if isinstance(place.step, kinds.Wait):
                wait = place.step.wait
                if wait.until is None:
                    fix = "add `until: +2d`, or a formula for a time"
                    message = "this wait has no end"
                    path = (*place.path, "wait")
                    yield document.finding("wait-without-until", message, path, at_key=True, fix=fix)
                if wait.event is not None and wait.foils is not None:
                    message = "a step waits for an event or for foils, not for both"
                    yield document.finding("wait-without-until", message, (*place.path, "wait", "foils"))
                if wait.where is not None and wait.event is None:
                    message = "`where` needs an event"
                    yield document.finding("wait-without-until", message, (*place.path, "wait", "where"))


@rule("no-serial")
def no_serial(model: Model) -> Iterator[Finding]:
    """A workflow that writes has a serial key, so that Runs with the same key do not write at the same time:
    `serial: {key: ...}`."""
    for document, workflow in model.documents_of(kinds.Workflow):
        if workflow.serial is None:
            for place in walk.steps(workflow):
                operation = model.operation_of(place.step)
                if operation is not None and operation.repeat != "read":
                    fix = "add `serial: {key: ..., hold: effects}`, such as the customer's id"
                    message = f"the workflow writes (`{operation.name}`) but has no serial key"
                    yield document.finding("no-serial", message, ("name",), fix=fix)
                    break


@rule("signal-state")
def signal_state(model: Model) -> Iterator[Finding]:
    """The business states in which a signal interrupts are states that a step `becomes`."""
    for document, workflow in model.documents_of(kinds.Workflow):
        states = {place.step.becomes for place in walk.steps(workflow) if place.step.becomes}
        for position, signal in enumerate(workflow.signals):
            for at, state in enumerate(signal.in_):
                if state not in states:
                    fix = f"one of {', '.join(sorted(states))}" if states else "add `becomes:` to a step"
                    message = f"no step has `becomes: {state}`"
                    yield document.finding("signal-state", message, ("signals", position, "in", at), fix=fix)


@rule("moved-step")
def moved_step(model: Model) -> Iterator[Finding]:
    """`moved` maps the former name of a step to its present name. No step may still have the former name."""
    for document, workflow in model.documents_of(kinds.Workflow):
        names = {place.name for place in walk.steps(workflow)}
        for old, new in workflow.moved.items():
            if new not in names:
                yield document.finding("moved-step", f"there is no step `{new}`", ("moved", old))
            if old in names:
                message = f"`{old}` is still the name of a step: a moved step must leave its former name"
                yield document.finding("moved-step", message, ("moved", old), at_key=True)
