"""The recipes of docs/how-to/match-without-a-common-key.md: their YAML is one company, and it does what the page says."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from counterfoil.cli.pairings import draft
from counterfoil.core.event import Event
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.homes import own_key
from counterfoil.core.money import Money
from counterfoil.core.remembered import paired_keys
from counterfoil.core.settle import MatchRows, judge_rows
from counterfoil.core.suggestions import suggestions
from counterfoil.flow.intake.receive import receive_events
from counterfoil.model import Model
from tests.companies.base import COMPLETE_POLICY, checked, documents, write
from tests.contract.store import samples as s
from tests.source import ROOT
from tests.unit.rules.driver import MONDAY, Play

PAGE = ROOT / "docs" / "how-to" / "match-without-a-common-key.md"
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
TEXT, REMITTANCE, SPLIT, JOURNAL = (
    "invoice-paid-by-text", "invoice-paid-by-remittance", "sale-in-entities", "day-in-journal",
)  # fmt: skip
DAY = date(2026, 3, 2)


def company(folder: Path, rows: str = "payer,customer\n") -> Model:
    (folder / "payer_customers.csv").write_text(rows, "utf-8")
    return checked(write(folder, documents(COMPLETE_POLICY, *BLOCKS)))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return company(tmp_path_factory.mktemp("recipes"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    company(tmp_path)
    return tmp_path


def usd(minor: int) -> dict[str, Any]:
    return {"minor": minor, "currency": "USD"}


async def send(play: Play, kind: str, name: str, number: int = 0, **data: Any) -> None:
    system = "bills" if kind.startswith("invoice") else "bank"
    event = Event(
        id=f"{name}-{number}", source=f"/{system}", type=kind, time=MONDAY + timedelta(hours=number), subject=name,
        data={"id": name, **data},
    )  # fmt: skip
    await receive_events(play.store, play.model, [event], play.now)
    await play.settle()


async def invoice(
    play: Play,
    name: str,
    total: int,
    day: int = 0,
    customer: str = "CUST-7",
    number: int = 0,
    parts: Iterable[tuple[str, int]] = (),
) -> None:
    listed = [{"entity": entity, "amount": usd(minor)} for entity, minor in parts]
    day_ = (DAY + timedelta(days=day)).isoformat()
    await send(
        play,
        "invoice.sent.v1",
        name,
        number,
        customer=customer,
        day=day_,
        account="4000",
        total=usd(total),
        parts=listed,
    )


async def wire(
    play: Play, name: str, amount: int, memo: str = "", day: int = 0, payer: str = "CUST-7"
) -> None:
    day_ = (DAY + timedelta(days=day)).isoformat()
    await send(play, "wire.received.v1", name, payer=payer, memo=memo, day=day_, amount=usd(amount), lines=[])


def suggested(rows: MatchRows) -> None:
    """Compute the suggestions for every item of the rows, of whatever state."""
    for item in rows.observations:
        suggestions(item, rows.foils, paired_keys(rows))


PARTIES = st.sampled_from(["CUST-7", "CUST-8", "Initech Ltd", "Globex"])
SENT = st.tuples(st.booleans(), PARTIES, st.sampled_from([1000, 2000]), st.integers(0, 9))


@settings(max_examples=25, deadline=None)
@given(st.lists(SENT, min_size=1, max_size=7), st.data())
def test_suggestions_change_no_state_and_no_item_is_matched_without_a_rule_or_a_person(
    model: Model, sent: list[tuple[bool, str, int, int]], data: Any
) -> None:
    async def run() -> None:
        play = Play(model)
        for number, (is_invoice, party, minor, day) in enumerate(sent):
            if is_invoice:
                await invoice(play, f"INV-{number}", minor, day, customer=party)
            else:
                await wire(play, f"W-{number}", minor, day=day, payer=party)
            free = [n for n, o in (await items(play, TEXT)).items() if o.state == "unmatched"]
            open_ = [n for n, state in (await states(play, TEXT)).items() if state == "open"]
            if free and open_ and data.draw(st.booleans()):
                await pair(play, data.draw(st.sampled_from(free)), data.draw(st.sampled_from(open_)))
            before = await play.store.dump()
            suggested(MatchRows(before.foils, before.observations, before.pairings))
            assert await play.store.dump() == before
        by_person = {p.observation for p in before.pairings if p.ended_at is None}
        by_rule = {own_key(f) for f in before.foils if f.rule == TEXT}
        for item in (await items(play, TEXT)).values():
            assert item.state == "unmatched" or item.id in by_person or own_key(item) in by_rule

    asyncio.run(run())


async def journal(play: Play, name: str, amount: int, reverses: str = "") -> None:
    await send(
        play,
        "journal.posted.v1",
        name,
        day=DAY.isoformat(),
        account="4000",
        amount=usd(amount),
        reverses=reverses,
        entity="",
    )


async def foils(play: Play, rule: str) -> dict[str, Foil]:
    return {f.document: f for f in (await play.store.dump()).foils if f.rule == rule}


async def items(play: Play, rule: str) -> dict[str, Observation]:
    return {o.document: o for o in (await play.store.dump()).observations if o.rule == rule}


async def states(play: Play, rule: str) -> dict[str, str]:
    return {name: str(foil.state) for name, foil in (await foils(play, rule)).items()}


def test_a_text_names_its_invoices_and_the_window_keeps_equal_amounts_apart(folder: Path) -> None:
    async def run() -> None:
        play = Play(checked(folder))
        await invoice(play, "INV-1", 10000)
        await invoice(play, "INV-2", 10000, day=31)
        await invoice(play, "INV-3", 5000)
        await wire(play, "W-1", 10000, day=32)
        assert await states(play, TEXT) == {"INV-1": "open", "INV-2": "matched", "INV-3": "open"}
        await wire(play, "W-2", 15000, "re INV-1 and/or INV-3, thanks", day=60)
        assert set((await states(play, TEXT)).values()) == {"matched"}

    asyncio.run(run())


@pytest.mark.parametrize("last", [("AT01", 6000), ("US01", 4000)])
def test_a_split_is_owed_by_each_entity_until_a_newer_version_drops_it(
    folder: Path, last: tuple[str, int]
) -> None:
    async def run() -> None:
        play = Play(checked(folder))
        await invoice(play, "INV-1", 10000, parts=[("AT01", 6000), ("US01", 4000)], number=1)
        assert {n: f.entity for n, f in (await foils(play, SPLIT)).items()} == {
            "INV-1/AT01": "AT01",
            "INV-1/US01": "US01",
        }
        await invoice(play, "INV-1", last[1], parts=[last], number=2)
        gone = {"AT01", "US01"} - {last[0]}
        assert await states(play, SPLIT) == {f"INV-1/{last[0]}": "open", f"INV-1/{gone.pop()}": "reversed"}

    asyncio.run(run())


def test_a_day_of_invoices_against_one_journal(folder: Path) -> None:
    async def run() -> None:
        play = Play(checked(folder))
        names = [f"INV-{n}" for n in range(100, 120)]
        for name in names:
            await invoice(play, name, 1000)
        await journal(play, "JRN-1", 16000)
        short = (await foils(play, JOURNAL)).values()
        assert {(str(f.state), sum(f.residual.values()) >= 0) for f in short} == {("partly", True)}
        assert sum(f.residual["gross"] for f in short) == 4000
        assert all(f"in a group of 20: {', '.join(names)}" in f.reason for f in short)
        # Reversed by a document and issued again, in full.
        await journal(play, "JRN-2", -16000, reverses="JRN-1")
        assert set((await states(play, JOURNAL)).values()) == {"open"}
        await journal(play, "JRN-3", 20000)
        assert set((await states(play, JOURNAL)).values()) == {"matched"}
        # A late invoice of that day joins the group.
        await invoice(play, "INV-200", 500)
        late = await foils(play, JOURNAL)
        assert {str(f.state) for f in late.values()} == {"partly"}
        assert sum(f.residual["gross"] for f in late.values()) == 500

    asyncio.run(run())


def test_five_hundred_invoices_of_a_day_are_judged_as_one_amount(model: Model) -> None:
    async def run() -> None:
        play = Play(model)
        await invoice(play, "INV-0", 1000)
        await journal(play, "JRN-1", 496_000)
        (foil,), (posted,) = (await foils(play, JOURNAL)).values(), (await items(play, JOURNAL)).values()
        day = [replace(foil, id=f"foil_{n}", document=f"INV-{n}") for n in range(500)]
        for moment, state in ((play.now, "partly"), (foil.due, "broken")):
            verdicts = judge_rows(MatchRows(day, [posted]), moment).foils.values()
            assert {str(verdict.state) for verdict in verdicts} == {state}
            assert sum(verdict.residual["gross"] for verdict in verdicts) == 4000
            assert {verdict.residual["gross"] >= 0 for verdict in verdicts} == {True}
            assert all("in a group of 500: INV-0, INV-1, " in verdict.reason for verdict in verdicts)
        whole = replace(posted, legs={"gross": Money(500_000, "USD")})
        verdicts = judge_rows(MatchRows(day, [whole]), foil.due).foils.values()
        assert {(str(verdict.state), verdict.residual["gross"]) for verdict in verdicts} == {("matched", 0)}

    asyncio.run(run())


# ------------------------------------------------------------------ remembered pairs


async def pair(play: Play, item: str, document: str) -> None:
    foil, shown = (await foils(play, TEXT))[document], (await items(play, TEXT))[item]
    assert await play.store.apply(s.decide(s.pair(foil, shown), when=play.now)) == "done"


async def keys(play: Play) -> list[dict[str, Any]]:
    """Return the rows of `GET /v1/pairings` for the first recipe."""
    dump = await play.store.dump()
    rows = MatchRows(dump.foils, dump.observations, dump.pairings)
    return [
        {
            "reconciliation": TEXT,
            "table": "payer_customers",
            "right_key": k.right,
            "left_key": k.left,
            "count": k.count,
            "persons": list(k.persons),
            "conflict": k.is_conflict,
        }
        for k in paired_keys(rows)
    ]


def test_a_pair_is_remembered_only_by_a_row_of_the_table(folder: Path) -> None:
    async def run() -> None:
        play = Play(checked(folder))
        await invoice(play, "INV-1", 10000)
        await invoice(play, "INV-2", 7000)
        await wire(play, "W-1", 10000, payer="Initech Ltd")
        await pair(play, "W-1", "INV-1")
        # Nothing is learned by itself.
        await wire(play, "W-2", 7000, payer="Initech Ltd")
        assert await states(play, TEXT) == {"INV-1": "matched", "INV-2": "open"}
        rows = await keys(play)
        assert [(r["right_key"], r["left_key"], r["count"], r["persons"]) for r in rows] == [
            ("Initech Ltd", "CUST-7", 1, ["ann"])
        ]
        lines: list[str] = []
        assert draft(folder, rows, "2026-03-02", lines.append)
        assert (folder / "payer_customers.csv").read_text("utf-8") == "payer,customer\nInitech Ltd,CUST-7\n"
        assert draft(folder, rows, "2026-03-02", lines.append)
        assert (folder / "payer_customers.csv").read_text("utf-8").count("\n") == 2  # once
        assert "1 row added" in lines[0]
        assert "0 rows added" in lines[1]

        later = Play(checked(folder))
        await invoice(later, "INV-2", 7000)
        await wire(later, "W-2", 7000, payer="Initech Ltd")
        assert await states(later, TEXT) == {"INV-2": "matched"}

    asyncio.run(run())


def test_a_conflict_is_not_written_and_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def run() -> list[dict[str, Any]]:
        play = Play(checked(folder))
        await invoice(play, "INV-1", 10000)
        await invoice(play, "INV-2", 7000, customer="CUST-8")
        await wire(play, "W-1", 10000, payer="Holding")
        await wire(play, "W-2", 7000, payer="Holding")
        await pair(play, "W-1", "INV-1")
        await pair(play, "W-2", "INV-2")
        return await keys(play)

    rows = asyncio.run(run())
    assert [(r["left_key"], r["conflict"]) for r in rows] == [("CUST-7", True), ("CUST-8", True)]
    assert not draft(folder, rows, "2026-03-02", lambda text: None)
    assert (folder / "payer_customers.csv").read_text("utf-8") == "payer,customer\n"
    assert "persons paired it in several ways" in capsys.readouterr().err
    company(folder, "payer,customer\nHolding,CUST-9\n")
    assert not draft(folder, [rows[0] | {"conflict": False}], "2026-03-02", lambda text: None)
    assert "the table says CUST-9" in capsys.readouterr().err


def test_an_ended_pair_is_not_remembered(folder: Path) -> None:
    async def run() -> None:
        play = Play(checked(folder))
        await invoice(play, "INV-1", 10000)
        await wire(play, "W-1", 10000, payer="Initech Ltd")
        await pair(play, "W-1", "INV-1")
        foil, shown = (await foils(play, TEXT))["INV-1"], (await items(play, TEXT))["W-1"]
        assert await play.store.apply(s.decide(s.unpair(foil, shown), when=play.now)) == "done"
        assert await keys(play) == []

    asyncio.run(run())


def test_suggestions_match_nothing(folder: Path) -> None:
    async def run() -> None:
        play = Play(checked(folder))
        await invoice(play, "INV-1", 10000)
        await wire(play, "W-1", 10000, payer="Initech Ltd")
        before = await play.store.dump()
        (suggestion,) = suggestions((await items(play, TEXT))["W-1"], (await foils(play, TEXT)).values())
        assert suggestion.score > 0
        assert suggestion.reasons
        assert await play.store.dump() == before
        assert await states(play, TEXT) == {"INV-1": "open"}

    asyncio.run(run())
