"""Schemas of two documents as numbers: equal numbers mean the same, whichever document they stand in.

Annotations do not count, nor does the order of keys. A reference is equal to its namesake in the other document as long
as everything that it reaches is equal, so what two large documents share is never compared twice.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from counterfoil.contracts.jsonschema.document import DEPENDS_ON_DRAFT, MAPS, SchemaDocument

ANNOTATIONS = frozenset(
    ["title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly", "$comment",
     "$schema", "$id", "id", "$anchor", "$vocabulary", "definitions", "$defs", "externalDocs", "xml",
     "discriminator", "contentEncoding", "contentMediaType", "contentSchema"]
)  # fmt: skip
_VALUES = frozenset(["enum", "const"])


class PartCondition(NamedTuple):
    """Instances that have, at one step inside, a part that is in some schemas and outside of others."""

    step: Step
    literals: tuple[tuple[bool, int], ...]


class Step(NamedTuple):
    """A step into an instance. `here` is none."""

    kind: Literal["here", "property", "other", "item", "rest", "name"]
    name: str = ""
    at: int = 0
    excluded: frozenset[str] = frozenset()
    must: tuple[str, ...] = ()
    must_not: tuple[str, ...] = ()


class Nodes:
    """The schemas met so far. The last document is for schemas that the comparison makes itself."""

    def __init__(self, left: SchemaDocument, right: SchemaDocument) -> None:
        self.documents = [left, right, SchemaDocument(True, "2020-12")]
        self.table: list[tuple[SchemaDocument, Any]] = []
        self._numbers: dict[tuple[int, int], int] = {}
        self._texts: dict[Any, int] = {}
        self._about: list[tuple[frozenset[str], bool]] = []
        """For each text: the references in it, and whether a draft may read it otherwise."""
        self._memo: dict[tuple[int, str], tuple[Any, int]] = {}
        self._dirty: dict[str, bool] = {}
        self._same_draft = left.draft == right.draft

    def key(self, document: SchemaDocument, schema: Any) -> int:
        text = self._text(schema, "schema", document)
        refs, depends = self._about[text]
        place = next(at for at, known in enumerate(self.documents) if known is document)
        shared = not depends if place == 2 else self._same_draft or not depends
        if shared and not self._any_dirty(refs):
            place = -1
        number = self._numbers.get((place, text))
        if number is None:
            number = self._numbers[place, text] = len(self.table)
            self.table.append((document, schema))
        return number

    def made(self, schema: Any) -> int:
        """The number of a schema that the comparison writes itself, in the newest draft."""
        return self.key(self.documents[2], schema)

    def inside(self, what: PartCondition) -> int:
        """The number of instances that have something inside."""
        self.table.append((self.documents[2], what))
        return len(self.table) - 1

    def _text(self, value: Any, mode: str, document: SchemaDocument) -> int:
        known = self._memo.get((id(value), mode)) if isinstance(value, dict | list) else None
        if known is not None and known[0] is value:
            return known[1]
        refs: set[str] = set()
        depends = False
        text: Any
        if isinstance(value, dict):
            parts = []
            for name, part in value.items():
                if mode == "schema":
                    if name in ANNOTATIONS or name.startswith("x-"):
                        continue
                    depends |= name in DEPENDS_ON_DRAFT
                    if name in {"$ref", "$dynamicRef", "$recursiveRef"} and isinstance(part, str):
                        part = document.absolute(part, value)
                        refs.add(part)
                    inner = "data" if name in _VALUES else "map" if name in MAPS else "schema"
                    if not isinstance(part, dict | list):
                        inner = "data"
                else:
                    inner = "schema" if mode == "map" else "data"
                number = self._text(part, inner, document)
                parts.append((name, number))
                refs |= self._about[number][0]
                depends |= self._about[number][1]
            text = (mode == "schema", frozenset(parts))
        elif isinstance(value, list):
            numbers = [self._text(part, mode, document) for part in value]
            for number in numbers:
                refs |= self._about[number][0]
                depends |= self._about[number][1]
            text = tuple(numbers)
        else:
            kind = "boolean" if isinstance(value, bool) else "value"
            text = (kind, value)
        number = self._texts.setdefault(text, len(self._about))
        if number == len(self._about):
            self._about.append((frozenset(refs), depends))
        if isinstance(value, dict | list):
            self._memo[id(value), mode] = (value, number)
        return number

    def _any_dirty(self, refs: frozenset[str]) -> bool:
        for ref in refs:
            if ref not in self._dirty:
                self._judge(ref)
        return any(self._dirty[ref] for ref in refs)

    def _judge(self, first: str) -> None:
        """Decide for everything that a reference reaches whether both documents mean the same by it."""
        left, right = self.documents[:2]
        users: dict[str, set[str]] = {}
        agenda = [first]
        reached: set[str] = set()
        spoiled: list[str] = []
        while agenda:
            ref = agenda.pop()
            if ref in reached:
                continue
            reached.add(ref)
            one, other = left.resolve(ref), right.resolve(ref)
            if one is None or other is None:
                # What lies outside of both is the same thing seen twice.
                spoiled += [ref] if one is not other else []
                continue
            texts = self._text(one, "schema", left), self._text(other, "schema", right)
            if texts[0] != texts[1]:
                spoiled.append(ref)
            for inner in self._about[texts[0]][0]:
                if self._dirty.get(inner):
                    spoiled.append(ref)
                elif inner not in self._dirty:
                    users.setdefault(inner, set()).add(ref)
                    agenda.append(inner)
        dirty: set[str] = set()
        while spoiled:
            ref = spoiled.pop()
            if ref not in dirty:
                dirty.add(ref)
                spoiled.extend(users.get(ref, ()))
        for ref in reached:
            self._dirty[ref] = ref in dirty
