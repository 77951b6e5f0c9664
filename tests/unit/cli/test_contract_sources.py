"""Sources of `contracts diff`: files, standard input, URLs and revisions of a Git repository."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from counterfoil.cli.main import main
from tests.unit.cli.conftest import API, WIDER


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def run_with(base: str, revision: str, *words: str) -> tuple[Any, str, str]:
        monkeypatch.setattr(sys, "argv", ["counterfoil", "contracts", "diff", base, revision, *words])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return run_with


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.json").write_text(json.dumps(API))
    (tmp_path / "new.json").write_text(json.dumps(WIDER))
    return tmp_path


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)


@pytest.fixture
def repository(files: Path) -> Path:
    """Two commits of `apis/api.json`, which refers to `apis/parts/t.json`; the working tree has neither."""
    git(files, "init", "--quiet", "--initial-branch", "main")
    (files / "apis" / "parts").mkdir(parents=True)
    for tag, description in (("v1", API), ("v2", WIDER)):
        text = json.dumps({**description, "components": {}}).replace("#/components/schemas/T", "parts/t.json")
        (files / "apis" / "api.json").write_text(text)
        schema = description["components"]["schemas"]["T"]  # type: ignore[index]
        (files / "apis" / "parts" / "t.json").write_text(json.dumps(schema))
        git(files, "add", "apis")
        git(files, "commit", "--quiet", "-m", tag)
        git(files, "tag", tag)
    (files / "apis" / "parts" / "t.json").unlink()
    (files / "apis" / "api.json").unlink()
    return files


@pytest.fixture
def site() -> Iterator[str]:
    """A server on this machine with the two versions, a redirect, a large body and a missing page."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            pages = {"/old": json.dumps(API).encode(), "/new": json.dumps(WIDER).encode(), "/page": b"<html>"}
            moved = self.path == "/moved"
            body = pages.get(self.path, b"")
            self.send_response(302 if moved else 200 if self.path in pages else 404)
            if moved:
                self.send_header("location", "/new")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def is_verdict(result: Any) -> bool:
    code, out, err = result
    return (code, err) == (1, "") and out.startswith("1 breaking, 0 undecided, 0 other")


@pytest.mark.parametrize("side", [0, 1])
def test_one_side_can_be_standard_input(
    run: Any, files: Path, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["old.json", "new.json"]
    data = (files / names[side]).read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    names[side] = "-"
    assert is_verdict(run(*names))


def test_both_sides_cannot_be_standard_input(run: Any) -> None:
    code, _, err = run("-", "-")
    assert (code, "standard input" in err) == (2, True)


@pytest.mark.parametrize("new", ["/new", "/moved"])
def test_a_url_is_fetched_and_redirects_are_followed(run: Any, site: str, new: str) -> None:
    assert is_verdict(run(f"{site}/old", f"{site}{new}"))


def test_annotations_of_a_fetched_revision_have_no_file(run: Any, site: str) -> None:
    _, out, _ = run(f"{site}/old", f"{site}/new", "--format", "github")
    assert out.startswith("::error title=response-enum-value-added::")


def test_a_fetched_description_is_limited_in_size(
    run: Any, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from counterfoil import json_or_yaml
    from counterfoil.core.wire import Limits

    monkeypatch.setattr(json_or_yaml, "LIMITS", Limits(size=100, depth=200))
    code, _, err = run(f"{site}/old", f"{site}/new")
    assert (code, "larger than 100 bytes" in err) == (2, True)


@pytest.mark.parametrize("form", ["git:{}:apis/api.json", "{}:apis/api.json", "{}:./apis/api.json"])
def test_a_revision_is_read_with_the_files_of_that_revision(run: Any, repository: Path, form: str) -> None:
    assert is_verdict(run(form.format("v1"), form.format("v2")))
    assert run(form.format("v2"), form.format("HEAD"))[0] == 0


def test_a_revision_inside_a_folder_is_read_from_that_folder(
    run: Any, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository / "apis")
    assert is_verdict(run("v1:./api.json", "v2:./api.json"))
    assert is_verdict(run("v1:apis/api.json", "v2:apis/api.json"))


def test_annotations_of_a_revision_name_its_file(run: Any, repository: Path) -> None:
    _, out, _ = run("v1:apis/api.json", "v2:apis/api.json", "--format", "github")
    assert out.startswith("::error file=apis/api.json,line=1,title=")


def test_a_file_whose_name_has_a_colon_is_a_file(run: Any, files: Path) -> None:
    (files / "v1:api.json").write_text(json.dumps(API))
    assert is_verdict(run("v1:api.json", "new.json"))


@pytest.mark.parametrize(
    ("base", "says"),
    [
        ("missing.json", "missing.json: No such file"),
        (".", "directory"),
        ("git:v1:no.json", "no.json"),
        ("v9:apis/api.json", "v9"),
        ("git:--help:a", "git:--help:a"),
        ("v1:apis", "apis"),
        ("http://127.0.0.1:1/x", "http://127.0.0.1:1/x"),
        ("http://[", "http://["),
        ("http://no.invalid/x", "http://no.invalid/x"),
    ],
)
def test_a_source_that_cannot_be_read_ends_with_2_and_one_sentence(
    run: Any, repository: Path, base: str, says: str
) -> None:
    code, out, err = run(base, "new.json")
    assert (code, out, len(err.strip().splitlines())) == (2, "", 1)
    assert says in err


@pytest.mark.parametrize(("path", "says"), [("/none", "404"), ("/page", "an object")])
def test_a_page_that_is_no_description_ends_with_2(run: Any, site: str, path: str, says: str) -> None:
    code, _, err = run(f"{site}{path}", f"{site}/new")
    assert (code, says in err) == (2, True)


def test_outside_a_repository_a_revision_ends_with_2(
    run: Any, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(files.parent))
    code, _, err = run("v1:api.json", "new.json")
    assert (code, "repository" in err) == (2, True)
