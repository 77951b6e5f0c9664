"""The read of an audit: every row of the store, and the tree of leaves with its checkpoints."""

from __future__ import annotations

import msgspec

from counterfoil.core.audit import Frontier
from counterfoil.store.dump import Dump
from counterfoil.store.port.audited import AuditTree, TreeEntry
from counterfoil.store.sql import tables as t
from counterfoil.store.sql.columns import UnreadableRow
from counterfoil.store.sql.dumped import dump
from counterfoil.store.sql.statements import Statement, records


async def audited() -> tuple[Dump, AuditTree]:
    """Return every row, and the tree of leaves, for an audit."""
    edges = await Statement("select size, nodes from tree_edge where one = 1", ())
    if not edges:
        raise UnreadableRow("the row of the table tree_edge was deleted")
    size, nodes = edges[0]
    try:
        edge = Frontier(size, [bytes.fromhex(node) for node in msgspec.json.decode(nodes, type=list[str])])
    except (ValueError, msgspec.MsgspecError) as error:
        raise UnreadableRow("the row of the table tree_edge was edited: nodes cannot be read") from error
    entries = await Statement("select idx, leaf, hash from tree order by idx", ())
    pending = await Statement("select leaf, hash from pending order by rowid", ())
    tree = AuditTree(
        size=size,
        root=edge.root(),
        entries=tuple(
            TreeEntry(index=index, leaf=leaf, hash=None if hash_ is None else bytes(hash_))
            for index, leaf, hash_ in entries
        ),
        checkpoints=tuple(await records(t.CHECKPOINT, "order by size")),
        pending=tuple((leaf, bytes(hash_)) for leaf, hash_ in pending),
    )
    return await dump(), tree


async def identity() -> str:
    """Return the id of this store: the time of its creation, which a copy or a replica has, too."""
    created = await Statement("select min(at) from migration", ())
    return f"{created[0][0]:x}"
