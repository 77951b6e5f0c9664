"""`cold_start` and `idle_memory`: the server as people start it, on a new SQLite store, relative to a bare interpreter."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from bench.expressions import COMPANY

TIMEOUT_SECONDS = 60.0
COMMAND = "from counterfoil.cli.main import main; main()"
SETTLING_SECONDS = 3.0
"""Time without work before the memory is read."""
EVENT = {
    "specversion": "1.0",
    "id": "first",
    "source": "/support",
    "type": "credit.requested.v1",
    "data": {
        "credit_id": "CR-1",
        "customer_id": "C-1",
        "amount": {"minor": 5000, "currency": "USD"},
        "requested_by": "ann",
    },
}


@contextlib.contextmanager
def server() -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """Run `counterfoil up`; yield the process and the seconds to its first event. On leaving, terminate it."""
    with tempfile.TemporaryDirectory(prefix="counterfoil-bench-") as folder:
        token = secrets.token_urlsafe(32)
        people = Path(folder) / "people.json"
        people.write_text(
            json.dumps(
                [
                    {
                        "id": "bench", "name": "Bench", "email": "bench@example.com", "roles": ["sender"],
                        "token_sha256": hashlib.sha256(token.encode()).hexdigest(),
                    },
                    {"id": "ann", "name": "Ann", "email": "ann@example.com", "roles": ["support-agent"]},
                ]
            )
        )  # fmt: skip
        port = free_port()
        command = [sys.executable, "-c", COMMAND, "up", str(COMPANY), "--port", str(port)]
        command += ["--store", f"sqlite:{folder}/store.sqlite"]
        with open(Path(folder) / "log", "wb") as log:
            began = time.perf_counter()
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, "COUNTERFOIL_PEOPLE": str(people)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            _first_event(process, port, token, Path(folder) / "log")
            yield process, time.perf_counter() - began
        finally:
            process.terminate()
            process.wait(30)


def _first_event(process: subprocess.Popen[bytes], port: int, token: str, log: Path) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/events",
        json.dumps(EVENT).encode(),
        {"content-type": "application/cloudevents+json", "authorization": f"Bearer {token}"},
    )
    straight = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.perf_counter() + TIMEOUT_SECONDS
    while time.perf_counter() < until:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended by itself:\n{log.read_text()[-2000:]}")
        try:
            with straight.open(request, timeout=10) as answer:
                if answer.status != 202:
                    raise RuntimeError(f"the server answered {answer.status} to the first event")
                return
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"the first event was refused: {error.read().decode()}") from error
        except OSError:
            time.sleep(0.01)
    raise RuntimeError(f"no event was accepted within {TIMEOUT_SECONDS:.0f} s:\n{log.read_text()[-2000:]}")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def resident(pid: int) -> float:
    """Return the resident memory of a process in MB. Raises OSError if the system does not report it."""
    for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"the system does not report the memory of process {pid}")


@contextlib.contextmanager
def empty_server() -> Iterator[str]:
    """Run a server that answers every request with an empty list; yield its address."""

    class EmptyList(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"items": [], "next": null}'
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    answering = http.server.ThreadingHTTPServer(("127.0.0.1", 0), EmptyList)
    thread = threading.Thread(target=answering.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{answering.server_port}"
    finally:
        answering.shutdown()
        thread.join()
        answering.server_close()


def processor_seconds(*words: str, **environment: str) -> float:
    """Return the processor time of an interpreter that runs to its end. Raises RuntimeError if it fails."""
    process = subprocess.Popen(
        [sys.executable, *words], env={**os.environ, **environment}, stdout=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(words)} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime


class CommandStart:
    """Processor time of a command from its start to its end."""

    unit = "seconds of processor time"
    peer = "starting and ending a bare interpreter"

    def __init__(self, words: str, most_seconds: float) -> None:
        self.words = words
        self.most_seconds = most_seconds
        self.target = f"< {most_seconds} s"

    def ours(self) -> float:
        with empty_server() as url:
            return processor_seconds("-c", COMMAND, *self.words.split(), COUNTERFOIL_URL=url)

    def against(self) -> float:
        return processor_seconds("-c", "pass")

    def met(self, ours: float, ratio: float) -> bool:
        return ours < self.most_seconds

    def note(self) -> str:
        return f"`counterfoil {self.words}`; the server answers with an empty list."


class ColdStart:
    """Time from the start of the process until the first event is durably accepted."""

    unit = "seconds"
    peer = "starting and ending a bare interpreter"
    target = "< 2 s"

    def ours(self) -> float:
        with server() as (_, seconds):
            return seconds

    def against(self) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        return time.perf_counter() - began

    def met(self, ours: float, ratio: float) -> bool:
        return ours < 2

    def note(self) -> str:
        return (
            "New SQLite store, a folder with one workflow; the client sends the event over HTTP every 10 ms until it is "
            "accepted."
        )


class IdleMemory:
    """Memory of an idle server after its first event."""

    unit = "MB resident"
    peer = "a bare interpreter"
    target = "< 150 MB"

    def ours(self) -> float:
        with server() as (process, _):
            time.sleep(SETTLING_SECONDS)
            return resident(process.pid)

    def against(self) -> float:
        process = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE
        )
        try:
            time.sleep(0.3)
            return resident(process.pid)
        finally:
            process.communicate()

    def met(self, ours: float, ratio: float) -> bool:
        return ours < 150

    def note(self) -> str:
        return f"Server and worker in one process, {SETTLING_SECONDS:.0f} s after its first event."
