"""Files that sales and monitoring of the example company write: contracts with their service levels, and measured incidents."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from counterfoil.demo.stage import Stage

CONTRACTS = ("globex", "initech")
"""Customers of the story with service levels in their contracts."""
INCIDENTS = {
    "INC-large": timedelta(hours=25),
    "INC-lost": timedelta(hours=1),
    "INC-late": timedelta(hours=3),
    "INC-waiting": timedelta(hours=12),
}
"""Incidents of the story with their downtime."""
INCIDENT_AGE_DAYS = 3
TERMS: Mapping[str, Any] = {
    "availability_rate": "0.999",
    "claim_days": 30,
    "monthly_cap_rate": "1",
    "tiers": [
        {"below_rate": "0.999", "credit_rate": "0.1"},
        {"below_rate": "0.99", "credit_rate": "0.25"},
        {"below_rate": "0.95", "credit_rate": "0.5"},
    ],
}
"""The company's usual terms; rates are texts, because they are exact."""


def contracts_of(home: Path) -> Path:
    """Return the folder with the exports of sales."""
    return home / "contracts"


def incidents_of(home: Path) -> Path:
    """Return the folder with the files of monitoring."""
    return home / "incidents"


def open_folders(home: Path) -> None:
    """Create both folders."""
    for folder in (contracts_of(home), incidents_of(home)):
        folder.mkdir(parents=True, exist_ok=True)


def contract(account: str, number: str, start: date, zone: str, currency: str = "USD") -> dict[str, Any]:
    """Return a contract with the usual terms; `account` is the customer in billing."""
    return {
        "account": account, "number": number, "revision": 1, "currency": currency, "term_start": start.isoformat(),
        "term_end": None, "zone": zone, "status": "active", "sla": dict(TERMS),
    }  # fmt: skip


def incident(name: str, failed_at: datetime, downtime: timedelta, service: str = "cloud") -> dict[str, Any]:
    """Return a measured incident that is over."""
    return {
        "incident": name, "service": service, "failed_at": _text(failed_at), "restored_at": _text(failed_at + downtime),
        "downtime_seconds": downtime // timedelta(seconds=1), "evidence": None, "status": "confirmed",
    }  # fmt: skip


def write_contracts(home: Path, day: date, contracts: Sequence[Mapping[str, Any]]) -> Path:
    """Write the whole book of a day."""
    return _write(contracts_of(home) / f"contracts-{day}.jsonl", contracts)


def write_incidents(home: Path, name: str, incidents: Sequence[Mapping[str, Any]]) -> Path:
    """Write a file of incidents."""
    return _write(incidents_of(home) / f"incidents-{name}.jsonl", incidents)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write JSON lines. The file gets its name when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    unfinished.write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows), "utf-8")
    os.replace(unfinished, path)
    return path


# ------------------------------------------------------------------ the story


async def write_files(stage: Stage) -> str:
    """Let sales export the contracts of the story, and monitoring its incidents of three days ago."""
    today = datetime.now(UTC).date()
    contracts = [
        contract(stage.id(f"{name}.customer"), f"K-{name}", today - timedelta(days=400), "America/Chicago")
        for name in CONTRACTS
    ]
    write_contracts(stage.files, today, contracts)
    failed_at = datetime.combine(today - timedelta(days=INCIDENT_AGE_DAYS), time(18), tzinfo=UTC)
    write_incidents(
        stage.files, "story", [incident(name, failed_at, down) for name, down in INCIDENTS.items()]
    )
    return f"{len(contracts)} contracts with service levels, {len(INCIDENTS)} incidents"


async def files_received(stage: Stage) -> str | None:
    """Observe both files in events."""
    contracts = await stage.admin.all("events", type="contract.changed.v1")
    incidents = await stage.admin.all("events", type="incident.measured.v1")
    if len(contracts) < len(CONTRACTS) or len(incidents) < len(INCIDENTS):
        return None
    return ", ".join(sorted(event["data"]["number"] for event in contracts))
