"""One process owns a SQLite store: whoever comes second is told which process that is, and changes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from counterfoil.demo.ports import free_port
from tests.companies.acme import Program
from tests.crash.house import GOVERNANCE, House, house
from tests.patience import PATIENCE_SECONDS

CLI = ["-m", "counterfoil.cli.main"]


@pytest.fixture(scope="module")
def systems() -> Iterator[House]:
    with house() as made:
        yield made


@pytest.fixture(scope="module")
def server(systems: House) -> Iterator[Program]:
    command = ["up", str(GOVERNANCE), "--store", "sqlite:store.sqlite", "--port", str(systems.port)]
    program = Program("server", [*CLI, *command], systems.port, systems.home, systems.environment())
    program.up()
    yield program
    program.stop()


@pytest.mark.parametrize("command", ["up", "worker"])
def test_a_second_process_is_refused_by_the_name_of_the_first(
    systems: House, server: Program, command: str
) -> None:
    words = [*CLI, command, str(GOVERNANCE), "--store", "sqlite:store.sqlite"]
    if command == "up":
        words += ["--port", str(free_port())]
    second = subprocess.run(
        [sys.executable, *words], cwd=systems.home, env=os.environ | systems.environment(),
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert server.process is not None
    assert second.returncode != 0
    assert "Traceback" not in second.stderr
    assert f"process {server.process.pid}" in second.stderr, second.stderr
    assert server.ended() is None, "the first one suffered"
