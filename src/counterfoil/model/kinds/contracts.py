"""Systems, and the contracts between them: objects, events, operations."""

# ruff: noqa: RUF012 - pydantic copies the default of each field

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, TypeAlias, Union

from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag

from counterfoil.core.minor_units import MAX_DECIMALS
from counterfoil.model.kinds.base import Duration, Formula, Kind, Name, Part, Secret, Template


class Caps(Part):
    """Limits of the calls to a system."""

    concurrency: int = Field(default=4, ge=1, le=1000)
    """Maximum concurrent calls on this account, over all workers."""


class Feed(Part):
    """A list of the system that is polled."""

    every: Duration = "30s"
    """Interval between two polls."""


class SystemSweep(Part):
    """A book of the connector that is read as a whole, to find what its events missed."""

    every: Duration = "1d"
    """Interval between the beginnings of two sweeps."""


class CurrencyUnit(Part):
    """Minor unit of a currency in this system, where it differs from that of the connector and of ISO 4217."""

    decimals: int | None = Field(default=None, ge=0, le=MAX_DECIMALS)
    """Number of decimals between major and minor units; absent: as in ISO 4217."""
    multiple_of: int = Field(default=1, ge=1, le=1_000_000)
    """The system takes only amounts that are a multiple of this number of its minor units."""


class System(Kind):
    """An external platform: its connector, its address, and how many calls it takes."""

    kind: Literal["system"] = "system"
    role: Literal[
        "product",
        "billing",
        "support",
        "erp",
        "crm",
        "identity",
        "analytics",
        "legacy",
        "bank",
        "tax",
        "monitoring",
    ]
    """The part that the system plays in the company; operations may be named by it: `erp.invoice.post`."""
    connector: Name
    """An entry point of the group `counterfoil.connectors`; `external` if another integration executes the calls."""
    account: str = ""
    """The vendor's id of our account, if the connector needs one."""
    legal_entity: Name | None = None
    """The legal entity to which the system belongs; absent: each fact tells its own."""
    stands_for: Name | None = None
    """The system whose part it plays for its legal entity: the same mappings read its deliveries, and Runs of the entity
    make their calls of that system here and look up its ids here."""
    url: Secret | Annotated[str, StringConstraints(pattern=r"^(https?|postgresql)://")] = ""
    """Base address of the system's API or of its database, or a reference to it."""
    settings: dict[str, Any] = {}
    """Settings of the connector; its documentation lists them."""
    secrets: dict[Name, Secret] = {}
    """Secrets of the connector, each by reference: `env:NAME` or `file:PATH`."""
    feeds: dict[Name, Feed] = {}
    """Feeds of the connector that are polled, by name."""
    sweeps: dict[Name, SystemSweep] = {}
    """Books of the connector that are read as a whole, by name."""
    caps: Caps = Caps()
    """Limits of the calls to this system."""
    stamps: Literal["days", "seconds", "milliseconds", "microseconds"] | None = None
    """Precision of the system's times; absent: as its connector declares."""
    currencies: dict[Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")], CurrencyUnit] = {}
    """Currencies whose minor units differ from ISO 4217. They replace those that the connector declares."""


FieldType = Annotated[
    str,
    StringConstraints(
        pattern=r"^(string|id|int|decimal|bool|money|date|timestamp|duration|any|object|list"
        r"|\[(string|id|int|decimal|bool|money|date|timestamp|any)\])$"
    ),
]


def _field_form(value: Any) -> str:
    """Return the form of a field: its type's name, a list around its items, or in full."""
    return "type" if isinstance(value, str) else "list" if isinstance(value, list) else "spec"


_Item: TypeAlias = Annotated[
    Union[  # noqa: UP007 - `|` does not accept a forward reference
        Annotated[FieldType, Tag("type")], Annotated["FieldSpec", Tag("spec")]
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
    """The type of the field; with `enum` alone it is a string, with `items` a list."""
    system: Name | None = None
    """The system of record of this field if it differs from the object's."""
    enum: list[str] | None = None
    """The allowed values."""
    final: list[str] | None = None
    """Values of an object's field that a record never leaves within one moment: `paid`, `void`, `deleted`."""
    fields: dict[str, Fields] | None = None
    """The fields of an object, or of the items of a list."""
    items: Fields | None = None
    """The type of a list's items."""
    pii: bool = False
    """The field is personal data."""
    negative: bool | None = None
    """Money in the input of an operation may be negative. Absent: a negative amount is refused."""
    doc: str = ""
    """Text for readers; it becomes the description in the JSON Schema."""


FieldSpec.model_rebuild()
FieldMap = dict[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*\??$")], Fields]
"""Field name to type; a trailing `?` makes the field optional."""


Extends = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*@[1-9][0-9]*$")]
"""A document of the canonical library, by name and version: `customer@1`."""


class Object(Kind):
    """A business object, its fields, and the system of record of each field."""

    kind: Literal["object"] = "object"
    extends: Extends | None = None
    """The canonical object, `NAME@VERSION`, whose fields it has too."""
    system: Name
    """The system of record of the object: it alone creates canonical ids, and asserts every field without a `system`."""
    fields: FieldMap
    """Field name to type; a trailing `?` makes the field optional."""
    sync: Name | None = None
    """The workflow that copies the object to a system without a Link to it."""


def _real(text: str) -> str:
    date.fromisoformat(text)
    return text


Day = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}$"), AfterValidator(_real)]
"""A calendar day: `2027-03-31`. It begins at midnight UTC."""


class Deprecated(Part):
    """Deprecation of a version. Nothing is refused after the sunset: a Case names every consumer that still uses it."""

    since: Day
    """The day from which the version is deprecated."""
    sunset: Day | None = None
    """The first day on which no consumer should use it."""
    use: Name | None = None
    """The successor."""
    why: str = ""
    """The reason, for readers; it changes nothing."""

    @property
    def since_at(self) -> datetime:
        return _midnight(self.since)

    @property
    def sunset_at(self) -> datetime | None:
        return _midnight(self.sunset) if self.sunset is not None else None


def _midnight(day: str) -> datetime:
    return datetime.combine(date.fromisoformat(day), datetime.min.time(), tzinfo=UTC)


def _deprecation_form(value: Any) -> str:
    return "text" if isinstance(value, str) else "dated"


Deprecation: TypeAlias = Annotated[
    Annotated[str, Tag("text")] | Annotated[Deprecated, Tag("dated")], Discriminator(_deprecation_form)
]
"""In full, or the reason only: without dates it causes only a warning."""


class MeterList(Part):
    """The declared meters: the keys of a table, or the heads of an object."""

    table: Name | None = None
    """The table whose first key column lists the meters."""
    object: Name | None = None
    """The object whose heads are the meters."""


class Metered(Part):
    """Marks an event as usage: usage is counted in batches, and no Run receives it."""

    subscription: str
    """Data field of the subscription."""
    meter: str
    """Data field of the meter; its `enum` lists the meters unless `meters` does."""
    past: Duration = "35d"
    """Maximum age of a usage event."""
    meters: MeterList | None = None
    """Where the meters are listed, instead of the `enum`."""
    quantity: str | None = None
    """Data field of the quantity, which is not negative; default `quantity` if it is a number."""
    corrects: str | None = None
    """Data field with the id of the event that this one corrects. A correction may have a negative quantity."""
    object: Name | None = None
    """The object of the subscriptions. Usage of a subscription without a head is refused."""
    active: dict[str, list[str]] = {}
    """Fields of the object and their values with which it is entitled, at the time of usage."""
    starts: str | None = None
    """Date or timestamp field of the object: usage before it is refused."""
    ends: str | None = None
    """Date or timestamp field of the object: usage from it on is refused."""


class Event(Kind):
    """A fact that happened: `noun.past_verb.vN`."""

    kind: Literal["event"] = "event"
    extends: Extends | None = None
    """The canonical event, `NAME@VERSION`, whose data it has too."""
    object: Name | None = None
    """The object whose head this fact updates."""
    key: str | None = None
    """The data field with the object's canonical id; default `<object>_id`."""
    sets: list[str] | None = None
    """The object's fields that the fact asserts; default: every data field that the object has."""
    data: FieldMap
    """Field name to type of the event's data; a trailing `?` makes the field optional."""
    produced: Literal["mapping", "workflow", "counterfoil", "http"] = "mapping"
    """The producer: a mapping, a workflow's `emit`, Counterfoil itself, or a sender over HTTP."""
    usage: Metered | None = None
    """Accepted only at POST /v1/usage."""
    deprecated: Deprecation | None = None
    """Deprecation of this version: the reason, or the days and the successor."""


class UndoCall(Part):
    """One way to take a call back."""

    when: Formula | None = None
    """The way is taken if this is true of the present observations; absent: always."""
    call: Name
    """The operation that takes it back."""
    with_: dict[str, Template] = Field(default={}, alias="with")
    """Its input; absent: fields of the same name from the result of the call, then from its input."""


class Operation(Kind):
    """An action of a system, `system.noun.verb`, with its protection against being executed twice."""

    kind: Literal["operation"] = "operation"
    extends: Extends | None = None
    """The canonical operation, `NAME@VERSION`, whose input and output it has too."""
    system: Name
    """The system that executes it."""
    input: FieldMap = {}
    """Field name to type of the canonical input."""
    output: FieldMap = {}
    """Field name to type of the canonical result."""
    repeat: Literal["key", "unique", "find", "state", "blind", "read"]
    """Protection against the same request sent twice. `key`: the system recognises our idempotency key. `unique`: it
    refuses a second object with our id. `find`: a look-up finds our key. `state`: a look-up shows the state that the call
    sets. `blind`: nothing shows the outcome. `read`: nothing is written."""
    horizon: Duration = "60s"
    """Longest time after sending in which the request may still take effect."""
    retention: Duration | None = None
    """Time for which the system remembers an idempotency key; needed with `repeat: key`."""
    timeout: Duration = "30s"
    """Time for one call, including its answer."""
    undo: list[UndoCall] | None = None
    """Calls that take it back; the first whose `when` is true is made."""
    irreversible: str | None = None
    """The reason why no undo exists."""
    negative: bool | None = None
    """Every amount of the input may be negative. False: none may, unless its field says so. Absent: as false, and
    `check` asks for it."""
    exposes: Literal["none", "read"] | dict[Literal["starts"], Name] = "none"
    """What consumers may do with it: nothing, read it, or start a workflow."""
    object: Name | None = None
    """The object of an exposed input: an input field that the object also has asserts that field."""
    rate: Name | None = None
    """The policy that limits the calls of a consumer."""
    executor: Literal["connector", "identity", "external"] = "connector"
    """`connector`: a mapping renders the vendor's input. `identity`: the connector takes the canonical input
    unchanged. `external`: another integration executes the operation."""
    deprecated: Deprecation | None = None
    """Deprecation of this version: the reason, or the days and the successor."""
