"""Acme's own tests pass, cover every rule, and find planted faults together with `check` and `prove`."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from counterfoil.core.finding import errors
from counterfoil.model import Model, kinds, read
from counterfoil.model.document import Document
from counterfoil.prove import prove
from counterfoil.testing.run import CaseResult, Suite
from tests.companies.parsed_texts import parse_each_text_once
from tests.planted_acme_faults import FAULTS, Fault
from tests.source import ROOT

ACME = ROOT / "examples" / "acme"
UNTESTED = {
    ("policy", "changes"): "it decides about changes of the folder, not about what happens in a Run",
    ("policy", "portal-calls"): "a rate of calls over a minute",
    ("policy", "paired-by-hand"): "pairs are made by persons on the pages of matches",
    ("mapping", "to-erp-invoice-get"): "the portal reads it; no Run calls it",
    ("mapping", "to-erp-account-balance"): "checkpoints read it; no Run calls it",
    ("mapping", "to-billing-balance"): "checkpoints read it; no Run calls it",
    ("mapping", "to-bank-statement-balance"): "checkpoints read it; no Run calls it",
    ("mapping", "to-credit-preview"): "agents call it, and test_workflow_previews.py tests its answers",
}
"""Rules without a test, each with the reason."""


def documents(model: Model) -> list[Document]:
    return [document for document, _ in model.documents_of(kinds.Test)]


def results(model: Model, names: tuple[str, ...] = ()) -> Iterator[CaseResult]:
    suite = Suite(model)
    try:
        yield from suite.results([d for d in documents(model) if not names or d.name in names])
    finally:
        suite.close()


@pytest.fixture(scope="module")
def model() -> Model:
    found, findings = read(ACME)
    assert errors(findings) == []
    return found


def test_every_test_of_acme_passes(model: Model) -> None:
    assert [(r.name, r.difference) for r in results(model) if not r.ok] == []


def test_every_policy_mapping_and_workflow_has_a_test(model: Model) -> None:
    subjects = [s for d in documents(model) if isinstance(d.value, kinds.Test) for s in d.value.covers]
    covered = {(kind, name.partition("/")[0]) for kind, _, name in (s.partition(" ") for s in subjects)}
    rules = {(d.kind, d.name) for d in model.documents if d.kind in ("policy", "mapping", "workflow")}
    assert rules - covered == set(UNTESTED)


def kept(name: str) -> str:
    """Return one test of acme and the patterns: reading and checking the others takes most of the time."""
    texts = [
        document
        for file in sorted((ACME / "tests").glob("*.yaml"))
        for document in re.split(r"^---$", file.read_text("utf-8"), flags=re.M)
        if re.search(rf"^kind: pattern$|^name: {re.escape(name)}$", document, re.M)
    ]
    return "\n---\n".join(texts)


@pytest.fixture(scope="module")
def untested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return acme without its tests; each test leaves it as it was."""
    folder = tmp_path_factory.mktemp("planted") / "acme"
    shutil.copytree(ACME, folder, ignore=shutil.ignore_patterns("tests"))
    return folder


@contextmanager
def planted(folder: Path, fault: Fault) -> Iterator[Path]:
    """Plant a fault for a while, beside the test that finds it."""
    file, test = folder / fault.file, folder / "kept.yaml"
    text = file.read_text("utf-8")
    assert text.count(fault.old) >= 1, f"{fault.file} does not say {fault.old!r}"
    try:
        file.write_text(text.replace(fault.old, fault.new, 1), "utf-8")
        if fault.finder == "test":
            test.write_text(kept(fault.name), "utf-8")
        yield file
    finally:
        file.write_text(text, "utf-8")
        test.unlink(missing_ok=True)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.rule)
def test_a_planted_fault_is_found(untested: Path, fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    parse_each_text_once(monkeypatch)
    with planted(untested, fault) as file:
        model, findings = read(untested, checks=fault.finder != "test")
        rules = {finding.rule for finding in errors(findings)}
        if fault.finder == "check":
            assert fault.name in rules
            return
        assert rules == set()
        if fault.finder == "prove":
            assert fault.name in {broken.invariant for broken in prove(model, file.stem, 1).broken}
            return
        (result,) = results(model, (fault.name,))
        assert result.difference


def test_the_table_of_faults_has_every_finder_and_25_rules() -> None:
    assert {fault.finder for fault in FAULTS} == {"test", "check", "prove"}
    assert len({fault.rule for fault in FAULTS}) == len(FAULTS) >= 25
