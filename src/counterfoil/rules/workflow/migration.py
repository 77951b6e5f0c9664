"""moving: where a Run of one Release stands in the workflow of another, or why it stays where it is.

Steps are the same by their id, by the name that `moved` says they had, or, without an id, by what they do and their
order. A Run is moved only where nothing that it did is lost and nothing that the other workflow asks is passed by: it
stands at the same step, all before it was done, and every call that it made can still be taken back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

import msgspec

from counterfoil.core.effect import IN_FLIGHT, Effect, EffectState
from counterfoil.core.run import Direction, Run
from counterfoil.model import Model
from counterfoil.model.definition import (
    Approve,
    Block,
    Call,
    Check,
    Choose,
    Definition,
    Each,
    Emit,
    Step,
    Wait,
)
from counterfoil.rules.workflow.context import blocks_of
from counterfoil.rules.workflow.state import BlockFrame, RunState, StepState, load


@dataclass(frozen=True, slots=True)
class Movable:
    """`ctx` is the Run's state in the other workflow; `paths` are the steps that have another path there."""

    ctx: bytes
    paths: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class NotMovable:
    why: str
    person: bool = False
    """It waits for a person already, at a step that the other workflow does not have so."""


class _NotAligned(Exception):
    def __init__(self, why: str, person: bool = False) -> None:
        super().__init__(why)
        self.stays = NotMovable(why, person)


# ------------------------------------------------------------------ which step is which


@dataclass(slots=True)
class Alignment:
    """Steps and blocks of one workflow in another, by path and address."""

    paths: dict[str, str] = field(default_factory=dict)
    blocks: dict[str, str] = field(default_factory=dict)
    differs: dict[str, str] = field(default_factory=dict)
    """Steps that are there and do something else: what."""


def align(old: Definition, new: Definition, moved: Mapping[str, str]) -> Alignment:
    """`moved`: former path (or id, at the root) to the present one."""
    found = Alignment()
    before, after = blocks_of(old), blocks_of(new)
    waiting = [("", ""), *_signals(old, new)]
    waiting += [(a, a) for a in before if a.startswith("failure/") and a.count("/") == 1 and a in after]
    while waiting:
        address, other = waiting.pop()
        found.blocks[address] = other
        for one, another in _pairs(before[address].steps, after[other].steps, moved):
            found.paths[one.path] = another.path
            what = _difference(one, another)
            if what:
                found.differs[one.path] = what
            waiting += _inner(one, another)
    return found


def _signals(old: Definition, new: Definition) -> Iterator[tuple[str, str]]:
    free = list(enumerate(new.signals))
    for n, signal in enumerate(old.signals):
        same = next((place for place in free if place[1].event == signal.event), None)
        if same is not None:
            free.remove(same)
            yield f"signal{n}", f"signal{same[0]}"


def _pairs(old: Sequence[Step], new: Sequence[Step], moved: Mapping[str, str]) -> list[tuple[Step, Step]]:
    by_path = {step.path: step for step in new}
    by_id = {step.id: step for step in new if step.id is not None}
    found: list[tuple[Step, Step]] = []
    for step in old:
        named = by_path.get(moved[step.path]) if step.path in moved else by_id.get(step.id or "")
        if named is not None and (step.path in moved or step.id is not None):
            found.append((step, named))
    old_left = [step for step in old if step.path not in {one.path for one, _ in found}]
    new_left = [step for step in new if step.path not in {another.path for _, another in found}]
    matcher = SequenceMatcher(
        None, [_mark(s) for s in old_left], [_mark(s) for s in new_left], autojunk=False
    )
    for block in matcher.get_matching_blocks():
        for n in range(block.size):
            one, another = old_left[block.a + n], new_left[block.b + n]
            if one.id is None or another.id is None:
                found.append((one, another))
    return found


def _mark(step: Step) -> tuple[object, ...]:
    """What a step does, as far as that makes it the same step."""
    match step:
        case Call():
            return "call", step.operation
        case Approve():
            return "approve", step.policy
        case Check():
            return "check", step.check.text, None if step.once is None else step.once.text
        case Wait():
            return "wait", step.event, step.foils
        case Choose():
            return "choose", tuple(when.text for when, _ in step.branches)
        case Each():
            return "each", step.name
        case Emit():
            return "emit", step.type


def _difference(one: Step, another: Step) -> str:
    """What another step does instead; empty when it does the same."""
    if type(one) is not type(another):
        return f"is a {type(another).__name__.lower()} now"
    match one, another:
        case Call(), Call() if one.operation != another.operation:
            return f"calls {another.operation} instead of {one.operation}"
        case Approve(), Approve() if one.policy != another.policy:
            return f"asks by {another.policy} instead of {one.policy}"
        case Check(), Check() if _mark(one) != _mark(another):
            return "checks something else"
        case Wait(), Wait() if _mark(one) != _mark(another):
            return "waits for something else"
        case Each(), Each() if one.name != another.name:
            return f"goes through {another.name} instead of {one.name}"
        case Emit(), Emit() if one.type != another.type:
            return f"emits {another.type} instead of {one.type}"
    return ""


def _inner(one: Step, another: Step) -> Iterator[tuple[str, str]]:
    """Addresses of the blocks inside of two steps that are the same."""
    if isinstance(one, Choose) and isinstance(another, Choose):
        places = {when.text: n for n, (when, _) in reversed(list(enumerate(another.branches)))}
        for n, (when, _) in enumerate(one.branches):
            if when.text in places:
                yield f"{one.path}/then{n}", f"{another.path}/then{places[when.text]}"
        if one.otherwise is not None and another.otherwise is not None:
            yield f"{one.path}/otherwise", f"{another.path}/otherwise"
    if isinstance(one, Each) and isinstance(another, Each):
        yield f"{one.path}/do", f"{another.path}/do"
    for outcome, reaction in one.outcomes.items():
        if isinstance(reaction, Block) and isinstance(another.outcomes.get(outcome), Block):
            yield f"{one.path}/{outcome}", f"{another.path}/{outcome}"


# ------------------------------------------------------------------ moving


def move(old: Model, new: Model, run: Run, effects: Sequence[Effect] | None = None) -> Movable | NotMovable:
    """A Run pinned to `old` as one of `new`. Without `effects` what is under way is told from its state alone.

    Raises Misconfigured where a model has findings that forbid running it.
    """
    if run.workflow not in new.workflows:
        return NotMovable(f"there is no workflow {run.workflow} any more")
    try:
        return _Move(old, new, run, effects).result()
    except _NotAligned as no:
        return no.stays


class _Move:
    def __init__(self, old: Model, new: Model, run: Run, effects: Sequence[Effect] | None) -> None:
        self.kinds = old.workflows[run.workflow], new.workflows[run.workflow]
        self.old, self.new = old.workflow(run.workflow), new.workflow(run.workflow)
        self.run = run
        self.effects = effects
        self.state: RunState = load(run.ctx)
        self.aligned = align(self.old, self.new, self.kinds[1].moved)
        self.before, self.after = blocks_of(self.old), blocks_of(self.new)

    def result(self) -> Movable:
        self._check_nothing_under_way()
        if self.state.started:
            self._check_course()
            frames = [self._frame(frame, at) for at, frame in enumerate(self.state.frames)]
            self._check_done()
            self._check_names()
            self._map(frames)
        renamed = sorted((a, b) for a, b in self.aligned.paths.items() if a != b)
        return Movable(self.state.dump(), tuple(renamed))

    # -------------------------------------------------------------- what forbids it

    def _check_nothing_under_way(self) -> None:
        s = self.state
        if self.run.direction is Direction.UNDO or s.undo is not None:
            raise _NotAligned("it takes back what it did")
        if s.ending or s.back:
            raise _NotAligned("it is about to end or to begin a new round")
        if self.effects is None:
            moving = any(
                st.effect and (st.phase in ("planned", "waiting") or st.outcome == "unknown")
                for st in s.steps.values()
            )
        else:
            moving = any(e.state in IN_FLIGHT or e.state is EffectState.PLANNED for e in self.effects)
        if moving:
            raise _NotAligned("a call of it is under way")

    def _check_course(self) -> None:
        old, new = self.kinds
        if (old.serial and old.serial.key) != (new.serial and new.serial.key):
            raise _NotAligned("other Runs wait for it by another serial key")
        if (old.facts, old.let) != (new.facts, new.let):
            if self.state.confirmed:
                raise _NotAligned("it has acted on its facts, and the workflow reads others now")
            self.state.refresh = "all"
            self.state.reads += 1

    def _frame(self, frame: BlockFrame, at: int) -> BlockFrame:
        """The same place in the other workflow."""
        address = self.aligned.blocks.get(frame.block)
        if address is None:
            raise _NotAligned(f"it stands inside `{frame.block}`, which is not there any more")
        steps, others = self.before[frame.block].steps, self.after[address].steps
        places = {step.path: n for n, step in enumerate(others)}
        passed = steps[: frame.index]
        if frame.index < len(steps):
            index = self._standing(steps[frame.index], places, innermost=at == len(self.state.frames) - 1)
        else:
            index = 1 + max(
                (places[self.aligned.paths[s.path]] for s in passed if self._there(s)), default=-1
            )
        self._check_passed(passed, others, index, places)
        return msgspec.structs.replace(frame, block=address, index=index, step=self._key(frame.step))

    def _there(self, step: Step) -> bool:
        return step.path in self.aligned.paths

    def _standing(self, step: Step, places: Mapping[str, int], innermost: bool) -> int:
        states = [
            st for key, st in self.state.steps.items() if _base(key) == step.path and st.phase != "done"
        ]
        parked = any(st.phase in ("parked", "reacting") for st in states)
        path = self.aligned.paths.get(step.path)
        if path is None or path not in places:
            raise _NotAligned(f"it stands at `{step.path}`, which is not there any more", parked)
        differs = self.aligned.differs.get(step.path)
        if differs and (not innermost or any(_begun(st) for st in states)):
            raise _NotAligned(f"it stands at `{step.path}`, which {differs}", parked)
        return places[path]

    def _check_passed(
        self, passed: Sequence[Step], others: Sequence[Step], index: int, places: Mapping[str, int]
    ) -> None:
        """All that stands before its place was done, and nothing that was done stands behind it."""
        done = {self.aligned.paths[step.path]: step for step in passed if self._there(step)}
        for step in others[:index]:
            if step.path not in done:
                raise _NotAligned(f"it would pass by `{step.path}`, which it never did")
        for path, step in done.items():
            if places.get(path, index) >= index:
                raise _NotAligned(f"it has passed `{step.path}`, which comes later now")
            if step.path in self.aligned.differs:
                raise _NotAligned(f"it has passed `{step.path}`, which {self.aligned.differs[step.path]}")
            self._check_inside(step, path)

    def _check_inside(self, step: Step, path: str) -> None:
        """Nothing was added inside of a choice or list that it has passed."""
        if not isinstance(step, Choose | Each):
            return
        images = set(self.aligned.paths.values())
        for address, block in self.after.items():
            own = address.startswith(f"{path}/then") or address in (f"{path}/otherwise", f"{path}/do")
            for inner in block.steps if own else ():
                if inner.path not in images:
                    raise _NotAligned(f"it has passed `{step.path}`, in which `{inner.path}` is new")

    def _check_done(self) -> None:
        """What it did can be taken back by the other workflow, and no step there would be taken for done."""
        there = {step.path for block in self.after.values() for step in block.steps}
        for confirmed in self.state.confirmed:
            path = _base(confirmed.path)
            if path not in self.aligned.paths:
                raise _NotAligned(
                    f"it has done `{path}`, which is not there any more: nothing would take it back"
                )
            if path in self.aligned.differs:
                raise _NotAligned(f"it has done `{path}`, which {self.aligned.differs[path]}")
        used = {_base(key) for key, st in self.state.steps.items() if st.effect is not None or st.gen}
        used |= {_base(effect.path) for effect in self.effects or () if effect.undoes is None}
        for path in used:
            if self.aligned.paths.get(path) != path and path in there:
                raise _NotAligned(f"it has called as `{path}`, which is another step now")

    def _check_names(self) -> None:
        """Names of steps inside of the names of items stay what they are."""
        renamed = {a for a, b in self.aligned.paths.items() if a != b}
        for key in self.state.steps:
            inside = key.partition("[")[2]
            for path in renamed:
                if path in inside:
                    raise _NotAligned(f"it stands in a reaction to `{path}`, which has another name now")

    # -------------------------------------------------------------- the state as it is there

    def _key(self, key: str) -> str:
        """The key of a step's state: its path, then round and item as they are."""
        base = _base(key)
        return self._path(base) + key[len(base) :]

    def _path(self, path: str) -> str:
        return self.aligned.paths.get(path) or self.aligned.blocks.get(path) or path

    def _map(self, frames: list[BlockFrame]) -> None:
        s = self.state
        self._bind_names()
        s.frames = frames
        s.steps = {self._key(key): self._step(st) for key, st in s.steps.items()}
        for confirmed in s.confirmed:
            confirmed.key, confirmed.path = self._key(confirmed.key), self._key(confirmed.path)
        for reserved in s.reserved.values():
            reserved.step = self._key(reserved.step)
        s.used = [f"{event}|{self._key(who)}" for event, _, who in (mark.partition("|") for mark in s.used)]
        s.agains = {self._again(key): count for key, count in s.agains.items()}

    def _step(self, st: StepState) -> StepState:
        return msgspec.structs.replace(st, back=self._path(st.back)) if st.back else st

    def _again(self, counted: str) -> str:
        address, _, target = counted.partition(">")
        parent, _, role = address.rpartition("/")
        moved = self.aligned.blocks.get(address) or (f"{self._path(parent)}/{role}" if parent else address)
        return f"{moved}>{self._path(target)}"

    def _bind_names(self) -> None:
        """Results of steps whose id is another there, or that have one only there."""
        others = {step.path: step for block in self.after.values() for step in block.steps}
        results: dict[str, object] = {}
        for block in self.before.values():
            for step in block.steps:
                other = others.get(self.aligned.paths.get(step.path, ""))
                if other is None or other.id is None or other.id == step.id or not isinstance(step, Call):
                    continue
                if step.id is not None and step.id in self.state.names:
                    results[other.id] = self.state.names.pop(step.id)
                for key, st in self.state.steps.items():
                    if step.id is None and _base(key) == step.path and st.effect in self.state.results:
                        results[other.id] = self.state.results[st.effect]
        self.state.names.update(results)


def _begun(st: StepState) -> bool:
    return st.phase != "new" or st.gen > 0 or st.effect is not None


def _base(key: str) -> str:
    """The path of a step in the key of its state, or in the path of its effect."""
    return key.partition("[")[0].partition("~")[0]
