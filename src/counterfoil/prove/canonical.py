"""The canonical form of a World: two of one form can do the same from here on.

Left out is what leads nowhere: how a step that is through came to be so, counters in names of Cases and approvals,
attempts and tries (that a budget is spent is a move of its own), counterfoils and events of a Run that is on its way
back, and moments themselves. Of moments, their order counts.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import datetime
from typing import Any

import msgspec

from counterfoil.core.approval import ApprovalState
from counterfoil.core.effect import UNFINISHED, EffectState
from counterfoil.core.foil import FoilState
from counterfoil.core.run import Direction
from counterfoil.prove.invariants import BAD
from counterfoil.prove.world import World

_ENCODE = msgspec.msgpack.Encoder().encode
_GONE = frozenset({FoilState.VOID, FoilState.REVERSED})
_ASKED = frozenset({ApprovalState.OPEN, ApprovalState.GRANTED})


def canonical(w: World, whole: bool = False) -> bytes:
    """16 bytes that stand for the World; equal for Worlds that can do the same. `whole`: and that show a formula the
    same, in the end as well."""
    return hashlib.blake2b(_ENCODE(form(w, whole)), digest_size=16).digest()


def form(w: World, whole: bool) -> Any:
    """What counts of a World."""
    s, run = w.state, w.run
    undoing = run.direction is Direction.UNDO and not whole
    ended = w.over and not whole
    moments = _ranks(w)
    now = f"~{s.round}" if s.round else ""
    latest: dict[str, tuple[bool, Any]] = {}
    for key, st in s.steps.items():
        base, bracket, item = key.partition("[")
        path, mark, number = base.partition("~")
        latest[path + bracket + item] = (mark + number == now, (key, st))
    steps: list[Any] = []
    live: set[str] = set()
    for place, (current, (key, st)) in latest.items():
        if st.effect is not None:
            live.add(st.effect)
        if st.phase == "done":
            if st.approval is not None and not undoing:
                steps.append((place, current, st.outcome))
            elif (st.outcome.partition(":")[2] or st.outcome) in BAD and key not in w.accepted:
                steps.append((place, current, "bad"))
            continue
        steps.append(
            (
                place, current, st.phase, st.outcome, st.topic, st.then, st.reactions, st.back, st.position,
                st.effect is not None, st.case is not None, st.item_keys,
                moments.get(st.until), moments.get(st.retry_at), moments.get(st.queue_until),
            )
        )  # fmt: skip
    steps.sort()
    names = {} if ended else s.memo.get("names", {})
    return (
        w.beginning,
        w.changed,
        w.closed,
        str(run.status),
        str(run.direction),
        run.state,
        w.blame,
        sorted(key for key in w.accepted if key.startswith("undo:")) if w.accepted else (),
        [(f.block, f.kind, f.index, f.tag) for f in s.frames],
        sorted(
            (n, bytes(raw))
            for n, (_, raw) in names.items()
            if n not in ("event", "object", "input") and n in s.names
        ),
        sorted(map(str, s.items.items())) if s.items else (),
        sorted(s.agains.items()) if s.agains else (),
        [(_place(c.key, now), c.digest) for c in s.confirmed],
        [] if undoing or ended else [r["id"] for r in s.received],
        [] if undoing or ended else sorted(s.used),
        None if s.undo is None else (len(s.undo.queue), s.undo.position),
        (s.started, moments.get(s.starts_at), s.refresh, s.back, s.ending, s.stop_state),
        steps,
        sorted(
            (_place(e.path, now), e.item, str(e.state), n)
            for e in w.effects
            for n in (w.done.get(e.id, 0),)
            if (n and e.repeat != "read")
            or e.state in UNFINISHED
            or (e.state is EffectState.REFUSED and e.id in live)
        ),
        []
        if ended
        else sorted((_place(a.path, now), str(a.state)) for a in w.approvals if a.state in _ASKED),
        []
        if undoing
        else sorted(
            (f.rule, f.key, str(f.state), moments.get(f.due)) for f in w.foils if f.state not in _GONE
        ),
        sorted(
            (_place(k.path or "", now), k.reason, k.foil or "") for k in w.cases if not (undoing and k.foil)
        )
        if w.cases
        else (),
        sorted(w.reserved.values()) if w.reserved else (),
        sorted(Counter(w.emitted).items()) if w.emitted else (),
        [] if undoing or ended else sorted(w.came),
    )


def _place(key: str, now: str) -> str:
    """A key without its round; `~` where that is a former one."""
    base, bracket, item = key.partition("[")
    path, mark, rest = base.partition("~")
    number, slash, below = rest.partition("/")
    former = "" if mark + number == now else "~"
    return path + former + slash + below + bracket + item


def _ranks(w: World) -> dict[datetime | None, int]:
    """Moments that are still to come, by their order; what is past is past."""
    found: set[datetime] = set()
    for st in w.state.steps.values():
        if st.phase != "done":
            for moment in (st.until, st.retry_at, st.queue_until):
                if moment is not None and moment > w.now:
                    found.add(moment)
    for foil in w.foils if w.run.direction is Direction.FORWARD else ():
        if foil.due > w.now and foil.state in (FoilState.OPEN, FoilState.PARTLY, FoilState.PROVISIONAL):
            found.add(foil.due)
    if w.state.starts_at is not None and w.state.starts_at > w.now:
        found.add(w.state.starts_at)
    return {moment: n for n, moment in enumerate(sorted(found), start=1)}
