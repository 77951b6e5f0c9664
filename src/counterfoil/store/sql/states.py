"""Sets of states as SQL lists, derived from the sets of core."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Final

from counterfoil.core.approval import ApprovalState
from counterfoil.core.effect import IN_FLIGHT, UNFINISHED, UNSETTLED, EffectState
from counterfoil.core.foil import FoilState
from counterfoil.core.run import TERMINAL, RunStatus


def sql_list(states: Collection[StrEnum]) -> str:
    """Return `('a', 'b')` in order of declaration.

    The order is part of the contract: SQLite uses a partial index only where a query repeats its condition literally.
    """
    order = list(type(next(iter(states))))
    return f"({', '.join(repr(str(state)) for state in sorted(states, key=order.index))})"


RUN_ENDED: Final = sql_list(TERMINAL)
RUN_ACTIVE: Final = sql_list(set(RunStatus) - TERMINAL)
EFFECT_IN_FLIGHT: Final = sql_list(IN_FLIGHT)
EFFECT_UNSETTLED: Final = sql_list(UNSETTLED)
EFFECT_UNFINISHED: Final = sql_list(UNFINISHED)
EFFECT_MAY_EXIST: Final = sql_list(IN_FLIGHT | {EffectState.CONFIRMED})
FOIL_WAITING: Final = sql_list({FoilState.OPEN, FoilState.PARTLY})
APPROVAL_VALID: Final = sql_list({ApprovalState.OPEN, ApprovalState.GRANTED})
