"""Compiled rules that complete the envelope of an event: the region of its legal entity, and the entity's document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from counterfoil.model.documents import Documents
from counterfoil.model.entity_names import names_of
from counterfoil.model.tables import TableRows

REGION = "region"
"""Table with the region of each legal entity whose document states none."""


@dataclass(frozen=True, slots=True)
class EnvelopeRules:
    """Rules of one model by which the envelope of an event is completed when it is read."""

    entities: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The map `entity` of each declared legal entity."""
    default: str = ""
    """The legal entity of facts that name none; empty if none is declared."""
    regions: TableRows | None = field(default=None, compare=False)
    """Rows of the table `region`, for entities whose document states none."""
    hashes: bool = False
    """Some formula reads `payload_hash`. Otherwise it is not computed."""

    @classmethod
    def of(cls, documents: Documents) -> EnvelopeRules:
        entities = {name: names_of(entity) for name, entity in documents.legal_entities.items()}
        table = documents.tables.get(REGION)
        hashes = documents.reads_payload_hash
        return cls(entities, documents.default_entity, table, hashes)

    def region(self, legal_entity: str, on: date) -> str:
        """Return the region of a legal entity on a day; empty if it is unknown."""
        declared = self.entities.get(legal_entity, {}).get("region")
        if declared is not None or self.regions is None or not legal_entity:
            return declared or ""
        region = self.regions.lookup([legal_entity], on)
        return "" if region is None else str(region)

    def day(self, legal_entity: str, moment: datetime) -> date:
        """Return the day of a moment in the zone of a legal entity; in UTC where none is declared."""
        zone = (self.entity(legal_entity) or {}).get("zone")
        return moment.astimezone(ZoneInfo(zone)).date() if zone else moment.date()

    def entity(self, legal_entity: str) -> Mapping[str, Any] | None:
        """Return the map `entity` of a legal entity, of the default for the empty text; None if none is declared."""
        return self.entities.get(legal_entity or self.default)


NO_ENVELOPE_RULES = EnvelopeRules()
"""Of a model without legal entities and without a table of regions."""
