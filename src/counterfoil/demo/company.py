"""Demonstration company: a real ERP, a real help desk, a billing twin, and Counterfoil between them.

All data is under `.counterfoil/demo/` of the working folder, and the next start reuses it. The outside systems and the
server are child processes and end with this one.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from rich.console import Console
from rich.markup import escape

from counterfoil.core.errors import CounterfoilError
from counterfoil.core.wire import read_json
from counterfoil.demo import people, report
from counterfoil.demo.billing import BillingClient
from counterfoil.demo.bring_in import bring_in
from counterfoil.demo.children import Child, ChildFailed, choose_ports, free, listening
from counterfoil.demo.desk.client import DeskClient
from counterfoil.demo.erp.client import ErpClient, ErpError
from counterfoil.demo.operators import Declined, Operator
from counterfoil.demo.stage import ActFailed, Journal, Stage, play
from counterfoil.demo.story import ACTS

T = TypeVar("T")
HOME = Path(".counterfoil")
PORT = 8080
PORTS = ("erp", "erp_proxy", "erp_proxy_control", "desk", "billing")
ORDER = ("server", "desk", "billing", "proxy", "erp")
"""Order in which the children end: callers before the called."""
SERVER = "counterfoil.cli.main"
PREPARE_SECONDS = 300.0
START_SECONDS = 60.0
HOOK_EVENTS = ("customer.*", "invoice.*", "credit_note.*")


class CannotStart(Exception):
    """Error of a company that cannot start; the message has the reason and the remedy."""


class Company:
    """Child processes and clients of their APIs. `folder` is the governance folder, `work` the working folder."""

    def __init__(self, folder: Path, port: int, work: Path, say: Callable[[str], None]) -> None:
        self.folder = folder
        self.port = port
        self.work = work.resolve()
        self.home = self.work / HOME / "demo"
        self.say = say
        self.persons: dict[str, people.Member] = {}
        self.children: dict[str, Child] = {}
        self._ports: dict[str, int] = {}
        self._secrets: dict[str, str] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # ------------------------------------------------------------------ reaching the systems

    def billing(self) -> BillingClient:
        return BillingClient(self._url("billing"), self._secrets["billing_key"])

    def desk(self) -> DeskClient:
        return DeskClient.prepared(self.home / "desk")

    def erp(self) -> ErpClient:
        """Return the controller's client of the ERP. It bypasses the proxy."""
        return ErpClient.of(self.home / "erp" / "seed.json", self._url("erp"))

    def operator(self, person: str = "admin") -> Operator:
        return Operator(self.url, self.persons[person].token)

    async def proxy(self, command: str) -> dict[str, int]:
        """Send a command to the proxy in front of the ERP, `counts` or `lose TEXT`, and return its counters."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._ports["erp_proxy_control"])
        try:
            writer.write(command.encode() + b"\n")
            await writer.drain()
            counts: dict[str, int] = json.loads(await reader.readline())
            return counts
        finally:
            writer.close()

    def addresses(self) -> dict[str, str]:
        return {"Counterfoil": self.url, "Help desk": self._url("desk") + "/desk/", "ERP": self._url("erp")}

    def _url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._ports[name]}"

    # ------------------------------------------------------------------ preparing

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the folder for this process. Raises CannotStart if another process has the lock."""
        (self.work / HOME).mkdir(mode=0o700, exist_ok=True)
        self.home.mkdir(mode=0o700, exist_ok=True)
        with (self.home / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                message = f"the demonstration already runs in {self.work}; end that process first"
                raise CannotStart(message) from None
            yield

    async def prepare(self) -> None:
        """Create what is missing: ports, secrets, persons, the ERP's books, the desk's tracker. Raises CannotStart."""
        if not free(self.port):
            other = f"make run PORT={self.port + 1}"
            raise CannotStart(f"port {self.port} on 127.0.0.1 is taken; choose another: {other}")
        self._ports = choose_ports(PORTS, self._read_json("ports.json"))
        people.write_private(self.home / "ports.json", json.dumps(self._ports, indent=1).encode())
        new = {"billing_key": "sk_test_" + secrets.token_urlsafe(24)}
        self._secrets = new | self._read_json("secrets.json")
        self._write_secrets()
        self.persons = people.members(self.home)
        people.write_private(self.work / HOME / "token", self.persons["admin"].token.encode())
        preparing = []
        today = datetime.now(UTC).date().isoformat()
        for abandoned in self.home.glob("erp.building-*"):
            shutil.rmtree(abandoned)  # the lock ensures that no process is building there
        if not (self.home / "erp" / "seed.json").exists():
            self.say("preparing the ERP: schema, company, books, taxes, users (about half a minute, once)")
            preparing.append(self._program("erp-prepare", "the ERP's preparation", "counterfoil.demo.erp",
                "prepare", "--dir", self.home / "erp", "--port", self._ports["erp"], "--today", today))  # fmt: skip
        if not (self.home / "desk" / "tracker").exists():
            self.say("preparing the help desk: tracker, credit fields, users")
            preparing.append(self._program("desk-prepare", "the help desk's preparation", "counterfoil.demo.desk",
                "prepare", "--dir", self.home / "desk", "--port", self._ports["desk"],
                "--hook", self._hook("support"), "--today", today))  # fmt: skip
        for child in preparing:
            child.start()
        await asyncio.gather(*(child.finish(PREPARE_SECONDS) for child in preparing))
        for child in preparing:
            del self.children[child.log.stem]

    def _read_json(self, name: str) -> dict[str, Any]:
        path = self.home / name
        content: dict[str, Any] = json.loads(path.read_bytes()) if path.exists() else {}
        return content

    def _write_secrets(self) -> None:
        people.write_private(self.home / "secrets.json", json.dumps(self._secrets, indent=1).encode())

    def _hook(self, system: str) -> str:
        return f"{self.url}/v1/receipts/{system}"

    def _program(self, name: str, title: str, module: str, *arguments: object, **environment: str) -> Child:
        logs = self.home / "logs"
        logs.mkdir(exist_ok=True)
        words = [str(argument) for argument in arguments]
        self.children[name] = Child(title, module, words, logs / f"{name}.log", self.work, environment)
        return self.children[name]

    # ------------------------------------------------------------------ starting and ending

    async def start(self) -> None:
        """Start the outside systems in parallel, then the server. Raises ChildFailed or CannotStart."""
        ports = self._ports
        erp = self._program("erp", "the ERP", "counterfoil.demo.erp",
            "serve", "--dir", self.home / "erp", "--port", ports["erp"])  # fmt: skip
        proxy = self._program("proxy", "the proxy in front of the ERP", "counterfoil.demo.proxy",
            "--listen", ports["erp_proxy"], "--to", ports["erp"], "--control", ports["erp_proxy_control"])  # fmt: skip
        desk = self._program("desk", "the help desk", "counterfoil.demo.desk",
            "serve", "--dir", self.home / "desk", "--port", ports["desk"], "--hook", self._hook("support"))  # fmt: skip
        billing = self._program("billing", "the billing twin", "counterfoil.twins.stripe",
            "--port", ports["billing"], "--state", self.home / "billing.sqlite",
            "--secret", self._secrets["billing_key"], "--spread", "0.3", "--repeated", "0.2")  # fmt: skip
        for child in (erp, proxy, desk, billing):
            child.start()
        await asyncio.gather(
            self._wait_until_up(erp, lambda: listening(ports["erp"])),
            self._wait_until_up(proxy, lambda: listening(ports["erp_proxy_control"])),
            self._wait_until_up(desk, lambda: listening(ports["desk"])),
            self._wait_until_up(billing, lambda: listening(ports["billing"])),
        )
        await self._register_hook()
        await self.start_server()

    async def start_server(self) -> None:
        """Start Counterfoil's server with its worker. Also restarts a server that was ended."""
        seed = read_json((self.home / "erp" / "seed.json").read_bytes())
        desk = read_json((self.home / "desk" / "seed.json").read_bytes())
        store = self.home / "store.sqlite"
        server = self._program("server", "the server", SERVER,
            "up", self.folder, "--store", f"sqlite:{store}", "--port", self.port,
            ACME_BILLING_URL=self._url("billing"),
            ACME_BILLING_KEY=self._secrets["billing_key"],
            ACME_BILLING_WEBHOOK_SECRET=self._secrets["billing_hook"],
            ACME_ERP_URL=self._url("erp_proxy"),
            ACME_ERP_DATABASE=seed["database"],
            ACME_ERP_KEY=seed["key"],
            ACME_SUPPORT_URL=desk["url"],
            ACME_SUPPORT_USER="orchestrator",
            ACME_SUPPORT_PASSWORD=desk["users"]["orchestrator"],
            ACME_SUPPORT_HOOK_SECRET=desk["hook_secret"],
            COUNTERFOIL_PEOPLE=str(self.home / "people.json"),
            COUNTERFOIL_LOG=os.environ.get("COUNTERFOIL_LOG", "WARNING"),
        )  # fmt: skip
        server.start()
        await self._wait_until_up(server, self._ready)
        await bring_in(self.folder, self.url, self.home, self.persons, self.say)

    async def _wait_until_up(self, child: Child, ready: Callable[[], Awaitable[bool]]) -> None:
        began = time.monotonic()
        await child.until(ready, START_SECONDS)
        self.say(f"{child.title} is up after {time.monotonic() - began:.1f} s")

    async def _ready(self) -> bool:
        try:
            async with httpx2.AsyncClient(timeout=2, trust_env=False) as http:
                return (await http.get(f"{self.url}/readyz")).status_code == 200
        except httpx2.TransportError:
            return False

    async def _register_hook(self) -> None:
        """Register the webhook address in billing. Only the first response has the secret, so it is stored."""
        url = self._hook("billing")
        async with self.billing() as billing:
            endpoints = {endpoint["id"]: endpoint for endpoint in await billing.all("webhook_endpoints")}
            endpoint = endpoints.get(self._secrets.get("billing_endpoint", ""))
            if endpoint is None:
                values = {"url": url, "enabled_events": list(HOOK_EVENTS)}
                endpoint = await billing.post("webhook_endpoints", values)
                self._secrets |= {"billing_endpoint": endpoint["id"], "billing_hook": endpoint["secret"]}
                self._write_secrets()
            elif endpoint["url"] != url:
                await billing.post(f"webhook_endpoints/{endpoint['id']}", {"url": url})

    def check(self) -> None:
        """Raise ChildFailed if a child has ended by itself."""
        for child in self.children.values():
            child.check()

    async def stop(self) -> None:
        """End every child, the server first, and wait for each."""
        others = [name for name in self.children if name not in ORDER]
        for name in (*others, *ORDER):
            if name in self.children:
                await self.children[name].stop(20.0 if name == "server" else 6.0)


def find_governance(work: Path) -> Path:
    """Return the governance folder: examples/acme of the working folder, otherwise of this project. Raises CannotStart."""
    project = Path(__file__).parents[3]
    for place in (work, project):
        if (place / "examples" / "acme").is_dir():
            return (place / "examples" / "acme").resolve()
    message = f"there is no governance folder examples/acme in {work}"
    raise CannotStart(f"{message}; run the command in the project's folder")


@contextlib.asynccontextmanager
async def run_company(company: Company) -> AsyncIterator[Company]:
    """Prepare and start the company; on leaving, end every child."""
    with company.lock():
        try:
            await company.prepare()
            await company.start()
            yield company
        finally:
            await company.stop()


@contextlib.asynccontextmanager
async def open_stage(company: Company) -> AsyncIterator[Stage]:
    """Open clients of the company's systems for the people of the story."""
    journal = Journal(company.home / "journal.json")
    async with (
        company.billing() as billing,
        company.desk() as desk,
        company.erp() as erp,
        company.operator() as admin,
    ):
        yield Stage(billing, desk, erp, admin, company.operator, company.proxy, journal)


def main(work: Path | None = None, port: int = PORT, once: bool | None = None) -> int:
    """Start the company, play or resume the story, and keep it running until Ctrl-C. Return the exit code.

    `work` is the folder for its files; default: the current one. Port 0 selects a free port. With `once`, or
    COUNTERFOIL_DEMO_ONCE in the environment, end after the story, with 1 if a step failed.
    """
    if once is None:
        once = os.environ.get("COUNTERFOIL_DEMO_ONCE", "") not in ("", "0")
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=180)
    try:
        return asyncio.run(_run_until_signal(work or Path.cwd(), port, once, console))
    except CannotStart as error:
        console.print(f"[bold red]Cannot start:[/] {error}", soft_wrap=True)
        return 2


async def _run_until_signal(work: Path, port: int, once: bool, console: Console) -> int:
    """Run the company as a task. The first Ctrl-C or SIGTERM cancels it, so that its children end in order."""
    task = asyncio.ensure_future(_company(work, port, once, console))
    loop = asyncio.get_running_loop()

    def end() -> None:
        if not task.cancelling():
            console.print("\nStopping the server, then the systems.")
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    try:
        return await task
    except asyncio.CancelledError:
        console.print("Stopped. The next start continues from here.")
        return 0


async def _company(work: Path, port: int, once: bool, console: Console) -> int:
    began = time.monotonic()

    def say(text: str) -> None:
        console.print(f"  [dim]{time.monotonic() - began:6.1f} s[/]  {escape(text)}", soft_wrap=True)

    company = Company(find_governance(work), port or choose_ports(["server"], {})["server"], work, say)
    console.print(f"[bold]The demonstration company[/], governed by {company.folder}", soft_wrap=True)
    try:
        async with contextlib.AsyncExitStack() as started:
            with console.status("starting"):
                await started.enter_async_context(run_company(company))
            say(f"all systems are up: {company.url}")
            code = await _run_watched(company, _play(company, console))
            console.print(report.entrance(company.addresses(), company.persons.values()))
            if once:
                return code
            console.print("Press Ctrl-C to end. All data is stored for the next start.")
            await _run_watched(company, asyncio.Event().wait())
            return code
    except ChildFailed as error:
        console.print(f"[bold red]Failed:[/] {escape(str(error))}", soft_wrap=True)
        return 1


async def _run_watched(company: Company, work: Coroutine[Any, Any, T]) -> T:
    """Run `work` as long as every child runs. Raises ChildFailed if a child ends by itself."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait([task], timeout=0.5)
            company.check()
        return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _play(company: Company, console: Console) -> int:
    """Play the story and print the closing tables. Return 0 if every step succeeded, otherwise 1."""
    with console.status("") as status:

        def show(kind: str, text: str, seconds: float) -> None:
            line = escape(text)
            match kind:
                case "begin":
                    status.update(line)
                case "act":
                    console.print(f"\n[bold]{line}[/]", soft_wrap=True)
                case "before":
                    console.print(f"[green]✓[/] [bold]{line}[/] [dim](played before)[/]", soft_wrap=True)
                case "changed":
                    console.print(
                        f"[yellow]~[/] [bold]{line}[/]: played before, changed since", soft_wrap=True
                    )
                case _:
                    console.print(f"  [green]✓[/] {line} [dim]{seconds:.1f} s[/]", soft_wrap=True)

        async with open_stage(company) as stage:
            try:
                await play(ACTS, stage, show)
                code = 0
            except (ActFailed, CounterfoilError, Declined, ErpError) as error:
                console.print(f"  [bold red]✗ {escape(str(error))}[/]", soft_wrap=True)
                code = 1
            console.print()
            for table in await report.tables(stage):
                console.print(table)
    return code
