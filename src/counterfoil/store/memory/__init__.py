"""The executable specification of the port, in plain Python: what each transition does, in which order.

Rows live in dictionaries; a journal takes a failed transition back as a whole. Simulation and proof run on
it, and the contract suite holds the SQL stores to it. It keeps nothing once the process ends.
"""

from __future__ import annotations

from counterfoil.store.memory.calls import Calls
from counterfoil.store.memory.intake import Arrivals
from counterfoil.store.memory.people import Persons
from counterfoil.store.memory.progress_scan import Progress
from counterfoil.store.memory.reads import Reads
from counterfoil.store.memory.releases import Releases
from counterfoil.store.memory.runs import Runs
from counterfoil.store.memory.traffic import Traffic
from counterfoil.store.memory.versions import Versions
from counterfoil.store.memory.workers import Workers


class MemoryStore(Arrivals, Calls, Runs, Persons, Releases, Workers, Progress, Versions, Reads, Traffic):
    """The port over dictionaries. `clock` is the database's time; simulations pass their own."""


__all__ = ["MemoryStore"]
