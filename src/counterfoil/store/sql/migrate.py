"""Numbered schema files applied in order, once each, and remembered with their digests.

An applied file may never change: a change needs a new number.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources

from counterfoil.core.errors import Misconfigured
from counterfoil.store.sql.search import fill_words
from counterfoil.store.sql.statements import Dialect, Statement

TABLE = """
create table if not exists migration (
  number bigint primary key, name text not null, digest text not null, at bigint not null
)
"""


FILLS = {25: fill_words}
"""Work after the statements of a file that no statement can do, by the file's number."""


@dataclass(frozen=True, slots=True)
class SchemaFile:
    number: int
    name: str
    sql: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def statements(self) -> list[str]:
        """The file's statements; a semicolon ends a line only where it ends a statement."""
        text = "\n".join(line for line in self.sql.splitlines() if not line.strip().startswith("--"))
        return [part.strip() for part in text.split(";\n") if part.strip()]


def migrations(dialect: Dialect) -> list[SchemaFile]:
    """`0001_name.sql` for both, `0002_name.sqlite.sql` for one."""
    files = []
    for file in resources.files("counterfoil.store").joinpath("schema").iterdir():
        number, dash, rest = file.name.partition("_")
        parts = rest.split(".")
        if dash and parts[-1] == "sql" and (len(parts) == 2 or parts[1] == dialect):
            files.append(SchemaFile(int(number), file.name, file.read_text()))
    return sorted(files, key=lambda migration: migration.number)


async def migrate(all_: list[SchemaFile], at: int) -> None:
    """Bring the open database up to date; the caller holds a lock and one transaction around it.

    Raises Misconfigured when an applied file has changed or the database is newer than this program.
    """
    rows = await Statement("select number, name, digest from migration order by number", ())
    applied = {number: (name, digest) for number, name, digest in rows}
    numbers = {migration.number for migration in all_}
    for number, (name, _) in applied.items():
        if number not in numbers:
            raise Misconfigured(
                f"The database has migration {name}, which this version does not know: use a newer version."
            )
    for migration in all_:
        former = applied.get(migration.number)
        if former is not None:
            if former[1] != migration.digest:
                raise Misconfigured(
                    f"Migration {migration.name} was applied with another content than the installed file: "
                    "restore the file and add a new number for the change."
                )
            continue
        for statement in migration.statements:
            await Statement(statement, ())
        if migration.number in FILLS:
            await FILLS[migration.number]()
        statement = "insert into migration (number, name, digest, at) values ($1, $2, $3, $4)"
        await Statement(statement, (migration.number, migration.name, migration.digest, at))
