"""The conformance suite finds what it is there to find: connectors spoiled in one way each fail its check."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from counterfoil.connectors.conformance import Samples, conform, failures
from counterfoil.connectors.sdk import (
    Absent,
    Confirmed,
    Connector,
    Delivery,
    Finding,
    ListingConnector,
    Outcome,
    Page,
    Rejected,
    Repeat,
    Request,
    SystemConfig,
    Unknown,
)
from counterfoil.core.errors import ErrorClass, Misconfigured, TryAgain
from tests.contract.trial_http import http_ledger

PAYMENT = "erp.payment.post"


class Wrapped:
    """A connector that passes everything on; each spoiled one below changes one thing."""

    def __init__(self, inner: Connector) -> None:
        self.inner = inner
        self.operations = inner.operations
        self.feeds: Sequence[str] = inner.feeds

    def receive(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery:
        return self.inner.receive(headers, body, now)

    async def send(self, request: Request, timeout: float) -> Outcome:
        return await self.inner.send(request, timeout)

    async def find(self, request: Request, timeout: float) -> Finding:
        return await self.inner.find(request, timeout)

    async def read(self, operation: str, arguments: Mapping[str, Any], timeout: float) -> Any:
        return await self.inner.read(operation, arguments, timeout)

    async def poll(self, feed: str, cursor: str | None, limit: int, timeout: float) -> Page:
        return await self.inner.poll(feed, cursor, limit, timeout)

    async def check(self, timeout: float) -> None:
        await self.inner.check(timeout)

    async def close(self) -> None:
        await self.inner.close()


class TakesSilenceForRefusal(Wrapped):
    async def send(self, request: Request, timeout: float) -> Outcome:
        outcome = await self.inner.send(request, timeout)
        return Rejected(ErrorClass.TRANSIENT, "try again") if isinstance(outcome, Unknown) else outcome


class TakesUnreachableForUnknown(Wrapped):
    async def send(self, request: Request, timeout: float) -> Outcome:
        outcome = await self.inner.send(request, timeout)
        transient = isinstance(outcome, Rejected) and outcome.error_class is ErrorClass.TRANSIENT
        return Unknown("who knows") if transient else outcome


class TakesFailedLookUpForAbsence(Wrapped):
    async def find(self, request: Request, timeout: float) -> Finding:
        finding = await self.inner.find(request, timeout)
        return Absent() if isinstance(finding, Unknown) else finding


class FindsNothing(Wrapped):
    async def find(self, request: Request, timeout: float) -> Finding:
        finding = await self.inner.find(request, timeout)
        return Absent() if isinstance(finding, Confirmed) else finding


class FindsAnything(Wrapped):
    async def find(self, request: Request, timeout: float) -> Finding:
        finding = await self.inner.find(request, timeout)
        return Confirmed({"payment": "pay1"}) if isinstance(finding, Absent) else finding


class FindsAnother(Wrapped):
    async def find(self, request: Request, timeout: float) -> Finding:
        finding = await self.inner.find(request, timeout)
        return Confirmed({"payment": "pay0"}) if isinstance(finding, Confirmed) else finding


class Raises(Wrapped):
    async def send(self, request: Request, timeout: float) -> Outcome:
        outcome = await self.inner.send(request, timeout)
        if isinstance(outcome, Unknown):
            raise TryAgain(outcome.message)
        return outcome


class SendsUnderAnotherKey(Wrapped):
    sent = 0

    async def send(self, request: Request, timeout: float) -> Outcome:
        SendsUnderAnotherKey.sent += 1
        return await self.inner.send(replace(request, key=f"{request.key}-{self.sent}"), timeout)


class SendsTwice(Wrapped):
    async def send(self, request: Request, timeout: float) -> Outcome:
        first = await self.inner.send(replace(request, key=request.key + "x"), timeout)
        second = await self.inner.send(request, timeout)
        return second if isinstance(first, Confirmed) else first


class AnswersFloats(Wrapped):
    async def send(self, request: Request, timeout: float) -> Outcome:
        outcome = await self.inner.send(request, timeout)
        return Confirmed({**outcome.result, "amount": 1.5}) if isinstance(outcome, Confirmed) else outcome


class IgnoresItsTimeout(Wrapped):
    async def send(self, request: Request, timeout: float) -> Outcome:
        return await self.inner.send(request, timeout + 2.2)


class SharesItsLastAnswer(Wrapped):
    async def send(self, request: Request, timeout: float) -> Outcome:
        outcome = await self.inner.send(request, timeout)
        self.last = outcome
        await asyncio.sleep(0.05)
        return self.last


class RefusesForNow(Wrapped):
    async def send(self, request: Request, timeout: float) -> Outcome:
        outcome = await self.inner.send(request, timeout)
        return (
            replace(outcome, error_class=ErrorClass.THROTTLED) if isinstance(outcome, Rejected) else outcome
        )


class SaysNothingOfItsHorizon(Wrapped):
    def __init__(self, inner: Connector) -> None:
        super().__init__(inner)
        spec = replace(inner.operations[PAYMENT], repeat=Repeat.FIND, horizon=0.0)
        self.operations = {**inner.operations, PAYMENT: spec}


class PollsInPlace(Wrapped):
    async def poll(self, feed: str, cursor: str | None, limit: int, timeout: float) -> Page:
        page = await self.inner.poll(feed, None, limit, timeout)
        return replace(page, cursor="0", more=True)


class PollsTwice(Wrapped):
    async def poll(self, feed: str, cursor: str | None, limit: int, timeout: float) -> Page:
        page = await self.inner.poll(feed, cursor, limit, timeout)
        return replace(page, deliveries=[*page.deliveries, *page.deliveries])


class PollsAtRandom(Wrapped):
    polled = 0

    async def poll(self, feed: str, cursor: str | None, limit: int, timeout: float) -> Page:
        page = await self.inner.poll(feed, cursor, limit, timeout)
        PollsAtRandom.polled += 1
        return replace(
            page, deliveries=[replace(d, ext_id=f"{self.polled}-{d.ext_id}") for d in page.deliveries]
        )


class TellsOldThingsAnew(Wrapped):
    async def poll(self, feed: str, cursor: str | None, limit: int, timeout: float) -> Page:
        page = await self.inner.poll(feed, cursor, limit, timeout)
        if page.deliveries or cursor is None:
            return page
        old = await self.inner.poll(feed, None, limit, timeout)
        return replace(page, deliveries=[replace(d, ext_id="again-" + d.ext_id) for d in old.deliveries])


class MissesChanges(Wrapped):
    async def poll(self, feed: str, cursor: str | None, limit: int, timeout: float) -> Page:
        if cursor is not None:
            return Page((), cursor)
        return await self.inner.poll(feed, cursor, limit, timeout)


class TakesAnyDelivery(Wrapped):
    def receive(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery:
        return Delivery("1", "invoice.paid", body, {})


class TakesNoDelivery(Wrapped):
    def receive(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery:
        raise TryAgain("not today")


class StumblesOverDeliveries(Wrapped):
    def receive(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery:
        if "webhook-signature" not in headers:
            raise KeyError("webhook-signature")
        return self.inner.receive(headers, body, now)


class ReadsFloats(Wrapped):
    async def read(self, operation: str, arguments: Mapping[str, Any], timeout: float) -> Any:
        value = await self.inner.read(operation, arguments, timeout)
        return {"as_read": value, "total": [float(Decimal("1.1"))]}


class HidesThatNobodyIsThere(Wrapped):
    async def check(self, timeout: float) -> None:
        return


class InBulk(Wrapped):
    """Takes batches, one request after the other: what the spoiled ones below do otherwise is told by their names."""

    def __init__(self, inner: Connector) -> None:
        super().__init__(inner)
        self.operations = {**inner.operations, PAYMENT: replace(inner.operations[PAYMENT], bulk=5)}

    async def send_many(self, requests: Sequence[Request], timeout: float) -> Sequence[Outcome]:
        share = timeout / len(requests)
        return [await self.inner.send(request, share) for request in requests]


class HasNoSendMany(Wrapped):
    def __init__(self, inner: Connector) -> None:
        super().__init__(inner)
        self.operations = {**inner.operations, PAYMENT: replace(inner.operations[PAYMENT], bulk=5)}


class ShufflesABatch(InBulk):
    async def send_many(self, requests: Sequence[Request], timeout: float) -> Sequence[Outcome]:
        return (await super().send_many(requests, timeout))[::-1]


class LosesOneOfABatch(InBulk):
    async def send_many(self, requests: Sequence[Request], timeout: float) -> Sequence[Outcome]:
        return (await super().send_many(requests, timeout))[1:]


class SendsOneOfABatch(InBulk):
    async def send_many(self, requests: Sequence[Request], timeout: float) -> Sequence[Outcome]:
        return [await self.inner.send(requests[0], timeout)] * len(requests)


class RefusesABatchForOne(InBulk):
    async def send_many(self, requests: Sequence[Request], timeout: float) -> Sequence[Outcome]:
        outcomes = await super().send_many(requests, timeout)
        refused = [o for o in outcomes if isinstance(o, Rejected)]
        return refused[:1] * len(requests) or outcomes


class ConfirmsABatchForOne(InBulk):
    async def send_many(self, requests: Sequence[Request], timeout: float) -> Sequence[Outcome]:
        outcomes = await super().send_many(requests, timeout)
        done = next((o for o in outcomes if isinstance(o, Confirmed)), None)
        return [done if done is not None and isinstance(o, Rejected) else o for o in outcomes]


class TakesALostBatchForRefused(InBulk):
    async def send_many(self, requests: Sequence[Request], timeout: float) -> Sequence[Outcome]:
        outcomes = await super().send_many(requests, timeout)
        return [Rejected(ErrorClass.TRANSIENT, "again") if isinstance(o, Unknown) else o for o in outcomes]


class SendsABatchUnderOtherKeys(InBulk):
    sent = 0

    async def send_many(self, requests: Sequence[Request], timeout: float) -> Sequence[Outcome]:
        SendsABatchUnderOtherKeys.sent += 1
        other = [replace(request, key=f"{request.key}-{self.sent}") for request in requests]
        return await super().send_many(other, timeout)


class SendsABatchTwice(InBulk):
    async def send_many(self, requests: Sequence[Request], timeout: float) -> Sequence[Outcome]:
        await super().send_many([replace(request, key=request.key + "x") for request in requests], timeout)
        return await super().send_many(requests, timeout)


class RaisesForABatch(InBulk):
    async def send_many(self, requests: Sequence[Request], timeout: float) -> Sequence[Outcome]:
        outcomes = await super().send_many(requests, timeout)
        if any(isinstance(outcome, Unknown) for outcome in outcomes):
            raise TryAgain("who knows")
        return outcomes


class GivesEachOfABatchItsTime(InBulk):
    async def send_many(self, requests: Sequence[Request], timeout: float) -> Sequence[Outcome]:
        return await super().send_many(requests, timeout + 2.2)


class Lists(Wrapped):
    """Lists a book that is a feed too; the spoiled ones below do one thing otherwise."""

    listings: Sequence[str] = ("changes",)

    async def list_book(self, listing: str, cursor: str | None, limit: int, timeout: float) -> Page:
        assert isinstance(self.inner, ListingConnector)
        return await self.inner.list_book(listing, cursor, limit, timeout)


class ListsMoreThanItMay(Lists):
    async def list_book(self, listing: str, cursor: str | None, limit: int, timeout: float) -> Page:
        return await super().list_book(listing, cursor, limit + 1, timeout)


class ListsTwice(Lists):
    async def list_book(self, listing: str, cursor: str | None, limit: int, timeout: float) -> Page:
        page = await super().list_book(listing, cursor, limit, timeout)
        return replace(page, deliveries=[*page.deliveries, *page.deliveries])


class ListsInPlace(Lists):
    async def list_book(self, listing: str, cursor: str | None, limit: int, timeout: float) -> Page:
        page = await super().list_book(listing, cursor, limit, timeout)
        return replace(page, cursor=cursor or page.cursor, more=True)


class ListsAtRandom(Lists):
    listed = 0

    async def list_book(self, listing: str, cursor: str | None, limit: int, timeout: float) -> Page:
        page = await super().list_book(listing, cursor, limit, timeout)
        ListsAtRandom.listed += 1
        return replace(
            page, deliveries=[replace(d, ext_id=f"{self.listed}-{d.ext_id}") for d in page.deliveries]
        )


class ListsSmallPagesShort(Lists):
    async def list_book(self, listing: str, cursor: str | None, limit: int, timeout: float) -> Page:
        page = await super().list_book(listing, cursor, limit, timeout)
        return replace(page, deliveries=page.deliveries[: None if limit > 2 else 1])


class ListsOtherDeliveries(Lists):
    async def list_book(self, listing: str, cursor: str | None, limit: int, timeout: float) -> Page:
        page = await super().list_book(listing, cursor, limit, timeout)
        return replace(page, deliveries=[replace(d, identity=b"listed") for d in page.deliveries])


class ListsNothing(Lists):
    async def list_book(self, listing: str, cursor: str | None, limit: int, timeout: float) -> Page:
        return replace(await super().list_book(listing, cursor, limit, timeout), deliveries=(), more=False)


class ListsAnything(Lists):
    async def list_book(self, listing: str, cursor: str | None, limit: int, timeout: float) -> Page:
        try:
            return await super().list_book(listing, cursor, limit, timeout)
        except Misconfigured:
            return Page((), "")


class ListsFloats(Lists):
    async def list_book(self, listing: str, cursor: str | None, limit: int, timeout: float) -> Page:
        page = await super().list_book(listing, cursor, limit, timeout)
        return replace(page, deliveries=[replace(d, body={"total": 1.5}) for d in page.deliveries])


class ForgetsWhatIsBehindAChange(Lists):
    rows = 0

    async def list_book(self, listing: str, cursor: str | None, limit: int, timeout: float) -> Page:
        page = await super().list_book(listing, cursor, limit, timeout)
        assert isinstance(self.inner, ListingConnector)
        rows = len((await self.inner.list_book(listing, None, 1000, timeout)).deliveries)
        grown, self.rows = cursor is not None and rows > self.rows, rows
        return replace(page, deliveries=(), more=False) if grown else page


SPOILED: dict[type[Wrapped], set[str]] = {
    TakesSilenceForRefusal: {"a lost answer is unknown", "silence is unknown"},
    TakesUnreachableForUnknown: {"not sent is transient"},
    TakesFailedLookUpForAbsence: {
        "a failed look-up is unknown",
        "a silent look-up is unknown",
        "look-up 502",
    },
    FindsNothing: {"a done request is found", "a lost answer is found"},
    FindsAnything: {"a key never sent is absent", "a refused request is not found"},
    FindsAnother: {"a done request is found"},
    Raises: {"send never raises"},
    SendsUnderAnotherKey: {"a repeat changes nothing"},
    SendsTwice: {"one request makes one object"},
    AnswersFloats: {"the result has no floats"},
    IgnoresItsTimeout: {"a timeout is respected"},
    SharesItsLastAnswer: {"concurrent calls stay separate"},
    RefusesForNow: {"an invalid request is refused for good"},
    SaysNothingOfItsHorizon: {"specification is complete"},
    PollsInPlace: {"a feed can be swept"},
    PollsTwice: {"a sweep delivers nothing twice"},
    PollsAtRandom: {"the same cursor repeats"},
    TellsOldThingsAnew: {"after the end nothing is new"},
    MissesChanges: {"a change is shown"},
    TakesAnyDelivery: {"an unsigned delivery is refused", "a changed body is refused"},
    TakesNoDelivery: {"a signed delivery is identified"},
    StumblesOverDeliveries: {"a missing signature is refused"},
    ReadsFloats: {"a read answers without floats"},
    HidesThatNobodyIsThere: {"check raises TryAgain if the system is unreachable"},
    HasNoSendMany: {"specification is complete [erp.payment.post]: offers bulk"},
    ShufflesABatch: {"outcomes come in the order of requests"},
    LosesOneOfABatch: {"as many outcomes as requests"},
    SendsOneOfABatch: {"a batch makes as many objects"},
    RefusesABatchForOne: {"a bad request does not stop the others"},
    ConfirmsABatchForOne: {"a bad request is refused alone"},
    TakesALostBatchForRefused: {"a lost answer leaves a batch unknown", "silence is unknown for a batch"},
    SendsABatchUnderOtherKeys: {"a repeated batch changes nothing"},
    SendsABatchTwice: {"one request makes one object"},
    RaisesForABatch: {"send_many never raises"},
    GivesEachOfABatchItsTime: {"a batch respects its timeout"},
    ListsMoreThanItMay: {"a page respects its limit"},
    ListsTwice: {"a listing returns nothing twice"},
    ListsInPlace: {"a book can be listed"},
    ListsAtRandom: {"pages of any size list the same"},
    ListsSmallPagesShort: {"pages of any size list the same"},
    ListsOtherDeliveries: {"a listing makes the deliveries of its feed"},
    ListsNothing: {"a book has records"},
    ListsAnything: {"an unknown listing or cursor is misconfigured"},
    ListsFloats: {"a listing has no floats"},
    ForgetsWhatIsBehindAChange: {"a change between pages hides nothing"},
}


@asynccontextmanager
async def spoiled(
    kind: Callable[[Connector], Wrapped], folder: Path
) -> AsyncIterator[tuple[Connector, Samples]]:
    async with http_ledger(folder) as (sound, samples):

        def connect(config: SystemConfig) -> Connector:
            return kind(samples.connect(config))

        async def count(request: Request) -> int:
            plain = samples.operations[PAYMENT].count
            assert plain is not None
            extra = replace(request, key=request.key + "x")
            return await plain(request) + await plain(extra)

        operations = {PAYMENT: replace(samples.operations[PAYMENT], count=count)}
        yield (
            kind(sound),
            replace(samples, connect=connect, operations=operations, short=0.15, patience=0.3, timeout=5.0),
        )


@pytest.mark.parametrize("kind", SPOILED)
async def test_a_spoiled_connector_fails_its_check(kind: type[Wrapped], tmp_path: Path) -> None:
    async with spoiled(kind, tmp_path) as (connector, samples):
        finding = failures(await conform(connector, samples))
        await connector.close()
    missed = {check for check in SPOILED[kind] if not any(check in line for line in finding)}
    assert not missed, finding


@pytest.mark.parametrize("kind", [Wrapped, InBulk, Lists])
async def test_an_unspoiled_wrapper_lacks_the_left_out_samples_alone(
    kind: type[Wrapped], tmp_path: Path
) -> None:
    async with spoiled(kind, tmp_path) as (connector, samples):
        finding = failures(await conform(connector, samples))
        await connector.close()
    assert finding == [
        "FAIL specification is complete [erp.invoice.post]: has no sample",
        "FAIL specification is complete [erp.invoice.void]: has no sample",
        "FAIL specification is complete [erp.note.add]: has no sample",
    ]


async def test_a_sample_of_an_operation_that_is_not_offered_is_a_mistake(tmp_path: Path) -> None:
    async with http_ledger(tmp_path) as (connector, samples):
        wrong = replace(samples, operations={"erp.typo": samples.operations[PAYMENT]})
        with pytest.raises(ValueError, match=r"erp\.typo"):
            await conform(connector, wrong)
        await connector.close()
