"""Checks of the conformance suite for connectors that take several requests in one call."""

from __future__ import annotations

import time

from counterfoil.connectors import faults
from counterfoil.connectors.samples import OperationSample
from counterfoil.connectors.sdk import Confirmed, OperationSpec, Outcome, Repeat, Request, Unknown
from counterfoil.connectors.trial import GRACE_SECONDS, MAX_WRITES, Trial, identity, is_refused, same
from counterfoil.core.errors import ErrorClass


async def try_bulk(trial: Trial, spec: OperationSpec, sample: OperationSample) -> None:
    """Check that each request of a batch has its own outcome, object and look-up, independent of the others."""
    await _check_repeats(trial, spec, sample)
    await _check_invalid(trial, spec, sample)
    await _check_lost_answers(trial, spec, sample)
    await _check_bad_servers(trial, spec, sample)


async def _check_repeats(trial: Trial, spec: OperationSpec, sample: OperationSample) -> None:
    """Check that n good requests create n objects, in order, and that the same batch again creates none."""
    requests = [await trial.request(spec, sample) for _ in range(min(spec.bulk, 3))]
    outcomes = await trial.send_many(trial.connector, requests)
    if outcomes is None:
        return
    settled = [await trial.settle(*pair) for pair in zip(requests, outcomes, strict=True)]
    created = [identity(outcome, sample) for outcome in settled if isinstance(outcome, Confirmed)]
    separate = len({tuple(names.values()) for names in created}) == len(requests)
    if not trial.record("a batch makes as many objects", spec.name, separate, settled):
        return
    if spec.repeat is not Repeat.BLIND:
        for request, names in zip(requests, created, strict=True):
            finding = await trial.find(trial.connector, request)
            ordered = same(finding, sample, names)
            trial.record("outcomes come in the order of requests", spec.name, ordered, finding)
    if spec.repeat in (Repeat.KEY, Repeat.UNIQUE):
        again = await trial.send_many(trial.connector, requests) or []
        for outcome, request, names in zip(again, requests, created, strict=False):
            refused = spec.repeat is Repeat.UNIQUE and is_refused(outcome, ErrorClass.ALREADY_DONE)
            repeated = refused or same(await trial.settle(request, outcome), sample, names)
            trial.record("a repeated batch changes nothing", spec.name, repeated, outcome)
    for request in requests:
        await trial.check_count(spec, sample, request, 1)


async def _check_invalid(trial: Trial, spec: OperationSpec, sample: OperationSample) -> None:
    """Check that an invalid or unreadable request is refused alone, at any place in the batch."""
    good = [await trial.request(spec, sample) for _ in range(2)]
    bad = [Request(spec.name, trial.samples.new_key(), b"{")]
    if sample.invalid is not None:
        bad.insert(0, Request(spec.name, trial.samples.new_key(), await sample.invalid()))
    requests = [good[0], *bad, good[1]][: spec.bulk]
    outcomes = await trial.send_many(trial.connector, requests)
    for request, outcome in zip(requests, outcomes or (), strict=False):
        if request in good:
            settled = await trial.settle(request, outcome)
            trial.record(
                "a bad request does not stop the others", spec.name, isinstance(settled, Confirmed), settled
            )
            await trial.check_count(spec, sample, request, 1)
        else:
            final = is_refused(outcome) and not is_refused(
                outcome, ErrorClass.TRANSIENT, ErrorClass.THROTTLED
            )
            trial.record("a bad request is refused alone", spec.name, final, outcome)


async def _check_lost_answers(trial: Trial, spec: OperationSpec, sample: OperationSample) -> None:
    """Lose the answer of each write in turn: its requests are unknown, none is refused.

    Afterwards each request is found, or finished by the same bytes, and has one object.
    """
    for lose in range(1, MAX_WRITES + 1):
        requests = [await trial.request(spec, sample) for _ in range(2)]
        losing = trial.samples.lose_answer(trial.samples.config.url, lose)
        async with losing as (url, log), trial.configured_for(url) as lossy:
            outcomes = await trial.send_many(lossy, requests)
        if not log.lost or outcomes is None:
            trial.record("a batch writes", spec.name, lose > 1, f"no write was received: {log.methods}")
            return
        where = f"{spec.name}, write {lose}"
        unknown = [isinstance(outcome, Unknown) for outcome in outcomes]
        fine = any(unknown) and all(
            u or isinstance(o, Confirmed) for u, o in zip(unknown, outcomes, strict=True)
        )
        trial.record("a lost answer leaves a batch unknown", where, fine, outcomes)
        if spec.repeat is Repeat.BLIND:
            return
        for request, outcome in zip(requests, outcomes, strict=True):
            await _check_found_or_finished(trial, spec, sample, request, outcome, where)
    trial.record("a batch ends", spec.name, False, f"more than {MAX_WRITES} writes")


async def _check_found_or_finished(
    trial: Trial, spec: OperationSpec, sample: OperationSample, request: Request, outcome: Outcome, where: str
) -> None:
    finding = await trial.find_settled(request)
    if is_refused(finding, ErrorClass.TRANSIENT):
        # Started and not finished: the same bytes, this time alone, must finish it.
        await trial.send_settled(trial.connector, request)
        finding = await trial.find(trial.connector, request)
    correct = isinstance(finding, Confirmed)
    if isinstance(outcome, Confirmed):
        correct = same(finding, sample, identity(outcome, sample))
    trial.record("each of a batch is found", where, correct, finding)
    await trial.check_count(spec, sample, request, 1)


async def _check_bad_servers(trial: Trial, spec: OperationSpec, sample: OperationSample) -> None:
    """Check that an unsent batch is transient, and that silence and nonsense are unknown, within the timeout."""
    requests = [await trial.request(spec, sample) for _ in range(2)]
    with faults.closed_port() as url:
        async with trial.configured_for(url) as lost:
            for outcome in await trial.send_many(lost, requests) or ():
                transient = is_refused(outcome, ErrorClass.TRANSIENT)
                trial.record("a batch not sent is transient", spec.name, transient, outcome)
    async with faults.silent_server() as (url, log), trial.configured_for(url) as mute:
        started = time.monotonic()
        outcomes = await trial.send_many(mute, requests, trial.samples.short)
        elapsed = time.monotonic() - started
        in_time = elapsed < trial.samples.short + GRACE_SECONDS
        trial.record("a batch respects its timeout", spec.name, in_time, f"{elapsed:.1f} s")
        for outcome in outcomes or ():
            trial.record_after_write("silence is unknown for a batch", spec, log, outcome)
    for status, body in ((500, b"{}"), (200, b'{"half": '), (200, b"[]")):
        async with (
            faults.fixed_answer_server(status, body) as (url, log),
            trial.configured_for(url) as broken,
        ):
            for outcome in await trial.send_many(broken, requests) or ():
                check = f"answer {status} {body.decode()} is unknown for a batch"
                trial.record_after_write(check, spec, log, outcome)
