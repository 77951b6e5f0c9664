"""Counterfoil's processes over the fast company: a server, workers, one store; and rounds in which some of them die.

With workers (PostgreSQL alone) the server only answers doors. A round asks for credits, has processes end or stop at
points, starts again what it may, plays the persons, waits for the end and judges store, wire and outside.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import apsw
import httpx2

from counterfoil.core.clock import utc_now
from counterfoil.store import check
from counterfoil.store.dump import Dump
from counterfoil.store.sql.postgres import PostgresStore
from counterfoil.store.sql.sqlite import SqliteStore
from tests.companies.acme import token_of
from tests.crash.forked import Forked, Nursery
from tests.crash.house import CONTRADICTION, GOVERNANCE, VOTED, WORKFLOW, WRITES, Credit, House
from tests.crash.process import arm
from tests.patience import PATIENCE_SECONDS

LEASE = 1.5
"""Seconds of a lease in these processes; in real ones it is ten."""
ROUND_SECONDS = PATIENCE_SECONDS
CASE_OF_BLIND = "unknown"
LATE = 0.7
"""Seconds that a process which was stopped is given to do what it may no longer do."""


@dataclass
class Played:
    """What a round came to."""

    violations: list[str] = field(default_factory=list)
    points: list[list[str]] = field(default_factory=list)
    """Those passed by each process, in order, over all its lives."""
    answers: list[list[str]] = field(default_factory=list)
    """What the store answered each process: label and verdict."""
    killed: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    seconds: float = 0.0
    cases: int = 0
    """Cases that a person had to answer."""
    doubled: int = 0
    """Writes that a system which cannot refuse a repeat holds twice, each with an open Case that says so."""
    late: int = 0
    """Which of the processes was stopped."""


@dataclass(frozen=True)
class Plan:
    """What the turning processes suffer in a round, by their index."""

    lives: Mapping[int, Sequence[Sequence[str]]] = field(default_factory=dict)
    """The points at which the present, the next, ... life ends."""
    moments: Mapping[int, float] = field(default_factory=dict)
    """Seconds from the request to a kill."""
    stops: Sequence[str] = ()
    """Points at which whoever of them comes first is stopped; the others pass them then."""
    paused: float = 0.0
    """Seconds after which what was stopped goes on."""
    back: bool = True
    """What was killed is started again."""
    leaves: int | None = None
    """Who may end by itself, with code 0."""

    def __str__(self) -> str:
        told = [
            f"{n}: " + ", then ".join(" or ".join(life) or "-" for life in some)
            for n, some in self.lives.items()
        ]
        told += [f"{n}: after {seconds:.2f} s" for n, seconds in self.moments.items()]
        told += [f"paused {self.paused:.1f} s at {' or '.join(self.stops)}"] if self.stops else []
        return "; ".join(told) or "nothing"


class Member:
    """One process of Counterfoil with its journal."""

    def __init__(
        self, nursery: Nursery, name: str, command: Sequence[str], port: int, house: House, lease: float
    ) -> None:
        self.journal = house.home / f"{name}.journal"
        self.program = Forked(
            nursery,
            name,
            ["--lease", str(lease), str(self.journal), *command],
            port,
            house.home,
            house.environment() | {"COUNTERFOIL_WORKER": name},
        )
        self.read = 0
        self.stopped = False
        self.dying = False
        """It wrote that it kills itself, and was not started since."""

    def arm(self, points: Sequence[str], how: str = "kill") -> None:
        arm(self.journal, points, how)

    def lines(self) -> list[str]:
        """What was written since the last look."""
        text = self.journal.read_bytes() if self.journal.exists() else b""
        whole = text[self.read : text.rfind(b"\n") + 1]
        self.read += len(whole)
        return whole.decode().splitlines()


class Crew:
    """A server and its workers on one store, through rounds."""

    def __init__(
        self, house: House, nursery: Nursery, store: str, workers: int = 0, lease: float = LEASE
    ) -> None:
        self.house = house
        self.dsn = store if store.startswith("postgresql://") else ""
        self.file = house.home / "store.sqlite"
        address = self.dsn or f"sqlite:{self.file}"
        up = ["up", str(GOVERNANCE), "--store", address, "--port", str(house.port)]
        self.server = Member(
            nursery, "server", [*up, "--workers", "0" if workers else "1"], house.port, house, lease
        )
        self.workers = [
            Member(nursery, f"worker-{n}", ["worker", str(GOVERNANCE), "--store", address], 0, house, lease)
            for n in range(1, workers + 1)
        ]
        self.members = [self.server, *self.workers]
        self.turning = self.workers or [self.server]
        """Those that turn Runs."""
        self.wire: Counter[tuple[str, str]] = Counter()
        self.asked: list[Credit] = []
        self._numbers = count(1)
        self._http = httpx2.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS)
        self._store: PostgresStore | None = None

    async def open(self) -> None:
        self.server.program.start()
        assert await asyncio.to_thread(self.server.program.until_listening), self.server.program.output()
        for worker in self.workers:
            worker.program.start()

    async def close(self) -> None:
        for member in self.members:
            await asyncio.to_thread(member.program.stop, signal.SIGKILL)
        await self._http.aclose()
        if self._store is not None:
            await self._store.close()

    # ------------------------------------------------------------------ asking

    def credits(
        self, number: int = 1, customers: int = 1, cents: int = VOTED, letter: bool = True
    ) -> list[Credit]:
        """New requests, their customers in turn."""
        first = len(self.asked)
        return [
            Credit(f"credit-{next(self._numbers)}", f"customer-{first}-{n % customers}", cents, letter)
            for n in range(number)
        ]

    async def ask(self, credits: Sequence[Credit]) -> None:
        """File requests at the desk and deliver its webhooks, again and again until each is acknowledged."""
        self.asked += credits
        for credit in credits:
            await self.house.ask(self._http, credit)
        await asyncio.gather(*(self._deliver(credit) for credit in credits))

    async def _deliver(self, credit: Credit) -> None:
        deadline = time.monotonic() + ROUND_SECONDS
        while time.monotonic() < deadline:
            headers, body = self.house.callback(credit)
            with contextlib.suppress(httpx2.TransportError):
                answer = await self._http.post(
                    f"{self.house.url}/v1/receipts/desk", headers=headers, content=body
                )
                assert answer.status_code == 202, answer.text
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{credit.id} was never acknowledged")

    # ------------------------------------------------------------------ a round

    async def round(self, credits: Sequence[Credit], plan: Plan = Plan()) -> Played:
        """Ask for the credits and let the processes suffer the plan, until every Run has ended; then judge."""
        began = time.monotonic()
        played = Played([], [[] for _ in self.members], [[] for _ in self.members])
        rest = {n: [list(life) for life in some] for n, some in plan.lives.items()}
        for n, member in enumerate(self.turning):
            if plan.stops:
                member.arm(plan.stops, "stop")
            else:
                member.arm(rest[n].pop(0) if rest.get(n) else [])
        asking = asyncio.create_task(self.ask(credits))
        moments, wakes = dict(plan.moments), dict[int, float]()
        try:
            while True:
                now = time.monotonic()
                assert now < began + ROUND_SECONDS, f"not done in time\n{await self.told()}"
                for n in [n for n, after in moments.items() if now > began + after]:
                    del moments[n]
                    self._kill(n, played)
                self._read_journals(played)
                self._wake(plan, played, wakes, now)
                self._revive(rest, plan)
                if asking.done():
                    asking.result()
                    with contextlib.suppress(httpx2.TransportError):
                        played.cases += await self._persons()
                        if not moments and not wakes and await self._all_done(credits):
                            break
                await asyncio.sleep(0.03)
            if played.stopped:
                await asyncio.sleep(LATE)
            found, played.doubled = await self.judge()
            played.violations += found
        except AssertionError as error:
            played.violations.append(str(error))
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            for n in wakes:
                self._signal(n, signal.SIGCONT)
        self._read_journals(played)
        await self._revive_last(plan)
        played.seconds = time.monotonic() - began
        return played

    def _signal(self, n: int, number: signal.Signals) -> None:
        process = self.turning[n].program.process
        if process is not None:
            process.send_signal(number)

    def _kill(self, n: int, played: Played) -> None:
        program = self.turning[n].program
        if program.ended() is None and program.process is not None:
            self._signal(n, signal.SIGKILL)
            program.process.wait()
            played.killed.append(f"{program.name} at a moment")

    def _wake(self, plan: Plan, played: Played, wakes: dict[int, float], now: float) -> None:
        """Note who has stopped, and let those go on whose time has come."""
        for n in list(wakes):
            if now > wakes[n]:
                del wakes[n]
                self._signal(n, signal.SIGCONT)
        offset = len(self.members) - len(self.turning)
        for n, member in enumerate(self.turning):
            if member.stopped:
                member.stopped = False
                wakes[n] = now + plan.paused
                played.late = n + offset

    def _revive(self, rest: Mapping[int, list[list[str]]], plan: Plan) -> None:
        """Start the next life of whoever was killed. Whoever ended otherwise fails the round."""
        for n, member in enumerate(self.turning):
            code = member.program.ended()
            if (
                code is None
                or (code == -signal.SIGKILL and not plan.back)
                or (code == 0 and plan.leaves == n)
            ):
                continue
            assert code == -signal.SIGKILL, (
                f"{member.program.name} ended by itself: {code}\n{member.program.output()}"
            )
            member.arm(rest[n].pop(0) if rest.get(n) else [])
            member.dying = False
            member.program.start()

    async def _revive_last(self, plan: Plan) -> None:
        """Start again who was killed at the end of a round: the next round would take that death for one of its own."""
        for member in self.turning:
            member.arm([])
            if plan.back and member.dying and member.program.process is not None:
                await asyncio.to_thread(member.program.process.wait)
        self._revive({}, plan)

    # ------------------------------------------------------------------ persons, through the doors

    async def call(self, method: str, path: str, person: str, body: Any = None) -> Any:
        headers = {"authorization": f"Bearer {token_of(person)}"}
        answer = await self._http.request(method, f"{self.house.url}/v1/{path}", headers=headers, json=body)
        return answer.json() if answer.status_code < 300 else None

    async def _items(self, path: str) -> list[Any]:
        found = await self.call("GET", path, "admin")
        return [] if found is None else list(found["items"])

    async def _persons(self) -> int:
        """The lead approves; the administrator looks into the post for letters of which nothing can tell."""
        for approval in await self._items("approvals?state=open&limit=200"):
            vote = {"decision": "approve", "comment": "as discussed", "subject": approval["subject"]}
            await self.call("POST", f"approvals/{approval['id']}", "lead", vote)
        answered = 0
        for case in await self._items("cases?state=open&limit=200"):
            if case["reason"] != CASE_OF_BLIND:
                continue
            there = any(reference == case["effect"] for _, reference, _, _ in self.house.made())
            choice = {"choice": "continue" if there else "retry", "note": "looked at the post"}
            answered += await self.call("POST", f"cases/{case['id']}", "admin", choice) is not None
        return answered

    async def _all_done(self, credits: Sequence[Credit]) -> bool:
        done = {run["key"] for run in await self._items(f"runs?workflow={WORKFLOW}&status=done&limit=200")}
        return all(credit.id in done for credit in credits)

    # ------------------------------------------------------------------ judging

    async def dump(self) -> Dump:
        async with self._opened() as store:
            return await store.dump()  # type: ignore[no-any-return]

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Any]:
        """The store beside its processes: PostgreSQL itself, of SQLite a copy of this moment."""
        if self.dsn:
            if self._store is None:
                self._store = await PostgresStore.open(self.dsn)
            yield self._store
            return
        with tempfile.TemporaryDirectory(dir=self.house.home) as folder:
            copy = Path(folder) / "copy.sqlite"
            await asyncio.to_thread(_copy, self.file, copy)
            store = await SqliteStore.open(copy)
            try:
                yield store
            finally:
                await store.close()

    async def judge(self) -> tuple[list[str], int]:
        """Violations inside and outside, with every Run at its end; and what is there twice with an owned Case."""
        async with self._opened() as store:
            found = await check.check(store, utc_now(), set(WRITES))
            dump = await store.dump()
        found += self.house.violations(dump, self.asked)
        found += self.house.interleaved()
        doubled = self.house.doubled(dump)
        found += [
            f"a Case is open: {c.reason} {c.message}"
            for c in dump.cases
            if c.state == "open" and not (doubled and c.reason == CONTRADICTION)
        ]
        found += [f"{r.bkey} is {r.status}" for r in dump.runs if r.status != "done"]
        return found, len(doubled)

    def _read_journals(self, played: Played) -> None:
        """What the processes wrote since the last look. Invariant 1: bytes leave only for a committed `sending`
        row, before send_by, once per attempt."""
        for n, member in enumerate(self.members):
            for line in member.lines():
                word, rest = line.split(" ", 1)
                match word:
                    case "point":
                        played.points[n].append(rest)
                    case "answer":
                        played.answers[n].append(rest.strip())
                    case "kill":
                        played.killed.append(rest)
                        member.dying = True
                    case "stop":
                        played.stopped.append(rest)
                        member.stopped = True
                    case "wire":
                        effect, attempt, _, *state = rest.split()
                        self.wire[effect, attempt] += 1
                        if state != ["sending"]:
                            played.violations.append(f"1: {line}")
                        if self.wire[effect, attempt] > 1:
                            played.violations.append(f"1: {effect} attempt {attempt} left more than once")

    async def told(self) -> str:
        """What there is, for a round that does not end."""
        dump = await self.dump()
        lines = [
            f"run {r.bkey} {r.status} {r.state} due {r.due} owner {r.owner}"
            for r in dump.runs
            if r.status != "done"
        ]
        open_runs = {r.id for r in dump.runs if r.status != "done"}
        lines += [
            f"effect {e.operation} {e.state} {e.attempt} {e.error} look {e.look_at}"
            for e in dump.effects
            if e.run in open_runs
        ]
        lines += [f"case {c.reason} {c.message}" for c in dump.cases if c.state == "open"]
        lines += [f"todo {todo}" for todo in dump.todos]
        lines += [f"{m.program.name}: {m.program.output()[-1500:]}" for m in self.members]
        return "\n".join(lines)


def _copy(source: Path, target: Path) -> None:
    there = apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READONLY)
    here = apsw.Connection(str(target))
    try:
        with here.backup("main", there, "main") as backup:
            backup.step()
    finally:
        here.close()
        there.close()


@asynccontextmanager
async def crew(
    house: House, nursery: Nursery, store: str, workers: int = 0, lease: float = LEASE
) -> AsyncIterator[Crew]:
    """The processes, started; ended with the context whatever state they are in."""
    made = Crew(house, nursery, store, workers, lease)
    try:
        await made.open()
        yield made
    finally:
        await made.close()
