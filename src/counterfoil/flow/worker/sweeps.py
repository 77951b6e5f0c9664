"""Sweeps: whole books of systems, read page by page through the door of every delivery.

Events miss things. A sweep reads every record that a book has now. A record that no event brought is received, admitted and
matched like any other delivery; a standing document that the book does not list gets a Case. Nothing else is written, so a
sweep is never a second truth. Its row in the store moves with each page: whichever worker goes on goes on there.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta

from counterfoil.connectors.sdk import Connector, ListingConnector, Page
from counterfoil.core import ids
from counterfoil.core.case import Case
from counterfoil.core.cases import open_case
from counterfoil.core.document import number_of
from counterfoil.core.errors import CounterfoilError, TryAgain, log_text
from counterfoil.core.sweep import Sweep, SweepState
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.intake.receive import SWEEP_DOOR, receipts_of_page
from counterfoil.flow.worker.sweep_requests import SCHEDULE, listings_of, request_of
from counterfoil.model import Model
from counterfoil.model.kinds import seconds
from counterfoil.store.port.store import Store
from counterfoil.store.port.sweeps import (
    ClaimSweep,
    EndSweep,
    ReceiveSweepPage,
    UnlistedCase,
    UnlistedDocument,
)

log = logging.getLogger("counterfoil.worker")
MAX_PAGE_DELIVERIES = 200
PAGE_TIMEOUT_SECONDS = 60.0
LEASE = timedelta(minutes=2)
"""Time for a page. Then another worker may go on."""
FOLLOW_TIME = timedelta(minutes=1)
"""Time by which every worker follows a new Release."""
MAX_FAILURES = 10
"""Failures of the system in a row that end a sweep. Those of the store are none: the sweep goes on when it is back."""
FAILURE_SECONDS = 5.0
"""Pause after a page that could not be read; it grows with each failure in a row."""
ADMIT_SECONDS = 0.2
"""Interval between looks at whether all that a sweep brought is admitted."""
MAX_WAITING_DELIVERIES = 1_000
"""Deliveries that wait for their admission, from which on a sweep waits for them before its next page."""
MAX_CASES = 500
"""Cases that one sweep opens. It counts every unlisted document; a later sweep opens the next Cases."""
_BATCH_ROWS = 1_000


class SweepReader:
    """Reads the sweeps of a worker, one at a time."""

    def __init__(
        self,
        store: Store,
        releases: Releases,
        connectors: Mapping[str, Connector],
        worker: str,
        stopping: asyncio.Event,
    ) -> None:
        self._store, self._releases, self._connectors = store, releases, connectors
        self._worker, self._stopping = worker, stopping

    async def sweep_once(self) -> int:
        """Ask for the sweeps that are due, then read one to its end. Return how many were read: 0 or 1."""
        now = await self._store.now()
        await self._request_due(now)
        systems = {name for name in self._connectors if listings_of(self._connectors, name)}
        systems |= {
            sweep.system for sweep in await self._store.latest_sweeps() if self._is_without_book(sweep, now)
        }
        if not systems:
            return 0
        claim = ClaimSweep(
            worker=self._worker, systems=tuple(sorted(systems)), lease_until=now + LEASE, at=now
        )
        sweep = await self._store.apply(claim)
        if sweep is None:
            return 0
        await self._read(sweep)
        return 1

    def _is_without_book(self, sweep: Sweep, now: datetime) -> bool:
        """Report whether a sweep under way reads a book that the Release does not have any more.

        A young one may be of a Release that this worker does not follow yet.
        """
        return (
            sweep.state is SweepState.READING
            and sweep.book not in listings_of(self._connectors, sweep.system)
            and sweep.requested_at + FOLLOW_TIME < now
        )

    async def _request_due(self, now: datetime) -> None:
        """Ask for each declared sweep whose last one began longer ago than its interval."""
        latest = {(sweep.system, sweep.book): sweep for sweep in await self._store.latest_sweeps()}
        for name, system in self._releases.present.systems.items():
            for book, spec in system.sweeps.items() if name in self._connectors else ():
                last = latest.get((name, book))
                if last is not None and (
                    last.state is SweepState.READING
                    or last.requested_at + timedelta(seconds=seconds(spec.every)) > now
                ):
                    continue
                await self._store.apply(request_of(name, book, SCHEDULE, now))

    # ------------------------------------------------------------------ one sweep

    async def _read(self, sweep: Sweep) -> None:
        failures = 0
        present: Sweep | None = sweep
        while present is not None and not self._stopping.is_set():
            sweep = present
            if (await self._store.backlog(MAX_WAITING_DELIVERIES, 0)).waiting >= MAX_WAITING_DELIVERIES:
                await self._pause(ADMIT_SECONDS)
                continue
            connector = self._connectors.get(sweep.system)
            if not isinstance(connector, ListingConnector) or sweep.book not in connector.listings:
                error = f"The Release has no book {sweep.book} of {sweep.system} any more"
                await self._end(sweep, SweepState.FAILED, error=error)
                return
            try:
                page = await connector.list_book(
                    sweep.book, sweep.cursor or None, MAX_PAGE_DELIVERIES, PAGE_TIMEOUT_SECONDS
                )
            except CounterfoilError as problem:
                failures += 1
                log.warning("sweep of %s.%s: %s", sweep.system, sweep.book, log_text(problem))
                if failures == MAX_FAILURES or not isinstance(problem, TryAgain):
                    await self._end(sweep, SweepState.FAILED, error=str(problem))
                    return
                # An empty page keeps the lease: another worker would count the failures from the beginning.
                present = await self._receive(sweep, Page((), sweep.cursor, more=True))
                await self._pause(FAILURE_SECONDS * failures)
                continue
            failures = 0
            present = await self._receive(sweep, page)
            if not page.more:
                await self._finish(present)
                return

    async def _receive(self, sweep: Sweep, page: Page) -> Sweep | None:
        """Store a page. Return the sweep as it is now, None if another worker has it. Raises TryAgain without the store."""
        now = await self._store.now()
        actor = f"system:{sweep.system}.{sweep.book}"
        receive = receipts_of_page(
            self._releases.present, sweep.system, page.deliveries, SWEEP_DOOR, now, actor
        )
        answer = await self._store.apply(
            ReceiveSweepPage(
                sweep=sweep.id,
                worker=self._worker,
                pages=sweep.pages,
                cursor=page.cursor,
                lease_until=now + LEASE,
                receive=receive,
            )
        )
        return answer.sweep

    async def _finish(self, sweep: Sweep | None) -> None:
        """Wait until all that was listed is admitted, then open Cases about what was not listed."""
        while sweep is not None and not self._stopping.is_set():
            if not await self._store.swept_to_admit(sweep.id):
                await self._compare(sweep)
                return
            await self._pause(ADMIT_SECONDS)

    async def _compare(self, sweep: Sweep) -> None:
        model = self._releases.present
        types = listings_of(self._connectors, sweep.system).get(sweep.book, ())
        now = await self._store.now()
        unlisted: set[str] = set()
        cases: list[Case] = []
        former = await self._store.unlisted_cases(sweep.system, types)
        by_document: defaultdict[str, list[UnlistedCase]] = defaultdict(list)
        for case in former:
            by_document[case.document].append(case)
        async for document in self._unlisted(sweep, types):
            unlisted.add(document.id)
            if len(cases) < MAX_CASES and not _is_known_missing(document, by_document[document.id]):
                cases.append(_case(model, sweep, document, now))
        resolved = [case.id for case in former if case.is_open and case.document not in unlisted]
        await self._end(sweep, SweepState.DONE, len(unlisted), cases, resolved)

    async def _unlisted(self, sweep: Sweep, types: Sequence[str]) -> AsyncIterator[UnlistedDocument]:
        after = ""
        while True:
            documents = await self._store.unlisted_documents(sweep, types, after, _BATCH_ROWS)
            for document in documents:
                yield document
            if len(documents) < _BATCH_ROWS:
                return
            after = documents[-1].id

    async def _end(
        self,
        sweep: Sweep,
        state: SweepState,
        missing: int = 0,
        cases: Sequence[Case] = (),
        resolved: Sequence[str] = (),
        error: str = "",
    ) -> None:
        end = EndSweep(
            sweep=sweep.id,
            worker=self._worker,
            pages=sweep.pages,
            state=state,
            missing=missing,
            error=error,
            cases=tuple(cases),
            resolved=tuple(resolved),
            at=await self._store.now(),
            actor="sweep",
        )
        await self._store.apply(end)

    async def _pause(self, seconds_: float) -> None:
        """Sleep, but not past the end of the worker."""
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds_)
        except TimeoutError:
            return


def _is_known_missing(document: UnlistedDocument, former: Sequence[UnlistedCase]) -> bool:
    """Report whether a Case asks about the document, or a person decided one since its present version was known."""
    return any(case.is_open or case.opened_at >= document.known_at for case in former)


def _case(model: Model, sweep: Sweep, document: UnlistedDocument, now: datetime) -> Case:
    rule = model.reconciliations.get(document.rule)
    number = number_of(document.document)
    began = f"{sweep.requested_at:%Y-%m-%d %H:%M} UTC"
    return open_case(
        "unlisted",
        id=ids.derive("case", "unlisted", document.id, sweep.id),
        message=f"The book {sweep.book} of {sweep.system}, read from {began} on, does not list {document.object} {number}",
        owners=model.owners_of(rule) if rule is not None else model.owners_of(model.systems[sweep.system]),
        at=now,
        names={"object": f"{document.object} {number}", "system": sweep.system},
        foil=document.id if document.side == "left" else None,
        observation=document.id if document.side == "right" else None,
    )
