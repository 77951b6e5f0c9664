"""Help desk of the demonstration, used over HTTP as people and programs use it."""

from __future__ import annotations

import hashlib
import hmac
import json
import stat
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import httpx2
import pytest

from counterfoil.core.errors import Refused
from counterfoil.demo.desk.client import DeskClient
from counterfoil.demo.people import members
from counterfoil.demo.ports import free_port
from tests.contract.desk_process import Desk, prepare, running_desk, serving


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with running_desk(tmp_path_factory.mktemp("desk") / "d") as desk:
        yield desk


async def request_credit(client: DeskClient, amount: str = "120.00") -> str:
    return await client.request_credit(
        "agent",
        "Credit for the outage",
        "cus_1",
        "in_1",
        amount,
        "EUR",
        "sla_breach",
        "INC-1",
        date(2026, 3, 28),
    )


async def test_credit_amount_comes_back_as_the_text_that_was_sent(desk: Desk) -> None:
    async with DeskClient.prepared(desk.folder) as client:
        issue = await client.get(await request_credit(client, "1234567890.10"))
    assert issue["credit_amount"] == "1234567890.10"
    assert issue["status"] == "credit-requested"
    assert issue["creator"] == "agent"
    assert issue["incident_on"] == "2026-03-28"
    assert issue["revision"] == 1


async def test_issues_are_found_by_the_exact_text_of_a_field(desk: Desk) -> None:
    async with DeskClient.prepared(desk.folder) as client:
        issues = [
            await client.request_credit(
                "agent", "Credit", "cus_1", "in_1", "5.00", "EUR", "sla", incident, date(2026, 3, 28)
            )
            for incident in ("INC-a/b", "INC-a/b2")
        ]
        assert await client.find(incident_ref="INC-a/b") == issues[:1]
        assert await client.find(incident_ref="INC-a") == []


async def test_every_change_sends_a_callback_with_a_signature_over_the_raw_body(desk: Desk) -> None:
    while not desk.hook.calls.empty():
        desk.hook.calls.get()
    async with DeskClient.prepared(desk.folder) as client:
        issue = await request_credit(client)
        await client.update(issue, "agent2", credit_amount="99.50")
    callbacks = [desk.hook.wait() for _ in range(2)]
    for headers, body in callbacks:
        good = hmac.new(desk.seed["hook_secret"].encode(), body, hashlib.sha256).hexdigest()
        assert headers["x-hub-signature-256"] == "sha256=" + good
        assert headers["x-desk-delivery"] == json.loads(body)["delivery"]
    first, second = (json.loads(body) for _, body in callbacks)
    assert (first["event"], first["id"], first["actor"], first["revision"]) == (
        "issue.created",
        issue,
        "agent",
        1,
    )
    assert (second["event"], second["actor"], second["revision"]) == ("issue.updated", "agent2", 2)
    assert second["credit_amount"] == "99.50"
    assert second["creator"] == "agent"


@pytest.mark.parametrize(
    ("user", "fields", "reason"),
    [
        ("agent", {"status": "credit-approved"}, "needs the Approver role"),
        ("lead", {"status": "credit-posted", "erp_document": "CN-1"}, "Integration role only"),
        ("orchestrator", {"status": "credit-posted"}, "with the erp_document"),
        ("agent", {"credit_amount": "12,50"}, "not a positive decimal"),
        ("agent", {"credit_amount": "0.00"}, "not a positive decimal"),
        ("agent", {"incident_on": "yesterday"}, "not a date"),
        ("agent", {"nonsense": "1"}, "nonsense"),
    ],
)
async def test_a_change_against_the_desks_rules_is_refused_and_changes_nothing(
    desk: Desk, user: str, fields: dict[str, str], reason: str
) -> None:
    async with DeskClient.prepared(desk.folder) as client:
        issue = await request_credit(client)
        with pytest.raises(Refused, match=reason):
            await client.update(issue, user, **fields)
        assert (await client.get(issue))["revision"] == 1


async def test_the_requester_cannot_approve(desk: Desk) -> None:
    async with DeskClient.prepared(desk.folder) as client:
        issue = await client.request_credit(
            "lead", "Own", "cus_1", "in_1", "5", "EUR", "goodwill", "INC-2", date(2026, 3, 1)
        )
        with pytest.raises(Refused, match="person who requested"):
            await client.update(issue, "lead", status="credit-approved")
        await client.update(issue, "orchestrator", status="credit-approved")


async def test_a_posted_credit_is_frozen(desk: Desk) -> None:
    async with DeskClient.prepared(desk.folder) as client:
        issue = await request_credit(client)
        await client.update(issue, "lead", status="credit-approved")
        await client.update(issue, "orchestrator", status="credit-posted", erp_document="CN-1")
        with pytest.raises(Refused, match="cannot change once the credit is posted"):
            await client.update(issue, "agent", credit_amount="1000")


async def test_one_external_reference_names_one_issue(desk: Desk) -> None:
    async with DeskClient.prepared(desk.folder) as client:
        first, second = await request_credit(client), await request_credit(client)
        await client.update(first, "orchestrator", external_ref="ext-77")
        with pytest.raises(Refused, match=f"taken by issue{first}"):
            await client.update(second, "orchestrator", external_ref="ext-77")


async def test_the_issue_page_shows_the_credit_to_agents_but_not_to_strangers(desk: Desk) -> None:
    async with DeskClient.prepared(desk.folder) as client:
        issue = await request_credit(client, "77.31")
    async with httpx2.AsyncClient(trust_env=False) as browser:
        page = await browser.get(f"{desk.url}/issue{issue}", auth=("agent", desk.seed["users"]["agent"]))
        stranger = await browser.get(f"{desk.url}/issue{issue}")
    assert "77.31" in page.text
    assert "77.31" not in stranger.text


async def test_an_agent_in_a_browser_logs_in_and_requests_a_credit(desk: Desk) -> None:
    while not desk.hook.calls.empty():
        desk.hook.calls.get()
    origin = desk.url.removesuffix("/desk")
    headers = {"Origin": origin, "Referer": f"{desk.url}/"}
    async with httpx2.AsyncClient(trust_env=False, headers=headers, follow_redirects=True) as browser:
        password = desk.seed["users"]["agent"]
        login = {"@action": "login", "__login_name": "agent", "__login_password": password}
        await browser.post(f"{desk.url}/", data={**login, "__came_from": f"{desk.url}/"})
        form = {
            "@action": "new",
            "@template": "item",
            "title": "Filed in a browser",
            "priority": "2",
            "status": "credit-requested",
            "account_ref": "cus_9",
            "credit_amount": "45.50",
            "credit_currency": "USD",
            "credit_reason": "goodwill",
        }
        page = await browser.post(f"{desk.url}/issue", data=form)
    assert page.status_code == 200, page.text
    callback = json.loads(desk.hook.wait()[1])
    assert (callback["title"], callback["creator"]) == ("Filed in a browser", "agent")
    assert (callback["credit_amount"], callback["status"]) == ("45.50", "credit-requested")


def test_secrets_are_readable_by_their_owner_only(desk: Desk) -> None:
    assert stat.S_IMODE((desk.folder / "seed.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((desk.folder / "tracker").stat().st_mode) == 0o700


async def test_a_desk_prepared_twice_and_moved_keeps_its_issues_and_notes_lost_callbacks(
    tmp_path: Path,
) -> None:
    folder, unreachable = tmp_path / "d", f"http://127.0.0.1:{free_port()}/hook"
    prepare(folder, free_port(), unreachable)
    port = free_port()
    with serving(folder, port):
        async with DeskClient.prepared(folder) as client:
            issue = await request_credit(client)
    secrets_before = json.loads((folder / "seed.json").read_text())["users"]
    prepare(folder, free_port(), unreachable)
    moved = free_port()
    elsewhere = f"http://127.0.0.1:{free_port()}/elsewhere"
    with serving(folder, moved, "--hook", elsewhere):
        async with DeskClient.prepared(folder) as client:
            assert (await client.get(issue))["credit_amount"] == "120.00"
            await client.update(issue, title="still here")
            failures = folder / "hook-failures.jsonl"
            while not (failures.exists() and "elsewhere" in failures.read_text()):
                await client.get(issue)
    seed = json.loads((folder / "seed.json").read_text())
    assert seed["users"] == secrets_before
    assert seed["url"] == f"http://127.0.0.1:{moved}/desk"


async def test_persons_open_the_desk_with_their_own_passwords_also_at_a_later_start(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    prepare(folder, free_port(), f"http://127.0.0.1:{free_port()}/hook")
    prepared = json.loads((folder / "seed.json").read_text())["users"]
    persons = members(tmp_path)
    port = free_port()
    with serving(folder, port, "--persons", str(tmp_path / "persons.json")):
        async with DeskClient.prepared(folder) as client:
            issue = await request_credit(client)
    with serving(folder, port, "--persons", str(tmp_path / "persons.json")):
        passwords = {id: member.password for id, member in persons.items()}
        async with DeskClient(f"http://127.0.0.1:{port}/desk", passwords) as client:
            for person in persons:
                assert (await client.get(issue, person))["creator"] == "agent"
        stale = {id: password for id, password in prepared.items() if id in persons}
        assert stale.keys() >= {"agent", "lead", "admin"}
        async with DeskClient(f"http://127.0.0.1:{port}/desk", stale) as client:
            for person in stale:
                with pytest.raises(Refused, match=r"401|403"):
                    await client.get(issue, person)
    assert stat.S_IMODE((folder / "seed.json").stat().st_mode) == 0o600
