"""Metrics in Prometheus' text format: families, labels and escaping."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from counterfoil.flow.context.deprecations import DeprecatedVersion
from counterfoil.rules.versions import DeprecationNotice
from counterfoil.store.port.stalled import KINDS, StalledFinding, StalledGroup
from counterfoil.store.port.versions import VersionUsage
from counterfoil.web.api import health

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
FAMILIES = {
    "counterfoil_runs": "gauge", "counterfoil_entity_runs": "gauge", "counterfoil_effects": "gauge", "counterfoil_foils": "gauge",
    "counterfoil_cases": "gauge", "counterfoil_approvals": "gauge", "counterfoil_links": "gauge",
    "counterfoil_todos": "gauge", "counterfoil_receipts": "gauge", "counterfoil_events": "gauge",
    "counterfoil_leaves_pending": "gauge", "counterfoil_leaves_sealed": "gauge",
    "counterfoil_oldest_due_seconds": "gauge", "counterfoil_ready": "gauge",
    "counterfoil_intake_shed": "counter", "counterfoil_intake_queue": "gauge", "counterfoil_stuck": "gauge",
    "counterfoil_deprecated_users": "gauge", "counterfoil_deprecated_uses": "counter",
    "counterfoil_sunset_seconds": "gauge", "counterfoil_operation_calls": "counter",
}  # fmt: skip
"""Names that dashboards and alerts depend on."""


class StubStore:
    async def next_due(self) -> datetime:
        return NOW - timedelta(seconds=90)

    async def stall_findings(self) -> list[Any]:
        stalled = StalledGroup(
            kind="todo_waiting", about="billing", count=2, since=NOW, subjects=("receipt 1",)
        )
        return [StalledFinding(stuck=stalled, first_at=NOW, seen_at=NOW, case=None)]


class StubApplication:
    """The parts of an application that metrics read."""

    store = StubStore()
    model = SimpleNamespace(default_entity="acme-us")
    intake = SimpleNamespace(refused=Counter(queue=7), depth=3)
    gateway = SimpleNamespace(counts={('erp.a"b\\c', "ended"): 5})

    @property
    def views(self) -> StubApplication:
        return self

    async def counts(self) -> dict[str, int]:
        return {"run.done": 4, "run.waiting": 2, "receipt": 8, "tree": 55}

    async def runs_by_entity(self) -> list[tuple[str, str, int]]:
        return [("", "done", 1), ("acme-de", "waiting", 2), ("acme-us", "done", 3)]

    async def health(self) -> dict[str, Any]:
        return {"ready": True}

    async def now(self) -> datetime:
        return NOW


@pytest.fixture
async def families(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    async def in_use(*_: Any) -> list[Any]:
        notice = DeprecationNotice(
            name="sale.closed.v1", since=NOW, sunset=NOW + timedelta(days=3), use=None, past_sunset=False
        )
        use = VersionUsage(
            name=notice.name, side="sends", who="person:ann", count=9, first_at=NOW, last_at=NOW
        )
        return [DeprecatedVersion(notice=notice, used=(use,), waiting=())]

    monkeypatch.setattr(health, "in_use", in_use)
    text = (await health.exposition(StubApplication())).decode()  # type: ignore[arg-type]
    return {family.name: family for family in text_string_to_metric_families(text)}


def samples(family: Any) -> dict[tuple[str, ...], float]:
    return {tuple(sample.labels.values()): sample.value for sample in family.samples}


async def test_the_names_of_all_families_are_stable(families: dict[str, Any]) -> None:
    assert {name: family.type for name, family in families.items()} == FAMILIES
    assert all(family.documentation.endswith(".") for family in families.values())


async def test_values_come_from_the_store(families: dict[str, Any]) -> None:
    assert samples(families["counterfoil_runs"]) == {("done",): 4, ("waiting",): 2}
    assert samples(families["counterfoil_entity_runs"]) == {("acme-de", "waiting"): 2, ("acme-us", "done"): 4}
    assert samples(families["counterfoil_receipts"]) == {(): 8}
    assert samples(families["counterfoil_oldest_due_seconds"]) == {(): 90}
    assert samples(families["counterfoil_intake_shed"]) == {("queue",): 7, ("backlog",): 0, ("age",): 0}
    assert samples(families["counterfoil_deprecated_users"]) == {("sale.closed.v1",): 1}
    assert samples(families["counterfoil_deprecated_uses"]) == {("sale.closed.v1",): 9}
    assert samples(families["counterfoil_sunset_seconds"]) == {("sale.closed.v1",): 3 * 86_400}


async def test_every_kind_of_stalled_work_has_a_sample(families: dict[str, Any]) -> None:
    stuck = samples(families["counterfoil_stuck"])
    assert set(stuck) == {(kind,) for kind in KINDS}
    assert stuck["todo_waiting",] == 2


async def test_labels_are_escaped(families: dict[str, Any]) -> None:
    assert samples(families["counterfoil_operation_calls"]) == {('erp.a"b\\c', "ended"): 5}
