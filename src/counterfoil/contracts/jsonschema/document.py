"""Schema document with its draft and its references.

References are followed inside the document only; nothing is fetched.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias
from urllib.parse import unquote, urljoin

from counterfoil.contracts.json_parts import part_at, pointer, unescape
from counterfoil.contracts.jsonschema.subjects import ANNOTATIONS

Dialect: TypeAlias = Literal["4", "6", "7", "2019-09", "2020-12", "openapi-3.0"]
"""`openapi-3.0` is draft 4 with `nullable`."""
_MAX_FOLLOWED_REFERENCES = 30
ORDER: dict[str, int] = {"4": 4, "openapi-3.0": 5, "6": 6, "7": 7, "2019-09": 2019, "2020-12": 2020}

MAPS = frozenset(
    ["properties", "patternProperties", "definitions", "$defs", "dependentSchemas", "dependencies", "schemas"]
)
DATA = frozenset(["enum", "const", "default", "examples", "example", "required", "type", "dependentRequired"])
# Keywords that drafts interpret differently: equal texts may have different meanings.
DEPENDS_ON_DRAFT = frozenset(
    ["items", "additionalItems", "prefixItems", "exclusiveMinimum", "exclusiveMaximum", "dependencies", "const",
     "contains", "propertyNames", "if", "minContains", "maxContains", "dependentRequired", "dependentSchemas",
     "unevaluatedItems", "unevaluatedProperties", "nullable", "format", "$ref", "$dynamicRef", "$recursiveRef"]
)  # fmt: skip


def dialect_of(root: Any, default: Dialect | None = None) -> Dialect:
    """Return the dialect of `$schema`, else the default, else what the keywords indicate, else the newest draft."""
    return stated_dialect(root) or default or stated_dialect(root, guess=True) or "2020-12"


def stated_dialect(root: Any, *, guess: bool = False) -> Dialect | None:
    """Return the dialect of `$schema`; with `guess` also the one that draft-specific keywords indicate."""
    stated = root.get("$schema") if isinstance(root, dict) else None
    if isinstance(stated, str):
        for part, dialect in _STATED:
            if part in stated:
                return dialect
    return _guess(root) if guess else None


_STATED: tuple[tuple[str, Dialect], ...] = (
    ("draft-03", "4"),
    ("draft-04", "4"),
    ("draft-05", "4"),
    ("draft-06", "6"),
    ("draft-07", "7"),
    ("2019-09", "2019-09"),
    ("2020-12", "2020-12"),
)


def _guess(schema: Any) -> Dialect | None:
    if isinstance(schema, list):
        return next((dialect for part in schema if (dialect := _guess(part))), None)
    if not isinstance(schema, dict):
        return None
    for key in ("exclusiveMinimum", "exclusiveMaximum"):
        if isinstance(schema.get(key), bool):
            return "4"
    if isinstance(schema.get("items"), list) or "additionalItems" in schema:
        return "7"
    if isinstance(schema.get("definitions"), dict) or isinstance(schema.get("dependencies"), dict):
        return "7"
    return next(
        (dialect for key, part in schema.items() if key not in DATA and (dialect := _guess(part))), None
    )


class SchemaDocument:
    """One root schema with its identifiers and anchors."""

    def __init__(self, root: Any, dialect: Dialect) -> None:
        self.root = root
        self.dialect = dialect
        self.draft = ORDER[dialect]
        self._ids: dict[str, Any] = {}
        self._bases: dict[int, str] = {}
        self._adopted: list[Any] = []
        self.dynamic: dict[str, list[str]] = {}
        """References to the schemas of each `$dynamicAnchor`; under the empty name, to those of `$recursiveAnchor`."""
        self.base = ""
        if dialect != "openapi-3.0":
            id_ = self._id(root)
            self.base = id_ if id_ and not id_.startswith("#") else ""
            self._walk(root, self.base)
        self._ids.setdefault(self.base.rstrip("#"), root)

    def _id(self, schema: Any) -> str | None:
        if not isinstance(schema, dict) or (self.draft <= 7 and "$ref" in schema):
            return None
        identifier = schema.get("id" if self.draft == 4 else "$id")
        return identifier if isinstance(identifier, str) else None

    def _walk(self, root: Any, base: str) -> None:
        queue = [(root, base)]
        while queue:
            schema, base = queue.pop()
            if isinstance(schema, list):
                queue.extend((part, base) for part in schema)
                continue
            if not isinstance(schema, dict):
                continue
            id_ = self._id(schema)
            if id_ is not None and id_.startswith("#"):
                self._ids.setdefault(base.partition("#")[0] + id_, schema)
            elif id_ is not None:
                base = urljoin(base, id_).rstrip("#")
                self._ids.setdefault(base, schema)
            for anchor in ("$anchor", "$dynamicAnchor"):
                name = schema.get(anchor)
                if isinstance(name, str):
                    self._ids.setdefault(f"{base}#{name}", schema)
                    if anchor == "$dynamicAnchor":
                        self.dynamic.setdefault(name, []).append(f"{base}#{name}")
            if schema.get("$recursiveAnchor") is True:
                self.dynamic.setdefault("", []).append(f"{base}#")
            if base != self.base.rstrip("#"):
                self._bases[id(schema)] = base
            for key, part in schema.items():
                if key in MAPS and isinstance(part, dict):
                    queue.extend((inner, base) for inner in part.values())
                elif key not in DATA and isinstance(part, dict | list):
                    queue.append((part, base))

    def adopt(self, part: Any, origin: Any) -> Any:
        """Register a schema built from parts of another, so that its references resolve as they did there."""
        base = self._bases.get(id(origin))
        if base is not None:
            self._bases[id(part)] = base
            self._adopted.append(part)
        return part

    def dynamic_targets(self, keyword: str, ref: str) -> list[str]:
        """Return the references to all schemas that a `$dynamicRef` or a `$recursiveRef` may lead to."""
        if keyword == "$recursiveRef":
            return self.dynamic.get("", [])
        return self.dynamic.get(ref.rpartition("#")[2], []) if keyword == "$dynamicRef" else []

    def absolute(self, ref: str, schema: Any) -> str:
        """Return the reference as the root of the document would write it."""
        base = self._bases.get(id(schema))
        return ref if base is None else urljoin(base, ref)

    def resolve(self, ref: str) -> Any:
        """Return the target of an absolute reference; None if it is missing or outside the document."""
        if ref in self._ids:
            return self._ids[ref]
        absolute = urljoin(self.base, ref) if self.base else ref
        if absolute in self._ids:
            return self._ids[absolute]
        place, _, fragment = absolute.partition("#")
        target = self._ids.get(place)
        if target is None:
            return None
        if fragment == "":
            return target
        if not fragment.startswith("/"):
            return None
        try:
            return part_at(target, (unescape(unquote(step)) for step in fragment[1:].split("/")))
        except LookupError:
            return None

    def unresolved(self) -> dict[str, str]:
        """Return the references to other documents that this one does not contain, each with one of its places."""
        places: dict[str, str] = {}
        pending = [(self.root, "", False)]
        while pending:
            node, where, names = pending.pop()
            parts = (
                enumerate(node) if isinstance(node, list) else node.items() if isinstance(node, dict) else ()
            )
            for key, part in parts:
                if names or key not in DATA:
                    pending.append((part, f"{where}{pointer([key])}", key in MAPS and not names))
            reference = node.get("$ref") if isinstance(node, dict) and not names else None
            if not isinstance(reference, str) or reference.startswith("#"):
                continue
            if self.resolve(self.absolute(reference, node)) is None:
                places.setdefault(reference, where)
        return places

    def follow(self, schema: Any, where: str) -> tuple[Any, str]:
        """Return the target of references without other keywords, and its place."""
        for _ in range(_MAX_FOLLOWED_REFERENCES):
            if not isinstance(schema, dict) or not isinstance(schema.get("$ref"), str):
                break
            if self.draft > 7 and any(
                key not in {"$ref", *ANNOTATIONS, "$defs", "$schema", "$id"} for key in schema
            ):
                break
            ref = self.absolute(schema["$ref"], schema)
            target = self.resolve(ref)
            if target is None:
                break
            schema, where = target, ref.partition("#")[2] if "#/" in ref or ref == "#" else where
        return schema, where
