"""Coverage and results of proofs: of the example company, of planted mistakes, and at the command line."""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path

import pytest

from counterfoil.cli.main import main
from counterfoil.core.approval import APPROVAL_MOVES
from counterfoil.core.effect import EFFECT_MOVES
from counterfoil.core.finding import errors
from counterfoil.core.run import RUN_MOVES
from counterfoil.model import Model, read, scaffold
from counterfoil.prove import ProofLimits, prove, proven
from counterfoil.prove import explore as proving
from counterfoil.prove.world import ProofContext, World
from counterfoil.rules.workflow.commands import Decision
from counterfoil.rules.workflow.state import RunState
from tests.companies.base import acme_model, write
from tests.companies.proven import COMPANY
from tests.unit.prove.test_planted_workflows import PLANTED, planted
from tests.unit.rules.test_language_workflows import language

ROOT = Path(__file__).parents[3]
ACME = ROOT / "examples" / "acme"


@cache
def acme() -> Model:
    return acme_model()


# ------------------------------------------------------------------ workflows that are right


@pytest.mark.parametrize(
    ("workflow", "faults"),
    [
        ("customer-sync", 2),
        ("invoice-to-erp", 2),
        ("balance-draw-to-erp", 2),
        ("balance-adjustment", 2),
        ("support-credit-to-erp", 1),
    ],
)
def test_the_example_company_holds(workflow: str, faults: int) -> None:
    proof = prove(acme(), workflow, faults)
    assert [b.text() for b in proof.broken] == []
    assert (proof.dead, proof.complete) == ((), True)
    assert len(proof.states) == faults + 1


def test_a_workflow_with_a_deadline_holds_before_and_after_it(tmp_path: Path) -> None:
    planted("sound", tmp_path)
    file = tmp_path / "sound.yaml"
    text = file.read_text("utf-8").replace("failure: careful\n", "failure: careful\ndeadline: 11d\n")
    file.write_text(text, "utf-8")
    model, all_findings = read(tmp_path)
    assert errors(all_findings) == []
    proof = prove(model, "credit", 1)
    assert ([b.text() for b in proof.broken], proof.dead, proof.complete) == ([], (), True)


LEGS = {
    "a count": ("'1'", ""),
    "a version": ("'7'", "kind: at_least"),
    "a version from the input": ("size(input.credit_id)", "kind: at_least"),
    "a code": ("\"'standard'\"", "kind: equal"),
}


@pytest.mark.parametrize("name", LEGS)
def test_a_leg_of_a_later_call_need_not_be_money(name: str, tmp_path: Path) -> None:
    value, form = LEGS[name]
    text = COMPANY.replace("operation: bills.memo.issue\n  key", "operation: ledger.credit.post\n  key")
    for legs in ("{gross: input.amount}", "{gross: event.data.amount}"):
        observed = value.replace("input.", "event.data.") if "event" in legs else value
        text = text.replace(f"  legs: {legs}", f"  legs: {{leg: {observed}}}")
    text = text.replace(
        "object: invoice\nleft: bills", f"object: invoice\nlegs: {{leg: {{{form}}}}}\nleft: bills"
    )
    planted("sound", tmp_path)
    write(tmp_path, text)
    model, all_findings = read(tmp_path)
    assert errors(all_findings) == []
    proof = prove(model, "credit", 1)
    assert ([b.text() for b in proof.broken], proof.dead, proof.complete) == ([], (), True)
    assert min(proof.states) >= 10


def test_a_folder_that_init_makes_is_proven(tmp_path: Path) -> None:
    scaffold.init(tmp_path / "first")
    model, all_findings = read(tmp_path / "first")
    assert errors(all_findings) == []
    assert proven(model, 2) == []


@pytest.mark.parametrize("workflow", ["usage-window-close", "renewal"])
def test_a_workflow_of_the_language_holds_and_is_come_to_everywhere(workflow: str) -> None:
    proof = prove(language(), workflow, 1)
    assert [b.text() for b in proof.broken] == []
    assert (proof.dead, proof.complete) == ((), True)


def test_the_credit_of_the_language_has_its_mistakes() -> None:
    """It stops where a second approval is rejected, though the first let billing issue the memo; and each lock of a
    period accrues the whole amount."""
    broken = {(b.invariant, b.step) for b in prove(language(), "support-credit-to-erp", 1).broken}
    assert broken == {("half-undone", "memo"), ("foil-unmatched", "post"), ("posted-twice", "signal0/0")}


# ------------------------------------------------------------------ the world keeps to the tables of moves


@pytest.mark.parametrize("name", ["sound", "again-on-another-day", "signal-posts-twice"])
def test_rows_move_as_their_tables_allow(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit_rows, conclude, moves = ProofContext._commit, ProofContext.conclude, 0

    def check(before: World, after: World) -> World:
        nonlocal moves
        for rows, old, table in (
            (after.effects, before.effects, EFFECT_MOVES),
            (after.approvals, before.approvals, APPROVAL_MOVES),
        ):
            states = {row.id: row.state for row in old}
            for row in rows:
                was = states.get(row.id, row.state)
                # A planned call is sent and answered in one move: it may do whatever a sent one may.
                allowed = set(table[was]) | {row_ for via in table[was] for row_ in table[via]}
                assert row.state is was or row.state in allowed, f"{row.id}: {was} to {row.state}"
                moves += row.state is not was
        assert after.run.status in RUN_MOVES[before.run.status]
        assert after.run.consumed >= before.run.consumed
        return after

    def commit(self: ProofContext, w: World, decision: Decision, state: RunState) -> World:
        return check(w, commit_rows(self, w, decision, state))

    monkeypatch.setattr(ProofContext, "_commit", commit)
    monkeypatch.setattr(
        ProofContext,
        "conclude",
        lambda self, w, effect, state, **about: check(w, conclude(self, w, effect, state, **about)),
    )
    prove(planted(name, tmp_path), "credit", 1)
    assert moves > 100


def test_the_same_proof_is_the_same(tmp_path: Path) -> None:
    model = planted("signal-posts-twice", tmp_path)
    first, second = (prove(model, "credit", 1) for _ in range(2))
    assert first.broken == second.broken
    assert (first.states, first.moves, first.decisions) == (second.states, second.moves, second.decisions)


# ------------------------------------------------------------------ bounds


def test_an_incomplete_proof_is_reported_and_proves_nothing(tmp_path: Path) -> None:
    model = planted("step-that-never-runs", tmp_path)
    proof = prove(model, "credit", 1, ProofLimits(states=20))
    assert (proof.complete, proof.covered, proof.dead) == (False, 20, ())
    (finding,) = proving.findings(model, proof)
    assert (finding.rule, finding.severity) == ("prove-cut", "warning")
    assert "20 states" in finding.message


def test_more_faults_cover_what_fewer_did(tmp_path: Path) -> None:
    model = planted("sound", tmp_path)
    none, one, two = (prove(model, "credit", n) for n in range(3))
    assert two.states[:2] == one.states
    assert one.states[:1] == none.states
    assert one.covered > 5 * none.covered


# ------------------------------------------------------------------ the workflow's own invariants


def test_an_invariant_is_typed_by_check(tmp_path: Path) -> None:
    write(tmp_path, COMPANY)
    text = (PLANTED / "larger-than-open.yaml").read_text("utf-8")
    (tmp_path / "credit.yaml").write_text(text.replace("e.input.amount", "e.inputs.amount"), "utf-8")
    _, all_findings = read(tmp_path)
    assert [(f.rule, f.line) for f in errors(all_findings)] == [
        ("unknown-name", text.splitlines().index("  - name: credit-within-open") + 2)
    ]


@pytest.mark.parametrize(
    ("invariant", "broken"),
    [
        ("always: run.state != 'posted'", True),
        ("always: size(effects) < 50", False),
        ("never: \"effects.exists(e, e.step == 'posted' && e.done > 1)\"", False),
        ("finally: run.status == 'done'", True),
        ("finally: \"run.status != 'done' || foils.all(f, f.state != 'provisional')\"", False),
    ],
)
def test_own_invariants_are_held_against_every_state(invariant: str, broken: bool, tmp_path: Path) -> None:
    write(tmp_path, COMPANY)
    text = (PLANTED / "sound.yaml").read_text("utf-8")
    own = f"invariants:\n  - name: ours\n    {invariant}\nsteps:\n"
    (tmp_path / "credit.yaml").write_text(text.replace("steps:\n", own, 1), "utf-8")
    model, all_findings = read(tmp_path)
    assert errors(all_findings) == []
    assert [b.invariant for b in prove(model, "credit", 1).broken] == ["ours"] * broken


# ------------------------------------------------------------------ the command line


def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["counterfoil", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    output = capsys.readouterr()
    return int(str(ended.value.code or 0)), output.out, output.err


def test_prove_says_how_many_states_it_covered(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = run(capsys, monkeypatch, "prove", "customer-sync", str(ACME))
    assert code == 0
    assert "states covered" in out
    assert "Every invariant holds under up to 2 faults." in out


def test_prove_ends_with_one_and_shows_the_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    planted("stop-halfway", tmp_path)
    code, out, _ = run(capsys, monkeypatch, "prove", "credit", str(tmp_path), "--faults", "1")
    assert code == 1
    assert out.startswith("half-undone at memo")
    code, out, _ = run(capsys, monkeypatch, "prove", "credit", str(tmp_path), "--format", "json")
    data = json.loads(out)
    assert code == 1
    assert data["complete"]
    assert data["broken"][0]["timeline"][-1]["fault"] == "refused"
    assert data["states"] == sum(data["states_by_faults"])


def test_prove_ends_with_one_when_it_is_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = run(capsys, monkeypatch, "prove", "invoice-to-erp", str(ACME), "--states", "30")
    assert code == 1
    assert "Not all states were covered" in out


def test_prove_of_a_workflow_that_is_not_there_is_wrong_use(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = run(capsys, monkeypatch, "prove", "nonsense", str(ACME))
    assert code == 2
    assert "customer-sync" in err


def test_check_proves_unless_no_prove_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    planted("stop-halfway", tmp_path)
    code, out, _ = run(capsys, monkeypatch, "check", str(tmp_path))
    assert code == 1
    assert "stop-halfway.yaml:" in out
    assert "error: half-undone" in out
    assert run(capsys, monkeypatch, "check", str(tmp_path), "--no-prove")[0] == 0
    assert run(capsys, monkeypatch, "check", str(tmp_path), "--faults", "0")[0] == 0


ENTITIES = """
---
{kind: legal_entity, name: us, title: US, country: US, currency: USD, zone: UTC, default: true}
---
{kind: legal_entity, name: de, title: DE, country: DE, currency: EUR, zone: UTC}
---
{kind: legal_entity, name: fr, title: FR, country: FR, currency: EUR, zone: UTC}
---
kind: overlay
name: euro
of: {legal_entity: [de, fr]}
changes:
  - {kind: policy, name: review, loosens: only here, set: {approval: CHANGE}}
"""


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ("{matrix: [{up_to: 500, automatic: true}, {roles: [finance]}]}", []),
        ("{requester: \"'system/support'\"}", ["approved-by-requester"]),
    ],
)
def test_the_rules_of_each_legal_entity_are_proven(tmp_path: Path, change: str, broken: list[str]) -> None:
    planted("sound", tmp_path)
    (tmp_path / "entities.yaml").write_text(ENTITIES.replace("CHANGE", change), "utf-8")
    model, all_findings = read(tmp_path)
    assert errors(all_findings) == []
    proof = prove(model, "credit", 1)
    alone = prove(planted("sound", tmp_path / "alone"), "credit", 1)
    assert (proof.entities, proof.complete) == (("us", "de"), True)
    assert proof.covered > alone.covered
    assert [example.invariant for example in proof.broken] == broken
    for example in proof.broken:
        assert "starts the run of de" in example.text()
