"""Mappings between a system and the canonical form, tables for their look-ups, and calendars."""

# ruff: noqa: RUF012 - pydantic copies the default of each field

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, StringConstraints, field_validator, model_validator

from counterfoil.model.kinds.base import Duration, Formula, Kind, Name, Part, Template
from counterfoil.model.kinds.policy import ChangeClass

Lost = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$")]


class MappingFrom(Part):
    system: Name
    type: str | list[str]
    """Delivery types of the system; `invoice.*` accepts every type with this prefix."""
    when: Formula | None = None
    api_version: str | None = None

    @property
    def types(self) -> list[str]:
        return [self.type] if isinstance(self.type, str) else self.type


class MappingTo(Part):
    operation: Name
    system: Name | None = None


class Cast(Part):
    """From one version of an event or operation to another of the same name."""

    from_: Name = Field(alias="from")
    to: Name


class Fetch(Part):
    call: Name
    with_: dict[str, Template] = Field(default={}, alias="with")
    pages: list[str] = []


class EmitMapping(Part):
    type: Template
    when: Formula | None = None
    key: Formula
    version: Formula | None = None
    identity: Formula | None = None
    """Identity of the fact in every channel, if the version alone does not identify it."""
    occurred: Formula | None = None
    effective: Formula | None = None
    legal_entity: Formula | None = None
    data: dict[str, Template]
    links: dict[Name, Formula] = {}
    """Object to external id: this fact links the external id to the canonical `<object>_id`."""


class Returns(Part):
    result: dict[str, Template] = {}
    """The canonical output from the vendor's `result`; empty: the unchanged result."""
    links: dict[Name, Formula] = {}
    compare: list[str] = []
    """Fields whose value in the result must equal the input's of the same name."""


class Mapping(Kind):
    kind: Literal["mapping"] = "mapping"
    from_: MappingFrom | None = Field(default=None, alias="from")
    to: MappingTo | None = None
    cast: Cast | None = None
    ignore: str | None = None
    """The reason to ignore deliveries of these types; of a cast: the reason not to offer one version as the other."""
    continues: Name | None = None
    """The mapping whose facts this one reports in a newer version; the facts keep their ids."""
    fetch: Fetch | None = None
    let: dict[Name, Formula] = {}
    emit: EmitMapping | list[EmitMapping] | None = None
    assert_: Formula | None = Field(default=None, alias="assert")
    with_: dict[str, Template] | None = Field(default=None, alias="with")
    returns: Returns = Returns()
    loses: dict[Lost, str] = {}
    """Fields that a cast drops, with the reason: `note`, `lines.tax`; of an operation's answer `result.note`."""

    @model_validator(mode="after")
    def _one_way(self) -> Mapping:
        if sum(way is not None for way in (self.from_, self.to, self.cast)) != 1:
            raise ValueError("a mapping needs exactly one of `from`, `to` and `cast`")
        if self.cast is not None:
            return self._cast()
        if self.loses:
            raise ValueError("`loses` is only for a mapping with `cast`")
        if self.from_ and (self.emit is None) == (self.ignore is None):
            raise ValueError("a mapping with `from` needs either `emit` or `ignore`")
        if self.to and self.with_ is None:
            raise ValueError("a mapping with `to` needs `with`")
        return self

    def _cast(self) -> Mapping:
        """Refuse everything in a cast except formulas over its source."""
        others = (self.fetch, self.emit, self.assert_, self.continues)
        beside = self.returns.links or self.returns.compare or any(part is not None for part in others)
        if self.ignore is not None:
            beside = beside or self.let or self.with_ or self.loses or self.returns.result
        if beside:
            raise ValueError("a cast may have `let`, `with`, `loses` and `returns.result`, or only `ignore`")
        return self


class Table(Kind):
    """Effective-dated rows that finance owns. `table(name, key...)` returns the value of the row that is effective."""

    kind: Literal["table"] = "table"
    key: list[Name]
    value: Name
    valid_from: Name | None = None
    file: str | None = None
    rows: list[dict[str, Any]] | None = None


class StateMap(Kind):
    kind: Literal["state_map"] = "state_map"
    object: Name
    system: Name
    map: dict[str, str]


Day = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}$")]


class OutsideChange(Part):
    """A change by others, or a freeze: the release of an ERP, the end of a version of a vendor's API, the days around a
    close."""

    what: str
    from_: Day = Field(alias="from")
    to: Day | None = None
    """The last day; absent: no end."""
    notice: Duration = "0d"
    """Time before the first day from which it is announced."""
    systems: list[Name] = []
    """Applies to changes of these systems; empty: of every system."""
    areas: list[ChangeClass] = []
    """Applies to changes of these classes; empty: of every class."""
    legal_entity: str | None = None
    """The days are in the zone of this legal entity if it is known; else in that of the calendar."""
    effect: Literal["refuse", "warn"] = "warn"

    @model_validator(mode="after")
    def _days(self) -> OutsideChange:
        first, last = date.fromisoformat(self.from_), self.to and date.fromisoformat(self.to)
        if last and last < first:
            raise ValueError("`to` is before `from`")
        return self


class Calendar(Kind):
    kind: Literal["calendar"] = "calendar"
    zone: str = "UTC"
    dates: dict[str, str] = {}
    changes: list[OutsideChange] = []
    """Outside changes that are checked for every plan."""

    @field_validator("zone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, ZoneInfoNotFoundError):
            raise ValueError(f"unknown time zone {value}") from None
        return value
