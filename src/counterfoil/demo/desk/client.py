"""Small client of the demonstration's help desk, for the people of the story."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2

from counterfoil.core.errors import Refused, TryAgain
from counterfoil.core.wire import read_json
from counterfoil.demo.local_client import local_client


class DeskClient:
    """Calls to the desk in the name of persons, each with that person's password. `get` and `update` act as any user.

    Raises `TryAgain` if the desk does not respond, and `Refused` with its message if it declines.
    """

    def __init__(self, url: str, passwords: Mapping[str, str], timeout: float = 10.0) -> None:
        self._passwords = passwords
        place = urlsplit(url)
        self._http = local_client(
            url.rstrip("/") + "/rest/data",
            timeout=timeout,
            headers={
                # Roundup accepts API calls only with both headers.
                "Origin": f"{place.scheme}://{place.netloc}",
                "X-Requested-With": "rest",
                "Content-Type": "application/json",
                "Accept": "application/json",
            },
        )

    @classmethod
    def prepared(cls, folder: Path) -> DeskClient:
        """Return a client of the desk whose seed.json is in `folder`."""
        seed = read_json((folder / "seed.json").read_bytes())
        return cls(seed["url"], seed["users"])

    async def __aenter__(self) -> DeskClient:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._http.aclose()

    async def request_credit(
        self, user: str, title: str, customer_ref: str, invoice_ref: str, amount: str, currency: str, reason: str,
        incident_ref: str, incident_on: date,
    ) -> str:  # fmt: skip
        """File a service credit request as `user` and return the issue id. `amount` is decimal text, "120.00"."""
        fields = {
            "title": title, "priority": "urgent", "status": "credit-requested", "case_kind": "service_credit",
            "account_ref": customer_ref, "invoice_ref": invoice_ref, "credit_amount": amount,
            "credit_currency": currency, "credit_reason": reason, "incident_ref": incident_ref,
            "incident_on": incident_on.isoformat(),
        }  # fmt: skip
        return str((await self._call(user, "POST", "/issue", fields))["id"])

    async def find(self, user: str = "agent", **fields: str) -> list[str]:
        """Return the ids of the issues whose text fields equal these values, oldest first."""
        query = "&".join(f"{name}:={quote(value, safe='')}" for name, value in fields.items())
        page = await self._call(user, "GET", f"/issue?{query}&@sort=id&@page_size=100")
        return [str(row["id"]) for row in page["collection"]]

    async def get(self, issue: str, user: str = "agent") -> dict[str, Any]:
        """Return the issue's fields with names instead of link ids, its `messages` as text, and its `etag`."""
        data = await self._call(user, "GET", f"/issue/{issue}?@verbose=2&@protected=true")
        fields = {
            name: next((v for k, v in value.items() if k not in ("id", "link")), value["id"])
            if isinstance(value, dict)
            else value
            for name, value in data["attributes"].items()
        }
        ids = [message["id"] for message in data["attributes"]["messages"]]
        texts = [await self._call(user, "GET", f"/msg/{m}?@verbose=3&@fields=content,author") for m in ids]
        fields["messages"] = [text["attributes"]["content"] for text in texts]
        return {"id": str(data["id"]), "etag": data["@etag"], **fields}

    async def update(self, issue: str, user: str = "agent", **fields: str) -> None:
        """Change fields as `user`. The desk refuses if the issue changes between the read and the write."""
        now = await self._call(user, "GET", f"/issue/{issue}?@fields=id")
        await self._call(user, "PATCH", f"/issue/{issue}", fields, {"If-Match": now["@etag"]})

    async def _call(
        self,
        user: str,
        method: str,
        path: str,
        body: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        try:
            auth = (user, self._passwords[user])
            answer = await self._http.request(method, path, json=body, headers=headers, auth=auth)
        except httpx2.TransportError as error:
            raise TryAgain(f"the help desk did not answer {method} {path}: {error!r}") from error
        if answer.status_code == 429:
            raise TryAgain(f"the help desk limits the request rate: {answer.text[:300]}")
        if answer.status_code >= 400:
            reason = f"{answer.status_code} to {method} {path}: {answer.text[:300]}"
            raise Refused(f"the help desk answered {reason}")
        data: dict[str, Any] = read_json(answer.content)["data"]
        return data
