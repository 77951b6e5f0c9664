"""Links belong to the legal entity of the fact or Run that established them."""

from __future__ import annotations

from counterfoil.core.link import Link
from counterfoil.model import kinds
from tests.companies.base import acme_model
from tests.unit.flow.test_default_entity import KeepingSuite


def links_after(test_name: str) -> list[Link]:
    """Return the Links that a test of acme leaves in the store."""
    model = acme_model()
    suite = KeepingSuite(model)
    try:
        (document,) = [d for d, test in model.documents_of(kinds.Test) if test.name == test_name]
        assert suite.result(document).difference == ""
        return list(suite._loop.run(suite.store.dump()).links)
    finally:
        suite.close()


def test_an_id_that_a_delivery_mints_and_one_that_a_call_returns_have_their_entity() -> None:
    links = links_after("german-invoice-is-posted-in-the-german-books")
    established = {(link.established_by.partition(":")[0], link.object): link.legal_entity for link in links}
    assert established["receipt", "invoice"] == "acme-de"
    assert established["effect", "invoice"] == "acme-de"
    assert set(established.values()) == {"acme-de"}


def test_links_of_the_default_entity_name_it() -> None:
    links = links_after("invoice-is-posted-and-reconciled")
    assert {link.legal_entity for link in links} == {"acme-us"}
