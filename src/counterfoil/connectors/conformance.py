"""Conformance suite that every connector must pass: the assumptions behind Counterfoil's safety.

It runs against a real, disposable system (a test account, a twin, a local installation), writes to it, and puts bad
servers between it and the connector. A failure is a value; `conform` returns all results at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from counterfoil.connectors import faults
from counterfoil.connectors.bulk_trial import try_bulk
from counterfoil.connectors.listing_trial import try_listing
from counterfoil.connectors.samples import OperationSample, Result, Samples
from counterfoil.connectors.sdk import (
    BulkConnector,
    Connector,
    Delivery,
    ListingConnector,
    OperationSpec,
    Repeat,
)
from counterfoil.connectors.single_trial import has_float, try_single
from counterfoil.connectors.trial import OperationTrial, Trial
from counterfoil.core.errors import CounterfoilError, TryAgain

__all__ = ["OperationSample", "Result", "Samples", "conform", "failures"]

_PAGES = 200


async def conform(connector: Connector, samples: Samples) -> list[Result]:
    """Run all checks and return their results, passed and failed, in a fixed order. Raises only for bad samples."""
    trial = _Suite(connector, samples)
    trial.check_specification()
    await trial.check_reachable()
    for name, sample in samples.operations.items():
        operation = OperationTrial(trial, connector.operations[name], sample)
        await try_single(operation)
        if operation.spec.bulk > 1 and isinstance(connector, BulkConnector):
            await try_bulk(operation)
    for name, arguments in samples.reads:
        await trial.check_read(name, arguments)
    for feed in connector.feeds:
        await trial.check_feed(feed)
    if isinstance(connector, ListingConnector):
        for listing in connector.listings:
            await try_listing(trial, connector, listing)
    trial.check_deliveries()
    return trial.results


def failures(results: Sequence[Result]) -> list[str]:
    """Return the failed results as lines. Empty if the connector conforms."""
    return [str(result) for result in results if not result.passed]


class _Suite(Trial):
    def check_specification(self) -> None:
        """Check that every operation states its protection against repeats, with the durations that this needs."""
        books = self.connector.listings if isinstance(self.connector, ListingConnector) else {}
        offers = bool(self.connector.operations or self.connector.feeds or books)
        self.record("offers operations, feeds or books", "", offers)
        for name, spec in self.connector.operations.items():
            problems = _problems_of(name, spec)
            if spec.bulk > 1 and not isinstance(self.connector, BulkConnector):
                problems.append("offers bulk, but the connector has no send_many")
            if spec.repeat is not Repeat.READ and name not in self.samples.operations:
                problems.append("has no sample")
            self.record("specification is complete", name, not problems, "; ".join(problems))
        for name in self.samples.operations:
            if name not in self.connector.operations:
                raise ValueError(f"a sample names {name!r}, which the connector does not offer")

    async def check_reachable(self) -> None:
        """Check that `check` passes on the real system, and that calls raise TryAgain if it is unreachable."""
        try:
            await self.connector.check(self.samples.timeout)
            self.record("check reaches the system", "", True)
        except CounterfoilError as error:
            self.record("check reaches the system", "", False, error)
        with faults.closed_port() as url:
            async with self.configured_for(url) as lost:
                await self.check_raises_try_again("check", "", lost.check(self.samples.short))
                for feed in self.connector.feeds:
                    call = lost.poll(feed, None, 10, self.samples.short)
                    await self.check_raises_try_again("poll", feed, call)
                if isinstance(self.connector, ListingConnector) and isinstance(lost, ListingConnector):
                    for listing in self.connector.listings:
                        page = lost.list_book(listing, None, 10, self.samples.short)
                        await self.check_raises_try_again("list_book", listing, page)
                for name, arguments in self.samples.reads:
                    read = lost.read(name, arguments, self.samples.short)
                    await self.check_raises_try_again("read", name, read)

    async def check_raises_try_again(self, check: str, where: str, call: Awaitable[object]) -> None:
        name = f"{check} raises TryAgain if the system is unreachable"
        try:
            self.record(name, where, False, f"answered {await call}")
        except TryAgain:
            self.record(name, where, True)
        except Exception as error:
            self.record(name, where, False, f"raised {error!r}")

    async def check_read(self, name: str, arguments: Mapping[str, Any]) -> None:
        try:
            value = await self.connector.read(name, arguments, self.samples.timeout)
            self.record("a read answers without floats", name, not has_float(value), value)
        except Exception as error:
            self.record("a read answers without floats", name, False, repr(error))

    async def check_feed(self, feed: str) -> None:
        """Check that a feed ends, moves forward, repeats itself from the same cursor, and shows changes."""
        touch = self.samples.touch
        if touch is None:
            self.record("a feed can be tried", feed, False, "the samples have no touch")
            return
        try:
            # Enough for more than one page of two, even in an empty system.
            for _ in range(3):
                await touch()
            first, cursor = await self.sweep(feed, None)
            self.record("a feed shows something", feed, bool(first), "the feed is empty")
            self.record("a sweep delivers nothing twice", feed, len(set(first)) == len(first), first)
            page = await self.connector.poll(feed, None, 2, self.samples.timeout)
            again = await self.connector.poll(feed, None, 2, self.samples.timeout)
            repeated = [d.ext_id for d in page.deliveries] == [d.ext_id for d in again.deliveries]
            self.record("the same cursor repeats", feed, repeated, again)
            quiet, cursor = await self.sweep(feed, cursor)
            self.record("after the end nothing is new", feed, set(quiet) <= set(first), quiet)
            await touch()
            fresh = await self.until_new(feed, cursor, set(first) | set(quiet))
            self.record("a change is shown", feed, bool(fresh), "no change within the patience")
        except Exception as error:
            self.record("a feed can be swept", feed, False, repr(error))

    async def sweep(self, feed: str, cursor: str | None) -> tuple[list[str], str]:
        ids: list[str] = []
        for _ in range(_PAGES):
            page = await self.connector.poll(feed, cursor, 2, self.samples.timeout)
            ids += [delivery.ext_id for delivery in page.deliveries]
            if page.more and page.cursor == cursor:
                raise ValueError("a page says that there is more, but its cursor did not move")
            cursor = page.cursor
            if not page.more:
                return ids, cursor
        raise ValueError(f"a sweep did not end within {_PAGES} pages of 2")

    async def until_new(self, feed: str, cursor: str, former: set[str]) -> set[str]:
        deadline = time.monotonic() + self.samples.patience
        while True:
            ids, _ = await self.sweep(feed, cursor)
            if set(ids) - former or time.monotonic() > deadline:
                return set(ids) - former
            await asyncio.sleep(0.1)

    def check_deliveries(self) -> None:
        """Check that only signed deliveries are accepted, and that a repeated delivery has the same identity."""
        self.refuses("an unsigned delivery is refused", {}, b'{"id": "1"}', datetime.now(UTC))
        if self.samples.delivery is None:
            return
        headers, body, now = self.samples.delivery
        try:
            first, second = (self.connector.receive(headers, body, now) for _ in range(2))
            complete = isinstance(first, Delivery) and bool(first.ext_id and first.type and first.identity)
            self.record("a signed delivery is identified", "", complete and first == second, (first, second))
        except Exception as error:
            self.record("a signed delivery is identified", "", False, repr(error))
        self.refuses("a changed body is refused", headers, body + b" ", now)
        unsigned = {name: value for name, value in headers.items() if name != self.samples.signed}
        self.refuses("a missing signature is refused", unsigned, body, now)
        forged = {**headers, self.samples.signed: headers.get(self.samples.signed, "")[:-1] + "~"}
        self.refuses("a changed signature is refused", forged, body, now)

    def refuses(self, check: str, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        try:
            delivery = self.connector.receive(headers, body, now)
            self.record(check, "", False, f"accepted as {delivery}")
        except CounterfoilError:
            self.record(check, "", True)
        except Exception as error:
            self.record(check, "", False, f"raised {error!r}")


def _problems_of(name: str, spec: OperationSpec) -> list[str]:
    problems: list[str] = []
    if spec.name != name:
        problems.append(f"is listed as {name} but names itself {spec.name}")
    if spec.timeout <= 0:
        problems.append("has no timeout")
    if spec.repeat in (Repeat.FIND, Repeat.STATE) and spec.horizon <= 0:
        problems.append(f"repeat {spec.repeat} needs a horizon")
    if spec.repeat is Repeat.KEY and spec.retention <= spec.horizon:
        problems.append("repeat key needs a retention longer than its horizon")
    if spec.repeat is Repeat.READ and (spec.horizon or spec.retention):
        problems.append("a read has no horizon and no retention")
    if spec.bulk < 1 or (spec.bulk > 1 and spec.repeat is Repeat.READ):
        problems.append("bulk is 1 or, for a write, more")
    return problems
