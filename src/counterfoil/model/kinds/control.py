"""Counterfoils, people, controls, and the cases that a folder tests itself with."""

# ruff: noqa: RUF012 - pydantic copies the default of each field

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from counterfoil.model.kinds.base import Duration, Formula, Kind, Name, Part


class FoilRule(Part):
    """What one side asserts. `event`: opens with the fact. `operation`: provisional with the intent, open
    once the effect is confirmed; `input`, `result` and `event` (the Run's) may be read."""

    event: Name | None = None
    operation: Name | None = None
    when: Formula | None = None
    key: Formula
    legs: dict[Name, Formula]
    """Leg name to a Money formula."""
    due: Duration = "+2d"


class ObserveRule(Part):
    event: Name
    when: Formula | None = None
    key: Formula
    legs: dict[Name, Formula]


class Reconciliation(Kind):
    """A counterfoil: what one system asserts and what observation of the other matches it."""

    kind: Literal["reconciliation"] = "reconciliation"
    object: Name
    left: Name
    right: Name
    foil: FoilRule
    observe: ObserveRule
    tolerance: int = Field(default=0, ge=0)
    """Minor units by which a leg may differ."""
    shape: Literal["1:1", "1:n", "n:1", "n:m"] = "1:1"
    """One to one: an observation that does not agree breaks the foil at once. Else it fills it partly."""


class Role(Kind):
    kind: Literal["role"] = "role"
    may: list[Annotated[str, StringConstraints(pattern=r"^[a-z]+:[a-z]+:[a-z]+$")]] = []
    """Permissions, `area:thing:action`."""
    calls: list[Name] = []
    """Exposed operations that its people, programs among them, may call."""
    speaks: list[Name] = []
    """Systems in whose name they may assert what an operation's input asserts."""


class Alert(Kind):
    kind: Literal["alert"] = "alert"
    when: Formula
    to: list[Name]


class Evidence(Part):
    """Which records show that a control has been at work."""

    of: Literal["runs", "effects", "approvals", "foils", "cases", "events"]
    where: Formula
    """True for such a record, which is read by its word in the singular: `approval.policy == 'credit'`."""


class Enforced(Part):
    """One thing that makes a control hold."""

    workflow: Name | None = None
    step: str | None = None
    """Of the workflow: the id of a step, or its place such as `check0` or `memo/refused/0`."""
    policy: Name | None = None
    reconciliation: Name | None = None
    operation: Name | None = None
    check: str | None = None
    """A rule that `check` holds the folder to."""

    @model_validator(mode="after")
    def _one_thing(self) -> Enforced:
        named = (self.workflow, self.policy, self.reconciliation, self.operation, self.check)
        if sum(one is not None for one in named) != 1:
            raise ValueError(
                "one of workflow, policy, reconciliation, operation and check enforces a control"
            )
        if self.step is not None and self.workflow is None:
            raise ValueError("a step is named together with its workflow")
        return self


Said = Annotated[str, StringConstraints(min_length=1, max_length=2000)]


class Control(Kind):
    kind: Literal["control"] = "control"
    risk: Said
    """What may go wrong."""
    assertion: Said
    """What holds, so that it does not."""
    enforced_by: list[Enforced] = []
    evidence: Evidence
    frequency: Literal["continuous", "daily", "weekly", "monthly", "each_close", "quarterly", "yearly"]
    """How often its owner looks at the evidence."""


ParameterType = Literal["any", "text", "int", "decimal", "bool", "list", "map", "duration", "formula"]


class Parameter(Part):
    """What a pattern is told. The short form is what it is for, alone."""

    doc: str = ""
    type: ParameterType = "any"
    enum: list[Any] | None = None
    default: Any = None


class Pattern(Kind):
    """A document (`body`) or some steps of a workflow (`steps`), with `${parameter}` where a parameter goes."""

    kind: Literal["pattern"] = "pattern"
    parameters: dict[
        Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)], str | Parameter
    ] = {}
    body: dict[str, Any] | None = None
    steps: list[Any] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Pattern:
        if (self.body is None) == (self.steps is None):
            raise ValueError("a pattern is either a document (`body`) or some steps (`steps`)")
        return self


class Test(Kind):
    kind: Literal["test"] = "test"
    given: list[dict[str, Any]]
    expect: dict[str, Any]

    @field_validator("given")
    @classmethod
    def _something(cls, value: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if not value:
            raise ValueError("a test gives at least one receipt")
        return value
