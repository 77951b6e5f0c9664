"""Client of billing's API for the story and the tests: customers, prices, subscriptions, invoices.

It shares no code with the connector on purpose, so that it reads independently of the code under test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import httpx2

from counterfoil.core.errors import Refused, TryAgain
from counterfoil.core.wire import read_json
from counterfoil.demo.local_client import local_client


class BillingClient:
    """API of one account. Raises `TryAgain` if billing does not respond, `Refused` with its message if it declines."""

    def __init__(self, url: str, key: str) -> None:
        headers = {"Authorization": f"Bearer {key}"}
        self._http = local_client(url, timeout=20, headers=headers)

    async def __aenter__(self) -> BillingClient:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._http.aclose()

    async def post(self, path: str, values: Mapping[str, Any], once: str | None = None) -> dict[str, Any]:
        """Create or change an object. `once` is an idempotency key: a repeat within a day gives the first response."""
        headers = {} if once is None else {"Idempotency-Key": once}
        return await self._call("POST", path, dict(_form(values)), headers)

    async def decide(self, control: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Let a bank decide in the twin, by a control such as `disputes` or `outcome`. Return the object."""
        return await self._answer("POST", f"/_twin/{control}", {}, {"json": dict(values)})

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        return await self._call("GET", path, query, {})

    async def all(self, path: str, **query: str) -> list[dict[str, Any]]:
        """Return every row of a list, newest first."""
        rows: list[dict[str, Any]] = []
        after: dict[str, str] = {}
        while True:
            page = await self.get(path, limit="100", **query, **after)
            rows += page["data"]
            if not page["has_more"]:
                return rows
            after = {"starting_after": page["data"][-1]["id"]}

    async def ready(self) -> bool:
        try:
            await self.get("webhook_endpoints")
        except TryAgain:
            return False
        return True

    async def _call(
        self, method: str, path: str, values: Mapping[str, str], headers: Mapping[str, str]
    ) -> dict[str, Any]:
        payload: dict[str, Any] = {"data": dict(values)} if method == "POST" else {"params": dict(values)}
        return await self._answer(method, f"/v1/{path}", headers, payload)

    async def _answer(
        self, method: str, path: str, headers: Mapping[str, str], payload: Mapping[str, Any]
    ) -> dict[str, Any]:
        try:
            answer = await self._http.request(method, path, headers=dict(headers), **payload)
        except httpx2.TransportError as error:
            raise TryAgain(f"billing did not answer {method} {path}: {error!r}") from error
        if answer.status_code >= 400:
            raise Refused(f"billing answered {answer.status_code} to {method} {path}: {answer.text[:300]}")
        body: dict[str, Any] = read_json(answer.content)
        return body


def _form(values: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested values as form fields of the API: `items[0][price]`."""
    for name, value in values.items():
        here = f"{within}[{name}]" if within else str(name)
        if isinstance(value, Mapping):
            yield from _form(value, here)
        elif isinstance(value, list | tuple):
            yield from _form({str(place): item for place, item in enumerate(value)}, here)
        elif isinstance(value, bool):
            yield here, "true" if value else "false"
        else:
            yield here, str(value)
