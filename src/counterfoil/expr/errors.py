"""Errors of expressions: findings before evaluation, and errors with a position during evaluation."""

from __future__ import annotations

import msgspec

from counterfoil.core.errors import CounterfoilError


class ExpressionFinding(msgspec.Struct, frozen=True):
    """One problem in the text of an expression.

    `offset` counts characters from 0, `line` and `column` from 1; `length` is the span to underline (at least 1). `rule` is a
    stable short name: syntax, limit, name, field, type, function, lookup, pattern.
    """

    rule: str
    message: str
    offset: int
    length: int
    line: int
    column: int


def locate(text: str, offset: int) -> tuple[int, int]:
    """Return line and column, both from 1, of a character offset."""
    before = text[:offset]
    line = before.count("\n") + 1
    return line, offset - (before.rfind("\n") + 1) + 1


def with_article(name: object) -> str:
    """Return the name of a type with `a` or `an`."""
    return f"{'an' if str(name)[:1] in 'aeio' else 'a'} {name}"


def finding(rule: str, message: str, text: str, start: int, end: int) -> ExpressionFinding:
    """Return a finding for the span from `start` to `end` of `text`."""
    line, column = locate(text, start)
    return ExpressionFinding(rule, message, start, max(1, end - start), line, column)


def caret(text: str, offset: int, length: int) -> str:
    """Return the line of `text` at `offset`, with carets below the span; long lines are cut."""
    begin = text.rfind("\n", 0, offset) + 1
    stop = text.find("\n", begin)
    line = text[begin : stop if stop >= 0 else len(text)]
    column = offset - begin
    if len(line) > 120:
        shift = max(0, column - 50)
        line, column = line[shift : shift + 100], column - shift
    return f"{line}\n{' ' * column}{'^' * max(1, min(length, len(line) - column))}"


class ExpressionError(CounterfoilError):
    """The text is not a valid expression; `findings` lists all problems."""

    def __init__(self, text: str, findings: list[ExpressionFinding]) -> None:
        self.text = text
        self.findings = findings
        super().__init__(
            "\n".join(
                f"{f.message} (line {f.line}, column {f.column})\n{caret(text, f.offset, f.length)}"
                for f in findings[:20]
            )
        )


class EvaluationError(CounterfoilError):
    """The expression has no value for these bindings. Its text states the reason and the place.

    Cases and problems show it, so it does not repeat the formula; `excerpt` does, for authors.
    """

    def __init__(self, message: str, text: str, offset: int, length: int) -> None:
        self.message = message
        self.text = text
        self.offset = offset
        self.length = length
        self.line, self.column = locate(text, offset)
        super().__init__(f"{message} (line {self.line}, column {self.column})")

    def excerpt(self) -> str:
        """Return the error with the line of the formula and carets below the place."""
        return f"{self}\n{caret(self.text, self.offset, self.length)}"


class BudgetExceeded(CounterfoilError):
    """The evaluation exceeded its limit of steps. Never absorbed by `&&`, `||`, `first` or a macro."""


class LookupNeeded(Exception):
    """A look-up callback has no answer yet. Passes through the whole evaluation unchanged."""

    def __init__(self, name: str, args: tuple[object, ...]) -> None:
        super().__init__(*args)
        self.name = name

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.name, self.args))


class Fault(Exception):
    """Internal error of the evaluator: no value for this reason. `absent`: a missing key or a field of null."""

    def __init__(self, message: str, absent: bool = False) -> None:
        super().__init__(message)
        self.absent = absent
