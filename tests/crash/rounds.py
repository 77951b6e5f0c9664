"""Rounds of a kill campaign: a credit is asked for, the server is killed at points, restarted, and must finish.

One company lives through many rounds: what one round left behind is there in the next. After each, store and outside
systems are held against each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from counterfoil.core.clock import utc_now
from counterfoil.store import check
from counterfoil.store.dump import Dump
from counterfoil.store.sql.sqlite import SqliteStore
from tests.companies.acme import SOON, Company, Program, token_of
from tests.crash.process import arm
from tests.outside import look, outside_truth
from tests.patience import PATIENCE_SECONDS

CREDIT = "support-credit-to-erp"
INVOICE = "invoice-to-erp"
AMOUNT = "120.00"
OPERATIONS = (
    "billing.credit_memo.issue",
    "erp.credit_memo.post",
    "erp.credit.apply",
    "support.ticket.reply",
)
"""The writes of a credit, in order."""
NOT_OF_A_CREDIT = (
    "Receive/nothing",
    "Admit/nothing",
    "Admit/period.",
    "Admit/customer.",
    "Admit/invoice.",
    "Receive/erp",
    "Receive/billing",
    "Receive/support:",
)
"""What other work and the polls do while a credit goes its way."""
CREDITS_PER_CUSTOMER = 8
"""So many credits of AMOUNT the support lead may grant to one customer in a quarter."""
ROUND_SECONDS = PATIENCE_SECONDS
BRIEF = {
    "operations/erp.yaml": [("horizon: 60s", "horizon: 5s\ntimeout: 5s")],
    "operations/billing.yaml": [("horizon: 120s", "horizon: 5s\ntimeout: 5s")],
    "operations/support.yaml": [("horizon: 60s", "horizon: 5s\ntimeout: 5s")],
}
"""Edits with which a look-up may conclude soon. These systems answer in far less and take nothing later."""
IRREVERSIBLE = frozenset({"erp.party.upsert", "erp.invoice.post", "erp.credit.apply", "support.ticket.reply"})
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Played:
    """What a round came to. `points` are those passed, in order, over all lives of the server."""

    violations: list[str]
    points: list[str]
    killed: list[str]
    seconds: float


class Life:
    """One company with its server, through rounds."""

    def __init__(self, company: Company) -> None:
        self.company = company
        self.folder = company.governance(SOON, BRIEF)
        self.store = company.home / "store.sqlite"
        self.journal = company.home / "journal"
        command = ["up", str(self.folder), "--store", f"sqlite:{self.store}", "--port", str(company.port)]
        environment = company.environment() | {"COUNTERFOIL_WORKER": "crash", "PYTHONPATH": str(ROOT)}
        self.server = Program(
            "server", ["-m", "tests.crash.process", str(self.journal), *command],
            company.port, company.home, environment,
        )  # fmt: skip
        self.customer = self.invoice = ""
        self.granted = 0
        self.done: set[str] = set()

    # ------------------------------------------------------------------ a round

    async def round(self, lives: Sequence[Sequence[str]] = (), after: float | None = None) -> Played:
        """One credit. `lives` are the points at which the server's first, second, ... life ends; with `after` its
        first life ends that many seconds from the request. Violations come back, also for a round that does not
        end."""
        began = time.monotonic()
        read, found = 0, list[str]()
        try:
            if self.granted % CREDITS_PER_CUSTOMER == 0:
                await self._bill()
            read = len(self._journal_lines())
            self.granted += 1
            await self._start([], lives[0] if lives else [])
            incident = f"incident-{self.granted}"
            ticket = await self.company.ask_credit(self.customer, self.invoice, AMOUNT, incident)
            key = await self._carry(list(lives[1:]), after)
            found += await self._judge(key, ticket)
        except AssertionError as error:
            found.append(str(error))
        finally:
            self.server.stop()
        lines = self._journal_lines()[read:]
        found += _wire(self._journal_lines())
        points = [line.removeprefix("point ") for line in lines if line.startswith("point ")]
        killed = [line.removeprefix("kill ") for line in lines if line.startswith("kill ")]
        return Played(found, points, killed, time.monotonic() - began)

    async def _bill(self) -> None:
        """A new customer with an invoice that has reached the ERP."""
        await self._start([], [])
        before = len(await self._done(INVOICE))
        self.customer, self.invoice = await self.company.billed(1_000_000)
        deadline = time.monotonic() + ROUND_SECONDS
        while len(await self._done(INVOICE)) == before:
            assert time.monotonic() < deadline, f"the invoice does not reach the ERP\n{await self._told()}"
            await asyncio.sleep(0.2)
        self.server.stop()

    async def _start(self, rest: list[Sequence[str]], kills: Sequence[str]) -> None:
        """Start a life of the server; when it ends before it listens, the next one."""
        while True:
            arm(self.journal, kills)
            self.server.start()
            if await asyncio.to_thread(self.server.until_listening):
                return
            self._assert_killed()
            kills = rest.pop(0) if rest else []

    async def _carry(self, rest: list[Sequence[str]], after: float | None) -> str:
        """Restart what was killed and vote, until the credit's Run is done; its key."""
        began = time.monotonic()
        while True:
            assert time.monotonic() < began + ROUND_SECONDS, f"not done in time\n{await self._told()}"
            if after is not None and time.monotonic() > began + after and self.server.ended() is None:
                self.server.stop(signal.SIGKILL)
                after = None
                await self._start(rest, rest.pop(0) if rest else [])
            if self.server.ended() is not None:
                self._assert_killed()
                await self._start(rest, rest.pop(0) if rest else [])
            with contextlib.suppress(httpx2.TransportError):
                await self._vote()
                if new := await self._done(CREDIT) - self.done:
                    self.done |= new
                    return new.pop()
            await asyncio.sleep(0.1)

    def _assert_killed(self) -> None:
        code = self.server.ended()
        assert code == -signal.SIGKILL, f"the server ended by itself with {code}:\n{self.server.output()}"

    # ------------------------------------------------------------------ through the doors

    async def _call(self, method: str, path: str, person: str, body: Any = None) -> Any:
        headers = {"authorization": f"Bearer {token_of(person)}"}
        async with httpx2.AsyncClient(
            base_url=self.company.url, trust_env=False, timeout=PATIENCE_SECONDS
        ) as http:
            answer = await http.request(method, f"/v1/{path}", headers=headers, json=body)
        return answer.json() if answer.status_code < 300 else None

    async def _done(self, workflow: str) -> set[str]:
        found = await self._call("GET", f"runs?workflow={workflow}&status=done&limit=200", "admin")
        assert found is not None
        assert found["next"] is None, "more Runs than a page holds"
        return {run["key"] for run in found["items"]}

    async def _vote(self) -> None:
        for approval in (await self._call("GET", "approvals?state=open", "admin"))["items"]:
            vote = {"decision": "approve", "comment": "as discussed", "subject": approval["subject"]}
            await self._call("POST", f"approvals/{approval['id']}", "lead", vote)

    # ------------------------------------------------------------------ judging

    async def _judge(self, key: str, ticket: str) -> list[str]:
        """Violations of the invariants, inside and outside, and of this credit's own arithmetic."""
        self.server.stop()
        store = await SqliteStore.open(self.store)
        try:
            found = await check.check(store, utc_now(), IRREVERSIBLE)
            dump = await store.dump()
        finally:
            await store.close()
        found += await outside_truth(self.company, dump)
        seen = await look(self.company, dump)
        expected = {
            ("billing.credit_memo.issue", key): 1,
            ("erp.credit_memo.post", key): 1,
            ("erp.credit.apply", key): 1,
            ("support.ticket.reply", ticket): 1,
        }
        found += [
            f"{what}: {seen.get(what, 0)} instead of {n}"
            for what, n in expected.items()
            if seen.get(what) != n
        ]
        shown = await self.company.ticket(ticket)
        async with self.company.of_erp() as erp:
            numbers = [document["number"] for document in await erp.invoices(key)]
        if [shown["erp_document"]] != numbers or shown["status"] != "credit-posted":
            found.append(
                f"ticket {ticket} is {shown['status']} and says {shown['erp_document']}, the ERP {numbers}"
            )
        return found + _owned(dump)

    async def _told(self) -> str:
        """What there is, for a round that does not end."""
        self.server.stop()
        store = await SqliteStore.open(self.store)
        try:
            dump = await store.dump()
        finally:
            await store.close()
        lines = [f"run {r.workflow} {r.bkey} {r.status} {r.state} due {r.due}" for r in dump.runs]
        lines += [f"effect {e.operation} {e.state} {e.attempt} {e.error}" for e in dump.effects]
        lines += [f"case {c.reason} {c.state} {c.message}" for c in dump.cases]
        lines += [f"todo {todo}" for todo in dump.todos]
        return "\n".join([*lines, self.server.output()])

    def _journal_lines(self) -> list[str]:
        return self.journal.read_text().splitlines() if self.journal.exists() else []


def _wire(lines: Sequence[str]) -> list[str]:
    """Invariant 1: bytes leave only for a committed `sending` row, before send_by, once per attempt."""
    sent = Counter(tuple(line.split()[1:3]) for line in lines if line.startswith("wire "))
    found = [
        f"1: {effect} attempt {n} left {count} times" for (effect, n), count in sent.items() if count > 1
    ]
    wrong = [line for line in lines if line.startswith("wire ") and line.split()[4:] != ["sending"]]
    return found + [f"1: {line}" for line in wrong]


def _owned(dump: Dump) -> list[str]:
    """A kill alone asks nothing of a person: no Case is left open."""
    return [f"a Case is open: {case.reason} {case.message}" for case in dump.cases if case.state == "open"]
