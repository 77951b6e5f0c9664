"""The course of a workflow: outcomes, reactions, ways back, waits, and what can never be reached."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from counterfoil.core.errors import REFUSAL_CLASSES, ErrorClass
from counterfoil.core.finding import Finding
from counterfoil.model import kinds
from counterfoil.model.checks.registry import rule
from counterfoil.model.document import Document
from counterfoil.model.model import Model
from counterfoil.model.source import Path
from counterfoil.model.template import text_of
from counterfoil.model.walk import STEPS, BlockPlace, blocks, is_step, kind_of, steps, steps_of

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
"""What may become of a step beside going on, by its kind."""
SENT_AGAIN = frozenset({*map(str, REFUSAL_CLASSES), "stale", "unknown"})
"""Outcomes of a call after which the call may be sent again."""


def workflows(model: Model) -> Iterator[tuple[Document, kinds.Workflow]]:
    for document in model.documents:
        if isinstance(document.value, kinds.Workflow):
            yield document, document.value


@rule("unknown-outcome")
def unknown_outcome(model: Model) -> Iterator[Finding]:
    """The outcomes of a step are a closed set by its kind. check: failed; approve: rejected, expired, stale; wait:
    timeout; call: the error classes, unknown, accepted, stale; choose, each and emit have none."""
    for document, workflow in workflows(model):
        for place in steps(workflow):
            allowed = OUTCOMES[kind_of(place.step)]
            for outcome in place.step.outcomes:
                if outcome not in allowed:
                    message = f"a {kind_of(place.step)} step has no outcome `{outcome}`"
                    fix = f"one of {', '.join(sorted(allowed))}" if allowed else "remove it"
                    path = (*place.path, "outcomes", outcome)
                    yield document.finding("unknown-outcome", message, path, at_key=True, fix=fix)


@rule("wrong-reaction")
def wrong_reaction(model: Model) -> Iterator[Finding]:
    """A reaction fits the outcome: `retry` and `queue` send again, so they answer only what a call may meet; what was
    already done or accepted is never sent again; a failed check or a refusal of a person is never retried. An unknown
    outcome is not passed over by `continue` or `stop`, and never sent again where nothing can tell (`repeat: blind`)."""
    for document, workflow in workflows(model):
        policy = model.policies.get(workflow.failure)
        failure = policy.failure if policy else None
        for place in steps(workflow):
            for outcome, reaction in place.step.outcomes.items():
                path = (*place.path, "outcomes", outcome)
                yield from _unfit(document, outcome, reaction, path, kind_of(place.step))
            operation = model.operations.get(place.step.call) if isinstance(place.step, kinds.Call) else None
            if operation is not None and operation.repeat == "blind" and failure is not None:
                reaction = place.step.outcomes.get("unknown", failure.unknown)
                if verb_name(ending(reaction)) in ("retry", "queue"):
                    message = f"nothing can tell whether `{operation.name}` happened: an unknown outcome is not sent again"
                    yield document.finding(
                        "wrong-reaction",
                        message,
                        (*place.path, "call"),
                        fix="add `outcomes: {unknown: park}`",
                    )
    for document in model.documents:
        if isinstance(document.value, kinds.Policy) and document.value.failure:
            for name in document.value.failure.model_fields_set - {"retry", "queue", "case_within"}:
                reaction = getattr(document.value.failure, name)
                yield from _unfit(document, name, reaction, ("failure", name), "call")


def _unfit(document: Document, outcome: str, reaction: Any, path: Path, kind: str) -> Iterator[Finding]:
    verb = ending(reaction)
    name = verb_name(verb)
    if isinstance(reaction, list) and verb is not None:
        path = (*path, len(reaction) - 1)
    if name in ("retry", "queue") and (kind != "call" or outcome not in SENT_AGAIN):
        message = f"`{name}` cannot answer `{outcome}`: nothing is to be sent again"
        yield document.finding("wrong-reaction", message, path, fix="park, continue, undo, stop or again")
    if outcome == "unknown" and name in ("continue", "stop"):
        message = f"`{name}` leaves an effect behind of which nobody knows whether it happened"
        yield document.finding("wrong-reaction", message, path, fix="park it: a person looks and decides")
    if name == "retry" and isinstance(reaction, list):
        yield document.finding(
            "wrong-reaction", "`retry` stands alone: a list of steps does not come before it", path
        )


def ending(reaction: Any) -> Any:
    """The verb of a reaction, or None where a block simply goes on."""
    if isinstance(reaction, list):
        return reaction[-1] if reaction and not is_step(reaction[-1]) else None
    return reaction


def verb_name(verb: Any) -> str:
    if verb is None or isinstance(verb, str):
        return verb or ""
    return type(verb).__name__.removesuffix("Verb").lower()


@rule("unreachable")
def unreachable(model: Model) -> Iterator[Finding]:
    """No step is unreachable: nothing follows a verb such as `stop`, a branch after one that is always taken, a `when`
    that is always false, or a choice of which every branch ends."""
    for document, workflow in workflows(model):
        for block in blocks(workflow):
            yield from _after_the_end(document, block)
            for position, entry in enumerate(block.entries):
                path = (*block.path, position)
                if (
                    isinstance(entry, STEPS)
                    and entry.when is not None
                    and text_of(entry.when).strip() == "false"
                ):
                    yield document.finding(
                        "unreachable", "`when` is always false", (*path, "when"), fix="remove the step"
                    )
                if isinstance(entry, kinds.Choose):
                    yield from _branches(document, entry, path)


def _after_the_end(document: Document, block: BlockPlace) -> Iterator[Finding]:
    for position, entry in enumerate(block.entries[:-1]):
        if ends(entry):
            message = (
                "nothing after a verb is reached" if not is_step(entry) else "every branch before it ends"
            )
            yield document.finding(
                "unreachable",
                message,
                (*block.path, position + 1),
                fix="remove it, or move the verb to the end",
            )
            return


def _branches(document: Document, step: kinds.Choose, path: Path) -> Iterator[Finding]:
    for position, branch in enumerate(step.choose):
        text = text_of(branch.when).strip()
        if text == "false":
            yield document.finding(
                "unreachable", "this branch is never taken", (*path, "choose", position, "when")
            )
        if text == "true" and (position + 1 < len(step.choose) or step.otherwise is not None):
            after: Path = ("choose", position + 1) if position + 1 < len(step.choose) else ("otherwise",)
            yield document.finding("unreachable", "the branch before it is always taken", (*path, *after))
            return


def ends(entry: Any) -> bool:
    """Whether nothing after this entry of a block runs."""
    if not is_step(entry):
        return True
    if isinstance(entry, kinds.Choose) and entry.when is None and entry.otherwise is not None:
        return all(_block_ends(b) for b in (*(branch.then for branch in entry.choose), entry.otherwise))
    return False


def _block_ends(block: Any) -> bool:
    return bool(block) and any(ends(entry) and verb_name(entry) != "continue" for entry in block)


@rule("step-id")
def step_id(model: Model) -> Iterator[Finding]:
    """A step's id is unique in its workflow, and no fact, let or built-in name: formulas read the step's result by it."""
    for document, workflow in workflows(model):
        taken = {"event", "object", "input", "result", "run", "start", *workflow.facts, *workflow.let}
        seen: set[str] = set()
        for place in steps(workflow):
            name = place.step.id
            if name is not None and (name in taken or name in seen):
                what = (
                    "another step has this id"
                    if name in seen
                    else "formulas already read something else by this name"
                )
                yield document.finding("step-id", f"`{name}`: {what}", (*place.path, "id"))
            if name is not None:
                seen.add(name)
        for name in workflow.let:
            if name in workflow.facts or name in ("event", "object", "input", "result", "run"):
                yield document.finding(
                    "step-id", f"`{name}` is already the name of something else", ("let", name), at_key=True
                )


@rule("again-target")
def again_target(model: Model) -> Iterator[Finding]:
    """`again` goes back, to `start` or to a step with that id which comes before or holds it: a loop has one entry and
    a bound."""
    for document, workflow in workflows(model):
        seen: list[str] = []
        ids = {place.step.id for place in steps(workflow) if place.step.id}
        for block in (BlockPlace(workflow.steps, ("steps",), "", "steps"),):
            for place in steps_of(block):
                if place.step.id:
                    seen.append(place.step.id)
                for outcome, reaction in place.step.outcomes.items():
                    yield from _again(document, reaction, (*place.path, "outcomes", outcome), set(seen), ids)
                for inner in _own_blocks(place.step, place.path):
                    yield from _again(document, inner[0], inner[1], set(seen), ids)
        yield from _again(document, workflow.steps, ("steps",), ids, ids)
        for position, signal in enumerate(workflow.signals):
            yield from _again(document, signal.do, ("signals", position, "do"), ids, ids)
            for place in steps_of(BlockPlace(signal.do, ("signals", position, "do"), "signal", "signal")):
                for outcome, reaction in place.step.outcomes.items():
                    yield from _again(document, reaction, (*place.path, "outcomes", outcome), ids, ids)


def _own_blocks(step: Any, path: Path) -> Iterator[tuple[Any, Path]]:
    if isinstance(step, kinds.Choose):
        for position, branch in enumerate(step.choose):
            yield branch.then, (*path, "choose", position, "then")
        if step.otherwise is not None:
            yield step.otherwise, (*path, "otherwise")
    if isinstance(step, kinds.Each):
        yield step.do, (*path, "do")


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
    what = "comes later" if target in ids else "is no step of this workflow"
    yield document.finding("again-target", f"`again` to `{target}`, which {what}", (*path, "again", "from"))


@rule("wait-without-until")
def wait_without_until(model: Model) -> Iterator[Finding]:
    """Every wait has an end, `until`, so that nothing unfinished is without a future moment; and it waits for at most
    one thing: an event or foils."""
    for document, workflow in workflows(model):
        for place in steps(workflow):
            if isinstance(place.step, kinds.Wait):
                wait = place.step.wait
                if wait.until is None:
                    fix = "add `until: +2d`, or a formula that gives a time"
                    yield document.finding(
                        "wait-without-until",
                        "this waits for ever",
                        (*place.path, "wait"),
                        at_key=True,
                        fix=fix,
                    )
                if wait.event is not None and wait.foils is not None:
                    message = "a wait is for an event or for foils, not for both"
                    yield document.finding("wait-without-until", message, (*place.path, "wait", "foils"))
                if wait.where is not None and wait.event is None:
                    message = "`where` without an event"
                    yield document.finding("wait-without-until", message, (*place.path, "wait", "where"))


@rule("no-serial")
def no_serial(model: Model) -> Iterator[Finding]:
    """A workflow that writes says which runs must not act at once: `serial: {key: ...}`."""
    for document, workflow in workflows(model):
        if workflow.serial is None:
            for place in steps(workflow):
                operation = (
                    model.operations.get(place.step.call) if isinstance(place.step, kinds.Call) else None
                )
                if operation is not None and operation.repeat != "read":
                    fix = "add `serial: {key: ..., hold: effects}`, such as the customer's id"
                    message = f"the workflow writes (`{operation.name}`) and has no serial key"
                    yield document.finding("no-serial", message, ("name",), fix=fix)
                    break


@rule("signal-state")
def signal_state(model: Model) -> Iterator[Finding]:
    """The business states in which a signal interrupts are states that some step `becomes`."""
    for document, workflow in workflows(model):
        states = {place.step.becomes for place in steps(workflow) if place.step.becomes}
        for position, signal in enumerate(workflow.signals):
            for at, state in enumerate(signal.in_):
                if state not in states:
                    fix = f"one of {', '.join(sorted(states))}" if states else "add `becomes:` to a step"
                    message = f"no step becomes `{state}`"
                    yield document.finding("signal-state", message, ("signals", position, "in", at), fix=fix)
