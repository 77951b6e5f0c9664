"""One cause opens one Case: a step that a Run waits at, and the counterfoil on which the same cause shows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date

import pytest

from counterfoil.connectors.sdk import Rejected
from counterfoil.core.case import Choice
from counterfoil.core.errors import ErrorClass
from counterfoil.core.run import RunStatus
from tests.unit.rules.acme import acme, credit_shown, finalized, requested, show_invoice, usd
from tests.unit.rules.driver import Play


async def credited(play: Play) -> None:
    """Invoice inv1, and a credit of 40 on it."""
    await finalized(play)
    await show_invoice(play)
    await requested(play)


def about(play: Play, document: str) -> list[tuple[str, list[str]]]:
    """Return reason and exposure of the open Cases about a foil or its Run."""
    (foil,) = [f for f in play.store.tables.foils.values() if f.document == document]
    mine = [c for c in play.cases() if c.foil == foil.id or c.run == foil.run]
    return [(c.reason, [str(m) for m in c.exposure]) for c in mine]


async def mistyped_before(play: Play) -> None:
    await finalized(play)
    await show_invoice(play)
    await credit_shown(play, 4)
    await requested(play)


async def mistyped_after(play: Play) -> None:
    await credited(play)
    await credit_shown(play, 4)


@pytest.mark.parametrize("story", [mistyped_before, mistyped_after])
async def test_a_credit_that_was_mistyped_in_the_erp(story: Callable[[Play], Awaitable[None]]) -> None:
    play = await acme()
    short = Rejected(ErrorClass.INVALID, "the credit has only 4.00 left")
    play.systems["erp"].script["erp.credit.apply"] = [short]
    await story(play)
    assert about(play, "cr1") == [("invalid", ["36.00 USD"])]
    await credit_corrected(play)
    await play.resolve(play.case("invalid"), Choice.RETRY)
    assert about(play, "cr1") == []
    assert play.run("support-credit-to-erp").status is RunStatus.DONE


async def credit_corrected(play: Play) -> None:
    await play.event(
        "erp.credit_posted.v1", system="erp", credit_id="cr1", erp_number="D8", erp_state="posted",
        posting_date=date(2026, 1, 6), total=usd(40), taxes=[],
    )  # fmt: skip


async def test_a_wait_for_a_counterfoil_that_breaks_meanwhile() -> None:
    play = await acme()
    await credited(play)
    await credit_shown(play, 4)
    assert about(play, "cr1") == [("foil_broken", ["36.00 USD"])]
    await play.advance(days=3)
    assert about(play, "cr1") == [("timeout", ["36.00 USD"])]
    assert "gross less by 36.00 USD" in play.case("timeout").message


async def test_a_posting_that_is_refused_and_so_missing() -> None:
    play = await acme()
    play.systems["erp"].script["erp.invoice.post"] = [
        Rejected(ErrorClass.INVALID, "account 4890 does not exist")
    ]
    await finalized(play)
    assert about(play, "inv1") == [("invalid", ["110.00 USD"])]
    await play.advance(days=3)
    assert about(play, "inv1") == [("invalid", ["110.00 USD"])]
    await play.resolve(play.case("invalid"), Choice.CLOSE)
    assert about(play, "inv1") == [("foil_broken", ["110.00 USD"])]


async def test_a_result_and_a_document_with_the_same_difference() -> None:
    play = await acme()
    posted = {"id": 8, "number": "D8", "currency": "USD", "posting_date": "2026-01-05", "period": "2026-01"}
    play.systems["erp"].results["erp.invoice.post"] = lambda _: {**posted, "total": 90}
    await finalized(play)
    assert about(play, "inv1") == [("mismatch", ["20.00 USD"])]
    await show_invoice(play, 90)
    assert about(play, "inv1") == [("foil_broken", ["20.00 USD"])]


async def test_a_refusal_of_another_system_is_another_cause() -> None:
    play = await acme()
    play.systems["support"].script["support.ticket.reply"] = [Rejected(ErrorClass.INVALID, "no such ticket")]
    await credited(play)
    await credit_shown(play, 4)
    assert sorted(about(play, "cr1")) == [("foil_broken", ["36.00 USD"]), ("invalid", ["40.00 USD"])]
