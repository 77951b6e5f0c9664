"""Cases of facts that contradict each other: one id, one moment or one generation, with two contents.

Pure. Both stores build these Cases in the transaction that finds the contradiction, so none can be lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from counterfoil.core import ids, wire
from counterfoil.core.canonical import CanonicalEvent, Head
from counterfoil.core.case import Case
from counterfoil.core.cases import MAX_MESSAGE_CHARS, open_case
from counterfoil.core.money import Money
from counterfoil.core.money_json import read_money
from counterfoil.core.run import Run

HEAD_PREFIX = "head:"
"""Before the id of the event in a Run that copies the state of an object."""
MAX_SHOWN_CHARS = 200
"""Longest text of one value in a message."""


def clash_of_event(stored: CanonicalEvent, event: CanonicalEvent, owner: str, at: datetime) -> Case | None:
    """Return the Case of an event id that came again with other content; None for a true repeat.

    Two versions of one event are compared by the caller, which has the casts.
    """
    if stored.type != event.type:
        return None
    before, after = content_of(stored), content_of(event)
    return None if before == after else clash_case(event, before, after, owner, at)


def clash_case(
    event: CanonicalEvent,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    owner: str,
    at: datetime,
) -> Case:
    """Build the Case of one event id with two contents."""
    what = f"{event.system} sent {event.type} of {event.key} again with other content"
    return open_case(
        "clash",
        id=ids.derive("case", "clash", event.id, wire.digest(dict(after))),
        message=f"{what}: {differences(before, after)}. The first content counts; nothing follows from the second",
        owners=(owner,),
        at=at,
        names={"system": event.system},
        receipt=event.receipt,
        event=event.id,
        exposure=exposure(before, after),
    )


def clash_of_receipt(clash: Case, no: int, first: bytes, second: bytes) -> Case:
    """Return the Case of a delivery that came again with another identity, with the contents that differ."""
    before, after = (_leaves(body) for body in (first, second))
    if before is None or after is None or before == after:
        return replace(clash, receipt=no)
    message = f"{clash.message}. {differences(before, after)}"[:MAX_MESSAGE_CHARS]
    return replace(clash, receipt=no, message=message, exposure=exposure(before, after))


def _leaves(body: bytes) -> dict[str, Any] | None:
    """Return the values of a JSON object by dotted path, with canonical money as Money; None for other bytes."""
    try:
        value = wire.read_json(body)
    except wire.WireRefused:
        return None
    if not isinstance(value, dict):
        return None
    leaves: dict[str, Any] = {}
    pending: list[tuple[str, Any]] = [("", value)]
    while pending:
        path, part = pending.pop()
        if not isinstance(part, dict):
            leaves[path] = part
        elif (money := read_money(part)) is not None:
            leaves[path] = money
        else:
            pending += [(f"{path}.{key}" if path else str(key), inner) for key, inner in part.items()]
    return dict(sorted(leaves.items()))


def tie_case_id(object_: str, key: str, system: str, version: int) -> str:
    """Return the id of the Case about all facts of one system that share one version of an object."""
    return ids.derive("case", "tie", object_, key, system, version)


def case_of_tie(state: Mapping[str, Any], fact: Head, owner: str, at: datetime) -> Case:
    """Build the Case of facts whose order is unknown. `state` is what the head said before this fact."""
    before = {field: value for field, value in state.items() if field in fact.state}
    what = f"{fact.system} reported {fact.object} {fact.key} twice with one version and different content"
    return open_case(
        "tie",
        id=tie_case_id(fact.object, fact.key, fact.system, fact.version),
        message=f"{what}: {differences(before, fact.state)}. Which of them is newer is unknown",
        owners=(owner,),
        at=at,
        names={"object": f"{fact.object} {fact.key}", "system": fact.system},
        event=fact.event,
        exposure=exposure(before, fact.state),
    )


def case_of_start(
    run: Run, event_id: str, stimulus: bytes, first: bytes | None, owner: str, at: datetime
) -> Case | None:
    """Return the Case of an event that starts nothing, because its Run exists with other content.

    `stimulus` is the event's, `first` the one that began the Run. None for equal content, and for starts that no event
    causes.
    """
    if first is None:
        return None
    event, began = (wire.loads(body).get("event") for body in (stimulus, first))
    if not (isinstance(event, dict) and isinstance(began, dict)):
        return None
    before, after = began["data"], event["data"]
    what = f"{event['type']} starts no {run.workflow} for {run.bkey}"
    entities = began.get("legal_entity"), event.get("legal_entity")
    if all(entities) and entities[0] != entities[1]:
        # The Case belongs to the entity of the event, so it names nothing of the Run.
        return open_case(
            "generation_clash",
            id=ids.derive("case", "generation", run.id, str(entities[1]), wire.digest(after)),
            message=f"{what}: generation {run.generation} of this key began for another legal entity than {entities[1]}",
            owners=(owner,),
            at=at,
            names={"object": run.bkey},
            event=event_id,
            exposure=exposure({}, after),
        )
    if before == after or _began_with_newer(began, event):
        return None
    why = f"generation {run.generation} began with other content: {differences(before, after)}"
    return open_case(
        "generation_clash",
        id=ids.derive("case", "generation", run.id, wire.digest(after)),
        message=f"{what}: {why}",
        owners=(owner,),
        at=at,
        names={"object": run.bkey},
        run=run.id,
        event=event_id,
        exposure=exposure(before, after),
    )


def _began_with_newer(began: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Report whether a Run began with the state of an object that has this event's content, or a newer one."""
    versions = began.get("version", ""), event.get("version", "")
    if not str(began.get("id", "")).startswith(HEAD_PREFIX) or not all(str(v).isdecimal() for v in versions):
        return False
    return int(versions[1]) <= int(versions[0])


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return both values of each field that differs, as text."""
    fields = [f for f in dict.fromkeys((*before, *after)) if before.get(f) != after.get(f)]
    return "; ".join(f"{f} was {_show(before.get(f))}, now {_show(after.get(f))}" for f in fields)


def exposure(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Money, ...]:
    """Return the largest difference in money between two contents."""
    amounts = []
    for field in {*before, *after}:
        old, new = before.get(field), after.get(field)
        if old == new:
            continue
        if isinstance(old, Money) and isinstance(new, Money) and old.currency == new.currency:
            amounts.append(abs(new - old))
        else:
            amounts += [abs(value) for value in (old, new) if isinstance(value, Money)]
    return (max(amounts, key=lambda money: money.minor),) if amounts else ()


def content_of(event: CanonicalEvent) -> dict[str, Any]:
    """Return what an event says, without the times and ids of its delivery."""
    return {"key": event.key, "legal_entity": event.legal_entity, **event.data}


def _show(value: Any) -> str:
    if value is None:
        return "nothing"
    text = wire.dumps(value).decode() if isinstance(value, (dict, list)) else str(value)
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}..."
