"""Reconciliations, roles, alerts, controls, patterns, and test cases of a folder."""

# ruff: noqa: RUF012 - pydantic copies the default of each field

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from pydantic import Field, StringConstraints, model_validator

from counterfoil.model.kinds.base import Days, Duration, Formula, Kind, Name, Part, Template
from counterfoil.model.kinds.lets import expand, written_out

Path: TypeAlias = tuple[str | int, ...]
Rule = TypeVar("Rule", bound="DocumentRule")


class FoilRule(Part):
    """The asserting side. With `event` a foil opens with the fact. With `operation` it is provisional with the intent and
    opens when the effect is confirmed; formulas may read `input`, `result` and the Run's `event`."""

    event: Name | None = None
    """The event that asserts the document; instead of `operation`."""
    operation: Name | None = None
    """The operation that asserts the document; instead of `event`."""
    when: Formula | None = None
    """The entry applies if this is true; absent: always."""
    key: Formula
    """The match, and the id of the document."""
    legs: dict[Name, Formula]
    """Leg name to a Money formula."""
    due: Duration = "+2d"
    """Time until the other side must show it."""


class ObserveRule(Part):
    """The observing side in its short form."""

    event: Name
    """The event that shows the document."""
    when: Formula | None = None
    """The entry applies if this is true; absent: always."""
    key: Formula
    """The match, and the id of the document."""
    legs: dict[Name, Formula]
    """Leg name to formula."""


class LegForm(Part):
    """Agreement that a leg of both sides needs."""

    kind: Literal["sum", "equal", "at_least"] = "sum"
    """`sum`: money or whole numbers. `equal`: a tax code, period or hash. `at_least`: a version, as a whole number."""
    total: bool = False
    """The leg by which documents are paired. Needed where there are several sums."""
    tolerance: int = Field(default=0, ge=0)
    """Difference that is absorbed: minor units for money."""
    absorbs: Literal["any", "short"] = "any"
    """`short`: the tolerance absorbs only that less is shown than asserted, as a fee that a bank deducted. What is shown beyond
    is `over`."""
    absorbed_by: Name | None = None
    """The role that bears what the tolerance of this leg absorbs. Default: the owner of the reconciliation."""
    per: str | None = None
    """Of a sum: the value is a list, and this field names its parts, as `code` does for taxes. Both sides agree if they have
    the same amounts for each part, under each name of a money field."""

    @model_validator(mode="after")
    def _parts_are_sums(self) -> LegForm:
        if self.per is not None and (self.kind != "sum" or self.total):
            raise ValueError("a leg with `per` is a sum, and not the total: its parts add up to nothing")
        return self

    @model_validator(mode="after")
    def _absorbs_something(self) -> LegForm:
        if self.absorbs == "short" and (self.kind != "sum" or not self.tolerance):
            raise ValueError("`absorbs: short` limits the tolerance of a sum; write its `tolerance`")
        return self


class DocumentRule(Part):
    """Formulas by which an event shows one document of a system, in its newest version."""

    event: Name | None = None
    """The event that shows the document."""
    each: Formula | None = None
    """A list: the event shows one document for each of its entries, which the other formulas call `item`. What a newer event
    of the object no longer lists is withdrawn."""
    document: Formula | None = None
    """Id of the document in its own system. Default on the left: the key; on the right: the event's object."""
    key: Formula | None = None
    """The match. Default: the key of the reconciliation."""
    when: Formula | None = None
    """False: the event is about something else; a document that it has shown before is withdrawn."""
    legs: dict[Name, Formula] = {}
    """Leg name to formula; a version without legs keeps those of the former one. A document lacks a leg whose formula is
    null, if `legs` of the reconciliation names the leg and it is not the total."""
    stands: Formula | None = None
    """False: the ledger holds no entry of it (draft, deleted, never posted). Default: true."""
    reverses: Formula | None = None
    """Id of the document of the same system that this one reverses, and to whose match it belongs; empty for none."""
    names: Formula | None = None
    """Id, or list of ids, of documents of the other system that it names."""
    entity: Formula | None = None
    """Its legal entity. It is compared, and is no part of the match."""
    effective: Formula | None = None
    """Document date. Default: the day on which the event took effect, in the zone of its legal entity."""
    number: Formula | None = None
    """Number of the document in a series without gaps. A checkpoint finds what is missing or double, also among documents
    for which `when` is false."""

    @property
    def formulas(self) -> dict[str, Formula]:
        """Formulas by field; legs as `legs.NAME`."""
        fields = (
            "each",
            "document",
            "key",
            "when",
            "stands",
            "reverses",
            "names",
            "entity",
            "effective",
            "number",
        )
        texts = {field: getattr(self, field) for field in fields if getattr(self, field) is not None}
        return texts | {f"legs.{name}": text for name, text in self.legs.items()}


class WithinRule(Part):
    """A match whose asserted total caps this document: its total, with all others of the match, is at most that."""

    reconciliation: Name
    """The reconciliation of the match."""
    key: Formula
    """The match whose total caps this document."""
    negate: bool = False
    """The document's total has the other sign than the total that caps it."""


class AssertRule(DocumentRule):
    """A document of the left system: what the right one owes us. With `operation` it is provisional with the intent
    and owed when the effect is confirmed; formulas may then read `input`, `event` and `run`."""

    operation: Name | None = None
    """The operation whose effect asserts the document; instead of `event`."""
    due: Duration = "+2d"
    """Time until the other side must show it."""
    within: list[WithinRule] = []
    """Matches whose totals this document uses up."""

    @property
    def formulas(self) -> dict[str, Formula]:
        """Formulas by field; legs as `legs.NAME`, keys of caps as `within.NUMBER.key`."""
        return super().formulas | {f"within.{n}.key": cap.key for n, cap in enumerate(self.within)}


class Unmatched(Part):
    """Treatment of documents of the right system that nothing asserts."""

    grace: Duration = "+1d"
    """After this time a Case opens."""
    owner: Name | None = None
    """The role of the Case. Default: an owner of the reconciliation."""


class AccountDocuments(Part):
    """Documents of a reconciliation that move an account by another leg than their total."""

    leg: Name
    """The leg that moves the account."""
    sign: Literal["add", "subtract"] = "add"
    """Its sign in the account."""


class AccountBalance(Part):
    """A balance that a system has at the cut-off."""

    read: Name
    """The exposed operation that reads the balance. Its output has `balances`: a list of money, one for each currency."""
    with_: dict[str, Template] = Field(default={}, alias="with")
    """Its canonical input. Formulas read `at`, the cut-off, and `entity`."""


class ControlAccount(AccountBalance):
    """An account of one of both systems whose balance is what its documents of reconciliations add up to, or the balance that
    the other system has.

    A checkpoint reads the balance at its cut-off, and names what the account has beyond the other figure.
    """

    documents: dict[Name, Literal["add", "subtract"] | AccountDocuments] = {}
    """Reconciliations whose documents of this system the account has, and the sign of their totals in it, or of another leg."""
    against: AccountBalance | None = None
    """The balance of the other system that this one must equal, in place of `documents`."""

    @property
    def balances(self) -> list[tuple[Path, AccountBalance]]:
        """The balances that are read, with their places below the account."""
        return [((), self), *([] if self.against is None else [(("against",), self.against)])]


class Remember(Part):
    """Memory of pairs that persons made. Nothing is added to it but by a planned change."""

    table: Name
    """A table with one key column, the key of the right side, whose value is the key of the left side."""


class Reconciliation(Kind):
    """Documents that two systems must both show: the left one asserts them, the right one shows them.

    `assert` and `observe` list the events of both sides. `foil` and a single `observe` are the short form for one event
    each, whose document is the key.
    """

    kind: Literal["reconciliation"] = "reconciliation"
    object: Name
    """The object that both sides are about."""
    left: Name
    """The system that asserts the documents."""
    right: Name
    """The system that must show them."""
    key: Formula | None = None
    """The match of both sides, where an entry has none of its own."""
    let: dict[Name, Formula] = {}
    """Named formulas, each of which may use the others, for the entries of both sides."""
    legs: dict[Name, LegForm] = {}
    """Leg name to the agreement that it needs; a leg that is not named is a sum."""
    assert_: list[AssertRule] = Field(default=[], alias="assert")
    """Events or operations by which the left system asserts documents."""
    foil: FoilRule | None = None
    """Short form of a single `assert` whose document is the key."""
    observe: ObserveRule | list[DocumentRule]
    """Events by which the right system shows documents; the short form is a single entry."""
    tolerance: int = Field(default=0, ge=0)
    """Minor units by which a leg may differ that `legs` does not name."""
    shape: Literal["1:1", "1:n", "n:1", "n:m"] = "1:1"
    """With 1:1 an observation that differs breaks the foil at once; with other shapes it fills the foil partly."""
    window: Days | None = None
    """Days between the dates of two documents up to which equal totals, parts and groups join them, such as `5d`. Documents
    that name each other and pairs that persons make are not bound by it. Default: any number of days."""
    rest: Literal["by_due", "on_account"] = "by_due"
    """What a document of the right system has beyond those that it names: `by_due` offers it to the others of the match, the
    earliest due first; `on_account` leaves it as `over`, so that a person places it."""
    unmatched: Unmatched | None = None
    """Treatment of documents of the right system that nothing asserts."""
    waive: Name | None = None
    """Approval policy for waivers, by amount. Without it, the owner of the Case decides."""
    pair: Name | None = None
    """Approval policy for pairs that persons make or dissolve, by amount."""
    remember: Remember | None = None
    """The table that keys of `observe` read, for keys that persons paired. `counterfoil pairings --write` drafts its rows."""
    cap: dict[str, int] = {}
    """Most that may be waived and absorbed, by currency, in minor units per entity and month."""
    control_accounts: dict[Name, ControlAccount] = {}
    """Accounts by name, such as `receivables`, that a checkpoint compares with the documents."""

    @cached_property
    def assertions(self) -> list[tuple[Path, AssertRule]]:
        """Entries of the left side with their places in the file, with each `let` written out."""
        lets = written_out(self.let)
        if self.foil is None:
            return [(("assert", n), _with_lets(rule, lets)) for n, rule in enumerate(self.assert_)]
        return [(("foil",), _with_lets(AssertRule(**self.foil.model_dump()), lets))]

    @cached_property
    def observations(self) -> list[tuple[Path, DocumentRule]]:
        """Entries of the right side with their places in the file, with each `let` written out."""
        lets = written_out(self.let)
        if isinstance(self.observe, list):
            return [(("observe", n), _with_lets(rule, lets)) for n, rule in enumerate(self.observe)]
        return [(("observe",), _with_lets(DocumentRule(**self.observe.model_dump()), lets))]

    @property
    def entries(self) -> list[tuple[Path, DocumentRule]]:
        return [*self.assertions, *self.observations]


def _with_lets(rule: Rule, lets: Mapping[str, str]) -> Rule:
    """Return an entry whose formulas have each `let` written out."""
    if not lets:
        return rule
    update: dict[str, Any] = {
        name: expand(text, lets) for name, text in rule.formulas.items() if "." not in name
    }
    update["legs"] = {name: expand(text, lets) for name, text in rule.legs.items()}
    if isinstance(rule, AssertRule):
        update["within"] = [cap.model_copy(update={"key": expand(cap.key, lets)}) for cap in rule.within]
    return rule.model_copy(update=update)


class Role(Kind):
    """A group of people and programs, and what they may do."""

    kind: Literal["role"] = "role"
    may: list[Annotated[str, StringConstraints(pattern=r"^[a-z]+:[a-z][a-z0-9_]*:[a-z]+$")]] = []
    """Permissions, `area:thing:action`. `pii:OBJECT:read` lets its persons read the personal data of an object."""
    calls: list[Name] = []
    """Exposed operations that its persons and programs may call."""
    speaks: list[Name] = []
    """Systems for which they may assert the input of an operation."""
    entities: Annotated[list[Name], Field(min_length=1)] | None = None
    """Legal entities whose records its persons and programs see and decide about; absent: every entity."""


class Alert(Kind):
    """A condition and its recipients. Not executed by this version."""

    kind: Literal["alert"] = "alert"
    when: Formula
    """The condition."""
    to: list[Name]
    """Roles that are informed."""


class Evidence(Part):
    """Query for the records that show a control at work."""

    of: Literal["runs", "effects", "approvals", "foils", "cases", "events"]
    """The records that are searched."""
    where: Formula
    """True for such a record; the formula reads it by its singular name: `approval.policy == 'credit'`."""


class Enforced(Part):
    """One document, step or rule that enforces a control."""

    workflow: Name | None = None
    """The workflow that enforces it."""
    step: str | None = None
    """Id of a step of the workflow, or its place such as `check0` or `memo/refused/0`."""
    policy: Name | None = None
    """The policy that enforces it."""
    reconciliation: Name | None = None
    """The reconciliation that enforces it."""
    operation: Name | None = None
    """The operation that enforces it."""
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
    """A control for auditors: the risk, the documents that enforce it, and the evidence."""

    kind: Literal["control"] = "control"
    risk: Sentence
    """The risk that the control covers."""
    assertion: Sentence
    """The statement that must be true to avoid the risk."""
    enforced_by: list[Enforced] = []
    """Documents, steps and rules that enforce the control."""
    evidence: Evidence
    """Query for the records that show the control at work."""
    frequency: Literal["continuous", "daily", "weekly", "monthly", "each_close", "quarterly", "yearly"]
    """Interval at which the owner reviews the evidence."""


ParameterType = Literal["any", "text", "int", "decimal", "bool", "list", "map", "duration", "formula"]


class Parameter(Part):
    """A parameter of a pattern. The short form is its description only."""

    doc: str = ""
    """Its purpose."""
    type: ParameterType = "any"
    """The type of its values."""
    enum: list[Any] | None = None
    """The allowed values."""
    default: Any = None
    """The default value; without one the parameter is required."""


class Pattern(Kind):
    """A document (`body`) or steps of a workflow (`steps`), with `${parameter}` for the value of a parameter."""

    kind: Literal["pattern"] = "pattern"
    parameters: dict[
        Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)], str | Parameter
    ] = {}
    """Parameters by name: a description, or the parameter in full."""
    body: dict[str, Any] | None = None
    """The document that the pattern produces."""
    steps: list[Any] | None = None
    """The steps that the pattern produces."""

    @model_validator(mode="after")
    def _one_form(self) -> Pattern:
        if (self.body is None) == (self.steps is None):
            raise ValueError("a pattern needs either a document (`body`) or steps (`steps`)")
        return self
