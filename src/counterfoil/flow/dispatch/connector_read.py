"""One read of an outside system as an outcome. A read changes nothing, so a failure is never of unknown outcome."""

from __future__ import annotations

from counterfoil.connectors.sdk import Confirmed, Connector, Outcome, Rejected
from counterfoil.contracts.versions import known_as
from counterfoil.core import wire
from counterfoil.core.errors import ErrorClass, Misconfigured, Refused, TryAgain


async def read(connector: Connector, operation: str, request: bytes, timeout: float) -> Outcome:
    """Read. `request` holds the rendered arguments. A list is returned under `items`."""
    try:
        result = await connector.read(
            known_as(operation, connector.operations), wire.read_json(request), timeout
        )
    except TryAgain as error:
        return Rejected(ErrorClass.TRANSIENT, str(error), retry_after=error.after)
    except Refused as error:
        return Rejected(error.error_class, str(error), error.code)
    except Misconfigured as error:
        return Rejected(ErrorClass.UNAUTHORIZED, str(error))
    return Confirmed(result if isinstance(result, dict) else {"items": result})
