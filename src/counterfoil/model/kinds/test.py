"""Tests as files: what is given, step by step, and what must have come of it.

`counterfoil test` executes them (`counterfoil.testing`). A list in `expect` names the records that must exist; others may
exist too, unless `only` names the list.
"""

# ruff: noqa: RUF012 - pydantic copies the default of each field

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag, model_validator

from counterfoil.model.kinds.base import Duration, Kind, Name, Part
from counterfoil.model.kinds.expected import Expected, RefusalClass


def _on_a_calendar(text: str) -> str:
    """Return a moment that exists, in a year from 1970 to 2200. Raises ValueError."""
    if not _FIRST_YEAR <= datetime.fromisoformat(text.replace("Z", "+00:00")).year <= _LAST_YEAR:
        raise ValueError(f"a moment is in a year from {_FIRST_YEAR} to {_LAST_YEAR}")
    return text


_FIRST_YEAR, _LAST_YEAR = 1970, 2200
Moment = Annotated[
    str,
    StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?Z$"),
    AfterValidator(_on_a_calendar),
]
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
    """An object that is known already: its state, and its ids in the systems that have it. An event changes it later."""

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
