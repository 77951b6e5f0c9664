"""Checks of the conformance suite for one write operation, one request in each call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from counterfoil.connectors import faults
from counterfoil.connectors.sdk import Absent, Confirmed, Unknown
from counterfoil.connectors.trial import GRACE_SECONDS, MAX_WRITES, OperationTrial, is_final, is_refused
from counterfoil.core.errors import ErrorClass


async def try_single(trial: OperationTrial) -> None:
    """Check repeats, concurrency, refusals, unsent requests, lost answers and bad answers."""
    await _check_repeats(trial)
    await _check_concurrency(trial)
    await _check_refusals(trial)
    await _check_unsent(trial)
    await _check_lost_answers(trial)
    await _check_bad_answers(trial)


async def _check_repeats(trial: OperationTrial) -> None:
    """Check that a good request is confirmed and found, and that a repeat leaves one object."""
    request = await trial.request()
    outcome = await trial.send_settled(request)
    if not trial.record("a good request is confirmed", isinstance(outcome, Confirmed), outcome):
        return
    assert isinstance(outcome, Confirmed)
    created = trial.identity(outcome)
    trial.record("the result names the object", None not in created.values(), outcome)
    trial.record("the result has no floats", not has_float(outcome.result), outcome)
    if not trial.blind:
        finding = await trial.find(request)
        trial.record("a done request is found", trial.is_same(finding, created), finding)
    if trial.repeatable:
        again = await trial.send_settled(request)
        trial.record_repeat("a repeat changes nothing", again, again, created)
    await trial.check_count(request)


async def _check_concurrency(trial: OperationTrial) -> None:
    """Check that three concurrent requests create three objects: calls do not affect each other."""
    requests = [await trial.request() for _ in range(3)]
    outcomes = await asyncio.gather(*(trial.send_settled(request) for request in requests))
    # A system may refuse one of several concurrent writers. It must not mix them up.
    created = [tuple(trial.identity(o).values()) for o in outcomes if isinstance(o, Confirmed)]
    allowed = (ErrorClass.CONFLICT, ErrorClass.THROTTLED, ErrorClass.TRANSIENT)
    fine = all(isinstance(o, Confirmed) or is_refused(o, *allowed) for o in outcomes)
    separate = fine and len(set(created)) == len(created) > 0
    trial.record("concurrent calls stay separate", separate, outcomes)


async def _check_refusals(trial: OperationTrial) -> None:
    """Check that an unused key is absent, and that an invalid request is refused, never unknown."""
    if not trial.blind:
        finding = await trial.find(await trial.request())
        trial.record("a key never sent is absent", isinstance(finding, Absent), finding)
    if trial.sample.invalid is None:
        return
    request = trial.request_of(await trial.sample.invalid())
    outcome = await trial.send(request)
    trial.record("an invalid request is refused for good", is_final(outcome), outcome)
    if not trial.blind:
        finding = await trial.find(request)
        trial.record("a refused request is not found", not isinstance(finding, Confirmed), finding)
    for body in (b"", b"[]", b"{", b'{"unrelated": 1.5}'):
        outcome = await trial.send(trial.request_of(body))
        trial.record("an unreadable body is refused", is_refused(outcome), (body, outcome))


async def _check_unsent(trial: OperationTrial) -> None:
    """Check that an unsent request is refused as transient, and that a failed look-up is unknown."""
    request = await trial.request()
    with faults.closed_port() as url:
        async with trial.suite.configured_for(url) as lost:
            outcome = await trial.send(request, lost)
            trial.record("not sent is transient", is_refused(outcome, ErrorClass.TRANSIENT), outcome)
            finding = await trial.find(request, lost)
            trial.record("a failed look-up is unknown", isinstance(finding, Unknown), finding)


async def _check_lost_answers(trial: OperationTrial) -> None:
    """Lose the answer of each write in turn: the outcome is unknown, then found or finished, with one object."""
    for lose in range(1, MAX_WRITES + 1):
        request = await trial.request()
        losing = trial.samples.lose_answer(trial.samples.config.url, lose)
        async with losing as (url, log), trial.suite.configured_for(url) as lossy:
            outcome = await trial.send(request, lossy)
        if not log.lost:
            trial.record("an operation writes", lose > 1, f"no write was received: {log.methods}")
            return
        where = f"{trial.spec.name}, write {lose}"
        trial.record("a lost answer is unknown", isinstance(outcome, Unknown), outcome, where)
        if trial.blind:
            finding = await trial.find(request)
            trial.record("a blind write stays unknown", isinstance(finding, Unknown), finding, where)
            return
        finding = await trial.find_settled(request)
        if is_refused(finding, ErrorClass.TRANSIENT):
            # Started and not finished: the same bytes sent again must finish it.
            finished = await trial.send_settled(request)
            trial.record("a started operation is finished", isinstance(finished, Confirmed), finished, where)
            finding = await trial.find(request)
        trial.record("a lost answer is found", isinstance(finding, Confirmed), finding, where)
        await trial.check_count(request)
    trial.record("an operation ends", False, f"more than {MAX_WRITES} writes")


async def _check_bad_answers(trial: OperationTrial) -> None:
    """Check that silence and nonsense after a write are unknown, and that timeouts are respected."""
    request, limit = await trial.request(), trial.samples.short + GRACE_SECONDS
    async with faults.silent_server() as (url, log), trial.suite.configured_for(url) as mute:
        started = time.monotonic()
        outcome = await trial.send(request, mute, trial.samples.short)
        elapsed = time.monotonic() - started
        trial.record("a timeout is respected", elapsed < limit, f"{elapsed:.1f} s")
        trial.record_after_write("silence is unknown", log, outcome)
        started = time.monotonic()
        finding = await trial.find(request, mute, trial.samples.short)
        elapsed = time.monotonic() - started
        unknown = isinstance(finding, Unknown) and elapsed < limit
        trial.record("a silent look-up is unknown", unknown, f"{finding} after {elapsed:.1f} s")
    for status, body in ((500, b"{}"), (502, b"<html>bad gateway</html>"), (200, b'{"half": '), (200, b"[]")):
        bad_server = faults.fixed_answer_server(status, body)
        async with bad_server as (url, log), trial.suite.configured_for(url) as broken:
            outcome = await trial.send(request, broken)
            trial.record_after_write(f"answer {status} {body.decode()} is unknown", log, outcome)
            finding = await trial.find(request, broken)
            trial.record(f"look-up {status} {body.decode()}", isinstance(finding, Unknown), finding)


def has_float(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(has_float(part) for part in value.values())
    if isinstance(value, list | tuple):
        return any(has_float(part) for part in value)
    return isinstance(value, float)
