"""Fields that documents read and fill: through lets, variables, macros, heads and policies, and nothing more."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterfoil.model import read
from counterfoil.model.document_usage import usage_of
from counterfoil.model.field_usage import FieldUsage
from tests.companies.base import edited, write
from tests.companies.clean import COMPANY

WORKFLOW = ("workflow", "credit")


@pytest.fixture(scope="module")
def uses(tmp_path_factory: pytest.TempPathFactory) -> FieldUsage:
    return usage_of(read(write(tmp_path_factory.mktemp("company"), COMPANY))[0])


def of_workflow(folder: Path, old: str, new: str) -> dict[tuple[str, str], set[str]]:
    text = edited(COMPANY, (old, new))
    assert text != COMPANY
    usage = usage_of(read(write(folder, text), checks=False)[0])
    return {contract: set(users[WORKFLOW]) for contract, users in usage.reads.items() if WORKFLOW in users}


def test_a_let_that_is_a_path_counts_as_the_field_that_it_names(uses: FieldUsage) -> None:
    fields = set(uses.reads["event", "credit.requested.v1"][WORKFLOW])
    assert {"amount", "amount.minor", "credit_id", "customer_id", "reason"} == fields


def test_an_envelope_field_is_not_a_field_of_the_contract(tmp_path: Path) -> None:
    reads = of_workflow(tmp_path, "amount.minor > 100000", "event.type == 'x' && event.data.asked_on == null")
    assert "asked_on" in reads["event", "credit.requested.v1"]
    assert not {"type", "", "data"} & reads["event", "credit.requested.v1"]


def test_a_wait_or_signal_reads_the_event_that_it_waits_for(uses: FieldUsage) -> None:
    assert set(uses.reads["event", "credit.posted.v1"][WORKFLOW]) == {"credit_id"}


def test_a_result_is_read_by_the_id_of_its_step(uses: FieldUsage) -> None:
    assert set(uses.reads["output", "billing.credit.issue"][WORKFLOW]) == {"id", "issued_on"}


def test_a_fact_is_read_where_its_fields_are(uses: FieldUsage) -> None:
    assert set(uses.reads["output", "erp.customer.get"][WORKFLOW]) == {"terms"}
    assert WORKFLOW not in uses.reads.get(("object", "customer"), {})


def test_a_macro_reads_the_fields_of_its_elements(tmp_path: Path) -> None:
    lines = "terms.lines.filter(l, l.open).map(l, l.net).size() > 0 && terms.other.exists(o, o == 1)"
    reads = of_workflow(tmp_path, "amount.minor > 100000", lines)
    assert {"lines.open", "lines.net", "other"} <= reads["output", "erp.customer.get"]
    assert "lines" not in reads["output", "erp.customer.get"]


def test_a_head_called_in_a_formula_is_read_by_field(tmp_path: Path) -> None:
    reads = of_workflow(tmp_path, "amount.minor > 100000", "head('credit', event.data.credit_id).note == ''")
    assert reads["object", "credit"] == {"note"}


def test_a_policy_reads_the_start_of_the_workflow(uses: FieldUsage) -> None:
    users = uses.reads["event", "credit.requested.v1"]
    assert set(users["policy", "credit-approval"]) == {"requested_by"}
    assert set(users["policy", "credit-limit"]) == {"customer_id"}


def test_an_undo_without_input_takes_the_fields_of_the_same_name(uses: FieldUsage) -> None:
    assert set(uses.reads["output", "billing.credit.issue"]["operation", "billing.credit.issue"]) == {"id"}
    assert uses.gives["input", "billing.credit.void"]["operation", "billing.credit.issue"] == {"id"}


def test_who_fills_a_contract_in_is_known_by_field(uses: FieldUsage) -> None:
    assert uses.gives["input", "erp.credit.post"][WORKFLOW] == {"credit", "amount", "customer"}
    assert uses.gives["event", "credit.issued.v1"]["mapping", "bills-credit"] == {"credit_id", "total"}


def test_a_reader_of_a_part_reads_the_whole_and_the_other_way(uses: FieldUsage) -> None:
    contract = ("event", "credit.requested.v1")
    assert WORKFLOW in uses.readers(contract, "amount")
    assert WORKFLOW in uses.readers(contract, "amount.currency")
    assert WORKFLOW not in uses.readers(contract, "asked_on")


def test_a_cast_reads_the_fields_of_its_formulas_and_the_copied_fields(tmp_path: Path) -> None:
    newer = "kind: event\nname: credit.settled.v2\nproduced: workflow\ndata: {credit_id: id, paid_on: date}\n"
    cast = "kind: mapping\nname: settled\ncast: {from: credit.settled.v2, to: credit.settled.v1}\nloses: {paid_on: unknown then}\n"
    usage = usage_of(read(write(tmp_path, f"{COMPANY}---\n{newer}---\n{cast}"), checks=False)[0])
    assert set(usage.reads["event", "credit.settled.v2"]["mapping", "settled"]) == {"credit_id"}
