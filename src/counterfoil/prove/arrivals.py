"""Events that may arrive while a Run is active: those it waits for, and signals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from typing import Any

import msgspec

from counterfoil.core.run import Direction
from counterfoil.expr import Expression
from counterfoil.model import definition as d
from counterfoil.model.blocks import blocks_of
from counterfoil.prove.input_values import LeafResolver, both_sides, neighbours, plain_value, put
from counterfoil.prove.lookup_model import FORMULA_ERRORS
from counterfoil.prove.start_names import build_event
from counterfoil.prove.world import Move, ProofContext, World
from counterfoil.rules.json_values import event_names
from counterfoil.rules.templates import names_with


class PossibleEvents:
    """Yields the arrivals of events, with data that the Run's conditions accept."""

    def __init__(self, context: ProofContext) -> None:
        self.context = context
        self.definition = context.definition
        self.blocks = blocks_of(self.definition)
        self.waits = [
            s for b in self.blocks.values() for s in b.steps if isinstance(s, d.Wait) and s.event is not None
        ]
        self.signals = self.definition.signals
        self._data: dict[tuple[Any, ...], dict[str, Any] | None] = {}
        self.fitted: dict[str, bool] = {}
        """Waits that were reached. True if an event that matches the wait could be built."""

    def of(self, w: World, faulty: bool) -> Iterator[Move]:
        if w.run.direction is Direction.UNDO or w.state.ending:
            return
        current = self._current_waits(w)
        for wait in self.waits:
            assert wait.event is not None
            times = w.arrived.count(wait.event)
            if wait in current and times < (3 if faulty else 1):
                data = self.matching_data(w, wait)
                self.fitted[wait.path] = self.fitted.get(wait.path, False) or data is not None
                if data is not None:
                    fault = "" if not times else "duplicate"
                    text = f"{wait.event} arrives" + (" again, as another fact" if times else "")
                    yield Move(fault, "outside", text, self._arrive(w, wait.event, data))
            elif faulty and wait not in current and not times and w.state.started:
                data = self.matching_data(w, wait)
                if data is not None:
                    text = f"{wait.event} arrives before the run waits for it"
                    yield Move("reordered", "outside", text, self._arrive(w, wait.event, data), False)
        for signal in self.signals:
            times = w.arrived.count(signal.event)
            if times < (2 if faulty else 1) and self._interrupts(w, signal):
                data = self._event_data(w, signal.event, signal.where, signal.keys)
                if data is not None:
                    fault = "" if not times else "duplicate"
                    text = f"{signal.event} arrives" + (" again, as another fact" if times else "")
                    yield Move(fault, "outside", text, self._arrive(w, signal.event, data), False)

    def _interrupts(self, w: World, signal: d.Signal) -> bool:
        """Return True if the signal interrupts this state. An earlier arrival has the same effect as one in the state."""
        return w.state.started and (not signal.states or w.run.state in signal.states)

    def _current_waits(self, w: World) -> list[d.Wait]:
        waits = []
        for frame in w.state.frames[-1:]:
            block = self.blocks[frame.block]
            step = block.steps[frame.index] if frame.index < len(block.steps) else None
            if isinstance(step, d.Wait) and step.event is not None:
                waits.append(step)
        return waits

    def _arrive(self, w: World, type_: str, data: dict[str, Any]) -> Callable[[], World]:
        number = w.arrived.count(type_) + 1
        event = self.body(type_, data, number)
        after = msgspec.structs.replace(w, arrived=(*w.arrived, type_))
        return lambda: self.context.turn(after, ("event", f"{type_}#{number}", event))

    def body(self, type_: str, data: dict[str, Any], number: int) -> dict[str, Any]:
        return event_names(build_event(type_, data, number, self.context.entity))

    def matching_data(self, w: World, wait: d.Wait) -> dict[str, Any] | None:
        """Return the data of an event that the wait accepts; None if none could be built."""
        assert wait.event is not None
        return self._event_data(w, wait.event, wait.where, wait.keys)

    def _event_data(
        self, w: World, type_: str, where: Expression | None, keys: tuple[tuple[str, Expression], ...]
    ) -> dict[str, Any] | None:
        """Return the data of an event for which `where` holds. Cached for Worlds with the same values in `where`."""
        read = where.names if where is not None else frozenset()
        stored = w.state.memo.get("names", {})
        read_values = tuple(bytes(stored[n][1]) for n in sorted(read) if n in stored)
        key = (
            type_,
            where.text if where is not None else "",
            w.beginning,
            w.changed,
            read_values,
            str(w.state.items),
            w.run.state,
        )
        if key not in self._data:
            self._data[key] = self._build_data(w, type_, where, keys)
        return self._data[key]

    def _build_data(
        self, w: World, type_: str, where: Expression | None, keys: tuple[tuple[str, Expression], ...]
    ) -> dict[str, Any] | None:
        if type_ not in self.context.model.events:
            return {}
        data = plain_value(self.context.model.schema_of_event(type_), "", "USD", 10_000)
        if where is None:
            return dict(data)
        names = self.context.names(w)
        lookups = self.context.lookups(w)
        for field, expression in keys:
            try:
                data = put(data, tuple(field.split(".")), expression(names, lookups.ask))
            except FORMULA_ERRORS:
                continue
        for path, expression in where.memberships("event"):
            try:
                data = put(
                    data, tuple(path.removeprefix("data.").split(".")), [expression(names, lookups.ask)]
                )
            except FORMULA_ERRORS:
                continue
        reader = LeafResolver({"event": ("event",)}, {})
        reader.look(where.ast)
        singles = [
            (leaf[1:], value)
            for leaf, literals in reader.read.literals.items()
            for literal in literals
            for value in [*both_sides(_at(data, leaf[1:]), literal), *neighbours(literal)]
        ]
        for size in (0, 1, 2):
            for change in combinations(singles, size):
                changed = data
                for leaf, value in change:
                    changed = put(changed, leaf, value)
                if self._fits(where, names, changed, type_, lookups):
                    return dict(changed)
        return None

    def _fits(
        self, where: Expression, names: Mapping[str, Any], data: dict[str, Any], type_: str, lookups: Any
    ) -> bool:
        event = self.body(type_, data, 1)  # never the event that began the Run
        try:
            start = {"event": event, "start": names.get("event")}
            return where(names_with(names, start), lookups.ask) is True
        except FORMULA_ERRORS:
            return False


def _at(data: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = data
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return value
