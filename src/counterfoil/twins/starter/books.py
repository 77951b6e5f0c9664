"""Rows of the starter's billing and ledger: one JSON object per line of a file, appended and never changed."""

from __future__ import annotations

import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

Row: TypeAlias = dict[str, Any]
ISSUED = ("external_id", "customer", "amount", "currency", "memo")
POSTED = ("external_id", "party", "account", "amount", "currency", "date")


class RefusedByBooks(Exception):
    """Answer to a request that the books do not take, with its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class StarterBooks:
    """Credits of billing, credits of the ledger, and their file. Every method may be called from several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        text = path.read_text("utf-8") if path.exists() else ""
        # A line without its end was cut by a crash before its request was answered.
        complete = text[: text.rfind("\n") + 1]
        if complete != text:
            path.write_text(complete, "utf-8")
        self._rows: list[Row] = [json.loads(line) for line in complete.splitlines()]

    def issue(self, key: str, body: Row) -> Row:
        """Issue a credit in billing. A repeated idempotency key gets the same credit."""
        with self._lock:
            for row in self._of("issued"):
                if row["key"] == key:
                    return row
            number = f"CR-{len(self._of('issued')) + 1}"
            return self._append("issued", number=number, key=key, created=_today(), **_fields(body, ISSUED))

    def void(self, number: str, void_id: str) -> Row:
        """Void a credit of billing. A repeat with the same id gets the same answer."""
        with self._lock:
            if not any(row["number"] == number for row in self._of("issued")):
                raise RefusedByBooks(404, f"there is no credit {number}")
            for row in self._of("voided"):
                if row["number"] == number:
                    if row["void_id"] == void_id:
                        return row
                    raise RefusedByBooks(409, f"credit {number} is void already")
            return self._append("voided", number=number, void_id=void_id)

    def credits(self, external_id: str | None, void_id: str | None) -> list[Row]:
        """Return the credits of billing, or those with this id or this id of their voiding."""
        with self._lock:
            voids = {row["number"]: row["void_id"] for row in self._of("voided")}
            rows = [{**row, "void_id": voids.get(row["number"], "")} for row in self._of("issued")]
        return [
            row for row in rows
            if external_id in (None, row["external_id"]) and void_id in (None, row["void_id"])
        ]  # fmt: skip

    def post(self, request_id: str, body: Row) -> Row:
        """Post a credit in the ledger, which refuses a second document with the same external id."""
        fields = _fields(body, POSTED)
        with self._lock:
            if any(row["external_id"] == fields["external_id"] for row in self._of("posted")):
                raise RefusedByBooks(
                    409, f"a document with the external id {fields['external_id']} exists already"
                )
            seq = len(self._of("posted")) + 1
            return self._append(
                "posted", seq=seq, id=f"LE-{seq}", type="credit.posted", revision=1, request_id=request_id, **fields
            )  # fmt: skip

    def posted(self, request_id: str | None = None, after: int = 0, limit: int = 100) -> list[Row]:
        """Return documents of the ledger, oldest first."""
        with self._lock:
            rows = self._of("posted")
        return [row for row in rows if row["seq"] > after and request_id in (None, row["request_id"])][:limit]

    def _of(self, what: str) -> list[Row]:
        return [row for row in self._rows if row["what"] == what]

    def _append(self, what: str, **row: Any) -> Row:
        """Write a row to the disk before it is answered."""
        entry = {"what": what, **row}
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._rows.append(entry)
        return entry


def _fields(body: Row, names: tuple[str, ...]) -> Row:
    """Return these fields of a body. Raises RefusedByBooks if one is missing."""
    missing = [name for name in names if body.get(name) in (None, "")]
    if missing:
        raise RefusedByBooks(422, f"these fields are missing: {', '.join(missing)}")
    return {name: body[name] for name in names}


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
