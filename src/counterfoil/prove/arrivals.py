"""Events that come to a Run while it is under way: those that it waits for, and those that interrupt it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from typing import Any

import msgspec

from counterfoil.core.run import Direction
from counterfoil.expr import Expression
from counterfoil.model import definition as d
from counterfoil.prove.formulas import FORMULA_ERRORS
from counterfoil.prove.input_values import LeafResolver, base, beside, near, put
from counterfoil.prove.move import Move
from counterfoil.prove.start_names import build_event
from counterfoil.prove.world import ProofContext, World
from counterfoil.rules.values import event_names
from counterfoil.rules.workflow.context import blocks_of


class Arrivals:
    """Makes events that fit, and tells when they may come."""

    def __init__(self, company: ProofContext) -> None:
        self.company = company
        self.definition = company.definition
        self.blocks = blocks_of(self.definition)
        self.waits = [
            s for b in self.blocks.values() for s in b.steps if isinstance(s, d.Wait) and s.event is not None
        ]
        self.signals = self.definition.signals
        self._known: dict[tuple[Any, ...], dict[str, Any] | None] = {}
        self.fitted: dict[str, bool] = {}
        """Waits that were up, and whether any event could be made that fits."""

    def of(self, w: World, faulty: bool) -> Iterator[Move]:
        if w.run.direction is Direction.UNDO or w.state.ending:
            return
        up = self._up(w)
        for wait in self.waits:
            assert wait.event is not None
            times = w.came.count(wait.event)
            if wait in up and times < (3 if faulty else 1):
                data = self.fitting(w, wait)
                self.fitted[wait.path] = self.fitted.get(wait.path, False) or data is not None
                if data is not None:
                    fault = "" if not times else "duplicate"
                    text = f"{wait.event} comes" + (" once more, as another fact" if times else "")
                    yield Move(fault, "outside", text, self._come(w, wait.event, data))
            elif faulty and wait not in up and not times and w.state.started:
                data = self.fitting(w, wait)
                if data is not None:
                    text = f"{wait.event} comes before it is waited for"
                    yield Move("reordered", "outside", text, self._come(w, wait.event, data), False)
        for signal in self.signals:
            times = w.came.count(signal.event)
            if times < (2 if faulty else 1) and self._interrupts(w, signal):
                data = self._made(w, signal.event, signal.where, signal.keys)
                if data is not None:
                    fault = "" if not times else "duplicate"
                    text = f"{signal.event} comes" + (" once more, as another fact" if times else "")
                    yield Move(fault, "outside", text, self._come(w, signal.event, data), False)

    def _interrupts(self, w: World, signal: d.Signal) -> bool:
        """An event that comes before its state waits for it: it can as well come in that state."""
        return w.state.started and (not signal.states or w.run.state in signal.states)

    def _up(self, w: World) -> list[d.Wait]:
        found = []
        for frame in w.state.frames[-1:]:
            block = self.blocks[frame.block]
            step = block.steps[frame.index] if frame.index < len(block.steps) else None
            if isinstance(step, d.Wait) and step.event is not None:
                found.append(step)
        return found

    def _come(self, w: World, type_: str, data: dict[str, Any]) -> Callable[[], World]:
        number = w.came.count(type_) + 1
        event = self.body(type_, data, number)
        after = msgspec.structs.replace(w, came=(*w.came, type_))
        return lambda: self.company.turn(after, ("event", f"{type_}#{number}", event))

    def body(self, type_: str, data: dict[str, Any], number: int) -> dict[str, Any]:
        return event_names(build_event(type_, data, number))

    def fitting(self, w: World, wait: d.Wait) -> dict[str, Any] | None:
        """Data of an event that the wait takes; None where none can be made."""
        assert wait.event is not None
        return self._made(w, wait.event, wait.where, wait.keys)

    def _made(
        self, w: World, type_: str, where: Expression | None, keys: tuple[tuple[str, Expression], ...]
    ) -> dict[str, Any] | None:
        """Data of an event of a type for which `where` holds. The same for Worlds that show it the same values."""
        read = where.names if where is not None else frozenset()
        stored = w.state.memo.get("names", {})
        seen = tuple(bytes(stored[n][1]) for n in sorted(read) if n in stored)
        at = (
            type_,
            where.text if where is not None else "",
            w.beginning,
            w.changed,
            seen,
            str(w.state.items),
            w.run.state,
        )
        if at not in self._known:
            self._known[at] = self._make(w, type_, where, keys)
        return self._known[at]

    def _make(
        self, w: World, type_: str, where: Expression | None, keys: tuple[tuple[str, Expression], ...]
    ) -> dict[str, Any] | None:
        if type_ not in self.company.model.events:
            return {}
        data = base(self.company.model.schema_of_event(type_), "", "USD", 10_000)
        if where is None:
            return dict(data)
        names = self._names(w)
        outside = self.company.outside(w)
        for field, expression in keys:
            try:
                data = put(data, tuple(field.split(".")), expression(names, outside.ask))
            except FORMULA_ERRORS:
                continue
        for path, expression in where.memberships("event"):
            try:
                data = put(
                    data, tuple(path.removeprefix("data.").split(".")), [expression(names, outside.ask)]
                )
            except FORMULA_ERRORS:
                continue
        reader = LeafResolver({"event": ("event",)}, {})
        reader.look(where.ast)
        singles = [
            (leaf[1:], value)
            for leaf, literals in reader.read.literals.items()
            for literal in literals
            for value in [*beside(_at(data, leaf[1:]), literal), *near(literal)]
        ]
        for size in (0, 1, 2):
            for change in combinations(singles, size):
                tried = data
                for leaf, value in change:
                    tried = put(tried, leaf, value)
                if self._fits(where, names, tried, type_, outside):
                    return dict(tried)
        return None

    def _fits(
        self, where: Expression, names: Mapping[str, Any], data: dict[str, Any], type_: str, outside: Any
    ) -> bool:
        event = self.body(type_, data, 0)
        try:
            return where({**names, "event": event, "start": names.get("event")}, outside.ask) is True
        except FORMULA_ERRORS:
            return False

    def _names(self, w: World) -> dict[str, Any]:
        run = {
            "id": w.run.id, "key": w.run.bkey, "generation": w.run.generation, "state": w.run.state,
            "workflow": w.run.workflow, "direction": str(w.run.direction), "started": w.run.created_at,
        }  # fmt: skip
        return {**w.state.names, **w.state.items, "run": run}


def _at(data: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    found: Any = data
    for part in path:
        found = found.get(part) if isinstance(found, dict) else None
    return found
