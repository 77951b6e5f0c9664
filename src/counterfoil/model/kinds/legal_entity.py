"""Legal entities: the companies whose books a folder governs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints, field_validator

from counterfoil.core.countries import COUNTRIES
from counterfoil.core.money import exponent
from counterfoil.model.kinds.base import Kind, Zone


class LegalEntity(Kind):
    """A company of the group, with the country, currency and time zone of its books."""

    kind: Literal["legal_entity"] = "legal_entity"
    title: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    """The registered name."""
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
    """Country of registration, by its code of ISO 3166-1."""
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    """Functional currency: that of its books, by its code of ISO 4217."""
    zone: Zone
    """Time zone of its accounting days, by its IANA name."""
    region: Annotated[str, StringConstraints(min_length=1, max_length=120)] | None = None
    """Region whose overlays apply to its Runs. It replaces the table `region` for this entity."""
    tax_id: Annotated[str, StringConstraints(min_length=1, max_length=120)] | None = None
    """Its tax registration, as it stands on documents."""
    default: bool = False
    """The entity of facts that name none. Of several entities exactly one is the default; a single one always is."""

    @field_validator("country")
    @classmethod
    def _country_exists(cls, value: str) -> str:
        if value not in COUNTRIES:
            raise ValueError(f"{value} is not a country code of ISO 3166-1")
        return value

    @field_validator("currency")
    @classmethod
    def _currency_exists(cls, value: str) -> str:
        exponent(value)
        return value
