"""The audit of a store: every leaf, the tree, its checkpoints, and the rows that leaves speak of, computed again.

The engine does not use this module. A finding is a sentence that names the record. A change of a row that no leaf covers
is found only if it breaks an invariant (`store.check`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from counterfoil.core import wire
from counterfoil.core.audit import Checkpoint, Frontier, Leaf
from counterfoil.core.foil import Foil, Observation
from counterfoil.store.dump import Dump
from counterfoil.store.port.audited import Audited, AuditTree, row_digest
from counterfoil.store.port.people import person_body

Verify = Callable[[Checkpoint], str]
"""Returns why a checkpoint's signature is not valid; empty if it is valid or by another key."""


def audit(
    dump: Dump, tree: AuditTree, verify: Verify, published: tuple[int, bytes] | None = None
) -> list[str]:
    """Return what was edited, deleted or truncated, first the tree. `published` is the head kept outside of the store."""
    leaves = {leaf.id: leaf for _, leaf in dump.leaves}
    ordered = [leaf for _, leaf in dump.leaves]
    return [
        *_tree(tree, leaves, verify, published),
        *_pending(tree, leaves),
        *_receipts(dump, ordered),
        *_votes(dump, ordered),
        *_persons(dump, ordered),
        *_results(dump, ordered),
        *_rows(dump, ordered),
        *_runs(dump, ordered),
        *_documents(dump),
    ]


def _name(leaf: Leaf) -> str:
    return f"{leaf.id} ({leaf.kind} {leaf.subject}, {leaf.actor}, {leaf.at.isoformat(timespec='seconds')})"


# ---------------------------------------------------------------------- the tree


def _tree(
    tree: AuditTree, leaves: dict[str, Leaf], verify: Verify, published: tuple[int, bytes] | None
) -> Iterator[str]:
    heads = {point.size: point.root for point in tree.checkpoints}
    times = {point.size: f"the checkpoint of {point.at.isoformat()}" for point in tree.checkpoints}
    if published is not None and heads.get(published[0]) != published[1]:
        heads[published[0]] = published[1]
        times[published[0]] = "the checkpoint outside of the store"
    if published is not None and published[0] not in {point.size for point in tree.checkpoints}:
        yield f"the checkpoint over {published[0]} leaves was deleted"
    for point in tree.checkpoints:
        if reason := verify(point):
            yield f"the checkpoint over {point.size} leaves {reason}"
    frontier, signed, rooted = Frontier(), 0, True
    for entry in tree.entries:
        if entry.index != frontier.size:
            yield f"leaves {frontier.size} to {entry.index - 1} are missing from the tree"
            return
        leaf = leaves.get(entry.leaf)
        if leaf is None:
            yield f"leaf {entry.index} was deleted: {entry.leaf}"
        elif entry.hash is not None and leaf.hash != entry.hash:
            yield f"leaf {entry.index} was edited: {_name(leaf)}"
        hash_ = entry.hash or (leaf.hash if leaf is not None else b"")
        frontier.append(hash_)
        root = heads.get(frontier.size)
        if root is None:
            continue
        if rooted and frontier.root() != root:
            yield f"leaves {signed} to {frontier.size - 1} do not have the root of {times[frontier.size]}"
            rooted = False
        signed = frontier.size
    end = max([tree.size, *heads])
    if end > frontier.size:
        yield f"the tree is truncated: leaves {frontier.size} to {end - 1} are missing"
    elif rooted and (tree.size != frontier.size or tree.root != frontier.root()):
        yield f"leaves {signed} to {frontier.size - 1} do not have the root of the tree's stored edge"


def _pending(tree: AuditTree, leaves: dict[str, Leaf]) -> Iterator[str]:
    for id_, hash_ in tree.pending:
        leaf = leaves.get(id_)
        if leaf is None:
            yield f"a leaf that is not sealed yet was deleted: {id_}"
        elif leaf.hash != hash_:
            yield f"a leaf that is not sealed yet was edited: {_name(leaf)}"
    places = {entry.leaf for entry in tree.entries} | {id_ for id_, _ in tree.pending}
    for id_, leaf in leaves.items():
        if id_ not in places:
            yield f"a leaf has no place in the tree: {_name(leaf)}"


# ---------------------------------------------------------------------- rows behind the leaves


def _body(leaf: Leaf) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(leaf.body)
    except msgspec.DecodeError:
        return {}  # an edited leaf, reported as such
    return body if isinstance(body, dict) else {}


def _receipts(dump: Dump, leaves: list[Leaf]) -> Iterator[str]:
    rows = {str(receipt.no): receipt for receipt in dump.receipts}
    for receipt in dump.receipts:
        if wire.digest(receipt.body) != receipt.sha256:
            yield f"receipt {receipt.no} was edited: its body does not have its digest"
    for leaf in leaves:
        if leaf.kind != "received":
            continue
        row, body = rows.get(leaf.subject), _body(leaf)
        if row is None:
            yield f"receipt {leaf.subject} was deleted, see leaf {_name(leaf)}"
        elif any(
            getattr(row, field) != body.get(field, default)
            for field, default in (
                ("system", None),
                ("ext_id", None),
                ("sha256", None),
                ("sender", row.sender),
            )
        ):
            yield f"receipt {leaf.subject} was edited, see leaf {_name(leaf)}"


def _votes(dump: Dump, leaves: list[Leaf]) -> Iterator[str]:
    votes = {(vote.approval, f"person:{vote.person}"): vote for vote in dump.votes}
    for leaf in leaves:
        if leaf.kind != "decided":
            continue
        vote, body = votes.pop((leaf.subject, leaf.actor), None), _body(leaf)
        if vote is None:
            yield f"the vote of {leaf.actor} on {leaf.subject} was deleted, see leaf {_name(leaf)}"
        elif (vote.approve, vote.comment, vote.at) != (body.get("approve"), body.get("comment"), leaf.at):
            yield f"the vote of {leaf.actor} on {leaf.subject} was edited, see leaf {_name(leaf)}"
    for approval, person in votes:
        yield f"the vote of {person} on {approval} was added: it has no leaf"


def _persons(dump: Dump, leaves: list[Leaf]) -> Iterator[str]:
    last = {leaf.subject: leaf for leaf in leaves if leaf.kind == "person"}
    rows = {person.id: person for person in dump.persons}
    for id_, leaf in last.items():
        person, body = rows.pop(id_, None), _body(leaf)
        if person is None:
            yield f"person {id_} was deleted, see leaf {_name(leaf)}"
        elif (list(person.roles), person.active) != (body.get("roles"), body.get("active")):
            yield f"the roles of person {id_} were edited, see leaf {_name(leaf)}"
        else:
            # Leaves of earlier versions lack some of these.
            row = msgspec.json.decode(wire.dumps(person_body(person)))
            for part in sorted(row.keys() & body.keys()):
                if row[part] != body[part]:
                    yield f"the {part} of person {id_} was edited, see leaf {_name(leaf)}"
    for id_ in rows:
        yield f"person {id_} was added: it has no leaf"


def _results(dump: Dump, leaves: list[Leaf]) -> Iterator[str]:
    """The last result that a leaf names is the stored one."""
    last: dict[str, tuple[str, Leaf]] = {}
    for leaf in leaves:
        body = _body(leaf)
        outcome = body.get("outcome") if leaf.kind == "turned" else body
        if isinstance(outcome, dict) and outcome.get("effect") and outcome.get("result"):
            last[outcome["effect"]] = outcome["result"], leaf
    effects = {effect.id: effect for effect in dump.effects}
    for id_, (digest, leaf) in last.items():
        effect = effects.get(id_)
        if effect is None:
            yield f"effect {id_} was deleted, see leaf {_name(leaf)}"
        elif effect.result is None or wire.digest(effect.result) != digest:
            yield f"the result of effect {id_} was edited, see leaf {_name(leaf)}"


def _rows(dump: Dump, leaves: list[Leaf]) -> Iterator[str]:
    """Events, approvals and effects have the digests that the leaf of their transition names."""
    written: tuple[Audited, ...] = (*dump.events, *dump.approvals, *dump.effects)
    rows = {row.id: row for row in written}
    for leaf in leaves:
        if leaf.kind not in ("admitted", "turned"):
            continue
        named = _body(leaf).get("rows")
        for id_, digest in (named if isinstance(named, dict) else {}).items():
            row = rows.get(id_)
            if row is None:
                yield f"{id_} was deleted, see leaf {_name(leaf)}"
            elif digest not in (row_digest(row), row_digest(row, former=True)):
                yield f"{type(row).__name__} {id_} was edited, see leaf {_name(leaf)}"


def _runs(dump: Dump, leaves: list[Leaf]) -> Iterator[str]:
    """The stored state of a Run is that of its last turn."""
    last = {leaf.run: leaf for leaf in leaves if leaf.version is not None}
    rows = {run.id: run for run in dump.runs}
    for id_, leaf in last.items():
        run, digest = rows.get(id_ or ""), _body(leaf).get("ctx")
        if run is None:
            yield f"run {id_} was deleted, see leaf {_name(leaf)}"
        elif digest and run.version == leaf.version and wire.digest(run.ctx)[:32] != digest:
            yield f"the state of run {id_} was edited, see leaf {_name(leaf)}"


def _documents(dump: Dump) -> Iterator[str]:
    """A document has the amounts of its newest version."""
    newest = {(v.side, v.rule, v.document): v for v in dump.versions if v.known_to is None}
    for side, rows in (("left", dump.foils), ("right", dump.observations)):
        for row in rows:
            version = newest.get((side, row.rule, row.document))
            if version is None:
                continue
            stored: Foil | Observation = msgspec.json.decode(version.body, type=type(row))
            if (stored.legs, stored.entity, stored.effective) != (row.legs, row.entity, row.effective):
                yield f"{row.id} ({row.rule} {row.document}) was edited: it differs from its version {row.version}"
