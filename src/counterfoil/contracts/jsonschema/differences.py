"""Differences between two schemas, place by place; another module judges whether they break.

The schemas are walked together through properties, items, references and branches. At each place, related keywords are
compared together. Each difference carries the two small schemas with just those keywords.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from counterfoil.contracts.json_parts import as_map, part_at, pointer
from counterfoil.contracts.jsonschema.branches import match_branches
from counterfoil.contracts.jsonschema.document import SchemaDocument
from counterfoil.contracts.jsonschema.nodes import Nodes, Step
from counterfoil.contracts.jsonschema.subjects import ANNOTATIONS, GROUPS
from counterfoil.contracts.jsonschema.texts import brief, changed_keywords
from counterfoil.contracts.jsonschema.values import pattern_matches

Path = tuple[Step, ...]


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
            old, old_where = self.old.follow(old, old_where)
            new, new_where = self.new.follow(new, new_where)
            same = self.nodes.key(self.old, old) == self.nodes.key(self.new, new)
            if (same and old == new) or (id(old), id(new)) in self._visited:
                continue
            if isinstance(old, dict) and isinstance(new, dict):
                self._visited.add((id(old), id(new)))
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
                    yield self._whole("schema", path, (old, old, old_where), (new, new, new_where))
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

    def _whole(
        self, subject: str, path: Path, old: tuple[Any, Any, str], new: tuple[Any, Any, str], detail: str = ""
    ) -> SchemaDifference:
        return SchemaDifference(subject, path, DifferenceSide(*old, True), DifferenceSide(*new, True), detail)


def types_of(schema: dict[str, Any]) -> set[str]:
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
        self,
        walk: DifferenceWalk,
        path: Path,
        old: tuple[dict[str, Any], str],
        new: tuple[dict[str, Any], str],
    ) -> None:
        self.walk, self.path = walk, path
        self.old, self.old_where = old
        self.new, self.new_where = new
        self.shared = types_of(self.old) & types_of(self.new)

    def difference(
        self,
        subject: str,
        keywords: tuple[str, ...],
        detail: str = "",
        path: Path | None = None,
        parts: tuple[Any, Any] | None = None,
        keys: tuple[str, ...] | None = None,
    ) -> SchemaDifference:
        """Return a difference in some keywords of this place."""
        sides = []
        for index, (document, schema, where) in enumerate(
            ((self.walk.old, self.old, self.old_where), (self.walk.new, self.new, self.new_where))
        ):
            part = {key: schema[key] for key in keywords if key in schema} if parts is None else parts[index]
            if isinstance(part, dict):
                document.adopt(part, schema)
            steps = keys if keys is not None else tuple(key for key in keywords if key in schema)[:1]
            present = bool(steps) and _reaches(schema, steps)
            sides.append(DifferenceSide(schema, part, where + (pointer(steps) if present else ""), present))
        return SchemaDifference(subject, self.path if path is None else path, sides[0], sides[1], detail)

    def differs(self, keywords: tuple[str, ...]) -> bool:
        old = {key: self.old[key] for key in keywords if key in self.old}
        new = {key: self.new[key] for key in keywords if key in self.new}
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
            self.walk.enqueue(
                self.path, targets[0], str(old).partition("#")[2], targets[1], str(new).partition("#")[2]
            )
        elif old != new and self.differs(("$ref",)):
            yield self.difference("reference", ("$ref",))

    def types(self) -> Iterator[SchemaDifference]:
        keywords = ("type", "nullable")
        old, new = ({key: side[key] for key in keywords if key in side} for side in (self.old, self.new))
        if old != new and self.differs(keywords):
            yield self.difference("type", keywords, changed_keywords(old, new))

    def keywords(self) -> Iterator[SchemaDifference]:
        for subject, keywords, type_ in GROUPS:
            if (not type_ or type_ in self.shared or subject == "format") and self.differs(keywords):
                old, new = (
                    {key: side[key] for key in keywords if key in side} for side in (self.old, self.new)
                )
                yield self.difference(subject, keywords, changed_keywords(old, new))

    def properties(self) -> Iterator[SchemaDifference]:
        old, new = as_map(self.old.get("properties")), as_map(self.new.get("properties"))
        for name in [*old, *(name for name in new if name not in old)]:
            path = (*self.path, Step("property", name))
            keys = ("properties", name)
            if name in old and name in new:
                self.walk.enqueue(
                    path, old[name], self._pointer(True, keys), new[name], self._pointer(False, keys)
                )
            else:
                implied = self._implied(name, from_old=name not in old)
                parts = (old[name], implied) if name in old else (implied, new[name])
                yield self.difference(
                    "property-removed" if name in old else "property-added", (), name, path, parts, keys
                )
        old_required, new_required = (
            [name for name in side.get("required", []) if isinstance(name, str)]
            if isinstance(side.get("required"), list)
            else []
            for side in (self.old, self.new)
        )
        for name in [*old_required, *(name for name in new_required if name not in old_required)]:
            if (name in old_required) != (name in new_required):
                part = {"required": [name]}
                yield self.difference(
                    "required-removed" if name in old_required else "required-added",
                    (),
                    name,
                    self.path,
                    (part if name in old_required else True, part if name in new_required else True),
                    ("required",),
                )
        yield from self._other_properties(old, new)

    def _other_properties(self, old: dict[str, Any], new: dict[str, Any]) -> Iterator[SchemaDifference]:
        old_patterns, new_patterns = (
            as_map(self.old.get("patternProperties")),
            as_map(self.new.get("patternProperties")),
        )
        for pattern in [*old_patterns, *(pattern for pattern in new_patterns if pattern not in old_patterns)]:
            path = (*self.path, Step("other", must=(pattern,)))
            keys = ("patternProperties", pattern)
            if pattern in old_patterns and pattern in new_patterns:
                self.walk.enqueue(
                    path,
                    old_patterns[pattern],
                    self._pointer(True, keys),
                    new_patterns[pattern],
                    self._pointer(False, keys),
                )
            else:
                parts = (old_patterns.get(pattern, True), new_patterns.get(pattern, True))
                yield self.difference("pattern-property", (), pattern, path, parts, keys)
        names = frozenset(old) | frozenset(new)
        step = Step("other", excluded=names, must_not=tuple(dict.fromkeys([*old_patterns, *new_patterns])))
        yield from self._additional_properties((*self.path, step))

    def _additional_properties(self, path: Path) -> Iterator[SchemaDifference]:
        keyword = "additionalProperties"
        old, new = self.old.get(keyword, True), self.new.get(keyword, True)
        if isinstance(old, dict) and isinstance(new, dict):
            self.walk.enqueue(
                path, old, self._pointer(True, (keyword,)), new, self._pointer(False, (keyword,))
            )
        elif old != new and not (old in (True, {}) and new in (True, {})):
            detail = f"{brief(old)} became {brief(new)}"
            yield self.difference("additional-properties", (), detail, path, (old, new), (keyword,))

    def _implied(self, name: str, *, from_old: bool) -> Any:
        """Return what a schema requires of a property that it does not list."""
        schema = self.old if from_old else self.new
        matching = [
            part
            for pattern, part in as_map(schema.get("patternProperties")).items()
            if pattern_matches(pattern, name)
        ]
        if matching:
            return {"allOf": matching}
        return schema.get("additionalProperties", True)

    def items(self) -> Iterator[SchemaDifference]:
        old, old_rest, old_keys = _sequence(self.walk.old, self.old)
        new, new_rest, new_keys = _sequence(self.walk.new, self.new)
        for index in range(max(len(old), len(new))):
            path = (*self.path, Step("item", at=index))
            old_item, old_at = (
                (old[index], (*old_keys[0], str(index))) if index < len(old) else (old_rest, old_keys[1])
            )
            new_item, new_at = (
                (new[index], (*new_keys[0], str(index))) if index < len(new) else (new_rest, new_keys[1])
            )
            if isinstance(old_item, dict) and isinstance(new_item, dict):
                self.walk.enqueue(
                    path, old_item, self._pointer(True, old_at), new_item, self._pointer(False, new_at)
                )
            elif old_item != new_item and not (old_item in (True, {}) and new_item in (True, {})):
                keys = new_at if index < len(new) else old_at
                yield self.difference("item", (), str(index), path, (old_item, new_item), keys)
        path = (*self.path, Step("rest", at=max(len(old), len(new))))
        if isinstance(old_rest, dict) and isinstance(new_rest, dict):
            self.walk.enqueue(
                path, old_rest, self._pointer(True, old_keys[1]), new_rest, self._pointer(False, new_keys[1])
            )
        elif old_rest != new_rest and not (old_rest in (True, {}) and new_rest in (True, {})):
            detail = f"{brief(old_rest)} became {brief(new_rest)}"
            yield self.difference("additional-items", (), detail, path, (old_rest, new_rest), new_keys[1])

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
            pairs = match_branches(
                self.walk.old, {i: old[i] for i in left}, self.walk.new, {i: new[i] for i in right}
            )
        for old_index, new_index in pairs:
            self.walk.enqueue(
                self.path,
                old[old_index],
                self._pointer(True, (name, str(old_index))),
                new[new_index],
                self._pointer(False, (name, str(new_index))),
            )
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

    def _pointer(self, is_old: bool, steps: tuple[str, ...]) -> str:
        where = self.old_where if is_old else self.new_where
        return where + pointer(steps)


def _sequence(
    document: SchemaDocument, schema: dict[str, Any]
) -> tuple[list[Any], Any, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return the items with their own schema, the schema of the other items, and the keys of both."""
    items = schema.get("items", True)
    if document.draft >= 2020:
        head = schema.get("prefixItems", [])
        return (head if isinstance(head, list) else [], items, (("prefixItems",), ("items",)))
    if isinstance(items, list):
        return items, schema.get("additionalItems", True), (("items",), ("additionalItems",))
    return [], items, (("items",), ("items",))


def _reaches(schema: Any, steps: tuple[str, ...]) -> bool:
    try:
        part_at(schema, steps)
    except LookupError:
        return False
    return True


def _refers(value: Any) -> bool:
    if isinstance(value, dict):
        return "$ref" in value or any(_refers(part) for part in value.values())
    return isinstance(value, list) and any(_refers(part) for part in value)
