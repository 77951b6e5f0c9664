"""Workflows compiled: start, facts, signals, steps and reactions, with the operations and policies they use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from counterfoil.core.errors import Misconfigured
from counterfoil.core.money import Money
from counterfoil.expr import Expression, ExpressionError
from counterfoil.model import definition as d
from counterfoil.model import kinds
from counterfoil.model.compile.operation import compile_operation, undo_choices
from counterfoil.model.compile.policy import (
    FAILURE_OUTCOMES,
    POSTING_RULES,
    compile_approval,
    limit_key,
    queue_policy,
    retry_policy,
)
from counterfoil.model.document_definition import FoilDefinition
from counterfoil.model.documents import Documents
from counterfoil.model.envelope import EnvelopeRules
from counterfoil.model.kinds import seconds
from counterfoil.model.template import (
    compile_each,
    compile_lets,
    compile_template,
    facts_in_order,
    formula,
    optional,
    record,
    until,
)
from counterfoil.model.versions import ContractVersions
from counterfoil.model.walk import STEPS, StepKind, failure_steps, step_name, steps

FoilsOf = Callable[[str], list[FoilDefinition]]


def compile_workflow(
    documents: Documents, versions: ContractVersions, foils_of: FoilsOf, workflow: kinds.Workflow, digest: str
) -> d.Definition:
    """Compile a workflow with all that it uses; `foils_of` gives the foil rules of an operation.

    Raises Misconfigured when a document that it names is missing or does not parse. `check` reports the place.
    """
    try:
        return _WorkflowCompiler(documents, versions, foils_of, workflow).definition(digest)
    except (KeyError, ExpressionError) as error:
        raise Misconfigured(f"workflow {workflow.name} cannot be compiled: {error}; run check") from error


def keys_of(where: Expression | None, root: str = "event") -> tuple[tuple[str, Expression], ...]:
    """Return the fields of the event's data that `where` equates with a value which does not read the event."""
    if where is None:
        return ()
    values = where.equalities(root)
    return tuple((path.removeprefix("data."), v) for path, v in values if path.startswith("data."))


class _WorkflowCompiler:
    def __init__(
        self, documents: Documents, versions: ContractVersions, foils_of: FoilsOf, workflow: kinds.Workflow
    ) -> None:
        self.documents = documents
        self.versions = versions
        self.foils_of = foils_of
        self.workflow = workflow
        policy = documents.policies[workflow.failure]
        if policy.failure is None:
            raise KeyError(workflow.failure)
        self.failure_kind = policy.failure
        self.retry = retry_policy(policy.failure.retry)
        self.queue = queue_policy(policy.failure.queue)
        self.operations: dict[str, d.OperationDefinition] = {}
        self.approvals: dict[str, d.ApprovalPolicy] = {}
        self.limits: dict[str, d.LimitPolicy] = {}
        self.postings: dict[str, d.PostingPolicy] = {}
        self.events: dict[str, None] = {"event": None}

    def definition(self, digest: str) -> d.Definition:
        w = self.workflow
        facts = tuple(self.fact(name, fact) for name, fact in facts_in_order(w.facts.items()))
        steps = self.block(w.steps, "")
        signals = tuple(self.signal(signal, position) for position, signal in enumerate(w.signals))
        failure = self.failure()
        names = {n for name in self.operations for n in (name, *self.reached(name))}
        foils = [f for name in sorted(names) for f in self.foils_of(name)]
        return d.Definition(
            name=w.name,
            digest=digest,
            start=self.start(),
            serial=tuple(map(formula, w.serial_keys)),
            facts=facts,
            let=compile_lets(w.let.items()),
            signals=signals,
            steps=steps,
            failure=failure,
            deadline=seconds(w.deadline) if w.deadline else None,
            approvals=self.approvals,
            limits=self.limits,
            postings=self.postings,
            operations=self.operations,
            foils=tuple(foils),
            owners=tuple(w.owners("definition")),
            exception_owners=tuple(w.owners("exceptions")),
            lane=w.lane,
            returns=record(w.returns),
            casts=self.casts(),
            invariants=tuple(d.Invariant(i.name, i.moment, formula(i.formula)) for i in w.invariants),
            events=tuple(self.events),
            envelope=EnvelopeRules.of(self.documents),
        )

    def casts(self) -> dict[tuple[str, str], tuple[d.CastDefinition, ...]]:
        """Return the casts by which other versions of an awaited event, and of a called operation, reach this one."""
        casts = {}
        for event in awaited_events(self.documents, self.workflow):
            for other in self.versions.others(event):
                path = self.versions.path(other, event)
                if path is not None:
                    casts[other, event] = path
        for name in self.operations:
            for other in self.reached(name):
                casts[name, other] = self.versions.path(name, other) or ()
        return casts

    def reached(self, operation: str) -> list[str]:
        """Return the other versions of an operation whose foils its call writes: those to which casts lead."""
        return [o for o in self.versions.others(operation) if self.versions.path(operation, o) is not None]

    def start(self) -> d.Start:
        s = self.workflow.start
        generation = s.generation if isinstance(s.generation, kinds.GenerationEvent) else None
        return d.Start(
            event=s.event,
            due_object=s.due.object if s.due else None,
            due_at=formula(s.due.at) if s.due else None,
            operation=s.operation,
            when=optional(s.when),
            key=formula(s.key),
            generation=formula(s.generation) if isinstance(s.generation, str) else None,
            generation_event=generation.event if generation else None,
            generation_where=formula(generation.where) if generation else None,
        )

    def fact(self, name: str, fact: kinds.Fact) -> d.Fact:
        sources = {s: getattr(fact, s) for s in ("head", "xref", "limit", "period", "read")}
        source, target = next((s, t) for s, t in sources.items() if t is not None)
        if source == "read":
            self.operation(target)
        if source == "limit":
            self.limit(target)
        arguments = record(fact.with_) if fact.with_ or source == "read" else None
        return d.Fact(name, source, target, optional(fact.of), arguments, fact.recheck is not None)

    def signal(self, signal: kinds.Signal, position: int) -> d.Signal:
        where = optional(signal.where)
        do = self.block(signal.do, f"signal{position}")
        return d.Signal(signal.event, where, keys_of(where), frozenset(signal.in_), do)

    # -------------------------------------------------------------- steps

    def block(self, entries: kinds.Block, prefix: str) -> d.Block:
        steps: list[d.Step] = []
        for position, entry in enumerate(entries):
            if not isinstance(entry, STEPS):
                return d.Block(tuple(steps), self.verb(entry))
            steps.append(self.step(entry, step_name(entry, position, prefix)))
        return d.Block(tuple(steps))

    def verb(self, verb: Any) -> d.Verb:
        if isinstance(verb, kinds.StopVerb):
            return d.Verb("stop", state=verb.stop)
        if isinstance(verb, kinds.AgainVerb):
            return d.Verb("again", target=verb.again.from_, at_most=verb.again.at_most)
        if isinstance(verb, kinds.RetryVerb):
            return d.Verb("retry", retry=retry_policy(verb.retry))
        if isinstance(verb, kinds.QueueVerb):
            return d.Verb("queue", queue=queue_policy(verb.queue))
        return d.Verb(
            str(verb),
            retry=self.retry if verb == "retry" else None,
            queue=self.queue if verb == "queue" else None,
        )

    def reaction(self, reaction: Any, prefix: str) -> d.Reaction:
        return self.block(reaction, prefix) if isinstance(reaction, list) else self.verb(reaction)

    def step(self, step: StepKind, path: str) -> d.Step:
        base: dict[str, Any] = {
            "path": path,
            "id": step.id,
            "when": optional(step.when),
            "becomes": step.becomes,
            "outcomes": {name: self.reaction(r, f"{path}/{name}") for name, r in step.outcomes.items()},
        }
        match step:
            case kinds.Check():
                return d.Check(
                    check=formula(step.check),
                    once=optional(step.once),
                    reserve=self.reservation(step.reserve),
                    doc=step.doc,
                    **base,
                )
            case kinds.Call():
                return self.call(step, base)
            case kinds.Approve():
                return self.approve(step, base)
            case kinds.Wait():
                return self.wait(step.wait, base)
            case kinds.Choose():
                return self.choose(step, path, base)
            case kinds.Each():
                return d.Each(
                    items=compile_each(step.each),
                    name=step.as_,
                    key=optional(step.key),
                    until=optional(step.until),
                    on_item=step.on_item,
                    do=self.block(step.do, f"{path}/do"),
                    **base,
                )
            case kinds.Emit():
                return d.Emit(type=step.emit, data=record(step.data), **base)

    def call(self, step: kinds.Call, base: dict[str, Any]) -> d.Call:
        operation = self.operation(step.call)
        undo = operation.undo if step.undo is None else self.undo(step.undo, step.call)
        dates = step.dates or kinds.Dates()
        posting = dates.posting
        if isinstance(posting, str) and not posting.startswith("="):
            self.postings[posting] = self.posting(posting)
        return d.Call(
            operation=step.call,
            input=record(step.with_),
            undo=() if step.irreversible else undo,
            irreversible=step.irreversible or (None if step.undo else operation.irreversible),
            document=None if dates.document is None else compile_template(dates.document),
            posting=None if posting is None else compile_template(posting),
            revenue=None if dates.revenue is None else compile_template(dates.revenue),
            **base,
        )

    def undo(self, choices: list[kinds.UndoCall], undone: str) -> tuple[d.UndoChoice, ...]:
        for choice in choices:
            self.operation(choice.call)
        return undo_choices(self.documents, choices, undone)

    def reservation(self, share: kinds.CheckReservation | None) -> d.LimitShare | None:
        if share is None:
            return None
        self.limit(share.limit)
        return d.LimitShare(share.limit, formula(share.amount), formula(share.at_most))

    def approve(self, step: kinds.Approve, base: dict[str, Any]) -> d.Approve:
        policy = self.approval(step.approve)
        if step.reserve is not None:
            self.limit(step.reserve)
        return d.Approve(
            policy=step.approve,
            amount=optional(step.amount),
            reserve=step.reserve,
            covers=tuple(formula(text) for text in step.covers),
            requester=policy.requester if step.requester is None else formula(step.requester),
            **base,
        )

    def wait(self, spec: kinds.WaitSpec, base: dict[str, Any]) -> d.Wait:
        if spec.event is not None and base["id"] is not None:
            self.events[base["id"]] = None
        where = optional(spec.where)
        foils = ("all",) if spec.foils == "all" else None if spec.foils is None else tuple(spec.foils)
        return d.Wait(
            event=spec.event, where=where, keys=keys_of(where), foils=foils, until=until(spec.until), **base
        )

    def choose(self, step: kinds.Choose, path: str, base: dict[str, Any]) -> d.Choose:
        return d.Choose(
            branches=tuple(
                (formula(branch.when), self.block(branch.then, f"{path}/then{position}"))
                for position, branch in enumerate(step.choose)
            ),
            otherwise=None if step.otherwise is None else self.block(step.otherwise, f"{path}/otherwise"),
            **base,
        )

    # -------------------------------------------------------------- operations and policies

    def failure(self) -> d.FailurePolicy:
        policy = self.failure_kind
        written = {name: getattr(policy, name) for name in FAILURE_OUTCOMES}
        reactions = {name: self.reaction(part, f"failure/{name}") for name, part in written.items()}
        within = seconds(policy.case_within)
        return d.FailurePolicy(self.workflow.failure, reactions, self.retry, self.queue, within)

    def operation(self, name: str) -> d.OperationDefinition:
        if name not in self.operations:
            compiled = compile_operation(self.documents, self.documents.operations[name])
            self.operations[name] = compiled
            for choice in compiled.undo:
                self.operation(choice.operation)
        return self.operations[name]

    def approval(self, name: str) -> d.ApprovalPolicy:
        if name not in self.approvals:
            policy = self.documents.policies[name]
            if policy.approval is None:
                raise KeyError(name)
            digest = self.documents.digest_of("policy", name)
            self.approvals[name] = compile_approval(policy, policy.approval, digest)
        return self.approvals[name]

    def limit(self, name: str) -> None:
        if name in self.limits:
            return
        limit = self.documents.policies[name].limit
        if limit is None:
            raise KeyError(name)
        currency = limit.currency if isinstance(limit.currency, str) else limit.currency.to
        self.limits[name] = d.LimitPolicy(
            name=name,
            per=tuple(formula(limit_key(self.workflow, text)) for text in limit.per),
            currency=currency,
            at_most=None if limit.at_most is None else Money.from_major(limit.at_most, currency).minor,
            negative=bool(limit.negative),
        )

    def posting(self, name: str) -> d.PostingPolicy:
        policy = self.documents.policies.get(name)
        dates = policy.posting_date if policy else None
        if dates is not None:
            return d.PostingPolicy(name, dates.rule, dates.periods, dates.document)
        if name not in POSTING_RULES:
            raise KeyError(name)
        return d.PostingPolicy(name, name, "period", "keep")


def awaited_events(documents: Documents, workflow: kinds.Workflow) -> list[str]:
    """Return the events that a Run of this workflow waits for, or that interrupt or wake it."""
    failure = documents.policies[workflow.failure].failure
    events = [signal.event for signal in workflow.signals]
    if failure is not None and failure.queue.wake is not None:
        events.append(failure.queue.wake)
    places = list(steps(workflow))
    if failure is not None:
        places += failure_steps(failure)
    events += [p.step.wait.event for p in places if isinstance(p.step, kinds.Wait) and p.step.wait.event]
    return sorted({event for event in events if event in documents.events})
