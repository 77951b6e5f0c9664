"""Operations compiled, with the calls that undo them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from counterfoil.model import definition as d
from counterfoil.model import kinds
from counterfoil.model.documents import Documents
from counterfoil.model.fields import each_field, field_names
from counterfoil.model.kinds import seconds
from counterfoil.model.template import optional, record


def compile_operation(documents: Documents, operation: kinds.Operation) -> d.OperationDefinition:
    return d.OperationDefinition(
        name=operation.name,
        system=operation.system,
        repeat=operation.repeat,
        horizon=seconds(operation.horizon),
        retention=seconds(operation.retention) if operation.retention else 0.0,
        timeout=seconds(operation.timeout),
        undo=undo_choices(documents, operation.undo or [], operation.name),
        irreversible=operation.irreversible,
        executor=operation.executor,
        input_schema=documents.schema_of_operation(operation.name, "input"),
        negative=bool(operation.negative),
        output_schema=documents.schema_of_operation(operation.name, "output"),
    )


def undo_choices(
    documents: Documents, choices: Sequence[kinds.UndoCall], undone: str
) -> tuple[d.UndoChoice, ...]:
    """Compile the undo choices of a call of `undone`. Their formulas also read its `input` and `result`."""
    return tuple(
        d.UndoChoice(when=optional(c.when), operation=c.call, input=record(undo_input(documents, c, undone)))
        for c in choices
    )


def undo_input(documents: Documents, choice: kinds.UndoCall, undone: str) -> Mapping[str, Any]:
    """Return the input of an undo: `with` as written, else fields of the same name.

    A field is copied from the result of the undone call if it is there, else from the call's input.
    """
    if choice.with_:
        return choice.with_
    operation = documents.operations[undone]
    sources = {name: "input" for name, optional_, _ in each_field(operation.input) if not optional_}
    sources |= {name: "result" for name, optional_, _ in each_field(operation.output) if not optional_}
    names = field_names(documents.operations[choice.call].input)
    return {name: f"={sources[name]}.{name}" for name in names if name in sources}
