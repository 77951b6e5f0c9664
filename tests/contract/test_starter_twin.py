"""The billing and the ledger of a new folder, through the connectors that the folder itself describes."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest

from counterfoil.bootstrap import connectors_of, read_model
from counterfoil.cli.new_folder import init
from counterfoil.connectors.sdk import Absent, Confirmed, Connector, Rejected, Request
from counterfoil.core.wire import Json, write_json

ISSUE: Mapping[str, Json] = {
    "external_id": "k1",
    "customer": "C-1",
    "amount": 500,
    "currency": "USD",
    "memo": "x",
}
POST: Mapping[str, Json] = {
    "external_id": "T-1", "party": "C-1", "account": "4090", "amount": "5.00", "currency": "USD", "date": "2026-11-30",
}  # fmt: skip
SECONDS = 30.0


@contextlib.contextmanager
def running(state: Path) -> Iterator[str]:
    """Run the twin on a free port and yield its port."""
    command = [sys.executable, "-m", "counterfoil.twins.starter", "--port", "0", "--state", str(state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            started = re.search(r"http://127\.0\.0\.1:(\d+)", process.stdout.readline())
            assert started is not None
            yield started[1]
        finally:
            process.terminate()


@contextlib.asynccontextmanager
async def connected(folder: Path, port: str) -> AsyncIterator[dict[str, Connector]]:
    """Yield the connectors of a new folder, whose systems are on this port."""
    systems = folder / "1-systems.yaml"
    systems.write_text(re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{port}", systems.read_text("utf-8")), "utf-8")
    connectors = connectors_of(read_model(folder), folder)
    try:
        yield connectors
    finally:
        for connector in connectors.values():
            await connector.close()


def request(operation: str, key: str, body: Mapping[str, Json]) -> Request:
    return Request(operation, key, write_json(dict(body)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    init(tmp_path / "first")
    return tmp_path / "first"


async def test_billing_issues_once_and_voids_once(folder: Path, tmp_path: Path) -> None:
    issue, void = (
        request("billing.credit.issue", "k1", ISSUE),
        request("billing.credit.void", "v1", {"number": "CR-1"}),
    )
    with running(tmp_path / "state") as port:
        async with connected(folder, port) as systems:
            billing = systems["billing"]
            assert isinstance(await billing.find(issue, SECONDS), Absent)
            first, again = [await billing.send(issue, SECONDS) for _ in range(2)]
            assert isinstance(first, Confirmed)
            assert (first, first.result["number"]) == (again, "CR-1")
            assert await billing.find(issue, SECONDS) == first
            assert isinstance(await billing.find(void, SECONDS), Absent)
            voided = [await billing.send(void, SECONDS), await billing.send(void, SECONDS)]
            assert voided == [Confirmed({"number": "CR-1"})] * 2
            assert await billing.find(void, SECONDS) == voided[0]
            other = request("billing.credit.void", "v2", {"number": "CR-9"})
            assert isinstance(await billing.send(other, SECONDS), Rejected)


async def test_the_ledger_refuses_a_second_document_and_shows_the_first_after_a_restart(
    folder: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    post = request("ledger.credit.post", "p1", POST)
    with running(state) as port:
        async with connected(folder, port) as systems:
            ledger = systems["ledger"]
            assert await ledger.send(post, SECONDS) == Confirmed({"id": "LE-1"})
            assert not isinstance(
                await ledger.send(request("ledger.credit.post", "p2", POST), SECONDS), Confirmed
            )
            incomplete = request("ledger.credit.post", "p3", {"external_id": "T-2"})
            assert isinstance(await ledger.send(incomplete, SECONDS), Rejected)
    with state.open("a") as file:
        file.write('{"what": "posted", "seq": 2')  # a crash cut this line
    with running(state) as port:
        async with connected(folder, port) as systems:
            ledger = systems["ledger"]
            assert await ledger.find(post, SECONDS) == Confirmed({"id": "LE-1"})
            page = await ledger.poll("postings", None, 10, SECONDS)
            assert [delivery.ext_id for delivery in page.deliveries] == ["postings/LE-1/1"]
            assert not (await ledger.poll("postings", page.cursor, 10, SECONDS)).deliveries
            more = request("ledger.credit.post", "p4", {**POST, "external_id": "T-2"})
            assert await ledger.send(more, SECONDS) == Confirmed({"id": "LE-2"})
            after = await ledger.poll("postings", page.cursor, 10, SECONDS)
            assert [delivery.ext_id for delivery in after.deliveries] == ["postings/LE-2/1"]
