"""Compiler from text to a callable Expression, with its names, paths, look-ups, type and equalities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from counterfoil.core.errors import CounterfoilError
from counterfoil.core.minor_units import MinorUnits
from counterfoil.expr import tree as t
from counterfoil.expr.check import Checker
from counterfoil.expr.errors import (
    BudgetExceeded,
    EvaluationError,
    ExpressionError,
    Fault,
    LookupNeeded,
    finding,
    with_article,
)
from counterfoil.expr.functions import FUNCTIONS
from counterfoil.expr.generate import GENERATED_FILENAME, CompiledFunction, Generator
from counterfoil.expr.parse import parse
from counterfoil.expr.runtime import LookupFailure
from counterfoil.expr.types import JsonSchema, Type, fits, from_schema, type_of

DEFAULT_BUDGET_STEPS = 1_000_000

Lookup = Callable[[str, tuple[Any, ...]], object]


class Expression:
    """Compiled expression, called with bindings for its root names. Stateless and thread-safe.

    `names`: free root names. `paths`: longest dotted paths below them that the expression reads; `paths_and_parents`: these
    and every path above them. `lookup_calls`: names of its look-up functions. `type`: inferred type as text, `dyn` if unknown. `ast`: its tree. `units`: system whose minor units it
    reads and writes.
    """

    __slots__ = (
        "_careful",
        "_direct",
        "ast",
        "budget",
        "lookup_calls",
        "names",
        "paths",
        "paths_and_parents",
        "text",
        "type",
        "units",
    )

    def __init__(
        self, text: str, tree: t.ExprNode, inferred: Type, budget: int, units: MinorUnits | None = None
    ) -> None:
        self.text = text
        self.units = units
        self.ast = tree
        self.type = str(inferred)
        self.budget = budget
        self.names, paths = t.names_and_paths(tree)
        self.paths = frozenset(".".join(path) for path in paths)
        self.paths_and_parents = frozenset(
            ".".join(path[:n]) for path in paths for n in range(1, len(path) + 1)
        )
        calls = {node.name for node in t.walk(tree) if isinstance(node, t.CallNode)}
        self.lookup_calls = frozenset(name for name in calls if FUNCTIONS[name].lookup)
        # Generated at the first call: most formulas of a folder are only checked.
        self._direct: CompiledFunction = self._first_run
        self._careful: tuple[CompiledFunction, list[t.ExprNode]] | None = None

    def __call__(self, bindings: Mapping[str, object], lookup: Lookup | None = None) -> Any:
        """Return the value for these bindings.

        Raises EvaluationError (no value, with the place) and BudgetExceeded. Exceptions of `lookup` pass unchanged.
        """
        lookup_error: Exception | None = None
        try:
            return self._direct(bindings, lookup, [self.budget])
        except (LookupNeeded, BudgetExceeded):
            raise
        except LookupFailure as error:
            lookup_error = error.original
        except Exception:  # noqa: S110  (the careful function determines the error)
            pass
        if lookup_error is not None and not isinstance(lookup_error, Fault):
            raise lookup_error  # outside the handler, so that its cause and context stay unchanged
        return self._carefully(bindings, lookup)

    def _first_run(self, bindings: Mapping[str, object], lookup: Any, budget: list[int]) -> Any:
        self._direct = Generator(careful=False, units=self.units).function(self.ast)
        return self._direct(bindings, lookup, budget)

    def _carefully(self, bindings: Mapping[str, object], lookup: Lookup | None) -> Any:
        nodes = [self.ast]
        try:
            if self._careful is None:
                generator = Generator(careful=True, units=self.units)
                self._careful = (generator.function(self.ast), generator.nodes)
            function, nodes = self._careful
            return function(bindings, lookup, [self.budget])
        except (LookupNeeded, BudgetExceeded):
            raise
        except Exception as error:
            raised = error.original if isinstance(error, LookupFailure) else error
            if raised is error or isinstance(raised, Fault):
                raise self._failure(raised, nodes[_line(error) - 1]) from raised
        raise raised

    def _failure(self, error: Exception, place: t.ExprNode) -> EvaluationError:
        message = str(error) if isinstance(error, Fault | CounterfoilError) else f"no value: {error}"
        start, end = t.highlight_span(place, self.text)
        return EvaluationError(message, self.text, start, end - start)

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def equalities(self, root: str) -> list[tuple[str, Expression]]:
        """Return the conditions on `root` that the expression requires, one pair per conjunct `root.path == other`.

        A pair is the path below the root ('' for the root itself) and the other side, which does not read the root.
        """
        return self._conditions("==", root)

    def memberships(self, root: str) -> list[tuple[str, Expression]]:
        """Return the same for t.conjuncts `other in root.path`."""
        return self._conditions("in", root)

    def _conditions(self, op: str, root: str) -> list[tuple[str, Expression]]:
        conditions: list[tuple[str, Expression]] = []
        for term in t.conjuncts(self.ast):
            if not (isinstance(term, t.BinaryNode) and term.op == op):
                continue
            sides = [(term.left, term.right), (term.right, term.left)]
            for side, other in sides[1:] if op == "in" else sides:
                path = t.dotted_path(side)
                if path is not None and path[0] == root and root not in t.names_and_paths(other)[0]:
                    text = self.text[other.start : other.end]
                    conditions.append(
                        (".".join(path[1:]), compile(text, budget=self.budget, units=self.units))
                    )
        return conditions


def compile(
    text: str,
    types: Mapping[str, JsonSchema] | None = None,
    *,
    lookups: bool = True,
    expect: str | None = None,
    budget: int = DEFAULT_BUDGET_STEPS,
    units: MinorUnits | None = None,
) -> Expression:
    """Compile an expression. Raises ExpressionError with all findings.

    `types` maps every root name to a JSON Schema ({} for anything); with it, operand types, fields and names are checked.
    `lookups` False forbids look-up functions. `expect` names the required type (bool, money, ...). `budget` limits the steps
    of one evaluation: about the number of nodes evaluated inside macros. `units` counts minor units as a system does.
    """
    roots = None if types is None else {name: from_schema(schema) for name, schema in types.items()}
    checker = Checker(text, roots, lookups)
    try:
        tree = parse(text)
        inferred = checker.infer(tree, {})
        if expect is not None and not fits(inferred, type_of(expect)):
            checker.report("type", f"expected {with_article(expect)}, found {with_article(inferred)}", tree)
        if not checker.findings:
            return Expression(text, tree, inferred, budget, units)
    except RecursionError:
        message = "the expression is nested too deep for the remaining stack"
        raise ExpressionError(text, [finding("limit", message, text, 0, len(text))]) from None
    raise ExpressionError(text, sorted(checker.findings, key=lambda f: f.offset))


def _line(error: BaseException) -> int:
    """Return the line of the innermost frame of generated code: the number of the node without a value."""
    line = 1
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == GENERATED_FILENAME:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
