"""Whose a Run is, and the models that it follows there: what is different in its region and legal entity counts.

Told by what began the Run, which never changes. Where no overlay counts by Run, nothing is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from counterfoil.core.run import Run
from counterfoil.flow.runs.snapshot import RunSnapshot
from counterfoil.model import Model
from counterfoil.rules.workflow.state import RunState, load


class RunScope:
    """The models of one Run: `pinned` is its Release's, `present` the one in force, both where the Run belongs.
    `state` is what the Run's stored state holds, where it had to be read."""

    def __init__(self, known: RunSnapshot, pinned: Model, present: Model, now: datetime) -> None:
        self.state: RunState | None = known.state
        self.pinned, self.present = pinned, present
        if not pinned.overlays and not present.overlays:
            return
        if self.state is None:
            self.state = load(known.run.ctx)
        names: Mapping[str, Any] = self.state.names
        if not names:  # it was born a moment ago
            names = {key: value for s in known.stimuli if s.kind == "start" for key, value in s.body.items()}
        entity = legal_entity(names)
        self.pinned = pinned.at(entity, known.run.created_at.date())
        self.present = present.at(entity, now.date())


def pinned(run: Run, model: Model) -> Model:
    """The model of a Run's Release where the Run belongs."""
    if not model.overlays:
        return model
    return model.at(legal_entity(load(run.ctx).names), run.created_at.date())


def legal_entity(names: Mapping[str, Any]) -> str:
    """The legal entity that the event, object or input that began a Run belongs to; empty where it does not say."""
    event = names.get("event")
    if isinstance(event, dict):
        found = event.get("legal_entity") or _of(event.get("data"))
        if found:
            return str(found)
    return str(_of(names.get("object")) or _of(names.get("input")) or "")


def _of(value: Any) -> Any:
    return value.get("legal_entity") if isinstance(value, dict) else None
