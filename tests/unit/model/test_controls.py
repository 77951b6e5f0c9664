"""Controls: their enforcement exists and is used, gaps are reported, and evidence queries are typed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from counterfoil.core.approval import Approval, ApprovalState
from counterfoil.core.money import Money
from counterfoil.core.run import Run, RunStatus
from counterfoil.model import Model, read
from counterfoil.model.checks.controls import enforcements, uncontrolled
from counterfoil.model.evidence import names_of
from counterfoil.model.template import formula
from tests.companies.base import write
from tests.companies.clean import COMPANY
from tests.source import ROOT

AT = datetime(2026, 3, 2, tzinfo=UTC)


def with_control(folder: Path, enforced: str) -> Model:
    control = (
        "---\nkind: control\nname: books\nowner: finance\nrisk: r\nassertion: a\nfrequency: monthly\n"
        f"evidence: {{of: runs, where: run.state == 'done'}}\nenforced_by: [{enforced}]\n"
    )
    return read(write(folder, COMPANY + control), checks=False)[0]


@pytest.mark.parametrize(
    ("enforced", "fault"),
    [
        ("{workflow: credit}", ""),
        ("{workflow: credit, step: post}", ""),
        ("{workflow: credit, step: approve1}", ""),
        ("{workflow: credit, step: past}", "the workflow `credit` has no step `past`"),
        ("{workflow: credits}", "there is no workflow `credits`"),
        ("{policy: credit-approval}", ""),
        ("{policy: first-open}", ""),
        ("{reconciliation: credit}", ""),
        ("{operation: erp.credit.post}", ""),
        ("{operation: billing.credit.void}", ""),
        ("{operation: erp.note.send}", "no workflow uses the operation `erp.note.send`"),
        ("{check: segregation}", ""),
        ("{check: segregations}", "`check` has no rule `segregations`"),
    ],
)
def test_every_document_that_a_control_names_exists_and_is_used(
    tmp_path: Path, enforced: str, fault: str
) -> None:
    (enforcement,) = enforcements(with_control(tmp_path, enforced))["books"]
    assert enforcement.fault == fault


def test_a_policy_about_money_without_a_control_is_reported(tmp_path: Path) -> None:
    model = with_control(tmp_path, "{policy: credit-approval}, {operation: erp.credit.post}")
    assert [(one.kind, one.name) for one in uncontrolled(model)] == [
        ("policy", "credit-limit"),
        ("reconciliation", "credit"),
    ]


def test_every_risk_of_the_demonstration_company_has_a_control_that_something_enforces() -> None:
    model, findings = read(ROOT / "examples" / "acme")
    assert [f for f in findings if f.rule in ("control-enforced", "no-control")] == []
    assert uncontrolled(model) == []
    assert len(enforcements(model)) >= 8


def test_evidence_that_the_requester_did_not_decide_reads_who_voted() -> None:
    where = formula("approval.state == 'granted' && !(approval.requester in approval.approvers)")
    approval = Approval(
        id="apr_1",
        run="run_1",
        path="approve1",
        policy="credit",
        subject="s",
        covers=b"{}",
        amount=Money(100, "USD"),
        roles=("lead",),
        quorum=1,
        requester="ann",
        state=ApprovalState.GRANTED,
        expires=AT,
        created_at=AT,
    )
    assert where(names_of("approvals", approval, ["lee"])) is True
    assert where(names_of("approvals", approval, ["ann"])) is False


def test_a_run_is_read_by_its_business_key() -> None:
    run = Run(
        id="run_1",
        workflow="credit",
        bkey="c1",
        generation=0,
        pin="p",
        arrival=0,
        created_at=AT,
        status=RunStatus.DONE,
    )
    assert formula("run.key == 'c1' && run.status == 'done'")(names_of("runs", run)) is True
