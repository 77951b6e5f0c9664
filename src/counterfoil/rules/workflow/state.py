"""What `decide` keeps of a Run between turns: where it stands, what it learnt, what it waits for.

The state is data in the internal encoding, small, and complete: with the pinned definition it is all that
a turn needs besides its new stimuli. Values are those of expressions.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

import msgspec

from counterfoil.core import wire


class BlockFrame(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A place in one block of steps. `main, branch, outcome, item, signal` say how it was entered."""

    block: str
    """Address of the block: "" is the workflow's steps; else `<step path>/<role>`."""
    kind: str
    index: int = 0
    step: str = ""
    """Key of the step that entered it."""
    tag: str = ""
    """Tells executions of the same block apart: a signal's event, the n-th time of an outcome."""


class StepState(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One execution of one step (path, item, round)."""

    phase: str = "new"
    """new, planned, waiting, backoff, queued, parked, unlinked, reacting, done; of the deadline also paused."""
    entered: datetime | None = None
    until: datetime | None = None
    """When waiting ends as `timeout` or `expired`."""
    retry_at: datetime | None = None
    tries: int = 0
    gen: int = 0
    effect: str | None = None
    input: str = ""
    """Digest of the effect's canonical input, or of what the step told."""
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


class UndoState(msgspec.Struct, kw_only=True, omit_defaults=True):
    queue: list[str]
    """Step keys of confirmed effects, last confirmed first."""
    position: int = 0
    cause: str = ""


class ConfirmedEffect(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A confirmed forward effect, in order of confirmation."""

    key: str
    path: str
    item: str
    effect: str
    operation: str
    input: str
    digest: str
    """Of its canonical input."""


class ReservedGuard(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A reservation of this Run on a guard row."""

    scope: str
    key: str
    amount: int
    step: str
    """Path of the step that made it."""
    item: str
    after: int
    """How many effects were confirmed before it."""


class RunState(msgspec.Struct, kw_only=True):
    frames: list[BlockFrame] = []
    names: dict[str, Any] = {}
    """event, facts, lets, step results by id."""
    steps: dict[str, StepState] = {}
    items: dict[str, Any] = {}
    """Values of `each` names in force."""
    round: int = 0
    agains: dict[str, int] = {}
    confirmed: list[ConfirmedEffect] = []
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
    reserved: dict[str, ReservedGuard] = {}
    """Live reservations by their path."""
    reservations: int = 0
    """Reservations ever made: a path is never used twice."""
    scopes: dict[str, Any] = {}
    """Values of `each` names by effect, where there are any: its undo reads them."""
    memo: dict[str, dict[str, tuple[Any, msgspec.Raw]]] = {}
    """What values look like when stored, from the last time. Not a part of the state: values are never changed
    in place, so the same object has the same form."""

    subjects: dict[str, tuple[dict[str, Any], str, str]] = {}
    """What approvals cover, their matrix and the subject that both give, by step, from the last time. Not a part of the
    state either."""

    def dump(self) -> bytes:
        """The stored form. Equal states that learnt the same in the same order give equal bytes."""
        steps, lists = self.steps, {}
        for key, st in self.steps.items():
            if st.items is not None:
                lists[key] = st.items
                steps = {**steps, key: msgspec.structs.replace(st, items=None)}
        plain: dict[str, Any] = {field: getattr(self, field) for field in _PLAIN}
        values: dict[str, Any] = {field: self._stored(field, getattr(self, field)) for field in _VALUES}
        received = [self._stored("received", {r["id"]: r})[r["id"]] for r in self.received]
        return _ENCODER.encode(
            _Stored(**plain, **values, steps=steps, received=received, lists=self._stored("lists", lists))
        )

    def _stored(self, field: str, values: dict[str, Any]) -> dict[str, msgspec.Raw]:
        if not values:
            return {}
        memo = self.memo.setdefault(field, {})
        stored = {}
        for key, value in values.items():
            known = memo.get(key)
            if known is None or known[0] is not value:
                known = memo[key] = (value, msgspec.Raw(wire.dumps(value)))
            stored[key] = known[1]
        return stored


_VALUES = ("names", "items", "inputs", "results", "scopes")
"""Fields that hold values of expressions by name."""


class _Stored(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The layout of `ctx`: a State whose values are in the stored form of core.wire."""

    frames: list[BlockFrame] = []
    steps: dict[str, StepState] = {}
    names: dict[str, msgspec.Raw] = {}
    items: dict[str, msgspec.Raw] = {}
    inputs: dict[str, msgspec.Raw] = {}
    results: dict[str, msgspec.Raw] = {}
    scopes: dict[str, msgspec.Raw] = {}
    received: list[msgspec.Raw] = []
    lists: dict[str, msgspec.Raw] = {}
    """`items` of steps, by step."""
    round: int = 0
    agains: dict[str, int] = {}
    confirmed: list[ConfirmedEffect] = []
    used: list[str] = []
    undo: UndoState | None = None
    started: bool = False
    starts_at: datetime | None = None
    refresh: str = ""
    reads: int = 0
    back: str = ""
    ending: str = ""
    stop_state: str = ""
    serials: list[str] = []
    reserved: dict[str, ReservedGuard] = {}
    reservations: int = 0


_PLAIN = tuple(
    field
    for field in _Stored.__struct_fields__
    if field not in _VALUES and field not in ("steps", "received", "lists")
)
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(_Stored)


def load(ctx: bytes) -> RunState:
    """The state that a Run's `ctx` holds; of a new Run, the empty one."""
    stored = _DECODER.decode(ctx)
    memo: dict[str, dict[str, tuple[Any, msgspec.Raw]]] = {}

    def values(field: str, raws: dict[str, msgspec.Raw]) -> dict[str, Any]:
        known = {key: (wire.loads(bytes(raw)), raw) for key, raw in raws.items()}
        if known:
            memo[field] = known
        return {key: value for key, (value, _) in known.items()}

    plain: dict[str, Any] = {field: getattr(stored, field) for field in _PLAIN}
    by_name: dict[str, Any] = {field: values(field, getattr(stored, field)) for field in _VALUES}
    state = RunState(
        **plain,
        **by_name,
        steps=stored.steps,
        received=[wire.loads(bytes(raw)) for raw in stored.received],
        memo=memo,
    )
    for key, items in values("lists", stored.lists).items():
        state.steps[key].items = items
    return state


def names_of(ctx: bytes, wanted: Collection[str]) -> dict[str, Any]:
    """Some of the names that a Run's `ctx` holds, read by themselves; those that are not there are left out."""
    stored = _NAMES.decode(ctx).names
    return {name: wire.loads(bytes(stored[name])) for name in wanted if name in stored}


class _Names(msgspec.Struct):
    names: dict[str, msgspec.Raw] = {}


_NAMES = msgspec.json.Decoder(_Names)
