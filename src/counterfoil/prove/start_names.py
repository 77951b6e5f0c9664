"""The names that formulas read when a Run starts, and the events of a proof."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.run import Direction, Run
from counterfoil.model import definition as d
from counterfoil.prove.input_values import Leaf
from counterfoil.prove.lookup_model import BEGIN
from counterfoil.rules.acceptance import REQUESTED_BY
from counterfoil.rules.json_values import event_names, run_names


def start_names(definition: d.Definition, values: Mapping[str, Any], entity: str = "") -> dict[str, Any]:
    """Return the names of a Run that starts in a legal entity: `run`, `event`, and `object` with its key or `input`."""
    start = definition.start
    generation = values["run"]["generation"]
    run = Run(
        id="run-1",
        workflow=definition.name,
        bkey="key-1",
        generation=generation,
        pin="",
        arrival=0,
        created_at=BEGIN,
        entity=entity,
    )
    names: dict[str, Any] = {"run": run_names(run, "started", Direction.FORWARD)}
    if start.event is not None:
        names["event"] = event_names(build_event(start.event, values["event"], 0, entity))
    elif start.due_object is not None:
        state = values[f"head:{start.due_object}"]
        key = f"{start.due_object}-1"
        names["object"] = {"version": 1, "effective_at": BEGIN, "recorded_at": BEGIN, **state, "id": key}
        names["object_key"] = key
    else:
        names["input"] = values["input"]
        # The gateway turns a call into an event: its data is the input and the caller.
        data = {**values["input"], REQUESTED_BY: "caller"}
        names["event"] = event_names(build_event(f"{start.operation}.called", data, 0, entity))
    return names


def build_event(type_: str, data: dict[str, Any], number: int, entity: str = "") -> CanonicalEvent:
    return CanonicalEvent(
        id=f"{type_}#{number}",
        type=type_,
        system="outside",
        object="",
        key=f"{type_}#{number}",
        version=number,
        data=data,
        legal_entity=entity,
        occurred_at=BEGIN,
        effective_at=BEGIN,
        received_at=BEGIN,
    )


def start_roots(definition: d.Definition) -> dict[str, Leaf]:
    """Return the root of the start values that each name of a formula reads."""
    start = definition.start
    has_generations = start.generation is not None or start.generation_event is not None
    roots: dict[str, Leaf] = {"run": ("run",)} if has_generations else {}
    if start.event is not None:
        roots["event"] = ("event",)
    if start.due_object is not None:
        roots["object"] = (f"head:{start.due_object}",)
    if start.operation is not None:
        roots["input"] = ("input",)
    for fact in definition.facts:
        if fact.source == "read":
            roots[fact.name] = (f"read:{fact.target}",)
        elif fact.source in ("head", "period"):
            roots[fact.name] = (f"head:{fact.target}",)
    return roots
