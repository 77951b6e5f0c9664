"""The `files` connector: a system whose books and feeds are files in a folder.

A feed delivers the rows of each file when it arrives, and of a changed file again: known rows are repeats. A listing
shows the newest file, or all files together, as they are now. Nothing of a file is delivered before all of it was read.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from counterfoil.connectors.files.closing_balances import (
    STATEMENT_BALANCE,
    STATEMENT_BALANCE_DOC,
    ClosingBalance,
    balances_at,
    closing_balances,
    cut_off,
    has_balances,
)
from counterfoil.connectors.files.cursors import BookPlace, FeedPlace, read_place, write_place
from counterfoil.connectors.files.folder import FileStamp, files_of
from counterfoil.connectors.files.inspection import FilePage, Inspection
from counterfoil.connectors.files.reader import FileRefused
from counterfoil.connectors.files.settings import BookFiles, FilesSettings, read
from counterfoil.connectors.files.statement_chain import StatementChain
from counterfoil.connectors.read_only import ReadOnlySystem
from counterfoil.connectors.sdk import (
    Json,
    OperationSpec,
    Page,
    Repeat,
    SystemConfig,
    WrongConfiguration,
)
from counterfoil.core.errors import Misconfigured, TryAgain

LOOK_SECONDS = 0.1
"""Interval between looks at a file that is being written."""
INSPECTION_SHARE = 0.5
"""Share of a call's time that an inspection may take; the next call continues it."""


def connect(config: SystemConfig) -> FilesSystem:
    """Build the connector that `config.settings` describe; see `FilesSettings`. Raises one WrongConfiguration."""
    settings, problems = read(config)
    if problems or settings is None:
        raise WrongConfiguration(problems)
    return FilesSystem(config.name, settings)


class FilesSystem(ReadOnlySystem):
    """Connector of one folder. Each book is a listing and a feed."""

    def __init__(self, name: str, settings: FilesSettings) -> None:
        super().__init__(name)
        self.feeds: Sequence[str] = tuple(settings.books)
        self.listings: Mapping[str, Sequence[str]] = {
            book: (files.form(book).type,) for book, files in settings.books.items()
        }
        self._settings = settings
        self._chain, self._chain_lock = StatementChain(), asyncio.Lock()
        if any(map(has_balances, settings.books.values())):
            spec = OperationSpec(STATEMENT_BALANCE, Repeat.READ, doc=STATEMENT_BALANCE_DOC)
            self.operations = {STATEMENT_BALANCE: spec}
        self._readings = {(book, way): _BookReader() for book in settings.books for way in ("feed", "list")}

    async def list_book(self, listing: str, cursor: str | None, limit: int, timeout: float) -> Page:
        book, place = self._book(listing), read_place(BookPlace, cursor)
        until = time.monotonic() + timeout * INSPECTION_SHARE
        reading = self._readings[listing, "list"]
        async with reading.lock:
            try:
                files = await self._settled(book, until, None if place is None else place.file)
                return await asyncio.to_thread(reading.run, self._list, listing, files, place, limit, until)
            except FileRefused as error:
                await asyncio.to_thread(reading.close)
                raise Misconfigured(str(error)) from error

    async def poll(self, feed: str, cursor: str | None, limit: int, timeout: float) -> Page:
        book, place = self._book(feed), read_place(FeedPlace, cursor)
        until = time.monotonic() + timeout * INSPECTION_SHARE
        reading = self._readings[feed, "feed"]
        async with reading.lock:
            try:
                files = await self._arrived(book, until, place)
                return await asyncio.to_thread(reading.run, self._poll, feed, files, place, limit, until)
            except FileRefused as error:
                await asyncio.to_thread(reading.close)
                raise Misconfigured(str(error)) from error

    async def read(self, operation: str, arguments: Mapping[str, Json], timeout: float) -> Json:
        if operation not in self.operations:
            return await super().read(operation, arguments, timeout)
        at, until = cut_off(arguments), time.monotonic() + timeout * INSPECTION_SHARE
        balances: list[ClosingBalance] = []
        try:
            for name, book in self._settings.books.items():
                if has_balances(book):
                    files = await self._settled(book, until, None)
                    async with self._chain_lock:
                        balances += await asyncio.to_thread(closing_balances, name, book, files, self._chain)
        except FileRefused as error:
            raise Misconfigured(str(error)) from error
        return {"balances": balances_at(at, balances)}

    async def check(self, timeout: float) -> None:
        try:
            for book in self._settings.books.values():
                await asyncio.to_thread(files_of, self._settings.folder, book.files)
        except FileRefused as error:
            raise Misconfigured(str(error)) from error

    async def close(self) -> None:
        for reading in self._readings.values():
            await asyncio.to_thread(reading.close)

    def _book(self, name: str) -> BookFiles:
        book = self._settings.books.get(name)
        if book is None:
            raise Misconfigured(f"system {self._name} has no book {name}")
        return book

    # ------------------------------------------------------------------ listings

    async def _settled(self, book: BookFiles, until: float, present: str | None) -> list[FileStamp]:
        """Return the files of a book. At the beginning of a listing, wait for files that are being written.

        Later, only the `present` file matters besides complete ones. Raises TryAgain if a file does not settle.
        """
        while True:
            files = await asyncio.to_thread(files_of, self._settings.folder, book.files)
            if present is not None:
                return [file for file in files if self._is_settled(file) or file.name == present]
            relevant = files if book.lists == "all" else files[-1:]
            fresh = [file.name for file in relevant if not self._is_settled(file)]
            if not fresh:
                return relevant
            if time.monotonic() > until:
                raise TryAgain(f"{fresh[0]} is still being written")
            await asyncio.sleep(min(LOOK_SECONDS, self._settings.settle))

    def _is_settled(self, file: FileStamp) -> bool:
        return time.time_ns() - file.changed_ns >= self._settings.settle * 1_000_000_000

    def _list(
        self,
        reading: _BookReader,
        listing: str,
        files: list[FileStamp],
        place: BookPlace | None,
        limit: int,
        until: float,
    ) -> Page:
        book = self._book(listing)
        if place is not None and book.lists != "all":
            files = [file for file in files if file.name == place.file]
        if not files:
            name = book.files if place is None else place.file
            raise FileRefused(f"there is no file {name} in {self._settings.folder}")
        inspection = reading.of(files, book, listing, files)
        if not inspection.advance(until):
            return Page((), "" if place is None else write_place(place), more=True)
        at, start = _position(inspection, place)
        page = inspection.page(at, start, limit)
        file = inspection.files[at]
        if page.more:
            following = BookPlace(file.stamp.name, file.digest, page.next)
        elif at + 1 < len(inspection.files):
            file = inspection.files[at + 1]
            following = BookPlace(file.stamp.name, file.digest)
        else:
            reading.close()
            return Page(page.deliveries, write_place(BookPlace(file.stamp.name, file.digest, page.next)))
        return Page(page.deliveries, write_place(following), more=True)

    # ------------------------------------------------------------------ feeds

    async def _arrived(self, book: BookFiles, until: float, place: FeedPlace | None) -> list[FileStamp]:
        """Return the files of a feed from a place on, oldest first. Wait until the first one is complete.

        Where each file is the whole book, only the last one by name counts: it shows the present of all earlier ones.
        A file that is not complete yet is the newest one, so none is passed over.
        """
        while True:
            files = await asyncio.to_thread(files_of, self._settings.folder, book.files)
            files = sorted(files if book.lists == "all" else files[-1:])
            if place is not None:
                reached = (place.changed_ns, place.file, place.is_over)
                files = [file for file in files if (file.changed_ns, file.name, False) >= reached]
            # Statements are judged as a chain, so any of them that is being written is waited for.
            awaited = files if book.is_statement else files[:1]
            if all(self._is_settled(file) for file in awaited):
                return files
            if time.monotonic() > until:
                return []
            await asyncio.sleep(min(LOOK_SECONDS, self._settings.settle))

    def _poll(
        self,
        reading: _BookReader,
        feed: str,
        files: list[FileStamp],
        place: FeedPlace | None,
        limit: int,
        until: float,
    ) -> Page:
        before = "" if place is None else write_place(place)
        if not files:
            return Page((), before)
        file = files[0]
        is_same = place is not None and (file.changed_ns, file.name) == (place.changed_ns, place.file)
        book = self._book(feed)
        linked = files_of(self._settings.folder, book.files) if book.is_statement else []
        inspection = reading.of([file], book, feed, [one for one in linked if self._is_settled(one)])
        if not inspection.advance(until):
            return Page((), before, more=True)
        page: FilePage = inspection.page(0, place.rows if place is not None and is_same else 0, limit)
        if not page.more:
            reading.close()
        following = FeedPlace(file.changed_ns, file.name, page.next, not page.more)
        return Page(page.deliveries, write_place(following), more=page.more or len(files) > 1)


class _BookReader:
    """The files that one book is read from now. Calls for one book take turns, also with the rest of a call that was given up."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self._thread = threading.RLock()
        self._inspection: Inspection | None = None
        self._chain = StatementChain()

    def run(self, work: Callable[..., Page], *arguments: object) -> Page:
        """Return what `work` does with this reader and its arguments."""
        with self._thread:
            return work(self, *arguments)

    def of(
        self, files: Sequence[FileStamp], book: BookFiles, name: str, linked: Sequence[FileStamp]
    ) -> Inspection:
        """Return the inspection of these files among all `linked` ones of the book, begun or not."""
        if self._inspection is None or not self._inspection.is_of(files):
            self.close()
            self._inspection = Inspection(files, book, book.form(name), self._chain, linked)
        return self._inspection

    def close(self) -> None:
        with self._thread:
            if self._inspection is not None:
                self._inspection.close()
                self._inspection = None


def _position(inspection: Inspection, place: BookPlace | None) -> tuple[int, int]:
    """Return the number of the file and of the row at which a listing goes on. Raises FileRefused if it cannot."""
    if place is None:
        return 0, 0
    for at, file in enumerate(inspection.files):
        if file.stamp.name == place.file:
            if file.digest != place.digest:
                raise FileRefused(
                    f"{place.file} changed while the sweep read it; sweep again when it is complete"
                )
            return at, place.rows
    raise FileRefused(f"{place.file} was removed while the sweep read it; sweep again")
