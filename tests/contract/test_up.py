"""`up`: nothing is announced before it listens, a taken port is a sentence, and its files are the owner's."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from tests.patience import PATIENCE_SECONDS

COMPANY = """
{kind: role, name: finance, may: [runs:any:read]}
---
{kind: system, name: shop, role: billing, connector: external, owner: finance}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "governance").mkdir()
    (tmp_path / "governance" / "shop.yaml").write_text(COMPANY)
    return tmp_path


def up(folder: Path, *words: str) -> subprocess.Popen[str]:
    program = "from counterfoil.cli.main import main; main()"
    command = [sys.executable, "-c", program, "up", "governance", *words]
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)


def announced(process: subprocess.Popen[str]) -> list[str]:
    """The lines of a starting server, up to the one with its address."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith("Counterfoil on "):
            break
    return lines


def test_a_taken_port_is_a_sentence_and_nothing_is_started(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        process = up(folder, "--port", str(port))
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 2
    assert f"the server cannot listen on 127.0.0.1 port {port}: Address already in use" in errors
    assert "Counterfoil on" not in errors
    assert "Traceback" not in errors
    assert not (folder / ".counterfoil" / "counterfoil.db").exists()


def test_what_is_announced_answers_and_its_files_are_the_owners(folder: Path) -> None:
    home = folder / ".counterfoil"
    home.mkdir()
    (home / "counterfoil.db").touch(0o644)
    process = up(folder, "--port", "0")
    lines = announced(process)
    try:
        url = lines[-1].split()[-1]
        assert httpx2.get(f"{url}/healthz", timeout=PATIENCE_SECONDS).status_code == 200
        assert any("No person can sign in" in line and "counterfoil people add" in line for line in lines)
        assert any(line.startswith("Auditors verify the log with counterfoil.local+") for line in lines)
        modes = {file.name: oct(file.stat().st_mode & 0o777) for file in home.iterdir() if file.is_file()}
        open_to_others = {name for name, mode in modes.items() if mode != "0o600"}
        assert {name for name in open_to_others if not name.startswith("checkpoint")} == set(), modes
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
    assert os.path.exists(home / "audit.key")


def test_who_is_taken_out_of_the_people_file_is_refused_by_the_running_server(folder: Path) -> None:
    people = folder / ".counterfoil" / "people.json"
    people.parent.mkdir()
    entries = [
        {
            "id": name,
            "name": name,
            "email": f"{name}@example.com",
            "roles": ["finance"],
            "token_sha256": hashlib.sha256(name.encode()).hexdigest(),
        }
        for name in ("ann", "bob")
    ]
    people.write_text(json.dumps(entries))
    process = up(folder, "--port", "0")
    try:
        url = announced(process)[-1].split()[-1]

        def status(name: str) -> int:
            head = {"authorization": f"Bearer {name}"}
            return httpx2.get(f"{url}/v1/runs", headers=head, timeout=PATIENCE_SECONDS).status_code

        assert (status("ann"), status("bob")) == (200, 200)
        people.write_text(json.dumps(entries[1:]))
        deadline = time.monotonic() + PATIENCE_SECONDS
        while status("ann") != 401 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert (status("ann"), status("bob")) == (401, 200)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_SECONDS)
