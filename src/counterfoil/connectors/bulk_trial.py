"""Checks of the conformance suite for connectors that take several requests in one call."""

from __future__ import annotations

import time

from counterfoil.connectors import faults
from counterfoil.connectors.sdk import Confirmed, Outcome, Request, Unknown
from counterfoil.connectors.trial import GRACE_SECONDS, MAX_WRITES, OperationTrial, is_final, is_refused
from counterfoil.core.errors import ErrorClass


async def try_bulk(trial: OperationTrial) -> None:
    """Check that each request of a batch has its own outcome, object and look-up, independent of the others."""
    await _check_repeats(trial)
    await _check_invalid(trial)
    await _check_lost_answers(trial)
    await _check_bad_servers(trial)


async def _check_repeats(trial: OperationTrial) -> None:
    """Check that n good requests create n objects, in order, and that the same batch again creates none."""
    requests = [await trial.request() for _ in range(min(trial.spec.bulk, 3))]
    outcomes = await trial.send_many(requests)
    if outcomes is None:
        return
    settled = [await trial.settle(*pair) for pair in zip(requests, outcomes, strict=True)]
    created = [trial.identity(outcome) for outcome in settled if isinstance(outcome, Confirmed)]
    separate = len({tuple(names.values()) for names in created}) == len(requests)
    if not trial.record("a batch makes as many objects", separate, settled):
        return
    if not trial.blind:
        for request, names in zip(requests, created, strict=True):
            finding = await trial.find(request)
            trial.record("outcomes come in the order of requests", trial.is_same(finding, names), finding)
    if trial.repeatable:
        again = await trial.send_many(requests) or []
        for outcome, request, names in zip(again, requests, created, strict=False):
            final = await trial.settle(request, outcome)
            trial.record_repeat("a repeated batch changes nothing", outcome, final, names)
    for request in requests:
        await trial.check_count(request)


async def _check_invalid(trial: OperationTrial) -> None:
    """Check that an invalid or unreadable request is refused alone, at any place in the batch."""
    good = [await trial.request() for _ in range(2)]
    bad = [trial.request_of(b"{")]
    if trial.sample.invalid is not None:
        bad.insert(0, trial.request_of(await trial.sample.invalid()))
    requests = [good[0], *bad, good[1]][: trial.spec.bulk]
    outcomes = await trial.send_many(requests)
    for request, outcome in zip(requests, outcomes or (), strict=False):
        if request in good:
            settled = await trial.settle(request, outcome)
            trial.record("a bad request does not stop the others", isinstance(settled, Confirmed), settled)
            await trial.check_count(request)
        else:
            trial.record("a bad request is refused alone", is_final(outcome), outcome)


async def _check_lost_answers(trial: OperationTrial) -> None:
    """Lose the answer of each write in turn: its requests are unknown, none is refused.

    Afterwards each request is found, or finished by the same bytes, and has one object.
    """
    for lose in range(1, MAX_WRITES + 1):
        requests = [await trial.request() for _ in range(2)]
        losing = trial.samples.lose_answer(trial.samples.config.url, lose)
        async with losing as (url, log), trial.suite.configured_for(url) as lossy:
            outcomes = await trial.send_many(requests, lossy)
        if not log.lost or outcomes is None:
            trial.record("a batch writes", lose > 1, f"no write was received: {log.methods}")
            return
        where = f"{trial.spec.name}, write {lose}"
        fine = all(isinstance(outcome, Unknown | Confirmed) for outcome in outcomes)
        fine = fine and any(isinstance(outcome, Unknown) for outcome in outcomes)
        trial.record("a lost answer leaves a batch unknown", fine, outcomes, where)
        if trial.blind:
            return
        for request, outcome in zip(requests, outcomes, strict=True):
            await _check_found_or_finished(trial, request, outcome, where)
    trial.record("a batch ends", False, f"more than {MAX_WRITES} writes")


async def _check_found_or_finished(
    trial: OperationTrial, request: Request, outcome: Outcome, where: str
) -> None:
    finding = await trial.find_settled(request)
    if is_refused(finding, ErrorClass.TRANSIENT):
        # Started and not finished: the same bytes, this time alone, must finish it.
        await trial.send_settled(request)
        finding = await trial.find(request)
    correct = isinstance(finding, Confirmed)
    if isinstance(outcome, Confirmed):
        correct = trial.is_same(finding, trial.identity(outcome))
    trial.record("each of a batch is found", correct, finding, where)
    await trial.check_count(request)


async def _check_bad_servers(trial: OperationTrial) -> None:
    """Check that an unsent batch is transient, and that silence and nonsense are unknown, within the timeout."""
    requests = [await trial.request() for _ in range(2)]
    with faults.closed_port() as url:
        async with trial.suite.configured_for(url) as lost:
            for outcome in await trial.send_many(requests, lost) or ():
                trial.record(
                    "a batch not sent is transient", is_refused(outcome, ErrorClass.TRANSIENT), outcome
                )
    async with faults.silent_server() as (url, log), trial.suite.configured_for(url) as mute:
        started = time.monotonic()
        outcomes = await trial.send_many(requests, mute, trial.samples.short)
        elapsed = time.monotonic() - started
        in_time = elapsed < trial.samples.short + GRACE_SECONDS
        trial.record("a batch respects its timeout", in_time, f"{elapsed:.1f} s")
        for outcome in outcomes or ():
            trial.record_after_write("silence is unknown for a batch", log, outcome)
    for status, body in ((500, b"{}"), (200, b'{"half": '), (200, b"[]")):
        bad_server = faults.fixed_answer_server(status, body)
        async with bad_server as (url, log), trial.suite.configured_for(url) as broken:
            for outcome in await trial.send_many(requests, broken) or ():
                check = f"answer {status} {body.decode()} is unknown for a batch"
                trial.record_after_write(check, log, outcome)
