"""Notices by mail to a real SMTP server, with its faults, attacks on headers and our secrets."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from counterfoil.connectors.mail_sender import Mail, MailRefused, MailServer, one_line, send_mail
from counterfoil.core.case_edits import AssignCase
from counterfoil.core.delivery import GATHER, MAX_ATTEMPTS, DeliveryState
from counterfoil.core.errors import Misconfigured, TryAgain
from counterfoil.core.money import Money
from counterfoil.core.notice_preferences import NoticePreferences, SendMode
from counterfoil.flow.runs.case_edits import edit_case
from counterfoil.flow.worker.deliveries import deliver_notices
from counterfoil.flow.worker.notices import write_notices
from counterfoil.model.kinds import NoticeChannel
from counterfoil.store.memory import MemoryStore
from counterfoil.store.port.maintenance import OpenCases
from counterfoil.store.port.notices import PutNoticePreferences, ReadNotices
from tests.companies.base import acme_model
from tests.companies.mail_sink import MailSink, mail_sink
from tests.contract.store import samples as s
from tests.unit.flow.certificates import server_context
from tests.unit.flow.test_deliveries import with_channel

URL = "https://counterfoil.acme.example"
ROLE = "finance-operations"
PASSWORD = "mail-topsecret"


class Desk:
    """A memory store with a clock of its own, persons, and the model with one channel of mails."""

    def __init__(self, sink: MailSink, channel: dict[str, Any] | None = None, **mail: Any) -> None:
        self.now = s.T0
        self.store = MemoryStore(lambda: self.now)
        target = {
            "host": "127.0.0.1", "port": sink.port, "tls": "none", "private": True,
            "sender": "notices@acme.example", **mail,
        }  # fmt: skip
        fields = {"name": "finance-mail", "owner": ROLE, "mail": target, "roles": [ROLE], **(channel or {})}
        self.model = with_channel(acme_model(), NoticeChannel.model_validate(fields))

    async def hire(self, *ids: str, **more: Any) -> None:
        for id_ in ids:
            await self.store.apply(s.put_person(s.person(id_, (ROLE,), **more)))

    async def open(self, *ids: str, **more: Any) -> None:
        ends = self.now + 30 * s.DAY
        fields = {
            "owner": ROLE,
            "reason": "clash",
            "cause": "clash",
            "created_at": self.now,
            "deadline": ends,
            **more,
        }
        cases = tuple(s.case(id_, **fields) for id_ in ids)
        await self.store.apply(OpenCases(cases=cases, at=self.now, actor="test"))
        await write_notices(self.store, self.model, self.now)

    async def wish(self, person: str = "ann", **wishes: Any) -> None:
        former = await self.store.notice_preferences(person)
        new = NoticePreferences(person=person, revision=former.revision if former else 0, **wishes)
        assert await self.store.apply(PutNoticePreferences(preferences=new, at=self.now)) == "done"

    async def deliver(self, after: timedelta = GATHER) -> int:
        self.now += after
        return await deliver_notices(self.store, self.model, self.now, URL)

    async def deliver_at(self, hour: int, minute: int = 0, day: int = 0) -> int:
        self.now = self.now.replace(hour=hour, minute=minute) + timedelta(days=day)
        return await deliver_notices(self.store, self.model, self.now, URL)

    async def states(self) -> list[tuple[DeliveryState, str]]:
        return [(d.state, d.error) for d in (await self.store.dump()).deliveries]


@pytest.fixture
async def sink() -> AsyncIterator[MailSink]:
    async with mail_sink() as running:
        yield running


async def test_each_person_of_the_role_receives_one_mail_with_what_the_notice_says(sink: MailSink) -> None:
    desk = Desk(sink)
    await desk.hire("ann", zone="Europe/Berlin")
    await desk.hire("bob")
    await desk.hire("gone", active=False)
    await desk.open(*(f"case_{n}" for n in range(30)), exposure=(Money(2500, "USD"),))
    assert await desk.deliver() == 2
    assert sorted(mail.rcpt_tos[0] for mail in sink.mails) == ["ann@acme.test", "bob@acme.test"]
    message = next(m for m in sink.messages if m["To"] == "ann@acme.test")
    assert message["Subject"].startswith("30 Cases: ")
    assert (message["From"], message["Auto-Submitted"]) == ("notices@acme.example", "auto-generated")
    assert message["Message-ID"].endswith("@acme.example>")
    text = message.get_content()
    assert "Amount: 750.00 USD" in text
    assert f"Page: {URL}/cases?cause=clash" in text
    assert re.search(r"Deadline: \d{4}-\d\d-\d\d \d\d:\d\d CES?T", text), "the zone of the person"
    assert "bob" not in text.casefold()
    assert f"{URL}/notices/preferences" in text
    assert await desk.deliver(timedelta(days=3)) == 0


async def test_a_given_case_is_mailed_to_its_receiver(sink: MailSink) -> None:
    desk = Desk(sink)
    await desk.open("case_1")
    await desk.hire("ann", "bob")
    verdict = await edit_case(
        desk.store, desk.model, "case_1", "ann", AssignCase(assignee="bob", former=""), lambda _: False
    )
    assert verdict == "done"
    assert await desk.deliver() == 1
    (message,) = sink.messages
    assert message["To"] == "bob@acme.test"
    assert message["Subject"].startswith("A Case is yours now: ")
    assert f"{URL}/cases/case_1" in message.get_content()


async def test_a_channel_of_an_entity_mails_nothing_of_another(sink: MailSink) -> None:
    desk = Desk(sink, {"entities": ["acme-de"]})
    await desk.hire("ann")
    await desk.open("case_1")
    assert await desk.deliver() == 0
    assert len((await desk.store.dump()).notices) == 1, "the page has it"


async def test_a_mail_that_its_person_may_not_read_any_more_is_not_sent(sink: MailSink) -> None:
    desk = Desk(sink)
    await desk.hire("ann", "bob", "cat")
    await desk.open("case_1")
    await desk.store.apply(s.put_person(s.person("ann", ("support-agent",))))
    await desk.store.apply(s.put_person(s.person("bob", (ROLE,), active=False)))
    await desk.store.apply(s.put_person(s.person("cat", (ROLE,), email="")))
    assert await desk.deliver() == 3
    assert sink.mails == []
    assert await desk.states() == [(DeliveryState.OBSOLETE, "")] * 3


async def test_a_notice_that_was_read_meanwhile_is_not_mailed(sink: MailSink) -> None:
    desk = Desk(sink)
    await desk.hire("ann")
    await desk.open("case_1")
    await desk.store.apply(ReadNotices(person="ann", ids=None, until=desk.now, at=desk.now))
    assert await desk.deliver() == 0
    assert await desk.states() == [(DeliveryState.OBSOLETE, "")]


async def test_a_server_that_is_down_and_comes_back_receives_the_mail_once(sink: MailSink) -> None:
    desk = Desk(sink)
    await desk.hire("ann")
    await desk.open("case_1")
    await sink.stop()
    assert await desk.deliver() == 1
    assert await desk.states() == [(DeliveryState.PLANNED, "the mail server could not be reached")]
    assert await desk.deliver(timedelta(seconds=1)) == 0
    await sink.start()
    assert await desk.deliver(timedelta(minutes=1)) == 1
    assert await desk.states() == [(DeliveryState.SENT, "")]
    assert await desk.deliver(timedelta(days=2)) == 0
    assert len(sink.mails) == 1


@pytest.mark.parametrize("answer", ["451 try later", "452 full"])
async def test_a_server_that_always_puts_it_off_gets_eight_attempts_and_then_a_case_opens(
    sink: MailSink, answer: str
) -> None:
    desk = Desk(sink)
    await desk.hire("ann")
    await desk.open("case_1")
    sink.content = answer
    for _ in range(MAX_ATTEMPTS):
        assert await desk.deliver(timedelta(hours=1)) == 1
    ((state, error),) = await desk.states()
    assert (state, error) == (DeliveryState.FAILED, f"the mail server refused the mail ({answer[:3]})")
    (case,) = [c for c in (await desk.store.dump()).cases if c.reason == "undelivered"]
    assert (case.owner, case.message) == (ROLE, f"finance-mail: {error}")
    await write_notices(desk.store, desk.model, desk.now)
    assert len((await desk.store.dump()).deliveries) == 1, "the Case of a broken channel is not sent over it"


async def test_a_refused_address_ends_it_at_once_and_names_the_person_by_id(sink: MailSink) -> None:
    desk = Desk(sink)
    await desk.hire("ann")
    await desk.open("case_1")
    sink.receiver = "550 no mailbox ann@acme.test here"
    assert await desk.deliver() == 1
    (case,) = [c for c in (await desk.store.dump()).cases if c.reason == "undelivered"]
    assert case.message == (
        "finance-mail: the mail server refused the address of the person (550); it was for ann"
    )


@pytest.mark.parametrize(
    "address", ["ann@acme.test, eve@evil.test", "ann@acme.test\r\nBcc: eve@evil.test", "ann", "a b@c.d"]
)
async def test_an_address_that_is_more_than_one_is_refused(sink: MailSink, address: str) -> None:
    desk = Desk(sink)
    await desk.hire("ann", email=address)
    await desk.open("case_1")
    await desk.deliver()
    assert sink.mails == []
    assert (await desk.states())[0][1] == "the e-mail address of the person is not valid; it was for ann"


@pytest.mark.parametrize(
    "text", ["x\r\nBcc: eve@evil.test", "x\nBcc: eve@evil.test", "x\rY", "x\u2028Bcc: e", "x\x00\x0b\x85y"]
)
async def test_a_subject_with_line_breaks_stays_one_header(sink: MailSink, text: str) -> None:
    server = MailServer(host="127.0.0.1", port=sink.port, tls="none", sender="n@acme.test", private=True)
    await send_mail(server, Mail(id="m1", to="ann@acme.test", subject=text, text="hello\n", at=s.T0))
    (message,) = sink.messages
    assert message["Subject"] == one_line(text)
    assert message["Bcc"] is None
    assert sink.mails[0].rcpt_tos == ["ann@acme.test"]
    assert message.get_content().strip() == "hello"


def server_of(sink: MailSink, **more: Any) -> MailServer:
    fields = {
        "host": "localhost",
        "tls": "starttls",
        "user": "env:MAIL_USER",
        "password": "env:MAIL_PASSWORD",
    }
    return MailServer(port=sink.port, sender="n@acme.test", private=True, **{**fields, **more})


MAIL = Mail(
    id="m1", to="ann@acme.test", subject="hello", text="hello\n", at=datetime(2026, 12, 1, tzinfo=UTC)
)


async def test_secrets_go_encrypted_to_the_server_that_its_certificate_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, authority = server_context(tmp_path, "localhost")
    monkeypatch.setenv("MAIL_USER", "counterfoil")
    monkeypatch.setenv("MAIL_PASSWORD", PASSWORD)
    async with mail_sink(context) as sink:
        sink.password = PASSWORD.encode()
        with pytest.raises(Misconfigured, match="certificate"):
            await send_mail(server_of(sink), MAIL)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        with pytest.raises(Misconfigured, match="certificate"):
            await send_mail(server_of(sink, host="127.0.0.1"), MAIL)
        assert sink.sign_ins == []
        await send_mail(server_of(sink), MAIL)
        assert sink.sign_ins == [(b"counterfoil", PASSWORD.encode())]
        assert len(sink.mails) == 1
        monkeypatch.setenv("MAIL_PASSWORD", "wrong-topsecret")
        with pytest.raises(Misconfigured, match="refused the sign-in") as refusal:
            await send_mail(server_of(sink), MAIL)
        assert "topsecret" not in str(refusal.value)


async def test_a_server_that_is_encrypted_from_the_first_byte_is_checked_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, authority = server_context(tmp_path, "localhost")
    async with mail_sink(context, implicit=True) as sink:
        server = server_of(sink, tls="implicit", user=None, password=None)
        with pytest.raises(Misconfigured, match="certificate"):
            await send_mail(server, MAIL)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        await send_mail(server, MAIL)
        assert len(sink.mails) == 1


async def test_no_password_is_sent_to_a_server_without_encryption(
    sink: MailSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAIL_USER", "counterfoil")
    monkeypatch.setenv("MAIL_PASSWORD", PASSWORD)
    with pytest.raises(Misconfigured, match="encryption"):
        await send_mail(server_of(sink), MAIL)
    assert (sink.sign_ins, sink.mails) == ([], [])


async def test_no_channel_of_mails_opens_a_way_into_the_private_network(sink: MailSink) -> None:
    for host, private in (("127.0.0.1", False), ("169.254.169.254", True), ("localhost", False)):
        server = MailServer(host=host, port=sink.port, tls="starttls", sender="n@a.test", private=private)
        with pytest.raises(Misconfigured, match="must not be called"):
            await send_mail(server, MAIL)
    assert sink.mails == []


async def test_a_reply_of_the_server_is_never_taken_over_as_text(sink: MailSink) -> None:
    server = MailServer(host="127.0.0.1", port=sink.port, tls="none", sender="n@a.test", private=True)
    sink.receiver = "450 topsecret"
    with pytest.raises(TryAgain) as later:
        await send_mail(server, MAIL)
    sink.receiver, sink.content = "", "554 topsecret"
    with pytest.raises(MailRefused) as refused:
        await send_mail(server, MAIL)
    assert "topsecret" not in f"{later.value}{refused.value}"


async def test_no_error_log_case_leaf_or_delivery_has_an_address_or_a_secret(
    sink: MailSink, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MAIL_USER", "counterfoil")
    monkeypatch.setenv("MAIL_PASSWORD", PASSWORD)
    desk = Desk(sink, host="localhost", tls="starttls", user="env:MAIL_USER", password="env:MAIL_PASSWORD")
    await desk.hire("ann", email="ann.private@acme.test")
    await desk.open("case_1")
    for _ in range(MAX_ATTEMPTS):
        await desk.deliver(timedelta(hours=1))
    plain = Desk(sink)
    await plain.hire("ann", email="ann.private@acme.test")
    await plain.open("case_1")
    sink.receiver = "550 ann.private@acme.test"
    await plain.deliver()
    dumps = [await d.store.dump() for d in (desk, plain)]
    texts = repr([(d.deliveries, d.cases, d.notices) for d in dumps])
    texts += "".join(r.getMessage() for r in caplog.records if r.name != "mail.log")
    texts += repr([leaf for d in dumps for _, leaf in d.leaves if leaf.kind != "person"])
    assert [c.reason for d in dumps for c in d.cases].count("undelivered") == 2
    for secret in ("topsecret", "ann.private", "acme.test"):
        assert secret not in texts


# ---------------------------------------------------------------- what a person chose


async def test_a_person_who_wants_no_mail_of_a_topic_has_the_notice_on_the_page_alone(sink: MailSink) -> None:
    desk = Desk(sink)
    await desk.hire("ann", "bob")
    await desk.wish(cases=SendMode.NEVER)
    await desk.open("case_1")
    assert await desk.deliver() == 1
    assert [mail.rcpt_tos for mail in sink.mails] == [["bob@acme.test"]]
    assert sorted(n.person for n in (await desk.store.dump()).notices) == ["ann", "bob"]


async def test_a_person_who_wants_none_meanwhile_gets_none(sink: MailSink) -> None:
    desk = Desk(sink)
    await desk.hire("ann")
    await desk.open("case_1")
    await desk.wish(cases=SendMode.NEVER)
    assert await desk.deliver() == 0
    assert await desk.states() == [(DeliveryState.OBSOLETE, "")]


async def test_a_notice_within_quiet_hours_is_mailed_at_their_end(sink: MailSink) -> None:
    desk = Desk(sink)
    await desk.hire("ann")
    desk.now = datetime(2026, 12, 1, 21, 30, tzinfo=UTC)  # 22:30 in Berlin
    await desk.wish(quiet_from=22 * 60, quiet_until=7 * 60, zone="Europe/Berlin")
    await desk.open("case_1")
    assert await desk.deliver() == 0
    assert await desk.deliver_at(5, 59, day=1) == 0
    assert await desk.deliver_at(6) == 1
    assert len(sink.mails) == 1


async def test_a_retry_waits_for_the_end_of_quiet_hours_as_well(sink: MailSink) -> None:
    desk = Desk(sink)
    await desk.hire("ann")
    desk.now = datetime(2026, 12, 1, 21, 59, tzinfo=UTC)
    await desk.wish(quiet_from=22 * 60, quiet_until=7 * 60)
    await desk.open("case_1")
    sink.content = "451 later"
    assert await desk.deliver() == 1
    sink.content = ""
    assert await desk.deliver(timedelta(minutes=5)) == 0
    assert await desk.deliver_at(7, day=1) == 1
    assert len(sink.mails) == 1


async def test_a_day_is_one_digest_with_all_of_its_notices(sink: MailSink) -> None:
    desk = Desk(sink)
    await desk.hire("ann")
    desk.now = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
    await desk.wish(cases=SendMode.DIGEST, digest_at=17 * 60, zone="Europe/Berlin")
    for n in range(5):
        await desk.open(f"case_{n}", cause=f"clash/{n}", exposure=(Money(100 * n + 100, "EUR"),))
    await desk.open("case_9", cause="clash/0", exposure=(Money(100, "EUR"),))
    assert await desk.deliver_at(15, 59) == 0
    assert await desk.deliver_at(16) == 1
    (message,) = sink.messages
    assert message["Subject"] == "Digest: 5 notices"
    text = message.get_content()
    assert [f"Amount: {n}.00 EUR" in text for n in (2, 2, 3, 4, 5)] == [True] * 5
    await desk.open("case_10", cause="late")
    assert await desk.deliver_at(16, day=1) == 1
    assert [m["Subject"] for m in sink.messages[1:]] == ["Digest: 1 notice"]
    assert await desk.deliver_at(16, day=1) == 0, "a day without notices has no digest"


async def test_a_digest_leaves_out_what_was_read_and_what_may_not_be_read(sink: MailSink) -> None:
    desk = Desk(sink)
    await desk.hire("ann", entities=())
    desk.now = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
    await desk.wish(cases=SendMode.DIGEST)
    for n in range(3):
        await desk.open(f"case_{n}", cause=f"clash/{n}")
    first = next(n for n in (await desk.store.dump()).notices if n.subject == "case_1")
    await desk.store.apply(ReadNotices(person="ann", ids=(first.id,), until=desk.now, at=desk.now))
    assert await desk.deliver_at(8, day=1) == 1
    (message,) = sink.messages
    assert message["Subject"] == "Digest: 2 notices"
    assert "case_1" not in message.get_content()
    await desk.open("case_8", cause="late")
    ann = await desk.store.person("ann")
    assert ann is not None
    await desk.store.apply(s.put_person(replace(ann, roles=("support-agent",))))
    assert await desk.deliver_at(8, day=1) == 1
    assert len(sink.mails) == 1
