"""Checker of a tree before evaluation: names, functions and arity always; types if schemas are given.

Collects all findings. Reports only certain errors: parts that a schema leaves open are dyn and fit everywhere.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from counterfoil.expr import pattern
from counterfoil.expr import tree as t
from counterfoil.expr.errors import ExpressionFinding, Fault, finding, with_article
from counterfoil.expr.functions import FUNCTIONS, UNSUPPORTED, Function
from counterfoil.expr.parse import MACROS
from counterfoil.expr.types import (
    DYN,
    NUMBER,
    Signature,
    Type,
    field,
    fits,
    from_schema,
    list_of,
    type_of,
    union,
)
from counterfoil.expr.values import MONEY_DIVIDED, MONEY_TIMES_DECIMAL, kind, rounding

Scope = Mapping[str, Type]

_ORDERED = ("bool", "int", "decimal", "string", "bytes", "money", "timestamp", "date", "duration")
_OF_PATTERNS = ("matches", "find_all")
"""Functions whose last argument is a pattern."""
_PART_FIELDS = {"period": {"type": "string"}, "amount": {"x-type": "money"}}
_PART_FIELDS |= {name: {"x-type": "date"} for name in ("start", "end", "next_start")}
_PART = from_schema({"properties": _PART_FIELDS})


def _arithmetic() -> dict[tuple[str, str, str], str]:
    table: dict[tuple[str, str, str], str] = {}
    for op in "+-*/%":
        for left in ("int", "decimal"):
            for right in ("int", "decimal"):
                table[op, left, right] = "int" if left == right == "int" else "decimal"
    for same in ("string", "bytes", "list", "money", "duration"):
        table["+", same, same] = same
    for op in "+-":
        table[op, "timestamp", "duration"] = "timestamp"
        table[op, "date", "duration"] = "date"
        table[op, "money", "money"] = "money"
        table[op, "duration", "duration"] = "duration"
    table["+", "duration", "timestamp"] = "timestamp"
    table["+", "duration", "date"] = "date"
    table["-", "timestamp", "timestamp"] = table["-", "date", "date"] = "duration"
    for scaled in ("money", "duration"):
        table["*", scaled, "int"] = table["*", "int", scaled] = scaled
    return table


_ARITHMETIC = _arithmetic()


class Checker:
    """One pass over one tree. `roots` None: every root name is dyn, and operand types are not checked."""

    def __init__(self, text: str, roots: Scope | None, lookups: bool) -> None:
        self.text = text
        self.roots = roots
        self.strict = roots is not None
        self.lookups = lookups
        self.findings: list[ExpressionFinding] = []

    def report(self, rule: str, message: str, node: t.ExprNode) -> Type:
        start, end = t.highlight_span(node, self.text) if rule == "field" else (node.start, node.end)
        self.findings.append(finding(rule, message, self.text, start, end))
        return DYN

    def suggest(self, name: str, candidates: Iterable[str]) -> str:
        """Return a suggestion for a misspelled name; only for the first findings, because comparing names is slow."""
        if len(self.findings) >= 20:
            return ""
        close = difflib.get_close_matches(name, list(candidates)[:500], n=1)
        return f"; did you mean {close[0]!r}?" if close else ""

    def mismatch(self, message: str, node: t.ExprNode) -> Type:
        """Report a finding about types, only if the caller gave types."""
        return self.report("type", message, node) if self.strict else DYN

    def infer(self, node: t.ExprNode, scope: Scope) -> Type:
        """Return the type of a node; adds findings on the way."""
        match node:
            case t.LiteralNode():
                return self.literal(node)
            case t.NameNode():
                return self.name(node, scope)
            case t.SelectNode():
                return self.select(self.infer(node.operand, scope), node.field, node)
            case t.HasNode():
                self.select(self.infer(node.operand, scope), node.field, node)
                return type_of("bool")
            case t.IndexNode():
                return self.index(node, scope)
            case t.CallNode():
                return self.call(node, scope)
            case t.UnaryNode():
                return self.unary(node, scope)
            case t.BinaryNode():
                return self.binary(node, scope)
            case t.AndNode() | t.OrNode():
                for term in node.terms:
                    self.expect_bool(term, scope, "&&" if isinstance(node, t.AndNode) else "||")
                return type_of("bool")
            case t.TernaryNode():
                self.expect_bool(node.condition, scope, "?")
                return union([self.infer(node.yes, scope), self.infer(node.no, scope)])
            case t.ListNode():
                items = [self.infer(item, scope) for item in node.items]
                return list_of(union(items)) if items else type_of("list")
            case t.MapNode():
                for key in node.keys:
                    if not fits(self.infer(key, scope), type_of("string")):
                        self.mismatch("the keys of a map must be strings", key)
                for value in node.values:
                    self.infer(value, scope)
                return type_of("map")
            case t.MacroNode():
                return self.macro(node, scope)
        return DYN

    def literal(self, node: t.LiteralNode) -> Type:
        values = frozenset({node.value}) if isinstance(node.value, str) else None
        return Type(frozenset({kind(node.value)}), values=values)

    def name(self, node: t.NameNode, scope: Scope) -> Type:
        if node.name in scope:
            return scope[node.name]
        if self.roots is None:
            return DYN
        if node.name in self.roots:
            return self.roots[node.name]
        hint = self.suggest(node.name, [*scope, *self.roots])
        return self.report("name", f"the name {node.name!r} is not available here{hint}", node)

    def select(self, owner: Type, name: str, node: t.ExprNode) -> Type:
        if owner.kinds and not owner.kinds & {"map", "money"}:
            if not self.strict:
                return DYN
            return self.report("field", f"{with_article(owner)} has no field {name!r}", node)
        result = field(owner, name)
        if isinstance(result, Type):
            return result
        if not self.strict:
            return DYN
        return self.report("field", f"there is no field {name!r}{self.suggest(name, result)}", node)

    def index(self, node: t.IndexNode, scope: Scope) -> Type:
        owner, key = self.infer(node.operand, scope), self.infer(node.key, scope)
        if owner.dyn:
            return DYN
        results: list[Type] = []
        if "list" in owner.kinds and fits(key, type_of("int")):
            results.append(owner.item or DYN)
        if "map" in owner.kinds and fits(key, type_of("string")):
            if isinstance(node.key, t.LiteralNode) and isinstance(node.key.value, str):
                return self.select(owner, node.key.value, node)
            results.append(DYN)
        if results:
            return union(results)
        return self.mismatch(f"cannot index {with_article(owner)} with {with_article(key)}", node)

    def unary(self, node: t.UnaryNode, scope: Scope) -> Type:
        if node.op == "!":
            self.expect_bool(node.operand, scope, "!")
            return type_of("bool")
        operand = self.infer(node.operand, scope)
        allowed = operand.kinds & {"int", "decimal", "money", "duration"}
        if operand.kinds and not allowed:
            return self.mismatch(f"minus does not apply to {with_article(operand)}", node)
        return Type(allowed)

    def expect_bool(self, node: t.ExprNode, scope: Scope, op: str) -> None:
        actual = self.infer(node, scope)
        if not fits(actual, type_of("bool")):
            self.mismatch(f"{op} takes true or false, not {with_article(actual)}", node)

    def binary(self, node: t.BinaryNode, scope: Scope) -> Type:
        left, right = self.infer(node.left, scope), self.infer(node.right, scope)
        zero = _is_zero(node.left) or _is_zero(node.right)
        if node.op in ("==", "!="):
            self.equality(node, left, right, zero)
            return type_of("bool")
        if node.op == "in":
            if not fits(right, type_of("list", "map")):
                message = f"the right side of in must be a list or a map, not {with_article(right)}"
                self.mismatch(message, node.right)
            elif right.kinds == {"list"} and right.item is not None and not _may_equal(left, right.item):
                self.mismatch(f"{with_article(left)} is never in {with_article(right)}", node)
            return type_of("bool")
        if node.op in ("<", "<=", ">", ">="):
            if not (_comparable(left, right) or (zero and ("money" in left.kinds | right.kinds))):
                self.mismatch(f"cannot compare {left} with {right}", node)
            return type_of("bool")
        if zero and "money" in left.kinds | right.kinds and node.op in "+-":
            return type_of("money")
        return self.arithmetic(node, left, right)

    def arithmetic(self, node: t.BinaryNode, left: Type, right: Type) -> Type:
        lefts = left.kinds or frozenset(k for op, k, _ in _ARITHMETIC if op == node.op)
        rights = right.kinds or frozenset(k for op, _, k in _ARITHMETIC if op == node.op)
        keys = [(node.op, a, b) for a in lefts for b in rights]
        results = {_ARITHMETIC[key] for key in keys if key in _ARITHMETIC}
        if not results:
            return self.mismatch(_advice(node.op, left, right), node)
        if left.dyn or right.dyn:
            return type_of(*results) if len(results) == 1 else DYN
        item = union([left.item, right.item]) if left.item is not None and right.item is not None else None
        return Type(frozenset(results), item=item if "list" in results else None)

    def equality(self, node: t.BinaryNode, left: Type, right: Type, zero: bool) -> None:
        if not self.strict or (zero and "money" in left.kinds | right.kinds):
            return
        if not _may_equal(left, right):
            self.report("type", f"{with_article(left)} never equals {with_article(right)}", node)
            return
        if left.values is None or right.values is None or not left.kinds == right.kinds == {"string"}:
            return
        if not left.values & right.values:
            listed, literal = (left, right) if isinstance(node.right, t.LiteralNode) else (right, left)
            names = ", ".join(sorted(listed.values or ())[:12])
            self.report("type", f"{'/'.join(sorted(literal.values or ()))!r} is not one of: {names}", node)

    def macro(self, node: t.MacroNode, scope: Scope) -> Type:
        over = self.infer(node.operand, scope)
        if not fits(over, type_of("list", "map")):
            message = f"{node.kind} iterates over a list or a map, not {with_article(over)}"
            self.mismatch(message, node.operand)
        item = DYN if over.dyn else type_of("string") if over.kinds == {"map"} else over.item or DYN
        inner = {**scope, node.variable: item}
        if node.test is not None:
            self.expect_bool(node.test, inner, "map")
        if node.kind == "map":
            return list_of(self.infer(node.body, inner))
        self.expect_bool(node.body, inner, node.kind)
        return list_of(item) if node.kind == "filter" else type_of("bool")

    def call(self, node: t.CallNode, scope: Scope) -> Type:
        if node.name == "round" and not node.method and node.args:
            arguments = [self.factors(node.args[0], scope), *(self.infer(a, scope) for a in node.args[1:])]
        else:
            arguments = [self.infer(a, scope) for a in node.args]
        function = FUNCTIONS.get(node.name)
        if function is None:
            if node.name in MACROS:
                message = f"{node.name} is a macro: list.{node.name}(x, condition)"
            else:
                hint = UNSUPPORTED.get(node.name)
                message = hint or f"there is no function {node.name!r}{self.suggest(node.name, FUNCTIONS)}"
            return self.report("function", message, node)
        if function.lookup and not self.lookups:
            message = f"{node.name}() is a look-up, and look-ups are not allowed here"
            return self.report("lookup", message, node)
        forms = [s for s in function.signatures if s.method == node.method]
        if not forms:
            how = f"x.{node.name}(...)" if function.signatures[0].method else f"{node.name}(x, ...)"
            return self.report("function", f"call {node.name} as {how}", node)
        if not any(s.takes(len(arguments)) for s in forms):
            return self.report("function", f"{node.name}() takes {_counts(forms)}", node)
        self.constants(node)
        return self.result(node, function, forms, arguments)

    def result(
        self, node: t.CallNode, function: Function, forms: list[Signature], arguments: list[Type]
    ) -> Type:
        matching = [s for s in forms if s.accepts(arguments)]
        if not matching:
            actual = ", ".join(map(str, arguments))
            expected = " or ".join(dict.fromkeys(f"({', '.join(map(str, s.params))})" for s in forms[:6]))
            return self.mismatch(f"{node.name}() takes {expected}, not ({actual})", node)
        if function.name == "first":
            return union(arguments)
        if function.name == "split_by_period":
            return list_of(_PART)
        exact = [s for s in matching if s.accepts(arguments, widen=False)]
        return union([s.result for s in exact or matching])

    def factors(self, node: t.ExprNode, scope: Scope) -> Type:
        """Return the type of the first argument of round(), which may multiply and divide money and decimals."""
        if not (isinstance(node, t.BinaryNode) and node.op in ("*", "/")):
            return self.infer(node, scope)
        left, right = self.factors(node.left, scope), self.infer(node.right, scope)
        for side, part in ((left, node.left), (right, node.right)):
            if not fits(side, Type(NUMBER | {"money"})):
                return self.mismatch(f"round() takes numbers and money, not {with_article(side)}", part)
        if left.dyn or right.dyn:
            return DYN
        return type_of("money") if "money" in left.kinds | right.kinds else Type(NUMBER)

    def constants(self, node: t.CallNode) -> None:
        """Report errors inside literal arguments, such as a bad pattern."""
        last = node.args[-1]
        try:
            if node.name in _OF_PATTERNS and isinstance(last, t.LiteralNode) and isinstance(last.value, str):
                pattern.compile_pattern(last.value)
            if node.name == "round" and isinstance(node.args[1], t.LiteralNode):
                last = node.args[1]
                rounding(last.value)
        except Fault as fault:
            self.report("pattern" if node.name in _OF_PATTERNS else "type", str(fault), last)


def _is_zero(node: t.ExprNode) -> bool:
    return isinstance(node, t.LiteralNode) and type(node.value) is int and node.value == 0


def _comparable(left: Type, right: Type) -> bool:
    if left.dyn or right.dyn:
        return (left.dyn and right.dyn) or bool((left.kinds | right.kinds) & set(_ORDERED))
    numbers = left.kinds & NUMBER and right.kinds & NUMBER
    return bool(left.kinds & right.kinds & set(_ORDERED) or numbers)


def _may_equal(left: Type, right: Type) -> bool:
    if left.dyn or right.dyn or "null" in left.kinds | right.kinds:
        return True
    return bool(left.kinds & right.kinds) or bool(left.kinds & NUMBER and right.kinds & NUMBER)


def _advice(op: str, left: Type, right: Type) -> str:
    if "money" in left.kinds | right.kinds:
        if op == "*" and (left.kinds | right.kinds) & NUMBER:
            return MONEY_TIMES_DECIMAL
        if op == "/":
            return MONEY_DIVIDED
    return f"the operator {op} does not apply to {left} and {right}"


def _counts(forms: list[Signature]) -> str:
    receivers = forms[0].method
    low = min(len(s.params) - s.optional for s in forms) - receivers
    high = max(len(s.params) for s in forms) - receivers
    if any(s.rest for s in forms):
        return f"{low} or more arguments"
    if low == high:
        return f"{low} argument{'' if low == 1 else 's'}"
    return f"{low} to {high} arguments"
