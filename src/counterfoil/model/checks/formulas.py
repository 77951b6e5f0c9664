"""Formulas and templates of a Model, checked against the names and schemas of their place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from counterfoil.core.finding import Finding
from counterfoil.expr.types import DYN, fits, type_of
from counterfoil.expr.types import field as field_type
from counterfoil.model import evidence, kinds, scope
from counterfoil.model.checks.registry import rule
from counterfoil.model.compile.mapping import emits_with_places, emitted_types, lets_of
from counterfoil.model.compile.operation import undo_input
from counterfoil.model.compile.policy import limit_key
from counterfoil.model.document import Document
from counterfoil.model.entity_names import ENTITY
from counterfoil.model.fields import DATE, TIMESTAMP, object_schema
from counterfoil.model.model import Model
from counterfoil.model.source import Path
from counterfoil.model.template import facts_in_order, is_duration, is_formula, lets_in_order
from counterfoil.model.typing import BOOL, MOMENT, MONEY, STRING, Roots, Typing, roots
from counterfoil.model.walk import STEPS, StepKind, failure_steps

_KEY = type_of("string", "int")
_DATE = type_of("date", "timestamp")
_LEG_TYPES = {
    "sum": type_of("money", "int"),
    "equal": type_of("string", "int", "money"),
    "at_least": type_of("int"),
}


@rule(
    "formula",
    unknown_name="A formula reads only names of its place: the Run, its start, facts, lets and the results of steps by id; "
    "and only fields of their schemas.",
    input_mismatch="`with` of a call, a fact, a fetch or an undo fits the operation's input: every required field, "
    "no unknown field, and each with the field's type.",
    event_mismatch="The data that a mapping or a step emits fits the event's schema: every required field, no unknown "
    "field, and each with the field's type.",
    result_mismatch="`returns.result` of a mapping fits the operation's output, and `compare` names fields that the "
    "output has; `returns` of a workflow fits the output of the operation that starts it.",
)
def formula(model: Model) -> Iterator[Finding]:
    """A formula parses, calls existing functions, and its types fit each other and its place: a predicate is a bool, an amount
    is money, an `until` is a moment."""
    for document in model.documents:
        typing = Typing(document)
        value = document.value
        match value:
            case kinds.Workflow():
                _WorkflowFormulas(model, typing, value).check()
            case kinds.Mapping():
                _mapping(model, typing, value)
            case kinds.Reconciliation():
                _reconciliation(model, typing, value)
            case kinds.Operation():
                _operation(model, typing, value)
            case kinds.Policy():
                _policy(typing, value)
            case kinds.Control():
                names = roots(evidence.schema_of(value.evidence.of))
                typing.formula(value.evidence.where, ("evidence", "where"), names, BOOL)
            case kinds.Alert():
                typing.formula(value.when, ("when",), _AnyNames())
        yield from typing.findings


def broken_formulas(model: Model, document: Document, workflow: kinds.Workflow) -> set[Path]:
    """Return the places of a workflow's formulas that cannot be judged further, because a name in them is unknown."""
    typing = Typing(document)
    _WorkflowFormulas(model, typing, workflow).check()
    return typing.broken


class _AnyNames(dict[str, Any]):
    """Names without known types: every name exists and may have any type."""

    def __contains__(self, name: object) -> bool:
        return True

    def __getitem__(self, name: str) -> Any:
        return DYN

    def get(self, name: str, default: Any = None) -> Any:
        return DYN


class _WorkflowFormulas:
    def __init__(self, model: Model, typing: Typing, workflow: kinds.Workflow) -> None:
        self.model = model
        self.t = typing
        self.workflow = workflow
        self.names: Roots = roots(scope.start_types(model, workflow))
        self.start_event = self.names.get("event", DYN)

    def check(self) -> None:
        w = self.workflow
        self._start()
        for name, fact in facts_in_order(w.facts.items()):
            self._fact(name, fact)
        for name, text in lets_in_order(w.let.items()):
            self.names[name] = self.t.formula(text, ("let", name), self.names)
        many = w.serial is not None and isinstance(w.serial.key, list)
        for position, text in enumerate(w.serial_keys):
            path: Path = ("serial", "key", position) if many else ("serial", "key")
            self.t.formula(text, path, self.names, type_of("string", "int", "list"))
        self._block(w.steps, ("steps",), {})
        # Signals read the results of every step.
        for position, signal in enumerate(w.signals):
            if signal.where is not None:
                names = self.names | {"event": self._event(signal.event), "start": self.start_event}
                self.t.formula(signal.where, ("signals", position, "where"), names, BOOL)
            self._block(signal.do, ("signals", position, "do"), {})
        self._returns()
        names = self.names | roots(scope.PROVEN)
        for position, invariant in enumerate(w.invariants):
            self.t.formula(invariant.formula, ("invariants", position, invariant.moment), names, BOOL)

    def _returns(self) -> None:
        """Check the answer of the operation that starts the workflow; it reads the results of every step."""
        returns = self.workflow.returns
        operation = self.model.operations.get(self.workflow.start.operation or "")
        if operation is not None and (returns or operation.output):
            schema = object_schema(operation.output)
            path: Path = ("returns",) if returns else ("start", "operation")
            self.t.record(returns, path, self.names, schema, "result-mismatch")

    def _event(self, name: str | None) -> Any:
        return roots({"event": scope.event_type(self.model, name)})["event"]

    def _start(self) -> None:
        start = self.workflow.start
        self.t.formula(start.key, ("start", "key"), self.names, _KEY)
        if start.when is not None:
            self.t.formula(start.when, ("start", "when"), self.names, BOOL)
        if start.due is not None:
            self.t.formula(start.due.at, ("start", "due", "at"), self.names, MOMENT)
        if isinstance(start.generation, str):
            self.t.formula(start.generation, ("start", "generation"), self.names, type_of("int"))
        elif start.generation is not None:
            names = self.names | {"event": self._event(start.generation.event)}
            self.t.formula(start.generation.where, ("start", "generation", "where"), names, BOOL)

    def _fact(self, name: str, fact: kinds.Fact) -> None:
        path: Path = ("facts", name)
        if fact.of is not None:
            self.t.formula(fact.of, (*path, "of"), self.names)
        if fact.read is not None:
            self._input(fact.read, fact.with_, (*path, "with"), self.names)
        self.names[name] = roots({name: scope.fact_type(self.model, fact)})[name]

    def _input(self, name: str, fields: Any, path: Path, names: Roots) -> None:
        operation = self.model.operations.get(name)
        schema = object_schema(operation.input) if operation is not None else {}
        self.t.record(fields, path if fields else path[:-1], names, schema, "input-mismatch")

    # -------------------------------------------------------------- steps

    def _block(self, entries: kinds.Block, path: Path, variables: Roots) -> None:
        for position, entry in enumerate(entries):
            if isinstance(entry, STEPS):
                self._step(entry, (*path, position), variables)

    def _step(self, step: StepKind, path: Path, variables: Roots) -> None:
        names = self.names | variables
        if step.when is not None:
            self.t.formula(step.when, (*path, "when"), names, BOOL)
        match step:
            case kinds.Check():
                self.t.formula(step.check, (*path, "check"), names, BOOL)
                if step.once is not None:
                    self.t.formula(step.once, (*path, "once"), names)
                if step.reserve is not None:
                    self.t.formula(step.reserve.amount, (*path, "reserve", "amount"), names, MONEY)
                    self.t.formula(step.reserve.at_most, (*path, "reserve", "at_most"), names)
                    self._limit_keys(step.reserve.limit, (*path, "reserve", "limit"), names)
            case kinds.Call():
                self._call(step, path, names)
            case kinds.Approve():
                self._approve(step, path, names)
            case kinds.Wait():
                self._wait(step.wait, (*path, "wait"), names)
            case kinds.Choose():
                for position, branch in enumerate(step.choose):
                    self.t.formula(branch.when, (*path, "choose", position, "when"), names, BOOL)
                    self._block(branch.then, (*path, "choose", position, "then"), variables)
                if step.otherwise is not None:
                    self._block(step.otherwise, (*path, "otherwise"), variables)
            case kinds.Each():
                self._each(step, path, names, variables)
            case kinds.Emit():
                event = self.model.events.get(step.emit)
                schema = object_schema(event.data) if event is not None else {}
                place = (*path, "data") if step.data else path
                self.t.record(step.data, place, names, schema, "event-mismatch")
        for outcome, reaction in step.outcomes.items():
            if isinstance(reaction, list):
                self._block(reaction, (*path, "outcomes", outcome), variables)
        if step.id is not None:
            self.names[step.id] = self._result(step)

    def _result(self, step: StepKind) -> Any:
        """Return the type of a step's result, which later formulas read by its id."""
        if isinstance(step, kinds.Call):
            return roots({"_": scope.operation_type(self.model, step.call, "output")})["_"]
        if isinstance(step, kinds.Wait) and step.wait.event is not None:
            return self._event(step.wait.event)
        return DYN

    def _call(self, step: kinds.Call, path: Path, names: Roots) -> None:
        self._input(step.call, step.with_, (*path, "with"), names)
        for position, choice in enumerate(step.undo or []):
            _undo(self.model, self.t, choice, step.call, (*path, "undo", position), names)
        if step.dates is None:
            return
        for which in ("document", "posting", "revenue"):
            value = getattr(step.dates, which)
            if is_formula(value):
                self.t.formula(value, (*path, "dates", which), names, _DATE)
            elif which != "posting" and value is not None:
                self.t.template(value, (*path, "dates", which), names, DATE, "formula")

    def _approve(self, step: kinds.Approve, path: Path, names: Roots) -> None:
        if step.amount is not None:
            self.t.formula(step.amount, (*path, "amount"), names, MONEY)
        for position, text in enumerate(step.covers):
            self.t.formula(text, (*path, "covers", position), names)
        policy = self.model.policies.get(step.approve)
        if step.requester is not None:
            self.t.formula(step.requester, (*path, "requester"), names, STRING)
        elif policy is not None and policy.approval is not None:
            what = f"requester of {policy.name}: "
            self.t.formula(policy.approval.requester, (*path, "approve"), names, STRING, what)
        self._limit_keys(step.reserve or "", (*path, "reserve"), names)

    def _limit_keys(self, policy: str, path: Path, names: Roots) -> None:
        limit = self.model.policies.get(policy)
        if limit is not None and limit.limit is not None:
            counted = names | {"month": STRING, "quarter": STRING}
            for text in limit.limit.per:
                self.t.formula(limit_key(self.workflow, text), path, counted, DYN, f"limit {limit.name}: ")

    def _wait(self, wait: kinds.WaitSpec, path: Path, names: Roots) -> None:
        if wait.where is not None:
            names_of = names | {"event": self._event(wait.event), "start": self.start_event}
            self.t.formula(wait.where, (*path, "where"), names_of, BOOL)
        if wait.until is not None and not is_duration(wait.until):
            self.t.formula(str(wait.until), (*path, "until"), names, MOMENT)

    def _each(self, step: kinds.Each, path: Path, names: Roots, variables: Roots) -> None:
        item: Any = DYN
        if isinstance(step.each, str):
            over = self.t.formula(step.each, (*path, "each"), names, type_of("list"))
            item = over.item or DYN
        else:
            self.t.template(step.each, (*path, "each"), names, {"type": "array"}, "formula")
            if isinstance(step.each, list) and all(type(e) is int for e in step.each):
                item = type_of("int")
        inner = variables | {step.as_: item}
        for text, which, expect in ((step.key, "key", _KEY), (step.until, "until", BOOL)):
            if text is not None:
                self.t.formula(text, (*path, which), self.names | inner, expect)
        self._block(step.do, (*path, "do"), inner)


def _undo(
    model: Model, typing: Typing, choice: kinds.UndoCall, undone: str, path: Path, names: Roots
) -> None:
    """Check an undo, which also reads the `input` and `result` of the undone call."""
    names = names | roots({side: scope.operation_type(model, undone, kind) for side, kind in _SIDES})
    if choice.when is not None:
        typing.formula(choice.when, (*path, "when"), names, BOOL)
    operation = model.operations.get(choice.call)
    if operation is not None and undone in model.operations:
        fields = undo_input(model, choice, undone)
        place = (*path, "with") if choice.with_ else (*path, "call")
        typing.record(fields, place, names, object_schema(operation.input), "input-mismatch")


_SIDES = (("input", "input"), ("result", "output"))


def _operation(model: Model, typing: Typing, operation: kinds.Operation) -> None:
    for position, choice in enumerate(operation.undo or []):
        _undo(model, typing, choice, operation.name, ("undo", position), roots({"run": scope.RUN}))


def _policy(typing: Typing, policy: kinds.Policy) -> None:
    """Check that the formulas of a policy parse; their types are checked where a workflow uses it."""
    names = _AnyNames()
    if policy.approval is not None:
        typing.formula(policy.approval.requester, ("approval", "requester"), names)
    if policy.limit is not None:
        for position, text in enumerate(policy.limit.per):
            typing.formula(text, ("limit", "per", position), names)
    if policy.failure is not None:
        for place in failure_steps(policy.failure):
            if place.step.when is not None:
                typing.formula(place.step.when, (*place.path, "when"), names, BOOL)


# ------------------------------------------------------------------ mappings


def _mapping(model: Model, typing: Typing, mapping: kinds.Mapping) -> None:
    if mapping.from_ is not None:
        _inbound(model, typing, mapping, mapping.from_)
    elif mapping.to is not None:
        _outbound(model, typing, mapping, mapping.to.operation)


def _inbound(model: Model, typing: Typing, mapping: kinds.Mapping, source: kinds.MappingFrom) -> None:
    names = roots({"body": {}, "received": TIMESTAMP})
    if source.when is not None:
        typing.formula(source.when, ("from", "when"), names, BOOL)
    if mapping.fetch is not None:
        operation = model.operations.get(mapping.fetch.call)
        schema = object_schema(operation.input) if operation is not None else {}
        typing.record(mapping.fetch.with_, ("fetch", "with"), names, schema, "input-mismatch")
        fetched = scope.operation_type(model, mapping.fetch.call, "output")
        names = names | roots({"fetched": fetched if fetched.get("properties") else {}})
    for name, text in lets_in_order(lets_of(mapping, model)):
        if name == "entity" and name not in mapping.let:
            names = names | roots({name: scope.entity_type(model)})
        else:
            names = names | {name: typing.formula(text, ("let", name), names)}
    emits = emits_with_places(mapping)
    for emit, path in emits:
        _emit(model, typing, emit, path, names)
    if mapping.assert_ is not None:
        types = emitted_types(emits[0][0].type) if len(emits) == 1 else []
        declared = len(types) == 1 and types[0] in model.events
        data = {"data": model.schema_of_event(types[0]) if declared else {}}
        typing.formula(mapping.assert_, ("assert",), names | roots(data), BOOL)


def _emit(model: Model, typing: Typing, emit: kinds.EmitMapping, path: Path, names: Roots) -> None:
    if is_formula(emit.type):
        typing.formula(emit.type, (*path, "type"), names, STRING)
    expected = {"when": BOOL, "legal_entity": STRING}
    for which in ("when", "key", "version", "occurred", "effective", "legal_entity"):
        text = getattr(emit, which)
        if text is not None:
            typing.formula(text, (*path, which), names, expected.get(which, DYN))
    for name, text in emit.links.items():
        typing.formula(text, (*path, "links", name), names)
    events = [model.events[name] for name in emitted_types(emit.type) if name in model.events]
    for event in events:
        typing.record(emit.data, (*path, "data"), names, object_schema(event.data), "event-mismatch")
    if not events:
        typing.record(emit.data, (*path, "data"), names, {}, "event-mismatch")


def _outbound(model: Model, typing: Typing, mapping: kinds.Mapping, name: str) -> None:
    operation = model.operations.get(name)
    schema = object_schema(operation.input) if operation is not None else {}
    names = roots({"input": schema, "dates": scope.DATES, "run": scope.RUN, "key": {"type": "string"}})
    for let, text in lets_in_order(mapping.let.items()):
        names = names | {let: typing.formula(text, ("let", let), names)}
    typing.record(mapping.with_ or {}, ("with",), names, {}, "input-mismatch")
    if mapping.assert_ is not None:
        typing.formula(mapping.assert_, ("assert",), names, BOOL)
    names = names | roots({"result": {}})
    for link, text in mapping.returns.links.items():
        typing.formula(text, ("returns", "links", link), names)
    output = object_schema(operation.output) if operation is not None and operation.output else {}
    if mapping.returns.result:
        typing.record(mapping.returns.result, ("returns", "result"), names, output, "result-mismatch")
    for position, compared in enumerate(mapping.returns.compare):
        if output and compared not in output["properties"]:
            message = f"the output of {name} has no field `{compared}`"
            typing.report("result-mismatch", message, ("returns", "compare", position))


def _reconciliation(model: Model, typing: Typing, rule_: kinds.Reconciliation) -> None:
    # Its lets are written out in the entries, where they have types. Here they only need known names.
    anything = roots({name: {} for name in ("event", "item", "run", "input", "entity", *rule_.let)})
    for name, text in rule_.let.items():
        typing.formula(text, ("let", name), anything)
    for path, entry in rule_.entries:
        names = roots({"event": scope.event_type(model, entry.event)})
        if isinstance(entry, kinds.AssertRule) and entry.operation is not None:
            # An operation's foil is written with the intent, so it cannot read a result.
            call_input = scope.operation_type(model, entry.operation, "input")
            names = roots({"event": {}, "run": scope.RUN, "input": call_input})
        if model.legal_entities:
            names = names | roots({"entity": ENTITY})
        if entry.each is not None:
            entries = typing.formula(entry.each, (*path, "each"), names, type_of("list"))
            names = names | {"item": entries.item or DYN}
        for field, text in entry.formulas.items():
            if field == "each":
                continue
            if field.startswith("within."):
                _, number, key = field.split(".")
                typing.formula(text, (*path, "within", int(number), key), names, _KEY)
                continue
            if field.startswith("legs."):
                leg = field.removeprefix("legs.")
                _leg(typing, rule_.legs.get(leg, kinds.LegForm()), text, (*path, "legs", leg), names)
                continue
            expected = {"when": BOOL, "stands": BOOL, "key": _KEY, "document": _KEY}.get(field, DYN)
            typing.formula(text, (*path, field), names, expected)
        if rule_.key is not None and entry.key is None:
            typing.formula(rule_.key, ("key",), names, _KEY)
    for account_name, account in rule_.control_accounts.items():
        for place, balance in account.balances:
            operation = model.operations.get(balance.read)
            if operation is not None:
                names = roots({"at": DATE, **({"entity": ENTITY} if model.legal_entities else {})})
                path = ("control_accounts", account_name, *place, "with")
                typing.record(balance.with_, path, names, object_schema(operation.input), "input-mismatch")


def _leg(typing: Typing, form: kinds.LegForm, text: str, path: Path, names: Roots) -> None:
    if form.per is None:
        typing.formula(text, path, names, _LEG_TYPES[form.kind])
        return
    inferred = typing.formula(text, path, names, type_of("list"))
    part = DYN if inferred.item is None else field_type(inferred.item, form.per)
    if isinstance(part, list):
        typing.report("formula", f"the entries of this list have no field `{form.per}`", path)
    elif not fits(part, STRING):
        typing.report("formula", f"`{form.per}` names the parts, so it is a string and no {part}", path)
