"""Workflows, mappings and foil rules as compiled, immutable definitions: what the rules read.

Built from kinds by `compile_workflow` and its like; holds expressions ready to run and no file positions.
A definition is data, pinned by the digest of its closure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from counterfoil.expr import Expression

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
    """`each / as / data (/ when)`: one `data` for every element of `each`."""

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
    """`retry, queue, continue, park, undo, stop, again`; the other fields belong to one verb each."""

    name: str
    state: str | None = None  # stop
    target: str | None = None  # again: a step id or "start"
    at_most: int = 0  # again
    retry: RetryPolicy | None = None
    queue: QueuePolicy | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """Steps in order, and the verb that may end them."""

    steps: tuple[Step, ...]
    verb: Verb | None = None


Reaction: TypeAlias = Verb | Block

# ------------------------------------------------------------------ steps


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBase:
    path: str
    """Place in the workflow, unique and stable: the ids or positions from the root, joined by `/`.
    A nested block adds its role: `billed/timeout/0`, `choose1/then0/0`, `each2/do/0`, `signal0/0`."""
    id: str | None = None
    when: Expression | None = None
    becomes: str | None = None
    outcomes: Mapping[str, Reaction] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(StepBase):
    check: Expression
    once: Expression | None = None


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
    """A moment: `after` seconds from when the wait begins, or a formula giving a timestamp or date."""

    after: float | None = None
    at: Expression | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait(StepBase):
    event: str | None = None
    where: Expression | None = None
    keys: tuple[tuple[str, Expression], ...] = ()
    """Conjuncts `event.data.<field> == <value>` of `where` whose value does not read the event: they narrow
    the topic on which the Run waits."""
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
    """Business states in which it interrupts; empty: in every one."""
    do: Block


@dataclass(frozen=True, slots=True)
class Invariant:
    """What `prove` holds every state against: `always` true, `never` true, or true `finally`, when the run ends."""

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
    """Highest amount in minor units of the policy's currency, inclusive."""
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


@dataclass(frozen=True, slots=True)
class LimitPolicy:
    name: str
    per: tuple[Expression, ...]
    """Evaluated over the Run's names plus `month` and `quarter` of the start event's time, as texts."""
    currency: str
    at_most: int | None
    """Minor units."""


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

    @property
    def writes(self) -> bool:
        return self.repeat != "read"


@dataclass(frozen=True, slots=True)
class FoilDefinition:
    """A reconciliation compiled. Formulas of an operation's foil read `input`, `result`, `event`, `run`;
    those of an event's foil and of the observation read `event`."""

    name: str
    object: str
    left: str
    right: str
    event: str | None
    operation: str | None
    when: Expression | None
    key: Expression
    legs: Mapping[str, Expression]
    due: float
    observe_event: str
    observe_when: Expression | None
    observe_key: Expression
    observe_legs: Mapping[str, Expression]
    tolerance: int
    exact: bool
    """Shape 1:1."""
    owners: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Definition:
    """A workflow with the closure that a Run of it is pinned to."""

    name: str
    digest: str
    """Of the canonical form of the workflow and all that it reaches: policies' structure, operations,
    mappings, schemas, foil rules."""
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
    """The reconciliations that an operation of this workflow writes."""
    owners: tuple[str, ...]
    exception_owners: tuple[str, ...]
    lane: str
    """`close` or `live`: whose calls go first where slots are short."""
    casts: Mapping[tuple[str, str], tuple[CastDefinition, ...]] = field(default_factory=dict)
    """How other versions of the events that it waits for become the one that it waits for."""
    returns: Record = Record({})
    """Of a workflow that an operation starts: the operation's output, over the names of a Run that ended."""
    invariants: tuple[Invariant, ...] = ()


# ------------------------------------------------------------------ mappings


@dataclass(frozen=True, slots=True)
class CastDefinition:
    """One version of an event or operation to another. Formulas read `data` of an event, `input` of an operation,
    and the lets; those of the answer, which goes back, read `result` and the `input` that was cast."""

    name: str
    source: str
    target: str
    root: str
    """`data` or `input`."""
    let: tuple[tuple[str, Expression], ...]
    fields: Record
    result: Record | None
    schema: Mapping[str, object]
    """What the cast gives keeps this contract."""


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
    """Source payload to Events. Formulas read `body` (the delivery), `fetched`, `received` and the lets."""

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
    tells_as: str = ""
    """The name that ids of its facts bear; its own when empty."""


@dataclass(frozen=True, slots=True)
class OutboundMapping:
    """Canonical input to the system's own. Formulas read `input`, `dates`, `run`, `key` and the lets;
    those of `returns` read also `result`."""

    name: str
    operation: str
    system: str
    let: tuple[tuple[str, Expression], ...]
    input: Record
    assertion: Expression | None
    result: Record | None
    links: Mapping[str, Expression]
    compare: tuple[str, ...]
