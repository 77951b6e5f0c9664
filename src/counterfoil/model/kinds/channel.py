"""Channels: receivers of notices outside of the pages."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from counterfoil.model.kinds.base import Kind, Name, Part

Environment = Annotated[str, StringConstraints(pattern=r"^(env:[A-Z][A-Z0-9_]*)$")]
"""Reference to an environment variable."""


class WebhookTarget(Part):
    """A receiver of webhooks that are signed by Standard Webhooks."""

    url: Environment
    """Its address, by reference: addresses of chats hold secrets."""
    secret: Environment
    """Its signing secret: `whsec_` and base64."""
    private: bool = False
    """The host may have a private address or one of this machine. Otherwise only public addresses over https are called."""


class NoticeChannel(Kind):
    """Receiver of the notices of roles, once for each cause."""

    kind: Literal["channel"] = "channel"
    webhook: WebhookTarget
    """Receives each notice as a signed message."""
    roles: Annotated[list[Name], Field(min_length=1)]
    """Roles whose notices are delivered. The first owns the Case of a notice that could not be delivered."""
    notices: Annotated[list[Literal["case", "deadline", "approval"]], Field(min_length=1)] | None = None
    """Kinds of notices; absent: all three."""
    entities: Annotated[list[Name], Field(min_length=1)] | None = None
    """Legal entities whose notices are delivered; absent: all, and those of the company as a whole."""
