"""The people file at the start of a process: persons with their names, and those who left."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from counterfoil.bootstrap import open_store
from counterfoil.core.errors import Misconfigured
from counterfoil.core.people import Token
from counterfoil.people_follower import PeopleFollower, seed_people
from counterfoil.store.port.people import PutToken
from counterfoil.store.sql.store import SqlStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    opened = await open_store(f"sqlite:{tmp_path / 'x.db'}")
    yield opened
    await opened.close()


def entry(id_: str, **more: Any) -> dict[str, Any]:
    digest = hashlib.sha256(id_.encode()).hexdigest()
    return {"id": id_, "name": id_, "email": f"{id_}@x", "roles": ["clerk"], "token_sha256": digest, **more}


async def seed(store: SqlStore, folder: Path, *entries: dict[str, Any]) -> None:
    path = folder / "people.json"
    path.write_text(json.dumps(entries))
    await seed_people(store, path)


async def test_who_is_left_out_loses_sessions_and_tokens(store: SqlStore, tmp_path: Path) -> None:
    await seed(store, tmp_path, entry("ann", secret="hash"), entry("bob"))
    now = await store.now()
    session = Token(digest="s", person="ann", kind="session", expires=now.replace(year=now.year + 1))
    await store.apply(PutToken(token=session, at=now))
    digest = str(entry("ann")["token_sha256"])
    assert await store.token(digest, now) is not None
    await seed(store, tmp_path, entry("bob"))
    ann = await store.person("ann")
    assert ann is not None
    assert (ann.active, ann.secret, ann.name) == (False, "", "ann")
    assert [await store.token(d, now) for d in ("s", digest)] == [None, None]
    bob = await store.token(str(entry("bob")["token_sha256"]), now)
    assert bob is not None
    written = [leaf.subject for _, leaf in (await store.dump()).leaves if leaf.kind == "person"]
    assert written.count("ann") == 2
    await seed(store, tmp_path, entry("ann"), entry("bob"))
    assert await store.token(digest, now) is not None
    assert await store.token("s", now) is None


async def test_aliases_are_stored(store: SqlStore, tmp_path: Path) -> None:
    await seed(store, tmp_path, entry("ann", aliases={"desk": ["U1", "ann.a"]}))
    ann = await store.person("ann")
    assert ann is not None
    assert ann.aliases == {"desk": ("U1", "ann.a")}


@pytest.mark.parametrize(
    "other", [{"email": "ANN@x"}, {"aliases": {"desk": ["Ann"]}}, {"aliases": {"desk": ["u1"]}}]
)
async def test_a_name_of_two_persons_is_refused(
    store: SqlStore, tmp_path: Path, other: dict[str, Any]
) -> None:
    with pytest.raises(Misconfigured, match="names both ann and bob"):
        await seed(store, tmp_path, entry("ann", aliases={"desk": ["U1"]}), entry("bob", **other))
    assert await store.persons() == []


@pytest.mark.parametrize("other", [{"id": "ann", "email": "b@x"}, {"token_sha256": "t"}])
async def test_an_id_or_token_of_two_persons_is_refused(
    store: SqlStore, tmp_path: Path, other: dict[str, Any]
) -> None:
    with pytest.raises(Misconfigured, match="two persons with the same"):
        await seed(store, tmp_path, entry("ann", token_sha256="t"), entry("bob") | other)
    assert await store.persons() == []


async def test_a_changed_file_is_taken_over_while_the_process_runs(store: SqlStore, tmp_path: Path) -> None:
    path = tmp_path / "people.json"
    follower = PeopleFollower(store, lambda: path)
    await follower.start()
    await follower.look()
    assert (follower.problem, await store.persons()) == ("", [])
    path.write_text(json.dumps([entry("ann"), entry("bob")]))
    await follower.look()
    now = await store.now()
    digests = [str(entry(name)["token_sha256"]) for name in ("ann", "bob")]
    assert None not in [await store.token(digest, now) for digest in digests]
    path.write_text(json.dumps([entry("bob")]))
    await follower.look()
    assert await store.token(digests[0], now) is None
    assert await store.token(digests[1], now) is not None


@pytest.mark.parametrize("fault", ["", "[", '[{"id": 1}]', None])
async def test_a_file_that_is_not_valid_changes_nothing_and_says_so(
    store: SqlStore, tmp_path: Path, fault: str | None
) -> None:
    path = tmp_path / "people.json"
    path.write_text(json.dumps([entry("ann")]))
    follower = PeopleFollower(store, lambda: path)
    await follower.start()
    path.unlink() if fault is None else path.write_text(fault)
    for _ in range(2):
        await follower.look()
        assert str(path) in follower.problem
    assert await store.token(str(entry("ann")["token_sha256"]), await store.now()) is not None
    path.write_text(json.dumps([entry("bob")]))
    await follower.look()
    assert follower.problem == ""
    assert await store.token(str(entry("ann")["token_sha256"]), await store.now()) is None


async def test_the_zone_of_a_person_is_stored_and_changed(store: SqlStore, tmp_path: Path) -> None:
    for zone in ("Europe/Berlin", "Asia/Kolkata", ""):
        await seed(store, tmp_path, entry("ann", **({"zone": zone} if zone else {})))
        ann = await store.person("ann")
        assert ann is not None
        assert ann.zone == zone


@pytest.mark.parametrize(
    ("zone", "fix"),
    [
        ("Europe/Berln", "did you mean `Europe/Berlin`?"),
        ("europe/berlin", "did you mean `Europe/Berlin`?"),
        ("America/New York", "did you mean `America/New_York`?"),
        ("MEZ", "give the name of a region and a city"),
        ("../etc/passwd", "give the name of a region and a city"),
    ],
)
async def test_an_unknown_zone_is_refused_with_the_one_that_is_meant(
    store: SqlStore, tmp_path: Path, zone: str, fix: str
) -> None:
    with pytest.raises(Misconfigured) as refused:
        await seed(store, tmp_path, entry("ann", zone=zone))
    assert f"there is no time zone {zone!r}; {fix}" in str(refused.value)
    assert str(refused.value).endswith("It is the `zone` of ann.")
    assert await store.persons() == []
