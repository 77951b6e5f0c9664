"""A drafted reconciliation: what a comparison inferred, as a governance file to go on with."""

from __future__ import annotations

import re
from pathlib import Path

from counterfoil.reconcile.observe import Observed

_NAME = re.compile(r"[^a-z0-9]+")
_TOTAL = "total"


def draft(observed: Observed) -> str:
    """Return governance documents for the two exports: systems, events and the reconciliation between them."""
    left, right = observed.comparison.left.table, observed.comparison.right.table
    names = [_name(Path(table.name).stem, side) for table, side in ((left, "left"), (right, "right"))]
    if names[0] == names[1]:
        names = [f"{names[0]}-left", f"{names[1]}-right"]
    chosen = observed.guess
    keys = (chosen.key.left, chosen.key.right) if chosen.key else ((), ())
    shapes = observed.comparison.shapes
    shape = (
        "n:m"
        if shapes["n:m"] or (shapes["1:n"] and shapes["n:1"])
        else next((s for s in ("1:n", "n:1") if shapes[s]), "1:1")
    )
    rounding = [
        abs(a) for d in observed.comparison.differences if d.cause == "rounding" for a in d.amounts.values()
    ]
    tolerance = f", tolerance: {int(max(rounding) * 100)}" if rounding else ""
    columns = [
        f"key {' + '.join(k) or 'none: amount and date'}, amount {roles.amount.text}, date {roles.date or 'none'}"
        for k, roles in zip(keys, (chosen.left, chosen.right), strict=True)
    ]
    # The letters alone: names of events have no hyphens.
    events = [f"{name.replace('-', '_')}_document.received.v1" for name in names]
    sign = "-event.data.total" if chosen.sign == -1 else "event.data.total"
    return f"""\
# Drafted from {left.name} and {right.name}. Replace the systems by real ones, and the events by those of their mappings.
kind: role
name: finance
may: [runs:any:read, foils:any:read, cases:own:resolve]
---
{{kind: system, name: {names[0]}, role: legacy, connector: external, owner: finance}}
---
{{kind: system, name: {names[1]}, role: legacy, connector: external, owner: finance}}
---
{{kind: object, name: document, system: {names[0]}, fields: {{total: money}}}}
---
# {left.name}: {columns[0]}
{{kind: event, name: {events[0]}, produced: http, data: {{document_id: id, key: string, total: money}}}}
---
# {right.name}: {columns[1]}
{{kind: event, name: {events[1]}, produced: http, data: {{document_id: id, key: string, total: money}}}}
---
kind: reconciliation
name: {names[0]}-in-{names[1]}
doc: What {left.name} shows, {right.name} must show as well.
owner: finance
object: document
left: {names[0]}
right: {names[1]}
shape: "{shape}"
key: event.data.key
legs: {{{_TOTAL}: {{total: true{tolerance}}}}}
assert:
  - {{event: {events[0]}, document: event.data.document_id, legs: {{{_TOTAL}: event.data.total}}, due: +2d}}
observe:
  - {{event: {events[1]}, document: event.data.document_id, legs: {{{_TOTAL}: {sign}}}}}
unmatched: {{grace: +1d}}
"""


def _name(text: str, default: str) -> str:
    """Return a name for a document: small letters, digits and hyphens, beginning with a letter."""
    name = _NAME.sub("-", text.lower()).strip("-")
    return name if name[:1].isalpha() else f"{default}-{name}" if name else default
