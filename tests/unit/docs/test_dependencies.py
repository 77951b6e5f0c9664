"""Every dependency has its reason, its true licence, and its place in the lock with hashes."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import files, metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.source import ROOT

ROW = re.compile(r"^\| ([\w.\-]+) \| ([^|]+) \| ([^|]+) \|$", re.M)
PIN = re.compile(r"^([\w.\-]+)==([^\s;]+)", re.M)
LOCK_LINE = re.compile(
    r"[a-z0-9][\w.\-]*==[\w.!]+( ; [\w\s.'\"<>=!()]+)?( \\)?|    --hash=sha256:[0-9a-f]{64}( \\)?"
)


def declared() -> dict[str, Requirement]:
    """Every requirement of the package, its extras and its build."""
    content = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    project = content["project"]
    lines = [*project["dependencies"], *content["build-system"]["requires"]]
    for extra in project["optional-dependencies"].values():
        lines += extra
    requirements = [Requirement(line) for line in lines]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


def described() -> dict[str, tuple[str, str]]:
    """Package -> licence and reason, as docs/decisions/dependencies.md states them."""
    page = (ROOT / "docs/decisions/dependencies.md").read_text("utf-8")
    rows = [row for row in ROW.findall(page) if row[0] != "package"]
    return {canonicalize_name(name): (licence.strip(), reason.strip()) for name, licence, reason in rows}


def locked(text: str) -> dict[str, tuple[str, int]]:
    """Package -> pinned version and number of hashes. The last pin counts where markers choose."""
    found: dict[str, tuple[str, int]] = {}
    for entry in re.split(r"\n(?=\S)", text):
        pin = PIN.match(entry)
        assert pin is not None, f"not a pin: {entry[:80]!r}"
        found[canonicalize_name(pin[1])] = (pin[2], entry.count("--hash=sha256:"))
    return found


def foreign_lines(text: str) -> list[str]:
    """Lines of a lock that are neither a pin nor a hash. A local version (`+cpu`) is foreign as well: it comes
    from a private index and cannot be installed elsewhere."""
    return [line for line in text.splitlines() if not LOCK_LINE.fullmatch(line)]


def lock() -> str:
    return (ROOT / "requirements.lock").read_text("utf-8")


def plain(licence: str) -> str:
    return re.sub(r"[\s\-]+|licen[cs]e|approved", "", licence.lower())


def licence_file(name: str) -> str:
    """The text of the licence that the package carries; for packages whose metadata state none."""
    (file,) = (file for file in files(name) or () if file.name.startswith("LICENSE"))
    return file.read_text("utf-8")


@pytest.mark.parametrize("name", sorted(declared()))
def test_every_dependency_has_its_sentence(name: str) -> None:
    assert name in described(), f"{name} has no line in docs/decisions/dependencies.md"
    licence, reason = described()[name]
    assert licence
    assert reason.endswith("."), f"the reason for {name} is not a sentence"


def test_no_sentence_outlives_its_dependency() -> None:
    assert set(described()) - set(declared()) == set()


@pytest.mark.parametrize("name", sorted(declared()))
def test_the_stated_licence_is_the_package_s_own(name: str) -> None:
    about = metadata(name)
    stated = [*(about.get_all("License-Expression") or []), *(about.get_all("License") or [])]
    stated += [
        each.split("::")[-1] for each in about.get_all("Classifier") or [] if each.startswith("License")
    ]
    if not any(stated):
        stated = [licence_file(name).splitlines()[0]]
    assert plain(described()[name][0]) in {plain(each) for each in stated if each}


@pytest.mark.parametrize("name", sorted(declared()))
def test_every_dependency_is_locked_at_a_version_it_allows(name: str) -> None:
    version, _ = locked(lock())[name]
    assert declared()[name].specifier.contains(version, prereleases=True)


def test_everything_in_the_lock_has_a_hash() -> None:
    assert [name for name, (_, hashes) in locked(lock()).items() if hashes == 0] == []
    assert locked("left-out==1.0\nkept==2.0 \\\n    --hash=sha256:00\n")["left-out"] == ("1.0", 0)


def test_the_lock_holds_names_versions_and_hashes_only() -> None:
    assert foreign_lines(lock()) == []


@pytest.mark.parametrize(
    "line",
    [
        "# made by a command",
        "--index" + "-url https://mirror.example/" + "simple",
        "--find" + "-links wheels",
        "torch==2.0+cpu \\",
        "thing @ file:" + "//somewhere/thing.whl",
        "    # via pytest",
        "thing>=1.0",
    ],
)
def test_a_planted_foreign_line_is_found(line: str) -> None:
    assert foreign_lines(f"ruff==1.0 \\\n    --hash=sha256:{'0' * 64}\n{line}") == [line]
