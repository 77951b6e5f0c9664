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


BUGS = [
    in_matching("self.left.due <= now", "self.left.due < now"),
    in_matching("size(by) > rules.legs[name].tolerance", "size(by) >= rules.legs[name].tolerance"),
    in_matching("size(by) > rules.legs[name].tolerance", "by != 0"),
    in_matching('f"leg: {differing}") if differing', 'f"leg: {differing}") if lower'),
    in_matching("if want * observed < 0:", "if want * observed < 0 and not rules.shape:"),
    in_matching("if size(observed) > size(want):", "if observed > want:"),
    in_matching('if rules.shape == "1:1":\n        return', "if not rules.shape:\n        return"),
    in_matching("if total_of(rules, claim.left) == 0:", "if not claim.asserted:"),
    in_matching("self.residual[name] -= part.legs", "self.residual[name] += part.legs"),
    in_matching("if same_books(rules, left, part.shown.document):", "if part.legs:"),
    in_matching("if same_books(rules, claim.left, part.shown.document):", "if claim.parts:"),
    in_matching('if rules.shape == "n:1" else {}', 'if rules.shape == "n:m" else {}'),
    in_matching("_other_books(rules, left, parts) or _other_value", "_other_value"),
    in_matching("or _other_value(rules, left, parts)", ""),
    in_matching("lower = _not_yet(rules, left, parts)", 'lower = ""'),
    in_matching("max(values) < want", "min(values) < want"),
    in_matching("if not d.stands and d.stood and d.legs]", "if not d.stands and not d.legs]"),
    in_matching("asserted_before or any(d.stands or d.stood", "any(d.stands or d.stood"),
    in_matching("any(d.stands or d.stood for d in lefts)", "bool(lefts)"),
    in_matching("if same_books(rules, d, right.document)), key", "if d.key), key"),
    in_matching("(equal, paired, withdrawn, zero)", "(paired, equal, withdrawn, zero)"),
    in_matching("(equal, paired, withdrawn, zero)", "(equal, paired, zero, withdrawn)"),
    in_matching(" and verdicts[d.id].state in settled]", "]"),
    in_matching("    _waive(verdicts, waivers or {})\n    asserted", "    asserted"),
    in_matching(" or not verdict.amounts_only", ""),
    in_matching("amounts_only=not lower)", "amounts_only=True)"),
    in_matching("        if all(\n", "        if any(\n"),
    in_matching("_F.PARTLY, _F.BROKEN, _F.OVER})", "_F.PARTLY, _F.BROKEN})"),
    in_pairing("        if by_person:", "        if not by_person and by_person:"),
    in_pairing("right.id in left.names or left.id in right.document.names", "right.id in left.names"),
    in_pairing(" and (left.id, right.id) not in self._joined", ""),
    in_pairing("        work.join_equal_totals()\n", ""),
    in_pairing("        if merged is None:\n", "        if merged is None or merged:\n"),
    in_pairing("or any(legs.values())", "or True"),
    in_pairing("not same_books(rules, document, reversed_)", "not document.key"),
    in_pairing("-_depth(pair_[0].id, originals)", "_depth(pair_[0].id, originals)"),
    in_pairing("original.legs.get(n, 0) + reversal", "original.legs.get(n, 0) - reversal"),
    in_pairing("if opposite and same_books", "if same_books"),
    in_pairing("    cancelled = work.cancel_left()", "    cancelled: set[str] = set()"),
    in_pairing("    work.fill(work.lefts, work.free(), lambda left, right: True)\n", ""),
    in_pairing("work.fill(work.lefts, work.free()", "work.fill(work.open(), work.free()"),
    in_pairing("if n.total != 0]", "if n.legs]"),
    in_pairing("if same_currency(rules, left, right.document)\n", "\n"),
    in_pairing("*pair_), reverse=True)", "*pair_))"),
    in_pairing("same_books(rules, left, right.document), equal, small", "True, equal, small"),
    in_pairing("same_sign(need, missing) and size(missing) > self._tolerance", "same_sign(need, missing)"),
    in_pairing("if self._is_left_over(s)), suitable[-1])", "if True), suitable[-1])"),
    in_pairing("_smaller(missing, total) == total != 0", "total == 0"),
    in_pairing("self._left_over[right.id] -= amount", "pass"),
    in_pairing("self._missing[left.id] -= amount", "pass"),
    in_pairing("need[name] = need.get(name, 0) - amount", "pass"),
    in_pairing("(last | last_of_books).items()", "last.items()"),
    in_pairing("shares[place][name] += amount", "shares[0][name] += amount"),
    in_pairing("return min(a, b) if a > 0 else max(a, b)", "return min(a, b)"),
    in_pairing("return (a > 0 and b > 0) or (a < 0 and b < 0)", "return a > 0 and b > 0"),
]


@cache
def random_answers() -> Sequence[tuple[dict[str, Any], dict[str, Any]]]:
    """Return random histories, the same in each run, with what the oracle answers."""
    drawn = map(random_history, range(RANDOM_HISTORIES))
    return [(history, states(judge(history))) for history in drawn]


def plant(bug: Bug | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the sources of both modules again, with the bug, and let the history file be judged by them."""
    for name in ("pairing", "matching"):
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
