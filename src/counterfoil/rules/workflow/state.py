"""State of a Run between turns: its position, the values it has read, and what it waits for.

With the pinned definition it is all that a turn needs besides new stimuli. It is small, and stored in the internal
encoding. Values are those of expressions.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from operator import attrgetter
from typing import Any, TypeAlias

import msgspec

from counterfoil.core import wire

Memo: TypeAlias = dict[str, dict[str, tuple[Any, msgspec.Raw]]]
"""Values with their stored forms, by field and name."""


class BlockFrame(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A position in one block of steps. `main, branch, outcome, item, signal` say how it was entered."""

    block: str
    """Address of the block: "" is the workflow's steps; else `<step path>/<role>`."""
    kind: str
    index: int = 0
    step: str = ""
    """Key of the step that entered it."""
    tag: str = ""
    """Distinguishes executions of the same block: a signal's event, the n-th time of an outcome."""


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
    """Digest of the effect's canonical input, or of the emitted event."""
    outcome: str = ""
    detail: str = ""
    approval: str | None = None
    subject: str = ""
    target: str = ""
    """Path that the subject names, if the step has another path since the Run was moved to another Release."""
    case: str | None = None
    cases: int = 0
    topic: str = ""
    queue_until: datetime | None = None
    """End of the queue time for one obstacle; retries do not move it."""
    then: str = ""
    """The verb that follows when queueing ends."""
    reactions: int = 0
    """Number of reaction blocks that were executed."""
    asked: int = 0
    """Number of approvals that it requested."""
    back: str = ""
    """Step from which a retry starts, if its approval is no longer valid."""
    items: list[Any] | None = None
    item_keys: list[str] | None = None
    position: int = 0
    retry_after: int | None = None
    """Milliseconds to wait, as requested by the other system."""


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
    """Path of the reserving step."""
    item: str
    after: int
    """Number of effects that were confirmed before it."""


class RunState(msgspec.Struct, kw_only=True):
    frames: list[BlockFrame] = []
    names: dict[str, Any] = {}
    """event, facts, lets, step results by id."""
    steps: dict[str, StepState] = {}
    items: dict[str, Any] = {}
    """Values of the current `each` names."""
    round: int = 0
    agains: dict[str, int] = {}
    confirmed: list[ConfirmedEffect] = []
    inputs: dict[str, Any] = {}
    """Canonical input by effect id, for undo."""
    results: dict[str, Any] = {}
    """Canonical result by effect id."""
    received: list[dict[str, Any]] = []
    """Events that no step has used yet: id, type, data, at."""
    used: list[str] = []
    """`<event id>|<wait or signal that used it>`."""
    undo: UndoState | None = None
    started: bool = False
    starts_at: datetime | None = None
    """Start date of a Run that begins by date, as its object last had it."""
    refresh: str = ""
    """Facts to read again before the next step: `all`, or `recheck` for those with `recheck`."""
    reads: int = 0
    """Number of times that facts were read from other systems again."""
    back: str = ""
    """Target of `again`, once no call is in flight."""
    ending: str = ""
    """Status in which the Run ends, once no call is in flight."""
    stop_state: str = ""
    """Business state in which it ends."""
    serials: list[str] = []
    reserved: dict[str, ReservedGuard] = {}
    """Active reservations by their path."""
    reservations: int = 0
    """Number of reservations so far: a path is never used twice."""
    scopes: dict[str, Any] = {}
    """Values of `each` names by effect, for its undo."""
    memo: Memo = {}
    """Cache of stored forms, not part of the state. Values are never changed in place: same object, same form."""

    subjects: dict[str, tuple[dict[str, Any], str, str]] = {}
    """Cache of approval subjects by step, not part of the state: covered values, digest of the matrix, subject."""

    def dump(self) -> bytes:
        """Encode the state. Equal states that were built in the same order give equal bytes."""
        steps, lists = self.steps, {}
        for key, st in self.steps.items():
            if st.items is not None:
                lists[key] = st.items
                steps = {**steps, key: msgspec.structs.replace(st, items=None)}
        fields: dict[str, Any] = dict(zip(_PLAIN, _plain_fields(self), strict=True))
        fields |= {field: self._stored(field, getattr(self, field)) for field in _VALUES}
        fields["received"] = [self._stored("received", {r["id"]: r})[r["id"]] for r in self.received]
        return _ENCODER.encode(_Stored(**fields, steps=steps, lists=self._stored("lists", lists)))

    def _stored(self, field: str, values: dict[str, Any]) -> dict[str, msgspec.Raw]:
        if not values:
            return {}
        memo = self.memo.setdefault(field, {})
        stored = {}
        for key, value in values.items():
            cached = memo.get(key)
            if cached is None or cached[0] is not value:
                cached = memo[key] = (value, msgspec.Raw(wire.dumps(value)))
            stored[key] = cached[1]
        return stored


_VALUES = ("names", "items", "inputs", "results", "scopes")
"""Fields that hold values of expressions by name."""


class _Stored(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Layout of `ctx`: a RunState whose values are in the stored form of core.wire."""

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


_ENCODED = {*_VALUES, "steps", "received", "lists"}
_PLAIN = tuple(field for field in _Stored.__struct_fields__ if field not in _ENCODED)
_plain_fields = attrgetter(*_PLAIN)
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(_Stored)


_NO_VALUES: Memo = {}


def load(ctx: bytes, former: Memo = _NO_VALUES) -> RunState:
    """Decode a Run's `ctx`. That of a new Run gives the empty state.

    `former` is the cache of another state of the Run: its values are used again where their forms are the same.
    """
    if ctx == b"{}":
        return RunState()
    stored = _DECODER.decode(ctx)
    memo: Memo = {}

    def values(field: str, raws: dict[str, msgspec.Raw]) -> dict[str, Any]:
        if not raws:
            return {}
        cached = former.get(field, {})
        memo[field] = decoded = {key: _value(raw, cached.get(key)) for key, raw in raws.items()}
        return {key: value for key, (value, _) in decoded.items()}

    fields: dict[str, Any] = dict(zip(_PLAIN, _plain_fields(stored), strict=True))
    fields |= {field: values(field, getattr(stored, field)) for field in _VALUES}
    received = [wire.loads(bytes(raw)) for raw in stored.received]
    state = RunState(**fields, steps=stored.steps, received=received, memo=memo)
    for key, items in values("lists", stored.lists).items():
        state.steps[key].items = items
    return state


def _value(raw: msgspec.Raw, former: tuple[Any, msgspec.Raw] | None) -> tuple[Any, msgspec.Raw]:
    """Return a value with its stored form: the former one, if its form is the same."""
    form = bytes(raw)
    return former if former is not None and bytes(former[1]) == form else (wire.loads(form), raw)


def names_of(ctx: bytes, names: Collection[str]) -> dict[str, Any]:
    """Decode only some names of a Run's `ctx`. Missing names are left out."""
    stored = _NAMES.decode(ctx).names
    return {name: wire.loads(bytes(stored[name])) for name in names if name in stored}


class _Names(msgspec.Struct):
    names: dict[str, msgspec.Raw] = {}


_NAMES = msgspec.json.Decoder(_Names)
