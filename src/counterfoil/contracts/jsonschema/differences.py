"""Where two schemas say different things, place by place; whether that breaks anybody is judged elsewhere.

The two are walked side by side through properties, items, references and branches. At each place the keywords that
belong together are compared together; each difference carries the two small schemas that hold just those keywords.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from counterfoil.contracts.jsonschema.document import SchemaDocument
from counterfoil.contracts.jsonschema.nodes import Nodes, Step
from counterfoil.contracts.jsonschema.values import pattern_matches

Path = tuple[Step, ...]

GROUPS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("values", ("enum", "const"), ""),
    ("minimum", ("minimum", "exclusiveMinimum"), "number"),
    ("maximum", ("maximum", "exclusiveMaximum"), "number"),
    ("multiple-of", ("multipleOf",), "number"),
    ("min-length", ("minLength",), "string"),
    ("max-length", ("maxLength",), "string"),
    ("pattern", ("pattern",), "string"),
    ("format", ("format",), "string"),
    ("content", ("contentEncoding", "contentMediaType", "contentSchema"), "string"),
    ("min-items", ("minItems",), "array"),
    ("max-items", ("maxItems",), "array"),
    ("unique-items", ("uniqueItems",), "array"),
    ("contains", ("contains", "minContains", "maxContains"), "array"),
    ("unevaluated-items", ("unevaluatedItems",), "array"),
    ("min-properties", ("minProperties",), "object"),
    ("max-properties", ("maxProperties",), "object"),
    ("property-names", ("propertyNames",), "object"),
    ("dependencies", ("dependencies", "dependentRequired", "dependentSchemas"), "object"),
    ("unevaluated-properties", ("unevaluatedProperties",), "object"),
    ("not", ("not",), ""),
    ("condition", ("if", "then", "else"), ""),
)
"""What is compared together, its keywords, and the type of instance that they speak of."""
SUBJECTS = frozenset(subject for subject, _, _ in GROUPS) | {
    "schema", "type", "item", "additional-items", "additional-properties", "pattern-property", "property-added",
    "property-removed", "required-added", "required-removed", "all-of", "any-of", "one-of", "reference", "annotation",
}  # fmt: skip
"""Everything that a difference can be about."""
NOTES = (
    "title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly", "$comment",
)  # fmt: skip


class DifferenceSide(NamedTuple):
    """One schema's place: the schema whose keywords are compared, those keywords alone, and where they stand."""

    schema: Any
    part: Any
    where: str
    present: bool


class SchemaDifference(NamedTuple):
    subject: str
    """What differs: `minimum`, `property`, ..."""
    path: Path
    """The place inside an instance."""
    old: DifferenceSide
    new: DifferenceSide
    detail: str = ""


class DifferenceWalk:
    """The walk of two documents."""

    def __init__(self, nodes: Nodes, old: SchemaDocument, new: SchemaDocument) -> None:
        self.nodes, self.old, self.new = nodes, old, new
        self._seen: set[tuple[int, int]] = set()
        self._agenda: deque[tuple[Path, Any, str, Any, str]] = deque()

    def walk(self) -> Iterator[SchemaDifference]:
        self._agenda.append(((), self.old.root, "", self.new.root, ""))
        while self._agenda:
            path, old, old_where, new, new_where = self._agenda.popleft()
            old, old_where = followed(self.old, old, old_where)
            new, new_where = followed(self.new, new, new_where)
            same = self.nodes.key(self.old, old) == self.nodes.key(self.new, new)
            if (same and old == new) or (id(old), id(new)) in self._seen:
                continue
            if isinstance(old, dict) and isinstance(new, dict):
                self._seen.add((id(old), id(new)))
            yield from self._place(path, old, old_where, new, new_where)

    def further(self, path: Path, old: Any, old_where: str, new: Any, new_where: str) -> None:
        self._agenda.append((path, old, old_where, new, new_where))

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
        place = _SchemaPair(self, path, (old, old_where), (new, new_where))
        yield from place.notes()
        yield from place.references()
        yield from place.types()
        yield from place.keywords()
        if "object" in place.shared:
            yield from place.properties()
        if "array" in place.shared:
            yield from place.items()
        for name in ("allOf", "anyOf", "oneOf"):
            yield from place.branches(name)

    def _whole(
        self,
        subject: str,
        path: Path,
        old: tuple[Any, Any, str],
        new: tuple[Any, Any, str],
        detail: str = "",
    ) -> SchemaDifference:
        return SchemaDifference(subject, path, DifferenceSide(*old, True), DifferenceSide(*new, True), detail)


def followed(document: SchemaDocument, schema: Any, where: str) -> tuple[Any, str]:
    """The schema behind references that stand alone."""
    for _ in range(30):
        if not isinstance(schema, dict) or not isinstance(schema.get("$ref"), str):
            break
        if document.draft > 7 and any(
            key not in {"$ref", *NOTES, "$defs", "$schema", "$id"} for key in schema
        ):
            break
        ref = document.absolute(schema["$ref"], schema)
        target = document.resolve(ref)
        if target is None:
            break
        schema, where = target, ref.partition("#")[2] if "#/" in ref or ref == "#" else where
    return schema, where


def escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def types_of(schema: dict[str, Any]) -> set[str]:
    stated = schema.get("type")
    names = [stated] if isinstance(stated, str) else stated if isinstance(stated, list) else None
    if names is None:
        return {"string", "object", "number", "array", "boolean", "null"}
    found = {"number" if name == "integer" else str(name) for name in names}
    return found | {"null"} if schema.get("nullable") is True else found


class _SchemaPair:
    """One place of the walk: two schemas that are objects."""

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

    def found(
        self,
        subject: str,
        keywords: tuple[str, ...],
        detail: str = "",
        path: Path | None = None,
        parts: tuple[Any, Any] | None = None,
        at: tuple[str, ...] | None = None,
    ) -> SchemaDifference:
        """A difference in some keywords of this place."""
        sides = []
        for index, (document, schema, where) in enumerate(
            ((self.walk.old, self.old, self.old_where), (self.walk.new, self.new, self.new_where))
        ):
            part = {key: schema[key] for key in keywords if key in schema} if parts is None else parts[index]
            if isinstance(part, dict):
                document.adopt(part, schema)
            steps = at if at is not None else tuple(key for key in keywords if key in schema)[:1]
            present = _reaches(schema, steps) and bool(steps)
            place = "".join("/" + escaped(step) for step in steps) if present else ""
            sides.append(DifferenceSide(schema, part, where + place, present))
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

    def notes(self) -> Iterator[SchemaDifference]:
        changed = [name for name in NOTES if self.old.get(name) != self.new.get(name)]
        if changed:
            yield self.found("annotation", tuple(changed), ", ".join(changed), parts=(True, True))

    def references(self) -> Iterator[SchemaDifference]:
        old, new = self.old.get("$ref"), self.new.get("$ref")
        if old is None and new is None:
            return
        targets = [
            document.resolve(document.absolute(ref, schema)) if isinstance(ref, str) else None
            for document, schema, ref in (
                (self.walk.old, self.old, old),
                (self.walk.new, self.new, new),
            )
        ]
        if all(target is not None for target in targets):
            self.walk.further(
                self.path,
                targets[0],
                str(old).partition("#")[2],
                targets[1],
                str(new).partition("#")[2],
            )
        elif old != new and self.differs(("$ref",)):
            yield self.found("reference", ("$ref",))

    def types(self) -> Iterator[SchemaDifference]:
        keywords = ("type", "nullable")
        old, new = ({key: side[key] for key in keywords if key in side} for side in (self.old, self.new))
        if old != new and self.differs(keywords):
            yield self.found("type", keywords, _became(old, new))

    def keywords(self) -> Iterator[SchemaDifference]:
        for subject, keywords, type_ in GROUPS:
            if (not type_ or type_ in self.shared or subject == "format") and self.differs(keywords):
                old, new = (
                    {key: side[key] for key in keywords if key in side} for side in (self.old, self.new)
                )
                yield self.found(subject, keywords, _became(old, new))

    def properties(self) -> Iterator[SchemaDifference]:
        old, new = _map(self.old, "properties"), _map(self.new, "properties")
        for name in [*old, *(name for name in new if name not in old)]:
            path = (*self.path, Step("property", name))
            at = ("properties", name)
            if name in old and name in new:
                self.walk.further(path, old[name], self._at(True, at), new[name], self._at(False, at))
            else:
                implied = self._implied(name, was=name not in old)
                parts = (old[name], implied) if name in old else (implied, new[name])
                yield self.found(
                    "property-removed" if name in old else "property-added",
                    (),
                    name,
                    path,
                    parts,
                    at,
                )
        one, other = (
            [name for name in side.get("required", []) if isinstance(name, str)]
            if isinstance(side.get("required"), list)
            else []
            for side in (self.old, self.new)
        )
        for name in [*one, *(name for name in other if name not in one)]:
            if (name in one) != (name in other):
                part = {"required": [name]}
                yield self.found(
                    "required-removed" if name in one else "required-added",
                    (),
                    name,
                    self.path,
                    (part if name in one else True, part if name in other else True),
                    ("required",),
                )
        yield from self._others(old, new)

    def _others(self, old: dict[str, Any], new: dict[str, Any]) -> Iterator[SchemaDifference]:
        one, other = _map(self.old, "patternProperties"), _map(self.new, "patternProperties")
        for pattern in [*one, *(pattern for pattern in other if pattern not in one)]:
            path = (*self.path, Step("other", must=(pattern,)))
            at = ("patternProperties", pattern)
            if pattern in one and pattern in other:
                self.walk.further(path, one[pattern], self._at(True, at), other[pattern], self._at(False, at))
            else:
                parts = (one.get(pattern, True), other.get(pattern, True))
                yield self.found("pattern-property", (), pattern, path, parts, at)
        names = frozenset(old) | frozenset(new)
        step = Step("other", excluded=names, must_not=tuple(dict.fromkeys([*one, *other])))
        yield from self._tail("additional-properties", "additionalProperties", (*self.path, step))

    def _tail(self, subject: str, keyword: str, path: Path) -> Iterator[SchemaDifference]:
        old, new = self.old.get(keyword, True), self.new.get(keyword, True)
        if isinstance(old, dict) and isinstance(new, dict):
            self.walk.further(path, old, self._at(True, (keyword,)), new, self._at(False, (keyword,)))
        elif old != new and not (old in (True, {}) and new in (True, {})):
            said = f"{_brief(old)} became {_brief(new)}"
            yield self.found(subject, (), said, path, (old, new), (keyword,))

    def _implied(self, name: str, *, was: bool) -> Any:
        """What a schema says about a property that it does not list."""
        schema = self.old if was else self.new
        matching = [
            part
            for pattern, part in _map(schema, "patternProperties").items()
            if pattern_matches(pattern, name)
        ]
        if matching:
            return {"allOf": matching}
        return schema.get("additionalProperties", True)

    def items(self) -> Iterator[SchemaDifference]:
        old, old_tail, old_at = _sequence(self.walk.old, self.old)
        new, new_tail, new_at = _sequence(self.walk.new, self.new)
        for index in range(max(len(old), len(new))):
            path = (*self.path, Step("item", at=index))
            one, one_at = (
                (old[index], (*old_at[0], str(index))) if index < len(old) else (old_tail, old_at[1])
            )
            two, two_at = (
                (new[index], (*new_at[0], str(index))) if index < len(new) else (new_tail, new_at[1])
            )
            if isinstance(one, dict) and isinstance(two, dict):
                self.walk.further(path, one, self._at(True, one_at), two, self._at(False, two_at))
            elif one != two and not (one in (True, {}) and two in (True, {})):
                at = two_at if index < len(new) else one_at
                yield self.found("item", (), str(index), path, (one, two), at)
        path = (*self.path, Step("rest", at=max(len(old), len(new))))
        if isinstance(old_tail, dict) and isinstance(new_tail, dict):
            self.walk.further(path, old_tail, self._at(True, old_at[1]), new_tail, self._at(False, new_at[1]))
        elif old_tail != new_tail and not (old_tail in (True, {}) and new_tail in (True, {})):
            said = f"{_brief(old_tail)} became {_brief(new_tail)}"
            yield self.found("additional-items", (), said, path, (old_tail, new_tail), new_at[1])

    def branches(self, name: str) -> Iterator[SchemaDifference]:
        subject = {"allOf": "all-of", "anyOf": "any-of", "oneOf": "one-of"}[name]
        if not self.differs((name,)):
            return
        old, new = self.old.get(name), self.new.get(name)
        if not isinstance(old, list) or not isinstance(new, list):
            yield self.found(subject, (name,), "added" if old is None else "removed")
            return
        one = [(self.walk.nodes.key(self.walk.old, part), at) for at, part in enumerate(old)]
        two = [(self.walk.nodes.key(self.walk.new, part), at) for at, part in enumerate(new)]
        kept = {key for key, _ in one} & {key for key, _ in two}
        left = [at for key, at in one if key not in kept]
        right = [at for key, at in two if key not in kept]
        pairs = list(zip(left, right, strict=True)) if len(left) == len(right) == 1 or (
            name == "allOf" and len(left) == len(right)
        ) else _matched(self.walk, old, new, left, right)  # fmt: skip
        for at, to in pairs:
            steps = (name, str(at)), (name, str(to))
            self.walk.further(
                self.path, old[at], self._at(True, steps[0]), new[to], self._at(False, steps[1])
            )
        gone = [at for at in left if at not in {at for at, _ in pairs}]
        come = [to for to in right if to not in {to for _, to in pairs}]
        if gone or come:
            said = "; ".join(
                f"{what} {', '.join(map(str, places))}"
                for what, places in (("without", gone), ("with", come))
                if places
            )
            spot = (name, str(come[0])) if come else (name,)
            parts = ({name: old}, {name: new})
            yield self.found(subject, (name,), f"branches: {said}", parts=parts, at=spot)

    def _at(self, was: bool, steps: tuple[str, ...]) -> str:
        where = self.old_where if was else self.new_where
        return where + "".join("/" + escaped(step) for step in steps)


def _matched(
    walk: DifferenceWalk, old: list[Any], new: list[Any], left: list[int], right: list[int]
) -> list[tuple[int, int]]:
    """Branches that are meant to be the same: the same reference, the same tag, or alone of their type."""
    pairs: list[tuple[int, int]] = []
    for at in left:
        marks = _marks(walk.old, old[at])
        for to in right:
            if marks & _marks(walk.new, new[to]) and to not in {taken for _, taken in pairs}:
                pairs.append((at, to))
                break
    return pairs


def _marks(document: SchemaDocument, branch: Any) -> set[str]:
    if not isinstance(branch, dict):
        return set()
    if isinstance(branch.get("$ref"), str):
        return {"$ref " + branch["$ref"]}
    marks = {f"title {branch['title']}"} if isinstance(branch.get("title"), str) else set()
    for name, part in _map(branch, "properties").items():
        part, _ = followed(document, part, "")
        if isinstance(part, dict):
            tag = (
                part["const"] if "const" in part else part["enum"] if len(part.get("enum", "")) == 1 else None
            )
            if tag is not None:
                marks.add(f"{name} {tag[0] if isinstance(tag, list) and tag else tag}")
    if not marks and isinstance(branch.get("type"), str) and branch["type"] != "object":
        marks.add(f"type {branch['type']}")
    return marks


def _sequence(
    document: SchemaDocument, schema: dict[str, Any]
) -> tuple[list[Any], Any, tuple[tuple[str, ...], tuple[str, ...]]]:
    """The items that have a place of their own, what holds for the others, and where both are said."""
    items = schema.get("items", True)
    if document.draft >= 2020:
        head = schema.get("prefixItems", [])
        return (head if isinstance(head, list) else [], items, (("prefixItems",), ("items",)))
    if isinstance(items, list):
        return items, schema.get("additionalItems", True), (("items",), ("additionalItems",))
    return [], items, (("items",), ("items",))


def _map(schema: dict[str, Any], name: str) -> dict[str, Any]:
    found = schema.get(name)
    return found if isinstance(found, dict) else {}


def _reaches(schema: Any, steps: tuple[str, ...]) -> bool:
    for step in steps:
        if isinstance(schema, dict) and step in schema:
            schema = schema[step]
        elif isinstance(schema, list) and step.isdigit() and int(step) < len(schema):
            schema = schema[int(step)]
        else:
            return False
    return True


def _refers(value: Any) -> bool:
    if isinstance(value, dict):
        return "$ref" in value or any(_refers(part) for part in value.values())
    return isinstance(value, list) and any(_refers(part) for part in value)


def _became(old: dict[str, Any], new: dict[str, Any]) -> str:
    """What changed among keywords, without those that stayed."""
    told = []
    for key in [*old, *(key for key in new if key not in old)]:
        if key not in new:
            told.append(f"{key} {_brief(old[key])} is gone")
        elif key not in old:
            told.append(f"{key} {_brief(new[key])} is new")
        elif isinstance(old[key], list) and isinstance(new[key], list) and key in {"enum", "type"}:
            gone = [value for value in old[key] if value not in new[key]]
            come = [value for value in new[key] if value not in old[key]]
            told += [f"{_listed(gone)} removed"] if gone else []
            told += [f"{_listed(come)} added"] if come else []
        elif old[key] != new[key]:
            told.append(f"{key} {_brief(old[key])} became {_brief(new[key])}")
    return ", ".join(told)


def _listed(values: list[Any]) -> str:
    shown = ", ".join(_brief(value) for value in values[:5])
    return shown + (f" and {len(values) - 5} more" if len(values) > 5 else "")


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
