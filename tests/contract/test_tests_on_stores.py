"""Tests as files have the same result on every store."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from counterfoil.cli.commands import app_with
from counterfoil.cli.failure import CommandFailed
from counterfoil.model import kinds
from counterfoil.store.sql.sqlite import SqliteStore
from counterfoil.testing.case_run import CaseRun, begin_of
from counterfoil.testing.outside_store import OutsideStore
from counterfoil.testing.played_loop import PlayedClock, PlayedLoop
from counterfoil.testing.run import persons_of, prepare
from tests import postgres as real_postgres
from tests.companies.base import acme_model
from tests.source import ROOT

ACME = ROOT / "examples" / "acme"
NAMES = [
    "requester-does-not-decide",
    "temporary-refusals-are-retried",
    "lost-answer-is-looked-up",
    "outage-of-the-erp-delays",
    "credit-is-granted-posted-applied-and-told",
    "credit-is-taken-back",
    "invoice-that-the-erp-does-not-show-is-a-case",
]
"""Tests with every sort of step: votes, faults, an outage, calls, and days that pass."""


def invoke(*words: str) -> Any:
    return CliRunner().invoke(app_with(["test"]), ["test", *words], catch_exceptions=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'tests.db'}"
    cluster: real_postgres.Cluster = request.getfixturevalue("postgres")
    return cluster.dsn()


def test_the_same_tests_pass(url: str, tmp_path: Path) -> None:
    result = invoke(str(ACME), *NAMES, "--store", url, "--json")
    cases = json.loads(result.output)["cases"]
    assert [(case["name"], case["difference"]) for case in cases if not case["ok"]] == []
    assert {case["name"] for case in cases} == set(NAMES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (lambda folder: f"sqlite:{folder}", "exists already; name a file that does not"),
        (lambda _: "postgresql://127.0.0.1:1/x", "PostgreSQL cannot be reached"),
    ],
    ids=["a file that exists", "no server"],
)
def test_a_store_that_cannot_be_opened_is_wrong_usage(
    tmp_path: Path, address: Callable[[Path], str], message: str
) -> None:
    result = invoke(str(ACME), NAMES[0], "--store", address(tmp_path))
    assert isinstance(result.exception, CommandFailed)
    assert message in str(result.exception)


def test_a_run_of_a_store_is_recorded(tmp_path: Path) -> None:
    path = tmp_path / "company.db"
    model = acme_model()
    test = model.of_kind(kinds.Test)["rejected-credit-is-told"]
    loop = PlayedLoop()
    clock = PlayedClock(loop, begin_of(test))

    async def play() -> None:
        with loop.working_outside():
            inner = await SqliteStore.open(path)
        store: Any = OutsideStore(inner, loop, clock)
        await prepare(store, model, persons_of(model, test))
        await CaseRun(loop, clock, store, model, test).play()
        await store.close()

    loop.run(play())
    loop.close()
    result = invoke(str(ACME), "--record", "CR-1", "--store", f"sqlite:{path}", "--json")
    document = json.loads(result.output)
    assert document["expect"]["runs"][0]["state"] == "rejected"
    assert {"reject": "service-credit", "by": "support-lead"} in document["given"]
    text = invoke(str(ACME), "--record", "CR-1", "--store", f"sqlite:{path}").output
    assert "- {reject: service-credit, by: support-lead}" in text
    unknown = invoke(str(ACME), "--record", "CR-7", "--store", f"sqlite:{path}")
    assert str(unknown.exception) == "The store has no Run CR-7."
    without = invoke(str(ACME), "--record", "CR-1")
    assert str(without.exception).startswith("--record needs the store of the Run")
