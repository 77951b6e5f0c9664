"""The Roundup connector on the demonstration's help desk: what it makes of the tracker's rules and answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
import pytest_asyncio

from counterfoil.connectors import faults, roundup, signature
from counterfoil.connectors.roundup.connector import Roundup
from counterfoil.connectors.sdk import Absent, Confirmed, Delivery, Rejected, Request, SystemConfig, Unknown
from counterfoil.core.errors import ErrorClass, Misconfigured, Refused
from counterfoil.demo.desk.client import DeskClient
from tests.contract.desk_process import Desk, running_desk
from tests.contract.trial_roundup import config_of


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with running_desk(tmp_path_factory.mktemp("desk") / "d") as desk:
        yield desk


@pytest_asyncio.fixture
async def people(desk: Desk) -> AsyncIterator[DeskClient]:
    async with DeskClient.prepared(desk.folder) as people:
        yield people


@pytest_asyncio.fixture
async def connector(desk: Desk) -> AsyncIterator[Roundup]:
    connector = roundup.connect(config_of(desk))
    yield connector
    await connector.close()


async def new_credit(people: DeskClient, amount: str = "120.00") -> str:
    return await people.request_credit(
        "agent", "Outage", "cus_1", "in_1", amount, "EUR", "sla_breach", "INC-1", date(2026, 3, 28)
    )


def reply(ticket: str, key: str, message: str = "Done.", **more: Any) -> Request:
    body = {"ticket": ticket, "message": message, **more}
    return Request("support.ticket.reply", key, json.dumps(body).encode())


def create(key: str, **body: Any) -> Request:
    return Request("support.ticket.create", key, json.dumps(body).encode())


def refused_as(outcome: object) -> ErrorClass | None:
    return outcome.error_class if isinstance(outcome, Rejected) else None


async def test_a_reply_shows_its_message_and_sets_its_fields_in_one_change(
    connector: Roundup, people: DeskClient
) -> None:
    ticket = await new_credit(people)
    fields = {
        "status": "credit-posted",
        "erp_document": "CN-7",
        "credit_state": "posted",
        "external_ref": "cm_7",
    }
    outcome = await connector.send(reply(ticket, "cf-a1", "Posted as CN-7.", fields=fields), 10)
    assert isinstance(outcome, Confirmed)
    visible = await people.get(ticket)
    assert visible["messages"] == ["Posted as CN-7."]
    assert {name: visible[name] for name in fields} == fields
    assert visible["revision"] == 2


async def test_a_null_clears_a_field(connector: Roundup, people: DeskClient) -> None:
    ticket = await new_credit(people)
    await connector.send(reply(ticket, "cf-b1", fields={"credit_state": "held"}), 10)
    await connector.send(reply(ticket, "cf-b2", fields={"credit_state": None}), 10)
    assert (await people.get(ticket))["credit_state"] is None


async def test_a_ticket_is_read_with_names_times_and_its_people(
    connector: Roundup, people: DeskClient
) -> None:
    ticket = await new_credit(people, "0.10")
    await people.update(ticket, "agent2", title="Longer outage")
    read = await connector.read("support.ticket.get", {"id": ticket}, 10)
    assert (read["id"], read["status"], read["title"]) == (ticket, "credit-requested", "Longer outage")
    assert (read["creator"], read["actor"], read["credit_amount"]) == ("agent", "agent2", "0.10")
    assert datetime.fromisoformat(read["activity"]).tzinfo is not None
    assert read["etag"].startswith('"')


async def test_a_change_since_the_reading_is_a_conflict_and_a_second_try_replies_once(
    connector: Roundup, people: DeskClient
) -> None:
    ticket = await new_credit(people)
    read = await connector.read("support.ticket.get", {"id": ticket}, 10)
    await people.update(ticket, "agent2", title="Changed meanwhile")
    stale = reply(ticket, "cf-c1", etag=read["etag"])
    assert refused_as(await connector.send(stale, 10)) is ErrorClass.CONFLICT
    assert (await people.get(ticket))["messages"] == []
    fresh = await connector.read("support.ticket.get", {"id": ticket}, 10)
    assert isinstance(await connector.send(reply(ticket, "cf-c1", etag=fresh["etag"]), 10), Confirmed)
    assert (await people.get(ticket))["messages"] == ["Done."]


async def test_replies_at_once_never_lose_one_that_was_confirmed(
    connector: Roundup, people: DeskClient
) -> None:
    ticket = await new_credit(people)
    requests = [reply(ticket, f"cf-d{n}", f"Message {n}") for n in range(6)]
    outcomes = await asyncio.gather(*(connector.send(request, 20) for request in requests))
    confirmed = {f"Message {n}" for n, outcome in enumerate(outcomes) if isinstance(outcome, Confirmed)}
    assert confirmed
    assert {refused_as(o) for o in outcomes if not isinstance(o, Confirmed)} <= {ErrorClass.CONFLICT}
    assert set((await people.get(ticket))["messages"]) == confirmed


REFUSALS: list[tuple[dict[str, Any], ErrorClass]] = [
    ({"fields": {"status": "credit-posted"}}, ErrorClass.REFUSED),
    ({"fields": {"credit_amount": "12,50"}}, ErrorClass.REFUSED),
    ({"fields": {"colour": "red"}}, ErrorClass.INVALID),
    ({"fields": {"status": "credit-imagined"}}, ErrorClass.INVALID),
    ({"fields": {"@op": "remove"}}, ErrorClass.INVALID),
    ({"fields": {"messages": "1"}}, ErrorClass.INVALID),
    ({"ticket": "987654"}, ErrorClass.NOT_FOUND),
    ({"ticket": "1/../../user/1"}, ErrorClass.INVALID),
    ({"ticket": 1}, ErrorClass.INVALID),
    ({"colour": "red"}, ErrorClass.INVALID),
]


@pytest.mark.parametrize(("body", "expected"), REFUSALS)
async def test_what_the_desk_will_not_take_is_refused_and_never_shows(
    connector: Roundup, people: DeskClient, body: dict[str, Any], expected: ErrorClass
) -> None:
    ticket = await new_credit(people)
    request = reply(ticket, f"cf-e{ticket}")
    request = replace(request, body=json.dumps({**json.loads(request.body), **body}).encode())
    assert refused_as(await connector.send(request, 10)) is expected
    assert not isinstance(await connector.find(request, 10), Confirmed)
    assert (await people.get(ticket))["revision"] == 1


async def test_a_second_ticket_under_one_key_is_already_done(connector: Roundup) -> None:
    request = create("cf-f1", title="Unmatched memo", message="Please look.", fields={"priority": "bug"})
    first = await connector.send(request, 10)
    assert isinstance(first, Confirmed)
    assert refused_as(await connector.send(request, 10)) is ErrorClass.ALREADY_DONE
    assert await connector.find(request, 10) == first


async def test_a_ticket_that_breaks_a_rule_is_refused_and_absent(connector: Roundup) -> None:
    request = create("cf-g1", title="Odd", fields={"credit_amount": "-1"})
    assert refused_as(await connector.send(request, 10)) is ErrorClass.REFUSED
    assert await connector.find(request, 10) == Absent()


async def test_an_error_out_of_the_middle_of_a_commit_proves_nothing(desk: Desk) -> None:
    body = b'{"error": {"status": 400, "msg": "Mon: An error occurred. Please check the server log for more information."}}'
    async with faults.fixed_answer_server(400, body) as (url, delivered):
        connector = roundup.connect(replace(config_of(desk), url=f"{url}/desk"))
        outcome = await connector.send(create("cf-h1", title="Odd"), 5)
        await connector.close()
    assert isinstance(outcome, Unknown)
    assert delivered.writes == 1


async def test_wrong_passwords_are_unauthorized_and_then_throttled(desk: Desk) -> None:
    config = config_of(desk)
    secrets = {"username": "lead", "password": "not the password"}
    connector = roundup.connect(replace(config, secrets=secrets))
    with pytest.raises(Misconfigured, match="refuses the account lead"):
        await connector.check(10)
    outcomes = [await connector.send(create(f"cf-i{n}", title="x"), 10) for n in range(6)]
    await connector.close()
    assert refused_as(outcomes[0]) is ErrorClass.UNAUTHORIZED
    last = outcomes[-1]
    assert isinstance(last, Rejected)
    assert last.error_class is ErrorClass.THROTTLED
    assert last.retry_after is not None
    assert 0 < last.retry_after <= 600


async def test_callback_and_poll_tell_the_same_change_alike(
    desk: Desk, connector: Roundup, people: DeskClient
) -> None:
    while not desk.hook.calls.empty():
        desk.hook.calls.get()
    ticket = await new_credit(people)
    await people.update(ticket, "agent2", credit_amount="99.00")
    told = [connector.receive(*desk.hook.wait(), datetime.now(UTC)) for _ in range(2)]
    polled = {d.identity: d for d in await sweep(connector) if d.body["id"] == ticket}
    assert [d.type for d in told] == ["issue.created", "issue.updated"]
    assert len({d.ext_id for d in told}) == 2
    latest = polled[told[1].identity]
    assert latest.occurred_at == told[1].occurred_at
    shared = {name: value for name, value in told[1].body.items() if name in latest.body}
    assert {name: latest.body[name] for name in shared} == shared
    assert shared["credit_amount"] == "99.00"


async def sweep(connector: Roundup, cursor: str | None = None, limit: int = 3) -> list[Delivery]:
    found: list[Delivery] = []
    while True:
        page = await connector.poll("tickets", cursor, limit, 10)
        found += page.deliveries
        cursor = page.cursor
        if not page.more:
            return found


async def test_every_state_within_one_second_is_delivered_across_pages(
    connector: Roundup, people: DeskClient
) -> None:
    tickets = [await new_credit(people) for _ in range(7)]
    page = await connector.poll("tickets", None, 1000, 10)
    cursor = page.cursor
    for number in range(3):
        for ticket in tickets[:3]:
            await people.update(ticket, "agent2", title=f"Title {number}")
        delivered: dict[str, str] = {}
        while True:
            page = await connector.poll("tickets", cursor, 2, 10)
            delivered |= {d.body["id"]: d.body["title"] for d in page.deliveries}
            cursor = page.cursor
            if not page.more:
                break
        assert {ticket: delivered.get(ticket) for ticket in tickets[:3]} == dict.fromkeys(
            tickets[:3], f"Title {number}"
        )
        assert set(delivered) == set(tickets[:3])


async def test_a_cursor_that_is_none_is_a_matter_for_a_person(connector: Roundup) -> None:
    with pytest.raises(Misconfigured, match="cursor"):
        await connector.poll("tickets", "yesterday", 10, 10)
    with pytest.raises(Misconfigured, match="no feed"):
        await connector.poll("users", None, 10, 10)


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"event": "issue.retired", "id": "1", "activity": "2026-03-31T10:00:00Z"},
        {"event": "issue.updated", "id": 1, "activity": "2026-03-31T10:00:00Z"},
        {"event": "issue.updated", "id": "1", "activity": "2026-03-31T10:00:00"},
        {"event": "issue.updated", "id": "1", "activity": None},
    ],
)
def test_a_signed_callback_of_another_shape_is_invalid(body: object) -> None:
    secrets = {"username": "u", "password": "p", "hook_secret": "s"}
    connector = roundup.connect(SystemConfig("desk", "https://desk.example.com/desk", secrets=secrets))
    raw, now = json.dumps(body).encode(), datetime.now(UTC)
    with pytest.raises(Refused) as raised:
        connector.receive(signature.sign("github-sha256", "s", raw, now), raw, now)
    assert raised.value.error_class is ErrorClass.INVALID


def test_without_a_hook_secret_nothing_gets_in() -> None:
    secrets = {"username": "u", "password": "p"}
    connector = roundup.connect(SystemConfig("desk", "https://desk.example.com/desk", secrets=secrets))
    raw, now = b'{"event": "issue.updated", "id": "1", "activity": "2026-03-31T10:00:00Z"}', datetime.now(UTC)
    with pytest.raises(signature.SignatureRefused):
        connector.receive(signature.sign("github-sha256", "s", raw, now), raw, now)


WRONG: list[tuple[Mapping[str, Any], list[str]]] = [
    ({"secrets": {}}, ["secret `username` is missing", "secret `password` is missing"]),
    ({"url": "desk.example.com"}, ["not an http or https address"]),
    ({"settings": {"colour": "red"}}, ["unknown setting `colour`"]),
    ({"url": "x", "settings": {"colour": "red"}}, ["not an http", "colour"]),
]


@pytest.mark.parametrize(("change", "findings"), WRONG)
def test_all_problems_of_a_configuration_are_reported(change: Mapping[str, Any], findings: list[str]) -> None:
    config = SystemConfig("desk", "https://desk.example.com/desk", secrets={"username": "u", "password": "p"})
    with pytest.raises(Misconfigured) as raised:
        roundup.connect(replace(config, **change))
    assert all(finding in str(raised.value) for finding in findings)


# -- the book of tickets


async def test_changes_between_pages_hide_and_repeat_no_ticket(
    desk: Desk, people: DeskClient, connector: Roundup
) -> None:
    steady = [await new_credit(people) for _ in range(4)]
    found: list[Delivery] = []
    cursor, more = None, True
    while more:
        page = await connector.list_book("tickets", cursor, 3, 5.0)
        found += page.deliveries
        cursor, more = page.cursor, page.more
        if len(found) == len(page.deliveries):
            await people.update(steady[1], "agent2", title="Changed")
            await new_credit(people)
    tickets = [each.body["id"] for each in found]
    assert set(steady) <= set(tickets)
    assert len(set(tickets)) == len(tickets)
    assert tickets == sorted(tickets, key=int)


async def test_a_listed_ticket_is_the_delivery_of_its_feed(people: DeskClient, connector: Roundup) -> None:
    await new_credit(people)
    polled = await connector.poll("tickets", None, 500, 5.0)
    listed: list[Delivery] = []
    cursor, more = None, True
    while more:
        page = await connector.list_book("tickets", cursor, 100, 5.0)
        listed += page.deliveries
        cursor, more = page.cursor, page.more
    assert {each.ext_id: each for each in listed} == {each.ext_id: each for each in polled.deliveries}
    for name, place in (("issues", None), ("tickets", "x")):
        with pytest.raises(Misconfigured):
            await connector.list_book(name, place, 10, 5.0)
