"""A new user follows the page from `init` to a matched counterfoil, and opens no file but those that `init` wrote."""

from __future__ import annotations

import re
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from counterfoil.demo.ports import free_port
from tests.page_commands import BLOCK, TIMEOUT_SECONDS, Shell, lacking, wait_for
from tests.source import ROOT

PAGE = (ROOT / "docs/tutorial/five-minutes.md").read_text("utf-8")


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    if shutil.which("bash") is None:
        pytest.skip("the page needs bash")
    opened = Shell(tmp_path)
    try:
        yield opened
    finally:
        opened.close()


def commands(text: str) -> list[str]:
    return [line for language, body in BLOCK.findall(text) if language == "sh" for line in body.splitlines()]


def with_free_ports(text: str) -> tuple[str, dict[str, str]]:
    """Return a text with the ports of the page replaced by free ones, and the replacements."""
    ports = {}
    for port in ("12111", "8080"):
        assert port in text
        ports[port] = str(free_port())
        text = text.replace(port, ports[port])
    return text, ports


def run_until_as_promised(shell: Shell, body: str, promised: str) -> str:
    """Run a block and return its output. A command that only reads is repeated until it shows what the page promises."""
    until = time.monotonic() + TIMEOUT_SECONDS
    printed = shell.type(body)
    while missing := lacking(promised, printed):
        reads = re.match(r"counterfoil (approvals|foils|trace|runs)\b", body)
        assert reads, f"{body}\nlacks {missing}:\n{printed}"
        assert time.monotonic() < until, f"{body}\nlacks {missing}:\n{printed}"
        time.sleep(0.2)
        printed = shell.type(body)
    return printed


def sign_in(url: str, email: str, password: str) -> tuple[int, str]:
    """Return the status of signing in, and the page of counterfoils as that person sees it."""
    with httpx2.Client(base_url=url, timeout=60) as client:
        answer = client.post("/sign-in", data={"email": email, "password": password, "next": "/"})
        return answer.status_code, client.get("/foils").text


@pytest.mark.timeout(900)
def test_a_new_user_gets_to_a_matched_counterfoil(shell: Shell, tmp_path: Path) -> None:
    text, ports = with_free_ports(PAGE)
    url = f"http://127.0.0.1:{ports['8080']}"
    blocks = [(language, body) for language, body in BLOCK.findall(text) if language in ("sh", "text")]
    printed = {}
    for number, (language, body) in enumerate(blocks):
        if language == "text":
            continue
        following = blocks[number + 1] if number + 1 < len(blocks) else ("", "")
        printed[body] = run_until_as_promised(shell, body, following[1] if following[0] == "text" else "")
        if "init" in body:
            systems = tmp_path / "first" / "1-systems.yaml"
            systems.write_text(systems.read_text("utf-8").replace("12111", ports["12111"]), "utf-8")
        for port in re.findall(r"--port (\d+) &$", body, re.M):
            wait_for(int(port))
    assert "BAD" not in shell.type("counterfoil doctor")
    assert "planned without a change" in shell.type("counterfoil plan && echo planned without a change")
    change = "sed -i 's/up_to: 100,/up_to: 90,/' 4-policies.yaml"
    assert "credit-approval" in shell.type(f"{change}; counterfoil plan; test $? -eq 1")
    passwords = dict(re.findall(r"^ +(\S+@example\.com) +(\S+) ", "".join(printed.values()), re.M))
    assert set(passwords) == {"sam@example.com", "lena@example.com"}
    assert sign_in(url, "lena@example.com", "wrong")[0] == 401
    status, page = sign_in(url, "lena@example.com", passwords["lena@example.com"])
    assert (status, "T-1001" in page) == (303, True)
    assert sign_in(url, "sam@example.com", passwords["sam@example.com"])[0] == 303
    files = {path.name: path for path in (tmp_path / "first" / ".counterfoil").iterdir()}
    for name in ("people.json", "token", "helpdesk-secret", "billing-token"):
        assert stat.S_IMODE(files[name].stat().st_mode) == 0o600, name
    written = "".join(
        path.read_text("utf-8") for path in (tmp_path / "first").rglob("*.[jmy]*") if path.is_file()
    )
    assert not [password for password in passwords.values() if password in written]


def test_the_folder_has_the_commands_of_the_page(tmp_path: Path, shell: Shell) -> None:
    printed = shell.type(commands(PAGE)[0])
    readme = commands((tmp_path / "first" / "README.md").read_text("utf-8"))
    assert readme == commands(PAGE)[2:]
    following = [
        line.partition("#")[0].strip() for line in printed.splitlines() if line.startswith("    counterfoil ")
    ]
    assert len(following) == 3
    assert all(line.startswith(step) for line, step in zip(readme, following, strict=False))
