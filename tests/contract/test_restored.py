"""A company whose store was put back to an earlier state is not run on from there."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
from pathlib import Path

import pytest

from counterfoil.bootstrap import application
from counterfoil.core.audit import Checkpoint
from counterfoil.core.errors import Misconfigured
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.worker.audit_checkpoint import CheckpointFile
from counterfoil.flow.worker.worker import Worker
from counterfoil.model import Model
from counterfoil.store.memory import MemoryStore
from counterfoil.store.port.maintenance import PutCheckpoint
from counterfoil.store.port.store import AdmissionTodo
from tests.contract.store import samples as s
from tests.patience import PATIENCE_SECONDS

COMPANY = """
{kind: role, name: finance}
---
{kind: system, name: shop, role: billing, connector: external, owner: finance}
"""


async def lived(folder: Path, person: str) -> None:
    """A short life: the company hears of a person, and what was done is sealed and signed."""
    people = [{"id": person, "name": person, "email": f"{person}@shop.example", "roles": ["finance"]}]
    (folder / "people.json").write_text(json.dumps(people))
    async with application(folder / "governance", f"sqlite:{folder / 'store.db'}", folder) as app:
        for _ in range(200):
            dump = await app.store.dump()
            if not dump.pending and (await app.store.checkpoint()) is not None:
                return
            await asyncio.sleep(0.05)
    raise AssertionError("nothing was sealed")


async def test_a_restored_store_is_refused_until_a_new_log_begins(tmp_path: Path) -> None:
    (tmp_path / "governance").mkdir()
    (tmp_path / "governance" / "shop.yaml").write_text(COMPANY)
    await lived(tmp_path, "ann")
    shutil.copy(tmp_path / "store.db", tmp_path / "backup.db")
    await lived(tmp_path, "bob")
    await lived(tmp_path, "cid")
    for beside in tmp_path.glob("store.db*"):
        beside.unlink()
    shutil.copy(tmp_path / "backup.db", tmp_path / "store.db")
    with pytest.raises(Misconfigured, match="start a new log"):
        await lived(tmp_path, "dan")
    (tmp_path / "audit.key").rename(tmp_path / "audit.key.old")
    (published,) = tmp_path.glob("checkpoint-*")
    published.rename(tmp_path / "old")
    await lived(tmp_path, "dan")


async def test_a_second_store_in_one_folder_has_a_log_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "governance").mkdir()
    (tmp_path / "governance" / "shop.yaml").write_text(COMPANY)
    await lived(tmp_path, "ann")
    (tmp_path / "store.db").rename(tmp_path / "first.db")
    await lived(tmp_path, "bob")
    (tmp_path / "store.db").rename(tmp_path / "second.db")
    (tmp_path / "first.db").rename(tmp_path / "store.db")
    await lived(tmp_path, "cid")
    assert len(list(tmp_path.glob("checkpoint*"))) == 2


async def test_a_checkpoint_of_an_earlier_version_gets_the_id_of_its_store(tmp_path: Path) -> None:
    (tmp_path / "governance").mkdir()
    (tmp_path / "governance" / "shop.yaml").write_text(COMPANY)
    await lived(tmp_path, "ann")
    (published,) = tmp_path.glob("checkpoint-*")
    published.rename(tmp_path / "checkpoint")
    await lived(tmp_path, "bob")
    assert list(tmp_path.glob("checkpoint*")) == [published]
    published.rename(tmp_path / "checkpoint")
    (tmp_path / "store.db").unlink()
    with pytest.raises(Misconfigured, match=f"{tmp_path}/checkpoint is of another store, move it away"):
        await lived(tmp_path, "cid")


async def test_the_same_number_of_leaves_is_not_the_same_history(tmp_path: Path) -> None:
    store = MemoryStore()
    published = CheckpointFile(tmp_path / "checkpoint")
    await published.check(store)
    for root, text in ((b"a" * 32, "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE="), (b"b" * 32, "")):
        mark = Checkpoint(size=4, root=root, at=s.T0, text=f"log\n4\n{text}\n\nsigned\n")
        await store.apply(PutCheckpoint(checkpoint=mark))
        if text:
            published.keep(mark)
            await published.check(store)
    with pytest.raises(Misconfigured, match="covers 4 leaves"):
        await published.check(store)


async def test_a_file_that_is_no_checkpoint_is_told(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_text("nonsense")
    with pytest.raises(Misconfigured, match="is not a checkpoint"):
        await CheckpointFile(tmp_path / "checkpoint").check(MemoryStore())


async def test_a_worker_stops_when_its_store_has_lost_what_was_published(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Moved(MemoryStore):
        async def todos(self, *_: object, **__: object) -> list[AdmissionTodo]:
            raise Misconfigured("the primary has moved to a server that is behind")

    store = Moved()
    pump = Worker(store, Releases(store, Model.from_documents([])), {}, "w/1")
    with caplog.at_level(logging.CRITICAL):
        await asyncio.wait_for(pump.run(), PATIENCE_SECONDS)
    assert pump.stopping
    assert "this worker stops: the primary has moved" in caplog.text
