"""A store from before legal entities were declared: what it holds belongs to the default entity afterwards."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from counterfoil.flow.context.releases import Releases
from counterfoil.flow.worker.rebuild import rebuild_documents
from counterfoil.model import Model, kinds
from counterfoil.store.check import violations
from counterfoil.testing.played_loop import PlayedClock
from counterfoil.testing.run import Suite
from tests.companies.base import acme_model

TEST = "invoice-is-posted-and-reconciled"


class KeepingSuite(Suite):
    """A suite that keeps the store of its last test."""

    store: Any = None

    async def _differences(self, model: Model, test: kinds.Test, clock: PlayedClock, store: Any) -> list[str]:
        self.store = store
        return await super()._differences(model, test, clock, store)


def without_differences(value: Any) -> Any:
    """Return a document without the legs that read the currency of the entity."""
    if isinstance(value, list):
        return [without_differences(item) for item in value]
    if not isinstance(value, dict):
        return value
    of_entity = ("_difference", "rate_age", "rate_ahead", "rate_day", "rate_source", "vat", "let")
    return {key: without_differences(item) for key, item in value.items() if not key.endswith(of_entity)}


def without_entities(model: Model) -> Model:
    """Return acme as it was before it declared legal entities."""
    documents = [
        {key: without_differences(value) for key, value in document.items() if key != "legal_entity"}
        for document in (written.data for written in model.documents)
        if document["kind"] not in ("legal_entity", "overlay") and "stands_for" not in document
        and not (document["kind"] == "test" and document["name"].startswith("german"))
    ]  # fmt: skip
    return Model.from_documents(documents)


def test_documents_and_runs_belong_to_the_default_entity_once_it_is_declared() -> None:
    new = acme_model()
    old = without_entities(new)
    suite = KeepingSuite(old)
    try:
        (document,) = [d for d, test in old.documents_of(kinds.Test) if test.name == TEST]
        assert suite.result(document).difference == ""
        before = suite._loop.run(suite.store.dump())
        assert {(f.state.value, f.entity) for f in before.foils} == {("matched", "")}
        assert {run.entity for run in before.runs} == {""}
        changed = suite._loop.run(rebuild_documents(suite.store, Releases(suite.store, new)))
        assert changed == len(new.reconciliations)
        after = suite._loop.run(suite.store.dump())
    finally:
        suite.close()
    assert {(f.state.value, f.reason, f.entity) for f in after.foils} == {("matched", "", "acme-us")}
    assert {o.entity for o in after.observations} == {"acme-us"}
    assert after.events == before.events
    assert violations(after, datetime(2026, 3, 2, 12, tzinfo=UTC)) == []
