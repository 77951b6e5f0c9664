"""The suite that every connector must pass: what Counterfoil's safety takes for granted about the far end.

It runs against a real, disposable system (a test account, a twin, a local installation), writes to it, and puts
bad servers between it and the connector. A failure is a value; `conform` returns all of them at once.
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
"""Answers out of which no connector may make a refusal, an absence or a success."""
_PAGES = 200


async def conform(connector: Connector, samples: Samples) -> list[Result]:
    """Try everything and return what was found, good and bad, in a fixed order. Raises only for bad samples."""
    trial = _Suite(connector, samples)
    trial.specification()
    await trial.reachable()
    for name, sample in samples.operations.items():
        await trial.operation(connector.operations[name], sample)
    for name, arguments in samples.reads:
        await trial.reading(name, arguments)
    for feed in connector.feeds:
        await trial.feed(feed)
    trial.receiving()
    return trial.results


def failures(results: Sequence[Result]) -> list[str]:
    """The failed ones as lines; empty when the connector conforms."""
    return [str(result) for result in results if not result.passed]


class _Suite(Trial):
    def specification(self) -> None:
        """Every operation says how it is protected against repeats, with the durations that this needs."""
        self.say("offers operations or feeds", "", bool(self.connector.operations or self.connector.feeds))
        for name, spec in self.connector.operations.items():
            wrong = _misstated(name, spec)
            if spec.bulk > 1 and not isinstance(self.connector, BulkConnector):
                wrong.append("offers bulk, but the connector has no send_many")
            if spec.repeat is not Repeat.READ and name not in self.samples.operations:
                wrong.append("has no sample")
            self.say("specification is complete", name, not wrong, "; ".join(wrong))
        for name in self.samples.operations:
            if name not in self.connector.operations:
                raise ValueError(f"a sample names {name!r}, which the connector does not offer")

    async def reachable(self) -> None:
        """`check` passes on the real system, and says TryAgain when nobody is there."""
        try:
            await self.connector.check(self.samples.timeout)
            self.say("check reaches the system", "", True)
        except CounterfoilError as error:
            self.say("check reaches the system", "", False, error)
        with faults.closed_port() as url:
            async with self.towards(url) as lost:
                await self.raises_try_again("check", "", lost.check(self.samples.short))
                for feed in self.connector.feeds:
                    await self.raises_try_again("poll", feed, lost.poll(feed, None, 10, self.samples.short))
                for name, arguments in self.samples.reads:
                    await self.raises_try_again("read", name, lost.read(name, arguments, self.samples.short))

    async def operation(self, spec: OperationSpec, sample: OperationSample) -> None:
        await self.done_and_found(spec, sample)
        await self.together(spec, sample)
        await self.absent_and_invalid(spec, sample)
        await self.unreachable(spec, sample)
        await self.lost_answers(spec, sample)
        await self.bad_answers(spec, sample)
        if spec.bulk > 1 and isinstance(self.connector, BulkConnector):
            await try_bulk(self, spec, sample)

    async def done_and_found(self, spec: OperationSpec, sample: OperationSample) -> None:
        """A good request is confirmed, found again, and a repeat as declared leaves one object."""
        request = await self.request(spec, sample)
        outcome = await self.settled(self.connector, request)
        if not self.say("a good request is confirmed", spec.name, isinstance(outcome, Confirmed), outcome):
            return
        assert isinstance(outcome, Confirmed)
        made = identity(outcome, sample)
        self.say("the result names what was made", spec.name, None not in made.values(), outcome)
        self.say("the result has no floats", spec.name, not has_float(outcome.result), outcome)
        if spec.repeat is not Repeat.BLIND:
            found = await self.find(self.connector, request)
            self.say("what was done is found as the same", spec.name, same(found, sample, made), found)
        if spec.repeat in (Repeat.KEY, Repeat.UNIQUE):
            again = await self.settled(self.connector, request)
            known = spec.repeat is Repeat.UNIQUE and is_refused(again, ErrorClass.ALREADY_DONE)
            self.say("a repeat changes nothing", spec.name, known or same(again, sample, made), again)
        await self.counted(spec, sample, request, 1)

    async def together(self, spec: OperationSpec, sample: OperationSample) -> None:
        """Three requests at once are three objects: nothing of one call leaks into another."""
        requests = [await self.request(spec, sample) for _ in range(3)]
        outcomes = await asyncio.gather(*(self.settled(self.connector, request) for request in requests))
        # A system may turn away one of several writers at once; it may not mix them up.
        made = [tuple(identity(o, sample).values()) for o in outcomes if isinstance(o, Confirmed)]
        allowed = (ErrorClass.CONFLICT, ErrorClass.THROTTLED, ErrorClass.TRANSIENT)
        fine = all(isinstance(o, Confirmed) or is_refused(o, *allowed) for o in outcomes)
        self.say("calls at once stay apart", spec.name, fine and len(set(made)) == len(made) > 0, outcomes)

    async def absent_and_invalid(self, spec: OperationSpec, sample: OperationSample) -> None:
        """A key never sent is absent; a request that can never succeed is refused, never unknown."""
        if spec.repeat is not Repeat.BLIND:
            found = await self.find(self.connector, await self.request(spec, sample))
            self.say("a key never sent is absent", spec.name, isinstance(found, Absent), found)
        if sample.invalid is None:
            return
        request = Request(spec.name, self.samples.new_key(), await sample.invalid())
        outcome = await self.send(self.connector, request)
        final = isinstance(outcome, Rejected) and not is_refused(
            outcome, ErrorClass.TRANSIENT, ErrorClass.THROTTLED
        )
        self.say("a wrong request is refused for good", spec.name, final, outcome)
        if spec.repeat is not Repeat.BLIND:
            found = await self.find(self.connector, request)
            self.say("what was refused is not found", spec.name, not isinstance(found, Confirmed), found)
        for body in (b"", b"[]", b"{", b'{"unrelated": 1.5}'):
            odd = await self.send(self.connector, Request(spec.name, self.samples.new_key(), body))
            self.say("an unreadable body is refused", spec.name, isinstance(odd, Rejected), (body, odd))

    async def unreachable(self, spec: OperationSpec, sample: OperationSample) -> None:
        """When no byte left, that is proof; a look-up that could not ask proves nothing."""
        request = await self.request(spec, sample)
        with faults.closed_port() as url:
            async with self.towards(url) as lost:
                outcome = await self.send(lost, request)
                self.say(
                    "not sent is transient", spec.name, is_refused(outcome, ErrorClass.TRANSIENT), outcome
                )
                found = await self.find(lost, request)
                self.say("a failed look-up is unknown", spec.name, isinstance(found, Unknown), found)

    async def lost_answers(self, spec: OperationSpec, sample: OperationSample) -> None:
        """Whichever write of an operation loses its answer: unknown, then found or finished, and one object."""
        for lose in range(1, MAX_WRITES + 1):
            request = await self.request(spec, sample)
            losing = self.samples.lose_answer(self.samples.config.url, lose)
            async with losing as (url, seen), self.towards(url) as lossy:
                outcome = await self.send(lossy, request)
            if not seen.lost:
                self.say("an operation writes", spec.name, lose > 1, f"no write was seen: {seen.methods}")
                return
            where = f"{spec.name}, write {lose}"
            self.say("a lost answer is unknown", where, isinstance(outcome, Unknown), outcome)
            if spec.repeat is Repeat.BLIND:
                found = await self.find(self.connector, request)
                self.say("what nothing can tell stays unknown", where, isinstance(found, Unknown), found)
                return
            found = await self.find_settled(request)
            if is_refused(found, ErrorClass.TRANSIENT):
                # Begun and not finished: the same bytes again must finish it.
                finished = await self.settled(self.connector, request)
                self.say("what was begun is finished", where, isinstance(finished, Confirmed), finished)
                found = await self.find(self.connector, request)
            self.say("a lost answer is found", where, isinstance(found, Confirmed), found)
            await self.counted(spec, sample, request, 1)
        self.say("an operation ends", spec.name, False, f"more than {MAX_WRITES} writes")

    async def bad_answers(self, spec: OperationSpec, sample: OperationSample) -> None:
        """Silence and nonsense after a write are unknown, and a timeout is kept."""
        request = await self.request(spec, sample)
        async with faults.silent_server() as (url, seen), self.towards(url) as mute:
            started = time.monotonic()
            outcome = await self.send(mute, request, self.samples.short)
            took = time.monotonic() - started
            self.say("a timeout is kept", spec.name, took < self.samples.short + GRACE_SECONDS, f"{took:.1f} s")
            self.after_write("silence is unknown", spec, seen, outcome)
            started = time.monotonic()
            found = await self.find(mute, request, self.samples.short)
            took = time.monotonic() - started
            kept = isinstance(found, Unknown) and took < self.samples.short + GRACE_SECONDS
            self.say("a silent look-up is unknown", spec.name, kept, f"{found} after {took:.1f} s")
        for status, body in (
            (500, b"{}"),
            (502, b"<html>bad gateway</html>"),
            (200, b'{"half": '),
            (200, b"[]"),
        ):
            async with faults.fixed_answer_server(status, body) as (url, seen), self.towards(url) as odd:
                outcome = await self.send(odd, request)
                self.after_write(f"answer {status} {body.decode()} is unknown", spec, seen, outcome)
                found = await self.find(odd, request)
                self.say(f"look-up {status} {body.decode()}", spec.name, isinstance(found, Unknown), found)

    async def reading(self, name: str, arguments: Mapping[str, Any]) -> None:
        try:
            value = await self.connector.read(name, arguments, self.samples.timeout)
            self.say("a read answers without floats", name, not has_float(value), value)
        except Exception as error:
            self.say("a read answers without floats", name, False, repr(error))

    async def feed(self, feed: str) -> None:
        """A feed ends, moves forward, repeats itself from the same cursor, and shows what changes."""
        touch = self.samples.touch
        if touch is None:
            self.say("a feed can be tried", feed, False, "the samples have no touch")
            return
        try:
            # Enough for more than one page of two, where the system was empty before.
            for _ in range(3):
                await touch()
            first, cursor = await self.sweep(feed, None)
            self.say("a feed shows something", feed, bool(first), "nothing to look at")
            self.say("a sweep delivers nothing twice", feed, len(set(first)) == len(first), first)
            page = await self.connector.poll(feed, None, 2, self.samples.timeout)
            again = await self.connector.poll(feed, None, 2, self.samples.timeout)
            known = [d.ext_id for d in page.deliveries]
            self.say("the same cursor repeats", feed, known == [d.ext_id for d in again.deliveries], again)
            quiet, cursor = await self.sweep(feed, cursor)
            self.say("after the end nothing is new", feed, set(quiet) <= set(first), quiet)
            await touch()
            fresh = await self.until_new(feed, cursor, set(first) | set(quiet))
            self.say("a change is shown", feed, bool(fresh), "nothing new within patience")
        except Exception as error:
            self.say("a feed can be swept", feed, False, repr(error))

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

    async def until_new(self, feed: str, cursor: str, known: set[str]) -> set[str]:
        deadline = time.monotonic() + self.samples.patience
        while True:
            ids, _ = await self.sweep(feed, cursor)
            if set(ids) - known or time.monotonic() > deadline:
                return set(ids) - known
            await asyncio.sleep(0.1)

    def receiving(self) -> None:
        """Only what the system signed gets in, and the same delivery is the same delivery."""
        self.refuses("an unsigned delivery is refused", {}, b'{"id": "1"}', datetime.now(UTC))
        if self.samples.delivery is None:
            return
        headers, body, now = self.samples.delivery
        try:
            first, second = (self.connector.receive(headers, body, now) for _ in range(2))
            named = isinstance(first, Delivery) and bool(first.ext_id and first.type and first.identity)
            self.say("a signed delivery is identified", "", named and first == second, (first, second))
        except Exception as error:
            self.say("a signed delivery is identified", "", False, repr(error))
        self.refuses("a changed body is refused", headers, body + b" ", now)
        unsigned = {name: value for name, value in headers.items() if name != self.samples.signed}
        self.refuses("a missing signature is refused", unsigned, body, now)
        forged = {**headers, self.samples.signed: headers.get(self.samples.signed, "")[:-1] + "~"}
        self.refuses("a changed signature is refused", forged, body, now)

    def refuses(self, check: str, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        try:
            taken = self.connector.receive(headers, body, now)
            self.say(check, "", False, f"taken as {taken}")
        except CounterfoilError:
            self.say(check, "", True)
        except Exception as error:
            self.say(check, "", False, f"raised {error!r}")


def _misstated(name: str, spec: OperationSpec) -> list[str]:
    wrong: list[str] = []
    if spec.name != name:
        wrong.append(f"is listed as {name} but names itself {spec.name}")
    if spec.timeout <= 0:
        wrong.append("has no timeout")
    if spec.repeat is Repeat.FIND and spec.horizon <= 0:
        wrong.append("repeat find needs a horizon")
    if spec.repeat is Repeat.KEY and spec.retention <= spec.horizon:
        wrong.append("repeat key needs a retention longer than its horizon")
    if spec.repeat is Repeat.READ and (spec.horizon or spec.retention):
        wrong.append("a read has no horizon and no retention")
    if spec.bulk < 1 or (spec.bulk > 1 and spec.repeat is Repeat.READ):
        wrong.append("bulk is 1 or, for a write, more")
    return wrong
