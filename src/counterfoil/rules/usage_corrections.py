"""Corrections of usage that have no counted event behind them. Pure; `usage` refuses them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

EventKey: TypeAlias = tuple[str, str]
"""Source and id of an event."""
MeterKey: TypeAlias = tuple[str, str]
"""Subscription and meter."""


def unfounded(
    rows: Mapping[EventKey, MeterKey],
    corrections: Mapping[EventKey, EventKey],
    stored: Mapping[EventKey, MeterKey],
) -> dict[EventKey, str]:
    """Return the corrections of a batch whose event was not counted for the same subscription and meter, and why.

    `rows` are the events of the batch, `corrections` the event that each of them corrects. That event is stored, or in
    the batch, before or after. Corrections that name each other only correct nothing.
    """
    # A stored event stays valid if the batch has other content under its id.
    counted = {key: meter for key, meter in rows.items() if key not in corrections} | dict(stored)
    waiting = dict(corrections)
    while True:
        founded = [key for key, corrected in waiting.items() if counted.get(corrected) == rows[key]]
        if not founded:
            break
        for key in founded:
            counted.setdefault(key, rows[key])
            del waiting[key]
    return {
        key: f"the event {corrected[1][:100]} that it corrects "
        + ("is of another subscription or meter" if corrected in counted else "was not counted")
        for key, corrected in waiting.items()
    }
