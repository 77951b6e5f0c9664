"""The values that a workflow's formulas read, and the values that may change their results.

A leaf is one field that a Run reads: `("event", "amount")`, `("head:invoice", "status")`. Interesting values follow from
comparisons in formulas: the literal itself, another value, and for amounts one cent more or less.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeAlias

from counterfoil.core.money import Money
from counterfoil.expr import tree as t
from counterfoil.expr.tree import ExprNode, children
from counterfoil.model.fields import Schema

Leaf: TypeAlias = tuple[str, ...]
"""The root that is read, then the path of fields."""
ABSENT = object()
"""Stands for a missing optional field."""
LIKE = "like"
_ORDER = ("<", "<=", ">", ">=")


@dataclass
class LeafUses:
    """The uses of leaves in formulas."""

    literals: dict[Leaf, list[Any]] = field(default_factory=dict)
    pairs: list[tuple[Leaf, Leaf, str]] = field(default_factory=list)
    maybe: set[Leaf] = field(default_factory=set)
    """Optional fields that a formula tests with `has`."""
    leaves: dict[Leaf, None] = field(default_factory=dict)


class LeafResolver:
    """Resolves paths of formulas to leaves. `roots`: the root of each name. `lets` are replaced by their formulas."""

    def __init__(self, roots: Mapping[str, Leaf], lets: Mapping[str, ExprNode]) -> None:
        self.roots = roots
        self.lets = lets
        self.read = LeafUses()

    def look(self, node: ExprNode, visited: frozenset[str] = frozenset()) -> None:
        """Record everything that a formula compares, including its lets."""
        for inner in _walk(node):
            leaf = self.leaf(inner)
            if leaf is not None:
                self.read.leaves.setdefault(leaf)
            if isinstance(inner, t.NameNode) and inner.name in self.lets and inner.name not in visited:
                self.look(self.lets[inner.name], visited | {inner.name})
            if isinstance(inner, t.HasNode):
                path = self.leaf(t.SelectNode(inner.start, inner.end, inner.operand, inner.field))
                if path is not None:
                    self.read.maybe.add(path)
                    self.read.leaves.setdefault(path)
            if isinstance(inner, t.CallNode) and inner.name == "first":
                # A formula that gives another value for a field expects that the field may be missing.
                self.read.maybe |= {path for arg in inner.args[:-1] if (path := self.leaf(arg)) is not None}
            if isinstance(inner, t.BinaryNode) and inner.op in ("==", "!=", *_ORDER):
                self._compare(inner.left, inner.right, "==" if inner.op in ("==", "!=") else "<")
            elif isinstance(inner, t.BinaryNode) and inner.op == "-":
                self._compare(inner.left, inner.right, "<")
            elif isinstance(inner, t.BinaryNode) and inner.op == "in":
                self._among(inner)
            elif isinstance(inner, t.CallNode) and inner.name in ("min", "max") and len(inner.args) == 2:
                self._compare(inner.args[0], inner.args[1], "<")

    def _compare(self, left: ExprNode, right: ExprNode, how: str) -> None:
        a, b = self.leaf(left), self.leaf(right)
        for leaf, other in ((a, right), (b, left)):
            if leaf is not None and isinstance(other, t.LiteralNode):
                self._literal(leaf, other.value)
        if a is not None and b is not None and a != b:
            self.read.pairs.append((a, b, how))

    def _among(self, node: t.BinaryNode) -> None:
        leaf = self.leaf(node.left)
        if leaf is not None and isinstance(node.right, t.ListNode):
            for item in node.right.items:
                if isinstance(item, t.LiteralNode):
                    self._literal(leaf, item.value)

    def _literal(self, leaf: Leaf, value: Any) -> None:
        literals = self.read.literals.setdefault(leaf, [])
        if value not in literals:
            literals.append(value)

    def leaf(self, node: ExprNode) -> Leaf | None:
        """Return the leaf of a path; None for any other formula."""
        fields: list[str] = []
        while True:
            match node:
                case t.SelectNode():
                    fields.append(node.field)
                    node = node.operand
                case t.CallNode(name="head", args=(t.LiteralNode(value=str(object_)), *_)):
                    return (f"head:{object_}", *reversed(fields)) if fields else None
                case t.CallNode(name="abs", args=(inner,)):
                    node = inner
                case t.NameNode():
                    return self._named(node.name, list(reversed(fields)))
                case _:
                    return None

    def _named(self, name: str, fields: list[str]) -> Leaf | None:
        root = self.roots.get(name)
        if root is not None:
            path = fields
            if root[0].partition(":")[0] == "event":
                if not path or path[0] != "data":
                    return None
                path = path[1:]
            return (*root, *path) if path else None
        if name in self.lets:
            inner = self.leaf(self.lets[name])
            return (*inner, *fields) if inner is not None else None
        return None


def _walk(node: ExprNode) -> Iterator[ExprNode]:
    yield node
    if isinstance(node, t.HasNode):
        return
    for child in children(node):
        yield from _walk(child)


# ------------------------------------------------------------------ values of a schema


def plain_value(schema: Schema, name: str, currency: str, amount: int) -> Any:
    """Return a plain value of a schema. `name`: name of its field."""
    if schema.get("enum"):
        return schema["enum"][0]
    match schema.get("x-type"):
        case "money":
            return Money(amount, currency)
        case "date":
            return _moment(name).date()
        case "timestamp":
            return _moment(name)
        case "decimal":
            return Decimal(1)
        case "duration":
            return timedelta(days=2)
    match schema.get("type"):
        case "object":
            properties = schema.get("properties", {})
            return {n: plain_value(s, n, currency, amount) for n, s in properties.items()}
        case "array":
            items = schema.get("items", {})
            item = name.removesuffix("s")
            # Without a schema, items are assumed to be lines with an amount and a period.
            return [plain_value(items, item, currency, amount) if items else _line(item, currency, amount)]
        case "integer":
            return 1
        case "number":
            return Decimal(1)
        case "boolean":
            return False
    if "currency" in name:
        return currency
    return f"{name.removesuffix('_id')}-1"


def _line(name: str, currency: str, amount: int) -> dict[str, Any]:
    begin, end = _moment("start").date(), _moment("end").date()
    return {"id": f"{name}-1", "amount": Money(amount, currency), "start": begin, "end": end}


def _moment(name: str) -> datetime:
    """Return a date by the field's name: starts are before ends."""
    if "start" in name or "begin" in name:
        return datetime(2026, 1, 1, tzinfo=UTC)
    if "end" in name or "due" in name or "until" in name:
        return datetime(2026, 4, 20, tzinfo=UTC)
    return datetime(2026, 1, 10, tzinfo=UTC)


def both_sides(value: Any, literal: Any) -> list[Any]:
    """Return values on both sides of a comparison of `value` with a literal."""
    if isinstance(value, Money) and isinstance(literal, int):
        return [Money(literal + d, value.currency) for d in (-1, 0, 1)]
    if isinstance(value, bool) or isinstance(literal, bool):
        return [True, False]
    if isinstance(value, int | Decimal) and isinstance(literal, int | Decimal):
        return [type(value)(literal + d) for d in (-1, 0, 1)]
    return [literal, f"other-{literal}" if isinstance(literal, str) else None]


def neighbours(value: Any) -> list[Any]:
    """Return a value and its direct neighbours."""
    if isinstance(value, Money):
        return [Money(value.minor + d, value.currency) for d in (0, -1, 1)]
    if isinstance(value, datetime | date):
        return [value, value - timedelta(days=1), value + timedelta(days=1)]
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return [value]
    return [value, value - 1, value + 1]


def get(values: Mapping[str, Any], leaf: Leaf) -> Any:
    """Return the value at a leaf, or ABSENT."""
    value: Any = values
    for part in leaf:
        if isinstance(value, Money) and part in ("minor", "currency"):
            return value.minor if part == "minor" else value.currency
        if not isinstance(value, dict) or part not in value:
            return ABSENT
        value = value[part]
    return value


def put(values: dict[str, Any], leaf: Leaf, value: Any) -> dict[str, Any]:
    """Return the values with another value at a leaf."""
    head, *rest = leaf
    if not rest:
        if value is ABSENT:
            return {k: v for k, v in values.items() if k != head}
        return {**values, head: value}
    inner = values.get(head, {})
    if isinstance(inner, Money):
        if rest[0] == "minor" and isinstance(value, int):
            return {**values, head: Money(value, inner.currency)}
        if rest[0] == "currency" and isinstance(value, str) and len(value) == 3:
            return {**values, head: Money(inner.minor, value)}
        return values
    if not isinstance(inner, dict):
        return values
    return {**values, head: put(inner, tuple(rest), value)}


def unique(values: Iterable[Any]) -> list[Any]:
    result: list[Any] = []
    for value in values:
        if not any(value is other or (type(value) is type(other) and value == other) for other in result):
            result.append(value)
    return result
