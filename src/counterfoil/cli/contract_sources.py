"""Sources of contracts: a file, standard input, a URL, or a revision of a Git repository."""

from __future__ import annotations

import posixpath
import subprocess
import sys
from pathlib import Path
from typing import Any

from counterfoil.cli.failure import CommandFailed

STDIN = "-"
CONNECT_SECONDS = 10.0
FETCH_SECONDS = 60.0
GIT_SECONDS = 60.0


def read_source(name: str) -> tuple[bytes, dict[str, Any]]:
    """Return the bytes and the description of a source. Raises `UnreadableText` and CommandFailed.

    Files that a description refers to are read from its folder, or from its folder in the same revision. A description
    from a URL or from standard input has no folder.
    """
    from counterfoil.contracts.load import bundle, load
    from counterfoil.json_or_yaml import LIMITS, UnreadableText, parse

    path, files = Path(name), None
    if not _is_local(name):
        data = sys.stdin.buffer.read(LIMITS.size + 1) if name == STDIN else _fetch(name, LIMITS.size)
    elif path.exists() or (parts := _git_parts(name)) is None:
        description = load(path)
        return path.read_bytes(), description
    else:
        files = _GitFolder(*parts, LIMITS.size)
        data = files.bytes_of(parts[1])
    try:
        root = parse(data)
    except UnreadableText as error:
        raise UnreadableText(f"{name}: {error}") from error
    return data, bundle(root, name, files)


def file_of(name: str) -> str:
    """Return the file of a source, for a reader that opens it; empty if there is none."""
    if not _is_local(name):
        return ""
    parts = None if Path(name).exists() else _git_parts(name)
    return name if parts is None else parts[1]


def _is_local(name: str) -> bool:
    """Return true if a source is a file or in a Git repository."""
    return name != STDIN and not name.startswith(("http://", "https://"))


def _git_parts(name: str) -> tuple[str, str] | None:
    """Return revision and path of `git:REV:PATH` or `REV:PATH`; None if the name has another form."""
    revision, colon, file = name.removeprefix("git:").partition(":")
    if not colon or not revision or not file or revision.startswith("-"):
        return None
    return revision, file


def _fetch(url: str, limit: int) -> bytes:
    """Return the body of a URL. The person at the terminal chose it, so internal hosts are allowed."""
    import time

    import httpx2

    ends = time.monotonic() + FETCH_SECONDS
    body = bytearray()
    try:
        timeout = httpx2.Timeout(FETCH_SECONDS, connect=CONNECT_SECONDS)
        client = httpx2.Client(timeout=timeout, follow_redirects=True, max_redirects=5)
        with client, client.stream("GET", url) as answer:
            if answer.status_code != 200:
                raise CommandFailed(f"{url}: the server answered {answer.status_code} instead of 200.")
            for part in answer.iter_bytes():
                body += part
                if len(body) > limit:
                    raise CommandFailed(f"{url}: larger than {limit} bytes.")
                if time.monotonic() > ends:
                    raise CommandFailed(f"{url}: not complete after {FETCH_SECONDS:.0f} seconds.")
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise CommandFailed(f"{url}: no answer: {error or type(error).__name__}.") from None
    return bytes(body)


class _GitFolder:
    """Files of one revision, in the folder of a description and below it."""

    def __init__(self, revision: str, file: str, limit: int) -> None:
        self._revision = revision
        self._file = posixpath.normpath(file)
        self._prefix = "./" if file.startswith(("./", "../")) else ""
        self._folder = posixpath.dirname(self._file)
        self._limit = limit

    def locate(self, reference: str, user: str) -> str | None:
        name = posixpath.normpath(posixpath.join(posixpath.dirname(user), reference))
        if posixpath.join(self._folder, name) == self._file:
            return ""
        if name.startswith(("../", "/")) or not self._exists(posixpath.join(self._folder, name)):
            return None
        return name

    def read(self, name: str) -> Any:
        from counterfoil.json_or_yaml import UnreadableText, parse

        try:
            return parse(self.bytes_of(posixpath.join(self._folder, name)))
        except UnreadableText as error:
            raise UnreadableText(f"{self._revision}:{name}: {error}") from error

    def bytes_of(self, file: str) -> bytes:
        """Return the content of a file in the revision. Raises CommandFailed."""
        place = self._place(file)
        size = _git("cat-file", "-s", place)
        if size.returncode == 0 and int(size.stdout) > self._limit:
            raise CommandFailed(f"{self._revision}:{file}: larger than {self._limit} bytes.")
        blob = _git("cat-file", "blob", place)
        if blob.returncode:
            reason = blob.stderr.decode(errors="replace").strip().splitlines() or ["it failed"]
            raise CommandFailed(f"{self._revision}:{file}: git: {reason[0].removeprefix('fatal: ')}.")
        return blob.stdout

    def _exists(self, file: str) -> bool:
        return _git("cat-file", "blob", self._place(file)).returncode == 0

    def _place(self, file: str) -> str:
        return f"{self._revision}:{self._prefix}{posixpath.normpath(file)}"


def _git(*words: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["git", *words], capture_output=True, timeout=GIT_SECONDS, check=False)  # noqa: S603, S607 - git of the user's path, no shell
    except FileNotFoundError:
        raise CommandFailed("git is not installed, so a revision cannot be read.") from None
    except subprocess.TimeoutExpired:
        raise CommandFailed(f"git did not answer within {GIT_SECONDS:.0f} seconds.") from None
