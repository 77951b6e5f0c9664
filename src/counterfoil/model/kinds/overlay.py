"""Overlays: what is different in one environment, region or legal entity."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from counterfoil.model.kinds.base import Kind, Name, Part

Entity = Annotated[str, StringConstraints(min_length=1, max_length=120)]


class Place(Part):
    """Where an overlay counts: everything that is named must be so."""

    environment: Name | None = None
    """Chosen when the folder is read."""
    region: Entity | None = None
    """As the table `region` says of a run's legal entity."""
    legal_entity: Entity | Annotated[list[Entity], Field(min_length=1)] | None = None
    """As the fact says that began a run."""

    @model_validator(mode="after")
    def _somewhere(self) -> Place:
        if self.environment is None and self.region is None and self.legal_entity is None:
            raise ValueError("an overlay is `of` an environment, a region or a legal entity")
        return self

    @property
    def entities(self) -> list[str]:
        if self.legal_entity is None:
            return []
        return [self.legal_entity] if isinstance(self.legal_entity, str) else self.legal_entity

    @property
    def by_run(self) -> bool:
        """Whether each run decides if it counts."""
        return self.region is not None or self.legal_entity is not None


class OverlayChange(Part):
    """One document, and what is set in it: mappings are joined key by key, everything else is put in its place."""

    kind: str
    name: Name
    set: dict[str, Any] = Field(min_length=1)
    loosens: str | None = None
    """Why less is asked here than elsewhere, where that is so."""


class Overlay(Kind):
    kind: Literal["overlay"] = "overlay"
    of: Place
    changes: list[OverlayChange] = Field(min_length=1)
