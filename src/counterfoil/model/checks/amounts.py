"""Amounts: minor units of systems, and where negative amounts may go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from counterfoil.core.finding import Finding
from counterfoil.core.money import EXPONENTS
from counterfoil.expr import ExpressionError, conjuncts
from counterfoil.expr import tree as t
from counterfoil.model import kinds
from counterfoil.model.checks.registry import rule
from counterfoil.model.fields import inner_fields, is_money
from counterfoil.model.model import Model
from counterfoil.model.template import formulas, text_of
from counterfoil.model.typing import tree_of
from counterfoil.model.walk import StepPlace, steps

_SUMS = frozenset({"sum", "min", "max", "first", "round", "allocate", "minor", "money"})
"""Functions whose result is negative only if an argument is; `max` needs all of them."""


@rule("system-currency")
def system_currency(model: Model) -> Iterator[Finding]:
    """The `currencies` of a system are codes of ISO 4217 with a minor unit."""
    for document, system in model.documents_of(kinds.System):
        for code in system.currencies:
            if code not in EXPONENTS:
                message = f"{code} is not a currency of ISO 4217"
                yield document.finding("system-currency", message, ("currencies", code), at_key=True)


@rule("negative-amount")
def negative_amount(model: Model) -> Iterator[Finding]:
    """If an amount that may be negative reaches an approval, a limit or the input of a call that writes, the policy, the
    operation or its field says whether it may: `negative: true` or `negative: false`. Without it a negative amount is
    refused, and a Case opens. An amount cannot be negative after a `check` that it is not, such as
    `event.data.total.minor > 0`. A warning. Only fields with money have `negative`."""
    yield from _misplaced(model)
    for document, workflow in model.documents_of(kinds.Workflow):
        signs = _Signs(workflow)
        for place in steps(workflow):
            if isinstance(place.step, kinds.Approve):
                yield from _of_approval(model, document.name, place.step, signs)
            elif isinstance(place.step, kinds.Call):
                yield from _of_call(model, document.name, place.step, signs)
            signs.learn(place)


def _misplaced(model: Model) -> Iterator[Finding]:
    for document, operation in model.documents_of(kinds.Operation):
        for name, spec in operation.input.items():
            if isinstance(spec, kinds.FieldSpec) and spec.negative is not None and not is_money(spec):
                message = f"`{name.removesuffix('?')}` holds no money, so it has no `negative`"
                yield document.finding("negative-amount", message, ("input", name, "negative"), at_key=True)


def _of_approval(model: Model, workflow: str, step: kinds.Approve, signs: _Signs) -> Iterator[Finding]:
    if step.amount is None or not signs.may_be_negative(step.amount):
        return
    for name, part in ((step.approve, "approval"), (step.reserve, "limit")):
        policy = model.policies.get(name or "")
        document = model.document("policy", name or "")
        content = getattr(policy, part) if policy is not None else None
        if document is not None and content is not None and content.negative is None:
            yield document.finding(
                "negative-amount",
                f"an amount of `{workflow}` may be negative, and `{name}` does not say whether it may",
                (part,),
                at_key=True,
                severity="warning",
                fix="add `negative: false` to refuse it, as now, or `negative: true`",
            )


def _of_call(model: Model, workflow: str, step: kinds.Call, signs: _Signs) -> Iterator[Finding]:
    operation = model.operations.get(step.call)
    document = model.document("operation", step.call)
    if operation is None or document is None or operation.repeat == "read" or operation.negative is not None:
        return
    for key, spec in operation.input.items():
        name = key.removesuffix("?")
        texts = [text for text, _ in formulas(step.with_.get(name))]
        undecided = list(_undecided(spec, name))
        if undecided and any(map(signs.may_be_negative, texts)):
            yield document.finding(
                "negative-amount",
                f"`{workflow}` may send a negative amount, and {', '.join(f'`{u}`' for u in undecided)} does not say "
                "whether it may be negative",
                ("input", key),
                at_key=True,
                severity="warning",
                fix="add `negative: false` to the operation to refuse it, as now, or `negative: true` to the operation or field",
            )


def _undecided(spec: Any, name: str) -> Iterator[str]:
    """Yield the money fields of an input field that do not say whether they may be negative."""
    if not is_money(spec) or (isinstance(spec, kinds.FieldSpec) and spec.negative is not None):
        return
    inner, _ = inner_fields(spec)
    if not inner:
        yield name
    for key, part in inner.items():
        yield from _undecided(part, f"{name}.{key.removesuffix('?')}")


class _Signs:
    """Signs of the formulas of a workflow, after the checks that came before."""

    def __init__(self, workflow: kinds.Workflow) -> None:
        self.lets: Mapping[str, str] = workflow.let
        self.positive: set[str] = set()
        """Dotted paths that are known not to be negative."""
        if workflow.start.when is not None:
            self._learn(workflow.start.when)

    def learn(self, place: StepPlace) -> None:
        """Take in a check of the main path that ends or parks the Run if it fails."""
        step = place.step
        if isinstance(step, kinds.Check) and not place.within and step.outcomes.get("failed") != "continue":
            self._learn(step.check)

    def _learn(self, text: str) -> None:
        try:
            terms = conjuncts(tree_of(text_of(text)))
        except ExpressionError:
            return
        for term in terms:
            if not isinstance(term, t.BinaryNode) or term.op not in ("<", "<=", ">", ">="):
                continue
            low, high = (term.left, term.right) if term.op in ("<", "<=") else (term.right, term.left)
            path = t.dotted_path(high)
            if path is not None and not self._may_be_negative(low, frozenset()):
                name = ".".join(path).removesuffix(".minor")
                self.positive |= {name, text_of(self.lets.get(name, name)).strip()}

    def may_be_negative(self, text: str) -> bool:
        try:
            return self._may_be_negative(tree_of(text_of(text)), frozenset())
        except ExpressionError:
            return False

    def _may_be_negative(self, node: t.ExprNode, through: frozenset[str]) -> bool:
        match node:
            case t.LiteralNode():
                return isinstance(node.value, int | Decimal) and node.value < 0
            case t.BinaryNode(op="+" | "*" | "/"):
                return self._may_be_negative(node.left, through) or self._may_be_negative(node.right, through)
            case t.TernaryNode():
                return self._may_be_negative(node.yes, through) or self._may_be_negative(node.no, through)
            case t.CallNode(name="abs"):
                return False
            case t.CallNode() if node.name in _SUMS:
                signs = [self._may_be_negative(arg, through) for arg in node.args]
                return all(signs) if node.name == "max" and len(signs) > 1 else any(signs)
            case t.ListNode():
                return any(self._may_be_negative(item, through) for item in node.items)
        path = t.dotted_path(node)
        if path is None:
            return True
        if any(".".join(path[:end]) in self.positive for end in range(1, len(path) + 1)):
            return False
        if path[0] in self.lets and path[0] not in through:
            return self._may_be_negative(tree_of(text_of(self.lets[path[0]])), through | {path[0]})
        return True
