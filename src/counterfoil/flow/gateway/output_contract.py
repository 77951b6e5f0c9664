"""The contract of an operation's output, and the Case that opens when an answer breaks it."""

from __future__ import annotations

from typing import Any

from counterfoil.core import ids
from counterfoil.core.cases import open_case
from counterfoil.flow.gateway.calls import CallInProgress, Unanswerable
from counterfoil.model import Model
from counterfoil.rules.contract import violations
from counterfoil.rules.json_values import typed
from counterfoil.rules.versions import CastFailed, downcast_output, serve


class BadOutput(Exception):
    """An output that breaks its contract or cannot be computed."""


def conform(model: Model, operation: str, output: Any) -> Any:
    """Return the output typed by its contract. Raises BadOutput."""
    if operation not in model.operations:
        raise BadOutput(f"{operation} is not in that release")
    schema = model.schema_of_operation(operation, "output")
    value = typed(output, schema)
    faults = violations(value, schema)
    if faults:
        raise BadOutput(f"the output of {operation} breaks its contract: {'; '.join(faults)}")
    return value


def downcast(model: Model, context: CallInProgress, output: Any) -> Any:
    """Return the output in the version that the caller requested. Raises BadOutput."""
    served = serve(model, context.served.requested) or context.served
    if not served.path:
        return output
    try:
        return conform(model, served.requested, downcast_output(served, context.input, output))
    except CastFailed as error:
        raise BadOutput(str(error)) from error


def bad_output(model: Model, context: CallInProgress, detail: str, run: str = "") -> Unanswerable:
    """Return the outcome for an output that is withheld, with a Case for the operation's owner."""
    operation = model.operations.get(context.served.by)
    case = open_case(
        "output_contract",
        id=ids.derive("case", "output_contract", context.receipt),
        message=f"{context.served.requested}, receipt {context.receipt}: {detail}",
        owners=model.owners_of(operation) if operation is not None else [],
        at=context.at,
        receipt=context.receipt,
    )
    public = "The answer breaks the operation's contract and is withheld. The operation's owner has a Case."
    return Unanswerable(kind="bad-output", detail=public, run=run, cases=(case,))
