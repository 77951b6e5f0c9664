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
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx2

from counterfoil.core.private_file import write_private
from counterfoil.core.wire import read_json
from counterfoil.demo import people
from counterfoil.demo.bank import DemoBank
from counterfoil.demo.bank.acme import open_accounts, statements_of
from counterfoil.demo.billing import BillingClient
from counterfoil.demo.children import Child, listening
from counterfoil.demo.desk.client import DeskClient
from counterfoil.demo.erp.client import ErpClient, local_day
from counterfoil.demo.erp.prepare import is_of_earlier_version
from counterfoil.demo.local_client import local_client
from counterfoil.demo.operators import Operator
from counterfoil.demo.ports import choose_ports, free
from counterfoil.demo.progress import Progress
from counterfoil.demo.report import Addresses
from counterfoil.demo.service_levels import contracts_of, incidents_of, open_folders
from counterfoil.twins.stripe.event_types import EVENT_TYPES

HOME = Path(".counterfoil")
PACKAGES = ("proteus", "roundup", "trytond", "waitress")
"""Packages of the outside systems, which the extra `demo` installs."""
PORTS = ("erp", "erp_proxy", "erp_proxy_control", "desk", "billing")
ORDER = ("server", "desk", "billing", "proxy", "erp")
"""Order in which the children end: callers before the called."""
SERVER = "counterfoil.cli.main"
PREPARE_SECONDS = 300.0
START_SECONDS = 60.0
ACCOUNTS = {"acme-us": "billing", "acme-de": "billing_de"}
"""Legal entity -> beginning of the names of the secrets of its billing account."""
HOOK_EVENTS = tuple(
    type
    for type in EVENT_TYPES
    if type.startswith(("customer.", "invoice.", "credit_note.", "charge.", "refund.", "payout."))
)


class CannotStart(Exception):
    """Error of a company that cannot start; the message has the reason and the remedy."""


class Company:
    """Child processes and clients of their APIs. `folder` is the governance folder, `work` the working folder."""

    def __init__(self, folder: Path, port: int, work: Path, progress: Progress) -> None:
        self.folder = folder
        self.port = port
        self.work = work.resolve()
        self.home = self.work / HOME / "demo"
        self.progress = progress
        self.persons: dict[str, people.Member] = {}
        self.children: dict[str, Child] = {}
        self._ports: dict[str, int] = {}
        self._secrets: dict[str, str] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # ------------------------------------------------------------------ reaching the systems

    def billing(self, entity: str = "acme-us") -> BillingClient:
        """Return the client of the billing account of a legal entity."""
        return BillingClient(self._url("billing"), self._secrets[ACCOUNTS[entity] + "_key"])

    def desk(self) -> DeskClient:
        return DeskClient.prepared(self.home / "desk")

    def erp(self, entity: str = "acme-us") -> ErpClient:
        """Return the client of a legal entity's controller in the ERP. It bypasses the proxy."""
        return ErpClient.of(self.home / "erp" / "seed.json", self._url("erp"), company=entity)

    def bank(self) -> DemoBank:
        """Return the American company's bank, which writes its statements into a folder that the server reads."""
        return open_accounts(self.home, local_day("acme-us"))["acme-us", "USD"]

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

    def addresses(self) -> Addresses:
        return Addresses(self.url, self._url("desk") + "/desk/", self._url("erp"))

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
        missing = [package for package in PACKAGES if find_spec(package) is None]
        if missing:
            install = "pip install 'counterfoil[demo]'"
            raise CannotStart(
                f"these packages are not installed: {', '.join(missing)}; install them: {install}"
            )
        if not free(self.port):
            other = f"make run PORT={self.port + 1}, or counterfoil demo --port {self.port + 1}"
            raise CannotStart(
                f"port {self.port} on 127.0.0.1 is taken; choose another: {other}. Commands in {self.work} find the "
                "server on any port; elsewhere, COUNTERFOIL_URL names it"
            )
        self._ports = choose_ports(PORTS, self._read_json("ports.json"))
        open_accounts(self.home, local_day("acme-us"))
        open_folders(self.home)
        write_private(self.home / "ports.json", json.dumps(self._ports, indent=1).encode())
        new = {f"{account}_key": "sk_test_" + secrets.token_urlsafe(24) for account in ACCOUNTS.values()}
        self._secrets = new | self._read_json("secrets.json")
        self._write_secrets()
        self.progress.begin("creating persons and passwords")
        self.persons = await asyncio.to_thread(people.members, self.home)
        write_private(self.work / HOME / "token", self.persons["admin"].token.encode())
        preparing: list[Child] = []
        today = datetime.now(UTC).date().isoformat()
        for abandoned in self.home.glob("erp.building-*"):
            shutil.rmtree(abandoned)  # the lock ensures that no process is building there
        if (seed := self._read_json("erp/seed.json")) and is_of_earlier_version(seed):
            raise CannotStart(
                f"{self.home} has a demonstration of an earlier version, without the accounts of payments. "
                "Delete the folder to start a new one"
            )
        if not (self.home / "erp" / "seed.json").exists():
            self.progress.note("preparing the ERP: schema, company, books, taxes (about half a minute, once)")
            preparing.append(self._program("erp-prepare", "the ERP's preparation", "counterfoil.demo.erp",
                "prepare", "--dir", self.home / "erp", "--port", self._ports["erp"], "--today", today))  # fmt: skip
        if not (self.home / "desk" / "tracker").exists():
            self.progress.note("preparing the help desk: tracker and credit fields (once)")
            preparing.append(self._program("desk-prepare", "the help desk's preparation", "counterfoil.demo.desk",
                "prepare", "--dir", self.home / "desk", "--port", self._ports["desk"],
                "--hook", self._hook("support"), "--today", today))  # fmt: skip
        if preparing:
            self.progress.begin(" and ".join(child.title for child in preparing))
        for child in preparing:
            child.start()
        await asyncio.gather(*(self._finish(child) for child in preparing))

    async def _finish(self, child: Child) -> None:
        began = time.monotonic()
        await child.finish(PREPARE_SECONDS)
        del self.children[child.log.stem]
        self.progress.note(f"{child.title} took {time.monotonic() - began:.1f} s")

    def _read_json(self, name: str, absent: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the content of a file, or `absent` if there is none."""
        path = self.home / name
        content: dict[str, Any] = json.loads(path.read_bytes()) if path.exists() else absent or {}
        return content

    def _write_secrets(self) -> None:
        write_private(self.home / "secrets.json", json.dumps(self._secrets, indent=1).encode())

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
        ports, persons = self._ports, self.home / "persons.json"
        self.progress.begin("starting the ERP, the help desk and billing")
        erp = self._program("erp", "the ERP", "counterfoil.demo.erp",
            "serve", "--dir", self.home / "erp", "--port", ports["erp"], "--persons", persons)  # fmt: skip
        proxy = self._program("proxy", "the proxy in front of the ERP", "counterfoil.demo.proxy",
            "--listen", ports["erp_proxy"], "--to", ports["erp"], "--control", ports["erp_proxy_control"])  # fmt: skip
        desk = self._program("desk", "the help desk", "counterfoil.demo.desk",
            "serve", "--dir", self.home / "desk", "--port", ports["desk"], "--hook", self._hook("support"),
            "--persons", persons)  # fmt: skip
        billing = self._program("billing", "the billing twin", "counterfoil.twins.stripe",
            "--port", ports["billing"], "--state", self.home / "billing.sqlite",
            "--secret", self._secrets["billing_key"], "--connect", self._secrets["billing_de_key"],
            "--spread", "0.3", "--repeated", "0.2")  # fmt: skip
        for child in (erp, proxy, desk, billing):
            child.start()
        await asyncio.gather(
            self._wait_until_up(erp, lambda: listening(ports["erp"])),
            self._wait_until_up(proxy, lambda: listening(ports["erp_proxy_control"])),
            self._wait_until_up(desk, lambda: listening(ports["desk"])),
            self._wait_until_up(billing, lambda: listening(ports["billing"])),
        )
        for entity, account in ACCOUNTS.items():
            await self._register_hook(entity, account)
        await self.start_server()

    async def start_server(self) -> None:
        """Start Counterfoil's server with its worker. Also restarts a server that was ended."""
        self.progress.begin("starting the server")
        seed = read_json((self.home / "erp" / "seed.json").read_bytes())
        desk = read_json((self.home / "desk" / "seed.json").read_bytes())
        store = self.home / "store.sqlite"
        server = self._program("server", "the server", SERVER,
            "up", self.folder, "--store", f"sqlite:{store}", "--port", self.port,
            ACME_BILLING_URL=self._url("billing"),
            ACME_BILLING_KEY=self._secrets["billing_key"],
            ACME_BILLING_WEBHOOK_SECRET=self._secrets["billing_hook"],
            ACME_BILLING_DE_KEY=self._secrets["billing_de_key"],
            ACME_BILLING_DE_WEBHOOK_SECRET=self._secrets["billing_de_hook"],
            ACME_ERP_URL=self._url("erp_proxy"),
            ACME_ERP_DATABASE=seed["database"],
            ACME_ERP_KEY=seed["key"],
            ACME_ERP_DE_COMPANY=str(seed["companies"]["acme-de"]["company"]),
            ACME_ERP_DE_KEY=seed["companies"]["acme-de"]["users"]["orchestrator"]["key"],
            ACME_SUPPORT_URL=desk["url"],
            ACME_SUPPORT_USER="orchestrator",
            ACME_SUPPORT_PASSWORD=desk["users"]["orchestrator"],
            ACME_SUPPORT_HOOK_SECRET=desk["hook_secret"],
            ACME_CRM_FOLDER=str(contracts_of(self.home)),
            ACME_MONITORING_FOLDER=str(incidents_of(self.home)),
            ACME_BANK_FOLDER=str(statements_of(self.home, "acme-us")),
            ACME_BANK_DE_FOLDER=str(statements_of(self.home, "acme-de")),
            COUNTERFOIL_PEOPLE=str(self.home / "people.json"),
            COUNTERFOIL_LOG=os.environ.get("COUNTERFOIL_LOG", "WARNING"),
        )  # fmt: skip
        server.start()
        await self._wait_until_up(server, self._ready)
        for notice in folder_notices(server, self.folder):
            self.progress.note(notice)

    async def _wait_until_up(self, child: Child, ready: Callable[[], Awaitable[bool]]) -> None:
        began = time.monotonic()
        await child.until(ready, START_SECONDS)
        self.progress.note(f"{child.title} is up after {time.monotonic() - began:.1f} s")

    async def _ready(self) -> bool:
        try:
            async with local_client(self.url, timeout=2) as http:
                return (await http.get("/readyz")).status_code == 200
        except httpx2.TransportError:
            return False

    async def _register_hook(self, entity: str, account: str) -> None:
        """Register the webhook address in a billing account. Only the first response has the secret, so it is stored."""
        url = self._hook(account.replace("_", "-"))
        async with self.billing(entity) as billing:
            endpoints = {endpoint["id"]: endpoint for endpoint in await billing.all("webhook_endpoints")}
            endpoint = endpoints.get(self._secrets.get(f"{account}_endpoint", ""))
            if endpoint is None:
                values = {"url": url, "enabled_events": list(HOOK_EVENTS)}
                endpoint = await billing.post("webhook_endpoints", values)
                self._secrets |= {
                    f"{account}_endpoint": endpoint["id"],
                    f"{account}_hook": endpoint["secret"],
                }
                self._write_secrets()
            elif endpoint["url"] != url:
                await billing.post(f"webhook_endpoints/{endpoint['id']}", {"url": url})

    def check(self) -> None:
        """Raise ChildFailed if a child has ended by itself."""
        for child in self.children.values():
            child.check()

    async def stop(self) -> None:
        """End every child, the server first, and wait for each."""
        self.progress.begin("stopping")
        others = [name for name in self.children if name not in ORDER]
        for name in (*others, *ORDER):
            if name in self.children:
                await self.children[name].stop(20.0 if name == "server" else 6.0)


def folder_notices(server: Child, folder: Path) -> list[str]:
    """Return what the server said about the governance folder: an edit is only a proposal, which persons approve."""
    return [line for line in server.output().splitlines() if str(folder) in line]


def find_governance(work: Path) -> Path:
    """Return the governance folder: examples/acme of the working folder, otherwise the one that came with the package.

    Raises CannotStart if there is none.
    """
    package, example = Path(__file__).parent, Path("examples", "acme")
    # A wheel has the folder inside the package; a checkout has it beside `src`.
    for place in (work, package, package.parents[2]):
        if (place / example).is_dir():
            return (place / example).resolve()
    raise CannotStart(f"there is no governance folder {example} in {work}, and none in the installed package")


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
