"""The transitions of the port in SQL, each written once for both databases; importing a module registers its verbs."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__, f"{__name__}."):
    import_module(_module.name)
