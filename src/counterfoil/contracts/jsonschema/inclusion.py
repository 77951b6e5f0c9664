"""Question whether every instance of one schema is an instance of another, with a counterexample if not."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from counterfoil.contracts.json_parts import pointer
from counterfoil.contracts.jsonschema.document import Dialect, SchemaDocument, dialect_of
from counterfoil.contracts.jsonschema.examples import ExampleValidator, candidates
from counterfoil.contracts.jsonschema.nodes import Nodes
from counterfoil.contracts.jsonschema.search import Search
from counterfoil.contracts.jsonschema.values import Existence

Verdict: TypeAlias = Literal["yes", "no", "unknown"]
Formats: TypeAlias = Literal["assert", "annotate"]
"""`assert`: `format` rejects instances, for formats that the validator supports. `annotate`: it only describes."""


class Inclusion(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to the question whether `narrow` is included in `wide`."""

    verdict: Verdict
    """`yes`: `wide` accepts every instance of `narrow`. `no`: it rejects one. `unknown`: undecided."""
    where: str = ""
    """JSON Pointer into the example: the place where `wide` rejects it."""
    why: str = ""
    keyword: str = ""
    """JSON Pointer into `wide`: the keyword that rejects the example, up to the first reference."""
    example: Any = msgspec.UNSET
    """Instance of `narrow` that `wide` rejects, checked by a validator; unset if none was found."""


class SchemaPair:
    """Two documents whose schemas are compared in both directions. Caches its answers."""

    def __init__(self, left: SchemaDocument, right: SchemaDocument, *, formats: Formats = "assert") -> None:
        asserted = formats == "assert"
        self.formats = formats
        self.left, self.right = left, right
        self.nodes = Nodes(left, right)
        self.search = Search(self.nodes, assert_formats=asserted)
        validators = [ExampleValidator(document, assert_formats=asserted) for document in (left, right)]
        self._validators = {id(validator.document): validator for validator in validators}
        self._memo: dict[tuple[int, int], Inclusion] = {}

    def forward(self, left: Any, right: Any) -> Inclusion:
        """Compare a schema of the left document with one of the right: is every instance valid there?"""
        return self._included(self.left, left, self.right, right)

    def backward(self, right: Any, left: Any) -> Inclusion:
        """Compare a schema of the right document with one of the left: is every instance valid there?"""
        return self._included(self.right, right, self.left, left)

    def validator(self, document: SchemaDocument) -> ExampleValidator:
        """Return the validator of a document."""
        return self._validators[id(document)]

    def _included(self, narrow: SchemaDocument, inner: Any, wide: SchemaDocument, outer: Any) -> Inclusion:
        question = (self.nodes.key(narrow, inner), self.nodes.key(wide, outer))
        if question[0] == question[1]:
            return Inclusion(verdict="yes")
        if question not in self._memo:
            self._memo[question] = self._search(question, narrow, inner, wide, outer)
        return self._memo[question]

    def _search(
        self, question: tuple[int, int], narrow: SchemaDocument, inner: Any, wide: SchemaDocument, outer: Any
    ) -> Inclusion:
        answer = self.search.ask(frozenset([(True, question[0]), (False, question[1])]))
        if answer.existence is Existence.NONE:
            return Inclusion(verdict="yes")
        narrow_validator, wide_validator = self.validator(narrow), self.validator(wide)
        if answer.has_instance:
            narrow_accepts = narrow_validator.accepts(inner, answer.instance)
            wide_accepts = wide_validator.accepts(outer, answer.instance)
            if narrow_accepts and wide_accepts is False:
                return _rejection(wide_validator, outer, answer.instance)
            if answer.existence is Existence.ONE and (narrow_accepts is None or wide_accepts is None):
                return Inclusion(verdict="no", why="an instance exists, but no validator could check it")
        elif answer.existence is Existence.ONE:
            return Inclusion(verdict="no", why="an instance exists, but it is too large to show")
        # Last resort: simple instances of the values that both schemas mention.
        for candidate in candidates(inner, outer):
            accepts = narrow_validator.accepts(inner, candidate)
            if accepts and wide_validator.accepts(outer, candidate) is False:
                return _rejection(wide_validator, outer, candidate)
        return Inclusion(verdict="unknown", why="undecided within the limit of steps")


def _rejection(validator: ExampleValidator, schema: Any, instance: Any) -> Inclusion:
    error = validator.error(schema, instance)
    if error is None:
        return Inclusion(verdict="no", example=instance)
    keyword = list(error.schema_path)
    keyword = keyword[: keyword.index("$ref")] if "$ref" in keyword else keyword
    where, keyword_place = pointer(error.instance_path), pointer(keyword)
    return Inclusion(verdict="no", where=where, why=error.message, keyword=keyword_place, example=instance)


def included(
    narrow: Any,
    wide: Any,
    *,
    narrow_root: Any = None,
    wide_root: Any = None,
    dialect: Dialect | None = None,
    formats: Formats = "assert",
) -> Inclusion:
    """Return whether every instance of `narrow` is an instance of `wide`.

    `$ref` of each schema is resolved in its own root; by default in the schema itself. Without `dialect` the `$schema` of
    each root decides. To compare many schemas of the same two roots, keep a `SchemaPair`: it caches its answers.
    """
    left_root = narrow if narrow_root is None else narrow_root
    right_root = wide if wide_root is None else wide_root
    left = SchemaDocument(left_root, dialect or dialect_of(left_root))
    right = SchemaDocument(right_root, dialect or dialect_of(right_root))
    return SchemaPair(left, right, formats=formats).forward(narrow, wide)
