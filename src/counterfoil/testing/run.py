"""Execution of all tests of a folder, each in a store of its own, and their results."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from counterfoil.core import wire
from counterfoil.core.people import Person
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.worker.rebuild import rebuild_documents
from counterfoil.model import Model, kinds
from counterfoil.model.document import Document
from counterfoil.rules import routing
from counterfoil.store.memory.store import MemoryStore
from counterfoil.store.port.people import PutPerson
from counterfoil.store.port.releases import PutFirstRelease
from counterfoil.store.port.store import Store
from counterfoil.testing.case_run import CaseRun, ComparedStore, StepFailed, begin_of
from counterfoil.testing.difference import differences
from counterfoil.testing.outside_store import outside_store
from counterfoil.testing.played_loop import PlayedClock, PlayedLoop
from counterfoil.testing.records import Records

PREPARED_AT = datetime(2000, 1, 1, tzinfo=UTC)
"""Time of the Release and of the persons: before every test."""


@dataclass(frozen=True)
class CaseResult:
    """Result of one test. `seconds` is processor time."""

    name: str
    difference: str
    """Expected and actual, a line for each; empty if the test passed."""
    file: str
    line: int
    doc: str
    seconds: float

    @property
    def ok(self) -> bool:
        return not self.difference


class Suite:
    """Tests of one model. Tests with rows of their own for a table get a model with these rows."""

    def __init__(self, model: Model, url: str = "") -> None:
        """`url` is the address of stores, as `scratch_store` takes it; empty: in memory."""
        self._model, self._url = model.released, url
        self._loop = PlayedLoop()
        self._models: dict[str, Model] = {}
        self._stores: dict[tuple[Any, ...], MemoryStore] = {}
        """Prepared stores by digest of model and persons."""

    def close(self) -> None:
        self._loop.close()

    def results(self, documents: Sequence[Document]) -> Iterator[CaseResult]:
        """Yield the result of each test, in order."""
        for document in documents:
            yield self.result(document)

    def result(self, document: Document) -> CaseResult:
        """Execute one test in a new store. Raises Misconfigured if none can be opened."""
        test = document.value
        assert isinstance(test, kinds.Test)
        before = time.process_time()
        model = self._model_of(test)
        clock = PlayedClock(self._loop, begin_of(test))
        lines = self._loop.run(self._lines(model, test, clock))
        file, line = "", 0
        if document.source is not None:
            file, mark = document.source.place(("name",))
            line = mark.line
        seconds = time.process_time() - before
        return CaseResult(test.name, "\n".join(lines), file, line, test.doc, seconds)

    async def _lines(self, model: Model, test: kinds.Test, clock: PlayedClock) -> list[str]:
        """Return the differences of one test."""
        if not self._url:
            return await self._differences(model, test, clock, await self._store(model, test, clock))
        async with outside_store(self._url, self._loop, clock) as store:
            await prepare(store, model, persons_of(model, test))
            return await self._differences(model, test, clock, store)

    async def _differences(
        self, model: Model, test: kinds.Test, clock: PlayedClock, store: ComparedStore
    ) -> list[str]:
        run = CaseRun(self._loop, clock, store, model, test)
        try:
            await run.play()
            expected = await run.filled(test.expect.model_dump(exclude_unset=True, by_alias=True))
        except StepFailed as failed:
            return [str(failed)]
        return differences(expected, Records(await run.dump(), run.now))

    async def _store(self, model: Model, test: kinds.Test, clock: PlayedClock) -> MemoryStore:
        """Return a store with the Release and the persons of a test; a copy, so that they are written once."""
        persons = persons_of(model, test)
        key = (model.digest, tuple(sorted(persons.items())))
        if key not in self._stores:
            self._stores[key] = MemoryStore(clock)
            await prepare(self._stores[key], model, persons)
        return self._stores[key].copy(clock)

    def _model_of(self, test: kinds.Test) -> Model:
        """Return the model with the rows of the test's tables."""
        if not test.tables:
            return self._model
        key = wire.digest(test.tables)
        if key not in self._models:
            self._models[key] = Model(_with_rows(d, test.tables) for d in self._model.documents)
        return self._models[key]


async def prepare(store: Store, model: Model, persons: Mapping[str, tuple[str, ...]]) -> None:
    """Write the model as the first Release, the persons, and the forms of the reconciliations."""
    at = PREPARED_AT
    waits = routing.waits(model) or (("", ""),)
    release = PutFirstRelease(digest=model.digest, body=model.to_json(), waits=waits, at=at, actor="test")
    await store.apply(release)
    for id_, roles in persons.items():
        person = Person(id=id_, name=id_, email=f"{id_}@test.example", roles=roles)
        await store.apply(PutPerson(person=person, at=at, actor="test"))
    await rebuild_documents(store, Releases(store, model))


def persons_of(model: Model, test: kinds.Test) -> dict[str, tuple[str, ...]]:
    """Return the roles of each person of a test: one person for each role, by its name, and those of `persons`."""
    persons: dict[str, tuple[str, ...]] = {name: (name,) for name in model.roles}
    for name, roles in test.persons.items():
        persons[name] = (roles,) if isinstance(roles, str) else tuple(roles)
    return persons


def _with_rows(document: Document, tables: Mapping[str, list[dict[str, Any]]]) -> Document:
    table = document.value
    if not isinstance(table, kinds.Table) or table.name not in tables:
        return document
    rows = tables[table.name]
    return replace(
        document,
        value=table.model_copy(update={"rows": rows}),
        data={**document.data, "rows": rows},
    )
