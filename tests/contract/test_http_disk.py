"""A disk that is full or fails under a running server: 503 for every request, readiness with it, and nothing told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from counterfoil.store.sql.store_health import SETTLE_SECONDS, StoreHealth
from tests.source import ROOT

CHILD = """
import asyncio, base64, json, os, random, resource, signal, sys
from pathlib import Path
from tests.companies.small import send, serving

BIG = base64.b64encode(random.Random(0).randbytes(100_000)).decode()

def fill():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, resource.RLIM_INFINITY))

def break_disk(folder):
    folder_descriptor = os.open(folder, os.O_RDONLY)  # neither readable nor writable as a file
    for link in Path("/proc/self/fd").iterdir():
        if link.exists() and "store.db" in os.readlink(link) and not os.readlink(link).endswith(("-shm", ".lock")):
            os.dup2(folder_descriptor, int(link.name))

async def refusal(http):
    for number in range(1000):
        answer = await send(http, f"e{number}", BIG)
        if answer.status_code != 202:
            return [answer.status_code, answer.json()["detail"], answer.headers.get("retry-after")]

async def main(kind, folder):
    async with serving(folder, workers=1) as (app, http):
        ready = [(await http.get("/readyz")).status_code]
        await send(http, "first", BIG)
        fill() if kind == "full" else break_disk(folder)
        told = await refusal(http)
        ready.append((await http.get("/readyz")).status_code)
        if kind == "full":
            problem = (await http.get("/v1/health")).json()["store_problem"]
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            while (await http.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.2)
            ready.append((await send(http, "after", BIG)).status_code)
        else:
            problem = app.store.problem
            paths = ("/v1/events", "/v1/cases", "/v1/health", "/metrics", "/healthz")
            answers = [await http.get(path) for path in paths]
            ready += [answer.status_code for answer in answers]
            told.append("".join(answer.text for answer in answers))
        print(json.dumps([ready, told, problem]), flush=True)
        if kind == "broken":
            os._exit(0)  # nothing can be closed in order on such a disk

asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
"""


@pytest.mark.parametrize("kind", ["full", "broken"])
def test_a_server_whose_disk_fails_is_not_ready(tmp_path: Path, kind: str) -> None:
    """`full`: no file may grow further. `broken`: every read and write of the store's files is an error."""
    child = [sys.executable, "-c", CHILD, kind, str(tmp_path)]
    done = subprocess.run(child, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    ready, told, problem = json.loads(done.stdout)
    status, detail, retry, *rest = told
    assert (status, retry) == (503, "1"), detail
    assert ready[:2] == [200, 503]
    if kind == "full":
        assert ready[2] == 202, "it recovers by itself"
    else:
        assert set(ready[2:-1]) <= {200, 503}, "a page that is not in the cache is no error of the server"
        assert ready[-1] == 200, "the process is alive"
    assert str(tmp_path) in problem, "operators learn the path"
    assert not [text for text in (detail, *rest) if str(tmp_path) in text or "Error" in text]


def test_a_problem_lasts_until_a_commit_and_a_little_longer() -> None:
    now = 100.0
    health = StoreHealth(lambda: now)
    assert health.problem == ""
    health.failed("disk full")
    now += 10 * SETTLE_SECONDS
    assert health.problem == "disk full"
    health.committed()
    assert health.problem == ""
    health.failed("disk full again")
    health.committed()
    assert health.problem == "disk full again"
    now += SETTLE_SECONDS
    assert health.problem == ""
