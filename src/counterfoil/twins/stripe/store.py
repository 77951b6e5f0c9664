"""SQLite file of the twin and all SQL on it: settings, objects, saved responses, faults, deliveries.

Conditions that callers pass to `where` are fragments over the JSON body of an object, never values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import apsw
import msgspec

from counterfoil.twins.stripe.errors import Obj

_SCHEMA = """
create table if not exists object (
  seq integer primary key, id text not null unique, type text not null, created integer not null,
  customer text, parent text, due integer, body text not null);
create index if not exists object_due on object(due) where due is not null;
create index if not exists object_type on object(type, seq);
create index if not exists object_customer on object(customer, type, seq) where customer is not null;
create index if not exists object_parent on object(parent, type, seq) where parent is not null;
create table if not exists setting (key text primary key, value text not null);
create table if not exists answer (
  key text primary key, digest text not null, status integer not null, headers text not null,
  body blob not null, created integer not null);
create table if not exists fault (no integer primary key, body text not null, left integer not null);
create table if not exists delivery (
  no integer primary key, event text not null, endpoint text not null, due real not null, first real not null,
  tries integer not null default 0, state text not null default 'waiting');
create index if not exists delivery_due on delivery(state, due);
create index if not exists delivery_event on delivery(event);
create table if not exists try (
  no integer primary key, delivery integer not null, at integer not null, status integer, message text not null);
"""
_encoder = msgspec.json.Encoder(decimal_format="number")
_decoder = msgspec.json.Decoder(float_hook=Decimal)


def encode(value: Any) -> bytes:
    return _encoder.encode(value)


def decode(text: str | bytes) -> Any:
    return _decoder.decode(text)


def _text(value: Any) -> str:
    return _encoder.encode(value).decode()


class TwinStore:
    """Store for one thread. Survives the end of its process at any time."""

    def __init__(self, path: str) -> None:
        self.db = apsw.Connection(path)
        self.db.execute("pragma journal_mode=wal; pragma synchronous=normal; pragma busy_timeout=2000")
        self.db.execute(_SCHEMA)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Open a transaction; it may be nested."""
        with self.db:
            yield

    def close(self) -> None:
        self.db.close()

    def _one(self, sql: str, arguments: Sequence[Any] = ()) -> Any:
        return self.db.execute(sql, arguments).fetchone()

    # -- settings

    def has_setting(self, key: str) -> bool:
        return self._one("select 1 from setting where key = ?", (key,)) is not None

    def setting(self, key: str) -> Any:
        row = self._one("select value from setting where key = ?", (key,))
        return None if row is None else decode(row[0])

    def set(self, key: str, value: Any) -> None:
        self.db.execute("insert or replace into setting values (?, ?)", (key, _text(value)))

    # -- objects

    def add(self, body: Obj, parent: str | None, created: int, due: int | None) -> None:
        self.db.execute(
            "insert into object(id, type, created, customer, parent, due, body) values (?, ?, ?, ?, ?, ?, ?)",
            (body["id"], body["object"], created, body.get("customer"), parent, due, _text(body)),
        )

    def save(self, body: Obj, due: int | None) -> None:
        self.db.execute(
            "update object set body = ?, customer = ?, due = ? where id = ?",
            (_text(body), body.get("customer"), due, body["id"]),
        )

    def remove(self, id: str) -> None:
        self.db.execute("delete from object where id = ?", (id,))

    def object(self, id: str, type: str | None = None) -> Obj | None:
        row = self._one("select body from object where id = ? and type = coalesce(?, type)", (id, type))
        return None if row is None else decode(row[0])

    def place(self, id: str) -> tuple[int, str | None] | None:
        """Return the number of an object in order of creation, and the id of its parent."""
        row = self._one("select seq, parent from object where id = ?", (id,))
        return None if row is None else (row[0], row[1])

    def where(
        self, type: str, condition: str, arguments: Sequence[Any], order: str, limit: int, offset: int
    ) -> list[Obj]:
        rows = self.db.execute(
            f"select body from object where type = ? and {condition} order by {order} limit ? offset ?",  # noqa: S608
            (type, *arguments, limit, offset),
        )
        return [decode(row[0]) for row in rows]

    def counts(self) -> Obj:
        return dict(self.db.execute("select type, count(*) from object group by type order by type"))

    def next_due(self) -> int | None:
        """Return the earliest time at which automatic work is due."""
        row = self._one("select min(due) from object where due is not null")
        return None if row[0] is None else int(row[0])

    def clear(self, keep_endpoints: bool) -> None:
        """Delete all objects (except webhook endpoints on request), saved responses, faults and deliveries."""
        self.db.execute(
            "delete from object where not (:keep and type = 'webhook_endpoint')", {"keep": keep_endpoints}
        )
        self.db.execute("delete from answer; delete from delivery; delete from try; delete from fault")

    # -- saved responses

    def answer(self, key: str, since: int) -> tuple[str, int, dict[str, str], bytes] | None:
        """Return the digest of the parameters, and the status, headers and body of their response."""
        row = self._one(
            "select digest, status, headers, body from answer where key = ? and created > ?", (key, since)
        )
        return None if row is None else (row[0], row[1], decode(row[2]), bytes(row[3]))

    def save_answer(
        self, key: str, digest: str, status: int, headers: dict[str, str], body: bytes, at: int
    ) -> None:
        self.db.execute(
            "insert or replace into answer values (?, ?, ?, ?, ?, ?)",
            (key, digest, status, _text(headers), body, at),
        )

    # -- faults

    def faults(self) -> list[Obj]:
        rows = self.db.execute("select no, body, left from fault order by no")
        return [{**decode(body), "no": no, "left": left} for no, body, left in rows]

    def add_fault(self, body: Obj, times: int) -> int:
        self.db.execute("insert into fault(body, left) values (?, ?)", (_text(body), times))
        return self.db.last_insert_rowid()

    def save_fault(self, no: int, body: Obj, left: int) -> None:
        """Update a fault; one without uses left is deleted."""
        self.db.execute("update fault set body = ?, left = ? where no = ?", (_text(body), left, no))
        self.db.execute("delete from fault where left < 1")

    def clear_faults(self) -> None:
        self.db.execute("delete from fault")

    # -- deliveries

    def plan_delivery(self, event: str, endpoint: str, due: float) -> None:
        self.db.execute(
            "insert into delivery(event, endpoint, due, first) values (?, ?, ?, ?)",
            (event, endpoint, due, due),
        )

    def waiting(self, limit: int) -> list[tuple[int, float]]:
        """Return (number, due) of the next deliveries, earliest first."""
        rows: list[Any] = self.db.execute(
            "select no, due from delivery where state = 'waiting' order by due limit ?", (limit,)
        ).fetchall()
        return rows

    def waiting_for(self, event: str) -> int:
        """Return the number of endpoints that have not yet accepted an event."""
        row = self._one(
            "select count(distinct endpoint) from delivery where event = ? and state = 'waiting'", (event,)
        )
        return int(row[0])

    def delivery(self, no: int) -> tuple[str, str, float, int] | None:
        """Return event, endpoint, first due time, and the number of attempts."""
        row = self._one("select event, endpoint, first, tries from delivery where no = ?", (no,))
        return None if row is None else (row[0], row[1], row[2], row[3])

    def record_attempt(
        self, no: int, at: int, status: int | None, message: str, state: str, due: float
    ) -> None:
        with self.db:
            self.db.execute(
                "insert into try(delivery, at, status, message) values (?, ?, ?, ?)",
                (no, at, status, message),
            )
            self.db.execute(
                "update delivery set tries = tries + 1, state = ?, due = ? where no = ?", (state, due, no)
            )

    def drop_delivery(self, no: int) -> None:
        self.db.execute("update delivery set state = 'dropped' where no = ?", (no,))

    def drop_endpoint(self, endpoint: str) -> None:
        self.db.execute(
            "update delivery set state = 'dropped' where endpoint = ? and state = 'waiting'", (endpoint,)
        )

    def delivery_counts(self) -> Obj:
        return dict(self.db.execute("select state, count(*) from delivery group by state order by state"))

    def delivery_log(self) -> list[Obj]:
        """Return every planned delivery with its attempts, oldest first."""
        attempts_of: dict[int, list[Obj]] = {}
        attempts: Any = self.db.execute("select delivery, at, status, message from try order by no")
        for delivery, at, status, message in attempts:
            attempts_of.setdefault(delivery, []).append({"at": at, "status": status, "message": message})
        rows = self.db.execute(
            "select d.no, d.event, json_extract(o.body, '$.type'), d.endpoint, d.due, d.state "
            "from delivery d join object o on o.id = d.event order by d.no"
        )
        names = ("no", "event", "type", "endpoint", "due", "state")
        return [
            {**dict(zip(names, row, strict=True)), "attempts": attempts_of.get(int(str(row[0])), [])}
            for row in rows
        ]
