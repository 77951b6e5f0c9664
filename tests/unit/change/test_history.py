"""A document's history over the Releases of a store: what changed it, who asked, who approved."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from counterfoil.change.history import History
from counterfoil.core import wire
from counterfoil.core.release import Plan
from counterfoil.store.memory import MemoryStore
from counterfoil.store.port.releases import ApplyPlan, PutFirstRelease, PutPlan

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
ROLE = {"kind": "role", "name": "finance", "may": ["runs:any:read"]}
WIDER = ROLE | {"may": ["runs:any:read", "cases:any:read"]}
OTHER = {"kind": "role", "name": "support"}


async def release(store: MemoryStore, base: str, revision: str, documents: list[object]) -> None:
    plan = Plan(
        digest=f"plan-{revision}", base=base, revision=revision, requester="ann", created_at=NOW,
        expires=NOW + timedelta(days=1),
    )  # fmt: skip
    await store.apply(PutPlan(plan=plan, model=wire.dumps(documents), at=NOW, actor="person:ann"))
    applied = await store.apply(ApplyPlan(plan=plan.digest, person="ann", reason="as agreed", at=NOW))
    assert applied.verdict == "applied"


async def test_the_history_lists_only_releases_that_changed_the_document_newest_first() -> None:
    store = MemoryStore(lambda: NOW)
    await store.apply(PutFirstRelease(digest="r1", body=wire.dumps([ROLE]), at=NOW, actor="up"))
    await release(store, "r1", "r2", [ROLE, OTHER])
    await release(store, "r2", "r3", [WIDER, OTHER])
    await release(store, "r3", "r4", [OTHER])
    await release(store, "r4", "r1", [ROLE])
    history = History(store)
    changes = [
        (change.change, change.step.no, change.step.requester)
        for change in await history.of("role", "finance")
    ]
    assert changes == [
        ("added", 5, "ann"),
        ("removed", 4, "ann"),
        ("changed", 3, "ann"),
        ("added", 1, ""),
    ]
    assert [change.step.no for change in await history.of("role", "support")] == [5, 2]
    assert [change.step.no for change in await history.of("role", "finance", limit=1)] == [5]
    assert await history.of("role", "unknown") == []
