"""The settings of an `http` system, as a governance file writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from counterfoil.connectors.sdk import Repeat
from counterfoil.core.errors import ErrorClass

Pointer = Annotated[str, Field(pattern=r"^(/.*)?$")]
"""RFC 6901: "" is the whole document, "/data/0/id" a place in it."""

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Status = Annotated[int, Field(ge=100, le=599)]

# What an API refuses before it does anything. 409 is missing on purpose: where keys are remembered it may mean
# that the first request with the key is still running.
PROOFS = (400, 401, 403, 404, 405, 406, 410, 412, 413, 415, 422, 429)

# What `Http.of` reads beside these.
NETWORK = frozenset(
    (
        "allowed_hosts",
        "private_hosts",
        "loopback",
        "ca_file",
        "connect_timeout",
        "read_timeout",
        "max_response",
        "max_connections",
    )
)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class ErrorRule(_Part):
    """An answer that proves that nothing was done, and why: its status and, where given, the text at `pointer`
    (of the whole body without one) containing `contains`, in any case."""

    status: Status
    pointer: Pointer | None = None
    contains: str | None = None
    error_class: ErrorClass = Field(alias="class")


class CallSettings(_Part):
    """One operation of the document. In `parameters` and `body`, "$key" is the request's key, "$input.a.b" a place
    in its input, "$input.a.b?" the same but left out when it is not there; "$$" begins a plain "$"."""

    operation_id: str = Field(alias="operationId")
    parameters: Mapping[str, Any] = {}
    body: Any = None


class FindSettings(CallSettings):
    """The look-up of a write. `items` points to a list in the answer; an item counts when every `match` pointer in
    it has the rendered value, and when none does there is none. The parameter `cursor` turns pages: with what
    `next` points to in the answer, until that is empty, or with what `next_item` points to in the last item, until
    there are no items. With `one` there is one object at `items`, and a 404 says that there is none."""

    items: Pointer = ""
    one: bool = False
    match: Mapping[Pointer, Any] = {}
    result: Mapping[str, Pointer] | None = None
    cursor: str | None = None
    next: Pointer | None = None
    next_item: Pointer | None = None


class OperationSettings(CallSettings):
    """A canonical operation. Without `body` the input itself is sent where the document wants a body."""

    repeat: Repeat
    horizon: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    retention: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    timeout: Seconds = 30.0
    key_header: str | None = None
    key_field: str | None = Field(None, description="dotted path in the body at which the key is put")
    result: Mapping[str, Pointer] = {}
    job: Pointer | None = Field(None, description="where a 202 names the job that took it")
    find: FindSettings | None = None
    errors: tuple[ErrorRule, ...] = ()
    proofs: tuple[Status, ...] = PROOFS


class FeedSettings(CallSettings):
    """A list to poll, oldest first. The cursor is what `next` points to in the answer, or what `next_item` points
    to in the last item, and goes into the parameter `cursor`. `type` is a pointer or a plain name."""

    cursor: str
    next: Pointer | None = None
    next_item: Pointer | None = None
    limit: str | None = Field(None, description="the parameter for the size of a page")
    items: Pointer = ""
    id: Pointer
    version: Pointer
    type: str
    occurred_at: Pointer | None = None


class AuthSettings(_Part):
    """How calls prove who they are: `bearer` takes the secret `token`, `basic` `username` and `password`, `header`
    puts the secret `api_key`, after `prefix`, into `header`."""

    scheme: Literal["bearer", "basic", "header", "none"]
    header: str = "Authorization"
    prefix: str = ""

    def needs(self) -> tuple[str, ...]:
        """Names of the secrets."""
        needed = {"bearer": ("token",), "basic": ("username", "password"), "header": ("api_key",), "none": ()}
        return needed[self.scheme]


class WebhookSettings(_Part):
    """How deliveries are verified (with the secret `hook_secret`) and identified, by pointers into the body;
    `id` and `type` may be "header:name" instead where the signature covers it."""

    scheme: str
    id: str
    type: str
    identity: tuple[Pointer, ...]
    occurred_at: Pointer | None = None
    tolerance: int = 300


class HttpSettings(_Part):
    """Everything. `openapi` is a path to a JSON or YAML file, or the document itself."""

    openapi: Any
    auth: AuthSettings
    operations: Mapping[str, OperationSettings] = {}
    feeds: Mapping[str, FeedSettings] = {}
    webhook: WebhookSettings | None = None
    check: CallSettings | None = None


def read(settings: Mapping[str, Any]) -> tuple[HttpSettings | None, list[str]]:
    """The settings, or everything that is wrong with their form."""
    own = {name: value for name, value in settings.items() if name not in NETWORK}
    try:
        return HttpSettings.model_validate(own), []
    except ValidationError as error:
        wrong = [(".".join(map(str, found["loc"])), found["msg"]) for found in error.errors()]
        return None, [f"{where or 'settings'}: {message}" for where, message in wrong]
