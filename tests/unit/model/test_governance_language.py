"""The three workflows and two mappings on which the language was measured: they read, check clean and compile."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from counterfoil.model import Model, read
from counterfoil.model.definition import Approve, Block, Call, Each, Verb, Wait

LANGUAGE = Path(__file__).parent / "language"


@pytest.fixture(scope="module")
def model() -> Model:
    language, findings = read(LANGUAGE)
    assert [str(finding) for finding in findings] == []
    return language


def test_every_workflow_compiles_under_a_digest_of_its_own(model: Model) -> None:
    digests = {model.workflow(name).digest for name in model.workflows}
    assert set(model.workflows) == {"support-credit-to-erp", "usage-window-close", "renewal"}
    assert len(digests) == 3


def test_a_workflow_says_which_lane_its_calls_are_in(model: Model) -> None:
    lanes = {name: model.workflow(name).lane for name in model.workflows}
    assert lanes == {"support-credit-to-erp": "live", "usage-window-close": "close", "renewal": "live"}


def test_step_paths_are_ids_or_positions_from_the_root(model: Model) -> None:
    def paths(block: Block) -> list[str]:
        names = []
        for step in block.steps:
            names.append(step.path)
            if isinstance(step, Each):
                names += paths(step.do)
            for reaction in step.outcomes.values():
                if isinstance(reaction, Block):
                    names += paths(reaction)
        return names

    assert paths(model.workflow("usage-window-close").steps) == [
        "check0",
        "choose1",
        "call2",
        "billed",
        "billed/timeout/0",
        "billed/timeout/0/do/0",
        "wait4",
    ]


def test_undo_without_input_takes_the_fields_of_the_undone_call(model: Model) -> None:
    memo = model.workflow("support-credit-to-erp").steps.steps[2]
    assert isinstance(memo, Call)
    void, debit = memo.undo
    assert str(void.input) == "Record(fields={'id': Formula(expression=Expression('result.id'))})"
    assert str(debit.input) == "Record(fields={'invoice': Formula(expression=Expression('input.invoice'))})"
    assert void.when is not None
    assert debit.when is None


def test_requester_comes_from_the_approval_policy(model: Model) -> None:
    approve = model.workflow("renewal").steps.steps[1]
    assert isinstance(approve, Approve)
    assert approve.requester.text == "object.owner"


def test_amounts_of_tiers_are_minor_units_of_the_policys_currency(model: Model) -> None:
    policy = model.workflow("support-credit-to-erp").approvals["service-credit"]
    assert [tier.up_to for tier in policy.tiers] == [10_000, 100_000, 1_000_000, 5_000_000, None]


def test_a_bare_word_of_a_limit_is_a_field_of_the_start(model: Model) -> None:
    limit = model.workflow("support-credit-to-erp").limits["customer-quarter-credit"]
    assert [per.text for per in limit.per] == ["event.data.customer_id", "quarter"]


def test_a_wait_that_ends_in_a_duration_or_in_a_moment(model: Model) -> None:
    waits = [s for s in model.workflow("usage-window-close").steps.steps if isinstance(s, Wait)]
    assert waits[0].until is not None
    assert waits[0].until.at is not None
    assert waits[1].until is not None
    assert waits[1].until.after == 5 * 86400


def test_signal_of_the_renewal_goes_back_to_the_quote(model: Model) -> None:
    (signal,) = model.workflow("renewal").signals
    assert signal.event == "contract.amended.v1"
    assert signal.do.verb == Verb("again", target="quote", at_most=5)


def test_starts_are_indexed_by_event_object_and_operation(model: Model) -> None:
    assert [d.name for d in model.starts_by_event("support.credit_requested.v1")] == ["support-credit-to-erp"]
    assert [d.name for d in model.starts_by_object("usage_window")] == ["usage-window-close"]
    assert [d.name for d in model.generations_by_event("usage.late.v1")] == ["usage-window-close"]
    assert model.starts_by_event("usage.late.v1") == []


def test_the_entity_of_a_mapping_is_looked_up_only_where_it_is_read(model: Model) -> None:
    (invoice,) = model.inbound("stripe", "invoice.finalized")
    assert next((name, text.text) for name, text in invoice.let) == (
        "entity",
        "head('legal_entity', table('stripe_entity', body.account))",
    )
    (posted,) = model.inbound("tryton", "credit_memo.posted")
    assert posted.let == ()


def test_foils_are_indexed_by_writer_and_observation(model: Model) -> None:
    assert [f.name for f in model.foils_by_operation("erp.credit_memo.post")] == ["credit-memo"]
    assert [f.name for f in model.foils_by_observation("credit_memo.posted.v1")] == ["credit-memo"]
    assert model.foils_by_event("invoice.finalized.v1") == []
    assert [f.name for f in model.workflow("support-credit-to-erp").foils] == ["credit-memo"]


def test_table_gives_the_row_in_force_on_the_day(model: Model) -> None:
    keys = ["acme-us", "seats"]
    assert model.lookup_table("gl", keys, date(2026, 6, 30)) == "4000"
    assert model.lookup_table("gl", keys, date(2026, 7, 1)) == "4010"
    assert model.lookup_table("gl", keys, date(2025, 12, 31)) is None
    assert model.lookup_table("gl", ["acme-us", "other"], date(2026, 7, 1)) is None


def test_a_stored_model_compiles_to_the_same_definitions(model: Model) -> None:
    stored = Model.from_json(model.to_json())
    assert stored.digest == model.digest
    assert {n: stored.workflow(n).digest for n in stored.workflows} == {
        n: model.workflow(n).digest for n in model.workflows
    }
    assert stored.lookup_table("gl", ["acme-us", "seats"], date(2026, 7, 1)) == "4010"
