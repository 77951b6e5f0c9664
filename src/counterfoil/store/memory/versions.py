"""What Releases wait for, and counted use of versions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from counterfoil.store.memory.tables import Rows
from counterfoil.store.port.versions import CountUse, VersionUsage, WaitingRuns, days_of


class Versions(Rows):
    async def waited(self) -> list[tuple[str, str | None, str | None]]:
        found: list[tuple[str, str | None, str | None]] = []
        for digest in self.releases:
            known = sorted(pair for release, *pair in self.waited_rows if release == digest)
            found += [(digest, type_, field) for type_, field in known] or [(digest, None, None)]
        return found

    def _countuse(self, t: CountUse) -> bool:
        for use in t.uses:
            key = (use.name, use.side, use.who, use.day)
            count, first, last = self.use_rows.get(key, (0, use.first_at, use.last_at))
            row = (count + use.count, min(first, use.first_at), max(last, use.last_at))
            self._put(self.use_rows, key, row)
        return True

    async def used(self, at: datetime) -> list[VersionUsage]:
        by_user: dict[tuple[str, str, str], list[tuple[int, int, datetime, datetime]]] = {}
        for (name, side, who, day), row in self.use_rows.items():
            by_user.setdefault((name, side, who), []).append((day, *row))
        return [
            VersionUsage(
                name=name,
                side=side,
                who=who,
                count=sum(count for _, count, _, _ in days),
                first_at=min(first for _, _, first, _ in days),
                last_at=max(last for _, _, _, last in days),
                days=days_of([(day, count) for day, count, _, _ in days], at),
            )
            for (name, side, who), days in sorted(by_user.items())
        ]

    async def waiting(self, names: Sequence[str]) -> list[WaitingRuns]:
        found = []
        for name in sorted(set(names)):
            topic = f"event:{name}"
            runs = {run for at, run in self.waits if at == topic or at.startswith(f"{topic}:")}
            workflows = sorted(self.runs[run].workflow for run in runs)
            found += [
                WaitingRuns(name=name, workflow=workflow, count=workflows.count(workflow))
                for workflow in sorted(set(workflows))
            ]
        return found
