"""Fields of events, objects and operations that each document reads or fills.

A change of a contract breaks only the documents that use the changed field. The usage comes from the syntax trees of
formulas, so a field that is read through a let, a variable of `each` or a macro counts under its own name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from counterfoil.expr import ExpressionError
from counterfoil.expr.tree import (
    CallNode,
    ExprNode,
    HasNode,
    IndexNode,
    LiteralNode,
    MacroNode,
    NameNode,
    SelectNode,
    children,
)
from counterfoil.model import kinds
from counterfoil.model.compile.operation import undo_input
from counterfoil.model.documents import Documents
from counterfoil.model.template import is_formula, is_repeated, text_of
from counterfoil.model.typing import tree_of

Contract: TypeAlias = tuple[str, str]
"""`event`, `object`, `input` or `output` (of an operation), and the name."""
User: TypeAlias = tuple[str, str]
"""Kind and name of the document with the formula."""


@dataclass(frozen=True, slots=True)
class ContractPath:
    """Place in a contract that a name stands for. With `envelope` the fields are below `data`."""

    contract: Contract
    path: tuple[str, ...] = ()
    envelope: bool = False

    def below(self, field: str) -> ContractPath | None:
        """Return the place of a field; None for a field of the envelope."""
        if self.envelope:
            return ContractPath(self.contract) if field == "data" else None
        return ContractPath(self.contract, (*self.path, field))


Names: TypeAlias = Mapping[str, ContractPath | None]


class FieldUsage:
    """Fields of contracts that the documents of a Model use.

    `reads`: contract to user to the dotted fields that it reads, `""` for all of them; True if every formula that
    reads the field checks it with `has`. `gives`: contract to user to the fields that it fills.
    """

    def __init__(self) -> None:
        self.reads: dict[Contract, dict[User, dict[str, bool]]] = {}
        self.gives: dict[Contract, dict[User, set[str]]] = {}

    def readers(self, contract: Contract, field: str) -> dict[User, bool]:
        """Return the users that read a field, a part of it or a field around it; any field for `""`.

        The value is True if the user always checks the field with `has`.
        """
        users: dict[User, bool] = {}
        for user, fields in self.reads.get(contract, {}).items():
            touching = [checked for read, checked in fields.items() if _touches(read, field)]
            if touching:
                users[user] = all(touching)
        return users

    def read(self, contract: Contract, user: User, path: tuple[str, ...], checked: bool = False) -> None:
        fields = self.reads.setdefault(contract, {}).setdefault(user, {})
        text = ".".join(path)
        fields[text] = fields.get(text, True) and checked

    def give(self, contract: Contract, user: User, fields: Iterable[str]) -> None:
        self.gives.setdefault(contract, {}).setdefault(user, set()).update(fields)


def _touches(read: str, field: str) -> bool:
    return not read or not field or f"{read}.".startswith(f"{field}.") or f"{field}.".startswith(f"{read}.")


class UsageReader:
    """Records the fields that the formulas of one document read."""

    def __init__(self, documents: Documents, usage: FieldUsage, user: User) -> None:
        self.documents = documents
        self.usage = usage
        self.user = user

    # -------------------------------------------------------------- formulas

    def formula(self, text: str | None, names: Names) -> None:
        tree = _tree(text)
        if tree is not None:
            self._visit(tree, names, _checked_fields(tree))

    def bind(self, text: Any, names: Names) -> ContractPath | None:
        """Return the contract place that a let or variable stands for; None for a value of its own.

        The place counts as read only where the name is used.
        """
        tree = _tree(text) if isinstance(text, str) else None
        if tree is None:
            self.template(text, names)
            return None
        checked = _checked_fields(tree)
        place = self._place(tree, names, checked)
        if place is None:
            self._visit(tree, names, checked)
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

    def _visit(self, node: ExprNode, names: Names, checked: frozenset[tuple[str, ...]]) -> None:
        place = self._place(node, names, checked)
        if place is not None:
            if not place.envelope or isinstance(node, NameNode):
                self.usage.read(place.contract, self.user, place.path, _key(place) in checked)
            return
        if isinstance(node, HasNode):
            base = self._place(node.operand, names, checked)
            place = base.below(node.field) if base else None
            if place is not None:
                self.usage.read(place.contract, self.user, place.path, True)
            elif base is None:
                self._visit(node.operand, names, checked)
        elif isinstance(node, MacroNode):
            over = self._place(node.operand, names, checked)
            if over is None:
                self._visit(node.operand, names, checked)
            inner = {**names, node.variable: over}
            for part in (node.test, node.body):
                if part is not None:
                    self._visit(part, inner, checked)
        elif not isinstance(node, SelectNode) or self._envelope(node, names) is None:
            for child in children(node):
                self._visit(child, names, checked)

    def _envelope(self, node: SelectNode, names: Names) -> ContractPath | None:
        """Return the event whose envelope a selection reads; an envelope field is not part of the contract."""
        base = self._place(node.operand, names, frozenset())
        return base if base is not None and base.envelope else None

    def _place(
        self, node: ExprNode, names: Names, checked: frozenset[tuple[str, ...]]
    ) -> ContractPath | None:
        """Return the contract place of a node: a path, a list element, a filtered list or a head."""
        match node:
            case NameNode():
                return names.get(node.name)
            case SelectNode():
                base = self._place(node.operand, names, checked)
                return base.below(node.field) if base else None
            case IndexNode(key=LiteralNode(value=str(key))):
                base = self._place(node.operand, names, checked)
                return base.below(key) if base else None
            case IndexNode():
                base = self._place(node.operand, names, checked)
                if base is not None:
                    self._visit(node.key, names, checked)
                return base
            case CallNode(name="head", args=(LiteralNode(value=str(name)), *others)):
                for other in others:
                    self._visit(other, names, checked)
                return ContractPath(("object", name))
            case MacroNode(kind="filter"):
                base = self._place(node.operand, names, checked)
                if base is not None:
                    self._visit(node.body, {**names, node.variable: base}, checked)
                return base
        return None

    # -------------------------------------------------------------- parts of documents

    def undo(self, choice: kinds.UndoCall, undone: str, names: Names) -> None:
        call_input, result = ContractPath(("input", undone)), ContractPath(("output", undone))
        names = {**names, "input": call_input, "result": result}
        self.formula(choice.when, names)
        if undone in self.documents.operations and choice.call in self.documents.operations:
            fields = undo_input(self.documents, choice, undone)
            self.template(dict(fields), names)
            self.usage.give(("input", choice.call), self.user, fields)


def _tree(text: str | None) -> ExprNode | None:
    if text is None:
        return None
    try:
        return tree_of(text_of(text))
    except (ExpressionError, RecursionError):
        return None  # `check` reports it


def _checked_fields(node: ExprNode) -> frozenset[tuple[str, ...]]:
    """Return the names of the fields that a formula checks with `has`."""
    fields = set()
    pending = [node]
    while pending:
        current = pending.pop()
        if isinstance(current, HasNode):
            fields.add((current.field,))
        pending.extend(children(current))
    return frozenset(fields)


def _key(place: ContractPath) -> tuple[str, ...]:
    return place.path[-1:]
