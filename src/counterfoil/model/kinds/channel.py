"""Channels: receivers of notices outside of the pages."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

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


class MailTarget(Part):
    """A mail server that takes over the mails to persons."""

    host: Annotated[
        str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$", max_length=253)
    ]
    """Name of the server."""
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    """Port of the server."""
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    """`implicit`: encrypted from the first byte, usually on port 465. `none` is for a `private` server alone."""
    sender: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+$", max_length=254)]
    """The address that mails come from."""
    user: Environment | None = None
    """The name to sign in with, by reference; absent: no sign-in."""
    password: Environment | None = None
    """The password, by reference."""
    private: bool = False
    """The server may have a private address or one of this machine."""

    @model_validator(mode="after")
    def _secrets_are_encrypted(self) -> MailTarget:
        if self.tls == "none" and not self.private:
            raise ValueError("a mail server without TLS needs `private: true`")
        if (self.user is None) != (self.password is None):
            raise ValueError("`user` and `password` belong together")
        if self.tls == "none" and self.user is not None:
            raise ValueError("a sign-in to a mail server needs TLS")
        return self


class NoticeChannel(Kind):
    """Receiver of the notices of roles, once for each cause: one of `webhook` and `mail`."""

    kind: Literal["channel"] = "channel"
    webhook: WebhookTarget | None = None
    """Receives each notice as a signed message."""
    mail: MailTarget | None = None
    """Mails each notice to the persons who receive it on their page, as each of them chose."""
    roles: Annotated[list[Name], Field(min_length=1)]
    """Roles whose notices are delivered. The first owns the Case of a notice that could not be delivered."""
    notices: Annotated[list[Literal["case", "deadline", "approval"]], Field(min_length=1)] | None = None
    """Kinds of notices; absent: all three."""
    entities: Annotated[list[Name], Field(min_length=1)] | None = None
    """Legal entities whose notices are delivered; absent: all, and those of the company as a whole."""

    @model_validator(mode="after")
    def _one_target(self) -> NoticeChannel:
        if (self.webhook is None) == (self.mail is None):
            raise ValueError("a channel needs exactly one of `webhook` and `mail`")
        return self
