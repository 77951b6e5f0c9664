"""Schemas of two documents as numbers: equal numbers mean equal schemas, in whichever document.

Annotations and the order of keys do not count. A reference equals the same reference in the other document if everything
that it reaches is equal. So parts shared by two large documents are never compared twice.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from counterfoil.contracts.jsonschema.document import DEPENDS_ON_DRAFT, MAPS, SchemaDocument

IGNORED_KEYWORDS = frozenset(
    ["title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly", "$comment",
     "$schema", "$id", "id", "$anchor", "$vocabulary", "definitions", "$defs", "externalDocs", "xml",
     "discriminator", "contentEncoding", "contentMediaType", "contentSchema"]
)  # fmt: skip
_VALUES = frozenset(["enum", "const"])
_SETS = frozenset(["enum", "required", "type"])
"""Keywords whose values have neither order nor number."""
_BRANCHES = frozenset(["allOf", "anyOf", "oneOf"])
"""Keywords whose schemas have no order."""


class PartCondition(NamedTuple):
    """Instances with a part, one step inside, that is in some schemas and outside others."""

    step: Step
    literals: tuple[tuple[bool, int], ...]


class Step(NamedTuple):
    """Step into an instance; `here` is no step."""

    kind: Literal["here", "property", "other", "item", "rest", "name"]
    name: str = ""
    at: int = 0
    excluded: frozenset[str] = frozenset()
    must: tuple[str, ...] = ()
    must_not: tuple[str, ...] = ()


class Nodes:
    """Numbers of the schemas of one comparison. The last document holds schemas that the comparison creates."""

    def __init__(self, left: SchemaDocument, right: SchemaDocument) -> None:
        self.documents = [left, right, SchemaDocument(True, "2020-12")]
        self.table: list[tuple[SchemaDocument, Any]] = []
        self._numbers: dict[tuple[int, int], int] = {}
        self._texts: dict[Any, int] = {}
        self._about: list[tuple[frozenset[str], bool]] = []
        """For each text: its references, and true if drafts may interpret it differently."""
        self._memo: dict[tuple[int, str], tuple[Any, int]] = {}
        self._dirty: dict[str, bool] = {}
        self._same_draft = left.draft == right.draft

    def key(self, document: SchemaDocument, schema: Any) -> int:
        """Return the number of a schema of a document."""
        text = self._text(schema, "schema", document)
        refs, depends = self._about[text]
        place = next(index for index, candidate in enumerate(self.documents) if candidate is document)
        shared = not depends if place == 2 else self._same_draft or not depends
        if shared and not self._any_dirty(refs):
            place = -1
        number = self._numbers.get((place, text))
        if number is None:
            number = self._numbers[place, text] = len(self.table)
            self.table.append((document, schema))
        return number

    def own_key(self, schema: Any) -> int:
        """Return the number of a schema that the comparison creates, in the newest draft."""
        return self.key(self.documents[2], schema)

    def inside(self, condition: PartCondition) -> int:
        """Return a number for the instances that meet a condition on a part."""
        self.table.append((self.documents[2], condition))
        return len(self.table) - 1

    def _text(self, value: Any, mode: str, document: SchemaDocument) -> int:
        cached = self._memo.get((id(value), mode)) if isinstance(value, dict | list) else None
        if cached is not None and cached[0] is value:
            return cached[1]
        refs: set[str] = set()
        depends = False
        text: Any
        if isinstance(value, dict):
            parts = []
            for name, part in value.items():
                if mode == "schema":
                    if name in IGNORED_KEYWORDS or name.startswith("x-"):
                        continue
                    depends |= name in DEPENDS_ON_DRAFT
                    if name in {"$ref", "$dynamicRef", "$recursiveRef"} and isinstance(part, str):
                        part = document.absolute(part, value)
                        refs.add(part)
                        for other in self.documents[:2]:
                            refs.update(other.dynamic_targets(name, part))
                    inner = "data" if name in _VALUES else "map" if name in MAPS else "schema"
                    if isinstance(part, list) and name in _SETS | _BRANCHES:
                        inner = "set" if name in _SETS else "branches"
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
            of = {"set": "data", "branches": "schema"}.get(mode, mode)
            numbers = [self._text(part, of, document) for part in value]
            for number in numbers:
                refs |= self._about[number][0]
                depends |= self._about[number][1]
            text = (
                frozenset(numbers)
                if mode == "set"
                else tuple(sorted(numbers) if mode == "branches" else numbers)
            )
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
                self._compare_reference(ref)
        return any(self._dirty[ref] for ref in refs)

    def _compare_reference(self, first: str) -> None:
        """Decide for everything that a reference reaches whether it is equal in both documents."""
        left, right = self.documents[:2]
        users: dict[str, set[str]] = {}
        queue = [first]
        reached: set[str] = set()
        different: list[str] = []
        while queue:
            ref = queue.pop()
            if ref in reached:
                continue
            reached.add(ref)
            left_schema, right_schema = left.resolve(ref), right.resolve(ref)
            if left_schema is None or right_schema is None:
                # A reference outside both documents has the same target for both.
                different += [ref] if left_schema is not right_schema else []
                continue
            texts = self._text(left_schema, "schema", left), self._text(right_schema, "schema", right)
            if texts[0] != texts[1]:
                different.append(ref)
            for inner in self._about[texts[0]][0]:
                if self._dirty.get(inner):
                    different.append(ref)
                elif inner not in self._dirty:
                    users.setdefault(inner, set()).add(ref)
                    queue.append(inner)
        dirty: set[str] = set()
        while different:
            ref = different.pop()
            if ref not in dirty:
                dirty.add(ref)
                different.extend(users.get(ref, ()))
        for ref in reached:
            self._dirty[ref] = ref in dirty
