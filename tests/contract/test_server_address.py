"""Commands call the server of their folder, and send its token to no other one."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

COMPANY = """
{kind: role, name: finance, may: ["runs:any:read", "metrics:any:read"]}
---
{kind: system, name: shop, role: billing, connector: external, owner: finance}
"""
PROGRAM = [sys.executable, "-c", "from counterfoil.cli.main import main; main()"]
SETTINGS = {name: value for name, value in os.environ.items() if not name.startswith("COUNTERFOIL_")}


def company(folder: Path) -> Path:
    """Write a folder with a person, whose token is that of the folder."""
    home = folder / ".counterfoil"
    home.mkdir(parents=True)
    (folder / "company.yaml").write_text(COMPANY)
    token = f"cft_{folder.name}"
    person = {"id": "dana", "name": "Dana", "email": "d@example.com", "roles": ["finance"]}
    digest = hashlib.sha256(token.encode()).hexdigest()
    (home / "people.json").write_text(json.dumps([{**person, "token_sha256": digest}]))
    (home / "token").write_text(token)
    return folder


@contextlib.contextmanager
def up(folder: Path, number: signal.Signals = signal.SIGINT) -> Iterator[str]:
    """Run the folder's server on a free port, and yield its address. `number` ends it."""
    words = [*PROGRAM, "up", "--port", "0"]
    process = subprocess.Popen(words, cwd=folder, env=SETTINGS, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        yield next(line.split()[-1] for line in process.stderr if line.startswith("Counterfoil on "))
    finally:
        process.send_signal(number)
        process.communicate(timeout=120)


@contextlib.contextmanager
def foreign() -> Iterator[tuple[str, list[str]]]:
    """Run another program's server. Yield its address, and the tokens that it receives."""
    received: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            received.append(self.headers.get("authorization") or "")
            content = b'{"title": "Unauthorized", "detail": "Sign in."}'
            self.send_response(401)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()


def run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *words],
        cwd=folder,
        env=SETTINGS | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_each_folder_finds_its_own_server(tmp_path: Path) -> None:
    first, second = company(tmp_path / "first"), company(tmp_path / "second")
    with up(first) as first_url, up(second) as second_url:
        for folder, url in ((first, first_url), (second, second_url)):
            checks = json.loads(run(folder, "doctor", "--format", "json").stdout)
            assert next(c["detail"] for c in checks if c["check"] == "server").startswith(f"{url} ")
            assert run(folder, "runs").returncode == 0
        elsewhere = run(first, "runs", COUNTERFOIL_URL=second_url)
        assert elsewhere.returncode == 2
        assert elsewhere.stderr.startswith(f"counterfoil: {second_url}: ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_address_of_an_ended_server_gets_no_token(tmp_path: Path, number: signal.Signals) -> None:
    folder = company(tmp_path / "first")
    with up(folder, number):
        assert run(folder, "runs").returncode == 0
    with foreign() as (url, received):
        (folder / ".counterfoil" / "address").write_text(url)
        for words in (["runs"], ["doctor"], ["plan"], ["trace", "T-1"], ["people", "end", "dana"]):
            done = run(folder, *words)
            assert "Traceback" not in done.stderr
        assert received == []
        refused = run(folder, "runs")
        assert refused.returncode == 2
        assert "counterfoil up" in refused.stderr
        assert "COUNTERFOIL_URL" in refused.stderr
        named = run(folder, "runs", COUNTERFOIL_URL=url)
        assert named.stderr.startswith(f"counterfoil: {url}: Unauthorized: Sign in.")
        assert received == ["Bearer cft_first"]
