"""Builds the ERP's folder: configuration, SQLite database, books, users and keys.

A folder is complete or absent: it is built under a temporary name and then renamed. A prepared ERP may be cached and
copied. The copy has the same keys, which is acceptable only for a demonstration and for tests.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from counterfoil.core.private_file import write_private

DATABASE = "erp"
SEED = "seed.json"
CONFIG = "trytond.conf"


def prepare(folder: Path, today: date, port: int | None = None, cache: Path | None = None) -> Path:
    """Prepare an ERP in `folder` with books for the years around `today`, and return the path of its seed.json.

    A prepared folder stays unchanged. With `cache`, the ERP is built there once, under a lock, and copied.
    """
    folder = folder.resolve()
    seed = folder / SEED
    if seed.exists():
        return seed
    if folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"{folder} is not empty and has no {SEED}: choose another folder or empty this one")
    folder.parent.mkdir(parents=True, exist_ok=True)
    if cache is None:
        _build(folder, today)
    else:
        _copy(_find_cached(cache, today), folder)
    _place(folder, port)
    return seed


def is_of_earlier_version(seed: Mapping[str, Any]) -> bool:
    """Return whether an earlier version prepared the ERP of a seed: without the accounts of payments, or one company."""
    companies = seed.get("companies", {})
    return not companies or any("cash" not in books for books in companies.values())


def _find_cached(cache: Path, today: date) -> Path:
    """Return this year's prepared ERP in `cache`; build it if it is missing. A lock serializes processes."""
    cache.mkdir(parents=True, exist_ok=True)
    template = cache.resolve() / f"erp-{today.year}-{_edition()}"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (template / SEED).exists():
            _build(template, today)
    return template


def _edition() -> str:
    """Return a digest of everything a prepared ERP depends on: the seeding programs and the ERP's version."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for name in ("prepare.py", "seed.py", "books.py", "charts.py"):
        digest.update((here / name).read_bytes())
    for package in ("trytond", "trytond_account_invoice"):
        digest.update(version(package).encode())
    return digest.hexdigest()[:12]


def _build(folder: Path, today: date) -> None:
    """Build under a temporary name, then rename, so that a killed build leaves no half-prepared ERP."""
    building = folder.with_name(f"{folder.name}.building-{os.getpid()}")
    shutil.rmtree(building, ignore_errors=True)
    (building / "data").mkdir(parents=True)
    building.chmod(0o700)  # the database holds the keys
    _place(building, None)
    try:
        # A separate process, because the ERP's pool and configuration are global to a process.
        program = [sys.executable, "-m", "counterfoil.demo.erp.seed"]
        subprocess.run([*program, str(building), today.isoformat()], check=True)
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"the ERP could not be prepared; see {building}, which was not deleted") from error
    _move(building, folder)


def _copy(template: Path, folder: Path) -> None:
    copying = folder.with_name(f"{folder.name}.copying-{os.getpid()}")
    shutil.copytree(template, copying)
    _move(copying, folder)


def _move(built: Path, folder: Path) -> None:
    if folder.exists():
        folder.rmdir()  # empty, as `prepare` checked
    built.rename(folder)


def _place(folder: Path, port: int | None) -> None:
    """Write the settings that depend on the ERP's folder and port."""
    (folder / CONFIG).write_text(
        f"[database]\nuri = sqlite://\npath = {folder / 'data'}\nlist = False\n\n[session]\ntimeout = 3600\n",
        encoding="utf-8",
    )
    seed = folder / SEED
    if port is not None and seed.exists():
        content = json.loads(seed.read_text(encoding="utf-8"))
        content["port"] = port
        content["url"] = f"http://127.0.0.1:{port}"
        write_private(seed, json.dumps(content, indent=1).encode())
