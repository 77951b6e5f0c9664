"""Authentication: bearer tokens, session cookies, passwords, and the CSRF check of forms.

The store holds SHA-256 digests of random secrets, so a lookup leaks nothing through its timing. Passwords are stored
as argon2 hashes. A session's CSRF token is derived from its secret, so it is not stored.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import argon2
from litestar.connection import ASGIConnection

from counterfoil.application import Application
from counterfoil.core.people import Person, Token
from counterfoil.store.port.people import PutToken
from counterfoil.web.http.addresses import network_of
from counterfoil.web.http.permissions import Permission, granted
from counterfoil.web.http.problems import Problem

COOKIE = "counterfoil_session"
SESSION_PREFIX = "cfs_"
TOKEN_PREFIX = "cft_"  # noqa: S105 - a prefix, not a secret
SESSION = timedelta(hours=12)
MAX_FORM_BYTES = 64 * 1024
MAX_FIELDS = 50
"""Fields of a form."""
Connection = ASGIConnection[Any, Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated caller. `csrf` is empty for bearer tokens, which no browser sends by itself."""

    person: Person
    may: frozenset[Permission]
    csrf: str = ""


def digest(secret: str) -> str:
    """Return the SHA-256 of a secret in hex, the form in which the store holds it."""
    return hashlib.sha256(secret.encode()).hexdigest()


def new_token(person: str, expires: datetime, kind: str = "token") -> tuple[str, Token]:
    """Return a new secret and its row for the store. The secret is shown once and stored nowhere."""
    prefix = SESSION_PREFIX if kind == "session" else TOKEN_PREFIX
    secret = prefix + secrets.token_urlsafe(32)
    return secret, Token(digest=digest(secret), person=person, kind=kind, expires=expires)


def csrf_of(session: str) -> str:
    return hmac.new(session.encode(), b"counterfoil csrf", hashlib.sha256).hexdigest()


async def identify(app: Application, connection: Connection) -> Identity | None:
    """Return the caller, or None without credentials. Raises Problem 401 for an invalid token."""
    authorization = connection.headers.get("authorization", "")
    if authorization:
        scheme, _, secret = authorization.partition(" ")
        if scheme.lower() != "bearer" or secret.startswith(SESSION_PREFIX):
            raise _unauthorized("The Authorization header accepts bearer tokens only.")
        person = await app.store.token(digest(secret.strip()), await app.now())
        if person is None:
            raise _unauthorized("The token is unknown or expired, or its person is not active.")
        return Identity(person, granted(person, app.model))
    session = connection.cookies.get(COOKIE, "")
    if not session.startswith(SESSION_PREFIX):
        return None
    person = await app.store.token(digest(session), await app.now())
    if person is None:
        return None
    return Identity(person, granted(person, app.model), csrf_of(session))


def _unauthorized(detail: str) -> Problem:
    return Problem(401, detail, headers={"www-authenticate": 'Bearer realm="counterfoil"'})


def check_same_origin(headers: Mapping[str, str], form: Mapping[str, str], identity: Identity | None) -> None:
    """Raise Problem 403 unless a browser's write request comes from our own pages.

    A session needs its CSRF token. If the browser sends an origin, it must be ours.
    """
    origin, host = headers.get("origin"), headers.get("host", "")
    if origin is not None and _netloc(origin) != host:
        raise Problem(403, f"This form was sent from {origin[:200]}, not from our own pages.", kind="origin")
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Problem(403, "This form was sent from another site.", kind="origin")
    if identity is not None and identity.csrf:
        token = form.get("csrf") or headers.get("x-csrf-token", "")
        if not hmac.compare_digest(token.encode(), identity.csrf.encode()):
            raise Problem(403, "The form is out of date. Reload the page and send it again.", kind="csrf")


def _netloc(origin: str) -> str:
    """Return host and port of an origin; empty for an invalid one."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def read_form(body: bytes, content_type: str, max_fields: int = MAX_FIELDS) -> dict[str, str]:
    """Return a form's fields; the last value of a repeated name. Raises Problem."""
    if content_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise Problem(415, "Send application/x-www-form-urlencoded.")
    if len(body) > MAX_FORM_BYTES:
        raise Problem(413, f"The form is larger than {MAX_FORM_BYTES} bytes.")
    try:
        form = dict(
            parse_qsl(
                body.decode("utf-8"), keep_blank_values=True, max_num_fields=max_fields, errors="strict"
            )
        )
    except ValueError:
        raise Problem(400, f"The form is not valid. Send UTF-8 with at most {max_fields} fields.") from None
    if any("\0" in name or "\0" in value for name, value in form.items()):
        raise Problem(400, "The form contains the character U+0000, which a database cannot store.")
    return form


class Passwords:
    """Password sign-in with limits on attempts and on hashing cost."""

    MAX_FAILURES = 5
    """Per e-mail and address together: an attacker elsewhere does not lock a person out."""
    MAX_FAILURES_PER_EMAIL = 50
    MAX_FAILURES_PER_ADDRESS = 30
    WINDOW_SECONDS = 300.0
    MAX_KEYS = 10_000

    def __init__(self, hasher: argon2.PasswordHasher | None = None) -> None:
        self._hasher = hasher or argon2.PasswordHasher()
        self._failures: OrderedDict[str, list[float]] = OrderedDict()
        # A hash takes tens of megabytes: strangers may cause at most two at a time.
        self._hashing = asyncio.Semaphore(2)

    def hash(self, password: str) -> str:
        return self._hasher.hash(password)

    async def sign_in(self, app: Application, email: str, password: str, address: str) -> tuple[str, Person]:
        """Return a new session's secret and its person. Raises Problem 401, or 429 after too many failures."""
        email, address = email.strip().lower(), network_of(address)
        limits = {
            f"both:{address}:{email}": self.MAX_FAILURES,
            f"email:{email}": self.MAX_FAILURES_PER_EMAIL,
            f"address:{address}": self.MAX_FAILURES_PER_ADDRESS,
        }
        for key, limit in limits.items():
            self._check_rate(key, limit)
        person = next((p for p in await app.store.persons() if p.email.lower() == email), None)
        may_sign_in = person is not None and person.active and bool(person.secret)
        stored = person.secret if person is not None and may_sign_in else ""
        async with self._hashing:
            verified = await asyncio.to_thread(self._verify, stored, password[:1000])
        if person is None or not may_sign_in or not verified:
            for key in limits:
                self._fail(key)
            raise Problem(401, "The e-mail address or the password is wrong.", kind="sign-in")
        self._failures.pop(f"both:{address}:{email}", None)
        now = await app.now()
        secret, token = new_token(person.id, now + SESSION, "session")
        await app.store.apply(PutToken(token=token, at=now))
        return secret, person

    async def sign_out(self, app: Application, session: str, person: str) -> None:
        """End the session on every machine that holds its cookie."""
        now = await app.now()
        ended = Token(digest=digest(session), person=person, kind="session", expires=now)
        await app.store.apply(PutToken(token=ended, at=now))

    @cached_property
    def _dummy_hash(self) -> str:
        return self._hasher.hash(secrets.token_hex(16))

    def _verify(self, stored: str, password: str) -> bool:
        # An unknown e-mail costs as much as a known one, so timing does not reveal who works here. The first sign-in of
        # a process makes the dummy, for a known e-mail too: a server starts without a hash, which takes 0.2 s.
        dummy = self._dummy_hash
        try:
            return self._hasher.verify(stored or dummy, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHash):
            return False

    def _check_rate(self, key: str, limit: int) -> None:
        now = time.monotonic()
        recent = [at for at in self._failures.get(key, []) if now - at < self.WINDOW_SECONDS]
        if len(recent) >= limit:
            wait = round(self.WINDOW_SECONDS - (now - recent[0])) + 1
            raise Problem(
                429, f"Too many failed attempts. Try again in {wait} s.", headers={"retry-after": str(wait)}
            )

    def _fail(self, key: str) -> None:
        now = time.monotonic()
        recent = [at for at in self._failures.pop(key, []) if now - at < self.WINDOW_SECONDS]
        self._failures[key] = [*recent, now][-self.MAX_FAILURES_PER_EMAIL :]
        while len(self._failures) > self.MAX_KEYS:
            self._failures.popitem(last=False)
