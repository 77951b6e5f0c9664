"""Settings of the `files` connector: the folder, and the books in it."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from datetime import date
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from counterfoil.connectors.row_deliveries import ColumnNames, RowForm
from counterfoil.connectors.sdk import SettingProblem, SystemConfig
from counterfoil.connectors.settings import PATH, Flag, Places, Seconds, read_own_settings

Format = Literal["csv", "jsonl", "parquet", "xlsx"]
_WILDCARDS = frozenset("*?[")


class BookFiles(BaseModel):
    """Files of one book, and the form of their rows.

    `files` is a pattern below the folder: `statement-*.csv`. With a wildcard, `lists` says whether the last file by name
    is the whole book (`newest`), or all files together (`all`). `columns` states which columns hold numbers and dates in a file
    of texts. Without `id`, equal rows of one file differ by their count.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    files: str
    lists: Literal["newest", "all"] | None = None
    id: ColumnNames = ()
    version: ColumnNames = ()
    type: Annotated[str, Field(min_length=1)] | None = None
    format: Format | None = None
    columns: Mapping[str, Literal["text", "decimal", "date"]] = {}
    encoding: str | None = None
    separator: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    decimal: Literal[".", ","] | None = None
    date: str | None = None
    sheet: str | None = None
    unterminated: Flag = False

    @field_validator("files")
    @classmethod
    def _is_below(cls, value: str) -> str:
        path = PurePosixPath(value)
        if not value or path.is_absolute() or ".." in path.parts or "\\" in value or "\0" in value:
            raise ValueError(f"`{value}` leads out of the folder; write a pattern such as `statement-*.csv`")
        return value

    @field_validator("encoding")
    @classmethod
    def _is_encoding(cls, value: str | None) -> str | None:
        try:
            if value is not None:
                codecs.lookup(value)
        except LookupError:
            raise ValueError(
                f"`{value}` is no encoding; write one such as `utf-8`, `cp1252` or `utf-16`"
            ) from None
        return value

    @field_validator("date")
    @classmethod
    def _is_date_form(cls, value: str | None) -> str | None:
        if value is not None and date(2031, 12, 29).strftime(value).count("29") != 1:
            raise ValueError(f"`{value}` is no form of a date; write one such as `%d.%m.%Y`")
        return value

    @model_validator(mode="after")
    def _lists_files(self) -> BookFiles:
        if self.lists is None and self.has_pattern:
            raise ValueError(
                "`lists` is missing: write `newest` if each file is the whole book, `all` if the files together are"
            )
        if self.version and not self.id:
            raise ValueError("`version` needs `id`: only a record with an id has versions")
        return self

    @property
    def has_pattern(self) -> bool:
        return bool(_WILDCARDS & set(self.files))

    @property
    def required(self) -> list[str]:
        """Columns that every file has."""
        return list(dict.fromkeys((*self.id, *self.version, *self.columns)))

    def form(self, book: str) -> RowForm:
        return RowForm(book, self.type or book, self.id, self.version)


class FilesSettings(BaseModel):
    """All settings. A file is complete when it has not changed for `settle` seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Annotated[str, PATH, Field(min_length=1)]
    books: Annotated[Mapping[str, BookFiles], Field(min_length=1)]
    settle: Seconds = 2.0


_PLACES: Places = {("books", "*"): BookFiles}


def read(config: SystemConfig) -> tuple[FilesSettings | None, list[SettingProblem]]:
    """Return the settings, or None; and all problems."""
    settings, problems = read_own_settings(FilesSettings, config, _PLACES)
    if config.url:
        problems.append(SettingProblem(("url",), "a system of files has no address", "remove `url`"))
    problems += [
        SettingProblem(("secrets", name), f"unknown secret `{name}`", "remove it") for name in config.secrets
    ]
    return settings, problems
