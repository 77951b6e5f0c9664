"""Reviewers of a change: derived from who owns what it touches."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterfoil.change.difference import difference
from counterfoil.change.reviewers import reviewers, unreviewed
from counterfoil.model import Model, read
from tests.companies.base import edited, write
from tests.companies.clean import COMPANY

# The same company with owners that differ by part.
OWNED = edited(
    COMPANY,
    (
        "name: credit\nowner: finance\nfailure: careful",
        "name: credit\nowner: {finance: exceptions, agent: definition, controller: service_level}\nfailure: careful",
    ),
)


def edited(folder: Path, *edits: tuple[str, str]) -> Model:
    text = OWNED
    for old, new in edits:
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times"
        text = text.replace(old, new)
    return read(write(folder, text), checks=False)[0]


def reviewer_roles(folder: Path, *edits: tuple[str, str]) -> list[str]:
    old, new = edited(folder), edited(folder, *edits)
    return [review.role for review in reviewers(old, new, difference(old, new))]


def test_a_step_is_reviewed_by_the_owner_of_the_definition(tmp_path: Path) -> None:
    assert reviewer_roles(tmp_path, ("when: amount.minor > 100000", "when: amount.minor > 200000")) == [
        "agent"
    ]


def test_what_becomes_of_a_refusal_is_also_for_those_who_answer_for_exceptions(tmp_path: Path) -> None:
    assert reviewer_roles(tmp_path, ("outcomes: {refused: park}", "outcomes: {refused: undo}")) == [
        "agent",
        "finance",
    ]


def test_a_deadline_is_also_for_those_who_own_the_service_level(tmp_path: Path) -> None:
    assert "controller" in reviewer_roles(tmp_path, ("deadline: 20d", "deadline: 30d"))


def test_a_field_is_for_the_owner_of_its_system_of_record_and_of_those_who_read_it(tmp_path: Path) -> None:
    roles = reviewer_roles(
        tmp_path, ("terms: {type: string, system: ledger}", "terms: {type: int, system: ledger}")
    )
    assert "finance" in roles


def test_whom_a_contract_breaks_looks_at_it(tmp_path: Path) -> None:
    old, new = edited(tmp_path), edited(tmp_path, ("output: {id: id, issued_on: date}", "output: {id: id}"))
    reviews = {review.role: review.because for review in reviewers(old, new, difference(old, new))}
    assert reviews["agent"] == (
        "owns the workflow `credit`, which reads issued_on of the operation `billing.credit.issue`",
    )


def test_both_owners_look_where_ownership_changes_hands(tmp_path: Path) -> None:
    assert reviewer_roles(tmp_path, ("name: rates\nowner: finance", "name: rates\nowner: controller")) == [
        "controller",
        "finance",
    ]


def test_an_overlay_is_for_the_owners_of_what_it_changes(tmp_path: Path) -> None:
    overlay = "---\nkind: overlay\nname: de\nowner: agent\nof: {legal_entity: de}\nchanges: [{kind: table, name: rates, set: {rows: [{region: eu, rate: 1}]}}]\n"
    policy = "---\nkind: workflow\nname: credit\n"
    old, new = edited(tmp_path), edited(tmp_path, (policy, overlay + policy))
    reviews = {review.role: review.because for review in reviewers(old, new, difference(old, new))}
    assert reviews == {
        "agent": ("owns the overlay `de`",),
        "finance": ("owns the table `rates`, which the overlay `de` changes",),
    }


def test_a_table_is_for_its_owner(tmp_path: Path) -> None:
    assert reviewer_roles(tmp_path, ("rate: 0.2}", "rate: 0.3}")) == ["finance"]


@pytest.mark.parametrize("change", [("{up_to: 100, automatic: true}", "{up_to: 200, automatic: true}")])
def test_documents_without_owner_are_reported(tmp_path: Path, change: tuple[str, str]) -> None:
    old, new = edited(tmp_path), edited(tmp_path, change)
    reviews = difference(old, new)
    assert reviewers(old, new, reviews) == []
    assert [one.name for one in unreviewed(old, new, reviews)] == ["credit-approval"]
