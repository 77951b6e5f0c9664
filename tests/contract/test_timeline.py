"""The timeline of a Run: what was shown once stays, whatever happens later, and a cause stands before its effect."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from counterfoil.core import ids
from counterfoil.core.effect import EffectState
from counterfoil.core.errors import ErrorClass
from counterfoil.core.money import Money
from counterfoil.store.port.effects import Conclude, Intent, SendAttempt
from counterfoil.store.port.maintenance import ExpireFoils
from counterfoil.store.sql.store import SqlStore
from counterfoil.web.api.trace import Moment, Trace, load_trace
from tests.companies.web import Company, running
from tests.companies.web_matches import RULE, admit, bill_item, foil_of, invoice_foil
from tests.companies.web_rows import _begin, _call, _effect, _turn

pytestmark = pytest.mark.xdist_group("web")


@pytest.fixture
async def company(tmp_path: Path) -> AsyncIterator[Company]:
    async with running(tmp_path) as company:
        yield company


async def traced(company: Company, run: str) -> Trace:
    trace = await load_trace(company.app, run)  # type: ignore[arg-type]
    assert trace is not None
    assert [m.at for m in trace.timeline] == sorted(m.at for m in trace.timeline)
    return trace


async def attempt(
    store: SqlStore, run: str, number: int, at: datetime, state: EffectState, **more: Any
) -> None:
    """Plan a refused call again, send it, and record its outcome."""
    effect = _effect(run, "", "post", "erp.credit_memo.post", at, 12_000).id
    if number > 1:
        await _turn(store, run, at, "requested", again=(effect,))
    sent = SendAttempt(
        effect=effect, attempt=number, worker="w/1", send_by=at, call_until=at, conclude_at=at, request=b"{}"
    )
    assert (await store.apply(Intent(send=sent, at=at, actor="worker:t"))).verdict == "sending"
    done = at + timedelta(milliseconds=300)
    concluded = Conclude(effect=effect, attempt=number, state=state, at=done, actor="worker:t", **more)
    assert (await store.apply(concluded)).verdict == "won"


async def test_each_attempt_keeps_its_own_answer(company: Company) -> None:
    store = company.app.store
    run, at = await _begin(store, "CR-2001", 12_000, minutes=30)
    await _call(
        store, run, "CR-2001", "post", "erp.credit_memo.post", at, 12_000, None, "requested",
        state=EffectState.REFUSED, error_class=ErrorClass.INVALID, error="unknown_account: no account 4890",
    )  # fmt: skip
    first = (await traced(company, run)).timeline
    later = at + timedelta(minutes=1)
    await attempt(
        store, run, 2, later, EffectState.REFUSED, error_class=ErrorClass.PERIOD_CLOSED, error="2026-10 is closed"
    )  # fmt: skip
    await attempt(
        store, run, 3, later + timedelta(minutes=1), EffectState.UNKNOWN, error="no answer", look_at=later
    )
    await store.apply(
        Conclude(
            effect=ids.effect_id(run, "post", "", 0), attempt=3, state=EffectState.CONFIRMED, result=b"{}",
            at=later + timedelta(minutes=2), actor="worker:t",
        )
    )  # fmt: skip
    timeline = (await traced(company, run)).timeline
    assert stays(first, timeline) == []
    answers = [
        (m.state, m.detail) for m in timeline if m.kind == "effect" and m.state not in ("sending", "planned")
    ]
    assert answers == [
        ("refused", "unknown_account: no account 4890"), ("refused", "2026-10 is closed"),
        ("unknown", "no answer"), ("confirmed", ""),
    ]  # fmt: skip


async def test_documents_and_counterfoils_keep_what_they_said(company: Company) -> None:
    """The counterfoil is missing, then short, then corrected on both sides; no earlier moment changes."""
    store = company.app.store
    run, at = await _begin(store, "CR-2002", 12_000, minutes=30)
    invoice = replace(invoice_foil("INV-50", 10_000, 1, at), run=run, due=at + timedelta(minutes=1))
    await admit(store, at, foils=(invoice,))
    seen: list[Moment] = []
    bill = bill_item("BILL/50", "INV-50", 4_000, at)
    steps: list[tuple[tuple[Any, ...], tuple[Any, ...]]] = [
        ((), ()),
        ((), (bill,)),
        ((), (replace(bill, version=2, legs={"gross": Money(9_000, "USD")}),)),
        ((), (replace(bill, version=3, legs={"gross": Money(9_500, "USD")}),)),
        ((replace(invoice, version=2, legs={"gross": Money(9_500, "USD")}),), ()),
        ((), (replace(bill, version=4, legs={"gross": Money(9_500, "USD")}),)),
    ]
    for n, (foils, items) in enumerate(steps, start=2):
        moment = at + timedelta(minutes=n)
        if not foils and not items:
            await store.apply(ExpireFoils(foils=(foil_of("INV-50"),), at=moment))
        else:
            await admit(
                store, moment, foils=tuple(replace(f, known_from=moment) for f in foils),
                items=tuple(replace(i, at=moment) for i in items),
            )  # fmt: skip
        timeline = (await traced(company, run)).timeline
        assert stays(seen, timeline) == []
        seen = timeline
    shown = [
        (m.title, m.detail) for m in seen if m.ref and m.kind in ("foil", "event") and "credit" not in m.title
    ]
    assert shown == [
        (f"Counterfoil {RULE}: erp owes the other half", "gross 100.00 USD"),
        (f"Counterfoil {RULE} is broken", shown[1][1]),
        ("invoice observed", "gross 40.00 USD"),
        ("invoice changed", "gross 90.00 USD"),
        ("invoice changed", "gross 95.00 USD"),
        (f"Counterfoil {RULE} is matched", ""),
    ]  # fmt: skip
    assert "missing" in shown[1][1]


async def test_an_observation_stands_before_the_match_that_it_caused(company: Company) -> None:
    """A later version without other content, as an ERP writes when it posts, does not move the observation."""
    store = company.app.store
    run, at = await _begin(store, "CR-2003", 12_000, minutes=30)
    await admit(store, at, foils=(replace(invoice_foil("INV-51", 10_000, 1, at), run=run),))
    bill = bill_item("BILL/51", "INV-51", 10_000, at + timedelta(minutes=1))
    await admit(store, at + timedelta(minutes=1), items=(bill,))
    later = at + timedelta(minutes=5)
    await admit(store, later, items=(replace(bill, version=2, at=later),))
    titles = [m.title for m in (await traced(company, run)).timeline]
    assert titles[-2:] == ["invoice observed", f"Counterfoil {RULE} is matched"]


def stays(before: list[Moment], after: list[Moment]) -> list[Moment]:
    """Return the moments that were shown and are no longer, or no longer so."""
    return [moment for moment in before if moment not in after]
