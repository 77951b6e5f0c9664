"""Places in a listing and in a feed of files, as the store holds them between two pages."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from counterfoil.core.errors import Misconfigured

_Cursor = TypeVar("_Cursor", bound=msgspec.Struct)


class BookPlace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Place in a listing: rows of one file that are listed, by its name and the digest of its content."""

    file: str
    digest: str
    rows: int = 0


class FeedPlace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Place in a feed: rows of one file that are delivered, by the time of its change. Later files follow."""

    changed_ns: int
    file: str
    rows: int = 0
    is_over: bool = False


def read_place(type_: type[_Cursor], text: str | None) -> _Cursor | None:
    """Return the place of a text from `write_place`, None for the beginning. Raises Misconfigured for another text."""
    try:
        return msgspec.json.decode(text, type=type_) if text else None
    except msgspec.MsgspecError as error:
        raise Misconfigured(f"the stored cursor cannot be read: {error}") from error


def write_place(place: msgspec.Struct) -> str:
    return msgspec.json.encode(place).decode()
