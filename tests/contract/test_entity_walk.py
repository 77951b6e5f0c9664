"""Rows of a legal entity over HTTP: every route, for every role, bound to each entity, on both stores.

The company has the same rows for two entities. Every text that only the German rows have is looked for in every answer.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
import pytest_asyncio
from msgspec.structs import replace

from counterfoil.core.entity_scope import EntityScope
from counterfoil.core.people import Person
from counterfoil.model import Model, read
from counterfoil.store.port.people import PutPerson, PutToken
from counterfoil.store.sql.postgres import PostgresStore
from counterfoil.store.sql.sqlite import SqliteStore
from counterfoil.store.sql.store import SqlStore
from counterfoil.web.http import server
from counterfoil.web.http.identity import new_token
from tests import postgres as real_postgres
from tests.companies.web import TrialApp, cheap_passwords, people
from tests.companies.web_customers import fill_customers
from tests.companies.web_matches import admit, bill_item, fill_matches, foil_of, invoice_foil, item_of
from tests.companies.web_rows import GERMAN, approval_of, fill, fill_credits, run_of, seal
from tests.source import ROOT

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("entity-walk")]
HOME = "acme-us"
ENTITIES = f"""
kind: legal_entity
name: {HOME}
title: Acme Inc.
country: US
currency: USD
zone: America/New_York
default: true
---
kind: legal_entity
name: {GERMAN}
title: Acme GmbH
country: DE
currency: EUR
zone: Europe/Berlin
"""
BINDINGS = {"home": (HOME,), "german": (GERMAN,), "both": (HOME, GERMAN), "free": ()}
"""Legal entities of a person, by the end of their id; none: not bound."""
SIGNS = (
    "DE-CR",
    "DE-CM",
    "DE-INV",
    "DE-BILL",
    "DE-X",
    "DE-cust",
    "DE01cus",
    "DE01cn",
    "DE01account",
    "DE01NC",
)
"""Texts that only German rows have, besides their ids."""


def model_with_entities(folder: Path) -> Model:
    """Return acme with two legal entities, and a role that is bound to one of them."""
    shutil.copytree(ROOT / "examples" / "acme", folder)
    (folder / "entities.yaml").write_text(ENTITIES, "utf-8")
    roles = folder / "roles" / "roles.yaml"
    bound = 'kind: role\nname: german-auditor\nentities: [acme-de]\nmay: ["runs:any:read", "foils:any:read", "audit:any:read"]\n'
    roles.write_text(f"{roles.read_text('utf-8')}---\n{bound}", "utf-8")
    model, findings = read(folder)
    assert [str(f) for f in findings if f.severity == "error"] == []
    return model


class Walked:
    """A company with two legal entities on one store, and a token for each role and binding."""

    def __init__(self, app: TrialApp, http: httpx2.AsyncClient, tokens: dict[str, str]) -> None:
        self.app, self.http, self.tokens = app, http, tokens

    async def get(self, person: str, path: str) -> httpx2.Response:
        return await self.http.get(path, headers=self.bearer(person))

    def bearer(self, person: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.tokens[person]}"}


async def _persons(store: SqlStore, model: Model) -> dict[str, str]:
    now = await store.now()
    tokens = {}
    for role in sorted(model.roles):
        for name, entities in BINDINGS.items():
            id_ = f"{role}.{name}"
            person = Person(id=id_, name=id_, email=f"{id_}@acme.example", roles=(role,), entities=entities)
            await store.apply(PutPerson(person=person, at=now, actor="test"))
            tokens[id_], token = new_token(id_, now.replace(year=now.year + 1))
            await store.apply(PutToken(token=token, at=now))
    return tokens


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["sqlite", "postgres"])
async def company(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Walked]:
    async with contextlib.AsyncExitStack() as stack:
        yield await entity_company(stack, request, tmp_path_factory.mktemp("walk"))


async def _pair_keys(app: TrialApp) -> None:
    """Have a person pair two documents of each entity that have two keys."""
    now = await app.now()
    for prefix in ("", "DE-"):
        invoice, bill = f"{prefix}INV-13", f"{prefix}BILL/2026/13"
        await admit(app.store, now, foils=(invoice_foil(invoice, 1_000, 1, now),))
        await admit(app.store, now, items=(bill_item(bill, f"{prefix}X-78", 1_000, now),))
        assert (await app.pair(foil_of(invoice), item_of(bill), "fay", "typing error")).verdict == "done"


async def entity_company(
    stack: contextlib.AsyncExitStack, request: pytest.FixtureRequest, folder: Path
) -> Walked:
    """Return the company with rows of both entities, on the store that the fixture names."""
    model = model_with_entities(folder / "acme")
    store: SqlStore
    if request.param == "sqlite":
        store = await SqliteStore.open(folder / "company.db")
    else:
        cluster: real_postgres.Cluster = request.getfixturevalue("postgres")
        name = await cluster.create()
        stack.push_async_callback(cluster.drop, name)
        store = await PostgresStore.open(cluster.dsn(name))
    stack.push_async_callback(store.close)
    await people(store, cheap_passwords())
    await fill(store)
    await fill_matches(store)
    await fill_credits(store, "DE-")
    await fill_matches(store, "DE-")
    await fill_customers(store)
    app = TrialApp(store, model)
    await _pair_keys(app)
    rule, today = model.reconciliations["invoice-in-erp"], (await store.now()).date()
    await app.checkpoints.prepare(rule, today, None, EntityScope(), "ann")
    await seal(store)
    tokens = await _persons(store, model)
    transport = httpx2.ASGITransport(server.build(TrialApp(store, model)))
    http = await stack.enter_async_context(httpx2.AsyncClient(transport=transport, base_url="http://test"))
    return Walked(TrialApp(store, model), http, tokens)


# ------------------------------------------------------------------ what there is


class Rows:
    """Ids of the rows of one entity, by the name of the path parameter that takes them."""

    def __init__(self, prefix: str, cases: list[str], checkpoints: list[str]) -> None:
        self.by_parameter = {
            "run_id": [run_of(f"{prefix}CR-{n}") for n in range(1001, 1008)],
            "foil_id": [foil_of(f"{prefix}INV-9"), foil_of(f"{prefix}INV-12")],
            "item_id": [item_of(f"{prefix}BILL/2026/11"), item_of(f"{prefix}INV-9")],
            "case_id": cases,
            "checkpoint_id": checkpoints,
            "customer_id": [f"{prefix}cust_{77 if prefix else 42}"],
            "approval_id": [approval_of(f"{prefix}CR-{n}") for n in (1001, 1003, 1006)],
        }
        self.texts = [f"{prefix}CR-1003", f"{prefix}INV-9", f"{prefix}BILL/2026/11"]

    @property
    def ids(self) -> list[str]:
        return [id_ for ids in self.by_parameter.values() for id_ in ids]


async def rows_of(company: Walked, german: bool) -> Rows:
    dump, _ = await company.app.store.audited()
    own = {run.id for run in dump.runs if (run.entity == GERMAN) is german}
    documents = {
        d.id
        for row in dump.matches
        for d in (*row.foils, *row.observations)
        if (d.entity == GERMAN) is german
    }
    cases = [c.id for c in dump.cases if c.run in own or {c.foil, c.observation} & documents]
    checkpoints = [row.id for row in dump.book_checkpoints if (row.entity == GERMAN) is german]
    assert len(cases) >= 2
    assert checkpoints
    return Rows("DE-" if german else "", cases, checkpoints)


async def german_texts(company: Walked) -> set[str]:
    """Return every text that stands in German rows only: their ids, keys, documents and the numbers of systems."""
    dump, _ = await company.app.store.audited()
    runs = {run.id for run in dump.runs if run.entity == GERMAN}
    rows = await rows_of(company, german=True)
    ids = {*runs, *rows.by_parameter["case_id"], *rows.by_parameter["checkpoint_id"]}
    ids |= {e.id for e in dump.events if e.legal_entity == GERMAN} | {
        e.id for e in dump.effects if e.run in runs
    }
    ids |= {d.id for row in dump.matches for d in (*row.foils, *row.observations) if d.entity == GERMAN}
    ids |= {a.id for a in dump.approvals if a.entity == GERMAN}
    assert len(ids) > 40
    return ids | set(SIGNS)


def _paths(app: TrialApp, method: str) -> list[str]:
    """Return the address templates of every route that answers a method, pages and those of the API alike."""
    routes = server.routes(app).routes  # type: ignore[arg-type]
    return sorted({route.path_format for route in routes if method in getattr(route, "methods", ())})


def get_paths(app: TrialApp, rows: Rows) -> Iterator[tuple[str, bool]]:
    """Yield every address that answers GET, with the ids of these rows, and whether it names one of them."""
    fixed = {
        "kind": "workflow",
        "name": "support-credit-to-erp",
        "system": "erp",
        "digest": "d" * 64,
        "path": "x",
    }
    for path in _paths(app, "GET"):
        names = re.findall(r"{(\w+)}", path)
        known = [name for name in names if name in rows.by_parameter]
        assert set(names) <= rows.by_parameter.keys() | fixed.keys(), f"{path}: say what its parameters name"
        for id_ in rows.by_parameter[known[0]] if known else [""]:
            values = fixed | dict.fromkeys(known, quote(id_, safe=""))
            yield path.format_map(values), bool(known)
    for text in rows.texts:
        for path in (
            "/v1/runs",
            "/v1/foils",
            "/v1/unmatched",
            "/v1/cases",
            "/v1/approvals",
            "/v1/events",
            "/v1/exports/runs",
            "/v1/exports/foils",
            "/v1/exports/unmatched",
            "/runs",
            "/foils",
            "/unmatched",
        ):
            yield f"{path}?key={quote(text)}", False
        for path in ("/v1/search", "/search"):
            for query in (text, text.removeprefix("DE-"), text[-4:], "10.00", "10 usd"):
                yield f"{path}?q={quote(query)}", False
    for run in rows.by_parameter["run_id"][:2]:
        yield f"/v1/foils?run={run}", False
        yield f"/v1/cases?run={run}", False
        yield f"/v1/approvals?run={run}", False
    yield "/cases?group=cause", False
    yield "/v1/cases/causes?state=open", False
    yield "/v1/foils?as_of=2099-01-01T00:00:00Z", False
    yield "/v1/foils?effective_by=2099-01-01", False
    yield "/v1/unmatched?effective_by=2099-01-01", False
    yield "/v1/reconciliations/invoice-in-erp/roll-forward", False
    yield "/v1/reconciliations/invoice-in-erp/checkpoints", False
    yield "/reconciliations/invoice-in-erp", False
    yield "/v1/pairings?rule=invoice-in-erp", False
    yield "/v1/audit?limit=200", False


# ------------------------------------------------------------------ the walk


async def test_every_route_hides_the_rows_of_another_entity(company: Walked) -> None:
    rows, texts = await rows_of(company, german=True), await german_texts(company)
    looked, seen_by_id = 0, 0
    for path, by_id in get_paths(company.app, rows):
        for person in (p for p in company.tokens if p.endswith(".home")):
            answer = await company.get(person, path)
            looked += 1
            assert answer.status_code < 500, (person, path, answer.text[:300])
            body = answer.text if not by_id else answer.text.replace(_named_in(path), "")
            leaked = sorted(text for text in texts if text in body and text not in path)
            assert not leaked, (person, path, leaked)
            if by_id:
                assert answer.status_code in (403, 404), (person, path, answer.status_code)
                seen_by_id += answer.status_code == 404
    assert looked > 500
    assert seen_by_id > 100


def _named_in(path: str) -> str:
    """Return the id in an address: an answer may repeat what it was asked for."""
    return path.rpartition("/")[2].partition("?")[0]


async def test_a_person_of_the_entity_sees_what_an_unbound_person_sees(company: Walked) -> None:
    rows = await rows_of(company, german=True)
    found = 0
    for path, by_id in get_paths(company.app, rows):
        if by_id:
            for role in ("controller", "auditor", "administrator"):
                bound, free = (
                    await company.get(f"{role}.german", path),
                    await company.get(f"{role}.free", path),
                )
                assert bound.status_code == free.status_code, (role, path, bound.text[:300])
                found += bound.status_code == 200
    assert found > 30


async def test_lists_of_a_bound_person_have_the_rows_of_their_entity_alone(company: Walked) -> None:
    for route, own in (("runs", 7), ("approvals", 6), ("unmatched", 2)):
        german = (await company.get("controller.german", f"/v1/{route}?limit=200")).json()["items"]
        home = (await company.get("controller.home", f"/v1/{route}?limit=200")).json()["items"]
        free = (await company.get("controller.free", f"/v1/{route}?limit=200")).json()["items"]
        assert {row["legal_entity"] for row in german} == {GERMAN}
        assert {row["legal_entity"] for row in home} == {HOME}
        assert len(german) >= own
        assert len(german) + len(home) == len(free)
        named = (await company.get("controller.free", f"/v1/{route}?limit=200&entity={GERMAN}")).json()[
            "items"
        ]
        assert [row["id"] for row in named] == [row["id"] for row in german]


async def test_keys_that_persons_paired_are_those_of_the_entity(company: Walked) -> None:
    home, german = ("X-78", "INV-13"), ("DE-X-78", "DE-INV-13")
    for binding, pairs in (("home", [home]), ("german", [german]), ("free", [german, home])):
        rows = (await company.get(f"controller.{binding}", "/v1/pairings")).json()["pairings"]
        assert [(row["right_key"], row["left_key"]) for row in rows] == pairs


async def test_a_case_about_no_entity_is_seen_by_unbound_persons_alone(company: Walked) -> None:
    for binding, status in (("home", 404), ("german", 404), ("both", 404), ("free", 200)):
        assert (await company.get(f"controller.{binding}", "/v1/cases/case_unrouted_1")).status_code == status


async def test_a_role_that_is_bound_shows_its_entity_alone(company: Walked) -> None:
    runs = (await company.get("german-auditor.free", "/v1/runs?limit=200")).json()["items"]
    assert {run["legal_entity"] for run in runs} == {GERMAN}
    assert (await company.get("german-auditor.home", "/v1/runs?limit=200")).json()["items"] == []
    leaves = (await company.get("german-auditor.free", "/v1/audit?limit=200")).json()["items"]
    assert leaves
    assert not any("CR-1001" in str(leaf) and "DE-CR-1001" not in str(leaf) for leaf in leaves)


async def test_metrics_and_health_name_no_other_entity(company: Walked) -> None:
    text = (await company.get("administrator.german", "/metrics")).text
    assert f'counterfoil_entity_runs{{legal_entity="{GERMAN}",status="waiting"}}' in text
    assert HOME not in text
    both = (await company.get("administrator.free", "/metrics")).text
    assert f'legal_entity="{HOME}"' in both
    assert f'legal_entity="{GERMAN}"' in both


async def test_nobody_decides_on_rows_of_an_entity_that_they_do_not_act_for(company: Walked) -> None:
    rows = await rows_of(company, german=True)
    approval = approval_of("DE-CR-1003")
    posts: list[tuple[str, dict[str, Any]]] = [
        (f"/v1/approvals/{approval}", {"decision": "approve"}),
        (
            f"/v1/unmatched/{rows.by_parameter['item_id'][0]}/pair",
            {"foil": foil_of("DE-INV-12"), "note": "n"},
        ),
        (f"/v1/unmatched/{item_of('BILL/2026/11')}/pair", {"foil": foil_of("DE-INV-12"), "note": "n"}),
        (
            f"/v1/unmatched/{rows.by_parameter['item_id'][0]}/unpair",
            {"foil": foil_of("DE-INV-12"), "note": "n"},
        ),
        (f"/v1/foils/{foil_of('DE-INV-9')}/waive", {"note": "n"}),
        *((f"/v1/cases/{case}", {"choice": "dismiss", "note": "n"}) for case in rows.by_parameter["case_id"]),
        *(
            (f"/v1/cases/{case}/{edit}", body)
            for case in rows.by_parameter["case_id"]
            for edit, body in (
                ("assignment", {"assignee": "controller.home"}),
                ("comments", {"text": "t"}),
                ("tags", {"add": ["t"]}),
                ("snooze", {"until": "2099-01-01T00:00:00Z", "reason": "r"}),
            )
        ),
    ]
    before, _ = await company.app.store.audited()
    for path, body in posts:
        for person in (p for p in company.tokens if p.endswith(".home")):
            answer = await company.http.post(path, json=body, headers=company.bearer(person))
            assert answer.status_code in (403, 404), (person, path, answer.text[:300])
    after, _ = await company.app.store.audited()
    assert after.case_comments == before.case_comments
    assert (after.approvals, after.votes, after.cases, after.matches) == (
        before.approvals, before.votes, before.cases, before.matches,
    )  # fmt: skip


async def test_an_event_of_another_entity_is_refused(company: Walked) -> None:
    event = {
        "specversion": "1.0", "id": "e-1", "source": "/billing", "type": "invoice.voided.v1", "legalentity": GERMAN,
        "data": {"invoice_id": "i-1", "status": "void"},
    }  # fmt: skip
    headers = {**company.bearer("administrator.home"), "content-type": "application/cloudevents+json"}
    answer = await company.http.post("/v1/events", json=event, headers=headers)
    assert answer.status_code == 404


async def test_a_change_of_governance_needs_every_entity(company: Walked) -> None:
    body = company.app.model.to_json()
    headers = {**company.bearer("administrator.home"), "content-type": "application/json"}
    answer = await company.http.post("/v1/plans", content=body, headers=headers)
    assert answer.status_code == 403
    assert "every legal entity" in answer.text


async def test_a_match_across_entities_shows_each_person_their_own_side(company: Walked) -> None:
    now = await company.app.store.now()
    foil = replace(invoice_foil("CROSS-1", 5_000, 1, now), entity=GERMAN)
    item = replace(bill_item("CROSS-1", "CROSS-1", 5_000, now), entity=HOME)
    await admit(company.app.store, now, foils=(foil,))
    await admit(company.app.store, now, items=(item,))
    german, home = "controller.german", "controller.home"
    for person, own, path in ((german, True, f"/foils/{foil.id}"), (home, False, f"/foils/{foil.id}")):
        answer = await company.get(person, path)
        assert answer.status_code == (200 if own else 404), answer.text[:300]
    foils = (await company.get(german, "/v1/foils?key=CROSS-1")).json()["items"]
    assert [(f["state"], f["reason"].partition(":")[0]) for f in foils] == [("broken", "entity")]
    assert (await company.get(home, "/v1/foils?key=CROSS-1")).json()["items"] == []
    for person in (german, home):
        for path in ("/foils", "/unmatched", "/", "/cases", "/v1/cases", "/v1/unmatched"):
            assert (await company.get(person, path)).status_code == 200, (person, path)


async def test_the_catalog_says_what_a_document_extends_and_stands_for(company: Walked) -> None:
    for path, text in (
        ("/catalog/object/customer", "<code>customer@1</code> of the canonical library"),
        ("/catalog/system/erp-de", 'stands for</dt><dd><a href="/catalog/system/erp">erp</a>'),
        ("/catalog/system/erp-de", 'href="/catalog/legal_entity/acme-de"'),
        ("/catalog/legal_entity/acme-de", "Acme GmbH"),
    ):
        answer = await company.get("auditor.free", path)
        assert (answer.status_code, text in answer.text) == (200, True), path
