"""Versions and generations that rest on times coarser than the changes of their system."""

from __future__ import annotations

import pytest

from counterfoil.model.checks.order import coarse_order
from tests.unit.rules.driver import model_of

SYSTEMS = """
{kind: role, name: finance}
---
{kind: system, name: bills, role: billing, connector: CONNECTOR, owner: finance STAMPS}
---
{kind: operation, name: billing.thing.get, system: bills, repeat: read, input: {id: string}}
---
kind: event
name: thing.changed.v1
data: {thing_id: id, revision: int, at: timestamp}
---
kind: mapping
name: things
from: {system: bills, type: thing}
FETCH
let: {o: SOURCE, moment: timestamp(o.updated)}
emit:
  type: thing.changed.v1
  key: o.id
  VERSION
  occurred: =timestamp(o.created)
  data: {thing_id: =o.id, revision: REVISION, at: =moment}
---
kind: workflow
name: flow
owner: finance
failure: careful
start: {event: thing.changed.v1, key: event.data.thing_id, generation: GENERATION}
steps: [{stop: done}]
"""
FETCH = "fetch: {call: billing.thing.get, with: {id: =body.id}}"


def warnings(
    version: str = "o.sequence",
    generation: str = "event.data.revision",
    revision: str = "=o.sequence",
    connector: str = "external",
    stamps: str = "",
    fetch: str = "",
    source: str = "body.data",
) -> list[str]:
    parts = {
        "CONNECTOR": connector, "STAMPS": f", stamps: {stamps}" if stamps else "", "FETCH": fetch, "SOURCE": source,
        "VERSION": f'version: "={version}"' if version else "", "GENERATION": f'"{generation}"',
        "REVISION": f'"{revision}"',
    }  # fmt: skip
    text = SYSTEMS
    for name, value in parts.items():
        text = text.replace(name, value)
    return [finding.message for finding in coarse_order(model_of(text))]


@pytest.mark.parametrize(
    "version",
    [
        "timestamp(o.created)",
        "o.created",
        "o.updatedAt",
        "moment",
        "timestamp(o.status.finalized_at)",
        "o.kind == 'first' ? 0 : o.created",
        "o.created * 1000000",
        "first(o.changed_on, o.created)",
        "int(timestamp(o.revised))",
    ],
)
def test_a_version_that_is_a_time_of_whole_seconds_is_a_warning(version: str) -> None:
    (message,) = warnings(version)
    assert message.startswith("the version rests on")
    assert "no order" in message


@pytest.mark.parametrize(
    "version",
    ["", "o.revision", "o.created * 1000 + o.sequence", "o.seq", "received", "o.created_by_revision", "7"],
)
def test_a_version_with_something_finer_is_none(version: str) -> None:
    assert warnings(version) == []


def test_the_precision_is_that_of_the_system_or_else_of_its_connector() -> None:
    version = "timestamp(o.created)"
    assert "nothing says how precise" in warnings(version)[0]
    assert "stamps whole seconds" in warnings(version, connector="stripe")[0]
    assert "stamps whole days" in warnings(version, stamps="days")[0]
    assert warnings(version, connector="tryton") == []
    assert warnings(version, stamps="microseconds") == []
    assert warnings(version, connector="stripe", stamps="milliseconds") == []
    assert "whole seconds or days" in warnings("int(timestamp(o.created))", stamps="microseconds")[0]


def test_what_is_read_from_the_system_of_record_may_have_a_coarse_version() -> None:
    assert warnings("timestamp(body.created)", fetch=FETCH, source="fetched") == []
    assert len(warnings("timestamp(body.created)", fetch=FETCH)) == 1, "nothing of what is fetched is used"


@pytest.mark.parametrize(
    "generation", ["event.data.revision", "int(event.version)", "event.data.revision + 1"]
)
def test_a_generation_that_a_mapping_takes_from_a_coarse_time_is_a_warning(generation: str) -> None:
    found = warnings("o.created", generation, revision="=o.created", fetch=FETCH, source="fetched")
    assert [message.split(",")[0] for message in found] == [
        f"the generation rests on `{'event.version' if 'version' in generation else 'event.data.revision'}`"
    ]


@pytest.mark.parametrize("generation", ["event.data.revision", "int(event.version)", "3"])
def test_a_generation_that_the_system_counts_is_none(generation: str) -> None:
    assert warnings(generation=generation) == []


def test_the_time_of_an_event_is_no_generation() -> None:
    (message,) = warnings(generation="int(event.time)")
    assert "things takes from `body.data.created`" in message
