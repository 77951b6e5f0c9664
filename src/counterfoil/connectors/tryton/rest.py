"""Client of Tryton's REST interface: reads and writes records, and maps every failure to an error of `core.errors`.

A failed read changed nothing: TryAgain. A failed write is Refused if `refusals` has a proof, TryAgain if no byte left,
and Uncertain otherwise. It retries nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, TypeAlias
from urllib.parse import quote

from counterfoil.connectors.http import Deadline, Http, NoAnswer, Response
from counterfoil.core.errors import TryAgain, Uncertain
from counterfoil.core.wire import Json, WireRefused

from .codec import base64_of, decode, encode
from .refusals import refusal_of

_PAGE_ROWS = 1000
"""Records of one page: larger pages take the ERP more time for each record."""

Record: TypeAlias = dict[str, Json]
"""Record of the ERP, or result of an operation: values by field name."""


class Rest:
    """Records of one company in one database, for one application key."""

    def __init__(self, http: Http, database: str, key: str) -> None:
        self._http = http
        self._models = f"/{quote(database, safe='')}/rest/model"
        self._headers = {
            "authorization": f"bearer {key}",
            "content-type": "application/json",
            "accept": "application/json",
        }
        self.context: Record = {"language": "en"}

    async def search(
        self,
        model: str,
        domain: Sequence[Any],
        fields: Sequence[str],
        by: Deadline,
        order: Sequence[Any] = (("id", "ASC"),),
        limit: int = 1000,
        context: Mapping[str, Any] | None = None,
    ) -> list[Record]:
        """Return the first `limit` records in a domain, with their ids. Raises TryAgain or Refused."""
        params = [("d", base64_of(domain)), ("o", base64_of(order)), *(("f", field) for field in fields)]
        # With a range in the request, the ERP states the range of its answer. An empty list without it could come from
        # a proxy, and only the ERP itself may say that there are no records.
        answer, headers = await self._read(f"/{model}", params, by, context, {"range": f"records=0-{limit}"})
        if not isinstance(answer, list) or not headers.get("content-range", "").startswith("records 0-"):
            raise TryAgain("the answer to a search does not come from the ERP")
        return answer

    async def search_all(
        self, model: str, domain: Sequence[Any], fields: Sequence[str], by: Deadline
    ) -> list[Record]:
        """Return every record in a domain, by ascending id, in pages. Raises TryAgain or Refused."""
        records: list[Record] = []
        while True:
            after = [["id", ">", records[-1]["id"]]] if records else []
            page = await self.search(model, [*domain, *after], fields, by, limit=_PAGE_ROWS)
            records += page
            if len(page) < _PAGE_ROWS:
                return records

    async def get(self, model: str, number: int, fields: Sequence[str], by: Deadline) -> Record:
        """Return one record by its id. Raises TryAgain or Refused."""
        params = [("f", field) for field in fields]
        answer, _ = await self._read(f"/{model}/{number}", params, by, None, {})
        if not isinstance(answer, dict) or answer.get("id") != number:
            raise TryAgain("the answer to a read does not come from the ERP")
        return answer

    async def create(self, model: str, values: Mapping[str, Any], by: Deadline) -> int:
        """Create a record and return its id. Raises TryAgain, Refused or Uncertain."""
        answer = await self._write("POST", f"/{model}", values, by)
        if not isinstance(answer, dict) or not isinstance(answer.get("id"), int):
            raise Uncertain(f"the ERP created a record of {model} but returned no id")
        return int(answer["id"])

    async def create_many(self, model: str, values: Sequence[Mapping[str, Any]], by: Deadline) -> list[int]:
        """Create records in one transaction and return their ids in order. Raises TryAgain, Refused or Uncertain."""
        answer = await self._write("POST", f"/{model}/create", {"vlist": list(values)}, by)
        if not isinstance(answer, list) or len(answer) != len(values) or not all(map(_is_id, answer)):
            raise Uncertain(f"the ERP created {len(values)} records of {model} but did not return their ids")
        return answer

    async def write(self, model: str, number: int, values: Mapping[str, Any], by: Deadline) -> None:
        """Change a record in one transaction. Raises TryAgain, Refused or Uncertain."""
        await self._write("PUT", f"/{model}/{number}", values, by)

    async def act(self, model: str, number: int, action: str, by: Deadline) -> None:
        """Press a button of a record. Raises TryAgain, Refused or Uncertain."""
        await self._write("POST", f"/{model}/{number}/{action}", {}, by)

    async def call(self, model: str, action: str, values: Mapping[str, Any], by: Deadline) -> None:
        """Call a method of a model. Raises TryAgain, Refused or Uncertain."""
        await self._write("POST", f"/{model}/{action}", values, by)

    async def delete(self, model: str, number: int, by: Deadline) -> None:
        """Delete a record. Raises TryAgain, Refused or Uncertain."""
        await self._write("DELETE", f"/{model}/{number}", None, by)

    async def _read(
        self,
        path: str,
        params: Sequence[tuple[str, str]],
        by: Deadline,
        context: Mapping[str, Any] | None,
        extra: Mapping[str, str],
    ) -> tuple[Json, Mapping[str, str]]:
        encoded = base64_of(self.context | dict(context or {}))
        headers = self._headers | dict(extra) | {"x-tryton-context": encoded}
        try:
            answer = await self._http.request(
                "GET", self._models + path, headers=headers, params=params, timeout=by.left("to the ERP")
            )
        except NoAnswer as error:
            raise TryAgain(str(error)) from error
        if answer.status != 200:
            raise refusal_of(answer.status, answer.body) or TryAgain(unexpected(answer))
        try:
            return decode(answer.body), answer.headers
        except WireRefused as error:
            raise TryAgain(f"the answer of the ERP cannot be read: {error}") from error

    async def _write(self, method: str, path: str, values: Mapping[str, Any] | None, by: Deadline) -> Json:
        answer = await self._http.request(
            method,
            self._models + path,
            headers=self._headers | {"x-tryton-context": base64_of(self.context)},
            body=None if values is None else encode(values),
            timeout=by.left("to the ERP"),
        )
        if answer.status not in (200, 204):
            raise refusal_of(answer.status, answer.body) or Uncertain(unexpected(answer))
        if not answer.body:
            return None
        try:
            return decode(answer.body)
        except WireRefused as error:
            raise Uncertain(f"the answer of the ERP cannot be read: {error}") from error


def version(record: Mapping[str, Json]) -> str:
    """Return the version of a record: the time of its last change, as text that sorts by time."""
    changed: datetime = record["last_modified_at"]
    return changed.isoformat(timespec="microseconds")


def day(value: Json) -> str | None:
    """Return an accounting date as ISO text."""
    return value.isoformat() if isinstance(value, date) else None


def _is_id(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def unexpected(answer: Response) -> str:
    return f"the ERP answered {answer.status}: {answer.body[:200].decode('utf-8', 'replace').strip()}"
