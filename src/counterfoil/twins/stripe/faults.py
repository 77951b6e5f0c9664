"""Faults on request, for the next matching requests or events.

A fault is `{kind, match: {method, path, type}, times, skip, ...}`. `path` and `type` are shell patterns.
Requests: `drop_before_commit`, `drop_after_commit` (closed without a response), `late_commit` (no response, commits after
`seconds`, or when the control `release` is posted), `error_body_200` (200 with an error body, not executed),
`unreadable_200` (executed, the response is truncated), `status` (`status`, `commit`; replayed by the idempotency key),
`rate_limit` (`reason`, `retry_after`), `maintenance` (503), `slow` (`seconds`). Events: `duplicate_webhook` (`copies`),
`lose_webhook`, `delay_webhook` (`seconds`, of twin time).
"""

from __future__ import annotations

import fnmatch
from typing import Any

from counterfoil.twins.stripe.errors import Obj
from counterfoil.twins.stripe.store import TwinStore

REQUEST_KINDS = frozenset({
    "drop_before_commit", "drop_after_commit", "late_commit", "error_body_200", "unreadable_200", "status",
    "rate_limit", "maintenance", "slow",
})  # fmt: skip
EVENT_KINDS = frozenset({"duplicate_webhook", "lose_webhook", "delay_webhook"})


class Faults:
    """Requested faults, stored in the file of the account."""

    def __init__(self, store: TwinStore) -> None:
        self.store = store
        self._any = bool(self.waiting())

    def add(self, fault: Any) -> Obj:
        """Store a fault. Raises ValueError if it is malformed."""
        if not isinstance(fault, dict) or fault.get("kind") not in REQUEST_KINDS | EVENT_KINDS:
            raise ValueError(f"kind must be one of {', '.join(sorted(REQUEST_KINDS | EVENT_KINDS))}")
        times = fault.get("times", 1)
        if not isinstance(times, int) or times < 1:
            raise ValueError("times must be a whole number of at least 1")
        match = fault.get("match") or {}
        if not isinstance(match, dict) or set(match) - {"method", "path", "type"}:
            raise ValueError("match may name method, path and type")
        body = {"skip": 0, **fault, "match": match}
        self._any = True
        return {**body, "no": self.store.add_fault(body, times), "left": times}

    def waiting(self) -> list[Obj]:
        return self.store.faults()

    def clear(self) -> None:
        self.store.clear_faults()
        self._any = False

    def for_request(self, method: str, path: str) -> Obj | None:
        return self._take(REQUEST_KINDS, {"method": method, "path": path})

    def for_event(self, type: str) -> Obj | None:
        return self._take(EVENT_KINDS, {"type": type})

    def _take(self, kinds: frozenset[str], facts: dict[str, str]) -> Obj | None:
        """Return the first matching fault and count one use; a fault with `skip` lets that many requests pass first."""
        if not self._any:
            return None
        for fault in self.waiting():
            match = fault["match"]
            if fault["kind"] not in kinds or not all(
                name in facts and fnmatch.fnmatchcase(facts[name], pattern) for name, pattern in match.items()
            ):
                continue
            if fault["skip"] > 0:
                self.store.save_fault(fault["no"], {**fault, "skip": fault["skip"] - 1}, fault["left"])
                continue
            self.store.save_fault(fault["no"], fault, fault["left"] - 1)
            self._any = bool(self.waiting())
            return fault
        return None
