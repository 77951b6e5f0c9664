"""Order of names that build on each other: facts and lets, each after those that it reads."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TypeVar

from counterfoil.expr import Expression, ExpressionError
from counterfoil.model import kinds
from counterfoil.model.template import formula, formulas

T = TypeVar("T")


def in_order(
    things: Iterable[T], name: Callable[[T], str], reads: Callable[[T], Collection[str]]
) -> tuple[T, ...]:
    """Sort things so that each comes after those that it reads; otherwise keep their order.

    The canonical form of a document sorts its keys, so a definition must not depend on the written order of keys.
    """
    pending = {name(thing): thing for thing in things}
    ordered: list[T] = []
    while pending:
        ready = [n for n, thing in pending.items() if not any(r in pending and r != n for r in reads(thing))]
        for n in ready[:1] or list(pending):  # a cycle keeps its order: no order satisfies it
            ordered.append(pending.pop(n))
    return tuple(ordered)


def lets_in_order(lets: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Sort lets by what they read. A let that does not parse reads nothing; `check` reports it."""
    return in_order(lets, lambda let: let[0], lambda let: _names(let[1]))


def facts_in_order(facts: Iterable[tuple[str, kinds.Fact]]) -> tuple[tuple[str, kinds.Fact], ...]:
    """Sort facts by what they read."""

    def reads(fact: tuple[str, kinds.Fact]) -> set[str]:
        texts = [text for text, _ in formulas(fact[1].with_)]
        return {name for text in (*texts, fact[1].of or "") for name in _names(text)}

    return in_order(facts, lambda fact: fact[0], reads)


def _names(text: str) -> Collection[str]:
    try:
        return formula(text).names if text else ()
    except ExpressionError:
        return ()


def compile_lets(lets: Iterable[tuple[str, str]]) -> tuple[tuple[str, Expression], ...]:
    compiled = [(name, formula(text)) for name, text in lets]
    return in_order(compiled, lambda let: let[0], lambda let: let[1].names)
