"""The page of the Stripe twin and the help of its command name every fault, control and test card with its effect."""

from __future__ import annotations

import re

import pytest

from counterfoil.twins.stripe import disputes, intents, manual
from counterfoil.twins.stripe.bank_accounts import ACCOUNTS, AccountBehavior
from counterfoil.twins.stripe.cards import CARDS, CardBehavior
from counterfoil.twins.stripe.charges import HARD_DECLINES
from counterfoil.twins.stripe.controls import CONFIG, CONTROLS
from counterfoil.twins.stripe.errors import StripeError
from counterfoil.twins.stripe.faults import KINDS
from counterfoil.twins.stripe.routes import find
from tests.source import ROOT

PAGE = (ROOT / "docs" / "reference" / "stripe-twin.md").read_text("utf-8")
BILLING_PAGE = (ROOT / "docs" / "reference" / "stripe-twin-billing.md").read_text("utf-8")


@pytest.mark.parametrize(("name", "effect"), [*KINDS.items(), *CONTROLS.items()])
def test_the_page_has_a_row_for_every_fault_and_control(name: str, effect: str) -> None:
    assert f"\n| `{name}` | {effect} |\n" in PAGE


@pytest.mark.parametrize(("name", "method"), [*CARDS.items(), *ACCOUNTS.items()])
def test_the_page_has_a_row_for_every_test_method(name: str, method: CardBehavior | AccountBehavior) -> None:
    assert f"\n| `{name}` | `{method.number}` | {method.effect} |\n" in PAGE


def test_the_page_has_no_row_for_anything_else() -> None:
    rows = set(re.findall(r"^\| `([^`]+)` \|", PAGE, re.M))
    assert rows == {*KINDS, *CONTROLS, *CARDS, *ACCOUNTS}


def test_the_page_names_hard_declines_test_evidence_and_configuration() -> None:
    for name in (*HARD_DECLINES, *disputes.TEST_EVIDENCE):
        assert f"`{name}`" in PAGE
    for name in CONFIG:
        assert f"`{name}`" in CONTROLS["POST config"]


@pytest.mark.parametrize("path", ["/v1/charges", "/v1/refunds/{id}/cancel"])
def test_a_page_names_the_requests_of_money_that_are_missing(path: str) -> None:
    _, _, missing = BILLING_PAGE.partition("\n## What is missing\n")
    assert f"`POST {path}`" in missing
    with pytest.raises(StripeError):
        find("POST", path.replace("{id}", "re_1"))


def test_a_page_names_manual_capture_as_missing() -> None:
    assert "`capture_method`" in BILLING_PAGE.partition("\n## What is missing\n")[2]
    assert intents.CREATE["capture_method"] == ("automatic",)


def test_the_help_of_the_command_names_everything(capsys: pytest.CaptureFixture[str]) -> None:
    from counterfoil.twins.stripe import main

    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for rows in manual.SECTIONS.values():
        for name, effect in rows.items():
            assert f"{name} {effect}" in shown
