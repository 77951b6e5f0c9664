"""reading: one read of an outside system as an outcome. Reads change nothing, so whatever failed was not done."""

from __future__ import annotations

from counterfoil.connectors.sdk import Confirmed, Connector, Outcome, Rejected
from counterfoil.contracts import versions
from counterfoil.core import wire
from counterfoil.core.errors import ErrorClass, Misconfigured, Refused, TryAgain


async def read(connector: Connector, operation: str, request: bytes, timeout: float) -> Outcome:
    """Ask; `request` holds the rendered arguments. A list is given under `items`."""
    # A version is a matter of our contract: a connector that does not tell versions apart knows the operation alone.
    name = operation if operation in connector.operations else versions.family(operation)
    try:
        result = await connector.read(name, wire.read_json(request), timeout)
    except TryAgain as error:
        return Rejected(ErrorClass.TRANSIENT, str(error), retry_after=error.after)
    except Refused as error:
        return Rejected(error.error_class, str(error), error.code)
    except Misconfigured as error:
        return Rejected(ErrorClass.UNAUTHORIZED, str(error))
    return Confirmed(result if isinstance(result, dict) else {"items": result})
