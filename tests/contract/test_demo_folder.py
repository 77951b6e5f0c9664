"""The demonstration activates no edit of its folder: persons do, with `plan` and `apply`."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path

import httpx2
import pytest

from counterfoil.demo.children import Child
from counterfoil.demo.company import SERVER, folder_notices
from counterfoil.demo.ports import free_port
from tests.patience import PATIENCE_SECONDS

COMPANY = """
{kind: role, name: finance, may: ["releases:any:plan", "releases:any:apply"]}
---
{kind: system, name: shop, role: billing, connector: external, owner: finance}
"""
PERSON = {"id": "dana", "name": "Dana Director", "email": "dana@example.com", "roles": ["finance"]}
EDITS = {
    "a changed document": (COMPANY.replace("role: billing", "role: erp"), "differs from it"),
    "a new document": (COMPANY + "---\n{kind: role, name: more}\n", "differs from it"),
    "a broken document": (COMPANY + "---\n{kind: nothing}\n", "does not pass check"),
}


async def started(work: Path) -> tuple[list[str], list[tuple[str]], int]:
    """Start the server as the demonstration does. Return its notices, and the Releases and plans of its store."""
    folder, port = work / "governance", free_port()
    words = ["up", str(folder), "--port", str(port)]
    server = Child(
        "the server", SERVER, words, work / "server.log", work, {"COUNTERFOIL_PEOPLE": "people.json"}
    )

    async def ready() -> bool:
        try:
            async with httpx2.AsyncClient(timeout=2, trust_env=False) as http:
                return (await http.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200
        except httpx2.TransportError:
            return False

    server.start()
    try:
        await server.until(ready, PATIENCE_SECONDS)
        notices = folder_notices(server, folder)
    finally:
        await server.stop(PATIENCE_SECONDS)
    with sqlite3.connect(work / ".counterfoil" / "counterfoil.db") as store:
        releases = store.execute("SELECT digest FROM release").fetchall()
        plans: int = store.execute("SELECT count(*) FROM plan").fetchone()[0]
    return notices, releases, plans


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_folder_stays_a_proposal(tmp_path: Path, edit: str) -> None:
    (tmp_path / "governance").mkdir()
    file = tmp_path / "governance" / "company.yaml"
    file.write_text(COMPANY)
    (tmp_path / "people.json").write_text(json.dumps([PERSON]))
    notices, first, plans = asyncio.run(started(tmp_path))
    assert (notices, len(first), plans) == ([], 1, 0)
    text, said = EDITS[edit]
    file.write_text(text)
    notices, releases, plans = asyncio.run(started(tmp_path))
    assert (releases, plans) == (first, 0)
    assert len(notices) == 1
    assert said in notices[0]
    assert "counterfoil apply" in notices[0] or "counterfoil check" in notices[0]
    file.write_text(COMPANY)
    assert asyncio.run(started(tmp_path))[0] == []
