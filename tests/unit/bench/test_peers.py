"""The peers of the benchmarks are pinned by hash, name no host, and are separate from the product."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from bench.peers import PROGRAMS
from tests.unit.docs.test_dependencies import foreign_lines, locked

PEERS = PROGRAMS.parent
LOCKS = sorted(PEERS.glob("*.lock"))
BELONGS = {
    "on_dbos.py": "dbos",
    "on_restate.py": "restate",
    "on_mappers.py": "mapping",
    "on_datacompy.py": "datacompy",
}
OURS = {"on_duckdb.py"}
"""Programs that run in the environment of the product, since their peer is one of its dependencies."""


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_peer_s_lock_has_names_versions_and_hashes_only(lock: Path) -> None:
    text = lock.read_text("utf-8")
    assert foreign_lines(text) == []
    assert all(hashes for _, hashes in locked(text).values())


def test_the_server_from_npm_is_pinned_by_content_and_names_no_host() -> None:
    text = (PEERS / "restate" / "package-lock.json").read_text("utf-8")
    assert "://" not in text
    packages = json.loads(text)["packages"]
    dependencies = json.loads((PEERS / "restate" / "package.json").read_text("utf-8"))["dependencies"]
    assert packages[""]["dependencies"] == dependencies
    assert all(re.fullmatch(r"[\d.]+", version) for version in dependencies.values())
    assert all(about["integrity"] for name, about in packages.items() if name)


def test_every_program_has_its_lock() -> None:
    assert set(BELONGS) | OURS == {program.name for program in PROGRAMS.glob("*.py")}
    assert set(BELONGS.values()) == {lock.stem for lock in LOCKS}


@pytest.mark.parametrize("program", sorted({*BELONGS, *OURS}))
def test_a_peer_s_program_imports_nothing_of_ours(program: str) -> None:
    """The program runs in an environment with the peer only."""
    tree = ast.parse((PROGRAMS / program).read_text("utf-8"))
    names = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert names & {"bench", "counterfoil", "tests"} == set()
