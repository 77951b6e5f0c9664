"""The three workflows by which the language is measured, each played to its ends."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from counterfoil.connectors.sdk import Rejected
from counterfoil.core.approval import ApprovalState
from counterfoil.core.case import Choice
from counterfoil.core.errors import ErrorClass
from counterfoil.core.matching import FoilState
from counterfoil.core.money import Money
from counterfoil.core.run import RunStatus
from counterfoil.model import Model, read
from tests.unit.rules.driver import Play

FOLDER = Path(__file__).parents[1] / "model" / "language"
NO = Rejected(ErrorClass.REFUSED, "no")


@cache
def language() -> Model:
    model, findings = read(FOLDER)
    assert not [f for f in findings if f.severity == "error"]
    documents = model.plain()
    for document in documents:
        if document.get("executor") == "external":  # here the systems act themselves, and answer
            document["executor"] = "identity"
    return Model.from_documents(documents)


def usd(major: int) -> Money:
    return Money.from_major(major, "USD")


def plain(money: Money) -> dict[str, Any]:
    return {"minor": money.minor, "currency": money.currency}


# ------------------------------------------------------------------ usage-window-close


async def window(delta: Money | None = None, start: str = "2026-02-01", **state: Any) -> Play:
    """A window from 20 January to 10 February with two days of grace; January is closed."""
    play = Play(language(), datetime.fromisoformat(f"{start}T00:00:00+00:00"))
    preview = {"delta": plain(delta or usd(0)), "amount": plain(usd(210))}
    play.systems["stripe"].results["billing.usage.preview"] = lambda _: preview
    play.systems["tryton"].results["erp.accrual.post"] = lambda _: {"id": "m"}
    await ledger(play, jan="closed", feb="open")
    await show_subscription(play, **state)
    return play


async def ledger(play: Play, **states: str) -> None:
    ends = {"jan": date(2026, 1, 31), "feb": date(2026, 2, 28), "mar": date(2026, 3, 31)}
    for name, state in states.items():
        await play.head("period", name, state=state, start=ends[name].replace(day=1), end=ends[name])


async def show_subscription(play: Play, **state: Any) -> None:
    values: dict[str, Any] = {
        "subscription_id": "s1",
        "legal_entity": "us",
        "starts_at": datetime(2026, 1, 20, tzinfo=UTC),
        "ends_at": datetime(2026, 2, 10, tzinfo=UTC),
        "grace": timedelta(days=2),
        "watermark": datetime(2026, 2, 10, tzinfo=UTC),
        "invoiced": False,
        "absorb_below": usd(5),
        "raw": {"hash": "h1"},
        "accepted": {"hash": "h1", "quantity": Decimal("12.5")},
    }
    await play.head("usage_window", "w1", **(values | state))


async def invoiced(play: Play, *windows: str) -> None:
    await play.event(
        "invoice.finalized.v1",
        invoice_id="i1",
        legal_entity="us",
        customer_id="c1",
        document_date=play.now.date(),
        total=usd(210),
        window_ids=list(windows),
        lines=[],
    )


async def test_a_window_is_reported_after_its_grace_and_ends_with_its_invoice() -> None:
    play = await window()
    await play.until(datetime(2026, 2, 11, 23, tzinfo=UTC))
    assert not play.bodies("billing.usage.report")
    await play.until(datetime(2026, 2, 12, 1, tzinfo=UTC))
    (report,) = play.bodies("billing.usage.report")
    assert (report["window"], report["generation"], report["quantity"]) == ("w1", 0, Decimal("12.5"))
    await invoiced(play, "other")
    assert play.run().status is RunStatus.WAITING
    await invoiced(play, "w0", "w1")
    assert play.run().status is RunStatus.DONE


async def test_a_window_that_does_not_agree_waits_for_a_person_and_is_read_again() -> None:
    play = await window(raw={"hash": "h2"})
    await play.until(datetime(2026, 2, 12, 1, tzinfo=UTC))
    case = play.case("failed")
    assert not play.bodies("billing.usage.report")
    await show_subscription(play)
    await play.resolve(case, Choice.RETRY)
    assert not play.bodies("billing.usage.preview"), "no formula has used it yet"
    assert len(play.bodies("billing.usage.report")) == 1


async def test_a_window_without_invoice_is_accrued_by_period_once_and_waits_on() -> None:
    play = await window()
    await play.until(datetime(2026, 2, 28, 12, tzinfo=UTC))
    await ledger(play, feb="closed", mar="open")
    await play.until(datetime(2026, 3, 1, 1, tzinfo=UTC))
    accruals = play.bodies("erp.accrual.post")
    assert [a["key"] for a in accruals] == ["w1/2026-01", "w1/2026-02"]
    assert sum(a["amount"]["minor"] for a in accruals) == 21_000
    assert play.state().round == 1
    await ledger(play, mar="closed")
    await play.head("period", "apr", state="open", start=date(2026, 4, 1), end=date(2026, 4, 30))
    await play.until(datetime(2026, 4, 1, 1, tzinfo=UTC))
    assert len(play.bodies("erp.accrual.post")) == 2
    assert play.state().round == 2
    await invoiced(play, "w1")
    assert play.run().status is RunStatus.DONE


async def late(delta: Money, **state: Any) -> Play:
    play = await window(delta, **state)
    await play.until(datetime(2026, 2, 12, 1, tzinfo=UTC))
    await invoiced(play, "w1")
    await play.advance(hours=1)
    await play.event("usage.late.v1", window_id="w1")
    assert [r.bkey for r in play.runs("usage-window-close")] == ["w1", "w1"]
    return play


async def test_little_late_usage_is_absorbed() -> None:
    play = await late(usd(-4))
    assert play.run().state == "absorbed"
    assert [e.data for e in play.emitted("usage.absorbed.v1")] == [{"amount": usd(-4)}]
    assert len(play.bodies("billing.usage.report")) == 1


async def test_late_usage_that_lowers_an_invoice_asks_for_a_credit() -> None:
    play = await late(usd(-50), invoiced=True)
    assert play.run("usage-window-close").state == "credited"
    assert [e.data for e in play.emitted("support.credit_requested.v1")] == [{"amount": usd(50)}]


async def test_late_usage_that_adds_is_reported_as_its_generation() -> None:
    play = await late(usd(50))
    first, second = play.bodies("billing.usage.report")
    assert first["generation"] == 0
    assert second["generation"] == play.run().generation > 0
    assert play.run().status is RunStatus.WAITING


# ------------------------------------------------------------------ renewal

TERM = date(2026, 6, 30)


async def group(play: Play, term_end: date = TERM, amount: int = 100) -> None:
    line = {"amount": usd(amount), "start": date(2025, 7, 1), "end": date(2026, 7, 1)}
    await play.head(
        "renewal_group",
        "g1",
        subscription_ids=["s1", "s2"],
        term_end=term_end,
        grace=timedelta(days=10),
        lines=[line],
        owner="olga",
    )


async def renewal() -> Play:
    play = Play(language(), datetime(2026, 3, 1, tzinfo=UTC))
    quotes: list[Any] = []

    def quote(body: Any) -> dict[str, str]:
        quotes.append(body)
        return {"digest": f"d{len(quotes)}", "quote_id": "q1"}

    play.systems["crm"].results["crm.quote.create"] = quote
    await play.person("vera", "vp-sales")
    await play.head("quote", "q1", signed=False, digest="d1")
    await group(play)
    return play


async def approved(play: Play) -> None:
    approval = play.approval()
    assert approval.requester == "olga"
    await play.vote(approval, "vera")


def day(month: int, of_month: int, hour: int = 12) -> datetime:
    return datetime(2026, month, of_month, hour, tzinfo=UTC)


async def test_a_renewal_reminds_at_sixty_and_thirty_days_and_renews_each_subscription() -> None:
    play = await renewal()
    await play.until(day(3, 31))
    assert not play.bodies("crm.quote.create")
    await play.until(day(4, 1, 13))
    await approved(play)
    await play.until(day(5, 1, 1))
    assert len(play.bodies("crm.reminder.send")) == 1
    await play.until(day(5, 31, 1))
    assert len(play.bodies("crm.reminder.send")) == 2
    await play.event("quote.signed.v1", quote_id="q1")
    assert [b["subscription"] for b in play.bodies("billing.subscription.renew")] == ["s1", "s2"]
    assert play.run().status is RunStatus.DONE
    assert set(play.state().serials) == {"s1", "s2"}


async def test_who_has_signed_is_not_reminded() -> None:
    play = await renewal()
    await play.until(day(4, 2))
    await approved(play)
    await play.head("quote", "q1", signed=True, digest="d1")
    await play.event("quote.signed.v1", quote_id="q1")
    await play.until(day(7, 20))
    assert not play.bodies("crm.reminder.send")
    assert len(play.bodies("billing.subscription.renew")) == 2
    assert play.run().status is RunStatus.DONE


async def test_a_signature_after_the_term_within_the_grace_renews() -> None:
    play = await renewal()
    await play.until(day(4, 2))
    await approved(play)
    await play.until(day(7, 9))
    await play.event("quote.signed.v1", quote_id="q1")
    assert play.run().status is RunStatus.DONE
    assert not play.bodies("product.entitlement.suspend")


async def test_who_never_signs_is_suspended_and_churns() -> None:
    play = await renewal()
    await play.until(day(4, 2))
    await approved(play)
    await play.until(day(7, 11))
    assert play.run().state == "churned"
    assert len(play.bodies("product.entitlement.suspend")) == 1
    assert not play.bodies("billing.subscription.renew")


async def test_an_amendment_quotes_anew_and_the_former_approval_falls() -> None:
    play = await renewal()
    await play.until(day(4, 2))
    await approved(play)
    await group(play, amount=200)
    await play.event("contract.amended.v1", contract_id="k1")
    first, second = play.bodies("crm.quote.create")
    assert first != second
    assert len(play.approvals(ApprovalState.VOID)) == 1
    await approved(play)
    await play.until(day(5, 1, 1))
    assert len(play.bodies("crm.reminder.send")) == 1


async def test_an_amendment_while_the_discount_is_asked_for_asks_again_and_only_once() -> None:
    play = await renewal()
    await play.until(day(4, 2))
    await group(play, amount=200)
    await play.event("contract.amended.v1", contract_id="k1")
    assert len(play.approvals()) == 1
    await approved(play)
    assert play.run().status is RunStatus.WAITING


async def test_a_rejected_discount_is_quoted_three_times_more_and_then_a_case() -> None:
    play = await renewal()
    await play.until(day(4, 2))
    for _ in range(4):
        await play.vote(play.approval(), "vera", approve=False)
    assert play.case("rejected")
    assert len(play.bodies("crm.quote.create")) == 1


async def test_an_amended_term_end_moves_the_renewal() -> None:
    play = await renewal()
    await group(play, term_end=date(2026, 7, 31))
    await play.until(day(4, 15))
    assert not play.bodies("crm.quote.create")
    await play.until(day(5, 3))
    assert len(play.bodies("crm.quote.create")) == 1
    assert [(r.bkey, r.state) for r in play.runs()] == [
        ("g1/2026-06-30", "superseded"),
        ("g1/2026-07-31", "started"),
    ]


# ------------------------------------------------------------------ support-credit-to-erp


async def credit(amount: int = 50, open_: int = 100, settle: bool = True) -> Play:
    play = Play(language())
    play.systems["stripe"].results["billing.credit_memo.issue"] = lambda _: {
        "id": "m1",
        "issued_on": "2026-01-05",
    }
    await play.head("period", "jan", state="open", start=date(2026, 1, 1), end=date(2026, 1, 31))
    await play.head("period", "feb", state="open", start=date(2026, 2, 1), end=date(2026, 2, 28))
    await play.head("invoice", "i1", status="open", currency="USD", open=usd(open_))
    await play.person("lee", "support-lead")
    await play.event(
        "support.credit_requested.v1",
        settle=settle,
        amount=usd(amount),
        credit_id="c1",
        revision=0,
        customer_id="k1",
        invoice_id="i1",
        incident_id="x1",
        incident_on=date(2026, 1, 2),
        requested_by="ann",
    )
    return play


async def posted(play: Play, amount: int) -> None:
    await play.event("credit_memo.posted.v1", credit_id="m1", amount=usd(amount))


async def test_a_credit_is_issued_posted_applied_matched_and_told() -> None:
    play = await credit()
    assert play.run().state == "applied"
    await posted(play, 50)
    assert (play.run().status, play.run().state) == (RunStatus.DONE, "reconciled")
    assert len(play.bodies("support.ticket.reply")) == 1
    assert [f.state for f in play.foils()] == [FoilState.MATCHED]


async def test_a_credit_on_a_paid_invoice_goes_to_the_balance_and_is_not_applied() -> None:
    play = await credit(open_=0)
    (memo,) = play.bodies("billing.credit_memo.issue")
    assert (memo["to_open"]["minor"], memo["to_balance"]["minor"]) == (0, 5_000)
    assert not play.bodies("erp.credit.apply")


async def test_a_credit_whose_invoice_is_paid_meanwhile_is_asked_for_again() -> None:
    play = await credit(500, 1000)
    first = play.approval()
    await play.head("invoice", "i1", status="paid", currency="USD", open=usd(0))
    await play.vote(first, "lee")
    assert not play.bodies("billing.credit_memo.issue")
    await play.vote(play.approval(), "lee")
    (memo,) = play.bodies("billing.credit_memo.issue")
    assert memo["to_balance"]["minor"] == 50_000
    assert play.used("customer-quarter-credit") == 50_000


async def test_a_period_that_locks_is_accrued_while_the_credit_waits_for_it() -> None:
    play = await credit(settle=False)
    play.systems["tryton"].script["erp.credit_memo.post"] = [
        Rejected(ErrorClass.PERIOD_CLOSED, "January is closed")
    ]
    await play.settle()
    assert play.run().state == "billed"
    await play.event("period.soft_locked.v1", period_id="jan", state="soft_locked")
    assert len(play.bodies("erp.accrual.post")) == 1
    await play.advance(hours=2)
    assert play.run().state == "applied"


async def test_a_credit_that_the_ledger_refuses_is_taken_back_by_what_billing_shows() -> None:
    for applied, way in ((0, "billing.credit_memo.void"), (50, "billing.debit_memo.issue")):
        play = await credit(settle=False)
        play.systems["tryton"].script["erp.credit_memo.post"] = [NO]
        await play.head("credit", "k", applied=usd(applied), settle=False)
        await play.settle()
        case = play.case("refused")
        await play.head("credit", "c1", applied=usd(applied), total=usd(50), customer_id="k1")
        await play.resolve(case, Choice.UNDO)
        assert play.run().status is RunStatus.UNDONE
        assert [e.operation for e in play.effects() if e.undoes] == [way]
        assert play.used("customer-quarter-credit") == 0


async def test_an_incident_is_credited_once() -> None:
    play = await credit()
    await posted(play, 50)
    await play.event(
        "support.credit_requested.v1",
        amount=usd(1),
        credit_id="c2",
        revision=0,
        customer_id="k1",
        invoice_id="i1",
        incident_id="x1",
        incident_on=date(2026, 1, 2),
        requested_by="ann",
    )
    assert "already done once" in play.case("failed").message
