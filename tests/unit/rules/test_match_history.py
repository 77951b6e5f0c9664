"""A history that cannot be judged is refused with the place of the fault."""

from __future__ import annotations

from itertools import permutations
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


ORDERS: dict[str, list[int | str]] = {
    "numbers": [2, 10, 100],
    "numbers as text": ["9", "10", "100"],
    "numbers of both kinds": [9, "10", 100],
    "times of several precisions": ["2026-03-01T08:00:00Z", "2026-03-01T08:00:00.5Z", "2026-03-01T08:00:01Z"],
    "times of several zones": [
        "2026-03-01T10:00:00+02:00",
        "2026-03-01T08:30:00Z",
        "2026-03-01T07:45:00-01:00",
    ],
    "days": ["2026-03-09", "2026-03-10"],
    "numbered": ["v9", "v10", "v100"],
    "of parts": ["1.9.0", "1.10.0", "2"],
    "words": ["draft", "final"],
}


@pytest.mark.parametrize("name", ORDERS)
def test_the_newest_version_counts_in_the_order_of_its_kind(name: str) -> None:
    versions = ORDERS[name]
    rows = [{**DOCUMENT, "version": v, "legs": {"net": str(n)}} for n, v in enumerate(versions, start=1)]
    for order in permutations(rows):
        (foil,) = judge_history({**history(), "documents": list(order)})["foils"]
        assert foil["residual"] == {"net": f"{len(versions)}.00"}
