"""What a caller is answered by a workflow whose check stands in front of a value that does not exist, on both stores."""

from __future__ import annotations

from pathlib import Path

from counterfoil.bootstrap import open_store
from tests.companies.base import edited, model_of
from tests.companies.gateway import COMPANY, offering

GUARDED = edited(
    COMPANY,
    (
        "steps:\n  - approve: payments\n",
        (
            "let: {fee: \"minor(100, 'EUR')\", rest: input.amount - fee}\n"
            "steps:\n"
            "  - {check: input.amount.currency == 'EUR', outcomes: {failed: {stop: wrong-currency}}}\n"
            "  - {check: rest.minor > 0, outcomes: {failed: {stop: too-small}}}\n"
            "  - approve: payments\n"
        ),
    ),
)


async def test_the_caller_hears_the_check_and_no_case_opens_on_sqlite(tmp_path: Path) -> None:
    await _answered(f"sqlite:{tmp_path / 'x.db'}")


async def test_the_caller_hears_the_check_and_no_case_opens_on_postgresql(postgres_dsn: str) -> None:
    await _answered(postgres_dsn)


async def _answered(url: str) -> None:
    store = await open_store(url)
    try:
        async with offering(store, offered=model_of(GUARDED)) as company:
            answer = await company.pay("p-1", Prefer="wait=10")
            assert (answer.status_code, answer.json()["state"]) == (200, "wrong-currency"), answer.text
            assert company.ledger.payments == []
            assert (await company.get("/v1/cases?state=open", "fin")).json()["items"] == []
    finally:
        await store.close()
