"""The server and two workers in separate processes on one PostgreSQL, started as people start them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack

import httpx2
import pytest

from counterfoil.core.clock import utc_now
from counterfoil.store import check
from counterfoil.store.dump import Dump
from counterfoil.store.sql.postgres import PostgresStore
from tests.companies.acme import SOON, Company, Program, token_of
from tests.crash.rounds import BRIEF, IRREVERSIBLE
from tests.outside import outside_truth
from tests.patience import PATIENCE_SECONDS
from tests.served import CREDIT, INVOICE, report, until

CLI = ["-m", "counterfoil.cli.main"]


@pytest.fixture
def processes(systems: Company, postgres_dsn: str) -> Iterator[list[Program]]:
    """Start the server without a worker, and two workers."""
    folder = str(systems.governance(SOON, BRIEF))
    store = ["--store", postgres_dsn]
    environment = systems.environment()
    server = Program(
        "server", [*CLI, "up", folder, *store, "--workers", "0", "--port", str(systems.port)],
        systems.port, systems.home, environment,
    )  # fmt: skip
    workers = [
        Program(f"worker-{n}", [*CLI, "worker", folder, *store], 0, systems.home, environment) for n in (1, 2)
    ]
    with ExitStack() as ends:
        for program in (server, *workers):
            ends.callback(program.stop)
        server.up()
        for worker in workers:
            worker.start()
        yield [server, *workers]


@pytest.mark.timeout(900)
async def test_two_workers_complete_invoices_and_credits_exactly_once(
    systems: Company, processes: list[Program], postgres_dsn: str
) -> None:
    store = await PostgresStore.open(postgres_dsn)
    try:

        async def state() -> str:
            return report(await store.dump())

        async def done(workflow: str, count: int) -> Dump | None:
            dump = await store.dump()
            ends = [run for run in dump.runs if run.workflow == workflow and run.status == "done"]
            assert [p.name for p in processes if p.ended() is not None] == []
            return dump if len(ends) >= count else None

        billed = [await systems.billed() for _ in range(2)]
        await until("the invoices", lambda: done(INVOICE, 2), PATIENCE_SECONDS, state)
        for number, (customer, invoice) in enumerate(billed):
            await systems.ask_credit(customer, invoice, "50.00", f"small-{number}")
            await systems.ask_credit(customer, invoice, "200.00", f"large-{number}")
        # Which of a customer's two credits comes first is open, and with it whether the small one needs approval too.
        async with httpx2.AsyncClient(
            base_url=systems.url, trust_env=False, timeout=PATIENCE_SECONDS
        ) as http:

            async def approved() -> Dump | None:
                await _approve_all(http)
                return await done(CREDIT, 4)

            await until("all credits", approved, PATIENCE_SECONDS, state)
        dump = await store.dump()
        assert len({effect.worker for effect in dump.effects if effect.worker}) == 2, "one worker did nothing"
        granted = [str(a.amount) for a in dump.approvals if a.policy == "service-credit" and not a.automatic]
        assert granted.count("200.00 USD") == 2, granted
        violations = await check.check(store, utc_now(), IRREVERSIBLE) + await outside_truth(systems, dump)
        assert violations == []
    finally:
        await store.close()


@pytest.mark.timeout(900)
async def test_another_worker_takes_over_from_a_killed_worker(
    systems: Company, processes: list[Program], postgres_dsn: str
) -> None:
    store = await PostgresStore.open(postgres_dsn)
    try:
        await systems.billed()

        async def sending() -> str | None:
            effects = (await store.dump()).effects
            workers = [e.worker for e in effects if e.operation == "erp.invoice.post" and e.worker]
            return workers[0] if workers else None

        await until("the posting's intent", sending, PATIENCE_SECONDS)
        # The test cannot see from outside which worker has the effect, so it kills both and restarts one.
        for worker in processes[1:]:
            worker.stop(signal.SIGKILL)
        processes[2].start()

        async def done() -> bool:
            return [r.status for r in (await store.dump()).runs if r.workflow == INVOICE] == ["done"]

        await until("the invoice", done, PATIENCE_SECONDS)
        violations = await check.check(store, utc_now(), IRREVERSIBLE)
        violations += await outside_truth(systems, await store.dump())
        assert violations == []
    finally:
        await store.close()


async def _approve_all(http: httpx2.AsyncClient) -> None:
    """Grant each approval that is open, as the support lead."""
    answer = await http.get("/v1/approvals?state=open", headers=_bearer("admin"))
    assert answer.status_code == 200, answer.text
    for approval in answer.json()["items"]:
        vote = {"decision": "approve", "comment": "as discussed"}
        answer = await http.post(f"/v1/approvals/{approval['id']}", headers=_bearer("lead"), json=vote)
        assert answer.status_code == 200, answer.text


def _bearer(person: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token_of(person)}"}
