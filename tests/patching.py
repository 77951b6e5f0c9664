"""Replacement of attributes for the length of a process or a test, which fails if the attribute does not exist.

A plain assignment to a renamed attribute would make a new attribute, and the test would go on without its replacement.
Where `monkeypatch` is at hand, use `monkeypatch.setattr`, which has the same check.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


def replace_attribute(owner: Any, name: str, value: Any) -> None:
    """Replace an attribute. Raise AttributeError if the owner has none of this name."""
    getattr(owner, name)
    setattr(owner, name, value)


def importers(module: ModuleType, name: str) -> list[ModuleType]:
    """Return the loaded modules of the product that hold this constant of a module, which is the first of them.

    `from module import NAME` copies the reference, so each of them needs the replacement.
    """
    constant = getattr(module, name)
    package = module.__name__.partition(".")[0] + "."
    loaded = [other for key, other in list(sys.modules.items()) if key.startswith(package)]
    return [module, *(other for other in loaded if other is not module and vars(other).get(name) is constant)]


def replace_constant(module: ModuleType, name: str, value: Any) -> None:
    """Replace a constant in its module and in each module that imported it."""
    for owner in importers(module, name):
        replace_attribute(owner, name, value)
