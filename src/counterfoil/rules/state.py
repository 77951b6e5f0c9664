"""What `decide` keeps of a Run between turns: where it stands, what it learnt, what it waits for.

The state is data in the internal encoding, small, and complete: with the pinned definition it is all that
a turn needs besides its new stimuli. Values are those of expressions.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from counterfoil.core import wire


class Frame(msgspec.Struct, kw_only=True):
    """A place in one block of steps. `main, branch, outcome, item, signal` say how it was entered."""

    block: str
    """Address of the block: "" is the workflow's steps; else `<step path>/<role>`."""
    kind: str
    index: int = 0
    step: str = ""
    """Key of the step that entered it."""
    tag: str = ""
    """Tells executions of the same block apart: a signal's event, the n-th time of an outcome."""


class StepState(msgspec.Struct, kw_only=True):
    """One execution of one step (path, item, round)."""

    phase: str = "new"
    """new, planned, waiting, backoff, queued, parked, unlinked, reacting, done."""
    entered: datetime | None = None
    until: datetime | None = None
    """When waiting ends as `timeout` or `expired`."""
    retry_at: datetime | None = None
    tries: int = 0
    gen: int = 0
    effect: str | None = None
    input: str = ""
    """Digest of the effect's canonical input."""
    outcome: str = ""
    detail: str = ""
    approval: str | None = None
    subject: str = ""
    case: str | None = None
    cases: int = 0
    topic: str = ""
    queue_until: datetime | None = None
    """When queueing for one obstacle ends; kept over the tries in between."""
    then: str = ""
    """The verb that follows when queueing ends."""
    reactions: int = 0
    """Blocks of steps that were run in reaction to its outcomes."""
    asked: int = 0
    """Approvals that it asked for."""
    back: str = ""
    """Step from which a retry begins, when what was approved does not hold any more."""
    items: list[Any] | None = None
    item_keys: list[str] | None = None
    position: int = 0
    retry_after: int | None = None
    """Milliseconds that the other system asked us to wait."""


class UndoState(msgspec.Struct, kw_only=True):
    queue: list[str]
    """Step keys of confirmed effects, last confirmed first."""
    position: int = 0
    cause: str = ""


class Confirmed(msgspec.Struct, kw_only=True):
    """A confirmed forward effect, in order of confirmation."""

    key: str
    path: str
    item: str
    effect: str
    operation: str
    input: str
    digest: str
    """Of its canonical input."""


class Reserved(msgspec.Struct, kw_only=True):
    """A reservation of this Run on a guard row."""

    scope: str
    key: str
    amount: int
    step: str
    """Path of the step that made it."""
    item: str
    after: int
    """How many effects were confirmed before it."""


class State(msgspec.Struct, kw_only=True):
    frames: list[Frame] = []
    names: dict[str, Any] = {}
    """event, facts, lets, step results by id."""
    steps: dict[str, StepState] = {}
    items: dict[str, Any] = {}
    """Values of `each` names in force."""
    round: int = 0
    agains: dict[str, int] = {}
    confirmed: list[Confirmed] = []
    inputs: dict[str, Any] = {}
    """Canonical input by effect id, for undo."""
    results: dict[str, Any] = {}
    """Canonical result by effect id."""
    received: list[dict[str, Any]] = []
    """Events delivered and not used yet: id, type, data, at."""
    used: list[str] = []
    """`<event id>|<who used it>`."""
    undo: UndoState | None = None
    started: bool = False
    starts_at: datetime | None = None
    """When a Run that a date begins is due, as its object last said."""
    refresh: str = ""
    """Facts to read again before the next step: `all`, or `recheck` for those that are read before effects."""
    reads: int = 0
    """How often facts that only a system can tell were asked for anew."""
    back: str = ""
    """Where `again` leads, once nothing is under way."""
    ending: str = ""
    """The status in which the Run ends, once nothing is under way."""
    stop_state: str = ""
    """The business state in which it ends."""
    serials: list[str] = []
    reserved: dict[str, Reserved] = {}
    """Live reservations by their path."""
    reservations: int = 0
    """Reservations ever made: a path is never used twice."""
    scopes: dict[str, Any] = {}
    """Values of `each` names by effect, where there are any: its undo reads them."""

    def dump(self) -> bytes:
        return wire.dumps(_plain(self))


def _plain(value: Any) -> Any:
    if isinstance(value, State | Frame | StepState | UndoState | Confirmed | Reserved):
        fields = {f: getattr(value, f) for f in value.__struct_fields__}
        defaults = _DEFAULTS[type(value)]
        return {f: _plain(v) for f, v in fields.items() if f not in defaults or v != defaults[f]}
    if type(value) is dict:
        return {k: _plain(v) for k, v in value.items()}
    if type(value) is list:
        return [_plain(v) for v in value]
    return value


_DEFAULTS: dict[type, dict[str, Any]] = {
    kind: {
        f.encode_name: ([] if f.default_factory is list else {})
        if f.default_factory is not msgspec.NODEFAULT
        else f.default
        for f in msgspec.structs.fields(kind)
        if f.default is not msgspec.NODEFAULT or f.default_factory is not msgspec.NODEFAULT
    }
    for kind in (State, Frame, StepState, UndoState, Confirmed, Reserved)
}


def load(ctx: bytes) -> State:
    """The state that a Run's `ctx` holds; of a new Run, the empty one."""
    raw = wire.loads(ctx)
    return State(
        **{
            **raw,
            "frames": [Frame(**f) for f in raw.get("frames", [])],
            "steps": {k: StepState(**s) for k, s in raw.get("steps", {}).items()},
            "reserved": {k: Reserved(**r) for k, r in raw.get("reserved", {}).items()},
            "confirmed": [Confirmed(**c) for c in raw.get("confirmed", [])],
            "undo": UndoState(**raw["undo"]) if raw.get("undo") else None,
        }
    )
