"""Generator of a Python function from a checked tree, through the `ast` module and never from source text.

One tree gives up to two functions. The *direct* one assumes success and inlines what it can. The *careful* one calls the
operators of `values` and absorbs errors as CEL does. It runs after the direct one raised, and determines the result and the
message. If the direct one returns, both return the same value.

Generated code contains subscripts, comparisons, lambdas and calls of the listed functions. Its only attributes are `minor`
and `currency`, read after an exact type test, so no text can reach into Python objects. The line number of each node of the
careful function is the number of its tree node; that is how an error finds its place.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import CodeType, FunctionType
from typing import Any

from counterfoil.core.minor_units import MinorUnits
from counterfoil.expr import amounts
from counterfoil.expr import tree as t
from counterfoil.expr.functions import FUNCTIONS
from counterfoil.expr.runtime import GLOBALS
from counterfoil.expr.table_rows import required_rows
from counterfoil.expr.values import Budget, Value

GENERATED_FILENAME = "<expression>"
CompiledFunction = Callable[[Mapping[str, object], Any, Budget], Value]

_ARITHMETIC = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide", "%": "remainder"}
_ORDER: dict[str, tuple[str, type[ast.cmpop]]] = {
    "<": ("less", ast.Lt),
    "<=": ("less_or_equal", ast.LtE),
    ">": ("greater", ast.Gt),
    ">=": ("greater_or_equal", ast.GtE),
}
_BOOL_FUNCTIONS = frozenset({"contains", "startsWith", "endsWith", "matches", "bool"})
_LOAD = ast.Load()


class Generator:
    """Generator of one function; `nodes[line]` is the tree node of a line number.

    `units`: the system whose minor units the function reads and writes; None for those of ISO 4217.
    """

    def __init__(self, careful: bool, units: MinorUnits | None = None) -> None:
        self.careful = careful
        self.units = units
        self.nodes: list[t.ExprNode] = []
        self.constants: dict[str, Any] = {}
        self.counter = 0
        self.required: frozenset[int] = frozenset()

    def function(self, tree: t.ExprNode) -> CompiledFunction:
        """Return the compiled function of (bindings, lookup, budget)."""
        self.required = required_rows(tree)
        body = self.emit(tree, {})
        if _may_amplify(tree):
            body = self.call("measured", body, _name("budget"))
        expression = ast.Expression(_lambda(["bindings", "lookup", "budget"], body))
        _locate(expression.body, 1)
        outer = compile(expression, GENERATED_FILENAME, "eval")  # from the generated tree, never from text
        inner = next(part for part in outer.co_consts if isinstance(part, CodeType))
        of_system = amounts.in_units_of(self.units) if self.units is not None else {}
        function: CompiledFunction = FunctionType(inner, {**GLOBALS, **of_system, **self.constants})
        return function

    def emit(self, node: t.ExprNode, scope: Mapping[str, str]) -> ast.expr:
        self.nodes.append(node)
        line = len(self.nodes) - 1
        code = self.build(node, scope)
        if self.careful:
            _locate(code, line + 1)
        return code

    def temporary(self) -> str:
        self.counter += 1
        return f"t{self.counter}"

    def call(self, function: str, *args: ast.expr) -> ast.expr:
        return ast.Call(_name(function), list(args), [])

    def build(self, node: t.ExprNode, scope: Mapping[str, str]) -> ast.expr:
        match node:
            case t.LiteralNode():
                return self.literal(node.value)
            case t.NameNode():
                if node.name in scope:
                    return _name(scope[node.name])
                if self.careful:
                    return self.call("root", _name("bindings"), ast.Constant(node.name))
                return ast.Subscript(_name("bindings"), ast.Constant(node.name), _LOAD)
            case t.SelectNode():
                return self.select(self.emit(node.operand, scope), node.field)
            case t.HasNode():
                return self.call("has", self.emit(node.operand, scope), ast.Constant(node.field))
            case t.IndexNode():
                return self.call("index", self.emit(node.operand, scope), self.emit(node.key, scope))
            case t.CallNode():
                return self.function_call(node, scope)
            case t.UnaryNode():
                if node.op == "!":
                    return ast.UnaryOp(ast.Not(), self.truth(node.operand, scope))
                return self.call("negate", self.emit(node.operand, scope))
            case t.BinaryNode():
                return self.binary(node, scope)
            case t.AndNode() | t.OrNode():
                terms = [self.truth(term, scope) for term in node.terms]
                if self.careful:
                    name = "and_" if isinstance(node, t.AndNode) else "or_"
                    return self.call(name, *(_lambda([], term) for term in terms))
                return ast.BoolOp(ast.And() if isinstance(node, t.AndNode) else ast.Or(), terms)
            case t.TernaryNode():
                condition = self.truth(node.condition, scope)
                return ast.IfExp(condition, self.emit(node.yes, scope), self.emit(node.no, scope))
            case t.ListNode():
                return ast.List([self.emit(item, scope) for item in node.items], _LOAD)
            case t.MapNode():
                pairs: list[ast.expr] = [
                    ast.Tuple([self.emit(key, scope), self.emit(value, scope)], _LOAD)
                    for key, value in zip(node.keys, node.values, strict=True)
                ]
                return self.call("map_of", ast.Tuple(pairs, _LOAD))
            case t.MacroNode():
                return self.macro(node, scope)
        raise AssertionError(f"no such node: {node!r}")

    def literal(self, value: object) -> ast.expr:
        if isinstance(value, Decimal):
            name = f"k{len(self.constants)}"
            self.constants[name] = value
            return _name(name)
        return ast.Constant(value)  # type: ignore[arg-type]

    def select(self, operand: ast.expr, field: str) -> ast.expr:
        # Python warns about subscripts of literals.
        of_system = self.units is not None and field == "minor"
        if self.careful or of_system or isinstance(operand, ast.Constant | ast.List):
            return self.call("select", operand, ast.Constant(field))
        if field not in ("minor", "currency"):
            return ast.Subscript(operand, ast.Constant(field), _LOAD)
        value = self.temporary()
        return ast.IfExp(
            ast.Compare(self.call("type", _assign(value, operand)), [ast.Is()], [_name("Money")]),
            ast.Attribute(_name(value), field, _LOAD),
            ast.Subscript(_name(value), ast.Constant(field), _LOAD),
        )

    def truth(self, node: t.ExprNode, scope: Mapping[str, str]) -> ast.expr:
        """Return code for a node that must be a bool; without a test if it cannot be anything else."""
        code = self.emit(node, scope)
        if _is_bool(node):
            return code
        checked = self.call("truth", code)
        if self.careful:
            _locate(checked, code.lineno)
        return checked

    def binary(self, node: t.BinaryNode, scope: Mapping[str, str]) -> ast.expr:
        left, right = self.emit(node.left, scope), self.emit(node.right, scope)
        op = node.op
        if op in _ORDER:
            return self.order(node, left, right)
        if op in ("==", "!="):
            return self.equality(node, left, right)
        if op == "in":
            return self.call("contains", left, right, _name("budget"))
        if op == "+":
            return self.call("add", left, right, _name("budget"))
        return self.call(_ARITHMETIC[op], left, right)

    def order(self, node: t.BinaryNode, left: ast.expr, right: ast.expr) -> ast.expr:
        function, compare = _ORDER[node.op]
        if self.careful:
            return self.call(function, left, right)
        if isinstance(node.right, t.LiteralNode) and type(node.right.value) is int:
            a = self.temporary()
            return ast.IfExp(
                ast.Compare(self.call("type", _assign(a, left)), [ast.Is()], [_name("int")]),
                ast.Compare(_name(a), [compare()], [right]),
                self.call(function, _name(a), ast.Constant(node.right.value)),
            )
        a, b = self.temporary(), self.temporary()
        return ast.IfExp(
            ast.Compare(  # the chain assigns both sides, whatever its first `is` gives
                self.call("type", _assign(a, left)),
                [ast.Is(), ast.Is()],
                [self.call("type", _assign(b, right)), _name("int")],
            ),
            ast.Compare(_name(a), [compare()], [_name(b)]),
            self.call(function, _name(a), _name(b)),
        )

    def equality(self, node: t.BinaryNode, left: ast.expr, right: ast.expr) -> ast.expr:
        compare: ast.cmpop = ast.Eq() if node.op == "==" else ast.NotEq()
        code: ast.expr
        if self.careful:
            code = self.call("equal", left, right, _name("budget"))
            return code if node.op == "==" else ast.UnaryOp(ast.Not(), code)
        # Text equals only text, so Python's == gives the same result.
        if _is_text(node.left) or _is_text(node.right):
            return ast.Compare(left, [compare], [right])
        a, b = self.temporary(), self.temporary()
        types = self.call("type", _assign(a, left)), self.call("type", _assign(b, right))
        same_type = ast.Compare(types[0], [ast.Is()], [types[1]])
        scalar = ast.Compare(self.call("type", _name(a)), [ast.In()], [_name("scalars")])
        slow = self.call("equal", _name(a), _name(b), _name("budget"))
        return ast.IfExp(
            ast.BoolOp(ast.And(), [same_type, scalar]),
            ast.Compare(_name(a), [compare], [_name(b)]),
            slow if node.op == "==" else ast.UnaryOp(ast.Not(), slow),
        )

    def macro(self, node: t.MacroNode, scope: Mapping[str, str]) -> ast.expr:
        over = self.emit(node.operand, scope)
        self.counter += 1
        variable = f"v{self.counter}"
        inner = {**scope, node.variable: variable}
        weight = ast.Constant(max(1, _weight(node.body) + (_weight(node.test) if node.test else 0)))
        items = self.call("items", over, _name("budget"), weight)
        if node.kind == "map":
            body = _lambda([variable], self.emit(node.body, inner))
            if node.test is None:
                return self.call("map_", items, body)
            return self.call("map_some", items, _lambda([variable], self.truth(node.test, inner)), body)
        test = _lambda([variable], self.truth(node.body, inner))
        if node.kind in ("all", "exists"):
            return self.call("search", items, test, ast.Constant(node.kind == "exists"))
        return self.call("filter_" if node.kind == "filter" else "exists_one", items, test)

    def function_call(self, node: t.CallNode, scope: Mapping[str, str]) -> ast.expr:
        if node.name == "round":
            return self.round(node, scope)
        args = [self.emit(arg, scope) for arg in node.args]
        if node.name == "first":
            return self.first(args)
        function = FUNCTIONS[node.name]
        if function.lookup:
            lookup = "row_" if node.start in self.required else "lookup_"
            return self.call(lookup, _name("lookup"), ast.Constant(node.name), ast.Tuple(args, _LOAD))
        return self.call(f"f_{node.name}", *([_name("budget")] if function.costs else []), *args)

    def first(self, choices: list[ast.expr]) -> ast.expr:
        """Return code that evaluates later choices only if earlier ones have no value: they may be look-ups."""
        if self.careful or len(choices) > 8:
            return self.call("first_", *(_lambda([], choice) for choice in choices))
        code = choices[-1]
        for choice in reversed(choices[:-1]):
            value = self.temporary()
            has_value = ast.Compare(_assign(value, choice), [ast.IsNot()], [ast.Constant(None)])
            code = ast.IfExp(has_value, _name(value), code)
        return code

    def round(self, node: t.CallNode, scope: Mapping[str, str]) -> ast.expr:
        steps: list[ast.expr] = []
        inner = node.args[0]
        while isinstance(inner, t.BinaryNode) and inner.op in ("*", "/"):
            steps.append(ast.Tuple([ast.Constant(inner.op), self.emit(inner.right, scope)], _LOAD))
            inner = inner.left
        first = self.emit(inner, scope)
        rest = [self.emit(arg, scope) for arg in node.args[1:]]
        return self.call("round_factors", first, ast.Tuple(steps[::-1], _LOAD), *rest)


def _locate(code: ast.AST, line: int) -> None:
    """Set the line of generated nodes that have none yet. What is below a node with a line has its lines already."""
    stack: list[Any] = [code]
    while stack:
        part = stack.pop()
        if type(part) is list:
            stack += part
        elif isinstance(part, ast.AST):
            if part._attributes:
                if hasattr(part, "lineno"):
                    continue
                part.lineno = part.end_lineno = line  # type: ignore[attr-defined]
                part.col_offset = part.end_col_offset = 0  # type: ignore[attr-defined]
            stack += [getattr(part, field, None) for field in part._fields]


def _name(name: str) -> ast.Name:
    return ast.Name(name, _LOAD)


def _assign(name: str, value: ast.expr) -> ast.expr:
    return ast.NamedExpr(ast.Name(name, ast.Store()), value)


def _lambda(parameters: list[str], body: ast.expr) -> ast.Lambda:
    arguments = ast.arguments([], [ast.arg(p) for p in parameters], None, [], [], None, [])
    return ast.Lambda(arguments, body)


def _is_text(node: t.ExprNode) -> bool:
    return isinstance(node, t.LiteralNode) and isinstance(node.value, str)


def _is_bool(node: t.ExprNode) -> bool:
    match node:
        case t.HasNode() | t.AndNode() | t.OrNode() | t.UnaryNode(op="!"):
            return True
        case t.BinaryNode():
            return node.op in _ORDER or node.op in ("==", "!=", "in")
        case t.MacroNode():
            return node.kind in ("all", "exists", "exists_one")
        case t.CallNode():
            return node.name in _BOOL_FUNCTIONS
        case t.LiteralNode():
            return isinstance(node.value, bool)
    return False


def _may_amplify(tree: t.ExprNode) -> bool:
    """Return true if a macro variable can occur several times in a list, and that list again in another."""
    macros = [node for node in t.walk(tree) if isinstance(node, t.MacroNode)]
    return len(macros) > 1 and any(
        isinstance(n, t.ListNode | t.MapNode) for m in macros for n in t.walk(m.body)
    )


def _weight(node: t.ExprNode) -> int:
    """Return the steps that one evaluation of a macro body counts as: its number of nodes."""
    return sum(1 for _ in t.walk(node))
