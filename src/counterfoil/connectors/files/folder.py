"""Files of a book in the folder of its system, and nothing outside of it."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from counterfoil.connectors.files.reader import FileRefused
from counterfoil.core.errors import TryAgain


class FileStamp(NamedTuple):
    """One file as it is now. Another size or time of change means another content. Ordered by arrival.

    `changed_ns` is the time at which the content, the name or the place of the file changed last. A sender cannot set it, so a file
    that is copied with an old date still arrives now.
    """

    changed_ns: int
    name: str
    """Path below the folder."""
    size: int
    modified_ns: int
    path: Path

    @property
    def content(self) -> tuple[int, int, int]:
        return self.changed_ns, self.modified_ns, self.size


def files_of(folder: str, pattern: str) -> list[FileStamp]:
    """Return the complete names of a pattern, in the order of their names; numbers in names count as numbers.

    Hidden files and folders are left out. Raises TryAgain without the folder, FileRefused for a file that leads out of it.
    """
    root = Path(folder)
    try:
        real = root.resolve(strict=True)
        if not real.is_dir():
            raise TryAgain(f"{folder} is no folder")
        stamps = list(_stamps(root, real, pattern))
    except OSError as error:
        raise TryAgain(f"the folder {folder} cannot be read: {error.strerror or error}") from error
    return sorted(stamps, key=lambda file: natural(file.name))


def _stamps(root: Path, real: Path, pattern: str) -> Iterator[FileStamp]:
    for path in root.glob(pattern):
        name = path.relative_to(root).as_posix()
        if any(part.startswith(".") for part in name.split("/")):
            continue
        try:
            target = path.resolve(strict=True)
            status = target.stat()
        except FileNotFoundError:
            continue  # moved away meanwhile
        if not target.is_relative_to(real):
            raise FileRefused(f"{name} leads out of the folder {root}; remove the link")
        if stat.S_ISREG(status.st_mode):
            yield FileStamp(status.st_ctime_ns, name, status.st_size, status.st_mtime_ns, target)


def stamp_of(file: FileStamp) -> FileStamp | None:
    """Return a file as it is now, or None if it is not there any more."""
    try:
        status = os.lstat(file.path)
    except FileNotFoundError:
        return None
    return file._replace(
        changed_ns=status.st_ctime_ns, size=status.st_size, modified_ns=status.st_mtime_ns
    )  # a link in the place of the file has other times


def natural(name: str) -> list[tuple[int, int, str]]:
    """Return the order of a name in which `export-9` stands before `export-10`, and dates in their order."""
    parts = re.split(r"(\d+)", name)
    return [(1, int(part), "") if part.isdecimal() and part.isascii() else (0, 0, part) for part in parts]
