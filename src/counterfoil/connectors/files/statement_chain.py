"""Statements of a book as a chain for each account: none is missing, none was changed, and each opens as the former closed."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from counterfoil.connectors.files.folder import FileStamp
from counterfoil.connectors.files.reader import FileRefused, SourceRow
from counterfoil.connectors.files.readers.camt import read_statements
from counterfoil.connectors.files.readers.camt_statement import StatementSummary

log = logging.getLogger("counterfoil.files")


class StatementChain:
    """Summaries of the statements in files, which are read once for each content unless their rows are needed again."""

    def __init__(self) -> None:
        self._summaries: dict[FileStamp, list[StatementSummary]] = {}

    def read(self, file: FileStamp) -> Iterator[None]:
        """Read the statements of a file unless they are present, row by row. Raises FileRefused."""
        if file not in self._summaries:
            yield from (None for _ in self.rows(file))

    def rows(self, file: FileStamp) -> Iterator[SourceRow]:
        """Yield the rows of a file, and learn its statements by the way. Raises FileRefused."""
        summaries = []
        for part in read_statements(file.path):
            if isinstance(part, StatementSummary):
                summaries.append(part)
            else:
                yield part
        self._summaries[file] = summaries
        pending = sum(summary.pending for summary in summaries)
        if pending:
            log.info("%s: %d entries are left out, because the bank has not booked them", file.name, pending)

    def statements(self, file: FileStamp) -> Sequence[StatementSummary]:
        """Return the statements of a file that was read."""
        return self._summaries[file]

    def check(self, files: Sequence[FileStamp]) -> None:
        """Raise FileRefused unless the statements of these files, all read, are one chain for each account."""
        self._summaries = {file: self._summaries[file] for file in files}
        accounts: dict[str, list[StatementSummary]] = defaultdict(list)
        first: dict[tuple[str, str, int], StatementSummary] = {}
        for summary in (one for file in files for one in self._summaries[file]):
            other = first.setdefault((summary.account, summary.id, summary.page), summary)
            if other is summary:
                accounts[summary.account].append(summary)
            elif other.digest != summary.digest:
                raise FileRefused(
                    f"statement {summary.id} of account {summary.account} stands in {other.file} and, with another content, in "
                    f"{summary.file}; ask the bank which one counts, and remove the other"
                )
        for statements in accounts.values():
            for former, later in pairwise(sorted(statements, key=_order)):
                _check_pair(former, later)


def _order(one: StatementSummary) -> tuple[object, ...]:
    numbers = (one.electronic_number or 0, one.legal_number or 0)
    return (one.closing.day, *numbers, one.page, one.created, one.id)


def _check_pair(former: StatementSummary, later: StatementSummary) -> None:
    for before, after in (
        (former.electronic_number, later.electronic_number),
        (former.legal_number, later.legal_number),
    ):
        if before is None or after is None or after in (before, before + 1, 1):
            continue
        missing = f"statement {before + 1} is missing" if after > before else "the numbers go back"
        raise FileRefused(
            f"account {later.account}: {missing} between number {before} ({former.file}) and number {after} ({later.file}); "
            "put the missing file into the folder"
        )
    if former.closing[:2] != later.opening[:2]:
        raise FileRefused(
            f"account {later.account}: statement {later.id} ({later.file}) opens with {later.opening.amount:f}, and the one "
            f"before it, {former.id} ({former.file}), closed with {former.closing.amount:f}; a statement between them is "
            "missing, or one was changed"
        )
