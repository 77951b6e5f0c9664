"""Workflows: their start, their steps, and the reactions to outcomes of steps."""

# ruff: noqa: RUF012 - pydantic copies the default of each field

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, Union

from pydantic import Discriminator, Field, Tag, model_validator

from counterfoil.model.kinds.base import Duration, Formula, Kind, Name, Part, Template
from counterfoil.model.kinds.contracts import UndoCall


class Again(Part):
    from_: Name = Field(alias="from")
    at_most: int = Field(ge=1, le=100)


class Retry(Part):
    first: Duration = "2s"
    cap: Duration = "5m"
    attempts: int = Field(default=8, ge=1, le=1000)
    then: Literal["park", "undo", "continue"] = "park"


class Queue(Part):
    every: Duration = "1h"
    """Interval between attempts without a wake-up event."""
    wake: Name | None = None
    """An event after which an attempt may succeed."""
    until: Duration = "10d"
    then: Literal["park", "undo"] = "park"


class StopVerb(Part):
    stop: Name


class AgainVerb(Part):
    again: Again


class RetryVerb(Part):
    retry: Retry


class QueueVerb(Part):
    queue: Queue


Word = Literal["retry", "queue", "continue", "park", "undo"]
_VERBS = ("stop", "again", "retry", "queue")
_STEPS = ("check", "call", "approve", "wait", "choose", "each", "emit")


def _which(value: Any) -> str:
    """Return the member of a block that an entry is meant to be, by its key, for precise findings."""
    if isinstance(value, str):
        return "word"
    if isinstance(value, list):
        return "block"
    if isinstance(value, Part):
        value = {field.rstrip("_") for field in type(value).model_fields}
    keys = value if isinstance(value, dict | set) else ()
    return next((k for k in (*_STEPS, *_VERBS) if k in keys), "unknown")


_AnyVerb: TypeAlias = (
    Annotated[Word, Tag("word")]
    | Annotated[StopVerb, Tag("stop")]
    | Annotated[AgainVerb, Tag("again")]
    | Annotated[RetryVerb, Tag("retry")]
    | Annotated[QueueVerb, Tag("queue")]
)
Verb: TypeAlias = Annotated[
    _AnyVerb,
    Discriminator(
        _which,
        custom_error_type="verb",
        custom_error_message="expected retry, queue, continue, park, undo, {stop: state} or {again: {from, at_most}}",
    ),
]
Entry: TypeAlias = Annotated[
    Union[  # noqa: UP007 - `|` does not accept forward references
        Annotated["Check", Tag("check")],
        Annotated["Call", Tag("call")],
        Annotated["Approve", Tag("approve")],
        Annotated["Wait", Tag("wait")],
        Annotated["Choose", Tag("choose")],
        Annotated["Each", Tag("each")],
        Annotated["Emit", Tag("emit")],
        _AnyVerb,
    ],
    Discriminator(
        _which,
        custom_error_type="step",
        custom_error_message="expected a step: check, call, approve, wait, choose, each or emit; or a verb at the end",
    ),
]
Block: TypeAlias = list[Entry]
Reaction: TypeAlias = Annotated[
    _AnyVerb | Annotated[Block, Tag("block")],
    Discriminator(
        _which,
        custom_error_type="reaction",
        custom_error_message="expected a verb (retry, queue, continue, park, undo, stop, again) or a list of steps",
    ),
]


class StepBase(Part):
    id: Name | None = None
    when: Formula | None = None
    becomes: Name | None = None
    outcomes: dict[str, Reaction] = {}
    doc: str = ""


class Check(StepBase):
    check: Formula
    once: Formula | None = None


class Dates(Part):
    document: Template = None
    posting: Template = None
    revenue: Template = None


class Call(StepBase):
    call: Name
    with_: dict[str, Template] = Field(default={}, alias="with")
    undo: list[UndoCall] | None = None
    irreversible: str | None = None
    dates: Dates | None = None


class Approve(StepBase):
    approve: Name
    amount: Formula | None = None
    reserve: Name | None = None
    covers: list[Formula]
    requester: Formula | None = None


class WaitSpec(Part):
    event: Name | None = None
    where: Formula | None = None
    foils: Literal["all"] | list[Name] | None = None
    until: Template = None


class Wait(StepBase):
    wait: WaitSpec


class Branch(Part):
    when: Formula
    then: Block


class Choose(StepBase):
    choose: list[Branch]
    otherwise: Block | None = None


class Each(StepBase):
    each: Template
    as_: Name = Field(alias="as")
    key: Formula | None = None
    until: Formula | None = None
    on_item: Literal["park", "stop", "undo_all"] = "park"
    do: Block


class Emit(StepBase):
    emit: Name
    data: dict[str, Template] = {}


Step: TypeAlias = Check | Call | Approve | Wait | Choose | Each | Emit


class StartDue(Part):
    object: Name
    at: Formula


class GenerationEvent(Part):
    event: Name
    where: Formula


class Start(Part):
    event: Name | None = None
    due: StartDue | None = None
    operation: Name | None = None
    when: Formula | None = None
    key: Formula
    generation: Formula | GenerationEvent | None = None

    @property
    def successor_event(self) -> str | None:
        """The event that starts a successor Run of the same key."""
        return self.generation.event if isinstance(self.generation, GenerationEvent) else None

    @model_validator(mode="after")
    def _one_start(self) -> Start:
        if sum(x is not None for x in (self.event, self.due, self.operation)) != 1:
            raise ValueError("start needs exactly one of `event`, `due`, `operation`")
        return self


class Serial(Part):
    key: Formula | list[Formula]
    hold: Literal["effects"] = "effects"


class Fact(Part):
    head: Name | None = None
    of: Formula | None = None
    xref: Name | None = None
    limit: Name | None = None
    period: Name | None = None
    read: Name | None = None
    with_: dict[str, Template] = Field(default={}, alias="with")
    recheck: Literal["each_effect"] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Fact:
        if sum(x is not None for x in (self.head, self.xref, self.limit, self.period, self.read)) != 1:
            raise ValueError("a fact needs exactly one of `head`, `xref`, `limit`, `period`, `read`")
        return self


class Signal(Part):
    event: Name
    where: Formula | None = None
    in_: list[Name] = Field(default=[], alias="in")
    do: Block


class Invariant(Part):
    """A condition that `prove` checks in every state of the workflow."""

    name: Name
    always: Formula | None = None
    never: Formula | None = None
    finally_: Formula | None = Field(default=None, alias="finally")

    @model_validator(mode="after")
    def _one_moment(self) -> Invariant:
        if sum(x is not None for x in (self.always, self.never, self.finally_)) != 1:
            raise ValueError("an invariant needs exactly one of `always`, `never`, `finally`")
        return self

    @property
    def moment(self) -> str:
        return "always" if self.always is not None else "never" if self.never is not None else "finally"

    @property
    def formula(self) -> str:
        return next(text for text in (self.always, self.never, self.finally_) if text is not None)


class Workflow(Kind):
    kind: Literal["workflow"] = "workflow"
    lane: Literal["close", "live"] = "live"
    """Calls of `close` workflows have priority, because the close of a period waits for them."""
    failure: Name
    start: Start
    serial: Serial | None = None
    facts: dict[Name, Fact] = {}
    let: dict[Name, Formula] = {}
    signals: list[Signal] = []
    deadline: Duration | None = None
    invariants: list[Invariant] = []
    moved: dict[str, str] = {}
    """Former name to present name of renamed steps: `{memo: credit-memo}`. A Run that is moved to this Release finds its
    place by it."""
    steps: Block
    returns: dict[str, Template] = {}
    """The output of the operation that starts the workflow, at the end of the Run."""

    @property
    def serial_keys(self) -> list[str]:
        key = self.serial.key if self.serial is not None else []
        return key if isinstance(key, list) else [key]


for _model in (StepBase, Check, Call, Approve, Wait, Branch, Choose, Each, Emit, Signal):
    _model.model_rebuild()
Workflow.model_rebuild()
