"""The audit of a store for `doctor`: it reads the store itself, beside a running server or without one."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from counterfoil.core.errors import Misconfigured
from counterfoil.core.finding import did_you_mean
from counterfoil.core.plural import counted

if TYPE_CHECKING:
    from counterfoil.core.audit import Checkpoint
    from counterfoil.store.dump import Dump
    from counterfoil.store.port.audited import AuditTree

Check = tuple[str, bool, str, str]
"""Name, whether it passed, detail, advice."""
POSTGRES = ("postgresql://", "postgres://")
DEMO_STORE = Path("demo", "store.sqlite")
"""Store of `counterfoil demo` in the home folder."""
ADVICE = (
    "Keep a copy of the store and of .counterfoil as they are. Compare with a backup and with the systems: "
    "docs/how-to/audit-a-store.md."
)


def verifier_check(home: Path) -> list[Check]:
    """Return the line that verifies checkpoints, if this folder has the key."""
    if not (home / "audit.key").exists():
        return []
    from counterfoil.flow.worker.audit_checkpoint import CheckpointSigner

    verifier = CheckpointSigner.load_or_create(home / "audit.key", "counterfoil.local").verifier
    return [("audit verifier", True, verifier, "")]


def audit_checks(store_url: str, home: Path) -> list[Check]:
    """Recompute the audit log and what it covers. Raises Misconfigured when the store cannot be read."""
    from counterfoil.core.clock import utc_now
    from counterfoil.flow.worker.audit_checkpoint import CheckpointFile, CheckpointSigner
    from counterfoil.store.audit import audit
    from counterfoil.store.check import violations
    from counterfoil.store.sql.columns import UnreadableRow

    try:
        identity, now, dump, tree = asyncio.run(_read(store_url))
    except UnreadableRow as unreadable:
        return [("audit", False, str(unreadable), ADVICE)]
    verify = _unsigned
    if (home / "audit.key").exists():
        verify = CheckpointSigner.load_or_create(home / "audit.key", "counterfoil.local").verify
    published = CheckpointFile(home / f"checkpoint-{identity}").head()
    findings = [*audit(dump, tree, verify, published), *violations(dump, max(now, utc_now()))]
    checks: list[Check] = [("audited store", True, store_url.rpartition("@")[2], "")]
    checks += [("audit", False, finding, ADVICE) for finding in findings]
    if not findings:
        outside = (
            "" if published is None else f", {published[0]} of them covered by {home}/checkpoint-{identity}"
        )
        leaves, points = (
            counted(len(tree.entries), "leaf", "leaves"),
            counted(len(tree.checkpoints), "checkpoint"),
        )
        detail = f"{leaves}, {points}{outside}"
        checks.append(("audit", True, detail, ""))
    return checks


async def _read(store_url: str) -> tuple[str, datetime, Dump, AuditTree]:
    if store_url.startswith(POSTGRES):
        from counterfoil.store.sql.postgres import PostgresStore

        store = await PostgresStore.open(store_url)
        try:
            return await store.identity(), await store.now(), *await store.audited()
        finally:
            await store.close()
    from counterfoil.core.clock import utc_now
    from counterfoil.store.sql import audited
    from counterfoil.store.sql.sqlite import read_file

    path = Path(store_url.removeprefix("sqlite:"))
    return read_file(path, audited.identity), utc_now(), *read_file(path, audited.audited)


def existing_store(store_url: str, default: str, home: Path) -> str:
    """Return the store to audit: in place of a missing default store, that of the demonstration.

    Raises Misconfigured if there is none.
    """
    path = Path(store_url.removeprefix("sqlite:"))
    if store_url.startswith(POSTGRES) or path.is_file():
        return store_url
    of_demo = home / DEMO_STORE
    stores = [str(file) for file in (*sorted(home.glob("counterfoil*.db")), of_demo) if file.is_file()]
    if store_url == default and of_demo.is_file():
        return f"sqlite:{of_demo}"
    near = did_you_mean(str(path), stores, f"found here: {', '.join(stores)}" if stores else "")
    raise Misconfigured(f"There is no store at {path}. Name it with --store{f'; {near}' if near else '.'}")


def _unsigned(checkpoint: Checkpoint) -> str:
    """Without the key, signatures are not verified; sizes and roots are."""
    del checkpoint
    return ""
