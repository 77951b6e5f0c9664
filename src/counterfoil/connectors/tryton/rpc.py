"""Client of Tryton's JSON-RPC, for one call that REST lacks: press a button of several records in one transaction.

It accepts no application key, so each call has the login and password of a user. A failed call is Refused if the answer
proves that nothing was done, TryAgain if no byte left, and Uncertain otherwise.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from counterfoil.connectors.http import Deadline, Http
from counterfoil.core.errors import ErrorClass, Misconfigured, Refused, TryAgain, Uncertain
from counterfoil.core.wire import Json, WireRefused

from .codec import decode, encode
from .refusals import refusal_of, refusal_of_message
from .rest import unexpected

_LOCKOUT_SECONDS = 900.0
"""Time without a further login after a refused password: the ERP slows down all logins after each wrong one."""


class Rpc:
    """Calls of one user to one database."""

    def __init__(
        self, http: Http, database: str, login: str, password: str, context: Mapping[str, Json]
    ) -> None:
        self._http = http
        self._path = f"/{quote(database, safe='')}/rpc/"
        pair = base64.b64encode(f"{login}:{password}".encode()).decode()
        self._headers = {"authorization": f"Basic {pair}", "content-type": "application/json"}
        self._context = context
        self._login = login
        self._locked_until = 0.0

    @property
    def usable(self) -> bool:
        """True if a login may be tried; False for some time after a refused password."""
        return asyncio.get_running_loop().time() >= self._locked_until

    async def press(self, model: str, button: str, numbers: Sequence[int], by: Deadline) -> None:
        """Press a button of records in one transaction. Raises TryAgain, Refused or Uncertain."""
        await self._call(f"model.{model}.{button}", [list(numbers)], by)

    async def check(self, by: Deadline) -> None:
        """Check that the ERP accepts login and password. Raises TryAgain or Misconfigured."""
        try:
            await self._call("model.res.user.get_preferences", [True], by)
        except Refused as error:
            raise Misconfigured(f"login {self._login} for posting in bulk: {error}") from error
        except Uncertain as error:
            raise TryAgain(str(error)) from error

    async def _call(self, method: str, arguments: list[Any], by: Deadline) -> Json:
        call = {"id": 1, "method": method, "params": [*arguments, self._context]}
        answer = await self._http.request(
            "POST", self._path, headers=self._headers, body=encode(call), timeout=by.left("to the ERP")
        )
        if answer.status in (401, 429):
            # Login and password are checked before a model is touched.
            self._locked_until = asyncio.get_running_loop().time() + _LOCKOUT_SECONDS
            message = f"the ERP refuses the login {self._login}"
            raise Refused(message, ErrorClass.UNAUTHORIZED, "login")
        if answer.status != 200:
            raise refusal_of(answer.status, answer.body) or Uncertain(unexpected(answer))
        try:
            reply = decode(answer.body)
        except WireRefused as error:
            raise Uncertain(f"the answer of the ERP cannot be read: {error}") from error
        if not isinstance(reply, dict) or reply.get("id") != 1 or ("result" in reply) == ("error" in reply):
            raise Uncertain(unexpected(answer))
        if "error" in reply:
            raise _error(reply["error"]) or Uncertain(unexpected(answer))
        return reply["result"]


def _error(error: Json) -> Refused | None:
    """Return the refusal for an error, or None if the error proves nothing.

    User errors and warnings come from inside the transaction, which is rolled back. The ERP does not report errors of
    tasks after the commit.
    """
    match error:
        case ["UserError", [str(message), description, *_]]:
            return refusal_of_message(message, description or "")
        case ["UserWarning", [str(), str(message), description, *_]]:
            return refusal_of_message(message, description or "")
        case ["LoginException", *_]:
            message = "the ERP requires more than a password for this login"
            return Refused(message, ErrorClass.UNAUTHORIZED, "login")
    return None
