"""The operations gateway over HTTP: what a consumer may call, what it is answered, and that nothing happens twice."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from counterfoil.bootstrap import open_store
from counterfoil.core.clock import utc_now
from counterfoil.core.money import Money
from counterfoil.flow.gateway import calls, results
from counterfoil.flow.gateway.calls import OperationRequest
from counterfoil.store.check import check
from counterfoil.store.sql.sqlite import SqliteStore
from tests.companies import gateway
from tests.companies.base import edited, model_of
from tests.companies.gateway import Offering, offering, payment
from tests.patience import PATIENCE_SECONDS


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(tmp_path / "company.db")
    yield opened
    try:
        assert await check(opened, utc_now()) == []
    finally:
        await opened.close()


@pytest.fixture
async def company(store: SqliteStore) -> AsyncIterator[Offering]:
    async with offering(store) as running:
        yield running


@pytest.fixture
async def idle(store: SqliteStore) -> AsyncIterator[Offering]:
    """The company while none of its workers is up."""
    async with offering(store, worker=False) as running:
        yield running


def problem(answer: httpx2.Response, status: int, kind: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["type"] == f"urn:counterfoil:problem:{kind}"
    return document


def same(first: httpx2.Response, again: httpx2.Response) -> None:
    """The first answer again: its status, its bytes, and every head that was its own."""
    assert (first.status_code, first.content) == (again.status_code, again.content)
    assert again.headers["idempotency-replayed"] == "true"
    passing = {"date", "idempotency-replayed", "ratelimit", "ratelimit-policy"}
    assert {k: v for k, v in first.headers.items() if k not in passing} == {
        k: v for k, v in again.headers.items() if k not in passing
    }


# ------------------------------------------------------------------ what writes is reached by its workflow


async def test_a_small_payment_is_done_when_it_is_answered(company: Offering) -> None:
    answer = await company.pay("p-1", key='"k-1"')
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body == {
        "run": body["run"],
        "status": "done",
        "state": "posted",
        "output": {"payment": "pay1"},
        "waiting_for": None,
    }
    assert answer.headers["content-location"] == f"/v1/operations/erp.payment.post/runs/{body['run']}"
    assert [p["amount"] for p in company.ledger.payments] == [5000]
    same(answer, await company.pay("p-1", key="k-1"))  # a key in quotes and the same one bare are one
    assert len(company.ledger.payments) == 1


async def test_a_large_payment_waits_for_its_approval_and_never_goes_round_it(company: Offering) -> None:
    answer = await company.pay("p-2", 50_000, key="k")
    assert answer.status_code == 202, answer.text
    body = answer.json()
    assert (body["waiting_for"], body["output"]) == ("approval", None)
    assert company.ledger.payments == []
    where = answer.headers["location"]
    assert (await company.get(where)).status_code == 202
    # Who asked may not decide, whatever roles the person has.
    asked = await company.pay("p-3", 60_000, who="both")
    assert asked.json()["waiting_for"] == "approval"
    rows = (await company.get("/v1/approvals?state=open", "fin")).json()["items"]
    assert {row["requester"] for row in rows} == {"pat", "both"}
    own = next(row["id"] for row in rows if row["requester"] == "both")
    refused = await company.http.post(
        f"/v1/approvals/{own}",
        json={"decision": "approve"},
        headers={"authorization": f"Bearer {company.tokens['both']}"},
    )
    problem(refused, 403, "separation-of-duties")
    other = next(row["id"] for row in rows if row["requester"] == "pat")
    await company.http.post(
        f"/v1/approvals/{other}",
        json={"decision": "approve"},
        headers={"authorization": f"Bearer {company.tokens['fin']}"},
    )
    done = await company.get(where, prefer="wait=10")
    assert (done.status_code, done.json()["output"]) == (200, {"payment": "pay1"})
    same(answer, await company.pay("p-2", 50_000, key="k"))
    assert len(company.ledger.payments) == 1


async def test_a_payment_that_is_not_approved_ends_without_an_output(company: Offering) -> None:
    waiting = asyncio.create_task(company.pay("p-9", 50_000, Prefer="wait=20"))
    while not (await company.get("/v1/approvals?state=open", "fin")).json()["items"]:
        await asyncio.sleep(0.02)
    assert (await company.decide(approve=False)).status_code == 200
    answer = await waiting
    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=20")
    body = answer.json()
    assert (body["status"], body["state"], body["output"]) == ("done", "rejected", None)
    assert company.ledger.payments == []


async def test_a_caller_is_woken_when_its_run_ends_or_waits_for_an_approval(
    company: Offering, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without a wake-up the answers would come after the wait that is given here.
    monkeypatch.setattr(results, "FIRST_POLL_SECONDS", 10 * PATIENCE_SECONDS)
    monkeypatch.setattr(results, "MAX_POLL_SECONDS", 10 * PATIENCE_SECONDS)
    monkeypatch.setattr(calls, "DEFAULT_WAIT_SECONDS", 10 * PATIENCE_SECONDS)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert (await company.pay("p-1")).status_code == 200
        assert (await company.pay("p-2", 50_000)).json()["waiting_for"] == "approval"


async def test_a_short_wait_is_answered_with_where_to_look(company: Offering) -> None:
    company.ledger.mood += [(500, {}, b"{}")] * 2
    answer = await company.pay("p-1", Prefer="respond-async")
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "wait=0")
    assert answer.headers["retry-after"] == "2"
    assert "location" in answer.headers


@pytest.mark.parametrize("minor", [-1, -100_000_000])
async def test_a_negative_amount_is_refused_and_starts_nothing(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, minor: int
) -> None:
    text = edited(gateway.COMPANY, (", when: input.amount.minor > 0", ""))
    monkeypatch.setattr(gateway, "model", lambda: model_of(text))
    async with offering(store) as company:
        document = problem(await company.pay("p-1", minor), 422, "contract")
        assert document["errors"] == [{"pointer": "#/amount", "detail": f"{Money(minor, 'USD')} is negative"}]
        assert (await company.get("/v1/runs", "fin")).json()["items"] == []
        assert (await company.pay("p-1", 5000)).status_code == 200


async def test_a_workflow_that_does_not_take_it_begins_nothing(company: Offering) -> None:
    problem(await company.pay("p-1", -1), 422, "not-taken")
    problem(await company.call("erp.payment.post", payment("") | {"payment_id": ""}), 422, "contract")
    assert (await company.app.store.dump()).calls == []


async def test_another_key_does_not_begin_the_same_business_again(company: Offering) -> None:
    assert (await company.pay("p-1")).status_code == 200
    told = problem(await company.pay("p-1", key="other"), 409, "exists")
    assert "run_" not in told["detail"], "whose it is is not told"
    assert len(company.ledger.payments) == 1


# ------------------------------------------------------------------ what is read


async def test_a_read_is_asked_of_its_system_and_answered_in_canonical_words(company: Offering) -> None:
    company.ledger.invoices.append({"id": "inv7", "number": "2026-7", "customer": "cus_1", "amount": 5})
    answer = await company.call("erp.invoice.get.v2", {"invoice": "inv7"}, "k")
    assert (answer.status_code, answer.json()) == (200, {"number": "2026-7", "customer": "cus_1"})
    company.ledger.invoices[0]["number"] = "2026-8"
    same(answer, await company.call("erp.invoice.get.v2", {"invoice": "inv7"}, "k"))
    fresh = await company.call("erp.invoice.get.v2", {"invoice": "inv7"})
    assert fresh.json()["number"] == "2026-8"


async def test_what_the_system_does_not_know_is_absent(company: Offering) -> None:
    answer = await company.call("erp.invoice.get.v2", {"invoice": "inv404"}, "k")
    problem(answer, 404, "absent")
    same(answer, await company.call("erp.invoice.get.v2", {"invoice": "inv404"}, "k"))


async def test_a_system_that_does_not_answer_leaves_the_key_free(company: Offering) -> None:
    company.ledger.invoices.append({"id": "inv7", "number": "n", "customer": "c"})
    company.ledger.mood.append((503, {"Retry-After": "3"}, b"{}"))
    answer = await company.call("erp.invoice.get.v2", {"invoice": "inv7"}, "k")
    problem(answer, 503, "try-again")
    assert int(answer.headers["retry-after"]) >= 1
    again = await company.call("erp.invoice.get.v2", {"invoice": "inv7"}, "k")
    assert (again.status_code, "idempotency-replayed" in again.headers) == (200, False)
    changed = await company.call("erp.invoice.get.v2", {"invoice": "inv8"}, "k")
    problem(changed, 422, "idempotency-key-reused")


async def test_an_answer_that_breaks_the_contract_is_a_case_and_given_to_nobody(company: Offering) -> None:
    company.ledger.invoices.append({"id": "inv7", "number": 12, "customer": "secret"})
    answer = await company.call("erp.invoice.get.v2", {"invoice": "inv7"}, "k")
    told = problem(answer, 502, "bad-output")
    assert "secret" not in json.dumps(told)
    same(answer, await company.call("erp.invoice.get.v2", {"invoice": "inv7"}, "k"))
    (case,) = (await company.get("/v1/cases", "fin")).json()["items"]
    assert (case["reason"], case["owner"], case["receipt"]) == ("output_contract", "finance", 1)
    assert "number: 12" in case["message"]


async def test_the_output_of_a_run_is_held_to_its_contract_too(company: Offering) -> None:
    answer = await company.call("erp.note.ask", {"note_id": "n-1"})
    told = problem(answer, 502, "bad-output")
    assert told["run"].startswith("run_")
    (case,) = (await company.get("/v1/cases", "fin")).json()["items"]
    assert told["run"] in case["message"]
    again = await company.get(f"/v1/operations/erp.note.ask/runs/{told['run']}")
    problem(again, 502, "bad-output")
    assert len((await company.get("/v1/cases", "fin")).json()["items"]) == 1


# ------------------------------------------------------------------ who may


async def test_what_is_not_offered_to_a_caller_looks_like_nothing(company: Offering) -> None:
    nothing = problem(await company.call("erp.nothing.at.all", {}), 404, "not-found")
    for name, who in (
        ("erp.note.add", "pat"),  # it writes and is exposed to nobody
        ("erp.payment.post", "sue"),  # exposed, and no role of hers calls it
        ("erp.invoice.get.v3", "pat"),
        ("erp.invoice.get.v2", "rob"),
    ):
        hidden = problem(await company.call(name, {"text": "x"}, who=who), 404, "not-found")
        assert hidden["detail"] == nothing["detail"]
    told = problem(await company.call("erp.payment.post", {}, who="fin"), 403, "not-allowed")
    assert "operations:own:call" in told["detail"]
    assert company.ledger.notes == []
    assert (await company.http.post("/v1/operations/erp.payment.post", json={})).status_code == 401


async def test_nobody_sees_the_run_of_another(company: Offering) -> None:
    run = (await company.pay("p-1")).json()["run"]
    where = f"/v1/operations/erp.payment.post/runs/{run}"
    assert (await company.get(where)).json()["output"] == {"payment": "pay1"}
    problem(await company.get(where, "both"), 404, "not-found")
    problem(await company.get(f"/v1/operations/erp.note.ask/runs/{run}"), 404, "not-found")
    assert (await company.get(where, "fin")).status_code == 403


async def test_a_caller_asserts_only_what_it_speaks_for(company: Offering) -> None:
    told = problem(await company.call("erp.note.ask", {"note_id": "n-1", "text": "hi"}), 403, "ownership")
    assert "text belongs to desk" in told["detail"]
    answer = await company.call("erp.note.ask", {"note_id": "n-1", "text": "hi"}, who="rob")
    assert answer.json()["output"] == {"length": 2}
    told = problem(
        await company.call("erp.note.ask", {"note_id": "n-2", "mood": "x"}, who="rob"), 403, "ownership"
    )
    assert "mood belongs to ledger" in told["detail"]


async def test_nobody_asks_in_the_name_of_another(company: Offering) -> None:
    told = problem(
        await company.call("erp.payment.post", payment("p-1") | {"requested_by": "fin"}), 403, "ownership"
    )
    assert "requested_by must be you, pat" in told["detail"]
    answer = await company.call("erp.payment.post", payment("p-1") | {"requested_by": "pat"})
    assert answer.status_code == 200


# ------------------------------------------------------------------ the contract of the input


async def test_every_fault_of_an_input_is_told_with_its_pointer(company: Offering) -> None:
    given = {"amount": {"minor": "12", "currency": "usd"}, "colour": "red"}
    told = problem(await company.call("erp.payment.post", given, "k"), 422, "contract")
    assert sorted(e["pointer"] for e in told["errors"]) == [
        "#/amount/currency",
        "#/amount/minor",
        "#/colour",
        "#/payment_id",
    ]
    assert (await company.pay("p-1", key="k")).status_code == 200, "what was refused has not used its key"


async def test_money_as_the_api_shows_it_is_accepted(company: Offering) -> None:
    shown = {"amount": "50.00", "currency": "USD", "minor": 5000}
    for n, form in enumerate(
        [shown, {"amount": "50.00", "currency": "USD"}, {"minor": 5000, "currency": "USD"}]
    ):
        given = payment(f"p-{n}") | {"amount": form}
        assert (await company.call("erp.payment.post", given)).status_code == 200
    differs = payment("p-9") | {"amount": shown | {"minor": 5001}}
    (fault,) = problem(await company.call("erp.payment.post", differs), 422, "contract")["errors"]
    assert fault["pointer"] == "#/amount"
    assert "`amount` and `minor` differ" in fault["detail"]


async def test_nothing_that_is_sent_can_break_sqlite(tmp_path: Path) -> None:
    await _hostile(f"sqlite:{tmp_path / 'x.db'}")


async def test_nothing_that_is_sent_can_break_postgresql(postgres_dsn: str) -> None:
    await _hostile(postgres_dsn)


async def _hostile(url: str) -> None:
    opened = await open_store(url)
    async with offering(opened, worker=False) as company:
        for id_ in ("\x00", "a\nb", "x" * 501):
            problem(await company.pay(id_), 422, "not-taken")
        for amount in ({"minor": 10**60, "currency": "USD"}, {"minor": 1, "currency": "ZZZ"}):
            told = problem(
                await company.call("erp.payment.post", {"payment_id": "p", "amount": amount}), 422, "contract"
            )
            assert [e["pointer"] for e in told["errors"]] == ["#/amount"]
        for name in ("%00", "erp.x%00.y"):
            problem(await company.call(name, {}), 400, "bad-request")
        for name in ("..", "a" * 3000, "%F0%9F%98%80", "ERP.Payment.Post"):
            problem(await company.call(name, {}), 404, "not-found")
        problem(await company.get("/v1/operations/erp.payment.post/runs/%00"), 400, "bad-request")
        for run in ("run_x", "a" * 3000):
            answer = await company.get(f"/v1/operations/erp.payment.post/runs/{run}")
            problem(answer, 404, "not-found")
        deep = b"[" * 100 + b"]" * 100
        problem(await company.call("erp.payment.post", deep), 400, "unreadable")
        smile = await company.pay("p \U0001f600", Prefer="wait=0")
        assert smile.status_code == 202
        assert await check(opened, utc_now()) == []
    await opened.close()


async def test_what_cannot_be_read_is_refused(company: Offering) -> None:
    problem(await company.call("erp.payment.post", b"{"), 400, "unreadable")
    problem(await company.call("erp.payment.post", b'{"a": 1, "a": 2}'), 400, "unreadable")
    problem(await company.call("erp.payment.post", {}, content_type="text/plain"), 415, "media-type")
    problem(await company.call("erp.payment.post", []), 422, "contract")


# ------------------------------------------------------------------ keys


async def test_a_call_without_a_good_key_is_refused_and_begins_nothing(company: Offering) -> None:
    problem(await company.pay("p-1", key=None), 400, "idempotency-key")
    problem(await company.pay("p-1", key="two words"), 400, "idempotency-key")
    heads = [
        ("authorization", f"Bearer {company.tokens['pat']}"),
        ("idempotency-key", "a"),
        ("idempotency-key", "a"),
    ]
    answer = await company.http.post("/v1/operations/erp.payment.post", json=payment("p-1"), headers=heads)
    problem(answer, 400, "idempotency-key")
    assert (await company.app.store.dump()).calls == []


async def test_white_space_and_order_make_no_other_call(company: Offering) -> None:
    first = await company.pay("p-1", key="k")
    spaced = b'{ "amount": {"currency":"USD", "minor": 5000},\n "payment_id": "p-1" }'
    same(first, await company.call("erp.payment.post", spaced, "k"))
    problem(await company.pay("p-1", 5001, key="k"), 422, "idempotency-key-reused")
    problem(await company.pay("p-2", key="k"), 422, "idempotency-key-reused")
    assert (await company.call("erp.note.ask", {"note_id": "n"}, "k")).status_code == 502, (
        "keys are of one operation"
    )
    assert (await company.pay("p-2", key="k", who="both")).status_code == 200, "and of one consumer"


async def test_of_many_at_once_one_is_done_and_the_others_are_told_so(company: Offering) -> None:
    answers = await asyncio.gather(*(company.pay("p-1", key="k") for _ in range(12)))
    counts = Counter(answer.status_code for answer in answers)
    assert counts[200] >= 1
    assert set(counts) <= {200, 409}
    for answer in answers:
        if answer.status_code == 409:
            problem(answer, 409, "in-flight")
            assert answer.headers["retry-after"] in ("1", "2")
    assert len({answer.content for answer in answers if answer.status_code == 200}) == 1
    assert sum("idempotency-replayed" not in a.headers for a in answers if a.status_code == 200) == 1
    assert len(company.ledger.payments) == 1


async def test_the_first_is_in_flight_while_it_is_waited_for(idle: Offering) -> None:
    first = asyncio.create_task(idle.pay("p-1", key="k", Prefer="wait=1"))
    while await idle.app.store.call("pat", "erp.payment.post", "k") is None:
        await asyncio.sleep(0.01)
    problem(await idle.pay("p-1", key="k"), 409, "in-flight")
    problem(await idle.pay("p-1", 1, key="k"), 422, "idempotency-key-reused")
    answer = await first
    assert (answer.status_code, answer.json()["waiting_for"]) == (202, "work")
    same(answer, await idle.pay("p-1", key="k"))


# ------------------------------------------------------------------ the rate


async def test_a_rate_is_told_and_kept(company: Offering) -> None:
    first = await company.call("erp.invoice.list", {}, "k")
    assert first.status_code == 502, (
        "what it answers is not what the contract says; it was a call all the same"
    )
    assert (first.headers["ratelimit-policy"], first.headers["ratelimit"]) == (
        '"consumer";q=2;w=3600',
        '"consumer";r=1;t=1800',
    )
    second = await company.call("erp.invoice.list", {})
    assert second.headers["ratelimit"] == '"consumer";r=0;t=3600'
    third = await company.call("erp.invoice.list", {}, "k3")
    problem(third, 429, "rate-limit")
    assert 1790 <= int(third.headers["retry-after"]) <= 1800
    assert third.headers["ratelimit"].startswith('"consumer";r=0;t=1')
    assert third.headers["x-correlation-id"]
    same(first, await company.call("erp.invoice.list", {}, "k"))
    other = await company.call("erp.invoice.list", {}, who="both")
    assert other.status_code == 502, "it is a rate of each consumer"


async def test_an_operation_without_a_rate_of_its_own_has_one_all_the_same(company: Offering) -> None:
    answer = await company.pay("p-1")
    assert (answer.headers["ratelimit-policy"], answer.headers["ratelimit"]) == (
        '"consumer";q=60;w=60',
        '"consumer";r=59;t=1',
    )


# ------------------------------------------------------------------ correlation


async def test_a_call_is_followed_under_one_id_from_its_head_to_its_run(company: Offering) -> None:
    answer = await company.pay("p-1", X_Correlation_ID="order-77/a")
    assert answer.headers["x-correlation-id"] == "order-77/a"
    dump = await company.app.store.dump()
    assert (dump.calls[0].correlation, dump.events[0].correlation) == ("order-77/a", "order-77/a")
    assert dump.receipts[0].headers["x-correlation-id"] == "order-77/a"
    assert b"order-77/a" in dump.runs[0].ctx
    assert dump.events[0].type == "erp.payment.post.called"
    assert dump.events[0].data["requested_by"] == "pat"
    trace = (await company.get(f"/v1/runs/{answer.json()['run']}", "fin")).json()
    assert trace["run"]["status"] == "done"


async def test_a_trace_context_gives_the_id_where_none_is_given(company: Offering) -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    answer = await company.pay("p-1", traceparent=parent)
    assert answer.headers["x-correlation-id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    receipt = await company.app.store.receipt(1)
    assert receipt is not None
    assert receipt.headers["traceparent"] == parent
    made = (await company.pay("p-2", traceparent="ff" + parent[2:])).headers["x-correlation-id"]
    assert re.fullmatch(r"cor_[0-9a-f]{32}", made)


async def test_a_correlation_id_is_bounded(company: Offering) -> None:
    problem(await company.pay("p-1", X_Correlation_ID="a" * 129), 400, "correlation")


# ------------------------------------------------------------------ versions


async def test_an_old_version_is_served_by_the_new_one(company: Offering) -> None:
    company.ledger.invoices.append({"id": "inv7", "number": "2026-7", "customer": "cus_1"})
    old = await company.call("erp.invoice.get", {"id": "inv7"}, "k")
    assert (old.status_code, old.json()) == (200, {"number": "2026-7"})
    assert old.headers["counterfoil-version"] == "1"
    assert old.headers["deprecation"] == "@1767225600"
    assert old.headers["sunset"] == "Tue, 01 Jan 2036 00:00:00 GMT"
    assert old.headers["link"] == '</v1/operations/erp.invoice.get.v2>; rel="successor-version"'
    await company.app.uses.flush()
    (deprecated,) = (await company.get("/v1/health", "fin")).json()["deprecated"]
    assert (deprecated["name"], deprecated["users"]) == ("erp.invoice.get", ["person:pat"])
    wrong = problem(await company.call("erp.invoice.get", {"invoice": "inv7"}), 422, "contract")
    assert {e["pointer"] for e in wrong["errors"]} == {"#/id", "#/invoice"}
    for headers in ({"Counterfoil_Version": "2"}, {"Accept": "application/json; version=2"}):
        new = await company.call("erp.invoice.get", {"invoice": "inv7"}, **headers)
        assert new.json() == {"number": "2026-7", "customer": "cus_1"}
        assert new.headers["counterfoil-version"] == "2"
        assert "deprecation" not in new.headers
    named = await company.call("erp.invoice.get.v2", {"invoice": "inv7"}, "n")
    same(named, await company.call("erp.invoice.get", {"invoice": "inv7"}, "n", Counterfoil_Version="2"))
    other = await company.call("erp.invoice.get", {"id": "inv7"}, "n")
    problem(other, 422, "idempotency-key-reused")  # a key is the operation's, whatever the version
    problem(await company.call("erp.invoice.get.v2", {}, Counterfoil_Version="1"), 400, "version")
    problem(await company.call("erp.invoice.get", {}, Counterfoil_Version="two"), 400, "version")
    problem(await company.call("erp.invoice.get", {}, Counterfoil_Version="9"), 404, "not-found")


# ------------------------------------------------------------------ processes that die


async def test_a_process_that_dies_in_between_leaves_one_run_and_its_answer_to_the_next(
    tmp_path: Path,
) -> None:
    store = await SqliteStore.open(tmp_path / "company.db")
    async with offering(store, worker=False) as first:
        dying = asyncio.create_task(_call(first, "k"))
        while await store.call("pat", "erp.payment.post", "k") is None:
            await asyncio.sleep(0.01)
        dying.cancel()  # nothing of it can be written any more
        await asyncio.gather(dying, return_exceptions=True)
    held = await store.call("pat", "erp.payment.post", "k")
    assert held is not None
    assert held.status is None
    async with offering(store) as second:
        problem(await second.pay("p-1", key="k"), 409, "in-flight")
        await _much_later(store)
        answer = await second.pay("p-1", key="k")
        assert (answer.status_code, answer.json()["output"]) == (200, {"payment": "pay1"})
        assert answer.json()["run"] == held.run
        same(answer, await second.pay("p-1", key="k"))
        assert len(second.ledger.payments) == 1
        dump = await store.dump()
        assert (len(dump.runs), len(dump.receipts), len(dump.calls)) == (1, 1, 1)
        assert await check(store, utc_now()) == []
    await store.close()


async def _call(company: Offering, key: str) -> None:
    """A call that no HTTP client waits for."""
    given = payment("p-1")
    await company.app.gateway.call(
        OperationRequest(
            consumer="pat",
            roles=("portal",),
            operation="erp.payment.post",
            key=key,
            input=given,
            body=json.dumps(given).encode(),
            headers={},
            correlation="c",
            wait=30,
        ),
        lambda _: pytest.fail("it died before"),
    )


async def _much_later(store: SqliteStore) -> None:
    """The first holder's time is over: as if it were a minute later."""
    real = store.now

    async def now() -> Any:
        return await real() + timedelta(seconds=90)

    store.now = now  # type: ignore[method-assign]


# ------------------------------------------------------------------ numbers


async def test_calls_are_counted_by_operation_and_what_became_of_them(company: Offering) -> None:
    await company.pay("p-1", key="k")
    await company.pay("p-1", key="k")
    await company.pay("p-2", 50_000)
    await company.call("erp.payment.post", {})
    await company.call("erp.no.such", {})
    text = (await company.get("/metrics", "fin")).text
    name = "counterfoil_operation_calls_total"
    for operation, outcome in (
        ("erp.payment.post", "ended"),
        ("erp.payment.post", "repeated"),
        ("erp.payment.post", "pending"),
        ("erp.payment.post", "contract"),
        ("other", "unknown"),
    ):
        assert f'{name}{{operation="{operation}",outcome="{outcome}"}} 1' in text
    assert "erp.no.such" not in text
