"""Cases about foils that break, opened once: a Case that holds a Run takes the difference."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from counterfoil.core.case import Case
from counterfoil.core.cases import case_of_break, holds_run
from counterfoil.core.foil import NEEDS_CASE
from counterfoil.store.sql import tables as t

if TYPE_CHECKING:
    from counterfoil.store.sql.transaction import Tx

FOIL_BY_ID = f"{t.FOIL.select} where id = $1"
TAKE_DIFFERENCE = """
update case_ set exposure = $2 where foil = $1 and state = 'open' and choices like '%"retry"%' returning id
"""


async def open_break(x: Tx, case: Case, at: datetime) -> None:
    """Open the Case of a foil that breaks. Where a Run waits for a decision on it, that Case takes its difference."""
    exposure = t.CASE.columns["exposure"].save(case.exposure)
    if not await x.rows(TAKE_DIFFERENCE, case.foil, exposure):
        await x.open_case(case, at, "matching")


async def open_break_after(x: Tx, resolved: Case, at: datetime) -> None:
    """Open the Case of a foil that is still broken once the Case that a Run waited for is resolved."""
    if resolved.foil is None or not holds_run(resolved):
        return
    foil = t.FOIL.read((await x.rows(FOIL_BY_ID, resolved.foil))[0])
    if foil.state in NEEDS_CASE:
        await open_break(x, case_of_break(foil, at), at)
