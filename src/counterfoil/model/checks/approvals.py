"""Approvals: complete matrices, segregation of duties, values that stay as approved, and approvers of changes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from counterfoil.core.finding import Finding
from counterfoil.core.money import EXPONENTS
from counterfoil.model import kinds
from counterfoil.model.checks.formulas import broken_formulas
from counterfoil.model.checks.registry import rule
from counterfoil.model.definition import OF_AMOUNT
from counterfoil.model.document import Document
from counterfoil.model.fields import each_field, is_identity, is_money
from counterfoil.model.model import Model
from counterfoil.model.source import Path
from counterfoil.model.template import is_formula, is_repeated, text_of
from counterfoil.model.typing import paths_of
from counterfoil.model.walk import STEPS, BlockPlace, StepKind, inner_blocks, steps

SENDING = frozenset({"events:any:send", "usage:any:send"})
DECIDE = "approvals:own:decide"
_CONSTANT = re.compile(r"""(?P<quote>['"])system/(?P<system>[^'"]*)(?P=quote)""")


@rule("approval-matrix")
def approval_matrix(model: Model) -> Iterator[Finding]:
    """An approval matrix has no gap and no overlap: its tiers rise, only the last has no `up_to`, and each is
    either automatic or names the roles that decide. Its currency is a code of ISO 4217."""
    for document, policy in model.documents_of(kinds.Policy):
        limit = policy.limit
        if limit is not None and limit.at_most is not None and not isinstance(limit.currency, str):
            message = "`at_most` needs one currency, such as `currency: USD`"
            yield document.finding("approval-matrix", message, ("limit", "at_most"))
        approval = policy.approval
        if approval is None:
            continue
        if approval.currency not in EXPONENTS:
            path: Path = ("approval", "currency")
            message = f"{approval.currency} is not a currency of ISO 4217"
            yield document.finding("approval-matrix", message, path)
        if not approval.matrix:
            yield document.finding("approval-matrix", "the matrix is empty", ("approval", "matrix"))
        yield from _tiers(document, approval.matrix)


def _tiers(document: Document, matrix: list[kinds.Tier]) -> Iterator[Finding]:
    highest: int | None = None
    for position, tier in enumerate(matrix):
        path: Path = ("approval", "matrix", position)
        last = position == len(matrix) - 1
        if tier.up_to is None and not last:
            message = "this tier covers every amount, so the tiers after it overlap"
            yield document.finding("approval-matrix", message, path)
        if last and tier.up_to is not None:
            fix = "add a last tier without `up_to`"
            message = f"no tier covers amounts above {tier.up_to}"
            yield document.finding("approval-matrix", message, path, fix=fix)
        if tier.up_to is not None:
            if tier.up_to < 0 or (highest is not None and tier.up_to <= highest):
                message = f"`up_to` {tier.up_to} is not above the previous tier"
                fix = "sort the tiers, each amount once"
                yield document.finding("approval-matrix", message, (*path, "up_to"), fix=fix)
            highest = tier.up_to
        if tier.automatic and tier.roles:
            message = "an automatic tier must not have roles"
            yield document.finding("approval-matrix", message, (*path, "roles"))
        if not tier.automatic and not tier.roles:
            message = "no role decides in this tier"
            yield document.finding("approval-matrix", message, path, fix="add `roles` or `automatic: true`")


@rule("segregation")
def segregation(model: Model) -> Iterator[Finding]:
    """No role can both request and approve, and no tier names a role whose persons are excluded."""
    for document, policy in model.documents_of(kinds.Policy):
        for position, tier in enumerate(policy.approval.matrix if policy.approval else []):
            for at, role in enumerate(tier.roles):
                if policy.approval is not None and role in policy.approval.requesters:
                    path = ("approval", "matrix", position, "roles", at)
                    message = f"`{role}` can both request and approve"
                    yield document.finding("segregation", message, path, fix="give one of them another role")
                if policy.approval is not None and role in policy.approval.excludes:
                    path = ("approval", "matrix", position, "roles", at)
                    message = f"`{role}` approves, and persons with this role do not decide"
                    yield document.finding(
                        "segregation", message, path, fix="take it out of one of both lists"
                    )


@rule("sender-decides")
def sender_decides(model: Model) -> Iterator[Finding]:
    """A role that may send events does not decide approvals: a person with it could write a request in a colleague's name.
    The engine refuses a vote of a person who sent what the approval rests on, so this is a warning."""
    for document, role in model.documents_of(kinds.Role):
        sends = sorted(SENDING & set(role.may))
        if sends and DECIDE in role.may:
            message = f"`{role.name}` may both send ({', '.join(sends)}) and decide approvals"
            fix = "give sending to a role of its own, for programs"
            yield document.finding("sender-decides", message, ("may",), severity="warning", fix=fix)


@rule("requester")
def requester(model: Model) -> Iterator[Finding]:
    """The requester of an approval is a person whom an event names, or the constant `'system/NAME'` of a declared system,
    or of its role, that requests by itself."""
    for document in model.documents:
        value = document.value
        if isinstance(value, kinds.Policy) and value.approval is not None:
            yield from _constant_requester(
                model, document, value.approval.requester, ("approval", "requester")
            )
        elif isinstance(value, kinds.Workflow):
            for place in steps(value):
                if isinstance(place.step, kinds.Approve) and place.step.requester is not None:
                    path = (*place.path, "requester")
                    yield from _constant_requester(model, document, place.step.requester, path)


def _constant_requester(model: Model, document: Document, text: str, path: Path) -> Iterator[Finding]:
    """Yield a finding for a constant `'system/NAME'` that names no declared system."""
    constant = _CONSTANT.fullmatch(text_of(text).strip())
    systems = {*model.systems, *(system.role for system in model.systems.values() if system.role)}
    if constant is not None and constant["system"] not in systems:
        message = f"`{constant['system']}` is not a declared system"
        yield document.finding(
            "requester", message, path, fix="name a system of this folder, or a field of the event"
        )


@rule("approval-amount")
def approval_amount(model: Model) -> Iterator[Finding]:
    """An approval that has several tiers or reserves a limit needs the `amount` that selects the tier. The limit has one
    currency, because sums of several ones select no tier."""
    for document, workflow in model.documents_of(kinds.Workflow):
        for place in steps(workflow):
            step = place.step
            if isinstance(step, kinds.Approve) and _counts_each_currency(model, step.reserve):
                message = f"`{step.reserve}` counts amounts of each currency by themselves"
                fix = "reserve it in a check"
                yield document.finding("approval-amount", message, (*place.path, "reserve"), fix=fix)
            if not isinstance(step, kinds.Approve) or step.amount is not None:
                continue
            policy = model.policies.get(step.approve)
            approval = policy.approval if policy else None
            if approval is not None and len(approval.matrix) > 1:
                message = f"the matrix of `{step.approve}` has {len(approval.matrix)} tiers, so the step needs an amount"
                fix = "add `amount:`"
                yield document.finding("approval-amount", message, (*place.path, "approve"), fix=fix)
            elif step.reserve is not None:
                message = "`reserve` needs an amount"
                fix = "add `amount:`"
                yield document.finding("approval-amount", message, (*place.path, "reserve"), fix=fix)


def _counts_each_currency(model: Model, name: str | None) -> bool:
    limit = model.policies[name].limit if name in model.policies else None
    return limit is not None and not isinstance(limit.currency, str) and limit.currency.to == OF_AMOUNT


# ------------------------------------------------------------------ covers


@dataclass
class _CoveredValues:
    """Values that the approvals before a place of the workflow cover."""

    texts: set[str] = field(default_factory=set)
    """Covered formulas."""
    paths: set[str] = field(default_factory=set)
    """Covered paths; all paths below them are covered too."""
    results: set[str] = field(default_factory=set)
    """Ids of guarded calls: their results follow from approved values."""
    lets: Mapping[str, str] = field(default_factory=dict)
    rechecked: frozenset[str] = frozenset()
    key: str = ""

    def cover(self, step: kinds.Approve) -> None:
        for text in step.covers:
            source = text_of(text).strip()
            self.texts.add(source)
            paths = paths_of(source)
            if paths is not None and set(paths) == {source}:
                self.paths.add(source)

    def uncovered_path(self, text: str, money: bool, variables: Mapping[str, str]) -> str | None:
        """Return the first path of a formula that no approval covers; None if the whole formula is covered."""
        source = text_of(text).strip()
        if source in self.texts:
            return None
        for path in sorted(paths_of(source) or ()):
            uncovered = self._uncovered(path, money, variables)
            if uncovered is not None:
                return uncovered
        return None

    def _uncovered(self, path: str, money: bool, variables: Mapping[str, str]) -> str | None:
        parts = path.split(".")
        root = parts[0]
        if any(".".join(parts[:end]) in self.paths for end in range(1, len(parts) + 1)):
            return None
        if root == "run" or root in self.results:
            return None
        if root in variables:
            inner = {name: text for name, text in variables.items() if name != root}
            return path if self.uncovered_path(variables[root], money, inner) else None
        if root in self.lets:
            return path if self.uncovered_path(self.lets[root], money, {}) else None
        if not money and (root in self.rechecked or path == self.key):
            return None
        return path


@rule("covers-incomplete")
def covers_incomplete(model: Model) -> Iterator[Finding]:
    """After an approval, calls take money, party and target only from values in `covers`. Fields of type `money` and `id`
    in a call's input come from covered values, from results of calls that the approval guards, from the Run itself, or
    from constants. An id may also come from the key of the Run, or from a fact with `recheck: each_effect`, because a
    change of it makes the call `stale`. The approved `amount` must be covered too."""
    for document, workflow in model.documents_of(kinds.Workflow):
        if any(isinstance(place.step, kinds.Approve) for place in steps(workflow)):
            check = _CoverCheck(model, document, workflow)
            check.block(BlockPlace(workflow.steps, ("steps",), "", "steps"), {})
            for position, signal in enumerate(workflow.signals):
                if signal.in_:
                    check.block(BlockPlace(signal.do, ("signals", position, "do"), "", "signal"), {})
            if check.findings:
                yield from check.judged(broken_formulas(model, document, workflow))


class _CoverCheck:
    def __init__(self, model: Model, document: Document, workflow: kinds.Workflow) -> None:
        self.model = model
        self.document = document
        self.guarded = False
        self.findings: list[tuple[Path, Finding]] = []
        rechecked = frozenset(name for name, fact in workflow.facts.items() if fact.recheck)
        key = text_of(workflow.start.key).strip()
        self.covered = _CoveredValues(lets=workflow.let, rechecked=rechecked, key=key)

    def judged(self, broken: set[Path]) -> list[Finding]:
        """Return the findings that stand although these formulas are broken: of an unknown name, nothing follows."""
        if any("covers" in path or path[:1] == ("let",) for path in broken):
            return []
        return [finding for path, finding in self.findings if path not in broken]

    def block(self, block: BlockPlace, variables: Mapping[str, str]) -> None:
        for position, entry in enumerate(block.entries):
            if isinstance(entry, STEPS):
                self._step(entry, (*block.path, position), variables)

    def _step(self, step: StepKind, path: Path, variables: Mapping[str, str]) -> None:
        if isinstance(step, kinds.Approve):
            self.guarded = True
            self.covered.cover(step)
            if step.amount is not None:
                self._look(step.amount, (*path, "amount"), True, variables, "the approved amount")
        elif isinstance(step, kinds.Call) and self.guarded:
            self._call(step, path, variables)
        inner = dict(variables)
        if isinstance(step, kinds.Each):
            inner[step.as_] = step.each if isinstance(step.each, str) else "[]"
        for block in inner_blocks(step, "", path):
            self.block(block, inner if block.role == "do" else variables)

    def _call(self, step: kinds.Call, path: Path, variables: Mapping[str, str]) -> None:
        operation = self.model.operations.get(step.call)
        if operation is None:
            return
        if step.id is not None:
            self.covered.results.add(step.id)
        if operation.repeat == "read":
            return
        for name, _, spec in each_field(operation.input):
            money = is_money(spec)
            if name in step.with_ and (money or is_identity(spec)):
                what = f"`{name}` of {step.call}"
                self._value(step.with_[name], (*path, "with", name), money, variables, what)

    def _value(self, value: Any, path: Path, money: bool, variables: Mapping[str, str], what: str) -> None:
        if is_formula(value):
            self._look(value, path, money, variables, what)
        elif is_repeated(value):
            each = value["each"]
            inner = dict(variables) | {str(value["as"]): each if isinstance(each, str) else "[]"}
            self._value(value["data"], (*path, "data"), money, inner, what)
        elif isinstance(value, dict):
            for key, part in value.items():
                self._value(part, (*path, key), money, variables, what)
        elif isinstance(value, list):
            for position, part in enumerate(value):
                self._value(part, (*path, position), money, variables, what)

    def _look(self, text: str, path: Path, money: bool, variables: Mapping[str, str], what: str) -> None:
        path_read = self.covered.uncovered_path(text, money, variables)
        if path_read is not None:
            message = f"{what} comes from `{path_read}`, which no earlier approval covers"
            fix = f"add `{path_read}` to `covers`"
            self.findings.append((path, self.document.finding("covers-incomplete", message, path, fix=fix)))


@rule("change-policy")
def change_policy(model: Model) -> Iterator[Finding]:
    """One policy names the approvers of changes, and only roles that may decide approvals."""
    policies = [(d, policy.change) for d, policy in model.documents_of(kinds.Policy) if policy.change]
    for document, _ in policies[1:]:
        message = f"`{policies[0][0].name}` already names the approvers of changes"
        fix = "put all rules into one policy"
        yield document.finding("change-policy", message, ("change",), at_key=True, fix=fix)
    for document, change in policies:
        for position, change_rule in enumerate(change.approve):
            for at, name in enumerate(change_rule.roles):
                role = model.roles.get(name)
                if role is not None and DECIDE not in role.may:
                    message = f"`{name}` may not decide approvals"
                    fix = f"give `{name}` the permission approvals:own:decide, or name another role"
                    path = ("change", "approve", position, "roles", at)
                    yield document.finding("change-policy", message, path, fix=fix)
