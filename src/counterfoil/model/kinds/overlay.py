"""Overlays: differences of one environment, region or legal entity."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from counterfoil.model.kinds.base import Kind, Name, Part

Entity = Annotated[str, StringConstraints(min_length=1, max_length=120)]


class Place(Part):
    """Scope of an overlay: all named parts must match."""

    environment: Name | None = None
    """Chosen when the folder is read."""
    region: Entity | None = None
    """Region of the Run's legal entity, from its document, else from the table `region`."""
    legal_entity: Entity | Annotated[list[Entity], Field(min_length=1)] | None = None
    """Legal entity of the fact that started the Run."""

    @model_validator(mode="after")
    def _not_empty(self) -> Place:
        if self.environment is None and self.region is None and self.legal_entity is None:
            raise ValueError("`of` needs an environment, a region or a legal entity")
        return self

    @property
    def entities(self) -> list[str]:
        if self.legal_entity is None:
            return []
        return [self.legal_entity] if isinstance(self.legal_entity, str) else self.legal_entity

    @property
    def by_run(self) -> bool:
        """True if the overlay applies to some Runs only, by their legal entity."""
        return self.region is not None or self.legal_entity is not None


class OverlayChange(Part):
    """Changes of one document: mappings are merged key by key, every other value is replaced."""

    kind: str
    """Kind of the changed document."""
    name: Name
    """Name of the changed document."""
    set: dict[str, Any] = Field(min_length=1)
    """Keys that differ here."""
    loosens: str | None = None
    """The reason, if the control is weaker here than elsewhere."""


class Overlay(Kind):
    """Differences of an environment, a region or a legal entity."""

    kind: Literal["overlay"] = "overlay"
    of: Place
    """Scope of the differences."""
    changes: list[OverlayChange] = Field(min_length=1)
    """The changed documents."""
