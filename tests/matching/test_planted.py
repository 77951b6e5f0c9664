"""Planted bugs of one line in the product's matching: the written rows or the random histories catch each of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from counterfoil.core import matching
from counterfoil.rules import match_history
from tests.matching.histories import random_history
from tests.matching.oracle import judge
from tests.matching.test_judge import judged, states
from tests.matching.test_oracle import DATA, differences, read

CORE = Path(matching.__file__).parent
RANDOM_HISTORIES = 1500
MODULES = ("windows", "joins", "pairing", "claims", "matching")
"""Each may import those before it."""


@dataclass(frozen=True)
class Bug:
    file: str
    text: str
    planted: str

    def __str__(self) -> str:
        return f"{self.file}: {self.planted.strip()}"


def in_matching(text: str, planted: str) -> Bug:
    return Bug("matching", text, planted)


def in_pairing(text: str, planted: str) -> Bug:
    return Bug("pairing", text, planted)


def in_joins(text: str, planted: str) -> Bug:
    return Bug("joins", text, planted)


def in_claims(text: str, planted: str) -> Bug:
    return Bug("claims", text, planted)


def in_windows(text: str, planted: str) -> Bug:
    return Bug("windows", text, planted)


BUGS = [
    in_claims("self.left.due <= now", "self.left.due < now"),
    in_joins("if size(residual) > leg.tolerance:", "if size(residual) >= leg.tolerance:"),
    in_joins("if size(residual) > leg.tolerance:", "if residual != 0:"),
    in_joins("<= residual <= max(0, asserted)", "<= residual"),
    in_joins("min(0, asserted) <= residual", "residual"),
    in_joins('total.tolerance if total.absorbs == "any" else 0', "total.tolerance"),
    in_matching('f"leg: {differing}") if differing', 'f"leg: {differing}") if lower'),
    in_matching("if want * observed < 0:", "if want * observed < 0 and not rules.shape:"),
    in_matching("if size(observed) > size(want):", "if observed > want:"),
    in_matching('if rules.shape == "1:1":\n        return', "if not rules.shape:\n        return"),
    in_matching("if total_of(rules, claim.left) == 0:", "if not claim.asserted:"),
    in_claims("self.residual[name] -= part.legs", "self.residual[name] += part.legs"),
    in_claims("if same_books(rules, left, part.shown.document):", "if part.legs:"),
    in_claims("if same_books(rules, claim.left, part.shown.document):", "if claim.parts:"),
    in_matching('if rules.shape == "n:1" else {}', 'if rules.shape == "n:m" else {}'),
    in_matching("other_books(rules, left, parts) or other_value", "other_value"),
    in_matching("or other_value(rules, left, parts)", ""),
    in_matching("lower = not_yet(rules, left, parts)", 'lower = ""'),
    in_claims("max(values) < want", "min(values) < want"),
    in_matching("if not d.stands and d.stood and d.legs]", "if not d.stands and not d.legs]"),
    in_matching("asserted_before or any(d.stands or d.stood", "any(d.stands or d.stood"),
    in_matching("any(d.stands or d.stood for d in lefts)", "bool(lefts)"),
    in_matching("if not same_books(self._rules, left, right) or", "if"),
    in_matching("or not belongs(self._rules, left, right)", ""),
    in_matching(
        "(equal, ranked.paired, ranked.withdrawn, ranked.zero)",
        "(ranked.paired, ranked.withdrawn, ranked.zero)",
    ),
    in_matching(
        "ranked.paired, ranked.withdrawn, ranked.zero)", "ranked.paired, ranked.zero, ranked.withdrawn)"
    ),
    in_matching("if verdicts[d.id].state in settled)", "if verdicts[d.id].state)"),
    in_matching("    _waive(verdicts, waivers or {})\n    asserted", "    asserted"),
    in_matching(" or not verdict.amounts_only", ""),
    in_matching("amounts_only=not lower)", "amounts_only=True)"),
    in_matching("        if all(\n", "        if any(\n"),
    in_matching("_F.PARTLY, _F.BROKEN, _F.OVER})", "_F.PARTLY, _F.BROKEN})"),
    in_pairing("        if by_person:", "        if not by_person and by_person:"),
    in_pairing("        if named:", "        if not named and named:"),
    in_pairing("for right in rights for name in right.names", "for right in rights for name in ()"),
    in_joins(" and (left.id, right.id) not in self._joined", ""),
    in_pairing("        joins.join_equal_totals()\n", ""),
    in_pairing("        if merged is None:\n", "        if merged is None or merged:\n"),
    in_pairing("        if not any(legs.values()):", "        if not rules.legs:"),
    in_pairing("not same_books(rules, reversal, original)", "not reversal.key"),
    in_joins("-_depth(pair_[0].id, originals)", "_depth(pair_[0].id, originals)"),
    in_pairing("net.get(name, 0) + back", "net.get(name, 0) - back"),
    in_joins("if opposite and same_books", "if same_books"),
    in_pairing("    cancelled = joins.cancel_left()", "    cancelled: set[str] = set()"),
    in_pairing("    joins.fill_other_books()\n", ""),
    in_joins("self._fill(self.free(), lambda", "self._fill(self.rights, lambda"),
    in_joins("for left in self.lefts:\n            queue", "for left in self.open():\n            queue"),
    in_pairing("if n.total != 0]", "if n.legs]"),
    in_joins("if same_currency(self._rules, left, right.document) and", "if"),
    in_joins("*pair_), reverse=True)", "*pair_))"),
    in_joins("same_books(rules, left, right.document), equal, small", "True, equal, small"),
    in_joins("same_sign(need, missing) and size(missing) > self._most_short", "same_sign(need, missing)"),
    in_joins("if self._is_left_over(s)), None)", "if not self._is_left_over(s)), None)"),
    in_joins("_smaller(missing, total) == total != 0", "total == 0"),
    in_joins("self._left_over[right.id] -= amount", "pass"),
    in_joins("self._missing[left.id] -= amount", "pass"),
    in_joins("need[name] = need.get(name, 0) - amount", "pass"),
    in_joins("(last | last_of_books).items()", "last.items()"),
    in_joins("shares[place][name] += amount", "shares[0][name] += amount"),
    in_joins("return min(a, b) if a > 0 else max(a, b)", "return min(a, b)"),
    in_joins("for closeness in sorted(choices, reverse=True)", "for closeness in sorted(choices)"),
    in_joins("min(waiting, key=lambda queue: queue[0][0])", "waiting[-1]"),
    in_joins("right = right or every[key].last_near(left)", ""),
    in_joins("day_of(document) if self._rules.window is not None else None,", ""),
    in_joins(
        "near = right.id not in self._paired_rights and is_near(self._rules, left, right.document)",
        "near = True",
    ),
    in_joins(" or size(right.total or 0) > most[key]", " or size(right.total or 0) == most[key]"),
    in_windows("abs(mine - other) <= rules.window", "abs(mine - other) < rules.window"),
    in_windows("day + self._window", "day"),
    in_windows("day - self._window", "day"),
    in_windows("return is_near(rules, left, right) or", "return is_near(rules, left, right) and"),
    in_windows(
        "if self._window is None or day is None:", "if self._window is None or day is None and not left:"
    ),
    in_joins("self._rules.rest_on_account and self._answers_a_name(right)", "self._answers_a_name(right)"),
    in_joins("self._rules.rest_on_account and self._answers_a_name(right)", "self._rules.rest_on_account"),
    in_joins("self._rules.rest_on_account and self._answers_a_name(right)", "self._rules.window == -1"),
    in_pairing("        if is_merged and not unjoinable(reversal):\n            break\n", ""),
    in_joins("return (a > 0 and b > 0) or (a < 0 and b < 0)", "return a > 0 and b > 0"),
]


@cache
def random_answers() -> Sequence[tuple[dict[str, Any], dict[str, Any]]]:
    """Return random histories, the same in each run, with what the oracle answers."""
    drawn = map(random_history, range(RANDOM_HISTORIES))
    return [(history, states(judge(history))) for history in drawn]


def plant(bug: Bug | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the sources of the modules again, with the bug, and let the history file be judged by them."""
    for name in MODULES:
        text = (CORE / f"{name}.py").read_text("utf-8")
        if bug is not None and bug.file == name:
            assert text.count(bug.text) == 1, f"the planted bug does not apply any more: {bug.text!r}"
            text = text.replace(bug.text, bug.planted)
        module = ModuleType(f"counterfoil.core.{name}")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(compile(text, f"planted {name}", "exec"), module.__dict__)
    monkeypatch.setattr(match_history, "judge", module.judge)
    monkeypatch.setattr(match_history, "standing", module.standing)


def is_caught() -> bool:
    """Report whether a written row or a random history is judged otherwise than expected, or not at all."""
    try:
        return any(
            differences(content["expect"], judged(content["history"])) for content in map(read, DATA)
        ) or any(
            states(match_history.judge_history(history)) != expected for history, expected in random_answers()
        )
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return True


def test_without_a_bug_nothing_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(None, monkeypatch)
    assert not is_caught()


@pytest.mark.parametrize("bug", BUGS, ids=str)
def test_each_planted_bug_is_caught(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(bug, monkeypatch)
    assert is_caught()


def test_a_bug_that_does_not_apply_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError, match="does not apply"):
        plant(in_matching("no such line", ""), monkeypatch)
