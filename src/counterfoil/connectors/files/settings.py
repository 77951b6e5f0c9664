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

Format = Literal["csv", "jsonl", "parquet", "xlsx", "camt.053"]
CellForm = Literal["text", "decimal", "date"]
ColumnName = Annotated[str, Field(min_length=1)]
Label = Annotated[str, Field(min_length=1)]
"""Text with which a line begins."""
AMOUNT = "amount"
"""Column that `amount` of the settings adds: the signed amount of the row."""
_WILDCARDS = frozenset("*?[")


class AmountForm(BaseModel):
    """Columns of the amount of a row: one number, with or without a column of the sign; or one number for each side."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: ColumnName | None = None
    sign: ColumnName | None = None
    plus: ColumnName | None = None
    minus: ColumnName | None = None
    debit: ColumnName | None = None
    credit: ColumnName | None = None

    @model_validator(mode="after")
    def _is_one_form(self) -> AmountForm:
        if tuple(sorted(self.model_fields_set)) not in _AMOUNT_FORMS:
            raise ValueError(
                "write `column`, or `column` with `sign`, `plus` and `minus`, or `debit` and `credit`"
            )
        if self.sign is not None and self.plus == self.minus:
            raise ValueError("`plus` and `minus` are the same word")
        return self

    @property
    def numbers(self) -> list[str]:
        return [column for column in (self.column, self.debit, self.credit) if column is not None]


_STATEMENT_SETTINGS = {"files", "lists", "type", "format", "constants"}
_STATEMENT_ID = ("account", "statement", "reference")
_AMOUNT_FORMS = {("column",), ("column", "minus", "plus", "sign"), ("credit", "debit")}


class BookFiles(BaseModel):
    """Files of one book, and the form of their rows.

    `files` is a pattern below the folder: `statement-*.csv`. With a wildcard, `lists` says whether the last file by name
    is the whole book (`newest`), or all files together (`all`). `columns` states which columns hold numbers and dates in a file
    of texts. Without `id`, equal rows of one file differ by their count.

    `header` and `trailer` begin the line of the header and the first line below the rows. Lines that begin with `opening` and
    `closing` state the balances that the rows must lead from and to. `amount` and `constants` add columns.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    files: str
    lists: Literal["newest", "all"] | None = None
    id: ColumnNames = ()
    version: ColumnNames = ()
    type: Annotated[str, Field(min_length=1)] | None = None
    format: Format | None = None
    columns: Mapping[str, CellForm] = {}
    amount: AmountForm | None = None
    constants: Mapping[str, str] = {}
    header: Label | None = None
    trailer: Label | None = None
    opening: Label | None = None
    closing: Label | None = None
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

    @model_validator(mode="after")
    def _ties(self) -> BookFiles:
        if (self.opening is None) != (self.closing is None):
            raise ValueError("`opening` and `closing` belong together: write both, or none")
        if self.opening is not None and (self.amount is None or self.decimal is None):
            raise ValueError(
                "`opening` and `closing` need `amount` and `decimal`, so that the rows can be added"
            )
        if self.format in ("jsonl", "parquet") and self.is_framed:
            raise ValueError(
                f"`{self.format}` has rows alone; remove `header`, `trailer`, `opening` and `closing`"
            )
        return self

    @model_validator(mode="after")
    def _has_the_columns_of_a_statement(self) -> BookFiles:
        if not self.is_statement:
            return self
        stated = self.model_fields_set - _STATEMENT_SETTINGS
        if stated:
            names = ", ".join(f"`{name}`" for name in sorted(stated))
            raise ValueError(f"a statement has its own columns and balances; remove {names}")
        if self.lists == "newest":
            raise ValueError("`lists` is `all`: a statement is a part of the book")
        return self

    @property
    def is_statement(self) -> bool:
        return self.format == "camt.053"

    @property
    def is_framed(self) -> bool:
        """The files have lines outside of their table."""
        return any(label is not None for label in (self.header, self.trailer, self.opening, self.closing))

    @property
    def forms(self) -> Mapping[str, CellForm]:
        """Form of each column that the settings state."""
        numbers = [] if self.amount is None else self.amount.numbers
        return {**self.columns, **dict.fromkeys(numbers, "decimal")}

    @property
    def has_pattern(self) -> bool:
        return bool(_WILDCARDS & set(self.files))

    @property
    def required(self) -> list[str]:
        """Columns that every file has."""
        sign = [] if self.amount is None or self.amount.sign is None else [self.amount.sign]
        derived = set(self.constants) | (set() if self.amount is None else {AMOUNT})
        identity = [column for column in (*self.id, *self.version) if column not in derived]
        return list(dict.fromkeys((*identity, *self.forms, *sign)))

    def form(self, book: str) -> RowForm:
        if self.is_statement:
            return RowForm(book, self.type or book, _STATEMENT_ID, (), is_final=True)
        return RowForm(book, self.type or book, self.id, self.version)


class FilesSettings(BaseModel):
    """All settings. A file is complete when it has not changed for `settle` seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Annotated[str, PATH, Field(min_length=1)]
    books: Annotated[Mapping[str, BookFiles], Field(min_length=1)]
    settle: Seconds = 2.0


_PLACES: Places = {("books", "*"): BookFiles, ("books", "*", "amount"): AmountForm}


def read(config: SystemConfig) -> tuple[FilesSettings | None, list[SettingProblem]]:
    """Return the settings, or None; and all problems."""
    settings, problems = read_own_settings(FilesSettings, config, _PLACES)
    if config.url:
        problems.append(SettingProblem(("url",), "a system of files has no address", "remove `url`"))
    problems += [
        SettingProblem(("secrets", name), f"unknown secret `{name}`", "remove it") for name in config.secrets
    ]
    return settings, problems
