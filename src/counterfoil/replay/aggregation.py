"""Differences gathered over the traffic into groups, sums and a few examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from counterfoil.core import wire
from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.money import Money
from counterfoil.model import Model
from counterfoil.replay import report as d
from counterfoil.replay.event_builder import MappedDelivery
from counterfoil.replay.json_diff import accounts, amounts, apart, general, shown
from counterfoil.replay.recorded_answers import ReplaySide
from counterfoil.replay.run_replayer import AskedApproval, OwedFoil, PlannedCall, ReplayedRun
from counterfoil.store.port.recorded import Recorded

ERP = "erp"
OLD, NEW = 0, 1


class _Group:
    """Things of one kind that differ."""

    def __init__(self) -> None:
        self.changed = self.only_old = self.only_new = 0
        self.fields: Counter[str] = Counter()
        self.examples: list[d.Example] = []

    def shown(self, name: str) -> d.Difference:
        return d.Difference(
            name=name,
            changed=self.changed,
            only_old=self.only_old,
            only_new=self.only_new,
            fields=dict(sorted(self.fields.items())),
            examples=tuple(self.examples),
        )


class _Counted:
    """Something that is counted, with examples."""

    def __init__(self) -> None:
        self.n = [0, 0]
        self.examples: list[d.Example] = []


class DifferenceTotals:
    """The whole difference so far."""

    def __init__(self, old: Model, new: Model) -> None:
        self.models = (old, new)
        self.counts: Counter[str] = Counter()
        self.events: dict[str, _Group] = {}
        self.effects: dict[str, _Group] = {}
        self.foils: dict[str, _Group] = {}
        self.approvals: dict[tuple[str, str, str], _Counted] = {}
        self.runs: dict[tuple[str, str, str], _Counted] = {}
        self.held: dict[str, _Counted] = {}
        self.missing: dict[str, _Counted] = {}
        self.postings: dict[tuple[str, str, str, str, str], list[int]] = {}
        """operation, period, accounts, leg, currency -> old, new, how many old, how many new."""
        self.money: dict[tuple[str, str, str, str, str], list[int]] = {}
        """customer, legal entity, currency, source, leg -> old, new, how many differ."""
        self.since: Any = None
        self.until: Any = None

    def came(self, recorded: Recorded) -> None:
        at = recorded.receipt.received_at
        self.since = at if self.since is None else min(self.since, at)
        self.until = at if self.until is None else max(self.until, at)
        self.counts["receipts"] += 1
        self.counts["events"] += len(recorded.events)

    def alike(self, runs: int) -> None:
        """A delivery of which the documents tell that nothing differs."""
        self.counts["same"] += 1
        self.counts["shortcut"] += 1
        self.counts["runs"] += runs

    def impact(self, sides: Sequence[ReplaySide]) -> d.Impact:
        rows = [_amount(key, sums) for key, sums in self.money.items() if sums[2]]
        rows.sort(key=lambda a: (-abs(a.delta), a.customer, a.legal_entity, a.currency, a.source, a.leg))
        sums: dict[tuple[str, str, str, str, str], list[int]] = {}
        for (_, *rest), row in self.money.items():
            total = sums.setdefault(("", rest[0], rest[1], rest[2], rest[3]), [0, 0, 0])
            for n in range(3):
                total[n] += row[n]
        assumed = Counter(sides[OLD].assumed)
        for name, count in sides[NEW].assumed.items():
            assumed[name] = max(assumed[name], count)
        return d.Impact(
            old=self.models[OLD].digest,
            new=self.models[NEW].digest,
            since=self.since,
            until=self.until,
            counts=d.Counts(**self.counts),
            events=_groups(self.events),
            effects=_groups(self.effects),
            foils=_groups(self.foils),
            approvals=tuple(
                d.Decided(policy=p, old=o, new=n, count=c.n[0], examples=tuple(c.examples))
                for (p, o, n), c in sorted(self.approvals.items())
            ),
            runs=tuple(
                d.Ended(workflow=w, old=o, new=n, count=c.n[0], examples=tuple(c.examples))
                for (w, o, n), c in sorted(self.runs.items())
            ),
            held=tuple(
                d.Held(reason=reason, old=c.n[OLD], new=c.n[NEW], examples=tuple(c.examples))
                for reason, c in sorted(self.held.items())
            ),
            postings=tuple(_posting(key, sums) for key, sums in sorted(self.postings.items())),
            money=tuple(rows[: d.ROWS]),
            money_left_off=max(0, len(rows) - d.ROWS),
            totals=tuple(_amount(key, total) for key, total in sorted(sums.items()) if total[2]),
            not_comparable=tuple(
                d.NotComparable(reason=reason, count=c.n[0], examples=tuple(c.examples))
                for reason, c in sorted(self.missing.items())
            ),
            assumed=dict(sorted(assumed.items())),
        )


def _groups(groups: Mapping[str, _Group]) -> tuple[d.Difference, ...]:
    return tuple(group.shown(name) for name, group in sorted(groups.items()))


def _amount(key: tuple[str, str, str, str, str], sums: Sequence[int]) -> d.Amount:
    customer, entity, currency, source, leg = key
    return d.Amount(
        customer=customer, legal_entity=entity, currency=currency, source=source, leg=leg,
        old=sums[OLD], new=sums[NEW], delta=sums[NEW] - sums[OLD],
    )  # fmt: skip


def _posting(key: tuple[str, str, str, str, str], sums: Sequence[int]) -> d.Posting:
    operation, period, booked, leg, currency = key
    return d.Posting(
        operation=operation, period=period, accounts=booked, leg=leg, currency=currency,
        old=sums[0], new=sums[1], delta=sums[1] - sums[0], old_count=sums[2], new_count=sums[3],
    )  # fmt: skip


class DeliveryDifference:
    """What is told of one delivery: nothing of it counts before all of it was comparable."""

    def __init__(self, gathering: DifferenceTotals, recorded: Recorded) -> None:
        self._g = gathering
        self._recorded = recorded
        self._found: list[Callable[[], None]] = []
        self._missing = ""
        self._events = [False, False]
        self.ran = False
        """Whether anything was run, rather than told by digests."""
        self.pending = 1
        """Parts of it that are not replayed yet."""
        self.runs = 0

    # ------------------------------------------------------------------ the end

    def not_comparable(self, reason: str) -> None:
        self._missing = self._missing or reason

    def done(self) -> None:
        """A part is through; with the last one the delivery counts."""
        self.pending -= 1
        if self.pending:
            return
        counts = self._g.counts
        counts["runs"] += self.runs
        if self._missing:
            counts["not_comparable"] += 1
            self._count(self._g.missing, self._missing, self._example())
            return
        if not self._found:
            counts["same"] += 1
            counts["shortcut"] += not self.ran
            return
        old, new = self._events
        counts["only_old" if old and not new else "only_new" if new and not old else "changed"] += 1
        for add in self._found:
            add()

    # ------------------------------------------------------------------ events

    def made(self, old: MappedDelivery, new: MappedDelivery) -> None:
        """The events of both sides, and why there are none."""
        self._events = [bool(old.events), bool(new.events)]
        if (old.held, new.held) != ("", "") and old.held != new.held:
            self._found.append(lambda: self._held(old, new))
        before, after = ({e.id: e for e in made.events} for made in (old, new))
        for id_ in dict.fromkeys((*before, *after)):
            a, b = before.get(id_), after.get(id_)
            if a != b:
                self._event(a, b)

    def emitted(self, old: CanonicalEvent | None, new: CanonicalEvent | None) -> None:
        """An event that a Run emits."""
        self._event(old, new)

    def _event(self, old: CanonicalEvent | None, new: CanonicalEvent | None) -> None:
        of = new or old
        assert of is not None
        about = self._example(event=of.id, key=of.key)
        self._differs(self._g.events, of.type, _of_event(old), _of_event(new), about)

    def _held(self, old: MappedDelivery, new: MappedDelivery) -> None:
        for n, made in enumerate((old, new)):
            if made.held:
                about = {("old", "new")[n]: {"held": made.held, "message": made.message[:500]}}
                self._count(self._g.held, made.held, self._example(**about), n)

    # ------------------------------------------------------------------ Runs

    def run(self, run: str, event: CanonicalEvent, old: ReplayedRun | None, new: ReplayedRun | None) -> None:
        """A Run under both sides; None: it does not begin."""
        self.runs += 1
        of = new or old
        assert of is not None
        about = self._example(event=event.id, run=run, key=of.key)
        states = (old.state if old is not None else "", new.state if new is not None else "")
        if states[0] != states[1]:
            self._found.append(lambda: self._count(self._g.runs, (of.workflow, *states), about))
        for effect, a, b in _pairs(old.effects if old else {}, new.effects if new else {}):
            if a != b:
                self._effect(effect, a, b, event, about)
        for _, a_, b_ in _pairs(old.approvals if old else {}, new.approvals if new else {}):
            self._approval(a_, b_, about)
        for _, owed, owes in _pairs(old.foils if old else {}, new.foils if new else {}):
            self.foil(owed, owes, event, about)

    def _effect(
        self,
        effect: str,
        old: PlannedCall | None,
        new: PlannedCall | None,
        event: CanonicalEvent,
        about: d.Example,
    ) -> None:
        of = new or old
        assert of is not None
        requests = [
            None if p is None or p.request is None else wire.read_trusted(p.request) for p in (old, new)
        ]
        told = [
            None if p is None else {"input": p.input, "dates": p.dates, "request": r}
            for p, r in zip((old, new), requests, strict=True)
        ]
        self._differs(self._g.effects, of.operation, told[OLD], told[NEW], about)

        def add() -> None:
            self._money(of.operation, event, old.input if old else None, new.input if new else None)
            for n, planned in enumerate((old, new)):
                if planned is not None and self._posts(n, planned.operation):
                    self._posting(n, planned, requests[n])

        self._found.append(add)

    def foil(
        self,
        old: OwedFoil | None,
        new: OwedFoil | None,
        event: CanonicalEvent,
        about: d.Example | None = None,
    ) -> None:
        """A counterfoil that either side asserts."""
        of = new or old
        if of is None or old == new:
            return
        sides = [None if owed is None else {"key": owed.key, **owed.legs} for owed in (old, new)]
        self._differs(self._g.foils, of.rule, sides[OLD], sides[NEW], about or self._example(event=event.id))
        self._found.append(
            lambda: self._money(of.rule, event, old.legs if old else None, new.legs if new else None)
        )

    def _approval(self, old: AskedApproval | None, new: AskedApproval | None, about: d.Example) -> None:
        tiers = (old.tier if old else "", new.tier if new else "")
        of = new or old
        if of is None or (tiers[0] == tiers[1] and old and new and old.policy == new.policy):
            return
        self._found.append(lambda: self._count(self._g.approvals, (of.policy, *tiers), about))

    # ------------------------------------------------------------------ money

    def _money(
        self,
        source: str,
        event: CanonicalEvent,
        old: Mapping[str, Any] | None,
        new: Mapping[str, Any] | None,
    ) -> None:
        a, b = amounts(old or {}), amounts(new or {})
        entity = event.legal_entity or str(
            event.data.get("legal_entity") or event.data.get("legal_entity_id") or ""
        )
        named = (new or {}).get("customer_id") or (old or {}).get("customer_id")
        customer = str(named or event.data.get("customer_id") or "")
        for leg in dict.fromkeys((*a, *b)):
            differs = a.get(leg) != b.get(leg)
            for n, amount in enumerate((a.get(leg), b.get(leg))):
                if isinstance(amount, Money):
                    key = (customer, entity, amount.currency, source, leg)
                    sums = self._g.money.setdefault(key, [0, 0, 0])
                    sums[n] += amount.minor
                    sums[2] += differs

    def _posts(self, n: int, operation: str) -> bool:
        model = self._g.models[n]
        kind = model.operations.get(operation)
        system = model.systems.get(kind.system) if kind is not None else None
        return system is not None and system.role == ERP

    def _posting(self, n: int, planned: PlannedCall, request: Any) -> None:
        booked = accounts(request)
        period = self._period(planned.dates.get("posting"))
        for leg, amount in amounts(planned.input).items():
            key = (planned.operation, period, booked, leg, amount.currency)
            sums = self._g.postings.setdefault(key, [0, 0, 0, 0])
            sums[n] += amount.minor
            sums[2 + n] += 1

    def _period(self, day: date | None) -> str:
        if day is None:
            return ""
        calendars = self._recorded.calendars
        for head in (h for object_ in calendars.objects for h in calendars.at(object_)):
            start, end = head.state.get("start"), head.state.get("end")
            if isinstance(start, date) and isinstance(end, date) and start <= day <= end:
                return str(head.state.get("name", head.key))
        return f"{day:%Y-%m}"

    # ------------------------------------------------------------------ groups

    def _differs(
        self,
        groups: dict[str, _Group],
        name: str,
        old: Mapping[str, Any] | None,
        new: Mapping[str, Any] | None,
        about: d.Example,
    ) -> None:
        def add() -> None:
            group = groups.setdefault(name, _Group())
            group.changed += old is not None and new is not None
            group.only_old += new is None
            group.only_new += old is None
            a, b = apart(old, new)
            if old is not None and new is not None:
                for field in {general(path) for path in (*a, *b)}:
                    group.fields[field] += 1
            if len(group.examples) < d.EXAMPLES:
                sides = [shown(f) if side is not None else None for f, side in ((a, old), (b, new))]
                group.examples.append(_with(about, *sides))

        self._found.append(add)

    def _count(self, groups: dict[Any, _Counted], key: Any, example: d.Example, n: int = 0) -> None:
        group = groups.setdefault(key, _Counted())
        group.n[n] += 1
        if len(group.examples) < d.EXAMPLES:
            group.examples.append(example)

    def _example(self, **more: Any) -> d.Example:
        receipt = self._recorded.receipt
        return d.Example(receipt=receipt.no, delivery=receipt.ext_id, **more)


def _with(about: d.Example, old: dict[str, Any] | None, new: dict[str, Any] | None) -> d.Example:
    return d.Example(
        receipt=about.receipt, delivery=about.delivery, event=about.event, run=about.run, key=about.key,
        old=old, new=new,
    )  # fmt: skip


def _pairs(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    return [(id_, old.get(id_), new.get(id_)) for id_ in dict.fromkeys((*old, *new))]


def _of_event(event: CanonicalEvent | None) -> dict[str, Any] | None:
    if event is None:
        return None
    return {
        "data": event.data,
        "key": event.key,
        "version": event.version,
        "legal_entity": event.legal_entity,
        "occurred_at": event.occurred_at,
        "effective_at": event.effective_at,
    }
