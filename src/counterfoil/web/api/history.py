"""Past states of a Run's calls and documents, for its timeline: each moment keeps the values that it had then.

The rows of effects, counterfoils and documents hold the present alone. The past is in the outcomes of the Run's inbox, in
its audit leaves, and in the versions of its documents.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from counterfoil.core import wire
from counterfoil.core.audit import Leaf
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.run import InboxItem
from counterfoil.core.terms import Legs
from counterfoil.store.port.matches import DocumentVersion, row_of


def outcome_errors(inbox: Sequence[InboxItem]) -> dict[tuple[str, str], Iterator[str]]:
    """Return the texts of the outcomes of calls, by effect and state, in order of their attempts.

    An attempt has each state once, so the n-th outcome with a state belongs to the n-th leaf with it.
    """
    errors: dict[tuple[str, str], list[str]] = {}
    for item in inbox:
        if item.kind == "outcome":
            body = wire.loads(item.body)
            errors.setdefault((body["effect"], body["state"]), []).append(body["error"] or "")
    return {key: iter(texts) for key, texts in errors.items()}


def foil_reason(leaf: Leaf) -> str:
    """Return the reason that a counterfoil had when it took the state of this leaf."""
    reason = wire.loads(leaf.body).get("reason", "")
    return reason if isinstance(reason, str) else ""


def opening_messages(leaves: Iterable[Leaf]) -> dict[str, str]:
    """Return the message with which each Case was opened; a repeat of its cause changes the message of the row."""
    opened = (leaf for leaf in leaves if leaf.kind == "case.opened")
    return {leaf.subject: str(wire.loads(leaf.body).get("message", "")) for leaf in opened}


def first_assertions(versions: Iterable[Sequence[DocumentVersion]]) -> dict[str, Foil]:
    """Return the first version of each counterfoil, by its id. `versions` are those of each match, oldest first."""
    first: dict[str, Foil] = {}
    for version in (version for of_match in versions for version in of_match):
        row = row_of(version)
        if isinstance(row, Foil):
            first.setdefault(row.id, row)
    return first


def shown_versions(
    present: Sequence[Observation], versions: Sequence[DocumentVersion]
) -> Iterator[tuple[Observation, bool]]:
    """Yield the versions of a match's documents that changed what is shown, and whether one came before it.

    `versions` are oldest first. A version that was superseded when it arrived never counted.
    """
    last: dict[str, tuple[Legs, bool]] = {}
    for version in versions:
        row = row_of(version)
        if isinstance(row, Observation) and version.known_to != version.known_from:
            if last.get(row.id) != (row.legs, row.stands):
                yield row, row.id in last
            last[row.id] = row.legs, row.stands
    yield from ((row, False) for row in present if row.id not in last)
