"""A week of both companies of Acme under faults, and what the systems' own books say afterwards.

About 160 events of the business, drawn from a seed, go through the real doors: two billing accounts, the help desk and the
usage door. Meanwhile webhooks are lost, repeated and late, billing and the ERP fail, and the server is killed once.
Persons enter documents in the ERP and cancel some there. `WEEK_SEED` plays another week; `WEEK_SIZE=full` one of about 340
events and `WEEK_SIZE=month` one of more than 1,000, as `make campaign` does.

For each company and currency, with documents read from billing, the ERP and the help desk:

    invoices posted in the ERP = billing's invoices that are neither draft nor void + voided after their posting
                                 - cancelled in the ERP
    credit memos of the ERP    = billing's credit notes
    receipts of the ERP        = amounts paid, by card or by transfer
    refunds of the ERP         = billing's refunds that did not fail
    receivable                 = posted invoices - credit memos - receipts + refunds + entries by hand
    open items                 = amounts remaining + settled from balances - credits to balances
                                 + voided after their posting - cancelled in the ERP + refunds + entries by hand
    clearing                   = balance of the processor
    bank                       = payouts that did not fail + transfers
    disputes                   = nothing, because each of them was decided
    bad debt                   = disputes that were lost

The open items are the receivable lines that the ERP has not reconciled. A credit to a customer's balance is open there until an
invoice settles it: billing's and the ERP's balances go down together. An invoice that billing voids after its posting stays in the ERP until a person
takes it back, and money that is refunded without a credit memo is owed: an open Case says so for each. One that a person
cancels in the ERP is asserted by billing still, and its foil is open again. An entry by hand is an unmatched item with an owner. The plan names them all.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from counterfoil.core.document import number_of
from tests.companies.acme import company
from tests.companies.books import (
    CREDITS,
    DEBITS,
    INVOICES,
    KEYS,
    by_currency,
    differences,
    plus,
    total,
    total_of,
)
from tests.scenario.week_plan import BILLING_FAULTS, SIZES, WEBHOOK_FAULTS, Plan, label
from tests.scenario.week_play import EVENTS_PER_BATCH
from tests.scenario.week_proof import Account, Week, play

pytestmark = [pytest.mark.xdist_group("week"), pytest.mark.timeout(1500)]

SEED = 20_261_130
RESULTS = {
    "acme-us": {"revenue": {"4000", "4020"}, "credits": {"4800"}, "taxes": {"2200", "2210", "2220", "2230"}},
    "acme-de": {
        "revenue": {"8120", "8300", "8400", "8420"},
        "credits": {"8710", "8720"},
        "taxes": {"1770", "1771", "1776"},
    },
}
"""Accounts of the documents besides the receivable account, first that of documents which are entered by hand."""
DIFFERENCES = {"acme-us": {"7900"}, "acme-de": {"2150", "2660"}}
"""Accounts on which the ERP books what the lines of a document in a foreign currency differ from its total by."""
by_entity = pytest.mark.parametrize("entity", sorted(KEYS))


@pytest.fixture(scope="module")
def week() -> Iterator[Week]:
    plan = Plan(int(os.environ.get("WEEK_SEED", SEED)), SIZES[os.environ.get("WEEK_SIZE", "small")])
    with company() as systems:
        yield asyncio.run(play(systems, plan))


def amounts(document: dict[str, Any]) -> tuple[str, Decimal, Decimal]:
    """Return currency, total and tax of a document of billing."""
    minor = (document["total"], document["total"] - document["total_excluding_tax"])
    in_total, in_tax = (Decimal(units).scaleb(-2) for units in minor)
    return document["currency"].upper(), in_total, in_tax


# ------------------------------------------------------------------ documents


@by_entity
def test_every_invoice_is_posted_once_with_its_total_and_tax(week: Week, entity: str) -> None:
    account = week.accounts[entity]
    expected = {i["number"]: amounts(i) for i in [*account.billed.issued, *account.voided_late]}
    posted = [row for row in account.documents if row["total_amount"] > 0 and row["reference"]]
    assert len(posted) == len(expected)
    assert {
        row["description"]: (row["currency"]["code"], row["total_amount"], row["tax_amount"])
        for row in posted
    } == expected
    assert len(expected) >= week.plan.size.invoices


@by_entity
def test_every_credit_note_is_posted_once(week: Week, entity: str) -> None:
    account = week.accounts[entity]
    expected = {note["metadata"]["credit_id"]: amounts(note) for note in account.billed.notes}
    posted = [row for row in account.documents if row["total_amount"] < 0]
    assert len(posted) == len(expected) == len(account.billed.notes)
    assert {
        row["reference"]: (row["currency"]["code"], -row["total_amount"], -row["tax_amount"])
        for row in posted
    } == expected
    requests = [act for act in week.plan.of("credit") if act.entity == entity]
    in_currency = ((act.currency, act.minor) for act in requests)
    assert total((note["currency"], note["total"]) for note in account.billed.notes) == total(in_currency)


@by_entity
def test_each_credit_on_an_open_invoice_is_applied_once(week: Week, entity: str) -> None:
    account = week.accounts[entity]
    numbers = {row["number"]: row for row in account.documents}
    pairs = [text.split("]")[1].split(" [")[0].strip().split(" applied to ") for text in account.applications]
    applied = {numbers[credit]["reference"]: numbers[invoice]["description"] for credit, invoice in pairs}
    of_invoice = {invoice["id"]: invoice["number"] for invoice in account.billed.invoices}
    notes = [note for note in account.billed.notes if note["type"] == "pre_payment"]
    assert len(pairs) == len(notes)
    assert applied == {note["metadata"]["credit_id"]: of_invoice[note["invoice"]] for note in notes}


def test_no_reference_is_used_twice_and_no_document_is_unfinished(week: Week) -> None:
    rows = [row for account in week.accounts.values() for row in account.documents]
    assert sorted(row["number"] for row in rows if row["reference"] is None) == sorted(week.entered)
    references = Counter(row["reference"] for row in rows if row["reference"] is not None)
    assert max(references.values()) == 1
    assert [account.unposted for account in week.accounts.values()] == [[], []]


@by_entity
def test_an_invoice_that_is_voided_in_review_is_not_posted(week: Week, entity: str) -> None:
    account = week.accounts[entity]
    names = [
        name for name, fate in week.plan.fates.items() if fate == "void in review" and name.startswith(entity)
    ]
    numbers = {week.numbers[name] for name in names}
    assert len(numbers) == 1
    assert {i["status"] for i in account.billed.invoices if i["number"] in numbers} == {"void"}
    assert numbers.isdisjoint(row["description"] for row in account.documents)


@by_entity
def test_a_customer_is_one_party_with_its_newest_name(week: Week, entity: str) -> None:
    names = [customer["name"] for customer in week.accounts[entity].billed.customers]
    assert sorted(name for name in week.parties if name.startswith(f"{entity}/")) == sorted(names)
    codes = {row["party"]["code"] for row in week.accounts[entity].documents}
    others = {row["party"]["code"] for e, a in week.accounts.items() if e != entity for row in a.documents}
    assert codes.isdisjoint(others)


# ------------------------------------------------------------------ books


def voided_late(account: Account) -> Any:
    return total((invoice["currency"], invoice["total"]) for invoice in account.voided_late)


def changed_late(account: Account) -> Any:
    """Return what the ERP has more than billing: voided in billing less cancelled in the ERP, both after the posting."""
    cancelled = total((invoice["currency"], invoice["total"]) for invoice in account.cancelled)
    return plus((1, voided_late(account)), (-1, cancelled))


@by_entity
def test_posted_totals_are_those_of_billing(week: Week, entity: str) -> None:
    account, own = week.accounts[entity], week.accounts[entity].books
    assert plus((1, own.invoices), (1, changed_late(account)), (1, own.by_hand)) == own.posted_invoices
    assert own.credits == own.posted_credits
    assert (own.debits, own.posted_debits) == ({}, {})
    assert set(own.posted_invoices) == {"USD", "EUR"}


@by_entity
def test_receivable_is_invoices_less_credits_and_payments(week: Week, entity: str) -> None:
    account, own = week.accounts[entity], week.accounts[entity].books
    assert own.payments == own.posted_payments != {}
    assert own.refunds == own.posted_refunds
    assert own.by_hand
    assert own.receivable == plus(
        (1, own.invoices), (-1, own.credits), (-1, own.payments), (1, changed_late(account)), (1, own.refunds),
        (1, own.by_hand),
    )  # fmt: skip


@by_entity
def test_open_items_are_what_billing_says_is_remaining(week: Week, entity: str) -> None:
    account = week.accounts[entity]
    issued = account.billed.issued
    remaining = total((i["currency"], i["amount_remaining"]) for i in issued)
    from_balance = total((i["currency"], i["ending_balance"] - i["starting_balance"]) for i in issued)
    to_balance = total(
        (n["currency"], n["total"]) for n in account.billed.notes if n["type"] == "post_payment"
    )
    assert remaining
    assert to_balance
    own = account.books
    assert own.open_items == plus(
        (1, remaining), (1, from_balance), (-1, to_balance), (1, changed_late(account)), (1, own.refunds), (1, own.by_hand)
    )  # fmt: skip


def test_every_draw_of_a_balance_is_followed(week: Week) -> None:
    drawn = [
        invoice
        for account in week.accounts.values()
        for invoice in account.billed.invoices
        if (invoice["ending_balance"] or 0) > (invoice["starting_balance"] or 0)
    ]
    runs = [run for run in week.runs if run["workflow"] == "balance-draw-to-erp"]
    assert {run["status"] for run in runs} == {"done"}
    # A void gives back what its invoice has drawn, by a Run of its own.
    assert len([run for run in runs if not run["key"].endswith("/returned")]) == len(drawn)


@by_entity
def test_the_account_of_the_processor_has_what_the_processor_says(week: Week, entity: str) -> None:
    account = week.accounts[entity]
    clearing = by_currency(line for line in account.entries if line.account == account.cash["clearing"])
    assert clearing == account.processor != {}


@by_entity
def test_disputes_and_the_bank_have_what_was_decided_and_sent(week: Week, entity: str) -> None:
    account = week.accounts[entity]
    booked = {
        name: by_currency(line for line in account.entries if line.account == account.cash[name])
        for name in ("disputes", "bad_debt", "bank")
    }
    assert booked == {"disputes": {}, "bad_debt": account.lost, "bank": account.sent}
    assert account.sent


@by_entity
def test_revenue_and_tax_add_up_with_the_receivable_to_zero(week: Week, entity: str) -> None:
    account, accounts = week.accounts[entity], RESULTS[entity]
    balance = {code: amount for code, amount in account.trial_balance.items() if amount}
    results = set().union(*accounts.values())
    rounding = {code for code in balance if code in DIFFERENCES[entity]}
    assert sum(balance.values(), Decimal(0)) == 0
    cash = {account.cash[name] for name in ("bank", "clearing", "fees")}
    assert set(balance) - results - rounding - {account.cash["bad_debt"]} == {account.receivable, *cash}
    assert abs(sum((balance[code] for code in rounding), Decimal(0))) < 1
    taxes = by_currency(line for line in account.entries if line.account in accounts["taxes"])
    documents = [(1, *amounts(i)) for i in [*account.billed.issued, *account.voided_late]]
    documents += [(-1, *amounts(each)) for each in [*account.billed.notes, *account.cancelled]]
    assert plus((-1, taxes)) == plus(*((sign, {currency: tax}) for sign, currency, _, tax in documents))
    assert taxes


# ------------------------------------------------------------------ the server


@by_entity
def test_roll_forwards_are_those_of_the_books_and_close_at_what_open_cases_own(
    week: Week, entity: str
) -> None:
    account = week.accounts[entity]
    assert differences(account.books, week.forward, entity) == []
    own = account.books
    assert total_of(week.forward[INVOICES], "closing", entity) == plus(
        (-1, changed_late(account)), (-1, own.by_hand)
    )
    assert total_of(week.forward[CREDITS], "closing", entity) == {}
    assert total_of(week.forward[DEBITS], "closing", entity) == {}
    lines = [line for part in week.forward.values() for line in part["lines"] if line["entity"] == entity]
    columns = {name for line in lines for name, item in line["items"].items() if item["minor"]}
    assert columns == {"over", "unmatched", *(["open"] if account.cancelled else [])}


def test_every_difference_has_an_open_case_and_there_is_no_other_case(week: Week) -> None:
    foils = {foil["id"]: foil for foil in week.foils if foil["state"] not in ("matched", "reversed", "void")}
    late, cancelled = (
        [i for account in week.accounts.values() for i in invoices(account)]
        for invoices in (lambda account: account.voided_late, lambda account: account.cancelled)
    )
    states = sorted((foil["name"], foil["state"]) for foil in foils.values())
    assert states == sorted(
        [(i["number"], "over") for i in late] + [(i["number"], "open") for i in cancelled]
    )
    assert all(foil["owner"] and foil["due"] for foil in foils.values())
    of_foils = [case for case in week.open_cases if case["foil"]]
    # What was cancelled in the ERP is due again; its Case opens when nobody has posted it until then.
    assert sorted(case["foil"] for case in of_foils) == sorted(
        f for f in foils if foils[f]["state"] == "over"
    )
    assert {case["owner"] for case in week.open_cases} == {"finance-operations"}
    assert all(case["next_action"] for case in week.open_cases)
    exposures = (money for case in of_foils for money in case["exposure"])
    assert total((money["currency"], money["minor"]) for money in exposures) == plus(
        *((1, voided_late(account)) for account in week.accounts.values())
    )
    # Money that went back to a customer without a credit memo, and large payouts by a person.
    workflows = {run["id"]: run["workflow"] for run in week.runs}
    others = Counter(
        (workflows.get(case["run"]), case["reason"], case["message"].partition(":")[0])
        for case in week.open_cases
        if not case["foil"]
    )
    kept = [act for act in week.plan.of("refund") if not act.text]
    assert others == Counter(
        {
            ("refund-to-erp", "failed", "settled"): len(kept),
            ("payout-to-erp", "failed", "explained"): sum(a.looked_at for a in week.accounts.values()),
        }
    )
    assert sorted(number_of(item["document"]) for item in week.unmatched) == sorted(week.entered)


def test_every_run_has_ended_or_waits_with_an_owner(week: Week) -> None:
    owned = {case["run"] for case in week.open_cases} | {
        foil["run"] for foil in week.foils if foil["id"] in {case["foil"] for case in week.open_cases}
    }
    # What billing voided after its posting is cancelled when finance agrees.
    owned |= {row["run"] for row in week.approvals if row["state"] == "open" and row["roles"]}
    waiting = [run for run in week.runs if run["status"] not in ("done", "undone", "closed")]
    assert [run for run in waiting if run["id"] not in owned or not run["waits_for"]] == []
    ends = Counter((run["workflow"], run["state"]) for run in week.runs if run["status"] == "done")
    assert ends["support-credit-to-erp", "reconciled"] == len(week.plan.of("credit"))
    assert ends["invoice-to-erp", "void"] == 2
    assert {state for (workflow, state) in ends if workflow == "customer-sync"} == {"synchronized"}


def test_every_invariant_of_the_store_holds(week: Week) -> None:
    assert week.problems == []


def test_small_credits_are_granted_automatically_and_others_by_persons(week: Week) -> None:
    credits = [approval for approval in week.approvals if approval["policy"] == "service-credit"]
    assert {approval["state"] for approval in credits} <= {"granted", "stale", "void"}
    granted = [approval for approval in credits if approval["state"] == "granted"]
    assert any(approval["automatic"] for approval in granted)
    decided = [approval for approval in granted if not approval["automatic"]]
    assert {vote["person"] for approval in decided for vote in approval["votes"]} >= {"lead"}
    assert {approval["legal_entity"] for approval in decided} == set(KEYS)


def test_every_ticket_has_one_answer_with_the_number_of_its_credit_memo(week: Week) -> None:
    memos = {
        row["number"]
        for account in week.accounts.values()
        for row in account.documents
        if row["total_amount"] < 0
    }
    assert {ticket["status"] for ticket in week.tickets} == {"credit-posted"}
    assert {ticket["erp_document"] for ticket in week.tickets} == memos
    assert {len(ticket["messages"]) for ticket in week.tickets} == {1}
    assert len(week.tickets) == len(memos)


def test_usage_is_counted_once(week: Week) -> None:
    batches = len(week.plan.of("usage"))
    assert [(a["accepted"], a["repeated"], a["refused"]) for a in week.usage] == [
        (EVENTS_PER_BATCH, 0, [])
    ] * batches
    assert [(a["accepted"], a["repeated"], a["refused"]) for a in week.repeats] == [
        (0, EVENTS_PER_BATCH, [])
    ] * batches
    assert week.usage_rows == batches * EVENTS_PER_BATCH


# ------------------------------------------------------------------ the week itself


def test_the_week_is_as_large_as_it_should_be(week: Week) -> None:
    assert week.done == Counter(act.kind for act in week.plan.business)
    assert week.done.total() >= week.plan.size.events


@by_entity
def test_every_kind_of_fault_of_billing_was_played(week: Week, entity: str) -> None:
    kinds = {*WEBHOOK_FAULTS, *(label(fault) for fault in BILLING_FAULTS)}
    assert {kind for kind in kinds if week.billing_faults[entity, kind] < 1} == set()


def test_every_kind_of_fault_around_the_server_was_played(week: Week) -> None:
    assert week.faults["ERP outage"] == 2
    assert week.faults["server outage"] == 1
    assert week.faults["lost answer of the ERP"] >= 3
    assert week.faults["repeated callback"] >= 3
