"""Reconciliations, roles, alerts, controls, patterns, and test cases of a folder."""

# ruff: noqa: RUF012 - pydantic copies the default of each field

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from counterfoil.model.kinds.base import Duration, Formula, Kind, Name, Part


class FoilRule(Part):
    """The asserting side. With `event` a foil opens with the fact. With `operation` it is provisional with the intent and
    opens when the effect is confirmed; formulas may read `input`, `result` and the Run's `event`."""

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
    """A counterfoil rule: the assertion of one system, and the observation in the other that matches it."""

    kind: Literal["reconciliation"] = "reconciliation"
    object: Name
    left: Name
    right: Name
    foil: FoilRule
    observe: ObserveRule
    tolerance: int = Field(default=0, ge=0)
    """Minor units by which a leg may differ."""
    shape: Literal["1:1", "1:n", "n:1", "n:m"] = "1:1"
    """With 1:1 an observation that differs breaks the foil at once; with other shapes it fills the foil partly."""


class Role(Kind):
    kind: Literal["role"] = "role"
    may: list[Annotated[str, StringConstraints(pattern=r"^[a-z]+:[a-z]+:[a-z]+$")]] = []
    """Permissions, `area:thing:action`."""
    calls: list[Name] = []
    """Exposed operations that its persons and programs may call."""
    speaks: list[Name] = []
    """Systems for which they may assert the input of an operation."""


class Alert(Kind):
    kind: Literal["alert"] = "alert"
    when: Formula
    to: list[Name]


class Evidence(Part):
    """Query for the records that show a control at work."""

    of: Literal["runs", "effects", "approvals", "foils", "cases", "events"]
    where: Formula
    """True for such a record; the formula reads it by its singular name: `approval.policy == 'credit'`."""


class Enforced(Part):
    """One document, step or rule that enforces a control."""

    workflow: Name | None = None
    step: str | None = None
    """Id of a step of the workflow, or its place such as `check0` or `memo/refused/0`."""
    policy: Name | None = None
    reconciliation: Name | None = None
    operation: Name | None = None
    check: str | None = None
    """A rule of `check`."""

    @model_validator(mode="after")
    def _one_thing(self) -> Enforced:
        named = (self.workflow, self.policy, self.reconciliation, self.operation, self.check)
        if sum(name is not None for name in named) != 1:
            raise ValueError(
                "an entry of `enforced_by` needs exactly one of workflow, policy, reconciliation, operation and check"
            )
        if self.step is not None and self.workflow is None:
            raise ValueError("`step` needs `workflow`")
        return self


Sentence = Annotated[str, StringConstraints(min_length=1, max_length=2000)]


class Control(Kind):
    kind: Literal["control"] = "control"
    risk: Sentence
    """The risk that the control covers."""
    assertion: Sentence
    """The statement that must be true to avoid the risk."""
    enforced_by: list[Enforced] = []
    evidence: Evidence
    frequency: Literal["continuous", "daily", "weekly", "monthly", "each_close", "quarterly", "yearly"]
    """Interval at which the owner reviews the evidence."""


ParameterType = Literal["any", "text", "int", "decimal", "bool", "list", "map", "duration", "formula"]


class Parameter(Part):
    """A parameter of a pattern. The short form is its description only."""

    doc: str = ""
    type: ParameterType = "any"
    enum: list[Any] | None = None
    default: Any = None


class Pattern(Kind):
    """A document (`body`) or steps of a workflow (`steps`), with `${parameter}` for the value of a parameter."""

    kind: Literal["pattern"] = "pattern"
    parameters: dict[
        Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)], str | Parameter
    ] = {}
    body: dict[str, Any] | None = None
    steps: list[Any] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Pattern:
        if (self.body is None) == (self.steps is None):
            raise ValueError("a pattern needs either a document (`body`) or steps (`steps`)")
        return self


class Test(Kind):
    kind: Literal["test"] = "test"
    given: list[dict[str, Any]]
    expect: dict[str, Any]

    @field_validator("given")
    @classmethod
    def _not_empty(cls, value: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if not value:
            raise ValueError("a test needs at least one receipt in `given`")
        return value
