"""Tests as files: what is given, step by step, and what must have come of it.

`counterfoil test` executes them (`counterfoil.testing`). A list in `expect` names the records that must exist; others may
exist too, unless `only` names the list.
"""

# ruff: noqa: RUF012 - pydantic copies the default of each field

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import Discriminator, Field, StringConstraints, Tag, model_validator

from counterfoil.model.kinds.base import Duration, Kind, Name, Part

Moment = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?Z$")]
"""A moment in UTC: `2026-03-02T09:00:00Z`."""
Subject = Annotated[
    str,
    StringConstraints(
        pattern=r"^(mapping|workflow|policy|reconciliation|operation|table|control|overlay) [a-z][a-z0-9_.-]*(/[a-z0-9_./-]+)?$"
    ),
]
"""A document by kind and name: `policy service-credit`; a slash and a word name a part of it."""
MONEY_TEXT = re.compile(r"(-?[0-9][0-9,]*(?:\.[0-9]+)?) ([A-Z]{3})")
"""Money as tests write it: `1,250.00 USD`."""
RefusalClass = Literal[
    "transient", "throttled", "conflict", "invalid", "warning", "period_closed", "not_found", "unauthorized",
    "already_done", "refused",
]  # fmt: skip


class GivenReceipt(Part):
    """A delivery of a system, in the system's own form."""

    receipt: str
    """Type of the delivery: `invoice.finalized`."""
    from_: Name = Field(alias="from")
    """The system that sends it."""
    id: str = ""
    """Id of the delivery; default: the `id` of its body, else a digest of it."""
    body: Any = None
    """Its content. A text that starts with `=` is a formula."""
    file: str | None = None
    """A JSON file with its content, beside this file."""

    @model_validator(mode="after")
    def _one_content(self) -> GivenReceipt:
        if (self.body is None) == (self.file is None):
            raise ValueError("a receipt needs either `body` or `file`")
        return self


class GivenEvent(Part):
    """A fact in canonical form, as a system sends it to the CloudEvents endpoint. No mapping reads it."""

    event: Name
    """The event."""
    from_: Name | None = Field(default=None, alias="from")
    """The system that sends it; default: the system of record of what it asserts."""
    id: str = ""
    """Id of the event; default: its place in the test."""
    data: dict[str, Any] = {}
    """Its data. Money may be text: `250.00 USD`. A text that starts with `=` is a formula."""
    legal_entity: str = ""
    """The legal entity that it belongs to."""


class GivenObject(Part):
    """An object that is known already: its state, and its ids in the systems that have it."""

    known: Name
    """The object."""
    id: str
    """Its canonical id."""
    state: dict[str, Any] = {}
    """Its fields. Money may be text."""
    ids: dict[Name, str] = {}
    """Its id in each system that it is linked to."""
    legal_entity: str = ""
    """Its legal entity; default: the company's default one."""


class GivenCall(Part):
    """A call of an exposed operation by a person or a program."""

    operation: Name
    """The operation."""
    by: Name
    """Who calls: a person of `persons`, or a role, whose person has its name."""
    with_: dict[str, Any] = Field(default={}, alias="with")
    """Its input. Money may be text."""
    key: str = ""
    """Idempotency key; default: its place in the test."""


class GivenAnswer(Part):
    """Answer of a system to an operation, from now on. Without one, a system does what is asked and answers by itself."""

    answer: Name
    """The operation."""
    request: dict[str, Any] = {}
    """Only requests that have these values, in the system's own form; default: all."""
    result: Any = None
    """The answer in the system's own form. A mapping is laid over the system's own answer."""
    refused: RefusalClass | None = None
    """The system refuses, with this class."""
    code: str = ""
    """Code of the refusal."""
    message: str = ""
    """Text of the refusal."""
    fault: Literal["timeout", "lost", "accepted"] | None = None
    """`timeout`: no answer, and nothing was done. `lost`: it was done, and its answer is lost. `accepted`: a job took it."""
    times: int | None = Field(default=None, ge=1, le=1000)
    """Number of calls that get it; default: one for a refusal or a fault, every further one for a result."""

    @model_validator(mode="after")
    def _one_answer(self) -> GivenAnswer:
        if sum(x is not None for x in (self.result, self.refused, self.fault)) != 1:
            raise ValueError("an answer needs exactly one of `result`, `refused`, `fault`")
        if self.refused is None and (self.code or self.message):
            raise ValueError("`code` and `message` belong to `refused`")
        return self


class GivenOutage(Part):
    """A system that cannot be reached for a time."""

    down: Name
    """The system."""
    for_: Duration = Field(alias="for")
    """Time from now on."""


class GivenApproval(Part):
    """A vote for the open approvals of a policy."""

    approve: Name
    """The approval policy."""
    by: Name
    """The person."""
    refused: bool = False
    """The vote must be refused, for example because the person asked for it."""
    comment: str = ""
    """The person's comment."""


class GivenRejection(Part):
    """A vote against the open approvals of a policy."""

    reject: Name
    """The approval policy."""
    by: Name
    """The person."""
    comment: str = ""
    """The person's comment."""


class GivenResolution(Part):
    """A person's decision on the open Cases of a reason."""

    resolve: Name
    """Reason of the Case."""
    by: Name
    """The person."""
    choice: Literal["retry", "continue", "undo", "close", "waive", "dismiss"]
    """The decision."""
    note: str = "decided in a test"
    """The person's note."""


class GivenLeave(Part):
    """A person who leaves the company."""

    leaves: Name
    """The person."""


class GivenTime(Part):
    """Passage of time. All that falls due in it happens."""

    after: Duration
    """Time that passes."""


GIVEN_STEPS: dict[str, type[Part]] = {
    "known": GivenObject, "receipt": GivenReceipt, "event": GivenEvent, "operation": GivenCall, "answer": GivenAnswer,
    "down": GivenOutage, "approve": GivenApproval, "reject": GivenRejection, "resolve": GivenResolution,
    "leaves": GivenLeave, "after": GivenTime,
}  # fmt: skip
"""Form of each step by the key that names it."""


def _given_form(value: Any) -> str:
    """Return the step that an entry is meant to be, by its key, for precise findings."""
    keys = type(value).model_fields if isinstance(value, Part) else value if isinstance(value, dict) else ()
    return next((key for key in GIVEN_STEPS if key in keys), "unknown")


GivenStep: TypeAlias = Annotated[
    Annotated[GivenObject, Tag("known")]
    | Annotated[GivenReceipt, Tag("receipt")]
    | Annotated[GivenEvent, Tag("event")]
    | Annotated[GivenCall, Tag("operation")]
    | Annotated[GivenAnswer, Tag("answer")]
    | Annotated[GivenOutage, Tag("down")]
    | Annotated[GivenApproval, Tag("approve")]
    | Annotated[GivenRejection, Tag("reject")]
    | Annotated[GivenResolution, Tag("resolve")]
    | Annotated[GivenLeave, Tag("leaves")]
    | Annotated[GivenTime, Tag("after")],
    Discriminator(
        _given_form,
        custom_error_type="given",
        custom_error_message=f"expected a step with one of the keys {', '.join(GIVEN_STEPS)}",
    ),
]

Times = Annotated[int, Field(ge=0, le=100_000)]


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


class Test(Kind):
    """An example of what the governance does, which `counterfoil test` executes. It is no part of a Release."""

    kind: Literal["test"] = "test"
    covers: list[Subject] = []
    """The rules that it is about: `policy service-credit`, `workflow invoice-to-erp/post`."""
    now: Moment = "2026-01-15T09:00:00Z"
    """Time of the first step. Each further step is one second later."""
    environment: Name | None = None
    """The environment whose overlays apply; default: none."""
    persons: dict[Name, Name | list[Name]] = {}
    """Further persons with their roles. Each role has a person of its own name."""
    tables: dict[Name, list[dict[str, Any]]] = {}
    """Rows of tables in this test, instead of those of the folder."""
    given: Annotated[list[GivenStep], Field(min_length=1)]
    """Steps, in order."""
    expect: Expected
    """What must have come of them."""
