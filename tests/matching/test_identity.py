"""The identity of matching: what is asserted less what is shown is the residuals, less what no foil bears.

Both totals are added up here, from the documents of the history alone.
"""

from __future__ import annotations

import json
from collections import defaultdict
from decimal import Decimal
from typing import Any

import pytest

from counterfoil.core import matching
from counterfoil.core.document import LedgerDocument
from counterfoil.rules import match_history
from tests.matching.histories import random_history
from tests.matching.oracle_records import read_documents
from tests.matching.test_judge import SEEDS, unhurried

TOTAL = "gross"
Books = tuple[str, str]
Totals = dict[Books, Decimal]


def books(document: LedgerDocument) -> Books:
    return document.entity, document.currency


def asserted_less_shown(history: dict[str, Any]) -> Totals:
    """Return, by entity and currency, the totals of the standing documents of the left less those of the right."""
    totals: Totals = defaultdict(Decimal)
    documents = read_documents(history)
    for document in (*documents.left, *documents.right):
        if document.stands:
            amount = Decimal(document.record["legs"][TOTAL])
            owner = (document.record["entity"], document.record["currency"])
            totals[owner] += amount if document.side == "left" else -amount
    return totals


def explained(
    lefts: list[LedgerDocument], rights: list[LedgerDocument], judgement: matching.Judgement, totals: Totals
) -> None:
    """Add the residuals of one match, less the items that no foil bears and what answers a foil of other books."""
    left_books = {d.id: books(d) for d in lefts}
    right_books = {d.id: books(d) for d in rights}
    for id_, verdict in judgement.foils.items():
        totals[left_books[id_]] += verdict.residual.get(TOTAL, 0)
    for id_, item in judgement.items.items():
        if item.foil is None:
            totals[right_books[id_]] += item.residual[TOTAL]
    for part in judgement.parts:
        if left_books[part.left] != right_books[part.shown.id]:
            totals[right_books[part.shown.id]] -= part.amount


def residuals(history: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Totals:
    totals: Totals = defaultdict(Decimal)

    def judge(rules: Any, lefts: Any, rights: Any, *others: Any, **options: Any) -> matching.Judgement:
        judgement = matching.judge(rules, lefts, rights, *others, **options)
        explained(lefts, rights, judgement, totals)
        return judgement

    with monkeypatch.context() as patch:
        patch.setattr(match_history, "judge", judge)
        match_history.judge_history(history)
    return totals


@unhurried
def test_residuals_and_items_explain_the_difference_of_the_totals(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in SEEDS:
        history = random_history(seed)
        shown = residuals(history, monkeypatch)
        expected = asserted_less_shown(history)
        for owner in {*shown, *expected}:
            assert shown[owner] == expected[owner], f"seed {seed}, {owner}: {json.dumps(history)}"
