"""Reads by id and filters over HTTP, in a store with more rows than any list reads."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from counterfoil.core.case import Choice
from counterfoil.store.sql.sqlite import SqliteStore
from counterfoil.web.http import server
from tests.companies.base import acme_model
from tests.companies.web import TrialApp, cheap_passwords, people
from tests.companies.web_rows import approval_of, fill
from tests.unit.rules.test_envelope import ENVELOPE, documented

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("by-id")]
NEWER = 50_001
"""Rows that are newer than the one that is read: lists were once searched up to 50,000 rows."""


def bury(path: Path) -> None:
    """Copy one approval, one Case and one event many times, each copy newer than the rest."""
    columns = {"approval": "created_at", "case_": "created_at", "event": "received_at"}
    db = sqlite3.connect(path)
    with db:
        for table, time in columns.items():
            names = [row[1] for row in db.execute(f"pragma table_info({table})")]
            which = "" if table == "event" else "where state = 'open'"
            values = ", ".join(
                {"id": "id || '_' || i", time: f"{time} + 10000000000 + i"}.get(name, name) for name in names
            )
            db.execute(
                f"insert into {table} with recursive n(i) as (select 1 union all select i + 1 from n where i < ?) "
                f"select {values} from n, (select * from {table} {which} limit 1)",
                (NEWER,),
            )
    db.close()


class Buried:
    """A company whose first rows are behind many newer ones."""

    def __init__(self, app: TrialApp, http: httpx2.AsyncClient, tokens: dict[str, str]) -> None:
        self.app = app
        self._http = http
        self._tokens = tokens

    async def get(self, path: str) -> Any:
        answer = await self._http.get(path, headers=self._bearer("ada"))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def _bearer(self, person: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self._tokens[person]}"}

    async def post(self, person: str, path: str, body: dict[str, Any]) -> Any:
        answer = await self._http.post(path, json=body, headers=self._bearer(person))
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def company(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Buried]:
    path = tmp_path_factory.mktemp("buried") / "company.db"
    store = await SqliteStore.open(path)
    tokens = await people(store, cheap_passwords())
    await fill(store)
    await store.close()
    bury(path)
    store = await SqliteStore.open(path)
    model = acme_model()
    app = TrialApp(store, model)
    transport = httpx2.ASGITransport(server.build(app))
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as http:
        yield Buried(app, http, tokens)
    await store.close()


async def test_an_approval_behind_many_newer_ones_is_found(company: Buried) -> None:
    for key in ("CR-1001", "CR-1003"):
        id_ = approval_of(key)
        assert (await company.get(f"/v1/approvals/{id_}"))["id"] == id_


async def test_a_case_behind_many_newer_ones_is_found(company: Buried) -> None:
    assert (await company.get("/v1/cases/case_unrouted_1"))["id"] == "case_unrouted_1"


async def test_an_event_behind_many_newer_ones_is_found_by_its_type(company: Buried) -> None:
    posted = await company.get("/v1/events?type=erp.credit_memo_posted.v1&key=CR-1001")
    assert [event["key"] for event in posted["items"]] == ["CR-1001"]


async def test_a_type_is_no_status_and_a_system_is_no_owner(company: Buried) -> None:
    for wrong in (
        "type=erp",
        "system=erp.credit_memo_posted.v1",
        "type=confirmed",
        "system=finance-operations",
    ):
        assert (await company.get(f"/v1/events?{wrong}"))["items"] == []
    erp = await company.get("/v1/events?system=erp")
    assert {event["type"] for event in erp["items"]} == {"erp.credit_memo_posted.v1"}


async def test_every_event_of_a_list_has_the_common_envelope(company: Buried) -> None:
    types = ("support.credit_requested.v1", "erp.credit_memo_posted.v1")
    lists = [await company.get(f"/v1/events?limit=20&type={name}") for name in types]
    items = [item for page in lists for item in page["items"]]
    assert {item["type"] for item in items} == set(types)
    for item in items:
        empty = [name for name in ENVELOPE if not item[name]]
        assert [name for name in empty if documented()[name] == "never"] == []
        assert item["idempotency_key"] == item["id"]
        assert len(item["payload_hash"]) == 64


async def test_a_list_of_approvals_reads_all_votes_at_once(
    company: Buried, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    votes = company.app.store.votes

    async def counted(approvals: Any) -> Any:
        reads.append(len(approvals))
        return await votes(approvals)

    monkeypatch.setattr(company.app.store, "votes", counted)
    listing = await company.get("/v1/approvals?limit=100")
    assert (len(listing["items"]), reads) == (100, [100])


async def test_a_decision_without_a_subject_finds_an_old_approval(company: Buried) -> None:
    id_ = approval_of("CR-1003")
    verdict = await company.post("fay", f"/v1/approvals/{id_}", {"decision": "approve"})
    assert verdict == {"id": id_, "verdict": "granted"}


async def test_an_old_case_is_resolved(company: Buried) -> None:
    body = {"choice": str(Choice.DISMISS), "note": "done"}
    assert (await company.post("ada", "/v1/cases/case_unrouted_1", body))["verdict"] == "resolved"
