"""The graph of one business transaction: over HTTP, as a page and drawing, and on the command line."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx2
import pytest
from msgspec.structs import replace

from counterfoil.core import ids, wire
from counterfoil.core.canonical import CanonicalEvent, Receipt
from counterfoil.core.money import Money
from counterfoil.store.port.intake import Admit, Receive
from counterfoil.store.port.people import PutPerson
from counterfoil.store.port.records import NewInboxItem, RunStart
from counterfoil.store.sql.store import SqlStore
from counterfoil.web.api.transaction_graph import TransactionEdge, TransactionGraph, TransactionNode
from counterfoil.web.pages.transaction_drawing import draw
from tests.companies.web import Company, running
from tests.companies.web_matches import admit, bill_item, foil_of, invoice_foil
from tests.companies.web_rows import GERMAN, case_of, run_of
from tests.contract.test_http_names import _table

pytestmark = pytest.mark.xdist_group("web")
PAGE = {"accept": "text/html"}


@asynccontextmanager
async def asked(tmp_path: Path, person: str = "fay") -> AsyncIterator[tuple[Company, httpx2.AsyncClient]]:
    async with (
        running(tmp_path) as company,
        httpx2.AsyncClient(base_url=company.url, headers=company.bearer(person), trust_env=False) as http,
    ):
        yield company, http


async def graph_of(http: httpx2.AsyncClient, key: str) -> dict[str, Any]:
    answer = await http.get(f"/v1/runs/{run_of(key)}/graph")
    assert answer.status_code == 200, answer.text
    graph: dict[str, Any] = answer.json()
    return graph


def edges(graph: dict[str, Any]) -> set[tuple[str, str, str]]:
    """Return the edges with the system and number of both ends."""
    names = {node["id"]: f"{node['system']} {node['number']}" for node in graph["nodes"]}
    return {(names[e["source"]], e["word"], names[e["target"]]) for e in graph["edges"]}


async def child_run(
    store: SqlStore, key: str, cause: str, entity: str = "", workflow: str = "credit-accrual"
) -> str:
    """Write a Run that an event starts which another Run emitted. Return its id."""
    at = await store.now()
    body = wire.dumps({"emitted": key})
    receipt = Receipt(
        system="counterfoil", ext_id=f"e:{key}", type="t", identity=wire.digest(key), sha256=wire.digest(body),
        door="operation", headers={}, body=body, received_at=at,
    )  # fmt: skip
    clash = case_of(f"case_e_{key}", "clash", "controller", at)
    received = await store.apply(Receive(receipts=(receipt,), clashes=(clash,), at=at, actor="t"))
    run = run_of(key, workflow)
    event = CanonicalEvent(
        id=ids.event_id("counterfoil", "credit", key, "1", "credit.approved.v1"), type="credit.approved.v1",
        system="counterfoil", object="credit", key=key, version=1, data={"amount": Money(12_000, "USD")},
        legal_entity=entity, occurred_at=at, effective_at=at, received_at=at, receipt=received.numbers[0],
        cause=cause, correlation=cause,
    )  # fmt: skip
    stimulus = NewInboxItem(run=run, kind="start", ref=event.id, body=wire.dumps({"event": event.id}))
    start = RunStart(
        run=run, workflow=workflow, bkey=key, generation=0, pin="d" * 64, state="requested", stimulus=stimulus,
        entity=entity,
    )  # fmt: skip
    todo = ("receipt", str(received.numbers[0]))
    await store.apply(Admit(todo=todo, events=(event,), starts=(start,), at=at, actor="t"))
    return run


async def test_the_graph_leads_from_the_ticket_to_the_document_in_the_ledger(tmp_path: Path) -> None:
    async with asked(tmp_path) as (_, http):
        graph = await graph_of(http, "CR-1001")
        assert graph["systems"] == ["support", "counterfoil", "billing", "erp"]
        assert edges(graph) == {
            ("support CR-1001", "started", "counterfoil CR-1001"),
            ("counterfoil CR-1001", "created", "billing CM-7001"),
            ("counterfoil CR-1001", "created", "erp NC/31"),
            ("billing CM-7001", "asserted", "counterfoil CR-1001"),
            ("counterfoil CR-1001", "observed", "erp NC/31"),
        }
        by_number = {(node["system"], node["kind"]): node for node in graph["nodes"]}
        memo = by_number["billing", "document"]
        assert (memo["title"], memo["state"], memo["amounts"]) == (
            "credit", "confirmed", [{"amount": "120.00", "currency": "USD", "minor": 12_000}],
        )  # fmt: skip
        assert by_number["counterfoil", "counterfoil"]["state"] == "matched"
        assert (graph["left_out"], graph["more_runs"]) == (0, False)


async def test_a_refused_call_is_a_node_and_the_run_says_what_it_waits_for(tmp_path: Path) -> None:
    async with asked(tmp_path) as (_, http):
        graph = await graph_of(http, "CR-1002")
        call = next(node for node in graph["nodes"] if node["kind"] == "call")
        assert (call["number"], call["state"]) == ("erp.credit_memo.post", "refused")
        waiting = await graph_of(http, "CR-1003")
        run = next(node for node in waiting["nodes"] if node["kind"] == "run")
        assert "approval of 2,500.00 USD by finance-operations" in run["waits_for"]


async def test_the_page_of_a_counterfoil_says_what_its_run_waits_for(tmp_path: Path) -> None:
    async with asked(tmp_path) as (_, http):
        for key, waits in (("CR-1002", True), ("CR-1001", False)):
            page = await http.get(f"/foils/{ids.derive('foil', key)}", headers=PAGE)
            assert page.status_code == 200
            assert ("waits for a worker" in page.text) is waits


async def test_runs_are_joined_by_causation_in_both_directions(tmp_path: Path) -> None:
    async with asked(tmp_path) as (company, http):
        child = await child_run(company.app.store, "CR-1001", run_of("CR-1001"))
        for key, workflow in (("CR-1001", "support-credit-to-erp"), ("CR-1001", "credit-accrual")):
            graph = (await http.get(f"/v1/runs/{run_of(key, workflow)}/graph")).json()
            runs = {node["id"] for node in graph["nodes"] if node["kind"] == "run"}
            assert runs == {run_of("CR-1001"), child}
            assert {(e["source"], e["target"]) for e in graph["edges"]} >= {(run_of("CR-1001"), child)}
            assert "support" in graph["systems"]


async def test_a_counterfoil_that_an_event_asserts_stands_in_the_graph_of_its_document(
    tmp_path: Path,
) -> None:
    async with asked(tmp_path) as (company, http):
        store = company.app.store
        at = await store.now()
        await admit(store, at, foils=(invoice_foil("CR-1003", 4_200, 1, at),))
        await admit(store, at, items=(bill_item("BILL/3", "CR-1003", 4_200, at),))
        graph = await graph_of(http, "CR-1003")
        assert foil_of("CR-1003") in {node["id"] for node in graph["nodes"]}
        assert ("counterfoil CR-1003", "observed", "erp BILL/3") in edges(graph)


async def test_rows_of_another_entity_leave_no_trace(tmp_path: Path) -> None:
    async with asked(tmp_path) as (company, http):
        store = company.app.store
        await child_run(store, "CR-1001", run_of("CR-1001"), entity=GERMAN)
        whole = await graph_of(http, "CR-1001")
        assert sum(node["kind"] == "run" for node in whole["nodes"]) == 2
        person = await store.person("fay")
        assert person is not None
        bound = replace(person, entities=("acme-us",))
        await store.apply(PutPerson(person=bound, at=await store.now(), actor="test"))
        own = await graph_of(http, "CR-1001")
        assert sum(node["kind"] == "run" for node in own["nodes"]) == 1
        assert (own["left_out"], own["more_runs"]) == (0, False)
        hidden = await http.get(f"/v1/runs/{run_of('CR-1001', 'credit-accrual')}/graph")
        assert hidden.status_code == 404


async def test_without_the_right_or_the_run_nothing_is_drawn(tmp_path: Path) -> None:
    async with asked(tmp_path, "nil") as (company, http):
        for path in ("/v1/runs/{}/graph", "/runs/{}/graph", "/runs/{}/graph.svg"):
            assert (await http.get(path.format(run_of("CR-1001")))).status_code == 403
            answer = await http.get(path.format("run_x"), headers=company.bearer("fay"))
            assert answer.status_code == 404


async def test_a_bounded_graph_says_what_it_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("counterfoil.web.api.transaction_graph.MAX_NODES", 3)
    async with asked(tmp_path) as (_, http):
        graph = await graph_of(http, "CR-1001")
        assert (len(graph["nodes"]), graph["left_out"]) == (3, 2)
        ids_ = {node["id"] for node in graph["nodes"]}
        assert all({e["source"], e["target"]} <= ids_ for e in graph["edges"])
        page = await http.get(f"/runs/{run_of('CR-1001')}/graph", headers=PAGE)
        assert "the newest 2 documents and Runs are left out" in page.text


async def test_a_chain_of_runs_is_read_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("counterfoil.web.api.transaction_graph.MAX_RUNS", 1)
    async with asked(tmp_path) as (company, http):
        await child_run(company.app.store, "CR-1001", run_of("CR-1001"))
        graph = await graph_of(http, "CR-1001")
        assert graph["more_runs"]
        page = await http.get(f"/runs/{run_of('CR-1001')}/graph", headers=PAGE)
        assert "further Runs belong to it" in page.text


async def test_the_page_links_each_node_in_drawing_and_table(tmp_path: Path) -> None:
    async with asked(tmp_path) as (_, http):
        graph = await graph_of(http, "CR-1001")
        page = (await http.get(f"/runs/{run_of('CR-1001')}/graph", headers=PAGE)).text
        for node in graph["nodes"]:
            assert page.count(f'href="{node["page"]}"') >= 2, node
            assert (await http.get(node["page"].partition("#")[0], headers=PAGE)).status_code == 200
        assert "<script" not in page.partition("</head>")[2]
        assert f"/runs/{run_of('CR-1001')}/graph" in (await http.get(f"/runs/{run_of('CR-1001')}")).text


async def test_the_drawing_is_a_file_of_its_own(tmp_path: Path) -> None:
    async with asked(tmp_path) as (_, http):
        answer = await http.get(f"/runs/{run_of('CR-1001')}/graph.svg")
        assert answer.headers["content-type"].startswith("image/svg+xml")
        root = ElementTree.fromstring(answer.text)
        labels = [e.get("aria-label", "") for e in root.iter("{http://www.w3.org/2000/svg}a")]
        assert any(text.startswith("credit CM-7001 in billing, 120.00 USD") for text in labels)
        assert "prefers-color-scheme: dark" in answer.text


async def test_trace_writes_the_graph_as_a_table_as_json_and_as_a_file(tmp_path: Path) -> None:
    async with asked(tmp_path) as (company, http):
        table = await _table(company, "trace", run_of("CR-1001"), "--graph")
        assert "created by CR-1001" in table
        written = json.loads(await _table(company, "trace", run_of("CR-1001"), "--graph", "--format", "json"))
        assert written["edges"] == (await graph_of(http, "CR-1001"))["edges"]
        file = tmp_path / "out.svg"
        await _table(company, "trace", "CR-1001", "--svg", str(file))
        assert ElementTree.parse(file).getroot().tag.endswith("svg")


# ------------------------------------------------------------------ the drawing


def _graph(nodes: int, pairs: list[tuple[int, int]], state: str = "done") -> TransactionGraph:
    at = datetime(2026, 12, 3, tzinfo=UTC)
    made = [
        TransactionNode(id=str(n), kind="document", system=f"s{n % 3}", title="t", number=f"N-{n}", key="k", state=state, at=at, page="/")
        for n in range(nodes)
    ]  # fmt: skip
    return TransactionGraph(
        run="r", name="n", customer="", systems=[f"s{n}" for n in range(min(3, nodes))], nodes=made,
        edges=[TransactionEdge(source=str(a), target=str(b), word="created") for a, b in pairs], left_out=0,
        more_runs=False, as_of=at,
    )  # fmt: skip


def test_an_effect_stands_below_its_cause_and_no_two_boxes_overlap() -> None:
    drawn = draw(_graph(7, [(0, 1), (1, 2), (0, 3), (3, 6), (6, 4)]))
    place = {box.node.id: (box.x, box.y) for box in drawn.boxes}
    assert len(set(place.values())) == 7
    for a, b in ((0, 1), (1, 2), (0, 3), (3, 6), (6, 4)):
        assert place[str(a)][1] < place[str(b)][1]


def test_causes_that_go_in_a_circle_are_drawn() -> None:
    drawn = draw(_graph(3, [(0, 1), (1, 2), (2, 0), (1, 1)]))
    assert len(drawn.curves) == 4
    assert [box.y for box in drawn.boxes] == sorted(box.y for box in drawn.boxes)
