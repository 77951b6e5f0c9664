"""Kinds of governance document as strict types; their JSON Schema is exported for editors.

A kind defines the form of a document. `model/checks` checks the meaning over the whole Model, and `model/compile`
builds the definitions. Some classes have the name of their compiled form in `model/definition`: `kinds.Call` is the
document's form, `definition.Call` the compiled one. A value that starts with `=` is a formula; a `Formula` field is
always one.
"""

# ruff: noqa: F401 - the package's names, for `kinds.Call` and the like
# mypy: implicit-reexport

from counterfoil.model.kinds.base import Duration, Formula, Kind, Name, Part, Secret, Template, Zone, seconds
from counterfoil.model.kinds.channel import MailTarget, NoticeChannel, WebhookTarget
from counterfoil.model.kinds.contracts import (
    Caps,
    Deprecated,
    Event,
    Feed,
    FieldMap,
    Fields,
    FieldSpec,
    FieldType,
    Metered,
    MeterList,
    Object,
    Operation,
    System,
    UndoCall,
)
from counterfoil.model.kinds.control import (
    AccountBalance,
    AccountDocuments,
    Alert,
    AssertRule,
    Control,
    ControlAccount,
    DocumentRule,
    Enforced,
    Evidence,
    FoilRule,
    LegForm,
    ObserveRule,
    Pattern,
    Reconciliation,
    Role,
    Unmatched,
)
from counterfoil.model.kinds.expected import (
    Expected,
    ExpectedApproval,
    ExpectedCase,
    ExpectedEffect,
    ExpectedEvent,
    ExpectedFoil,
    ExpectedItem,
    ExpectedRun,
    ExpectedTotal,
)
from counterfoil.model.kinds.legal_entity import LegalEntity
from counterfoil.model.kinds.mapping import (
    Calendar,
    Cast,
    EmitMapping,
    Fetch,
    Mapping,
    MappingFrom,
    MappingTo,
    OutsideChange,
    Returns,
    StateMap,
    Table,
)
from counterfoil.model.kinds.overlay import Overlay, OverlayChange, Place
from counterfoil.model.kinds.policy import (
    Approval,
    Change,
    ChangeClass,
    ChangeRule,
    Degradation,
    Failure,
    Limit,
    LimitCurrency,
    Policy,
    PostingDate,
    Rate,
    Retention,
    Tier,
)
from counterfoil.model.kinds.test import (
    GIVEN_STEPS,
    GivenAnswer,
    GivenApproval,
    GivenCall,
    GivenEvent,
    GivenLeave,
    GivenObject,
    GivenOutage,
    GivenReceipt,
    GivenRejection,
    GivenResolution,
    GivenStep,
    GivenTime,
    Test,
)
from counterfoil.model.kinds.workflow import (
    Again,
    AgainVerb,
    Approve,
    Block,
    Branch,
    Call,
    Check,
    CheckReservation,
    Choose,
    Dates,
    Each,
    Emit,
    Entry,
    Fact,
    GenerationEvent,
    Queue,
    QueueVerb,
    Reaction,
    Retry,
    RetryVerb,
    Serial,
    Signal,
    Start,
    StartDue,
    Step,
    StepBase,
    StopVerb,
    Verb,
    Wait,
    WaitSpec,
    Word,
    Workflow,
)

_KINDS: tuple[type[Kind], ...] = (
    System, Object, Event, Operation, Mapping, Workflow, Policy, Pattern, Table, Calendar, StateMap,
    Reconciliation, Alert, Role, Control, Test, Overlay, LegalEntity, NoticeChannel,
)  # fmt: skip
KINDS: dict[str, type[Kind]] = {kind.model_fields["kind"].default: kind for kind in _KINDS}
"""Each kind by its word in a file."""
