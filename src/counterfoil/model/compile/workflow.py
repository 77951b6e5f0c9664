"""Kinds to definitions: steps, reactions, policies, mappings and foil rules, ready for the rules to read."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from counterfoil.core.errors import Misconfigured
from counterfoil.core.money import Money
from counterfoil.expr import Expression, ExpressionError
from counterfoil.model import definition as d
from counterfoil.model import kinds
from counterfoil.model.fields import each_field
from counterfoil.model.kinds import seconds
from counterfoil.model.template import (
    compile_each,
    compile_template,
    formula,
    formulas,
    optional,
    record,
    text_of,
    until,
)
from counterfoil.model.walk import STEPS, BlockPlace, StepKind, step_name, steps, steps_of

if TYPE_CHECKING:
    from counterfoil.model.model import Model

POSTING_RULES = ("reject", "first_open", "current", "hold_for_reopen", "accrue_and_true_up")
_WORD = re.compile(r"[a-z_][a-z0-9_]*")
_ENTITY = re.compile(r"(?<![\w.'])entity\b(?!')")
_Choices = tuple[d.UndoChoice, ...]
T = TypeVar("T")


def compile_workflow(model: Model, workflow: kinds.Workflow, digest: str) -> d.Definition:
    """A workflow with its closure. Raises Misconfigured when something it names is not there or does not parse;
    `check` says the same with its place."""
    try:
        return _Workflow(model, workflow).definition(digest)
    except (KeyError, ExpressionError) as error:
        raise Misconfigured(f"workflow {workflow.name} cannot be compiled: {error}; run check") from error


def retry_policy(retry: kinds.Retry) -> d.RetryPolicy:
    return d.RetryPolicy(seconds(retry.first), seconds(retry.cap), retry.attempts, retry.then)


def queue_policy(queue: kinds.Queue) -> d.QueuePolicy:
    return d.QueuePolicy(seconds(queue.every), queue.wake, seconds(queue.until), queue.then)


def keys_of(where: Expression | None, root: str = "event") -> tuple[tuple[str, Expression], ...]:
    """Conjuncts of `where` that pin a field of the event's data to a value that does not read the event."""
    if where is None:
        return ()
    return tuple(
        (path.removeprefix("data."), value)
        for path, value in where.equalities(root)
        if path.startswith("data.")
    )


class _Workflow:
    def __init__(self, model: Model, workflow: kinds.Workflow) -> None:
        self.model = model
        self.workflow = workflow
        policy = model.policies[workflow.failure]
        if policy.failure is None:
            raise KeyError(workflow.failure)
        self.failure_kind = policy.failure
        self.retry = retry_policy(policy.failure.retry)
        self.queue = queue_policy(policy.failure.queue)
        self.operations: dict[str, d.OperationDefinition] = {}
        self.approvals: dict[str, d.ApprovalPolicy] = {}
        self.limits: dict[str, d.LimitPolicy] = {}
        self.postings: dict[str, d.PostingPolicy] = {}

    def definition(self, digest: str) -> d.Definition:
        w = self.workflow
        facts = tuple(
            self.fact(*named) for named in in_order(w.facts.items(), lambda f: f[0], lambda f: _read_by(f[1]))
        )
        steps = self.block(w.steps, "")
        signals = tuple(self.signal(signal, position) for position, signal in enumerate(w.signals))
        failure = self.failure()
        serial = (
            [] if w.serial is None else w.serial.key if isinstance(w.serial.key, list) else [w.serial.key]
        )
        names = {n for name in self.operations for n in (name, *self.reached(name))}
        foils = [f for name in sorted(names) for f in self.model.foils_by_operation(name)]
        return d.Definition(
            name=w.name,
            digest=digest,
            start=self.start(),
            serial=tuple(formula(key) for key in serial),
            facts=facts,
            let=_lets(w.let.items()),
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
        )

    def casts(self) -> dict[tuple[str, str], tuple[d.CastDefinition, ...]]:
        """How the other versions of what this workflow waits for reach it."""
        found = {}
        for event in waited_for(self.model, self.workflow):
            for other in self.model.versions.others(event):
                path = self.model.versions.path(other, event)
                if path is not None:
                    found[other, event] = path
        for name in self.operations:
            for other in self.reached(name):
                found[name, other] = self.model.versions.path(name, other) or ()
        return found

    def reached(self, operation: str) -> list[str]:
        """Other versions of a call whose foils it writes: those to which casts of its input lead."""
        versions = self.model.versions
        return [o for o in versions.others(operation) if versions.path(operation, o) is not None]

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
        given = record(fact.with_) if fact.with_ or source == "read" else None
        return d.Fact(name, source, target, optional(fact.of), given, fact.recheck is not None)

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
                return d.Check(check=formula(step.check), once=optional(step.once), **base)
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

    def undo(self, choices: list[kinds.UndoCall], undone: str) -> _Choices:
        for choice in choices:
            self.operation(choice.call)
        return undo_choices(self.model, choices, undone)

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

    # -------------------------------------------------------------- what steps name

    def failure(self) -> d.FailurePolicy:
        policy = self.failure_kind
        reactions = {
            name: self.reaction(getattr(policy, name), f"failure/{name}") for name in FAILURE_OUTCOMES
        }
        return d.FailurePolicy(
            self.workflow.failure, reactions, self.retry, self.queue, seconds(policy.case_within)
        )

    def operation(self, name: str) -> d.OperationDefinition:
        if name not in self.operations:
            compiled = compile_operation(self.model, self.model.operations[name])
            self.operations[name] = compiled
            for choice in compiled.undo:
                self.operation(choice.operation)
        return self.operations[name]

    def approval(self, name: str) -> d.ApprovalPolicy:
        if name not in self.approvals:
            policy = self.model.policies[name]
            if policy.approval is None:
                raise KeyError(name)
            self.approvals[name] = compile_approval(
                policy, policy.approval, self.model.digest_of("policy", name)
            )
        return self.approvals[name]

    def limit(self, name: str) -> None:
        if name in self.limits:
            return
        limit = self.model.policies[name].limit
        if limit is None:
            raise KeyError(name)
        currency = limit.currency if isinstance(limit.currency, str) else limit.currency.to
        self.limits[name] = d.LimitPolicy(
            name=name,
            per=tuple(formula(limit_key(self.workflow, text)) for text in limit.per),
            currency=currency,
            at_most=None if limit.at_most is None else Money.from_major(limit.at_most, currency).minor,
        )

    def posting(self, name: str) -> d.PostingPolicy:
        policy = self.model.policies.get(name)
        dates = policy.posting_date if policy else None
        if dates is not None:
            return d.PostingPolicy(name, dates.rule, dates.periods, dates.document)
        if name not in POSTING_RULES:
            raise KeyError(name)
        return d.PostingPolicy(name, name, "period", "keep")


def waited_for(model: Model, workflow: kinds.Workflow) -> list[str]:
    """Events that a Run of this workflow waits for, or is interrupted or woken by."""
    failure = model.policies[workflow.failure].failure
    found = [signal.event for signal in workflow.signals]
    if failure is not None and failure.queue.wake is not None:
        found.append(failure.queue.wake)
    places = list(steps(workflow))
    if failure is not None:
        reactions = [(name, getattr(failure, name)) for name in FAILURE_OUTCOMES]
        for name, reaction in reactions:
            if isinstance(reaction, list):
                places += steps_of(BlockPlace(reaction, (), name, name))
    found += [p.step.wait.event for p in places if isinstance(p.step, kinds.Wait) and p.step.wait.event]
    return sorted({event for event in found if event in model.events})


FAILURE_OUTCOMES = tuple(n for n in kinds.Failure.model_fields if n not in ("retry", "queue", "case_within"))


def limit_key(workflow: kinds.Workflow, text: str) -> str:
    """What a limit counts by, in this workflow: a bare word that names nothing here is a field of what began it.

    So `per: [customer_id, quarter]` serves every workflow whose event has a `customer_id`.
    """
    word = text_of(text)
    known = {"run", "event", "object", "input", "month", "quarter", *workflow.facts, *workflow.let}
    if not _WORD.fullmatch(word) or word in known:
        return word
    start = workflow.start
    return f"{'event.data' if start.event else 'object' if start.due else 'input'}.{word}"


def compile_approval(policy: kinds.Policy, approval: kinds.Approval, digest: str) -> d.ApprovalPolicy:
    tiers = (
        d.ApprovalTier(
            None if tier.up_to is None else Money.from_major(tier.up_to, approval.currency).minor,
            tier.automatic,
            tuple(tier.roles),
            tier.quorum,
        )
        for tier in approval.matrix
    )
    return d.ApprovalPolicy(
        name=policy.name,
        currency=approval.currency,
        rates=approval.rates,
        tiers=tuple(tiers),
        requester=formula(approval.requester),
        expires=seconds(approval.expires),
        digest=digest,
        owners=tuple(policy.owners("exceptions")),
    )


def compile_operation(model: Model, operation: kinds.Operation) -> d.OperationDefinition:
    return d.OperationDefinition(
        name=operation.name,
        system=operation.system,
        repeat=operation.repeat,
        horizon=seconds(operation.horizon),
        retention=seconds(operation.retention) if operation.retention else 0.0,
        timeout=seconds(operation.timeout),
        undo=undo_choices(model, operation.undo or [], operation.name),
        irreversible=operation.irreversible,
        executor=operation.executor,
        input_schema=model.schema_of_operation(operation.name, "input"),
        output_schema=model.schema_of_operation(operation.name, "output"),
    )


def undo_choices(model: Model, choices: list[kinds.UndoCall], undone: str) -> _Choices:
    """Undo choices of a call of the operation `undone`. Their formulas read also its `input` and `result`."""
    return tuple(
        d.UndoChoice(when=optional(c.when), operation=c.call, input=record(undo_input(model, c, undone)))
        for c in choices
    )


def undo_input(model: Model, choice: kinds.UndoCall, undone: str) -> Mapping[str, Any]:
    """What the undo is given: `with` as written; without it every field of its input that the undone call's
    result, else its input, has by the same name."""
    if choice.with_:
        return choice.with_
    operation = model.operations[undone]
    have = {name: "input" for name, optional_, _ in each_field(operation.input) if not optional_}
    have |= {name: "result" for name, optional_, _ in each_field(operation.output) if not optional_}
    wanted = [name for name, _, _ in each_field(model.operations[choice.call].input)]
    return {name: f"={have[name]}.{name}" for name in wanted if name in have}


# ------------------------------------------------------------------ names that build on each other


def in_order(
    things: Iterable[T], name: Callable[[T], str], reads: Callable[[T], Collection[str]]
) -> tuple[T, ...]:
    """Things in an order in which each comes after those that it reads, else as they are.

    The canonical form of a document sorts its keys, so what depends on the order of keys would not come back from it.
    """
    left = {name(thing): thing for thing in things}
    ordered: list[T] = []
    while left:
        free = [n for n, thing in left.items() if not any(r in left and r != n for r in reads(thing))]
        for n in free[:1] or list(left):  # a circle is left as it is: no order makes it good
            ordered.append(left.pop(n))
    return tuple(ordered)


def lets_in_order(lets: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Lets, each after those that it reads. One that does not parse reads nothing: `check` says so."""
    return in_order(lets, lambda let: let[0], lambda let: _names(let[1]))


def facts_in_order(facts: Iterable[tuple[str, kinds.Fact]]) -> tuple[tuple[str, kinds.Fact], ...]:
    """Facts, each after those that it reads."""

    def reads(fact: tuple[str, kinds.Fact]) -> set[str]:
        texts = [text for text, _ in formulas(fact[1].with_)]
        return {name for text in (*texts, fact[1].of or "") for name in _names(text)}

    return in_order(facts, lambda fact: fact[0], reads)


def _names(text: str) -> Collection[str]:
    try:
        return formula(text).names if text else ()
    except ExpressionError:
        return ()


def _lets(lets: Iterable[tuple[str, str]]) -> tuple[tuple[str, Expression], ...]:
    compiled = [(name, formula(text)) for name, text in lets]
    return in_order(compiled, lambda let: let[0], lambda let: let[1].names)


def _read_by(fact: kinds.Fact) -> set[str]:
    texts = [text for text, _ in formulas(fact.with_)] + ([fact.of] if fact.of is not None else [])
    return {name for text in texts for name in formula(text).names}


# ------------------------------------------------------------------ mappings and foils


def compile_inbound(
    mapping: kinds.Mapping, owners: tuple[str, ...], has_entities: bool, tells_as: str
) -> d.InboundMapping:
    assert mapping.from_ is not None
    source = mapping.from_
    types = source.type if isinstance(source.type, list) else [source.type]
    emits = emits_of(mapping)
    return d.InboundMapping(
        name=mapping.name,
        system=source.system,
        types=tuple(types),
        when=optional(source.when),
        ignore=mapping.ignore,
        fetch_operation=mapping.fetch.call if mapping.fetch else None,
        fetch_input=record(mapping.fetch.with_) if mapping.fetch else None,
        let=_lets(lets_of(mapping, has_entities)),
        emits=tuple(_emit(emit) for emit in emits),
        assertion=optional(mapping.assert_),
        owners=owners,
        tells_as=tells_as,
    )


def emits_of(mapping: kinds.Mapping) -> list[kinds.EmitMapping]:
    emit = mapping.emit
    return [] if emit is None else emit if isinstance(emit, list) else [emit]


def lets_of(mapping: kinds.Mapping, has_entities: bool) -> list[tuple[str, str]]:
    """The lets of a mapping. `entity` is given where legal entities are objects: the head of the one that the
    first emitted fact belongs to, so that its zone and currency need not be looked up by hand."""
    lets = list(mapping.let.items())
    if not has_entities or "entity" in mapping.let or not _reads_entity(mapping):
        return lets
    for emit in emits_of(mapping):
        entity = emit.legal_entity or emit.data.get("legal_entity")
        if not isinstance(entity, str):
            continue
        literal = emit.legal_entity is None and not entity.startswith("=")
        text = f"'{entity}'" if literal else text_of(entity)
        after = [i for i, (name, _) in enumerate(lets) if re.search(rf"\b{re.escape(name)}\b", text)]
        lets.insert(max(after, default=-1) + 1, ("entity", f"head('legal_entity', {text})"))
        break
    return lets


def _reads_entity(mapping: kinds.Mapping) -> bool:
    data = mapping.model_dump(include={"let", "emit", "assert_"})
    return any(_ENTITY.search(text) for text in _texts(data))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _emit(emit: kinds.EmitMapping) -> d.EmitDefinition:
    return d.EmitDefinition(
        type=compile_template(emit.type),
        when=optional(emit.when),
        key=formula(emit.key),
        version=optional(emit.version),
        identity=optional(emit.identity),
        occurred=optional(emit.occurred),
        effective=optional(emit.effective),
        legal_entity=optional(emit.legal_entity),
        data=record(emit.data),
        links={name: formula(text) for name, text in emit.links.items()},
    )


def compile_outbound(mapping: kinds.Mapping, system: str) -> d.OutboundMapping:
    assert mapping.to is not None
    returns = mapping.returns
    return d.OutboundMapping(
        name=mapping.name,
        operation=mapping.to.operation,
        system=system,
        let=_lets(mapping.let.items()),
        input=record(mapping.with_ or {}),
        assertion=optional(mapping.assert_),
        result=record(returns.result) if returns.result else None,
        links={name: formula(text) for name, text in returns.links.items()},
        compare=tuple(returns.compare),
    )


def compile_foil(rule: kinds.Reconciliation, owners: tuple[str, ...]) -> d.FoilDefinition:
    foil, observe = rule.foil, rule.observe
    return d.FoilDefinition(
        name=rule.name,
        object=rule.object,
        left=rule.left,
        right=rule.right,
        event=foil.event,
        operation=foil.operation,
        when=optional(foil.when),
        key=formula(foil.key),
        legs={name: formula(text) for name, text in foil.legs.items()},
        due=seconds(foil.due),
        observe_event=observe.event,
        observe_when=optional(observe.when),
        observe_key=formula(observe.key),
        observe_legs={name: formula(text) for name, text in observe.legs.items()},
        tolerance=rule.tolerance,
        exact=rule.shape == "1:1",
        owners=owners,
    )
