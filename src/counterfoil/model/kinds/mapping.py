"""Mappings between a system and the canonical form, tables for their look-ups, and calendars."""

# ruff: noqa: RUF012 - pydantic copies the default of each field

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from counterfoil.model.kinds.base import Duration, Formula, Kind, Name, Part, Template, Zone
from counterfoil.model.kinds.policy import ChangeClass

Lost = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$")]


class MappingFrom(Part):
    """Deliveries of a system."""

    system: Name
    """The system that delivers."""
    type: str | list[str]
    """Delivery types of the system; `invoice.*` accepts every type with this prefix."""
    when: Formula | None = None
    """The mapping applies if this is true of `body`; absent: always."""
    api_version: str | None = None
    """Version of the vendor's API. Not executed by this version."""

    @property
    def types(self) -> list[str]:
        return [self.type] if isinstance(self.type, str) else self.type


class MappingTo(Part):
    """Operation of a system."""

    operation: Name
    """The operation."""
    system: Name | None = None
    """Its system, for readers; it must be the operation's own."""
    previews: Name | None = None
    """The workflow that answers the operation instead of a system: on paper, up to its first call."""


class Cast(Part):
    """From one version of an event or operation to another of the same name."""

    from_: Name = Field(alias="from")
    """The version that is converted."""
    to: Name
    """The version that it becomes."""


class Fetch(Part):
    """A read that completes a delivery."""

    call: Name
    """The read operation."""
    with_: dict[str, Template] = Field(default={}, alias="with")
    """Its input."""
    pages: list[str] = []
    """Lists of the answer that the vendor splits into pages. Not executed by this version."""


class EmitMapping(Part):
    """One event that a delivery becomes."""

    type: Template
    """Name of the event, or a formula that selects one of several quoted names."""
    when: Formula | None = None
    """The event is emitted if this is true; absent: always."""
    key: Formula
    """Key of the fact; with type and version it identifies the fact in every channel."""
    version: Formula | None = None
    """Order of the facts of one object: a whole number or a moment; default: the time of receipt."""
    identity: Formula | None = None
    """Identity of the fact in every channel, if the version alone does not identify it."""
    occurred: Formula | None = None
    """Moment at which it happened; default: the time of receipt."""
    effective: Formula | None = None
    """Moment from which it counts; default: the moment at which it happened."""
    legal_entity: Formula | None = None
    """Legal entity of the fact."""
    data: dict[str, Template]
    """Data of the event."""
    links: dict[Name, Formula] = {}
    """Object to external id: this fact links the external id to the canonical `<object>_id`."""


class Returns(Part):
    """The way back from a call."""

    result: dict[str, Template] = {}
    """The canonical output from the vendor's `result`; empty: the unchanged result."""
    links: dict[Name, Formula] = {}
    """Object to external id: a confirmed call links it to the canonical id."""
    compare: list[str] = []
    """Fields whose value in the result must equal the input's of the same name."""


class Mapping(Kind):
    """Translation between a system's form and the canonical form, or between two versions of a contract."""

    kind: Literal["mapping"] = "mapping"
    from_: MappingFrom | None = Field(default=None, alias="from")
    """Deliveries of a system that the mapping turns into events."""
    to: MappingTo | None = None
    """The operation whose input the mapping turns into the system's form."""
    cast: Cast | None = None
    """The two versions of an event or operation between which the mapping converts."""
    ignore: str | None = None
    """The reason to ignore deliveries of these types; of a cast: the reason not to offer one version as the other."""
    continues: Name | None = None
    """The mapping whose facts this one reports in a newer version; the facts keep their ids."""
    fetch: Fetch | None = None
    """A read that completes a delivery; formulas see the answer as `fetched`."""
    let: dict[Name, Formula] = {}
    """Named formulas, each of which may use the former ones."""
    emit: EmitMapping | list[EmitMapping] | None = None
    """The events that a delivery becomes."""
    assert_: Formula | None = Field(default=None, alias="assert")
    """Condition over `data` that every emitted event must satisfy; otherwise the delivery gets a Case."""
    with_: dict[str, Template] | None = Field(default=None, alias="with")
    """The input of the other side: the system's form of an operation, or the fields of the target version."""
    returns: Returns = Returns()
    """The way back: the canonical result, Links and comparisons."""
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
    """Columns of the key, in the order of the arguments of `table(...)`."""
    value: Name
    """Column of the value."""
    valid_from: Name | None = None
    """Column of the day from which a row is effective; absent: every row always is."""
    file: str | None = None
    """CSV file with the rows, relative to the folder."""
    rows: list[dict[str, Any]] | None = None
    """The rows themselves, instead of a file."""


class StateMap(Kind):
    """Translation of a vendor's states into canonical states. Not executed by this version."""

    kind: Literal["state_map"] = "state_map"
    object: Name
    """The object whose states are translated."""
    system: Name
    """The system whose states are translated."""
    map: dict[str, str]
    """State of the vendor to canonical state."""


Day = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}$")]


class OutsideChange(Part):
    """A change by others, or a freeze: the release of an ERP, the end of a version of a vendor's API, the days around a
    close."""

    what: str
    """The change, in words."""
    from_: Day = Field(alias="from")
    """The first day."""
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
    """`warn`: plans mention it. `refuse`: only changes of calendars and emergency rollbacks are applied."""

    @model_validator(mode="after")
    def _days(self) -> OutsideChange:
        first, last = date.fromisoformat(self.from_), self.to and date.fromisoformat(self.to)
        if last and last < first:
            raise ValueError("`to` is before `from`")
        return self


class Calendar(Kind):
    """Days on which changes of the governance are announced or refused."""

    kind: Literal["calendar"] = "calendar"
    zone: Zone = "UTC"
    """Time zone of the days, by its IANA name."""
    dates: dict[str, str] = {}
    """Named days. Not executed by this version."""
    changes: list[OutsideChange] = []
    """Outside changes that are checked for every plan."""
