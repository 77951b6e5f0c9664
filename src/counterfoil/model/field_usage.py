"""Who reads and who gives which field: of events, objects and operations, by every document's formulas.

A contract is broken only for those who use what changed of it. Taken from the formulas' trees, so a field that is
reached through a let, a variable of `each` or a macro counts under its own name, and nothing that is not read does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from counterfoil.expr import ExpressionError
from counterfoil.expr.tree import CallNode, HasNode, IndexNode, LiteralNode, MacroNode, NameNode, ExprNode, SelectNode, children
from counterfoil.model import kinds
from counterfoil.model.compile.mapping import emits_of, lets_of
from counterfoil.model.compile.operation import undo_input
from counterfoil.model.compile.policy import FAILURE_OUTCOMES, limit_key
from counterfoil.model.emitted_types import emitted_types
from counterfoil.model.fields import each_field
from counterfoil.model.template import is_duration, is_formula, is_repeated, text_of
from counterfoil.model.typing import tree_of
from counterfoil.model.walk import BlockPlace, StepKind, steps, steps_of

if TYPE_CHECKING:
    from counterfoil.model.model import Model

Contract: TypeAlias = tuple[str, str]
"""`event`, `object`, `input` or `output` (of an operation), and the name."""
User: TypeAlias = tuple[str, str]
"""Kind and name of the document whose formula it is."""


@dataclass(frozen=True, slots=True)
class At:
    """Where a name leads: a place in a contract. `envelope`: the fields stand below `data`."""

    contract: Contract
    path: tuple[str, ...] = ()
    envelope: bool = False

    def below(self, field: str) -> At | None:
        """The place of a field; None for what the envelope says of every event."""
        if self.envelope:
            return At(self.contract) if field == "data" else None
        return At(self.contract, (*self.path, field))


Names: TypeAlias = Mapping[str, At | None]


class Uses:
    """What the documents of a Model use of its contracts.

    `reads`: contract to user to the dotted fields that it reads, `""` for all of them; true where every formula
    that reads the field asks with `has` before. `gives`: contract to user to the fields that it fills in.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.reads: dict[Contract, dict[User, dict[str, bool]]] = {}
        self.gives: dict[Contract, dict[User, set[str]]] = {}
        for document in model.documents:
            reader = _Reader(self, (document.kind, document.name))
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
                    _event(self, event)
                case kinds.Policy(posting_date=kinds.PostingDate() as posting):
                    for field in ("state", "start", "end"):
                        self.read(("object", posting.periods), reader.user, (field,))

    def readers(self, contract: Contract, field: str) -> dict[User, bool]:
        """Those who read a field, something in it, or all around it, any field for `""`; true where they ask with `has` before."""
        found: dict[User, bool] = {}
        for user, fields in self.reads.get(contract, {}).items():
            touching = [asks for read, asks in fields.items() if _touches(read, field)]
            if touching:
                found[user] = all(touching)
        return found

    def read(self, contract: Contract, user: User, path: tuple[str, ...], asks: bool = False) -> None:
        fields = self.reads.setdefault(contract, {}).setdefault(user, {})
        text = ".".join(path)
        fields[text] = fields.get(text, True) and asks

    def give(self, contract: Contract, user: User, fields: Iterable[str]) -> None:
        self.gives.setdefault(contract, {}).setdefault(user, set()).update(fields)


def _touches(read: str, field: str) -> bool:
    return (
        not read or not field or read == field or read.startswith(field + ".") or field.startswith(read + ".")
    )


class _Reader:
    """Notes what the formulas of one document read."""

    def __init__(self, uses: Uses, user: User) -> None:
        self.uses = uses
        self.model = uses.model
        self.user = user

    # -------------------------------------------------------------- formulas

    def formula(self, text: str | None, names: Names) -> None:
        tree = _tree(text)
        if tree is not None:
            self._visit(tree, names, _asked(tree))

    def bind(self, text: Any, names: Names) -> At | None:
        """What a name stands for that is given this formula: a place of a contract, which is read only where the
        name is, or a value of its own."""
        tree = _tree(text) if isinstance(text, str) else None
        if tree is None:
            self.template(text, names)
            return None
        asked = _asked(tree)
        place = self._place(tree, names, asked)
        if place is None:
            self._visit(tree, names, asked)
        return place

    def template(self, value: Any, names: Names) -> None:
        if is_formula(value):
            self.formula(value, names)
        elif is_repeated(value):
            inner = {**names, str(value["as"]): self.bind(value["each"], names)}
            self.formula(value.get("when"), inner)
            self.template(value["data"], inner)
        elif isinstance(value, dict):
            for part in value.values():
                self.template(part, names)
        elif isinstance(value, list):
            for part in value:
                self.template(part, names)

    def _visit(self, node: ExprNode, names: Names, asked: frozenset[tuple[str, ...]]) -> None:
        place = self._place(node, names, asked)
        if place is not None:
            if not place.envelope or isinstance(node, NameNode):
                self.uses.read(place.contract, self.user, place.path, _key(place) in asked)
            return
        if isinstance(node, HasNode):
            base = self._place(node.operand, names, asked)
            found = base.below(node.field) if base else None
            if found is not None:
                self.uses.read(found.contract, self.user, found.path, True)
            elif base is None:
                self._visit(node.operand, names, asked)
        elif isinstance(node, MacroNode):
            over = self._place(node.operand, names, asked)
            if over is None:
                self._visit(node.operand, names, asked)
            inner = {**names, node.variable: over}
            for part in (node.test, node.body):
                if part is not None:
                    self._visit(part, inner, asked)
        elif not isinstance(node, SelectNode) or self._envelope(node, names) is None:
            for child in children(node):
                self._visit(child, names, asked)

    def _envelope(self, node: SelectNode, names: Names) -> At | None:
        """The event whose envelope a selection reads: that is no field of its contract."""
        base = self._place(node.operand, names, frozenset())
        return base if base is not None and base.envelope else None

    def _place(self, node: ExprNode, names: Names, asked: frozenset[tuple[str, ...]]) -> At | None:
        """The place in a contract that a node is: a path, an element of a list, a filtered list, a head."""
        match node:
            case NameNode():
                return names.get(node.name)
            case SelectNode():
                base = self._place(node.operand, names, asked)
                return base.below(node.field) if base else None
            case IndexNode(key=LiteralNode(value=str(key))):
                base = self._place(node.operand, names, asked)
                return base.below(key) if base else None
            case IndexNode():
                base = self._place(node.operand, names, asked)
                if base is not None:
                    self._visit(node.key, names, asked)
                return base
            case CallNode(name="head", args=(LiteralNode(value=str(name)), *others)):
                for other in others:
                    self._visit(other, names, asked)
                return At(("object", name))
            case MacroNode(kind="filter"):
                base = self._place(node.operand, names, asked)
                if base is not None:
                    self._visit(node.body, {**names, node.variable: base}, asked)
                return base
        return None

    # -------------------------------------------------------------- parts of documents

    def undo(self, choice: kinds.UndoCall, undone: str, names: Names) -> None:
        names = {**names, "input": At(("input", undone)), "result": At(("output", undone))}
        self.formula(choice.when, names)
        if undone in self.model.operations and choice.call in self.model.operations:
            given = undo_input(self.model, choice, undone)
            self.template(dict(given), names)
            self.uses.give(("input", choice.call), self.user, given)


def _tree(text: str | None) -> ExprNode | None:
    if text is None:
        return None
    try:
        return tree_of(text_of(text))
    except (ExpressionError, RecursionError):
        return None  # `check` says so


def _asked(node: ExprNode) -> frozenset[tuple[str, ...]]:
    """What a formula asks for with `has`, by its last two names: enough to know it again under another root."""
    found = set()
    pending = [node]
    while pending:
        current = pending.pop()
        if isinstance(current, HasNode):
            found.add((current.field,))
        pending.extend(children(current))
    return frozenset(found)


def _key(place: At) -> tuple[str, ...]:
    return place.path[-1:]


def _event(uses: Uses, event: kinds.Event) -> None:
    """What admission itself reads: whose head a fact moves, and what usage is counted by."""
    user = ("event", event.name)
    if event.object:
        key = event.key or f"{event.object}_id"
        uses.read(("event", event.name), ("object", event.object), (key,))
    if event.usage:
        for name in (event.usage.subscription, event.usage.meter):
            uses.read(("event", event.name), user, (name,))


def fed_by(model: Model, event: str) -> tuple[str, frozenset[str]] | None:
    """The object whose head an event moves, and the fields that it asserts."""
    found = model.events[event]
    if found.object is None or found.object not in model.objects:
        return None
    held = {name for name, _, _ in each_field(model.objects[found.object].fields)}
    given = {name for name, _, _ in each_field(found.data)}
    return found.object, frozenset(found.sets if found.sets is not None else held & given)


# ------------------------------------------------------------------ workflows


def _workflow(reader: _Reader, workflow: kinds.Workflow) -> None:
    start = workflow.start
    names: dict[str, At | None] = {}
    if start.event:
        names["event"] = At(("event", start.event), (), True)
    elif start.due:
        names["object"] = At(("object", start.due.object))
    elif start.operation:
        names["input"] = At(("input", start.operation))
    for text in (start.key, start.when, start.due.at if start.due else None):
        reader.formula(text, names)
    if isinstance(start.generation, kinds.GenerationEvent):
        arrived = At(("event", start.generation.event), (), True)
        reader.formula(start.generation.where, {**names, "event": arrived})
    else:
        reader.formula(start.generation, names)
    for name, fact in workflow.facts.items():
        reader.formula(fact.of, names)
        if fact.read:
            reader.template(fact.with_, names)
            reader.uses.give(("input", fact.read), reader.user, fact.with_)
        names[name] = (
            At(("object", fact.head)) if fact.head else At(("output", fact.read)) if fact.read else None
        )
    for name, text in workflow.let.items():
        names[name] = reader.bind(text, names)
    keys = workflow.serial.key if workflow.serial else []
    for text in keys if isinstance(keys, list) else [keys]:
        reader.formula(text, names)
    places = [*steps(workflow), *_of_policy(reader.model, workflow.failure)]
    for place in places:
        names |= _result(place.step)
    for signal in workflow.signals:
        reader.formula(
            signal.where,
            {**names, "event": At(("event", signal.event), (), True), "start": names.get("event")},
        )
    variables: dict[str, At | None] = {}  # of `each`; told apart by name alone
    for place in places:
        step = place.step
        if isinstance(step, kinds.Each):
            variables[step.as_] = reader.bind(step.each, {**names, **variables})
        _step(reader, workflow, step, {**names, **variables})
    if start.operation:
        reader.template(workflow.returns, names)
        reader.uses.give(("output", start.operation), reader.user, workflow.returns)


def _of_policy(model: Model, name: str) -> Iterable[Any]:
    """The steps that a failure policy adds to every workflow that names it."""
    policy = model.policies.get(name)
    failure = policy.failure if policy else None
    for outcome in FAILURE_OUTCOMES if failure else ():
        reaction = getattr(failure, outcome)
        if isinstance(reaction, list):
            yield from steps_of(BlockPlace(reaction, (), outcome, outcome))


def _result(step: StepKind) -> dict[str, At | None]:
    if step.id is None:
        return {}
    if isinstance(step, kinds.Call):
        return {step.id: At(("output", step.call))}
    if isinstance(step, kinds.Wait) and step.wait.event:
        return {step.id: At(("event", step.wait.event), (), True)}
    return {step.id: None}


def _step(reader: _Reader, workflow: kinds.Workflow, step: StepKind, names: Names) -> None:
    reader.formula(step.when, names)
    match step:
        case kinds.Check():
            reader.formula(step.check, names)
            reader.formula(step.once, names)
        case kinds.Call():
            reader.template(step.with_, names)
            reader.uses.give(("input", step.call), reader.user, step.with_)
            for choice in step.undo or []:
                reader.undo(choice, step.call, names)
            if step.dates:
                reader.template([step.dates.document, step.dates.posting, step.dates.revenue], names)
        case kinds.Approve():
            _approve(reader, workflow, step, names)
        case kinds.Wait():
            if step.wait.event:
                arrived = At(("event", step.wait.event), (), True)
                reader.formula(step.wait.where, {**names, "event": arrived, "start": names.get("event")})
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
            reader.uses.give(("event", step.emit), reader.user, step.data)


def _approve(reader: _Reader, workflow: kinds.Workflow, step: kinds.Approve, names: Names) -> None:
    for text in (step.amount, step.requester, *step.covers):
        reader.formula(text, names)
    policy = reader.model.policies.get(step.approve)
    if policy is not None and policy.approval is not None and step.requester is None:
        _Reader(reader.uses, ("policy", policy.name)).formula(policy.approval.requester, names)
    limit = reader.model.policies.get(step.reserve or "")
    if limit is not None and limit.limit is not None:
        of_limit = _Reader(reader.uses, ("policy", limit.name))
        for text in limit.limit.per:
            of_limit.formula(limit_key(workflow, text), names)


# ------------------------------------------------------------------ mappings and foils


def _mapping(reader: _Reader, mapping: kinds.Mapping) -> None:
    names: dict[str, At | None] = {}
    if mapping.to is not None:
        names["input"] = At(("input", mapping.to.operation))
    if mapping.cast is not None and mapping.ignore is None:
        _cast(reader, mapping.cast, names)
    if mapping.fetch is not None:
        reader.template(mapping.fetch.with_, names)
        reader.uses.give(("input", mapping.fetch.call), reader.user, mapping.fetch.with_)
        names["fetched"] = At(("output", mapping.fetch.call))
    for name, text in lets_of(mapping, "legal_entity" in reader.model.objects):
        names[name] = reader.bind(text, names)
    emitted: At | None = None
    for emit in emits_of(mapping):
        whence = (emit.when, emit.key, emit.version, emit.identity, emit.occurred, emit.effective)
        for each in (*whence, emit.legal_entity, *emit.links.values()):
            reader.formula(each, names)
        reader.template(emit.data, names)
        for event in emitted_types(emit.type):
            reader.uses.give(("event", event), reader.user, emit.data)
            emitted = At(("event", event))
    reader.template(mapping.with_ or {}, names)
    reader.formula(mapping.assert_, {**names, "data": emitted})
    reader.template(mapping.returns.result, names)
    for text in mapping.returns.links.values():
        reader.formula(text, names)
    if mapping.to is not None:
        for field in mapping.returns.compare:
            for side in ("input", "output"):
                reader.uses.read((side, mapping.to.operation), reader.user, (field,))
        if mapping.returns.result:
            reader.uses.give(("output", mapping.to.operation), reader.user, mapping.returns.result)


def _cast(reader: _Reader, cast: kinds.Cast, names: dict[str, At | None]) -> None:
    """What a cast turns into what; fields alike under one name it takes over without being told."""
    model = reader.model
    if cast.from_ in model.events and cast.to in model.events:
        names["data"] = At(("event", cast.from_))
        _carried(reader, ("event", cast.from_), model.events[cast.from_].data, model.events[cast.to].data)
    if cast.from_ in model.operations and cast.to in model.operations:
        old, new = model.operations[cast.from_], model.operations[cast.to]
        names |= {"input": At(("input", cast.from_)), "result": At(("output", cast.to))}
        _carried(reader, ("input", cast.from_), old.input, new.input)
        _carried(reader, ("output", cast.to), new.output, old.output)


def _carried(reader: _Reader, contract: Contract, fields: Any, target: Any) -> None:
    wanted = {name for name, _, _ in each_field(target)}
    for name, _, _ in each_field(fields):
        if name in wanted:
            reader.uses.read(contract, reader.user, (name,))


def _reconciliation(reader: _Reader, rule: kinds.Reconciliation) -> None:
    began: dict[str, At | None] = {}
    if rule.foil.event:
        began["event"] = At(("event", rule.foil.event), (), True)
    if rule.foil.operation:
        began["input"] = At(("input", rule.foil.operation))
        began["result"] = At(("output", rule.foil.operation))
    observed = {"event": At(("event", rule.observe.event), (), True)}
    for part, names in ((rule.foil, began), (rule.observe, observed)):
        for text in (part.when, part.key, *part.legs.values()):
            reader.formula(text, names)
