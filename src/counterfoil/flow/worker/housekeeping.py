"""watch: what time and other systems change without anybody calling: overdue calls, look-ups, polled feeds,
foils past due, sealing of leaves, and the progress scan that finds what nobody owns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

import msgspec

from counterfoil.connectors.sdk import Connector
from counterfoil.core import ids
from counterfoil.core.audit import Checkpoint
from counterfoil.core.cases import open_case
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.intake.receive import receive_page
from counterfoil.store.port.maintenance import Expire, OpenCases, PutCheckpoint, Seal
from counterfoil.store.port.store import (
    Store,
)

POLL_LIMIT = 200
POLL_TIMEOUT = 30.0
Sign = Callable[[int, bytes], str]
"""Tree size and root to the signed checkpoint's text."""
Keep = Callable[[Checkpoint], None]
"""What is done with a checkpoint once the store has it."""


async def poll(
    store: Store, releases: Releases, connectors: Mapping[str, Connector], system: str, feed: str
) -> int:
    """Read a feed from its cursor to its present end; how many deliveries were kept.

    Raises what the connector raises; the cursor moves with each page kept.
    """
    kept = 0
    while True:
        cursor = await store.cursor(system, feed)
        page = await connectors[system].poll(feed, cursor, POLL_LIMIT, POLL_TIMEOUT)
        if page.cursor != cursor or page.deliveries:
            now = await store.now()
            received = await receive_page(
                store, releases.present, system, feed, page.deliveries, page.cursor, now
            )
            kept += received.verdicts.count("new")
        if not page.more:
            return kept


async def expire_foils(store: Store, now: datetime) -> int:
    """Foils past due become breaks with a Case for their owner."""
    due = await store.foils_past_due(now, 500)
    return await store.apply(Expire(foils=tuple(f.id for f in due), at=now)) if due else 0


async def seal(store: Store, sign: Sign | None, now: datetime, keep: Keep | None = None) -> int:
    """Give pending leaves their place in the tree and sign what it has become."""
    sealed = await store.apply(Seal(at=now))
    if sealed.count and sign is not None:
        text = sign(sealed.size, sealed.root)
        checkpoint = Checkpoint(size=sealed.size, root=sealed.root, at=now, text=text)
        await store.apply(PutCheckpoint(checkpoint=checkpoint))
        if keep is not None:
            keep(checkpoint)
    return sealed.count


async def unreachable(store: Store, releases: Releases, system: str, error: str, now: datetime) -> None:
    """A system that cannot be reached with its credentials is a Case for its owner, one a day."""
    owners = releases.present.owners_of(releases.present.systems[system])
    case = open_case(
        "unreachable",
        id=ids.derive("case", "unreachable", system, now.date().isoformat()),
        message=f"{system}: {error}",
        owners=owners,
        at=now,
        names={"system": system},
    )
    await store.apply(OpenCases(cases=(case,), at=now, actor="watch"))


async def poisoned(store: Store, releases: Releases, what: str, ref: str, error: str, now: datetime) -> None:
    """Work on a Run, an effect or a todo that failed by a defect, not by what anybody answered: one Case for each
    defect. The row stays as it was and is tried again."""
    run, effect, receipt, event = None, None, None, None
    owners: Iterable[str] = ()
    if what == "todo":
        kind, _, id_ = ref.partition(":")
        receipt, event = (int(id_), None) if kind == "receipt" else (None, id_)
    else:
        effect = await store.effect(ref) if what == "effect" else None
        loaded = await store.load(ref if effect is None else effect.run)
        run = None if loaded is None else loaded.run
    if run is not None and run.workflow in releases.present.workflows:
        definition = releases.present.workflow(run.workflow)
        owners = definition.exception_owners or definition.owners
    if not owners:
        model = releases.present
        owners = [role for name in sorted(model.systems) for role in model.owners_of(model.systems[name])]
    case = open_case(
        "poisoned",
        id=ids.derive("case", "poisoned", what, ref, error[:200]),
        message=f"{what} {ref}: {error}",
        owners=owners,
        at=now,
        run=None if run is None else run.id,
        effect=None if effect is None else effect.id,
        receipt=receipt,
        event=event,
    )
    await store.apply(OpenCases(cases=(case,), at=now, actor="watch"))


async def clock_jumped(store: Store, releases: Releases, seconds: float, now: datetime) -> None:
    """Time that jumps would expire approvals and counterfoils wrongly: it is a Case, one an hour."""
    model = releases.present
    owners = [role for name in sorted(model.systems) for role in model.owners_of(model.systems[name])]
    case = open_case(
        "clock_jumped",
        id=ids.derive("case", "clock", now.isoformat(timespec="hours")),
        message=f"the clock jumped by {seconds:.1f} s; expiries were held back for a round, and look-ups conclude nothing for a while",
        owners=owners,
        at=now,
    )
    await store.apply(OpenCases(cases=(case,), at=now, actor="watch"))


class PollState(msgspec.Struct):
    """How a feed fares: for health, and for waiting longer when it fails."""

    last: datetime | None = None
    kept: int = 0
    failures: int = 0
    error: str = ""
