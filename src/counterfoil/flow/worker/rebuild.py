"""Rebuilding both sides from stored events, after an upgrade or a Release that reads documents otherwise.

Events are walked in order of their ids: versions make the result the same in any order. Withdrawals are read once more
at the end, since they take out only documents that are known. What changes state by that opens one Case for each
reconciliation, not one for each foil.
"""

from __future__ import annotations

import logging
from collections import Counter
from datetime import datetime

from counterfoil.core import ids, wire
from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.cases import open_case
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.foil_versions import Withdrawal
from counterfoil.core.matching import JUDGE_VERSION
from counterfoil.core.plural import counted
from counterfoil.flow.context.event_documents import read_documents
from counterfoil.flow.context.releases import Releases
from counterfoil.model import Model
from counterfoil.rules.admission import HeldDelivery
from counterfoil.store.port.documents import PutMatchBasis, RebuildDocuments
from counterfoil.store.port.maintenance import OpenCases
from counterfoil.store.port.store import Store

log = logging.getLogger("counterfoil.rebuild")
MAX_EVENT_ROWS = 200
MAX_MATCH_ROWS = 200
MAX_NAMED_FOILS = 10


async def rebuild_documents(store: Store, releases: Releases) -> int:
    """Rebuild the reconciliations whose documents were written by another form. Return how many there were."""
    model = releases.present
    basis = await store.match_basis()
    digests = {rule: digest_of(model, rule) for rule in model.reconciliations}
    stale = {rule for rule, digest in digests.items() if basis.get(rule) != digest}
    if not stale:
        return 0
    used = {rule for rule, _ in await store.match_keys(("", ""), 1)}
    changed: Counter[str] = Counter()
    named: dict[str, list[str]] = {}
    if used:
        await _rebuild(store, releases, stale, changed, named)
    now = await store.now()
    for rule in sorted(stale):
        if changed[rule]:
            await _report(store, model, rule, digests[rule], changed[rule], named[rule], now)
        await store.apply(PutMatchBasis(rule=rule, digest=digests[rule], at=now))
    return len(stale)


def digest_of(model: Model, rule: str) -> str:
    """Return the digest of what a reconciliation reads and judges documents by."""
    form = model.reconciliations[rule].model_dump(mode="json", exclude={"doc", "owner", "remember"})
    observe = form["observe"] if isinstance(form["observe"], list) else []
    for entry in (*form["assert_"], *observe):
        del entry["number"]  # no document carries it
        if entry["each"] is None:
            del entry["each"]  # a key that is absent reads as before there was any, here and below
    for entry in form["assert_"]:
        if not entry["within"]:
            del entry["within"]
    for leg in form["legs"].values():
        del leg["absorbed_by"]  # it changes no state
    if not form["let"]:
        del form["let"]
    if form["window"] is None:
        del form["window"]
    if form["rest"] == "by_due":
        del form["rest"]
    entity = {"default_entity": model.default_entity} if model.default_entity else {}
    stand_ins = sorted(
        [system, name]
        for system in {model.reconciliations[rule].left, model.reconciliations[rule].right}
        for name in model.stand_ins_of(system).values()
    )
    ledgers = {"stand_ins": stand_ins} if stand_ins else {}
    return wire.digest(form | entity | ledgers | {"judged_by": JUDGE_VERSION})


async def _rebuild(
    store: Store, releases: Releases, rules: set[str], changed: Counter[str], named: dict[str, list[str]]
) -> None:
    after, withdrawing = "", False
    while events := await store.events_after(after, MAX_EVENT_ROWS):
        after = events[-1].id
        now = await store.now()
        transition = await _documents(store, releases, events, rules, now)
        withdrawing = withdrawing or bool(transition.withdrawals)
        await _count(store, await store.apply(transition), changed, named)
    after = ""
    while withdrawing and (events := await store.events_after(after, MAX_EVENT_ROWS)):
        after = events[-1].id
        now = await store.now()
        read = await _documents(store, releases, events, rules, now)
        withdrawn = RebuildDocuments(withdrawals=read.withdrawals, at=now)
        await _count(store, await store.apply(withdrawn), changed, named)
    place = ("", "")
    ledgers = _left_ledgers(releases.present, rules)
    while matches := await store.match_keys(place, MAX_MATCH_ROWS):
        place = matches[-1]
        now = await store.now()
        mine = tuple(match for match in matches if match[0] in rules)
        settled = RebuildDocuments(
            matches=mine, entity=releases.present.default_entity, ledgers=ledgers, at=now
        )
        await _count(store, await store.apply(settled), changed, named)


def _left_ledgers(model: Model, rules: set[str]) -> tuple[tuple[str, str, str], ...]:
    """Return reconciliation, legal entity and system for each system that stands for a left one."""
    return tuple(
        (rule, entity, name)
        for rule in sorted(rules & model.reconciliations.keys())
        for entity, name in sorted(model.stand_ins_of(model.reconciliations[rule].left).items())
    )


async def _count(
    store: Store, moved: tuple[str, ...], changed: Counter[str], named: dict[str, list[str]]
) -> None:
    for id_ in moved:
        foil = await store.foil(id_)
        if foil is not None:
            changed[foil.rule] += 1
            named.setdefault(foil.rule, []).append(f"{foil.number} {foil.state}")


async def _documents(
    store: Store, releases: Releases, events: list[CanonicalEvent], rules: set[str], now: datetime
) -> RebuildDocuments:
    """Return the documents of events by the active Release. An event that it cannot read any more keeps its rows."""
    foils: list[Foil] = []
    observations: list[Observation] = []
    withdrawals: list[Withdrawal] = []
    for event in events:
        try:
            documents = await read_documents(store, releases, event, now)
        except HeldDelivery as hold:
            log.warning("%s keeps its documents as they are: %s", event.id, hold.reason)
            continue
        foils += [foil for foil in documents.foils if foil.rule in rules]
        observations += [o for o in documents.observations if o.rule in rules]
        withdrawals += [w for w in documents.withdrawals if w.rule in rules]
    return RebuildDocuments(
        foils=tuple(foils), observations=tuple(observations), withdrawals=tuple(withdrawals), at=now
    )


async def _report(
    store: Store, model: Model, rule: str, digest: str, count: int, named: list[str], now: datetime
) -> None:
    kind = model.reconciliations[rule]
    observed = ", ".join(named[:MAX_NAMED_FOILS]) + (", ..." if len(named) > MAX_NAMED_FOILS else "")
    case = open_case(
        "rebuilt",
        id=ids.derive("case", "rebuilt", rule, digest),
        message=f"The state of {counted(count, 'counterfoil')} of {rule} has changed: {observed}",
        owners=tuple(model.owners_of(kind)),
        at=now,
        names={"object": rule, "system": kind.right},
    )
    await store.apply(OpenCases(cases=(case,), at=now, actor="rebuild"))
