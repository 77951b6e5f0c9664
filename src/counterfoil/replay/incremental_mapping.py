"""An event made again where two models map its delivery otherwise: what both say alike of it stands in its row.

Only for one mapping that makes one event, and differs in fields of its data and its assertion alone. A formula that both
models write in the same words gives the same value again, as it reads the same bodies, unless it asks something: what is
asked may have another answer by now. So look-ups are made again, and a mapping that looks up what the event is called by
is run as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from counterfoil.core.canonical import CanonicalEvent
from counterfoil.expr import BudgetExceeded, EvaluationError, LookupNeeded
from counterfoil.model import Model
from counterfoil.model.definition import Formula, InboundMapping, Items, Literal, Record, Repeated, Template
from counterfoil.rules import mapping as mappings
from counterfoil.rules.lookup import Answers
from counterfoil.rules.mapping import Mapped, MappedEvent
from counterfoil.rules.templates import truth


class IncrementalMapping:
    """A mapping of the new model, of which some fields need not be worked out again."""

    def __init__(self, whole: InboundMapping, alike: frozenset[str]) -> None:
        self._whole = whole
        fields = whole.emits[0].data.fields
        self._alike = alike
        self._fields = tuple(fields)
        self._others = Record({name: part for name, part in fields.items() if name not in alike})

    @classmethod
    def of(cls, old: Model, new: Model, system: str, type_: str) -> IncrementalMapping | None:
        """None where nothing is spared."""
        before, after = old.inbound(system, type_), new.inbound(system, type_)
        if len(before) != 1 or len(after) != 1 or len(after[0].emits) != 1:
            return None
        whole = after[0]
        was, is_ = _written(old, before[0].name), _written(new, whole.name)
        if was is None or is_ is None or was[0] != is_[0] or _identity_asks(whole):
            return None
        alike = frozenset(
            name
            for name, part in whole.emits[0].data.fields.items()
            if name in was[1] and name in is_[1] and was[1][name] == is_[1][name] and not _asks(part)
        )
        return cls(whole, alike) if alike else None

    def apply(
        self, then: CanonicalEvent, body: Any, fetched: Any, received: datetime, answers: Answers
    ) -> Mapped | None:
        """The event, where the old model made `then` of the same bodies. None where the whole mapping must tell."""
        found = mappings.fields_of(self._whole, self._others, body, fetched, received, answers)
        if found is None:
            return None
        names, again = found
        data = {name: then.data.get(name) if name in self._alike else again[name] for name in self._fields}
        try:
            if not truth(self._whole.assertion, {**names, "data": data}):
                return None
        except (EvaluationError, BudgetExceeded, LookupNeeded):
            return None
        event = MappedEvent(
            id=then.id,
            type=then.type,
            key=then.correlation,
            version=then.version,
            occurred_at=then.occurred_at,
            effective_at=then.effective_at,
            legal_entity=then.legal_entity,
            data={name: value for name, value in data.items() if value is not None},
            links=(),
        )
        return Mapped((event,))


def _identity_asks(mapping: InboundMapping) -> bool:
    """Whether it looks up anything beside fields of the event's data, or says which Links the event establishes."""
    (emit,) = mapping.emits
    formulas = [
        emit.when,
        emit.key,
        emit.version,
        emit.identity,
        emit.occurred,
        emit.effective,
        emit.legal_entity,
    ]
    formulas += [expression for _, expression in mapping.let]
    return _asks(emit.type) or bool(emit.links) or any(e is not None and e.lookup_calls for e in formulas)


def _written(model: Model, name: str) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """A mapping as its file has it, without its assertion and its event's data, and that data."""
    document = model.document("mapping", name)
    emit = document.data.get("emit") if document is not None else None
    if document is None or not isinstance(emit, dict) or not isinstance(emit.get("data"), dict):
        return None
    rest = {k: v for k, v in document.data.items() if k not in ("assert", "emit", "doc")}
    return {**rest, "emit": {k: v for k, v in emit.items() if k != "data"}}, emit["data"]


def _asks(template: Template | None) -> bool:
    """Whether it looks anything up."""
    match template:
        case None | Literal():
            return False
        case Formula(expression):
            return bool(expression.lookup_calls)
        case Record(fields):
            return any(map(_asks, fields.values()))
        case Items(items):
            return any(map(_asks, items))
        case Repeated(each, _, data, when):
            return _asks(each) or _asks(data) or (when is not None and bool(when.lookup_calls))
    return True
