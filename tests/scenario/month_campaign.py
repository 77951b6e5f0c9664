"""Sweeps of months, each killed once, at one tenth of its pages: the long form of tests/scenario/test_month.py."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.companies.acme import Company, company
from tests.crash.rounds import BRIEF
from tests.scenario import month_play
from tests.scenario.test_month import PAGES, TENTHS, ask_at_night, copy_store, differing, sweep_copy, tenth_of
from tests.served import served


def campaign(seed: int, months: int) -> int:
    """Play so many months, each with other amounts and losses. Return the number of sweeps with another result."""
    wrong = 0
    for number in range(months):
        with company() as systems:
            wrong += asyncio.run(_month(systems, seed + number))
    return wrong


async def _month(systems: Company, seed: int) -> int:
    systems.add_german_hook()
    folder, store = systems.governance(month_play.NO_FEEDS, BRIEF), systems.home / "month.sqlite"
    async with served(systems, folder, f"sqlite:{store}") as s:
        month = await month_play.Player(systems, s, month_play.FULL, seed).play()
    print(f"month {seed}: {month.lost} of {month.webhooks} webhooks lost", flush=True)
    copy_store(store, systems.home / "unswept.sqlite")
    asked: Path = await ask_at_night(systems, folder)
    # The first one posts what was lost, so that all others read the same books.
    await sweep_copy(systems, folder, asked)
    _, whole, _ = await sweep_copy(systems, folder, asked)
    wrong = 0
    for tenth in range(1, TENTHS + 1):
        pages = min(tenth * tenth_of(whole), whole[PAGES])
        kills, result, seconds = await sweep_copy(systems, folder, asked, pages, lives=1)
        parts = differing(whole, result)
        verdict = f"DIFFERS in {', '.join(parts)}" if parts else "ok"
        print(
            f"{seconds:5.1f} s  killed {kills} time after page {pages} of {whole['pages']}: {verdict}",
            flush=True,
        )
        wrong += bool(parts) or kills != 1
    return wrong
