"""Systems, and the contracts between them: objects, events, operations."""

# ruff: noqa: RUF012 - pydantic copies the default of each field

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, TypeAlias, Union

from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag

from counterfoil.core.minor_units import MAX_DECIMALS
from counterfoil.model.kinds.base import Duration, Formula, Kind, Name, Part, Secret, Template


class Caps(Part):
    concurrency: int = Field(default=4, ge=1, le=1000)
    """Maximum concurrent calls on this account, over all workers."""


class Feed(Part):
    every: Duration = "30s"


class CurrencyUnit(Part):
    """Minor unit of a currency in this system, where it differs from that of the connector and of ISO 4217."""

    decimals: int | None = Field(default=None, ge=0, le=MAX_DECIMALS)
    """Number of decimals between major and minor units; absent: as in ISO 4217."""
    multiple_of: int = Field(default=1, ge=1, le=1_000_000)
    """The system takes only amounts that are a multiple of this number of its minor units."""


class System(Kind):
    kind: Literal["system"] = "system"
    role: Literal[
        "product", "billing", "support", "erp", "crm", "identity", "analytics", "legacy", "bank", "tax"
    ]
    connector: Name
    """An entry point of the group `counterfoil.connectors`; `external` if another integration executes the calls."""
    account: str = ""
    url: Secret | Annotated[str, StringConstraints(pattern=r"^https?://")] = ""
    settings: dict[str, Any] = {}
    secrets: dict[Name, Secret] = {}
    feeds: dict[Name, Feed] = {}
    caps: Caps = Caps()
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
    system: Name | None = None
    """The system of record of this field if it differs from the object's."""
    enum: list[str] | None = None
    final: list[str] | None = None
    """Values of an object's field that a record never leaves within one moment: `paid`, `void`, `deleted`."""
    fields: dict[str, Fields] | None = None
    items: Fields | None = None
    pii: bool = False
    negative: bool | None = None
    """Money in the input of an operation may be negative. Absent: a negative amount is refused."""
    doc: str = ""


FieldSpec.model_rebuild()
FieldMap = dict[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*\??$")], Fields]
"""Field name to type; a trailing `?` makes the field optional."""


class Object(Kind):
    kind: Literal["object"] = "object"
    system: Name
    """The system of record of the object: it alone creates canonical ids, and asserts every field without a `system`."""
    fields: FieldMap
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
    sunset: Day | None = None
    """The first day on which no consumer should use it."""
    use: Name | None = None
    """The successor."""
    why: str = ""

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
    object: Name | None = None


class Metered(Part):
    """Marks an event as usage: usage is counted in batches, and no Run receives it."""

    subscription: str
    meter: str
    """Data fields of the subscription and of the meter; the field of the meter lists the meters in its `enum`."""
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
    ends: str | None = None
    """Date or timestamp fields of the object: usage before `starts`, or from `ends` on, is refused."""


class Event(Kind):
    kind: Literal["event"] = "event"
    object: Name | None = None
    """The object whose head this fact updates."""
    key: str | None = None
    """The data field with the object's canonical id; default `<object>_id`."""
    sets: list[str] | None = None
    """The object's fields that the fact asserts; default: every data field that the object has."""
    data: FieldMap
    produced: Literal["mapping", "workflow", "counterfoil", "http"] = "mapping"
    usage: Metered | None = None
    """Accepted only at POST /v1/usage."""
    deprecated: Deprecation | None = None


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
    """The reason why no undo exists."""
    negative: bool | None = None
    """Every amount of the input may be negative. False: none may, unless its field says so. Absent: as false, and
    `check` asks for it."""
    exposes: Literal["none", "read"] | dict[Literal["starts"], Name] = "none"
    object: Name | None = None
    """The object of an exposed input: an input field that the object also has asserts that field."""
    rate: Name | None = None
    """The policy that limits the calls of a consumer."""
    executor: Literal["connector", "identity", "external"] = "connector"
    """`connector`: a mapping renders the vendor's input. `identity`: the connector takes the canonical input
    unchanged. `external`: another integration executes the operation."""
    deprecated: Deprecation | None = None
