"""Bugs planted in `decide` itself: a proof of a sound workflow sees each, so it is the real `decide` that it proves."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterfoil.core.finding import errors
from counterfoil.model import read
from counterfoil.prove import prove
from counterfoil.rules.workflow import calls, reactions, steps, undo
from tests.simulate.bugs import Bug, Edit
from tests.simulate.bugs import planted as bug_planted
from tests.unit.prove.test_planted_workflows import planted

BUGS = [
    ("an unknown call goes out under a new key", "second-call", 1, Edit(
        calls, "_unknown", "    if st.until is None:", (
            "    if st.until is None and operation.repeat != 'blind':\n"
            "        return _absent(context, step, st)\n    if st.until is None:"))),
    ("a call proven absent is planned under its old key", "second-call", 1, Edit(
        calls, "_absent", "st.gen += 1", "pass")),
    ("undo keeps its reservations", "limit-kept", 1, Edit(
        undo, "advance", "guards.give_back(context, list(context.state.reserved))", "pass")),
    ("undo takes nothing back", "half-undone", 1, Edit(
        undo, "advance", "if c.effect not in u.queue", "if False")),
    ("a limit is passed", "over-limit", 0, Edit(
        steps, "_ask", "if limit.at_most is not None and used + share > limit.at_most:", "if False:")),
    ("a call whose approval fell may be passed over", "unapproved", 1, Edit(
        reactions, "park", 'isinstance(step, d.Approve) or st.outcome == "stale"', "isinstance(step, d.Approve)")),
    ("a run ends while a call is under way", "unfinished", 2, Edit(
        reactions, "ending", "if context.under_way():", "if False:")),
]  # fmt: skip
"""Name, what it breaks, the faults that it takes, and the edit."""


@pytest.mark.parametrize(("name", "invariant", "faults", "edit"), BUGS, ids=[bug[0] for bug in BUGS])
def test_a_bug_of_the_engine_is_seen(
    name: str, invariant: str, faults: int, edit: Edit, tmp_path: Path
) -> None:
    model = planted("sound", tmp_path)
    with bug_planted(Bug(name, 0, (edit,))):
        proof = prove(model, "credit", faults)
    assert invariant in {b.invariant for b in proof.broken}, [b.text() for b in proof.broken]


AFTER_A_REFUSAL = """\
    outcomes:
      expired: undo
      rejected:
        - choose: [{when: "event.data.items[9] == 'x'", then: [undo]}]
          otherwise: [undo]
"""
"""What follows a refusal takes everything back on every way, but its formula fails where the list is short."""


def test_a_case_in_what_follows_a_refusal_that_may_be_passed_over_is_seen(tmp_path: Path) -> None:
    planted("sound", tmp_path)
    file = tmp_path / "sound.yaml"
    text = file.read_text("utf-8").replace("    outcomes: {rejected: undo, expired: undo}\n", AFTER_A_REFUSAL)
    file.write_text(text, "utf-8")
    model, all_findings = read(tmp_path)
    assert errors(all_findings) == []
    assert prove(model, "credit", 1).holds
    old, new = " or _bypasses_approval(context, step, st)", ""
    with bug_planted(Bug("a case passes over a refusal", 0, (Edit(reactions, "park", old, new),))):
        proof = prove(model, "credit", 1)
    assert "unapproved" in {b.invariant for b in proof.broken}, [b.text() for b in proof.broken]


def test_without_a_bug_nothing_is_seen(tmp_path: Path) -> None:
    assert prove(planted("sound", tmp_path), "credit", 2).holds
