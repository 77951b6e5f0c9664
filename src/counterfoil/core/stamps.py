"""Precision of the times that an outside system gives its facts.

A connector declares that of its vendor: the module of its entry point has a text `STAMPS`. A system may declare another
one. Facts within one stamp have no order of their own.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Literal, TypeAlias

from counterfoil.core.minor_units import CONNECTORS

Stamps: TypeAlias = Literal["days", "seconds", "milliseconds", "microseconds"]
COARSE: frozenset[str] = frozenset({"days", "seconds"})
"""Two changes of one object by a person or a program often share such a stamp."""


@lru_cache(maxsize=128)
def vendor_stamps(connector: str) -> str | None:
    """Return the precision that an installed connector declares; None if it declares none."""
    for point in entry_points(group=CONNECTORS, name=connector):
        try:
            precision: str | None = getattr(import_module(point.module), "STAMPS", None)
        except ImportError:
            return None
        return precision
    return None
