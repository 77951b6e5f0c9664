"""A drafted reconciliation: what a comparison inferred, as a governance folder to go on with."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from counterfoil.reconcile.entries import NO_CURRENCY, decimals_of
from counterfoil.reconcile.observe import Observed
from counterfoil.reconcile.reports.file_source import ASSUMED_CURRENCY, BOOK, FileSource, file_source

_NAME = re.compile(r"[^a-z0-9]+")
_TOTAL = "total"
COPIED_MEGABYTES = 100
"""Largest export that is copied into the folder."""


def write_draft(observed: Observed, places: tuple[str, str], folder: Path) -> list[str]:
    """Write the draft, and copies of the exports that its systems read. Return sentences about what is left to do.

    Raises FileExistsError for a folder with a draft, and OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text, sources = draft(observed, places)
    with (folder / "reconciliation.yaml").open("x", encoding="utf-8") as file:
        file.write(text)
    if not sources:
        return []
    notes = [
        f"`counterfoil check {folder}` checks it, and its systems read the exports in {folder / 'exports'}"
    ]
    for source in sources:
        place = folder / "exports" / source.name
        place.mkdir(parents=True, exist_ok=True)
        if source.path.stat().st_size <= COPIED_MEGABYTES * 1_000_000:
            shutil.copyfile(source.path, place / source.path.name)
        else:
            notes.append(f"{source.path.name} is large: move it to {place}")
    if any(entry.currency == NO_CURRENCY for entry in observed.comparison.left.entries[:1]):
        notes.append(
            f"the exports name no currency, so the mappings say {ASSUMED_CURRENCY}: correct it there"
        )
    return notes


def draft(observed: Observed, places: tuple[str, str]) -> tuple[str, Sequence[FileSource]]:
    """Return governance documents for the two exports, and the sources that their systems read.

    The systems read the files if the connector `files` reads them as the comparison did. Otherwise they are placeholders
    without a connector, and there are no sources.
    """
    left, right = observed.comparison.left.table, observed.comparison.right.table
    names = [_name(Path(table.name).stem, side) for table, side in ((left, "left"), (right, "right"))]
    if names[0] == names[1]:
        names = [f"{names[0]}-left", f"{names[1]}-right"]
    # The letters alone: names of events have no hyphens.
    objects = [f"{name.replace('-', '_')}_row" for name in names]
    events = [f"{name}.received.v1" for name in objects]
    sources = _sources(observed, places, names, events)
    head = f"# Drafted from {left.name} and {right.name}."
    if sources:
        documents = [
            f"{head} Put later exports beside them; events and mappings are yours to change.\n{_ROLE}"
        ]
        for source in sources:
            documents += [
                _system(source),
                _object(source.object, source.name),
                _event(source.event, source.object, source.fields()),
            ]
            documents.append(source.mapping())
    else:
        keys = (observed.guess.key.left, observed.guess.key.right) if observed.guess.key else ((), ())
        documents = [
            f"{head} Replace the systems by real ones, and the events by those of their mappings.\n{_ROLE}"
        ]
        sides = (observed.guess.left, observed.guess.right)
        for table, name, object_, event, key, roles in zip(
            (left, right), names, objects, events, keys, sides, strict=True
        ):
            columns = f"key {' + '.join(key) or 'none: amount and date'}, amount {roles.amount.text}, date {roles.date or 'none'}"
            documents += [
                f"{{kind: system, name: {name}, role: legacy, connector: external, owner: finance}}\n",
                _object(object_, name),
                f"# {table.name}: {columns}\n{_event(event, object_, f'{object_}_id: id, key: string, total: money', 'produced: http, ')}",
            ]
    documents.append(_reconciliation(observed, names, objects, events, sources))
    return "---\n".join(documents), sources


_ROLE = """\
kind: role
name: finance
may: ["runs:any:read", "foils:any:read", "foils:any:sweep", "cases:any:read", "cases:own:resolve"]
"""


def _sources(
    observed: Observed, places: tuple[str, str], names: Sequence[str], events: Sequence[str]
) -> list[FileSource]:
    chosen, c = observed.guess, observed.comparison
    keys = (chosen.key.left, chosen.key.right) if chosen.key else ((), ())
    sides = zip(
        places,
        names,
        events,
        (c.left, c.right),
        (chosen.left, chosen.right),
        keys,
        (1, chosen.sign),
        strict=True,
    )
    sources = [
        file_source(place, name, event, book, roles, chosen.key, key, sign)
        for place, name, event, book, roles, key, sign in sides
    ]
    usable = [source for source in sources if source is not None]
    return usable if len(usable) == len(sources) else []


def _system(source: FileSource) -> str:
    return f"""\
kind: system
name: {source.name}
role: legacy
connector: files
owner: finance
feeds: {{{BOOK}: {{every: 1m}}}}
sweeps: {{{BOOK}: {{every: 1d}}}}
settings:
  folder: exports/{source.name}
  books:
    {BOOK}:
{source.settings()}"""


def _object(name: str, system: str) -> str:
    return f"{{kind: object, name: {name}, system: {system}, fields: {{total: money}}}}\n"


def _event(name: str, object_: str, fields: str, produced: str = "") -> str:
    return f"{{kind: event, name: {name}, object: {object_}, {produced}data: {{{fields}}}}}\n"


def _reconciliation(
    observed: Observed,
    names: Sequence[str],
    objects: Sequence[str],
    events: Sequence[str],
    sources: Sequence[FileSource],
) -> str:
    left, right = observed.comparison.left.table, observed.comparison.right.table
    shapes = observed.comparison.shapes
    shape = (
        "n:m"
        if shapes["n:m"] or (shapes["1:n"] and shapes["n:1"])
        else next((s for s in ("1:n", "n:1") if shapes[s]), "1:1")
    )
    rounding = [
        int(abs(amount).scaleb(decimals_of(currency)))
        for d in observed.comparison.differences
        if d.cause == "rounding"
        for currency, amount in d.amounts.items()
    ]
    tolerance = f", tolerance: {max(rounding)}" if rounding else ""
    days = [", effective: event.data.day" if source.has_day else "" for source in sources] or ["", ""]
    # The mapping of a source has given its amounts the sign of the left side already.
    sign = "-event.data.total" if observed.guess.sign == -1 and not sources else "event.data.total"
    return f"""\
kind: reconciliation
name: {names[0]}-in-{names[1]}
doc: What {left.name} shows, {right.name} must show as well.
owner: finance
object: {objects[0]}
left: {names[0]}
right: {names[1]}
shape: "{shape}"
key: event.data.key
legs: {{{_TOTAL}: {{total: true{tolerance}}}}}
assert:
  - {{event: {events[0]}, document: event.data.{objects[0]}_id, legs: {{{_TOTAL}: event.data.total}}{days[0]}, due: +2d}}
observe:
  - {{event: {events[1]}, document: event.data.{objects[1]}_id, legs: {{{_TOTAL}: {sign}}}{days[1]}}}
unmatched: {{grace: +1d}}
"""


def _name(text: str, default: str) -> str:
    """Return a name for a document: small letters, digits and hyphens, beginning with a letter."""
    name = _NAME.sub("-", text.lower()).strip("-")
    return name if name[:1].isalpha() else f"{default}-{name}" if name else default
