"""A test that is recorded from a store passes, and holds no personal data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from counterfoil.core.finding import errors
from counterfoil.model import Model, kinds, read
from counterfoil.store.dump import Dump
from counterfoil.store.memory.store import MemoryStore
from counterfoil.testing.case_run import CaseRun, begin_of
from counterfoil.testing.played_loop import PlayedClock, PlayedLoop
from counterfoil.testing.recording import recorded_test
from counterfoil.testing.run import Suite, persons_of, prepare
from counterfoil.testing.yaml_text import yaml_text
from tests.source import ROOT

ACME = ROOT / "examples" / "acme"
RUNS = [
    ("credit-is-granted-posted-applied-and-told", "CR-1"),
    ("credit-that-the-erp-refuses-is-voided-in-billing", "CR-1"),
    ("rejected-credit-is-told", "CR-1"),
    ("approval-of-a-credit-expires", "CR-1"),
    ("invoice-is-posted-and-reconciled", "I-1"),
    ("refusal-asks-a-person", "I-1"),
    ("invoice-in-a-closed-period-takes-the-first-open-day", "I-1"),
    ("credit-is-taken-back", "CR-1/20000"),
]


def played(model: Model, name: str) -> Dump:
    """Return the rows of a store in which a test of the model was played."""
    test = model.of_kind(kinds.Test)[name]
    loop = PlayedLoop()
    clock = PlayedClock(loop, begin_of(test))

    async def work() -> Dump:
        store = MemoryStore(clock)
        await prepare(store, model, persons_of(model, test))
        run = CaseRun(loop, clock, store, model, test)
        await run.play()
        return await run.dump()

    try:
        return loop.run(work())
    finally:
        loop.close()


def replayed(folder: Path, document: dict[str, Any]) -> str:
    """Return the difference of a recorded test, read as YAML in a copy of Acme."""
    for path in sorted(ACME.rglob("*")):
        if path.suffix in (".yaml", ".csv") and path.parent.name != "tests":
            target = folder / path.relative_to(ACME)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    (folder / "recorded.yaml").write_text(yaml_text(document))
    model, findings = read(folder)
    assert [str(finding) for finding in errors(findings)] == []
    suite = Suite(model)
    try:
        (test,) = [document for document, _ in model.documents_of(kinds.Test)]
        return suite.result(test).difference
    finally:
        suite.close()


@pytest.fixture(scope="module")
def model() -> Model:
    return read(ACME)[0]


@pytest.mark.parametrize(("name", "key"), RUNS, ids=[name for name, _ in RUNS])
def test_a_recorded_test_passes(tmp_path: Path, model: Model, name: str, key: str) -> None:
    document = recorded_test(model, played(model, name), key)
    assert replayed(tmp_path, document) == "", yaml_text(document)


def test_personal_data_is_replaced_everywhere_by_the_same_word(tmp_path: Path, model: Model) -> None:
    dump = played(model, "customer-is-created-in-the-erp")
    document = recorded_test(model, dump, "C-1")
    text = yaml_text(document)
    assert "1 Main St" not in text
    assert text.count("street-1") == 2
    assert replayed(tmp_path, document) == ""


def test_persons_are_replaced_with_their_roles(tmp_path: Path, model: Model) -> None:
    document = recorded_test(model, played(model, "requester-does-not-decide"), "CR-1")
    assert "anna" not in yaml_text(document)
    (person,) = [name for name, roles in document["persons"].items() if "support-agent" in roles]
    assert document["expect"]["approvals"][0]["state"] == "granted"
    assert [step["data"]["requested_by"] for step in document["given"] if "event" in step] == [person]
    assert replayed(tmp_path, document) == ""
