"""A schema document: which draft it speaks, and what its references name.

References are followed inside the document alone; nothing is fetched.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias
from urllib.parse import unquote, urljoin

Dialect: TypeAlias = Literal["4", "6", "7", "2019-09", "2020-12", "openapi-3.0"]
"""`openapi-3.0` is draft 4 with `nullable`."""
ORDER: dict[str, int] = {"4": 4, "openapi-3.0": 5, "6": 6, "7": 7, "2019-09": 2019, "2020-12": 2020}

MAPS = frozenset(
    ["properties", "patternProperties", "definitions", "$defs", "dependentSchemas", "dependencies", "schemas"]
)
DATA = frozenset(["enum", "const", "default", "examples", "example", "required", "type", "dependentRequired"])
# Keywords that one draft reads otherwise than another: their equal texts need not mean the same.
DEPENDS_ON_DRAFT = frozenset(
    ["items", "additionalItems", "prefixItems", "exclusiveMinimum", "exclusiveMaximum", "dependencies", "const",
     "contains", "propertyNames", "if", "minContains", "maxContains", "dependentRequired", "dependentSchemas",
     "unevaluatedItems", "unevaluatedProperties", "nullable", "$ref", "$dynamicRef", "$recursiveRef"]
)  # fmt: skip


def dialect_of(root: Any, default: Dialect | None = None) -> Dialect:
    """What `$schema` says; without it the default, or what the keywords give away, or the newest draft."""
    return stated_dialect(root) or default or stated_dialect(root, guess=True) or "2020-12"


def stated_dialect(root: Any, *, guess: bool = False) -> Dialect | None:
    """What `$schema` says, or what keywords give away that other drafts read otherwise."""
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
        return next((found for part in schema if (found := _guess(part))), None)
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
        (found for key, part in schema.items() if key not in DATA and (found := _guess(part))),
        None,
    )


class SchemaDocument:
    """One root with its identifiers and anchors."""

    def __init__(self, root: Any, dialect: Dialect) -> None:
        self.root = root
        self.dialect = dialect
        self.draft = ORDER[dialect]
        self._ids: dict[str, Any] = {}
        self._bases: dict[int, str] = {}
        self._adopted: list[Any] = []
        self.dynamic: dict[str, list[Any]] = {}
        """The schemas that carry each `$dynamicAnchor`."""
        self.base = ""
        if dialect != "openapi-3.0":
            id_ = self._id(root)
            self.base = id_ if id_ and not id_.startswith("#") else ""
            self._walk(root, self.base)
        self._ids.setdefault(self.base.rstrip("#"), root)

    def _id(self, schema: Any) -> str | None:
        if not isinstance(schema, dict) or (self.draft <= 7 and "$ref" in schema):
            return None
        found = schema.get("id" if self.draft == 4 else "$id")
        return found if isinstance(found, str) else None

    def _walk(self, root: Any, base: str) -> None:
        agenda = [(root, base)]
        while agenda:
            schema, base = agenda.pop()
            if isinstance(schema, list):
                agenda.extend((part, base) for part in schema)
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
                        self.dynamic.setdefault(name, []).append(schema)
            if base != self.base.rstrip("#"):
                self._bases[id(schema)] = base
            for key, part in schema.items():
                if key in MAPS and isinstance(part, dict):
                    agenda.extend((inner, base) for inner in part.values())
                elif key not in DATA and isinstance(part, dict | list):
                    agenda.append((part, base))

    def adopt(self, part: Any, origin: Any) -> Any:
        """A schema made of pieces of another: its references mean what they meant there."""
        base = self._bases.get(id(origin))
        if base is not None:
            self._bases[id(part)] = base
            self._adopted.append(part)
        return part

    def absolute(self, ref: str, schema: Any) -> str:
        """The reference as the document's root would write it."""
        base = self._bases.get(id(schema))
        return ref if base is None else urljoin(base, ref)

    def resolve(self, ref: str) -> Any:
        """The schema that an absolute reference names; None when it is outside of the document or missing."""
        if ref in self._ids:
            return self._ids[ref]
        whole = urljoin(self.base, ref) if self.base else ref
        if whole in self._ids:
            return self._ids[whole]
        place, _, fragment = whole.partition("#")
        target = self._ids.get(place)
        if target is None:
            return None
        if fragment == "":
            return target
        if not fragment.startswith("/"):
            return None
        for step in fragment[1:].split("/"):
            name = unquote(step).replace("~1", "/").replace("~0", "~")
            if isinstance(target, dict) and name in target:
                target = target[name]
            elif isinstance(target, list) and name.isdigit() and int(name) < len(target):
                target = target[int(name)]
            else:
                return None
        return target
