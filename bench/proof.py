"""`prove`: a workflow of ten steps under every interleaving of up to two faults, beside its decisions alone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from counterfoil.core.finding import errors
from counterfoil.model import read
from counterfoil.prove import Proof, prove, world
from counterfoil.rules.workflow.decide import decide

PROVEN = Path(__file__).with_name("proven")
WORKFLOW = "ten-steps"
FAULTS = 2
LIMIT = 10.0
"""Seconds of processor time."""


class ProveTenSteps:
    """A whole proof, from the compiled model to the last state."""

    unit = "seconds of processor time, one core"
    peer = "the same decisions, on the same inputs, with nothing around them"
    target = f"< {LIMIT:.0f} s"

    def __init__(self, faults: int = FAULTS) -> None:
        model, findings = read(PROVEN)
        if errors(findings):
            raise ValueError("\n".join(map(str, findings)))
        self._model = model
        self._faults = faults
        self._proof: Proof = self._whole()
        self._decisions = self._recorded()

    def _whole(self) -> Proof:
        proof = prove(self._model, WORKFLOW, self._faults)
        if not proof.holds or not proof.complete:
            raise ValueError("\n".join(broken.text() for broken in proof.broken) or "it was cut")
        return proof

    def _recorded(self) -> list[tuple[Any, ...]]:
        """What `decide` is given in a proof under one fault, each state as it was."""
        found: list[tuple[Any, ...]] = []

        def record(*given: Any) -> Any:
            *others, state = given
            found.append((*others, world.fork(state)))
            return decide(*given)

        world.decide = record
        try:
            prove(self._model, WORKFLOW, min(self._faults, 1))
        finally:
            world.decide = decide
        return found

    def ours(self) -> float:
        self._proof = self._whole()
        return self._proof.seconds

    def against(self) -> float:
        """Of as many decisions as the proof takes: those of one fault, as often as it needs."""
        copies = [(*others, world.fork(state)) for *others, state in self._decisions]
        began = time.process_time()
        for given in copies:
            decide(*given)
        return (time.process_time() - began) / len(copies) * self._proof.decisions

    def met(self, ours: float, ratio: float) -> bool:
        return ours < LIMIT

    def note(self) -> str:
        p = self._proof
        by = " + ".join(f"{n:,}" for n in p.states)
        return (
            f"{p.covered:,} states ({by} with 0, 1 and 2 faults) from {p.beginnings} beginnings, {p.decisions:,} decisions, "
            f"{p.covered / p.seconds:,.0f} states/s."
        )
