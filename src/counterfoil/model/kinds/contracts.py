"""Systems, and the contracts between them: objects, events, operations."""

# ruff: noqa: RUF012 - pydantic copies the default of each field

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, TypeAlias, Union

from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag

from counterfoil.model.kinds.base import Duration, Formula, Kind, Name, Part, Secret, Template


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


def _real(text: str) -> str:
    date.fromisoformat(text)
    return text


Day = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}$"), AfterValidator(_real)]
"""A day of the calendar: `2027-03-31`. It begins at midnight UTC."""


class Deprecated(Part):
    """A version that is on its way out. Nothing is refused after the sunset: whoever still uses it is named in a Case."""

    since: Day
    sunset: Day | None = None
    """The first day on which nobody should use it any more."""
    use: Name | None = None
    """What takes its place."""
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
"""In full, or the reason alone: then no date is known and nothing follows from it but a warning."""


class Metered(Part):
    """What makes an event usage: it is counted by the batch, and no Run sees it."""

    subscription: str
    meter: str
    """Data fields: whose usage it is and of what; the meter's field lists the meters in its `enum`."""
    past: Duration = "35d"
    """How long ago it may have happened."""


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
    usage: Metered | None = None
    """Taken at POST /v1/usage alone."""
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
    """Why nothing takes it back."""
    exposes: Literal["none", "read"] | dict[Literal["starts"], Name] = "none"
    object: Name | None = None
    """The object that an exposed input speaks of: a field that the object has asserts that field of it."""
    rate: Name | None = None
    """The policy that says how many calls a consumer may make."""
    executor: Literal["connector", "identity", "external"] = "connector"
    """`connector`: a mapping renders the vendor's input. `identity`: the connector takes the canonical input as
    it is. `external`: another integration acts."""
    deprecated: Deprecation | None = None
