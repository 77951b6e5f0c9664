"""Counterfoils and time: every foil can be observed, and deadlines are longer than the retries within them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from counterfoil.core.finding import Finding
from counterfoil.expr import ExpressionError
from counterfoil.model import kinds
from counterfoil.model.checks.registry import rule
from counterfoil.model.fields import field_schema, object_schema
from counterfoil.model.kinds import seconds
from counterfoil.model.model import Model
from counterfoil.model.source import Path
from counterfoil.model.template import formula
from counterfoil.model.walk import steps

_BALANCES = field_schema("[money]")


@rule("foil-unobserved")
def foil_unobserved(model: Model) -> Iterator[Finding]:
    """Every foil can be observed: a mapping of its right system emits the matching event, or the event comes over `http` or
    from `counterfoil` itself. An event that a workflow emits is no evidence about another system."""
    broken = model.has_broken("mapping")
    for document, reconciliation in model.documents_of(kinds.Reconciliation):
        for path, entry in reconciliation.observations:
            event = model.events.get(entry.event or "")
            if event is None or event.produced in ("http", "counterfoil") or broken:
                continue
            systems = {m.from_.system for m in model.producers(event.name) if m.from_}
            if reconciliation.right not in systems:
                producers = f"only {', '.join(sorted(systems))} does" if systems else "no mapping does"
                message = f"no mapping of {reconciliation.right} emits `{event.name}`: {producers}"
                fix = f"add a mapping from {reconciliation.right} that emits it"
                yield document.finding("foil-unobserved", message, (*path, "event"), fix=fix)


@rule("foil-form")
def foil_form(model: Model) -> Iterator[Finding]:
    """A document of the left side is asserted by exactly one of an event and an operation, and its two systems differ.
    The operation writes to one of them. Both sides have the same legs, and one sum is the total. No chain of `within` leads
    back to its reconciliation. No `let` has the name of an event, item, input, Run or entity. An entry with `each` reads
    an event about an object, and its `document` reads `item`. What `remember` names is a table with one key column, which a key
    of `observe` reads. A control account is read by an exposed operation of one of both systems that answers with `balances`. It
    has either documents of that system, or a balance of the other system that is read in the same way."""
    for document, reconciliation in model.documents_of(kinds.Reconciliation):
        for message, path, at_key in _form_faults(model, reconciliation):
            yield document.finding("foil-form", message, path, at_key=at_key)


def _form_faults(model: Model, rule_: kinds.Reconciliation) -> Iterator[tuple[str, Path, bool]]:
    if (rule_.foil is None) == (not rule_.assert_):
        yield "a reconciliation needs either `foil` or `assert`", ("foil" if rule_.foil else "name",), True
        return
    for name in sorted(rule_.let.keys() & {"event", "item", "run", "input", "entity"}):
        yield f"`{name}` is a name of its own, so no `let` has it", ("let", name), True
    if rule_.left == rule_.right:
        yield "both sides are the same system", ("right",), False
    for path, entry in rule_.assertions:
        if (entry.event is None) == (entry.operation is None):
            yield "a foil needs either `event` or `operation`", path, True
        operation = model.operations.get(entry.operation or "")
        if operation is not None and operation.repeat == "read":
            yield f"`{operation.name}` only reads, so it writes no foil", (*path, "operation"), False
        elif operation is not None and operation.system not in (rule_.left, rule_.right):
            message = f"`{operation.name}` writes to {operation.system}, which is on neither side"
            yield message, (*path, "operation"), False
        for n, cap in enumerate(entry.within):
            if rule_.name in _caps(model, cap.reconciliation):
                message = f"`within` leads back to `{rule_.name}`: no total caps itself"
                yield message, (*path, "within", n, "reconciliation"), False
    asserted = _legs(entry for _, entry in rule_.assertions)
    observed = _legs(entry for _, entry in rule_.observations)
    if not asserted:
        yield "a foil needs at least one leg", (*rule_.assertions[0][0], "legs"), False
    yield from _memory_faults(model, rule_)
    for path, document in rule_.entries:
        if document.each is not None:
            yield from _each_faults(model, document, path)
        others = observed if isinstance(document, kinds.AssertRule) else asserted
        for leg in sorted(document.legs.keys() - others):
            yield f"the leg `{leg}` exists on one side only", (*path, "legs", leg), True
        if document.key is None and rule_.key is None and document.document is None:
            yield "`key` is missing: it names the match", path, True
    sums = [name for name, leg in rule_.legs.items() if leg.kind == "sum"]
    totals = [name for name in sums if rule_.legs[name].total]
    if rule_.legs and len(totals) != 1 and len(sums) > 1:
        yield "one of the sums is the total: `total: true`", ("legs",), True
    for leg in sorted(rule_.legs.keys() - asserted):
        yield f"no entry of `assert` has the leg `{leg}`", ("legs", leg), True
    for name, account in rule_.control_accounts.items():
        for message, key in _account_faults(model, rule_, account):
            yield message, ("control_accounts", name, *key), False


def _account_faults(
    model: Model, rule_: kinds.Reconciliation, account: kinds.ControlAccount
) -> Iterator[tuple[str, Path]]:
    operation = model.operations.get(account.read)
    for place, balance in account.balances:
        yield from _balance_faults(model, rule_, balance, place)
    if bool(account.documents) == (account.against is not None):
        yield "a control account needs either `documents` or `against`", ()
    if account.against is not None:
        other_read = model.operations.get(account.against.read)
        if operation is not None and other_read is not None and operation.system == other_read.system:
            message = f"`{other_read.name}` reads {other_read.system} too, and not the other system"
            yield message, ("against", "read")
    side = "left" if operation is not None and operation.system == rule_.left else "right"
    system: str = getattr(rule_, side)
    for name, form in account.documents.items():
        other = model.reconciliations.get(name)
        if other is None:
            continue
        if getattr(other, side) != system:
            yield (
                f"`{name}` has documents of {getattr(other, side)} on its {side}, not of {system}",
                ("documents", name),
            )
        if isinstance(form, kinds.AccountDocuments) and form.leg not in other.legs:
            yield f"`{name}` names no leg `{form.leg}` in its `legs`", ("documents", name, "leg")


def _balance_faults(
    model: Model, rule_: kinds.Reconciliation, balance: kinds.AccountBalance, place: Path
) -> Iterator[tuple[str, Path]]:
    operation, place = model.operations.get(balance.read), (*place, "read")
    if operation is None:
        return
    if (operation.exposes, operation.repeat) != ("read", "read"):
        yield f"`{operation.name}` is not exposed to be read: `exposes: read`", place
    elif operation.system not in (rule_.left, rule_.right):
        yield f"`{operation.name}` reads {operation.system}, not {rule_.left} or {rule_.right}", place
    elif object_schema(operation.output)["properties"].get("balances") != _BALANCES:
        yield f"`{operation.name}` has no `balances` in its output: a list of money", place


def _memory_faults(model: Model, rule_: kinds.Reconciliation) -> Iterator[tuple[str, Path, bool]]:
    if rule_.remember is None:
        return
    name, place = rule_.remember.table, ("remember", "table")
    table = model.of_kind(kinds.Table).get(name)
    if table is not None and len(table.key) != 1:
        yield f"the table `{name}` needs one key column: the key of the right side", place, False
    keys = [entry.key or rule_.key or "" for _, entry in rule_.observations]
    if not any(f"table('{name}'" in key or f'table("{name}"' in key for key in keys):
        yield (
            f"no `key` of `observe` reads `table('{name}', ...)`, so nothing would be remembered",
            place,
            False,
        )


def _each_faults(model: Model, entry: kinds.DocumentRule, path: Path) -> Iterator[tuple[str, Path, bool]]:
    event = model.events.get(entry.event or "")
    if isinstance(entry, kinds.AssertRule) and entry.operation is not None:
        yield "`each` reads an event: the intent of an operation is one document", (*path, "each"), True
    elif event is not None and event.object is None:
        message = f"`each` needs an event about an object, and `{event.name}` has none: nothing says which version is newer"
        yield message, (*path, "each"), True
    if not _reads_item(entry.document or ""):
        yield (
            "`document` does not read `item`, so all entries of `each` are one document",
            (*path, "each"),
            True,
        )


def _reads_item(text: str) -> bool:
    try:
        return "item" in formula(text).paths_and_parents
    except ExpressionError:
        return text != ""  # the formula itself has a finding


def _caps(model: Model, name: str) -> set[str]:
    """Return a reconciliation with those whose totals cap its documents, through any chain."""
    caps, rest = set[str](), {name}
    while rest:
        caps |= rest
        rules = [model.reconciliations[other] for other in rest if other in model.reconciliations]
        rest = {
            cap.reconciliation for rule_ in rules for _, entry in rule_.assertions for cap in entry.within
        } - caps
    return caps


def _legs(entries: Iterable[kinds.DocumentRule]) -> set[str]:
    return {leg for entry in entries for leg in entry.legs}


def retry_span(retry: kinds.Retry, timeout: float) -> float:
    """Return the maximum seconds from the first attempt to the end of the last retry."""
    first, cap = seconds(retry.first), seconds(retry.cap)
    waits = sum(min(cap, first * float(2**n)) for n in range(min(retry.attempts - 1, 64)))
    waits += cap * max(0, retry.attempts - 65)
    return waits + retry.attempts * timeout


@rule("deadline-too-short")
def deadline_too_short(model: Model) -> Iterator[Finding]:
    """Deadlines are longer than the retries: the `deadline` of a workflow and the `due` of a foil that its call writes do
    not end while the failure policy still retries or queues the call. The vendor remembers an idempotency key
    (`retention`) until the last retry."""
    for document, workflow in model.documents_of(kinds.Workflow):
        failure = model.failure_of(workflow)
        if failure is None:
            continue
        queued = seconds(failure.queue.until) if _queues(failure, workflow) else 0.0
        if workflow.deadline is not None and queued > seconds(workflow.deadline):
            until = failure.queue.until
            message = f"the deadline ends before the queue of `{workflow.failure}` ({until})"
            fix = "lengthen it, or shorten the queue"
            yield document.finding("deadline-too-short", message, ("deadline",), fix=fix)
        for place in steps(workflow):
            operation = model.operation_of(place.step)
            if operation is None or operation.repeat == "read":
                continue
            span = retry_span(failure.retry, seconds(operation.timeout))
            retries = f"retries of `{operation.name}` may take {round(span)} s"
            if workflow.deadline is not None and span > seconds(workflow.deadline):
                message = f"{retries}, longer than the deadline"
                yield document.finding("deadline-too-short", message, ("deadline",))
            if operation.retention is not None and span > seconds(operation.retention):
                message = f"{retries}; its system forgets the key after {operation.retention}"
                fix = "retry less, or `repeat: find`"
                yield document.finding("deadline-too-short", message, (*place.path, "call"), fix=fix)
            for rule_ in model.reconciliations.values():
                dues = [e.due for _, e in rule_.assertions if e.operation == operation.name]
                if any(span > seconds(due) for due in dues):
                    message = f"{retries}; the foil `{rule_.name}` is due after {dues[0]}"
                    fix = "lengthen `due`"
                    yield document.finding("deadline-too-short", message, (*place.path, "call"), fix=fix)


def _queues(failure: kinds.Failure, workflow: kinds.Workflow) -> bool:
    used = {getattr(failure, name) == "queue" for name in kinds.Failure.model_fields if name != "queue"}
    own = (reaction == "queue" for place in steps(workflow) for reaction in place.step.outcomes.values())
    return True in used or any(own)
