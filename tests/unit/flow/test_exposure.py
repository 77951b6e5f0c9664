"""Money at stake: a Case names what a decision on it is worth, wherever its Run has an amount."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from ruamel.yaml import YAML

from counterfoil.core import wire
from counterfoil.core.cases import largest_amounts, totals
from counterfoil.core.effect import Effect
from counterfoil.core.event import Event
from counterfoil.core.money import INT64_MAX, INT64_MIN, Money
from counterfoil.core.people import Person
from counterfoil.core.run import Run
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.intake.receive import receive_events
from counterfoil.flow.runs.outcomes import _differences
from counterfoil.flow.runs.snapshot import RunSnapshot
from counterfoil.flow.runs.turn_rows import TurnRows
from counterfoil.flow.worker.worker import Worker
from counterfoil.model import Model
from counterfoil.rules.workflow.commands import Decision, OpenCase
from counterfoil.rules.workflow.state import RunState
from counterfoil.store.memory import MemoryStore
from counterfoil.store.port.people import Decide, PutPerson
from tests.companies.base import acme_model, edited
from tests.companies.changing import COMPANY
from tests.companies.external import COMPANY as EXTERNAL
from tests.unit.flow.test_external import Clock, settle

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
AMOUNT = Money(500_00, "USD")
PARKED = edited(COMPANY, ("rejected: {stop: rejected}", "rejected: park"))
CHECKED = edited(
    COMPANY,
    (
        "steps:\n  - id: agreed",
        "steps:\n  - check: event.data.amount.minor < 0\n    outcomes: {failed: park}\n  - id: agreed",
    ),
)


async def play(text: str, **decision: Any) -> MemoryStore:
    """Ask for 500.00 USD, and let one person decide."""
    model = Model.from_documents(list(YAML(typ="safe").load_all(text)))
    store = MemoryStore(Clock())
    releases = Releases(store, model)
    await releases.publish(await store.now(), "test")
    worker = Worker(store, releases, {}, "w/1")
    now = await store.now()
    olga = Person(id="olga", name="Olga", email="", roles=("operator",))
    await store.apply(PutPerson(person=olga, at=now, actor="test"))
    data = {
        "request_id": "R-1",
        "amount": {"amount": "500.00", "currency": "USD"},
        "requested_by": "olga",
    }
    asked = Event(id="e1", source="desk", type="request.asked.v1", time=now, data=data)
    await receive_events(store, model, [asked], now)
    await settle(worker)
    if decision:
        cora = Person(id="cora", name="Cora", email="", roles=("controller",))
        await store.apply(PutPerson(person=cora, at=now, actor="test"))
        (approval,) = (await store.dump()).approvals
        await store.apply(
            Decide(
                approval=approval.id, subject=approval.subject, person="cora", comment="", at=now, **decision
            )
        )
        await settle(worker)
    return store


async def test_a_failed_check_puts_the_amount_of_the_start_event_at_stake() -> None:
    store = await play(CHECKED)
    (case,) = (await store.dump()).cases
    assert (case.reason, case.exposure) == ("failed", (AMOUNT,))


async def test_a_rejected_approval_puts_its_amount_at_stake() -> None:
    store = await play(PARKED, approve=False)
    (case,) = (await store.dump()).cases
    assert (case.reason, case.exposure) == ("rejected", (AMOUNT,))


def case_of_call(**effect: Any) -> Any:
    """The Case of a call of 12.00 USD that a Run started with 30.00 USD has made, is making, or cannot make."""
    model = Model.from_documents(list(YAML(typ="safe").load_all(EXTERNAL)))
    run = Run(
        id="run_1", workflow="sale-to-ledger", bkey="s-1", generation=0, pin="r", arrival=1, created_at=NOW
    )  # fmt: skip
    state = RunState(started=True, names={"event": {"data": {"amount": Money(3000, "USD")}}})
    opened = OpenCase(
        case="case_1",
        reason="refused",
        message="m",
        path="post",
        owner="finance",
        within=1.0,
        choices=(),
        **effect,
    )
    row = Effect(
        id="eff_1", run="run_1", path="post", item="", gen=0, operation="bus.sale.post", system="bus",
        repeat="blind", created_at=NOW, input=wire.dumps({"sale_id": "s-1", "amount": Money(-1200, "USD")}),
    )  # fmt: skip
    rows = TurnRows(
        model,
        RunSnapshot(run=run, stimuli=(), effects=(row,)),
        Decision(commands=(opened,), after=state),
        NOW,
        "w/1",
        {},
    )
    return rows.case(opened)


def test_a_call_puts_its_own_amount_at_stake() -> None:
    assert case_of_call(effect="eff_1").exposure == (Money(1200, "USD"),)
    assert case_of_call().exposure == (Money(1200, "USD"),), "found by its step"


def test_the_largest_amount_of_a_document_is_at_stake_once() -> None:
    document = {
        "total": Money(-119, "USD"), "net": Money(100, "USD"), "lines": [{"net": Money(100, "USD")}],
        "fee": Money(3, "JPY"), "zero": Money(0, "EUR"), "note": "5.00 USD",
    }  # fmt: skip
    assert largest_amounts(document) == (Money(3, "JPY"), Money(119, "USD"))
    assert largest_amounts(Money(INT64_MIN, "USD")) == (Money(INT64_MAX, "USD"),)
    assert largest_amounts([1, "x", None, {"a": ()}]) == ()


def test_sums_are_kept_by_currency_and_never_overflow() -> None:
    assert totals([Money(1, "USD"), Money(-2, "USD"), Money(3, "EUR")]) == (Money(3, "EUR"), Money(3, "USD"))
    assert totals([Money(INT64_MAX, "USD"), Money(1, "USD")]) == (Money(INT64_MAX, "USD"),)


@pytest.mark.parametrize(
    ("total", "at_stake"),
    [
        (Money(299_900, "USD"), (Money(100, "USD"),)),
        (Money(300_100, "USD"), (Money(100, "USD"),)),
        (Money(300_000, "EUR"), (Money(300_000, "EUR"), Money(300_000, "USD"))),
        (None, (Money(300_000, "USD"),)),
        (Money(300_000, "USD"), ()),
    ],
)
def test_a_result_that_differs_puts_the_difference_at_stake(
    total: Money | None, at_stake: tuple[Money, ...]
) -> None:
    value = {"total": Money(300_000, "USD"), "tax": Money(0, "USD")}
    effect = Effect(
        id="e", run="r", path="p", item="", gen=0, operation="erp.invoice.post", system="erp", repeat="find",
        created_at=NOW,
    )  # fmt: skip
    acme = acme_model()
    assert _differences(acme, effect, value, {"total": total, "tax": Money(0, "USD")}) == at_stake
