"""Workflows, mappings and foil rules as compiled, immutable definitions, which the rules read.

`model/compile` builds them from the kinds. They contain compiled expressions and no positions in files. A Run is
pinned to the digest of its definition. Steps and some other classes have the name of their source form in
`model/kinds`: `kinds.Call` is the document's form, `definition.Call` the compiled one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from counterfoil.expr import Expression
from counterfoil.model.document_definition import FoilDefinition
from counterfoil.model.envelope import NO_ENVELOPE_RULES, EnvelopeRules

# ------------------------------------------------------------------ templates


@dataclass(frozen=True, slots=True)
class Literal:
    value: object


@dataclass(frozen=True, slots=True)
class Formula:
    expression: Expression


@dataclass(frozen=True, slots=True)
class Record:
    fields: Mapping[str, Template]


@dataclass(frozen=True, slots=True)
class Items:
    items: tuple[Template, ...]


@dataclass(frozen=True, slots=True)
class Repeated:
    """Compiled `each / as / data (/ when)`: one `data` for each element of `each`."""

    each: Template
    name: str
    data: Template
    when: Expression | None = None


Template: TypeAlias = Literal | Formula | Record | Items | Repeated

# ------------------------------------------------------------------ reactions


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    first: float
    cap: float
    attempts: int
    then: str


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    every: float
    wake: str | None
    until: float
    then: str


@dataclass(frozen=True, slots=True)
class Verb:
    """One of `retry, queue, continue, park, undo, stop, again`; each other field belongs to one verb."""

    name: str
    state: str | None = None  # stop
    target: str | None = None  # again: a step id or "start"
    at_most: int = 0  # again
    retry: RetryPolicy | None = None
    queue: QueuePolicy | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """Steps in order, with an optional verb at the end."""

    steps: tuple[Step, ...]
    verb: Verb | None = None


Reaction: TypeAlias = Verb | Block

# ------------------------------------------------------------------ steps


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBase:
    path: str
    """Unique, stable place in the workflow: ids or positions from the root, joined by `/`. A nested block adds its role:
    `billed/timeout/0`, `choose1/then0/0`, `each2/do/0`, `signal0/0`."""
    id: str | None = None
    when: Expression | None = None
    becomes: str | None = None
    outcomes: Mapping[str, Reaction] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LimitShare:
    limit: str
    amount: Expression
    at_most: Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(StepBase):
    check: Expression
    once: Expression | None = None
    reserve: LimitShare | None = None
    doc: str = ""
    """Text for a person if the check fails; empty: the formula."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoChoice:
    when: Expression | None
    operation: str
    input: Template


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(StepBase):
    operation: str
    input: Template
    undo: tuple[UndoChoice, ...] = ()
    irreversible: str | None = None
    document: Template | None = None
    posting: Template | None = None
    revenue: Template | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Approve(StepBase):
    policy: str
    amount: Expression | None
    reserve: str | None
    covers: tuple[Expression, ...]
    requester: Expression


@dataclass(frozen=True, slots=True)
class Until:
    """A moment: `after` seconds from the start of the wait, or a formula for a timestamp or date."""

    after: float | None = None
    at: Expression | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait(StepBase):
    event: str | None = None
    where: Expression | None = None
    keys: tuple[tuple[str, Expression], ...] = ()
    """Conjuncts `event.data.<field> == <value>` of `where` whose value does not read the event. They narrow the topic
    on which the Run waits."""
    foils: tuple[str, ...] | None = None
    """Names of reconciliations; `("all",)` for every foil of the Run."""
    until: Until | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choose(StepBase):
    branches: tuple[tuple[Expression, Block], ...]
    otherwise: Block | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Each(StepBase):
    items: Template
    name: str
    key: Expression | None
    until: Expression | None
    on_item: str
    do: Block


@dataclass(frozen=True, slots=True, kw_only=True)
class Emit(StepBase):
    type: str
    data: Template


Step: TypeAlias = Check | Call | Approve | Wait | Choose | Each | Emit

# ------------------------------------------------------------------ the workflow


@dataclass(frozen=True, slots=True)
class Fact:
    name: str
    source: str  # head, xref, limit, period, read
    target: str  # object, policy or operation
    of: Expression | None
    input: Template | None
    recheck: bool


@dataclass(frozen=True, slots=True)
class Signal:
    event: str
    where: Expression | None
    keys: tuple[tuple[str, Expression], ...]
    states: frozenset[str]
    """Business states in which it interrupts; empty for all states."""
    do: Block


@dataclass(frozen=True, slots=True)
class Invariant:
    """A condition that `prove` checks in every state: true `always`, `never`, or `finally` at the end of the Run."""

    name: str
    moment: str
    formula: Expression


@dataclass(frozen=True, slots=True)
class Start:
    event: str | None
    due_object: str | None
    due_at: Expression | None
    operation: str | None
    when: Expression | None
    key: Expression
    generation: Expression | None
    generation_event: str | None
    generation_where: Expression | None


@dataclass(frozen=True, slots=True)
class ApprovalTier:
    up_to: int | None
    """Highest amount without its sign, in minor units of the policy's currency, inclusive."""
    automatic: bool
    roles: tuple[str, ...]
    quorum: int


@dataclass(frozen=True, slots=True)
class ApprovalPolicy:
    name: str
    currency: str
    rates: str | None
    tiers: tuple[ApprovalTier, ...]
    requester: Expression
    expires: float
    digest: str
    owners: tuple[str, ...]
    negative: bool = False
    """Negative amounts are allowed."""
    requesters: tuple[str, ...] = ()
    """Roles that may request; empty: any person on file."""


OF_AMOUNT = "amount"
"""Currency of a limit in which the amounts of each currency count by themselves."""


@dataclass(frozen=True, slots=True)
class LimitPolicy:
    name: str
    per: tuple[Expression, ...]
    """Read the names of the Run, and `month` and `quarter` of the start event's time as text."""
    currency: str
    at_most: int | None
    """Minor units."""
    negative: bool = False
    """Negative amounts are allowed, and count without their sign."""


@dataclass(frozen=True, slots=True)
class PostingPolicy:
    name: str
    rule: str
    periods: str
    document: str


@dataclass(frozen=True, slots=True)
class FailurePolicy:
    name: str
    reactions: Mapping[str, Reaction]
    retry: RetryPolicy
    queue: QueuePolicy
    case_within: float


@dataclass(frozen=True, slots=True)
class OperationDefinition:
    name: str
    system: str
    repeat: str
    horizon: float
    retention: float
    timeout: float
    undo: tuple[UndoChoice, ...]
    irreversible: str | None
    executor: str
    input_schema: Mapping[str, object]
    output_schema: Mapping[str, object]
    negative: bool = False
    """Every amount of the input may be negative."""

    @property
    def writes(self) -> bool:
        return self.repeat != "read"


@dataclass(frozen=True, slots=True)
class Definition:
    """A compiled workflow with the documents that its Runs are pinned to."""

    name: str
    digest: str
    """Digest of the canonical form of the workflow and its closure."""
    start: Start
    serial: tuple[Expression, ...]
    facts: tuple[Fact, ...]
    let: tuple[tuple[str, Expression], ...]
    signals: tuple[Signal, ...]
    steps: Block
    failure: FailurePolicy
    deadline: float | None
    approvals: Mapping[str, ApprovalPolicy]
    limits: Mapping[str, LimitPolicy]
    postings: Mapping[str, PostingPolicy]
    operations: Mapping[str, OperationDefinition]
    foils: tuple[FoilDefinition, ...]
    """Reconciliations whose foils an operation of this workflow writes."""
    owners: tuple[str, ...]
    exception_owners: tuple[str, ...]
    lane: str
    """`close` or `live`: priority of its calls when slots are scarce."""
    casts: Mapping[tuple[str, str], tuple[CastDefinition, ...]] = field(default_factory=dict)
    """Casts by (version, awaited version), and by (operation, other version of it)."""
    returns: Record = Record({})
    """Output of the operation that starts the workflow; it reads the names of a finished Run."""
    invariants: tuple[Invariant, ...] = ()
    events: tuple[str, ...] = ("event",)
    """Names that hold an event: that of the start, and the results of waits for an event."""
    envelope: EnvelopeRules = NO_ENVELOPE_RULES


# ------------------------------------------------------------------ mappings


@dataclass(frozen=True, slots=True)
class CastDefinition:
    """A compiled cast from one version of an event or operation to another.

    Formulas read `data` of an event or `input` of an operation, and the lets. Formulas of `result` cast the answer
    back: they read `result` and the `input` before the cast.
    """

    name: str
    source: str
    target: str
    root: str
    """`data` or `input`."""
    let: tuple[tuple[str, Expression], ...]
    fields: Record
    result: Record | None
    schema: Mapping[str, object]
    """Contract of the result of the cast."""


@dataclass(frozen=True, slots=True)
class EmitDefinition:
    type: Template
    when: Expression | None
    key: Expression
    version: Expression | None
    identity: Expression | None
    occurred: Expression | None
    effective: Expression | None
    legal_entity: Expression | None
    data: Record
    links: Mapping[str, Expression]


@dataclass(frozen=True, slots=True)
class InboundMapping:
    """Maps a delivery to events. Formulas read `body` (the delivery), `fetched`, `received` and the lets."""

    name: str
    system: str
    types: tuple[str, ...]
    when: Expression | None
    ignore: str | None
    fetch_operation: str | None
    fetch_input: Template | None
    let: tuple[tuple[str, Expression], ...]
    emits: tuple[EmitDefinition, ...]
    assertion: Expression | None
    owners: tuple[str, ...] = ()
    source_name: str = ""
    """Mapping name that the ids of its facts contain; its own name if empty."""

    @property
    def owner(self) -> str:
        """The role that owns the Cases of its deliveries; empty if there is none."""
        return next(iter(self.owners), "")


@dataclass(frozen=True, slots=True)
class OutboundMapping:
    """Maps the canonical input to the system's input.

    Formulas read `input`, `dates`, `run`, `key` and the lets. Those of `returns` also read `result`.
    """

    name: str
    operation: str
    system: str
    let: tuple[tuple[str, Expression], ...]
    input: Record
    assertion: Expression | None
    result: Record | None
    links: Mapping[str, Expression]
    compare: tuple[str, ...]
    previews: str | None = None
    """Workflow that answers instead of a system; `input` is then the data of the event that starts it."""
