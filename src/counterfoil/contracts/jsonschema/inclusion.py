"""Whether every instance of one schema is an instance of another, and an instance that is not."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from counterfoil.contracts.jsonschema.document import Dialect, SchemaDocument, dialect_of
from counterfoil.contracts.jsonschema.examples import ExampleValidator, candidates
from counterfoil.contracts.jsonschema.nodes import Nodes
from counterfoil.contracts.jsonschema.search import Search
from counterfoil.contracts.jsonschema.values import Existence

Verdict: TypeAlias = Literal["yes", "no", "unknown"]
Formats: TypeAlias = Literal["assert", "annotate"]
"""Whether `format` refuses an instance (`assert`, for the formats that the validator knows) or only describes it."""


class Inclusion(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about `narrow` being part of `wide`."""

    verdict: Verdict
    """`yes`: no instance of `narrow` is refused by `wide`. `no`: one is. `unknown`: it could not be decided."""
    where: str = ""
    """JSON Pointer inside the instance: the place at which `wide` refuses the example."""
    why: str = ""
    keyword: str = ""
    """JSON Pointer into `wide`: what refuses the example, as far as it can be named before a reference."""
    example: Any = msgspec.UNSET
    """An instance of `narrow` that `wide` refuses, judged so by a validator; unset where none was found."""


class SchemaPair:
    """Two documents whose schemas are compared in both directions; remembers what it found out."""

    def __init__(self, left: SchemaDocument, right: SchemaDocument, *, formats: Formats = "assert") -> None:
        asserted = formats == "assert"
        self.formats = formats
        self.left, self.right = left, right
        self.nodes = Nodes(left, right)
        self.search = Search(self.nodes, assert_formats=asserted)
        self._judges = {
            id(document): ExampleValidator(document, assert_formats=asserted) for document in (left, right)
        }
        self._memo: dict[tuple[int, int], Inclusion] = {}

    def forward(self, left: Any, right: Any) -> Inclusion:
        """Whether every instance of a schema of the left document is one of a schema of the right document."""
        return self._included(self.left, left, self.right, right)

    def backward(self, right: Any, left: Any) -> Inclusion:
        """Whether every instance of a schema of the right document is one of a schema of the left document."""
        return self._included(self.right, right, self.left, left)

    def judge(self, document: SchemaDocument) -> ExampleValidator:
        return self._judges[id(document)]

    def _included(self, narrow: SchemaDocument, inner: Any, wide: SchemaDocument, outer: Any) -> Inclusion:
        question = (self.nodes.key(narrow, inner), self.nodes.key(wide, outer))
        if question[0] == question[1]:
            return Inclusion(verdict="yes")
        if question not in self._memo:
            self._memo[question] = self._asked(question, narrow, inner, wide, outer)
        return self._memo[question]

    def _asked(
        self, question: tuple[int, int], narrow: SchemaDocument, inner: Any, wide: SchemaDocument, outer: Any
    ) -> Inclusion:
        answer = self.search.ask(frozenset([(True, question[0]), (False, question[1])]))
        if answer.found is Existence.NONE:
            return Inclusion(verdict="yes")
        giving, taking = self.judge(narrow), self.judge(wide)
        if answer.has_instance:
            accepted, taken = giving.accepts(inner, answer.instance), taking.accepts(outer, answer.instance)
            if accepted and taken is False:
                return _refused(taking, outer, answer.instance)
            if answer.found is Existence.ONE and (accepted is None or taken is None):
                return Inclusion(verdict="no", why="an instance exists, and no validator could judge it")
        elif answer.found is Existence.ONE:
            return Inclusion(verdict="no", why="an instance exists that is too large to be shown")
        # The last resort: plain instances made of what both schemas name.
        for candidate in candidates(inner, outer):
            if giving.accepts(inner, candidate) and taking.accepts(outer, candidate) is False:
                return _refused(taking, outer, candidate)
        return Inclusion(verdict="unknown", why="it could not be decided within bounds")


def _refused(judge: ExampleValidator, schema: Any, instance: Any) -> Inclusion:
    error = judge.error(schema, instance)
    if error is None:
        return Inclusion(verdict="no", example=instance)
    keyword = list(error.schema_path)
    keyword = keyword[: keyword.index("$ref")] if "$ref" in keyword else keyword
    return Inclusion(
        verdict="no",
        where=pointer(list(error.instance_path)),
        why=error.message,
        keyword=pointer(keyword),
        example=instance,
    )


def pointer(path: list[str | int]) -> str:
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def included(
    narrow: Any,
    wide: Any,
    *,
    narrow_root: Any = None,
    wide_root: Any = None,
    dialect: Dialect | None = None,
    formats: Formats = "assert",
) -> Inclusion:
    """Compare two schemas; `$ref` of each is looked up in its own root (the schema itself when none is given).

    Without `dialect` each side speaks what its root's `$schema` says. Whoever asks about many schemas of the same two
    roots keeps a `Pair` of them, which remembers.
    """
    left_root = narrow if narrow_root is None else narrow_root
    right_root = wide if wide_root is None else wide_root
    pair = SchemaPair(
        SchemaDocument(left_root, dialect or dialect_of(left_root)),
        SchemaDocument(right_root, dialect or dialect_of(right_root)),
        formats=formats,
    )
    return pair.forward(narrow, wide)
