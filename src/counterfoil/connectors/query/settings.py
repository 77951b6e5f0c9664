"""Settings of the `query` connector: the database, and a query for each book."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from counterfoil.connectors.row_deliveries import ColumnNames, RowForm
from counterfoil.connectors.sdk import SettingProblem, SystemConfig
from counterfoil.connectors.settings import PATH, Places, read_own_settings
from counterfoil.core.finding import did_you_mean

_READS = re.compile(r"\s*(select|with|values)\b", re.IGNORECASE)
SCHEMES = ("postgresql", "postgres")


class BookQuery(BaseModel):
    """Query of one book. `key` has the columns that tell all rows apart, and by which pages are read; no value of it is null."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    query: str
    key: Annotated[ColumnNames, Field(min_length=1)]
    version: ColumnNames = ()
    type: Annotated[str, Field(min_length=1)] | None = None

    @field_validator("query")
    @classmethod
    def _reads(cls, value: str) -> str:
        text = value.strip().removesuffix(";").rstrip()
        if not _READS.match(text):
            raise ValueError("a book is a query that begins with `select`, `with` or `values`")
        return text

    def form(self, book: str) -> RowForm:
        return RowForm(book, self.type or book, self.key, self.version)


class QuerySettings(BaseModel):
    """All settings. `file` is a SQLite database; a PostgreSQL database is the `url` of the system."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    books: Annotated[Mapping[str, BookQuery], Field(min_length=1)]
    file: Annotated[str | None, PATH, Field(min_length=1)] = None


_PLACES: Places = {("books", "*"): BookQuery}


def read(config: SystemConfig) -> tuple[QuerySettings | None, list[SettingProblem]]:
    """Return the settings, or None; and all problems, also of the address and the secrets."""
    settings, problems = read_own_settings(QuerySettings, config, _PLACES)
    has_file = "file" in config.settings
    if has_file and config.url:
        problems.append(SettingProblem(("url",), "the system has a `url` and a `file`", "remove one of them"))
    elif not has_file:
        problems += _address(config.url)
    allowed = () if has_file else ("password",)
    problems += [
        SettingProblem(
            ("secrets", name), f"unknown secret `{name}`", did_you_mean(name, allowed, "remove it")
        )
        for name in config.secrets
        if name not in allowed
    ]
    return settings, problems


def _address(url: str) -> list[SettingProblem]:
    """Return the problems of the address of a PostgreSQL database. They never show a password."""
    example = "write postgresql://USER@HOST/DATABASE"
    if not url:
        message = "the database is missing"
        return [SettingProblem(("url",), message, f"{example}, or for SQLite the setting `file`")]
    try:
        parts = urlsplit(url)
        fits = parts.scheme in SCHEMES and bool(parts.hostname) and len(parts.path) > 1 and parts.port != 0
        has_password = parts.password is not None or "password" in parse_qs(parts.query)
    except ValueError:
        fits, has_password = False, False
    if not fits:
        return [SettingProblem(("url",), "the address is not that of a PostgreSQL database", example)]
    if has_password:
        return [SettingProblem(("url",), "the address has a password", "put it into `secrets` as `password`")]
    return []
