"""The kinds of governance file, as strict types; their JSON Schema is exported for editors.

A kind says what may be written and nothing about what it means: meaning is checked over the whole Model in
`checks/` and compiled in `definition.py`. A value that starts with `=` is a formula; a `Formula` field is
always one.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeAlias, Union

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    field_validator,
    model_validator,
)

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*([.-][a-z0-9_]+)*$", max_length=120)]


def _formula_text(value: Any) -> Any:
    """YAML reads `when: false` and `until: 3` as a bool and a number; in a formula they are its text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | Decimal) else value


Formula = Annotated[str, BeforeValidator(_formula_text), StringConstraints(min_length=1, max_length=20_000)]
"""Expression text; a leading `=` is allowed and means nothing more."""
Duration = Annotated[str, StringConstraints(pattern=r"^\+?\d+(ms|s|m|h|d)$")]
"""A length of time: `500ms`, `10s`, `5m`, `2h`, `3d`; a leading `+` reads as "from then"."""
Secret = Annotated[str, StringConstraints(pattern=r"^(env:[A-Z][A-Z0-9_]*|file:\S+)$")]
"""A secret stands in a file only by reference."""
Template: TypeAlias = Any
"""A tree of literals and formulas; a mapping of exactly each/as/data (and when) repeats its data."""

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(duration: str) -> float:
    """A Duration's length in seconds."""
    match = re.fullmatch(r"\+?(\d+)(ms|s|m|h|d)", duration)
    if match is None:
        raise ValueError(f"not a duration: {duration!r}")
    return int(match[1]) * _UNITS[match[2]]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Kind(Part):
    """What every governance document has."""

    kind: str
    name: Name
    owner: Name | dict[Name, str] = ""
    """A role, or several roles with the part that each owns: `{finance: exceptions}`."""
    doc: str = ""

    def owners(self, part: str) -> list[str]:
        """The roles that own a part (`definition`, `exceptions`, ...); a single owner owns every part."""
        if isinstance(self.owner, str):
            return [self.owner] if self.owner else []
        wanted = part.rstrip("s")
        return [r for r, p in self.owner.items() if p.rstrip("s") == wanted] or list(self.owner)[:1]


# ------------------------------------------------------------------ systems, objects, contracts


class Caps(Part):
    concurrency: int = Field(default=4, ge=1, le=1000)
    """Calls in flight at once on this account, over all workers."""


class Feed(Part):
    every: Duration = "30s"


class System(Kind):
    kind: Literal["system"] = "system"
    role: Literal[
        "product", "billing", "support", "erp", "crm", "identity", "analytics", "legacy", "bank", "tax"
    ]
    connector: Name
    """An entry point of the group `counterfoil.connectors`; `external` where another integration acts."""
    account: str = ""
    url: Secret | Annotated[str, StringConstraints(pattern=r"^https?://")] = ""
    settings: dict[str, Any] = {}
    secrets: dict[Name, Secret] = {}
    feeds: dict[Name, Feed] = {}
    caps: Caps = Caps()


FieldType = Annotated[
    str,
    StringConstraints(
        pattern=r"^(string|id|int|decimal|bool|money|date|timestamp|duration|any|object|list"
        r"|\[(string|id|int|decimal|bool|money|date|timestamp|any)\])$"
    ),
]


def _field_form(value: Any) -> str:
    """Which way a field is written: its type's name, a list around its items, or in full."""
    return "type" if isinstance(value, str) else "list" if isinstance(value, list) else "spec"


_Item: TypeAlias = Annotated[
    Union[  # noqa: UP007 - a forward reference cannot stand beside `|`
        Annotated[FieldType, Tag("type")],
        Annotated["FieldSpec", Tag("spec")],
    ],
    Discriminator(_field_form),
]
Fields: TypeAlias = Annotated[
    Union[  # noqa: UP007 - as above
        Annotated[FieldType, Tag("type")],
        Annotated[list[_Item], Field(min_length=1, max_length=1), Tag("list")],
        Annotated["FieldSpec", Tag("spec")],
    ],
    Discriminator(_field_form),
]


class FieldSpec(Part):
    """One field of an object or contract. The short form is its type's name alone; `[type]` is a list."""

    type: FieldType = "object"
    system: Name | None = None
    """The system of record of this field where it differs from the object's."""
    enum: list[str] | None = None
    fields: dict[str, Fields] | None = None
    items: Fields | None = None
    pii: bool = False
    doc: str = ""


FieldSpec.model_rebuild()
FieldMap = dict[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*\??$")], Fields]
"""Field name to type; a trailing `?` makes the field optional."""


class Object(Kind):
    kind: Literal["object"] = "object"
    system: Name
    """The system of record of the object: it alone mints canonical ids and asserts what no field says."""
    fields: FieldMap
    sync: Name | None = None
    """The workflow that carries the object to a system in which a Link to it is missing."""


class Event(Kind):
    kind: Literal["event"] = "event"
    object: Name | None = None
    """The object whose head this fact moves."""
    key: str | None = None
    """The data field that holds the object's canonical id; default `<object>_id`."""
    sets: list[str] | None = None
    """The object's fields that the fact asserts; default: every data field that the object has."""
    data: FieldMap
    produced: Literal["mapping", "workflow", "counterfoil", "http"] = "mapping"
    deprecated: str | None = None


class UndoCall(Part):
    when: Formula | None = None
    call: Name
    with_: dict[str, Template] = Field(default={}, alias="with")


class Operation(Kind):
    kind: Literal["operation"] = "operation"
    system: Name
    input: FieldMap = {}
    output: FieldMap = {}
    repeat: Literal["key", "unique", "find", "blind", "read"]
    horizon: Duration = "60s"
    retention: Duration | None = None
    timeout: Duration = "30s"
    undo: list[UndoCall] | None = None
    irreversible: str | None = None
    """Why nothing takes it back."""
    exposes: Literal["none", "read"] | dict[Literal["starts"], Name] = "none"
    executor: Literal["connector", "identity", "external"] = "connector"
    """`connector`: a mapping renders the vendor's input. `identity`: the connector takes the canonical input as
    it is. `external`: another integration acts."""


# ------------------------------------------------------------------ mappings, tables


class MappingFrom(Part):
    system: Name
    type: str | list[str]
    """Delivery types of the system; `invoice.*` takes every type with that beginning."""
    when: Formula | None = None
    api_version: str | None = None


class MappingTo(Part):
    operation: Name
    system: Name | None = None


class Fetch(Part):
    call: Name
    with_: dict[str, Template] = Field(default={}, alias="with")
    pages: list[str] = []


class EmitMapping(Part):
    type: Template
    when: Formula | None = None
    key: Formula
    version: Formula | None = None
    occurred: Formula | None = None
    effective: Formula | None = None
    legal_entity: Formula | None = None
    data: dict[str, Template]
    links: dict[Name, Formula] = {}
    """Object to external id: this fact establishes that external id for the canonical `<object>_id`."""


class Returns(Part):
    result: dict[str, Template] = {}
    """The canonical output from the vendor's `result`; empty: the result as it is."""
    links: dict[Name, Formula] = {}
    compare: list[str] = []
    """Fields whose value in the result must equal the input's of the same name."""


class Mapping(Kind):
    kind: Literal["mapping"] = "mapping"
    from_: MappingFrom | None = Field(default=None, alias="from")
    to: MappingTo | None = None
    ignore: str | None = None
    """Why deliveries of these types mean nothing to us."""
    fetch: Fetch | None = None
    let: dict[Name, Formula] = {}
    emit: EmitMapping | list[EmitMapping] | None = None
    assert_: Formula | None = Field(default=None, alias="assert")
    with_: dict[str, Template] | None = Field(default=None, alias="with")
    returns: Returns = Returns()

    @model_validator(mode="after")
    def _one_way(self) -> Mapping:
        if (self.from_ is None) == (self.to is None):
            raise ValueError("a mapping has either `from` or `to`")
        if self.from_ and (self.emit is None) == (self.ignore is None):
            raise ValueError("a mapping with `from` has either `emit` or `ignore`")
        if self.to and self.with_ is None:
            raise ValueError("a mapping with `to` has `with`")
        return self


class Table(Kind):
    """Finance-owned rows, effective-dated. `table(name, key...)` gives `value` of the row in force."""

    kind: Literal["table"] = "table"
    key: list[Name]
    value: Name
    valid_from: Name | None = None
    file: str | None = None
    rows: list[dict[str, Any]] | None = None


class StateMap(Kind):
    kind: Literal["state_map"] = "state_map"
    object: Name
    system: Name
    map: dict[str, str]


class Calendar(Kind):
    kind: Literal["calendar"] = "calendar"
    zone: str = "UTC"
    dates: dict[str, str] = {}


# ------------------------------------------------------------------ workflows


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
    """How often to try again without being woken."""
    wake: Name | None = None
    """An event that says the obstacle may be gone."""
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
    """Which member of a block an entry is: by the key that it has, so that a finding speaks of that one."""
    if isinstance(value, str):
        return "word"
    if isinstance(value, list):
        return "block"
    keys = value if isinstance(value, dict) else {f.rstrip("_") for f in type(value).model_fields}
    return next((k for k in (*_STEPS, *_VERBS) if k in keys), "unknown")


Verb: TypeAlias = Annotated[
    Annotated[Word, Tag("word")]
    | Annotated[StopVerb, Tag("stop")]
    | Annotated[AgainVerb, Tag("again")]
    | Annotated[RetryVerb, Tag("retry")]
    | Annotated[QueueVerb, Tag("queue")],
    Discriminator(
        _which,
        custom_error_type="verb",
        custom_error_message="expected retry, queue, continue, park, undo, {stop: state} or {again: {from, at_most}}",
    ),
]
Entry: TypeAlias = Annotated[
    Union[  # noqa: UP007 - forward references cannot stand beside `|`
        Annotated["Check", Tag("check")],
        Annotated["Call", Tag("call")],
        Annotated["Approve", Tag("approve")],
        Annotated["Wait", Tag("wait")],
        Annotated["Choose", Tag("choose")],
        Annotated["Each", Tag("each")],
        Annotated["Emit", Tag("emit")],
        Annotated[Word, Tag("word")],
        Annotated[StopVerb, Tag("stop")],
        Annotated[AgainVerb, Tag("again")],
        Annotated[RetryVerb, Tag("retry")],
        Annotated[QueueVerb, Tag("queue")],
    ],
    Discriminator(
        _which,
        custom_error_type="step",
        custom_error_message="expected a step: check, call, approve, wait, choose, each or emit; or a verb at the end",
    ),
]
Block: TypeAlias = list[Entry]
Reaction: TypeAlias = Annotated[
    Annotated[Word, Tag("word")]
    | Annotated[StopVerb, Tag("stop")]
    | Annotated[AgainVerb, Tag("again")]
    | Annotated[RetryVerb, Tag("retry")]
    | Annotated[QueueVerb, Tag("queue")]
    | Annotated[Block, Tag("block")],
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

    @model_validator(mode="after")
    def _one_start(self) -> Start:
        if sum(x is not None for x in (self.event, self.due, self.operation)) != 1:
            raise ValueError("start has exactly one of `event`, `due`, `operation`")
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
            raise ValueError("a fact has exactly one of `head`, `xref`, `limit`, `period`, `read`")
        return self


class Signal(Part):
    event: Name
    where: Formula | None = None
    in_: list[Name] = Field(default=[], alias="in")
    do: Block


class Workflow(Kind):
    kind: Literal["workflow"] = "workflow"
    failure: Name
    start: Start
    serial: Serial | None = None
    facts: dict[Name, Fact] = {}
    let: dict[Name, Formula] = {}
    signals: list[Signal] = []
    deadline: Duration | None = None
    steps: Block


# ------------------------------------------------------------------ policies


class Failure(Part):
    """A reaction to every class and time-out: whether work queues, partly completes or is undone."""

    transient: Reaction
    throttled: Reaction
    conflict: Reaction
    invalid: Reaction
    warning: Reaction
    period_closed: Reaction
    not_found: Reaction
    unauthorized: Reaction
    already_done: Reaction
    refused: Reaction
    unknown: Reaction
    timeout: Reaction
    failed: Reaction = "park"
    rejected: Reaction = "park"
    expired: Reaction = "park"
    stale: Reaction = "park"
    accepted: Reaction = "continue"
    retry: Retry = Retry()
    queue: Queue = Queue()
    case_within: Duration = "2d"
    """Deadline of the Cases that this policy opens."""


class Tier(Part):
    up_to: int | None = None
    """Highest amount, in major units of the policy's currency, inclusive; absent: above every other."""
    automatic: bool = False
    roles: list[Name] = []
    quorum: int = Field(default=1, ge=1, le=10)


class Approval(Part):
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    rates: Name | None = None
    """The table that converts other currencies; without it another currency is refused."""
    matrix: list[Tier]
    requester: Formula = "event.data.requested_by"
    requesters: list[Name] = []
    """Roles that ask; no role can both request and approve."""
    expires: Duration = "3d"


class LimitCurrency(Part):
    to: str
    rate: str = "spot"
    at: str = "request_date"


class Limit(Part):
    per: list[Formula]
    counts: list[Literal["reserved", "consumed"]] = ["reserved", "consumed"]
    currency: LimitCurrency | Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    at_most: int | None = None
    """Highest total in major units; absent: the total only moves the approval tier."""


class PostingDate(Part):
    rule: Literal["reject", "first_open", "current", "hold_for_reopen", "accrue_and_true_up"]
    periods: Name = "period"
    """The object that holds the periods' states."""
    document: Literal["keep", "posting"] = "keep"
    """What the document date becomes when posting moves: kept, or the posting date."""


class Retention(Part):
    receipts: Duration = "3650d"


class Degradation(Part):
    when_down: Name
    then: Literal["queue", "refuse", "continue"]


class Policy(Kind):
    kind: Literal["policy"] = "policy"
    failure: Failure | None = None
    approval: Approval | None = None
    limit: Limit | None = None
    degradation: Degradation | None = None
    posting_date: PostingDate | None = None
    retention: Retention | None = None

    @model_validator(mode="after")
    def _one_policy(self) -> Policy:
        parts = (
            self.failure,
            self.approval,
            self.limit,
            self.degradation,
            self.posting_date,
            self.retention,
        )
        if sum(x is not None for x in parts) != 1:
            raise ValueError(
                "a policy is exactly one of failure, approval, limit, degradation, posting_date, retention"
            )
        return self


# ------------------------------------------------------------------ counterfoils, people, control


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


class Alert(Kind):
    kind: Literal["alert"] = "alert"
    when: Formula
    to: list[Name]


class Control(Kind):
    kind: Literal["control"] = "control"
    risk: str
    assertion: str
    evidence: str
    frequency: str


class Pattern(Kind):
    kind: Literal["pattern"] = "pattern"
    parameters: dict[Name, Any] = {}
    body: dict[str, Any]


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


for _model in (StepBase, Check, Call, Approve, Wait, Branch, Choose, Each, Emit, Signal):
    _model.model_rebuild()
Workflow.model_rebuild()
Failure.model_rebuild()
Policy.model_rebuild()

KINDS: dict[str, type[Kind]] = {
    "system": System,
    "object": Object,
    "event": Event,
    "operation": Operation,
    "mapping": Mapping,
    "workflow": Workflow,
    "policy": Policy,
    "pattern": Pattern,
    "table": Table,
    "calendar": Calendar,
    "state_map": StateMap,
    "reconciliation": Reconciliation,
    "alert": Alert,
    "role": Role,
    "control": Control,
    "test": Test,
}
