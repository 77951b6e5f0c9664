"""Parts of a workflow that a proof never reached: steps, and business states on paths without faults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from typing import Any

from counterfoil.expr import Expression
from counterfoil.model import definition as d
from counterfoil.model.blocks import blocks_of
from counterfoil.prove.world import World

_PROOFS = count()
"""Makes each proof's definition digest unique: blocks are cached by digest, and each proof watches its own."""


class WatchedExpression:
    """An expression that records if it was ever true."""

    def __init__(self, expression: Expression) -> None:
        self._expression = expression
        self.was_true = False

    def __call__(self, bindings: Any, lookup: Any = None) -> Any:
        value = self._expression(bindings, lookup)
        if value is True:
            self.was_true = True
        return value

    def __getattr__(self, name: str) -> Any:
        return getattr(self._expression, name)


class Coverage:
    """Records which steps and business states a proof reaches. `watched` is the definition to prove."""

    def __init__(self, definition: d.Definition) -> None:
        self.whens: dict[str, WatchedExpression] = {}
        self.watched = replace(
            definition,
            digest=f"{definition.digest}/{next(_PROOFS)}",
            steps=self._block(definition.steps),
            signals=tuple(replace(s, do=self._block(s.do)) for s in definition.signals),
        )
        self._keys: set[str] = set()
        """Keys of entered steps, with round and item."""
        self._reached: set[str] = set()
        self._main = {s.path for s in definition.steps.steps}

    def _block(self, block: d.Block) -> d.Block:
        return d.Block(tuple(map(self._step, block.steps)), block.verb)

    def _step(self, step: d.Step) -> d.Step:
        parts: dict[str, Any] = {}
        if step.when is not None:
            parts["when"] = self.whens[step.path] = WatchedExpression(step.when)
        if isinstance(step, d.Choose):
            parts["branches"] = tuple((when, self._block(b)) for when, b in step.branches)
            parts["otherwise"] = None if step.otherwise is None else self._block(step.otherwise)
        if isinstance(step, d.Each):
            parts["do"] = self._block(step.do)
        parts["outcomes"] = {
            n: self._block(r) if isinstance(r, d.Block) else r for n, r in step.outcomes.items()
        }
        return replace(step, **parts)

    def reset(self) -> None:
        """Forget the evaluations from the search for start values."""
        for watched in self.whens.values():
            watched.was_true = False

    def record(self, w: World, faults: int) -> None:
        self._keys.update(w.state.steps)
        if not faults and not w.accepted:
            self._reached.add(w.run.state)

    def dead(self, fitted: Mapping[str, bool]) -> tuple[tuple[str, str], ...]:
        """Return (step, description) of unreached parts, in the order of the workflow.

        `fitted`: for each wait that was reached, True if some event matches it.
        """
        unreached = [
            (path, f"no event that was tried matches {path}: it can only time out")
            for path, fits in fitted.items()
            if not fits
        ]
        ran: set[str] = set()
        entered = {key.partition("~")[0].partition("[")[0] for key in self._keys}
        for address, block in blocks_of(self.watched).items():
            for step in block.steps:
                watched = self.whens.get(step.path)
                if step.path in entered and (watched is None or watched.was_true):
                    ran.add(step.path)
                elif not address.startswith("failure/") and self._is_main_path(address):
                    unreached.append((step.path, f"{step.path} never ran with any value that was tried"))
        becomes = {
            s.becomes: s.path
            for b in blocks_of(self.watched).values()
            for s in b.steps
            if s.becomes and s.path in self._main
        }
        for state, path in becomes.items():
            if state not in self._reached and path in ran:
                unreached.append((path, f"the business state `{state}` is never reached without a fault"))
        return tuple(unreached)

    def _is_main_path(self, address: str) -> bool:
        """Return False for blocks that react to a fault: they may need more faults than the proof tried."""
        parts = address.split("/")
        return address == "" or all(p == "do" or p.startswith(("then", "otherwise")) for p in parts[1:])
