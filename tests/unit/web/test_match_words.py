"""The reason of a counterfoil's state in finance words, from states that matching has computed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from counterfoil.core.document import LegKind, LegRule, Shape, Within
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.money import Money
from counterfoil.core.settle import MatchRows, settle
from counterfoil.core.terms import Terms
from counterfoil.web.api.match_words import explain

T0 = datetime(2026, 11, 20, tzinfo=UTC)
DUE = T0 + timedelta(days=2)


def foil(minor: int = 10_000, shape: Shape = "1:1", **more: object) -> Foil:
    rules = {
        "gross": LegRule(total=True, tolerance=1),
        "tax": LegRule(),
        "code": LegRule(kind=LegKind.EQUAL),
    }
    row = Foil(
        id="f1", rule="r", key="K", document="INV-9", object="invoice", left="billing", right="erp",
        legs={"gross": Money(minor, "USD")}, terms=Terms(legs=rules, shape=shape), entity="US", due=DUE,
        created_at=T0, known_from=T0,
    )  # fmt: skip
    return replace(row, **more)


def item(minor: int, document: str = "BILL-1", **more: object) -> Observation:
    row = Observation(
        id=document, rule="r", key="K", document=document, version=1, system="erp",
        legs={"gross": Money(minor, "USD")}, entity="US", event="e", since=T0, at=T0,
    )  # fmt: skip
    return replace(row, **more)


def reason(row: Foil, *items: Observation, late: bool = False, users: Sequence[Foil] = ()) -> str:
    settled = settle(MatchRows([row], items, users=users), DUE + timedelta(days=1) if late else T0)
    after = settled.foils[0] if settled.foils else row
    return explain(after, items)


LEGS = {"gross": Money(10_000, "USD"), "tax": Money(2_000, "USD"), "code": "S1"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (reason(foil()), "ERP does not show it yet. Due 2026-11-22 00:00 UTC."),
        (
            reason(foil(), item(10_000), users=[foil(20_000, rule="application", within=(Within("r", "K"),))]),
            "Other documents use 200.00 USD of it, more than the 100.00 USD asserted.",
        ),
        (reason(foil(), late=True), "ERP does not show it. It was due 2026-11-22 00:00 UTC. Still owed: 100.00 USD."),
        (reason(foil(), item(10_000)), "ERP shows BILL-1 over 100.00 USD, as asserted."),
        (reason(foil(), item(9_999)), "ERP shows BILL-1 over 99.99 USD, 0.01 USD less than asserted: within the tolerance."),
        (reason(foil(), item(9_000)), "ERP shows BILL-1 over 90.00 USD, 10.00 USD less than asserted."),
        (reason(foil(), item(11_000)), "ERP shows BILL-1 over 110.00 USD, 10.00 USD more than asserted."),
        (reason(foil(-10_000), item(-9_000)), "ERP shows BILL-1 over -90.00 USD, 10.00 USD less than asserted."),
        (
            reason(foil(shape="1:n"), item(4_000)),
            "ERP shows BILL-1 over 40.00 USD. Still owed: 60.00 USD, due 2026-11-22 00:00 UTC.",
        ),
        (
            reason(foil(shape="1:n"), item(4_000), late=True),
            "ERP shows BILL-1 over 40.00 USD. Still owed: 60.00 USD; it was due 2026-11-22 00:00 UTC.",
        ),
        (
            reason(foil(), item(10_000), item(10_000, "BILL-2")),
            "ERP also shows BILL-2: 100.00 USD more than asserted.",
        ),
        (
            reason(foil(), item(10_000, entity="DE")),
            "ERP shows BILL-1 in another entity: asserted for US, shown for DE.",
        ),
        (
            reason(foil(legs=LEGS), item(0, legs=LEGS | {"code": "S2"})),
            "ERP shows BILL-1 with another code: asserted S1, shown S2.",
        ),
        (
            reason(foil(legs=LEGS), item(0, legs=LEGS | {"tax": Money(1_500, "USD")})),
            "ERP shows BILL-1. The total agrees, but not every part: tax 5.00 USD less than asserted.",
        ),
        (reason(foil(stands=False, stood=True)), "Taken back in Billing: nothing is expected any more."),
        (reason(foil(stands=False, stood=False)), "Billing never posted it: nothing is expected."),
        (
            reason(foil(stands=False, stood=True), item(10_000)),
            "Billing took it back, but ERP shows BILL-1 over 100.00 USD.",
        ),
        (reason(foil(0)), "The amount is zero: ERP owes nothing."),
        (reason(foil(provisional=True)), "Billing has not confirmed the call yet. ERP owes nothing until then."),
    ],
)  # fmt: skip
def test_the_reason_of_a_state_is_plain(text: str, words: str) -> None:
    assert text == words
