"""A replayed Run follows the overlays of its legal entity, and calls the systems that stand for others there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from counterfoil.model import Model, kinds
from counterfoil.replay.impact import impact
from counterfoil.store.port.recorded import DeliveryFilter, RecordedDelivery
from counterfoil.testing.played_loop import PlayedClock
from counterfoil.testing.run import Suite
from tests.companies.base import edited, model_of
from tests.unit.testing.test_entities import COMPANY, GERMAN, HOME

OVERLAY = """---
kind: overlay
name: german-accounts
of: {legal_entity: acme-de}
changes:
  - kind: table
    name: accounts
    set:
      rows:
        - {entity: acme-de, account: "8400", since: "2020-01-01"}
"""
TEST = f"""---
kind: test
name: it
now: 2026-03-02T09:00:00Z
given:
  {GERMAN}  {HOME}expect:
  runs: [{{workflow: post, state: posted, times: 2}}]
"""


class RecordingSuite(Suite):
    """A suite that keeps the store of its last test."""

    store: Any = None

    async def _differences(self, model: Model, test: kinds.Test, clock: PlayedClock, store: Any) -> list[str]:
        self.store = store
        return await super()._differences(model, test, clock, store)

    def traffic(self) -> list[RecordedDelivery]:
        whole = DeliveryFilter(since=datetime(2026, 1, 1, tzinfo=UTC), until=datetime(2027, 1, 1, tzinfo=UTC))
        deliveries: tuple[list[RecordedDelivery], int | None] = self._loop.run(self.store.traffic(whole))
        return deliveries[0]


def traffic_of(model: Model) -> list[RecordedDelivery]:
    suite = RecordingSuite(model)
    try:
        (document,) = [document for document, _ in model.documents_of(kinds.Test)]
        assert suite.result(document).difference == ""
        return suite.traffic()
    finally:
        suite.close()


def test_a_changed_overlay_changes_the_runs_of_its_entity_alone(tmp_path: Path) -> None:
    text = COMPANY + OVERLAY + TEST
    old = model_of(text)
    new = model_of(
        edited(
            text,
            (
                'account: "8400", since: "2020-01-01"}\n' + TEST,
                'account: "8500", since: "2020-01-01"}\n' + TEST,
            ),
        )
    )
    traffic = traffic_of(old)
    same = impact(old, model_of(text), traffic, every=True)
    assert same.nothing, same
    report = impact(old, new, traffic)
    (effects,) = report.effects
    assert (effects.name, effects.changed, effects.fields) == (
        "books.invoice.post",
        1,
        {"input.account": 1, "request.account": 1},
    )
    assert report.counts.changed == 1
    assert report.counts.not_comparable == 0
