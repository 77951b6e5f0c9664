"""What persons want by mail, on all stores: saved under a guard, and mails planned and claimed by it."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

from counterfoil.core.delivery import GATHER, DeliveryState, NoticeDelivery
from counterfoil.core.notice_preferences import NoticePreferences, SendMode
from counterfoil.store.port.deliveries import ClaimDeliveries, EndDelivery
from counterfoil.store.port.maintenance import OpenCases
from counterfoil.store.port.notices import PutNoticePreferences, ReadNotices, WriteNotices
from tests.contract.store import samples as s

DAY = timedelta(days=1)


async def put(store: Any, person: str = "ann", revision: int = 0, **more: Any) -> str:
    new = NoticePreferences(person=person, revision=revision, **more)
    return str(await store.apply(PutNoticePreferences(preferences=new, at=s.T0)))


async def write(store: Any, *ids: str, at: Any = s.T0, **more: Any) -> None:
    await store.apply(OpenCases(cases=tuple(s.case(id_) for id_ in ids), at=at, actor="test"))
    notices = tuple(s.new_notice(id_, cause=id_, mail="post", **more) for id_ in ids)
    await store.apply(WriteNotices(notices=notices, at=at))


async def claim(store: Any, at: Any) -> list[NoticeDelivery]:
    return list(await store.apply(ClaimDeliveries(at=at, limit=9)))


async def rows(store: Any) -> list[NoticeDelivery]:
    return list((await store.dump()).deliveries)


async def kinds(store: Any) -> list[str]:
    return [leaf.kind for _, leaf in (await store.dump()).leaves]


async def test_preferences_are_saved_once_for_each_revision(store: Any) -> None:
    await store.apply(s.put_person(s.person()))
    assert await store.notice_preferences("ann") is None
    saved = await asyncio.gather(*(put(store, digest_at=n) for n in range(4)))
    assert sorted(saved) == ["changed", "changed", "changed", "done"]
    assert await put(store, revision=1, cases=SendMode.NEVER, zone="Asia/Tokyo", quiet_from=5) == "done"
    chosen = await store.notice_preferences("ann")
    assert (chosen.revision, chosen.cases, chosen.zone, chosen.quiet_from) == (
        2,
        SendMode.NEVER,
        "Asia/Tokyo",
        5,
    )
    assert (await kinds(store)).count("notice.preferences") == 2


async def test_an_inactive_or_unknown_person_saves_nothing(store: Any) -> None:
    await store.apply(s.put_person(s.person(active=False)))
    assert [await put(store), await put(store, "eve")] == ["inactive", "inactive"]
    assert (await store.dump()).notice_preferences == []
    assert "notice.preferences" not in await kinds(store)


async def test_each_person_has_a_mail_of_their_own_and_once(store: Any) -> None:
    await write(store, "case_1", persons=("ann", "bob"))
    await store.apply(WriteNotices(notices=(s.new_notice("case_1", cause="case_1", mail="post"),), at=s.T0))
    claims = await claim(store, s.T0 + GATHER)
    assert [(c.channel, c.attempts) for c in claims] == [("post", 1), ("post", 1)]
    assert sorted(c.person for c in claims) == ["ann", "bob"]
    (entry,) = json.loads(claims[0].body)
    assert (entry["kind"], entry["path"]) == ("case", "/cases/case_1")
    for delivery in claims:
        end = EndDelivery(id=delivery.id, attempts=1, end="obsolete", at=s.T0, next_at=s.T0)
        assert await store.apply(end)
    assert [row.state for row in await rows(store)] == [DeliveryState.OBSOLETE] * 2
    assert await claim(store, s.T0 + 9 * DAY) == []


async def test_a_digest_takes_in_notices_until_it_is_sent_and_the_next_day_has_another(store: Any) -> None:
    await store.apply(s.put_person(s.person()))
    minute = (s.T0 + timedelta(hours=1)).hour * 60
    assert await put(store, cases=SendMode.DIGEST, digest_at=minute) == "done"
    await write(store, "case_1", "case_2")
    await write(store, "case_3", at=s.at(5))
    (digest,) = await rows(store)
    assert len(digest.notices) == 3
    (sent,) = await claim(store, digest.next_at)
    assert len(json.loads(sent.body)) == 3
    await write(store, "case_4", at=digest.next_at - timedelta(seconds=1))
    assert await claim(store, digest.next_at) == []
    (tomorrow,) = [row for row in await rows(store) if row.id != digest.id]
    assert (tomorrow.next_at, len(tomorrow.notices)) == (digest.next_at + DAY, 1)


async def test_a_claim_within_quiet_hours_puts_the_mail_off_without_an_attempt(store: Any) -> None:
    await store.apply(s.put_person(s.person()))
    begin = s.T0.hour * 60
    await put(store, quiet_from=begin, quiet_until=(begin + 120) % 1440)
    await write(store, "case_1")
    assert await claim(store, s.T0 + GATHER) == []
    (row,) = await rows(store)
    end = s.T0.replace(minute=0, second=0, microsecond=0) + timedelta(hours=2)
    assert (row.state, row.attempts, row.next_at) == (DeliveryState.PLANNED, 0, end)
    assert "delivery.postponed" in await kinds(store)
    assert len(await claim(store, end)) == 1


async def test_what_was_read_and_what_is_wanted_no_more_is_obsolete(store: Any) -> None:
    await store.apply(s.put_person(s.person()))
    await write(store, "case_1", persons=("ann", "bob"))
    await put(store, cases=SendMode.NEVER)
    await store.apply(ReadNotices(person="bob", ids=None, until=s.at(9), at=s.at(9)))
    assert await claim(store, s.T0 + GATHER) == []
    assert [row.state for row in await rows(store)] == [DeliveryState.OBSOLETE] * 2
    assert (await kinds(store)).count("delivery.obsolete") == 2


async def test_notices_and_the_claim_of_their_digest_at_once_lose_none(store: Any) -> None:
    await store.apply(s.put_person(s.person()))
    await put(store, cases=SendMode.DIGEST, digest_at=(s.T0.hour + 1) % 24 * 60)
    await write(store, "case_0")
    (digest,) = await rows(store)
    writes = [write(store, f"case_{n}", at=s.at(n)) for n in range(1, 6)]
    results = await asyncio.gather(claim(store, digest.next_at), *writes)
    sent = [name for delivery in results[0] for name in delivery.notices]
    left = [name for row in await rows(store) if row.id != digest.id for name in row.notices]
    assert len(sent) + len(left) == len(set(sent) | set(left)) == 6
