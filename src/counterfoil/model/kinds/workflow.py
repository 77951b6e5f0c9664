"""Workflows: their start, their steps, and the reactions to outcomes of steps."""

# ruff: noqa: RUF012 - pydantic copies the default of each field

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, Union

from pydantic import Discriminator, Field, Tag, model_validator

from counterfoil.model.kinds.base import Duration, Formula, Kind, Name, Part, Template
from counterfoil.model.kinds.contracts import UndoCall


class Again(Part):
    """A new round from an earlier step."""

    from_: Name = Field(alias="from")
    """Id of the step from which the round starts, or `start`."""
    at_most: int = Field(ge=1, le=100)
    """Maximum number of rounds from this place."""


class Retry(Part):
    """Attempts after a refusal that may be temporary."""

    first: Duration = "2s"
    """Wait before the first retry; it doubles for each further one."""
    cap: Duration = "5m"
    """Longest wait between two attempts."""
    attempts: int = Field(default=8, ge=1, le=1000)
    """Maximum number of attempts, including the first."""
    then: Literal["park", "undo", "continue"] = "park"
    """Reaction when the attempts are used up."""


class Queue(Part):
    """Attempts until something outside has changed."""

    every: Duration = "1h"
    """Interval between attempts without a wake-up event."""
    wake: Name | None = None
    """An event after which an attempt may succeed."""
    until: Duration = "10d"
    """Time after which the queueing ends; attempts do not extend it."""
    then: Literal["park", "undo"] = "park"
    """Reaction when the time has ended."""


class StopVerb(Part):
    """End of the Run in a state."""

    stop: Name
    """State in which the Run ends."""


class AgainVerb(Part):
    """A new round from an earlier step; the only way back in a workflow."""

    again: Again
    """The step from which the round starts, and how often at most."""


class RetryVerb(Part):
    """`retry` with numbers of its own instead of the policy's."""

    retry: Retry
    """Waits and number of attempts."""


class QueueVerb(Part):
    """`queue` with times of its own instead of the policy's."""

    queue: Queue
    """Wake-up event, interval and end."""


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
    """Common keys of every step."""

    id: Name | None = None
    """Name of the step; formulas read its result by it."""
    when: Formula | None = None
    """The step is skipped if this is false; absent: it is never skipped."""
    becomes: Name | None = None
    """Business state of the Run after the step."""
    outcomes: dict[str, Reaction] = {}
    """Reaction by outcome; the failure policy has those that are not named here."""
    doc: str = ""
    """Text for readers; a failed `check` shows it in its Case."""


class CheckReservation(Part):
    """Part of a limit that a Run takes, and gives back if it is undone."""

    limit: Name
    """The limit policy."""
    amount: Formula
    """The amount that counts."""
    at_most: Formula
    """Highest total, as money: what a contract or an invoice allows."""


class Check(StepBase):
    """A condition that must be true. Outcome: `failed`."""

    check: Formula
    """The condition."""
    once: Formula | None = None
    """Key that only one Run of this workflow may pass in each legal entity; a second Run fails."""
    reserve: CheckReservation | None = None
    """Part of a limit to reserve; the check fails where too little is left."""


class Dates(Part):
    """The three dates of a document."""

    document: Template = None
    """Document date."""
    posting: Template = None
    """Posting date: a date, or the name of a posting-date policy."""
    revenue: Template = None
    """Date on which revenue is recognised."""


class Call(StepBase):
    """A call of an operation. Outcomes: the error classes, `unknown`, `accepted`, `stale`."""

    call: Name
    """The operation."""
    with_: dict[str, Template] = Field(default={}, alias="with")
    """Its canonical input."""
    undo: list[UndoCall] | None = None
    """Calls that take it back, instead of the operation's own."""
    irreversible: str | None = None
    """The reason why no undo exists, instead of the operation's own."""
    dates: Dates | None = None
    """Dates of the document that the call creates."""


class Approve(StepBase):
    """A decision of persons. Outcomes: `rejected`, `expired`, `stale`."""

    approve: Name
    """The approval policy."""
    amount: Formula | None = None
    """The amount that selects the tier."""
    reserve: Name | None = None
    """The limit policy on which the amount is reserved."""
    covers: list[Formula]
    """Values that the approval is bound to; a changed value makes it `stale`."""
    requester: Formula | None = None
    """The person who requests, instead of the policy's formula."""


class WaitSpec(Part):
    """End of a wait: an event or foils, and the latest moment."""

    event: Name | None = None
    """The event that ends the wait."""
    where: Formula | None = None
    """Condition on the event."""
    foils: Literal["all"] | list[Name] | None = None
    """Reconciliations whose foils of this Run must be matched; `all` for every one."""
    until: Template = None
    """Latest moment: a time from the start of the wait such as `+2d`, or a formula."""


class Wait(StepBase):
    """A pause until an event, a moment or matched foils. Outcome: `timeout`."""

    wait: WaitSpec
    """What the Run waits for."""


class Branch(Part):
    """One branch of `choose`."""

    when: Formula
    """Its condition."""
    then: Block
    """Its steps."""


class Choose(StepBase):
    """The first branch whose condition is true."""

    choose: list[Branch]
    """The branches, in order."""
    otherwise: Block | None = None
    """Steps if no condition is true; absent: the Run continues after the step."""


class Each(StepBase):
    """Steps for each item of a list, one after another."""

    each: Template
    """The list, as literals or a formula; it is frozen when the step begins."""
    as_: Name = Field(alias="as")
    """Name by which formulas read the item."""
    key: Formula | None = None
    """Key of an item, unique in the list; default: its position."""
    until: Formula | None = None
    """The list ends early when this is true; checked before each item and after each wait in one."""
    on_item: Literal["park", "stop", "undo_all"] = "park"
    """What parking inside an item means: a Case there, leaving the list, or undo of everything."""
    do: Block
    """Steps for one item."""


class Emit(StepBase):
    """An event of our own, admitted like any other."""

    emit: Name
    """The event."""
    data: dict[str, Template] = {}
    """Its data."""


Step: TypeAlias = Check | Call | Approve | Wait | Choose | Each | Emit


class StartDue(Part):
    """Start at a date of an object; the date moves with the object."""

    object: Name
    """The object."""
    at: Formula
    """The moment, from `object`."""


class GenerationEvent(Part):
    """An event that gives a key a successor Run."""

    event: Name
    """The event."""
    where: Formula
    """Condition that relates the event to the object of the former Run."""


class Start(Part):
    """Start of a Run: exactly one of `event`, `due` and `operation`."""

    event: Name | None = None
    """The event that starts a Run."""
    due: StartDue | None = None
    """The date of an object that starts a Run."""
    operation: Name | None = None
    """The exposed operation whose calls start a Run."""
    when: Formula | None = None
    """A Run starts only if this is true; absent: always. With `due` it must also be true when the date comes."""
    key: Formula
    """Key of the Run: a second start with the same key and generation finds the first Run."""
    generation: Formula | GenerationEvent | None = None
    """Generation of the Run, or the event that gives the key a successor Run."""

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
    """Order of Runs that share a key."""

    key: Formula | list[Formula]
    """The key, or several."""
    hold: Literal["effects"] = "effects"
    """`effects`: the key is held while effects are in progress, not while a person considers an approval."""


class Fact(Part):
    """A recorded read: exactly one of `head`, `xref`, `limit`, `period` and `read`."""

    head: Name | None = None
    """The object whose newest state is read."""
    of: Formula | None = None
    """Its canonical id, or for `period` the name; default: the key of the Run. Of a `limit` in the currency of the amounts:
    that currency."""
    xref: Name | None = None
    """The object whose Link is read."""
    limit: Name | None = None
    """The limit policy of which is read what other Runs use."""
    period: Name | None = None
    """The object with the states of periods; the fact is null if there is none of that name."""
    read: Name | None = None
    """The read operation that a system answers."""
    with_: dict[str, Template] = Field(default={}, alias="with")
    """Input of the read operation."""
    recheck: Literal["each_effect"] | None = None
    """`each_effect`: read again before each call until the first effect is confirmed."""

    @model_validator(mode="after")
    def _one_source(self) -> Fact:
        if sum(x is not None for x in (self.head, self.xref, self.limit, self.period, self.read)) != 1:
            raise ValueError("a fact needs exactly one of `head`, `xref`, `limit`, `period`, `read`")
        return self


class Signal(Part):
    """An event that interrupts a Run between two steps."""

    event: Name
    """The event."""
    where: Formula | None = None
    """Condition on the event."""
    in_: list[Name] = Field(default=[], alias="in")
    """Business states in which it interrupts; empty: in all of them."""
    do: Block
    """Steps of the interruption."""


class Invariant(Part):
    """A condition that `prove` checks in every state of the workflow."""

    name: Name
    """Name of the rule in findings."""
    always: Formula | None = None
    """True in every state."""
    never: Formula | None = None
    """True in no state."""
    finally_: Formula | None = Field(default=None, alias="finally")
    """True at the end of every Run."""

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
    """A business process: its start, its steps, and its reactions to failures."""

    kind: Literal["workflow"] = "workflow"
    lane: Literal["close", "live"] = "live"
    """Calls of `close` workflows have priority, because the close of a period waits for them."""
    failure: Name
    """The failure policy; a step's `outcomes` override it."""
    start: Start
    """What starts a Run, and the Run's key."""
    serial: Serial | None = None
    """Keys whose Runs do not write at the same time."""
    facts: dict[Name, Fact] = {}
    """Recorded reads by name; each is read when a formula first uses it."""
    let: dict[Name, Formula] = {}
    """Named formulas; each is computed when it is first used."""
    signals: list[Signal] = []
    """Events that interrupt a Run between two steps."""
    deadline: Duration | None = None
    """Time that a Run may take before it gets a Case; only time in which we owe an action counts."""
    invariants: list[Invariant] = []
    """Rules that `prove` checks in every state."""
    moved: dict[str, str] = {}
    """Former name to present name of renamed steps: `{memo: credit-memo}`. A Run that is moved to this Release finds its
    place by it."""
    steps: Block
    """The steps in order; a verb may end them."""
    returns: dict[str, Template] = {}
    """The output of the operation that starts the workflow, at the end of the Run."""

    @property
    def serial_keys(self) -> list[str]:
        key = self.serial.key if self.serial is not None else []
        return key if isinstance(key, list) else [key]


for _model in (StepBase, Check, Call, Approve, Wait, Branch, Choose, Each, Emit, Signal):
    _model.model_rebuild()
Workflow.model_rebuild()
