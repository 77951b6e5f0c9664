"""What a Case says before a person chooses: the calls that undo takes back, and the Release that retry decides by."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from msgspec.structs import replace

from counterfoil.core import ids, wire
from counterfoil.core.case import Case, Choice
from counterfoil.core.effect import EffectState
from counterfoil.core.errors import ErrorClass
from counterfoil.core.money import Money
from counterfoil.core.run import Direction, RunStatus
from counterfoil.store.port.maintenance import OpenCases
from counterfoil.store.port.people import Resolve
from counterfoil.store.port.turns import Reserve, Turn
from counterfoil.store.port.views import ListFilter
from tests.companies.web import Company, running
from tests.companies.web_rows import _approval, _begin, _call, approval_of, case_of

pytestmark = pytest.mark.xdist_group("web")
CHOICES = (Choice.RETRY, Choice.CONTINUE, Choice.UNDO, Choice.CLOSE)


@pytest.fixture
async def company(tmp_path: Path) -> AsyncIterator[Company]:
    async with running(tmp_path) as company:
        yield company


async def page_of(company: Company, path: str) -> str:
    headers = company.bearer("fay") | {"accept": "text/html"}
    async with httpx2.AsyncClient(base_url=company.url, headers=headers, trust_env=False) as http:
        answer = await http.get(path)
        assert answer.status_code == 200
        return answer.text


async def opened(company: Company, run: str, money: tuple[Money, ...] = (Money(12_000, "USD"),)) -> Case:
    store = company.app.store
    case = case_of(f"case_of_{run}", "invalid", "finance-operations", await store.now(), choices=CHOICES)
    case = replace(case, run=run, path="post", exposure=money)
    await store.apply(OpenCases(cases=(case,), at=await store.now(), actor="test"))
    return case


async def test_undo_names_what_was_confirmed_and_nothing_else(company: Company) -> None:
    store = company.app.store
    run, at = await _begin(store, "CR-3001", 12_000, minutes=30)
    await _call(
        store, run, "CR-3001", "post", "erp.credit_memo.post", at, 12_000, None, "requested",
        state=EffectState.REFUSED, error_class=ErrorClass.INVALID, error="unknown account",
    )  # fmt: skip
    case = await opened(company, run)
    page = await page_of(company, f"/cases/{case.id}")
    assert "Nothing was confirmed in any system, so nothing is taken back." in page
    assert "what was confirmed: 120.00 USD" not in page
    later = at + timedelta(minutes=1)
    await _call(
        store, run, "CR-3001", "memo", "billing.credit_memo.issue", later, 9_000, {"id": "cn_1"}, "billed"
    )
    page = await page_of(company, f"/cases/{case.id}")
    assert "takes back in every system what was confirmed: billing.credit_memo.issue 90.00 USD." in page


async def test_an_amount_that_is_not_known_is_left_out(company: Company) -> None:
    run, _ = await _begin(company.app.store, "CR-3002", 12_000, minutes=30)
    case = await opened(company, run, ())
    page = await page_of(company, f"/cases/{case.id}")
    assert "not known" not in page
    assert "Counterfoil tries it again.<" in page
    assert "opens a Case of its own" in page


async def two_approvals(company: Company, keys: Sequence[str], guard_key: str, currency: str) -> None:
    """Two requests of one customer, 530 and 31, that are reserved on the quarter's limit and wait for approval."""
    store = company.app.store
    limit = {"scope": "customer-quarter-credit", "key": guard_key}
    for key, minor in zip(keys, (53_000, 3_100), strict=True):
        run, at = await _begin(store, key, minor, minutes=20)
        loaded = await store.load(run)
        assert loaded is not None
        guard = {**limit, "amount": minor, "step": "approve", "item": "", "after": 0}
        approval = replace(_approval(run, key, at, minor), amount=Money(minor, currency))
        turn = Turn(
            run=run, version=loaded.run.version, at=at, status=RunStatus.WAITING, direction=Direction.FORWARD,
            state="eligible", due=None, consumed=loaded.run.inbox_n, ctx=wire.dumps({"reserved": {"1": guard}}),
            actor="worker:t", reserve=(Reserve(amount=minor, path="approve", limit=None, **limit),), approvals=(approval,),
        )  # fmt: skip
        assert (await store.apply(turn)).verdict == "done"


async def test_a_tier_says_how_much_counts_with_the_amount(company: Company) -> None:
    await two_approvals(company, ("CR-4000", "CR-4001"), "cust_42/2026-Q4", "USD")
    tier = "over 100 USD up to 1,000 USD, counted with 530.00 USD of earlier ones: cust_42, 2026-Q4"
    page = await page_of(company, f"/approvals/{approval_of('CR-4001')}")
    assert tier in page
    assert "earlier ones" not in await page_of(company, f"/approvals/{approval_of('CR-4000')}")


async def test_a_tier_is_that_of_the_legal_entity_and_counts_in_its_currency(company: Company) -> None:
    await two_approvals(company, ("CR-4000", "CR-4001"), "cust_42/2026-Q4", "USD")
    await two_approvals(company, ("DE-CR-4000", "DE-CR-4001"), "acme-de/cust_42/2026-Q4", "EUR")
    page = await page_of(company, f"/approvals/{approval_of('DE-CR-4001')}")
    assert "over 100 EUR up to 1,000 EUR, counted with 530.00 EUR of earlier ones: cust_42, 2026-Q4" in page


async def test_a_decided_document_has_no_time_left(company: Company) -> None:
    """A resolved Case, a decided approval and a matched counterfoil show no deadline, expiry or due time."""
    store = company.app.store
    for path in ("/approvals?state=granted", f"/foils/{ids.derive('foil', 'CR-1001')}"):
        page = (await page_of(company, path)).partition("<h1")[2]
        assert "<dt>expires</dt>" not in page
        assert '<span class="hint">due</span>' not in page
    run, _ = await _begin(store, "CR-3004", 12_000, minutes=30)
    case = await opened(company, run)
    assert "<dt>deadline</dt>" in await page_of(company, f"/cases/{case.id}")
    done = Resolve(case=case.id, person="fay", choice=Choice.CLOSE, note="n", at=await store.now())
    assert (await store.apply(done)).verdict == "resolved"
    assert "<dt>deadline</dt>" not in await page_of(company, f"/cases/{case.id}")


async def test_retry_of_a_run_of_a_former_release_says_so(company: Company) -> None:
    """The Runs of the company have a Release that was never active, so only the note of one that was is shown."""
    store = company.app.store
    active = await store.active_release()
    assert active is not None
    run, _ = await _begin(store, "CR-3003", 12_000, minutes=30)
    case = await opened(company, run)
    page = await page_of(company, f"/cases/{case.id}")
    assert "Release" not in page.partition("</header>")[2].partition("<footer")[0]


async def test_a_broken_counterfoil_is_not_called_settled(company: Company) -> None:
    words = {}
    for state in ("broken", "matched"):
        foils, _ = await company.app.views.foils(ListFilter(state=state, limit=1))
        page = await page_of(company, f"/foils/{foils[0].id}")
        words[state] = (
            '<span class="hint">since</span>' in page,
            '<span class="hint">settled</span>' in page,
        )
    assert words == {"broken": (True, False), "matched": (False, True)}
