"""The canonical form of a World: two of one form can do the same from here on.

Left out is what leads nowhere: how a step that is through came to be so, counters in names of Cases and approvals,
attempts, and moments themselves. Of moments, their order counts.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import datetime
from typing import Any

import msgspec

from counterfoil.change.world import World
from counterfoil.core.approval import ApprovalState
from counterfoil.core.effect import UNFINISHED, EffectState
from counterfoil.core.foil import FoilState

_ENCODE = msgspec.msgpack.Encoder().encode
_GONE = frozenset({FoilState.VOID, FoilState.REVERSED})
_ASKED = frozenset({ApprovalState.OPEN, ApprovalState.GRANTED})


def canonical(w: World) -> bytes:
    """16 bytes that stand for the World; equal for Worlds that can do the same."""
    return hashlib.blake2b(_ENCODE(form(w)), digest_size=16).digest()


def form(w: World) -> Any:
    """What counts of a World."""
    s, run = w.state, w.run
    moments = _ranks(w)
    steps: list[Any] = []
    live: set[str] = set()
    for key, st in s.steps.items():
        if st.effect is not None:
            live.add(st.effect)
        if st.phase == "done":
            if st.approval is not None or st.outcome not in ("", "confirmed"):
                steps.append((key, st.outcome))
            continue
        steps.append(
            (
                key, st.phase, st.outcome, st.tries, st.topic, st.then, st.reactions, st.back, st.position,
                st.effect is not None, st.case is not None, st.item_keys,
                moments.get(st.until), moments.get(st.retry_at), moments.get(st.queue_until),
            )
        )  # fmt: skip
    steps.sort()
    names = s.memo.get("names", {})
    return (
        w.beginning,
        w.changed,
        w.closed,
        str(run.status),
        str(run.direction),
        run.state,
        w.blame,
        min(w.persons, 1),
        [(f.block, f.kind, f.index, f.tag) for f in s.frames],
        sorted(
            (n, bytes(raw))
            for n, (_, raw) in names.items()
            if n not in ("event", "object", "input") and n in s.names
        ),
        sorted(s.items.items(), key=str)
        if not s.items
        else [str(i) for i in sorted(s.items.items(), key=str)],
        sorted(s.agains.items()),
        [(c.key, c.digest) for c in s.confirmed],
        [(r["id"]) for r in s.received],
        sorted(s.used),
        None if s.undo is None else (len(s.undo.queue), s.undo.position),
        (s.started, moments.get(s.starts_at), s.refresh, s.back, s.ending, s.stop_state),
        steps,
        sorted(
            (e.path, e.item, e.gen if n > 1 else 0, str(e.state), n, e.id in w.pending)
            for e in w.effects
            for n in (w.done.get(e.id, 0),)
            if (n and e.repeat != "read")
            or e.state in UNFINISHED
            or (e.state is EffectState.REFUSED and e.id in live)
        ),
        sorted((a.path, str(a.state)) for a in w.approvals if a.state in _ASKED),
        sorted((f.rule, f.key, str(f.state), moments.get(f.due)) for f in w.foils if f.state not in _GONE),
        sorted((k.path or "", k.reason, k.foil or "") for k in w.cases),
        sorted((scope, key, n) for scope, key, n in w.reserved.values()),
        sorted(Counter(w.emitted).items()),
        sorted(w.came),
    )


def _ranks(w: World) -> dict[datetime | None, int]:
    """Moments that are still to come, by their order; what is past is past."""
    found: set[datetime] = set()
    for st in w.state.steps.values():
        if st.phase != "done":
            for moment in (st.until, st.retry_at, st.queue_until):
                if moment is not None and moment > w.now:
                    found.add(moment)
    for foil in w.foils:
        if foil.due > w.now and foil.state in (FoilState.OPEN, FoilState.PARTLY, FoilState.PROVISIONAL):
            found.add(foil.due)
    if w.state.starts_at is not None and w.state.starts_at > w.now:
        found.add(w.state.starts_at)
    return {moment: n for n, moment in enumerate(sorted(found), start=1)}
