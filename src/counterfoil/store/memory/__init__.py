"""The executable specification of the port in plain Python: what each transition does, in which order.

Rows live in dictionaries; a journal takes a failed transition back as a whole. Simulation and proof run on it, and the
contract suite holds the SQL stores to it. Nothing outlives the process. Importing a module registers its transitions.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from counterfoil.store.memory.store import MemoryStore

for _module in iter_modules(__path__, f"{__name__}."):
    import_module(_module.name)

__all__ = ["MemoryStore"]
