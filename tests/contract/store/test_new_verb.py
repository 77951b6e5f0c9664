"""A new transition is a class, its SQL and its specification: this one is planted here and works on every store."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from counterfoil.store.memory.registry import RULES, memory
from counterfoil.store.memory.tables import Tables
from counterfoil.store.port.transition import Transition, wake_set
from counterfoil.store.port.wake import WakeKind
from counterfoil.store.sql.registry import VERBS, sql
from counterfoil.store.sql.transaction import Tx
from tests.contract.store import samples as s


class RenamePerson(Transition[str | None], frozen=True, kw_only=True):
    """Give a person another name; returns the former one. Leaf."""

    person: str
    name: str
    at: datetime

    def keys(self) -> frozenset[str]:
        return frozenset(["settings"])

    def wakes(self, answer: str | None) -> frozenset[WakeKind]:
        return wake_set(admit=answer is not None)


async def rename_in_sql(x: Tx, t: RenamePerson) -> str | None:
    row = await x.one("select name from person where id = $1 for update", t.person)
    if row is None:
        return None
    await x.rows("update person set name = $2 where id = $1", t.person, t.name)
    x.leaf("person.renamed", t.person, t.at, "operator", b"{}")
    return str(row[0])


def rename_in_memory(db: Tables, t: RenamePerson) -> str | None:
    person = db.persons.get(t.person)
    if person is None:
        return None
    db.put(db.persons, person.id, s.person(person.id, name=t.name))
    db.leaf("person.renamed", t.person, t.at, "operator", b"{}")
    return person.name


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    sql(RenamePerson)(rename_in_sql)
    memory(RenamePerson)(rename_in_memory)
    yield
    del VERBS[RenamePerson], RULES[RenamePerson]


async def test_a_transition_planted_in_one_module_is_applied(store: Any) -> None:
    await store.apply(s.put_person(s.person("ann", name="Ann")))
    assert await store.apply(RenamePerson(person="ann", name="Anna", at=s.T0)) == "Ann"
    assert await store.apply(RenamePerson(person="bob", name="Bo", at=s.T0)) is None
    assert (await store.person("ann")).name == "Anna"
    assert [leaf.kind for _, leaf in (await store.dump()).leaves] == ["person", "person.renamed"]


async def test_its_commit_wakes_as_it_says(store: Any) -> None:
    await store.apply(s.put_person(s.person("ann")))
    await store.apply(RenamePerson(person="ann", name="Anna", at=s.T0))
    await store.wait_for_wake(WakeKind.ADMIT, 5)
