"""Differences between two schemas, place by place; another module judges whether they break.

The schemas are walked together through properties, items, references and branches. At each place, related keywords are
compared together. Each difference carries the two small schemas with just those keywords.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from counterfoil.contracts.json_parts import Node, as_list, as_map, part_at, pointer
from counterfoil.contracts.jsonschema.document import SchemaDocument
from counterfoil.contracts.jsonschema.nodes import Nodes, Step
from counterfoil.contracts.jsonschema.subjects import ANNOTATIONS, GROUPS, brief, changed_keywords
from counterfoil.contracts.jsonschema.values import pattern_matches

Path = tuple[Step, ...]
Keys = tuple[str, ...]


class DifferenceSide(NamedTuple):
    """One side of a difference: the schema, its compared part, and the place of that part."""

    schema: Any
    part: Any
    where: str
    present: bool


class SchemaDifference(NamedTuple):
    """Difference between two schemas at one place."""

    subject: str
    """One of `subjects.SUBJECTS`."""
    path: Path
    """Place inside an instance."""
    old: DifferenceSide
    new: DifferenceSide
    detail: str = ""


class DifferenceWalk:
    """Walk through two documents in parallel."""

    def __init__(self, nodes: Nodes, old: SchemaDocument, new: SchemaDocument) -> None:
        self.nodes, self.old, self.new = nodes, old, new
        self._visited: set[tuple[int, int]] = set()
        self._queue: deque[tuple[Path, Any, str, Any, str]] = deque()

    def walk(self) -> Iterator[SchemaDifference]:
        """Yield the differences, places near the root first."""
        self._queue.append(((), self.old.root, "", self.new.root, ""))
        while self._queue:
            path, old, old_where, new, new_where = self._queue.popleft()
            places = old_where, new_where
            old, old_where = self.old.follow(old, old_where)
            new, new_where = self.new.follow(new, new_where)
            encloses = [
                place.startswith(where + "/")
                for place, where in zip(places, (old_where, new_where), strict=True)
            ]
            same = self.nodes.key(self.old, old) == self.nodes.key(self.new, new)
            if (same and old == new) or (id(old), id(new)) in self._visited:
                continue
            if isinstance(old, dict) and isinstance(new, dict):
                self._visited.add((id(old), id(new)))
            if encloses[0] != encloses[1]:
                # One side refers to a schema around it: its parts are compared at their own places.
                before = DifferenceSide(old, old, places[0], True)
                after = DifferenceSide(new, new, places[1], True)
                what = "a reference to the schema around it"
                detail = f"became {what}" if encloses[1] else f"{what} became another schema"
                yield SchemaDifference("schema", path, before, after, detail)
                continue
            yield from self._place(path, old, old_where, new, new_where)

    def enqueue(self, path: Path, old: Any, old_where: str, new: Any, new_where: str) -> None:
        """Compare another pair of schemas later."""
        self._queue.append((path, old, old_where, new, new_where))

    def _place(
        self, path: Path, old: Any, old_where: str, new: Any, new_where: str
    ) -> Iterator[SchemaDifference]:
        if not isinstance(old, dict) or not isinstance(new, dict):
            plain = [{} if schema is True else schema for schema in (old, new)]
            if not all(isinstance(schema, dict) for schema in plain):
                if old != new:
                    sides = (
                        DifferenceSide(old, old, old_where, True),
                        DifferenceSide(new, new, new_where, True),
                    )
                    yield SchemaDifference("schema", path, *sides)
                return
            old, new = plain
        pair = _SchemaPair(self, path, (old, old_where), (new, new_where))
        yield from pair.annotations()
        yield from pair.references()
        yield from pair.types()
        yield from pair.keywords()
        if "object" in pair.shared:
            yield from pair.properties()
        if "array" in pair.shared:
            yield from pair.items()
        for name in ("allOf", "anyOf", "oneOf"):
            yield from pair.branches(name)


def types_of(schema: Node) -> set[str]:
    """Return the JSON types that a schema allows, without regard to integers."""
    stated = schema.get("type")
    names = [stated] if isinstance(stated, str) else stated if isinstance(stated, list) else None
    if names is None:
        return {"string", "object", "number", "array", "boolean", "null"}
    types = {"number" if name == "integer" else str(name) for name in names}
    return types | {"null"} if schema.get("nullable") is True else types


class _SchemaPair:
    """Two schemas that are objects, at one place of the walk."""

    def __init__(
        self, walk: DifferenceWalk, path: Path, old: tuple[Node, str], new: tuple[Node, str]
    ) -> None:
        self.walk, self.path = walk, path
        self.old, self.old_where = old
        self.new, self.new_where = new
        self.shared = types_of(self.old) & types_of(self.new)

    def difference(
        self,
        subject: str,
        keywords: Keys,
        detail: str = "",
        path: Path | None = None,
        parts: tuple[Any, Any] | None = None,
        keys: Keys | None = None,
    ) -> SchemaDifference:
        """Return a difference in some keywords of this place."""
        sides = []
        for index, (document, schema, where) in enumerate(
            ((self.walk.old, self.old, self.old_where), (self.walk.new, self.new, self.new_where))
        ):
            part = _only(schema, keywords) if parts is None else parts[index]
            if isinstance(part, dict):
                document.adopt(part, schema)
            steps = keys if keys is not None else tuple(key for key in keywords if key in schema)[:1]
            present = bool(steps) and _reaches(schema, steps)
            sides.append(DifferenceSide(schema, part, where + (pointer(steps) if present else ""), present))
        return SchemaDifference(subject, self.path if path is None else path, sides[0], sides[1], detail)

    def differs(self, keywords: Keys) -> bool:
        old, new = _only(self.old, keywords), _only(self.new, keywords)
        if old == new and not _refers(old):
            return False
        nodes = self.walk.nodes
        self.walk.old.adopt(old, self.old)
        self.walk.new.adopt(new, self.new)
        if keywords[0] == "contentEncoding":
            return True
        return nodes.key(self.walk.old, old) != nodes.key(self.walk.new, new)

    def annotations(self) -> Iterator[SchemaDifference]:
        changed = [name for name in ANNOTATIONS if self.old.get(name) != self.new.get(name)]
        if changed:
            yield self.difference("annotation", tuple(changed), ", ".join(changed), parts=(True, True))

    def references(self) -> Iterator[SchemaDifference]:
        old, new = self.old.get("$ref"), self.new.get("$ref")
        if old is None and new is None:
            return
        targets = [
            document.resolve(document.absolute(ref, schema)) if isinstance(ref, str) else None
            for document, schema, ref in ((self.walk.old, self.old, old), (self.walk.new, self.new, new))
        ]
        if all(target is not None for target in targets):
            places = [str(reference).partition("#")[2] for reference in (old, new)]
            self.walk.enqueue(self.path, targets[0], places[0], targets[1], places[1])
        elif old != new and self.differs(("$ref",)):
            yield self.difference("reference", ("$ref",))

    def types(self) -> Iterator[SchemaDifference]:
        keywords = ("type", "nullable")
        old, new = _only(self.old, keywords), _only(self.new, keywords)
        if old != new and self.differs(keywords):
            yield self.difference("type", keywords, changed_keywords(old, new))

    def keywords(self) -> Iterator[SchemaDifference]:
        for subject, keywords, type_ in GROUPS:
            if (not type_ or type_ in self.shared or subject == "format") and self.differs(keywords):
                changed = changed_keywords(_only(self.old, keywords), _only(self.new, keywords))
                yield self.difference(subject, keywords, changed)

    def properties(self) -> Iterator[SchemaDifference]:
        old, new = as_map(self.old.get("properties")), as_map(self.new.get("properties"))
        for name in dict.fromkeys([*old, *new]):
            path = (*self.path, Step("property", name))
            keys = ("properties", name)
            if name in old and name in new:
                self._enqueue(path, (old[name], keys), (new[name], keys))
            else:
                subject = "property-removed" if name in old else "property-added"
                implied = self._implied(name, from_old=name not in old)
                values = (old[name], implied) if name in old else (implied, new[name])
                yield self.difference(subject, (), name, path, values, keys)
        old_required, new_required = (
            [name for name in as_list(side.get("required")) if isinstance(name, str)]
            for side in (self.old, self.new)
        )
        for name in [*old_required, *(name for name in new_required if name not in old_required)]:
            if (name in old_required) != (name in new_required):
                subject, part = "required-added", {"required": [name]}
                parts: tuple[Any, Any] = (True, part)
                if name in old_required:
                    subject, parts = "required-removed", (part, True)
                yield self.difference(subject, (), name, self.path, parts, ("required",))
        yield from self._other_properties(old, new)

    def _other_properties(self, old: Node, new: Node) -> Iterator[SchemaDifference]:
        old_patterns, new_patterns = (as_map(side.get("patternProperties")) for side in (self.old, self.new))
        patterns = tuple(dict.fromkeys([*old_patterns, *new_patterns]))
        for pattern in patterns:
            path = (*self.path, Step("other", must=(pattern,)))
            keys = ("patternProperties", pattern)
            if pattern in old_patterns and pattern in new_patterns:
                self._enqueue(path, (old_patterns[pattern], keys), (new_patterns[pattern], keys))
            else:
                parts = (old_patterns.get(pattern, True), new_patterns.get(pattern, True))
                yield self.difference("pattern-property", (), pattern, path, parts, keys)
        path = (*self.path, Step("other", excluded=frozenset(old) | frozenset(new), must_not=patterns))
        keyword = "additionalProperties"
        parts = (self.old.get(keyword, True), self.new.get(keyword, True))
        yield from self._inner("additional-properties", path, (parts[0], (keyword,)), (parts[1], (keyword,)))

    def _enqueue(self, path: Path, old: tuple[Any, Keys], new: tuple[Any, Keys]) -> None:
        """Compare two inner schemas later; each comes with its keys."""
        places = self.old_where + pointer(old[1]), self.new_where + pointer(new[1])
        self.walk.enqueue(path, old[0], places[0], new[0], places[1])

    def _inner(
        self,
        subject: str,
        path: Path,
        old: tuple[Any, Keys],
        new: tuple[Any, Keys],
        detail: str = "",
        keys: Keys | None = None,
    ) -> Iterator[SchemaDifference]:
        """Enqueue two inner schemas if both are objects; otherwise yield their difference."""
        before, after = old[0], new[0]
        if isinstance(before, dict) and isinstance(after, dict):
            self._enqueue(path, old, new)
        elif before != after and not (before in (True, {}) and after in (True, {})):
            detail = detail or f"{brief(before)} became {brief(after)}"
            yield self.difference(subject, (), detail, path, (before, after), keys or new[1])

    def _implied(self, name: str, *, from_old: bool) -> Any:
        """Return what a schema requires of a property that it does not list."""
        schema = self.old if from_old else self.new
        patterns = as_map(schema.get("patternProperties"))
        matching = [part for pattern, part in patterns.items() if pattern_matches(pattern, name)]
        return {"allOf": matching} if matching else schema.get("additionalProperties", True)

    def items(self) -> Iterator[SchemaDifference]:
        old, old_rest, old_keys = _sequence(self.walk.old, self.old)
        new, new_rest, new_keys = _sequence(self.walk.new, self.new)
        for index in range(max(len(old), len(new))):
            path = (*self.path, Step("item", at=index))
            before, after = (
                (items[index], (*keys[0], str(index))) if index < len(items) else (rest, keys[1])
                for items, rest, keys in ((old, old_rest, old_keys), (new, new_rest, new_keys))
            )
            yield from self._inner(
                "item", path, before, after, str(index), before[1] if index >= len(new) else None
            )
        path = (*self.path, Step("rest", at=max(len(old), len(new))))
        yield from self._inner("additional-items", path, (old_rest, old_keys[1]), (new_rest, new_keys[1]))

    def branches(self, name: str) -> Iterator[SchemaDifference]:
        """Yield differences between the branches of `allOf`, `anyOf` or `oneOf`; enqueue the matched ones."""
        subject = {"allOf": "all-of", "anyOf": "any-of", "oneOf": "one-of"}[name]
        if not self.differs((name,)):
            return
        old, new = self.old.get(name), self.new.get(name)
        if not isinstance(old, list) or not isinstance(new, list):
            yield self.difference(subject, (name,), "added" if old is None else "removed")
            return
        old_keys = [self.walk.nodes.key(self.walk.old, part) for part in old]
        new_keys = [self.walk.nodes.key(self.walk.new, part) for part in new]
        common = set(old_keys) & set(new_keys)
        left = [position for position, key in enumerate(old_keys) if key not in common]
        right = [position for position, key in enumerate(new_keys) if key not in common]
        if len(left) == len(right) == 1 or (name == "allOf" and len(left) == len(right)):
            pairs = list(zip(left, right, strict=True))
        else:
            unmatched = {i: old[i] for i in left}, {i: new[i] for i in right}
            pairs = _match_branches(self.walk.old, unmatched[0], self.walk.new, unmatched[1])
        for at, new_at in pairs:
            self._enqueue(self.path, (old[at], (name, str(at))), (new[new_at], (name, str(new_at))))
        removed = sorted(set(left) - {old_index for old_index, _ in pairs})
        added = sorted(set(right) - {new_index for _, new_index in pairs})
        if removed or added:
            detail = "; ".join(
                f"{word} {', '.join(map(str, positions))}"
                for word, positions in (("without", removed), ("with", added))
                if positions
            )
            keys = (name, str(added[0])) if added else (name,)
            parts = ({name: old}, {name: new})
            yield self.difference(subject, (name,), f"branches: {detail}", parts=parts, keys=keys)


def _sequence(document: SchemaDocument, schema: Node) -> tuple[list[Any], Any, tuple[Keys, Keys]]:
    """Return the items with their own schema, the schema of the other items, and the keys of both."""
    items = schema.get("items", True)
    if document.draft >= 2020:
        return as_list(schema.get("prefixItems")), items, (("prefixItems",), ("items",))
    if isinstance(items, list):
        return items, schema.get("additionalItems", True), (("items",), ("additionalItems",))
    return [], items, (("items",), ("items",))


def _only(schema: Node, keywords: Keys) -> Node:
    return {key: schema[key] for key in keywords if key in schema}


def _reaches(schema: Any, steps: Keys) -> bool:
    try:
        part_at(schema, steps)
    except LookupError:
        return False
    return True


def _refers(value: Any) -> bool:
    if isinstance(value, dict):
        return "$ref" in value or any(_refers(part) for part in value.values())
    return isinstance(value, list) and any(_refers(part) for part in value)


def _match_branches(
    old_document: SchemaDocument, old: dict[int, Any], new_document: SchemaDocument, new: dict[int, Any]
) -> list[tuple[int, int]]:
    """Match branches by reference, by tag, or by type if no other mark exists. Return pairs of positions."""
    pairs: list[tuple[int, int]] = []
    for old_position, old_branch in old.items():
        marks = _marks(old_document, old_branch)
        for new_position, new_branch in new.items():
            matched = {position for _, position in pairs}
            if marks & _marks(new_document, new_branch) and new_position not in matched:
                pairs.append((old_position, new_position))
                break
    return pairs


def _marks(document: SchemaDocument, branch: Any) -> set[str]:
    """Return texts that identify a branch: its reference, its title and its tags, else its type."""
    if not isinstance(branch, dict):
        return set()
    if isinstance(branch.get("$ref"), str):
        return {"$ref " + branch["$ref"]}
    marks = {f"title {branch['title']}"} if isinstance(branch.get("title"), str) else set()
    for name, part in as_map(branch.get("properties")).items():
        part, _ = document.follow(part, "")
        if isinstance(part, dict):
            enum = as_list(part.get("enum"))
            tag = part.get("const", enum if len(enum) == 1 else None)
            if tag is not None:
                marks.add(f"{name} {tag[0] if isinstance(tag, list) and tag else tag}")
    if not marks and isinstance(branch.get("type"), str) and branch["type"] != "object":
        marks.add(f"type {branch['type']}")
    return marks
