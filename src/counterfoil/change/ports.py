"""The connection of plans and their application to the running process.

The change floor may not import `flow` or `replay`. `Application` passes these four functions in; tests pass their own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from counterfoil.core.impact import Impact
from counterfoil.model import Model


@dataclass(frozen=True, slots=True)
class ChangePorts:
    """Functions of the running process that changes call."""

    model: Callable[[str], Awaitable[Model]]
    """Return the model of a Release by its digest. Raises Misconfigured if the store does not have it."""
    impact: Callable[[Model, Model, datetime, datetime], Awaitable[Impact | None]]
    """Replay recorded traffic: old and new model, start and end of the time range. None: nothing to replay."""
    try_connectors: Callable[[Model, Sequence[str]], Awaitable[None]]
    """Build the connectors of the named systems and close them again. Raises Misconfigured."""
    take_up: Callable[[], Awaitable[object]]
    """Load the active Release into this process."""
