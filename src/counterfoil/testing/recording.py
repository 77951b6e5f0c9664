"""A test from what happened to one Run: what was known, the facts and decisions in order, and what came of them.

Facts are recorded in canonical form, because every field of it is declared: what is marked `pii` and the names of persons
are replaced, each everywhere by the same word. A vendor's own delivery may hold personal data that no mapping reads.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from counterfoil.core import wire
from counterfoil.core.canonical import CanonicalEvent, Head
from counterfoil.core.effect import Effect, EffectState
from counterfoil.core.errors import Misconfigured
from counterfoil.core.run import Run
from counterfoil.model import Model
from counterfoil.store.dump import Dump
from counterfoil.testing.default_answers import answer_for
from counterfoil.testing.personal_data import (
    Replacement,
    is_number,
    personal_values,
    stand_in,
    without_personal_numbers,
)
from counterfoil.testing.records import readable

_CALLED = ".called"
_MIN_PAUSE = timedelta(seconds=2)
_NAME_CHARACTERS = 8
"""Characters of the Run's id in the name of the test."""


class _TimedStep(NamedTuple):
    at: datetime
    order: int
    step: dict[str, Any]


def recorded_test(model: Model, dump: Dump, name: str) -> dict[str, Any]:
    """Return a document of kind test for the Run with this id or business key. Raises Misconfigured without one."""
    runs = [run for run in dump.runs if name in (run.id, run.bkey)]
    if len(runs) != 1:
        what = (
            "no Run"
            if not runs
            else f"{len(runs)} Runs; name one by its id: " + ", ".join(r.id for r in runs)
        )
        raise Misconfigured(f"The store has {what} {name}".rstrip() + ".")
    return _Recording(model, dump, runs[0]).document()


class _Recording:
    """One Run and the rows about it."""

    def __init__(self, model: Model, dump: Dump, run: Run) -> None:
        self._model, self._dump, self._run = model, dump, run
        refs = {item.ref for item in dump.inbox if item.run == run.id and item.kind in ("start", "event")}
        for match in dump.matches:
            if any(f.run == run.id or f.cause in refs for f in match.foils):
                refs |= {o.event for o in match.observations}
        self._events = self._in_order(refs)
        # What changed, while the Run lived, about an object that its facts name: it may have read that.
        named = {name for event in self._events for name in _names(model, event.data)}
        refs |= {
            h.event
            for h in dump.history
            if (h.object, h.key) in named and run.created_at < h.recorded_at <= (run.now or run.created_at)
        }
        self._events = self._in_order(refs)
        self._effects = sorted(
            (e for e in dump.effects if e.run == run.id), key=lambda e: (e.created_at, e.path, e.id)
        )
        self._approvals = {a.id: a for a in dump.approvals if a.run == run.id}
        self._words = self._personal_words()
        self._numbers = {value: other for value, other in self._words.items() if is_number(value)}

    def _in_order(self, refs: Collection[str]) -> list[CanonicalEvent]:
        events = (event for event in self._dump.events if event.id in refs)
        return sorted(events, key=lambda e: (e.received_at, e.id))

    def document(self) -> dict[str, Any]:
        steps = sorted([*self._facts(), *self._decisions()], key=lambda s: (s.at, s.order))
        begin = (steps[0].at if steps else self._run.created_at).replace(microsecond=0)
        given_steps = [
            *self._objects(begin),
            *self._answers(),
            *_with_pauses(steps, begin, self._run.now or begin),
        ]
        document = {
            "kind": "test",
            "name": f"recorded-{self._run.workflow}-{self._run.id[-_NAME_CHARACTERS:]}",
            "covers": [f"workflow {self._run.workflow}"],
            "now": wire.time_text(begin),
            "persons": self._persons(),
            "given": given_steps,
            "expect": self._expected(),
        }
        words = {readable(value): readable(other) for value, other in self._words.items()}
        cleaned = Replacement(words).document(document)
        return {key: value for key, value in cleaned.items() if value}

    # ------------------------------------------------------------------ given

    def _objects(self, begin: datetime) -> Iterator[dict[str, Any]]:
        """Yield the objects that the facts name, as they were before, and accounting periods, with their Links."""
        own = {event.id for event in self._events}
        pending = [name for event in self._events for name in _names(self._model, event.data)]
        pending += [(event.object, event.key) for event in self._events if event.object]
        pending += [(h.object, h.key) for h in self._dump.heads if h.object == "period"]
        visited: set[tuple[str, str]] = set()
        while pending:
            name = pending.pop(0)
            if name in visited:
                continue
            visited.add(name)
            head = self._head(*name, begin, own)
            links = {k.system: k.ext_id for k in self._dump.links if (k.object, k.canonical) == name}
            if head is not None:
                pending += _names(self._model, head.state)
            if head is not None or links:
                spec = self._model.objects.get(name[0])
                state = (
                    {}
                    if head is None
                    else _without_null(readable(self._cleaned(spec.fields if spec else {}, head.state)))
                )
                step = {"known": name[0], "id": name[1], "state": state, "ids": links}
                if head is not None and head.entity not in ("", self._model.default_entity):
                    step["legal_entity"] = head.entity
                yield {key: value for key, value in step.items() if value}

    def _head(self, object_: str, key: str, begin: datetime, own: set[str]) -> Head | None:
        """Return the state of an object before the first fact of the test, or at the latest when its Run began.

        A delivery may tell of several objects. Their states are recorded when it is admitted, after its arrival.
        """
        until = max(begin + timedelta(seconds=1), self._run.created_at + timedelta(microseconds=1))
        history = [h for h in self._dump.history if (h.object, h.key) == (object_, key)]
        before = [h for h in history if h.recorded_at < until and h.event not in own]
        return max(before, key=lambda h: h.recorded_at, default=None)

    def _answers(self) -> Iterator[dict[str, Any]]:
        """Yield the answers of systems: each gives the recorded result, or the recorded refusal."""
        for effect in self._effects:
            if effect.error_class is not None and effect.state is EffectState.REFUSED:
                refused = {
                    "answer": effect.operation,
                    "refused": str(effect.error_class),
                    "message": effect.error,
                }
                yield {**refused, "times": max(1, effect.attempt)}
            elif effect.result is not None:
                result = self._result(effect)
                if result:
                    yield {"answer": effect.operation, "result": result, "times": 1}

    def _result(self, effect: Effect) -> dict[str, Any]:
        """Return an answer in the system's form that the mapping reads as the recorded result."""
        recorded = wire.loads(effect.result or b"null")
        if (operation := self._model.operations.get(effect.operation)) is not None:
            recorded = self._cleaned(operation.output, recorded)
        request = wire.read_json(effect.request) if effect.request else {}
        if not isinstance(recorded, dict):
            return {}
        inputs = wire.loads(effect.input)
        answer = answer_for(self._model, effect.operation, recorded, inputs, request, effect.created_at)
        plain: dict[str, Any] = _without_null(readable(answer))
        return plain

    def _facts(self) -> Iterator[_TimedStep]:
        for event in self._events:
            if event.type.endswith(_CALLED):
                inputs = {k: v for k, v in event.data.items() if k != "requested_by"}
                caller = str(event.data.get("requested_by", ""))
                operation = event.type.removesuffix(_CALLED)
                inputs = self._cleaned(self._model.operations[operation].input, inputs)
                step = {"operation": operation, "by": caller, "with": inputs}
            elif event.type in self._model.events and not event.cause:
                data = self._cleaned(self._model.events[event.type].data, event.data)
                step = {"event": event.type, "from": event.system, "data": data}
                if event.legal_entity:
                    step["legal_entity"] = event.legal_entity
            else:
                continue
            yield _TimedStep(event.received_at, 0, _without_null(readable(step)))

    def _decisions(self) -> Iterator[_TimedStep]:
        for vote in self._dump.votes:
            approval = self._approvals.get(vote.approval)
            if approval is not None:
                key = "approve" if vote.approve else "reject"
                yield _TimedStep(vote.at, 1, {key: approval.policy, "by": vote.person})
        for case in self._dump.cases:
            if case.run == self._run.id and case.choice is not None and case.resolved_at is not None:
                step = {"resolve": case.reason, "by": case.resolved_by, "choice": str(case.choice)}
                if str(case.resolved_by) in {p.id for p in self._dump.persons}:
                    yield _TimedStep(case.resolved_at, 1, step)

    def _persons(self) -> dict[str, Any]:
        """Return the persons that take part, with their roles."""
        named = {vote.person for vote in self._dump.votes if vote.approval in self._approvals}
        named |= {a.requester for a in self._approvals.values()}
        named |= {str(e.data.get("requested_by")) for e in self._events}
        named |= {str(c.resolved_by) for c in self._dump.cases if c.run == self._run.id}
        return {p.id: list(p.roles) for p in self._dump.persons if p.id in named and p.roles}

    # ------------------------------------------------------------------ expect

    def _expected(self) -> dict[str, Any]:
        run, dump = self._run, self._dump
        lists = {
            "runs": [{"workflow": run.workflow, "key": run.bkey, "status": str(run.status), "state": run.state}],
            "approvals": [
                {"policy": a.policy, "state": str(a.state), "automatic": a.automatic, "amount": readable(a.amount)}
                for a in sorted(self._approvals.values(), key=lambda a: a.created_at)
            ],
            "effects": [
                {"operation": e.operation, "state": str(e.state), "input": readable(self._input(e))}
                for e in self._effects
            ],
            "foils": [
                {"reconciliation": f.rule, "key": f.key, "state": str(f.state)}
                | ({"asserted": readable(f.legs)} if f.stands else {})
                for f in dump.foils
                if f.run == run.id
            ],
            "cases": [{"reason": c.reason, "owner": c.owner} for c in dump.cases if c.run == run.id],
        }  # fmt: skip
        return {section: _without_null(entries) for section, entries in lists.items() if entries}

    def _input(self, effect: Effect) -> Any:
        operation = self._model.operations.get(effect.operation)
        return self._cleaned(operation.input if operation else {}, wire.loads(effect.input))

    # ------------------------------------------------------------------ personal data

    def _personal_words(self) -> dict[Any, Any]:
        """Return another value for each personal one: of fields marked `pii`, and the names of persons."""
        words: dict[Any, Any] = {}
        for n, person in enumerate(self._dump.persons, 1):
            for name in sorted(
                {person.id, person.email, person.name, *(a for b in person.aliases.values() for a in b)}
            ):
                if name and name not in self._model.roles:
                    words.setdefault(name, f"person-{n}")
        model = self._model
        sources: list[tuple[Mapping[str, Any], Any]] = [
            (model.events[e.type].data, e.data) for e in self._dump.events if e.type in model.events
        ]
        sources += [
            (model.objects[h.object].fields, h.state) for h in self._dump.history if h.object in model.objects
        ]
        for effect in self._effects:
            if operation := model.operations.get(effect.operation):
                sources.append((operation.input, wire.loads(effect.input)))
                sources.append((operation.output, wire.loads(effect.result or b"null")))
        for event in self._events:
            if called := model.operations.get(event.type.removesuffix(_CALLED)):
                sources.append((called.input, event.data))
        counts: dict[str, int] = {}
        for fields, value in sources:
            for field, part in personal_values(fields, value):
                if part not in words:
                    counts[field] = counts.get(field, 0) + 1
                    words[part] = stand_in(part, field, counts[field])
        return words

    def _cleaned(self, fields: Mapping[str, Any], value: Any) -> Any:
        return without_personal_numbers(fields, value, self._numbers)


def _names(model: Model, data: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Return the objects that a mapping names by `<object>_id`."""
    ids = ((key.removesuffix("_id"), value) for key, value in data.items() if key.endswith("_id"))
    return [(object_, str(value)) for object_, value in ids if object_ in model.objects and value]


def _with_pauses(steps: list[_TimedStep], begin: datetime, end: datetime) -> Iterator[dict[str, Any]]:
    """Yield the steps, with the time that passed between them."""
    now = begin
    for step in steps:
        pause = step.at - now
        if pause >= _MIN_PAUSE:
            yield {"after": f"{int(pause.total_seconds())}s"}
        now = max(now, step.at)
        yield step.step
    if end - now >= _MIN_PAUSE:
        yield {"after": f"{int((end - now).total_seconds()) + 1}s"}


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_null(part) for key, part in value.items() if part is not None}
    return [_without_null(part) for part in value] if isinstance(value, list) else value
