"""`prove`: prove a workflow of ten steps under up to two faults, relative to executing its decisions only."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from counterfoil.prove import Proof, prove, world
from counterfoil.rules.workflow.decide import decide
from tests.companies.base import documents, model_of
from tests.companies.proven import COMPANY

TEN_STEPS = Path(__file__).with_name("proven") / "ten_steps.yaml"
WORKFLOW = "ten-steps"
FAULTS = 2
LIMIT_SECONDS = 10.0
"""Seconds of processor time."""


class ProveTenSteps:
    """Complete proof, from the compiled model to the last state."""

    unit = "seconds of processor time, one core"
    peer = "executing the same decisions on the same inputs only"
    target = f"< {LIMIT_SECONDS:.0f} s"

    def __init__(self, faults: int = FAULTS) -> None:
        self._model = model_of(documents(COMPANY, TEN_STEPS.read_text("utf-8")))
        self._faults = faults
        self._proof: Proof = self._prove()
        self._decisions = self._record_decisions()

    def _prove(self) -> Proof:
        proof = prove(self._model, WORKFLOW, self._faults)
        if not proof.holds or not proof.complete:
            raise ValueError("\n".join(broken.text() for broken in proof.broken) or "it is not complete")
        return proof

    def _record_decisions(self) -> list[tuple[Any, ...]]:
        """Return the arguments of `decide` in a proof under one fault, with a copy of each state."""
        decisions: list[tuple[Any, ...]] = []

        def record(*arguments: Any) -> Any:
            *others, state = arguments
            decisions.append((*others, world.fork(state)))
            return decide(*arguments)

        world.decide = record
        try:
            prove(self._model, WORKFLOW, min(self._faults, 1))
        finally:
            world.decide = decide
        return decisions

    def ours(self) -> float:
        self._proof = self._prove()
        return self._proof.seconds

    def against(self) -> float:
        """Scale the time of the recorded decisions to the number of decisions in the proof."""
        copies = [(*others, world.fork(state)) for *others, state in self._decisions]
        began = time.process_time()
        for arguments in copies:
            decide(*arguments)
        return (time.process_time() - began) / len(copies) * self._proof.decisions

    def met(self, ours: float, ratio: float) -> bool:
        return ours < LIMIT_SECONDS

    def note(self) -> str:
        p = self._proof
        by = " + ".join(f"{n:,}" for n in p.states)
        return (
            f"{p.covered:,} states ({by} with 0, 1 and 2 faults) from {p.beginnings} initial states, {p.decisions:,} decisions, "
            f"{p.covered / p.seconds:,.0f} states/s."
        )
