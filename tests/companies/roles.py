"""The example company without outside systems, with a person in each role of its model and a caller in none."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from counterfoil.application import Application
from counterfoil.core.people import Person
from counterfoil.core.permissions import Permission
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.worker.worker import Worker
from counterfoil.model import Model, read
from counterfoil.store.port.people import PutPerson, PutToken
from counterfoil.web.http import server
from counterfoil.web.http.identity import new_token
from counterfoil.web.http.permissions import granted
from tests.companies.base import ACME, acme_model, listening
from tests.companies.web import cheap_passwords
from tests.companies.web import people as staff
from tests.companies.web_matches import fill_matches
from tests.companies.web_rows import fill

ANONYMOUS = "anonymous"


class Company(NamedTuple):
    """A served company, with the token and the permissions of a person in each role."""

    app: Application
    url: str
    tokens: dict[str, str]
    may: dict[str, frozenset[Permission]]

    def bearer(self, role: str) -> dict[str, str]:
        return {} if role == ANONYMOUS else {"authorization": f"Bearer {self.tokens[role]}"}


async def people(store: Any, model: Model) -> tuple[dict[str, str], dict[str, frozenset[Permission]]]:
    """Store a person for each role of a model, and one without a role."""
    now, tokens, may = await store.now(), {}, {}
    for role in [*model.roles, "none"]:
        person = Person(id=f"p-{role}", name=role, email=f"{role}@acme.example", roles=(role,))
        await store.apply(PutPerson(person=person, at=now, actor="test"))
        tokens[role], token = new_token(person.id, now + timedelta(days=1))
        await store.apply(PutToken(token=token, at=now))
        may[role] = granted(person, model)
    return tokens | {ANONYMOUS: ""}, may | {ANONYMOUS: frozenset()}


@contextlib.asynccontextmanager
async def acme(store: Any, rows: bool = True, folder: Path = ACME) -> AsyncIterator[Company]:
    """Serve the company, with rows of every kind; they need an SQL store."""
    model = acme_model() if folder == ACME else read(folder)[0]
    releases = Releases(store, model)
    await releases.publish(await store.now(), "test")
    if rows:
        await staff(store, cheap_passwords())
        await fill(store)
        await fill_matches(store)
    worker = Worker(store, releases, {}, "trial/1")
    app = Application(store, store, releases, {}, worker, lambda model, names: {})
    task = asyncio.create_task(worker.attend())
    try:
        tokens, may = await people(store, model)
        async with listening(server.build(app, cheap_passwords())) as url:
            yield Company(app, url, tokens, may)
    finally:
        worker.stop()
        await task
