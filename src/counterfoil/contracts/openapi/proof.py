"""Proof by sets of instances, for changes that a comparison field by field cannot decide.

Rearranged alternatives, exclusions and conditions have no single place where one rule applies. Small self-contained
schemas are then compared as sets of instances. If one set contains the other, nothing breaks; otherwise the
counterexample becomes the example of the change.
"""

from __future__ import annotations

from typing import Any

import msgspec

from counterfoil.contracts.json_parts import unescape
from counterfoil.contracts.jsonschema.document import SchemaDocument
from counterfoil.contracts.jsonschema.inclusion import Inclusion, SchemaPair, included
from counterfoil.contracts.load import binary
from counterfoil.contracts.openapi.document import ApiDescription, UnresolvedReference, json_bytes, references
from counterfoil.contracts.openapi.rules import Side
from counterfoil.contracts.openapi.view import View
from counterfoil.contracts.report import Change

HARD = frozenset(
    f"{side}-{kind}"
    for side in ("request", "response")
    for kind in (
        "union-changed", "union-narrowed", "union-widened", "union-unclear", "not-added", "not-removed",
        "not-changed", "condition-added", "condition-removed", "condition-changed",
    )
)  # fmt: skip
"""Rules whose findings a proof may settle. The others are policy and do not depend on instances."""
MAX_PROOF_BYTES = 4_000
"""Limit of a schema as JSON; a proof about larger ones takes too long."""

MAX_OVERLAP_BYTES = 40_000
"""Limit of the schemas, with all components that they refer to, whose alternatives are checked for common instances."""

MAX_OVERLAP_STEPS = 5_000
"""Limit of steps of the search for such an instance: a description may have hundreds of choices."""


def settle(
    changes: list[Change], old: Any, new: Any, side: Side, documents: tuple[ApiDescription, ApiDescription]
) -> Inclusion | None:
    """Return the proof about two schemas whose change only rules in `HARD` report; None if there is none."""
    unsettled = [change for change in changes if change.breaking or not change.decided]
    if not unsettled or any(change.rule not in HARD for change in unsettled):
        return None
    texts = [json_bytes(schema) for schema in (old, new)]
    if any(
        text is None or len(text) > MAX_PROOF_BYTES or b'"$ref"' in text or b'"readOnly"' in text
        for text in texts
    ):
        return None
    dialect: Any = "openapi-3.0" if all(_is_openapi_3_0(document) for document in documents) else "2020-12"
    narrow, wide = (old, new) if side == "request" else (new, old)
    try:
        return included(_one_of_as_any_of(binary(narrow)), _one_of_as_any_of(binary(wide)), dialect=dialect)
    except (ValueError, TypeError, RecursionError):
        return None  # not a valid schema of that dialect


def texts_included(narrow: View, wide: View) -> Inclusion:
    """Return whether the patterns of `wide` accept every text of `narrow`, whose lengths and format count too."""
    lengths = {key: size for key, size in narrow.sizes.items() if key in ("minLength", "maxLength")}
    shape = {key: narrow.carried[key] for key in ("format",) if isinstance(narrow.carried.get(key), str)}
    patterns = [[{"pattern": pattern} for pattern in sorted(view.patterns)] for view in (narrow, wide)]
    schemas = [{"type": "string", **more, "allOf": [{}, *parts]}
               for more, parts in zip(({**lengths, **shape}, {}), patterns, strict=True)]  # fmt: skip
    try:
        return included(*schemas, dialect="2020-12")
    except (ValueError, TypeError, RecursionError):
        return Inclusion(verdict="unknown", why="no validator can read a pattern")


def texts_listed(view: View, values: list[Any]) -> bool:
    """Return true if a list of values has every text that the patterns of a view allow."""
    if not view.patterns or not view.only("string") or view.unions:
        return False
    patterns = [{"pattern": pattern} for pattern in sorted(view.patterns)]
    try:
        return (
            included({"type": "string", "allOf": patterns}, {"enum": values}, dialect="2020-12").verdict
            == "yes"
        )
    except (ValueError, TypeError, RecursionError):
        return False  # no validator can read a pattern


def overlap(
    narrow: tuple[Any, ApiDescription], wide: tuple[Any, ApiDescription], view: View
) -> Inclusion | None:
    """Return whether `wide`, whose view is given, rejects instances of `narrow` for matching several alternatives.

    None if it has no `oneOf`, or if a discriminator selects the alternative.
    """
    if "discriminator" in view.carried or b'"oneOf"' not in (json_bytes(_with_targets(*wide)) or b'"oneOf"'):
        return None
    choices = [union.variants for union in view.unions if union.keyword == "oneOf"]
    pairs = [
        {"allOf": [first, second]}
        for variants in choices
        for position, first in enumerate(variants)
        for second in variants[:position]
    ]
    exact = _bounded(narrow, wide)
    if exact.verdict != "no" or exact.example is msgspec.UNSET:
        return exact
    loose = [(_one_of_as_any_of(_with_targets(*side)), side[1]) for side in (narrow, wide)]
    if _bounded(*loose).verdict == "yes":
        return exact
    # Something else rejects an instance too, and another rule judges it.
    return _bounded(narrow, ({"not": {"anyOf": pairs}}, wide[1])) if pairs else None


def _bounded(narrow: tuple[Any, ApiDescription], wide: tuple[Any, ApiDescription]) -> Inclusion:
    """Return whether `narrow` is included in `wide`, within a small limit of steps."""
    roots = [_with_targets(*side) for side in (narrow, wide)]
    if any(root is None for root in roots):
        return Inclusion(verdict="unknown", why="they are too large, or refer outside of the components")
    in_3_0 = all(_is_openapi_3_0(side[1]) for side in (narrow, wide))
    dialect: Any = "openapi-3.0" if in_3_0 else "2020-12"
    try:
        pair = SchemaPair(*(SchemaDocument(root, dialect) for root in roots))
        pair.search.steps = MAX_OVERLAP_STEPS
        return pair.forward(*roots)
    except (ValueError, TypeError, RecursionError):
        return Inclusion(verdict="unknown", why="not valid schemas of their version")


def _with_targets(schema: Any, document: ApiDescription) -> Any:
    """Return a schema as a root that contains all components that it refers to; None if it is too large."""
    root: dict[str, Any] = {"allOf": [schema]}
    size = len(json_bytes(schema) or b"")
    for reference in sorted(document.reach(references(schema))):
        if not reference.startswith("#/components/schemas/") or reference.count("/") != 3:
            return None
        try:
            target = document.step(reference)
        except UnresolvedReference:
            return None
        size += len(json_bytes(target) or b"")
        if size > MAX_OVERLAP_BYTES:
            return None
        schemas = root.setdefault("components", {}).setdefault("schemas", {})
        schemas[unescape(reference.rpartition("/")[2])] = target
    return binary(root)


def _one_of_as_any_of(schema: Any) -> Any:
    """Return the schema with `oneOf` as `anyOf`: overlapping alternatives are common and meant as a choice."""
    if isinstance(schema, list):
        return [_one_of_as_any_of(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    rewritten = {key: _one_of_as_any_of(value) for key, value in schema.items() if key != "oneOf"}
    if "oneOf" in schema:
        choice = {"anyOf": _one_of_as_any_of(schema["oneOf"])}
        rewritten = {"allOf": [rewritten, choice]} if rewritten else choice
    return rewritten


def _is_openapi_3_0(document: ApiDescription) -> bool:
    return str(document.root.get("openapi", "")).startswith("3.0")
