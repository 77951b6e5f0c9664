"""Keys that persons paired, over HTTP and from the terminal: a planned change alone makes them a rule."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.companies.recipes import TABLE, Books, recipes
from tests.contract.test_change_path import run
from tests.unit.flow.test_recipes import JOURNAL, TEXT

pytestmark = pytest.mark.xdist_group("web")


@pytest.fixture
async def books(tmp_path: Path) -> AsyncIterator[Books]:
    async with recipes(tmp_path, TEXT, JOURNAL) as company:
        yield company


async def test_a_pair_becomes_a_rule_by_an_approved_change_alone(books: Books) -> None:
    await books.invoice("INV-1", 10_000, "CUST-7")
    await books.wire("W-1", 10_000, "Initech Ltd")
    assert await books.states(TEXT, "INV-1", "W-1") == ("open", "unmatched")
    await books.pair(TEXT, "W-1", "INV-1")
    assert await books.state(TEXT, "INV-1") == "matched"
    # Nothing is learned by itself.
    await books.invoice("INV-2", 7_000, "CUST-7")
    await books.wire("W-2", 7_000, "Initech Ltd")
    assert await books.states(TEXT, "INV-2", "W-2") == ("open", "unmatched")
    assert await books.keys("fay") == [("Initech Ltd", "CUST-7", 1, ["fay"])]
    likely = await books.suggested(TEXT, "W-2")
    assert likely[0][0] == "INV-2"
    assert "paired 1 time before by fay" in likely[0][1]
    assert await books.state(TEXT, "W-2") == "unmatched"

    code, out, err = await run(books, "pairings", TEXT, "--write", "gov", "--format", "json")
    assert (code, len(json.loads(out))) == (0, 1), err
    assert (books.folder / "gov" / TABLE).read_text("utf-8") == "payer,customer\nInitech Ltd,CUST-7\n"
    assert (await run(books, "plan", "gov", "--out", "p.json", "--days", "0"))[0] == 1
    code, _, err = await run(books, "apply", "p.json")
    assert (code, "counterfoil approve" in err) == (2, True), err
    (approval,) = json.loads((await run(books, "approvals", "--format", "json"))[1])
    assert (await run(books, "approve", approval["id"], person="cora"))[0] == 0
    code, _, err = await run(books, "apply", "p.json", "--reason", "their holding pays")
    assert code == 0, err

    await books.invoice("INV-3", 5_000, "CUST-7")
    await books.wire("W-3", 5_000, "Initech Ltd")
    assert await books.states(TEXT, "W-3", "INV-3") == ("paired", "matched")
    # What came before the change stays where it is.
    assert await books.states(TEXT, "INV-2", "W-2") == ("open", "unmatched")


async def test_pairs_of_another_legal_entity_and_unknown_reconciliations_are_hidden(books: Books) -> None:
    for entity, number in (("acme-us", 1), ("acme-de", 2)):
        await books.invoice(f"INV-{number}", 10_000, f"CUST-{number}", entity)
        await books.wire(f"W-{number}", 10_000, f"Payer {number}", entity)
        assert await books.states(TEXT, f"INV-{number}", f"W-{number}") == ("open", "unmatched")
        await books.pair(TEXT, f"W-{number}", f"INV-{number}")
    german = ("Payer 2", "CUST-2", 1, ["fay"])
    assert await books.keys("fay") == [("Payer 1", "CUST-1", 1, ["fay"]), german]
    assert await books.keys("gerd") == await books.keys("gerd", rule=TEXT) == [german]
    assert await books.keys("fay", rule=JOURNAL) == []
    unknown = await books.ask("GET", "/v1/pairings", "fay", params={"rule": "none"})
    assert (unknown.status_code, unknown.json()["type"]) == (404, "urn:counterfoil:problem:not-found")
    assert (await books.ask("GET", "/v1/pairings", "olga")).status_code == 403
    code, _, err = await run(books, "pairings", "none")
    assert (code, "There is no reconciliation none." in err) == (2, True), err
