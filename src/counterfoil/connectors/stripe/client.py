"""Client of Stripe's API: reads, lists and form posts of one account, with errors that state what a failure proves.

A failed read changed nothing: TryAgain or Refused. A failed write ends its operation with `EarlyOutcome`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any
from urllib.parse import quote_plus

from counterfoil.connectors.http import Deadline, Http
from counterfoil.connectors.sdk import EarlyOutcome, Json, Rejected, SystemConfig, Unknown
from counterfoil.connectors.stripe import answers
from counterfoil.core.errors import ErrorClass, Refused, TryAgain, Uncertain

API_VERSION = "2023-08-16"
_PAGE_ROWS = 100


class StripeClient:
    """Calls with the key of one account."""

    def __init__(self, config: SystemConfig, version: str = API_VERSION) -> None:
        self.api_version = version
        headers = {
            "authorization": f"Bearer {config.secrets['api_key']}",
            "stripe-version": version,
            "accept": "application/json",
        }
        if config.account:
            headers["stripe-account"] = config.account
        self._http = Http.of(config, headers=headers)

    async def close(self) -> None:
        await self._http.close()

    async def get(self, path: str, kind: str, query: Mapping[str, str], by: Deadline) -> dict[str, Json]:
        """Return one object or list. Raises TryAgain, Refused or Misconfigured."""
        left = by.left(f"GET {path}")
        try:
            answer = await self._http.request("GET", path, params=query or None, timeout=left)
        except Uncertain as error:
            raise TryAgain(str(error)) from error
        value = answers.read_object(answer, kind)
        if value is not None:
            return value
        rejected = answers.refusal_of(answer)
        if rejected is None:
            raise TryAgain(answers.describe("GET", path, answer))
        raise answers.error_of(rejected)

    async def get_first(self, path: str, kind: str, by: Deadline) -> dict[str, Json]:
        """Return an object before the first write. Every failure here proves that nothing was written."""
        try:
            return await self.get(path, kind, {}, by)
        except (TryAgain, Refused) as error:
            raise EarlyOutcome.of_read(error) from error

    async def post(
        self, path: str, kind: str, form: Mapping[str, Any], key: str, by: Deadline
    ) -> dict[str, Json]:
        """Return the created or changed object. Raises EarlyOutcome or Misconfigured."""
        headers = {"idempotency-key": key, "content-type": "application/x-www-form-urlencoded"}
        try:
            left = by.left(f"POST {path}")
            answer = await self._http.request("POST", path, headers=headers, body=encode(form), timeout=left)
        except TryAgain as error:
            raise EarlyOutcome(Rejected(ErrorClass.TRANSIENT, str(error), "not_sent")) from error
        except Uncertain as error:
            raise EarlyOutcome(Unknown(str(error))) from error
        created = answers.read_object(answer, kind)
        if created is not None:
            return created
        raise EarlyOutcome(answers.refusal_of(answer) or Unknown(answers.describe("POST", path, answer)))

    async def rows(self, path: str, query: Mapping[str, str], by: Deadline) -> AsyncIterator[dict[str, Json]]:
        """Yield every row of a list, in the vendor's order, page after page."""
        after: dict[str, str] = {}
        while True:
            page = await self.get(path, "list", {**query, "limit": str(_PAGE_ROWS), **after}, by)
            for row in page["data"]:
                yield row
            if not page.get("has_more") or not page["data"]:
                return
            after = {"starting_after": str(page["data"][-1]["id"])}


def encode(value: Mapping[str, Any]) -> bytes:
    """Return the body of a POST. The same value gives the same bytes, which Stripe compares for a repeated key."""
    return "&".join(f"{quote_plus(name)}={quote_plus(text)}" for name, text in pairs(value)).encode()


def pairs(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return nested values as `a[b][0][c]` and their texts, without None. Booleans are `true` and `false`."""
    return [pair for name, item in value.items() for pair in _pairs(name, item)]


def _pairs(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if value is None:
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _pairs(f"{name}[{key}]", item)
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from _pairs(f"{name}[{place}]", item)
    elif isinstance(value, bool):
        yield name, "true" if value else "false"
    else:
        yield name, str(value)
