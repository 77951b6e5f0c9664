"""Random pairs of schemas of every draft: mostly a schema and the same one with a few edits, else two strangers."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any, NamedTuple

URIS = {
    "4": "http://json-schema.org/draft-04/schema#",
    "6": "http://json-schema.org/draft-06/schema#",
    "7": "http://json-schema.org/draft-07/schema#",
    "2019-09": "https://json-schema.org/draft/2019-09/schema",
    "2020-12": "https://json-schema.org/draft/2020-12/schema",
}
DRAFTS = list(URIS)
NAMES = ("a", "b", "ab")
TYPES = ("string", "number", "integer", "object", "array", "boolean", "null")
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, 2, -1, 1.5, "", "a", "b", "ab", "2024-02-29", [], [0], [0, 0], ["a", 1], {}, {"a": 0}, {"a": "a", "b": 1},
)  # fmt: skip
PATTERNS = ("^a", "b", "^[a-z]+$", "^.{2}$", r"\d", "^(a|b)*$", "^$")
NAME_PATTERNS = ("^a", "b", ".", "^ab?$")
FORMATS = (
    "date",
    "email",
    "uri",
    "ipv4",
    "uuid",
    "duration",
    "uri-reference",
    "json-pointer",
    "regex",
    "no-format",
)
STRANGERS_SHARE = 0.08
MAX_DEPTH = 3
MAX_EDITS = 3


class SchemaCase(NamedTuple):
    """Two schemas of one draft, and the direction in which they are compared."""

    draft: str
    direction: str
    old: Any
    new: Any


def draw_case(seed: int) -> SchemaCase:
    """Return the pair of a seed."""
    chance = random.Random(seed)
    draft = DRAFTS[seed % len(DRAFTS)]
    direction = chance.choice(("backward", "backward", "forward", "full"))
    draws = SchemaDraws(chance, draft)
    old = draws.document()
    if chance.random() < STRANGERS_SHARE:
        return SchemaCase(draft, direction, old, draws.document())
    new = copy.deepcopy(old)
    for _ in range(chance.randint(1, MAX_EDITS)):
        draws.edit(new)
    return SchemaCase(draft, direction, old, new)


class SchemaDraws:
    """Draws of schemas and of edits from one source of chance."""

    def __init__(self, chance: random.Random, draft: str) -> None:
        self.chance = chance
        self.draft = draft
        self.modern = draft in ("2019-09", "2020-12")
        self.definitions = "$defs" if self.modern else "definitions"
        small = lambda: chance.randint(0, 3)  # noqa: E731 - one word for many rows
        self.flat: dict[str, Callable[[], Any]] = {
            "type": self.types,
            "enum": lambda: chance.sample(VALUES, chance.randint(1, 4)),
            "minimum": lambda: chance.choice((-1, 0, 1, 1.5, 2)),
            "maximum": lambda: chance.choice((-1, 0, 1, 1.5, 2)),
            "multipleOf": lambda: chance.choice((1, 2, 3, 0.5)),
            "minLength": small, "maxLength": small, "minItems": small, "maxItems": small,
            "minProperties": small, "maxProperties": small,
            "pattern": lambda: chance.choice(PATTERNS),
            "format": lambda: chance.choice(FORMATS),
            "required": lambda: chance.sample(NAMES, chance.randint(1, 2)),
            "uniqueItems": lambda: chance.random() < 0.8,
        }  # fmt: skip
        self.nested = ["items", "additionalProperties", "not"]
        self.lists = ["allOf", "anyOf", "oneOf"]
        self.maps = ["properties", "properties", "patternProperties"]
        self._add_words_of_the_draft()

    def _add_words_of_the_draft(self) -> None:
        chance = self.chance
        if self.draft == "4":
            self.flat["exclusiveMinimum"] = self.flat["exclusiveMaximum"] = lambda: chance.random() < 0.7
        else:
            self.flat["exclusiveMinimum"] = self.flat["exclusiveMaximum"] = lambda: chance.choice((0, 1, 2))
            self.flat["const"] = lambda: chance.choice(VALUES)
            self.nested += ["contains", "propertyNames"]
        if self.draft in ("7", "2019-09", "2020-12"):
            self.nested += ["if", "then", "else"]
        if self.modern:
            self.flat["minContains"] = self.flat["maxContains"] = lambda: chance.randint(0, 2)
            self.flat["dependentRequired"] = lambda: {chance.choice(NAMES): chance.sample(NAMES, 1)}
            self.nested += ["unevaluatedProperties", "unevaluatedItems"]
            self.maps.append("dependentSchemas")
        else:
            self.maps.append("dependencies")
        if self.draft == "2020-12":
            self.lists.append("prefixItems")
        else:
            self.nested.append("additionalItems")

    def types(self) -> Any:
        if self.chance.random() < 0.6:
            return self.chance.choice(TYPES)
        return self.chance.sample(TYPES, self.chance.randint(1, 3))

    def document(self) -> dict[str, Any]:
        """Return a whole schema with its draft, two definitions and, sometimes, an anchor."""
        body = self.schema(0)
        body = body if isinstance(body, dict) else {"allOf": [body]} if self.draft != "4" else {}
        second = self.schema(2)
        if self.modern and isinstance(second, dict):
            second = {**second, "$anchor": "two"}
        return {"$schema": URIS[self.draft], **body, self.definitions: {"one": self.schema(1), "two": second}}

    def schema(self, depth: int) -> Any:
        """Return a schema of one to three keywords, and further schemas inside."""
        chance = self.chance
        kind = chance.random()
        if kind < 0.1 and depth:
            return self.reference()
        if kind < 0.15 and depth and self.draft != "4":
            return chance.random() < 0.7
        words = [*self.flat] if depth >= MAX_DEPTH else [*self.flat, *self.nested, *self.lists, *self.maps]
        schema: dict[str, Any] = {}
        for word in chance.sample(words, chance.randint(1, 3)):
            self.put(schema, word, depth)
        return schema

    def reference(self) -> dict[str, Any]:
        targets = [f"#/{self.definitions}/one", f"#/{self.definitions}/two", "#"]
        # Before draft 2019-09, keywords beside a reference have no meaning.
        beside = self.schema(MAX_DEPTH) if self.chance.random() < 0.3 else {}
        beside = beside if isinstance(beside, dict) else {}
        return {**beside, "$ref": self.chance.choice([*targets, "#two"] if self.modern else targets)}

    def put(self, schema: dict[str, Any], word: str, depth: int) -> None:
        """Set a keyword to a random content."""
        chance = self.chance
        if word in self.flat:
            schema[word] = self.flat[word]()
            bound = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}.get(word)
            if self.draft == "4" and bound:
                schema.setdefault(bound, 1)
        elif word in self.lists:
            schema[word] = [self.schema(depth + 1) for _ in range(chance.randint(1, 3))]
        elif word in self.maps:
            names = NAME_PATTERNS if word == "patternProperties" else NAMES
            schema[word] = {
                name: self.schema(depth + 1) for name in chance.sample(names, chance.randint(1, 2))
            }
            if word == "dependencies" and chance.random() < 0.5:
                schema[word][chance.choice(NAMES)] = chance.sample(NAMES, 1)
        elif word == "items" and self.draft != "2020-12" and chance.random() < 0.4:
            schema[word] = [self.schema(depth + 1) for _ in range(chance.randint(1, 2))]
        else:
            schema[word] = self.schema(depth + 1)

    def edit(self, document: dict[str, Any]) -> None:
        """Change one place of a document."""
        chance = self.chance
        node, depth = chance.choice(list(places(document)))
        words = [word for word in node if not word.startswith("$") and word != self.definitions]
        kind = chance.random()
        if kind < 0.25 and words:
            del node[chance.choice(words)]
            if self.draft == "4":
                _repair_bounds(node)
        elif kind < 0.45 and words:
            self.replace(node, chance.choice(words), depth)
        elif kind < 0.55 and words:
            self.restate(node, words)
        elif kind < 0.62 and words:
            lists = [node[word] for word in words if isinstance(node[word], list)]
            for items in lists:
                chance.shuffle(items)
        else:
            usable = (
                [*self.flat] if depth >= MAX_DEPTH else [*self.flat, *self.nested, *self.lists, *self.maps]
            )
            self.put(node, chance.choice(usable), depth)

    def replace(self, node: dict[str, Any], word: str, depth: int) -> None:
        """Change the content of a keyword a little, or all of it."""
        value, chance = node[word], self.chance
        if isinstance(value, int) and not isinstance(value, bool) and word in self.flat:
            node[word] = max(0, value + chance.choice((-1, 1))) if word[:3] in ("min", "max") else value + 1
        elif isinstance(value, list) and len(value) > 1 and chance.random() < 0.5:
            value.pop(chance.randrange(len(value)))
        elif word == "enum":
            added = chance.choice(VALUES)
            if not any(_same(added, each) for each in value):
                value.append(added)
        elif isinstance(value, dict) and word in self.maps and len(value) > 1:
            del value[chance.choice(list(value))]
        else:
            self.put(node, word, depth)

    def restate(self, node: dict[str, Any], words: list[str]) -> None:
        """Write a keyword in another form with the same meaning, or nearly the same."""
        word = self.chance.choice(words)
        if "$ref" in node or word in ("then", "else", "if") or word.startswith(("unevaluated", "additional")):
            return
        moved = {word: node.pop(word)}
        if self.draft == "4" and "imum" in word:
            moved.update(
                {other: node.pop(other) for other in list(node) if other.lower().endswith(word[-4:])}
            )
        form = self.chance.choice(("allOf", "anyOf", "oneOf", "not"))
        inner: Any = {"not": moved} if form == "not" else [moved]
        node.setdefault(form, inner)


def _same(one: Any, other: Any) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _repair_bounds(node: dict[str, Any]) -> None:
    """Remove exclusive bounds without their bound, which draft 4 forbids."""
    for bound, word in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if bound not in node:
            node.pop(word, None)


def places(node: Any, depth: int = 0) -> list[tuple[dict[str, Any], int]]:
    """Return every schema of a schema that is an object, with its depth; itself first."""
    if not isinstance(node, dict):
        return []
    result = [(node, depth)]
    for word, value in node.items():
        inner: list[Any] = []
        if word in (
            "properties",
            "patternProperties",
            "dependentSchemas",
            "dependencies",
            "$defs",
            "definitions",
        ):
            inner = list(value.values())
        elif word in ("allOf", "anyOf", "oneOf", "prefixItems", "items"):
            inner = value if isinstance(value, list) else [value]
        elif word in ("not", "if", "then", "else", "contains", "propertyNames") or word.startswith(
            ("additional", "unevaluated")
        ):
            inner = [value]
        for each in inner:
            result += places(each, depth + 1)
    return result
