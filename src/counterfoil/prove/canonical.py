"""The canonical form of a World: Worlds with the same form have the same future.

The form leaves out what has no influence: the history of finished steps, counters in ids of Cases and approvals,
attempts and tries, and the counterfoils and events of a Run that undoes its steps. Of times, only their order counts.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import datetime
from typing import Any

import msgspec

from counterfoil.core.approval import ApprovalState
from counterfoil.core.effect import UNFINISHED, EffectState
from counterfoil.core.matching import FoilState
from counterfoil.core.run import Direction
from counterfoil.prove.invariants import BAD
from counterfoil.prove.world import World

_ENCODE = msgspec.msgpack.Encoder().encode
_DEAD_FOILS = frozenset({FoilState.VOID, FoilState.REVERSED})
_LIVE_APPROVALS = frozenset({ApprovalState.OPEN, ApprovalState.GRANTED})


def canonical(w: World, whole: bool = False) -> bytes:
    """Return a 16-byte digest that is equal for Worlds with the same future.

    `whole`: equal only if formulas also read the same values, even after the end.
    """
    return hashlib.blake2b(_ENCODE(form(w, whole)), digest_size=16).digest()


def form(w: World, whole: bool) -> Any:
    """Return the parts of a World that influence its future."""
    s, run = w.state, w.run
    undoing = run.direction is Direction.UNDO and not whole
    ended = w.over and not whole
    ranks = _time_ranks(w)
    now = f"~{s.round}" if s.round else ""
    steps, live = _steps(w, now, ranks, undoing)
    names = {} if ended else s.memo.get("names", {})
    return (
        w.beginning,
        w.changed,
        w.closed,
        sorted(w.rowless),
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
        (s.started, ranks.get(s.starts_at), s.refresh, s.back, s.ending, s.stop_state),
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
        else sorted((_place(a.path, now), str(a.state)) for a in w.approvals if a.state in _LIVE_APPROVALS),
        []
        if undoing
        else sorted(
            (f.rule, f.key, str(f.state), ranks.get(f.due)) for f in w.foils if f.state not in _DEAD_FOILS
        ),
        sorted(
            (_place(k.path or "", now), k.reason, k.foil or "") for k in w.cases if not (undoing and k.foil)
        )
        if w.cases
        else (),
        sorted((r.scope, r.key, r.amount) for r in w.state.reserved.values()) if w.state.reserved else (),
        sorted(Counter(w.emitted).items()) if w.emitted else (),
        [] if undoing or ended else sorted(w.arrived),
    )


def _steps(
    w: World, now: str, ranks: dict[datetime | None, int], undoing: bool
) -> tuple[list[Any], set[str]]:
    """Return the last state of each step and item, and the ids of the effects that they refer to."""
    latest: dict[str, tuple[bool, Any]] = {}
    for key, st in w.state.steps.items():
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
                ranks.get(st.until), ranks.get(st.retry_at), ranks.get(st.queue_until),
            )
        )  # fmt: skip
    steps.sort()
    return steps, live


def _place(key: str, now: str) -> str:
    """Return a key without its round number; `~` marks an earlier round."""
    base, bracket, item = key.partition("[")
    path, mark, rest = base.partition("~")
    number, slash, below = rest.partition("/")
    former = "" if mark + number == now else "~"
    return path + former + slash + below + bracket + item


def _time_ranks(w: World) -> dict[datetime | None, int]:
    """Return the rank of each future time at which something happens."""
    times: set[datetime] = set()
    for st in w.state.steps.values():
        if st.phase != "done":
            for time in (st.until, st.retry_at, st.queue_until):
                if time is not None and time > w.now:
                    times.add(time)
    for foil in w.foils if w.run.direction is Direction.FORWARD else ():
        if foil.due > w.now and foil.state in (FoilState.OPEN, FoilState.PARTLY, FoilState.PROVISIONAL):
            times.add(foil.due)
    if w.state.starts_at is not None and w.state.starts_at > w.now:
        times.add(w.state.starts_at)
    return {time: n for n, time in enumerate(sorted(times), start=1)}
