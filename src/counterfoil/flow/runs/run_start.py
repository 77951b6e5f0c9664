"""The birth of a Run as admission, a turn and the gateway write it."""

from __future__ import annotations

from counterfoil.core import wire
from counterfoil.core.run import LANE_NAMES
from counterfoil.model import Model
from counterfoil.rules.routing import RoutedStart
from counterfoil.store.port.records import Lease, NewInboxItem, RunStart


def run_start(
    model: Model, start: RoutedStart, ref: str, *, only_birth: bool = False, lease: Lease | None = None
) -> RunStart:
    """Return the row of a Run that starts under this model. `ref` names what starts it.

    `only_birth`: a Run that exists already gets no stimulus.
    """
    return RunStart(
        run=start.run,
        workflow=start.workflow,
        bkey=start.key,
        generation=start.generation,
        pin=model.digest,
        state="started",
        stimulus=NewInboxItem(run=start.run, kind="start", ref=ref, body=wire.dumps(start.names)),
        only_birth=only_birth,
        lane=LANE_NAMES[model.workflow(start.workflow).lane],
        lease=lease,
    )
