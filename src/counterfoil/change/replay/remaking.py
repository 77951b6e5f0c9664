"""An event made again where two models map its delivery otherwise: what both say alike of it stands in its row.

Only for one mapping that makes one event, and differs in fields of its data and its assertion alone. A field that both
models write in the same words gives the same value again, as it reads the same bodies, unless it asks something: what is
asked may have another answer by now. So look-ups are made again, and so is all that makes the event's identity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from counterfoil.core.canonical import CanonicalEvent
from counterfoil.expr import BudgetExceeded, EvaluationError, LookupNeeded
from counterfoil.model import Model
from counterfoil.model.definition import Formula, InboundMapping, Items, Literal, Record, Repeated, Template
from counterfoil.rules import mapping as mappings
from counterfoil.rules.mapping import Answers, Mapped
from counterfoil.rules.templates import truth


class Remaking:
    """A mapping of the new model, of which some fields need not be worked out again."""

    def __init__(self, whole: InboundMapping, alike: frozenset[str]) -> None:
        (emit,) = whole.emits
        fields = {name: part for name, part in emit.data.fields.items() if name not in alike}
        self._rest = replace(whole, emits=(replace(emit, data=Record(fields)),), assertion=None)
        self._whole = whole
        self._order = tuple(emit.data.fields)

    @classmethod
    def of(cls, old: Model, new: Model, system: str, type_: str) -> Remaking | None:
        """None where nothing is spared."""
        before, after = old.inbound(system, type_), new.inbound(system, type_)
        if len(before) != 1 or len(after) != 1 or len(after[0].emits) != 1:
            return None
        whole = after[0]
        was, is_ = _written(old, before[0].name), _written(new, whole.name)
        if was is None or is_ is None or was[0] != is_[0] or any(e.lookup_calls for _, e in whole.let):
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
        made = mappings.apply_inbound(self._rest, body, fetched, received, answers)
        if not isinstance(made, Mapped) or len(made.events) != 1:
            return None
        event = made.events[0]
        if event.id != then.id or event.type != then.type:
            return None
        both = {**then.data, **event.data}
        again = self._rest.emits[0].data.fields
        data = {n: both[n] for n in self._order if n in (event.data if n in again else then.data)}
        if not self._holds(data, body, fetched, received):
            return None
        return Mapped((msgspec.structs.replace(event, data=data),))

    def _holds(self, data: dict[str, Any], body: Any, fetched: Any, received: datetime) -> bool:
        """Its assertion. One that fails or asks something is the whole mapping's business."""
        names: dict[str, Any] = {"body": body, "fetched": fetched, "received": received}
        try:
            for name, expression in self._whole.let:
                names[name] = expression(names, None)
            return truth(self._whole.assertion, {**names, "data": data}, None)
        except (EvaluationError, BudgetExceeded, LookupNeeded):
            return False


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
