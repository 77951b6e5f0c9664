"""A consumer's call: its key claimed once with all that follows, and its answer kept."""

from __future__ import annotations

import msgspec

from counterfoil.core.call import take
from counterfoil.store.memory.tables import Rows
from counterfoil.store.port import calls as port


class Calls(Rows):
    def _placecall(self, t: port.PlaceCall) -> port.CallPlaced:
        name = (t.call.consumer, t.call.operation, t.call.key)
        held = self.call_rows.get(name)
        if held is not None:
            verdict = port.standing(held, t)
            if verdict == "taken":
                held = port.taken_over(held, t)
                self._put(self.call_rows, name, held)
                body = port.placed_leaf(held, t.receipt, "taken")
                self._leaf("operation.called", str(held.receipt), t.at, t.actor, body, run=held.run)
            return port.CallPlaced(verdict=verdict, call=held)
        if t.release and self.present_release.get("present", t.release) != t.release:
            return port.CallPlaced(verdict="outdated")
        left = None
        if t.rate is not None:
            spent, left, may = take(t.rate, self.rates.get(name[:2], 0), t.at)
            if not may:
                return port.CallPlaced(verdict="limited", left=left)
            self._put(self.rates, name[:2], spent)
        if t.start is not None and not self._start(t.start, t.at):
            return port.CallPlaced(verdict="exists", left=left)
        no = len(self.receipts) + 1
        self._put(self.receipt_ids, (t.receipt.system, t.receipt.ext_id), no)
        self._put(self.receipts, no, msgspec.structs.replace(t.receipt, no=no))
        call = msgspec.structs.replace(t.call, receipt=no)
        self._put(self.call_rows, name, call)
        if t.event is not None and t.event.id not in self.events:
            self._put(self.events, t.event.id, msgspec.structs.replace(t.event, receipt=no))
        body = port.placed_leaf(call, t.receipt, "new")
        self._leaf("operation.called", str(no), t.at, t.actor, body, run=call.run)
        return port.CallPlaced(verdict="new", call=call, left=left)

    def _answercall(self, t: port.AnswerCall) -> bool:
        name = (t.consumer, t.operation, t.key)
        held = self.call_rows.get(name)
        if held is None or held.holder != t.holder or held.status is not None:
            return False
        if t.status is None:
            after = msgspec.structs.replace(held, until=t.at)
        else:
            after = msgspec.structs.replace(
                held, status=t.status, headers=t.headers, body=t.body, answered_at=t.at
            )
        self._put(self.call_rows, name, after)
        for case in t.cases:
            self._case(msgspec.structs.replace(case, receipt=held.receipt), t.at, t.actor)
        kind = "operation.freed" if t.status is None else "operation.answered"
        self._leaf(kind, str(held.receipt), t.at, t.actor, port.answered_leaf(t, held.receipt))
        return True
