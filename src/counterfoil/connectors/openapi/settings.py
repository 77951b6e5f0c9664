"""Settings of an `http` system, as in a governance file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from counterfoil.connectors.declared_hmac import Digest, Encoding, HmacForm, KeyEncoding, TimeUnit
from counterfoil.connectors.sdk import Repeat, SettingProblem, SystemConfig
from counterfoil.connectors.settings import PATH, Flag, Places, Seconds, read_settings
from counterfoil.core.errors import ErrorClass

Pointer = Annotated[str, Field(pattern=r"^(/.*)?$")]
"""RFC 6901: "" is the whole document, "/data/0/id" a place in it."""

Status = Annotated[int, Field(ge=100, le=599)]

# Statuses of refusals before any change. 409 is absent on purpose: with idempotency keys it may mean that the first
# request with the key is still running.
PROOFS = (400, 401, 403, 404, 405, 406, 410, 412, 413, 415, 422, 429)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class ErrorRule(_Part):
    """Answer that proves that nothing was done, with its error class.

    It has the `status` and, if set, `contains` in the text at `pointer` (without a pointer: in the body), in any case.
    """

    status: Status
    pointer: Pointer | None = None
    contains: str | None = None
    error_class: ErrorClass = Field(alias="class")


class CallSettings(_Part):
    """Call of one operation of the document.

    In `parameters` and `body`, "$key" is the key of the request and "$input.a.b" a place in its input. "$input.a.b?" is
    left out if the input lacks it. "$$" starts a plain "$".
    """

    operation_id: str = Field(alias="operationId")
    parameters: Mapping[str, Any] = {}
    body: Any = None


class FindSettings(CallSettings):
    """Look-up of a write. `items` points to a list in the answer.

    An item matches if every `match` pointer in it has the rendered value; without a match the write is absent. The
    parameter `cursor` selects the next page: by `next` in the answer until that is empty, or by `next_item` in the last
    item until a page is empty. With `one` there is a single object at `items`, and a 404 means that it is absent.

    With `repeat: state` the item shows whether the write was done: every `state` pointer in it has the rendered value.
    """

    items: Pointer = ""
    one: Flag = False
    match: Mapping[Pointer, Any] = {}
    state: Mapping[Pointer, Any] = {}
    result: Mapping[str, Pointer] | None = None
    cursor: str | None = None
    next: Pointer | None = None
    next_item: Pointer | None = None


class OperationSettings(CallSettings):
    """Canonical operation. Without `body` the input itself is sent, if the document requires a body.

    The governance document of the operation declares `repeat`, `horizon`, `retention` and `timeout`; here they are needed
    only without such a document.
    """

    repeat: Repeat | None = None
    horizon: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    retention: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    timeout: Seconds | None = None
    key_header: str | None = None
    key_field: str | None = Field(None, description="dotted path in the body at which the key is put")
    result: Mapping[str, Pointer] = {}
    job: Pointer | None = Field(None, description="where a 202 names the job that took it")
    find: FindSettings | None = None
    errors: tuple[ErrorRule, ...] = ()
    proofs: tuple[Status, ...] = PROOFS

    @property
    def look_up_result(self) -> Mapping[str, Pointer]:
        """Pointers to the result in an item of the look-up: its own `result`, else that of the call."""
        return self.result if self.find is None or self.find.result is None else self.find.result


class RecordsSettings(CallSettings):
    """List of records. `items` points to the list in the answer; the other pointers are places in an item.

    `id` and `version` identify a delivery. `type` is a pointer or a plain name.
    """

    limit: str | None = Field(None, description="the parameter for the size of a page")
    items: Pointer = ""
    id: Pointer
    version: Pointer
    type: str
    occurred_at: Pointer | None = None


class FeedSettings(RecordsSettings):
    """List to poll, oldest first.

    The cursor is at `next` in the answer, or at `next_item` in the last item. It is sent in the parameter `cursor`.
    """

    cursor: str
    next: Pointer | None = None
    next_item: Pointer | None = None


class ListingSettings(RecordsSettings):
    """Book that a sweep lists, in an order that does not change: by id or by time of creation.

    Pages are selected by `cursor`, with `next` or `next_item` as in a feed, or by the parameter `page` for their number
    (`first_page` is the number of the first one), or by the parameter `offset` for the number of rows before them. `size` is the
    number of rows that the parameter `limit` requests. Without any of them, one answer is the whole book.
    """

    cursor: str | None = None
    next: Pointer | None = None
    next_item: Pointer | None = None
    page: str | None = None
    first_page: Annotated[int, Field(ge=0)] = 1
    offset: str | None = None
    size: Annotated[int, Field(ge=1)] = 100


class AuthSettings(_Part):
    """Authentication of calls: `bearer` sends the secret `token`, `basic` sends `username` and `password`, `header` sends
    the secret `api_key` after `prefix` in `header`."""

    scheme: Literal["bearer", "basic", "header", "none"]
    header: str = "Authorization"
    prefix: str = ""

    def needs(self) -> tuple[str, ...]:
        needed = {"bearer": ("token",), "basic": ("username", "password"), "header": ("api_key",), "none": ()}
        return needed[self.scheme]


class HmacSettings(_Part):
    """Form of a signature for the scheme `hmac`.

    `signed` is a template with {body}, {timestamp} and {header:NAME}. A header with several entries is split at
    `separator`; entries without `prefix` are skipped. `timestamp` names the header of the time, in `unit`. `key` is the
    encoding of the secret.
    """

    header: str
    digest: Digest = "sha256"
    encoding: Encoding = "hex"
    prefix: str = ""
    separator: str = ""
    signed: str = "{body}"
    timestamp: str = ""
    timestamp_prefix: str = ""
    unit: TimeUnit = "seconds"
    key: KeyEncoding = "text"

    @property
    def form(self) -> HmacForm:
        return HmacForm(**self.model_dump())


class WebhookSettings(_Part):
    """Verification of deliveries (with the secret `hook_secret`, and `hook_secret_old` during a rotation) and their
    identity, by pointers into the body. The scheme `hmac` has its form in `hmac`.

    `id` and `type` may also be "header:name", if the signature covers that header.
    """

    scheme: str
    id: str
    type: str
    identity: tuple[Pointer, ...]
    occurred_at: Pointer | None = None
    tolerance: Annotated[int, Field(ge=0)] = 300
    hmac: HmacSettings | None = None


class HttpSettings(_Part):
    """All settings. `openapi` is a path to a JSON or YAML file, or the document itself."""

    openapi: Annotated[Any, PATH]
    auth: AuthSettings
    operations: Mapping[str, OperationSettings] = {}
    feeds: Mapping[str, FeedSettings] = {}
    listings: Mapping[str, ListingSettings] = {}
    webhook: WebhookSettings | None = None
    check: CallSettings | None = None


_PLACES: Places = {
    ("auth",): AuthSettings,
    ("webhook",): WebhookSettings,
    ("webhook", "hmac"): HmacSettings,
    ("check",): CallSettings,
    ("operations", "*"): OperationSettings,
    ("operations", "*", "find"): FindSettings,
    ("operations", "*", "errors", "*"): ErrorRule,
    ("feeds", "*"): FeedSettings,
    ("listings", "*"): ListingSettings,
}


def read(config: SystemConfig) -> tuple[HttpSettings | None, list[SettingProblem]]:
    """Return the settings, or None; and the problems of their form and of the address."""
    return read_settings(HttpSettings, config, _PLACES)
