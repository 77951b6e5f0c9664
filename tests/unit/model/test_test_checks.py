"""Mistakes in tests as files: each is found at its place, with what was probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from counterfoil.model import kinds, read
from counterfoil.model.checks.entity_names import entity_references
from tests.source import ROOT

ACME = ROOT / "examples" / "acme"
TEST = """\
kind: test
name: it
covers: [policy service-credit]
now: 2026-03-02T09:00:00Z
persons: {anna: support-agent}
tables: {gl_credit: [{reason: sla, account: "1"}]}
given:
  - {known: invoice, id: I-1, state: {status: open, total: 10.00 USD}, ids: {billing: in_1}}
  - {event: period.opened.v1, data: {period_id: p, name: x, start: 2026-03-01, end: 2026-03-31, state: open}}
  - {answer: erp.invoice.post, refused: period_closed}
  - {down: erp, for: 2h}
  - {approve: service-credit, by: anna}
  - {resolve: refused, by: controller, choice: retry}
  - {operation: billing.debit_memo.issue, by: controller, with: {amount: 1.00 USD, credit_id: "=string(now)"}}
  - {after: 2d}
expect:
  effects: [{operation: erp.invoice.post, input: {total: 12.00 USD}}]
  cases: [{reason: refused, owner: controller}]
"""
MISTAKES = [
    ("policy service-credit", "policy service-credits", 3, "there is no policy `service-credits`", "did you mean `service-credit`?"),
    ("2026-03-02T09:00:00Z", "2026-03-02", 4, "`now`: expected a moment in UTC such as 2026-03-02T09:00:00Z, not `2026-03-02`", ""),
    ("anna: support-agent", "anna: support-agnt", 5, "there is no role `support-agnt`", "did you mean `support-agent`?"),
    ("account: \"1\"", "acount: \"1\"", 6, "the table has no column `acount`", "did you mean `account`?"),
    ("total: 10.00 USD", "total: 10.00", 8, "`total` is money: write `250.00 USD`, not `10.00`", ""),
    ("total: 10.00 USD", "total: ten USD", 8, "`total` is money: write `250.00 USD`, not `ten USD`", ""),
    ("ids: {billing", "ids: {biling", 8, "there is no system `biling`", "did you mean `billing`?"),
    ("period.opened.v1", "period.openend.v1", 9, "there is no event `period.openend.v1`", "did you mean `period.opened.v1`?"),
    ("name: x", "nam: x", 9, "there is no field `nam`", "did you mean `name`?"),
    ("refused: period_closed", "fault: period_closed", 10, "`fault`: expected 'timeout', 'lost' or 'accepted', not `period_closed`", ""),
    ("down: erp", "dwn: erp", 11, "expected a step with one of the keys known, receipt, event, operation, answer, down, approve, reject, resolve, leaves, after", "did you mean `down`?"),
    ("down: erp", "down: epr", 11, "there is no system `epr`", "did you mean `erp`?"),
    ("by: anna", "by: ana", 12, "there is no person `ana`", "did you mean `anna`?"),
    ("resolve: refused", "resolve: refusd", 13, "there is no Case reason `refusd`", "did you mean `refused`?"),
    ("=string(now)", "=string(nwo)", 14, "a test has no name `nwo`; its formulas read `now` and `today`", "did you mean `now`?"),
    ("input: {total", "inputs: {total", 17, "unknown key `inputs`", "did you mean `input`?"),
    ("input: {total", "input: {totl", 17, "there is no field `totl`", "did you mean `total`?"),
    ("owner: controller", "owner: controler", 18, "there is no role `controler`", "did you mean `controller`?"),
]  # fmt: skip
ENTITIES = """\
kind: test
name: it
tables: {by_entity: [{entity: acme-us, value: "1"}]}
given:
  - {known: customer, id: C-1, state: {name: A}, legal_entity: acme-de}
  - {event: period.opened.v1, data: {period_id: p, name: x, start: 2026-03-01, end: 2026-03-31, state: open}, legal_entity: acme-de}
  - {operation: billing.debit_memo.issue, by: controller, with: {amount: 1.00 USD, credit_id: c}}
expect:
  events: [{type: period.opened.v1, legal_entity: acme-de}]
  runs: [{workflow: credit-takeback, legal_entity: acme-us}]
  foils: [{reconciliation: invoice-in-erp, legal_entity: acme-us}]
---
kind: table
name: by_entity
owner: controller
key: [entity]
value: value
rows: [{entity: acme-us, value: "2"}]
"""


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the documents that the test names, and no more."""
    folder = tmp_path_factory.mktemp("acme")
    for path in sorted(ACME.rglob("*")):
        if path.suffix in (".yaml", ".csv") and path.parent.name != "tests":
            target = folder / path.relative_to(ACME)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return folder


@pytest.mark.parametrize("text", [TEST, ENTITIES], ids=["all steps", "legal entities"])
def test_the_test_without_a_mistake_is_clean(company: Path, text: str) -> None:
    (company / "it.yaml").write_text(text)
    assert [str(finding) for finding in read(company)[1]] == []


@pytest.mark.parametrize(
    ("old", "new", "line", "message", "fix"), MISTAKES, ids=[new for _, new, *_ in MISTAKES]
)
def test_a_mistake_is_found_at_its_place(
    company: Path, old: str, new: str, line: int, message: str, fix: str
) -> None:
    assert old in TEST
    (company / "it.yaml").write_text(TEST.replace(old, new, 1))
    findings = [finding for finding in read(company)[1] if finding.file.endswith("it.yaml")]
    assert [(f.line, f.message, f.fix) for f in findings] == [(line, message, fix)]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (3, "unknown-entity"),
        *((line, "unknown-reference") for line in (5, 6, 9, 10, 11)),
    ],
)
def test_a_legal_entity_that_no_document_declares_is_found(company: Path, line: int, rule: str) -> None:
    lines = ENTITIES.splitlines()
    name = "acme-de" if "acme-de" in lines[line - 1] else "acme-us"
    lines[line - 1] = lines[line - 1].replace(name, f"{name[:-1]}x")
    (company / "it.yaml").write_text("\n".join(lines))
    findings = [finding for finding in read(company)[1] if finding.file.endswith("it.yaml")]
    assert [(f.rule, f.line, f.fix) for f in findings] == [(rule, line, f"did you mean `{name}`?")]


@pytest.mark.parametrize(
    ("key", "step"),
    [
        ("data", "{event: thing.changed.v1, data: {legal_entity: north-de}}"),
        ("state", "{known: thing, id: T-1, state: {legal_entity: north-de}}"),
        ("with", "{operation: desk.thing.change, by: boss, with: {legal_entity: north-de}}"),
    ],
)
def test_a_legal_entity_in_the_data_of_a_step_is_declared(key: str, step: str) -> None:
    given = YAML(typ="safe").load(f"[{step}]")
    value = kinds.Test.model_validate({"kind": "test", "name": "it", "given": given, "expect": {"runs": []}})
    assert list(entity_references(value)) == [("legal_entity", "north-de", ("given", 0, key, "legal_entity"))]
