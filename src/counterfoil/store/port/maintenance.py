"""Maintenance: foils past due, Cases found outside of Runs, and the audit log's tree and checkpoints."""

from __future__ import annotations

from datetime import datetime

import msgspec

from counterfoil.core.audit import Checkpoint
from counterfoil.core.case import Case
from counterfoil.store.port.transition import Transition, wake_set
from counterfoil.store.port.wake import WakeKind


class ExpireFoils(Transition[int], frozen=True, kw_only=True):
    """Settle foils past due to broken; returns how many broke.

    Wherever a foil breaks or shows too much, its Case opens in the same transaction and the Run gets a `foil` item.
    """

    foils: tuple[str, ...]
    at: datetime

    def keys(self) -> frozenset[str]:
        return frozenset(self.foils)

    def wakes(self, answer: int) -> frozenset[WakeKind]:
        del answer
        return wake_set(turn=True)


class OpenCases(Transition[int], frozen=True, kw_only=True):
    """Open Cases that belong to no turn, such as those of the progress scan; returns how many were new."""

    cases: tuple[Case, ...]
    at: datetime
    actor: str


class SealResult(msgspec.Struct, frozen=True, kw_only=True):
    count: int
    size: int
    root: bytes


class Seal(Transition[SealResult], frozen=True, kw_only=True):
    """Give pending leaves their tree indices, in commit order; the caller signs size and root."""

    at: datetime
    limit: int = 10_000

    def keys(self) -> frozenset[str]:
        return _SEAL


class PutCheckpoint(Transition[bool], frozen=True, kw_only=True):
    checkpoint: Checkpoint

    def keys(self) -> frozenset[str]:
        return _SEAL


_SEAL = frozenset(["seal"])
