"""`init`: secrets and persons are made up once, shown once, and never replaced."""

from __future__ import annotations

import hashlib
import json
import re
import stat
from pathlib import Path

import argon2
import pytest

from counterfoil.bootstrap import connectors_of, read_model
from counterfoil.cli import commands
from counterfoil.people_file import read_people


def init(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["counterfoil", "init", *words])
    with pytest.raises(SystemExit) as ended:
        commands.run(["init"])
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def passwords(text: str) -> dict[str, str]:
    return dict(re.findall(r"^ +(\S+@example\.com) +(\S+) ", text, re.M))


def test_the_printed_passwords_are_those_of_the_file_and_stored_only_as_hashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = init(monkeypatch, capsys, str(tmp_path / "first"))
    assert (code, err) == (0, "")
    home = tmp_path / "first" / ".counterfoil"
    entries = read_people(home / "people.json")
    assert {entry.email for entry in entries} == set(passwords(out))
    for entry in entries:
        assert argon2.PasswordHasher().verify(entry.secret, passwords(out)[entry.email])
        assert passwords(out)[entry.email] not in (home / "people.json").read_text()
    token = hashlib.sha256((home / "token").read_bytes()).hexdigest()
    assert [entry.token_sha256 for entry in entries] == ["", token]
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in home.iterdir()} == {0o600}
    roles = read_model(tmp_path / "first").roles
    assert {role for entry in entries for role in entry.roles} == set(roles)


async def test_the_folder_can_start_without_an_environment_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    init(monkeypatch, capsys, str(tmp_path / "first"))
    monkeypatch.setattr("os.environ", {})
    connectors = connectors_of(read_model(tmp_path / "first"), tmp_path / "first")
    assert set(connectors) == {"helpdesk", "billing", "ledger"}
    for connector in connectors.values():
        await connector.close()


def test_json_lists_the_files_and_the_passwords_are_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, err = init(monkeypatch, capsys, str(tmp_path / "first"), "--format", "json")
    written = {path for path in (tmp_path / "first").rglob("*") if path.is_file()}
    assert {Path(name) for name in json.loads(out)} == written
    assert len(passwords(err)) == 2
    assert passwords(out) == {}


@pytest.mark.parametrize("name", ["people.json", "token", "helpdesk-secret"])
def test_what_exists_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    home = tmp_path / ".counterfoil"
    home.mkdir()
    (home / name).write_text("[]")
    monkeypatch.chdir(tmp_path)
    code, out, _ = init(monkeypatch, capsys, ".")
    assert code == 0
    assert (home / name).read_text() == "[]"
    assert "cd " not in out
    persons = {"people.json", "token"}
    assert persons & {path.name for path in home.iterdir()} == ({name} if name in persons else persons)
    assert bool(passwords(out)) == (name not in persons)
