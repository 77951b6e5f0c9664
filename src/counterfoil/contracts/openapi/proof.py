"""Proof by sets of instances, for changes that a comparison field by field cannot decide.

Rearranged alternatives, exclusions and conditions have no single place where one rule applies. Small self-contained
schemas are then compared as sets of instances. If one set contains the other, nothing breaks; otherwise the
counterexample becomes the example of the change.
"""

from __future__ import annotations

from typing import Any

from counterfoil.contracts.jsonschema.inclusion import Inclusion, included
from counterfoil.contracts.load import binary
from counterfoil.contracts.openapi.document import ApiDescription, json_bytes
from counterfoil.contracts.openapi.rules import Side
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
