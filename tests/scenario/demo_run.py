"""Runs `counterfoil demo` as a separate process, as people do, and reads every system after the story."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from counterfoil.demo.billing import BillingClient
from counterfoil.demo.desk.client import DeskClient
from counterfoil.demo.erp.client import ErpClient, local_day
from counterfoil.demo.erp.prepare import prepare
from counterfoil.demo.operators import Operator
from tests.erp_system import CACHE
from tests.scenario import demo_people as people

STORY_END = "Press Ctrl-C to end"
STORY_SECONDS = 300.0


@dataclass
class GermanBooks:
    """Billing account and books of the German company; the American ones are those of the snapshot."""

    invoices: list[dict[str, Any]]
    documents: list[dict[str, Any]]
    balance: dict[str, Decimal]


@dataclass
class Snapshot:
    """Data of the systems and the server at one moment."""

    runs: list[dict[str, Any]]
    traces: dict[str, dict[str, Any]]
    foils: list[dict[str, Any]]
    cases: list[dict[str, Any]]
    approvals: list[dict[str, Any]]
    items: list[dict[str, Any]]
    payments: list[dict[str, Any]]
    invoices: list[dict[str, Any]]
    credit_notes: list[dict[str, Any]]
    documents: list[dict[str, Any]]
    balance: dict[str, Decimal]
    german: GermanBooks
    tickets: dict[str, dict[str, Any]] = field(default_factory=dict)

    def credit(self, ticket: dict[str, Any]) -> dict[str, Any]:
        """Return the trace of the credit that a ticket requested."""
        (trace,) = [
            t for t in self.traces.values()
            if t["run"]["workflow"] == "support-credit-to-erp" and t["start"]["data"]["ticket"] == ticket["id"]
        ]  # fmt: skip
        return trace

    def ticket(self, name: str) -> dict[str, Any]:
        return self.tickets[f"INC-{name}"]

    def memos(self, credit: str) -> list[dict[str, Any]]:
        return [d for d in self.documents if d["reference"] == credit]

    def notes(self, credit: str) -> list[dict[str, Any]]:
        return [n for n in self.credit_notes if n["metadata"].get("credit_id") == credit]

    def foil(self, key: str) -> dict[str, Any]:
        (foil,) = [f for f in self.foils if f["key"] == key]
        return foil


class DemoRun:
    """One start of the demonstration in a folder, until `end` or `kill`."""

    def __init__(self, work: Path, port: int) -> None:
        self.work = work
        self.home = work / ".counterfoil" / "demo"
        self.port = port
        self._log = (work / f"output-{time.monotonic_ns()}").open("w+b")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "counterfoil.cli.main", "demo", "--port", str(port)],
            cwd=work, stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"}, start_new_session=True,
        )  # fmt: skip

    @property
    def output(self) -> str:
        return Path(self._log.name).read_text("utf-8", "replace")

    def wait_for(self, text: str = STORY_END) -> None:
        """Wait until this text, by default the story's end, was printed. Raises AssertionError with the output."""
        began = time.monotonic()
        while text not in self.output:
            assert self.process.poll() is None, self.output
            assert time.monotonic() - began < STORY_SECONDS, self.output
            time.sleep(0.1)

    def family(self) -> set[int]:
        """Return every process of this start: its children and the members of their groups."""
        processes = _processes()
        groups = {pid for pid, (parent, _) in processes.items() if parent == self.process.pid}
        return {pid for pid, (_, group) in processes.items() if group in groups}

    def end(self, number: signal.Signals, seconds: float = 60.0) -> int:
        """Send a signal and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self._log.close()

    def snapshot(self) -> Snapshot:
        return asyncio.run(_read_all(self.home, self.port))

    def sign_ins(self) -> dict[tuple[str, str], bool]:
        """Sign in every printed person at every printed address: (user name, system) -> whether it was accepted."""
        urls = people.addresses(self.output)
        return {
            (person.user, system): asyncio.run(people.sign_in(system, url, person))
            for person in people.persons(self.output)
            for system, url in urls.items()
        }

    def request_credit(self) -> str:
        """Request a credit by the printed form as the agent, approve it as the lead, and return its final state."""
        agent = next(person for person in people.persons(self.output) if person.user == "agent")

        async def follow() -> str:
            url = f"http://127.0.0.1:{self.port}"
            ticket = await people.request_printed(self.output, agent)
            async with Operator(url, people.token_of(self.home, "admin")) as admin:
                return await people.approve(url, ticket, people.token_of(self.home, "lead"), admin)

        return asyncio.run(follow())


def prepared(work: Path) -> Path:
    """Prepare a working folder with a copy of the tests' shared ERP, because building an ERP takes half a minute."""
    home = work / ".counterfoil" / "demo"
    home.mkdir(parents=True, mode=0o700)
    home.parent.chmod(0o700)
    prepare(home / "erp", local_day("acme-us"), cache=CACHE)
    return work


def alive(pids: set[int]) -> set[int]:
    return {pid for pid in pids if pid in _processes()}


def _processes() -> dict[int, tuple[int, int]]:
    """Return parent and group of every running process."""
    processes = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            pid, rest = stat.read_text().split(" (", 1)
            state, parent, group = rest.rsplit(") ", 1)[1].split()[:3]
            if state != "Z":
                processes[int(pid)] = (int(parent), int(group))
    return processes


async def _read_all(home: Path, port: int) -> Snapshot:
    ports = json.loads((home / "ports.json").read_bytes())
    secrets = json.loads((home / "secrets.json").read_bytes())
    token = (home.parent / "token").read_text()
    seed = home / "erp" / "seed.json"
    async with (
        BillingClient(f"http://127.0.0.1:{ports['billing']}", secrets["billing_key"]) as billing,
        BillingClient(f"http://127.0.0.1:{ports['billing']}", secrets["billing_de_key"]) as german_billing,
        DeskClient.prepared(home / "desk") as desk,
        ErpClient.of(seed, f"http://127.0.0.1:{ports['erp']}") as erp,
        ErpClient.of(seed, f"http://127.0.0.1:{ports['erp']}", company="acme-de") as german_erp,
        Operator(f"http://127.0.0.1:{port}", token) as admin,
    ):
        runs = await admin.all("runs")
        snapshot = Snapshot(
            runs=runs,
            traces={run["id"]: await admin.get(f"runs/{run['id']}") for run in runs},
            foils=await admin.all("foils"),
            cases=await admin.all("cases"),
            approvals=await admin.all("approvals"),
            items=await admin.all("unmatched"),
            payments=await admin.all("events", type="payment.received.v1"),
            invoices=await billing.all("invoices"),
            credit_notes=await billing.all("credit_notes"),
            documents=await erp.invoices(),
            balance=await erp.trial_balance(),
            german=GermanBooks(
                await german_billing.all("invoices"),
                await german_erp.invoices(),
                await german_erp.trial_balance(),
            ),
        )
        for issue in await desk.find(case_kind="service_credit"):
            ticket = await desk.get(issue)
            assert ticket["incident_ref"] not in snapshot.tickets, "a credit was requested twice"
            snapshot.tickets[ticket["incident_ref"]] = ticket
        return snapshot
