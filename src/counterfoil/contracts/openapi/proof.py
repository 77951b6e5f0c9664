"""Asking for a proof where the comparison of fields sees only that something hard changed.

Alternatives that were rearranged, exclusions and conditions have no place at which one rule tells what happens. Small
schemas that stand by themselves are then compared as sets of instances; where the one is part of the other, nothing
breaks, and where it is not, the instance that shows it is the example.
"""

from __future__ import annotations

from typing import Any

from counterfoil.contracts.jsonschema.inclusion import Inclusion, included
from counterfoil.contracts.load import binary
from counterfoil.contracts.openapi.document import Document, written
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
"""Rules whose findings a proof may settle. Others are policy, and hold whatever instances say."""
LARGEST = 4_000
"""Bytes of a schema as JSON; a proof about larger ones takes too long."""


def settle(
    changes: list[Change], old: Any, new: Any, side: Side, documents: tuple[Document, Document]
) -> Inclusion | None:
    """What is proved about two schemas whose change is told by hard rules alone; None when there is nothing to ask."""
    open_ = [change for change in changes if change.breaking or not change.decided]
    if not open_ or any(change.rule not in HARD for change in open_):
        return None
    texts = [written(schema) for schema in (old, new)]
    if any(
        text is None or len(text) > LARGEST or b'"$ref"' in text or b'"readOnly"' in text for text in texts
    ):
        return None
    dialect: Any = "openapi-3.0" if all(_early(document) for document in documents) else "2020-12"
    first, second = (old, new) if side == "request" else (new, old)
    try:
        return included(_any(binary(first)), _any(binary(second)), dialect=dialect)
    except (ValueError, TypeError, RecursionError):
        return None  # not a schema of that dialect, so nothing is proved


def _any(schema: Any) -> Any:
    """`oneOf` read as `anyOf`: alternatives that overlap are common, and meant to be chosen among all the same."""
    if isinstance(schema, list):
        return [_any(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _any(value) for key, value in schema.items() if key != "oneOf"}
    if "oneOf" in schema:
        choice = {"anyOf": _any(schema["oneOf"])}
        made = {"allOf": [made, choice]} if made else choice
    return made


def _early(document: Document) -> bool:
    return str(document.root.get("openapi", "")).startswith("3.0")
