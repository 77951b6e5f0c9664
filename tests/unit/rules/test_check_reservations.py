"""Checks that reserve a part of a limit: what a contract or an invoice allows, and not a fixed sum."""

from __future__ import annotations

from counterfoil.connectors.sdk import Rejected
from counterfoil.core.case import Choice
from counterfoil.core.errors import ErrorClass
from counterfoil.core.money import Money
from tests.unit.rules.company import ask, company, usd
from tests.unit.rules.driver import Play

MONTHLY = "kind: policy\nname: monthly\nowner: finance\nlimit: {per: [incident], currency: {to: amount}}"
FIXED = MONTHLY.replace("{to: amount}", "USD")
REFUSED = "outcomes: {failed: {stop: refused}}"


def reserving(
    at_most: str = "inv.open", more: str = "", policy: str = MONTHLY, room: str = "inv.open - others"
) -> Play:
    return company(
        f"""
facts:
  inv: {{head: invoice, of: event.data.invoice_id}}
  others: {{limit: monthly, of: event.data.amount.currency}}
let: {{room: "{room}"}}
steps:
  - {{check: 'true', {more}reserve: {{limit: monthly, amount: event.data.amount, at_most: "{at_most}"}}, {REFUSED}}}
  - {{emit: told.v1, data: {{id: =string(room)}}}}
  - {{id: memo, call: bills.memo.issue, with: {{id: =event.data.id, amount: =event.data.amount}}, becomes: done}}
""",
        policy,
    )


async def test_what_the_invoice_allows_is_the_limit_and_the_rest_stays_for_others() -> None:
    play = reserving()
    await play.head("invoice", "i1", status="open", open=usd(100))
    for id_, amount in (("a1", 60), ("a2", 60), ("a3", 40)):
        await ask(play, id_, amount=usd(amount))
    assert [r.state for r in play.runs()] == ["done", "refused", "done"]
    assert play.used("monthly") == 10_000


async def test_a_fact_shows_what_others_use_without_the_own_reservation() -> None:
    play = reserving()
    await play.head("invoice", "i1", status="open", open=usd(100))
    await ask(play, "a1", amount=usd(60))
    await ask(play, "a2", amount=usd(40))
    assert [e.data["id"] for e in play.emitted("told.v1")] == ["100.00 USD", "40.00 USD"]


async def test_amounts_of_two_currencies_count_by_themselves() -> None:
    play = reserving("minor(10000, event.data.amount.currency)", room="others")
    await play.head("invoice", "i1", status="open", open=usd(100))
    await ask(play, "a1", amount=usd(60))
    await ask(play, "a2", amount=Money.from_major(60, "EUR"))
    await ask(play, "a3", amount=Money.from_major(60, "EUR"))
    assert [r.state for r in play.runs()] == ["done", "done", "refused"]


async def test_nothing_is_reserved_where_nothing_limits_it() -> None:
    play = reserving("event.data.amount.minor > 0 ? null : inv.open", room="inv.open")
    await play.head("invoice", "i1", status="open", open=usd(10))
    await ask(play, amount=usd(60))
    assert (play.run().state, play.used("monthly")) == ("done", 0)


async def test_a_check_that_fails_reserves_nothing_at_all() -> None:
    play = reserving(more="once: event.data.by, ")
    await play.head("invoice", "i1", status="open", open=usd(100))
    await ask(play, "a1", amount=usd(120))
    await ask(play, "a2", amount=usd(60))
    assert [r.state for r in play.runs()] == ["refused", "done"]
    await ask(play, "a3", amount=usd(10))
    assert [r.state for r in play.runs()] == ["refused", "done", "refused"]
    assert play.used("monthly") == 6_000


async def test_undo_gives_back_what_a_check_reserved() -> None:
    play = reserving()
    await play.head("invoice", "i1", status="open", open=usd(100))
    play.systems["bills"].script["bills.memo.issue"] = [Rejected(ErrorClass.REFUSED, "no")]
    await ask(play, amount=usd(60))
    assert play.used("monthly") == 6_000
    await play.resolve(play.case("refused"), Choice.UNDO)
    assert play.used("monthly") == 0


async def test_another_currency_than_that_of_the_limit_is_a_case() -> None:
    play = reserving(policy=FIXED)
    await play.head("invoice", "i1", status="open", open=Money.from_major(100, "EUR"))
    await ask(play, amount=Money.from_major(60, "EUR"))
    case = play.case("invalid")
    assert "not in the currency of the limit monthly" in case.message
