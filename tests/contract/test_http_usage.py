"""Usage through the door: counted by the batch, durable before the answer, nothing dropped in silence."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from counterfoil.core.usage import MAX_BATCH_EVENTS
from counterfoil.flow.intake.load_shedding import SheddingLimits
from tests.companies.web import Company, running
from tests.contract.store import samples as s
from tests.patching import replace_attribute
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.xdist_group("web")
BATCH = "application/cloudevents-batch+json"
NO_TIME = timedelta()


@pytest.fixture
async def company(tmp_path: Path) -> AsyncIterator[Company]:
    async with running(tmp_path) as company:
        await subscribe(company, "sub_1")
        yield company


async def subscribe(company: Company, id_: str, status: str = "active", days_ago: int = 60) -> None:
    """Store a subscription as billing reported it that many days ago."""
    since = datetime.now(UTC) - timedelta(days=days_ago)
    store, version = company.app.store, int(since.timestamp())
    name = f"{id_}-{version}"
    receipt = s.receipt(name, received_at=since)
    no = (await store.apply(s.receive(receipt, when=since))).numbers[0]
    event = s.event(
        f"evt_{name}", id_, version, type="subscription.changed.v1", object="subscription",
        data={"subscription_id": id_, "status": status}, effective_at=since, occurred_at=since,
    )  # fmt: skip
    assert (await store.apply(s.admit(no, events=(event,), heads=(s.head(event),)))).applied


def usage(id_: str = "", ago: timedelta = NO_TIME, **more: Any) -> dict[str, Any]:
    at = datetime.now(UTC) - ago
    data = {"subscription_id": "sub_1", "meter": "api_calls", "quantity": 2.5} | more.pop("data", {})
    event = {
        "specversion": "1.0", "id": id_ or secrets.token_hex(8), "source": "/billing/eu",
        "type": "usage.recorded.v1", "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "data": data,
    }  # fmt: skip
    return {name: value for name, value in (event | more).items() if value is not None}


async def send(company: Company, events: Any, media: str = BATCH, person: str = "ada") -> httpx2.Response:
    body = events if isinstance(events, bytes) else json.dumps(events).encode()
    async with httpx2.AsyncClient(base_url=company.url, trust_env=False, timeout=PATIENCE_SECONDS) as client:
        return await client.post(
            "/v1/usage", content=body, headers={**company.bearer(person), "content-type": media}
        )


async def test_a_batch_is_counted_once(company: Company) -> None:
    events = [usage() for _ in range(50)]
    first, second = await send(company, events), await send(company, [*events[10:], usage()])
    assert first.status_code == second.status_code == 202
    assert {k: first.json()[k] for k in ("accepted", "repeated", "refused")} == {
        "accepted": 50, "repeated": 0, "refused": [],
    }  # fmt: skip
    assert (second.json()["accepted"], second.json()["repeated"]) == (1, 40)
    kept = (await company.app.store.dump()).usage
    assert len(kept) == 51
    assert {row[2:5] for row in kept} == {("usage.recorded.v1", "sub_1", "api_calls")}
    by_id = {row[1]: json.loads(row[7]) for row in kept}
    assert [by_id[event["id"]] for event in events] == events


async def test_lines_are_taken_as_a_batch_is(company: Company) -> None:
    events = [usage() for _ in range(3)]
    lines = b"\n".join(json.dumps(event).encode() for event in events) + b"\n"
    assert (await send(company, lines, "application/x-ndjson")).json()["accepted"] == 3
    assert (await send(company, events)).json()["repeated"] == 3
    assert (await send(company, events[0], "application/cloudevents+json")).json()["repeated"] == 1


@pytest.mark.parametrize(
    ("reason", "wrong"),
    [
        ("usage_unknown_source", {"source": "/nowhere"}),
        ("usage_unknown_type", {"type": "invoice.finalized.v1"}),
        ("usage_unknown_type", {"type": "usage.rolled.v1"}),
        ("usage_unknown_meter", {"data": {"meter": "bananas"}}),
        ("usage_unknown_subscription", {"data": {"subscription_id": "sub_nobody"}}),
        ("usage_negative", {"data": {"quantity": -2.5}}),
        ("usage_future", {"ago": timedelta(days=-1)}),
        ("usage_past", {"ago": timedelta(days=36)}),
        ("usage_invalid", {"data": {"quantity": "many"}}),
        ("usage_invalid", {"data": {"more": 1}}),
        ("usage_invalid", {"data": {"meter": ["api_calls"]}}),
        ("usage_unreadable", {"specversion": "0.3"}),
        ("usage_unreadable", {"id": None}),
        ("usage_unreadable", {"id": ""}),
        ("usage_unreadable", {"id": "a\u0000b"}),
        ("usage_unreadable", {"time": None}),
        ("usage_unreadable", {"time": "yesterday"}),
        ("usage_unreadable", {"source": "/billing/not a uri"}),
        ("usage_unreadable", {"subject": 7}),
        ("usage_unreadable", {"UPPER": "x"}),
    ],
)
async def test_what_is_refused_is_told_by_place_and_set_aside(
    company: Company, reason: str, wrong: dict[str, Any]
) -> None:
    bad = usage(**wrong)
    answer = (await send(company, [usage(), bad, usage()])).json()
    assert (answer["accepted"], answer["repeated"]) == (2, 0)
    (refused,) = answer["refused"]
    assert (refused["index"], refused["reason"]) == (1, reason)
    assert refused["detail"]
    names = (bad["source"], bad["id"]) if reason != "usage_unreadable" else ("", "")
    assert (refused["source"], refused["id"]) == names
    dump = await company.app.store.dump()
    (aside,) = dump.quarantine
    assert (aside[3], json.loads(aside[7])) == (reason, bad)
    (case,) = [case for case in dump.cases if case.reason == reason]
    assert case.owner
    assert case.next_action
    assert case.deadline > datetime.now(UTC)


async def test_what_is_no_event_at_all_is_refused_by_its_place(company: Company) -> None:
    answer = (await send(company, [1, usage(), None, []])).json()
    assert answer["accepted"] == 1
    assert [(r["index"], r["reason"]) for r in answer["refused"]] == [
        (0, "usage_unreadable"), (2, "usage_unreadable"), (3, "usage_unreadable"),
    ]  # fmt: skip


async def test_a_clash_is_told_whether_in_one_batch_or_with_what_is_kept(company: Company) -> None:
    one = usage("u1")
    other = usage("u1", data={"quantity": 99})
    first = (await send(company, [usage("u0"), one, other, one])).json()
    assert (first["accepted"], first["repeated"]) == (2, 1)
    assert [(r["index"], r["reason"]) for r in first["refused"]] == [(2, "usage_clash")]
    second = (await send(company, [usage("u9"), usage("u1", data={"quantity": 7})])).json()
    assert [(r["index"], r["reason"]) for r in second["refused"]] == [(1, "usage_clash")]
    dump = await company.app.store.dump()
    assert json.loads(dump.usage[1][7]) == one, "the first one stands"
    (case,) = [case for case in dump.cases if case.reason == "usage_clash"]
    assert case.count == 2


async def test_extensions_and_other_ways_to_tell_the_time_are_read(company: Company) -> None:
    events = [
        usage(traceparent="00-1"), usage(subject="sub_1"), usage(time="2999-01-01T00:00:00Z"),
        usage(time=(datetime.now(UTC) - timedelta(hours=1)).isoformat()),
    ]  # fmt: skip
    answer = (await send(company, events)).json()
    assert answer["accepted"] == 3
    assert [(r["index"], r["reason"]) for r in answer["refused"]] == [(2, "usage_future")]


@pytest.mark.parametrize(
    ("body", "media", "status"),
    [
        (b"{", BATCH, 400),
        (b'{"a": 1, "a": 2}', "application/cloudevents+json", 400),
        (b"1,2", "application/x-ndjson", 400),
        (b"{}", BATCH, 400),
        (b"[]", "text/plain", 400),
        (b"[" + b"1," * MAX_BATCH_EVENTS + b"1]", BATCH, 400),
    ],
)
async def test_what_is_no_batch_is_refused_whole(
    company: Company, body: bytes, media: str, status: int
) -> None:
    answer = await send(company, body, media)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert (await company.app.store.dump()).quarantine == []


async def test_who_may_not_send_is_refused(company: Company) -> None:
    assert (await send(company, [usage()], person="fay")).status_code == 403
    assert (await company.app.store.dump()).usage == []


async def test_a_long_queue_sheds_usage_before_anything_is_kept(company: Company) -> None:
    replace_attribute(company.app.intake, "bounds", SheddingLimits(queue=-1))
    answer = await send(company, [usage()])
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert (await company.app.store.dump()).usage == []
    replace_attribute(company.app.intake, "bounds", SheddingLimits())
    assert (await send(company, [usage()])).json()["accepted"] == 1


async def test_the_description_tells_the_door(company: Company) -> None:
    async with httpx2.AsyncClient(base_url=company.url, trust_env=False) as client:
        route = (await client.get("/openapi.json")).json()["paths"]["/v1/usage"]["post"]
    assert route["x-permission"] == "usage:any:send"
    assert list(route["requestBody"]["content"]) == [BATCH]


async def test_usage_after_the_end_of_a_subscription_is_refused_and_usage_before_it_is_counted(
    company: Company,
) -> None:
    await subscribe(company, "sub_1", "canceled", days_ago=1)
    before, after = usage(ago=timedelta(days=2)), usage()
    answer = (await send(company, [before, after])).json()
    assert (answer["accepted"], [r["reason"] for r in answer["refused"]]) == (1, ["usage_not_entitled"])
    assert "its status was canceled at that time" in answer["refused"][0]["detail"]


async def test_a_correction_is_counted_as_an_event_of_its_own(company: Company) -> None:
    first = usage("u1")
    correction = usage("u2", data={"quantity": -2.5, "event_id": "u1"}, type="usage.corrected.v1")
    assert (await send(company, [first])).json()["accepted"] == 1
    assert (await send(company, [correction])).json()["accepted"] == 1
    rows = (await company.app.store.dump()).usage
    assert [json.loads(row[7]) for row in rows] == [first, correction]


async def test_a_correction_of_an_unknown_or_foreign_event_is_refused(company: Company) -> None:
    await subscribe(company, "sub_2")
    assert (await send(company, [usage("u1")])).json()["accepted"] == 1
    for more in ({"event_id": "nothing"}, {"event_id": "u1", "subscription_id": "sub_2"}, {"event_id": "u2"}):
        correction = usage("u2", data={"quantity": -2.5, **more}, type="usage.corrected.v1")
        answer = (await send(company, [correction])).json()
        assert [refused["reason"] for refused in answer["refused"]] == ["usage_unfounded"]
    assert len((await company.app.store.dump()).usage) == 1


async def test_ten_refused_batches_open_one_case(company: Company) -> None:
    for _ in range(10):
        assert (await send(company, [usage(data={"quantity": -1})])).json()["accepted"] == 0
    (case,) = [case for case in (await company.app.store.dump()).cases if case.reason == "usage_negative"]
    assert case.count == 10
    assert "api_calls" in case.message
    async with httpx2.AsyncClient(base_url=company.url, trust_env=False, timeout=PATIENCE_SECONDS) as client:
        shown = (await client.get(f"/v1/cases/{case.id}", headers=company.bearer("ada"))).json()
    assert shown["count"] == 10
