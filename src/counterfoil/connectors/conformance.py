"""Conformance suite that every connector must pass: the assumptions behind Counterfoil's safety.

It runs against a real, disposable system (a test account, a twin, a local installation), writes to it, and puts bad
servers between it and the connector. A failure is a value; `conform` returns all results at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from counterfoil.connectors import faults
from counterfoil.connectors.bulk_trial import try_bulk
from counterfoil.connectors.samples import OperationSample, Result, Samples
from counterfoil.connectors.sdk import (
    Absent,
    BulkConnector,
    Confirmed,
    Connector,
    Delivery,
    OperationSpec,
    Rejected,
    Repeat,
    Request,
    Unknown,
)
from counterfoil.connectors.trial import (
    GRACE_SECONDS,
    MAX_WRITES,
    Trial,
    has_float,
    identity,
    is_refused,
    same,
)
from counterfoil.core.errors import CounterfoilError, ErrorClass

__all__ = ["OperationSample", "Result", "Samples", "conform", "failures"]

_T = TypeVar("_T")
_NONSENSE = (
    (200, b'{"half": '),
    (200, b"{}"),
    (200, b"null"),
    (302, b""),
    (500, b"{}"),
    (502, b"<html>bad gateway</html>"),
    (503, b""),
)
"""Answers that a connector must not read as a refusal, an absence or a success."""
_PAGES = 200


async def conform(connector: Connector, samples: Samples) -> list[Result]:
    """Run all checks and return their results, passed and failed, in a fixed order. Raises only for bad samples."""
    trial = _Suite(connector, samples)
    trial.check_specification()
    await trial.check_reachable()
    for name, sample in samples.operations.items():
        await trial.check_operation(connector.operations[name], sample)
    for name, arguments in samples.reads:
        await trial.check_read(name, arguments)
    for feed in connector.feeds:
        await trial.check_feed(feed)
    trial.check_deliveries()
    return trial.results


def failures(results: Sequence[Result]) -> list[str]:
    """Return the failed results as lines. Empty if the connector conforms."""
    return [str(result) for result in results if not result.passed]


class _Suite(Trial):
    def check_specification(self) -> None:
        """Check that every operation states its protection against repeats, with the durations that this needs."""
        self.record("offers operations or feeds", "", bool(self.connector.operations or self.connector.feeds))
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
                    await self.check_raises_try_again(
                        "poll", feed, lost.poll(feed, None, 10, self.samples.short)
                    )
                for name, arguments in self.samples.reads:
                    await self.check_raises_try_again(
                        "read", name, lost.read(name, arguments, self.samples.short)
                    )

    async def check_operation(self, spec: OperationSpec, sample: OperationSample) -> None:
        await self.check_repeats(spec, sample)
        await self.check_concurrency(spec, sample)
        await self.check_refusals(spec, sample)
        await self.check_unsent(spec, sample)
        await self.check_lost_answers(spec, sample)
        await self.check_bad_answers(spec, sample)
        if spec.bulk > 1 and isinstance(self.connector, BulkConnector):
            await try_bulk(self, spec, sample)

    async def check_repeats(self, spec: OperationSpec, sample: OperationSample) -> None:
        """Check that a good request is confirmed and found, and that a repeat leaves one object."""
        request = await self.request(spec, sample)
        outcome = await self.send_settled(self.connector, request)
        if not self.record("a good request is confirmed", spec.name, isinstance(outcome, Confirmed), outcome):
            return
        assert isinstance(outcome, Confirmed)
        created = identity(outcome, sample)
        self.record("the result names the object", spec.name, None not in created.values(), outcome)
        self.record("the result has no floats", spec.name, not has_float(outcome.result), outcome)
        if spec.repeat is not Repeat.BLIND:
            finding = await self.find(self.connector, request)
            self.record("a done request is found", spec.name, same(finding, sample, created), finding)
        if spec.repeat in (Repeat.KEY, Repeat.UNIQUE):
            again = await self.send_settled(self.connector, request)
            refused = spec.repeat is Repeat.UNIQUE and is_refused(again, ErrorClass.ALREADY_DONE)
            self.record("a repeat changes nothing", spec.name, refused or same(again, sample, created), again)
        await self.check_count(spec, sample, request, 1)

    async def check_concurrency(self, spec: OperationSpec, sample: OperationSample) -> None:
        """Check that three concurrent requests create three objects: calls do not affect each other."""
        requests = [await self.request(spec, sample) for _ in range(3)]
        outcomes = await asyncio.gather(*(self.send_settled(self.connector, request) for request in requests))
        # A system may refuse one of several concurrent writers. It must not mix them up.
        created = [tuple(identity(o, sample).values()) for o in outcomes if isinstance(o, Confirmed)]
        allowed = (ErrorClass.CONFLICT, ErrorClass.THROTTLED, ErrorClass.TRANSIENT)
        fine = all(isinstance(o, Confirmed) or is_refused(o, *allowed) for o in outcomes)
        self.record(
            "concurrent calls stay separate",
            spec.name,
            fine and len(set(created)) == len(created) > 0,
            outcomes,
        )

    async def check_refusals(self, spec: OperationSpec, sample: OperationSample) -> None:
        """Check that an unused key is absent, and that an invalid request is refused, never unknown."""
        if spec.repeat is not Repeat.BLIND:
            finding = await self.find(self.connector, await self.request(spec, sample))
            self.record("a key never sent is absent", spec.name, isinstance(finding, Absent), finding)
        if sample.invalid is None:
            return
        request = Request(spec.name, self.samples.new_key(), await sample.invalid())
        outcome = await self.send(self.connector, request)
        final = isinstance(outcome, Rejected) and not is_refused(
            outcome, ErrorClass.TRANSIENT, ErrorClass.THROTTLED
        )
        self.record("an invalid request is refused for good", spec.name, final, outcome)
        if spec.repeat is not Repeat.BLIND:
            finding = await self.find(self.connector, request)
            absent = not isinstance(finding, Confirmed)
            self.record("a refused request is not found", spec.name, absent, finding)
        for body in (b"", b"[]", b"{", b'{"unrelated": 1.5}'):
            outcome = await self.send(self.connector, Request(spec.name, self.samples.new_key(), body))
            refused = isinstance(outcome, Rejected)
            self.record("an unreadable body is refused", spec.name, refused, (body, outcome))

    async def check_unsent(self, spec: OperationSpec, sample: OperationSample) -> None:
        """Check that an unsent request is refused as transient, and that a failed look-up is unknown."""
        request = await self.request(spec, sample)
        with faults.closed_port() as url:
            async with self.configured_for(url) as lost:
                outcome = await self.send(lost, request)
                self.record(
                    "not sent is transient", spec.name, is_refused(outcome, ErrorClass.TRANSIENT), outcome
                )
                finding = await self.find(lost, request)
                self.record("a failed look-up is unknown", spec.name, isinstance(finding, Unknown), finding)

    async def check_lost_answers(self, spec: OperationSpec, sample: OperationSample) -> None:
        """Lose the answer of each write in turn: the outcome is unknown, then found or finished, with one object."""
        for lose in range(1, MAX_WRITES + 1):
            request = await self.request(spec, sample)
            losing = self.samples.lose_answer(self.samples.config.url, lose)
            async with losing as (url, log), self.configured_for(url) as lossy:
                outcome = await self.send(lossy, request)
            if not log.lost:
                self.record(
                    "an operation writes", spec.name, lose > 1, f"no write was received: {log.methods}"
                )
                return
            where = f"{spec.name}, write {lose}"
            self.record("a lost answer is unknown", where, isinstance(outcome, Unknown), outcome)
            if spec.repeat is Repeat.BLIND:
                finding = await self.find(self.connector, request)
                self.record("a blind write stays unknown", where, isinstance(finding, Unknown), finding)
                return
            finding = await self.find_settled(request)
            if is_refused(finding, ErrorClass.TRANSIENT):
                # Started and not finished: the same bytes sent again must finish it.
                finished = await self.send_settled(self.connector, request)
                self.record(
                    "a started operation is finished", where, isinstance(finished, Confirmed), finished
                )
                finding = await self.find(self.connector, request)
            self.record("a lost answer is found", where, isinstance(finding, Confirmed), finding)
            await self.check_count(spec, sample, request, 1)
        self.record("an operation ends", spec.name, False, f"more than {MAX_WRITES} writes")

    async def check_bad_answers(self, spec: OperationSpec, sample: OperationSample) -> None:
        """Check that silence and nonsense after a write are unknown, and that timeouts are respected."""
        request = await self.request(spec, sample)
        async with faults.silent_server() as (url, log), self.configured_for(url) as mute:
            started = time.monotonic()
            outcome = await self.send(mute, request, self.samples.short)
            elapsed = time.monotonic() - started
            self.record(
                "a timeout is respected",
                spec.name,
                elapsed < self.samples.short + GRACE_SECONDS,
                f"{elapsed:.1f} s",
            )
            self.record_after_write("silence is unknown", spec, log, outcome)
            started = time.monotonic()
            finding = await self.find(mute, request, self.samples.short)
            elapsed = time.monotonic() - started
            in_time = elapsed < self.samples.short + GRACE_SECONDS
            unknown = isinstance(finding, Unknown) and in_time
            self.record("a silent look-up is unknown", spec.name, unknown, f"{finding} after {elapsed:.1f} s")
        for status, body in (
            (500, b"{}"),
            (502, b"<html>bad gateway</html>"),
            (200, b'{"half": '),
            (200, b"[]"),
        ):
            async with (
                faults.fixed_answer_server(status, body) as (url, log),
                self.configured_for(url) as broken,
            ):
                outcome = await self.send(broken, request)
                self.record_after_write(f"answer {status} {body.decode()} is unknown", spec, log, outcome)
                finding = await self.find(broken, request)
                unknown = isinstance(finding, Unknown)
                self.record(f"look-up {status} {body.decode()}", spec.name, unknown, finding)

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
            first_page = [d.ext_id for d in page.deliveries]
            self.record(
                "the same cursor repeats", feed, first_page == [d.ext_id for d in again.deliveries], again
            )
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
    if spec.repeat is Repeat.FIND and spec.horizon <= 0:
        problems.append("repeat find needs a horizon")
    if spec.repeat is Repeat.KEY and spec.retention <= spec.horizon:
        problems.append("repeat key needs a retention longer than its horizon")
    if spec.repeat is Repeat.READ and (spec.horizon or spec.retention):
        problems.append("a read has no horizon and no retention")
    if spec.bulk < 1 or (spec.bulk > 1 and spec.repeat is Repeat.READ):
        problems.append("bulk is 1 or, for a write, more")
    return problems
