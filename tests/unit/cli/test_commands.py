"""The command line without a server: every command, its documentation and its exit codes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from counterfoil import __version__
from counterfoil.cli import client
from counterfoil.cli.commands import COMMANDS as LISTED
from counterfoil.cli.commands import app_with
from counterfoil.cli.main import main
from counterfoil.cli.processes import twins
from counterfoil.core.finding import did_you_mean
from counterfoil.store.sql.sqlite import SqliteStore
from tests.source import ROOT

CLI = (ROOT / "docs" / "reference" / "cli.md").read_text("utf-8")
JSON = (ROOT / "docs" / "reference" / "json-output.md").read_text("utf-8")
RUNNER = CliRunner()
SILENT = {"up", "worker", "demo", "twin"}
"""Commands that run until they are ended and print no result."""


def commands() -> dict[str, Any]:
    """Return every command by its full name."""
    by_name: dict[str, Any] = {}
    group: Any = get_command(app_with(LISTED))
    for name, command in group.commands.items():
        if not hasattr(command, "commands") or command.invoke_without_command:
            by_name[name] = command
        for inner, below in getattr(command, "commands", {}).items():
            by_name[f"{name} {inner}"] = below
    return by_name


COMMANDS = commands()


def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str
) -> tuple[int, str, str]:
    """Return exit code, standard output and standard error of the installed entry point."""
    monkeypatch.setattr(sys, "argv", ["counterfoil", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    code = ended.value.code
    assert isinstance(code, int)
    return code, captured.out, captured.err


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_documented_and_explains_itself(name: str) -> None:
    assert re.search(rf"^\| `{re.escape(name)}[ `]", CLI, re.M)
    assert COMMANDS[name].help


@pytest.mark.parametrize("name", COMMANDS)
def test_an_option_of_its_own_is_documented(name: str) -> None:
    line = next(line for line in CLI.splitlines() if re.match(rf"\| `{re.escape(name)}[ `]", line))
    plain = {"--format", "--help", "--limit", "--content-type", "--workflow"}
    for parameter in COMMANDS[name].params:
        for option in parameter.opts:
            if option.startswith("--") and option not in plain:
                assert option in line, f"{name} {option}"


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - SILENT))
def test_a_command_that_prints_prints_json_too(name: str) -> None:
    assert any("--format" in parameter.opts for parameter in COMMANDS[name].params)
    assert f"`{name}`" in JSON


def test_no_documented_command_is_missing() -> None:
    documented = set(re.findall(r"^\| `([a-z]+(?: [a-z]+)?)[ `]", CLI, re.M))
    assert documented == set(COMMANDS)


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(capsys, monkeypatch, "--version") == (0, __version__ + "\n", "")


@pytest.mark.parametrize(
    "words", [["nonsense"], ["runs", "--nonsense"], ["runs", "--limit", "0"], ["resolve", "x"]]
)
def test_wrong_usage_ends_with_two(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    code, out, err = run(capsys, monkeypatch, *words)
    assert (code, out) == (2, "")
    assert err


def test_a_missing_server_is_reported_with_advice(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERFOIL_URL", "http://127.0.0.1:1")
    code, _, err = run(capsys, monkeypatch, "runs")
    assert code == 2
    assert "counterfoil up" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("files", "words", "said"),
    [
        ([], [], "There is no store at .counterfoil/counterfoil.db. Name it with --store."),
        (["demo/store.sqlite"], ["--store", "sqlite:.counterfoil/demo/stor.sqlite"],
         "did you mean `.counterfoil/demo/store.sqlite`?"),
        (["demo/store.sqlite"], ["--store", "x.db"], "found here: .counterfoil/demo/store.sqlite"),
        (["counterfoil.db"], ["--store", "x.db"], "found here: .counterfoil/counterfoil.db"),
    ],
)  # fmt: skip
def test_an_audit_without_its_store_names_those_that_exist(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    files: list[str], words: list[str], said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for name in files:
        (tmp_path / ".counterfoil" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / ".counterfoil" / name).touch()
    code, _, err = run(capsys, monkeypatch, "doctor", "--audit", *words)
    assert (code, said in err) == (2, True), err


def test_an_audit_finds_the_store_of_the_demonstration(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    store = Path(".counterfoil/demo/store.sqlite")
    store.parent.mkdir(parents=True)

    async def create() -> None:
        opened = await SqliteStore.open(str(store))
        await opened.close()

    asyncio.run(create())
    _, out, _ = run(capsys, monkeypatch, "doctor", "--audit", "--format", "json")
    checks = {row["check"]: row for row in json.loads(out)}
    assert checks["audited store"]["detail"] == f"sqlite:{store}"
    assert checks["audit"]["detail"].startswith("0 leaves, 0 checkpoints")


def test_doctor_finds_that_nothing_answers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERFOIL_URL", "http://127.0.0.1:1")
    code, out, _ = run(capsys, monkeypatch, "doctor", "--format", "json")
    rows = json.loads(out)
    assert code == 1
    assert [row["check"] for row in rows if not row["ok"] and row["check"] == "server"] == ["server"]
    assert all(row["do"] for row in rows if not row["ok"])


# ------------------------------------------------------------------ governance


def test_a_new_folder_passes_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "rules"
    code, out, _ = run(capsys, monkeypatch, "init", str(folder), "--format", "json")
    assert code == 0
    assert all(Path(name).is_file() for name in json.loads(out))
    assert run(capsys, monkeypatch, "check", str(folder))[0] == 0
    assert run(capsys, monkeypatch, "check", str(folder), "--format", "json")[1] == "[]\n"
    assert run(capsys, monkeypatch, "init", str(folder))[0] == 2


def test_check_ends_with_one_and_says_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.yaml").write_text("kind: role\nname: a\nmay: [nonsense]\n")
    code, out, _ = run(capsys, monkeypatch, "check", str(tmp_path))
    assert code == 1
    assert re.search(r"^\S*broken\.yaml:3: error: ", out, re.M)
    code, out, _ = run(capsys, monkeypatch, "check", str(tmp_path), "--format", "json")
    assert (code, json.loads(out)[0]["line"]) == (1, 3)


def test_check_of_a_missing_folder_is_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(capsys, monkeypatch, "check", str(tmp_path / "none"))[0] == 2


def test_fmt_changes_files_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "role.yaml"
    path.write_text("kind:   role\nname:     auditor\nmay:    ['runs:any:read']\n")
    assert run(capsys, monkeypatch, "fmt", str(tmp_path), "--check")[0] == 1
    before = path.read_text()
    code, out, _ = run(capsys, monkeypatch, "fmt", str(tmp_path), "--format", "json")
    assert (code, json.loads(out)) == (0, [str(path)])
    assert path.read_text() != before
    assert run(capsys, monkeypatch, "fmt", str(tmp_path), "--check")[0] == 0


def test_explain_says_the_value_and_what_was_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = tmp_path / "sample.json"
    sample.write_text('{"event": {"data": {"amount": {"minor": 1250, "currency": "USD"}}}}')
    words = ["explain", "event.data.amount", "--sample", str(sample), "--format", "json"]
    code, out, _ = run(capsys, monkeypatch, *words)
    result = json.loads(out)
    assert code == 0
    assert result["value"] == {"amount": "12.50", "currency": "USD", "minor": 1250}
    assert "event.data.amount" in result["reads"]


def test_the_commands_that_a_new_folder_names_do_what_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(capsys, monkeypatch, "init", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    texts = "".join(path.read_text("utf-8") for path in tmp_path.glob("*.yaml"))
    named = re.findall(r"`(counterfoil explain [^`]*)`", texts)
    assert named
    for command in named:
        code, out, _ = run(capsys, monkeypatch, *shlex.split(command)[1:])
        assert (code, "null" in out, "'120.00'" in out) == (0, False, True), out


@pytest.mark.parametrize(
    ("sample", "expression", "code", "said"),
    [
        ({"amount": "1.50"}, "body.amount", 0, "is taken as body"),
        ({"amount": {"minor": 150, "currency": "USD"}}, "input.amount.minor + 1", 0, "151  (dyn)"),
        ({"body": {"amount": "1.50"}}, "body.amount", 0, "body.amount = '1.50'"),
        (
            {"amount": "1.50"},
            "body.amount == event.amount",
            1,
            "The sample must have `body`, `event` at its top.",
        ),
        ({"body": {}}, "body.amount", 1, "no such key"),
    ],
)
def test_a_sample_is_the_value_of_the_only_name_that_it_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    sample: dict[str, Any], expression: str, code: int, said: str,
) -> None:  # fmt: skip
    file = tmp_path / "sample.json"
    file.write_text(json.dumps(sample))
    answer = run(capsys, monkeypatch, "explain", expression, "--sample", str(file))
    assert (answer[0], said in answer[1]) == (code, True), answer


@pytest.mark.parametrize("words", [["explain", "1", "--sample"], ["match"], ["apply"]])
def test_a_missing_or_broken_file_is_named_with_its_near_name_or_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("history.json").write_text('{\n "a": 1,\n "b" 2}\n')
    code, _, err = run(capsys, monkeypatch, *words, "histori.json")
    assert (code, "did you mean `history.json`?" in err) == (2, True), err
    code, _, err = run(capsys, monkeypatch, *words, "history.json")
    assert (code, "line 3: " in err) == (2, True), err


def test_explain_without_a_value_ends_with_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = run(capsys, monkeypatch, "explain", "1 +")
    assert code == 1
    assert out.strip()


# ------------------------------------------------------------------ tokens, twins, connectors


def test_the_token_comes_from_the_environment_or_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COUNTERFOIL_TOKEN", raising=False)
    assert client.token() == ""
    (tmp_path / ".counterfoil").mkdir()
    (tmp_path / ".counterfoil" / "token").write_text("cft_file\n")
    assert client.token() == "cft_file"
    monkeypatch.setenv("COUNTERFOIL_TOKEN", "cft_env")
    assert client.token() == "cft_env"


def test_an_unknown_twin_lists_the_available_ones(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = run(capsys, monkeypatch, "twin", "unknown")
    assert code == 2
    assert twins()
    assert all(name in err for name in twins())


def test_connectors_lists_what_is_installed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = run(capsys, monkeypatch, "connectors", "--format", "json")
    assert code == 0
    assert "http" in [row["name"] for row in json.loads(out)]


def test_the_conformance_suite_runs_on_a_trial(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    trial = ROOT / "tests" / "contract" / "trial_http.py"
    code, out, err = run(
        capsys,
        monkeypatch,
        "connectors",
        "test",
        "http",
        "--trial",
        f"{trial}:http_ledger",
        "--format",
        "json",
    )
    assert code == 0, err
    assert len(json.loads(out)) > 10


def test_a_secret_never_stands_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    body = tmp_path / "body.json"
    body.write_text("{}")
    code, _, err = run(capsys, monkeypatch, "send", "billing", str(body), "--secret", "hunter2")
    assert code == 2
    assert "hunter2" not in err


def test_the_list_shows_each_command_as_the_command_itself_does() -> None:
    listed, whole = (RUNNER.invoke(app_with(names), ["--help"]) for names in ((), LISTED))
    assert (listed.exit_code, listed.output) == (0, whole.output)
    assert len(LISTED) == len(re.findall(r"^  [a-z]+  ", listed.output, re.M))


def test_version_and_list_import_no_command() -> None:
    """Each import costs start-up time of every command."""
    heavy = {"httpx2", "rich", "pydantic", "counterfoil.model"}
    for word in ("--version", "--help"):
        code = (
            "import sys; from counterfoil.cli.main import main; sys.argv = ['counterfoil', sys.argv[1]]\n"
            "try: main()\nexcept SystemExit: pass\nprint(*sys.modules, file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", code, word], capture_output=True, text=True, check=True)
        assert done.stdout
        assert heavy.isdisjoint(done.stderr.split())


def test_the_commands_on_a_server_import_no_governance() -> None:
    code = "import sys, counterfoil.cli.operate, counterfoil.cli.matches; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"rich", "pydantic", "counterfoil.model", "counterfoil.store", "counterfoil.flow"}.isdisjoint(
        done.stdout.split()
    )


def test_check_looks_at_every_environment_or_at_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run(capsys, monkeypatch, "init", str(tmp_path / "first"))
    overlay = "kind: overlay\nname: prod\nof: {environment: production}\nchanges: [{kind: role, name: unknown, set: {doc: x}}]\n"
    (tmp_path / "first" / "overlay.yaml").write_text(overlay, encoding="utf-8")
    assert run(capsys, monkeypatch, "check", str(tmp_path / "first"))[0] == 1
    code, output, _ = run(capsys, monkeypatch, "check", str(tmp_path / "first"), "--environment", "prod")
    assert (code, "no overlay is for the environment `prod`" in output) == (1, True)
    (tmp_path / "first" / "overlay.yaml").write_text(overlay.replace("unknown", "finance"), encoding="utf-8")
    assert run(capsys, monkeypatch, "check", str(tmp_path / "first"), "--environment", "production")[0] == 0


# ------------------------------------------------------------------ messages


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (["runs", "--status", "doen"], "did you mean `done`?"),
        (["cases", "--state", "closed"], "one of open, resolved, all"),
        (["approvals", "--state", "grantd"], "did you mean `granted`?"),
        (["foils", "--state", "mached"], "did you mean `matched`?"),
    ],
)
def test_an_unknown_status_is_wrong_use_before_any_call(
    words: list[str], fix: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERFOIL_URL", "http://127.0.0.1:1")
    code, _, err = run(capsys, monkeypatch, *words)
    assert code == 2
    assert f"{words[1]} {words[2]} does not exist; {fix}" in err


def test_explain_without_a_sample_says_what_it_needs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(capsys, monkeypatch, "explain", "1 + 2")[:2] == (0, "3  (int)\n")
    code, out, _ = run(capsys, monkeypatch, "explain", "event.x + 1")
    assert (code, "null" in out, "--sample" in out) == (0, False, True)


def test_a_file_name_that_is_not_text_ends_no_command(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/bad\xff.yaml"
    with open(name, "w", encoding="utf-8") as file:
        file.write("kind: role\nname: a\ncolour: red\n")
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    for form in ("text", "json"):
        command = [
            sys.executable,
            "-m",
            "counterfoil.cli.main",
            "check",
            str(tmp_path),
            "--format",
            form,
        ]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert (done.returncode, done.stderr) == (1, "")
        assert "unknown key `colour`" in done.stdout


@pytest.mark.parametrize(
    "text",
    [
        b"{kind: object, name: invoice, system: erp, fields: {status: string}\n",
        b"kind: [object\nname: invoice\n",
        b"\tkind: object\nname: invoice\n",
        b"kind: objekt\nname: invoice\n",
        b"kind: object\nnam: invoice\nsystem: erp\nfields: {status: string}\n",
        b"\xff\xff\n",
        b'kind: object\nname: invoice\ndoc: "\\ud800"\n',
    ],
)
def test_one_unreadable_document_does_not_echo(
    text: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.yaml").write_bytes(text)
    users = "---\n".join(
        f"kind: event\nname: invoice.{verb}.v1\nobject: invoice\nproduced: http\ndata: {{invoice_id: id}}\n"
        for verb in ("posted", "sent", "paid")
    )
    (tmp_path / "b.yaml").write_text(
        "{kind: role, name: finance}\n---\n{kind: system, name: erp, role: erp, connector: external, owner: finance}\n---\n"
        + users
    )
    _, out, _ = run(capsys, monkeypatch, "check", str(tmp_path))
    lines = [line for line in out.splitlines() if ": error: " in line]
    assert lines
    assert [line for line in lines if "a.yaml" not in line] == []


def test_a_faulty_formula_shows_its_column_and_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.yaml").write_text("kind: alert\nname: a\nwhen: 1 + + foo(2)\nto: []\n")
    _, out, _ = run(capsys, monkeypatch, "check", str(tmp_path))
    assert "see column 5 of `1 + + foo(2)`" in out


NOT_TEXT = os.fsdecode(b"a\xed\xa0\x80\xff")
"""An argument as Python reads bytes that are not UTF-8: a lone surrogate, and a byte that no character has."""


def lines_with_surrogates(folder: Path) -> list[list[str]]:
    """Return a command line for each option of each command, with text that cannot be encoded in every place."""
    broken = folder / "broken.json"
    broken.write_bytes(b'{"a": "\\ud800", "b": "\xff\xed\xa0\x80"}')
    lines = []
    for name, command in COMMANDS.items():
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option" and not p.is_flag]
        for text in (NOT_TEXT, str(broken)):
            words = [*name.split(), *(text for _ in arguments)]
            required = [[o.opts[0], "x"] for o in options if o.required]
            lines.append([*words, *(word for pair in required for word in pair)])
            lines += [[*lines[-1], option.opts[0], text] for option in options]
    return lines


def test_text_that_cannot_be_encoded_ends_no_command_in_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERFOIL_URL", "http://127.0.0.1:1")
    monkeypatch.chdir(tmp_path)
    lines = [words for words in lines_with_surrogates(tmp_path) if words[0] not in ("demo", "twin")]
    assert len(lines) > 150
    for words in lines:
        code, _, err = run(capsys, monkeypatch, *words)
        assert code in (0, 1, 2), words
        assert "codec can't" not in err, (words, err)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("COUNTERFOIL_TOKEN", NOT_TEXT, "is no token"),
        ("COUNTERFOIL_TOKEN", "schl\u00fcssel", "is no token"),
        ("COUNTERFOIL_URL", f"http://{NOT_TEXT}", "is no address such as"),
        ("COUNTERFOIL_URL", "localhost:8080", "is no address such as"),
        ("COUNTERFOIL_URL", "http://", "is no address such as"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(
    name: str, value: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, name, value)
    code, _, err = run(capsys, monkeypatch, "runs")
    assert (code, name in err, message in err) == (2, True, True)
    assert "schl" not in err


def test_a_fix_never_names_the_wrong_word_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert did_you_mean("policy", ["policy", "policies"]) == "did you mean `policies`?"
    (tmp_path / "a.yaml").write_text(
        "kind: workflow\nname: w\nowner: o\nfailure: f\nstart: {event: e.v1, key: event.data.id}\n"
        "steps: [{policy: x, check: a}, {check: a, policy: x}, {approve: p, workflow: x, policy: y}]\n"
    )
    _, out, _ = run(capsys, monkeypatch, "check", str(tmp_path))
    unknown = re.findall(r"unknown key `(\w+)`\n +(.*)", out)
    assert [key for key, _ in unknown] == ["policy", "policy", "workflow", "policy"]
    assert all(f"`{key}`" not in fix for key, fix in unknown)


def test_tests_of_a_folder_import_no_driver_and_no_comparison_of_contracts() -> None:
    code = "import sys, counterfoil.testing.run; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    unused = {"apsw", "asyncpg", "counterfoil.contracts.openapi", "counterfoil.contracts.asyncapi"}
    assert unused.isdisjoint(done.stdout.split())
