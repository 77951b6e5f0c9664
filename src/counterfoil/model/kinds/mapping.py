"""Mappings between a system and the canonical form, and the tables that they look up."""

# ruff: noqa: RUF012 - pydantic copies the default of each field

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from counterfoil.model.kinds.base import Formula, Kind, Name, Part, Template


class MappingFrom(Part):
    system: Name
    type: str | list[str]
    """Delivery types of the system; `invoice.*` takes every type with that beginning."""
    when: Formula | None = None
    api_version: str | None = None


class MappingTo(Part):
    operation: Name
    system: Name | None = None


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
    ignore: str | None = None
    """Why deliveries of these types mean nothing to us."""
    fetch: Fetch | None = None
    let: dict[Name, Formula] = {}
    emit: EmitMapping | list[EmitMapping] | None = None
    assert_: Formula | None = Field(default=None, alias="assert")
    with_: dict[str, Template] | None = Field(default=None, alias="with")
    returns: Returns = Returns()

    @model_validator(mode="after")
    def _one_way(self) -> Mapping:
        if (self.from_ is None) == (self.to is None):
            raise ValueError("a mapping has either `from` or `to`")
        if self.from_ and (self.emit is None) == (self.ignore is None):
            raise ValueError("a mapping with `from` has either `emit` or `ignore`")
        if self.to and self.with_ is None:
            raise ValueError("a mapping with `to` has `with`")
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


class Calendar(Kind):
    kind: Literal["calendar"] = "calendar"
    zone: str = "UTC"
    dates: dict[str, str] = {}
