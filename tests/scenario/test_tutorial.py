"""The tutorial's commands run in a shell as written, and must print the shown output."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from counterfoil.demo.ports import free_port
from tests.page_commands import BLOCK, TIMEOUT_SECONDS, Shell, lacking, wait_for
from tests.source import ROOT

PAGE = ROOT / "docs/tutorial/first-counterfoil.md"


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    missing = [name for name in ("bash", "curl", "openssl") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"the tutorial needs {', '.join(missing)}")
    opened = Shell(tmp_path)
    try:
        yield opened
    finally:
        opened.close()


def page() -> str:
    """Return the tutorial with its two ports replaced by free ones."""
    text = PAGE.read_text("utf-8")
    for port in ("12111", "8080"):
        assert port in text
        text = text.replace(port, str(free_port()))
    return text


@pytest.mark.timeout(900)
def test_the_tutorial_runs_as_written(shell: Shell, tmp_path: Path) -> None:
    text = page()
    blocks = BLOCK.findall(text)
    company = tmp_path / "books" / "company.yaml"
    company.parent.mkdir()
    company.write_text("".join(body for language, body in blocks if language == "yaml"), "utf-8")
    port = re.search(r"counterfoil up books --port (\d+)", text)
    assert port is not None
    shell.type(f"export COUNTERFOIL_URL=http://127.0.0.1:{port[1]}")
    steps = [(language, body) for language, body in blocks if language in ("sh", "text")]
    assert len(steps) > 15
    for number, (language, body) in enumerate(steps):
        if language == "text":
            continue
        printed = shell.type(body)
        if started := re.search(r"--port (\d+) &$", body, re.M):
            wait_for(int(started[1]))
        following = steps[number + 1] if number + 1 < len(steps) else ("", "")
        promised = following[1] if following[0] == "text" else ""
        until = time.monotonic() + TIMEOUT_SECONDS
        while missing := lacking(promised, printed):
            # A read may come too early and is repeated; no other command is.
            assert body.startswith("counterfoil"), f"{body}\nlacks {missing}:\n{printed}"
            assert time.monotonic() < until, f"{body}\nlacks {missing}:\n{printed}"
            time.sleep(0.2)
            printed = shell.type(body)


def test_a_missing_line_is_found() -> None:
    printed = "KEY   STATE\nCR-1  open   120.00 USD\n"
    assert lacking("KEY … STATE\n… open … 120.00 USD", printed) == []
    assert lacking("… matched … 120.00 USD", printed) == ["… matched … 120.00 USD"]
