"""Control accounts: a checkpoint reads the ledger's balance, and names what it has beyond the documents."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from counterfoil.core.book_checkpoint import BookCheckpoint
from counterfoil.core.case import CaseState
from counterfoil.core.entity_scope import EntityScope
from counterfoil.core.errors import Refused, TryAgain
from counterfoil.flow.worker.book_listing import CheckpointRefused
from counterfoil.model.checks import check
from tests.unit.flow.swept_company import (
    MODEL,
    TIME,
    Company,
    books,
    company_on_sqlite,
    model_with,
    read_both,
    service,
)
from tests.unit.rules.driver import MONDAY

AT = MONDAY.date()
READ = "ledger.account.balance"
ACCOUNT = """\
control_accounts:
  receivables: {read: ledger.account.balance, with: {account: '1200', as_of: =at}, documents: {invoice-in-ledger: add}}
"""
OPERATION = """\
kind: operation
name: ledger.account.balance
system: ledger
repeat: read
exposes: read
input: {account: string, as_of: date}
output: {balances: [money]}
---
kind: mapping
name: to-ledger-balance
to: {operation: ledger.account.balance, system: ledger}
with: {account: =input.account, as_of: =input.as_of}
returns: {result: {balances: "=result.balances.map(b, money(b.amount, b.currency))"}}
---
kind: reconciliation
name: invoice-in-ledger
"""
EDITS = (
    ("kind: reconciliation\nname: invoice-in-ledger\n", OPERATION),
    ("legs: {gross: {total: true}}\n", "legs: {gross: {total: true}}\n" + ACCOUNT),
)


@pytest.fixture
async def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Company]:
    async with company_on_sqlite(tmp_path / "store.db", monkeypatch, EDITS) as made:
        await books(made)
        await read_both(made)
        yield made


def balances(company: Company, **amounts: str) -> None:
    """Let the ledger have these balances from now on."""
    answer = [{"currency": name, "amount": Decimal(amount)} for name, amount in amounts.items()]
    company.ledger.results[READ] = lambda _: {"balances": answer}


async def prepared(company: Company, at: date = AT) -> BookCheckpoint:
    rule = company.model.reconciliations["invoice-in-ledger"]
    (checkpoint,) = await service(company).prepare(rule, at, None, EntityScope(), "ann")
    return checkpoint


def controls(checkpoint: BookCheckpoint) -> list[tuple[Any, ...]]:
    return [
        (c.account, c.currency, c.balance, c.documents, c.difference, c.agrees)
        for c in checkpoint.body.controls
    ]


async def cases(company: Company) -> list[tuple[str, str, str]]:
    dump = await company.store.dump()
    return [(c.state, c.owner, c.message) for c in dump.cases if c.reason == "control_difference"]


async def test_an_account_that_has_only_the_documents_asks_nothing(company: Company) -> None:
    balances(company, USD="35.00")
    checkpoint = await prepared(company)
    assert controls(checkpoint) == [("receivables", "USD", 3500, 3500, 0, True)]
    assert company.ledger.bodies(READ) == [{"account": "1200", "as_of": AT.isoformat()}]
    assert await cases(company) == []
    await service(company).sign(checkpoint.id, "bob", "")


async def test_what_is_beyond_the_documents_has_an_owner_and_needs_an_explanation(company: Company) -> None:
    balances(company, USD="30.00")
    checkpoint = await prepared(company)
    assert controls(checkpoint) == [("receivables", "USD", 3000, 3500, -500, False)]
    ((state, owner, message),) = await cases(company)
    assert (state, owner) == (CaseState.OPEN, "finance")
    assert "receivables has a balance of 30.00 USD and should have 35.00 USD: -5.00 USD beyond" in message
    assert checkpoint.body.obstacles == ()
    for silence in ("", "  "):
        with pytest.raises(CheckpointRefused, match=r"on receivables beyond the documents\. Explain it"):
            await service(company).sign(checkpoint.id, "bob", silence)
    signed = await service(company).sign(checkpoint.id, "bob", "5.00 were paid by cheque")
    assert signed.note == "5.00 were paid by cheque"


async def test_a_difference_that_was_explained_is_not_asked_about_again(company: Company) -> None:
    balances(company, USD="30.00")
    await service(company).sign((await prepared(company)).id, "bob", "a cheque")
    TIME[0] += timedelta(days=1)
    await read_both(company)
    before = await cases(company)
    again = await prepared(company, AT + timedelta(days=1))
    assert controls(again) == [("receivables", "USD", 3000, 3500, -500, True)]
    assert await cases(company) == before
    balances(company, USD="29.00")
    other = await prepared(company, AT + timedelta(days=1))
    assert controls(other) == [("receivables", "USD", 2900, 3500, -600, False)]
    assert len(await cases(company)) == len(before) + 1


async def test_another_preparation_closes_the_case_of_the_former_one(company: Company) -> None:
    balances(company, USD="30.00")
    await prepared(company)
    balances(company, USD="35.00")
    await prepared(company)
    ((state, _, _),) = await cases(company)
    assert state == CaseState.RESOLVED


async def test_each_currency_has_a_balance_of_its_own(company: Company) -> None:
    balances(company, USD="35.00", EUR="12.00", JPY="0")
    assert controls(await prepared(company)) == [
        ("receivables", "EUR", 1200, 0, 1200, False),
        ("receivables", "USD", 3500, 3500, 0, True),
    ]


@pytest.mark.parametrize(
    "answer",
    [
        TryAgain("the ledger is away"),
        Refused("no account has the code '1200'"),
        {"balances": [{"amount": "x"}]},
        {},
    ],
)
async def test_a_balance_that_cannot_be_read_stands_against_a_signature(
    company: Company, answer: Any
) -> None:
    if isinstance(answer, Exception):
        company.ledger.script[READ] = [answer]
    else:
        company.ledger.results[READ] = lambda _: answer
    checkpoint = await prepared(company)
    assert controls(checkpoint) == []
    (obstacle,) = checkpoint.body.obstacles
    assert obstacle.startswith("the balance of receivables could not be read: ")
    with pytest.raises(CheckpointRefused, match="receivables could not be read"):
        await service(company).sign(checkpoint.id, "bob", "never mind")


async def test_documents_that_nothing_asserts_are_on_the_account_too(company: Company) -> None:
    company.ledger.put("E9")
    await read_both(company)
    balances(company, USD="40.00")
    assert controls(await prepared(company)) == [("receivables", "USD", 4000, 4000, 0, True)]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("exposes: read\n", "", "is not exposed to be read"),
        ("output: {balances: [money]}", "output: {balances: money}", "has no `balances` in its output"),
        ("documents: {invoice-in-ledger: add}", "documents: {invoice: add}", "invoice"),
        ("read: ledger.account.balance,", "read: ledger.account.balances,", "ledger.account.balance"),
        ("as_of: =at", "as_of: =day", "day"),
        ("as_of: =at", "day: =at", "as_of"),
        ("{invoice-in-ledger: add}", "{invoice-in-ledger: {leg: net}}", "names no leg `net`"),
        ("documents: {invoice-in-ledger: add}", "documents: {}", "needs either `documents` or `against`"),
        ("add}}", f"add}}, against: {{read: {READ}}}}}", "needs either `documents` or `against`"),
        ("documents: {invoice-in-ledger: add}", f"against: {{read: {READ}}}", "and not the other system"),
        ("documents: {invoice-in-ledger: add}", "against: {read: bills.balance}", "bills.balance"),
    ],
)
def test_check_names_what_is_wrong_with_a_control_account(old: str, new: str, message: str) -> None:
    found = [str(f) for f in check(model_with(*EDITS, (old, new)))]
    clean = [str(f) for f in check(model_with(*EDITS))]
    assert [text for text in found if message in text and text not in clean], found


LEGS = (
    ("legs: {gross: {total: true}}\ncontrol", "legs: {gross: {total: true}, net: {}}\ncontrol"),
    (
        "    legs: {gross: event.data.total}\n    due",
        "    legs: {gross: event.data.total, net: event.data.total}\n    due",
    ),
    (
        "status == 'posted'\n    legs: {gross: event.data.total}",
        "status == 'posted'\n    legs: {gross: event.data.total, net: -event.data.total}",
    ),
)


@pytest.mark.parametrize(
    ("documents", "total"),
    [("{leg: net}", -3500), ("{leg: net, sign: subtract}", 3500), ("{leg: gross}", 3500)],
)
async def test_another_leg_than_the_total_can_move_an_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, documents: str, total: int
) -> None:
    edits = (
        *EDITS,
        ("documents: {invoice-in-ledger: add}", f"documents: {{invoice-in-ledger: {documents}}}"),
    )
    async with company_on_sqlite(tmp_path / "store.db", monkeypatch, (*edits, *LEGS)) as company:
        await books(company)
        await read_both(company)
        balances(company, USD="1.00")
        assert controls(await prepared(company)) == [("receivables", "USD", 100, total, 100 - total, False)]


async def test_an_account_of_the_left_system_has_its_documents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nothing asserts is in the ledger alone, so the account of the other system does not have it."""
    edits = (
        *EDITS,
        ("system: ledger\nrepeat", "system: bills\nrepeat"),
        (READ + ", system: ledger", READ + ", system: bills"),
    )
    async with company_on_sqlite(tmp_path / "store.db", monkeypatch, edits) as company:
        await books(company)
        company.ledger.put("E9")
        await read_both(company)
        company.bills.results[READ] = lambda _: {"balances": [{"currency": "USD", "amount": Decimal(35)}]}
        assert controls(await prepared(company)) == [("receivables", "USD", 3500, 3500, 0, True)]


async def test_a_balance_can_be_compared_with_that_of_the_other_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = OPERATION.replace("ledger", "bills").partition("---\nkind: reconciliation")[0] + "---\n"
    edits = (
        ("kind: reconciliation\nname: invoice-in-ledger\n", other + OPERATION),
        EDITS[1],
        (
            "documents: {invoice-in-ledger: add}",
            "against: {read: bills.account.balance, with: {account: own, as_of: =at}}",
        ),
    )
    async with company_on_sqlite(tmp_path / "store.db", monkeypatch, edits) as company:
        await books(company)
        await read_both(company)
        balances(company, USD="1.00")
        company.bills.results["bills.account.balance"] = lambda _: {
            "balances": [{"currency": "USD", "amount": Decimal(3)}, {"currency": "EUR", "amount": Decimal(2)}]
        }
        assert controls(await prepared(company)) == [
            ("receivables", "EUR", 0, 200, -200, False),
            ("receivables", "USD", 100, 300, -200, False),
        ]
        assert company.bills.bodies("bills.account.balance") == [{"account": "own", "as_of": AT.isoformat()}]
        company.bills.script["bills.account.balance"] = [TryAgain("the bank is away")]
        (obstacle,) = (await prepared(company)).body.obstacles
        assert obstacle.startswith("the balance of receivables could not be read: ")


def test_a_folder_without_control_accounts_is_unchanged() -> None:
    assert MODEL.reconciliations["invoice-in-ledger"].control_accounts == {}
