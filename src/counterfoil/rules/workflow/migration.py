"""Migration of a Run to another Release: its position in that Release's workflow, or the reason why it stays.

Steps match by their id, by the former name in `moved`, or, without an id, by what they do and their order. A Run
moves only if nothing that it did is lost and no step of the other workflow is skipped: it is at the same step, all
steps before it are done, every confirmed call can still be undone, and its open votes and grants stay valid.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

import msgspec

from counterfoil.core.effect import IN_FLIGHT, Effect, EffectState
from counterfoil.core.run import Direction, Run
from counterfoil.model import Model
from counterfoil.model import definition as d
from counterfoil.model.blocks import blocks_of
from counterfoil.rules.workflow.state import BlockFrame, RunState, StepState, load


@dataclass(frozen=True, slots=True)
class Movable:
    """`ctx` is the Run's state in the other workflow; `paths` are the steps whose path differs there."""

    ctx: bytes
    paths: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class NotMovable:
    why: str
    person: bool = False
    """The Run waits for a person at a step that the other workflow does not have in this form."""
    vote: bool = False
    """The votes of an open approval would be lost."""


class _NotAligned(Exception):
    def __init__(self, why: str, person: bool = False, vote: bool = False) -> None:
        super().__init__(why)
        self.stays = NotMovable(why, person, vote)


# ------------------------------------------------------------------ alignment


@dataclass(slots=True)
class Alignment:
    """Steps and blocks of one workflow in another, by path and address."""

    paths: dict[str, str] = field(default_factory=dict)
    blocks: dict[str, str] = field(default_factory=dict)
    differs: dict[str, str] = field(default_factory=dict)
    """Steps that do something else in the other workflow, with the difference."""


def align(old: d.Definition, new: d.Definition, moved: Mapping[str, str]) -> Alignment:
    """Align two workflows. `moved` maps a former path (or id, at the root) to the present one."""
    alignment = Alignment()
    before, after = blocks_of(old), blocks_of(new)
    waiting = [("", ""), *_signals(old, new)]
    waiting += [(a, a) for a in before if a.startswith("failure/") and a.count("/") == 1 and a in after]
    while waiting:
        address, other = waiting.pop()
        alignment.blocks[address] = other
        for one, another in _pairs(before[address].steps, after[other].steps, moved):
            alignment.paths[one.path] = another.path
            what = _difference(one, another)
            if what:
                alignment.differs[one.path] = what
            waiting += _inner(one, another)
    return alignment


def _signals(old: d.Definition, new: d.Definition) -> Iterator[tuple[str, str]]:
    free = list(enumerate(new.signals))
    for n, signal in enumerate(old.signals):
        same = next((place for place in free if place[1].event == signal.event), None)
        if same is not None:
            free.remove(same)
            yield f"signal{n}", f"signal{same[0]}"


def _pairs(
    old: Sequence[d.Step], new: Sequence[d.Step], moved: Mapping[str, str]
) -> list[tuple[d.Step, d.Step]]:
    by_path = {step.path: step for step in new}
    by_id = {step.id: step for step in new if step.id is not None}
    pairs: list[tuple[d.Step, d.Step]] = []
    for step in old:
        named = by_path.get(moved[step.path]) if step.path in moved else by_id.get(step.id or "")
        if named is not None and (step.path in moved or step.id is not None):
            pairs.append((step, named))
    old_left = [step for step in old if step.path not in {one.path for one, _ in pairs}]
    new_left = [step for step in new if step.path not in {another.path for _, another in pairs}]
    marks = [_mark(step) for step in old_left], [_mark(step) for step in new_left]
    for block in SequenceMatcher(None, *marks, autojunk=False).get_matching_blocks():
        for n in range(block.size):
            one, another = old_left[block.a + n], new_left[block.b + n]
            if one.id is None or another.id is None:
                pairs.append((one, another))
    return pairs


def _mark(step: d.Step) -> tuple[object, ...]:
    """Return what identifies a step without an id."""
    match step:
        case d.Call():
            return "call", step.operation
        case d.Approve():
            return "approve", step.policy
        case d.Check():
            share = step.reserve and (step.reserve.limit, step.reserve.amount.text, step.reserve.at_most.text)
            return "check", step.check.text, None if step.once is None else step.once.text, share
        case d.Wait():
            return "wait", step.event, step.foils
        case d.Choose():
            return "choose", tuple(when.text for when, _ in step.branches)
        case d.Each():
            return "each", step.name
        case d.Emit():
            return "emit", step.type


def _difference(one: d.Step, another: d.Step) -> str:
    """Return what another step does differently; empty if nothing."""
    if type(one) is not type(another):
        return f"is a {type(another).__name__.lower()} now"
    match one, another:
        case d.Call(), d.Call() if one.operation != another.operation:
            return f"calls {another.operation} instead of {one.operation}"
        case d.Approve(), d.Approve() if one.policy != another.policy:
            return f"asks for approval by {another.policy} instead of {one.policy}"
        case d.Approve(), d.Approve() if _approved(one) != _approved(another):
            return "asks for approval of something else"
        case d.Check(), d.Check() if _mark(one) != _mark(another):
            return "checks something else"
        case d.Wait(), d.Wait() if _mark(one) != _mark(another):
            return "waits for something else"
        case d.Each(), d.Each() if one.name != another.name:
            return f"goes through {another.name} instead of {one.name}"
        case d.Emit(), d.Emit() if one.type != another.type:
            return f"emits {another.type} instead of {one.type}"
    return ""


def _approved(step: d.Approve) -> tuple[object, ...]:
    """Return what persons approve at a step: the formulas of the covered values, the amount and its limit."""
    amount = None if step.amount is None else step.amount.text
    return frozenset(covered.text for covered in step.covers), amount, step.reserve


def _inner(one: d.Step, another: d.Step) -> Iterator[tuple[str, str]]:
    """Yield the addresses of the blocks inside of two matching steps."""
    if isinstance(one, d.Choose) and isinstance(another, d.Choose):
        places = {when.text: n for n, (when, _) in reversed(list(enumerate(another.branches)))}
        for n, (when, _) in enumerate(one.branches):
            if when.text in places:
                yield f"{one.path}/then{n}", f"{another.path}/then{places[when.text]}"
        if one.otherwise is not None and another.otherwise is not None:
            yield f"{one.path}/otherwise", f"{another.path}/otherwise"
    if isinstance(one, d.Each) and isinstance(another, d.Each):
        yield f"{one.path}/do", f"{another.path}/do"
    for outcome, reaction in one.outcomes.items():
        if isinstance(reaction, d.Block) and isinstance(another.outcomes.get(outcome), d.Block):
            yield f"{one.path}/{outcome}", f"{another.path}/{outcome}"


# ------------------------------------------------------------------ moving


def move(old: Model, new: Model, run: Run, effects: Sequence[Effect] | None = None) -> Movable | NotMovable:
    """Move a Run from the Release `old` to `new`. Without `effects`, calls in flight are judged by its state alone.

    Raises Misconfigured if a model has findings that forbid running it.
    """
    if run.workflow not in new.workflows:
        return NotMovable(f"the workflow {run.workflow} no longer exists")
    try:
        return _Move(old, new, run, effects).result()
    except _NotAligned as no:
        return no.stays


def open_vote(old: Model, new: Model, run: Run) -> str:
    """Return why an open approval of a Run keeps it where it is though its workflow is the same; empty if none does."""
    before, after = old.workflow(run.workflow), new.workflow(run.workflow)
    if {n: p.digest for n, p in before.approvals.items()} == {
        n: p.digest for n, p in after.approvals.items()
    }:
        return ""
    result = move(old, new, run)
    return result.why if isinstance(result, NotMovable) and result.vote else ""


class _Move:
    def __init__(self, old: Model, new: Model, run: Run, effects: Sequence[Effect] | None) -> None:
        self.kinds = old.workflows[run.workflow], new.workflows[run.workflow]
        before, after = old.workflow(run.workflow), new.workflow(run.workflow)
        self.run, self.effects = run, effects
        self.state: RunState = load(run.ctx)
        self.aligned = align(before, after, self.kinds[1].moved)
        self.before, self.after = blocks_of(before), blocks_of(after)
        self.policies = before.approvals, after.approvals

    def result(self) -> Movable:
        self._check_nothing_in_flight()
        if self.state.started:
            self._check_course()
            frames = [self._frame(frame, at) for at, frame in enumerate(self.state.frames)]
            self._check_done()
            self._check_names()
            self._check_votes()
            self._map(frames)
        renamed = sorted((a, b) for a, b in self.aligned.paths.items() if a != b)
        return Movable(self.state.dump(), tuple(renamed))

    # -------------------------------------------------------------- checks

    def _check_nothing_in_flight(self) -> None:
        s = self.state
        if self.run.direction is Direction.UNDO or s.undo is not None:
            raise _NotAligned("it is being undone")
        if s.ending or s.back:
            raise _NotAligned("it is about to end or to start a new round")
        if self.effects is None:
            calls = [st for st in s.steps.values() if st.effect]
            moving = any(st.phase in ("planned", "waiting") or st.outcome == "unknown" for st in calls)
        else:
            moving = any(e.state in IN_FLIGHT or e.state is EffectState.PLANNED for e in self.effects)
        if moving:
            raise _NotAligned("one of its calls is in flight")

    def _check_course(self) -> None:
        old, new = self.kinds
        if (old.serial and old.serial.key) != (new.serial and new.serial.key):
            raise _NotAligned("its serial key differs in the new Release")
        if (old.facts, old.let) != (new.facts, new.let):
            if self.state.confirmed:
                raise _NotAligned("it has acted on facts that the workflow now reads differently")
            self._check_covered_names({*old.facts, *old.let, *new.facts, *new.let})
            self.state.refresh = "all"
            self.state.reads += 1

    def _approvals(self) -> Iterator[tuple[d.Approve, StepState]]:
        """Yield the steps whose approval is open or granted."""
        steps = {step.path: step for block in self.before.values() for step in block.steps}
        for key, st in self.state.steps.items():
            step = steps.get(_base(key))
            is_valid = st.phase == "waiting" or st.outcome == "granted"
            if isinstance(step, d.Approve) and st.approval is not None and is_valid:
                yield step, st

    def _check_covered_names(self, names: Collection[str]) -> None:
        """Check that no approval covers facts that are read again: another value would make it stale."""
        for step, _ in self._approvals():
            roots = {path.partition(".")[0] for covered in step.covers for path in covered.paths}
            if roots & set(names):
                raise _NotAligned(
                    f"the approval `{step.path}` covers facts that would be read again: decide it first"
                )

    def _check_votes(self) -> None:
        """Check that the matrix under which an open approval was requested is the same: it is part of the subject."""
        for step, st in self._approvals():
            before, after = (policies.get(step.policy) for policies in self.policies)
            if (
                st.phase == "waiting"
                and before is not None
                and after is not None
                and before.digest != after.digest
            ):
                raise _NotAligned(
                    f"the approval `{step.path}` is open, and the matrix {step.policy} differs: decide it first",
                    vote=True,
                )

    def _frame(self, frame: BlockFrame, at: int) -> BlockFrame:
        """Return the same position in the other workflow."""
        address = self.aligned.blocks.get(frame.block)
        if address is None:
            raise _NotAligned(f"it is inside `{frame.block}`, which no longer exists")
        steps, others = self.before[frame.block].steps, self.after[address].steps
        places = {step.path: n for n, step in enumerate(others)}
        passed = steps[: frame.index]
        if frame.index < len(steps):
            index = self._standing(steps[frame.index], places, innermost=at == len(self.state.frames) - 1)
        else:
            present = [self.aligned.paths[s.path] for s in passed if s.path in self.aligned.paths]
            index = 1 + max((places[path] for path in present), default=-1)
        self._check_passed(passed, others, index, places)
        return msgspec.structs.replace(frame, block=address, index=index, step=self._key(frame.step))

    def _standing(self, step: d.Step, places: Mapping[str, int], innermost: bool) -> int:
        own = [st for key, st in self.state.steps.items() if _base(key) == step.path]
        states = [st for st in own if st.phase != "done"]
        parked = any(st.phase in ("parked", "reacting") for st in states)
        path = self.aligned.paths.get(step.path)
        if path is None or path not in places:
            raise _NotAligned(f"it is at `{step.path}`, which no longer exists", parked)
        differs = self.aligned.differs.get(step.path)
        has_begun = any(st.phase != "new" or st.gen > 0 or st.effect is not None for st in states)
        if differs and (not innermost or has_begun):
            raise _NotAligned(f"it is at `{step.path}`, which {differs}", parked)
        return places[path]

    def _check_passed(
        self, passed: Sequence[d.Step], others: Sequence[d.Step], index: int, places: Mapping[str, int]
    ) -> None:
        """Check that all steps before the position are done, and none after it."""
        done = {self.aligned.paths[step.path]: step for step in passed if step.path in self.aligned.paths}
        for step in others[:index]:
            if step.path not in done:
                raise _NotAligned(f"it would skip `{step.path}`")
        for path, step in done.items():
            if places.get(path, index) >= index:
                raise _NotAligned(f"it has passed `{step.path}`, which now comes later")
            if step.path in self.aligned.differs:
                raise _NotAligned(f"it has passed `{step.path}`, which {self.aligned.differs[step.path]}")
            self._check_inside(step, path)

    def _check_inside(self, step: d.Step, path: str) -> None:
        """Check that nothing was added inside of a choice or list that the Run has passed."""
        if not isinstance(step, d.Choose | d.Each):
            return
        images = set(self.aligned.paths.values())
        for address, block in self.after.items():
            own = address.startswith(f"{path}/then") or address in (f"{path}/otherwise", f"{path}/do")
            for inner in block.steps if own else ():
                if inner.path not in images:
                    raise _NotAligned(f"it has passed `{step.path}`, in which `{inner.path}` is new")

    def _check_done(self) -> None:
        """Check that the other workflow can undo the Run's calls, and that none of its steps would count as done."""
        there = {step.path for block in self.after.values() for step in block.steps}
        for confirmed in self.state.confirmed:
            path = _base(confirmed.path)
            if path not in self.aligned.paths:
                raise _NotAligned(f"it has done `{path}`, which no longer exists: it could not be undone")
            if path in self.aligned.differs:
                raise _NotAligned(f"it has done `{path}`, which {self.aligned.differs[path]}")
        used = {_base(key) for key, st in self.state.steps.items() if st.effect is not None or st.gen}
        used |= {_base(effect.path) for effect in self.effects or () if effect.undoes is None}
        for path in used & there:
            if self.aligned.paths.get(path) != path:
                raise _NotAligned(f"it has made a call as `{path}`, which is another step now")

    def _check_names(self) -> None:
        """Check that no state key names a renamed step in its brackets: those are not rewritten."""
        for path in (a for a, b in self.aligned.paths.items() if a != b):
            for key in self.state.steps:
                if path in key.partition("[")[2]:
                    raise _NotAligned(f"it is in a reaction to `{path}`, which has another name now")

    # -------------------------------------------------------------- the state in the other workflow

    def _key(self, key: str) -> str:
        """Return a state key in the other workflow: the new path, with its round and item."""
        base = _base(key)
        return self._path(base) + key[len(base) :]

    def _path(self, path: str) -> str:
        return self.aligned.paths.get(path) or self.aligned.blocks.get(path) or path

    def _map(self, frames: list[BlockFrame]) -> None:
        s = self.state
        self._bind_names()
        s.frames = frames
        for step, st in self._approvals():
            if self._path(step.path) != step.path:
                st.target = st.target or step.path  # the subject that persons decide on does not change
        s.steps = {self._key(key): st for key, st in s.steps.items()}
        for st in s.steps.values():
            st.back = self._path(st.back) if st.back else ""
        for confirmed in s.confirmed:
            confirmed.key, confirmed.path = self._key(confirmed.key), self._key(confirmed.path)
        for reserved in s.reserved.values():
            reserved.step = self._key(reserved.step)
        s.used = [f"{event}|{self._key(who)}" for event, _, who in (mark.partition("|") for mark in s.used)]
        s.agains = {self._again(key): count for key, count in s.agains.items()}

    def _again(self, counted: str) -> str:
        address, _, target = counted.partition(">")
        parent, _, role = address.rpartition("/")
        moved = self.aligned.blocks.get(address) or (f"{self._path(parent)}/{role}" if parent else address)
        return f"{moved}>{self._path(target)}"

    def _bind_names(self) -> None:
        """Bind the results of steps whose id differs in the other workflow, or exists only there."""
        others = {step.path: step for block in self.after.values() for step in block.steps}
        results: dict[str, object] = {}
        for block in self.before.values():
            for step in block.steps:
                other = others.get(self.aligned.paths.get(step.path, ""))
                if other is None or other.id is None or other.id == step.id or not isinstance(step, d.Call):
                    continue
                if step.id is not None and step.id in self.state.names:
                    results[other.id] = self.state.names.pop(step.id)
                for key, st in self.state.steps.items():
                    if step.id is None and _base(key) == step.path and st.effect in self.state.results:
                        results[other.id] = self.state.results[st.effect]
        self.state.names.update(results)


def _base(key: str) -> str:
    """Return the path of a step from a state key or an effect path."""
    return key.partition("[")[0].partition("~")[0]
