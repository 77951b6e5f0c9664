"""Who is calling: bearer tokens, sessions in a cookie, passwords, and the proof that a form is our own.

Secrets are random and kept as SHA-256 digests, so looking one up leaks nothing by its time; passwords are kept as
argon2 hashes. A session's CSRF token is derived from its secret: nothing more has to be stored.
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
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import argon2
from litestar.connection import ASGIConnection

from counterfoil.core.people import Person, Token
from counterfoil.store.port.transitions import PutToken
from counterfoil.web.http.permissions import Permission, granted
from counterfoil.web.http.ports import App
from counterfoil.web.http.problems import Problem

COOKIE = "counterfoil_session"
SESSION_PREFIX = "cfs_"
TOKEN_PREFIX = "cft_"  # noqa: S105 - how tokens begin
SESSION = timedelta(hours=12)
Connection = ASGIConnection[Any, Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Identity:
    """A known caller. `csrf` is empty for bearer tokens, which no browser sends by itself."""

    person: Person
    may: frozenset[Permission]
    csrf: str = ""


def digest(secret: str) -> str:
    """What a token or session is kept as: SHA-256 in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


def new_token(person: str, expires: datetime, kind: str = "token") -> tuple[str, Token]:
    """A fresh secret and the row that is kept of it. The secret is shown once and stored nowhere."""
    prefix = SESSION_PREFIX if kind == "session" else TOKEN_PREFIX
    secret = prefix + secrets.token_urlsafe(32)
    return secret, Token(digest=digest(secret), person=person, kind=kind, expires=expires)


def csrf_of(session: str) -> str:
    return hmac.new(session.encode(), b"counterfoil csrf", hashlib.sha256).hexdigest()


async def identify(app: App, connection: Connection) -> Identity | None:
    """Who calls, or None. Raises Problem 401 for a credential that is there and not good."""
    authorization = connection.headers.get("authorization", "")
    if authorization:
        scheme, _, secret = authorization.partition(" ")
        if scheme.lower() != "bearer" or secret.startswith(SESSION_PREFIX):
            raise _unknown("Only bearer tokens are taken in the Authorization header.")
        person = await app.store.token(digest(secret.strip()), await app.now())
        if person is None:
            raise _unknown("The token is unknown, has expired, or its person is not active.")
        return Identity(person, granted(person, app.model))
    session = connection.cookies.get(COOKIE, "")
    if not session.startswith(SESSION_PREFIX):
        return None
    person = await app.store.token(digest(session), await app.now())
    if person is None:
        return None
    return Identity(person, granted(person, app.model), csrf_of(session))


def _unknown(detail: str) -> Problem:
    return Problem(401, detail, headers={"www-authenticate": 'Bearer realm="counterfoil"'})


def check_same_origin(headers: Mapping[str, str], form: Mapping[str, str], identity: Identity | None) -> None:
    """Raise Problem 403 unless a changing request by a browser comes from our own pages.

    With a session, the CSRF token must be there; where the browser names an origin, it must be ours.
    """
    origin, host = headers.get("origin"), headers.get("host", "")
    if origin is not None and urlsplit(origin).netloc != host:
        raise Problem(403, f"This form was sent from {origin[:200]}, not from our own pages.", kind="origin")
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Problem(403, "This form was sent from another site.", kind="origin")
    if identity is not None and identity.csrf:
        given = form.get("csrf") or headers.get("x-csrf-token", "")
        if not hmac.compare_digest(given.encode(), identity.csrf.encode()):
            raise Problem(403, "The form is stale or not our own; load the page again.", kind="csrf")


def read_form(body: bytes, content_type: str) -> dict[str, str]:
    """Fields of a form; the last value where a name comes twice. Raises Problem."""
    if content_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise Problem(415, "Send application/x-www-form-urlencoded.")
    if len(body) > 64 * 1024:
        raise Problem(413, "A form has at most 65536 bytes.")
    try:
        return dict(
            parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=50, errors="strict")
        )
    except ValueError:
        raise Problem(400, "The form cannot be read.") from None


class Passwords:
    """Signing in with a password, at a bounded rate and a bounded cost."""

    FAILURES = 5
    """For one name from one address; others keep their way in while somebody guesses."""
    PER_EMAIL = 50
    PER_ADDRESS = 30
    WINDOW = 300.0
    KEPT = 10_000

    def __init__(self, hasher: argon2.PasswordHasher | None = None) -> None:
        self._hasher = hasher or argon2.PasswordHasher()
        self._nobody = self._hasher.hash(secrets.token_hex(16))
        self._failures: OrderedDict[str, list[float]] = OrderedDict()
        # A hash takes tens of megabytes: two at a time is all that strangers may make us spend.
        self._room = asyncio.Semaphore(2)

    def hash(self, password: str) -> str:
        return self._hasher.hash(password)

    async def sign_in(self, app: App, email: str, password: str, address: str) -> tuple[str, Person]:
        """A new session's secret and its person. Raises Problem 401, or 429 after too many failures."""
        email = email.strip().lower()
        limits = {
            f"both:{address}:{email}": self.FAILURES,
            f"email:{email}": self.PER_EMAIL,
            f"address:{address}": self.PER_ADDRESS,
        }
        for key, limit in limits.items():
            self._check_rate(key, limit)
        person = next((p for p in await app.store.persons() if p.email.lower() == email), None)
        known = person is not None and person.active and bool(person.secret)
        # An unknown name costs as much as a known one, so that time tells nobody who works here.
        stored = person.secret if person is not None and known else self._nobody
        async with self._room:
            good = await asyncio.to_thread(self._verify, stored, password[:1000])
        if person is None or not known or not good:
            for key in limits:
                self._fail(key)
            raise Problem(401, "The e-mail address or the password is not right.", kind="sign-in")
        self._failures.pop(f"both:{address}:{email}", None)
        now = await app.now()
        secret, token = new_token(person.id, now + SESSION, "session")
        await app.store.apply(PutToken(token=token, at=now))
        return secret, person

    async def sign_out(self, app: App, session: str, person: str) -> None:
        """The session ends here and on every other machine that has its cookie."""
        now = await app.now()
        ended = Token(digest=digest(session), person=person, kind="session", expires=now)
        await app.store.apply(PutToken(token=ended, at=now))

    def _verify(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHash):
            return False

    def _check_rate(self, key: str, limit: int) -> None:
        now = time.monotonic()
        recent = [at for at in self._failures.get(key, []) if now - at < self.WINDOW]
        if len(recent) >= limit:
            wait = round(self.WINDOW - (now - recent[0])) + 1
            raise Problem(
                429, f"Too many failed attempts; try again in {wait} s.", headers={"retry-after": str(wait)}
            )

    def _fail(self, key: str) -> None:
        now = time.monotonic()
        recent = [at for at in self._failures.pop(key, []) if now - at < self.WINDOW]
        self._failures[key] = [*recent, now][-self.PER_EMAIL :]
        while len(self._failures) > self.KEPT:
            self._failures.popitem(last=False)
