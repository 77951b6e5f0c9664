"""Fields that each kind of document reads and fills: workflows, mappings, reconciliations and others."""

from __future__ import annotations

from typing import Any

from counterfoil.model import kinds
from counterfoil.model.compile.mapping import emits_of, emitted_types, lets_of
from counterfoil.model.compile.policy import limit_key
from counterfoil.model.documents import Documents
from counterfoil.model.field_usage import Contract, ContractPath, FieldUsage, Names, UsageReader
from counterfoil.model.fields import field_names
from counterfoil.model.template import is_duration
from counterfoil.model.walk import StepKind, failure_steps, steps


def usage_of(documents: Documents) -> FieldUsage:
    """Return the fields that the documents of a model use."""
    usage = FieldUsage()
    for document in documents.documents:
        reader = UsageReader(documents, usage, (document.kind, document.name))
        match document.value:
            case kinds.Workflow() as workflow:
                _workflow(reader, workflow)
            case kinds.Mapping() as mapping:
                _mapping(reader, mapping)
            case kinds.Reconciliation() as rule:
                _reconciliation(reader, rule)
            case kinds.Operation() as operation:
                for choice in operation.undo or []:
                    reader.undo(choice, operation.name, {})
            case kinds.Event() as event:
                _event(usage, event)
            case kinds.Policy(posting_date=kinds.PostingDate() as posting):
                for field in ("state", "start", "end"):
                    usage.read(("object", posting.periods), reader.user, (field,))
    return usage


def _event(usage: FieldUsage, event: kinds.Event) -> None:
    """Record the fields that admission itself reads: the key of the object, and the keys of usage."""
    user = ("event", event.name)
    if event.object:
        key = event.key or f"{event.object}_id"
        usage.read(("event", event.name), ("object", event.object), (key,))
    if event.usage:
        metered = event.usage
        for name in (metered.subscription, metered.meter, metered.quantity, metered.corrects):
            if name is not None:
                usage.read(("event", event.name), user, (name,))
        for name in (*metered.active, metered.starts, metered.ends):
            if name is not None and metered.object is not None:
                usage.read(("object", metered.object), user, (name,))


def asserted_fields(documents: Documents, event: str) -> tuple[str, frozenset[str]] | None:
    """Return the object whose head an event updates, and the fields that it asserts."""
    definition = documents.events[event]
    if definition.object is None or definition.object not in documents.objects:
        return None
    return definition.object, frozenset(documents.asserted_by_event(definition))


# ------------------------------------------------------------------ workflows


def _workflow(reader: UsageReader, workflow: kinds.Workflow) -> None:
    start = workflow.start
    names: dict[str, ContractPath | None] = {}
    if start.event:
        names["event"] = _event_path(start.event)
    elif start.due:
        names["object"] = ContractPath(("object", start.due.object))
    elif start.operation:
        names["input"] = ContractPath(("input", start.operation))
    for text in (start.key, start.when, start.due.at if start.due else None):
        reader.formula(text, names)
    if isinstance(start.generation, kinds.GenerationEvent):
        reader.formula(start.generation.where, {**names, "event": _event_path(start.generation.event)})
    else:
        reader.formula(start.generation, names)
    for name, fact in workflow.facts.items():
        reader.formula(fact.of, names)
        if fact.read:
            reader.template(fact.with_, names)
            reader.usage.give(("input", fact.read), reader.user, fact.with_)
        read = ContractPath(("output", fact.read)) if fact.read else None
        names[name] = ContractPath(("object", fact.head)) if fact.head else read
    for name, text in workflow.let.items():
        names[name] = reader.bind(text, names)
    for text in workflow.serial_keys:
        reader.formula(text, names)
    failure = reader.documents.failure_of(workflow)
    places = [*steps(workflow), *(failure_steps(failure) if failure is not None else ())]
    for place in places:
        names |= _result(place.step)
    for signal in workflow.signals:
        reader.formula(
            signal.where, {**names, "event": _event_path(signal.event), "start": names.get("event")}
        )
    variables: dict[str, ContractPath | None] = {}  # of `each`; distinguished by name only
    for place in places:
        step = place.step
        if isinstance(step, kinds.Each):
            variables[step.as_] = reader.bind(step.each, {**names, **variables})
        _step(reader, workflow, step, {**names, **variables})
    if start.operation:
        reader.template(workflow.returns, names)
        reader.usage.give(("output", start.operation), reader.user, workflow.returns)


def _event_path(event: str) -> ContractPath:
    return ContractPath(("event", event), envelope=True)


def _result(step: StepKind) -> dict[str, ContractPath | None]:
    if step.id is None:
        return {}
    if isinstance(step, kinds.Call):
        return {step.id: ContractPath(("output", step.call))}
    if isinstance(step, kinds.Wait) and step.wait.event:
        return {step.id: _event_path(step.wait.event)}
    return {step.id: None}


def _step(reader: UsageReader, workflow: kinds.Workflow, step: StepKind, names: Names) -> None:
    reader.formula(step.when, names)
    match step:
        case kinds.Check():
            reader.formula(step.check, names)
            reader.formula(step.once, names)
            if step.reserve is not None:
                reader.formula(step.reserve.amount, names)
                reader.formula(step.reserve.at_most, names)
                _limit(reader, workflow, step.reserve.limit, names)
        case kinds.Call():
            reader.template(step.with_, names)
            reader.usage.give(("input", step.call), reader.user, step.with_)
            for choice in step.undo or []:
                reader.undo(choice, step.call, names)
            if step.dates:
                reader.template([step.dates.document, step.dates.posting, step.dates.revenue], names)
        case kinds.Approve():
            _approve(reader, workflow, step, names)
        case kinds.Wait():
            if step.wait.event:
                names_of = {**names, "event": _event_path(step.wait.event), "start": names.get("event")}
                reader.formula(step.wait.where, names_of)
            if step.wait.until is not None and not is_duration(step.wait.until):
                reader.formula(str(step.wait.until), names)
        case kinds.Choose():
            for branch in step.choose:
                reader.formula(branch.when, names)
        case kinds.Each():
            reader.formula(step.key, names)
            reader.formula(step.until, names)
        case kinds.Emit():
            reader.template(step.data, names)
            reader.usage.give(("event", step.emit), reader.user, step.data)


def _approve(reader: UsageReader, workflow: kinds.Workflow, step: kinds.Approve, names: Names) -> None:
    for text in (step.amount, step.requester, *step.covers):
        reader.formula(text, names)
    policy = reader.documents.policies.get(step.approve)
    if policy is not None and policy.approval is not None and step.requester is None:
        of_policy = UsageReader(reader.documents, reader.usage, ("policy", policy.name))
        of_policy.formula(policy.approval.requester, names)
    _limit(reader, workflow, step.reserve or "", names)


def _limit(reader: UsageReader, workflow: kinds.Workflow, policy: str, names: Names) -> None:
    limit = reader.documents.policies.get(policy)
    if limit is not None and limit.limit is not None:
        of_limit = UsageReader(reader.documents, reader.usage, ("policy", limit.name))
        for text in limit.limit.per:
            of_limit.formula(limit_key(workflow, text), names)


# ------------------------------------------------------------------ mappings and foils


def _mapping(reader: UsageReader, mapping: kinds.Mapping) -> None:
    names: dict[str, ContractPath | None] = {}
    if mapping.to is not None:
        names["input"] = ContractPath(("input", mapping.to.operation))
    if mapping.cast is not None and mapping.ignore is None:
        _cast(reader, mapping.cast, names)
    if mapping.fetch is not None:
        reader.template(mapping.fetch.with_, names)
        reader.usage.give(("input", mapping.fetch.call), reader.user, mapping.fetch.with_)
        names["fetched"] = ContractPath(("output", mapping.fetch.call))
    for name, text in lets_of(mapping, reader.documents):
        names[name] = reader.bind(text, names)
    emitted: ContractPath | None = None
    for emit in emits_of(mapping):
        formulas = (emit.when, emit.key, emit.version, emit.identity, emit.occurred, emit.effective)
        for source in (*formulas, emit.legal_entity, *emit.links.values()):
            reader.formula(source, names)
        reader.template(emit.data, names)
        for event in emitted_types(emit.type):
            reader.usage.give(("event", event), reader.user, emit.data)
            emitted = ContractPath(("event", event))
    reader.template(mapping.with_ or {}, names)
    reader.formula(mapping.assert_, {**names, "data": emitted})
    reader.template(mapping.returns.result, names)
    for text in mapping.returns.links.values():
        reader.formula(text, names)
    if mapping.to is not None:
        for field in mapping.returns.compare:
            for side in ("input", "output"):
                reader.usage.read((side, mapping.to.operation), reader.user, (field,))
        if mapping.returns.result:
            reader.usage.give(("output", mapping.to.operation), reader.user, mapping.returns.result)


def _cast(reader: UsageReader, cast: kinds.Cast, names: dict[str, ContractPath | None]) -> None:
    """Bind the names of a cast, and record the fields that it copies because both versions share them."""
    documents = reader.documents
    if cast.from_ in documents.events and cast.to in documents.events:
        names["data"] = ContractPath(("event", cast.from_))
        old_event, new_event = documents.events[cast.from_], documents.events[cast.to]
        _read_copied(reader, ("event", cast.from_), old_event.data, new_event.data)
    if cast.from_ in documents.operations and cast.to in documents.operations:
        old, new = documents.operations[cast.from_], documents.operations[cast.to]
        names |= {"input": ContractPath(("input", cast.from_)), "result": ContractPath(("output", cast.to))}
        _read_copied(reader, ("input", cast.from_), old.input, new.input)
        _read_copied(reader, ("output", cast.to), new.output, old.output)


def _read_copied(reader: UsageReader, contract: Contract, fields: Any, target: Any) -> None:
    for name in set(field_names(fields)) & set(field_names(target)):
        reader.usage.read(contract, reader.user, (name,))


def _reconciliation(reader: UsageReader, rule: kinds.Reconciliation) -> None:
    for _, entry in rule.entries:
        names: dict[str, ContractPath | None] = {}
        if entry.event:
            names["event"] = ContractPath(("event", entry.event), (), True)
        if isinstance(entry, kinds.AssertRule) and entry.operation:
            names["input"] = ContractPath(("input", entry.operation))
            names["result"] = ContractPath(("output", entry.operation))
        if entry.each is not None:
            names["item"] = reader.bind(entry.each, names)
        for field, text in entry.formulas.items():
            if field != "each":
                reader.formula(text, names)
        if rule.key is not None and entry.key is None:
            reader.formula(rule.key, names)
    for account in rule.control_accounts.values():
        for _, balance in account.balances:
            reader.usage.read(("output", balance.read), reader.user, ("balances",))
