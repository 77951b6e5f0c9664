"""The product's matching agrees with the written histories and with the independent oracle.

`COUNTERFOIL_CAMPAIGN=20000` draws so many histories instead of a modest number.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from counterfoil.rules.match_history import judge_history
from tests.matching.histories import random_history
from tests.matching.oracle import judge
from tests.matching.test_oracle import DATA, differences, read

CAMPAIGN = int(os.environ.get("COUNTERFOIL_CAMPAIGN", "0"))
SEEDS = range(CAMPAIGN or 1200)
# A campaign takes minutes where the suite takes seconds.
unhurried = pytest.mark.timeout(0 if CAMPAIGN else 120)


def states(answer: dict[str, Any]) -> dict[str, Any]:
    """Return what both must say: states, residuals, items and the state of each match."""
    return {
        "foils": {f["document"]: (f["state"], f["residual"], break_kind(f)) for f in answer["foils"]},
        "unmatched": {i["document"]: i["state"] for i in answer["unmatched"]},
        "match": answer["match"],
    }


def break_kind(foil: dict[str, Any]) -> str:
    """Return the first word of the reason of a broken foil; the text after it is free."""
    return str(foil["reason"]).split(":")[0].split(";")[0] if foil["state"] == "broken" else ""


def judged(history: dict[str, Any]) -> dict[str, Any]:
    answer = judge_history(history)
    items = [{"document": i["document"], "state": i["state"]} for i in answer["unmatched"]]
    return {**answer, "unmatched": items}


def arrivals(history: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the history as it is, with the left side known first, and with the right side known first."""
    yield history
    records = history["documents"]
    if not records:
        return
    now = history.get("now") or max(record["at"] for record in records)
    known = [record for record in records if record["at"] <= now]
    times = sorted(record["at"] for record in known)
    for side in ("left", "right"):
        order = sorted(known, key=lambda record: (record["side"] != side, record["at"]))
        documents = [{**record, "at": at} for record, at in zip(order, times, strict=True)]
        yield {**history, "now": now, "documents": documents}


@pytest.mark.parametrize("path", DATA, ids=lambda path: path.stem)
def test_each_written_history_has_its_expected_states(path: Path) -> None:
    content = read(path)
    assert differences(content["expect"], judged(content["history"])) == []


def smallest(seeds: Iterable[int]) -> str:
    """Return the history with the fewest documents among those of the seeds, to read and to judge by hand."""
    found = min(seeds, key=lambda seed: len(random_history(seed)["documents"]), default=None)
    return "" if found is None else f"seed {found}: {json.dumps(random_history(found))}"


@unhurried
def test_random_histories_are_judged_as_the_oracle_does() -> None:
    different = [
        seed
        for seed in SEEDS
        for arrival in arrivals(random_history(seed))
        if states(judge_history(arrival)) != states(judge(arrival))
    ]
    assert different == [], smallest(different)


@unhurried
def test_either_side_may_be_known_first() -> None:
    """A pairing is left out: the legs that it is bound to are those of its moment."""
    different = []
    for seed in SEEDS:
        history = random_history(seed)
        history.pop("pairings", None)
        first, *others = [states(judge_history(arrival)) for arrival in arrivals(history)]
        if any(answer != first for answer in others):
            different.append(seed)
    assert different == [], smallest(different)
