"""Trace of one Run: everything that happened to one business transaction, in every system, in time order.

Built from the store's reads for each request; it decides and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from counterfoil.application import Application
from counterfoil.core import wire
from counterfoil.core.approval import Approval
from counterfoil.core.audit import Leaf
from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.case import Case
from counterfoil.core.case_reasons import reason_row
from counterfoil.core.effect import Effect
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.link import Link
from counterfoil.core.run import TERMINAL, InboxItem, Run
from counterfoil.store.port.matches import DocumentVersion
from counterfoil.store.port.views import CaseRow, ListFilter, MatchRow, RunRow
from counterfoil.web.api import audit_shapes, shapes
from counterfoil.web.api.case_words import explain_case
from counterfoil.web.api.cases import case_shapes
from counterfoil.web.api.event_shapes import EventShape, event_shape
from counterfoil.web.api.history import (
    first_assertions,
    foil_reason,
    opening_messages,
    outcome_errors,
    shown_versions,
)
from counterfoil.web.api.match_words import amount_text, explain, leg_words
from counterfoil.web.api.names import DocumentName, NameReader
from counterfoil.web.api.queries import run_shapes, with_votes

OWN_LANE = "counterfoil"
"""Lane of our own actions."""
PEOPLE_LANE = "people"
_ORDER = ("event", "run", "approval", "effect", "foil", "case")
"""Order of moments with the same time: causes before their effects."""
_SAME_MOMENT = timedelta(seconds=2)
_CALL_TITLES = {
    "sending": "sent",
    "confirmed": "confirmed",
    "refused": "refused",
    "unknown": "outcome unknown",
    "accepted": "accepted, not finished",
    "absent": "did not happen",
}


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the timeline. `system` is its lane; `kind` one of event, effect, foil, approval, case, run."""

    at: datetime
    system: str
    kind: str
    title: str
    detail: str = ""
    state: str = ""
    ref: str = ""


class ObservationShape(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    document: str
    version: int
    state: str
    stands: bool
    answers: bool
    """It is a partner of this foil."""
    legs: dict[str, shapes.Amount | str]
    event: str
    at: datetime


class LegShape(msgspec.Struct, frozen=True, kw_only=True):
    """Both halves of one leg. `residual` is asserted less matched, in the asserted currency."""

    leg: str
    asserted: shapes.Amount | str
    matched: shapes.Amount | str
    residual: shapes.Amount | str


class FoilTrace(msgspec.Struct, frozen=True, kw_only=True):
    foil: shapes.FoilShape
    explanation: str
    """Reason of its state, in plain words."""
    halves: list[LegShape]
    observations: list[ObservationShape]


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    run: shapes.RunShape
    start: EventShape | None
    systems: list[str]
    """Systems that took part, in order of appearance."""
    timeline: list[Moment]
    events: list[EventShape]
    effects: list[shapes.EffectShape]
    links: list[shapes.LinkShape]
    foils: list[FoilTrace]
    approvals: list[shapes.ApprovalShape]
    cases: list[shapes.CaseShape]
    inbox: list[shapes.InboxShape]
    leaves: list[audit_shapes.LeafShape]


async def load_trace(app: Application, run_id: str) -> Trace | None:
    """Return the trace of a Run, or None if there is no such Run."""
    loaded = await app.store.load(run_id)
    if loaded is None:
        return None
    row = await _row(app, loaded.run)
    inbox = await app.views.inbox(run_id)
    events = await _events(app, inbox)
    start = next((events[i.ref] for i in inbox if i.kind == "start" and i.ref in events), None)
    effects = sorted(loaded.effects, key=lambda e: (e.created_at, e.path, e.item, e.gen))
    approvals = sorted(loaded.approvals, key=lambda a: (a.created_at, a.id))
    votes = await app.store.votes([approval.id for approval in approvals])
    case_rows = await _cases(app, run_id)
    cases = await case_shapes(app, case_rows)
    leaves = await app.views.leaves_of(run_id)
    links = await read_links(app, events.values(), effects)
    foils = sorted(loaded.foils, key=lambda f: (f.created_at, f.id))
    matches = await _matches(app, foils)
    versions = {key: await app.views.document_versions(*key) for key in matches}
    foil_names = await NameReader(app).foils(foils)
    names = {person.id: person.name for person in await app.store.persons()}
    default = app.model.default_entity
    moments = [
        *_of_events(events.values(), names),
        *_of_effects(effects, leaves, inbox),
        *_of_foils(foils, leaves, versions),
        *_of_observations(foils, matches, versions, events),
        *_of_approvals(approvals),
        *(
            Moment(
                at=vote.at, system=PEOPLE_LANE, kind="approval", ref=id_,
                title=f"{names.get(vote.person, vote.person)} {'approved' if vote.approve else 'rejected'}"
                + (f" for {names.get(vote.behalf, vote.behalf)}" if vote.behalf else ""),
                detail=vote.comment, state="granted" if vote.approve else "rejected",
            )
            for id_, cast in votes.items() for vote in cast
        ),
        *_of_cases(case_rows, await _opening_texts(app, case_rows, leaves), names),
        *_of_run(loaded.run, leaves),
    ]  # fmt: skip
    moments.sort(key=lambda m: (m.at, _rank(m)))
    return Trace(
        run=(await run_shapes(app, [row]))[0],
        start=None if start is None else event_shape(start, app.model.envelope),
        systems=list(dict.fromkeys(m.system for m in moments if m.system not in (OWN_LANE, PEOPLE_LANE))),
        timeline=moments,
        events=[
            event_shape(e, app.model.envelope)
            for e in sorted(events.values(), key=lambda e: (e.occurred_at, e.id))
        ],
        effects=[shapes.effect_shape(e, _links_from(links, e)) for e in effects],
        links=[shapes.link_shape(link) for link in links],
        foils=[_foil(foil, matches, foil_names[foil.id], default) for foil in foils],
        approvals=await with_votes(app, approvals),
        cases=cases,
        inbox=[shapes.inbox_shape(item) for item in inbox],
        leaves=[audit_shapes.leaf_shape(index, leaf) for index, leaf in leaves],
    )


# ------------------------------------------------------------------ reading


async def _row(app: Application, run: Run) -> RunRow:
    rows, _ = await app.views.runs(ListFilter(run=run.id, limit=1))
    return rows[0] if rows else RunRow(run=run, exposure=(), cases=0, foils=())


async def _events(app: Application, inbox: Sequence[InboxItem]) -> dict[str, CanonicalEvent]:
    refs = [item.ref for item in inbox if item.kind in ("start", "event")]
    events = {event.id: event for event in await app.views.events_of(sorted(set(refs)))}
    return {ref: events[ref] for ref in refs if ref in events}


async def _cases(app: Application, run: str) -> list[CaseRow]:
    cases, cursor = await app.views.cases(ListFilter(run=run, limit=200))
    while cursor is not None:
        more, cursor = await app.views.cases(ListFilter(run=run, limit=200, cursor=cursor))
        cases += more
    return sorted(cases, key=lambda t: (t.case.created_at, t.case.id))


async def _opening_texts(
    app: Application, rows: Sequence[CaseRow], leaves: Sequence[tuple[int | None, Leaf]]
) -> dict[str, str]:
    """Return the text with which each Case was opened, in plain words: later states of its documents do not change it."""
    messages = opening_messages(leaf for _, leaf in leaves)
    cases = [replace(row.case, message=messages.get(row.case.id, row.case.message)) for row in rows]
    names = await NameReader(app).in_text(case.message for case in cases)
    return {case.id: explain_case(case, names) for case in cases}


async def _matches(app: Application, foils: Sequence[Foil]) -> dict[tuple[str, str], MatchRow]:
    rows = await app.views.matches_of(sorted({(foil.rule, foil.key) for foil in foils}))
    return {(row.rule, row.key): row for row in rows}


async def read_links(
    app: Application, events: Iterable[CanonicalEvent], effects: Iterable[Effect]
) -> list[Link]:
    """Return the Links of all objects that the Run's events and effects name: `customer_id` names a customer."""
    keys: dict[tuple[str, str], None] = {}
    for event in events:
        keys[event.object, event.key] = None
        keys.update(dict.fromkeys(_object_keys(event.data, app.model.objects)))
    for effect in effects:
        for data in (effect.input, effect.result or b"{}"):
            keys.update(dict.fromkeys(_object_keys(wire.loads(data), app.model.objects)))
    return await app.views.links_of(list(keys))


def _object_keys(value: Any, objects: Iterable[str]) -> Iterator[tuple[str, str]]:
    object_of = {f"{name}_id": name for name in objects}
    pending = [value]
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            for key, inner in part.items():
                if key in object_of and isinstance(inner, str) and inner:
                    yield object_of[key], inner
                elif isinstance(inner, dict | list):
                    pending.append(inner)
        elif isinstance(part, list):
            pending += part


def _links_from(links: Iterable[Link], effect: Effect) -> list[Link]:
    return [link for link in links if link.established_by.endswith(effect.id)]


# ------------------------------------------------------------------ both halves of a foil


def _foil(
    foil: Foil, matches: dict[tuple[str, str], MatchRow], name: DocumentName, default: str
) -> FoilTrace:
    match = matches.get((foil.rule, foil.key))
    shape = shapes.foil_shape(foil, name, default)
    halves = [
        LegShape(
            leg=leg,
            asserted=shape.legs.get(leg, ""),
            matched=shape.observed.get(leg, ""),
            residual=shape.residual.get(leg, ""),
        )
        for leg in shape.legs | shape.residual
    ]
    observations = [_observation(o, foil) for o in match.observations] if match else []
    explanation = explain(foil, match.observations if match else ())
    return FoilTrace(foil=shape, explanation=explanation, halves=halves, observations=observations)


def _observation(o: Observation, foil: Foil) -> ObservationShape:
    return ObservationShape(
        id=o.id,
        document=o.number,
        version=o.version,
        state=o.state,
        stands=o.stands,
        answers=o.id in foil.partners,
        legs=shapes.legs(o.legs, o.terms),
        event=o.event,
        at=o.at,
    )


# ------------------------------------------------------------------ the timeline


def _rank(moment: Moment) -> int:
    """Return the order among moments with the same time: the end of the Run is the last."""
    return len(_ORDER) if moment.kind == "run" and moment.state else _ORDER.index(moment.kind)


def _money(row: Foil | Observation) -> str:
    legs = {leg: value for leg, value in row.legs.items() if leg in shapes.legs(row.legs, row.terms)}
    return ", ".join(f"{leg_words(leg)} {amount_text(value)}" for leg, value in legs.items())


def _of_events(events: Iterable[CanonicalEvent], names: Mapping[str, str]) -> Iterator[Moment]:
    for event in events:
        delay = (event.received_at - event.occurred_at).total_seconds()
        late = f"; received {delay:.1f} s later" if delay >= 0.1 else ""
        if delay < 0:  # the clock of the system is ahead: the event was here before what it caused
            late = f"; dated {event.occurred_at:%Y-%m-%d %H:%M:%S} UTC by its system"
        senders = ", ".join(names.get(sender, sender) for sender in event.senders)
        sent = f"; sent by {senders}" if senders else ""
        yield Moment(
            at=min(event.occurred_at, event.received_at), system=event.system, kind="event", title=event.type,
            detail=f"{event.object or 'id'} {event.key}{late}{sent}", ref=event.id,
        )  # fmt: skip


def _of_effects(
    effects: Sequence[Effect], leaves: Sequence[tuple[int | None, Leaf]], inbox: Sequence[InboxItem]
) -> Iterator[Moment]:
    errors = outcome_errors(inbox)
    by_id = {effect.id: effect for effect in effects}
    changes = [
        (leaf.at, id_, state) for _, leaf in leaves for id_, state in _call_states(leaf) if id_ in by_id
    ]
    sent: dict[str, datetime] = {}
    for at, id_, state in changes:
        if state == "sending" and by_id[id_].attempt:
            sent.setdefault(id_, at)
    for effect in effects:
        # A call planned and sent within two seconds is one line.
        if effect.id in sent and sent[effect.id] - effect.created_at < _SAME_MOMENT:
            continue
        planned = effect.attempt == 0 or effect.id in sent
        yield Moment(
            at=effect.created_at, system=effect.system, kind="effect", ref=effect.id,
            title=f"{effect.operation} {'planned' if planned else 'sent'}",
            state="planned" if planned else "sending",
        )  # fmt: skip
    for at, id_, state in changes:
        effect_ = by_id[id_]
        if state == "sending" and not effect_.attempt:
            continue  # an approval was revoked just before the send
        detail = next(errors.get((id_, state), iter(())), "")
        if state == "sending" and effect_.undoes in by_id:
            detail = f"undoes {by_id[effect_.undoes].operation}"
        yield Moment(
            at=at, system=effect_.system, kind="effect", ref=effect_.id, state=state,
            title=f"{effect_.operation} {_CALL_TITLES[state]}", detail=detail,
        )  # fmt: skip


def _call_states(leaf: Leaf) -> Iterator[tuple[str, str]]:
    """Yield effects with their new state, from a leaf about one effect or from the leaf of a turn."""
    if leaf.kind in _CALL_TITLES:
        yield leaf.subject, leaf.kind
    elif leaf.kind == "turned":
        body = wire.loads(leaf.body)
        outcome = body.get("outcome")
        if outcome is not None and outcome["state"] in _CALL_TITLES:
            yield outcome["effect"], outcome["state"]
        for effect in body.get("sending", ()):
            yield effect, "sending"


def _of_foils(
    foils: Sequence[Foil],
    leaves: Sequence[tuple[int | None, Leaf]],
    versions: Mapping[tuple[str, str], Sequence[DocumentVersion]],
) -> Iterator[Moment]:
    by_id = {foil.id: foil for foil in foils}
    asserted = first_assertions(versions.values())
    for foil in foils:
        yield Moment(
            at=foil.created_at, system=OWN_LANE, kind="foil", ref=foil.id, state="open",
            title=f"Counterfoil {foil.rule}: {foil.right} owes the other half",
            detail=_money(asserted.get(foil.id, foil)),
        )  # fmt: skip
    for _, leaf in leaves:
        foil_ = by_id.get(leaf.subject)
        if foil_ is not None and leaf.kind.startswith("foil."):
            state = leaf.kind.removeprefix("foil.")
            yield Moment(
                at=leaf.at, system=OWN_LANE, kind="foil", ref=foil_.id, state=state,
                title=f"Counterfoil {foil_.rule} is {state}",
                detail=foil_reason(leaf),
            )  # fmt: skip


def _of_observations(
    foils: Sequence[Foil],
    matches: Mapping[tuple[str, str], MatchRow],
    versions: Mapping[tuple[str, str], Sequence[DocumentVersion]],
    events: Mapping[str, CanonicalEvent],
) -> Iterator[Moment]:
    """Yield each version of a document with its own time: a later one changes nothing about the first."""
    side = {(foil.rule, foil.key): foil for foil in foils}
    for key, match in matches.items():
        for version, again in shown_versions(match.observations, versions[key]):
            if version.event not in events:
                verb = "withdrawn" if not version.stands else "changed" if again else "observed"
                yield Moment(
                    at=version.at, system=side[key].right, kind="event", title=f"{side[key].object} {verb}",
                    detail=_money(version), ref=version.event,
                )  # fmt: skip


def _of_approvals(approvals: Iterable[Approval]) -> Iterator[Moment]:
    for a in approvals:
        request = "granted by policy" if a.automatic else f"requested from {' or '.join(a.roles)}"
        yield Moment(
            at=a.created_at, system=OWN_LANE, kind="approval", title=f"Approval {a.policy} {request}",
            detail="" if a.amount is None else a.amount.grouped(), ref=a.id,
            state="granted" if a.automatic else "open",
        )  # fmt: skip


def _of_cases(
    targets: Iterable[CaseRow], messages: Mapping[str, str], names: Mapping[str, str]
) -> Iterator[Moment]:
    for case in (target.case for target in targets):
        yield _case_opened(case, messages.get(case.id, case.message))
        if case.resolved_at is not None:
            yield Moment(
                at=case.resolved_at, system=PEOPLE_LANE if case.choice else OWN_LANE, kind="case", ref=case.id,
                state="resolved", detail=case.note,
                title=f"{names.get(case.resolved_by or '', case.resolved_by)} resolved the Case {case.reason.replace('_', ' ')}" + (f": {case.choice}" if case.choice else ""),
            )  # fmt: skip


def _case_opened(case: Case, message: str) -> Moment:
    return Moment(
        at=case.created_at, system=OWN_LANE, kind="case", title=f"Case for {case.owner}: {reason_row(case.reason).title}",
        detail=message, state="open", ref=case.id,
    )  # fmt: skip


def _of_run(run: Run, leaves: Sequence[tuple[int | None, Leaf]]) -> Iterator[Moment]:
    yield Moment(
        at=run.created_at, system=OWN_LANE, kind="run", title=f"Run of {run.workflow} started", ref=run.id
    )
    turns = [leaf for _, leaf in leaves if leaf.kind == "turned" and leaf.version == run.version]
    if run.status in TERMINAL and turns:
        yield Moment(
            at=turns[-1].at, system=OWN_LANE, kind="run", title=f"Run {run.status}: {run.state}",
            state=str(run.status), ref=run.id,
        )  # fmt: skip
