"""Keys that persons paired, over HTTP and from the terminal: a planned change alone makes them a rule."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.companies.base import COMPLETE_POLICY, checked, documents, write, write_people
from tests.companies.changing import Changing, changing, token
from tests.contract.test_change_path import run
from tests.served import until
from tests.unit.flow.test_recipes import BLOCKS, JOURNAL, TEXT

pytestmark = pytest.mark.xdist_group("web")

ENTITIES = """
kind: legal_entity
name: acme-us
title: Acme Inc.
country: US
currency: USD
zone: America/New_York
default: true
---
kind: legal_entity
name: acme-de
title: Acme GmbH
country: DE
currency: EUR
zone: Europe/Berlin
"""
ROLES = """
{kind: role, name: architect, may: ["releases:any:plan", "releases:any:apply", "releases:any:read", "approvals:any:read", "foils:any:read"]}
---
{kind: role, name: controller, may: ["approvals:any:read", "approvals:own:decide", "releases:any:read"]}
---
{kind: role, name: accountant, may: ["foils:any:read", "foils:any:pair", "foils:any:unpair"]}
---
{kind: role, name: german-accountant, entities: [acme-de], may: ["foils:any:read"]}
---
{kind: role, name: sender, may: ["events:any:send"]}
"""
CHANGES = """
kind: policy
name: changes
change:
  approve:
    - {of: [approval, money, security, breaking, other], roles: [controller]}
"""
PEOPLE = {
    "pat": ["architect"], "cora": ["controller"], "fay": ["accountant"], "gerd": ["german-accountant"], "olga": ["sender"],
}  # fmt: skip
TABLE = "payer_customers.csv"
RECIPES = [text for text in BLOCKS if "kind: reconciliation" not in text or TEXT in text or JOURNAL in text]
"""Without those that read a wire as well: an item of two reconciliations is listed once."""


class Books(Changing):
    """The company of the recipes, with the documents of both systems and the pairs of persons."""

    async def show(self, type_: str, id_: str, entity: str = "acme-us", **data: Any) -> None:
        system = "bills" if type_.startswith("invoice") else "bank"
        event = {
            "specversion": "1.0", "source": f"/{system}", "type": type_, "id": id_, "legalentity": entity,
            "data": {"id": id_, "day": "2026-03-02", **data},
        }  # fmt: skip
        content = {"content-type": "application/cloudevents+json"}
        answer = await self.ask("POST", "/v1/events", "olga", json=event, headers=content)
        assert answer.status_code == 202, answer.text

    async def invoice(self, id_: str, minor: int, customer: str, entity: str = "acme-us") -> None:
        total = {"minor": minor, "currency": "USD"}
        await self.show(
            "invoice.sent.v1", id_, entity, customer=customer, account="4000", total=total, parts=[]
        )

    async def wire(self, id_: str, minor: int, payer: str, entity: str = "acme-us") -> None:
        amount = {"minor": minor, "currency": "USD"}
        await self.show("wire.received.v1", id_, entity, payer=payer, memo="", amount=amount, lines=[])

    async def state(self, document: str) -> str:
        """Return the state of a document of the first recipe, as soon as there is one."""

        async def row() -> str | None:
            dump = await self.dump()
            rows = [d for d in (*dump.foils, *dump.observations) if (d.rule, d.document) == (TEXT, document)]
            return str(rows[0].state) if rows else None

        return await until(document, row)

    async def pair(self, item: str, document: str) -> None:
        dump = await self.dump()
        (shown,) = (o.id for o in dump.observations if (o.rule, o.document) == (TEXT, item))
        (foil,) = (f.id for f in dump.foils if (f.rule, f.document) == (TEXT, document))
        body = {"foil": foil, "note": "their holding pays"}
        answer = await self.ask("POST", f"/v1/unmatched/{shown}/pair", "fay", json=body)
        assert (answer.status_code, answer.json()["verdict"]) == (200, "done"), answer.text

    async def suggested(self, item: str) -> list[tuple[str, list[str]]]:
        """Return the documents suggested for an item, with their reasons; the page names them as well."""
        (shown,) = (o.id for o in (await self.dump()).observations if (o.rule, o.document) == (TEXT, item))
        rows = (await self.ask("GET", f"/v1/unmatched/{shown}/suggestions", "fay")).json()["suggestions"]
        page = await self.ask("GET", f"/unmatched?rule={TEXT}", "fay")
        assert all(", ".join(row["reasons"]) in page.text for row in rows), page.text
        return [(row["foil"]["document"], row["reasons"]) for row in rows]

    async def keys(self, person: str, **query: str) -> list[tuple[str, str, int, list[str]]]:
        answer = await self.ask("GET", "/v1/pairings", person, params=query)
        assert answer.status_code == 200, answer.text
        rows = answer.json()["pairings"]
        return [(row["right_key"], row["left_key"], row["count"], row["persons"]) for row in rows]


@pytest.fixture
async def books(tmp_path: Path) -> AsyncIterator[Books]:
    folder = tmp_path / "gov"
    write(folder, "payer,customer\n", TABLE)
    checked(write(folder, documents(COMPLETE_POLICY, ENTITIES, ROLES, CHANGES, *RECIPES)))
    write_people(tmp_path / "people.json", {id_: token(id_) for id_ in PEOPLE}, PEOPLE)
    async with changing(tmp_path) as company:
        books = Books(company.app, company.url, tmp_path)
        async with books.http:
            yield books


async def test_a_pair_becomes_a_rule_by_an_approved_change_alone(books: Books) -> None:
    await books.invoice("INV-1", 10_000, "CUST-7")
    await books.wire("W-1", 10_000, "Initech Ltd")
    assert (await books.state("INV-1"), await books.state("W-1")) == ("open", "unmatched")
    await books.pair("W-1", "INV-1")
    assert await books.state("INV-1") == "matched"
    # Nothing is learned by itself.
    await books.invoice("INV-2", 7_000, "CUST-7")
    await books.wire("W-2", 7_000, "Initech Ltd")
    assert (await books.state("INV-2"), await books.state("W-2")) == ("open", "unmatched")
    assert await books.keys("fay") == [("Initech Ltd", "CUST-7", 1, ["fay"])]
    likely = await books.suggested("W-2")
    assert likely[0][0] == "INV-2"
    assert "paired 1 time before by fay" in likely[0][1]
    assert await books.state("W-2") == "unmatched"

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
    assert (await books.state("W-3"), await books.state("INV-3")) == ("paired", "matched")
    # What came before the change stays where it is.
    assert (await books.state("INV-2"), await books.state("W-2")) == ("open", "unmatched")


async def test_pairs_of_another_legal_entity_and_unknown_reconciliations_are_hidden(books: Books) -> None:
    for entity, number in (("acme-us", 1), ("acme-de", 2)):
        await books.invoice(f"INV-{number}", 10_000, f"CUST-{number}", entity)
        await books.wire(f"W-{number}", 10_000, f"Payer {number}", entity)
        assert (await books.state(f"INV-{number}"), await books.state(f"W-{number}")) == ("open", "unmatched")
        await books.pair(f"W-{number}", f"INV-{number}")
    german = ("Payer 2", "CUST-2", 1, ["fay"])
    assert await books.keys("fay") == [("Payer 1", "CUST-1", 1, ["fay"]), german]
    assert await books.keys("gerd") == await books.keys("gerd", rule=TEXT) == [german]
    assert await books.keys("fay", rule=JOURNAL) == []
    unknown = await books.ask("GET", "/v1/pairings", "fay", params={"rule": "none"})
    assert (unknown.status_code, unknown.json()["type"]) == (404, "urn:counterfoil:problem:not-found")
    assert (await books.ask("GET", "/v1/pairings", "olga")).status_code == 403
    code, _, err = await run(books, "pairings", "none")
    assert (code, "There is no reconciliation none." in err) == (2, True), err
