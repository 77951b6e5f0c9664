"""A real SMTP server for tests: it stores what it takes over, and fails as it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session


class MailSink:
    """Handler of aiosmtpd. `receiver` and `content` are answers to RCPT and DATA; empty: it takes the mail over."""

    def __init__(self) -> None:
        self.mails: list[Envelope] = []
        self.receiver = ""
        self.content = ""
        self.port = 0
        self.sign_ins: list[tuple[bytes, bytes]] = []
        self.password = b""
        self._server: asyncio.Server | None = None

    @property
    def messages(self) -> list[EmailMessage]:
        read = [message_from_bytes(mail.content or b"", policy=default) for mail in self.mails]
        return [message for message in read if isinstance(message, EmailMessage)]

    async def handle_RCPT(  # noqa: N802 - the name is aiosmtpd's
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        del server, session, options
        if self.receiver:
            return self.receiver
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        del server, session
        if self.content:
            return self.content
        self.mails.append(envelope)
        return "250 OK"

    def sign_in(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        del server, session, envelope, mechanism
        self.sign_ins.append((data.login, data.password))
        return AuthResult(success=data.password == self.password)

    async def start(self, context: ssl.SSLContext | None = None, implicit: bool = False) -> None:
        """Listen; on the former port again after a stop. With `implicit`, encrypted from the first byte."""
        loop = asyncio.get_running_loop()
        options: dict[str, Any] = {"hostname": "sink.test", "enable_SMTPUTF8": True}
        if context is not None and not implicit:
            options |= {"tls_context": context, "require_starttls": True, "auth_required": True}
            options |= {"authenticator": self.sign_in}
        self._server = await loop.create_server(
            lambda: SMTP(self, loop=loop, **options),
            "127.0.0.1",
            self.port,
            ssl=context if implicit else None,
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()


@contextlib.asynccontextmanager
async def mail_sink(context: ssl.SSLContext | None = None, implicit: bool = False) -> AsyncIterator[MailSink]:
    sink = MailSink()
    await sink.start(context, implicit)
    try:
        yield sink
    finally:
        await sink.stop()
