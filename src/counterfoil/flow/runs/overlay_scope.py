"""Overlay scope of a Run: its legal entity, and the models with the overlays that apply there.

The scope follows from what began the Run and never changes. Without overlays nothing is read for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from counterfoil.core.run import Run
from counterfoil.model import Model
from counterfoil.rules.workflow.state import load


@dataclass(frozen=True, slots=True)
class OverlayScope:
    """Scope of one Run, resolved once and carried in its snapshot."""

    model: Model
    """The Run's Release, with the overlays of the day on which the Run began."""
    legal_entity: str | None
    """None while no overlay has asked for it."""

    def active(self, release: Model, now: datetime) -> Model:
        """Return the active Release with the overlays that apply to the Run today."""
        return release.at(self.legal_entity or "", now.date()) if release.overlays else release


def model_of(run: Run, release: Model) -> Model:
    """Return a Run's Release with the Run's overlays, from its row alone."""
    if not release.overlays:
        return release
    return release.at(legal_entity(load(run.ctx).names), run.created_at.date())


def legal_entity(names: Mapping[str, Any]) -> str:
    """Return the legal entity of the event, object or input that began a Run; empty if none names it."""
    event = names.get("event")
    if isinstance(event, dict):
        entity = event.get("legal_entity") or _entity_in(event.get("data"))
        if entity:
            return str(entity)
    return str(_entity_in(names.get("object")) or _entity_in(names.get("input")) or "")


def _entity_in(value: Any) -> Any:
    return value.get("legal_entity") if isinstance(value, dict) else None
