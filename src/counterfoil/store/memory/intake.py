"""receive and admit: what comes in, and all that follows from it."""

from __future__ import annotations

import msgspec

from counterfoil.core import wire
from counterfoil.core.canonical import Head
from counterfoil.core.usage import same_content
from counterfoil.store.memory.tables import ABSENT, Rows
from counterfoil.store.port import transitions as port
from counterfoil.store.port import usage
from counterfoil.store.port.head_merge import merged
from counterfoil.store.port.usage import StoreUsage, UsageStored


class Arrivals(Rows):
    def _receive(self, t: port.Receive) -> port.Received:
        numbers, verdicts = [], []
        for receipt, clash in zip(t.receipts, t.clashes, strict=True):
            no = self.receipt_ids.get((receipt.system, receipt.ext_id))
            if no is None:
                no = len(self.receipts) + 1
                self._put(self.receipt_ids, (receipt.system, receipt.ext_id), no)
                self._put(self.receipts, no, msgspec.structs.replace(receipt, no=no))
                if receipt.door != "fetch":
                    self._put_todo("receipt", str(no))
                body = wire.dumps(
                    {"system": receipt.system, "ext_id": receipt.ext_id, "sha256": receipt.sha256}
                )
                self._leaf("received", str(no), t.at, t.actor, body)
                verdicts.append("new")
            elif self.receipts[no].identity == receipt.identity:
                verdicts.append("same")
            else:
                self._case(msgspec.structs.replace(clash, receipt=no), t.at, t.actor)
                verdicts.append("clash")
            numbers.append(no)
        if t.cursor is not None:
            system, feed, value = t.cursor
            self._put(self.cursors, (system, feed), value)
        return port.Received(numbers=tuple(numbers), verdicts=tuple(verdicts))

    def _storeusage(self, t: StoreUsage) -> UsageStored:
        accepted, clashes, repeated = [], [], 0
        for place, row in enumerate(t.rows):
            held = self.usage_rows.get(row[:2])
            if held is None:
                self._put(self.usage_rows, row[:2], row)
                accepted.append(row)
            elif same_content(held[7], row[7]):
                repeated += 1
            else:
                clashes.append(place)
        aside = []
        for refused in (*t.refused, *(usage.clash(t.rows[place]) for place in clashes)):
            if refused.key not in self.quarantine_rows:
                self._put(self.quarantine_rows, refused.key, usage.quarantine_row(t, refused))
                aside.append(refused)
        for case in usage.cases_of(t, aside):
            self._case(case, t.at, t.actor)
        if accepted or aside:
            body = usage.leaf_of(accepted, repeated, len(aside))
            self._leaf("usage.kept", t.batch, t.at, t.actor, body)
        return UsageStored(accepted=len(accepted), repeated=repeated, clashes=tuple(clashes))

    def _admit(self, t: port.Admit) -> port.Admitted:
        if t.release and self.present_release.get("present", t.release) != t.release:
            return port.Admitted(applied=False, outdated=True)
        if self.todo.get(t.todo, ABSENT) is not None:
            return port.Admitted(applied=False)
        self._drop(self.todo, t.todo)
        fresh = {e.id for e in t.events if e.id not in self.events}
        if t.todo[0] == "event":
            fresh |= {e.id for e in t.events}  # emitted events are kept already; this is their admission
        for event in t.events:
            if event.id not in self.events:
                self._put(self.events, event.id, event)
        older = [h.event for h in t.heads if h.event in fresh and not self._move_head(h)]
        woken: list[str] = []
        for link in t.links:
            woken += self._link(link, t.at)
        for post in t.posts:
            if post.event in fresh:
                woken += self._post(post, t.at)
        born = [s.run for s in t.starts if s.stimulus.ref in fresh and self._start(s, t.at)]
        touched = set()
        for foil in t.foils:
            if foil.cause in fresh:
                self._open_foil(foil)
                touched.add((foil.rule, foil.key))
        for o in t.observations:
            if o.event in fresh and o.id not in self.observations:
                self._put(self.observations, o.id, o)
                touched.add((o.rule, o.key))
        for rule, key in sorted(touched):
            self._settle(rule, key, t.at)
        if not t.park and not t.cases:
            self._resolve_cases_of_todo(t.todo, t.at)
        for case in t.cases:
            self._case(case, t.at, t.actor)
        if t.park:
            topic = t.wake_topic or ""
            posted = bool(topic) and any(p[0] == topic for p in self.posts)
            self._put(self.todo, t.todo, None if posted else topic)
        what = {
            "events": sorted(e.id for e in t.events),
            "new": sorted(fresh),
            "ignored": t.ignored,
            "parked": t.park,
        }
        if t.release:
            what["release"] = t.release
        self._leaf("admitted", ":".join(t.todo), t.at, t.actor, wire.dumps(what))
        return port.Admitted(
            applied=True,
            new_events=tuple(sorted(fresh)),
            born=tuple(born),
            woken=tuple(woken),
            older=tuple(older),
        )

    def _move_head(self, fact: Head) -> bool:
        key = (fact.object, fact.key)
        head, moves = merged(self.head_rows.get(key), fact)
        history = self.head_history.get(key, ())
        if not moves:
            history = (*history, fact)
        if head is not None:
            self._put(self.head_rows, key, head)
            history = (*history, head)
        self._put(self.head_history, key, history)
        return moves
