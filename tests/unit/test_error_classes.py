"""A new error class is known everywhere, or one test names the places that lack it."""

from __future__ import annotations

from collections.abc import Iterable

from counterfoil.core.case_reasons import UNDO_PREFIX, reason_row
from counterfoil.core.errors import REFUSAL_CLASSES, ErrorClass
from counterfoil.model.checks.steps import OUTCOMES, SENT_AGAIN
from counterfoil.model.kinds import Failure
from counterfoil.prove.invariants import BAD
from tests.source import ROOT


def has_case_reason(reason: str) -> bool:
    try:
        return reason_row(reason).reason in (reason, reason.removeprefix(UNDO_PREFIX))
    except KeyError:
        return False


def missing(classes: Iterable[str]) -> list[str]:
    """Return the places that do not know one of these classes."""
    governance = (ROOT / "docs/explanation/governance.md").read_text()
    found = []
    for name in classes:
        field = Failure.model_fields.get(name)
        if field is None:
            found.append(f"{name}: model.kinds.policy.Failure has no reaction to it")
        elif not field.is_required():
            found.append(f"{name}: model.kinds.policy.Failure must require a reaction to it")
        if name not in OUTCOMES["call"]:
            found.append(f"{name}: model.checks.steps.OUTCOMES does not allow it for a call")
        if name != ErrorClass.ALREADY_DONE and name not in SENT_AGAIN:
            found.append(
                f"{name}: model.checks.steps.SENT_AGAIN does not decide whether it may be sent again"
            )
        if name != ErrorClass.ALREADY_DONE and name not in BAD:
            found.append(f"{name}: prove.invariants.BAD does not count it as a failure")
        if not has_case_reason(name):
            found.append(f"{name}: core.case_reasons has no row for it")
        if f"`{name}`" not in governance:
            found.append(f"{name}: docs/explanation/governance.md does not name it")
    return found


def test_every_error_class_is_known_everywhere() -> None:
    assert missing(map(str, ErrorClass)) == []


def test_a_class_that_only_some_places_know_is_named_with_the_places() -> None:
    assert [line.split(": ")[1].split(" ")[0] for line in missing(["brand_new"])] == [
        "model.kinds.policy.Failure", "model.checks.steps.OUTCOMES", "model.checks.steps.SENT_AGAIN",
        "prove.invariants.BAD", "core.case_reasons", "docs/explanation/governance.md",
    ]  # fmt: skip


def test_what_was_done_already_is_no_refusal() -> None:
    assert {*REFUSAL_CLASSES} == {*ErrorClass} - {ErrorClass.ALREADY_DONE}
