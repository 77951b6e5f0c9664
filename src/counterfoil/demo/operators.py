"""A person at Counterfoil's HTTP API, for the story and the report: everything goes through the server's own doors."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import httpx2

from counterfoil.core.errors import TryAgain
from counterfoil.core.wire import read_json


class Declined(Exception):
    """The server declined: its HTTP status and its own words."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail


class Operator:
    """One person's calls, by token. Raises Declined for a refusal, TryAgain when the server does not answer."""

    def __init__(self, url: str, token: str) -> None:
        self._http = httpx2.AsyncClient(
            base_url=url, timeout=20, trust_env=False, headers={"Authorization": f"Bearer {token}"}
        )

    async def __aenter__(self) -> Operator:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def get(self, path: str, **query: str) -> Any:
        """One thing, such as `runs/run_...`."""
        return await self._call("GET", path, query=query)

    async def all(self, path: str, **query: str) -> list[dict[str, Any]]:
        """Every item of a list, newest first."""
        items: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            page = await self._call("GET", path, query={"limit": "200", **query, **cursor})
            items += page["items"]
            if page["next"] is None:
                return items
            cursor = {"cursor": page["next"]}

    async def decide(self, approval: str, approve: bool, comment: str) -> str:
        """Vote on an approval; what the server made of the vote."""
        decision = "approve" if approve else "reject"
        answer = await self._call("POST", f"approvals/{approval}", {"decision": decision, "comment": comment})
        return str(answer["verdict"])

    async def resolve(self, case: str, choice: str, note: str) -> str:
        """Resolve a Case; what the server made of it."""
        answer = await self._call("POST", f"cases/{case}", {"choice": choice, "note": note})
        return str(answer["verdict"])

    async def _call(
        self, method: str, path: str, body: Any = None, query: dict[str, str] | None = None
    ) -> Any:
        try:
            answer = await self._http.request(method, f"/v1/{path}", params=query, json=body)
        except httpx2.TransportError as error:
            raise TryAgain(f"the server did not answer {method} {path}: {error!r}") from error
        if answer.status_code >= 400:
            try:
                detail = str(read_json(answer.content)["detail"])
            except (ValueError, KeyError, TypeError):
                detail = answer.text[:300]
            raise Declined(answer.status_code, detail)
        return read_json(answer.content)
