"""`people`: the file is edited whole or not at all, readable by its owner only, and passwords never are arguments."""

from __future__ import annotations

import io
import json
import os
import stat
from pathlib import Path
from typing import Any

import argon2
import pytest

from counterfoil.cli import commands
from counterfoil.core.errors import Misconfigured
from counterfoil.people_file import edited, people_path

ROLES = "{kind: role, name: clerk}\n---\n{kind: role, name: finance}\n"
ANN = {
    "id": "ann",
    "email": "ann@x",
    "name": "Ann",
    "aliases": {"desk": ["U1"]},
    "roles": ["clerk"],
    "active": True,
}
ADD = ("people", "add", "bob", "--email", "bob@x", "--role", "clerk", "--password-stdin")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "roles.yaml").write_text(ROLES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COUNTERFOIL_PEOPLE", raising=False)
    monkeypatch.setenv("COUNTERFOIL_URL", "http://127.0.0.1:1")
    return tmp_path


@pytest.fixture
def file(folder: Path) -> Path:
    path = folder / ".counterfoil" / "people.json"
    path.parent.mkdir(mode=0o700)
    path.write_text(json.dumps([ANN]))
    return path


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str, stdin: str = ""
) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["counterfoil", *words])
    monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
    with pytest.raises(SystemExit) as ended:
        commands.run(words)
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def entries(file: Path) -> dict[str, dict[str, Any]]:
    return {entry["id"]: entry for entry in json.loads(file.read_text())}


def test_a_person_is_added_and_others_stay_as_written(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(monkeypatch, capsys, *ADD, "--format", "json", stdin="correct horse\n")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "id": "bob",
        "change": "added",
        "file": ".counterfoil/people.json",
        "takes_effect": "It applies when `counterfoil up` starts.",
    }
    assert list(entries(file)["ann"].items()) == list(ANN.items())
    assert argon2.PasswordHasher().verify(entries(file)["bob"]["secret"], "correct horse")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["people.json"]
    listed = json.loads(run(monkeypatch, capsys, "people", "list", "--format", "json")[1])
    assert [(row["id"], row["password"], row["token"], row["active"]) for row in listed] == [
        ("ann", False, False, True),
        ("bob", True, False, True),
    ]
    assert "secret" not in listed[1]


def test_a_zone_is_stored_and_listed(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, _ = run(monkeypatch, capsys, *ADD, "--zone", "Europe/Berlin", stdin="correct horse\n")
    assert (code, entries(file)["bob"]["zone"]) == (0, "Europe/Berlin")
    _, listed, _ = run(monkeypatch, capsys, "people", "list", "--format", "json")
    assert {row["id"]: row["zone"] for row in json.loads(listed)} == {"ann": "", "bob": "Europe/Berlin"}


def test_the_first_person_creates_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, capsys, *ADD, stdin="correct horse\n")[0] == 0
    assert stat.S_IMODE((folder / ".counterfoil").stat().st_mode) == 0o700
    assert list(entries(folder / ".counterfoil" / "people.json")) == ["bob"]


def test_a_password_is_changed_and_an_account_ended(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(
        monkeypatch, capsys, "people", "password", "ann", "--password-stdin", stdin="other horse\n"
    )
    assert (code, "ann has a new password" in out) == (0, True)
    assert argon2.PasswordHasher().verify(entries(file)["ann"]["secret"], "other horse")
    assert run(monkeypatch, capsys, "people", "end", "ann")[0] == 0
    assert entries(file)["ann"]["active"] is False


@pytest.mark.parametrize(
    ("words", "stdin", "message"),
    [
        ((*ADD[:6], "clrek", ADD[7]), "correct horse\n", "there is no role clrek in .; did you mean `clerk`?"),
        ((*ADD[:2], "ann", *ADD[3:]), "correct horse\n", "has the person ann already"),
        ((*ADD[:4], "ann@x", *ADD[5:]), "correct horse\n", "'ann@x' in desk names both ann and bob"),
        ((*ADD[:4], "bob", *ADD[5:]), "correct horse\n", "bob is not an e-mail address"),
        (ADD, "short\n", "at least 8 characters"),
        (ADD, "", "at least 8 characters"),
        (ADD[:7], "correct horse\n", "use --password-stdin"),
        ((*ADD, "--zone", "Europe/Berln"), "correct horse\n", "there is no time zone 'Europe/Berln'; did you mean `Europe/Berlin`?"),
        (("people", "password", "anm", "--password-stdin"), "correct horse\n", "did you mean `ann`?"),
        (("people", "end", "anm"), "", "did you mean `ann`?"),
    ],
)  # fmt: skip
def test_wrong_use_changes_nothing(
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    stdin: str,
    message: str,
) -> None:
    before = file.read_bytes()
    code, out, err = run(monkeypatch, capsys, *words, stdin=stdin)
    assert (code, out) == (2, "")
    assert message in err
    assert file.read_bytes() == before


def test_a_folder_without_roles_is_named(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (file.parent.parent / "roles.yaml").unlink()
    code, _, err = run(monkeypatch, capsys, *ADD, stdin="correct horse\n")
    assert (code, "name the governance folder with --dir" in err) == (2, True)


@pytest.mark.parametrize("content", ["{", '[{"id": "x"}]', '[{"id": 5}]', "\xff"])
def test_an_invalid_file_is_a_sentence(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    file.write_bytes(content.encode("latin-1"))
    for words in (("people", "list"), ADD):
        code, _, err = run(monkeypatch, capsys, *words, stdin="correct horse\n")
        assert (code, "people.json is not a valid people file" in err) == (2, True)


def test_an_edit_with_an_invalid_result_leaves_the_file(file: Path) -> None:
    before = file.read_bytes()

    def add_twice() -> None:
        with edited(file) as rows:
            rows.append({"id": "bob"})

    with pytest.raises(Misconfigured, match="not a valid people file"):
        add_twice()
    assert file.read_bytes() == before


def test_a_link_stays_a_link(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = file.rename(file.parent.parent / "real.json")
    file.symlink_to(real)
    assert run(monkeypatch, capsys, "people", "end", "ann")[0] == 0
    assert file.is_symlink()
    assert entries(real)["ann"]["active"] is False


def test_the_file_of_the_process_comes_before_that_of_the_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, governance = Path(".counterfoil"), folder / "first"
    assert people_path(governance, home) == home / "people.json"
    (governance / ".counterfoil").mkdir(parents=True)
    (governance / ".counterfoil" / "people.json").touch()
    assert people_path(governance, home) == governance / ".counterfoil" / "people.json"
    home.mkdir()
    (home / "people.json").touch()
    assert people_path(governance, home) == home / "people.json"
    monkeypatch.setenv("COUNTERFOIL_PEOPLE", os.fspath(folder / "mine.json"))
    assert people_path(governance, home) == folder / "mine.json"
