"""The company of docs/how-to/match-without-a-common-key.md as a running server, with two legal entities and five persons."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.companies.base import COMPLETE_POLICY, checked, documents, write, write_people
from tests.companies.changing import Changing, changing, token
from tests.served import until
from tests.unit.flow.test_recipes import BLOCKS

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

    async def wire(
        self,
        id_: str,
        minor: int,
        payer: str,
        entity: str = "acme-us",
        lines: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        amount = {"minor": minor, "currency": "USD"}
        await self.show(
            "wire.received.v1", id_, entity, payer=payer, memo="", amount=amount, lines=list(lines)
        )

    async def state(self, rule: str, document: str) -> str:
        """Return the state of a document of a reconciliation, as soon as there is one."""

        async def row() -> str | None:
            dump = await self.dump()
            rows = [d for d in (*dump.foils, *dump.observations) if (d.rule, d.document) == (rule, document)]
            return str(rows[0].state) if rows else None

        return await until(document, row)

    async def states(self, rule: str, *documents: str) -> tuple[str, ...]:
        return tuple([await self.state(rule, document) for document in documents])

    async def item(self, rule: str, document: str) -> str:
        """Return the id of an item."""
        (id_,) = (o.id for o in (await self.dump()).observations if (o.rule, o.document) == (rule, document))
        return id_

    async def pair(self, rule: str, item: str, document: str) -> None:
        (foil,) = (f.id for f in (await self.dump()).foils if (f.rule, f.document) == (rule, document))
        path = f"/v1/unmatched/{await self.item(rule, item)}/pair"
        answer = await self.ask("POST", path, "fay", json={"foil": foil, "note": "their holding pays"})
        assert (answer.status_code, answer.json()["verdict"]) == (200, "done"), answer.text

    async def suggested(self, rule: str, item: str) -> list[tuple[str, list[str]]]:
        """Return the documents suggested for an item, with their reasons; the page has them as well."""
        path = f"/v1/unmatched/{await self.item(rule, item)}/suggestions"
        rows = (await self.ask("GET", path, "fay")).json()["suggestions"]
        page = await self.ask("GET", f"/unmatched?rule={rule}", "fay")
        assert all(", ".join(row["reasons"]) in page.text for row in rows), page.text
        return [(row["foil"]["document"], row["reasons"]) for row in rows]

    async def keys(self, person: str, **query: str) -> list[tuple[str, str, int, list[str]]]:
        answer = await self.ask("GET", "/v1/pairings", person, params=query)
        assert answer.status_code == 200, answer.text
        rows = answer.json()["pairings"]
        return [(row["right_key"], row["left_key"], row["count"], row["persons"]) for row in rows]


@contextlib.asynccontextmanager
async def recipes(folder: Path, *names: str) -> AsyncIterator[Books]:
    """Run the company with these reconciliations of the page."""
    chosen = [text for text in BLOCKS if "kind: reconciliation" not in text or _name_of(text) in names]
    write(folder / "gov", "payer,customer\n", TABLE)
    checked(write(folder / "gov", documents(COMPLETE_POLICY, ENTITIES, ROLES, CHANGES, *chosen)))
    write_people(folder / "people.json", {id_: token(id_) for id_ in PEOPLE}, PEOPLE)
    async with changing(folder) as company:
        books = Books(company.app, company.url, folder)
        async with books.http:
            yield books


def _name_of(text: str) -> str:
    return text.partition("name: ")[2].partition("\n")[0]
