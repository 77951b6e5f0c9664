"""Client of Counterfoil's HTTP API in the name of a person, for the story and the report."""

from __future__ import annotations

from typing import Any

import httpx2

from counterfoil.core.errors import TryAgain
from counterfoil.core.wire import read_json
from counterfoil.demo.local_client import local_client


class Declined(Exception):
    """Refusal by the server: its HTTP status and its message."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail


class Operator:
    """Calls in the name of one person, by token. Raises Declined for a refusal, TryAgain without a response."""

    def __init__(self, url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self._http = local_client(url, timeout=20, headers=headers)

    async def __aenter__(self) -> Operator:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._http.aclose()

    async def get(self, path: str, **query: str) -> Any:
        """Return one object, such as `runs/run_...`."""
        return await self._call("GET", path, query=query)

    async def all(self, path: str, **query: str) -> list[dict[str, Any]]:
        """Return every item of a list, newest first."""
        items: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            page = await self._call("GET", path, query={"limit": "200", **query, **cursor})
            items += page["items"]
            if page["next"] is None:
                return items
            cursor = {"cursor": page["next"]}

    async def decide(self, approval: str, approve: bool, comment: str) -> str:
        decision = "approve" if approve else "reject"
        answer = await self._call("POST", f"approvals/{approval}", {"decision": decision, "comment": comment})
        return str(answer["verdict"])

    async def resolve(self, case: str, choice: str, note: str) -> str:
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
