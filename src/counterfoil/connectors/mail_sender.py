"""Sends one mail over SMTP (RFC 5321) as plain text.

The address check of outbound calls holds here too. No message of an error has the address of a person, a secret or the text
of the server.
"""

from __future__ import annotations

import asyncio
import re
import smtplib
import socket
import ssl
import unicodedata
from collections.abc import Iterable
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Literal

import msgspec

from counterfoil.connectors.address import Reach
from counterfoil.connectors.references import resolve
from counterfoil.core.errors import Misconfigured, TryAgain, Uncertain

MAIL_SECONDS = 15.0
"""Time-out of each answer of a mail server."""
MAX_SUBJECT_CHARS = 150
_ADDRESS = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"
)
_FINAL_CODE = 500
"""From this answer on, a repeat changes nothing (RFC 5321, 4.2.1)."""


class MailRefused(Exception):
    """The server refused the mail for good."""


class MailServer(msgspec.Struct, frozen=True, kw_only=True):
    """A server and how to reach it. `user` and `password` are references."""

    host: str
    port: int
    tls: Literal["starttls", "implicit", "none"]
    sender: str
    user: str | None = None
    password: str | None = None
    private: bool = False


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    """Its `Message-ID` has it, so a mail that came twice is one for programs that compare it."""
    to: str
    subject: str
    text: str
    at: datetime


def one_line(text: str) -> str:
    """Return a text without line breaks and other control characters: it can neither end a header nor a line."""
    plain = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text)
    return " ".join(plain.split())


async def send_mail(server: MailServer, mail: Mail) -> None:
    """Hand a mail to its server.

    Raises MailRefused for an answer that no repeat changes, TryAgain, Uncertain if it was perhaps taken over, and Misconfigured.
    """
    message = message_of_mail(server, mail)
    await asyncio.to_thread(_send, server, message, mail.to)


def message_of_mail(server: MailServer, mail: Mail) -> EmailMessage:
    """Return the message. Raises MailRefused for an address that could be more than one."""
    if not _ADDRESS.fullmatch(mail.to):
        raise MailRefused("the e-mail address of the person is not valid")
    message = EmailMessage(policy=SMTP)
    message["From"] = server.sender
    message["To"] = mail.to
    message["Subject"] = one_line(mail.subject)[:MAX_SUBJECT_CHARS]
    message["Date"] = format_datetime(mail.at)
    message["Message-ID"] = f"<{mail.id}@{server.sender.rpartition('@')[2]}>"
    # RFC 3834: no out-of-office answers to a program.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text)
    return message


def _send(server: MailServer, message: EmailMessage, to: str) -> None:
    user = None if server.user is None else resolve(server.user)
    password = "" if server.password is None else resolve(server.password)
    addresses = _addresses(server)
    phase = "connect"
    try:
        with _connected(server, addresses) as session:
            if server.tls == "starttls":
                session.starttls(context=ssl.create_default_context())
            if user is not None:
                phase = "sign in"
                session.login(user, password)
            phase = "send"
            session.send_message(message, server.sender, [to])
            phase = "end"
    except smtplib.SMTPRecipientsRefused as refused:
        raise _failure(
            "the address of the person", (code for code, _ in refused.recipients.values())
        ) from None
    except smtplib.SMTPSenderRefused as refused:
        raise _failure("the sender of the channel", [refused.smtp_code]) from None
    except smtplib.SMTPDataError as refused:
        raise _failure("the mail", [refused.smtp_code]) from None
    except (smtplib.SMTPAuthenticationError, smtplib.SMTPNotSupportedError):
        raise Misconfigured("the mail server refused the sign-in, or offers no encryption") from None
    except ssl.SSLCertVerificationError:
        raise Misconfigured("the certificate of the mail server is not trusted") from None
    except (smtplib.SMTPException, OSError):
        if phase == "end":
            return
        if phase == "send":
            raise Uncertain("the mail server did not answer") from None
        # Some servers close the connection after a wrong password.
        if phase == "sign in":
            raise Misconfigured("the mail server refused the sign-in") from None
        raise TryAgain("the mail server could not be reached") from None


def _failure(what: str, codes: Iterable[int]) -> Exception:
    code = max(codes, default=0)
    message = f"the mail server refused {what} ({code})"
    return MailRefused(message) if code >= _FINAL_CODE else TryAgain(message)


def _addresses(server: MailServer) -> list[str]:
    """Return the addresses of a server that may be called. Raises Misconfigured and TryAgain."""
    try:
        rows = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    except OSError:
        raise TryAgain("the name of the mail server has no address") from None
    addresses = list(dict.fromkeys(str(row[4][0]) for row in rows))
    reach = Reach(private=frozenset({server.host} if server.private else ()), loopback=server.private)
    try:
        reach.check_addresses(server.host, addresses, encrypted=server.tls != "none")
    except Misconfigured:
        raise Misconfigured("the address of the mail server must not be called") from None
    return addresses


def _connected(server: MailServer, addresses: list[str]) -> smtplib.SMTP:
    """Return a session with the first checked address that answers; certificates are checked against the name."""
    class_ = _EncryptedSession if server.tls == "implicit" else _Session
    for address in addresses[:-1]:
        try:
            return class_(server, address)
        except ConnectionError:
            continue
    return class_(server, addresses[-1])


class _Session(smtplib.SMTP):
    """Session with an address that was checked before, so that a second look-up of the name cannot lead elsewhere."""

    def __init__(self, server: MailServer, address: str) -> None:
        self._address = address
        super().__init__(server.host, server.port, local_hostname="localhost", timeout=MAIL_SECONDS)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        del host
        return socket.create_connection((self._address, port), timeout)


class _EncryptedSession(_Session):
    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        plain = super()._get_socket(host, port, timeout)
        return ssl.create_default_context().wrap_socket(plain, server_hostname=host)
