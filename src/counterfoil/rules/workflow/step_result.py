"""Results of step handlers. A handler changes its step's state and returns one of these; `reactions` carries it out."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, TypeAlias

from counterfoil.model.definition import Step


class StepProgress(Enum):
    """Progress of a step that needs no reaction."""

    DONE = "done"
    MOVED = "moved"
    """State or position has changed: go on with the step that is up now."""
    WAITING = "waiting"
    """Nothing more can be done in this turn."""


class StepOutcome(NamedTuple):
    """An outcome whose reaction the workflow defines."""

    name: str
    detail: str
    reacting: Step | None = None
    """Another step whose reaction to this outcome comes before the step's own."""


class NeedsPerson(NamedTuple):
    """An outcome that opens a Case, without a look at the workflow's reactions."""

    name: str
    detail: str


StepResult: TypeAlias = StepProgress | StepOutcome | NeedsPerson

DONE, MOVED, WAITING = StepProgress.DONE, StepProgress.MOVED, StepProgress.WAITING
