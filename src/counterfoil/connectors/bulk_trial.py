"""What the conformance suite looks at where a connector takes several requests in one call."""

from __future__ import annotations

import time

from counterfoil.connectors import faults
from counterfoil.connectors.samples import OperationSample
from counterfoil.connectors.sdk import Confirmed, OperationSpec, Outcome, Repeat, Request, Unknown
from counterfoil.connectors.trial import GRACE_SECONDS, MAX_WRITES, Trial, identity, is_refused, same
from counterfoil.core.errors import ErrorClass


async def try_bulk(trial: Trial, spec: OperationSpec, sample: OperationSample) -> None:
    """Every request of a batch keeps its own outcome, object and look-up, whatever happens to the others."""
    await _done_and_found(trial, spec, sample)
    await _poisoned(trial, spec, sample)
    await _lost_answers(trial, spec, sample)
    await _nobody_answers(trial, spec, sample)


async def _done_and_found(trial: Trial, spec: OperationSpec, sample: OperationSample) -> None:
    """n good requests are n objects, each told to its own request; the same batch again makes none."""
    requests = [await trial.request(spec, sample) for _ in range(min(spec.bulk, 3))]
    outcomes = await trial.send_many(trial.connector, requests)
    if outcomes is None:
        return
    settled = [await trial.settle(*pair) for pair in zip(requests, outcomes, strict=True)]
    made = [identity(outcome, sample) for outcome in settled if isinstance(outcome, Confirmed)]
    apart = len({tuple(each.values()) for each in made}) == len(requests)
    if not trial.say("a batch makes as many objects", spec.name, apart, settled):
        return
    if spec.repeat is not Repeat.BLIND:
        for request, each in zip(requests, made, strict=True):
            found = await trial.find(trial.connector, request)
            trial.say("outcomes come in the order of requests", spec.name, same(found, sample, each), found)
    if spec.repeat in (Repeat.KEY, Repeat.UNIQUE):
        again = await trial.send_many(trial.connector, requests) or []
        for outcome, request, each in zip(again, requests, made, strict=False):
            known = spec.repeat is Repeat.UNIQUE and is_refused(outcome, ErrorClass.ALREADY_DONE)
            repeated = known or same(await trial.settle(request, outcome), sample, each)
            trial.say("a repeated batch changes nothing", spec.name, repeated, outcome)
    for request in requests:
        await trial.counted(spec, sample, request, 1)


async def _poisoned(trial: Trial, spec: OperationSpec, sample: OperationSample) -> None:
    """A request that can never succeed is refused alone, wherever it stands; so is one that cannot be read."""
    good = [await trial.request(spec, sample) for _ in range(2)]
    bad = [Request(spec.name, trial.samples.new_key(), b"{")]
    if sample.invalid is not None:
        bad.insert(0, Request(spec.name, trial.samples.new_key(), await sample.invalid()))
    requests = [good[0], *bad, good[1]][: spec.bulk]
    outcomes = await trial.send_many(trial.connector, requests)
    for request, outcome in zip(requests, outcomes or (), strict=False):
        if request in good:
            settled = await trial.settle(request, outcome)
            trial.say("others are done beside it", spec.name, isinstance(settled, Confirmed), settled)
            await trial.counted(spec, sample, request, 1)
        else:
            final = is_refused(outcome) and not is_refused(
                outcome, ErrorClass.TRANSIENT, ErrorClass.THROTTLED
            )
            trial.say("a wrong request falls alone", spec.name, final, outcome)


async def _lost_answers(trial: Trial, spec: OperationSpec, sample: OperationSample) -> None:
    """Whichever write of a batch loses its answer: unknown for all that it concerns, refused for none; then each is
    found, or finished by the same bytes, and is one object."""
    for lose in range(1, MAX_WRITES + 1):
        requests = [await trial.request(spec, sample) for _ in range(2)]
        losing = trial.samples.lose_answer(trial.samples.config.url, lose)
        async with losing as (url, seen), trial.towards(url) as lossy:
            outcomes = await trial.send_many(lossy, requests)
        if not seen.lost or outcomes is None:
            trial.say("a batch writes", spec.name, lose > 1, f"no write was seen: {seen.methods}")
            return
        where = f"{spec.name}, write {lose}"
        unknown = [isinstance(outcome, Unknown) for outcome in outcomes]
        fine = any(unknown) and all(
            u or isinstance(o, Confirmed) for u, o in zip(unknown, outcomes, strict=True)
        )
        trial.say("a lost answer leaves a batch unknown", where, fine, outcomes)
        if spec.repeat is Repeat.BLIND:
            return
        for request, outcome in zip(requests, outcomes, strict=True):
            await _found_or_finished(trial, spec, sample, request, outcome, where)
    trial.say("a batch ends", spec.name, False, f"more than {MAX_WRITES} writes")


async def _found_or_finished(
    trial: Trial, spec: OperationSpec, sample: OperationSample, request: Request, outcome: Outcome, where: str
) -> None:
    found = await trial.find_settled(request)
    if is_refused(found, ErrorClass.TRANSIENT):
        # Begun and not finished: the same bytes, alone this time, must finish it.
        await trial.settled(trial.connector, request)
        found = await trial.find(trial.connector, request)
    right = isinstance(found, Confirmed)
    if isinstance(outcome, Confirmed):
        right = same(found, sample, identity(outcome, sample))
    trial.say("each of a batch is found", where, right, found)
    await trial.counted(spec, sample, request, 1)


async def _nobody_answers(trial: Trial, spec: OperationSpec, sample: OperationSample) -> None:
    """Not sent is transient for all; silence and nonsense are unknown for all, within the timeout."""
    requests = [await trial.request(spec, sample) for _ in range(2)]
    with faults.closed_port() as url:
        async with trial.towards(url) as lost:
            for outcome in await trial.send_many(lost, requests) or ():
                transient = is_refused(outcome, ErrorClass.TRANSIENT)
                trial.say("a batch not sent is transient", spec.name, transient, outcome)
    async with faults.silent_server() as (url, seen), trial.towards(url) as mute:
        started = time.monotonic()
        outcomes = await trial.send_many(mute, requests, trial.samples.short)
        took = time.monotonic() - started
        trial.say("a batch keeps its timeout", spec.name, took < trial.samples.short + GRACE_SECONDS, f"{took:.1f} s")
        for outcome in outcomes or ():
            trial.after_write("silence is unknown for a batch", spec, seen, outcome)
    for status, body in ((500, b"{}"), (200, b'{"half": '), (200, b"[]")):
        async with faults.fixed_answer_server(status, body) as (url, seen), trial.towards(url) as odd:
            for outcome in await trial.send_many(odd, requests) or ():
                check = f"answer {status} {body.decode()} is unknown for a batch"
                trial.after_write(check, spec, seen, outcome)
