"""The oracle judges the written histories as their authors expect, whatever the order of the documents."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.matching.histories import histories
from tests.matching.oracle import WORST_FIRST, judge

DATA = sorted((Path(__file__).parent / "data").glob("row-*.json"))
MAX_PERMUTED_DOCUMENTS = 5

modest = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return content


def differences(expect: dict[str, Any], answer: dict[str, Any]) -> list[str]:
    """Return what differs. A reason is compared by its beginning; a residual only where it is expected."""
    foils = {foil["document"]: foil for foil in answer["foils"]}
    lines = [
        f"{name}: expected {wanted}, answered {shown}"
        for name, wanted, shown in [
            ("foils", sorted(row["document"] for row in expect["foils"]), sorted(foils)),
            ("unmatched", expect["unmatched"], answer["unmatched"]),
            ("match", expect["match"], answer["match"]),
        ]
        if wanted != shown
    ]
    for row in expect["foils"]:
        foil = foils.get(row["document"], {})
        same = (
            foil.get("state") == row["state"]
            and str(foil.get("reason")).startswith(row.get("reason", ""))
            and all(name in str(foil.get("reason")) for name in row.get("reason_names", []))
            and row.get("residual", {}).items() <= foil.get("residual", {}).items()
        )
        if not same:
            lines.append(f"expected {row}, answered {foil}")
    return lines


@pytest.mark.parametrize("path", DATA, ids=lambda path: path.stem)
def test_each_written_history_has_its_expected_states(path: Path) -> None:
    content = read(path)
    assert differences(content["expect"], judge(content["history"])) == []


@pytest.mark.parametrize("path", DATA, ids=lambda path: path.stem)
def test_order_of_documents_changes_nothing(path: Path) -> None:
    history = read(path)["history"]
    documents = history["documents"]
    expected = judge(history)
    if len(documents) <= MAX_PERMUTED_DOCUMENTS:
        orders = [list(order) for order in permutations(documents)]
    else:
        orders = [random.Random(seed).sample(documents, len(documents)) for seed in range(20)]
    for order in orders:
        assert judge({**history, "documents": order}) == expected


@pytest.mark.parametrize("path", DATA, ids=lambda path: path.stem)
def test_order_of_arrival_changes_nothing_once_all_is_known(path: Path) -> None:
    """A pairing is left out: the legs that it is bound to are those of its moment."""
    history = read(path)["history"]
    documents = history["documents"]
    if "pairings" in history or max(r["at"] for r in documents) > history["now"]:
        pytest.skip("arrival matters here")
    expected = judge(history)
    times = [record["at"] for record in documents]
    for seed in range(20):
        shuffled = random.Random(seed).sample(times, len(times))
        arrived = [{**record, "at": at} for record, at in zip(documents, shuffled, strict=True)]
        assert judge({**history, "documents": arrived}) == expected


@modest
@given(history=histories(), data=st.data())
def test_order_and_repetition_change_nothing(history: dict[str, Any], data: st.DataObject) -> None:
    documents = history["documents"]
    repeated = data.draw(st.lists(st.sampled_from(documents), max_size=3)) if documents else []
    order = data.draw(st.permutations([*documents, *repeated]))
    assert judge({**history, "documents": order}) == judge(history)


@modest
@given(history=histories())
def test_answer_names_each_document_at_most_once(history: dict[str, Any]) -> None:
    answer = judge(history)
    lefts = {r["document"] for r in history["documents"] if r["side"] == "left"}
    rights = {r["document"] for r in history["documents"] if r["side"] == "right"}
    foils = [foil["document"] for foil in answer["foils"]]
    items = [item["document"] for item in answer["unmatched"]]
    assert len(foils) == len(set(foils))
    assert len(items) == len(set(items))
    assert set(foils) <= lefts
    assert set(items) <= rights
    assert {row["state"] for row in (*answer["foils"], *answer["unmatched"])} <= set(WORST_FIRST)


def test_group_of_500_invoices_short_by_40_is_broken_past_due() -> None:
    day = datetime(2026, 3, 2, 9, tzinfo=UTC)
    common = {
        "version": 1,
        "at": day.isoformat(),
        "effective": "2026-03-02",
        "key": "JRN-1",
        "entity": "AT01",
    }
    due = (day + timedelta(days=2)).isoformat()
    names = [f"INV-{number:03}" for number in range(500)]
    invoices = [
        {**common, "side": "left", "document": n, "currency": "EUR", "legs": {"gross": "10.00"}, "due": due}
        for n in names
    ]
    journal = {"side": "right", "document": "JE-1", "currency": "EUR", "legs": {"gross": "4960.00"}}
    history = {
        "legs": {"gross": {"kind": "sum", "total": True}},
        "shape": "n:1",
        "now": (day + timedelta(days=3)).isoformat(),
        "documents": [*invoices, {**common, **journal}],
    }
    answer = judge(history)
    assert {foil["state"] for foil in answer["foils"]} == {"broken"}
    assert all(foil["reason"].startswith("short") for foil in answer["foils"])
    assert all(name in answer["foils"][0]["reason"] for name in names)
    assert answer["match"] == {"JRN-1": "broken"}
