"""A history that cannot be judged is refused with the place of the fault."""

from __future__ import annotations

from typing import Any

import pytest

from counterfoil.rules.match_history import HistoryRefused, judge_history

DOCUMENT = {
    "side": "left", "document": "A", "version": 1, "at": "2026-03-01T08:00:00Z", "effective": "2026-03-01",
    "key": "K", "entity": "E1", "currency": "EUR", "legs": {"net": "100"}, "due": "2026-03-20T00:00:00Z",
}  # fmt: skip
SHOWN = {**DOCUMENT, "side": "right", "document": "B"}


def history(document: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    legs = {"net": {"kind": "sum", "total": True}}
    return {"legs": legs, "documents": [{**DOCUMENT, **(document or {})}, SHOWN], **more}


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (history({"legs": {"net": "1e999999999"}}), "document A, leg net: the amount has more than 24 digits"),
        (history({"legs": {"net": "9" * 5000}}), "document A, leg net: the amount has more than 24 digits"),
        (history({"legs": {"net": "NaN"}}), "document A, leg net: 'NaN' is no amount"),
        (history({"legs": {"gross": "1"}}), "document A: no leg of the history is called gross"),
        (history({"effective": "31/12/2026"}), "document A, effective: '31/12/2026' is no date"),
        (history({"at": "2026-03-01T08:00:00"}), "document A: a time needs its zone"),
        (history(grace_s=10**30), "grace_s"),
        (history(grace_s=-1), "grace_s"),
        (history(legs={"net": {"kind": "sum", "tolerance": "-1"}}), "legs.net.tolerance: -1 is negative"),
        (history(pairings=[["B", "A"]]), "pairings: B is of the right side"),
        (history(waivers=[{"document": "A", "residual": {"x": "1"}}]), "waiver of A: no leg of the history is called x"),
    ],
)  # fmt: skip
def test_a_fault_is_refused_with_its_place(refused: dict[str, Any], message: str) -> None:
    with pytest.raises(HistoryRefused) as error:
        judge_history(refused)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_history_without_a_fault_is_judged() -> None:
    answer = judge_history(
        history(pairings=[["A", "B"]], waivers=[{"document": "A", "residual": {"net": "5"}}])
    )
    assert [f["state"] for f in answer["foils"]] == ["matched"]
