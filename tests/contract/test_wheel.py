"""The wheel without a checkout: it has every file that the code reads, and the demonstration finds its company in it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.patience import PATIENCE_SECONDS
from tests.source import ROOT

PACKAGE = ROOT / "src" / "counterfoil"
ACME = ROOT / "examples" / "acme"
READ_EVERYTHING = """
import asyncio
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo
import counterfoil
from counterfoil.core.personal_texts import PersonalTexts
from counterfoil.demo.company import find_governance
from counterfoil.model import read
from counterfoil.store.sql.sqlite import SqliteStore
from counterfoil.web.http import assets
from counterfoil.web.pages.rendering import PageTemplates

async def open_store():
    await (await SqliteStore.open(Path("store.sqlite"))).close()

asyncio.run(open_store())
assert "style.css" in assets.files()
sign_in = {"next": "/", "email": "", "problem": None, "path": "/sign-in", "note": ""}
page = PageTemplates().render("sign_in.html", datetime.now(UTC), None, ZoneInfo("UTC"), PersonalTexts(), **sign_in)
assert "Password" in page
folder = find_governance(Path.cwd())
model, findings = read(folder)
print(Path(counterfoil.__file__).parent, folder, len(model.workflows), len(findings), sep="\\n")
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel with the installed tools, and return a folder with its content."""
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(out)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=PATIENCE_SECONDS)
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(out / "site")
    return out / "site"


def run(site: Path, work: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python on the wheel's content in the folder `work`."""
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run(
        [sys.executable, *words],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )


def files(folder: Path) -> dict[Path, bytes]:
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_wheel_has_every_file_of_the_package_and_the_example(site: Path) -> None:
    inside = files(site / "counterfoil")
    example = Path("demo", "examples", "acme")
    expected = files(PACKAGE) | {example / name: content for name, content in files(ACME).items()}
    assert inside == expected


def test_everything_is_read_from_the_wheel_in_an_empty_folder(site: Path, tmp_path: Path) -> None:
    ended = run(site, tmp_path, "-c", READ_EVERYTHING)
    assert ended.returncode == 0, ended.stderr
    package, folder, workflows, findings = ended.stdout.splitlines()
    assert Path(package) == site / "counterfoil"
    assert Path(folder) == site / "counterfoil" / "demo" / "examples" / "acme"
    written = [line for path in ACME.rglob("*.yaml") for line in path.read_text("utf-8").splitlines()]
    assert int(workflows) == written.count("kind: workflow")
    assert int(findings) == 0


def test_starter_folder_comes_from_the_wheel(site: Path, tmp_path: Path) -> None:
    cli = ("-m", "counterfoil.cli.main")
    assert run(site, tmp_path, *cli, "init", "mine").returncode == 0
    assert files(tmp_path / "mine").keys() >= files(PACKAGE / "model" / "starter").keys()


def test_example_of_the_working_folder_comes_first(site: Path, tmp_path: Path) -> None:
    own = tmp_path / "examples" / "acme"
    own.mkdir(parents=True)
    find = "from counterfoil.demo.company import find_governance, Path; print(find_governance(Path.cwd()))"
    assert Path(run(site, tmp_path, "-c", find).stdout.strip()) == own.resolve()
