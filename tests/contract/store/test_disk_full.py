"""A full disk: callers get TryAgain, acknowledged transitions stay, and the store recovers by itself."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

import pytest

from counterfoil.core.errors import TryAgain
from counterfoil.store.sql.postgres import PostgresStore
from tests import postgres
from tests.contract.store import samples as s
from tests.patience import PATIENCE_SECONDS

ROOT = Path(__file__).parents[3]
BIG = random.Random(0).randbytes(100_000)
"""A body that no compression makes small."""
LITTLE_LOG = {"max_wal_size": "4MB", "min_wal_size": "2MB"}
SMALL_DISK = """
set -e
mount -t tmpfs -o size=4m tmpfs "$0"
exec "$@"
"""
"""In a name space of its own, so that nobody else sees the mount and it ends with the process."""


async def filled(store: Any) -> tuple[list[str], str]:
    """Deliveries until one cannot be kept: those acknowledged, and what was said of the other."""
    acknowledged = []
    for n in range(1000):
        try:
            await store.apply(s.receive(s.receipt(f"r{n}", body=BIG)))
        except TryAgain as error:
            return acknowledged, str(error)
        acknowledged.append(f"r{n}")
    raise AssertionError("the disk took everything")


SQLITE = """
import asyncio, json, resource, signal, sys
from pathlib import Path
from counterfoil.core.errors import TryAgain
from counterfoil.store.sql.sqlite import SqliteStore
from tests.contract.store import samples as s
from tests.contract.store.test_disk_full import BIG, filled

async def main(kind, folder):
    store = await SqliteStore.open(folder / "store.db")
    ballast = folder / "ballast"
    if kind == "limit":
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, resource.RLIM_INFINITY))
    else:
        ballast.write_bytes(bytes(2_500_000))
    acknowledged, said = await filled(store)
    kept = sorted(r.ext_id for r in (await store.dump()).receipts)
    try:
        await store.apply(s.receive(s.receipt("again", body=BIG)))
        again = "kept"
    except TryAgain:
        again = "refused"
    if kind == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    else:
        ballast.unlink()
    await store.apply(s.receive(s.receipt("after", body=BIG)))
    await store.close()
    store = await SqliteStore.open(folder / "store.db")
    later = sorted(r.ext_id for r in (await store.dump()).receipts)
    await store.close()
    print(json.dumps([acknowledged, said, kept, again, later]))

asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
"""


def _mounts() -> bool:
    """Also a user who is not root may, where the kernel lets him be root of a name space."""
    command = [
        "unshare",
        "--map-root-user",
        "--mount",
        "mount",
        "-t",
        "tmpfs",
        "-o",
        "size=1m",
        "tmpfs",
        "/mnt",
    ]
    try:
        return subprocess.run(command, capture_output=True, timeout=PATIENCE_SECONDS).returncode == 0
    except OSError:
        return False


@pytest.mark.parametrize(
    "kind",
    [
        "limit",
        pytest.param(
            "disk", marks=pytest.mark.skipif(not _mounts(), reason="the kernel lets this user mount nothing")
        ),
    ],
)
def test_sqlite_on_a_full_disk(tmp_path: Path, kind: str) -> None:
    """`limit`: no file may grow further. `disk`: a file system of four megabytes."""
    child = [sys.executable, "-c", SQLITE, kind, str(tmp_path)]
    if kind == "disk":
        child = ["unshare", "--map-root-user", "--mount", "sh", "-c", SMALL_DISK, str(tmp_path), *child]
    done = subprocess.run(child, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert done.returncode == 0, done.stderr
    acknowledged, said, kept, again, later = json.loads(done.stdout)
    assert len(acknowledged) > 3
    assert "nothing happened" in said
    assert kept == sorted(acknowledged), "what is there is what was acknowledged"
    assert again == "refused"
    assert later == sorted([*acknowledged, "after"])


@pytest.mark.skipif(
    not postgres.mounts(), reason="only a user who may mount can give PostgreSQL a small disk"
)
@pytest.mark.parametrize(("small", "room"), [("data", "80m"), ("wal", "12m")])
async def test_postgres_on_a_full_disk(small: Literal["data", "wal"], room: str) -> None:
    """`data`: nothing can grow, and it says so. `wal`: the log cannot, and PostgreSQL goes down."""
    with postgres.running(fsync=False, room=room, small=small, settings=LITTLE_LOG) as cluster:
        store = await PostgresStore.open(cluster.dsn())
        try:
            await store.apply(s.receive(s.receipt("before")))
            await asyncio.to_thread(cluster.fill)
            acknowledged, said = await filled(store)
            assert "The store is not available" in said
            if small == "data":
                with pytest.raises(TryAgain):
                    await store.apply(s.receive(s.receipt("again", body=BIG)))
            else:
                # PostgreSQL may be up again already: its recovery removes old segments of the log.
                acknowledged += (await filled(store))[0]
            went_down = "PANIC" in (cluster.folder / "log").read_text()
            assert went_down == (small == "wal")
            await asyncio.to_thread(cluster.free)
            deadline = time.monotonic() + PATIENCE_SECONDS
            while True:
                # Its own recovery from before the space was free may end it once more.
                await asyncio.to_thread(cluster.begin)
                try:
                    await store.apply(s.receive(s.receipt("after", body=BIG)))
                    break
                except TryAgain:
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.1)
            kept = [r.ext_id for r in (await store.dump()).receipts]
            assert len(kept) == len(set(kept))
            assert {"before", "after", *acknowledged} <= set(kept)
        finally:
            await store.close()
