"""Expectations of a test: records by their lists, each with the keys that matter."""

# ruff: noqa: RUF012 - pydantic copies the default of each field

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import Field, model_validator

from counterfoil.model.kinds.base import Name, Part

RefusalClass = Literal[
    "transient", "throttled", "conflict", "invalid", "warning", "period_closed", "not_found", "unauthorized",
    "already_done", "refused",
]  # fmt: skip

Times = Annotated[int, Field(ge=0, le=100_000)]
E = TypeVar("E", bound=Part)


def _require_given(entry: E) -> E:
    """Refuse `only` for a key that the entry does not have: it would say nothing."""
    for key in getattr(entry, "only", ()):
        if getattr(entry, key) is None:
            raise ValueError(f"`only: [{key}]` needs `{key}`")
    return entry


class ExpectedEvent(Part):
    """An event that was admitted or emitted."""

    type: Name
    """The event."""
    system: Name | None = None
    """The system that asserts it."""
    key: str | None = None
    """Its key."""
    legal_entity: str | None = None
    """Its legal entity."""
    data: dict[str, Any] | None = None
    """Values of its data; others may exist."""
    only: list[Literal["data"]] = []
    """`data`: no other values exist."""
    _complete_parts = model_validator(mode="after")(_require_given)
    times: Times | None = None
    """Exact number of such events; default: at least one."""


class ExpectedRun(Part):
    """A Run."""

    workflow: Name
    """Its workflow."""
    key: str | None = None
    """Its business key."""
    generation: int | None = None
    """Its generation."""
    status: Literal["ready", "waiting", "done", "undone", "closed"] | None = None
    """Its status."""
    state: str | None = None
    """Its business state."""
    waits_for: str | None = None
    """Words of what it waits for."""
    legal_entity: str | None = None
    """Its legal entity."""
    times: Times | None = None
    """Exact number of such Runs; default: at least one."""


class ExpectedEffect(Part):
    """A call of a system by a Run."""

    operation: Name
    """The operation."""
    state: (
        Literal[
            "planned", "sending", "unknown", "accepted", "confirmed", "refused", "absent", "dropped",
        ]
        | None
    ) = None  # fmt: skip
    """Its state."""
    system: Name | None = None
    """The system that it called."""
    input: dict[str, Any] | None = None
    """Values of the canonical input; others may exist."""
    request: dict[str, Any] | None = None
    """Values of the request in the system's own form; others may exist."""
    result: dict[str, Any] | None = None
    """Values of the canonical result; others may exist."""
    only: list[Literal["input", "request", "result"]] = []
    """Parts that have no other values."""
    attempts: int | None = None
    """Number of times that it was sent."""
    error_class: RefusalClass | None = None
    """Class of the last refusal."""
    error: str | None = None
    """Words of the last refusal."""
    undoes: Name | None = None
    """The operation that it takes back."""
    _complete_parts = model_validator(mode="after")(_require_given)
    times: Times | None = None
    """Exact number of such effects; default: at least one."""


class ExpectedApproval(Part):
    """A request for the decision of persons."""

    policy: Name
    """The approval policy."""
    state: Literal["open", "granted", "rejected", "expired", "stale", "void"] | None = None
    """Its state."""
    automatic: bool | None = None
    """No person was asked."""
    roles: list[Name] | None = None
    """The roles that may decide."""
    amount: str | None = None
    """The amount that selected the tier."""
    requester: str | None = None
    """Who asked."""
    legal_entity: str | None = None
    """Its legal entity."""
    times: Times | None = None
    """Exact number of such approvals; default: at least one."""


class ExpectedFoil(Part):
    """A counterfoil."""

    reconciliation: Name
    """Its reconciliation."""
    key: str | None = None
    """Key of its match."""
    document: str | None = None
    """Document of the left system."""
    state: (
        Literal["provisional", "open", "partly", "matched", "over", "broken", "waived", "reversed", "void"]
        | None
    ) = None
    """Its state."""
    reason: str | None = None
    """Words of the reason for its state."""
    legal_entity: str | None = None
    """Its legal entity."""
    asserted: dict[str, Any] | None = None
    """Legs that the left system asserts; one amount of a part as `taxes[US-CA].base`."""
    residual: dict[str, Any] | None = None
    """Legs by which the right system shows less."""
    owner: Name | None = None
    """The role that owns it."""
    times: Times | None = None
    """Exact number of such counterfoils; default: at least one."""


class ExpectedItem(Part):
    """A document of the right system that nothing asserts."""

    reconciliation: Name
    """Its reconciliation."""
    document: str | None = None
    """Its id in its system."""
    key: str | None = None
    """Key of its match."""
    state: Literal["unmatched", "over", "gone"] | None = None
    """Its state."""
    amounts: dict[str, Any] | None = None
    """Its legs."""
    legal_entity: str | None = None
    """Its legal entity."""
    times: Times | None = None
    """Exact number of such documents; default: at least one."""


class ExpectedCase(Part):
    """A Case."""

    reason: Name
    """Its reason."""
    owner: Name | None = None
    """The role that owns it."""
    state: Literal["open", "resolved"] | None = None
    """Its state."""
    exposure: str | list[str] | None = None
    """Money at stake: `250.00 USD`."""
    message: str | None = None
    """Words of its message."""
    workflow: Name | None = None
    """The workflow of its Run."""
    choices: list[str] | None = None
    """The decisions that it offers."""
    legal_entity: str | None = None
    """Its legal entity."""
    times: Times | None = None
    """Exact number of such Cases; default: at least one."""


class ExpectedTotal(Part):
    """Money of one reconciliation: the totals of its counterfoils in one currency."""

    reconciliation: Name
    """The reconciliation."""
    asserted: str | None = None
    """Sum that the left system asserts: `1,082.50 USD`."""
    matched: str | None = None
    """Sum of those that are matched."""
    open: str | None = None
    """Sum that the right system does not show."""


Section = Literal["events", "runs", "effects", "approvals", "foils", "unmatched", "cases", "money"]
SECTIONS: tuple[Section, ...] = get_args(Section)


class Expected(Part):
    """Records that must exist at the end. An empty list: there is none."""

    events: list[ExpectedEvent] | None = None
    """Events."""
    runs: list[ExpectedRun] | None = None
    """Runs."""
    effects: list[ExpectedEffect] | None = None
    """Calls of systems."""
    approvals: list[ExpectedApproval] | None = None
    """Requests for decisions of persons."""
    foils: list[ExpectedFoil] | None = None
    """Counterfoils."""
    unmatched: list[ExpectedItem] | None = None
    """Documents of a right system that nothing asserts."""
    cases: list[ExpectedCase] | None = None
    """Cases."""
    money: list[ExpectedTotal] | None = None
    """Totals by reconciliation."""
    only: list[Section] = []
    """Lists that are complete: no other record exists."""

    @model_validator(mode="after")
    def _something(self) -> Expected:
        if not any(getattr(self, section) is not None for section in SECTIONS):
            raise ValueError(f"a test expects something: one of {', '.join(SECTIONS)}")
        return self
