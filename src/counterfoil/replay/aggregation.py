"""Aggregation of the differences over all traffic into groups, sums and examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from counterfoil.core import impact as d
from counterfoil.core import wire
from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.money import Money
from counterfoil.model import Model
from counterfoil.replay.event_builder import MappedDelivery
from counterfoil.replay.json_diff import accounts, amounts, differing_fields, first_fields, without_positions
from counterfoil.replay.recorded_answers import ReplaySide
from counterfoil.replay.replayed_run import ReplayedApproval, ReplayedCall, ReplayedFoil, ReplayedRun
from counterfoil.store.port.recorded import RecordedDelivery

ERP = "erp"
OLD, NEW = 0, 1


class _Group:
    def __init__(self) -> None:
        self.changed = self.only_old = self.only_new = 0
        self.fields: Counter[str] = Counter()
        self.examples: list[d.Example] = []

    def report(self, name: str) -> d.GroupDifference:
        return d.GroupDifference(
            name=name,
            changed=self.changed,
            only_old=self.only_old,
            only_new=self.only_new,
            fields=dict(sorted(self.fields.items())),
            examples=tuple(self.examples),
        )


class _Counter:
    """A count for each side, with examples."""

    def __init__(self) -> None:
        self.n = [0, 0]
        self.examples: list[d.Example] = []


class DifferenceTotals:
    """The differences so far, over all deliveries."""

    def __init__(self, old: Model, new: Model) -> None:
        self.models = (old, new)
        self.counts: Counter[str] = Counter()
        self.events: dict[str, _Group] = {}
        self.effects: dict[str, _Group] = {}
        self.foils: dict[str, _Group] = {}
        self.approvals: dict[tuple[str, str, str], _Counter] = {}
        self.runs: dict[tuple[str, str, str], _Counter] = {}
        self.held: dict[str, _Counter] = {}
        self.missing: dict[str, _Counter] = {}
        self.postings: dict[tuple[str, str, str, str, str], list[int]] = {}
        """operation, period, accounts, leg, currency -> old, new, number of old, number of new."""
        self.money: dict[tuple[str, str, str, str, str], list[int]] = {}
        """customer, legal entity, currency, source, leg -> old, new, number of differences."""
        self.since: Any = None
        self.until: Any = None

    def add_delivery(self, recorded: RecordedDelivery) -> None:
        at = recorded.receipt.received_at
        if self.since is None or at < self.since:
            self.since = at
        if self.until is None or at > self.until:
            self.until = at
        self.counts["receipts"] += 1
        self.counts["events"] += len(recorded.events)

    def add_same(self, runs: int) -> None:
        """Count a delivery whose documents are equal in both models."""
        self.counts["same"] += 1
        self.counts["shortcut"] += 1
        self.counts["runs"] += runs

    def impact(self, sides: Sequence[ReplaySide]) -> d.Impact:
        rows = [_money_difference(key, sums) for key, sums in self.money.items() if sums[2]]
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
            counts=d.ImpactCounts(**self.counts),
            events=_groups(self.events),
            effects=_groups(self.effects),
            foils=_groups(self.foils),
            approvals=tuple(
                d.ApprovalDifference(policy=p, old=o, new=n, count=c.n[0], examples=tuple(c.examples))
                for (p, o, n), c in sorted(self.approvals.items())
            ),
            runs=tuple(
                d.RunDifference(workflow=w, old=o, new=n, count=c.n[0], examples=tuple(c.examples))
                for (w, o, n), c in sorted(self.runs.items())
            ),
            held=tuple(
                d.HeldDifference(reason=reason, old=c.n[OLD], new=c.n[NEW], examples=tuple(c.examples))
                for reason, c in sorted(self.held.items())
            ),
            postings=tuple(_posting(key, sums) for key, sums in sorted(self.postings.items())),
            money=tuple(rows[: d.MAX_MONEY_ROWS]),
            money_left_off=max(0, len(rows) - d.MAX_MONEY_ROWS),
            totals=tuple(_money_difference(key, total) for key, total in sorted(sums.items()) if total[2]),
            not_comparable=tuple(
                d.NotComparable(reason=reason, count=c.n[0], examples=tuple(c.examples))
                for reason, c in sorted(self.missing.items())
            ),
            assumed=dict(sorted(assumed.items())),
        )


def _groups(groups: Mapping[str, _Group]) -> tuple[d.GroupDifference, ...]:
    return tuple(group.report(name) for name, group in sorted(groups.items()))


def _money_difference(key: tuple[str, str, str, str, str], sums: Sequence[int]) -> d.MoneyDifference:
    customer, entity, currency, source, leg = key
    return d.MoneyDifference(
        customer=customer, legal_entity=entity, currency=currency, source=source, leg=leg,
        old=sums[OLD], new=sums[NEW], delta=sums[NEW] - sums[OLD],
    )  # fmt: skip


def _posting(key: tuple[str, str, str, str, str], sums: Sequence[int]) -> d.PostingDifference:
    operation, period, account_names, leg, currency = key
    return d.PostingDifference(
        operation=operation, period=period, accounts=account_names, leg=leg, currency=currency,
        old=sums[0], new=sums[1], delta=sums[1] - sums[0], old_count=sums[2], new_count=sums[3],
    )  # fmt: skip


class DeliveryDifference:
    """The differences of one delivery. They are added to the totals only if the whole delivery was comparable."""

    def __init__(self, totals: DifferenceTotals, recorded: RecordedDelivery) -> None:
        self._totals = totals
        self._recorded = recorded
        self._additions: list[Callable[[], None]] = []
        self._missing = ""
        self._events = [False, False]
        self.ran = False
        """True if something was replayed, not only compared by digests."""
        self.pending = 1
        """Parts that are not replayed yet."""
        self.runs = 0

    # ------------------------------------------------------------------ the end

    def not_comparable(self, reason: str) -> None:
        self._missing = self._missing or reason

    def done(self) -> None:
        """Finish a part. After the last part the delivery is added to the totals."""
        self.pending -= 1
        if self.pending:
            return
        counts = self._totals.counts
        counts["runs"] += self.runs
        if self._missing:
            counts["not_comparable"] += 1
            self._count(self._totals.missing, self._missing, self._example())
            return
        if not self._additions:
            counts["same"] += 1
            counts["shortcut"] += not self.ran
            return
        old, new = self._events
        counts["only_old" if old and not new else "only_new" if new and not old else "changed"] += 1
        for add in self._additions:
            add()

    # ------------------------------------------------------------------ events

    def add_mapped(self, old: MappedDelivery, new: MappedDelivery) -> None:
        """Compare the events of both sides, or the reasons for holding the delivery."""
        self._events = [bool(old.events), bool(new.events)]
        if (old.held, new.held) != ("", "") and old.held != new.held:
            self._additions.append(lambda: self._add_held(old, new))
        before, after = ({e.id: e for e in mapped.events} for mapped in (old, new))
        for id_ in dict.fromkeys((*before, *after)):
            a, b = before.get(id_), after.get(id_)
            if a != b:
                self._event(a, b)

    def add_emitted(self, old: CanonicalEvent | None, new: CanonicalEvent | None) -> None:
        """Compare an event that a Run emits."""
        self._event(old, new)

    def _event(self, old: CanonicalEvent | None, new: CanonicalEvent | None) -> None:
        event = new or old
        assert event is not None
        about = self._example(event=event.id, key=event.key)
        self._differs(self._totals.events, event.type, _event_fields(old), _event_fields(new), about)

    def _add_held(self, old: MappedDelivery, new: MappedDelivery) -> None:
        for n, mapped in enumerate((old, new)):
            if mapped.held:
                about = {("old", "new")[n]: {"held": mapped.held, "message": mapped.message[:500]}}
                self._count(self._totals.held, mapped.held, self._example(**about), n)

    # ------------------------------------------------------------------ Runs

    def add_run(
        self, run: str, event: CanonicalEvent, old: ReplayedRun | None, new: ReplayedRun | None
    ) -> None:
        """Compare a Run on both sides. None: it does not start."""
        of = new or old
        assert of is not None
        about = self._example(event=event.id, run=run, key=of.key)
        states = (old.state if old is not None else "", new.state if new is not None else "")
        if states[0] != states[1]:
            self._additions.append(lambda: self._count(self._totals.runs, (of.workflow, *states), about))
        for effect, a, b in _pairs(old.effects if old else {}, new.effects if new else {}):
            if a != b:
                self._effect(effect, a, b, event, about)
        for _, old_approval, new_approval in _pairs(
            old.approvals if old else {}, new.approvals if new else {}
        ):
            self._approval(old_approval, new_approval, about)
        for _, old_foil, new_foil in _pairs(old.foils if old else {}, new.foils if new else {}):
            self.add_foil(old_foil, new_foil, event, about)

    def _effect(
        self,
        effect: str,
        old: ReplayedCall | None,
        new: ReplayedCall | None,
        event: CanonicalEvent,
        about: d.Example,
    ) -> None:
        of = new or old
        assert of is not None
        requests = [
            None if p is None or p.request is None else wire.read_trusted(p.request) for p in (old, new)
        ]
        fields = [
            None if p is None else {"input": p.input, "dates": p.dates, "request": r}
            for p, r in zip((old, new), requests, strict=True)
        ]
        self._differs(self._totals.effects, of.operation, fields[OLD], fields[NEW], about)

        def add() -> None:
            self._money(of.operation, event, old.input if old else None, new.input if new else None)
            for n, planned in enumerate((old, new)):
                if planned is not None and self._posts(n, planned.operation):
                    self._posting(n, planned, requests[n])

        self._additions.append(add)

    def add_foil(
        self,
        old: ReplayedFoil | None,
        new: ReplayedFoil | None,
        event: CanonicalEvent,
        about: d.Example | None = None,
    ) -> None:
        """Compare a counterfoil that either side asserts."""
        of = new or old
        if of is None or old == new:
            return
        sides = [None if foil is None else {"key": foil.key, **foil.legs} for foil in (old, new)]
        self._differs(
            self._totals.foils, of.rule, sides[OLD], sides[NEW], about or self._example(event=event.id)
        )
        self._additions.append(
            lambda: self._money(of.rule, event, old.legs if old else None, new.legs if new else None)
        )

    def _approval(self, old: ReplayedApproval | None, new: ReplayedApproval | None, about: d.Example) -> None:
        tiers = (old.tier if old else "", new.tier if new else "")
        of = new or old
        if of is None or (tiers[0] == tiers[1] and old and new and old.policy == new.policy):
            return
        self._additions.append(lambda: self._count(self._totals.approvals, (of.policy, *tiers), about))

    # ------------------------------------------------------------------ money

    def _money(
        self, source: str, event: CanonicalEvent, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None
    ) -> None:
        a, b = amounts(old or {}), amounts(new or {})
        entity = event.legal_entity or str(
            event.data.get("legal_entity") or event.data.get("legal_entity_id") or ""
        )
        customer_id = (new or {}).get("customer_id") or (old or {}).get("customer_id")
        customer = str(customer_id or event.data.get("customer_id") or "")
        for leg in dict.fromkeys((*a, *b)):
            differs = a.get(leg) != b.get(leg)
            for n, amount in enumerate((a.get(leg), b.get(leg))):
                if isinstance(amount, Money):
                    key = (customer, entity, amount.currency, source, leg)
                    sums = self._totals.money.setdefault(key, [0, 0, 0])
                    sums[n] += amount.minor
                    sums[2] += differs

    def _posts(self, n: int, operation: str) -> bool:
        model = self._totals.models[n]
        kind = model.operations.get(operation)
        system = model.systems.get(kind.system) if kind is not None else None
        return system is not None and system.role == ERP

    def _posting(self, n: int, planned: ReplayedCall, request: Any) -> None:
        account_names = accounts(request)
        period = self._period(planned.dates.get("posting"))
        for leg, amount in amounts(planned.input).items():
            key = (planned.operation, period, account_names, leg, amount.currency)
            sums = self._totals.postings.setdefault(key, [0, 0, 0, 0])
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
            a, b = differing_fields(old, new)
            if old is not None and new is not None:
                for field in {without_positions(path) for path in (*a, *b)}:
                    group.fields[field] += 1
            if len(group.examples) < d.MAX_EXAMPLES:
                sides = [first_fields(f) if side is not None else None for f, side in ((a, old), (b, new))]
                group.examples.append(_with(about, *sides))

        self._additions.append(add)

    def _count(self, groups: dict[Any, _Counter], key: Any, example: d.Example, n: int = 0) -> None:
        group = groups.setdefault(key, _Counter())
        group.n[n] += 1
        if len(group.examples) < d.MAX_EXAMPLES:
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


def _event_fields(event: CanonicalEvent | None) -> dict[str, Any] | None:
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
