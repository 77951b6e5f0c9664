"""The example company Acme with real systems: the ERP, the help desk and the billing twin, each in its own process.

A company has a copy of Acme's governance that a test may edit, persons with tokens, and the port of the future server,
because the systems need its webhook address before it starts. Every process ends with the context.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import stripe

from counterfoil.demo.bank import Movement
from counterfoil.demo.bank.acme import open_accounts, statements_of
from counterfoil.demo.desk.client import DeskClient
from counterfoil.demo.erp.client import ErpClient, local_day
from counterfoil.demo.erp.prepare import prepare as prepare_erp
from counterfoil.demo.ports import free_port
from counterfoil.demo.service_levels import contracts_of, incidents_of, open_folders
from tests.companies.base import write_people
from tests.contract.stripe_twin_process import KEY, Twin
from tests.erp_system import CACHE
from tests.patience import PATIENCE_SECONDS
from tests.source import ROOT

ACME = ROOT / "examples" / "acme"
HOOK_SECRET = "whsec_for_tests_only"
GERMAN_KEY = "sk_test_german"
START_SECONDS = PATIENCE_SECONDS
PERSONS = {
    "agent": "support-agent",
    "agent2": "support-agent",
    "lead": "support-lead",
    "fiona": "finance-operations",
    "carl": "controller",
    "dana": "cfo",
    "admin": "administrator",
    "shop": "portal",
}
"""Person -> role; `agent`, `agent2` and `lead` carry the help desk's own user names."""
Edits = Mapping[str, Sequence[tuple[str, str]]]


def _without_sweeps(system: str) -> tuple[str, str]:
    """Return the edit that takes the schedules of sweeps out of a system's file."""
    text = (ACME / "systems" / f"{system}.yaml").read_text("utf-8")
    (block,) = re.findall(r"^sweeps:.*\n(?:  .*\n)+", text, re.M)
    return block, ""


def _polled(every: str) -> dict[str, list[tuple[str, str]]]:
    """Return edits after which webhooks and feeds alone bring news, with the feeds of the first company at this interval."""
    names = ("billing", "billing-de", "erp", "erp-de", "bank", "bank-de")
    edits = {f"systems/{name}.yaml": [_without_sweeps(name)] for name in names}
    for name in ("billing", "support", "bank"):
        edits.setdefault(f"systems/{name}.yaml", []).append(("every: 15s", f"every: {every}"))
    return edits


SOON: Edits = _polled("1s")
"""Edits that poll every second; no schedule reads whole books."""
RARELY: Edits = _polled("1h")
"""Edits after which only webhooks bring news once the first poll is over."""


def token_of(person: str) -> str:
    return f"cft_for_tests_only_{person}"


class Program:
    """Child process that listens on a port; it can be stopped and started again."""

    def __init__(
        self, name: str, command: Sequence[str], port: int, home: Path, environment: Mapping[str, str] = {}
    ) -> None:
        self.name = name
        self.command = [sys.executable, *command]
        self.port = port
        self.home = home
        self.log = home / f"{name}.log"
        self.environment = environment
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> None:
        """Start the process without waiting for it to listen."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.command, *more],
                cwd=self.home,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def until_listening(self) -> bool:
        """Wait until the process listens. Return False if it ended; raise RuntimeError if it takes too long."""
        assert self.process is not None
        deadline = time.monotonic() + START_SECONDS
        while self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} does not listen:\n{self.output()}")
            time.sleep(0.02)
        return False

    def up(self) -> None:
        self.start()
        if not self.until_listening():
            raise RuntimeError(f"{self.name} did not start:\n{self.output()}")

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-4000:]

    def ended(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        return None if self.process is None else self.process.poll()

    def stop(self, how: signal.Signals = signal.SIGTERM, seconds: float = 20.0) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None


class Company:
    """The three systems, and all that a server needs to work with them."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.today = local_day("acme-us")
        self.port, erp_port, desk_port, twin_port = (free_port() for _ in range(4))
        self.url = f"http://127.0.0.1:{self.port}"
        self.erp_seed: dict[str, Any] = json.loads(
            prepare_erp(home / "erp", self.today, cache=CACHE).read_text(encoding="utf-8")
        )
        hook = f"{self.url}/v1/receipts"
        shutil.copytree(_desk_template(), home / "desk")
        self.desk_seed: dict[str, Any] = json.loads((home / "desk" / "seed.json").read_bytes())
        self.german_hook_secret = HOOK_SECRET
        self.desk_url = f"http://127.0.0.1:{desk_port}/desk"
        self.banks = open_accounts(home, self.today)
        open_folders(home)
        self.twin = Twin(twin_port, home / "billing.sqlite")
        self.erp_url = f"http://127.0.0.1:{erp_port}"
        serve = ["serve", "--dir"]
        self.erp = Program(
            "erp", ["-m", "counterfoil.demo.erp", *serve, str(home / "erp"), "--port", str(erp_port)],
            erp_port, home,
        )  # fmt: skip
        self.desk = Program(
            "desk",
            ["-m", "counterfoil.demo.desk", *serve, str(home / "desk"), "--port", str(desk_port),
             "--hook", f"{hook}/support"],
            desk_port, home,
        )  # fmt: skip
        self.billing = Program(
            "billing",
            ["-m", "counterfoil.twins.stripe", "--port", str(twin_port), "--state", str(self.twin.state),
             "--secret", KEY, "--connect", GERMAN_KEY, "--seed", "7", "--hook", f"{hook}/billing", "--hook-secret", HOOK_SECRET],
            twin_port, home,
        )  # fmt: skip
        tokens = {person: token_of(person) for person in PERSONS}
        roles = {person: [role] for person, role in PERSONS.items()}
        write_people(home / "people.json", tokens, roles, "acme.example")

    @property
    def german_books(self) -> dict[str, Any]:
        books: dict[str, Any] = self.erp_seed["companies"]["acme-de"]
        return books

    @property
    def programs(self) -> list[Program]:
        return [self.erp, self.desk, self.billing]

    def environment(self) -> dict[str, str]:
        """Return the environment variables that Acme's governance and the application read."""
        return {
            "ACME_BILLING_URL": self.twin.url,
            "ACME_BILLING_KEY": KEY,
            "ACME_BILLING_WEBHOOK_SECRET": HOOK_SECRET,
            "ACME_BILLING_DE_KEY": GERMAN_KEY,
            "ACME_BILLING_DE_WEBHOOK_SECRET": self.german_hook_secret,
            "ACME_ERP_URL": self.erp_url,
            "ACME_ERP_DATABASE": self.erp_seed["database"],
            "ACME_ERP_KEY": self.erp_seed["users"]["orchestrator"]["key"],
            "ACME_ERP_DE_COMPANY": str(self.german_books["company"]),
            "ACME_ERP_DE_KEY": self.german_books["users"]["orchestrator"]["key"],
            "ACME_SUPPORT_URL": self.desk_url,
            "ACME_SUPPORT_USER": "orchestrator",
            "ACME_SUPPORT_PASSWORD": self.desk_seed["users"]["orchestrator"],
            "ACME_SUPPORT_HOOK_SECRET": self.desk_seed["hook_secret"],
            "ACME_CRM_FOLDER": str(contracts_of(self.home)),
            "ACME_MONITORING_FOLDER": str(incidents_of(self.home)),
            "ACME_BANK_FOLDER": str(statements_of(self.home, "acme-us")),
            "ACME_BANK_DE_FOLDER": str(statements_of(self.home, "acme-de")),
            "COUNTERFOIL_PEOPLE": str(self.home / "people.json"),
        }

    def governance(self, *edits: Edits) -> Path:
        """Return a copy of Acme's folder with texts replaced. Raise AssertionError if a text is missing.

        It has no tests: they are two thirds of the documents, and a server runs none of them.
        """
        folder = Path(tempfile.mkdtemp(prefix="acme-", dir=self.home)) / "acme"
        shutil.copytree(ACME, folder, ignore=shutil.ignore_patterns("tests"))
        for edit in edits:
            change(folder, edit)
        return folder

    def of_erp(self, person: str = "controller", company: str = "acme-us") -> ErpClient:
        return ErpClient.of(self.erp_seed, self.erp_url, person, company)

    def at_desk(self) -> DeskClient:
        return DeskClient(self.desk_url, self.desk_seed["users"])

    def bank_books(self, *movements: Movement, entity: str = "acme-us", currency: str = "USD") -> Path:
        """Let the bank book these movements on one day, today or the next one that it has not closed. Return the statement."""
        bank = self.banks[entity, currency]
        assert bank.last_day is not None
        return bank.close_day(bank.last_day + timedelta(days=1), movements)

    # ------------------------------------------------------------------ what persons do in billing and at the desk

    @functools.cached_property
    def stripe(self) -> Any:
        return stripe.StripeClient(KEY, base_addresses={"api": self.twin.url}, max_network_retries=0).v1

    @functools.cached_property
    def german_stripe(self) -> Any:
        return stripe.StripeClient(
            GERMAN_KEY, base_addresses={"api": self.twin.url}, max_network_retries=0
        ).v1

    def add_german_hook(self) -> None:
        """Have the German billing account deliver webhooks too. A server that starts afterwards knows their secret."""
        hook = {"url": f"{self.url}/v1/receipts/billing-de", "enabled_events": ["*"]}
        self.german_hook_secret = str(self.german_stripe.webhook_endpoints.create(hook).secret)

    def customer(self, name: str = "Globex") -> str:
        address = {"country": "US", "city": "New York", "line1": "1 Main St", "postal_code": "10001"}
        return str(self.stripe.customers.create({"name": name, "address": address}).id)

    def invoice(self, customer: str, minor: int = 100_000, currency: str = "usd", tax: bool = False) -> str:
        """Create and finalize an invoice with one line of `minor` minor units before tax. Return its id."""
        rates = {}
        if tax:
            rate = self.stripe.tax_rates.create(
                {"display_name": "Sales tax", "inclusive": False, "percentage": 8.25, "jurisdiction": "US-TX"}
            )
            rates = {"tax_rates": [rate.id]}
        self.stripe.invoice_items.create(
            {"customer": customer, "amount": minor, "currency": currency, "description": "Seats", **rates}
        )
        draft = self.stripe.invoices.create({
            "customer": customer, "currency": currency, "pending_invoice_items_behavior": "include",
            "collection_method": "send_invoice", "days_until_due": 30, "auto_advance": False,
        })  # fmt: skip
        return str(self.stripe.invoices.finalize_invoice(draft.id).id)

    async def billed(self, minor: int = 100_000, currency: str = "usd", **more: Any) -> tuple[str, str]:
        """Create a customer with one finalized invoice. Return both ids."""

        def make() -> tuple[str, str]:
            customer = self.customer()
            return customer, self.invoice(customer, minor, currency, **more)

        return await asyncio.to_thread(make)

    async def ask_credit(
        self,
        customer: str,
        invoice: str,
        amount: str,
        incident: str,
        *,
        user: str = "agent",
        currency: str = "USD",
        reason: str = "sla",
    ) -> str:
        """File a request at the desk. Return the id of the ticket."""
        async with self.at_desk() as desk:
            return await desk.request_credit(
                user, f"Outage {incident}", customer, invoice, amount, currency, reason, incident, self.today
            )

    async def ticket(self, number: str) -> dict[str, Any]:
        async with self.at_desk() as desk:
            return await desk.get(number)


def change(folder: Path, edits: Edits) -> None:
    """Replace texts in files of a governance folder. Raise AssertionError if a text is missing."""
    for name, changes in edits.items():
        path = folder / name
        text = path.read_text()
        for old, new in changes:
            assert old in text, f"{name} does not say {old!r}"
            text = text.replace(old, new)
        path.write_text(text)


@contextlib.contextmanager
def company() -> Iterator[Company]:
    """Run the three systems, with fresh data."""
    home = Path(tempfile.mkdtemp(prefix="counterfoil-company-"))
    systems: Company | None = None
    try:
        systems = Company(home)
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(Program.up, systems.programs))
        yield systems
    finally:
        for program in systems.programs if systems is not None else ():
            program.stop()
        shutil.rmtree(home)


@functools.cache
def _desk_template() -> Path:
    """Prepare a tracker once per test process. Its folder is removed when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="counterfoil-desk-"))
    atexit.register(shutil.rmtree, folder)
    command = [sys.executable, "-m", "counterfoil.demo.desk", "prepare", "--dir", str(folder / "desk")]
    subprocess.run(
        [*command, "--port", "1", "--hook", "http://127.0.0.1:1/"], check=True, timeout=PATIENCE_SECONDS
    )
    return folder / "desk"
