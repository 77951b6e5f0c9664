"""Mappings between a system and the canonical form, and the tables that they look up."""

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
    """Delivery types of the system; `invoice.*` takes every type with that beginning."""
    when: Formula | None = None
    api_version: str | None = None


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
    """What makes the fact the same one through every door, where the version alone does not."""
    occurred: Formula | None = None
    effective: Formula | None = None
    legal_entity: Formula | None = None
    data: dict[str, Template]
    links: dict[Name, Formula] = {}
    """Object to external id: this fact establishes that external id for the canonical `<object>_id`."""


class Returns(Part):
    result: dict[str, Template] = {}
    """The canonical output from the vendor's `result`; empty: the result as it is."""
    links: dict[Name, Formula] = {}
    compare: list[str] = []
    """Fields whose value in the result must equal the input's of the same name."""


class Mapping(Kind):
    kind: Literal["mapping"] = "mapping"
    from_: MappingFrom | None = Field(default=None, alias="from")
    to: MappingTo | None = None
    cast: Cast | None = None
    ignore: str | None = None
    """Why deliveries of these types mean nothing to us; of a cast: why one version is not offered as the other."""
    continues: Name | None = None
    """The mapping whose facts this one tells in a newer version: they keep the ids that it gave them."""
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
            raise ValueError("a mapping has exactly one of `from`, `to` and `cast`")
        if self.cast is not None:
            return self._cast()
        if self.loses:
            raise ValueError("`loses` belongs to a mapping with `cast`")
        if self.from_ and (self.emit is None) == (self.ignore is None):
            raise ValueError("a mapping with `from` has either `emit` or `ignore`")
        if self.to and self.with_ is None:
            raise ValueError("a mapping with `to` has `with`")
        return self

    def _cast(self) -> Mapping:
        """A cast is pure: what it gives follows from what it is given."""
        strange = [
            self.fetch,
            self.emit,
            self.assert_,
            self.continues,
            *self.returns.links,
            *self.returns.compare,
        ]
        if any(part is not None for part in strange):
            raise ValueError("a cast has `let`, `with`, `loses` and `returns.result`, or `ignore` alone")
        if self.ignore is not None and (self.let or self.with_ or self.loses or self.returns.result):
            raise ValueError("a cast has `let`, `with`, `loses` and `returns.result`, or `ignore` alone")
        return self


class Table(Kind):
    """Finance-owned rows, effective-dated. `table(name, key...)` gives `value` of the row in force."""

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
    """Something that others change, or a time in which nothing is changed: an ERP's release, the end of a version of
    a vendor's API, the days around a close."""

    what: str
    from_: Day = Field(alias="from")
    to: Day | None = None
    """The last day; absent: from then on."""
    notice: Duration = "0d"
    """So long before the first day it is told of."""
    systems: list[Name] = []
    """Concerns changes that touch one of these; empty: whatever system."""
    areas: list[ChangeClass] = []
    """Concerns changes of one of these classes; empty: of every class."""
    legal_entity: str | None = None
    """Whose zone the days are of, where it is known; else the calendar's."""
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
    """What plans of changes are held against."""

    @field_validator("zone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, ZoneInfoNotFoundError):
            raise ValueError(f"there is no time zone {value}") from None
        return value
