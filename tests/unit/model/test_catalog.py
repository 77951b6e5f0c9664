"""The catalog of the example company: entries with owners, what they have to do with each other, and its graph."""

from __future__ import annotations

import pytest

from counterfoil.model.catalog import Catalog, Edge, Key
from counterfoil.web.pages.catalog_graph import build_graph
from tests.companies.base import acme_model

FINALIZED: Key = ("event", "invoice.finalized.v1")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    model = acme_model()
    return Catalog(model)


def test_every_document_is_an_entry_and_every_edge_joins_two(catalog: Catalog) -> None:
    model = acme_model()
    assert set(catalog.entries) == {(d.kind, d.name) for d in model.documents}
    assert {key for edge in catalog.edges for key in (edge.source, edge.target)} <= set(catalog.entries)


def test_an_event_knows_who_produces_and_who_consumes_it(catalog: Catalog) -> None:
    edges = {edge for edge in catalog.of(FINALIZED) if edge.word in ("produces", "consumes")}
    assert edges == {
        Edge(("mapping", "billing-invoice-finalized"), "produces", FINALIZED),
        Edge(("workflow", "invoice-to-erp"), "consumes", FINALIZED),
        Edge(("workflow", "support-credit-to-erp"), "consumes", FINALIZED),
        Edge(("reconciliation", "invoice-in-erp"), "consumes", FINALIZED),
    }


def test_fields_have_their_system_of_record_and_its_owner(catalog: Catalog) -> None:
    fields = {field.path: field for field in catalog.entries["object", "invoice"].fields["fields"]}
    assert (fields["total"].system, fields["erp_number"].system) == ("billing", "erp")
    assert fields["total"].owners == ("finance-operations",)
    data = {field.path: field for field in catalog.entries[FINALIZED].fields["data"]}
    assert data["lines[].net"].type == "money"
    assert data["total"].system == "billing"
    customer = {field.path: field for field in catalog.entries["event", "customer.changed.v1"].fields["data"]}
    assert customer["email"].pii
    assert customer["email"].optional


def test_a_search_wants_every_word_and_puts_names_first(catalog: Catalog) -> None:
    names = [entry.name for entry in catalog.search("posted invoice")]
    assert names[0] == "erp.invoice_posted.v1"
    assert [e.name for e in catalog.search("accounting_date")] == []
    assert [e.name for e in catalog.search("incident_id", "event")] == [
        "incident.measured.v1",
        "support.credit_requested.v1",
    ]
    assert [e.kind for e in catalog.search(kind="system")] == ["system"] * 9


def test_the_flow_near_an_event_ends_at_the_systems(catalog: Catalog) -> None:
    flow = {(e.source[1], e.target[1]) for e in catalog.flow(FINALIZED)}
    assert flow >= {
        ("billing", "billing-invoice-finalized"),
        ("billing-invoice-finalized", "invoice.finalized.v1"),
        ("invoice-in-erp", "invoice.finalized.v1"),
        ("invoice-to-erp", "invoice.finalized.v1"),
        ("invoice-to-erp", "erp.invoice.post"),
        ("erp.invoice.post", "erp"),
        ("support-credit-to-erp", "invoice.finalized.v1"),
        ("billing.invoice.adjust", "billing"),
    }
    assert {source for source, _ in flow}.isdisjoint({"erp", "support"})
    assert "customer-sync" not in {source for source, _ in flow}


def test_the_graph_goes_from_left_to_right_and_no_boxes_touch(catalog: Catalog) -> None:
    graph = build_graph(catalog.flow())
    assert graph is not None
    assert {node.kind for node in graph.nodes} == {
        "system",
        "event",
        "workflow",
        "reconciliation",
        "operation",
    }
    assert len({(node.x, node.y) for node in graph.nodes}) == len(graph.nodes)
    assert max(node.x for node in graph.nodes) < graph.width
    assert "billing produces invoice.finalized.v1" in graph.lines
    assert "erp.invoice.post writes to erp" in graph.lines
    assert len(graph.curves) == len(graph.lines)
    assert build_graph([]) is None
