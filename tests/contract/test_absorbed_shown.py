"""Differences that a tolerance absorbs, on the page of a reconciliation, in JSON and in the terminal: who bears them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.companies.recipes import recipes
from tests.contract.test_change_path import run
from tests.unit.flow.test_recipes import REMITTANCE

pytestmark = pytest.mark.xdist_group("web")


async def test_a_statement_names_the_role_that_bears_what_is_absorbed(tmp_path: Path) -> None:
    async with recipes(tmp_path, REMITTANCE) as books:
        line = {"invoice": "INV-1", "paid": {"minor": 9_700, "currency": "USD"}}
        await books.invoice("INV-1", 10_000, "CUST-7")
        await books.wire("W-1", 9_700, "CUST-7", lines=[line | {"fee": {"minor": 300, "currency": "USD"}}])
        assert await books.states(REMITTANCE, "W-1/INV-1", "INV-1") == ("paired", "matched")
        path = f"/reconciliations/{REMITTANCE}"
        (answer,) = (await books.ask("GET", f"/v1{path}/roll-forward", "fay")).json()["lines"]
        (part,) = answer["absorbed_by"]
        assert (part["leg"], part["owner"], part["amount"]["minor"]) == ("fee", "treasury", -300)
        code, out, err = await run(books, "reconcile", REMITTANCE, person="fay")
        assert (code, re.search(r"fee +treasury +-3.00 +USD", out) is not None) == (0, True), out + err
        page = (await books.ask("GET", path, "fay")).text
        rows = [
            " ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in re.findall(r"(?s)<tr.*?</tr>", page)
        ]
        assert "Absorbed in fee, borne by treasury (3.00)" in rows
