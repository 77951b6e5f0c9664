"""Tryton's JSON-RPC, for what REST cannot do: press a button of several records in one transaction.

It takes no application key, so a user's login and password go with each call. A failed call is Refused where the
answer proves that nothing was done, TryAgain when no byte left, and Uncertain otherwise.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from counterfoil.connectors.http import Http
from counterfoil.core.errors import ErrorClass, Misconfigured, Refused, TryAgain, Uncertain
from counterfoil.core.wire import Json, WireRefused

from .codec import decode, encode
from .refusals import refusal_of, refusal_of_message
from .rest import Deadline, unexpected

_SHUT_SECONDS = 900.0
"""How long a refused password is not tried again: the ERP answers everybody later for each wrong one."""


class Rpc:
    """One user at one database."""

    def __init__(
        self, http: Http, database: str, login: str, password: str, context: Mapping[str, Json]
    ) -> None:
        self._http = http
        self._path = f"/{quote(database, safe='')}/rpc/"
        pair = base64.b64encode(f"{login}:{password}".encode()).decode()
        self._headers = {"authorization": f"Basic {pair}", "content-type": "application/json"}
        self._context = context
        self._login = login
        self._shut_until = 0.0

    @property
    def usable(self) -> bool:
        """False for a while after the password was refused."""
        return asyncio.get_running_loop().time() >= self._shut_until

    async def press(self, model: str, button: str, numbers: Sequence[int], by: Deadline) -> None:
        """Press a button of records in one transaction. Raises TryAgain, Refused or Uncertain."""
        await self._call(f"model.{model}.{button}", [list(numbers)], by)

    async def check(self, by: Deadline) -> None:
        """Does the ERP take login and password? Raises TryAgain or Misconfigured."""
        try:
            await self._call("model.res.user.get_preferences", [True], by)
        except Refused as error:
            raise Misconfigured(f"the login {self._login} for posting in bulk: {error}") from error
        except Uncertain as error:
            raise TryAgain(str(error)) from error

    async def _call(self, method: str, arguments: list[Any], by: Deadline) -> Json:
        call = {"id": 1, "method": method, "params": [*arguments, self._context]}
        answer = await self._http.request(
            "POST", self._path, headers=self._headers, body=encode(call), timeout=by.left()
        )
        if answer.status in (401, 429):
            # Login and password are checked before a model is touched.
            self._shut_until = asyncio.get_running_loop().time() + _SHUT_SECONDS
            shut_out = f"the ERP does not let the login {self._login} in"
            raise Refused(shut_out, ErrorClass.UNAUTHORIZED, "login")
        if answer.status != 200:
            raise refusal_of(answer.status, answer.body) or Uncertain(unexpected(answer))
        try:
            said = decode(answer.body)
        except WireRefused as error:
            raise Uncertain(f"the ERP's answer cannot be read: {error}") from error
        if not isinstance(said, dict) or said.get("id") != 1 or ("result" in said) == ("error" in said):
            raise Uncertain(unexpected(answer))
        if "error" in said:
            raise _error(said["error"]) or Uncertain(unexpected(answer))
        return said["result"]


def _error(error: Json) -> Refused | None:
    """User errors and warnings come out of the transaction, which is rolled back; what a task after the commit runs
    into is kept by the ERP and told to nobody. Any other error proves nothing."""
    match error:
        case ["UserError", [str(message), description, *_]]:
            return refusal_of_message(message, description or "")
        case ["UserWarning", [str(), str(message), description, *_]]:
            return refusal_of_message(message, description or "")
        case ["LoginException", *_]:
            return Refused("the ERP asks for more than a password", ErrorClass.UNAUTHORIZED, "login")
    return None
