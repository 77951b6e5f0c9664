"""Notices over a webhook to a real receiver that verifies Standard Webhooks, with its faults and our secrets."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from counterfoil.connectors import signature
from counterfoil.core.delivery import CHANNEL_PREFIX, GATHER, MAX_ATTEMPTS, DeliveryState
from counterfoil.flow.worker.deliveries import deliver_notices
from counterfoil.flow.worker.notices import write_notices
from counterfoil.model import Model
from counterfoil.model.kinds import NoticeChannel
from counterfoil.rules.notices import approval_notice, case_notice
from counterfoil.store.memory import MemoryStore
from counterfoil.store.port.maintenance import OpenCases
from tests.companies.base import acme_model
from tests.contract.store import samples as s

SECRET = "whsec_bm90aWNlcy1vZi1maW5hbmNlLW9wZXJhdGlvbnM="
PATH = "/services/T000/B000/topsecretpath"


class Receiver:
    """An HTTP server that verifies signatures and drops repeated ids."""

    def __init__(self) -> None:
        self.status = 204
        self.bodies: dict[str, bytes] = {}
        self.requests = 0
        self.headers: dict[str, str] = {}
        self.is_silent = False
        """It takes a message, and answers nothing."""
        self.arrived = asyncio.Event()
        self.now = s.T0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.split("\r\n")[1:-2]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.requests += 1
        self.headers = headers
        signature.verify("standard-webhooks-v1", SECRET, headers, body, self.now)
        id_ = headers["webhook-id"]
        assert self.bodies.setdefault(id_, body) == body, "one id has one content"
        self.arrived.set()
        if self.is_silent:
            await reader.read()
            writer.close()
            return
        writer.write(f"HTTP/1.1 {self.status} x\r\ncontent-length: 0\r\nlocation: /x\r\n\r\n".encode())
        await writer.drain()
        writer.close()


class Desk:
    """A memory store with a clock of its own, and the model with one channel."""

    def __init__(self, receiver: Receiver, private: bool = True, **more: Any) -> None:
        self.receiver = receiver
        self.store = MemoryStore(lambda: receiver.now)
        webhook = {"url": "env:TEST_CHAT_URL", "secret": "env:TEST_CHAT_SECRET", "private": private}
        fields = {
            "name": "chat",
            "owner": "finance-operations",
            "webhook": webhook,
            "roles": ["finance-operations"],
        }
        self.channel = NoticeChannel.model_validate({**fields, **more})
        self.model = with_channel(acme_model(), self.channel)

    async def open(self, *ids: str, **more: Any) -> None:
        cases = tuple(
            s.case(id_, owner="finance-operations", reason="clash", cause="clash", **more) for id_ in ids
        )
        await self.store.apply(OpenCases(cases=cases, at=self.receiver.now, actor="test"))
        await write_notices(self.store, self.model, self.receiver.now)

    async def deliver(self, after: timedelta = GATHER) -> int:
        self.receiver.now += after
        return await deliver_notices(self.store, self.model, self.receiver.now)

    async def state(self) -> tuple[DeliveryState, str]:
        (delivery,) = (await self.store.dump()).deliveries
        return delivery.state, delivery.error


def with_channel(model: Model, channel: NoticeChannel) -> Model:
    import copy

    other = copy.copy(model)
    other.__dict__["channels"] = {channel.name: channel}
    return other


@pytest.fixture
async def receiver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setenv("TEST_CHAT_URL", f"http://127.0.0.1:{port}{PATH}")
    monkeypatch.setenv("TEST_CHAT_SECRET", SECRET)
    async with server:
        yield receiver


async def test_cases_of_one_cause_arrive_signed_as_one_message(receiver: Receiver) -> None:
    desk = Desk(receiver)
    await desk.open(*(f"case_{n}" for n in range(30)))
    assert await desk.deliver() == 1
    assert await desk.state() == (DeliveryState.SENT, "")
    (body,) = receiver.bodies.values()
    message = json.loads(body)
    assert (message["type"], message["data"]["count"]) == ("notice.case", 30)


async def test_the_library_of_the_standard_accepts_a_message_and_refuses_a_changed_one(
    receiver: Receiver,
) -> None:
    receiver.now = datetime.now(UTC)
    desk = Desk(receiver)
    await desk.open("case_1", created_at=receiver.now, deadline=receiver.now + 30 * s.DAY)
    assert await desk.deliver() == 1
    ((id_, body),) = receiver.bodies.items()
    library = Webhook(SECRET)
    assert library.verify(body, receiver.headers)["data"]["subject"] == "case_1"
    for changed, headers in (
        (body.replace(b"case_1", b"case_2"), receiver.headers),
        (body, receiver.headers | {"webhook-id": f"{id_}0"}),
        (body, receiver.headers | {"webhook-timestamp": str(int(receiver.now.timestamp()) - 60)}),
    ):
        with pytest.raises(WebhookVerificationError):
            library.verify(changed, headers)


async def test_a_lost_answer_is_sent_again_with_the_same_id_and_content(receiver: Receiver) -> None:
    desk = Desk(receiver)
    await desk.open("case_1")
    receiver.status = 503
    await desk.deliver()
    assert await desk.state() == (DeliveryState.PLANNED, "the receiver answered 503")
    receiver.status = 200
    assert await desk.deliver(timedelta(seconds=30)) == 1
    assert (receiver.requests, len(receiver.bodies)) == (2, 1)
    assert await desk.state() == (DeliveryState.SENT, "")


async def test_after_the_last_attempt_there_is_a_case_and_no_notice_of_it_over_the_channel(
    receiver: Receiver,
) -> None:
    desk = Desk(receiver)
    await desk.open("case_1")
    receiver.status = 500
    for _ in range(MAX_ATTEMPTS):
        assert await desk.deliver(timedelta(hours=1)) == 1
    assert (await desk.state())[0] is DeliveryState.FAILED
    (case,) = [c for c in (await desk.store.dump()).cases if c.reason == "undelivered"]
    assert (case.owner, case.message) == ("finance-operations", "chat: the receiver answered 500")
    await write_notices(desk.store, desk.model, receiver.now)
    assert len((await desk.store.dump()).deliveries) == 1


@pytest.mark.parametrize("status", [301, 400, 401, 410])
async def test_an_answer_that_no_repeat_changes_ends_it_at_once(receiver: Receiver, status: int) -> None:
    desk = Desk(receiver)
    await desk.open("case_1")
    receiver.status = status
    await desk.deliver()
    assert (await desk.state())[0] is DeliveryState.FAILED
    assert receiver.requests == 1, "no redirect is followed"


@pytest.mark.parametrize(
    ("private", "url"),
    [
        (False, None),
        (False, "http://169.254.169.254/latest"),
        (True, "http://169.254.169.254/latest"),
        (True, "not a url"),
    ],
)
async def test_no_channel_opens_a_way_into_the_private_network(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, private: bool, url: str | None
) -> None:
    desk = Desk(receiver, private=private)
    if url is not None:
        monkeypatch.setenv("TEST_CHAT_URL", url)
    await desk.open("case_1")
    await desk.deliver()
    assert receiver.requests == 0
    assert "must not be called" in (await desk.state())[1] or "not valid" in (await desk.state())[1]


async def test_no_error_log_case_or_leaf_has_the_address_or_the_secret(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    desk = Desk(receiver)
    await desk.open("case_1")
    for address, secret in (
        (None, SECRET),
        (f"http://127.0.0.1:9{PATH}", SECRET),
        (None, "bad secret topsecret"),
    ):
        if address:
            monkeypatch.setenv("TEST_CHAT_URL", address)
        monkeypatch.setenv("TEST_CHAT_SECRET", secret)
        receiver.status = 503
        await desk.deliver(timedelta(hours=1))
    receiver.status = 400
    await desk.deliver(timedelta(hours=1))
    texts = repr(await desk.store.dump()) + caplog.text
    assert "topsecret" not in texts
    assert SECRET.removeprefix("whsec_") not in texts


def test_a_channel_of_an_entity_receives_nothing_of_another() -> None:
    desk = Desk(Receiver(), entities=["acme-de"])
    chat, case = f"{CHANNEL_PREFIX}chat", s.case(owner="finance-operations")
    for entity, receivers in (("acme-de", (chat,)), ("acme-us", ()), ("", ()), (None, ())):
        assert case_notice(desk.model, case, entity, "", []).persons == receivers
    now = datetime(2026, 12, 1, tzinfo=UTC)
    for entity, receivers in (("acme-de", (chat,)), ("acme-us", ())):
        waiting = s.approval(entity=entity, roles=("finance-operations",))
        assert approval_notice(desk.model, waiting, [], now).persons == receivers


async def test_a_defect_of_one_attempt_is_counted_and_its_text_is_nowhere(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk(receiver)
    await desk.open("case_1")

    async def fail(*_: Any) -> None:
        raise RuntimeError("topsecret")

    receiver.now += GATHER
    assert await deliver_notices(desk.store, desk.model, receiver.now, send=fail) == 1
    assert await desk.state() == (DeliveryState.PLANNED, "the attempt failed with RuntimeError")
    assert "topsecret" not in caplog.text
