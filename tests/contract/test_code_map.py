"""docs/explanation/code-map.md against the code: the modules that one webhook and one plan really pass."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import sys
import threading
import time
from collections.abc import AsyncIterator, Collection, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from counterfoil.application import Application
from counterfoil.bootstrap import application
from counterfoil.web.http import server as web
from tests.companies.acme import token_of
from tests.crash.house import AUTOMATIC, GOVERNANCE, Credit, House, house
from tests.patience import PATIENCE_SECONDS
from tests.source import ROOT, SOURCE

PAGE = ROOT / "docs" / "explanation" / "code-map.md"
MAPPED_FLOORS = ("application", "web/http", "web/api", "flow", "rules", "change", "replay")
"""Floors of which every module on a path must stand on the map."""
BACKGROUND = "in the background"
"""The stage whose modules depend on timing: they may be passed."""
ALONGSIDE = ("alongside", BACKGROUND)
"""Stages that run at the same time as the others, so their modules have no order."""
PACKAGE = f"{SOURCE}/"
ENTRIES = (f"{SOURCE}/web/", f"{SOURCE}/flow/worker/keyed_tasks.py")
"""Files through which requests and the tasks of the worker come."""
WAIT_SECONDS = PATIENCE_SECONDS
PERMISSION = '"cases:any:resolve"'
"""The administrator of the house gets the permissions of changes after this one."""


def stages(heading: str) -> dict[str, list[str]]:
    """Stage -> modules of the table under a heading of the page."""
    section = PAGE.read_text("utf-8").split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| ")]
    return {row[1].strip(): re.findall(r"`([\w/]+)`", row[2]) for row in rows if "`" in row[2]}


class Visits:
    """Modules of the package that were called, over all threads of the process.

    `path` has the order of first entry by a request, by a task of the worker or in a thread that computes for them. The
    worker's loops call modules at any time.
    """

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self.path: dict[str, None] = {}

    @contextlib.contextmanager
    def recorded(self) -> Iterator[None]:
        threading.setprofile(self._note)
        sys.setprofile(self._note)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type]

    def clear(self) -> None:
        self.modules.clear()
        self.path.clear()

    def _note(self, frame: Any, event: str, _: object) -> None:
        name, function = frame.f_code.co_filename, frame.f_code.co_name
        if event != "call" or name in self.path or not name.startswith(PACKAGE) or function == "<module>":
            return
        self.modules.add(_module(name))
        entered = threading.current_thread() is not threading.main_thread()
        while frame is not None and not entered:
            entered = frame.f_code.co_filename.startswith(ENTRIES)
            frame = frame.f_back
        if entered:
            self.path[name] = None

    def order(self) -> list[str]:
        return [_module(name) for name in self.path]


def _module(file: str) -> str:
    return file.removeprefix(PACKAGE).removesuffix(".py")


def unlike(mapped: dict[str, list[str]], visited: Collection[str]) -> list[str]:
    """Modules on the map that nothing passed, and modules passed that are not on the map."""
    listed = [module for modules in mapped.values() for module in modules]
    required = [module for stage, modules in mapped.items() if stage != BACKGROUND for module in modules]
    return [f"{module} is on the map and was not passed" for module in required if module not in visited] + [
        f"{module} was passed and is not on the map"
        for module in sorted(visited)
        if module not in listed and module.startswith(MAPPED_FLOORS) and not module.endswith("__init__")
    ]


def misplaced(mapped: dict[str, list[str]], visited: list[str]) -> list[str]:
    """Modules that the map has in another place than the path."""
    listed = [module for stage, modules in mapped.items() if stage not in ALONGSIDE for module in modules]
    expected = [module for module in visited if module in listed]
    on_map = [module for module in listed if module in visited]
    return [
        f"{module} is on the map where the path has {passed}"
        for module, passed in zip(on_map, expected, strict=True)
        if module != passed
    ]


def assert_alike(mapped: dict[str, list[str]], visits: Visits) -> None:
    differences = unlike(mapped, visits.modules) or misplaced(mapped, visits.order())
    assert not differences, "\n".join([*differences, "The path:", *visits.order()])


def test_a_wrong_map_is_found() -> None:
    mapped = {"first": ["flow/a", "flow/b"], "alongside": ["flow/z", "flow/y"], BACKGROUND: ["flow/x"]}
    visited = ["flow/y", "flow/a", "flow/z", "core/c", "flow/b"]
    assert unlike(mapped, visited) == misplaced(mapped, visited) == []
    assert unlike(mapped, [*visited, "flow/new"]) == ["flow/new was passed and is not on the map"]
    assert unlike(mapped, visited[:-1]) == ["flow/b is on the map and was not passed"]
    assert misplaced(mapped, ["flow/b", "flow/a"])[0] == "flow/a is on the map where the path has flow/b"


@contextlib.asynccontextmanager
async def serving(
    systems: House, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Application, httpx2.AsyncClient]]:
    for name, value in systems.environment().items():
        monkeypatch.setenv(name, value)
    async with application(folder / "governance", f"sqlite:{folder / 'store.db'}", folder) as app:
        server = uvicorn.Server(web.config(web.build(app)))
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
        sock = web.listen("127.0.0.1", 0)
        task = asyncio.create_task(server.serve(sockets=[sock]))
        try:
            while not server.started:
                await asyncio.sleep(0.01)
            url = f"http://127.0.0.1:{sock.getsockname()[1]}"
            async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE_SECONDS) as http:
                yield app, http
        finally:
            server.should_exit = True
            await task


async def until(condition: Any) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not await condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


@pytest.mark.timeout(900)
async def test_a_webhook_passes_the_modules_of_the_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    visits = Visits()
    shutil.copytree(GOVERNANCE, tmp_path / "governance")
    # The feed shows the same request, and would bring its receipt before the webhook does.
    file = tmp_path / "governance" / "house.yaml"
    file.write_text(file.read_text().replace("requests: {every: 1s}", "requests: {every: 1h}"))
    with house() as systems, visits.recorded():
        async with serving(systems, tmp_path, monkeypatch) as (app, http):
            credit = Credit("C-1", "K-1", AUTOMATIC, letter=True)
            await systems.ask(http, credit)
            visits.clear()
            headers, body = systems.callback(credit)
            answer = await http.post("/v1/receipts/desk", headers=headers, content=body)
            assert answer.status_code == 202, answer.text

            async def done() -> bool:
                runs = (await app.store.dump()).runs  # type: ignore[attr-defined]
                return bool(runs) and all(run.status == "done" for run in runs)

            await until(done)
    assert_alike(stages("The path of an event"), visits)


@pytest.mark.timeout(900)
async def test_a_plan_passes_the_modules_of_the_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from counterfoil.model import read

    shutil.copytree(GOVERNANCE, tmp_path / "governance")
    file = tmp_path / "governance" / "house.yaml"
    file.write_text(
        file.read_text().replace(
            PERMISSION, f'{PERMISSION}, "releases:any:plan", "releases:any:apply", "runs:any:migrate"'
        )
    )
    visits = Visits()
    # Recorded from the start: threads that exist already are not seen by a profile that is set later.
    with house() as systems, visits.recorded():
        async with serving(systems, tmp_path, monkeypatch) as (_, http):
            http.headers["authorization"] = f"Bearer {token_of('admin')}"
            file.write_text(file.read_text().replace("timeout: 2s", "timeout: 3s", 1))
            changed, findings = read(tmp_path / "governance")
            assert not [finding for finding in findings if finding.severity == "error"]
            visits.clear()
            answer = await http.post("/v1/plans", content=changed.to_json())
            assert answer.status_code in (200, 201), answer.text
            plan = answer.json()
            for approval in plan["approvals"]:
                decision = {"decision": "approve", "subject": approval["subject"]}
                lead = {"authorization": f"Bearer {token_of('lead')}"}
                answer = await http.post(f"/v1/approvals/{approval['id']}", json=decision, headers=lead)
                assert answer.status_code == 200, answer.text
            answer = await http.post("/v1/releases", json={"plan": plan["plan"]["digest"]})
            assert answer.status_code in (200, 201), answer.text
            assert answer.json()["digest"] == changed.digest
            answer = await http.post("/v1/migrations", json={"apply": True})
            assert answer.status_code == 200, answer.text
    assert_alike(stages("The path of a change"), visits)
