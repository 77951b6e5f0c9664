"""Results of a test as plain records: one list for each list of `expect`, with the same keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeAlias

from counterfoil.core import wire
from counterfoil.core.approval import ApprovalState
from counterfoil.core.case import Case, CaseState
from counterfoil.core.foil import Foil
from counterfoil.core.matching import FoilState
from counterfoil.core.money import Money
from counterfoil.core.waiting import Obstacles, SerialQueue, waits_for
from counterfoil.rules.json_values import plain
from counterfoil.store.dump import Dump
from counterfoil.testing.known_objects import KNOWN_TYPE

Record: TypeAlias = dict[str, Any]
_ENDED = frozenset({FoilState.REVERSED, FoilState.VOID})
_PLAIN = frozenset({str, int, bool, Decimal})


class Records(dict[str, list[Record]]):
    """Records of a store by the list of `expect`, in the order in which they came about.

    A list is made when it is read first: most tests expect a few of them.
    """

    def __init__(self, dump: Dump, now: datetime) -> None:
        self._dump, self._now = dump, now

    def __missing__(self, section: str) -> list[Record]:
        records = self[section] = _LISTS[section](self._dump, self._now)
        return records


# fmt: off
def _events(dump: Dump, now: datetime) -> list[Record]:
    return [
        {
            "type": e.type, "system": e.system, "key": e.key, "legal_entity": e.legal_entity,
            "data": readable(e.data),
        }
        for e in sorted(dump.events, key=lambda e: (e.received_at, e.id))
        if e.type != KNOWN_TYPE
    ]


def _runs(dump: Dump, now: datetime) -> list[Record]:
    runs = {run.id: run for run in dump.runs}
    return [
        {
            "workflow": run.workflow, "key": run.bkey, "generation": run.generation, "status": str(run.status),
            "state": run.state, "legal_entity": run.entity, "waits_for": waits_for(run, _obstacles(dump, run.id, runs), now),
        }
        for run in sorted(dump.runs, key=lambda r: r.arrival)
    ]


def _effects(dump: Dump, now: datetime) -> list[Record]:
    operations = {effect.id: effect.operation for effect in dump.effects}
    return [
        {
            "operation": e.operation, "system": e.system, "state": str(e.state), "input": readable(wire.loads(e.input)),
            "request": readable(wire.read_trusted(e.request)) if e.request else None,
            "result": readable(wire.loads(e.result)) if e.result is not None else None,
            "attempts": e.attempt, "error_class": str(e.error_class) if e.error_class else None, "error": e.error,
            "undoes": operations.get(e.undoes or ""),
        }
        for e in sorted(dump.effects, key=lambda e: (e.created_at, e.path, e.id))
    ]


def _approvals(dump: Dump, now: datetime) -> list[Record]:
    return [
        {
            "policy": a.policy, "state": str(a.state), "automatic": a.automatic, "roles": list(a.roles),
            "amount": readable(a.amount), "requester": a.requester, "legal_entity": a.entity,
        }
        for a in sorted(dump.approvals, key=lambda a: (a.created_at, a.id))
    ]


def _foils(dump: Dump, now: datetime) -> list[Record]:
    return [
        {
            "reconciliation": f.rule, "key": f.key, "document": f.number, "state": str(f.state), "reason": f.reason,
            "asserted": readable(f.legs) if f.stands else {},
            "legal_entity": f.entity, "residual": {leg: readable(f.of_leg(leg, by)) for leg, by in f.residual.items()},
            "owner": f.owner,
        }
        for f in sorted(dump.foils, key=lambda f: (f.created_at, f.id))
    ]


def _unmatched(dump: Dump, now: datetime) -> list[Record]:
    return [
        {
            "reconciliation": o.rule, "key": o.key, "document": o.number, "state": o.state, "amounts": readable(o.legs),
            "legal_entity": o.entity,
        }
        for o in sorted(dump.observations, key=lambda o: (o.since, o.id))
        if o.state != "paired"
    ]


def _cases(dump: Dump, now: datetime) -> list[Record]:
    workflows, entities = {run.id: run.workflow for run in dump.runs}, _CaseEntities(dump)
    return [
        {
            "reason": c.reason, "owner": c.owner, "state": str(c.state), "exposure": [readable(m) for m in c.exposure],
            "message": c.message, "workflow": workflows.get(c.run or ""),
            "choices": [str(choice) for choice in c.choices], "legal_entity": entities.of(c),
        }
        for c in sorted(dump.cases, key=lambda c: (c.created_at, c.id))
    ]
# fmt: on


def readable(value: Any) -> Any:
    """Return a value as tests write it: money and times as text."""
    if value is None or type(value) in _PLAIN:  # most are
        return value
    if isinstance(value, Money):
        return str(value)
    if isinstance(value, Mapping):
        return {key: readable(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [readable(part) for part in value]
    if isinstance(value, datetime):
        return wire.time_text(value)
    if isinstance(value, timedelta):
        return plain(value)
    return value.isoformat() if isinstance(value, date) else value


class _CaseEntities:
    """Legal entities of Cases: that of the first row that a Case is about."""

    def __init__(self, dump: Dump) -> None:
        self._runs = {run.id: run.entity for run in dump.runs}
        self._foils = {foil.id: foil.entity for foil in dump.foils}
        self._items = {item.id: item.entity for item in dump.observations}
        self._events = {event.id: event.legal_entity for event in dump.events}

    def of(self, case: Case) -> str | None:
        places = (
            (self._runs, case.run),
            (self._foils, case.foil),
            (self._items, case.observation),
            (self._events, case.event),
        )
        return next((rows[id_] for rows, id_ in places if id_ in rows), None)


def _obstacles(dump: Dump, run: str, runs: Mapping[str, Any]) -> Obstacles:
    waiting = {serial for serial, waiter, _ in dump.queues if waiter == run}
    holder = next(((s, h) for s, h in dump.holds if s in waiting and h != run), None)
    return Obstacles(
        approvals=[a for a in dump.approvals if a.run == run and a.state is ApprovalState.OPEN],
        cases=[c for c in dump.cases if c.run == run and c.state is CaseState.OPEN],
        effects=[e for e in dump.effects if e.run == run],
        queue=SerialQueue(holder[0], runs[holder[1]].bkey) if holder is not None else None,
        topics=[topic for topic, waiter, _ in dump.waits if waiter == run],
    )


def _totals(dump: Dump, now: datetime) -> list[Record]:
    """Return the totals of each reconciliation and currency: asserted, matched and not readable."""
    sums: dict[tuple[str, str], list[int]] = {}
    for foil in dump.foils:
        total = _total(foil)
        if total is None or foil.state in _ENDED or not foil.stands:
            continue
        entry = sums.setdefault((foil.rule, total.currency), [0, 0, 0])
        entry[0] += total.minor
        entry[1] += total.minor if foil.state is FoilState.MATCHED else 0
        entry[2] += sum(money.minor for money in foil.open_money if money.currency == total.currency)
    return [
        {
            "reconciliation": rule, "asserted": str(Money(asserted, currency)),
            "matched": str(Money(matched, currency)), "open": str(Money(left, currency)),
        }
        for (rule, currency), (asserted, matched, left) in sorted(sums.items())
    ]  # fmt: skip


def _total(foil: Foil) -> Money | None:
    """Return the leg that is the total of a foil; None where it has no money."""
    amounts = {name: leg for name, leg in foil.legs.items() if isinstance(leg, Money)}
    named = [leg for name, leg in amounts.items() if name in foil.terms.legs and foil.terms.legs[name].total]
    return next(iter(named), max(amounts.values(), key=lambda m: abs(m.minor), default=None))


_LISTS: dict[str, Callable[[Dump, datetime], list[Record]]] = {
    "events": _events,
    "runs": _runs,
    "effects": _effects,
    "approvals": _approvals,
    "foils": _foils,
    "unmatched": _unmatched,
    "cases": _cases,
    "money": _totals,
}
